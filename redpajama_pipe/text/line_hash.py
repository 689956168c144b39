"""Lines of a text that is read where it lies: where each ends, a hash and its characters, 64 bytes at once.

Nothing is read after the text: its last bytes are read from a copy that has more bytes after it. The kernels that call
this are cached with it: delete their caches after a change of this file.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from redpajama_pipe.text.blocks import BLOCK, characters
from redpajama_pipe.text.lines import line_end
from redpajama_pipe.text.span_hash import OUTSIDE_ASCII, hash_span, mix
from redpajama_pipe.text.unaligned import load_little64

_LAST = 16  # bytes that are hashed at once
_njit: Any = njit  # its types leave some options out


def ending(text: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the last BLOCK bytes of a text, or all of it, and zeros."""
    copy = np.zeros(3 * BLOCK, np.uint8)
    copy[: min(BLOCK, len(text))] = text[-BLOCK:]
    copy.flags.writeable = False  # like a batch's text: kernels are compiled for each kind of array
    return copy


# Called for each line, of which many are short: a tenth slower where it is not part of the caller.
@_njit(cache=True, nogil=True, _nrt=False, forceinline=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)  # type: ignore[untyped-decorator]
def read_line(text: NDArray[np.uint8], last: NDArray[np.uint8], start: int, stop: int) -> tuple[Any, np.uint64, int]:
    """Return where the line that begins at `start` ends, at `stop` at the latest, a hash and its characters.

    Args:
        text: may end at `stop`.
        last: its `ending`.
        start: where the line begins.
        stop: where the document ends.
    """
    edge = max(len(text) - BLOCK, 0)  # what is from here on is read from the copy
    end = line_end(text, start, min(stop, edge))
    if end == edge and edge < stop:
        end = edge + line_end(last, max(start, edge) - edge, stop - edge)
    if end - start > _LAST:  # so that nothing is read after its end
        key, outside_ascii = hash_span(text, start, end - _LAST)
        low, high = load_little64(text, np.uint64(end - 16)), load_little64(text, np.uint64(end - 8))
        key = mix(key, low, high)
        outside_ascii |= (low | high) & OUTSIDE_ASCII
    elif start < edge:
        key, outside_ascii = hash_span(text, start, end)
    else:
        key, outside_ascii = hash_span(last, start - edge, end - edge)
    chars = end - start
    if outside_ascii:
        chars = characters(text, start, min(end, edge)) + characters(last, max(start, edge) - edge, end - edge)
    return end, key, chars
