"""Count what the signals are made of: one pass over a document's UTF-8 bytes, then what repeats among its hashes.

The pass finds words, lines and paragraphs together and leaves one 64-bit hash for each. n-grams are not hashed: an
n-gram can only repeat where both (n-1)-grams in it do, so each n looks at the positions that are left from the one
before, and names an n-gram exactly by the pair of groups its two (n-1)-grams fell in. Time is linear in the text;
scratch is at most about 40 bytes a word of the largest document, and is released on return.

Everything compiled is in this one file: Numba's cache looks at no other file when it decides whether it is stale.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

# The columns of what `tally` returns, in order.
TALLIES = (
    "bytes",
    "chars",
    "words",
    "word_chars",
    "alphabetic_words",
    "hash_marks",
    "ellipses",
    "stop_words",
    "lines",
    "line_chars",
    "bullet_lines",
    "ellipsis_lines",
    "paragraphs",
    "paragraph_chars",
    "duplicate_lines",
    "duplicate_line_chars",
    "duplicate_paragraphs",
    "duplicate_paragraph_chars",
    *(f"top_{n}gram_chars" for n in (2, 3, 4)),
    *(f"duplicate_{n}gram_chars" for n in (5, 6, 7, 8, 9, 10)),
)
_BYTES, _CHARS, _WORDS, _WORD_CHARS, _ALPHABETIC_WORDS, _HASH_MARKS, _ELLIPSES, _STOP_WORDS = range(8)
_LINES, _LINE_CHARS, _BULLET_LINES, _ELLIPSIS_LINES, _PARAGRAPHS, _PARAGRAPH_CHARS = range(8, 14)
_DUPLICATE_LINES, _DUPLICATE_PARAGRAPHS, _NGRAMS = 14, 16, 18
_LAST_TOP, _LAST_NGRAM = 4, 10

# The flags of text.characters; a test compares them.
ALPHABETIC, SPACE, MARK, BULLET = 1, 2, 4, 8

_SEED = np.uint64(0x243F6A8885A308D3)
_MULTIPLIER = np.uint64(0xA0761D6478BD642F)
_OTHER_MULTIPLIER = np.uint64(0xE7037ED1A0B428DB)
_HALF = np.uint64(32)
_EMPTY = np.uint32(0xFFFFFFFF)


@njit(cache=True, nogil=True)
def tally(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    valid: NDArray[np.bool_],
    properties: NDArray[np.uint8],
    repetition: bool,
) -> NDArray[np.int64]:
    """Count for every document.

    Args:
        data: the documents' UTF-8, end to end. Malformed bytes give some count, never a read outside the document.
        offsets: (documents + 1,) where each begins.
        valid: (documents,) False: leave zeros.
        properties: the flags of every code point, text.characters.properties().
        repetition: whether to fill the columns on duplicates and n-grams.

    Returns:
        (documents, TALLIES); zeros where `valid` is False.
    """
    documents = len(valid)
    counts = np.zeros((documents, len(TALLIES)), np.int64)
    words = lines = 0
    for document in range(documents):
        if valid[document]:
            most_words, most_lines = _most_words_and_lines(data, offsets[document], offsets[document + 1])
            words, lines = max(words, most_words), max(lines, most_lines)
    word_hashes = np.empty(words, np.uint64)
    word_ends = np.empty(words + 1, np.int64)  # characters in all words up to this one
    segments = np.empty((2, lines), np.uint64), np.empty((2, lines), np.int64)  # of lines, of paragraphs
    positions, group = np.empty(words, np.uint32), np.empty(words, np.uint32)
    copies, distinct = np.empty(words, np.uint32), np.empty(words, np.uint32)
    # np.empty takes no memory before it is written, and _group writes no more of it than the distinct keys need.
    slots = np.empty(_power_of_two(2 * words), np.uint32)
    for document in range(documents):
        if not valid[document]:
            continue
        count = counts[document]
        _scan(data, offsets[document], offsets[document + 1], properties, word_hashes, word_ends, segments, count)
        if not repetition:
            continue
        for kind, column, out in (
            (0, _LINES, _DUPLICATE_LINES),
            (1, _PARAGRAPHS, _DUPLICATE_PARAGRAPHS),
        ):
            hashes, chars = segments[0][kind], segments[1][kind]
            held = count[column]
            for index in range(held):
                positions[index] = index
            kept = _group(positions, held, hashes, slots, group, copies, distinct)
            count[out] = kept
            for index in range(kept):
                count[out + 1] += chars[positions[index]]
        _count_ngrams(count[_WORDS], word_hashes, word_ends, positions, group, copies, distinct, slots, count)
    return counts


@njit(cache=True, nogil=True)
def _power_of_two(least: int) -> int:
    size = 16
    while size < least:
        size *= 2
    return size


@njit(cache=True, nogil=True)
def _most_words_and_lines(data: NDArray[np.uint8], start: int, end: int) -> tuple[int, int]:
    """Bound the number of words and of lines from above, closely and fast."""
    spaces = newlines = 0
    before = 0x41
    for at in range(start, end):
        byte = data[at]
        newlines += byte == 0x0A
        spaces += byte <= 0x20
        # White space outside ASCII begins with one of these pairs of bytes; some letters and marks do so too.
        spaces += (before == 0xC2) & ((byte == 0x85) | (byte == 0xA0))
        spaces += (before == 0xE1) & (byte == 0x9A)
        spaces += (before == 0xE2) & ((byte == 0x80) | (byte == 0x81))
        spaces += (before == 0xE3) & (byte == 0x80)
        before = byte
    return spaces + 1, newlines + 1


@njit(cache=True, nogil=True)
def _decode(data: NDArray[np.uint8], at: int, end: int) -> tuple[np.int64, int]:
    """Return the code point at `at` and its width in bytes; nothing is read from `end` on."""
    byte = np.int64(data[at])
    if byte < 0x80:
        return byte, 1
    width = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
    if at + width > end:
        return byte, 1
    if width == 2:
        return (byte & 0x1F) << 6 | (data[at + 1] & 0x3F), 2
    if width == 3:
        return (byte & 0x0F) << 12 | np.int64(data[at + 1] & 0x3F) << 6 | (data[at + 2] & 0x3F), 3
    low = np.int64(data[at + 1] & 0x3F) << 12 | np.int64(data[at + 2] & 0x3F) << 6 | (data[at + 3] & 0x3F)
    return (byte & 0x07) << 18 | low, 4


@njit(cache=True, nogil=True)
def _scan(
    data: NDArray[np.uint8],
    start: int,
    end: int,
    properties: NDArray[np.uint8],
    word_hashes: NDArray[np.uint64],
    word_ends: NDArray[np.int64],
    segments: tuple[NDArray[np.uint64], NDArray[np.int64]],
    count: NDArray[np.int64],
) -> None:
    """Fill the columns that need no table; leave the hash and length of each word, line and paragraph."""
    segment_hashes, segment_chars = segments
    chars = words = alphabetic = hash_marks = ellipses = stop_words = 0
    lines = line_chars = bullets = ellipsis_lines = paragraphs = paragraph_chars = 0
    in_line = in_paragraph = False
    line_hash = paragraph_hash = gap_hash = _SEED
    # Both line and paragraph end where their last word does: `*_at` are byte, `*_char` character positions.
    line_at = line_char = paragraph_char = last_at = last_char = 0
    newline_at = start - 2
    word_ends[0] = 0
    at = start
    while at < end:
        code, width = np.int64(data[np.uint64(at)]), 1
        if code >= 0x80:
            code, width = _decode(data, at, end)
        flags = properties[np.uint64(code)]
        if flags & SPACE:
            if code == 0x0A:
                if in_line:
                    segment_hashes[0, lines], segment_chars[0, lines] = line_hash, last_char - line_char
                    line_chars += last_char - line_char
                    ellipsis_lines += _ends_in_ellipsis(data, line_at, last_at)
                    lines += 1
                    in_line = False
                if in_paragraph and newline_at == at - 1:
                    segment_hashes[1, paragraphs], segment_chars[1, paragraphs] = (
                        paragraph_hash,
                        last_char - paragraph_char,
                    )
                    paragraph_chars += last_char - paragraph_char
                    paragraphs += 1
                    in_paragraph = False
                newline_at = at
            gap_hash = (gap_hash ^ np.uint64(code)) * _MULTIPLIER
            chars += 1
            at += width
            continue

        word_at, word_char, first_flags, seen = at, chars, flags, 0
        word_hash = _SEED
        while True:
            seen |= flags
            word_hash = (word_hash ^ np.uint64(code)) * _MULTIPLIER
            chars += 1
            at += width
            if at >= end:
                break
            code, width = np.int64(data[np.uint64(at)]), 1
            if code >= 0x80:
                code, width = _decode(data, at, end)
            flags = properties[np.uint64(code)]
            if flags & SPACE:
                break
        word_hash ^= word_hash >> _HALF  # the last characters have only reached the high bits
        word_hashes[words] = word_hash
        word_ends[words + 1] = word_ends[words] + chars - word_char
        words += 1
        alphabetic += (seen & ALPHABETIC) != 0
        if seen & MARK:
            more_hash_marks, more_ellipses = _marks(data, word_at, at)
            hash_marks += more_hash_marks
            ellipses += more_ellipses
        if at - word_at <= 4:
            stop_words |= _stop_word(data, word_at, at)

        if in_line:
            line_hash = _join(line_hash, gap_hash, word_hash)
        else:
            in_line, line_hash, line_at, line_char = True, word_hash, word_at, word_char
            bullets += (first_flags & BULLET) != 0
        if in_paragraph:
            paragraph_hash = _join(paragraph_hash, gap_hash, word_hash)
        else:
            in_paragraph, paragraph_hash, paragraph_char = True, word_hash, word_char
        gap_hash = _SEED
        last_at, last_char = at, chars

    if in_line:
        segment_hashes[0, lines], segment_chars[0, lines] = line_hash, last_char - line_char
        line_chars += last_char - line_char
        ellipsis_lines += _ends_in_ellipsis(data, line_at, last_at)
        lines += 1
    if in_paragraph:
        segment_hashes[1, paragraphs], segment_chars[1, paragraphs] = paragraph_hash, last_char - paragraph_char
        paragraph_chars += last_char - paragraph_char
        paragraphs += 1
    count[_BYTES], count[_CHARS], count[_WORDS], count[_WORD_CHARS] = end - start, chars, words, word_ends[words]
    count[_ALPHABETIC_WORDS], count[_HASH_MARKS], count[_ELLIPSES] = alphabetic, hash_marks, ellipses
    while stop_words:
        count[_STOP_WORDS] += stop_words & 1
        stop_words >>= 1
    count[_LINES], count[_LINE_CHARS] = lines, line_chars
    count[_BULLET_LINES], count[_ELLIPSIS_LINES] = bullets, ellipsis_lines
    count[_PARAGRAPHS], count[_PARAGRAPH_CHARS] = paragraphs, paragraph_chars


@njit(cache=True, nogil=True)
def _join(segment: np.uint64, gap: np.uint64, word: np.uint64) -> np.uint64:
    """Add white space and a word to the hash of a line or paragraph."""
    joined = (segment ^ gap) * _MULTIPLIER
    joined = ((joined ^ (joined >> _HALF)) ^ word) * _OTHER_MULTIPLIER
    return joined ^ (joined >> _HALF)


@njit(cache=True, nogil=True)
def _marks(data: NDArray[np.uint8], start: int, end: int) -> tuple[int, int]:
    """Count # and ellipses (... and …) in one word; neither can reach into the next."""
    hash_marks = ellipses = dots = 0
    for at in range(start, end):
        byte = data[at]
        hash_marks += byte == 0x23
        dots = dots + 1 if byte == 0x2E else 0
        if dots == 3:
            ellipses += 1
            dots = 0
        if byte == 0xE2 and at + 2 < end and data[at + 1] == 0x80 and data[at + 2] == 0xA6:
            ellipses += 1
    return hash_marks, ellipses


