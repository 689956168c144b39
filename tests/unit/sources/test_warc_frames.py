"""Cutting WARC and ARC files into records, also damaged ones."""

from __future__ import annotations

import bz2
import gzip
import random

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from source_factory import http, members, rows, stream, tally, warc
from warcio.archiveiterator import ArchiveIterator

from redpajama_pipe.sources.record import Quarantined
from redpajama_pipe.sources.streams import MemberStream
from redpajama_pipe.sources.warc_frames import Frame, frames, record_name

LIMIT = 1 << 20
ARC_HEAD = b"filedesc://x.arc 0.0.0.0 20080430204825 text/plain 76\n1 0 InternetArchive\nURL IP-address Archive-date"
ARC_HEAD += b" Content-type Archive-length\n\n"


def cut(data: bytes | MemberStream, limit: int = LIMIT) -> list[Frame | Quarantined]:
    return list(frames(stream(data) if isinstance(data, bytes) else data, limit))


def blocks(data: bytes) -> list[bytes | str]:
    return [frame.block if isinstance(frame, Frame) else frame.reason for frame in cut(data)]


def arc(url: str, block: bytes, length: object = None, date: str = "20080430204825") -> bytes:
    size = len(block) if length is None else length
    return f"{url} 192.0.2.1 {date} text/html {size}\n".encode() + block + b"\n"


RECORDS = [warc(http(b"<p>number %d" % number)) for number in range(4)]
BLOCKS = [http(b"<p>number %d" % number) for number in range(4)]


@pytest.mark.parametrize(
    "data",
    [
        b"".join(RECORDS),
        members(*RECORDS),
        gzip.compress(b"".join(RECORDS)),
        gzip.compress(b"".join(RECORDS)[:300]) + gzip.compress(b"".join(RECORDS)[300:]),
        zstandard.ZstdCompressor().compress(RECORDS[0]) + zstandard.ZstdCompressor().compress(b"".join(RECORDS[1:])),
        b"".join(RECORDS).removesuffix(b"\r\n\r\n"),
        b"\r\n\r\n".join(RECORDS),
        b"\r\n" + b"".join(RECORDS),
    ],
    ids=["plain", "members", "one member", "members across records", "zstd", "no end", "blank lines", "blank start"],
)
def test_every_way_to_store_records_gives_the_same_blocks(data: bytes) -> None:
    assert blocks(data) == BLOCKS


@pytest.mark.parametrize("data", [b"".join(RECORDS), members(*RECORDS)], ids=["plain", "members"])
def test_offsets_and_lengths_are_those_of_warcio(data: bytes) -> None:
    import io

    iterator = ArchiveIterator(io.BytesIO(data))
    expected = []
    for _ in iterator:
        iterator.read_to_end()
        expected.append((iterator.get_record_offset(), iterator.get_record_length()))
    assert [(frame.offset, frame.length) for frame in cut(data) if isinstance(frame, Frame)] == expected


def test_offsets_in_one_member_are_those_of_the_decompressed_stream() -> None:
    plain = b"".join(RECORDS)
    places = [(frame.offset, frame.length) for frame in cut(gzip.compress(plain)) if isinstance(frame, Frame)]
    assert places == [(plain.index(record), len(record) - 4) for record in RECORDS]


def test_a_body_that_quotes_a_record_is_not_cut_when_lengths_are_right() -> None:
    quoting = http(b"before\r\n\r\n" + RECORDS[0] + b"after")
    assert blocks(warc(quoting) + RECORDS[1]) == [quoting, BLOCKS[1]]


@pytest.mark.parametrize("wrap", [lambda *r: b"".join(r), members, lambda *r: gzip.compress(b"".join(r))])
@pytest.mark.parametrize("length", [0, 5, 150, 900, "-7", "x", "absent", 10**17])
def test_wrong_length_ends_the_record_where_the_next_one_starts(wrap: object, length: object) -> None:
    data = wrap(RECORDS[0], warc(BLOCKS[1], length=length), RECORDS[2], RECORDS[3])  # type: ignore[operator]
    found = cut(data)
    names = [frame.block if isinstance(frame, Frame) else frame.reason for frame in found]
    if length == 10**17:  # beyond the limit: the record is lost, the next ones only where nothing shows their start
        one_member = names[1:] == ["bad_content_length"]
        assert names[0] == BLOCKS[0]
        assert one_member or names[1:] == ["bad_content_length", *BLOCKS[2:]]
        assert one_member == (data[:2] == b"\x1f\x8b" and data.count(b"\x1f\x8b\x08") == 1)
    else:
        assert names == BLOCKS
        assert isinstance(found[1], Frame)
        assert found[1].declared_length == ("" if length == "absent" else str(length))
        assert [frame.declared_length for frame in found if isinstance(frame, Frame)].count(None) == 3


