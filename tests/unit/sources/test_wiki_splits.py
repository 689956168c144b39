"""Multistream dumps cut into runs of bz2 streams."""

from __future__ import annotations

import bz2
import pickle
import re
import tracemalloc
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from source_factory import documents, source, tally

from redpajama_pipe.errors import InputError
from redpajama_pipe.settings.source import Source
from redpajama_pipe.sources import wiki_splits
from redpajama_pipe.sources.plan import plan_splits
from redpajama_pipe.sources.read import read_split
from redpajama_pipe.sources.record import Quarantined, Record, Split
from redpajama_pipe.sources.unit import Unit
from redpajama_pipe.sources.wiki_splits import cut_dump, index_path, is_index, read_range

NAME = "fiwiki-20240101-pages-articles-multistream.xml.bz2"
INDEX = "fiwiki-20240101-pages-articles-multistream-index.txt.bz2"
HEAD = (
    '<mediawiki version="0.11"><siteinfo><namespaces><namespace key="6">Tiedosto</namespace>'
    '<namespace key="14">Luokka</namespace></namespaces></siteinfo>\n'
)
TAIL = "</mediawiki>\n"


@dataclass(frozen=True)
class Dump:
    """A dump of some streams as files of a folder."""

    folder: Path
    streams: list[bytes]
    starts: list[int]
    index: str

    @property
    def path(self) -> Path:
        return self.folder / NAME

    @property
    def split(self) -> Split:
        return Split("s", str(self.path), NAME)

    def cut(self, split_bytes: int) -> list[Split]:
        return cut_dump(self.split, split_bytes)

    def read(self, split_bytes: int) -> list[Record]:
        return [row for split in self.cut(split_bytes) for row in read_split(split, source("wikipedia"))]

    def read_whole(self) -> list[Record]:
        """Read as one stream of XML, as without an index."""
        return list(read_split(self.split, source("wikipedia")))

    def damage(self, position: int, value: bytes = b"\xff") -> None:
        data = bytearray(self.path.read_bytes())
        data[position : position + len(value)] = value if data[position : position + 1] != value else b"\x00"
        self.path.write_bytes(data)


def page(page_id: int, text: str = "Sanoja on [[Tiedosto:a.jpg|thumb|ei]] tässä.", ns: int = 0) -> str:
    return (
        f"  <page>\n    <title>T{page_id}: a</title>\n    <ns>{ns}</ns>\n    <id>{page_id}</id>\n"
        f"    <revision><id>7</id><text>{text}</text></revision>\n  </page>\n"
    )


def write(folder: Path, groups: Sequence[Sequence[tuple[int, str]]], head: str = HEAD) -> Dump:
    """Write a dump with a stream for each group of (page id, XML), and its index."""
    streams = [bz2.compress(head.encode())]
    starts, lines = [0], []
    for group in groups:
        starts.append(sum(map(len, streams)))
        streams.append(bz2.compress("".join(xml for _, xml in group).encode()))
        lines += [f"{starts[-1]}:{page_id}:T{page_id}: a\n" for page_id, _ in group]
    streams.append(bz2.compress(TAIL.encode()))
    index = "".join(lines)
    (folder / NAME).write_bytes(b"".join(streams))
    (folder / INDEX).write_bytes(bz2.compress(index.encode()))
    return Dump(folder, streams, starts, index)


def grouped(ids: Sequence[int], size: int) -> list[list[tuple[int, str]]]:
    return [[(n, page(n, f"Sivu {n} on tässä.")) for n in ids[at : at + size]] for at in range(0, len(ids), size)]


@pytest.fixture
def dump(tmp_path: Path) -> Dump:
    return write(tmp_path, grouped(range(10, 70), 6))


