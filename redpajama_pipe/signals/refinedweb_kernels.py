"""Correct pages line by line as RefinedWeb does: spans of the lines and phrases that go, and the words they hold.

The corrections run one after another, each on what the last one left and stripped, so a line keeps its current ends
in two arrays. Time is linear in the text; scratch is 33 bytes a line of the largest document.

Everything compiled is in this one file: Numba's cache looks at no other file when it decides whether it is stale.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from redpajama_pipe.text.decode import decode

# The columns of the counts that `correct` returns, in order.
COUNTS = ("words", "kept_words", "stop_words")
# Why a span goes, in the order of the numbers that `correct` returns.
REASONS = ("newlines", "uppercase", "numeric", "counter", "one_word", "phrase", "white_space")
_NEWLINES, _UPPERCASE, _NUMERIC, _COUNTER, _ONE_WORD, _PHRASE, _WHITE_SPACE = range(7)

MAX_PHRASE_WORDS = 10

# The flags of text.classes; a test compares them.
SPACE, DIGIT, UPPER, ALPHANUMERIC = 1, 8, 16, 64

_COUNTED = b"likes shares comments retweets reposts quotes bookmarks upvotes downvotes downloads views followers "
_COUNTED_BYTES = np.frombuffer(_COUNTED, np.uint8)
_CART = np.frombuffer(b"items in cart", np.uint8)
_MORE = np.frombuffer(b"read more", np.uint8)
_SIGN = np.frombuffer(b"sign-in", np.uint8)


@njit(cache=True, nogil=True)
def correct(
    data: NDArray[np.uint8], offsets: NDArray[np.int64], valid: NDArray[np.bool_], classes: NDArray[np.uint8]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Correct every document.

    Args:
        data: the documents' UTF-8, end to end.
        offsets: (documents + 1,) where each begins.
        valid: (documents,) False: leave zeros and no spans.
        classes: the flags of every code point, text.classes.classes().

    Returns:
        (documents, COUNTS), (spans, 3) first byte from the document's start, end and reason, and (documents + 1,) where
        the spans of each document begin.
    """
    documents = len(valid)
    counts = np.zeros((documents, len(COUNTS)), np.int64)
    first_span = np.zeros(documents + 1, np.int64)
    spans = np.empty((1024, 3), np.int64)
    held: Any = np.int64(0)  # not 0, whose own type would have kernels compiled twice
    starts, ends, dead = np.empty(64, np.int64), np.empty(64, np.int64), np.empty(64, np.int8)
    for document in range(documents):
        if valid[document]:
            start, end = offsets[document], offsets[document + 1]
            lines = 1
            for at in range(np.uint64(start), np.uint64(end)):
                lines += data[at] == 0x0A
            if lines > len(starts):
                starts, ends, dead = np.empty(lines, np.int64), np.empty(lines, np.int64), np.empty(lines, np.int8)
            spans, held = _correct_page(data, start, end, classes, starts, ends, dead, lines, spans, held)
            _count_words(data, start, end, classes, spans, first_span[document], held, counts[document])
        first_span[document + 1] = held
    return counts, spans[:held], first_span