def test_stripped_carriage_returns_lose_only_the_last_record() -> None:
    data = b"".join(RECORDS).replace(b"\r\n", b"\n")
    found = cut(data)
    assert [getattr(frame, "reason", None) for frame in found] == [None, None, None, "truncated_warc"]
    assert [frame.block for frame in found if isinstance(frame, Frame)] == [
        block.replace(b"\r\n", b"\n") for block in BLOCKS[:3]
    ]


def test_file_cut_inside_a_record() -> None:
    assert blocks(b"".join(RECORDS[:2])[:-30]) == [BLOCKS[0], "truncated_warc"]
    assert blocks(RECORDS[0] + b"WARC/1.0\r\nWARC-Type: resp") == [BLOCKS[0], "truncated_warc"]


def test_clipped_gzip_gives_every_whole_record_and_one_row() -> None:
    data = members(*RECORDS)
    last = len(members(*RECORDS[:3]))
    found = cut(data[:-20])
    assert [frame.block for frame in found[:3] if isinstance(frame, Frame)] == BLOCKS[:3]
    assert [(row.offset, row.reason) for row in found[3:] if isinstance(row, Quarantined)] == [(last, "truncated_gzip")]


def test_clipped_checksum_is_not_trusted() -> None:
    assert blocks(members(*RECORDS)[:-3])[3:] == ["truncated_gzip"]


def test_damaged_member_loses_only_its_own_record() -> None:
    parts = [bytearray(members(record)) for record in RECORDS]
    parts[1][-6] ^= 0xFF  # the checksum
    found = blocks(b"".join(map(bytes, parts)))
    assert found == [BLOCKS[0], "corrupt_gzip", *BLOCKS[2:]]
    parts[2][11:14] = b"\xff\xff\xff"  # the data
    found = cut(b"".join(map(bytes, parts)))
    # the second damaged member follows at once: one row stands for both and says where reading goes on
    assert [frame.block if isinstance(frame, Frame) else frame.reason for frame in found] == [
        BLOCKS[0],
        "corrupt_gzip",
        BLOCKS[3],
    ]
    assert isinstance(found[1], Quarantined)
    assert found[1].offset == len(parts[0])
    assert found[1].detail.endswith(f"reading goes on at byte {sum(map(len, parts[:3]))}")


def test_garbage_after_the_last_member_is_one_row() -> None:
    assert blocks(members(*RECORDS) + b"garbage") == [*BLOCKS, "corrupt_gzip"]


COMPRESS = {
    "gzip": lambda record: gzip.compress(record, mtime=0),
    "bzip2": bz2.compress,
    "zstd": lambda record: zstandard.ZstdCompressor(write_checksum=True).compress(record),
}


@pytest.mark.parametrize("codec", COMPRESS)
@pytest.mark.parametrize("member", [0, 1])
@pytest.mark.parametrize("place", [2, 3, 30, -9, -6, -1])
def test_a_damaged_member_of_any_codec_costs_its_own_record(codec: str, member: int, place: int) -> None:
    parts = [bytearray(COMPRESS[codec](record)) for record in RECORDS]
    parts[member][place] ^= 0xFF
    found = blocks(b"".join(map(bytes, parts)))
    assert [block for block in found if isinstance(block, bytes)] == BLOCKS[:member] + BLOCKS[member + 1 :]
    assert sum(isinstance(block, str) for block in found) == 1


@pytest.mark.parametrize("codec", COMPRESS)
def test_a_file_cut_anywhere_keeps_every_whole_record_and_says_what_it_lost(codec: str) -> None:
    parts = [COMPRESS[codec](record) for record in RECORDS[:3]]
    data = b"".join(parts)
    ends = [sum(map(len, parts[:count])) for count in range(4)]
    for cut_at in range(4, len(data), 3):
        found = blocks(data[:cut_at])
        whole = sum(end <= cut_at for end in ends[1:])
        assert found[:whole] == BLOCKS[:whole]
        assert found[whole:] == ([] if cut_at in ends else [f"truncated_{codec}"]), cut_at