@njit(cache=True, nogil=True)
def _stop_word(data: NDArray[np.uint8], start: int, end: int) -> int:
    """Return one bit for each of: the be to of and that have with; 0 for any other word of at most four bytes."""
    packed = 1  # before the first byte, so that a NUL there counts
    for at in range(start, end):
        packed = packed << 8 | data[at]
    if packed == 0x1_746865:
        return 1
    if packed == 0x1_6265:
        return 2
    if packed == 0x1_746F:
        return 4
    if packed == 0x1_6F66:
        return 8
    if packed == 0x1_616E64:
        return 16
    if packed == 0x1_74686174:
        return 32
    if packed == 0x1_68617665:
        return 64
    return 128 if packed == 0x1_77697468 else 0


@njit(cache=True, nogil=True)
def _ends_in_ellipsis(data: NDArray[np.uint8], start: int, end: int) -> bool:
    """Whether a stripped line ends in `...`, `. . .` or `…`."""
    if end - start < 3:
        return False
    third, second, last = data[end - 3], data[end - 2], data[end - 1]
    if last == 0x2E and third == 0x2E:
        spaced = second == 0x20 and end - start >= 5 and data[end - 4] == 0x20 and data[end - 5] == 0x2E
        return bool(second == 0x2E or spaced)
    return bool(third == 0xE2 and second == 0x80 and last == 0xA6)


