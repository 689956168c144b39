"""Clean pages line by line as C4 does: what is cut, and the counts that page rules ask for.

Some lines at a time are copied to scratch with room after them, so that line breaks, words and rare letters are looked
for in blocks of bytes; only a line with other white space than ASCII's is walked character by character. Spans come out
in order and disjoint, so that a text without them is the cleaned page. Time is linear in the text; scratch is a
mebibyte, or the longest line between newlines, and the spans.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from redpajama_pipe.text.blocks import BLOCK, first_one, ones, within
from redpajama_pipe.text.cut_spans import add, trim, with_room
from redpajama_pipe.text.decode import decode
from redpajama_pipe.text.lean import inner, lean
from redpajama_pipe.text.unaligned import load_little32

# The columns of the counts that `clean` returns, in order.
COUNTS = (
    "lines",
    "kept_lines",
    "lorem_ipsum_lines",
    "curly_bracket_lines",
    "bad_word_lines",
)
_LINES, _KEPT, _LOREM_IPSUM, _CURLY_BRACKET, _BAD_WORD = range(5)

# Why a span goes, in the order of the numbers that `clean` returns. A line break is replaced by "\n", the others go.
REASONS = (
    "white_space",
    "long_word",
    "citation",
    "no_end_mark",
    "few_words",
    "javascript",
    "policy",
    "line_break",
)
# Not plain numbers, each of which would have a kernel compiled of its own.
_KEEP = np.int64(-1)
_WHITE_SPACE, _LONG_WORD, _CITATION, _NO_END_MARK, _FEW_WORDS, _JAVASCRIPT, _POLICY, LINE_BREAK_REASON = (
    np.int64(number) for number in range(8)
)

MAX_WORD_CHARS = 1000

# The flags of text.classes; a test compares them.
SPACE, LINE_BREAK, DECIMAL, UPPER, LOWER = 1, 2, 4, 16, 32

# Phrases, each with the place of three rare letters in it, which are looked for first.
_PHRASES = (
    ("lorem ipsum", 7),
    ("javascript", 0),
    ("terms of use", 3),
    ("privacy policy", 3),
    ("cookie policy", 0),
    ("uses cookies", 5),
    ("use of cookies", 7),
    ("use cookies", 4),
)
_PHRASE_BYTES = np.frombuffer("".join(phrase for phrase, _ in _PHRASES).encode(), np.uint8)
_PHRASE_AT = np.cumsum([0, *(len(phrase) for phrase, _ in _PHRASES)])
_PHRASE_LETTER = np.array([place for _, place in _PHRASES])
_LOREM, _SCRIPT, _FIRST_POLICY = 0, 1, 2

# So many bytes, and the rest of their last line, are copied at once; so many may be read after them.
WINDOW = 1 << 20
PADDING = 2 * BLOCK
_HALF_BLOCK = np.uint64(32)
# A table says of four bytes whether a word of a list may begin with them: see `beginning`.
BEGINNINGS = 1 << 16
_LOWER_FOUR, _HIGH_FOUR = np.uint64(0x20202020), np.uint64(0x80808080)
_FIVE_BITS, _SIX_BITS, _MIX = np.uint64(31), np.uint64(63), np.uint64(0x9E37)
_SIX, _EIGHT, _TEN, _ELEVEN, _SIXTEEN = (np.uint64(bits) for bits in (6, 8, 10, 11, 16))
_NONE, _ONE, _TWO, _BLOCK = np.uint64(0), np.uint64(1), np.uint64(2), np.uint64(BLOCK)
_EDIT = np.frombuffer(b"edit]", np.uint8)
_NEEDED = np.frombuffer(b"citation needed]", np.uint8)


@njit(cache=True, nogil=True)
def clean(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    valid: NDArray[np.bool_],
    classes: NDArray[np.uint8],
    bad_words: NDArray[np.int32],
    symbols: NDArray[np.uint8],
    beginnings: NDArray[np.uint8],
    min_words: int,
    end_marks: bool,
    words_first: bool,
    window: int,
    counts: NDArray[np.int64],
    first_span: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Clean every document.

    Args:
        data: the documents' UTF-8, end to end.
        offsets: (documents + 1,) where each begins.
        valid: (documents,) False: leave zeros and no spans.
        classes: the flags of every code point, text.classes.classes().
        bad_words: (nodes, symbols) a trie: the next node, 0 for none; column 0 is 1 where a word ends. No rows: none.
        symbols: (256,) the trie's column of each byte; 0: in no word.
        beginnings: (BEGINNINGS,) not 0 at the `beginning` of four bytes that a word of the trie may begin with.
        min_words: a line with fewer goes.
        end_marks: whether a line must end in . ? ! or " but not in ...
        words_first: whether words are counted before citations are removed.
        window: so many bytes, and the rest of their last line, are looked at at once: WINDOW.
        counts: (documents, COUNTS) zeros, to be filled.
        first_span: (documents + 1,) zeros; where the spans of each document begin.

    Returns:
        (spans, 3) first byte from the document's start, end and reason.
    """
    spans = np.empty((1024, 3), np.int64)
    held: Any = np.int64(0)  # not 0, whose own type would have every kernel compiled twice
    page = np.empty(4096, np.uint8)
    for document in range(len(valid)):
        if valid[document]:
            count = counts[document]
            start, end = offsets[document], offsets[document + 1]
            begin: Any = start
            while begin < end:
                stop = min(begin + window, end)
                while stop < end and data[stop - 1] != 0x0A:
                    stop += 1
                size = stop - begin
                if len(page) < size + PADDING:
                    page = np.empty(size + PADDING, np.uint8)
                for at in range(np.uint64(size)):
                    page[at] = data[np.uint64(begin) + at]
                for at in range(np.uint64(size), np.uint64(size + PADDING)):
                    page[at] = 0
                spans, held = _clean_lines(
                    page,
                    size,
                    begin - start,
                    classes,
                    bad_words,
                    symbols,
                    beginnings,
                    min_words,
                    end_marks,
                    words_first,
                    count,
                    spans,
                    first_span[document],
                    held,
                )
                begin = stop
            spans, held = trim(
                data, start, end, classes, spans, first_span[document], held, _WHITE_SPACE, LINE_BREAK_REASON
            )
        first_span[document + 1] = held
    return spans[:held]


