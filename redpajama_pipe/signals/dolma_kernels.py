"""Count what Dolma's first Gopher tagger counts: words of str.split(), raw lines, every occurrence of what repeats.

n-grams are named by pairs of (n-1)-grams and only looked at where both repeat, so counts are exact and time is linear.

Everything compiled is in this one file: Numba's cache looks at no other file when it decides whether it is stale.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from redpajama_pipe.text.blocks import power_of_two
from redpajama_pipe.text.decode import decode

# The columns of what `tally` returns, in order.
TALLIES = (
    "chars",
    "words",
    "word_chars",
    "double_median",
    "symbol_words",
    "alphabetic_words",
    "stop_words",
    "lines",
    "bullet_lines",
    "ellipsis_lines",
    "duplicate_lines",
    "duplicate_line_chars",
    *(f"top_{n}gram_chars" for n in (2, 3, 4)),
    *(f"duplicate_{n}gram_chars" for n in (5, 6, 7, 8, 9, 10)),
    *(f"all_{n}gram_chars" for n in (5, 6, 7, 8, 9, 10)),
)
_CHARS, _WORDS, _WORD_CHARS, _MEDIAN, _SYMBOLS, _ALPHABETIC, _STOP_WORDS = range(7)
_LINES, _BULLETS, _ELLIPSIS_LINES, _DUPLICATE_LINES, _NGRAMS, _ALL_NGRAMS = 7, 8, 9, 10, 12, 21
_LAST_TOP, _LAST_NGRAM = 4, 10

# The flags of text.characters; a test compares them.
ALPHABETIC, SPACE = 1, 2

_SEED = np.uint64(0x243F6A8885A308D3)
_MULTIPLIER = np.uint64(0xA0761D6478BD642F)
_OTHER_MULTIPLIER = np.uint64(0xE7037ED1A0B428DB)
_HALF = np.uint64(32)
_LONG = 256  # words of so many characters and more share a place in the histogram


@njit(cache=True, nogil=True)
def tally(
    data: NDArray[np.uint8], offsets: NDArray[np.int64], valid: NDArray[np.bool_], properties: NDArray[np.uint8]
) -> NDArray[np.int64]:
    """Count for every document.

    Args:
        data: the documents' UTF-8, end to end.
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
            most = max(most, _most_words_or_lines(data, offsets[document], offsets[document + 1]))
    words, ends = np.empty(most, np.uint64), np.empty(most + 1, np.int64)
    lines, line_chars = np.empty(most, np.uint64), np.empty(most, np.int64)
    positions, group, copies = np.empty(most, np.int32), np.empty(most, np.int32), np.empty(most, np.int32)
    # np.empty takes no memory before it is written, and _group writes no more of it than the distinct keys need.
    slots = np.empty(power_of_two(2 * most), np.int32)
    for document in range(documents):
        if not valid[document]:
            continue
        count = counts[document]
        _scan(data, offsets[document], offsets[document + 1], properties, words, ends, lines, line_chars, count)
        held = count[_LINES]
        for index in range(held):
            positions[index] = index
        held = _group(positions, held, lines, slots, group, copies)
        count[_DUPLICATE_LINES] = held
        for index in range(held):
            count[_DUPLICATE_LINES + 1] += line_chars[positions[index]]
        _count_ngrams(count[_WORDS], words, ends, positions, group, copies, slots, count)
    return counts


@njit(cache=True, nogil=True)
def _most_words_or_lines(data: NDArray[np.uint8], start: int, end: int) -> int:
    """Bound the number of words, and of lines, from above: white space is at most 0x20 or begins with C2, E1 to E3."""
    spaces = 0
    for at in range(start, end):
        byte = data[at]
        spaces += (byte <= 0x20) | (byte == 0xC2) | ((byte >= 0xE1) & (byte <= 0xE3))
    return spaces + 1