@njit(cache=True, nogil=True)
def _group(
    positions: NDArray[np.uint32],
    held: int,
    keys: NDArray[np.uint64],
    slots: NDArray[np.uint32],
    group: NDArray[np.uint32],
    copies: NDArray[np.uint32],
    distinct: NDArray[np.uint32],
) -> int:
    """Group positions by equal key, then keep only those whose key occurs at least twice.

    Args:
        positions: in and out: the first `held` are looked at, ascending; those that stay are moved to the front.
        held: how many there are.
        keys: by position.
        slots: scratch for an open-addressed table of positions: a power of two, at least 2 * held.
        group: out, by position: the first position with the same key.
        copies: out, by first position: how many positions have its key.
        distinct: out: the first positions, ascending.

    Returns:
        How many positions stay.
    """
    size = min(_power_of_two(2 * held), 4096)
    slots[:size] = _EMPTY
    found = 0
    for index in range(held):
        position = positions[index]
        slot = _find(keys[position], keys, slots, size)
        first = slots[slot]
        if first != _EMPTY:
            group[position] = first
            copies[first] += 1
            continue
        group[position], copies[position], slots[slot] = position, 1, position
        distinct[found] = position
        found += 1
        if 2 * found > size:
            size *= 2
            slots[:size] = _EMPTY
            for earlier in distinct[:found]:
                slots[_find(keys[earlier], keys, slots, size)] = earlier
    kept = 0
    for index in range(held):
        position = positions[index]
        positions[kept] = position  # no branch here: which words repeat cannot be guessed
        kept += copies[group[position]] > 1
    return kept