@inner
def _clean_lines(
    page: NDArray[np.uint8],
    end: int,
    before: int,
    classes: NDArray[np.uint8],
    bad_words: NDArray[np.int32],
    symbols: NDArray[np.uint8],
    beginnings: NDArray[np.uint8],
    min_words: int,
    end_marks: bool,
    words_first: bool,
    count: NDArray[np.int64],
    spans: NDArray[np.int64],
    first: int,
    held: int,
) -> tuple[NDArray[np.int64], int]:
    """Clean the lines page[:end], which have so many bytes of their document before them; gives back the spans.

    Citations are removed from the page itself.
    """
    at: Any = np.int64(0)
    while at < end:
        line_at = at
        stop_at = next_at = _line_break(page, at, end)  # its first byte, and the byte after it
        if stop_at < end:
            code, width = decode(page, stop_at, end)
            next_at += width
            if code == 0x0D and next_at < end and page[next_at] == 0x0A:
                next_at += 1
        text_at, text_end, words, long_word, bracket = _look_at(page, line_at, stop_at, classes)
        at = next_at
        count[_LINES] += 1

        # What goes from a line that stays; taken back where it does not stay.
        spans = with_room(spans, held)
        held_before, end_before = held, spans[max(held - 1, 0), 1]
        held = add(spans, held, first, before + line_at, before + text_at, _WHITE_SPACE)
        reason, size = _KEEP, text_end
        if words == 0:
            reason = _WHITE_SPACE
        elif long_word:
            reason = _LONG_WORD
        else:
            if bracket:
                size = inner = text_at
                while inner < text_end:
                    length = _citation(page, inner, text_end, classes) if page[inner] == 0x5B else 0
                    if length:
                        spans = with_room(spans, held)
                        held = add(spans, held, first, before + inner, before + inner + length, _CITATION)
                        inner += length
                    else:
                        page[size] = page[inner]
                        size += 1
                        inner += 1
                if size < text_end and not words_first:
                    words = _look_at(page, text_at, size, classes)[2]
            if end_marks and not _ends_well(page, text_at, size):
                reason = _NO_END_MARK
            elif words < min_words:
                reason = _FEW_WORDS
            else:
                reason = _look_into(page, text_at, size, bad_words, symbols, beginnings, count)
        if reason >= 0:
            held = held_before
            if held > first:
                spans[held - 1, 1] = end_before
            held = add(spans, held, first, before + line_at, before + next_at, reason)
            continue
        count[_KEPT] += 1
        # White space after the text, and of a line break all but its last byte where that is a newline.
        newline = next_at > stop_at and page[next_at - 1] == 0x0A
        held = add(spans, held, first, before + text_end, before + (next_at - 1 if newline else stop_at), _WHITE_SPACE)
        if stop_at < next_at and not newline:
            spans[held, 0], spans[held, 1], spans[held, 2] = before + stop_at, before + next_at, LINE_BREAK_REASON
            held += 1
    return spans, held


