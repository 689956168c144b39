"""Dolma's counts of a long document: the kernels of ordinary ones read some words or lines at a time.

What repeats is found by text.repeats, for which the text is read again: scratch is its table, some eight bytes a word
at most, and a few MiB. Nothing here is compiled before the first long document.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from redpajama_pipe.signals import dolma_kernels as kernels
from redpajama_pipe.text import repeats
from redpajama_pipe.text.blocks import first_one
from redpajama_pipe.text.lean import lean_entry
from redpajama_pipe.text.line_hash import ending

LONG = 8 << 20  # bytes
ITEMS = 1 << 15  # words or lines that are read at a time

_COLUMN = {name: column for column, name in enumerate(kernels.TALLIES)}
_WORDS, _MEDIAN, _LINES, _DUPLICATE_LINES = (
    _COLUMN[name] for name in ("words", "double_median", "lines", "duplicate_lines")
)
_ONE = np.uint64(1)


def tally(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    valid: NDArray[np.bool_],
    properties: NDArray[np.uint8],
    long: int = LONG,
    items: int = ITEMS,
    slots: int = repeats.SLOTS,
) -> NDArray[np.int64]:
    """Count for every document, as kernels.tally does.

    Args:
        data: the documents' UTF-8, end to end.
        offsets: (documents + 1,) where each begins.
        valid: (documents,) False: leave zeros.
        properties: the flags of every code point, text.characters.properties().
        long: documents of more bytes are read in pieces; it changes no value.
        items: words or lines of a piece; it changes no value.
        slots: of a table, for 128 MiB of text or less; it changes no value.

    Returns:
        (documents, kernels.TALLIES); zeros where `valid` is False.
    """
    sizes = np.diff(offsets)
    longer = valid & (sizes > long)
    last = ending(data)
    counts = kernels.tally(data, last, offsets, valid & ~longer, properties)
    for document in np.flatnonzero(longer):
        read = _Document(data, last, int(offsets[document]), int(offsets[document + 1]), properties, items)
        _count(read, repeats.slots_for(int(sizes[document]), slots))
        counts[document] = read.count
    return counts


def _count(document: _Document, slots: int) -> None:
    """Fill the row of a document."""
    count = document.count
    count[_DUPLICATE_LINES : _DUPLICATE_LINES + 2] = repeats.duplicates(document.lines, slots).sum(axis=0)
    words = repeats.name_words(document.words, document.most_words(), slots)
    total = len(words.names)
    ends = np.zeros(1, np.uint32)
    if 2 * document.histogram[kernels.LENGTHS] >= total:  # then words are few
        lengths = [np.diff(ends) for _, ends in document.words()]
        ends = np.append(ends, np.cumsum(np.concatenate([*lengths, ends]), dtype=np.uint32))
    count[_MEDIAN] = kernels.double_median(document.histogram, ends, total)
    before, after = document.first, document.final[::-1]
    for n in range(2, min(kernels.LAST_NGRAM, total) + 1):
        if n <= kernels.LAST_TOP:
            count[_COLUMN[f"top_{n}gram_chars"]] = before[:n].sum()  # the first, if none comes twice
        else:
            fewer = np.arange(n - 1, 0, -1)  # a word is in n of them, but for those near the ends
            chars = n * count[_COLUMN["word_chars"]] - fewer @ before[: n - 1] - fewer @ after[: n - 1]
            count[_COLUMN[f"all_{n}gram_chars"]] = chars
    for found in repeats.repeated_ngrams(words, kernels.LAST_TOP, kernels.LAST_NGRAM, False, slots):
        if found.n <= kernels.LAST_TOP:
            count[_COLUMN[f"top_{found.n}gram_chars"]] = found.times * found.chars
        else:
            count[_COLUMN[f"duplicate_{found.n}gram_chars"]] = _chars(
                words.names, words.lengths, found.n, found.repeated
            )


class _Document:
    """What reads a document, as often as it is asked to.

    Attributes:
        count: (TALLIES,) what `words` and `lines` count while they read.
        histogram: (LENGTHS + 1,) how many words have each length.
        first: the lengths of the first words, at most LAST_NGRAM of them.
        final: those of the last ones.
    """

    def __init__(
        self,
        data: NDArray[np.uint8],
        last: NDArray[np.uint8],
        start: int,
        end: int,
        properties: NDArray[np.uint8],
        items: int,
    ) -> None:
        self._data, self._last, self._start, self._end, self._properties = data, last, start, end, properties
        self._keys, self._ends = np.empty(items, np.uint64), np.empty(items + 1, np.uint32)
        self.count = np.zeros(len(kernels.TALLIES), np.int64)
        self.histogram = np.zeros(kernels.LENGTHS + 1, np.int64)
        self.first = self.final = np.zeros(0, np.int64)

    def most_words(self) -> int:
        return kernels.most_words_or_lines(self._data, self._start, self._end)

    def lines(self) -> Iterator[repeats.Piece]:
        """Read the lines."""
        self.count[_LINES:_DUPLICATE_LINES] = 0
        at = self._start
        while at <= self._end:
            at, held = kernels.read_lines(self._data, self._last, at, self._end, self._keys, self._ends, self.count)
            yield self._keys[:held], self._ends[: held + 1]

    def words(self) -> Iterator[repeats.Piece]:
        """Read the words."""
        self.count[_WORDS:_MEDIAN] = 0
        self.histogram[:] = 0
        self.first = self.final = np.zeros(0, np.int64)
        at = self._start
        while at < self._end:
            at, held = kernels.read_words(
                self._data, at, self._end, self._properties, self._keys, self._ends, self.histogram, self.count
            )
            most = kernels.LAST_NGRAM
            self.first = np.append(self.first, np.diff(self._ends[: min(most, held) + 1]))[:most]
            self.final = np.append(self.final, np.diff(self._ends[max(held - most, 0) : held + 1]))[-most:]
            yield self._keys[:held], self._ends[: held + 1]


@lean_entry
def _chars(names: NDArray[np.uint32], lengths: NDArray[np.uint32], n: int, repeated: NDArray[np.uint64]) -> int:
    """Count the characters of n-grams that repeat, every occurrence.

    Args:
        names: (words,) of the words.
        lengths: by name, their characters.
        n: words of an n-gram.
        repeated: a bit for the first word of each.
    """
    total = 0
    chars: Any = np.int64(0)  # of this one
    before: Any = np.int64(-2)
    for block in range(len(repeated) - 1):
        bits = repeated[block]
        while bits:
            position = (block << 6) + first_one(bits)
            bits &= bits - _ONE
            if position == before + 1:
                chars += np.int64(lengths[names[position + n - 1]]) - lengths[names[before]]
            else:
                chars = 0
                for word in range(position, position + n):
                    chars += np.int64(lengths[names[word]])
            total += chars
            before = position
    return total
