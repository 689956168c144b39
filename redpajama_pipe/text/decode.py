"""Code points of UTF-8 in kernels.

The kernels that call it are cached with it: delete their caches after a change of this file.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from redpajama_pipe.text.lean import lean


@njit(cache=True, nogil=True)
def decode(data: NDArray[np.uint8], at: int, end: int) -> tuple[np.int64, int]:
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


@lean
def character_before(data: NDArray[np.uint8], at: int, start: int) -> int:
    """Return where the character before `at` begins."""
    at -= 1
    while at > start and data[at] & 0xC0 == 0x80:
        at -= 1
    return at
