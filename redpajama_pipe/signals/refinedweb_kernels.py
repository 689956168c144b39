"""Correct pages line by line as RefinedWeb does: spans of the lines and phrases that go, and the words they hold.

The corrections run one after another, each on what the last one left and stripped; but stripping touches only the first
and the last line that are left. So these are followed first, correction by correction, from both ends of the page, and
then one pass over the lines says of each what happens to it. Time is linear in the text; nothing is kept but spans, and
a copy of a line while phrases are cut from it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from redpajama_pipe.text.cut_spans import add, trim, with_room
from redpajama_pipe.text.decode import character_before, decode
from redpajama_pipe.text.lean import inner, lean

# The columns of the counts that `correct` returns, in order.
COUNTS = ("words", "kept_words", "stop_words")
# Why a span goes, in the order of the numbers that `correct` returns.
REASONS = ("newlines", "uppercase", "numeric", "counter", "one_word", "phrase", "white_space")
# Not plain numbers, each of which would have a kernel compiled of its own.
_KEEP = np.int64(-1)
_NEWLINES, _UPPERCASE, _NUMERIC, _COUNTER, _ONE_WORD, _PHRASE, _WHITE_SPACE = (np.int64(number) for number in range(7))
# The corrections that drop lines are those from the one to the other.
_FIRST: Any = _UPPERCASE
_LAST: Any = _ONE_WORD

MAX_PHRASE_WORDS = 10
# What happens to the phrases of a line: which are looked for besides items in cart, and when the line is stripped.
_PLAIN, _READ_MORE, _SIGN_IN, _IS_LAST, _IS_FIRST = (np.int64(flag) for flag in (0, 1, 2, 4, 8))

# The flags of text.classes; a test compares them.
SPACE, DECIMAL, DIGIT, UPPER, ALPHANUMERIC = 1, 4, 8, 16, 64

_LOWERED = np.frombuffer(bytes(range(256)).lower(), np.uint8)
_COUNTED = b"likes shares comments retweets reposts quotes bookmarks upvotes downvotes downloads views followers "
_COUNTED_BYTES = np.frombuffer(_COUNTED, np.uint8)
_K = np.uint8(0x6B)
_CART = np.frombuffer(b"items in cart", np.uint8)
_MORE = np.frombuffer(b"read more", np.uint8)
_SIGN = np.frombuffer(b"sign-in", np.uint8)


@njit(cache=True, nogil=True)
def correct(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    valid: NDArray[np.bool_],
    classes: NDArray[np.uint8],
    counts: NDArray[np.int64],
    first_span: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Correct every document.

    Args:
        data: the documents' UTF-8, end to end.
        offsets: (documents + 1,) where each begins.
        valid: (documents,) False: leave zeros and no spans.
        classes: the flags of every code point, text.classes.classes().
        counts: (documents, COUNTS) zeros, to be filled.
        first_span: (documents + 1,) zeros; where the spans of each document begin.

    Returns:
        (spans, 3) first byte from the document's start, end and reason.
    """
    spans = np.empty((1024, 3), np.int64)
    held: Any = np.int64(0)  # not 0, whose own type would have kernels compiled twice
    edges = np.empty((_LAST + 1, 6), np.int64)
    for document in range(len(valid)):
        if valid[document]:
            start, end, first = offsets[document], offsets[document + 1], first_span[document]
            _follow(data, start, end, classes, edges)
            spans, held = _correct_page(data, start, end, classes, edges, spans, held)
            spans, held = trim(data, start, end, classes, spans, first, held, _WHITE_SPACE, _KEEP)
            _count_words(data, start, end, classes, spans, first, held, counts[document])
            if _has_other_spaces(data, start, end):
                counts[document, 2] = _stop_words(data, start, end, classes)
        first_span[document + 1] = held
    return spans[:held]


