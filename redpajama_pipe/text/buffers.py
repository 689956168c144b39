"""The bytes and offsets of an Arrow string array, as NumPy views: nothing is copied but 8 bytes a document."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


class Utf8(NamedTuple):
    """Documents end to end: the text of document i is data[offsets[i]:offsets[i + 1]].

    Attributes:
        data: (bytes,), read-only; it belongs to the array, so it must not outlive it.
        offsets: (documents + 1,), ascending; the first need not be 0.
        valid: (documents,); False where the document is null.
    """

    data: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    valid: NDArray[np.bool_]


def utf8(texts: pa.Array) -> Utf8:
    """Look into a string or large_string array, sliced or not.

    Raises:
        TypeError: it is something else.
    """
    if not isinstance(texts, pa.Array) or texts.type not in (pa.string(), pa.large_string()):
        found = texts.type if isinstance(texts, pa.Array) else f"a {type(texts).__name__}"
        raise TypeError(f"expected an Arrow array of string or large_string, found {found}")
    count = len(texts)
    _, offset_buffer, data_buffer = texts.buffers()
    width = np.int32 if texts.type == pa.string() else np.int64
    if count:
        offsets = np.frombuffer(offset_buffer, width)[texts.offset : texts.offset + count + 1].astype(np.int64)
    else:
        offsets = np.zeros(1, np.int64)
    # An array without a single character may come without a data buffer.
    data = np.frombuffer(data_buffer if data_buffer is not None and data_buffer.size else b"", np.uint8)
    # Buffers of a file or a stream are read-only and others are not; kernels are compiled for each kind of array.
    data.flags.writeable = False
    valid = texts.is_valid().to_numpy(zero_copy_only=False)
    return Utf8(data, offsets, valid)