@lean
def _line_break(page: NDArray[np.uint8], at: int, end: int) -> Any:
    """Return where the next line break begins, or the end."""
    place: Any = np.uint64(at)
    last: Any = np.uint64(end)
    while place < last:
        bits = within(page, place, 0x0A, 0x0D) | within(page, place, 0x1C, 0x1E)
        bits |= within(page, place, 0xC2, 0xC2) & within(page, place + _ONE, 0x85, 0x85)
        third = within(page, place + _TWO, 0xA8, 0xA9) & within(page, place + _ONE, 0x80, 0x80)
        bits |= within(page, place, 0xE2, 0xE2) & third
        if bits:
            return min(np.int64(place) + first_one(bits), end)
        place += _BLOCK
    return end


@lean
def _spaces(page: NDArray[np.uint8], at: Any) -> Any:
    """Return 64 bits: which bytes are white space of ASCII."""
    return within(page, at, 0x20, 0x20) | within(page, at, 0x09, 0x0D) | within(page, at, 0x1C, 0x1F)


@lean
def _look_at(
    page: NDArray[np.uint8], line_at: int, stop: int, classes: NDArray[np.uint8]
) -> tuple[int, int, int, bool, bool]:
    """Return where a line's text begins and ends, its words, whether one is too long, whether there is a bracket."""
    ends: Any = np.int64(0)
    brackets = others = _NONE
    place: Any = np.uint64(line_at)
    last: Any = np.uint64(stop)
    while place < last:
        inside = ~_NONE if last - place >= _BLOCK else (_ONE << (last - place)) - _ONE
        ends += ones(inside & ~_spaces(page, place) & _spaces(page, place + _ONE))
        brackets |= inside & within(page, place, 0x5B, 0x5B)
        if inside & within(page, place, 0xC2, 0xE3):  # white space outside ASCII; with some characters that are none
            second, third = place + _ONE, place + _TWO
            found = within(page, second, 0x85, 0x85) | within(page, second, 0xA0, 0xA0)
            others |= inside & within(page, place, 0xC2, 0xC2) & found
            others |= inside & within(page, place, 0xE1, 0xE1) & within(page, second, 0x9A, 0x9A)
            others |= inside & within(page, place, 0xE3, 0xE3) & within(page, second, 0x80, 0x80)
            found = within(page, second, 0x80, 0x80) & ~within(page, third, 0x8B, 0xA7)
            others |= inside & within(page, place, 0xE2, 0xE2) & (found | within(page, second, 0x81, 0x81))
        place += _BLOCK
    if not others:
        text_at, text_end = line_at, stop
        while text_at < stop and page[text_at] <= 0x20 and classes[page[text_at]] & SPACE:
            text_at += 1
        while text_end > text_at and page[text_end - 1] <= 0x20 and classes[page[text_end - 1]] & SPACE:
            text_end -= 1
        if text_at == text_end:
            return -1, line_at, 0, False, False
        if text_end == stop and not (page[stop] <= 0x20 and classes[page[stop]] & SPACE):
            ends += 1  # the last word's end is the page's, or before a line break outside ASCII
        word_at = text_at
        while word_at + MAX_WORD_CHARS < text_end:
            at = word_at + MAX_WORD_CHARS  # from here back to a white space: none, and the word may be too long
            while at >= word_at and not (page[at] <= 0x20 and classes[page[at]] & SPACE):
                at -= 1
            if at < word_at:
                break
            word_at = at + 1
        if word_at + MAX_WORD_CHARS >= text_end:
            return text_at, text_end, ends, False, brackets != 0

    text_at, text_end, at = -1, line_at, line_at
    words = longest = chars = 0
    in_word = False
    while at < stop:
        code, width = decode(page, at, stop)
        if classes[code] & SPACE:
            in_word = False
        else:
            if not in_word:
                words, chars, in_word = words + 1, 0, True
                if text_at < 0:
                    text_at = at
            chars += 1
            longest = max(longest, chars)
            text_end = at + width
        at += width
    return text_at, text_end, words, longest > MAX_WORD_CHARS, brackets != 0


