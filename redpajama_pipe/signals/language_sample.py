"""Three windows of a long document, its beginning, middle and end, for a language that need not be read in full.

Off unless the recipe says `annotate.language_sample_bytes`, which every manifest records. The windows are copied at
several GB/s; what is left out is never read.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numba import njit
from numpy.typing import NDArray

from redpajama_pipe.text.buffers import utf8

_WINDOWS = 3


def windows(texts: pa.Array, limit: int) -> pa.Array:
    """Shorten every document of more than `limit` bytes to three windows.

    A window is limit // 3 bytes of UTF-8: the first ones, the last ones, and those with as many bytes before them as
    after them, to one. Where it would begin or end inside a character it does so after that character. A line break
    joins them, which parts words. Documents of up to `limit` bytes are left as they are, and so is null.

    Args:
        texts: (documents,) string or large_string.
        limit: bytes, at least 3.

    Returns:
        large_string, or `texts` itself where no document is so long.
    """
    data, offsets, valid = utf8(texts)
    if not len(texts) or np.diff(offsets).max() <= limit:
        return texts
    found, ends = _windows(data, offsets, valid, limit)
    validity = None if valid.all() else pa.array(valid).buffers()[1]
    return pa.LargeStringArray.from_buffers(len(texts), pa.py_buffer(ends), pa.py_buffer(found), validity)


@njit(cache=True, nogil=True)
def _windows(
    data: NDArray[np.uint8], offsets: NDArray[np.int64], valid: NDArray[np.bool_], limit: int
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    longest, room = limit // _WINDOWS, 0
    for document in range(len(valid)):
        # Each window may end up to three bytes later than it should, and a line break comes after it.
        room += min(offsets[document + 1] - offsets[document] + _WINDOWS, limit + 4 * _WINDOWS)
    found, ends = np.empty(room, np.uint8), np.zeros(len(valid) + 1, np.int64)
    count = 0
    for document in range(len(valid)):
        start, end = offsets[document], offsets[document + 1]
        size = end - start
        if valid[document] and size > limit:
            for window in range(_WINDOWS):
                # window 0 begins at 0, window 1 at half of the rest, window 2 at all of it
                at = start + (size - longest) * window // (_WINDOWS - 1)
                last = _after_character(data, at + longest, end)
                at = _after_character(data, at, end) if window else at
                if window:
                    found[count] = 0x0A
                    count += 1
                found[count : count + last - at] = data[at:last]
                count += last - at
        elif valid[document]:
            found[count : count + size] = data[start:end]
            count += size
        ends[document + 1] = count
    return found[:count], ends


@njit(cache=True, nogil=True)
def _after_character(data: NDArray[np.uint8], at: int, end: int) -> int:
    while at < end and data[at] & 0xC0 == 0x80:
        at += 1
    return at
