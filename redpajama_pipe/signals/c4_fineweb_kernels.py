"""Count FineWeb's line signals of pages that come in pieces; a repeated line is known by a 64-bit hash.

All pages of a batch share one table of lines, which a page's number keeps apart. Where there would be too many lines,
the pages come several times, and each time only the lines whose hash lies in one part of all hashes are counted.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from redpajama_pipe.signals.fineweb_kernels import SHORT_LINE_CHARS, SPACE, TALLIES, TERMINAL
from redpajama_pipe.text.blocks import characters
from redpajama_pipe.text.decode import decode
from redpajama_pipe.text.lines import line_end
from redpajama_pipe.text.span_hash import MULTIPLIER, hash_span

_LINES, _PUNCTUATED, _SHORT, _DUPLICATE, _CHARS = (
    TALLIES.index(name) for name in ("lines", "punctuated_lines", "short_lines", "duplicate_chars", "chars")
)
_ONE, _HALF, _PART, _SLOT = (np.uint64(number) for number in (1, 32, 48, 16))
MOST_LINES = 1 << 22  # of one part: their table has 64 MiB
MOST_PARTS = 1 << 16


@njit(cache=True, nogil=True)
def tally(
    text: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    first: int,
    flags: NDArray[np.uint8],
    slots: NDArray[np.uint64],
    part: int,
    parts: int,
    counts: NDArray[np.int64],
) -> None:
    """Count on.

    Args:
        text: whole lines of some pages in a row, end to end, then 2 * BLOCK bytes.
        offsets: (pages + 1,) where each begins.
        first: the number of the first page.
        flags: of every code point, fineweb.flags().
        slots: a power of two; hashes of the lines met already, 0: free. More than this part's lines.
        part: which part of the lines to count.
        parts: how many there are, at most MOST_PARTS.
        counts: (all pages, fineweb_kernels.TALLIES).
    """
    mask = np.uint64(len(slots) - 1)
    for index in range(len(offsets) - 1):
        page = first + index
        at: Any = offsets[index]
        stop = offsets[index + 1]
        while at < stop:
            start, end = at, line_end(text, at, stop)
            at = end + 1
            key, outside_ascii = hash_span(text, start, end)
            key = (key ^ np.uint64(page)) * MULTIPLIER
            key = (key ^ (key >> _HALF)) * MULTIPLIER
            key = (key ^ (key >> _HALF)) | _ONE
            if np.int64((key >> _PART) * np.uint64(parts) >> np.uint64(16)) != part:
                continue
            chars = characters(text, start, end) if outside_ascii else end - start
            counts[page, _CHARS] += chars
            letter = start  # the first character that is no white space
            while letter < end and (text[letter] & 0xC0 == 0x80 or flags[decode(text, letter, end)[0]] & SPACE):
                letter += 1
            if letter == end:
                continue
            counts[page, _LINES] += 1
            counts[page, _SHORT] += chars <= SHORT_LINE_CHARS
            last_at = end - 1
            while last_at > start and text[last_at] & 0xC0 == 0x80:
                last_at -= 1
            counts[page, _PUNCTUATED] += (flags[decode(text, last_at, end)[0]] & TERMINAL) != 0
            slot = key >> _SLOT & mask
            while slots[slot] and slots[slot] != key:
                slot = (slot + _ONE) & mask
            if slots[slot]:
                counts[page, _DUPLICATE] += chars
            slots[slot] = key
