"""Every real file: what comes out of it, the malformed ones included, and that nothing raises."""

from __future__ import annotations

import json
from collections import Counter
from io import BytesIO
from pathlib import Path

import pytest
from source_factory import documents, source, tally
from warcio.archiveiterator import ArchiveIterator

from redpajama_pipe.sources.read import read_split
from redpajama_pipe.sources.record import Quarantined, Record, Split
from redpajama_pipe.sources.streams import open_stream
from redpajama_pipe.sources.warc_frames import Frame, frames

WARC_CASES = {
    # every Content-Length is too long by the stripped line ends: only what no record follows is lost
    "commoncrawl_2016_50/as_published/sample.warc": "warcinfo 1 request 6 metadata 5 document 5 !truncated_warc 1",
    "commoncrawl_2016_50/as_published/sample.warc.gz": "warcinfo 1 request 6 metadata 5 document 5 !truncated_warc 1",
    "commoncrawl_2016_50/as_published/sample.wet": "warcinfo 1 document 68",
    "commoncrawl_2016_50/as_published/sample.wet.gz": "warcinfo 1 document 68",
    "commoncrawl_2016_50/as_published/sample.wat": "warcinfo 1 metadata 15",
    "commoncrawl_2016_50/as_published/sample.wat.gz": "warcinfo 1 metadata 15",
    "commoncrawl_2016_50/as_published/sample.warc.paths": "!not_a_warc 1",
    "commoncrawl_2016_50/repaired/sample.warc.gz": "warcinfo 1 request 6 metadata 5 document 6",
    "commoncrawl_2016_50/repaired/sample.wet.gz": "warcinfo 1 document 68",
    "commoncrawl_2016_50/repaired/sample.wat.gz": "warcinfo 1 metadata 15",
    "commoncrawl_2020_34/clipped.warc.gz": "!truncated_gzip 1",
    "commoncrawl_2020_34/clueweb-quirk.warc.gz": "warcinfo 1 document 29",
    "commoncrawl_2020_34/warcfile.warc": "warcinfo 1 request 17 metadata 16 document 16",
    "commoncrawl_2020_34/warcfile.warc.gz": "warcinfo 1 request 17 metadata 16 document 16",
    "commoncrawl_2020_34/warcfile.warc.lz4": "!unsupported_compression 1",
    "commoncrawl_2020_34/block-sized-records.warc": "unknown_type 3",
    "commoncrawl_2020_34/block-sized-records.warc.gz": "unknown_type 3",
    "commoncrawl_2020_34/block-sized-records.warc.lz4": "!unsupported_compression 1",
    "commoncrawl_2024_22/whirlwind.warc": "warcinfo 1 request 1 metadata 1 document 1",
    "commoncrawl_2024_22/whirlwind.warc.gz": "warcinfo 1 request 1 metadata 1 document 1",
    "commoncrawl_2024_22/whirlwind.warc.wet": "warcinfo 1 document 1",
    "commoncrawl_2024_22/whirlwind.warc.wat.gz": "warcinfo 1 metadata 1",
    "commoncrawl_2024_22/whirlwind.warc.wat": "warcinfo 1 metadata 1",
    "commoncrawl_2024_22/whirlwind.warc.wet.gz": "warcinfo 1 document 1",
    "cc_net_2018.wet.txt": "warcinfo 1 document 3",
    # one gzip member for all records; lengths that are wrong, a record whose date is "null"
    "heritrix/badexample.arc.gz": "arc_header 1 mime 1 document 1 empty_text 2 !truncated_warc 1",
    "heritrix/example.arc.gz": "arc_header 1 mime 122 status 47 empty_text 2 document 128",
    "heritrix/example.warc.gz": "warcinfo 1 request 261 metadata 261 mime 122 status 47 empty_text 2 document 128",
    "heritrix/example.docs.warc.gz": "warcinfo 3 request 9 mime 9",
    "heritrix/example.pdf.warc.gz": "warcinfo 2 request 37 mime 31 status 3 revisit 2 document 1",
    "heritrix/example.txt.warc.gz": "warcinfo 2 request 2 document 2",
    "heritrix/issue-493.warc": "warcinfo 2 request 15 status 1 mime 5 revisit 5 empty_text 1 document 3",
    "heritrix/issue-514.warc": "warcinfo 1 request 2 status 1 metadata 1 document 3",
    "warcio_cases/bad.arc": "arc_header 1 empty_text 3",
    "warcio_cases/example-bad-non-chunked.warc.gz": "warcinfo 2 request 2 revisit 1 document 1",
    "warcio_cases/example-bad.warc.gz.bad": "warcinfo 1 request 2 revisit 1 status 1 document 1",
    "warcio_cases/example-digest.warc": "request 4",
    "warcio_cases/example-iana.org-chunked.warc": "warcinfo 1 request 1 document 1",
    "warcio_cases/example-resource.warc.gz": "warcinfo 2 document 1",
    "warcio_cases/example-space-in-target-uri.warc.gz": "warcinfo 1 mime 1",
    "warcio_cases/example-space-in-url.arc": "arc_header 1 !truncated_warc 1",
    "warcio_cases/example-trunc.warc": "warcinfo 2 request 1 document 1",
    "warcio_cases/example-wget-bad-target-uri.warc.gz": "warcinfo 1 request 1 metadata 1 document 3",
    "warcio_cases/example-wrong-chunks.warc.gz": "request 1 document 1",
    "warcio_cases/example.arc": "arc_header 1 document 1",
    "warcio_cases/example.arc.gz": "arc_header 1 document 1",
    "warcio_cases/example.warc": "warcinfo 2 request 2 revisit 1 document 1",
    "warcio_cases/example.warc.gz": "warcinfo 2 request 2 revisit 1 document 1",
    "warcio_cases/post-test.warc.gz": "request 3 mime 3",
    "wrapped/article-extraction-benchmark.warc.gz": "warcinfo 1 document 181",
}

