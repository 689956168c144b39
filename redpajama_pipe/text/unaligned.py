"""Numbers read from any place in a byte array: one load instruction each, in a stated byte order."""

from __future__ import annotations

import sys
from typing import Any

from numba import types
from numba.extending import intrinsic


def _load(number: Any, byte_order: str) -> Any:
    def load(typingctx: Any, data: Any, at: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            array = context.make_array(signature.args[0])(context, builder, arguments[0])
            address = builder.gep(array.data, [arguments[1]])
            pointer = builder.bitcast(address, context.get_value_type(number).as_pointer())
            word = builder.load(pointer, align=1)
            return word if byte_order == sys.byteorder else builder.bswap(word)

        return number(data, at), codegen

    return intrinsic(load)


# (data: uint8 array, at: int64) -> the number in data[at : at + its bytes], which must be inside.
load_little32 = _load(types.uint32, "little")
load_little64 = _load(types.uint64, "little")
