"""Count what RedPajama-V1 measures on source code: lines of str.splitlines(), their longest, letters and digits.

Everything compiled is in this one file: Numba's cache looks at no other file when it decides whether it is stale.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from redpajama_pipe.text.decode import decode

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
            code, width = decode(data, at, end)
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
