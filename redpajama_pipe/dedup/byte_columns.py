"""Binary Arrow columns as NumPy matrices, and back, without a Python object per value.

Spark's BinaryType is Arrow's variable-length `binary`, also for 16-byte ids; its workers refuse fixed-size ones.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

ID_BYTES = 16


def fixed_width(column: pa.Array, width: int, what: str) -> NDArray[np.uint8]:
    """View a binary column whose values all have one length.

    Args:
        column: Arrow `binary`, no nulls.
        width: bytes of each value.
        what: what a value is, for the error.

    Returns:
        (values, width) bytes; shares the column's memory.

    Raises:
        ValueError: a value is null or has another length.
    """
    offsets = _offsets(column)
    lengths = np.diff(offsets)
    if column.null_count or np.any(lengths != width):
        found = "null" if column.null_count else f"{int(lengths[lengths != width][0])} bytes"
        raise ValueError(f"{what} should be {width} bytes; found {found}")
    return _data(column, np.uint8)[offsets[0] : offsets[-1]].reshape(-1, width)


def end_to_end(column: pa.Array) -> NDArray[np.uint8]:
    """View the bytes of all values of a binary column, one value after another; shares the column's memory."""
    offsets = _offsets(column)
    return _data(column, np.uint8)[offsets[0] : offsets[-1]]


def from_fixed_width(rows: NDArray[np.uint8]) -> pa.Array:
    """Make a binary column of the rows of a (values, width) matrix."""
    count, width = rows.shape
    offsets = np.arange(count + 1, dtype=np.int32) * np.int32(width)
    data = np.ascontiguousarray(rows)
    return pa.Array.from_buffers(pa.binary(), count, [None, pa.py_buffer(offsets), pa.py_buffer(data)])


def runs(column: pa.Array) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """View a binary column of little-endian uint64 runs as (values, offsets); offsets count values and begin at 0."""
    offsets = _offsets(column)
    # copied: a slice of the column may begin at a byte that is not a multiple of 8
    values = np.frombuffer(_data(column, np.uint8)[offsets[0] : offsets[-1]].tobytes(), "<u8")
    return values.astype(np.uint64, copy=False), (offsets - offsets[0]) // 8


def from_runs(values: NDArray[np.uint64], offsets: NDArray[np.int64]) -> pa.Array:
    """Make a binary column of `runs`: value i is values[offsets[i]:offsets[i + 1]], little-endian."""
    begin, end = int(offsets[0]), int(offsets[-1])
    if (end - begin) * 8 > np.iinfo(np.int32).max:
        raise ValueError(
            f"{end - begin:,} shingle hashes do not fit one Arrow column of 2 GiB; read fewer texts at once"
        )
    ends = ((offsets - begin) * 8).astype(np.int32)
    data = np.ascontiguousarray(values[begin:end], dtype="<u8")
    return pa.Array.from_buffers(pa.binary(), len(offsets) - 1, [None, pa.py_buffer(ends), pa.py_buffer(data)])


def cut_rows(batch: pa.RecordBatch, rows: int) -> Iterator[pa.RecordBatch]:
    """Cut a batch into slices of at most so many rows, at least one; an empty batch has none."""
    for begin in range(0, batch.num_rows, max(1, rows)):
        yield batch.slice(begin, max(1, rows))


def _offsets(column: pa.Array) -> NDArray[np.int64]:
    buffer = column.buffers()[1]
    if len(column) == 0 or buffer is None:
        return np.zeros(1, np.int64)
    offsets = np.frombuffer(buffer, np.int32)[column.offset : column.offset + len(column) + 1]
    return offsets.astype(np.int64)


def _data(column: pa.Array, kind: type[np.uint8]) -> NDArray[np.uint8]:
    buffer = column.buffers()[2]
    return np.zeros(0, kind) if buffer is None else np.frombuffer(buffer, kind)
