"""Count what RedPajama-V1 measures on source code: lines of str.splitlines(), their longest, letters and digits.

Everything compiled is in this one file: Numba's cache looks at no other file when it decides whether it is stale.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

# The columns of what `tally` returns, in order.
TALLIES = ("chars", "lines", "longest_line", "alphanumeric_chars")

# The flags of text.classes; a test compares them.
LINE_BREAK, ALPHANUMERIC = 2, 64


@njit(cache=True, nogil=True)
def tally(
    data: NDArray[np.uint8], offsets: NDArray[np.int64], valid: NDArray[np.bool_], classes: NDArray[np.uint8]
) -> NDArray[np.int64]:
    """Count for every document.

    Args:
        data: the documents' UTF-8, end to end.
        offsets: (documents + 1,) where each begins.
        valid: (documents,) False: leave zeros.
        classes: the flags of every code point, text.classes.classes().

    Returns:
        (documents, TALLIES); zeros where `valid` is False.
    """
    counts = np.zeros((len(valid), len(TALLIES)), np.int64)
    for document in range(len(valid)):
        if not valid[document]:
            continue
        at, end = offsets[document], offsets[document + 1]
        chars = lines = longest = alphanumeric = line_char = 0
        while at < end:
            code, width = _decode(data, at, end)
            kind = classes[code]
            chars += 1
            at += width
            if kind & ALPHANUMERIC:
                alphanumeric += 1
            elif kind & LINE_BREAK:
                lines += 1
                longest = max(longest, chars - 1 - line_char)
                if code == 0x0D and at < end and data[at] == 0x0A:
                    chars, at = chars + 1, at + 1
                line_char = chars
        if chars > line_char:
            lines += 1
            longest = max(longest, chars - line_char)
        count = counts[document]
        count[0], count[1], count[2], count[3] = chars, lines, longest, alphanumeric
    return counts


@njit(cache=True, nogil=True)
def _decode(data: NDArray[np.uint8], at: int, end: int) -> tuple[np.int64, int]:
    """Return the code point at `at` and its width in bytes; nothing is read from `end` on."""
    byte = np.int64(data[at])
    if byte < 0x80:
        return byte, 1
    width = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
    if at + width > end:
        return byte, 1
    if width == 2:
        return (byte & 0x1F) << 6 | (data[at + 1] & 0x3F), 2
    if width == 3:
        return (byte & 0x0F) << 12 | np.int64(data[at + 1] & 0x3F) << 6 | (data[at + 2] & 0x3F), 3
    low = np.int64(data[at + 1] & 0x3F) << 12 | np.int64(data[at + 2] & 0x3F) << 6 | (data[at + 3] & 0x3F)
    return (byte & 0x07) << 18 | low, 4