@njit(cache=True, nogil=True)
def _correct_page(
    data: NDArray[np.uint8],
    start: int,
    end: int,
    classes: NDArray[np.uint8],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    dead: NDArray[np.int8],
    lines: int,
    spans: NDArray[np.int64],
    held: int,
) -> tuple[NDArray[np.int64], int]:
    """Correct one page: the spans, which may have grown."""
    first = held
    index, at, run = 0, start, 0
    for place in range(start, end + 1):
        if place == end or data[place] == 0x0A:
            starts[index], ends[index], dead[index] = at, place, -1
            # At most two newlines in a row: an empty line after an empty one, which is after a line, goes.
            run = run + 1 if at == place else 0
            if run > 1 and place < end:
                dead[index] = _NEWLINES
            index, at = index + 1, place + 1
    low, high = 0, lines  # the lines that stripping leaves
    for step in range(4):
        for index in range(low, high):
            if dead[index] < 0 and ends[index] > starts[index]:
                dead[index] = _why(data, starts[index], ends[index], classes, step)
        if step < 3:
            low, high = _strip(data, classes, starts, ends, dead, low, high)
    low, high = _strip(data, classes, starts, ends, dead, low, high)

    line_at = start
    for index in range(lines):
        line_end = line_at
        while line_end < end and data[line_end] != 0x0A:
            line_end += 1
        after = min(line_end + 1, end)
        if dead[index] >= 0:
            spans, held = _add(spans, held, first, line_at - start, after - start, dead[index])
        elif index < low or index >= high:
            spans, held = _add(spans, held, first, line_at - start, after - start, _WHITE_SPACE)
        else:
            spans, held = _add(spans, held, first, line_at - start, starts[index] - start, _WHITE_SPACE)
            before = held
            spans, held, gone = _phrases(data, start, starts[index], ends[index], classes, spans, held)
            if gone:  # nothing is left of the line
                spans, held = _add(spans, before, first, starts[index] - start, after - start, _PHRASE)
            else:
                spans, held = _add(spans, held, first, ends[index] - start, line_end - start, _WHITE_SPACE)
        line_at = after
    return _trim(data, start, end, classes, spans, first, held)


@njit(cache=True, nogil=True)
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


@njit(cache=True, nogil=True)
def _parts_words(byte: int) -> bool:
    return bool(byte <= 0x20 and (byte == 0x20 or 9 <= byte <= 13 or byte == 0))


@njit(cache=True, nogil=True)
def _is_stop_word(data: NDArray[np.uint8], start: int, end: int) -> bool:
    """Whether this word of at most four bytes is, in lower case, one of: the be to of and that have with."""
    packed = 1  # before the first byte, so that a NUL there counts
    for at in range(start, end):
        packed = packed << 8 | _lowered(data[at])
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
def _add(
    spans: NDArray[np.int64], held: int, first: int, start: int, end: int, reason: int
) -> tuple[NDArray[np.int64], int]:
    """Append a span, if it is not empty, to the page's spans from `first` on; two that touch for one reason are one."""
    if start >= end:
        return spans, held
    if held > first and spans[held - 1, 1] == start and spans[held - 1, 2] == reason:
        spans[held - 1, 1] = end
        return spans, held
    if held == len(spans):
        spans = _grown(spans)
    spans[held, 0], spans[held, 1], spans[held, 2] = start, end, reason
    return spans, held + 1


@njit(cache=True, nogil=True)
def _grown(spans: NDArray[np.int64]) -> NDArray[np.int64]:
    grown = np.empty((2 * len(spans), 3), np.int64)
    for index in range(len(spans)):  # an assignment to a slice takes seconds to compile
        for column in range(3):
            grown[index, column] = spans[index, column]
    return grown


@njit(cache=True, nogil=True)
def _strip(
    data: NDArray[np.uint8],
    classes: NDArray[np.uint8],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    dead: NDArray[np.int8],
    low: int,
    high: int,
) -> tuple[int, int]:
    """Strip the page: move the ends of its first and last line; return the lines that are left."""
    while low < high:
        if dead[low] < 0:
            while starts[low] < ends[low]:
                code, width = decode(data, starts[low], ends[low])
                if not classes[code] & SPACE:
                    break
                starts[low] += width
            if starts[low] < ends[low]:
                break
        low += 1
    while high > low:
        last = high - 1
        if dead[last] < 0:
            while ends[last] > starts[last]:
                before = ends[last] - 1
                while before > starts[last] and data[before] & 0xC0 == 0x80:
                    before -= 1
                code, _ = decode(data, before, ends[last])
                if not classes[code] & SPACE:
                    break
                ends[last] = before
            if ends[last] > starts[last]:
                break
        high -= 1
    return low, high