@lean
def _ends_well(text: NDArray[np.uint8], start: int, end: int) -> bool:
    """Whether a line ends in . ? ! or " and not in three dots."""
    if end <= start:
        return False
    last = text[end - 1]
    if last == 0x2E:
        return not (end - start >= 3 and text[end - 2] == 0x2E and text[end - 3] == 0x2E)
    return bool(last == 0x3F or last == 0x21 or last == 0x22)


@lean
def _citation(data: NDArray[np.uint8], at: int, end: int, classes: NDArray[np.uint8]) -> int:
    r"""Return the length of what \[\d*\]|\[edit\]|\[citation needed\] matches at an opening bracket, or 0."""
    inner = at + 1
    while inner < end:
        code, width = decode(data, inner, end)
        if code == 0x5D:
            return inner + 1 - at
        if not classes[code] & DECIMAL:
            break
        inner += width
    for wanted in (_EDIT, _NEEDED):
        if at + 1 + len(wanted) <= end:
            same = True
            for place in range(len(wanted)):
                if data[at + 1 + place] != wanted[place]:
                    same = False
                    break
            if same:
                return 1 + len(wanted)
    return 0


@lean
def _lowered(byte: int) -> int:
    return byte | 0x20 if 0x41 <= byte <= 0x5A else byte


@lean
def _is_kelvin(line: NDArray[np.uint8], size: int, at: int) -> bool:
    """Whether the Kelvin sign is at `at`: in lower case it is the letter k."""
    return bool(at + 2 < size and line[at] == 0xE2 and line[at + 1] == 0x84 and line[at + 2] == 0xAA)


@lean
def _phrase(line: NDArray[np.uint8], start: int, end: int, letter_at: Any) -> int:
    """Return the phrase that the lower-cased line[start:end] has around rare letters, or -1."""
    for index in range(len(_PHRASE_LETTER)):
        first, last = _PHRASE_AT[index], _PHRASE_AT[index + 1]
        at = letter_at - _PHRASE_LETTER[index]
        if at < start or _lowered(line[at]) != _PHRASE_BYTES[first]:
            continue
        while first < last and at < end:
            if _lowered(line[at]) == _PHRASE_BYTES[first]:
                at += 1
            elif _PHRASE_BYTES[first] == 0x6B and _is_kelvin(line, end, at):
                at += 3
            else:
                break
            first += 1
        if first == last:
            return index
    return -1


@lean
def _has_rare_letters(line: NDArray[np.uint8], at: Any) -> Any:
    """Whether the rare letters of a phrase begin here, in any case: psu, jav, ms, vac, coo."""
    first, second, third = line[at] | 0x20, line[at + _ONE] | 0x20, line[at + _TWO] | 0x20
    found = (first == 0x63) & (second == 0x6F) & (third == 0x6F)
    found |= (first == 0x6D) & (second == 0x73) & (third == 0x20)
    found |= (first == 0x76) & (second == 0x61) & (third == 0x63)
    found |= (first == 0x6A) & (second == 0x61) & (third == 0x76)
    found |= (first == 0x70) & (second == 0x73) & (third == 0x75)
    return found