@lean
def _follow(
    data: NDArray[np.uint8], start: int, end: int, classes: NDArray[np.uint8], edges: NDArray[np.int64]
) -> None:
    """Follow the first and the last line that are left, from correction to correction.

    Leaves in edges[correction], after it and the stripping that follows: where the first line that is left begins, and
    its text; where the last one begins, and its text ends; which lines that had been stripped it dropped, -1 for none,
    the first and the last one. Where no line is left, the first one begins after the text.
    """
    low: Any = np.int64(start)
    low_text: Any = low
    high: Any = _line_start(data, start, end)
    high_text: Any = np.int64(end)
    for step in range(_FIRST, _LAST + 1):
        low_dropped = high_dropped = np.int64(-1)
        plain = step == _FIRST  # whether the line was not stripped yet, and what earlier corrections say is not known
        while low <= high:
            low_end = high_text if low == high else _line_end(data, low, end)
            plain &= low < high
            dropped = _why(data, low_text, low_end, classes, _FIRST if plain else step, step) >= 0
            if dropped and low == high:
                high_dropped = high
            elif dropped and not plain:
                low_dropped = low
            if not dropped:
                while low_text < low_end:
                    code, width = decode(data, low_text, low_end)
                    if not classes[code] & SPACE:
                        break
                    low_text += width
                if low_text < low_end:
                    break
            plain = True
            low = low_text = low_end + 1 if low < high else np.int64(end + 1)
        plain = step == _FIRST
        while low < high:
            dropped = _why(data, high, high_text, classes, _FIRST if plain else step, step) >= 0
            if dropped and not plain:
                high_dropped = high
            if not dropped:
                high_text = _stripped(data, high, high_text, classes)
                if high < high_text:
                    break
            plain = True
            high_text = high - 1
            high = _line_start(data, start, high_text)
        if low == high:
            high_text = _stripped(data, low_text, high_text, classes)
        edges[step, 0], edges[step, 1], edges[step, 2], edges[step, 3] = low, low_text, high, high_text
        edges[step, 4], edges[step, 5] = low_dropped, high_dropped


@lean
def _line_start(data: NDArray[np.uint8], start: int, at: int) -> Any:
    """Return where the line that ends at `at` begins."""
    place: Any = np.int64(at)
    while place > start and data[place - 1] != 0x0A:
        place -= 1
    return place


@lean
def _line_end(data: NDArray[np.uint8], at: int, end: int) -> Any:
    """Return where the line that begins at `at` ends."""
    place: Any = np.int64(at)
    while place < end and data[place] != 0x0A:
        place += 1
    return place


@lean
def _stripped(data: NDArray[np.uint8], start: int, end: int, classes: NDArray[np.uint8]) -> Any:
    """Return where the text of data[start:end] ends, without the white space after it."""
    place: Any = np.int64(end)
    while place > start:
        before = character_before(data, place, start)
        if not classes[decode(data, before, end)[0]] & SPACE:
            break
        place = before
    return place


@inner
def _correct_page(
    data: NDArray[np.uint8],
    start: int,
    end: int,
    classes: NDArray[np.uint8],
    edges: NDArray[np.int64],
    spans: NDArray[np.int64],
    held: int,
) -> tuple[NDArray[np.int64], int]:
    """Correct one page: the spans, which may have grown."""
    first = held
    low, high = edges[_LAST, 0], edges[_LAST, 2]
    # Stripping between the phrases touches the last line that holds more than items in cart, and the first one that
    # holds more than this and read more.
    last_at, stop = high, edges[_LAST, 3]
    while low < last_at:
        if last_at == high or (last_at < stop and _why(data, last_at, stop, classes, _FIRST, _LAST) < 0):
            spans, _, gone = _phrases(data, start, last_at, stop, classes, _PLAIN, spans, held)
            if not gone:
                break
        stop = last_at - 1
        last_at = _line_start(data, start, stop)
    first_at, text_at = low, edges[_LAST, 1]
    while first_at < last_at:
        stop = _line_end(data, first_at, end)
        if first_at == low or (text_at < stop and _why(data, text_at, stop, classes, _FIRST, _LAST) < 0):
            spans, _, gone = _phrases(data, start, text_at, stop, classes, _READ_MORE, spans, held)
            if not gone:
                break
        first_at = text_at = stop + 1
    run = 0
    line_at: Any = np.int64(start)
    while line_at <= end:
        line_end = _line_end(data, line_at, end)
        after = min(line_end + 1, end)
        text_at = edges[_LAST, 1] if line_at == low else line_at
        text_end = edges[_LAST, 3] if line_at == high else line_end
        # At most two newlines in a row: an empty line after an empty one, which is after a line, goes.
        run = run + 1 if line_at == line_end else 0
        reason = _KEEP
        if run > 1 and line_end < end:
            reason = _NEWLINES
        elif line_at < low or line_at > high:
            reason = _why_passed(data, line_at, line_end, classes, edges)
        elif line_at != low and line_at != high and line_at < line_end:
            reason = _why(data, line_at, line_end, classes, _FIRST, _LAST)
        spans = with_room(spans, held)
        if reason >= 0:
            held = add(spans, held, first, line_at - start, after - start, reason)
        else:
            held = add(spans, held, first, line_at - start, text_at - start, _WHITE_SPACE)
            before = held
            flags = _READ_MORE | _SIGN_IN
            if line_at == first_at:
                flags |= _IS_FIRST
            if line_at == last_at:
                flags |= _IS_LAST
            spans, held, gone = _phrases(data, start, text_at, text_end, classes, flags, spans, held)
            spans = with_room(spans, held)
            if gone:  # nothing is left of the line
                held = add(spans, before, first, text_at - start, after - start, _PHRASE)
            else:
                held = add(spans, held, first, text_end - start, line_end - start, _WHITE_SPACE)
        line_at = line_end + 1
    return spans, held


