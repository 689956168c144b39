"""Sixty-four bytes at once: a comparison gives one bit a byte, and words and lines are then found among bits.

Each is a few instructions of any processor that LLVM knows (one comparison of 64 bytes with AVX-512, four with SSE2).
They become part of the kernels that use them, whose caches do not see a change of this file: delete them after one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import extending, njit, types
from numpy.typing import NDArray

from redpajama_pipe.text.vectors import address, splat, vector

BLOCK = 64  # bytes; so many must be there to be read from the place on

intrinsic: Any = extending.intrinsic  # what it makes is called with one argument less

_LANES = vector(8, BLOCK)
_NONE, _ONE = np.uint64(0), np.uint64(1)
_SIX, _SIX_BITS = np.uint64(6), np.uint64(63)


@intrinsic  # type: ignore[untyped-decorator]
def within(typing: Any, data: Any, at: Any, low: Any, high: Any) -> Any:
    """Return 64 bits: bit i says whether data[at + i] is from `low` to `high`, both included."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = address(context, builder, signature.args[0], arguments[0], arguments[1], _LANES)
        least = splat(builder, arguments[2], BLOCK)
        span = builder.sub(splat(builder, arguments[3], BLOCK), least)
        block = builder.sub(builder.load(place, align=1), least)
        return builder.bitcast(builder.icmp_unsigned("<=", block, span), ir.IntType(BLOCK))

    return types.uint64(data, types.uint64, types.uint8, types.uint8), code


@intrinsic  # type: ignore[untyped-decorator]
def ones(typing: Any, bits: Any) -> Any:
    """Return how many of 64 bits are set."""
    return types.int64(types.uint64), lambda context, builder, signature, arguments: builder.ctpop(arguments[0])


@intrinsic  # type: ignore[untyped-decorator]
def first_one(typing: Any, bits: Any) -> Any:
    """Return the place of the lowest bit that is set; 64: none is."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.uint64), code


@njit(cache=True, nogil=True)
def places(bits: np.uint64, at: int, out: NDArray[np.integer[Any]], held: int) -> int:
    """Append the places of the bits that are set; return how many there are then."""
    while bits:
        out[np.uint64(held)] = at + first_one(bits)
        bits &= bits - _ONE
        held += 1
    return held


@njit(cache=True, nogil=True)
def ones_between(bitmap: NDArray[np.uint64], start: int, end: int) -> Any:
    """Count the bits of a bitmap from `start` to before `end`."""
    block, last = np.uint64(start) >> _SIX, np.uint64(end) >> _SIX
    after = ~_NONE << (np.uint64(start) & _SIX_BITS)
    before = (_ONE << (np.uint64(end) & _SIX_BITS)) - _ONE
    if block == last:
        return ones(bitmap[block] & after & before)
    count = ones(bitmap[block] & after)
    for between in range(block + _ONE, last):
        count += ones(bitmap[between])
    return count + ones(bitmap[last] & before)


@njit(cache=True, nogil=True)
def characters(text: NDArray[np.uint8], start: int, end: int) -> int:
    """Count the characters of text[start:end]; BLOCK bytes after it may be read."""
    count = 0
    for at in range(start, end, BLOCK):
        inside = ~_NONE if end - at >= BLOCK else (_ONE << np.uint64(end - at)) - _ONE
        count += ones(inside & ~within(text, np.uint64(at), 0x80, 0xBF))
    return count


@njit(cache=True, nogil=True)
def power_of_two(least: int) -> int:
    """Return the size of a table: a power of two, 16 or more."""
    size = 16
    while size < least:
        size *= 2
    return size