def test_members_that_a_damaged_one_ran_over_are_kept_once() -> None:
    # stored blocks: the length that is hit says 65,535 bytes
    pages = [http(b"<p>" + b"%d " % n * 2000) for n in range(20)]
    parts = [bytearray(gzip.compress(warc(page), 0, mtime=0)) for page in pages]
    parts[3][11:15] = b"\xff\xff\x00\x00"
    kept = [block for block in blocks(b"".join(map(bytes, parts))) if isinstance(block, bytes)]
    numbers = [next(n for n, page in enumerate(pages) if block.startswith(page)) for block in kept]
    assert len(numbers) == 19
    assert numbers == sorted(set(numbers))


GARBAGE = [
    b"garbage\n",
    b"garbage",
    b"\xef\xbb\xbf",
    bytes(100),
    bytes(range(256)) * 300,
    b"WARC/7.0\r\nX: y\r\n\r\nz\r\n",
]


@pytest.mark.parametrize("garbage", GARBAGE, ids=range(len(GARBAGE)))
@pytest.mark.parametrize("wrap", [lambda *r: b"".join(r), members, lambda first, *r: first + members(*r)])
def test_a_file_that_does_not_start_with_a_record_is_read_from_its_first_one(garbage: bytes, wrap: object) -> None:
    found = cut(wrap(garbage, *RECORDS))  # type: ignore[operator]
    assert [frame.block for frame in found[1:] if isinstance(frame, Frame)] == BLOCKS
    (row,) = [row for row in found if isinstance(row, Quarantined)]
    assert (row.offset, row.reason) == (0, "not_a_warc")
    assert row.detail.endswith("; reading goes on at the next record")


@pytest.mark.parametrize("at", [0, 1])
def test_a_file_whose_first_bytes_are_hit_loses_one_member(at: int) -> None:
    data = bytearray(members(*RECORDS))
    data[at] ^= 0xFF
    assert blocks(bytes(data)) == ["not_a_warc", *BLOCKS[1:]]


@pytest.mark.parametrize("garbage", [*GARBAGE, b"\n\nXARC/1.0"], ids=range(len(GARBAGE) + 1))
def test_what_follows_a_sound_record_is_not_taken_into_it(garbage: bytes) -> None:
    assert blocks(RECORDS[0] + garbage + RECORDS[1] + RECORDS[2]) == [BLOCKS[0], "bad_warc_header", *BLOCKS[1:3]]


def test_a_version_line_that_is_hit_costs_its_own_record() -> None:
    hit = RECORDS[1].replace(b"WARC/1.0", b"WBRC/1.0")
    assert blocks(RECORDS[0] + hit + RECORDS[2]) == [BLOCKS[0], "bad_warc_header", BLOCKS[2]]


def test_records_without_anything_between_them_and_a_wrong_length() -> None:
    data = RECORDS[0].removesuffix(b"\r\n\r\n") + warc(BLOCKS[1], length=7).removesuffix(b"\r\n\r\n") + RECORDS[2]
    assert blocks(data) == BLOCKS[:3]


@pytest.mark.parametrize("compressed", [False, True])
def test_zstd_with_the_dictionary_that_the_file_begins_with(compressed: bool) -> None:
    samples = [warc(http(b"<p>sample number %d of a few words" % n)) for n in range(200)]
    dictionary = zstandard.train_dictionary(2000, samples)
    raw = dictionary.as_bytes()
    frame = zstandard.ZstdCompressor().compress(raw) if compressed else raw
    data = b"\x5d\x2a\x4d\x18" + len(frame).to_bytes(4, "little") + frame
    start = len(data)
    data += b"".join(zstandard.ZstdCompressor(dict_data=dictionary).compress(record) for record in RECORDS)
    found = cut(data)
    assert [frame.block for frame in found if isinstance(frame, Frame)] == BLOCKS
    assert isinstance(found[0], Frame)
    assert found[0].offset == start
    assert blocks(b"\x5d\x2a\x4d\x18\x04\x00\x00\x00none" + data[start:])[0] == "corrupt_zstd"


def test_large_block_is_passed_over() -> None:
    large = warc(b"x" * 5000)
    for data in (RECORDS[0] + large + RECORDS[1], members(RECORDS[0], large, RECORDS[1])):
        found = cut(data, limit=1000)
        assert [frame.block if isinstance(frame, Frame) else frame.reason for frame in found] == [
            BLOCKS[0],
            "too_large",
            BLOCKS[1],
        ]
        assert isinstance(found[1], Quarantined)
        assert found[1].record_id.startswith("urn:uuid:")


