"""SHA-1 of many byte spans at once, to its first 64 bits: FIPS 180-4, section 6.1.2.

Sixteen messages go through the compression side by side, one in each lane of a vector. Those of one block, up to 55
bytes, are hashed 32 at a time, about 9 ns each with AVX-512, where hashlib takes 260 ns; of longer ones a lane that has
finished one takes the next. SHA-1 is what published MinHash signatures are made of; it protects nothing.

The kernels that call it are cached with it: delete their caches after a change of this file.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit, types, uint64
from numba.extending import intrinsic
from numpy.typing import NDArray

from redpajama_pipe.text.vectors import address, constant, splat, vector

LANES = 16
_GROUPS = 2  # of LANES short messages at once
_TOGETHER = _GROUPS * LANES
SPARE = 64  # bytes that must be readable after the last span: blocks are loaded whole

_BLOCK = 64
_SHORT = 55  # bytes that fit into one block together with their length
_PIECE = 1024  # spans that are sorted into short and long ones at a time
_INITIAL = (0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0)

_WORDS = vector(32, LANES)
_BYTES = vector(8, _BLOCK)


class Lanes(NamedTuple):
    """Scratch, reused from call to call.

    Attributes:
        short: (_PIECE + _TOGETHER,); which spans of a piece have one block,
        begins: likewise; where each begins,
        sizes: its length,
        values: and its hash.
        long: (2 * _PIECE,); spans that wait for a lane: those of more blocks, and a few short ones.
        message: (LANES,); the span in each lane, -1 for none.
        at: (LANES,); where its next block begins.
        left: (LANES,); how much of it this block was to hold; below 0: only its length is still missing.
        bits: (LANES,); its length.
        state: (5 * LANES,); word t of lane j is at t * LANES + j.
    """

    short: NDArray[np.int64]
    begins: NDArray[np.int64]
    sizes: NDArray[np.int64]
    values: NDArray[np.uint64]
    long: NDArray[np.int64]
    message: NDArray[np.int64]
    at: NDArray[np.int64]
    left: NDArray[np.int64]
    bits: NDArray[np.int64]
    state: NDArray[np.uint32]


def make_lanes() -> Lanes:
    """Allocate scratch for `sha1_spans`."""
    return Lanes(
        np.zeros(_PIECE + _TOGETHER, np.int64),
        np.zeros(_PIECE + _TOGETHER, np.int64),
        np.zeros(_PIECE + _TOGETHER, np.int64),
        np.zeros(_PIECE + _TOGETHER, np.uint64),
        np.zeros(2 * _PIECE, np.int64),
        np.zeros(LANES, np.int64),
        np.zeros(LANES, np.int64),
        np.zeros(LANES, np.int64),
        np.zeros(LANES, np.int64),
        np.zeros(5 * LANES, np.uint32),
    )


def _rotate(builder: Any, x: Any, count: int) -> Any:
    return builder.or_(builder.shl(x, constant(_WORDS, count)), builder.lshr(x, constant(_WORDS, 32 - count)))


def _mix(builder: Any, t: int, x: Any, y: Any, z: Any) -> Any:
    if t < 20:
        return builder.xor(z, builder.and_(x, builder.xor(y, z)))
    if 40 <= t < 60:
        return builder.or_(builder.and_(x, y), builder.and_(z, builder.or_(x, y)))
    return builder.xor(builder.xor(x, y), z)


def _compress(builder: Any, blocks: list[list[Any]], states: list[list[Any]]) -> list[list[Any]]:
    """Take one block of LANES messages into their state; of several such groups in turn, so that none waits."""
    schedules, found = [list(words) for words in blocks], [list(state) for state in states]
    for t in range(80):
        k = constant(_WORDS, (0x5A827999, 0x6ED9EBA1, 0x8F1BBCDC, 0xCA62C1D6)[t // 20])
        for w, state in zip(schedules, found, strict=True):
            if t >= 16:
                mixed = builder.xor(builder.xor(w[t - 3], w[t - 8]), builder.xor(w[t - 14], w[t - 16]))
                w.append(_rotate(builder, mixed, 1))
            a, b, c, d, e = state
            known = builder.add(builder.add(builder.add(e, w[t]), k), _mix(builder, t, b, c, d))
            state[:] = [builder.add(known, _rotate(builder, a, 5)), a, _rotate(builder, b, 30), c, d]
    return [
        [builder.add(x, y) for x, y in zip(before, after, strict=True)]
        for before, after in zip(states, found, strict=True)
    ]


def _padded(builder: Any, place: Any, left: Any) -> Any:
    """Load a block and put the end mark behind its `left` bytes: section 5.1.1, without the length."""
    i64 = ir.IntType(64)
    number = constant(_BYTES, range(_BLOCK))
    kept = builder.select(builder.icmp_signed("<", left, ir.Constant(i64, 0)), ir.Constant(i64, 0), left)
    inside = builder.icmp_unsigned("<", number, splat(builder, builder.trunc(kept, ir.IntType(8)), _BLOCK))
    mark = builder.icmp_unsigned("==", number, splat(builder, builder.trunc(left, ir.IntType(8)), _BLOCK))
    behind = builder.select(mark, constant(_BYTES, 0x80), constant(_BYTES, 0))
    block = builder.select(inside, builder.load(place, align=1), behind)
    return builder.bitcast(block, _WORDS)


def _transposed(builder: Any, rows: list[Any]) -> list[Any]:
    """Turn 16 blocks of 16 words into 16 vectors of one word of each."""
    low = [n for i in range(LANES // 2) for n in (i, LANES + i)]
    high = [n for i in range(LANES // 2, LANES) for n in (i, LANES + i)]
    for _ in range(4):  # interleaving the halves four times is a transposition
        half = LANES // 2
        rows = [
            builder.shuffle_vector(rows[i // 2], rows[half + i // 2], constant(_WORDS, high if i % 2 else low))
            for i in range(LANES)
        ]
    return rows


def _big_endian(builder: Any, x: Any) -> Any:
    """Reverse the four bytes of every word."""
    octets = builder.bitcast(x, _BYTES)
    reverse = constant(vector(32, _BLOCK), [i ^ 3 for i in range(_BLOCK)])
    return builder.bitcast(builder.shuffle_vector(octets, octets, reverse), _WORDS)


def _emit_hash_short(typingctx: Any, data: Any, begins: Any, sizes: Any, first: Any, values: Any) -> Any:
    """Hash _TOGETHER spans of at most _SHORT bytes, from number `first` on."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kinds = signature.args
        long, longs = ir.IntType(64), vector(64, LANES)
        blocks = []
        numbers = [builder.add(arguments[3], ir.Constant(long, i * LANES)) for i in range(_GROUPS)]
        for number in numbers:
            size = builder.load(address(context, builder, kinds[2], arguments[2], number, longs), align=1)
            rows = []
            for j in range(LANES):
                lane = builder.add(number, ir.Constant(long, j))
                begin = builder.load(address(context, builder, kinds[1], arguments[1], lane, long))
                length = builder.load(address(context, builder, kinds[2], arguments[2], lane, long))
                block = address(context, builder, kinds[0], arguments[0], begin, _BYTES)
                rows.append(_padded(builder, block, length))
            words = [_big_endian(builder, row) for row in _transposed(builder, rows)[:14]]
            bits = builder.shl(builder.trunc(size, _WORDS), constant(_WORDS, 3))
            blocks.append([*words, constant(_WORDS, 0), bits])
        initial = [constant(_WORDS, value) for value in _INITIAL]
        for number, state in zip(numbers, _compress(builder, blocks, [initial] * _GROUPS), strict=True):
            halves = [builder.zext(_big_endian(builder, half), longs) for half in state[:2]]
            value = builder.or_(halves[0], builder.shl(halves[1], constant(longs, 32)))
            builder.store(value, address(context, builder, kinds[4], arguments[4], number, longs), align=1)
        return context.get_dummy_value()

    return types.void(data, begins, sizes, types.intp, values), codegen