@pytest.mark.parametrize(
    ("name", "index"),
    [
        (NAME, INDEX),
        (
            "/d/enwiki-20240101-pages-articles-multistream27.xml-p1p41242.bz2",
            "/d/enwiki-20240101-pages-articles-multistream-index27.txt-p1p41242.bz2",
        ),
        ("s3://b/simplewiki-latest-pages-articles.xml.bz2", None),
        (INDEX, None),
    ],
)
def test_index_is_named_after_its_dump(name: str, index: str | None) -> None:
    assert index_path(name) == index
    assert not (index and is_index(name))
    assert index is None or is_index(index)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_union_of_the_ranges_is_the_whole_file(tmp_path: Path, data: st.DataObject) -> None:
    # ids in any order, and repeated: those of one file stay unique however it is cut
    ids = data.draw(st.lists(st.integers(1, 60), min_size=1, max_size=40))
    if data.draw(st.booleans()):
        ids = sorted(ids)
    made = write(tmp_path, grouped(ids, data.draw(st.integers(1, 5))))
    least = data.draw(st.integers(1, 2000))
    splits = made.cut(least)
    size = made.path.stat().st_size
    assert [split.start for split in splits] == [0, *(split.end for split in splits[:-1])]
    assert splits[-1].end == size
    assert all(split.end - split.start >= min(least, size) for split in splits)
    assert {split.start for split in splits} <= set(made.starts)
    assert made.read(least) == made.read_whole()
    assert len(documents(made.read_whole())) == len(ids)


def test_pages_in_order_can_be_cut_at_every_stream(dump: Dump) -> None:
    # siteinfo stays with the first stream of pages, and the end of the XML with the last
    assert [split.start for split in dump.cut(200)] == [0, *dump.starts[2:]]


def test_repeated_page_ids_stay_in_one_range(tmp_path: Path) -> None:
    ids = [*range(10, 40), 20, *range(40, 70)]
    made = write(tmp_path, grouped(ids, 5))
    starts = [split.start for split in made.cut(1)]
    assert not set(starts) & set(made.starts[4:8])
    assert set(starts) & set(made.starts[9:])
    found = [document.record_id for document in documents(made.read(1))]
    assert f"20#{made.starts[7]}" in found
    assert len(set(found)) == len(ids)


def test_offset_is_that_of_the_index(dump: Dump) -> None:
    expected = [tuple(map(int, line.split(":")[:2])) for line in dump.index.splitlines()]
    assert [(d.offset, int(d.record_id)) for d in documents(dump.read_whole())] == expected


def test_every_range_knows_the_namespaces_of_the_first_stream(tmp_path: Path) -> None:
    made = write(tmp_path, [[(n, page(n))] for n in range(9)])
    splits = made.cut(1)
    assert len(splits) > 5
    assert {" ".join(document.text.split()) for document in documents(made.read(1))} == {"Sanoja on tässä."}


def test_real_pages_are_the_same_from_ranges(real_data: Path, tmp_path: Path) -> None:
    raw = bz2.decompress((real_data / "wiki/minidumps/enwiki-pages-articles.xml.bz2").read_bytes()).decode()
    head = raw[: raw.index("<page>")]
    pages = sorted((int(re.findall(r"<id>(\d+)", xml)[0]), xml) for xml in re.findall(r"(?s)<page>.*?</page>\n?", raw))
    made = write(tmp_path, [pages[at : at + 2] for at in range(0, 14, 2)], head)
    assert len(made.cut(30_000)) > 3
    expected = made.read_whole()
    assert made.read(30_000) == expected
    assert len(documents(expected)) > 10


def test_without_an_index_a_dump_is_one_unit_as_before(dump: Dump) -> None:
    (dump.folder / INDEX).unlink()
    assert dump.cut(1) == [dump.split]
    web = Split("s", f"https://dumps.example.org/{NAME}", NAME)
    assert cut_dump(web, 1) == [web]


def test_plan_cuts_dumps_and_leaves_their_indexes_out(dump: Dump, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wiki_splits, "SPLIT_BYTES", 500)
    wanted = Source("s", "wikipedia", (f"{dump.folder}/*.bz2",), root=str(dump.folder))
    assert plan_splits(wanted) == dump.cut(500)
    assert len(dump.cut(500)) > 2
    monkeypatch.undo()
    assert plan_splits(wanted) == [replace(dump.split, end=dump.path.stat().st_size)]


def test_ranges_of_a_file_are_units_of_their_own(dump: Dump) -> None:
    first, second, *_ = dump.cut(500)
    whole, start, later = (
        Unit(split, source("wikipedia"), None, "", 1, "", 1) for split in (dump.split, first, second)
    )
    assert whole.name == start.name
    assert later.name == f"{whole.name}-{second.start}"
    assert len({whole.key, start.key, later.key}) == 3
    assert pickle.loads(pickle.dumps(later)) == later


