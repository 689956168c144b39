"""Sixty-four bytes at once: a comparison gives one bit a byte, and words and lines are then found among bits.

Each is a few instructions of any processor that LLVM knows (one comparison of 64 bytes with AVX-512, four with SSE2).
They become part of the kernels that use them, whose caches do not see a change of this file: delete them after one.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import extending, types

from redpajama_pipe.text.vectors import address, splat, vector

BLOCK = 64  # bytes; so many must be there to be read from the place on

intrinsic: Any = extending.intrinsic  # what it makes is called with one argument less

_LANES = vector(8, BLOCK)


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
