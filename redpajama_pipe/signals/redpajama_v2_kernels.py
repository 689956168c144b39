"""Count what RedPajama-V2's signals are made of: one pass finds raw tokens, normalised words and lines.

Nothing is written out normalised: a word is kept as a 64-bit hash of the code points it has after deletion of ASCII
punctuation, lower-casing and NFD, and as its length. What repeats is then found among the hashes as gopher_kernels.py
does; `_group` and `_find` stand here too, as Numba's cache looks at no other file when it decides whether it is stale.
Time is linear in the text; scratch is at most about 40 bytes a word of the largest document.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from redpajama_pipe.text.normalise import Characters

# The columns of what `measure` returns, in order.
TALLIES = (
    "chars",
    "sentences",
    "raw_words",
    "alphabetic_words",
    "caps_words",
    "stop_words",
    "symbols",
    "braces",
    "lines",
    "ellipsis_lines",
    "words",
    "word_chars",
    "unique_words",
    "bad_words",
    "lorem_ipsums",
    *(f"top_{n}gram_chars" for n in (2, 3, 4)),
    *(f"dupe_{n}gram_chars" for n in (5, 6, 7, 8, 9, 10)),
)
(
    _CHARS, _SENTENCES, _RAW_WORDS, _ALPHABETIC, _CAPS, _STOP_WORDS, _SYMBOLS, _BRACES, _LINES, _ELLIPSIS_LINES,
    _WORDS, _WORD_CHARS, _UNIQUE, _BAD_WORDS, _LOREM_IPSUMS, _NGRAMS,
) = range(16)  # fmt: skip
_LAST_TOP, _LAST_NGRAM = 4, 10

# The flags of text.normalise; a test compares them.
SPACE, WORD, UPPER, NOT_UPPER = 0, 1, 4, 8
LETTER, STOP, MARK, KEPT = 16, 32, 64, 128
CASED, IGNORABLE, LONG = 16, 32, 64

_SIGMA, _FINAL_SIGMA = 0x3A3, 0x3C2
_SEED = np.uint64(0x243F6A8885A308D3)
_MULTIPLIER = np.uint64(0xA0761D6478BD642F)
_OTHER_MULTIPLIER = np.uint64(0xE7037ED1A0B428DB)
_HALF = np.uint64(32)
_WINDOW = 4
_EMPTY = np.uint32(0xFFFFFFFF)
_EIGHT = np.uint64(8)


# The rows of what `measure` writes, one column a line.
LINES = ("javascript", "terminal", "words", "uppercase", "numerical", "bullet")


class Lists(NamedTuple):
    """Word lists of several languages, as hash tables end to end: list i has the slots from at[i] to at[i + 1].

    Attributes:
        of: (documents,) which list is the document's, -1: none.
        at: (lists + 1,); each list has a power of two of slots and three more: a key is in one of the four slots from
            its home on.
        longest: (lists, 2) bytes of the longest entry that begins with a letter or digit, and of the longest other.
        keys: (slots,) hashes; 0: an empty slot.
        single: (slots,) 1: the word is an entry.
        rest: (slots, 2) which of the longer entries begin with the word: from, to.
        rest_at: (longer entries + 1,) where the hashes of the further words of each begin in ...
        rest_keys: ... this.
    """

    of: NDArray[np.int32]
    at: NDArray[np.int64]
    longest: NDArray[np.int64]
    keys: NDArray[np.uint64]
    single: NDArray[np.uint8]
    rest: NDArray[np.int32]
    rest_at: NDArray[np.int64]
    rest_keys: NDArray[np.uint64]


@njit(cache=True, nogil=True)
def count_lines(data: NDArray[np.uint8], offsets: NDArray[np.int64], valid: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return where the lines of each document begin among the lines of all: (documents + 1,)."""
    begins = np.zeros(len(valid) + 1, np.int64)
    for document in range(len(valid)):
        lines = 0
        start, end = offsets[document], offsets[document + 1]
        if valid[document] and start < end:
            for at in range(start, end - 1):
                lines += data[at] == 0x0A
            lines += 1
        begins[document + 1] = begins[document] + lines
    return begins