@pytest.mark.parametrize("least", [1, 700, 1 << 20])
@pytest.mark.parametrize("place", ["first block", "end", "magic"])
def test_damaged_stream_costs_its_own_pages(
    dump: Dump, monkeypatch: pytest.MonkeyPatch, least: int, place: str
) -> None:
    # so small a step gives out text before the checksum after it is seen to be wrong
    monkeypatch.setattr("redpajama_pipe.sources.decoders.STEP_BYTES", 64)
    monkeypatch.setattr(wiki_splits, "SCAN_BYTES", 3)
    expected = documents(dump.read_whole())
    splits = dump.cut(least)
    stream = next(n for n in range(4, 9) if dump.starts[n] not in {split.start for split in splits} or least == 1)
    start, size = dump.starts[stream], len(dump.streams[stream])
    dump.damage(start + {"first block": size // 2, "end": size - 4, "magic": 1}[place])
    rows = [row for split in splits for row in read_split(split, source("wikipedia"))]
    if place == "magic" and least == 1:
        return  # such a cut is refused, see below
    assert documents(rows) == [document for document in expected if document.offset != start]
    (row,) = (row for row in rows if isinstance(row, Quarantined))
    assert (row.reason, row.offset, row.record_id) == ("corrupt_bzip2", start, "")
    assert row.detail.startswith(f"bz2 stream at byte {start}, all its pages: ")


def test_two_damaged_streams_and_a_clipped_end(dump: Dump) -> None:
    for stream in (3, 5):
        dump.damage(dump.starts[stream] + len(dump.streams[stream]) // 2)
    data = dump.path.read_bytes()
    split = replace(dump.split, end=len(data))
    dump.path.write_bytes(data[: dump.starts[10] + 30])
    rows = list(read_range(split, source("wikipedia")))
    assert tally(rows) == {"document": 42, "!corrupt_bzip2": 2, "!truncated_bzip2": 1}


def test_broken_xml_costs_its_own_page_in_a_range(tmp_path: Path) -> None:
    groups = grouped(range(10, 40), 5)
    groups[2][3] = (23, page(23).replace("</title>", "</titel>"))
    groups[4][4] = (34, page(34).replace("  </page>\n", ""))
    made = write(tmp_path, groups)
    rows = made.read(1)
    assert tally(rows) == {"document": 30 - 1 - 1, "!bad_xml": 1, "!truncated_xml": 1}
    bad = [(row.offset, row.record_id) for row in rows if isinstance(row, Quarantined)]
    assert bad == [(made.starts[3], ""), (made.starts[5], "34")]


def test_page_beyond_the_limit_is_quarantined_in_a_range(dump: Dump) -> None:
    rows = list(read_range(dump.cut(1)[1], source("wikipedia", max_document_bytes=3)))
    assert set(tally(rows)) == {"!too_large"}


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ("617:10\n", r"has a line that is not offset:page id:title: '617:10'; fetch the dump and its index again, or"),
        ("617:10:a\nx:11:b\n", "line that is not .*'x:11:b'"),
        ("617:10:a\n617::b\n", "line that is not .*'617::b'"),
        ("617:10:a\n-5:12:b\n", "line that is not"),
        ("1234567890123456789:10:a\n", "line that is not"),
        ("617:10:a:b\n600:12:c\n", "is not in the order of its dump"),
        ("", "is empty"),
        ("617:10:a\n9999999:12:b\n", r"names byte 9999999, but '.*' has \d+: it is another dump's index, or the dump"),
        ("617:10:a\n700:12:b\n", r"begins at byte 700, but there is b'.*': it is another dump's index"),
    ],
)
def test_wrong_index_is_an_error_with_a_way_out(dump: Dump, index: str, message: str) -> None:
    (dump.folder / INDEX).write_bytes(bz2.compress(index.encode()))
    with pytest.raises(InputError, match=message):
        dump.cut(650)


def test_damaged_index_and_damaged_cut_are_errors(dump: Dump) -> None:
    dump.damage(dump.starts[5])
    with pytest.raises(InputError, match=rf"begins at byte {dump.starts[5]}, but there is .*remove the index to read"):
        dump.cut(1)
    index = dump.folder / INDEX
    index.write_bytes(index.read_bytes()[:-20])
    with pytest.raises(InputError, match=r"the index .* is damaged: .*fetch the dump and its index again"):
        dump.cut(1)


def test_first_stream_that_cannot_be_read_is_an_error(dump: Dump) -> None:
    dump.damage(30)
    with pytest.raises(InputError, match="does not begin as a multistream dump does: member at byte 0"):
        dump.cut(1)
    for data, why in ((b"<mediawiki>", "it is plain"), (bz2.compress(b"<other>"), "not begin with <mediawiki>")):
        dump.path.write_bytes(data)
        with pytest.raises(InputError, match=why):
            dump.cut(1)


def test_last_line_without_an_end_counts(dump: Dump) -> None:
    (dump.folder / INDEX).write_bytes(bz2.compress(b"600:1:a\n700:2:b"))
    assert list(wiki_splits._read_index(str(dump.folder / INDEX)).starts) == [600, 700]


def test_titles_may_hold_colons(dump: Dump) -> None:
    expected = dump.cut(300)
    index = dump.index.replace(": a", ":: 5:6:\u00e4")
    (dump.folder / INDEX).write_bytes(bz2.compress(index.encode()))
    assert dump.cut(300) == expected


def test_index_is_read_in_pieces_of_any_size(dump: Dump, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = dump.cut(300)
    monkeypatch.setattr("redpajama_pipe.sources.decoders.STEP_BYTES", 7)
    assert dump.cut(300) == expected


def test_stream_larger_than_what_is_held_is_read_as_it_comes(dump: Dump, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = dump.read_whole()
    monkeypatch.setattr(wiki_splits, "HELD_BYTES", 100)
    monkeypatch.setattr("redpajama_pipe.sources.decoders.STEP_BYTES", 64)
    assert dump.read(600) == expected


def repeated(folder: Path, streams: int, words: str) -> Split:
    """Write a dump of one stream again and again."""
    body = bz2.compress(words.encode(), 1)
    path = folder / NAME
    path.write_bytes(bz2.compress(HEAD.encode()) + body * streams + bz2.compress(TAIL.encode()))
    return Split("s", str(path), NAME, 0, path.stat().st_size)


def peak_of(rows: Iterator[Record]) -> int:
    tracemalloc.start()
    for _ in rows:
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_memory_of_a_task_does_not_grow_with_the_dump(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = "".join(page(n, "sanoja " * 300, ns=10) for n in range(99)) + page(1)
    few, many = (peak_of(read_range(repeated(tmp_path, count, words), source("wikipedia"))) for count in (5, 25))
    assert many < few + (1 << 20)  # 4 MB of XML more
    plain = replace(repeated(tmp_path, 25, words), end=-1)  # without an index
    assert peak_of(read_split(plain, source("wikipedia"))) < few + (1 << 20)
    monkeypatch.setattr(wiki_splits, "HELD_BYTES", 1 << 19)  # all of it in one stream
    assert peak_of(read_range(repeated(tmp_path, 1, words * 25), source("wikipedia"))) < few + (2 << 20)


@pytest.mark.parametrize(("ranged", "blocks"), [(True, 2), (False, 0)])  # a range is read in blocks of 16 MiB
def test_memory_of_a_task_does_not_grow_with_the_streams(tmp_path: Path, ranged: bool, blocks: int) -> None:
    peaks = []
    for streams in (50, 2000):
        split = repeated(tmp_path, streams, page(1, "a", ns=10))
        peaks.append(peak_of(read_split(split if ranged else replace(split, end=-1), source("wikipedia"))))
    assert peaks[1] < peaks[0] + blocks * Path(split.uri).stat().st_size + 150_000


def test_memory_of_the_plan_does_not_grow_with_the_pages(dump: Dump) -> None:
    peaks = []
    for pages in (20, 1000):
        lines = "".join(f"{start}:{start * 1000 + n}:Title {n}\n" for start in range(600, 900) for n in range(pages))
        (dump.folder / INDEX).write_bytes(bz2.compress(lines.encode()))
        tracemalloc.start()
        wiki_splits._read_index(str(dump.folder / INDEX))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] * 4