@njit(cache=True, nogil=True)
def _why(data: NDArray[np.uint8], start: int, end: int, classes: NDArray[np.uint8], step: int) -> int:
    """Say why this correction drops a line that is not empty, or -1."""
    if step == 2:
        return _COUNTER if _is_counter(data, start, end, classes) else -1
    chars = upper = digits = words = 0
    inside = False
    at = start
    while at < end:
        while step == 0 and at < end and data[at] < 0x80:
            upper += 0x41 <= data[at] <= 0x5A
            chars += 1
            at += 1
        if at == end:
            break
        code, width = decode(data, at, end)
        kind = classes[code]
        chars += 1
        upper += (kind & UPPER) != 0
        digits += (kind & DIGIT) != 0
        space = (kind & SPACE) != 0
        words += not space and not inside
        inside = not space
        at += width
        if step == 3 and words > 1:
            return -1
        if step == 1 and not kind & DIGIT and chars < 1_000_000:
            return -1
    if step == 0:
        return _UPPERCASE if 2 * upper > chars else -1
    if step == 1:
        return _NUMERIC if digits > 0.999999 * chars else -1
    return _ONE_WORD


@njit(cache=True, nogil=True)
def _lowered(byte: int) -> int:
    return byte | 0x20 if 0x41 <= byte <= 0x5A else byte


@njit(cache=True, nogil=True)
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
        if not (classes[code] & DIGIT or (at > digits and (code == 0x2C or code == 0x2E))):
            break
        at += width
    if at == digits:
        return False
    if at < end and (_lowered(data[at]) == 0x6B or _lowered(data[at]) == 0x6D or _lowered(data[at]) == 0x62):
        at += 1
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
        place, size = at, 0
        same = True
        while _COUNTED_BYTES[noun + size] != 0x20:
            same = same and place < end and _lowered(data[place]) == _COUNTED_BYTES[noun + size]
            place += 1
            size += 1
        if same:
            while place < end:
                code, width = decode(data, place, end)
                if code == 0x5F or classes[code] & ALPHANUMERIC:
                    return False
                place += width
            return True
        noun += size + 1
    return False


@njit(cache=True, nogil=True)
def _matches(data: NDArray[np.uint8], at: int, end: int, phrase: NDArray[np.uint8]) -> bool:
    if at + len(phrase) > end:
        return False
    same = True
    for place in range(len(phrase)):
        same = same and _lowered(data[at + place]) == phrase[place]
    return same


@njit(cache=True, nogil=True)
def _space_before(data: NDArray[np.uint8], at: int, start: int, classes: NDArray[np.uint8]) -> int:
    """Return where one character of white space before `at` begins, or `at`."""
    if at <= start:
        return at
    before = at - 1
    while before > start and data[before] & 0xC0 == 0x80:
        before -= 1
    return before if classes[decode(data, before, at)[0]] & SPACE else at


