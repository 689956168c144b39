"""One file as one decompressed stream that knows where its compressed members start and why it ended.

gzip, bzip2, Zstandard and plain files, told apart by their first bytes, never by their name. A stream does not raise
for bad data: it ends, and `fault` says why; everything before the fault has been handed out. Memory: a read of 64 KiB
and what one step of decompression gives (256 KiB; Zstandard: at most 128 MiB, for a bomb).
"""

from __future__ import annotations

import bz2
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from typing import BinaryIO, Protocol, cast

import fsspec
import zstandard
from fsspec.implementations.local import LocalFileSystem

from redpajama_pipe.errors import InputError

READ_BYTES = 1 << 16
STEP_BYTES = 1 << 18
# A Zstandard block gives at most 128 KiB and takes at least 4 bytes (RFC 8878, 3.1.1.2): a step gives at most 128 MiB.
ZSTD_FEED = 4096
ZSTD_WINDOW = 1 << 31  # --long=31, as the Pile is compressed
# Formats that are recognised in order to say so.
UNSUPPORTED = {b"\x04\x22\x4d\x18": "lz4", b"\xfd7zX": "xz", b"PK\x03\x04": "zip", b"7z\xbc\xaf": "7z"}


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a stream ended before its file did.

    Attributes:
        reason: `truncated_gzip`, `corrupt_gzip`, and likewise for bzip2 and zstd; `unsupported_compression`.
        detail: one line for a person.
        offset: byte of the stored file at which the member at fault starts.
        between: it lies after a complete member, so that everything handed out is whole.
    """

    reason: str
    detail: str
    offset: int
    between: bool


class _Decoder(Protocol):
    """One member. `step` gives output and the input left over; `ready`: more output needs no input."""

    ended: bool
    ready: bool

    def step(self, data: bytes) -> tuple[bytes, bytes]: ...

    def salvage(self, data: bytes) -> bytes: ...


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

    def salvage(self, data: bytes) -> bytes:
        """Give what a failed step read before the bad byte."""
        out = bytearray()
        for at in range(len(data)):  # 30 ms for a whole read
            try:
                out += self._before.decompress(data[at : at + 1])
            except zlib.error:  # where the step failed, which has been reported
                break
        return bytes(out)


class _Bzip2:
    def __init__(self) -> None:
        self._bz2 = bz2.BZ2Decompressor()
        self.ended = self.ready = False

    def step(self, data: bytes) -> tuple[bytes, bytes]:
        out = self._bz2.decompress(data, STEP_BYTES)
        self.ended = self._bz2.eof
        self.ready = not self.ended and not self._bz2.needs_input
        return out, self._bz2.unused_data if self.ended else b""

    def salvage(self, data: bytes) -> bytes:
        return b""


class _Zstd:
    def __init__(self) -> None:
        self._zstd = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW).decompressobj()
        self.ended = self.ready = False

    def step(self, data: bytes) -> tuple[bytes, bytes]:
        out = self._zstd.decompress(data[:ZSTD_FEED])
        self.ended = self._zstd.eof
        return out, (self._zstd.unused_data if self.ended else b"") + data[ZSTD_FEED:]

    def salvage(self, data: bytes) -> bytes:
        return b""


_DECODERS: dict[str, Callable[[], _Decoder]] = {"gzip": _Gzip, "bzip2": _Bzip2, "zstd": _Zstd}


def codec_of(head: bytes) -> str:
    """Name the compression of a file by its first bytes; "plain" when there is none that we know."""
    if head[:2] == b"\x1f\x8b":
        return "gzip"
    if head[:3] == b"BZh" and head[3:4] in b"123456789" and len(head) > 3:
        return "bzip2"
    if head[:4] == b"\x28\xb5\x2f\xfd" or (head[1:4] == b"\x2a\x4d\x18" and head[0] & 0xF0 == 0x50):
        return "zstd"
    return UNSUPPORTED.get(head[:4], "plain")


class MemberStream:
    """A file's decompressed bytes, in order, with the place of each compressed member."""

    def __init__(self, raw: BinaryIO) -> None:
        self._raw = raw
        self._input = b""
        self._taken = 0  # bytes of the stored file read so far
        self._decoder: _Decoder | None = None
        self._member = 0  # where the present member starts in the stored file
        self._buffer = b""
        self._at = 0
        self._produced = 0
        self._ended = False
        self._starts: OrderedDict[int, int] = OrderedDict()
        self.fault: Fault | None = None
        self._more_input(4)
        self.codec = codec_of(self._input)
        if self.codec in UNSUPPORTED.values():
            self._ended = True
            detail = f"the file is compressed with {self.codec}; gzip, bzip2, zstd and plain files are read"
            self.fault = Fault("unsupported_compression", detail, 0, between=True)

    @property
    def position(self) -> int:
        """Where the next byte lies in the decompressed stream."""
        return self._produced - len(self._buffer) + self._at

    @property
    def stored_position(self) -> int:
        """Where the next byte of input lies in the stored file; once the stream has ended, the size of the file."""
        return self._taken - len(self._input)

    def member_at(self, position: int) -> int | None:
        """Say where in the stored file the member starts whose first byte is at `position`; None: no member does.

        In a plain file every byte may start a record, so it is the position itself.
        """
        return position if self.codec == "plain" else self._starts.get(position)

    def members_between(self, start: int, end: int) -> list[int]:
        """List the positions from start to end, excluded, at which a member starts."""
        return [position for position in self._starts if start <= position < end]

    def peek(self, size: int) -> bytes:
        """Return the next bytes without taking them: `size` or more, fewer only at the end."""
        while len(self._buffer) - self._at < size and self._fill():
            pass
        return self._buffer[self._at :]

    def read(self, size: int) -> bytes:
        """Take the next `size` bytes, fewer only at the end."""
        have = len(self._buffer) - self._at
        if size <= have:
            self._at += size
            return self._buffer[self._at - size : self._at]
        pieces = [self._buffer[self._at :]]
        self._buffer, self._at = b"", 0
        while have < size and self._fill():
            piece = self._buffer[: size - have]
            self._at = len(piece)
            have += len(piece)
            pieces.append(piece)
        return b"".join(pieces)

    def peek_line(self, limit: int) -> bytes:
        """Return the bytes up to and with the next line feed, at most `limit`, without taking them."""
        searched = 0
        while True:
            end = self._buffer.find(b"\n", self._at + searched)
            if end >= 0:
                return self._buffer[self._at : min(end + 1, self._at + limit)]
            searched = len(self._buffer) - self._at
            if searched >= limit or not self._fill():
                return self._buffer[self._at : self._at + limit]

    def read_line(self, limit: int) -> bytes:
        """Take a line, as `peek_line` sees it."""
        line = self.peek_line(limit)
        self._at += len(line)
        return line

    def unread(self, data: bytes) -> None:
        """Put back the last bytes taken."""
        self._buffer = data + self._buffer[self._at :]
        self._at = 0

    def blocks(self) -> Iterator[bytes]:
        """Take everything that is left, piece by piece."""
        while self._at < len(self._buffer) or self._fill():
            piece = self._buffer[self._at :]
            self._buffer, self._at = b"", 0
            yield piece

    def forget(self) -> None:
        """Drop what is known of the members before the present position."""
        position = self.position
        while self._starts and next(iter(self._starts)) < position:
            self._starts.popitem(last=False)

    def rewind(self, position: int) -> bool:
        """Go back in a plain file; False where the storage cannot."""
        if self.codec != "plain" or not self._raw.seekable():
            return False
        self._raw.seek(position)
        self._input = self._buffer = b""
        self._at = 0
        self._taken = self._produced = position
        self._ended = False
        return True

    def skip_to_member(self, accept: Callable[[bytes], bool]) -> bool:
        """After a fault in gzip, go on at the next member whose first bytes of text are accepted.

        The search starts in the 64 KiB of input that held the bad byte: members that a damaged one swallowed before
        are not found again.

        Returns:
            False when there is no such member; the stream has ended for good.
        """
        self._buffer, self._at = b"", 0
        if self.codec != "gzip":
            return False
        at = 1  # the member at fault may itself start at 0
        while True:
            found = self._input.find(b"\x1f\x8b\x08", at)
            if found < 0:
                self._input = self._input[-2:]
                at = 0
                if not self._more_input(len(self._input) + 1):
                    return False
                continue
            self._input = self._input[found:]
            self._more_input(4096)
            try:
                text = zlib.decompressobj(16 + zlib.MAX_WBITS).decompress(self._input[:4096], 1024)
            except zlib.error:
                text = b""
            if text and accept(text):
                self.fault, self._decoder, self._ended = None, None, False
                return True
            at = 1

    def _more_input(self, size: int) -> bool:
        """Read until `size` bytes of input wait; False when the file ends before."""
        while len(self._input) < size:
            data = self._raw.read(READ_BYTES)
            if not data:
                return False
            self._taken += len(data)
            self._input += data
        return True

    def _fill(self) -> bool:
        """Append at least one byte to the buffer; False at the end."""
        if self._ended:
            return False
        out = self._plain() if self.codec == "plain" else self._decode()
        self._produced += len(out)
        self._ended = self._ended or not out
        self._buffer = self._buffer[self._at :] + out if self._at < len(self._buffer) else out
        self._at = 0
        return bool(out)

    def _plain(self) -> bytes:
        if not self._input:
            self._more_input(1)
        out, self._input = self._input, b""
        return out

    def _decode(self) -> bytes:
        while True:
            if self._decoder is None and not self._next_member():
                return b""
            assert self._decoder is not None
            if not self._input and not self._decoder.ready and not self._more_input(1):
                self._fail("truncated", "the file ends inside a member", between=False)
                return b""
            before = self._input
            try:
                out, self._input = self._decoder.step(before)
            except (zlib.error, OSError, EOFError, zstandard.ZstdError) as error:
                out = self._decoder.salvage(before)
                self._fail("corrupt", str(error) or type(error).__name__, between=False)
                return out
            if self._decoder.ended:
                self._decoder = None
            if out:
                return out

    def _next_member(self) -> bool:
        while True:  # gzip -t and bzip2 -t accept zeros that fill the last block of a tape
            self._input = self._input.lstrip(b"\0")
            if self._input or not self._more_input(1):
                break
        if not self._input:
            return False
        self._more_input(4)
        self._member = self._taken - len(self._input)
        if codec_of(self._input) != self.codec:
            short = len(self._input) < 4 and self._taken > len(self._input)
            what = f"bytes that are no {self.codec} member follow: {self._input[:8]!r}"
            self._fail("truncated" if short and self._input[:1] == b"\x1f" else "corrupt", what, between=True)
            return False
        self._decoder = _DECODERS[self.codec]()
        self._starts[self._produced] = self._member
        return True

    def _fail(self, kind: str, detail: str, *, between: bool) -> None:
        self.fault = Fault(f"{kind}_{self.codec}", f"member at byte {self._member}: {detail}", self._member, between)
        self._decoder = None
        # a salvaged piece may still be handed out; the call after it finds the end
        self._ended = True


@contextmanager
def open_stream(uri: str) -> Iterator[MemberStream]:
    """Open a local file or a URL that fsspec knows.

    Raises:
        InputError: there is no such file, or it may not be read.
    """
    try:
        filesystem, path = fsspec.core.url_to_fs(uri)
        local = isinstance(filesystem, LocalFileSystem)
        raw = cast(BinaryIO, FileIO(path) if local else filesystem.open(path, "rb"))
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        reason = {FileNotFoundError: "no such file", IsADirectoryError: "it is a folder"}.get(
            type(error), "permission denied"
        )
        raise InputError(f"cannot read {uri!r}: {reason}") from error
    with raw:
        yield MemberStream(raw)