WIKI_CASES = {
    "bgwiki-latest-pages-articles-shortened.xml.bz2": "namespace 2 document 1",  # UTF-16
    "enwiki-table-markup.xml.bz2": "document 5",
    "minidumps/zhwiki-pages-articles.xml.bz2": "document 1",
    "minidumps/dewiki-pages-articles.xml.bz2": "document 2",
}


def read(path: Path, kind: str, **options: str) -> list[Record]:
    return list(read_split(Split("s", str(path), path.name), source(kind, **options)))


def counts(text: str) -> dict[str, int]:
    words = text.split()
    return {word: int(number) for word, number in zip(words[::2], words[1::2], strict=True)}


def test_every_crawl_file_is_in_the_table(real_data: Path) -> None:
    there = {str(path.relative_to(real_data / "warc")) for path in (real_data / "warc").rglob("*") if path.is_file()}
    assert {name for name in there if not name.startswith("wrapped/debian-")} == WARC_CASES.keys()


@pytest.mark.parametrize("name", WARC_CASES)
def test_rows_of_a_crawl_file(real_data: Path, name: str) -> None:
    found = read(real_data / "warc" / name, "warc")
    assert tally(found) == counts(WARC_CASES[name])
    kept = documents(found)
    assert len({document.record_id for document in kept}) == len(kept)
    for document in kept:
        assert document.text.strip()
        for value in (document.text, document.title, document.url, document.meta):
            assert value is None or ("\0" not in value and value.encode("utf-8") is not None)


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, expected in WARC_CASES.items()
        # of the others, warcio loses records or counts their offsets otherwise
        if not any(word in name + expected for word in ("!", "as_published", "bad", "cc_net", "-trunc.", "-wrong-"))
    ],
)
def test_offsets_of_sound_files_are_those_of_warcio(real_data: Path, name: str) -> None:
    path = real_data / "warc" / name
    iterator = ArchiveIterator(BytesIO(path.read_bytes()), no_record_parse=True)
    expected = []
    for record in iterator:
        kind = record.rec_type
        iterator.read_to_end()
        expected.append((kind, iterator.get_record_offset(), iterator.get_record_length()))
    with open_stream(str(path)) as stream:
        cut = [frame for frame in frames(stream, 1 << 28) if isinstance(frame, Frame)]
    assert [frame.declared_length for frame in cut] == [None] * len(expected)
    assert [(frame.offset, frame.length) for frame in cut] == [(offset, length) for _, offset, length in expected]


def test_repaired_lengths_give_the_same_pages_as_wrong_ones(real_data: Path) -> None:
    folder = real_data / "warc/commoncrawl_2016_50"
    wrong = documents(read(folder / "as_published/sample.wet", "wet"))
    right = documents(read(folder / "repaired/sample.wet.gz", "wet"))
    assert [d.record_id for d in wrong] == [d.record_id for d in right]
    assert [d.text.strip() for d in wrong] == [d.text.strip() for d in right]
    assert sum("declared_length" in json.loads(d.meta or "{}") for d in right) == 0


def test_japanese_pages_of_clueweb_are_decoded(real_data: Path) -> None:
    found = documents(read(real_data / "warc/commoncrawl_2020_34/clueweb-quirk.warc.gz", "warc"))
    assert all(d.timestamp is None and "raw_date" in json.loads(d.meta or "{}") for d in found)
    assert sum(any("\u3040" <= character <= "\u30ff" for character in d.text) for d in found) >= 28
    assert Counter(d.charset for d in found).most_common(1)[0][0] in ("euc-jp", "shift_jis", "utf-8")


def test_clipped_file_says_where(real_data: Path) -> None:
    (row,) = read(real_data / "warc/commoncrawl_2020_34/clipped.warc.gz", "warc")
    assert isinstance(row, Quarantined)
    assert row.offset == 0
    assert row.record_id.startswith("urn:uuid:")
    assert "nothing after it can be read" in row.detail


@pytest.mark.parametrize("name", WIKI_CASES)
def test_rows_of_a_dump(real_data: Path, name: str) -> None:
    found = read(real_data / "wiki" / name, "wikipedia")
    assert tally(found) == counts(WIKI_CASES[name])
    language = name.rpartition("/")[2][:2]
    for document in documents(found):
        assert document.language == language
        assert document.url is not None
        assert document.url.startswith(f"https://{language}.wikipedia.org/wiki/")
        assert "[[" not in document.text.replace("[[x", "")


def test_json_lines(real_data: Path) -> None:
    found = read(real_data / "corpora/c4_300.jsonl", "jsonl")
    assert tally(found) == {"document": 300}
    assert tally(read(real_data / "evalsets/lambada_openai.jsonl", "jsonl")).keys() == {"!no_text"}


def test_files_of_another_kind_never_raise(real_data: Path) -> None:
    paths = [
        real_data / "warc/heritrix/issue-514.warc",
        real_data / "warc/commoncrawl_2020_34/clipped.warc.gz",
        real_data / "wiki/minidumps/zhwiki-pages-articles.xml.bz2",
        real_data / "evalsets/boolq.jsonl",
        real_data / "instruct/alpaca_en_demo.json",
        real_data / "tokenizers" / "mistral_v1_32k.model",
    ]
    for path in paths:
        for kind in ("warc", "jsonl", "wikipedia"):
            found = read(path, kind, language="en")
            assert found, (path, kind)