@njit(cache=True, nogil=True)
def _scan(
    data: NDArray[np.uint8],
    start: int,
    end: int,
    properties: NDArray[np.uint8],
    words: NDArray[np.uint64],
    ends: NDArray[np.int64],
    lines: NDArray[np.uint64],
    line_chars: NDArray[np.int64],
    count: NDArray[np.int64],
) -> None:
    """Fill the columns that need no table; leave the hash and length of each word and line."""
    lengths = np.zeros(_LONG + 1, np.int64)
    chars = held = held_lines = symbols = alphabetic = stop_words = bullets = ellipsis_lines = 0
    line_hash, line_at, line_char = _SEED, start, 0
    ends[0] = 0
    at = start
    while True:
        if at == end or data[at] == 0x0A:
            lines[held_lines], line_chars[held_lines] = line_hash ^ (line_hash >> _HALF), chars - line_char
            held_lines += 1
            bullets += at > line_at and (data[line_at] == 0x2A or data[line_at] == 0x2D)
            if at - line_at >= 3:
                ellipsis_lines += data[at - 3] == 0xE2 and data[at - 2] == 0x80 and data[at - 1] == 0xA6
            if at == end:
                break
            at += 1
            chars += 1
            line_hash, line_at, line_char = _SEED, at, chars
            continue
        code, width = decode(data, at, end)
        flags = properties[code]
        if flags & SPACE:
            line_hash = (line_hash ^ np.uint64(code)) * _MULTIPLIER
            chars += 1
            at += width
            continue
        word_at, first_char, seen, symbol = at, chars, 0, False
        word_hash = _SEED
        while True:
            seen |= flags
            symbol |= code == 0x23 or code == 0x2026
            word_hash = (word_hash ^ np.uint64(code)) * _MULTIPLIER
            chars += 1
            at += width
            if at >= end:
                break
            code, width = decode(data, at, end)
            flags = properties[code]
            if flags & SPACE:
                break
        word_hash ^= word_hash >> _HALF
        line_hash = (line_hash ^ (line_hash >> _HALF) ^ word_hash) * _OTHER_MULTIPLIER
        words[held], ends[held + 1] = word_hash, ends[held] + chars - first_char
        lengths[min(chars - first_char, _LONG)] += 1
        held += 1
        symbols += symbol
        alphabetic += (seen & ALPHABETIC) != 0
        if at - word_at <= 4:
            stop_words += _is_stop_word(data, word_at, at)
    count[_CHARS], count[_WORDS], count[_WORD_CHARS], count[_SYMBOLS] = chars, held, ends[held], symbols
    count[_ALPHABETIC], count[_STOP_WORDS] = alphabetic, stop_words
    if chars:
        count[_LINES], count[_BULLETS], count[_ELLIPSIS_LINES] = held_lines, bullets, ellipsis_lines
    if held:
        count[_MEDIAN] = _length_at(lengths, ends, held, (held - 1) // 2) + _length_at(lengths, ends, held, held // 2)


@njit(cache=True, nogil=True)
def _length_at(lengths: NDArray[np.int64], ends: NDArray[np.int64], held: int, place: int) -> int:
    """Return the length of the word at this place among all words by length."""
    before = 0
    for length in range(_LONG):
        before += lengths[length]
        if before > place:
            return length
    return int(np.sort(ends[1 : held + 1] - ends[:held])[place])


@njit(cache=True, nogil=True)
def _is_stop_word(data: NDArray[np.uint8], start: int, end: int) -> bool:
    """Whether this word of at most four bytes is one of: the be to of and that have with."""
    packed = 1  # before the first byte, so that a NUL there counts
    for at in range(start, end):
        packed = packed << 8 | data[at]
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


@njit(cache=True, nogil=True)
def _group(
    positions: NDArray[np.int32],
    held: int,
    keys: NDArray[np.uint64],
    slots: NDArray[np.int32],
    group: NDArray[np.int32],
    copies: NDArray[np.int32],
) -> int:
    """Group positions by equal key, then keep only those whose key occurs at least twice.

    Args:
        positions: in and out: the first `held` are looked at, ascending; those that stay are moved to the front.
        held: how many there are.
        keys: by position.
        slots: scratch for an open-addressed table of positions: a power of two, at least 2 * held.
        group: out, by position: the first position with the same key.
        copies: out, by first position: how many positions have its key.

    Returns:
        How many positions stay.
    """
    size = power_of_two(2 * held)
    slots[:size] = -1
    for index in range(held):
        position = positions[index]
        key = keys[position]
        slot = np.int64((key * _MULTIPLIER) >> _HALF) & (size - 1)
        while slots[slot] >= 0 and keys[slots[slot]] != key:
            slot = (slot + 1) & (size - 1)
        first = slots[slot]
        if first >= 0:
            group[position] = first
            copies[first] += 1
        else:
            group[position], copies[position], slots[slot] = position, 1, position
    kept = 0
    for index in range(held):
        position = positions[index]
        if copies[group[position]] > 1:
            positions[kept] = position
            kept += 1
    return kept


@njit(cache=True, nogil=True)
def _count_ngrams(
    words: int,
    keys: NDArray[np.uint64],
    ends: NDArray[np.int64],
    positions: NDArray[np.int32],
    group: NDArray[np.int32],
    copies: NDArray[np.int32],
    slots: NDArray[np.int32],
    count: NDArray[np.int64],
) -> None:
    """Count the characters in the top 2- to 4-gram, in repeated 5- to 10-grams and in all; overwrites `keys`."""
    for position in range(words):
        positions[position] = position
    held = _group(positions, words, keys, slots, group, copies)
    for n in range(2, min(_LAST_NGRAM, words) + 1):
        pairs = 0
        for index in range(held - 1):
            position = positions[index]
            if positions[index + 1] == position + 1:
                keys[position] = np.uint64(group[position]) << _HALF | np.uint64(group[position + 1])
                positions[pairs] = position
                pairs += 1
        held = _group(positions, pairs, keys, slots, group, copies)
        if n <= _LAST_TOP:
            most, top = 1, 0  # one that occurs once counts too: the first
            for index in range(held):
                position = positions[index]
                if group[position] == position and copies[position] > most:
                    most, top = copies[position], position
            count[_NGRAMS + n - 2] = (ends[top + n] - ends[top]) * most
            continue
        for index in range(held):
            count[_NGRAMS + n - 2] += ends[positions[index] + n] - ends[positions[index]]
        for position in range(words - n + 1):
            count[_ALL_NGRAMS + n - 5] += ends[position + n] - ends[position]
