"""Which of some keys are equal: exactly, with a table of positions.

The kernels that call it are cached with it: delete their caches after a change of this file.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from redpajama_pipe.text.blocks import first_one, power_of_two
from redpajama_pipe.text.lean import lean
from redpajama_pipe.text.span_hash import MULTIPLIER

_EMPTY = np.uint32(0xFFFFFFFF)
_ONE = np.uint64(1)


@lean
def group(
    positions: NDArray[np.uint32],
    held: int,
    keys: NDArray[np.uint64],
    slots: NDArray[np.uint32],
    firsts: NDArray[np.uint32],
    copies: NDArray[np.uint32],
) -> int:
    """Group positions by equal key, then keep only those whose key occurs at least twice.

    Args:
        positions: in and out: the first `held` are looked at, ascending; those that stay are moved to the front.
        held: how many there are.
        keys: by position.
        slots: scratch for an open-addressed table of positions: a power of two, at least 4 * held.
        firsts: out, by position: the first position with the same key.
        copies: out, by first position: how many positions have its key.

    Returns:
        How many positions stay.
    """
    size = power_of_two(2 * held)
    mask, shift = np.uint64(size - 1), np.uint64(64 - first_one(np.uint64(size)))
    for slot in range(size):
        slots[slot] = _EMPTY
    for index in range(held):
        position = positions[index]
        key = keys[position]
        slot = key * MULTIPLIER >> shift
        # An empty slot is greater than any position: then this one is the first, and its key is its own.
        first = min(slots[slot], position)
        while keys[first] != key:
            slot = slot + _ONE & mask
            first = min(slots[slot], position)
        slots[slot] = firsts[position] = first
        copies[position] = 0
        copies[first] += 1
    kept = 0
    for index in range(held):
        position = positions[index]
        positions[kept] = position  # no branch here: which words repeat cannot be guessed
        kept += copies[firsts[position]] > 1
    return kept
