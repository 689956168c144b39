"""Count what Dolma's first Gopher tagger counts: words of str.split(), raw lines, every occurrence of what repeats.

n-grams are named by pairs of (n-1)-grams and only looked at where both repeat, so counts are exact and time is linear.
The text is read where it lies. Scratch is some 40 bytes a word or line of the largest ordinary document; of a longer
one dolma_long reads some words or lines at a time.

Everything compiled is in this file and in text/, whose changes Numba's cache does not see.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from redpajama_pipe.text.blocks import power_of_two
from redpajama_pipe.text.decode import decode
from redpajama_pipe.text.groups import group
from redpajama_pipe.text.lean import lean, lean_entry
from redpajama_pipe.text.line_hash import read_line
from redpajama_pipe.text.span_hash import SEED, mix

# The columns of what `tally` returns, in order.
TALLIES = (
    "words",
    "word_chars",
    "symbol_words",
    "alphabetic_words",
    "stop_words",
    "double_median",
    "lines",
    "bullet_lines",
    "ellipsis_lines",
    "duplicate_lines",
    "duplicate_line_chars",
    *(f"top_{n}gram_chars" for n in (2, 3, 4)),
    *(f"duplicate_{n}gram_chars" for n in (5, 6, 7, 8, 9, 10)),
    *(f"all_{n}gram_chars" for n in (5, 6, 7, 8, 9, 10)),
)
_WORDS, _WORD_CHARS, _SYMBOLS, _ALPHABETIC, _STOP_WORDS, _MEDIAN, _LINES, _BULLETS, _ELLIPSIS_LINES = range(9)
_DUPLICATE_LINES, _NGRAMS, _ALL_NGRAMS = 9, 11, 20
LAST_TOP, LAST_NGRAM = 4, 10

# The flags of text.characters; a test compares them.
ALPHABETIC, SPACE = 1, 2

LENGTHS = 256  # words of so many characters and more share a place in the histogram

_ONE, _EIGHT, _HALF = np.uint64(1), np.uint64(8), np.uint64(32)
_AT_0: Any = np.int64(0)  # not 0, whose own type would have steps compiled twice


@njit(cache=True, nogil=True)
def tally(
    data: NDArray[np.uint8],
    last: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    valid: NDArray[np.bool_],
    properties: NDArray[np.uint8],
) -> NDArray[np.int64]:
    """Count for every document.

    Args:
        data: the documents' UTF-8, end to end.
        last: its line_hash.ending.
        offsets: (documents + 1,) where each begins.
        valid: (documents,) False: leave zeros.
        properties: the flags of every code point, text.characters.properties().

    Returns:
        (documents, TALLIES); zeros where `valid` is False.
    """
    documents = len(valid)
    counts = np.zeros((documents, len(TALLIES)), np.int64)
    most = 1
    for document in range(documents):
        if valid[document]:
            most = max(most, most_words_or_lines(data, offsets[document], offsets[document + 1]))
    # np.empty takes no memory before it is written, and `group` writes no more of it than the keys need.
    keys, ends = np.empty(most, np.uint64), np.empty(most + 1, np.uint32)
    positions, firsts, copies = np.empty(most, np.uint32), np.empty(most, np.uint32), np.empty(most, np.uint32)
    slots = np.empty(power_of_two(4 * most), np.uint32)
    histogram = np.empty(LENGTHS + 1, np.int64)
    for document in range(documents):
        if not valid[document]:
            continue
        count = counts[document]
        start, end = offsets[document], offsets[document + 1]
        if start < end:
            _, held = read_lines(data, last, start, end, keys, ends, count)
            for index in range(held):
                positions[index] = index
            held = group(positions, held, keys, slots, firsts, copies)
            count[_DUPLICATE_LINES] = held
            for index in range(held):
                position = positions[index]
                count[_DUPLICATE_LINES + 1] += np.int64(ends[position + 1]) - ends[position]
        histogram[:] = 0
        read_words(data, start, end, properties, keys, ends, histogram, count)
        count[_MEDIAN] = double_median(histogram, ends, count[_WORDS])
        _count_ngrams(count[_WORDS], keys, ends, positions, firsts, copies, slots, count)
    return counts


@lean_entry
def most_words_or_lines(data: NDArray[np.uint8], start: int, end: int) -> int:
    """Bound the number of words, and of lines, from above: white space is at most 0x20 or begins with C2, E1 to E3."""
    spaces = 0
    for at in range(start, end):
        byte = data[at]
        spaces += (byte <= 0x20) | (byte == 0xC2) | ((byte >= 0xE1) & (byte <= 0xE3))
    return spaces + 1


@lean_entry
def read_lines(
    data: NDArray[np.uint8],
    last: NDArray[np.uint8],
    start: int,
    end: int,
    keys: NDArray[np.uint64],
    ends: NDArray[np.uint32],
    count: NDArray[np.int64],
) -> tuple[int, int]:
    """Read as many lines as there is room for; count on.

    Args:
        data: the documents' UTF-8, end to end.
        last: its line_hash.ending.
        start: where a line begins.
        end: where the document ends; there is a line there, which may be empty.
        keys: out, a hash of each line.
        ends: out, (lines + 1,) characters of all up to each, but newlines.
        count: out: lines, bullet_lines, ellipsis_lines.

    Returns:
        Where the next line begins, after the end if there is none; and how many lines were read.
    """
    held = chars = _AT_0
    bullets = ellipsis_lines = 0
    ends[0] = 0
    at: Any = start
    while at <= end and held < len(keys):
        stop, keys[held], line_chars = read_line(data, last, at, end)
        chars += line_chars
        held += 1
        ends[held] = chars
        bullets += stop > at and (data[at] == 0x2A or data[at] == 0x2D)
        if stop - at >= 3:
            ellipsis_lines += data[stop - 3] == 0xE2 and data[stop - 2] == 0x80 and data[stop - 1] == 0xA6
        at = stop + 1
    count[_LINES] += held
    count[_BULLETS] += bullets
    count[_ELLIPSIS_LINES] += ellipsis_lines
    return at, held


@lean_entry
def read_words(
    data: NDArray[np.uint8],
    start: int,
    end: int,
    properties: NDArray[np.uint8],
    keys: NDArray[np.uint64],
    ends: NDArray[np.uint32],
    histogram: NDArray[np.int64],
    count: NDArray[np.int64],
) -> tuple[int, int]:
    """Read as many words as there is room for; count on.

    Args:
        data: the documents' UTF-8, end to end.
        start: where to begin: in no word.
        end: where the document ends.
        properties: the flags of every code point.
        keys: out, a hash of each word.
        ends: out, (words + 1,) characters of all up to each.
        histogram: (LENGTHS + 1,) out: how many words have each length.
        count: out: words, word_chars, symbol_words, alphabetic_words, stop_words.

    Returns:
        Where to go on, and how many words were read.
    """
    held = chars = _AT_0
    symbols = alphabetic = stop_words = 0
    ends[0] = 0
    at: Any = start
    while at < end and held < len(keys):
        begin, first_char, seen, symbol = at, chars, np.uint8(0), False
        key, packed = SEED, _ONE  # before the first character, so that a NUL there counts
        after: Any = at  # the white space after the word
        while at < end:
            code: Any = np.int64(data[at])
            after = at + 1
            if code >= 0x80:
                code, width = decode(data, at, end)
                after = at + width
                symbol |= code == 0x2026
            flags = properties[code]
            if flags & SPACE:
                break
            symbol |= code == 0x23
            seen |= flags
            for place in range(at, after):
                if place - begin & 7 == 7:
                    key = mix(key, packed, np.uint64(data[place]))
                    packed = _ONE
                else:
                    packed = packed << _EIGHT | np.uint64(data[place])
            chars += 1
            at = after
        if at > begin:
            keys[held] = mix(key, packed, np.uint64(at - begin))
            held += 1
            ends[held] = chars
            histogram[min(chars - first_char, LENGTHS)] += 1
            symbols += symbol
            alphabetic += (seen & ALPHABETIC) != 0
            if at - begin <= 4:
                stop_words += _is_stop_word(packed)
        at = after
    count[_WORDS] += held
    count[_WORD_CHARS] += chars
    count[_SYMBOLS] += symbols
    count[_ALPHABETIC] += alphabetic
    count[_STOP_WORDS] += stop_words
    return at, held


@lean
def _is_stop_word(packed: np.uint64) -> bool:
    """Whether this word of at most four bytes is one of: the be to of and that have with."""
    return bool(
        packed == 0x1_746865
        or packed == 0x1_6265
        or packed == 0x1_746F
        or packed == 0x1_6F66
        or packed == 0x1_616E64
        or packed == 0x1_74686174
        or packed == 0x1_68617665
        or packed == 0x1_77697468
    )


@lean_entry
def double_median(histogram: NDArray[np.int64], ends: NDArray[np.uint32], words: int) -> int:
    """Return twice the median length, 0 without words.

    Args:
        histogram: (LENGTHS + 1,) how many words have each length.
        ends: (words + 1,) characters of all up to each; not asked for where most words are shorter than LENGTHS.
        words: how many there are.
    """
    total = 0
    if words:
        for place in ((words - 1) // 2, words // 2):
            length: Any = _AT_0
            before = histogram[0]
            while before <= place and length < LENGTHS - 1:
                length += 1
                before += histogram[length]
            if before <= place:  # the least length that is greater than those of `place` others, between these two
                length, high = LENGTHS, np.int64(ends[words])
                while length < high:
                    middle = (length + high) // 2
                    before = 0
                    for word in range(words):
                        before += np.int64(ends[word + 1]) - ends[word] <= middle
                    if before > place:
                        high = middle
                    else:
                        length = middle + 1
            total += length
    return total


@lean
def _count_ngrams(
    words: int,
    keys: NDArray[np.uint64],
    ends: NDArray[np.uint32],
    positions: NDArray[np.uint32],
    firsts: NDArray[np.uint32],
    copies: NDArray[np.uint32],
    slots: NDArray[np.uint32],
    count: NDArray[np.int64],
) -> None:
    """Count the characters in the top 2- to 4-gram, in repeated 5- to 10-grams and in all; overwrites `keys`."""
    for position in range(words):
        positions[position] = position
    held = group(positions, words, keys, slots, firsts, copies)
    for n in range(2, min(LAST_NGRAM, words) + 1):
        pairs = 0
        for index in range(held - 1):
            position = positions[index]
            keys[position] = np.uint64(firsts[position]) << _HALF | np.uint64(firsts[position + 1])
            positions[pairs] = position
            pairs += positions[index + 1] == position + 1
        held = group(positions, pairs, keys, slots, firsts, copies)
        if n <= LAST_TOP:
            most: Any = np.int64(1)
            top: Any = _AT_0  # one that occurs once counts too: the first
            for index in range(held):
                position = positions[index]
                if firsts[position] == position and copies[position] > most:
                    most, top = np.int64(copies[position]), np.int64(position)
            count[_NGRAMS + n - 2] = (np.int64(ends[top + n]) - ends[top]) * most
            continue
        chars = 0
        for index in range(held):
            position = positions[index]
            chars += np.int64(ends[position + n]) - ends[position]
        count[_NGRAMS + n - 2] = chars
        for position in range(words - n + 1):
            count[_ALL_NGRAMS + n - 5] += np.int64(ends[position + n]) - ends[position]
