"""Count FineWeb's line signals: newlines are found 64 bytes at once, and a repeated line is known by a 64-bit hash.

Pages are read where they lie and may come in pieces. Scratch is one table of hashes, of 32 MiB at most for pages of up
to 128 MiB, and growing with those beyond. A page with more different lines comes several times, and each time those are
counted whose hash lies in one part of all hashes.

Everything compiled is in this file and in text/, whose changes Numba's cache does not see.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from redpajama_pipe.text.blocks import BLOCK, ones, power_of_two, within
from redpajama_pipe.text.decode import character_before, decode
from redpajama_pipe.text.lean import lean_entry
from redpajama_pipe.text.line_hash import ending, read_line
from redpajama_pipe.text.span_hash import MULTIPLIER

# The columns of what `tally` returns, in order.
TALLIES = ("lines", "punctuated_lines", "short_lines", "duplicate_chars", "chars")
_LINES, _PUNCTUATED, _SHORT, _DUPLICATE, _CHARS = range(5)
SHORT_LINE_CHARS = 30

# Flags of characters; fineweb.flags() makes the table and a test compares them.
SPACE, TERMINAL = 1, 2

ROOM = 1 << 22  # hashes in the table
_FULL = 5  # eighths of it
_NONE, _ONE, _SIXTEEN, _HALF, _PART = (np.uint64(number) for number in (0, 1, 16, 32, 48))

Pieces = Iterable[tuple[NDArray[np.uint8], NDArray[np.int64], int]]


def tally(
    pieces: Callable[[], Pieces], lines: NDArray[np.int64], sizes: NDArray[np.int64], flags: NDArray[np.uint8]
) -> NDArray[np.int64]:
    """Count for every page.

    Args:
        pieces: gives all pages, as often as it is called, as parts of some pages in a row: their UTF-8, end to end
            (read-only); (parts + 1,) where each begins; and the number of the first page. A part ends with a newline
            or its page.
        lines: (pages,) so many lines they have at most; 0: leave zeros.
        sizes: (pages,) so many bytes they have at most.
        flags: of every code point, fineweb.flags().

    Returns:
        (pages, TALLIES).
    """
    counts = np.zeros((len(lines), len(TALLIES)), np.int64)
    room = ROOM << max(int(np.max(sizes, initial=1)) - 1 >> 27, 0).bit_length()
    slots = np.empty(min(room, power_of_two(2 * int(np.max(lines, initial=0)) + 4)), np.uint64)
    parts, part = np.minimum(lines, 1), np.zeros(len(lines), np.int64)
    while (part < parts).any():
        met = np.array([-1, 0])
        for text, offsets, first in pieces():
            _tally(text, offsets, first, ending(text), lines, flags, slots, met, parts, part, counts)
        part += 1
    return counts


@lean_entry
def newlines(
    text: NDArray[np.uint8], offsets: NDArray[np.int64], valid: NDArray[np.bool_], found: NDArray[np.int64]
) -> None:
    """Count the newlines of each valid page, and one more."""
    for page in range(len(valid)):
        if not valid[page]:
            continue
        at: Any = offsets[page]
        end = offsets[page + 1]
        count = 1
        while at < end and at + BLOCK <= len(text):
            inside = ~_NONE if end - at >= BLOCK else (_ONE << np.uint64(end - at)) - _ONE
            count += ones(inside & within(text, np.uint64(at), 0x0A, 0x0A))
            at += BLOCK
        while at < end:
            count += text[at] == 0x0A
            at += 1
        found[page] = count


@lean_entry
def _tally(
    text: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    first: int,
    last: NDArray[np.uint8],
    lines: NDArray[np.int64],
    flags: NDArray[np.uint8],
    slots: NDArray[np.uint64],
    met: NDArray[np.int64],
    parts: NDArray[np.int64],
    part: NDArray[np.int64],
    counts: NDArray[np.int64],
) -> None:
    """Count on.

    Args:
        text: parts of some pages in a row, end to end.
        offsets: (parts + 1,) where each begins.
        first: the number of the first page.
        last: the `ending` of the text.
        lines: (pages,) so many lines they have at most.
        flags: of every code point.
        slots: scratch: hashes of the lines met in the page, 0: free.
        met: the page whose lines are in the slots, and how many they are.
        parts: (pages,) in and out: in how many parts the hashes are looked at: twice as many from the next time on
            where there was no room for one.
        part: (pages,) in and out: which of them to look at; -1: all is to be done again.
        counts: (pages, TALLIES).
    """
    for index in range(len(offsets) - 1):
        page = first + index
        if part[page] < 0 or part[page] >= parts[page]:
            continue
        count, many, which = counts[page], np.uint64(parts[page]), np.uint64(part[page])
        size = min(power_of_two(2 * lines[page] + 4), len(slots))
        if met[0] != page:
            slots[:size] = 0
            met[0], met[1] = page, 0
        left = size * _FULL // 8 - met[1]
        mask = np.uint64(size - 1)
        at: Any = offsets[index]
        stop = offsets[index + 1]
        while at < stop:
            start = at
            end, key, chars = read_line(text, last, start, stop)
            at = end + 1
            if start == end:
                continue
            key = (key ^ (key >> _HALF)) * MULTIPLIER
            key = (key ^ (key >> _HALF)) | _ONE
            if (key >> _PART) * many >> _SIXTEEN != which:
                continue
            count[_CHARS] += chars
            letter = start  # the first character that is no white space
            while letter < end and (text[letter] & 0xC0 == 0x80 or flags[decode(text, letter, end)[0]] & SPACE):
                letter += 1
            if letter == end:
                continue
            count[_LINES] += 1
            count[_SHORT] += chars <= SHORT_LINE_CHARS
            last_at = character_before(text, end, start)
            count[_PUNCTUATED] += (flags[decode(text, last_at, end)[0]] & TERMINAL) != 0
            slot = key >> _SIXTEEN & mask
            while slots[slot] and slots[slot] != key:
                slot = (slot + _ONE) & mask
            if slots[slot]:
                count[_DUPLICATE] += chars
            elif left:
                slots[slot] = key
                left -= 1
            else:
                parts[page] *= 2
                part[page] = -1
                counts[page] = 0
                break
        met[1] = size * _FULL // 8 - left
