"""Count what datatrove's Gopher filters count: tokens, characters and, if it is wanted, what repeats.

What each reading is, and what it costs, stands in datatrove_token_kernels and datatrove_repetition_kernels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from redpajama_pipe.signals import datatrove_repetition_kernels, datatrove_token_kernels
from redpajama_pipe.signals.datatrove_repetition_kernels import CHUNK, ROOM, count_repetition
from redpajama_pipe.signals.datatrove_token_kernels import count_tokens
from redpajama_pipe.text.lean import lean_entry

_CHARACTERS = ("chars", "hash_marks", "ellipses", "newlines")
_CHARS, _HASH_MARKS, _ELLIPSES, _NEWLINES = range(4)

# The columns of what `tally` returns, in order.
TALLIES = (*datatrove_token_kernels.TALLIES, *_CHARACTERS, *datatrove_repetition_kernels.TALLIES)


def tally(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    valid: NDArray[np.bool_],
    flags: NDArray[np.uint8],
    repetition: bool,
    room: int = ROOM,
    chunk: int = CHUNK,
) -> NDArray[np.int64]:
    """Count for every document.

    Args:
        data: the documents' UTF-8, end to end.
        offsets: (documents + 1,) where each begins.
        valid: (documents,) False: leave zeros.
        flags: of every code point, datatrove.flags().
        repetition: whether to fill the columns from `breaks` on.
        room: as count_repetition() has it; it changes no value.
        chunk: as count_repetition() has it; it changes no value.

    Returns:
        (documents, TALLIES); zeros where `valid` is False.
    """
    data, offsets = data[offsets[0] :], offsets - offsets[0]
    if len(data) < 8:
        data = np.append(data, np.zeros(8, np.uint8))
    data.flags.writeable = False  # else everything would be compiled for either
    longest = int(np.max(np.diff(offsets), initial=0, where=valid))
    tokens, starts, lasts = count_tokens(data, offsets, valid, flags, longest)
    characters = np.zeros((len(valid), len(_CHARACTERS)), np.int64)
    _characters(data, offsets, valid, characters)
    repeated = np.zeros((len(valid), len(datatrove_repetition_kernels.TALLIES)), np.int64)
    if repetition:
        numbers = tokens[:, 0].copy(), characters[:, _NEWLINES].copy()
        repeated = count_repetition(data, offsets, valid, flags, starts, lasts, *numbers, longest, room, chunk)
    return np.concatenate((tokens, characters, repeated), axis=1)


@lean_entry
def _characters(
    data: NDArray[np.uint8], offsets: NDArray[np.int64], valid: NDArray[np.bool_], counts: NDArray[np.int64]
) -> None:
    """Fill the columns of _CHARACTERS."""
    for document in range(len(valid)):
        if not valid[document]:
            continue
        text = data[offsets[document] : offsets[document + 1]]
        chars = newlines = hash_marks = ellipses = triples = 0
        for at in range(len(text)):
            byte = text[at]
            chars += byte & 0xC0 != 0x80
            newlines += byte == 0x0A
            hash_marks += byte == 0x23
        for at in range(len(text) - 2):
            third, second, last = text[at], text[at + 1], text[at + 2]
            ellipses += (third == 0xE2) & (second == 0x80) & (last == 0xA6)
            triples += (third == 0x2E) & (second == 0x2E) & (last == 0x2E)
        if triples:
            dots = 0
            for at in range(len(text)):
                dots = dots + 1 if text[at] == 0x2E else 0
                if dots == 3:
                    ellipses += 1
                    dots = 0
        count = counts[document]
        count[_CHARS], count[_NEWLINES], count[_HASH_MARKS], count[_ELLIPSES] = chars, newlines, hash_marks, ellipses
