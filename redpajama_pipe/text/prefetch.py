"""A hint in kernels: what is looked up at random places may come from memory while other places are worked out."""

from __future__ import annotations

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import extending, types

intrinsic: Any = extending.intrinsic  # what it makes is called with one argument less


@intrinsic  # type: ignore[untyped-decorator]
def prefetch(typing: Any, data: Any, at: Any) -> Any:
    """Begin to load data[at], which must be inside, for writing; 64 or more bytes around it come along."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        byte = ir.IntType(8).as_pointer()
        place = builder.bitcast(builder.gep(array.data, [arguments[1]]), byte)
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        hint = builder.module.declare_intrinsic("llvm.prefetch", [byte], kind)
        # For writing, to be kept in every cache, data.
        builder.call(hint, [place, number(1), number(3), number(1)])
        return context.get_dummy_value()

    return types.void(data, types.uint64), code
