"""Lines of a stream with their places, of bounded length.

A line beyond the limit is passed over without being held. Memory: one line and one block of the stream.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from redpajama_pipe.sources.streams import MemberStream


@dataclass(slots=True)
class Line:
    """One line without its line feed.

    Attributes:
        number: 0 for the first line.
        offset: where it starts in the decompressed stream.
        data: the bytes; None when there are more than the limit. Who takes them for good sets it to None.
        length: how many there are.
        ended: it ended in a line feed; only the last line may not.
    """

    number: int
    offset: int
    data: bytes | None
    length: int
    ended: bool


def read_lines(stream: MemberStream, limit: int) -> Iterator[Line]:
    """Yield the lines of a stream; what follows the last line feed is a line if it is not empty.

    Args:
        stream: it may end in a fault, which the caller must look at.
        limit: bytes of the longest line that is held.
    """
    number = offset = size = 0
    held: list[bytes] = []
    for block in stream.blocks():
        at = 0
        while (end := block.find(b"\n", at)) >= 0:
            length = size + end - at
            held.append(block[at:end])
            yield Line(number, offset, _joined(held) if length <= limit else None, length, True)
            number += 1
            offset += length + 1
            size = 0
            held.clear()
            at = end + 1
        size += len(block) - at
        if size <= limit:
            held.append(block[at:])
        else:
            held.clear()
    if size:
        yield Line(number, offset, _joined(held) if size <= limit else None, size, False)


def _joined(held: list[bytes]) -> bytes:
    """Join what is held, which is let go: a long line is not there twice while it is worked on."""
    data = held[0] if len(held) == 1 else b"".join(held)
    held.clear()
    return data
