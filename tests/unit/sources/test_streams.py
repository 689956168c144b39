"""Decompressed streams that know their members and why they ended."""

from __future__ import annotations

import bz2
import gzip
import random
from pathlib import Path

import pytest
import zstandard
from source_factory import stream

from redpajama_pipe.errors import InputError
from redpajama_pipe.sources.decoders import codec_of
from redpajama_pipe.sources.streams import READ_BYTES, open_stream

NOISE = random.Random(1).randbytes(300_000)
COMPRESS = {
    "plain": lambda data: data,
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "bzip2": bz2.compress,
    "zstd": lambda data: zstandard.ZstdCompressor(write_checksum=True).compress(data),
}


def everything(data: bytes) -> tuple[bytes, str | None]:
    reader = stream(data)
    out = b"".join(reader.blocks())
    return out, reader.fault.reason if reader.fault else None


@pytest.mark.parametrize("codec", COMPRESS)
def test_members_are_joined(codec: str) -> None:
    data = COMPRESS[codec](NOISE) + COMPRESS[codec](b"") + COMPRESS[codec](b"end")
    assert codec_of(data) == codec
    assert everything(data) == (NOISE + b"end", None)


@pytest.mark.parametrize("codec", ["gzip", "bzip2", "zstd"])
@pytest.mark.parametrize("share", [0.001, 0.5, 0.999])
def test_clipped_file_gives_what_it_holds_and_says_so(codec: str, share: float) -> None:
    whole = COMPRESS[codec](NOISE)
    data = COMPRESS[codec](b"first") + whole[: int(len(whole) * share)]
    out, fault = everything(data)
    assert fault == f"truncated_{codec}"
    assert (b"first" + NOISE).startswith(out)
    assert len(out) >= 5
    if share > 0.9 and codec == "gzip":
        assert len(out) > 290_000


@pytest.mark.parametrize("codec", ["gzip", "bzip2", "zstd"])
def test_damaged_file_gives_what_precedes_the_damage(codec: str) -> None:
    first = COMPRESS[codec](b"first " * 100)
    broken = bytearray(COMPRESS[codec](NOISE))
    broken[len(broken) // 2] ^= 0xFF
    broken[-3] ^= 0xFF
    out, fault = everything(first + bytes(broken))
    assert fault == f"corrupt_{codec}"
    assert out.startswith(b"first " * 100)


def test_gzip_keeps_the_bytes_before_the_damage_of_the_same_member() -> None:
    data = bytearray(gzip.compress(b"".join(b"line %d\n" % n for n in range(20_000)), mtime=0))
    data[-5] ^= 0xFF  # the checksum
    out, fault = everything(bytes(data))
    assert fault == "corrupt_gzip"
    assert out.endswith(b"line 19999\n")


def test_zeros_after_the_last_member_are_padding_and_other_bytes_a_fault() -> None:
    whole = gzip.compress(b"text", mtime=0)
    assert everything(whole + b"\0" * 100_000) == (b"text", None)
    reader = stream(whole + b"garbage")
    assert b"".join(reader.blocks()) == b"text"
    assert reader.fault is not None
    assert (reader.fault.reason, reader.fault.offset, reader.fault.between) == ("corrupt_gzip", len(whole), True)


def test_other_compressions_are_named() -> None:
    reader = stream(b"\x04\x22\x4d\x18" + b"x" * 20)
    assert list(reader.blocks()) == []
    assert reader.fault is not None
    assert reader.fault.reason == "unsupported_compression"
    assert "lz4" in reader.fault.detail


def test_zstd_frames_with_long_windows_and_skippable_frames() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=27, enable_ldm=True)
    long = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    frame = long.compress(NOISE) + long.flush()
    skippable = b"\x50\x2a\x4d\x18" + (4).to_bytes(4, "little") + b"abcd"
    assert everything(skippable + frame + skippable + frame) == (NOISE * 2, None)


def test_member_starts_are_stored_offsets() -> None:
    first, second = gzip.compress(b"aaa\n", mtime=0), gzip.compress(b"bbb\n", mtime=0)
    reader = stream(first + second)
    assert reader.read_line(100) == b"aaa\n"
    assert reader.peek(1)[:1] == b"b"
    assert (reader.member_at(0), reader.member_at(4), reader.member_at(5)) == (0, len(first), None)
    assert reader.members_between(1, 9) == [4]
    reader.forget()
    assert reader.member_at(0) is None
    assert reader.read(100) == b"bbb\n"
    assert reader.stored_position == len(first + second)


@pytest.mark.parametrize("codec", COMPRESS)
def test_reading_peeking_and_putting_back_agree(codec: str) -> None:
    reader = stream(COMPRESS[codec](NOISE))
    assert reader.read(100_000) == NOISE[:100_000]
    assert reader.position == 100_000
    assert reader.peek(70_000)[:70_000] == NOISE[100_000:170_000]
    assert reader.position == 100_000
    reader.unread(NOISE[90_000:100_000])
    assert reader.position == 90_000
    assert reader.read(1 << 30) == NOISE[90_000:]
    assert reader.read(1) == b""


def test_line_is_cut_at_the_limit() -> None:
    reader = stream(b"x" * (READ_BYTES + 10) + b"\nrest")
    assert reader.read_line(READ_BYTES) == b"x" * READ_BYTES
    assert reader.read_line(READ_BYTES) == b"x" * 10 + b"\n"
    assert reader.read_line(READ_BYTES) == b"rest"
    assert reader.read_line(READ_BYTES) == b""


def test_gzip_goes_on_after_a_damaged_member() -> None:
    bad = bytearray(gzip.compress(b"two" * 1000, mtime=0))
    bad[12:16] = b"\xff\xff\xff\xff"
    data = gzip.compress(b"one") + bytes(bad) + gzip.compress(b"three") + gzip.compress(b"four")
    reader = stream(data)
    assert b"".join(reader.blocks()) == b"one"
    assert reader.fault is not None
    assert reader.skip_to_member(lambda text: text.startswith(b"four"), back=True)
    assert reader.fault is None
    assert b"".join(reader.blocks()) == b"four"
    assert reader.fault is None


def test_a_bomb_is_handed_out_in_small_pieces() -> None:
    bomb = gzip.compress(bytes(50 << 20), mtime=0)
    assert max(map(len, stream(bomb).blocks())) <= 1 << 18


def test_missing_file_is_a_line_that_names_it(tmp_path: Path) -> None:
    missing = tmp_path / "missing.warc"
    with pytest.raises(InputError, match=r"cannot read '.*missing\.warc': no such file"), open_stream(str(missing)):
        pass
    with pytest.raises(InputError, match="it is a folder"), open_stream(str(tmp_path)):
        pass
