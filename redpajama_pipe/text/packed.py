"""Numbers of 64 bits in kernels: up to eight bytes as one, bitmaps of them, and tables that are looked up by them.

The kernels that call these are cached with them: delete their caches after a change of this file.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from redpajama_pipe.text.blocks import first_one
from redpajama_pipe.text.lean import lean
from redpajama_pipe.text.span_hash import LOW_BYTES, OTHER_MULTIPLIER
from redpajama_pipe.text.unaligned import load_little64

_ONE, _HALF = np.uint64(1), np.uint64(32)


@lean
def load_packed(data: NDArray[np.uint8], at: int, size: int) -> np.uint64:
    """Return `size` bytes, from one to eight, as a number; `data` has eight or more and is not read past its end."""
    place = min(at, len(data) - 8)
    word: np.uint64 = load_little64(data, np.uint64(place)) >> np.uint64(8 * (at - place)) & LOW_BYTES[size]
    return word


@lean
def find_slot(table: NDArray[np.uint64], mask: int, stride: int, key: np.uint64) -> int:
    """Return the place of a key, not 0, in a table whose slots are `stride` words: it holds the key, or 0."""
    slot: Any = np.int64(key * OTHER_MULTIPLIER >> _HALF) & mask
    while table[slot * stride] != key and table[slot * stride]:
        slot = (slot + 1) & mask
    return int(slot * stride)


@lean
def set_bit(bitmap: NDArray[np.uint64], at: int) -> None:
    bitmap[at >> 6] |= _ONE << np.uint64(at & 63)


@lean
def has_bit(bitmap: NDArray[np.uint64], at: int) -> np.uint64:
    bit: np.uint64 = bitmap[at >> 6] >> np.uint64(at & 63) & _ONE
    return bit


@lean
def next_bit(bitmap: NDArray[np.uint64], at: int) -> int:
    """Return the first bit that is set from `at` on; there must be one."""
    block = at >> 6
    bits = bitmap[block] >> np.uint64(at & 63) << np.uint64(at & 63)
    while not bits:
        block += 1
        bits = bitmap[block]
    return 64 * block + int(first_one(bits))
