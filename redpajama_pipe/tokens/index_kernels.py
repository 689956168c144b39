"""The loops over a schedule's arrays that Numba compiles: one pass each.

In a file of their own, imported where one runs: reading a schedule needs none of them, and importing Numba takes longer
than showing a step. `schedule`, `blend` and `lookup` say what they compute and from which source.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray


@njit(cache=True, nogil=True)
def fill_sample_idx(
    sizes: NDArray[np.int32],
    doc_idx: NDArray[np.int32],
    seq_len: int,
    sample_idx: NDArray[Any],
    lengths: NDArray[np.int32],
) -> None:
    # lengths: those of a block of positions, read ahead: the memory serves many random reads at a time
    position = first = end = 0
    offset = 0
    for row in range(1, len(sample_idx)):
        # seq_len + 1 ids are taken, and the last one is given back: the next sequence begins with it.
        need = seq_len + 1
        while need > 0:
            if position == end:
                first, end = end, min(end + len(lengths), len(doc_idx))
                for at in range(first, end):
                    lengths[at - first] = sizes[doc_idx[at]]
            left = lengths[position - first] - offset
            if left >= need:
                offset += need - 1
                need = 0
            else:
                need -= left
                position += 1
                offset = 0
        sample_idx[row, 0] = position
        sample_idx[row, 1] = offset


@njit(cache=True, nogil=True)
def choose_data_sets(
    weights: NDArray[np.float64],
    taken: NDArray[np.int64],
    dataset_index: NDArray[Any],
    dataset_sample_index: NDArray[np.int64],
) -> None:
    for turn in range(len(dataset_index)):
        turns = max(np.float64(turn), 1.0)
        chosen = 0
        most = weights[0] * turns - np.float64(taken[0])
        for dataset in range(1, len(weights)):
            lag = weights[dataset] * turns - np.float64(taken[dataset])
            if lag > most:
                most = lag
                chosen = dataset
        dataset_index[turn] = chosen
        dataset_sample_index[turn] = taken[chosen]
        taken[chosen] += 1


@njit(cache=True, nogil=True)
def scan(
    values: NDArray[Any],
    wanted: NDArray[np.int64],
    low_bits: NDArray[np.bool_],  # of the wanted ones: 64 KiB, which stay in the cache
    which: NDArray[np.int64],
    places: NDArray[np.int64],
) -> int:
    count = 0
    for at in range(len(values)):
        if low_bits[values[at] & 0xFFFF]:
            found = np.searchsorted(wanted, np.int64(values[at]))
            if found < len(wanted) and wanted[found] == values[at]:
                which[count] = found
                places[count] = at
                count += 1
    return count


@njit(cache=True, nogil=True)
def invert(values: NDArray[Any], inverse: NDArray[Any]) -> None:
    for at in range(len(values)):
        inverse[values[at]] = at


@njit(cache=True, nogil=True)
def invert_repeated(values: NDArray[Any], filled: NDArray[np.int32], inverse: NDArray[Any]) -> None:
    for at in range(len(values)):
        value = values[at]
        inverse[value, filled[value]] = at
        filled[value] += 1