def _emit_hash_block(typingctx: Any, data: Any, at: Any, left: Any, bits: Any, state: Any) -> Any:
    """Take each lane's next block into its state."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kinds = signature.args
        longs = vector(64, LANES)
        zero = ir.Constant(ir.IntType(64), 0)
        begin, left, bits = (
            builder.load(address(context, builder, kinds[i], arguments[i], zero, longs), align=1) for i in (1, 2, 3)
        )
        rows = []
        for j in range(LANES):
            lane = ir.Constant(ir.IntType(32), j)
            block = address(context, builder, kinds[0], arguments[0], builder.extract_element(begin, lane), _BYTES)
            rows.append(_padded(builder, block, builder.extract_element(left, lane)))
        words = [_big_endian(builder, row) for row in _transposed(builder, rows)]
        last = builder.icmp_signed("<=", left, constant(longs, _SHORT))
        high = builder.trunc(builder.lshr(bits, constant(longs, 32)), _WORDS)
        words[14] = builder.select(last, high, words[14])
        words[15] = builder.select(last, builder.trunc(bits, _WORDS), words[15])
        places = [
            address(context, builder, kinds[4], arguments[4], ir.Constant(ir.IntType(64), i * LANES), _WORDS)
            for i in range(5)
        ]
        found = _compress(builder, [words], [[builder.load(each, align=1) for each in places]])[0]
        for each, value in zip(places, found, strict=True):
            builder.store(value, each, align=1)
        return context.get_dummy_value()

    return types.void(data, at, left, bits, state), codegen


_hash_short: Any = intrinsic(_emit_hash_short)
_hash_block: Any = intrinsic(_emit_hash_block)


@njit(cache=True, nogil=True)
def _reverse(x: np.uint64) -> np.uint64:
    swapped = ((x & uint64(0xFF00FF)) << uint64(8)) | ((x >> uint64(8)) & uint64(0xFF00FF))
    return (swapped >> uint64(16) | swapped << uint64(16)) & uint64(0xFFFFFFFF)


@njit(cache=True, nogil=True)
def _hash_long(
    data: NDArray[np.uint8],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    count: int,
    out: NDArray[np.uint64],
    scratch: Lanes,
) -> None:
    """Hash `count` spans of any length: a lane that has finished one takes the next."""
    long, message, at, left, bits, state = scratch[4:]
    for j in range(LANES):
        message[j] = -1
    following = 0
    while True:
        busy = 0
        for j in range(LANES):
            if message[j] >= 0:
                at[j] += _BLOCK
            elif following < count:
                i = message[j] = long[following]
                following += 1
                at[j] = starts[i]
                bits[j] = (ends[i] - starts[i]) << 3
                for t in range(5):
                    state[t * LANES + j] = _INITIAL[t]
            else:
                at[j], left[j] = 0, 0
                continue
            busy += 1
            end = ends[message[j]]
            left[j] = min(end - at[j], _BLOCK)
            at[j] = min(at[j], end)
        if busy == 0:
            return
        _hash_block(data, at, left, bits, state)
        for j in range(LANES):
            # The length fits behind at most _SHORT bytes of message: that was the last block.
            if left[j] <= _SHORT and message[j] >= 0:
                out[message[j]] = _reverse(uint64(state[j])) | _reverse(uint64(state[LANES + j])) << uint64(32)
                message[j] = -1


@njit(cache=True, nogil=True)
def sha1_spans(
    data: NDArray[np.uint8],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    count: int,
    out: NDArray[np.uint64],
    scratch: Lanes,
) -> None:
    """Hash data[starts[i]:ends[i]] for i below `count`; spans may overlap.

    Args:
        data: the bytes, with SPARE more after the last span.
        starts: first byte of each span.
        ends: one past the last byte of each.
        count: how many spans.
        out: out: the first 8 bytes of each digest as a little-endian number. Its low half is the first 4.
        scratch: from `make_lanes`.
    """
    short, begins, sizes, values, long = scratch[:5]
    waiting = 0
    for first in range(0, count, _PIECE):
        some = 0
        # No branch here: which spans are long cannot be guessed.
        for i in range(first, min(first + _PIECE, count)):
            size = ends[i] - starts[i]
            short[some], begins[some], sizes[some] = i, starts[i], size
            long[waiting] = i
            some += size <= _SHORT
            waiting += size > _SHORT
        rest = some % _TOGETHER
        if rest <= LANES:  # few enough to wait with the long ones
            for i in range(some - rest, some):
                long[waiting] = short[i]
                waiting += 1
            some -= rest
        for i in range(some, some + _TOGETHER):  # lanes that are left over hash nothing
            begins[i] = sizes[i] = 0
        for i in range(0, some, _TOGETHER):
            _hash_short(data, begins, sizes, i, values)
        for i in range(some):
            out[short[i]] = values[i]
        if waiting >= _PIECE:
            _hash_long(data, starts, ends, waiting, out, scratch)
            waiting = 0
    if waiting:
        _hash_long(data, starts, ends, waiting, out, scratch)