@njit(cache=True, nogil=True)
def _find(key: np.uint64, keys: NDArray[np.uint64], slots: NDArray[np.uint32], size: int) -> np.int64:
    """Return the slot that holds the key, or the empty one where it belongs."""
    mixed = key * _MULTIPLIER
    slot = np.int64(mixed >> _HALF) & (size - 1)
    while slots[slot] != _EMPTY and keys[slots[slot]] != key:
        slot = (slot + 1) & (size - 1)
    return slot


@njit(cache=True, nogil=True)
def _count_ngrams(
    words: int,
    keys: NDArray[np.uint64],
    word_ends: NDArray[np.int64],
    positions: NDArray[np.uint32],
    group: NDArray[np.uint32],
    copies: NDArray[np.uint32],
    distinct: NDArray[np.uint32],
    slots: NDArray[np.uint32],
    count: NDArray[np.int64],
) -> None:
    """Count the characters in the top 2- to 4-gram and in all repeated 5- to 10-grams; overwrites `keys`."""
    for position in range(words):
        positions[position] = position
    held = _group(positions, words, keys, slots, group, copies, distinct)
    for n in range(2, _LAST_NGRAM + 1):
        pairs = 0
        for index in range(held - 1):
            position = positions[index]
            keys[position] = np.uint64(group[position]) << _HALF | np.uint64(group[position + 1])
            positions[pairs] = position
            pairs += positions[index + 1] == position + 1
        held = _group(positions, pairs, keys, slots, group, copies, distinct)
        if held == 0:
            return
        top = -1
        if n <= _LAST_TOP:
            most = longest = 0
            for index in range(held):
                position = positions[index]
                if group[position] == position:
                    length = word_ends[position + n] - word_ends[position]
                    if copies[position] > most or (copies[position] == most and length > longest):
                        most, longest, top = copies[position], length, position
        covered = chars = 0  # words up to here are counted
        for index in range(held):
            position = positions[index]
            if top < 0 or group[position] == top:
                chars += word_ends[position + n] - word_ends[max(position, covered)]
                covered = position + n
        count[_NGRAMS + n - 2] = chars
