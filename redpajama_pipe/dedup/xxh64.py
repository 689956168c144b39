"""XXH64 with seed 0 of many byte spans: what datatrove hashes shingles with unless told otherwise.

Source: Yann Collet, xxHash fast digest algorithm, specification 0.1.1 (github.com/Cyan4973/xxHash).

The kernels that call it are cached with it: delete their caches after a change of this file.
"""

from __future__ import annotations

import numpy as np
from numba import njit, uint64
from numpy.typing import NDArray

from redpajama_pipe.text.unaligned import load_little32, load_little64

_P1, _P2, _P3 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
_P4, _P5 = 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5


@njit(cache=True, nogil=True)
def _rotate(x: np.uint64, count: int) -> np.uint64:
    return (uint64(x) << uint64(count)) | (uint64(x) >> uint64(64 - count))


@njit(cache=True, nogil=True)
def _round(accumulator: np.uint64, lane: np.uint64) -> np.uint64:
    return _rotate(accumulator + lane * uint64(_P2), 31) * uint64(_P1)


@njit(cache=True, nogil=True)
def _merge(accumulator: np.uint64, lane: np.uint64) -> np.uint64:
    return (accumulator ^ _round(uint64(0), lane)) * uint64(_P1) + uint64(_P4)


@njit(cache=True, nogil=True)
def _xxh64(data: NDArray[np.uint8], at: int, end: int) -> np.uint64:
    length = uint64(end - at)
    if end - at >= 32:
        a, b, c, d = uint64(_P1) + uint64(_P2), uint64(_P2), uint64(0), uint64(0) - uint64(_P1)
        while end - at >= 32:
            a = _round(a, load_little64(data, at))
            b = _round(b, load_little64(data, at + 8))
            c = _round(c, load_little64(data, at + 16))
            d = _round(d, load_little64(data, at + 24))
            at += 32
        h = _rotate(a, 1) + _rotate(b, 7) + _rotate(c, 12) + _rotate(d, 18)
        h = _merge(_merge(_merge(_merge(h, a), b), c), d)
    else:
        h = uint64(_P5)
    h += length
    while end - at >= 8:
        h = _rotate(h ^ _round(uint64(0), load_little64(data, at)), 27) * uint64(_P1) + uint64(_P4)
        at += 8
    if end - at >= 4:
        h = _rotate(h ^ (uint64(load_little32(data, at)) * uint64(_P1)), 23) * uint64(_P2) + uint64(_P3)
        at += 4
    while at < end:
        h = _rotate(h ^ (uint64(data[at]) * uint64(_P5)), 11) * uint64(_P1)
        at += 1
    h = (h ^ (h >> uint64(33))) * uint64(_P2)
    h = (h ^ (h >> uint64(29))) * uint64(_P3)
    return h ^ (h >> uint64(32))


@njit(cache=True, nogil=True)
def xxh64_spans(
    data: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64], count: int, out: NDArray[np.uint64]
) -> None:
    """Hash data[starts[i]:ends[i]] into out[i] for i below `count`; spans may overlap."""
    for i in range(count):
        out[i] = _xxh64(data, starts[i], ends[i])