def test_large_block_is_never_held() -> None:
    import io
    import tracemalloc

    head = warc(b"", length=64 << 20).removesuffix(b"\r\n\r\n")

    class Zeros(io.RawIOBase):
        left = 64 << 20
        start = head

        def read(self, size: int = -1) -> bytes:
            if self.start:
                data, self.start = self.start, b""
                return data
            size = min(size, self.left)
            self.left -= size
            return bytes(size)

    tracemalloc.start()
    found = cut(MemberStream(Zeros()), limit=1 << 20)  # type: ignore[arg-type]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [row.reason for row in found if isinstance(row, Quarantined)] == ["too_large"]
    assert peak < 4 << 20


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}\n",
        b"not a warc\n" * 1000,
        b"\x04\x22\x4d\x18rest",
        b"s3://bucket/x.warc.gz\n",
        gzip.compress(b"<html>"),
    ],
)
def test_other_files_are_one_row(data: bytes) -> None:
    found = cut(data)
    assert len(found) == 1
    assert isinstance(found[0], Quarantined)
    assert found[0].reason in ("not_a_warc", "unsupported_compression")


@pytest.mark.parametrize("version", ["WARC/0.17", "WARC/0.18", "WARC/1.0", "WARC/1.1"])
def test_versions(version: str) -> None:
    assert blocks(RECORDS[0].replace(b"WARC/1.0", version.encode())) == [BLOCKS[0]]


def test_header_fields_may_be_folded_and_in_any_case() -> None:
    head = b"WARC/1.1\r\nwarc-type: response\r\nX-Long: one\r\n two\r\ncontent-LENGTH: 3\r\nContent-Length: 9\r\n"
    data = head + b"\r\nabc\r\n\r\n"
    (frame,) = cut(data)
    assert isinstance(frame, Frame)
    assert frame.block == b"abc"
    assert frame.headers.get_header("x-long") == "one two"


def test_header_without_an_end_is_bounded() -> None:
    endless = b"WARC/1.0\r\n" + b"X: y\r\n" * 300_000
    assert blocks(RECORDS[0] + endless + b"\n" + RECORDS[1])[:2] == [BLOCKS[0], "bad_warc_header"]


def test_arc_records_and_their_names() -> None:
    page = http(b"<p>old")
    data = ARC_HEAD + arc("http://a.example/x y?q=a b", page) + arc("dns:a.example", b"20080430204825\nA 192.0.2.1\n")
    found = [frame for frame in cut(data) if isinstance(frame, Frame)]
    assert [frame.format for frame in found] == ["arc"] * 3
    assert [frame.declared_length for frame in found] == [None] * 3
    assert [frame.block for frame in found[1:]] == [page, b"20080430204825\nA 192.0.2.1\n"]
    assert record_name(found[1].headers) == "http://a.example/x y?q=a b 20080430204825"


def test_arc_record_with_a_wrong_length_ends_at_the_next_one_even_without_a_date() -> None:
    page = http(b"<p>old")
    data = ARC_HEAD + arc("http://a.example/", page, length=20) + arc("http://b.example/", page, date="null")
    data += arc("http://c.example/", page, length=-1) + arc("http://d.example/", page)
    found = [frame for frame in cut(data) if isinstance(frame, Frame)]
    assert [frame.block for frame in found[1:]] == [page] * 4
    assert [frame.declared_length for frame in found[1:]] == ["20", None, "-1", None]


@given(st.data())
def test_damage_never_raises_and_never_adds_records(data: st.DataObject) -> None:
    whole = bytearray(
        data.draw(st.sampled_from([b"".join(RECORDS), members(*RECORDS), gzip.compress(b"".join(RECORDS))]))
    )
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(whole) - 1))
        match data.draw(st.sampled_from(["flip", "cut", "insert"])):
            case "flip":
                whole[at] ^= data.draw(st.integers(1, 255))
            case "cut":
                del whole[at : at + data.draw(st.integers(1, 400))]
            case _:
                whole[at:at] = random.Random(at).randbytes(data.draw(st.integers(1, 400)))
        if not whole:
            break
    found = rows(bytes(whole))
    assert 1 <= len(found) <= 9
    assert sum(tally(found).values()) == len(found)
