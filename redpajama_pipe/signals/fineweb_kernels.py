"""Count FineWeb's line signals: newlines are found 64 bytes at once, and a repeated line is known by a 64-bit hash.

Everything compiled is in this one file: Numba's cache looks at no other file when it decides whether it is stale.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from redpajama_pipe.text.blocks import BLOCK, characters, first_one, ones, power_of_two, within
from redpajama_pipe.text.decode import decode
from redpajama_pipe.text.span_hash import MULTIPLIER, hash_span

# The columns of what `tally` returns, in order.
TALLIES = ("lines", "punctuated_lines", "short_lines", "duplicate_chars", "chars")
_LINES, _PUNCTUATED, _SHORT, _DUPLICATE, _CHARS = range(5)
SHORT_LINE_CHARS = 30

# Flags of characters; fineweb.flags() makes the table and a test compares them.
SPACE, TERMINAL = 1, 2

_HALF = np.uint64(32)
_NONE, _ONE = np.uint64(0), np.uint64(1)
PADDING = 2 * BLOCK  # so much may be read after a page


@njit(cache=True, nogil=True)
def tally(
    data: NDArray[np.uint8], offsets: NDArray[np.int64], valid: NDArray[np.bool_], flags: NDArray[np.uint8]
) -> NDArray[np.int64]:
    """Count for every document.

    Args:
        data: the documents' UTF-8, end to end.
        offsets: (documents + 1,) where each begins.
        valid: (documents,) False: leave zeros.
        flags: of every code point, fineweb.flags().

    Returns:
        (documents, TALLIES); zeros where `valid` is False.
    """
    documents = len(valid)
    counts = np.zeros((documents, len(TALLIES)), np.int64)
    longest: Any = 0
    for document in range(documents):
        if valid[document]:
            longest = max(longest, offsets[document + 1] - offsets[document])
    page = np.empty(longest + PADDING, np.uint8)
    newlines = np.empty(longest + 1, np.int64)
    slots = np.zeros(64, np.uint64)  # hashes of the lines met in a document; 0: free
    for document in range(documents):
        if not valid[document]:
            continue
        start, end = np.uint64(offsets[document]), offsets[document + 1] - offsets[document]
        for at in range(end):
            page[np.uint64(at)] = data[start + np.uint64(at)]
        for at in range(end, end + PADDING):
            page[at] = 0
        lines = _find_lines(page, end, newlines, counts[document])
        size = power_of_two(2 * lines + 4)
        if size > len(slots):
            slots = np.zeros(size, np.uint64)
        slots[:size] = 0
        _count_lines(page, newlines[:lines], flags, slots, size - 1, counts[document])
    return counts


@njit(cache=True, nogil=True)
def _find_lines(page: NDArray[np.uint8], end: int, newlines: NDArray[np.int64], count: NDArray[np.int64]) -> int:
    """Leave where lines end, the last one at the end of the text; count the characters of all; return the lines."""
    lines = chars = 0
    for at in range(0, end, BLOCK):
        inside = ~_NONE if end - at >= BLOCK else (_ONE << np.uint64(end - at)) - _ONE
        ends = within(page, np.uint64(at), 0x0A, 0x0A)
        chars += ones(inside & ~within(page, np.uint64(at), 0x80, 0xBF))
        while ends:
            newlines[lines] = at + first_one(ends)
            ends &= ends - _ONE
            lines += 1
    newlines[lines] = end
    count[_CHARS] = chars - lines
    return lines + 1


@njit(cache=True, nogil=True)
def _count_lines(
    page: NDArray[np.uint8],
    ends: NDArray[np.int64],
    flags: NDArray[np.uint8],
    slots: NDArray[np.uint64],
    mask: int,
    count: NDArray[np.int64],
) -> None:
    lines = punctuated = short = duplicate_chars = 0
    start: Any = np.int64(0)
    for end in ends:
        # A letter at its beginning says that a line is not blank.
        if start < end and (0x21 <= page[start] < 0x80 or not _is_blank(page, start, end, flags)):
            line_hash, outside_ascii = hash_span(page, start, end)
            chars = characters(page, start, end) if outside_ascii else end - start
            lines += 1
            short += chars <= SHORT_LINE_CHARS
            last_at = end - 1
            while last_at > start and page[last_at] & 0xC0 == 0x80:
                last_at -= 1
            punctuated += (flags[decode(page, last_at, end)[0]] & TERMINAL) != 0
            if _met(slots, mask, line_hash):
                duplicate_chars += chars
        start = end + 1
    count[_LINES], count[_PUNCTUATED], count[_SHORT], count[_DUPLICATE] = lines, punctuated, short, duplicate_chars


@njit(cache=True, nogil=True)
def _is_blank(data: NDArray[np.uint8], at: int, end: int, flags: NDArray[np.uint8]) -> bool:
    while at < end:
        if data[at] & 0xC0 != 0x80 and not flags[decode(data, at, end)[0]] & SPACE:
            return False
        at += 1
    return True


@njit(cache=True, nogil=True)
def _met(slots: NDArray[np.uint64], mask: int, line: np.uint64) -> bool:
    """Whether a line was met before in this document; it is from now on."""
    key = (line ^ (line >> _HALF)) * MULTIPLIER
    key = (key ^ (key >> _HALF)) | np.uint64(1)
    slot = np.int64(key >> np.uint64(24)) & mask
    while slots[slot]:
        if slots[slot] == key:
            return True
        slot = (slot + 1) & mask
    slots[slot] = key
    return False