@lean
def _why_passed(
    data: NDArray[np.uint8], start: int, end: int, classes: NDArray[np.uint8], edges: NDArray[np.int64]
) -> np.int64:
    """Say why a line before the first or after the last one that is left goes: it was dropped, or it is blank."""
    for step in range(_FIRST, _LAST + 1):
        if start == edges[step, 4] or start == edges[step, 5]:
            return np.int64(step)
        if start < edges[step, 0] or start > edges[step, 2]:
            reason = _why(data, start, end, classes, _FIRST, step)
            return reason if reason >= 0 else _WHITE_SPACE
    return _WHITE_SPACE


@lean
def _count_words(
    data: NDArray[np.uint8],
    start: int,
    end: int,
    classes: NDArray[np.uint8],
    spans: NDArray[np.int64],
    first: int,
    held: int,
    count: NDArray[np.int64],
) -> None:
    """Count words, those of the corrected text, and stop words in any case.

    A word is a piece between ASCII white space and NUL, as fastText splits, that begins with a letter or digit.
    """
    inside = kept_inside = False
    index, at = first, start
    word_at = start
    while at < end:
        while index < held and at - start >= spans[index, 1]:
            index += 1
        # From here to `stop` all is kept, or all is cut.
        kept = not (index < held and spans[index, 0] <= at - start)
        stop = end
        if index < held:
            stop = start + (spans[index, 0] if kept else spans[index, 1])
        while at < stop:
            if not _parts_words(data[np.uint64(at)]):
                begins = not inside
                if begins:
                    inside, word_at = True, at
                if begins or (kept and not kept_inside):
                    byte = data[np.uint64(at)]
                    code = np.int64(byte) if byte < 0x80 else decode(data, at, end)[0]
                    word = (classes[code] & ALPHANUMERIC) != 0
                    count[0] += begins and word
                    count[1] += kept and not kept_inside and word
                kept_inside |= kept
                at += 1
                while at < stop and not _parts_words(data[np.uint64(at)]):
                    at += 1
            if at < stop:
                if inside and at - word_at <= 4:
                    count[2] += _is_stop_word(data, word_at, at)
                inside = False
                kept_inside = kept_inside and not kept
                at += 1
    if inside and end - word_at <= 4:
        count[2] += _is_stop_word(data, word_at, end)


@lean
def _parts_words(byte: int) -> bool:
    return bool(byte <= 0x20 and (byte == 0x20 or 9 <= byte <= 13 or byte == 0))


@lean
def _has_other_spaces(data: NDArray[np.uint8], start: int, end: int) -> bool:
    """Whether str.split() parts a text where _parts_words does not, or not where it does: white space, and NUL."""
    text = data[start:end]
    found = 0
    for at in range(len(text)):
        byte = text[at]
        found += (byte == 0) | ((byte >= 0x1C) & (byte <= 0x1F))
    for at in range(len(text) - 1):
        found += (text[at] == 0xC2) & ((text[at + 1] == 0x85) | (text[at + 1] == 0xA0))
    for at in range(len(text) - 2):
        first, second, third = text[at], text[at + 1], text[at + 2]
        low = (second == 0x80) & ((third <= 0x8A) | (third == 0xA8) | (third == 0xA9) | (third == 0xAF))
        found += (first == 0xE2) & (low | ((second == 0x81) & (third == 0x9F)))
        found += (third == 0x80) & (((first == 0xE3) & (second == 0x80)) | ((first == 0xE1) & (second == 0x9A)))
    return found > 0