@lean
def _look_into(
    line: NDArray[np.uint8],
    start: int,
    end: int,
    bad_words: NDArray[np.int32],
    symbols: NDArray[np.uint8],
    beginnings: NDArray[np.uint8],
    count: NDArray[np.int64],
) -> np.int64:
    """Say why line[start:end] goes, or -1; count what page rules ask for, each on lines that get as far as its test.

    The tests stand in this order: lorem ipsum, javascript, curly bracket, policy, bad words.
    """
    lorem = script = curly = policy = False
    place: Any = np.uint64(start)
    last: Any = np.uint64(end)
    while place < last:
        rare = False
        for index in range(_HALF_BLOCK):
            rare |= _has_rare_letters(line, place + index) | (line[place + index] == 0x7B)
        if rare:
            for at in range(place, min(place + _HALF_BLOCK, last)):
                curly |= line[at] == 0x7B
                if _has_rare_letters(line, at):
                    found = _phrase(line, start, end, np.int64(at))
                    lorem |= found == _LOREM
                    script |= found == _SCRIPT
                    policy |= found >= _FIRST_POLICY
        place += _HALF_BLOCK
    count[_LOREM_IPSUM] += lorem
    if script:
        return _JAVASCRIPT
    count[_CURLY_BRACKET] += curly
    if policy:
        return _POLICY
    if len(bad_words) > 0:
        count[_BAD_WORD] += _has_bad_word(line, start, end, bad_words, symbols, beginnings)
    return _KEEP


@njit(cache=True, nogil=True)
def beginning(four: np.uint64) -> np.uint64:
    """Return the place of four bytes, little-endian and in any case: the first two, and a hash of the others."""
    four |= _LOWER_FOUR
    hashed = (four >> _SIXTEEN) * _MIX >> _TEN & _SIX_BITS
    return (four & _FIVE_BITS) << _ELEVEN | (four >> _EIGHT & _FIVE_BITS) << _SIX | hashed


@lean
def _has_bad_word(
    line: NDArray[np.uint8],
    start: int,
    end: int,
    bad_words: NDArray[np.int32],
    symbols: NDArray[np.uint8],
    beginnings: NDArray[np.uint8],
) -> bool:
    """Whether a bad word follows a character of line[start:end] that is no letter: so none at the line's start."""
    place: Any = np.uint64(start)
    last: Any = np.uint64(end)
    while place < last:
        inside = ~_NONE if last - place >= _BLOCK else (_ONE << (last - place)) - _ONE
        others = inside & ~(within(line, place, 0x61, 0x7A) | within(line, place, 0x41, 0x5A))
        while others:
            before = np.int64(place) + first_one(others)
            others &= others - _ONE
            four = np.uint64(load_little32(line, before + 1))
            if four & _HIGH_FOUR or beginnings[beginning(four)]:
                kelvin = line[before] == 0xAA and before - 2 >= start and _is_kelvin(line, end, before - 2)
                if not kelvin and _is_bad(line, end, before + 1, bad_words, symbols):
                    return True
        place += _BLOCK
    return False


@njit(cache=True, nogil=True)
def _is_bad(
    line: NDArray[np.uint8], size: int, at: int, bad_words: NDArray[np.int32], symbols: NDArray[np.uint8]
) -> bool:
    """Whether a bad word begins here and a character that is no letter from a to z follows it."""
    node = 0
    while at < size:
        byte = _lowered(line[at])
        step = 1
        if _is_kelvin(line, size, at):
            byte, step = 0x6B, 3
        elif byte == 0xC4 and at + 1 < size and line[at + 1] == 0xB0:  # its lower case is i and a combining dot
            byte, step = 0x69, 2
        symbol = symbols[byte]
        if node and bad_words[node, 0] and not 0x61 <= byte <= 0x7A:
            return True
        if symbol == 0:
            return False
        node = bad_words[node, symbol]
        if node == 0:
            return False
        at += step
        if step == 2:
            return bool(bad_words[node, 0])
    return False
