"""How often some runs of ids occur in the shards: exact counts in one pass over all tokens.

A rolling hash of each window is looked up among those wanted, and a hit is compared id by id. Memory: the windows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from redpajama_pipe import storage
from redpajama_pipe.tokens.reader import SequenceReader

_BASE = np.uint64(0x9E3779B97F4A7C15)
_FILTER_BITS = 20


def count_windows(reader: SequenceReader, windows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count the places of each window in the documents of a run.

    Args:
        reader: whose shards are read, all of them, whether a schedule reads them or not.
        windows: (n, width) ids.

    Returns:
        (n,) counts. A window that goes over the end of a document has none, unless another document holds all of it.
    """
    distinct, which = np.unique(windows, axis=0, return_inverse=True)
    hashes = _hash_rows(distinct)
    order = np.argsort(hashes, kind="stable")
    hashes, distinct = hashes[order], np.ascontiguousarray(distinct[order])
    present = np.zeros(1 << _FILTER_BITS, np.bool_)
    present[hashes >> np.uint64(64 - _FILTER_BITS)] = True
    counts = np.zeros(len(distinct), np.int64)
    for number, name in enumerate(reader.shards):
        shard = reader.shard(number)
        if shard.tokens:
            ids = np.memmap(storage.join(reader.tokens, f"{name}.bin"), shard.dtype, "r")
            _count(np.asarray(ids), shard.sizes, distinct, hashes, present, counts)
    back = np.empty_like(counts)
    back[order] = counts
    found: NDArray[np.int64] = back[which.reshape(-1)]
    return found


@njit(cache=True, nogil=True)
def _hash_rows(rows: NDArray[np.int64]) -> NDArray[np.uint64]:
    hashes = np.zeros(len(rows), np.uint64)
    for row in range(len(rows)):
        value = np.uint64(0)
        for token in rows[row]:
            value = value * _BASE + np.uint64(token) + np.uint64(1)
        hashes[row] = value
    return hashes


@njit(cache=True, nogil=True)
def _count(
    ids: NDArray[Any],
    sizes: NDArray[np.int32],
    windows: NDArray[np.int64],  # (distinct, width), sorted by hash
    hashes: NDArray[np.uint64],
    present: NDArray[np.bool_],  # by the first bits of a hash
    counts: NDArray[np.int64],
) -> None:
    width = windows.shape[1]
    power = np.uint64(1)
    for _ in range(width):
        power *= _BASE
    start = 0
    for size in sizes:
        value = np.uint64(0)
        for at in range(start, start + size):
            value = value * _BASE + np.uint64(ids[at]) + np.uint64(1)
            if at - start >= width:
                value -= (np.uint64(ids[at - width]) + np.uint64(1)) * power
            if at - start >= width - 1 and present[value >> np.uint64(64 - _FILTER_BITS)]:
                row = np.searchsorted(hashes, value)
                while row < len(hashes) and hashes[row] == value:
                    first = at - width + 1
                    same = True
                    for offset in range(width):
                        if windows[row, offset] != ids[first + offset]:
                            same = False
                            break
                    if same:
                        counts[row] += 1
                    row += 1
        start += size
