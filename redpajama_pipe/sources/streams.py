"""One file as one decompressed stream that knows where its compressed members start and why it ended.

gzip, bzip2, Zstandard and plain files, told apart by their first bytes, never by their name. A stream does not raise
for bad data: it ends, and `fault` says why; everything before the fault has been handed out. Memory: a read of 64 KiB
and what one step of decompression gives (see decoders); after a damage 1 MiB.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from typing import BinaryIO, cast

import fsspec
import zstandard
from fsspec.implementations.local import LocalFileSystem

from redpajama_pipe.errors import InputError
from redpajama_pipe.sources.decoders import (
    DAMAGED,
    LEAD_BYTES,
    MAGIC,
    UNSUPPORTED,
    Decoder,
    codec_of,
    dictionary_bytes,
    make_decoder,
    read_dictionary,
)

READ_BYTES = 1 << 16
# After a damage the search for the next member begins so far before the place at which the decoder saw it: a length
# that was hit lets it run over members that are sound.
SEARCH_BACK_BYTES = 1 << 20
TEXT_BYTES = 1024


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a stream ended before its file did.

    Attributes:
        reason: `truncated_gzip`, `corrupt_gzip`, and likewise for bzip2 and zstd; `unsupported_compression`.
        detail: one line for a person.
        offset: byte of the stored file at which the member at fault starts.
        between: nothing of the member at fault was handed out, so that everything handed out is whole.
    """

    reason: str
    detail: str
    offset: int
    between: bool


class MemberStream:
    """A file's decompressed bytes, in order, with the place of each compressed member."""

    def __init__(self, raw: BinaryIO) -> None:
        self._raw = raw
        self._input = b""
        self._taken = 0  # bytes of the stored file read so far
        self._decoder: Decoder | None = None
        self._dictionary: zstandard.ZstdCompressionDict | None = None
        self._member = 0  # where the present member starts in the stored file
        self._bad_at = 0  # where in the input a decoder failed
        self.member_text = 0  # where in the decompressed stream the text of the present member starts
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

    def skip_to_member(self, accept: Callable[[bytes], bool], *, back: bool) -> bool:
        """After a fault, go on at the next member whose first bytes of text are accepted.

        Args:
            accept: says whether text may begin a member.
            back: search also what the damaged member ran over, as far as SEARCH_BACK_BYTES before the damage. Only if
                none of its text was used: it may be that of members which would be found again.

        Returns:
            False when there is no such member; the stream has ended for good.
        """
        self._buffer, self._at = b"", 0
        if self.codec not in MAGIC:
            return False
        seen = self.stored_position
        after = self._member + 1  # the member at fault must not be found again
        start = max(after, seen - SEARCH_BACK_BYTES)
        if back and start < seen and self._raw.seekable():
            self._raw.seek(start)
            self._taken, self._input = start, b""
        else:
            self._input = self._input[max(after - seen, 0 if back else self._bad_at) :]
        return self._find_member(accept)

    def search_members(self, accept: Callable[[bytes], bool]) -> bool:
        """Search a file that was taken for a plain one for compressed members: its first bytes may be damaged.

        Returns:
            Whether there is a member whose first bytes of text are accepted; the stream then goes on there.
        """
        if self.codec != "plain" or not self._raw.seekable():
            return False
        self._buffer, self._at = b"", 0
        for codec in MAGIC:
            self._raw.seek(0)
            self._taken, self._input = 0, b""
            self.codec = codec
            if self._find_member(accept):
                return True
        self.codec = "plain"
        return False

    def _find_member(self, accept: Callable[[bytes], bool]) -> bool:
        """Go to the next member from the present input on, as `skip_to_member` does."""
        magic = MAGIC[self.codec]
        while True:
            found = self._input.find(magic)
            if found < 0:
                self._input = self._input[-len(magic) + 1 :]
                if not self._more_input(len(self._input) + 1):
                    return False
                continue
            self._input = self._input[found:]
            self._more_input(LEAD_BYTES[self.codec])
            text = self._first_text()
            if text and accept(text):
                self.fault, self._decoder, self._ended = None, None, False
                return True
            self._input = self._input[1:]

    def _first_text(self) -> bytes:
        """Decode the beginning of a member that may start where the input does; b"" if none does."""
        decoder = make_decoder(self.codec, self._dictionary)
        text = b""
        for at in range(0, LEAD_BYTES[self.codec], 512):  # in pieces: damage further on is no reason to refuse it
            piece = self._input[at : at + 512]
            try:
                while piece:
                    out, piece = decoder.step(piece)
                    text += out
                    if decoder.ended:
                        return text
            except DAMAGED:
                break
            if len(text) >= TEXT_BYTES:
                break
        return text

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
                self._fail("truncated", "the file ends inside a member", between=self._silent())
                return b""
            before = self._input
            try:
                out, self._input = self._decoder.step(before)
            except DAMAGED as error:
                out, self._bad_at = self._decoder.salvage(before)
                self._fail("corrupt", str(error) or type(error).__name__, between=not out and self._silent())
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
            short = len(self._input) < 4 and MAGIC[self.codec].startswith(self._input)
            what = f"bytes that are no {self.codec} member follow: {self._input[:8]!r}"
            self._fail("truncated" if short else "corrupt", what, between=True)
            return False
        self._take_dictionary()
        self._decoder = make_decoder(self.codec, self._dictionary)
        self._starts[self._produced] = self._member
        self.member_text = self._produced
        return True

    def _silent(self) -> bool:
        """Say whether nothing of the present member was handed out."""
        return self._produced == self.member_text

    def _take_dictionary(self) -> None:
        """Keep the dictionary that a .warc.zst file begins with; its frame gives no text."""
        if self.codec != "zstd" or self._member:
            return
        self._more_input(8)
        size = dictionary_bytes(self._input[:8])
        if size and self._more_input(size):
            self._dictionary = read_dictionary(self._input[:size])

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