@njit(cache=True, nogil=True)
def measure(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    valid: NDArray[np.bool_],
    characters: Characters,
    stop_words: Lists,
    bad_words: Lists,
    repetition: bool,
    line_begins: NDArray[np.int64],
    lines: NDArray[np.float64],
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Count for every document.

    Args:
        data: the documents' UTF-8, end to end. Malformed bytes give some count, never a read outside the document.
        offsets: (documents + 1,) where each begins.
        valid: (documents,) False: leave zeros.
        characters: text.normalise.characters().
        stop_words: keys from hash_tokens().
        bad_words: keys from hash_words().
        repetition: whether to count what needs a table of the document's words.
        line_begins: as count_lines() gives them.
        lines: out, (LINES, lines of all documents), not rounded; or no lines where they are not wanted.

    Returns:
        (documents, TALLIES), and (documents,) the entropy of each document's words.
    """
    documents = len(valid)
    counts = np.zeros((documents, len(TALLIES)), np.int64)
    entropies = np.zeros(documents, np.float64)
    longest = 0
    for document in range(documents):
        if valid[document]:
            longest = max(longest, offsets[document + 1] - offsets[document])
    # np.empty takes no memory before it is written: a word has two bytes or more, and most have five.
    room = longest // 2 + 1
    keys, word_ends = np.empty(room, np.uint64), np.empty(room + 1, np.int64)
    positions, group = np.empty(room, np.uint32), np.empty(room, np.uint32)
    copies, distinct = np.empty(room, np.uint32), np.empty(room, np.uint32)
    slots = np.empty(_power_of_two(2 * room), np.uint32)
    javascript = _key_of_ascii(np.array([0x6A, 0x61, 0x76, 0x61, 0x73, 0x63, 0x72, 0x69, 0x70, 0x74], np.uint8))
    for document in range(documents):
        if not valid[document]:
            continue
        count = counts[document]
        start, end = offsets[document], offsets[document + 1]
        _scan(data, start, end, characters, stop_words, document, javascript, keys, word_ends, line_begins[document],
              lines, count)  # fmt: skip
        words = count[_WORDS]
        if not repetition or words == 0:
            continue
        for position in range(words):
            positions[position] = position
        held, found = _group(words, keys, positions, group, copies, distinct, slots)
        count[_UNIQUE] = found
        entropies[document] = _entropy(words, distinct[:found], copies)
        if bad_words.of[document] >= 0:
            count[_BAD_WORDS] = _count_listed(bad_words, bad_words.of[document], words, keys, distinct[:found], copies)
        _count_ngrams(held, keys, word_ends, positions, group, copies, distinct, slots, count)
    return counts, entropies


@njit(cache=True, nogil=True)
def _power_of_two(least: int) -> int:
    size = 16
    while size < least:
        size *= 2
    return size


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
        return (byte & 0x1F) << 6 | np.int64(data[at + 1] & 0x3F), 2
    if width == 3:
        return (byte & 0x0F) << 12 | np.int64(data[at + 1] & 0x3F) << 6 | np.int64(data[at + 2] & 0x3F), 3
    low = np.int64(data[at + 1] & 0x3F) << 12 | np.int64(data[at + 2] & 0x3F) << 6 | np.int64(data[at + 3] & 0x3F)
    return (byte & 0x07) << 18 | low, 4


@njit(cache=True, nogil=True)
def _scan(
    data: NDArray[np.uint8],
    start: int,
    end: int,
    characters: Characters,
    stop_words: Lists,
    document: int,
    javascript: np.uint64,
    keys: NDArray[np.uint64],
    word_ends: NDArray[np.int64],
    line: int,
    lines: NDArray[np.float64],
    count: NDArray[np.int64],
) -> None:
    """Fill the columns that need no table, and the lines; leave the hash and length of each normalised word."""
    ascii_bytes, blocks, entries, pool = characters
    stop_list = stop_words.of[document]
    stop_at = stop_end = stop_longest = stop_longest_other = 0
    if stop_list >= 0:
        stop_at, stop_end = stop_words.at[stop_list], stop_words.at[stop_list + 1]
        stop_longest, stop_longest_other = stop_words.longest[stop_list, 0], stop_words.longest[stop_list, 1]
    first_line = line
    sentences = raw_words = alphabetic = caps = stops = symbols = braces = ellipsis_lines = words = 0
    lorem_ipsums = other_lorem_ipsums = 0
    in_sentence = False
    before_at = before_end = start  # the bytes of the normalised word before
    # Of the line: where it begins; its first character that is not white space, and where its last one ends.
    line_at, line_first, line_last = start, -1, start
    line_words = line_javascript = 0
    line_upper: Any = 0
    line_numeric: Any = 0
    word_ends[0] = 0
    at = start
    while at < end:
        code: Any = np.int64(data[np.uint64(at)])
        width = 1
        if code < 0x80:
            entry: Any = np.int64(ascii_bytes[np.uint64(code)])
        else:
            code, width = _decode(data, at, end)
            entry = np.int64(entries[np.int64(blocks[code >> 8]) << 8 | code & 0xFF])
        if entry & 3 == SPACE:
            at += width
            if code == 0x0A:
                ellipsis_lines += _end_line(
                    data, line_at, at, line_first, line_last, words - line_words,
                    word_ends[words] - word_ends[line_words], line_upper, line_numeric, line_javascript, line, lines,
                )  # fmt: skip
                line += 1
                line_at, line_first, line_last, line_words = at, -1, at, words
                line_upper = line_numeric = line_javascript = 0
            continue

        if line_first < 0:
            line_first = code
        word_at, word_hash = at, _SEED
        length: Any = 0
        last_class: Any = 0
        ordered: Any = True
        while True:  # a token
            kind, token_at = entry & 3, at
            seen: Any = 0
            while True:  # a character
                if code < 0x80:
                    seen |= entry
                    if entry & KEPT:
                        word_hash = (word_hash ^ np.uint64(entry >> 8)) * _MULTIPLIER
                        length += 1
                        last_class = 0
                else:
                    seen |= entry & 0x0F
                    line_upper += entry >> 2 & 1
                    line_numeric += entry >> 8 & 3
                    if entry & LONG:
                        place = entry >> 11
                        parts = np.int64(pool[place])
                        for index in range(place + 1, place + 1 + parts):
                            part: Any = np.int64(pool[index])
                            combining = part >> 21
                            ordered = ordered and (combining == 0 or combining >= last_class)
                            last_class = combining
                            part &= 0x1FFFFF
                            if code == _SIGMA and _ends_word(data, word_at, at, end, characters):
                                part = _FINAL_SIGMA
                            word_hash = (word_hash ^ np.uint64(part)) * _MULTIPLIER
                        length += parts
                    else:
                        word_hash = (word_hash ^ np.uint64(code + (entry >> 11))) * _MULTIPLIER
                        length += 1
                        last_class = 0
                        symbols += code == 0x2026
                at += width
                if at >= end:
                    entry = SPACE
                    break
                code = np.int64(data[np.uint64(at)])
                width = 1
                if code < 0x80:
                    entry = np.int64(ascii_bytes[np.uint64(code)])
                else:
                    code, width = _decode(data, at, end)
                    entry = np.int64(entries[np.int64(blocks[code >> 8]) << 8 | code & 0xFF])
                if entry & 3 != kind:
                    break
            raw_words += 1
            alphabetic += (seen & LETTER) != 0
            caps += seen & (UPPER | NOT_UPPER) == UPPER
            if kind == WORD:
                sentences += not in_sentence
                in_sentence = True
            elif seen & (STOP | MARK):
                in_sentence = in_sentence and not seen & STOP
                more_symbols, more_braces = _marks(data, token_at, at)
                symbols += more_symbols
                braces += more_braces
            if at - token_at <= (stop_longest if kind == WORD else stop_longest_other):
                key = _key_of_bytes(data, token_at, at, end)
                stops += _holds(stop_words.keys, _home(key, stop_at, stop_end), key)
            if entry & 3 == SPACE:
                break
        line_last = at
        if length == 0:
            continue
        if not ordered:
            word_hash = _ordered_hash(data, word_at, at, end, characters)
        word_hash ^= word_hash >> _HALF  # the last characters have only reached the high bits
        keys[words] = word_hash
        word_ends[words + 1] = word_ends[words] + length
        words += 1
        line_javascript += word_hash == javascript
        if length >= 5 and words > 1 and _may_begin_with_i(data, word_at):
            exact, matched = _lorem_ipsum(data, before_at, before_end, word_at, at, characters)
            lorem_ipsums += exact
            other_lorem_ipsums += matched and not exact
        before_at, before_end = word_at, at

    if line_at < end:
        ellipsis_lines += _end_line(
            data, line_at, end, line_first, line_last, words - line_words, word_ends[words] - word_ends[line_words],
            line_upper, line_numeric, line_javascript, line, lines,
        )  # fmt: skip
        line += 1
    chars = 0
    for index in range(start, end):
        chars += data[index] & 0xC0 != 0x80
    count[_CHARS], count[_SENTENCES], count[_RAW_WORDS], count[_ALPHABETIC] = chars, sentences, raw_words, alphabetic
    count[_CAPS], count[_STOP_WORDS], count[_SYMBOLS], count[_BRACES] = caps, stops, symbols, braces
    count[_LINES], count[_ELLIPSIS_LINES] = line - first_line, ellipsis_lines
    count[_WORDS], count[_WORD_CHARS] = words, word_ends[words]
    # The published code searches for the exact text first, and only if it is there counts with re.IGNORECASE.
    count[_LOREM_IPSUMS] = lorem_ipsums + other_lorem_ipsums if lorem_ipsums else 0


@njit(cache=True, nogil=True)
def _marks(data: NDArray[np.uint8], start: int, end: int) -> tuple[int, int]:
    """Count # and ... , and { and }, in a token without letters; none can reach into the next."""
    symbols = braces = dots = 0
    for at in range(start, end):
        byte = data[at]
        symbols += byte == 0x23
        braces += (byte == 0x7B) | (byte == 0x7D)
        dots = dots + 1 if byte == 0x2E else 0
        if dots == 3:
            symbols += 1
            dots = 0
    return symbols, braces


@njit(cache=True, nogil=True)
def _end_line(
    data: NDArray[np.uint8],
    start: int,
    end: int,
    first: int,
    last: int,
    words: int,
    word_chars: int,
    upper: int,
    numeric: int,
    javascript: int,
    line: int,
    lines: NDArray[np.float64],
) -> bool:
    """Write a line's numbers; return whether it ends in an ellipsis.

    Args:
        start: the line is data[start:end], with its newline.
        first: its first character that is not white space; -1: there is none.
        last: where its last character ends that is not white space.
        upper: upper-case letters outside ASCII.
        numeric: numeric characters outside ASCII.
    """
    one = data[last - 1] if last > start else np.uint8(0)
    three = last - start >= 3
    ellipsis = three and one == 0x2E and data[last - 2] == 0x2E and data[last - 3] == 0x2E
    quote = False
    if three and data[last - 3] == 0xE2 and data[last - 2] == 0x80:
        ellipsis = one == 0xA6
        quote = one == 0x9D
    if lines.shape[1] == 0:
        return ellipsis
    chars = capitals = digits = 0
    for at in range(start, end):
        byte = data[at]
        chars += byte & 0xC0 != 0x80
        capitals += (byte >= 0x41) & (byte <= 0x5A)
        digits += (byte >= 0x30) & (byte <= 0x39)
    normalised = word_chars + max(words - 1, 0)
    lines[0, line] = javascript
    lines[1, line] = quote or one == 0x2E or one == 0x21 or one == 0x3F
    lines[2, line] = words
    lines[3, line] = (upper + capitals) / max(chars, 1)  # 0 only in malformed UTF-8
    lines[4, line] = (numeric + digits) / normalised if normalised else 0.0
    lines[5, line] = first >= 0x2013 and (
        first == 0x2013 or first == 0x2022 or first == 0x2023 or first == 0x25A0 or first == 0x25A1
        or first == 0x25AA or first == 0x25AB or first == 0x25B6 or first == 0x25C0 or first == 0x25E6
    )  # fmt: skip
    return ellipsis


@njit(cache=True, nogil=True)
def _entry(data: NDArray[np.uint8], at: int, end: int, characters: Characters) -> tuple[np.int64, int, np.int64, Any]:
    """Return the code point at `at`, its width, its entry for all of Unicode, and whether it is deleted."""
    code, width = _decode(data, at, end)
    entry = np.int64(characters.entries[np.int64(characters.blocks[code >> 8]) << 8 | code & 0xFF])
    return code, width, entry, code < 0x80 and entry & 3 != SPACE and characters.ascii[code] & KEPT == 0


@njit(cache=True, nogil=True)
def _ends_word(data: NDArray[np.uint8], word_at: int, at: int, end: int, characters: Characters) -> bool:
    """Whether the capital sigma at `at` is lowered to a final one: a cased letter before it, and none after it.

    Characters that Unicode calls case-ignorable are passed over, and ASCII punctuation, which is deleted by then. No
    step goes past another sigma, so that the time for all is linear.
    """
    before = at
    found = False
    while before > word_at and not found:
        before -= 1
        while before > word_at and data[before] & 0xC0 == 0x80:
            before -= 1
        _, _, entry, deleted = _entry(data, before, end, characters)
        if deleted or entry & IGNORABLE:
            continue
        if not entry & CASED:
            return False
        found = True
    if not found:
        return False
    after = at + 2
    while after < end:
        _, width, entry, deleted = _entry(data, after, end, characters)
        after += width
        if deleted or entry & IGNORABLE:
            continue
        return not entry & CASED
    return True


@njit(cache=True, nogil=True)
def _ordered_hash(data: NDArray[np.uint8], start: int, stop: int, end: int, characters: Characters) -> np.uint64:
    """Hash a word whose marks do not stand in canonical order: each run of them is sorted by class, stably."""
    pool = characters.pool
    word_hash = _SEED
    marks = np.empty(64, np.int32)
    held = 0
    at = start
    while at < stop:
        code, width, entry, deleted = _entry(data, at, end, characters)
        if not deleted:
            long = entry & LONG
            place = entry >> 11
            for index in range(np.int64(pool[place]) if long else 1):
                part = np.int64(pool[place + 1 + index]) if long else code + place
                if code == _SIGMA and _ends_word(data, start, at, end, characters):
                    part = np.int64(_FINAL_SIGMA)
                if part >> 21 == 0:
                    word_hash = _hash_marks(word_hash, marks, held)
                    held = 0
                    word_hash = (word_hash ^ np.uint64(part)) * _MULTIPLIER
                    continue
                if held == len(marks):
                    more = np.empty(2 * held, np.int32)
                    for earlier in range(held):  # an assignment to a slice takes ten seconds to compile
                        more[earlier] = marks[earlier]
                    marks = more
                marks[held] = part
                held += 1
        at += width
    return _hash_marks(word_hash, marks, held)


@njit(cache=True, nogil=True)
def _hash_marks(word_hash: np.uint64, marks: NDArray[np.int32], held: int) -> np.uint64:
    """Take marks (their class << 21 | code point) into the hash in the order of their class, equal ones as they are."""
    if held == 0:
        return word_hash
    begins = np.zeros(257, np.int64)
    for index in range(held):
        begins[(marks[index] >> 21) + 1] += 1
    for index in range(256):
        begins[index + 1] += begins[index]
    ordered = np.empty(held, np.int32)
    for index in range(held):
        kind = marks[index] >> 21
        ordered[begins[kind]] = marks[index]
        begins[kind] += 1
    for index in range(held):
        word_hash = (word_hash ^ np.uint64(ordered[index] & 0x1FFFFF)) * _MULTIPLIER
    return word_hash


@njit(cache=True, nogil=True)
def _may_begin_with_i(data: NDArray[np.uint8], at: int) -> bool:
    """Whether a word's first letter may be an i: cheap, and true rather too often; there is one before its end."""
    while 0x21 <= data[at] <= 0x2F or 0x3A <= data[at] <= 0x40:
        at += 1
    byte = data[at]
    return bool(byte == 0x69 or byte == 0x49 or byte >= 0x7B or 0x5B <= byte <= 0x60)


@njit(cache=True, nogil=True)
def _lorem_ipsum(
    data: NDArray[np.uint8], before_at: int, before_end: int, at: int, end: int, characters: Characters
) -> tuple[bool, bool]:
    """Whether the word before ends in `lorem` and this one begins with `ipsum`: exactly; as re.IGNORECASE has it."""
    exact = True
    matched = 0
    while at < end and matched < 5:
        code, width, entry, deleted = _entry(data, at, end, characters)
        at += width
        if deleted:
            continue
        if entry & LONG:
            return False, False
        code += entry >> 11
        if (matched == 0 and code == 0x131) or (matched == 2 and code == 0x17F):
            exact = False
        elif code != (0x69, 0x70, 0x73, 0x75, 0x6D)[matched]:
            return False, False
        matched += 1
    if matched < 5:
        return False, False
    tail = np.uint64(0)
    while before_at < before_end:
        code, width, entry, deleted = _entry(data, before_at, before_end, characters)
        before_at += width
        if not deleted:
            code += entry >> 11
            tail = tail << _EIGHT | np.uint64(code if code < 0x80 and not entry & LONG else 0)
    matches = tail & np.uint64(0xFFFFFFFFFF) == np.uint64(0x6C6F72656D)
    return matches and exact, matches


@njit(cache=True, nogil=True)
def _key_of_bytes(data: NDArray[np.uint8], at: int, stop: int, end: int) -> np.uint64:
    """Hash the token data[at:stop] as it stands; never 0; nothing is read from `end` on."""
    key = _SEED + np.uint64(stop - at) * _OTHER_MULTIPLIER
    while stop - at > 8:
        key = (key ^ _eight_bytes(data, at)) * _MULTIPLIER
        key ^= key >> _HALF
        at += 8
    if at + 8 <= end:
        packed = _eight_bytes(data, at) & ~np.uint64(0) >> np.uint64(8 * (8 - stop + at))
    else:
        packed = np.uint64(0)
        for index in range(stop - at):
            packed |= np.uint64(data[at + index]) << np.uint64(8 * index)
    key = (key ^ packed) * _MULTIPLIER
    return key ^ key >> _HALF | np.uint64(1)


@njit(cache=True, nogil=True)
def _eight_bytes(data: NDArray[np.uint8], at: int) -> np.uint64:
    """Read a number, little-endian: compiled to one load, as an index without a sign is not looked at for a minus."""
    first = np.uint64(at)
    value = np.uint64(0)
    for index in range(8):
        value |= np.uint64(data[first + np.uint64(index)]) << np.uint64(8 * index)
    return value


@njit(cache=True, nogil=True)
def _key_of_ascii(letters: NDArray[np.uint8]) -> np.uint64:
    word_hash = _SEED
    for letter in letters:
        word_hash = (word_hash ^ np.uint64(letter)) * _MULTIPLIER
    return word_hash ^ (word_hash >> _HALF)


@njit(cache=True, nogil=True)
def hash_tokens(data: NDArray[np.uint8], offsets: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Hash words as raw tokens are hashed."""
    keys = np.empty(len(offsets) - 1, np.uint64)
    for index in range(len(keys)):
        keys[index] = _key_of_bytes(data, offsets[index], offsets[index + 1], offsets[-1])
    return keys


@njit(cache=True, nogil=True)
def hash_words(codes: NDArray[np.uint32], offsets: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Hash words, given as code points, as the words of a text that is normalised to just these are hashed."""
    keys = np.empty(len(offsets) - 1, np.uint64)
    for index in range(len(keys)):
        word_hash = _SEED
        for at in range(offsets[index], offsets[index + 1]):
            word_hash = (word_hash ^ np.uint64(codes[at])) * _MULTIPLIER
        keys[index] = word_hash ^ (word_hash >> _HALF)
    return keys


@njit(cache=True, nogil=True)
def fill_slots(keys: NDArray[np.uint64], values: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Enter values into a new table; return the slot of each, or none at all where the table is too small."""
    found = np.empty(len(values), np.int64)
    for index in range(len(values)):
        slot = _home(values[index], 0, len(keys))
        last = slot + _WINDOW
        while slot < last and keys[slot] != np.uint64(0) and keys[slot] != values[index]:
            slot += 1
        if slot == last:
            return found[:0]
        keys[slot] = values[index]
        found[index] = slot
    return found


@njit(cache=True, nogil=True)
def _home(key: np.uint64, start: int, end: int) -> np.int64:
    """Return where a key's window begins in the table keys[start:end], a power of two of slots and a few more."""
    return start + (np.int64((key * _OTHER_MULTIPLIER) >> _HALF) & (end - start - _WINDOW))


@njit(cache=True, nogil=True)
def _holds(keys: NDArray[np.uint64], home: Any, key: np.uint64) -> bool:
    """Whether the key is in its window: all of it is compared, so that there is no branch to guess."""
    found = False
    first = np.uint64(home)
    for index in range(_WINDOW):
        found |= keys[first + np.uint64(index)] == key
    return found


@njit(cache=True, nogil=True)
def _count_listed(
    listed: Lists,
    which: int,
    words: int,
    keys: NDArray[np.uint64],
    distinct: NDArray[np.uint32],
    copies: NDArray[np.uint32],
) -> int:
    """Count the runs of words that are entries of the list."""
    start, end = listed.at[which], listed.at[which + 1]
    found = 0
    begins = False
    for position in distinct:
        home = _home(keys[position], start, end)
        if _holds(listed.keys, home, keys[position]):
            while listed.keys[home] != keys[position]:
                home += 1
            found += np.int64(listed.single[home]) * copies[position]
            begins |= listed.rest[home, 0] < listed.rest[home, 1]
    if not begins:
        return found
    for position in range(words):
        home = _home(keys[position], start, end)
        if not _holds(listed.keys, home, keys[position]):
            continue
        while listed.keys[home] != keys[position]:
            home += 1
        for entry in range(listed.rest[home, 0], listed.rest[home, 1]):
            first, last = listed.rest_at[entry], listed.rest_at[entry + 1]
            same = position + last - first < words
            for at in range(first, last):
                same = same and listed.rest_keys[at] == keys[position + 1 + at - first]
            found += same
    return found


@njit(cache=True, nogil=True)
def _entropy(words: int, distinct: NDArray[np.uint32], copies: NDArray[np.uint32]) -> float:
    """Return the entropy of words, summed in the order in which they are first met, as the published code does."""
    terms = np.zeros(64, np.float64)  # of the sum, by how often the word occurs; 0: not known yet
    entropy = 0.0
    for position in distinct:
        times = np.int64(copies[position])
        if times < len(terms) and terms[times] > 0.0:
            entropy += terms[times]
            continue
        term = -times / words * math.log(times / words)
        if times < len(terms):
            terms[times] = term
        entropy += term
    return entropy


@njit(cache=True, nogil=True)
def _group(
    held: int,
    keys: NDArray[np.uint64],
    positions: NDArray[np.uint32],
    group: NDArray[np.uint32],
    copies: NDArray[np.uint32],
    distinct: NDArray[np.uint32],
    slots: NDArray[np.uint32],
) -> tuple[int, int]:
    """Group positions by equal key, then keep only those whose key occurs at least twice.

    Args:
        held: how many positions are looked at.
        keys: by position.
        positions: in and out: the first `held`, ascending; those that stay are moved to the front.
        group: out, by position: the first position with the same key.
        copies: out, by first position: how many positions have its key.
        distinct: out: the first positions, ascending.
        slots: scratch for an open-addressed table of positions: a power of two, at least 2 * held.

    Returns:
        How many positions stay, and how many distinct keys there are.
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
    return kept, found


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
    held: int,
    keys: NDArray[np.uint64],
    word_ends: NDArray[np.int64],
    positions: NDArray[np.uint32],
    group: NDArray[np.uint32],
    copies: NDArray[np.uint32],
    distinct: NDArray[np.uint32],
    slots: NDArray[np.uint32],
    count: NDArray[np.int64],
) -> None:
    """Count the characters of the top 2- to 4-gram, and those in repeated 5- to 10-grams; overwrites `keys`."""
    for n in range(2, _LAST_NGRAM + 1):
        pairs = 0
        for index in range(held - 1):
            position = positions[index]
            keys[position] = np.uint64(group[position]) << _HALF | np.uint64(group[position + 1])
            positions[pairs] = position
            pairs += positions[index + 1] == position + 1
        held, found = _group(pairs, keys, positions, group, copies, distinct, slots)
        if held == 0:
            return
        chars: Any = 0
        if n <= _LAST_TOP:
            most: Any = 1  # of equally frequent ones the first stays
            for position in distinct[:found]:
                if copies[position] > most:
                    most = np.int64(copies[position])
                    chars = most * (word_ends[position + n] - word_ends[position])
        else:
            covered = 0  # words up to here are counted
            for index in range(held):
                position = positions[index]
                chars += word_ends[position + n] - word_ends[max(position, covered)]
                covered = position + n
        count[_NGRAMS + n - 2] = chars
