"""Words of ASCII text, 64 bytes at a time: a vector says which bytes are letters, and bits say where words end.

About 0.8 ns a byte of English, where byte after byte takes 2.3 ns.

The kernels that call it are cached with it: delete their caches after a change of this file.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit, types, uint64
from numba.extending import intrinsic
from numpy.typing import NDArray

from redpajama_pipe.text.blocks import BLOCK, first_one, ones
from redpajama_pipe.text.vectors import address, constant, splat, vector

_RANGES = 3

_BYTES = vector(8, BLOCK)


def ascii_ranges(table: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Write a table of ASCII letters as ranges of bytes that are changed by the same number.

    Args:
        table: (128,), as `letters.Letters.ascii`.

    Returns:
        (_RANGES, 3): first byte, how many, what to add, modulo 256.
    """
    codes = np.arange(128)
    changes = np.where(table >> 8, (table & 0xFF) - codes, 1 << 16)
    firsts = np.flatnonzero(np.diff(changes, prepend=1 << 16))
    found = [
        (first, last - first, changes[first] & 0xFF)
        for first, last in zip(firsts, [*firsts[1:], 128], strict=True)
        if table[first] >> 8
    ]
    assert len(found) <= _RANGES
    return np.array(found + [(0, 0, 0)] * (_RANGES - len(found)), np.uint8)


def _emit_write_block(typingctx: Any, data: Any, at: Any, ranges: Any, buffer: Any, filled: Any) -> Any:
    """Write 64 bytes of data to the buffer, what is no letter as a space.

    Returns:
        Which are letters, and which are not ASCII: one bit each, that of the first byte lowest.
    """
    result = types.UniTuple(types.uint64, 2)  # type: ignore[no-untyped-call]

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kinds = signature.args
        octet, mask = ir.IntType(8), ir.IntType(BLOCK)
        block = builder.load(address(context, builder, kinds[0], arguments[0], arguments[1], _BYTES), align=1)
        written, letter = constant(_BYTES, 0x20), constant(vector(1, BLOCK), 0)
        for i in range(_RANGES):
            first, size, change = (
                builder.load(
                    address(context, builder, kinds[2], arguments[2], ir.Constant(ir.IntType(64), 3 * i + k), octet)
                )
                for k in range(3)
            )
            inside = builder.icmp_unsigned(
                "<", builder.sub(block, splat(builder, first, BLOCK)), splat(builder, size, BLOCK)
            )
            written = builder.select(inside, builder.add(block, splat(builder, change, BLOCK)), written)
            letter = builder.or_(letter, inside)
        builder.store(written, address(context, builder, kinds[3], arguments[3], arguments[4], _BYTES), align=1)
        beyond = builder.icmp_signed("<", block, constant(_BYTES, 0))
        masks = [builder.bitcast(each, mask) for each in (letter, beyond)]
        return context.make_tuple(builder, result, masks)

    return result(data, types.intp, ranges, buffer, types.intp), codegen


def _emit_zeros_above(typingctx: Any, bits: Any) -> Any:
    """Count the zero bits above the highest one; 64 of 0."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctlz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.uint64), codegen


_write_block: Any = intrinsic(_emit_write_block)
_zeros_above: Any = intrinsic(_emit_zeros_above)


@njit(cache=True, nogil=True)
def fill_ascii(
    data: NDArray[np.uint8],
    at: int,
    limit: int,
    buffer: NDArray[np.uint8],
    filled: int,
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    count: int,
    inside: int | np.int64,
    word_at: int,
    ranges: NDArray[np.uint8],
) -> tuple[int, int, int, Any, int]:
    """Append words to the buffer, each with a space after it, up to the first byte that is not ASCII, at most BLOCK.

    It may stop earlier, after white space that is to be left out.

    Args:
        data: the text, with BLOCK bytes from `at` on; what is behind `limit` is not regarded.
        at: where to begin, before `limit`.
        limit: where to stop.
        buffer: `filled` bytes and `count` words of it are there already; BLOCK more are overwritten.
        starts: out: where each word begins in the buffer; up to 3 too many are written, and so in `ends`.
        ends: out: one past its last byte.
        inside: 1 if a word goes on at `at`, else 0.
        word_at: where in the text the last word began.
        ranges: of `ascii_ranges`.

    Returns:
        The new `at`, `filled`, `count`, `inside` and `word_at`.
    """
    letters, beyond = _write_block(data, at, ranges, buffer, filled)
    most = min(first_one(beyond), limit - at)
    after_letter = letters << uint64(1) | uint64(inside)
    # What is kept without a gap: letters, and one separator after each word.
    length = min(first_one(~(letters | after_letter)), most)
    kept = ~uint64(0) >> uint64(64 - length) if length else uint64(0)
    begins = letters & ~after_letter & kept
    stops = after_letter & ~letters & kept
    if begins:
        word_at = at + 63 - _zeros_above(begins)
    k = uint64(count)  # unsigned: a negative index would be looked after
    count += ones(stops)
    while stops:
        for _ in range(4):  # how many words there are cannot be guessed, so some too many are written
            stop = filled + first_one(stops)
            stops &= stops - uint64(1)
            ends[k] = stop
            k += uint64(1)
            starts[k] = stop + 1
    if length:
        inside = np.int64(letters >> uint64(length - 1) & uint64(1))
    if length < most:  # separators that follow another one
        at += min(first_one(letters >> uint64(length)), most - length)
    return at + length, filled + length, count, inside, word_at
