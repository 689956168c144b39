"""How much of each document the first turns of a schedule read: one pass over its stream, 1 byte a sequence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from redpajama_pipe.tokens.schedule import BLOCK, Schedule


@dataclass(frozen=True)
class Exposure:
    """How much of each document some turns read.

    A sequence reads its seq_len inputs; the one id more is the next sequence's first input. So no token is counted
    twice in one pass, and all counts add up to turns * seq_len.

    Attributes:
        sizes: (documents,) tokens in each.
        tokens: (documents,) int64, tokens read as inputs, repetitions counted.
        first_token: (documents,) int64, how often the document's first token was an input.
    """

    sizes: NDArray[np.int32]
    tokens: NDArray[np.int64]
    first_token: NDArray[np.int64]

    @property
    def times(self) -> NDArray[np.float64]:
        """(documents,) tokens / size: 1.5 is one and a half readings; NaN for a document without tokens."""
        times = np.full(len(self.sizes), np.nan)
        np.divide(self.tokens, self.sizes, out=times, where=self.sizes > 0)
        return times


def exposure(schedule: Schedule, sizes: NDArray[np.int32], turns: int) -> Exposure:
    """Count what the first `turns` turns read of each document.

    Raises:
        IndexError: the schedule has fewer turns.
    """
    if not 0 <= turns <= len(schedule):
        raise IndexError(f"{turns} turns of a schedule of {len(schedule)}")
    read = np.zeros(len(schedule.shuffle_idx), np.bool_)
    _mark(schedule.shuffle_idx[:turns], read)
    tokens, first = np.zeros(len(sizes), np.int64), np.zeros(len(sizes), np.int64)
    _expose(sizes, schedule.doc_idx, schedule.seq_len, read, tokens, first, np.empty(BLOCK, np.int32))
    return Exposure(sizes, tokens, first)


@njit(cache=True, nogil=True)
def _mark(sequences: NDArray[Any], read: NDArray[np.bool_]) -> None:
    for sequence in sequences:
        read[sequence] = True


@njit(cache=True, nogil=True)
def _expose(
    sizes: NDArray[np.int32],
    doc_idx: NDArray[np.int32],
    seq_len: int,
    read: NDArray[np.bool_],
    tokens: NDArray[np.int64],
    first: NDArray[np.int64],
    lengths: NDArray[np.int32],
) -> np.int64:
    row = 0  # the sequence that the stream stands in
    left = seq_len  # inputs of it that are still to come
    touched = np.int64(0)
    for begin in range(0, len(doc_idx), len(lengths)):
        end = min(begin + len(lengths), len(doc_idx))
        for at in range(begin, end):  # read ahead: the memory serves many random reads at a time
            lengths[at - begin] = sizes[doc_idx[at]]
            touched ^= tokens[doc_idx[at]] ^ first[doc_idx[at]]
        for at in range(begin, end):
            document, size = doc_idx[at], lengths[at - begin]
            if size > 0 and row < len(read) and read[row]:
                first[document] += 1
            while size > 0 and row < len(read):
                taken = min(size, left)
                if read[row]:
                    tokens[document] += taken
                size -= taken
                left -= taken
                if left == 0:
                    row += 1
                    left = seq_len
    return touched