@lean
def _stop_words(data: NDArray[np.uint8], start: int, end: int, classes: NDArray[np.uint8]) -> int:
    """Count the pieces of str.split() that are stop words in any case."""
    found = 0
    piece: Any = np.int64(start)
    at: Any = piece
    while at < end:
        code, width = decode(data, at, end)
        if classes[code] & SPACE:
            if at - piece <= 4:
                found += _is_stop_word(data, piece, at)
            piece = at + width
        at += width
    return found + (end - piece <= 4 and _is_stop_word(data, piece, end))


@lean
def _is_stop_word(data: NDArray[np.uint8], start: int, end: int) -> bool:
    """Whether this word of at most four bytes is, in lower case, one of: the be to of and that have with."""
    packed = 1  # before the first byte, so that a NUL there counts
    for at in range(start, end):
        packed = packed << 8 | _LOWERED[data[at]]
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


@lean
def _why(data: NDArray[np.uint8], start: int, end: int, classes: NDArray[np.uint8], step: Any, last: Any) -> np.int64:
    """Return the first correction from `step` to `last` that drops a line, or -1; an empty one is dropped by none."""
    if start == end:
        return _KEEP
    at: Any = np.int64(start)
    chars = upper = words = 0
    if step == _UPPERCASE:
        while at < end:
            while at < end and data[at] < 0x80:
                upper += 0x41 <= data[at] <= 0x5A
                chars += 1
                at += 1
            if at < end:
                code, width = decode(data, at, end)
                upper += (classes[code] & UPPER) != 0
                chars += 1
                at += width
        if 2 * upper > chars:
            return _UPPERCASE
    if step <= _NUMERIC <= last:
        digits = chars = 0
        at = np.int64(start)
        while at < end:
            code, width = decode(data, at, end)
            chars += 1
            digits += (classes[code] & DIGIT) != 0
            at += width
            if digits < chars < 1_000_000:
                break
        if digits > 0.999999 * chars:
            return _NUMERIC
    if step <= _COUNTER <= last and _is_counter(data, start, end, classes):
        return _COUNTER
    if last == _ONE_WORD:
        inside = False
        at = np.int64(start)
        while at < end and words < 2:
            code, width = decode(data, at, end)
            space = (classes[code] & SPACE) != 0
            words += not space and not inside
            inside = not space
            at += width
        if words < 2:
            return _ONE_WORD
    return _KEEP


@lean
def _is_counter(data: NDArray[np.uint8], start: int, end: int, classes: NDArray[np.uint8]) -> bool:
    r"""Whether a line is, in lower case, \W*, a number, k m b or nothing, white space, a counted noun and \W*."""
    at = start
    while at < end:
        code, width = decode(data, at, end)
        if code == 0x5F or classes[code] & ALPHANUMERIC:
            break
        at += width
    digits = at
    while at < end:
        code, width = decode(data, at, end)
        if not (classes[code] & DECIMAL or (at > digits and (code == 0x2C or code == 0x2E))):
            break
        at += width
    if at == digits:
        return False
    if at < end:
        if _LOWERED[data[at]] == 0x6D or _LOWERED[data[at]] == 0x62:
            at += 1
        else:
            at += _width(data, at, end, _K)
    gap = at
    while at < end:
        code, width = decode(data, at, end)
        if not classes[code] & SPACE:
            break
        at += width
    if at == gap:
        return False
    noun = 0
    while noun < len(_COUNTED_BYTES):
        place = at
        width = 1
        while place < end and _COUNTED_BYTES[noun] != 0x20 and width:
            width = _width(data, place, end, _COUNTED_BYTES[noun])
            place += width
            noun += width > 0
        if _COUNTED_BYTES[noun] == 0x20:
            while place < end:
                code, width = decode(data, place, end)
                if code == 0x5F or classes[code] & ALPHANUMERIC:
                    return False
                place += width
            return True
        while _COUNTED_BYTES[noun] != 0x20:
            noun += 1
        noun += 1
    return False


@lean
def _width(data: NDArray[np.uint8], at: int, end: int, letter: np.uint8) -> int:
    """Return the bytes of the character at `at` if it is this letter in any case, or 0; k is also the Kelvin sign."""
    if _LOWERED[data[at]] == letter:
        return 1
    kelvin = letter == _K and at + 2 < end and data[at] == 0xE2 and data[at + 1] == 0x84 and data[at + 2] == 0xAA
    return 3 if kelvin else 0


