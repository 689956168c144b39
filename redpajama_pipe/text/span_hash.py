"""Hashes of spans of bytes in kernels, sixteen bytes at a time.

Not for what is stored: values may change. The kernels that call these are cached with them: delete their caches after a
change of this file.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from redpajama_pipe.text.unaligned import load_little64

SEED = np.uint64(0x243F6A8885A308D3)
MULTIPLIER = np.uint64(0xA0761D6478BD642F)
OUTSIDE_ASCII = np.uint64(0x8080808080808080)
OTHER_MULTIPLIER = np.uint64(0xE7037ED1A0B428DB)
_HALF = np.uint64(32)
_NONE, _EIGHT, _SIXTEEN = np.uint64(0), np.uint64(8), np.uint64(16)

# What of two times eight bytes belongs to so many bytes.
LOW_BYTES = np.array([(1 << 8 * min(size, 8)) - 1 for size in range(17)], np.uint64)
HIGH_BYTES = np.array([(1 << 8 * max(size - 8, 0)) - 1 for size in range(17)], np.uint64)


@njit(cache=True, nogil=True)
def hash_span(data: NDArray[np.uint8], start: int, end: int) -> tuple[np.uint64, np.uint64]:
    """Return a hash of data[start:end] whose every bit depends on all of them, and whether one is outside ASCII."""
    at = np.uint64(start)
    left = end - start
    value = SEED
    seen = _NONE
    while left > 16:
        low, high = load_little64(data, at), load_little64(data, at + _EIGHT)
        seen |= low | high
        value = mix(value, low, high)
        at += _SIXTEEN
        left -= 16
    low = load_little64(data, at) & LOW_BYTES[left]
    high = load_little64(data, at + _EIGHT) & HIGH_BYTES[left]
    return mix(value ^ np.uint64(end - start) * MULTIPLIER, low, high), (seen | low | high) & OUTSIDE_ASCII


@njit(cache=True, nogil=True)
def mix(value: np.uint64, low: np.uint64, high: np.uint64) -> np.uint64:
    value = (value ^ low) * MULTIPLIER
    value = (value ^ value >> _HALF ^ high) * OTHER_MULTIPLIER
    return value ^ value >> _HALF
