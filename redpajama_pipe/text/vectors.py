"""Vectors in Numba kernels, for loops that LLVM does not vectorise by itself, or not well.

A vector is as wide as the algorithm wants: LLVM splits it over the registers that the processor has, so the same code
runs with SSE2, AVX2, AVX-512 and NEON. Intrinsics are written with llvmlite's builder and these few words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]


def vector(bits: int, count: int) -> ir.VectorType:
    """Name the type of `count` integers of `bits` bits."""
    return ir.VectorType(ir.IntType(bits), count)


def constant(kind: ir.VectorType, values: int | Sequence[int]) -> ir.Constant:
    """Write down a vector: one value everywhere, or one for each lane."""
    return ir.Constant(kind, [values] * kind.count if isinstance(values, int) else list(values))


def splat(builder: Any, value: Any, count: int) -> Any:
    """Put one number into every lane."""
    kind = ir.VectorType(value.type, count)
    single = builder.insert_element(ir.Constant(kind, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(single, ir.Constant(kind, ir.Undefined), constant(vector(32, count), 0))


def address(context: Any, builder: Any, array_type: Any, array: Any, index: Any, kind: Any) -> Any:
    """Point at array[index] as at a `kind`."""
    pointer = builder.gep(context.make_array(array_type)(context, builder, array).data, [index])
    return builder.bitcast(pointer, kind.as_pointer())
