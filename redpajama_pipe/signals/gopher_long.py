"""Gopher's counts of a long document: the kernels of ordinary ones read it piece by piece, and Python adds up.

A piece is whole lines; a line that is longer is read in pieces of whole words; a word that is longer is copied. What
repeats is found by text.repeats, for which the text is read several times. Scratch is its table of 64 MiB, more
for texts beyond 128 MiB but never more than the text; four bytes a word, four a different word, and a few MiB.
It takes up to twice as long as kernels that have room for everything. Nothing here is compiled before the first one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from redpajama_pipe.signals import gopher_kernels as kernels
from redpajama_pipe.text import repeats
from redpajama_pipe.text.blocks import BLOCK, first_one
from redpajama_pipe.text.decode import decode
from redpajama_pipe.text.lean import lean_entry
from redpajama_pipe.text.span_hash import SEED, hash_span, mix

LONG = 8 << 20  # bytes
PIECE = 1 << 18  # bytes

_COLUMN = {name: column for column, name in enumerate(kernels.TALLIES)}
_WORDS, _CHARS, _STOP_WORDS = _COLUMN["words"], _COLUMN["chars"], _COLUMN["stop_words"]
_LINES, _LINE_CHARS, _BULLET_LINES = _COLUMN["lines"], _COLUMN["line_chars"], _COLUMN["bullet_lines"]
_ELLIPSIS_LINES, _AFTER_LINES, _NGRAMS = (
    _COLUMN[name] for name in ("ellipsis_lines", "duplicate_lines", "top_2gram_chars")
)
_PARAGRAPHS = _COLUMN["paragraphs"]
_LAST_TOP, _LAST_NGRAM = 4, 10
_ELLIPSES = (b"...", b". . .", "…".encode())
_NEWLINE = re.compile(b"\n")
_TAIL = 1024  # bytes in which the end of a word is looked for first
_ONE = np.uint64(1)


def tally(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    valid: NDArray[np.bool_],
    properties: NDArray[np.uint8],
    repetition: bool,
    unspaced: bool = False,
    long: int = LONG,
    piece: int = PIECE,
    slots: int = repeats.SLOTS,
) -> NDArray[np.int64]:
    """Count for every document, as kernels.tally does.

    Args:
        data: the documents' UTF-8, end to end.
        offsets: (documents + 1,) where each begins.
        valid: (documents,) False: leave zeros.
        properties: the flags of every code point, text.characters.properties().
        repetition: whether to fill the columns on duplicates and n-grams.
        unspaced: whether words are parted.
        long: more bytes than that are read in pieces; it changes no value.
        piece: bytes of a piece; it changes no value.
        slots: of a table, for 128 MiB of text or less; it changes no value.
    """
    longer = valid & (np.diff(offsets) > long)
    counts = kernels.tally(data, offsets, valid & ~longer, properties, repetition, unspaced)
    for document in np.flatnonzero(longer):
        text = data[offsets[document] : offsets[document + 1]]
        read = _Document(text, properties, unspaced, piece)
        counts[document] = _count(read, repetition, repeats.slots_for(len(text), slots))
    return counts


def _count(document: _Document, repetition: bool, slots: int) -> NDArray[np.int64]:
    """Return the row of a document."""
    count = document.count
    if not repetition:
        for read in (document.segments, document.words):
            for _ in read():
                pass
        count[_STOP_WORDS] = int(count[_STOP_WORDS]).bit_count()
        return count
    count[_AFTER_LINES:_NGRAMS] = repeats.duplicates(document.segments, slots).ravel()
    words = repeats.name_words(document.words, len(document.text) // 2 + 1, slots)
    count[_STOP_WORDS] = int(count[_STOP_WORDS]).bit_count()
    for found in repeats.repeated_ngrams(words, _LAST_TOP, _LAST_NGRAM, True, slots):
        n, first = found.n, found.first
        if n > _LAST_TOP:
            count[_COLUMN[f"duplicate_{n}gram_chars"]] = _covered(words.names, words.lengths, n, found.repeated, -1)
            continue
        top = words.names[first : first + n].tolist()
        if any(top[shift:] == top[:-shift] for shift in range(1, n)):  # two of them may share words
            chars = _covered(words.names, words.lengths, n, found.repeated, first)
        else:
            chars = found.times * found.chars
        count[_COLUMN[f"top_{n}gram_chars"]] = chars
    return count


class _Document:
    """What reads a document, as often as it is asked to.

    Attributes:
        text: its bytes.
        count: (TALLIES,) what `words` and `segments` count while they read; stop_words is a bit for each.
    """

    def __init__(self, text: NDArray[np.uint8], properties: NDArray[np.uint8], unspaced: bool, piece: int) -> None:
        self.text, self._properties, self._unspaced, self._piece = text, properties, unspaced, piece
        self._bytes = text.data
        self.count = np.zeros(len(kernels.TALLIES), np.int64)
        self._breaks = np.empty((2, piece + 2), np.int64)
        room = piece // 2 + 2
        self._hashes, self._chars = np.empty((2, room), np.uint64), np.empty((2, room), np.int64)
        self._opened = np.zeros(kernels.OPENED, np.uint64)
        self._room(piece)

    def _room(self, size: int) -> None:
        """Make scratch for pieces of so many bytes; it takes no memory before it is written."""
        room = size // 2 + 2
        self._page = np.empty(size + kernels.PADDING, np.uint8)
        self._characters = np.empty(size // BLOCK + 2, np.uint64)
        self._begins, self._ends, self._part_begins, self._part_ends = (np.empty(room, np.uint32) for _ in range(4))
        self._word_hashes, self._word_ends = np.empty(room, np.uint64), np.empty(room + 1, np.uint32)

    def _turn_to(self, begin: int, end: int) -> int:
        """Copy a part of the text to the page, and return its size."""
        size = end - begin
        if size > len(self._page) - kernels.PADDING:
            self._room(size)
        self._page[:size] = self.text[begin:end]
        self._page[size : size + kernels.PADDING] = 0
        return size

    def _find_words(self, begin: int, end: int) -> NDArray[np.int64]:
        """Find the words of a part of the text; return the columns that count them, and the number of breaks."""
        count = np.zeros(len(kernels.TALLIES), np.int64)
        size = self._turn_to(begin, end)
        kernels.find_words(
            self._page, size, self._properties, self._characters, self._begins, self._ends, self._breaks, count
        )
        return count

    def words(self) -> Iterator[repeats.Piece]:
        """Read the words."""
        total = np.zeros_like(self.count)
        for begin, end, whole in self._lines():
            at = begin
            while at < end:
                cut = end if whole else self._end_of_words(at, end)
                count = self._find_words(at, cut)
                begins, ends = self._begins, self._ends
                if self._unspaced and count[_CHARS] < cut - at:
                    begins, ends = self._part_begins, self._part_ends
                    kernels.part_words(self._page, self._properties, self._begins, self._ends, begins, ends, count)
                kernels.hash_words(
                    self._page, self._characters, begins, ends, self._word_hashes, self._word_ends, count
                )
                stop_words = total[_STOP_WORDS] | count[_STOP_WORDS]
                total += count
                total[_STOP_WORDS] = stop_words
                words = count[_WORDS]
                yield self._word_hashes[:words], self._word_ends[: words + 1]
                at = cut
        self.count[:_LINES] = total[:_LINES]

    def segments(self) -> Iterator[repeats.Piece]:
        """Read the lines, with even hashes, and the paragraphs, with odd ones."""
        total = np.zeros_like(self.count)
        self._opened[:] = 0
        for begin, end, whole in self._lines():
            if whole:
                count = self._find_words(begin, end)
                last = end == len(self.text)
                count[_LINES] -= not last  # where a piece ends is no break
                kernels.hash_lines(
                    self._page,
                    self._properties,
                    self._characters,
                    self._begins,
                    self._ends,
                    self._breaks,
                    self._opened,
                    last,
                    self._hashes,
                    self._chars,
                    count,
                )
            else:
                count = self._long_line(begin, end)
            total += count
            for kind, held in enumerate(count[[_LINES, _PARAGRAPHS]]):
                hashes, ends = self._hashes[kind, :held], np.zeros(held + 1, np.uint32)
                np.cumsum(self._chars[kind, :held], out=ends[1:])
                yield hashes & ~_ONE | np.uint64(kind), ends
        self.count[_LINES:_AFTER_LINES] = total[_LINES:_AFTER_LINES]

    def _lines(self) -> Iterator[tuple[int, int, bool]]:
        """Give where pieces of whole lines begin and end, and single lines that are longer than a piece, False."""
        at, size = 0, len(self.text)
        while at < size:
            end = min(at + self._piece, size)
            whole = end == size
            if not whole:
                newline = self._bytes[at:end].tobytes().rfind(b"\n")
                whole = newline >= 0
                end = at + newline + 1
            if not whole:
                match = _NEWLINE.search(self._bytes, at + self._piece)
                end = match.end() if match else size
            yield at, end, whole
            at = end

    def _end_of_words(self, begin: int, end: int) -> int:
        """Return where a piece of a long line may end: no word goes on there."""
        for stop in range(begin + self._piece, end, self._piece):
            for start in (max(stop - _TAIL, stop - self._piece), stop - self._piece):
                raw = self._bytes[start:stop].tobytes()
                text = raw.decode(errors="surrogateescape")
                last = "" if text[-1].isspace() else text.rsplit(None, 1)[-1]
                if len(last) == len(text) and self._unspaced:
                    last = last[self._end_of_part(last) :]
                if len(last) < len(text):
                    return stop - len(last.encode(errors="surrogateescape"))
        return end

    def _end_of_part(self, text: str) -> int:
        """Return where the last letter or digit of a script without spaces stands that follows another one; 0: none."""
        both = kernels.ALPHANUMERIC | kernels.ALONE
        for at in range(len(text) - 1, 0, -1):
            flags = self._properties[ord(text[at])]
            if flags & both == both and self._properties[ord(text[at - 1])] & kernels.ALPHANUMERIC:
                return at
        return 0

    def _long_line(self, begin: int, end: int) -> NDArray[np.int64]:
        """Do what `hash_lines` does with one line."""
        count = np.zeros_like(self.count)
        opened: Any = self._opened
        ended = self.text[end - 1] == 0x0A
        newline = end - ended
        start = self._after_space(begin, newline)
        if start == newline:
            if opened[0]:
                opened[3] = mix(opened[3], self._hash(begin, newline), kernels.BLANK)
                opened[4] += np.uint64(self._count_chars(begin, newline)) + _ONE
        else:
            stop = self._before_space(start, newline)
            line_hash, chars = self._hash(start, stop), self._count_chars(start, stop)
            count[[_LINES, _LINE_CHARS]] = 1, chars
            size = self._turn_to(start, min(stop, start + self._piece))
            count[_BULLET_LINES] = (self._properties[decode(self._page, 0, size)[0]] & kernels.BULLET) != 0
            count[_ELLIPSIS_LINES] = self._bytes[max(start, stop - 5) : stop].tobytes().endswith(_ELLIPSES)
            self._hashes[0, 0], self._chars[0, 0] = line_hash, chars
            if opened[0]:
                if start > begin:
                    opened[3] = mix(opened[3], self._hash(begin, start), kernels.INDENT)
                    opened[4] += np.uint64(self._count_chars(begin, start))
                opened[1] = mix(opened[1], opened[3], line_hash)
                opened[2] += opened[4] + np.uint64(chars)
            else:
                opened[:3] = 1, line_hash, chars
            opened[3:] = SEED, 1
            if newline > stop:
                opened[3] = mix(SEED, self._hash(stop, newline), kernels.TRAIL)
                opened[4] += np.uint64(self._count_chars(stop, newline))
        if end == len(self.text) and opened[0]:
            self._hashes[1, 0], self._chars[1, 0] = opened[1], opened[2]
            count[[_PARAGRAPHS, _COLUMN["paragraph_chars"]]] = 1, opened[2]
        return count

    def _after_space(self, begin: int, end: int) -> int:
        """Return where the first word begins, or the end."""
        while begin < end:
            stop = min(begin + self._piece, end)
            while stop < end and self.text[stop] & 0xC0 == 0x80:
                stop += 1
            text = self._bytes[begin:stop].tobytes().decode(errors="surrogateescape").lstrip()
            if text:
                return stop - len(text.encode(errors="surrogateescape"))
            begin = stop
        return end

    def _before_space(self, begin: int, end: int) -> int:
        """Return where the last word ends; there is one."""
        while end > begin:
            start = max(end - self._piece, begin)
            while start > begin and self.text[start] & 0xC0 == 0x80:
                start -= 1
            text = self._bytes[start:end].tobytes().decode(errors="surrogateescape").rstrip()
            if text:
                return start + len(text.encode(errors="surrogateescape"))
            end = start
        return begin

    def _chunks(self, begin: int, end: int) -> Iterator[tuple[int, int]]:
        for at in range(begin, end, self._piece):
            yield at, min(at + self._piece, end)

    def _hash(self, begin: int, end: int) -> np.uint64:
        """Hash a part of a text: as in kernels, where it is no longer than a piece."""
        parts = (np.uint64(hash_span(self._page, 0, self._turn_to(*chunk))[0]) for chunk in self._chunks(begin, end))
        return reduce(lambda value, part: np.uint64(mix(value, part, SEED)), parts)

    def _count_chars(self, begin: int, end: int) -> int:
        return sum(int(np.count_nonzero(self.text[a:b] & 0xC0 != 0x80)) for a, b in self._chunks(begin, end))


@lean_entry
def _covered(
    names: NDArray[np.uint32], lengths: NDArray[np.uint32], n: int, repeated: NDArray[np.uint64], top: int
) -> int:
    """Count the characters of words in n-grams that repeat, each word once.

    Args:
        names: (words,) of the words.
        lengths: by name, their characters.
        n: words of an n-gram.
        repeated: a bit for the first word of each.
        top: where the only n-gram begins whose words count; -1: all count.
    """
    same = n if top >= 0 else 0  # so many words must be those of the top one
    covered = 0  # words up to here are counted
    chars: Any = 0
    for block in range(max(top, 0) >> 6, len(repeated) - 1):
        bits = repeated[block]
        while bits:
            position = (block << 6) + first_one(bits)
            bits &= bits - _ONE
            word = 0
            while word < same and names[position + word] == names[top + word]:
                word += 1
            if word == same:
                for at in range(max(position, covered), position + n):
                    chars += np.int64(lengths[names[at]])
                covered = position + n
    return int(chars)