@lean
def _matches(data: NDArray[np.uint8], at: int, end: int, phrase: NDArray[np.uint8]) -> int:
    """Return where a phrase that begins at `at` ends, or -1; where case is ignored, ı and İ are i and ſ is s."""
    place = at
    for index in range(len(phrase)):
        if place >= end:
            return -1
        letter = phrase[index]
        if _LOWERED[data[place]] == letter:
            place += 1
            continue
        if place + 1 >= end:
            return -1
        first, second = data[place], data[place + 1]
        dotted = letter == 0x69 and first == 0xC4 and (second == 0xB0 or second == 0xB1)
        if not dotted and not (letter == 0x73 and first == 0xC5 and second == 0xBF):
            return -1
        place += 2
    return place


@lean
def _space_before(data: NDArray[np.uint8], at: int, start: int, classes: NDArray[np.uint8]) -> int:
    """Return where one character of white space before `at` begins, or `at`."""
    if at <= start:
        return at
    before = character_before(data, at, start)
    return before if classes[decode(data, before, at)[0]] & SPACE else at


@lean
def _has_phrase(data: NDArray[np.uint8], start: int, end: int) -> bool:
    """Whether a phrase stands anywhere in a line."""
    for at in range(start, end):
        letter = _LOWERED[data[at]]
        if (letter == 0x69 or letter == 0xC4) and _matches(data, at, end, _CART) >= 0:
            return True
        if letter == 0x72 and _matches(data, at, end, _MORE) >= 0:
            return True
        if (letter == 0x73 or letter == 0xC5) and _matches(data, at, end, _SIGN) >= 0:
            return True
    return False


@inner
def _phrases(
    data: NDArray[np.uint8],
    origin: int,
    start: int,
    end: int,
    classes: NDArray[np.uint8],
    flags: np.int64,
    spans: NDArray[np.int64],
    held: int,
) -> tuple[NDArray[np.int64], int, bool]:
    r"""Cut `\s?items in cart`, then `\s?read more...$` (three characters of any kind), then `^sign-in\s?`.

    Only in lines of at most ten words. The page's last line is stripped before the second, the first line before the
    third. Says whether nothing but white space is left of a line that had a phrase.
    """
    words, at = 0, start
    inside = False
    while at < end:
        code, width = decode(data, at, end)
        space = (classes[code] & SPACE) != 0
        words += not space and not inside
        inside = not space
        at += width
        if words > MAX_PHRASE_WORDS:
            return spans, held, False
    if not _has_phrase(data, start, end):
        return spans, held, False
    # What is left of the line, and where each byte of it stood.
    text, places = np.empty(end - start, np.uint8), np.empty(end - start, np.int64)
    left, at = 0, start
    while at < end:
        after = _matches(data, at, end, _CART)
        if after >= 0:
            if left and places[left - 1] == at - 1:
                left = _space_before(text, left, 0, classes)
            at = after
        else:
            text[left], places[left] = data[at], at
            left += 1
            at += 1
    all_left = left
    if flags & _IS_LAST:
        left = _stripped(text, 0, left, classes)
    stripped = left
    if flags & _READ_MORE:
        three, chars = left, 0
        while three > 0 and chars < 3:
            three -= 1
            chars += text[three] & 0xC0 != 0x80
        at = three - len(_MORE)
        if chars == 3 and at >= 0 and _matches(text, at, left, _MORE) >= 0:
            left = _space_before(text, at, 0, classes)
    sign = begin = 0
    if flags & _SIGN_IN:
        while flags & _IS_FIRST and sign < left:
            code, width = decode(text, sign, left)
            if not classes[code] & SPACE:
                break
            sign += width
        after = _matches(text, sign, left, _SIGN)
        if after >= 0:
            begin = after
            if after < left:
                code, width = decode(text, after, left)
                begin += width if classes[code] & SPACE else 0
        else:
            sign = 0
    if _stripped(text, begin, left, classes) == begin:
        return spans, held, all_left < end - start or left < stripped or begin > 0
    before, at = held, start
    for index in range(all_left):
        if index < sign or begin <= index < left or index >= stripped:
            spans = with_room(spans, held)
            held = add(spans, held, before, at - origin, places[index] - origin, _PHRASE)
            at = places[index] + 1
    spans = with_room(spans, held)
    held = add(spans, held, before, at - origin, end - origin, _PHRASE)
    return spans, held, False