@njit(cache=True, nogil=True)
def _phrases(
    data: NDArray[np.uint8],
    origin: int,
    start: int,
    end: int,
    classes: NDArray[np.uint8],
    spans: NDArray[np.int64],
    held: int,
) -> tuple[NDArray[np.int64], int, bool]:
    r"""Cut `\s?items in cart`, then `\s?read more...$` (three characters of any kind), then `^sign-in\s?`.

    Only in lines of at most ten words. Says whether nothing but white space is left of a line that had a phrase.
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
    head = start
    tail = end
    before = held
    at = start
    while at < tail:
        if _lowered(data[at]) == 0x69 and _matches(data, at, tail, _CART):
            from_at = max(_space_before(data, at, head, classes), start)
            if held > before:
                from_at = max(from_at, origin + spans[held - 1, 1])
            spans, held = _add(spans, held, before, from_at - origin, at + len(_CART) - origin, _PHRASE)
            at += len(_CART)
        else:
            at += 1
    cut_end = tail
    if held > before and origin + spans[held - 1, 1] == cut_end:
        cut_end = origin + spans[held - 1, 0]  # the line's end is cut already
    three = cut_end
    for _ in range(3):
        if three > head:
            three -= 1
            while three > head and data[three] & 0xC0 == 0x80:
                three -= 1
    at = three - len(_MORE)
    if at >= head and _matches(data, at, cut_end, _MORE) and _chars(data, three, cut_end) == 3:
        touched = held > before and origin + spans[held - 1, 1] > at and origin + spans[held - 1, 1] < cut_end
        if not touched:
            from_at = _space_before(data, at, head, classes)
            if cut_end < tail:
                held -= 1
            spans, held = _add(spans, held, before, from_at - origin, tail - origin, _PHRASE)
            cut_end = from_at
    begin = head
    if held > before and origin + spans[before, 0] == head:
        begin = origin + spans[before, 1]
    if _matches(data, begin, cut_end, _SIGN):
        at = begin + len(_SIGN)
        if at < cut_end and classes[decode(data, at, cut_end)[0]] & SPACE:
            at += decode(data, at, cut_end)[1]
        if begin > head:
            spans[before, 1] = at - origin
        else:
            if held == len(spans):
                spans = _grown(spans)
            for moved in range(held, before, -1):
                for column in range(3):
                    spans[moved, column] = spans[moved - 1, column]
            spans[before, 0], spans[before, 1], spans[before, 2] = begin - origin, at - origin, _PHRASE
            held += 1
    if held == before:
        return spans, held, False
    at, index = start, before
    while at < end:
        if index < held and origin + spans[index, 0] <= at:
            at = max(at, origin + spans[index, 1])
            index += 1
            continue
        code, width = decode(data, at, end)
        if not classes[code] & SPACE:
            return spans, held, False
        at += width
    return spans, held, True


@njit(cache=True, nogil=True)
def _chars(data: NDArray[np.uint8], start: int, end: int) -> int:
    chars = 0
    for at in range(start, end):
        chars += data[at] & 0xC0 != 0x80
    return chars


@njit(cache=True, nogil=True)
def _trim(
    data: NDArray[np.uint8],
    start: int,
    end: int,
    classes: NDArray[np.uint8],
    spans: NDArray[np.int64],
    first: int,
    held: int,
) -> tuple[NDArray[np.int64], int]:
    """Strip the corrected page: cut the white space that is left at its ends. Spans stay in order."""
    size = end - start
    at: Any = np.int64(0)
    index: Any = first
    # Front: over spans and white space to the first character that stays
    while at < size:
        if index < held and spans[index, 0] <= at:
            at = max(at, spans[index, 1])
            index += 1
            continue
        code, width = decode(data, start + at, end)
        if not classes[code] & SPACE:
            break
        spans, held = _insert(spans, held, first, index, at, at + width)
        at += width
    at, index = size, held - 1  # back: the same
    while at > 0:
        if index >= first and spans[index, 1] >= at:
            at = min(at, spans[index, 0])
            index -= 1
            continue
        before = at - 1
        while before > 0 and data[start + before] & 0xC0 == 0x80:
            before -= 1
        code, _ = decode(data, start + before, end)
        if not classes[code] & SPACE:
            break
        spans, held = _insert(spans, held, first, index + 1, before, at)
        if index + 1 < held and spans[index + 1, 0] <= before:
            index += 1
    return spans, held


@njit(cache=True, nogil=True)
def _insert(
    spans: NDArray[np.int64], held: int, first: int, index: int, start: int, end: int
) -> tuple[NDArray[np.int64], int]:
    """Put cut white space in at its place, or widen the span of white space that it touches."""
    if index > first and spans[index - 1, 1] == start and spans[index - 1, 2] == _WHITE_SPACE:
        spans[index - 1, 1] = end
        return spans, held
    if index < held and spans[index, 0] == end and spans[index, 2] == _WHITE_SPACE:
        spans[index, 0] = start
        return spans, held
    if held == len(spans):
        spans = _grown(spans)
    for moved in range(held, index, -1):
        for column in range(3):
            spans[moved, column] = spans[moved - 1, column]
    spans[index, 0], spans[index, 1], spans[index, 2] = start, end, _WHITE_SPACE
    return spans, held + 1
