"""The loops over packed documents that Numba compiles; `packing` says what they compute.

In a file of their own, imported where one runs: reading a packed schedule needs none of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray


@njit(cache=True, nogil=True)
def count_pieces(sizes: NDArray[np.int32], capacity: int) -> int:
    count = 0
    for size in sizes:
        count += -(-size // capacity)
    return count


@njit(cache=True, nogil=True)
def cut(sizes: NDArray[np.int32], capacity: int, pieces: NDArray[np.int32]) -> None:
    at = 0
    for document in range(len(sizes)):
        start = 0
        while start < sizes[document]:
            length = min(capacity, sizes[document] - start)
            pieces[at, 0] = document
            pieces[at, 1] = start
            pieces[at, 2] = length
            start += length
            at += 1


@njit(cache=True, nogil=True)
def best_fit(lengths: NDArray[np.int32], capacity: int, places: NDArray[np.int64]) -> int:
    """Give each piece a bin, numbered in the order in which they are opened; returns how many bins there are."""
    starts = np.zeros(capacity + 2, np.int64)  # of each length among the pieces, the longest first
    for length in lengths:
        starts[capacity - length + 1] += 1
    for length in range(1, capacity + 2):
        starts[length] += starts[length - 1]
    order = np.empty(len(lengths), np.int64)
    for row in range(len(lengths)):
        bucket = capacity - lengths[row]
        order[starts[bucket]] = row
        starts[bucket] += 1
    width = 1
    while width <= capacity:
        width *= 2
    room = np.zeros(2 * width, np.bool_)  # a tree: is there a bin with so much room, or below
    head = np.full(capacity + 1, -1, np.int64)  # for each amount of room a stack of the bins that have it
    below = np.empty(len(lengths), np.int64)
    bins = 0
    for piece in order:
        length = lengths[piece]
        at = width + length
        if not room[at]:
            while at > 1 and (at % 2 or not room[at + 1]):
                at //= 2
            if at > 1:
                at += 1
                while at < width:
                    at = 2 * at if room[2 * at] else 2 * at + 1
        left = at - width if at > 1 else capacity
        if left < capacity:
            chosen = head[left]
            head[left] = below[chosen]
            if head[left] < 0:
                while at >= 1:
                    room[at] = at < width and (room[2 * at] or room[2 * at + 1])
                    at //= 2
        else:
            chosen = bins
            bins += 1
        left -= length
        below[chosen] = head[left]
        head[left] = chosen
        at = width + left
        while at >= 1 and not room[at]:
            room[at] = True
            at //= 2
        places[piece] = chosen
    return bins


@njit(cache=True, nogil=True)
def group(
    pieces: NDArray[np.int32], places: NDArray[np.int64], free: NDArray[np.int64], ordered: NDArray[np.int32]
) -> None:
    for piece in range(len(pieces)):
        ordered[free[places[piece]]] = pieces[piece]
        free[places[piece]] += 1


@njit(cache=True, nogil=True)
def count_cuts(sizes: NDArray[np.int32], doc_idx: NDArray[np.int32], seq_len: int, places: int) -> tuple[int, int, int]:
    documents = cut = pieces = at = 0
    for document in doc_idx:
        end = min(at + sizes[document], places)
        if end > at:
            parts = (end - 1) // seq_len - at // seq_len + 1
            documents += 1
            pieces += parts
            cut += parts > 1
        at += sizes[document]
    return documents, cut, pieces


@njit(cache=True, nogil=True)
def expose_packed(
    pieces: NDArray[np.int32],
    bins: NDArray[np.int64],
    shuffle_idx: NDArray[Any],
    tokens: NDArray[np.int64],
    first: NDArray[np.int64],
) -> None:
    for chosen in shuffle_idx:
        for row in range(bins[chosen], bins[chosen + 1]):
            tokens[pieces[row, 0]] += pieces[row, 2]
            first[pieces[row, 0]] += pieces[row, 1] == 0


@njit(cache=True, nogil=True)
def count_packed_readings(
    pieces: NDArray[np.int32], bins: NDArray[np.int64], shuffle_idx: NDArray[Any], counts: NDArray[np.int64]
) -> None:
    """Add to `counts` (documents,) how many sequences of these turns hold each document's pieces."""
    for chosen in shuffle_idx:
        for row in range(bins[chosen], bins[chosen + 1]):
            counts[pieces[row, 0]] += 1


@njit(cache=True, nogil=True)
def list_packed_readings(
    pieces: NDArray[np.int32],
    bins: NDArray[np.int64],
    shuffle_idx: NDArray[Any],
    batch_size: int,
    free: NDArray[np.int64],
    steps: NDArray[np.int32],
) -> None:
    """Write the step of each such reading where `free` (documents,) says; it is moved on."""
    for turn in range(len(shuffle_idx)):
        chosen = shuffle_idx[turn]
        for row in range(bins[chosen], bins[chosen + 1]):
            document = pieces[row, 0]
            steps[free[document]] = turn // batch_size
            free[document] += 1
