"""Write on the pages that C4's cleaning leaves, in pieces: what is counted of them needs no copy of a whole page.

A piece holds a mebibyte and the rest of its last line, or word, so memory is that of the longest one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from redpajama_pipe.signals.c4_kernels import LINE_BREAK_REASON
from redpajama_pipe.text.blocks import BLOCK

PIECE = 1 << 20  # bytes
PADDING = 2 * BLOCK  # so much may be read after a piece


class Piece(NamedTuple):
    """Parts of some pages in a row, end to end; what follows of the last one is in the next piece.

    Attributes:
        data: (bytes + PADDING,) at least, read-only; the next piece is written over it.
        offsets: (pages + 1,) where each part begins.
        first: the number of the first page.
    """

    data: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    first: int


@dataclass(frozen=True)
class Pages:
    """Documents and what c4_kernels.clean cuts of them.

    Attributes:
        data: the documents' UTF-8, end to end.
        offsets: (documents + 1,) where each begins.
        valid: (documents,) False: the page is empty.
        spans: (spans, 3) what is cut.
        first_span: (documents + 1,) where the spans of each document begin.
    """

    data: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    valid: NDArray[np.bool_]
    spans: NDArray[np.int64]
    first_span: NDArray[np.int64]

    def pieces(self, *, within_lines: bool = False) -> Iterator[Piece]:
        """Write all pages, in order, in pieces of PIECE bytes and those up to where a piece may end.

        It may end after a page or a newline, and if it may end `within_lines` also after a space.
        """
        documents = len(self.valid)
        out = np.empty(2 * min(PIECE, len(self.data)) + PADDING, np.uint8)
        ends = np.zeros(documents + 1, np.int64)
        # Where to go on: the document, its byte and span, and how many bytes the piece has.
        state = np.array([0, self.offsets[0], self.first_span[0], 0], np.int64)
        while state[0] < documents:
            first, state[3] = int(state[0]), 0
            while not _write(
                self.data, self.offsets, self.valid, self.spans, self.first_span, within_lines, PIECE, out, ends, state
            ):
                left = self.offsets[state[0] + 1] - state[1]  # of a page with a line that is longer than a piece
                out.resize(min(2 * len(out), int(state[3] + left) + PADDING), refcheck=False)
            last = min(int(state[0]), documents - 1)  # the rest of it is in the next piece
            ends[last + 1] = state[3]
            data = out.view()
            data.flags.writeable = False  # like a batch's: kernels are compiled for each kind of array
            yield Piece(data, np.append(0, ends[first + 1 : last + 2]), first)


@njit(cache=True, nogil=True)
def _write(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    valid: NDArray[np.bool_],
    spans: NDArray[np.int64],
    first_span: NDArray[np.int64],
    within_lines: bool,
    enough: int,
    out: NDArray[np.uint8],
    ends: NDArray[np.int64],
    state: NDArray[np.int64],
) -> bool:
    """Go on writing until there is enough; False: there is no room to come to where a piece may end."""
    document, at, index, size = state[0], state[1], state[2], state[3]
    room = len(out) - PADDING
    done = False
    while document < len(valid) and not done:
        start, stop = offsets[document], offsets[document + 1]
        if not valid[document]:
            at = stop
        cut = index < first_span[document + 1]
        if cut:
            stop = start + spans[index, 0]
        if at < stop:
            if size >= room:
                break
            # All of it, or until there is enough, and then one byte after the other.
            count = min(stop - at, max(enough - size, 1), room - size)
            for step in range(np.uint64(count)):
                out[np.uint64(size) + step] = data[np.uint64(at) + step]
            at += count
            size += count
            done = size >= enough and (out[size - 1] == 0x0A or (within_lines and out[size - 1] == 0x20))
        elif cut:
            if spans[index, 2] == LINE_BREAK_REASON:
                out[size] = 0x0A
                size += 1
            at = start + spans[index, 1]
            index += 1
        else:
            document += 1
            at = stop
            ends[document] = size
            done = size >= enough
    state[0], state[1], state[2], state[3] = document, at, index, size
    return done or document == len(valid)
