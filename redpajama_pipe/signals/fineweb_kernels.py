"""Count FineWeb's line signals in one pass over the bytes; a repeated line is known by a 64-bit hash.

Everything compiled is in this one file: Numba's cache looks at no other file when it decides whether it is stale.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

# The columns of what `tally` returns, in order.
TALLIES = ("lines", "punctuated_lines", "short_lines", "duplicate_chars", "chars")
SHORT_LINE_CHARS = 30

# Flags of characters; fineweb.flags() makes the table and a test compares them.
SPACE, TERMINAL = 1, 2

_SEED = np.uint64(0x243F6A8885A308D3)
_MULTIPLIER = np.uint64(0xA0761D6478BD642F)
_HALF = np.uint64(32)


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
    slots = np.zeros(64, np.uint64)  # hashes of the lines met in a document; 0: free
    for document in range(documents):
        if not valid[document]:
            continue
        start, end = offsets[document], offsets[document + 1]
        newlines = 0
        for at in range(start, end):
            newlines += data[at] == 0x0A
        size = 16
        while size < 2 * newlines + 4:
            size *= 2
        if size > len(slots):
            slots = np.zeros(size, np.uint64)
        slots[:size] = 0
        _scan(data, start, end, flags, slots, size - 1, counts[document])
    return counts


@njit(cache=True, nogil=True)
def _scan(
    data: NDArray[np.uint8],
    start: int,
    end: int,
    flags: NDArray[np.uint8],
    slots: NDArray[np.uint64],
    mask: int,
    count: NDArray[np.int64],
) -> None:
    lines = punctuated = short = duplicate_chars = all_chars = 0
    at = start
    while at < end:
        line_at = at
        line_hash = _SEED
        chars = 0
        blank = True
        while at < end and data[at] != 0x0A:
            byte = data[at]
            blank &= byte <= 0x20 or byte >= 0x80
            chars += byte & 0xC0 != 0x80
            line_hash = (line_hash ^ np.uint64(byte)) * _MULTIPLIER
            at += 1
        all_chars += chars
        if blank:
            blank = _is_blank(data, line_at, at, flags)
        if not blank:
            lines += 1
            short += chars <= SHORT_LINE_CHARS
            last_at = at - 1
            while last_at > line_at and data[last_at] & 0xC0 == 0x80:
                last_at -= 1
            punctuated += (flags[_decode(data, last_at, at)] & TERMINAL) != 0
            if _met(slots, mask, line_hash):
                duplicate_chars += chars
        at += 1
    count[0], count[1], count[2], count[3], count[4] = lines, punctuated, short, duplicate_chars, all_chars


@njit(cache=True, nogil=True)
def _decode(data: NDArray[np.uint8], at: int, end: int) -> np.int64:
    """Return the code point at `at`; nothing is read from `end` on."""
    byte = np.int64(data[at])
    if byte < 0x80:
        return byte
    width = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
    if at + width > end:
        return byte
    if width == 2:
        return np.int64((byte & 0x1F) << 6 | (data[at + 1] & 0x3F))
    if width == 3:
        return np.int64((byte & 0x0F) << 12 | np.int64(data[at + 1] & 0x3F) << 6 | (data[at + 2] & 0x3F))
    low = np.int64(data[at + 1] & 0x3F) << 12 | np.int64(data[at + 2] & 0x3F) << 6 | (data[at + 3] & 0x3F)
    return np.int64((byte & 0x07) << 18 | low)


@njit(cache=True, nogil=True)
def _is_blank(data: NDArray[np.uint8], at: int, end: int, flags: NDArray[np.uint8]) -> bool:
    while at < end:
        if data[at] & 0xC0 != 0x80 and not flags[_decode(data, at, end)] & SPACE:
            return False
        at += 1
    return True


@njit(cache=True, nogil=True)
def _met(slots: NDArray[np.uint64], mask: int, line: np.uint64) -> bool:
    """Whether a line was met before in this document; it is from now on."""
    key = (line ^ (line >> _HALF)) * _MULTIPLIER
    key = (key ^ (key >> _HALF)) | np.uint64(1)
    slot = np.int64(key >> np.uint64(24)) & mask
    while slots[slot]:
        if slots[slot] == key:
            return True
        slot = (slot + 1) & mask
    slots[slot] = key
    return False
