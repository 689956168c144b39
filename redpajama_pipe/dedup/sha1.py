"""SHA-1 of many byte spans at once, to its first 64 bits: FIPS 180-4, section 6.1.2.

Sixteen messages go through the compression side by side, one in each lane, so that the compiler makes vector
instructions of it; a lane that has finished a message takes the next one. About 26 ns for a span of up to 55 bytes
with AVX-512, where hashlib takes 260 ns. SHA-1 is what published MinHash signatures are made of; it protects nothing.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit, uint32, uint64
from numpy.typing import NDArray

from redpajama_pipe.dedup.unaligned import load_big32

LANES = 16
SPARE = 64  # bytes that must be readable after the last span: blocks are loaded whole

_INITIAL = (0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0)


class Lanes(NamedTuple):
    """Scratch, reused from call to call.

    Attributes:
        schedule: (80 * LANES,); word t of lane j is at t * LANES + j, and so in the others.
        state: (5 * LANES,)
        before: (5 * LANES,); the state before the block.
        message: (LANES,); the span in each lane, -1 for none.
        at: (LANES,); where its next block begins.
        left: (LANES,); how much of it this block was to hold.
        bits: (LANES,); its length.
    """

    schedule: NDArray[np.uint32]
    state: NDArray[np.uint32]
    before: NDArray[np.uint32]
    message: NDArray[np.int64]
    at: NDArray[np.int64]
    left: NDArray[np.int32]
    bits: NDArray[np.uint64]


def make_lanes() -> Lanes:
    """Allocate scratch for `sha1_spans`."""
    return Lanes(
        np.zeros(80 * LANES, np.uint32),
        np.zeros(5 * LANES, np.uint32),
        np.zeros(5 * LANES, np.uint32),
        np.zeros(LANES, np.int64),
        np.zeros(LANES, np.int64),
        np.zeros(LANES, np.int32),
        np.zeros(LANES, np.uint64),
    )


# uint32(...) throughout: Numba widens every sum and shift to 64 bits.


@njit(cache=True, nogil=True)
def _rotate(x: np.uint32, count: int) -> np.uint32:
    return uint32((x << uint32(count)) | (x >> uint32(32 - count)))


@njit(cache=True, nogil=True)
def _choose(x: np.uint32, y: np.uint32, z: np.uint32) -> np.uint32:
    return uint32(z ^ (x & (y ^ z)))


@njit(cache=True, nogil=True)
def _parity(x: np.uint32, y: np.uint32, z: np.uint32) -> np.uint32:
    return uint32(x ^ y ^ z)


@njit(cache=True, nogil=True)
def _majority(x: np.uint32, y: np.uint32, z: np.uint32) -> np.uint32:
    return uint32((x & y) | (z & (x | y)))


@njit(cache=True, nogil=True)
def _reverse(x: np.uint32) -> np.uint32:
    swapped = ((x & uint32(0xFF00FF)) << uint32(8)) | ((x >> uint32(8)) & uint32(0xFF00FF))
    return _rotate(uint32(swapped), 16)


def _twenty_rounds(first: int, mix: Any, constant: int) -> Any:
    begin, end, step, k = first * LANES, (first + 20) * LANES, 5 * LANES, uint32(constant)

    @njit(cache=True, nogil=True)
    def rounds(w: NDArray[np.uint32], s: NDArray[np.uint32]) -> None:
        # Five rounds a step: after five, a to e have their own names again.
        for t in range(begin, end, step):
            for j in range(LANES):
                a, b, c, d, e = s[j], s[LANES + j], s[2 * LANES + j], s[3 * LANES + j], s[4 * LANES + j]
                e = uint32(e + _rotate(a, 5) + mix(b, c, d) + w[t + j] + k)
                b = _rotate(b, 30)
                d = uint32(d + _rotate(e, 5) + mix(a, b, c) + w[t + LANES + j] + k)
                a = _rotate(a, 30)
                c = uint32(c + _rotate(d, 5) + mix(e, a, b) + w[t + 2 * LANES + j] + k)
                e = _rotate(e, 30)
                b = uint32(b + _rotate(c, 5) + mix(d, e, a) + w[t + 3 * LANES + j] + k)
                d = _rotate(d, 30)
                a = uint32(a + _rotate(b, 5) + mix(c, d, e) + w[t + 4 * LANES + j] + k)
                c = _rotate(c, 30)
                s[j], s[LANES + j], s[2 * LANES + j], s[3 * LANES + j], s[4 * LANES + j] = a, b, c, d, e

    return rounds


_rounds_0 = _twenty_rounds(0, _choose, 0x5A827999)
_rounds_20 = _twenty_rounds(20, _parity, 0x6ED9EBA1)
_rounds_40 = _twenty_rounds(40, _majority, 0x8F1BBCDC)
_rounds_60 = _twenty_rounds(60, _parity, 0xCA62C1D6)


@njit(cache=True, nogil=True)
def _compress(w: NDArray[np.uint32], s: NDArray[np.uint32], before: NDArray[np.uint32]) -> None:
    for i in range(16 * LANES, 80 * LANES):
        w[i] = _rotate(w[i - 3 * LANES] ^ w[i - 8 * LANES] ^ w[i - 14 * LANES] ^ w[i - 16 * LANES], 1)
    for i in range(5 * LANES):
        before[i] = s[i]
    _rounds_0(w, s)
    _rounds_20(w, s)
    _rounds_40(w, s)
    _rounds_60(w, s)
    for i in range(5 * LANES):
        s[i] = uint32(s[i] + before[i])


@njit(cache=True, nogil=True)
def _pad(w: NDArray[np.uint32], left: NDArray[np.int32], bits: NDArray[np.uint64]) -> None:
    """Turn 64 bytes read at each lane's place into the blocks of section 5.1.1.

    Args:
        w: in and out: LANES blocks.
        left: how much of the message there is from here on; below 0: only its length is still missing.
        bits: the length of each message.
    """
    # Masks and no branches: lengths differ from lane to lane, and guessing them took twice as long as SHA-1 itself.
    for t in range(16):
        for j in range(LANES):
            here = left[j] - np.int32(4 * t)
            shift = uint32(8 * min(max(here, 0), 3))
            keep = uint32(0xFFFFFFFF) if here >= 4 else ~(uint32(0xFFFFFFFF) >> shift)
            end = uint32(0x80000000) >> shift if 0 <= here < 4 else uint32(0)
            w[t * LANES + j] = uint32((w[t * LANES + j] & keep) | end)
    for j in range(LANES):
        if left[j] < 56:
            w[14 * LANES + j] = uint32(bits[j] >> uint64(32))
            w[15 * LANES + j] = uint32(bits[j])


@njit(cache=True, nogil=True)
def sha1_spans(
    data: NDArray[np.uint8],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    count: int,
    out: NDArray[np.uint64],
    lanes: Lanes,
) -> None:
    """Hash data[starts[i]:ends[i]] for i below `count`; spans may overlap.

    Args:
        data: the bytes, with SPARE more after the last span.
        starts: first byte of each span.
        ends: one past the last byte of each.
        count: how many spans.
        out: out: the first 8 bytes of each digest as a little-endian number. Its low half is the first 4.
        lanes: scratch.
    """
    w, s, before, message, at, left, bits = lanes
    for j in range(LANES):
        message[j] = -1
        left[j] = -1
    following = 0
    while True:
        busy = 0
        for j in range(LANES):
            if message[j] < 0:
                if following == count:
                    continue
                message[j] = following
                at[j] = starts[following]
                bits[j] = uint64(ends[following] - starts[following]) << uint64(3)
                following += 1
                for i in range(5):
                    s[i * LANES + j] = uint32(_INITIAL[i])
            busy += 1
            end = ends[message[j]]
            left[j] = min(end - at[j], 64)
            place = min(at[j], end)
            for t in range(16):
                w[t * LANES + j] = load_big32(data, place + 4 * t)
            at[j] += 64
        if busy == 0:
            return
        _pad(w, left, bits)
        _compress(w, s, before)
        for j in range(LANES):
            i = message[j]
            # The length fits behind at most 55 bytes of message: that was the last block.
            if i >= 0 and left[j] < 56:
                out[i] = uint64(_reverse(s[j])) | (uint64(_reverse(s[LANES + j])) << uint64(32))
                message[j] = -1
