"""The compressions of files, told apart by their first bytes, and one decoder of a member for each.

Memory: what one step gives, 256 KiB; Zstandard at most 128 MiB, for a bomb.

Source: RFC 1952 (gzip); RFC 8878 (Zstandard), 3.1.2 skippable frames; IIPC, Zstandard compression for WARC files 1.0
(https://iipc.github.io/warc-specifications/specifications/warc-zstd/).
"""

from __future__ import annotations

import bz2
import zlib
from typing import Protocol

import zstandard

STEP_BYTES = 1 << 18
# A Zstandard block gives at most 128 KiB and takes at least 4 bytes (RFC 8878, 3.1.1.2): a step gives at most 128 MiB.
ZSTD_FEED = 4096
ZSTD_WINDOW = 1 << 31  # --long=31, as the Pile is compressed
# Formats that are recognised in order to say so.
UNSUPPORTED = {b"\x04\x22\x4d\x18": "lz4", b"\xfd7zX": "xz", b"PK\x03\x04": "zip", b"7z\xbc\xaf": "7z"}
# What a member begins with, and how many of its bytes may pass before it gives text: a block of Zstandard has 128 KiB,
# one of bzip2 900 kB.
MAGIC = {"gzip": b"\x1f\x8b\x08", "bzip2": b"BZh", "zstd": b"\x28\xb5\x2f\xfd"}
LEAD_BYTES = {"gzip": 1 << 12, "bzip2": 1 << 20, "zstd": 1 << 18}
DICTIONARY_BYTES = 1 << 26
_DICTIONARY_FRAME = b"\x5d\x2a\x4d\x18"
_DICTIONARY = b"\x37\xa4\x30\xec"
# Whatever a decoder raises for bad data.
DAMAGED = (zlib.error, OSError, EOFError, zstandard.ZstdError)


def codec_of(head: bytes) -> str:
    """Name the compression of a file by its first bytes; "plain" when there is none that we know."""
    if head[:2] == b"\x1f\x8b":
        return "gzip"
    if head[:3] == b"BZh" and head[3:4] in b"123456789" and len(head) > 3:
        return "bzip2"
    if head[:4] == b"\x28\xb5\x2f\xfd" or (head[1:4] == b"\x2a\x4d\x18" and head[0] & 0xF0 == 0x50):
        return "zstd"
    return UNSUPPORTED.get(head[:4], "plain")


class Decoder(Protocol):
    """One member. `step` gives output and the input left over; `ready`: more output needs no input."""

    ended: bool
    ready: bool

    def step(self, data: bytes) -> tuple[bytes, bytes]: ...

    def salvage(self, data: bytes) -> tuple[bytes, int]:
        """Give what a failed step read before the bad byte, and where in its input that is."""


class _Gzip:
    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(16 + zlib.MAX_WBITS)
        self.ended = self.ready = False

    def step(self, data: bytes) -> tuple[bytes, bytes]:
        self._before = self._zlib.copy()  # zlib drops the output of a call that fails; 5 µs
        out = self._zlib.decompress(data, STEP_BYTES)
        self.ended = self._zlib.eof
        self.ready = len(out) == STEP_BYTES
        return out, self._zlib.unused_data if self.ended else self._zlib.unconsumed_tail

    def salvage(self, data: bytes) -> tuple[bytes, int]:
        out = bytearray()
        for at in range(len(data)):  # 30 ms for a whole read
            try:
                out += self._before.decompress(data[at : at + 1])
            except zlib.error:  # where the step failed, which has been reported
                return bytes(out), at
        return bytes(out), len(data)


class _Bzip2:
    def __init__(self) -> None:
        self._bz2 = bz2.BZ2Decompressor()
        self.ended = self.ready = False

    def step(self, data: bytes) -> tuple[bytes, bytes]:
        out = self._bz2.decompress(data, STEP_BYTES)
        self.ended = self._bz2.eof
        self.ready = not self.ended and not self._bz2.needs_input
        return out, self._bz2.unused_data if self.ended else b""

    def salvage(self, data: bytes) -> tuple[bytes, int]:
        return b"", 0


class _Zstd:
    def __init__(self, dictionary: zstandard.ZstdCompressionDict | None) -> None:
        decompressor = zstandard.ZstdDecompressor(dict_data=dictionary, max_window_size=ZSTD_WINDOW)
        self._zstd = decompressor.decompressobj()
        self.ended = self.ready = False

    def step(self, data: bytes) -> tuple[bytes, bytes]:
        out = self._zstd.decompress(data[:ZSTD_FEED])
        self.ended = self._zstd.eof
        return out, (self._zstd.unused_data if self.ended else b"") + data[ZSTD_FEED:]

    def salvage(self, data: bytes) -> tuple[bytes, int]:
        return b"", 0


def make_decoder(codec: str, dictionary: zstandard.ZstdCompressionDict | None = None) -> Decoder:
    """Return a decoder of one member; the dictionary is Zstandard's."""
    if codec == "zstd":
        return _Zstd(dictionary)
    return _Gzip() if codec == "gzip" else _Bzip2()


def dictionary_bytes(head: bytes) -> int:
    """Return how long the frame is, from its first 8 bytes, that may hold a file's dictionary; 0: it is none."""
    size = 8 + int.from_bytes(head[4:8], "little")
    return size if head[:4] == _DICTIONARY_FRAME and len(head) >= 8 and size <= DICTIONARY_BYTES else 0


def read_dictionary(frame: bytes) -> zstandard.ZstdCompressionDict | None:
    """Take the dictionary out of a skippable frame, in which it may be compressed; None: it holds something else."""
    content = frame[8:]
    if content.startswith(MAGIC["zstd"]):
        try:
            content = zstandard.ZstdDecompressor().decompress(content, max_output_size=DICTIONARY_BYTES)
        except zstandard.ZstdError:
            return None
    return zstandard.ZstdCompressionDict(content) if content.startswith(_DICTIONARY) else None
