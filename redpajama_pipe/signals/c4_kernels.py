"""Clean pages line by line as C4 does: what is cut, and the counts that page rules ask for.

A page is copied to scratch with room after it, so that lines, words, rare letters and sentence ends are looked for in
blocks of bytes; only a line with other white space than ASCII's, or with citations, is walked character by character.
Spans come out in order and disjoint, so that a text without them is the cleaned page. Time and memory are linear in
the text.

Everything compiled is in this one file: Numba's cache looks at no other file when it decides whether it is stale.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from redpajama_pipe.text.decode import decode

# The columns of the counts that `clean` returns, in order.
COUNTS = (
    "lines",
    "kept_lines",
    "sentences",
    "lorem_ipsum_lines",
    "curly_bracket_lines",
    "bad_word_lines",
)
_LINES, _KEPT, _SENTENCES, _LOREM_IPSUM, _CURLY_BRACKET, _BAD_WORD = range(6)

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
_WHITE_SPACE, _LONG_WORD, _CITATION, _NO_END_MARK, _FEW_WORDS, _JAVASCRIPT, _POLICY, _LINE_BREAK = range(8)

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

# Bytes are looked at in blocks, which compile to vector instructions; so much may be read after a page.
_BLOCK = np.uint64(32)
_STRETCH = np.uint64(512)  # bytes whose ends of words are looked for at once
PADDING = 64
# A table says of four bytes whether a word of a list may begin with them: see `beginning`.
BEGINNINGS = 1 << 16
_LOWER_FOUR, _HIGH_FOUR = np.uint64(0x20202020), np.uint64(0x80808080)
_FIVE_BITS, _SIX_BITS, _MIX = np.uint64(31), np.uint64(63), np.uint64(0x9E37)
_SIX, _TEN, _ELEVEN, _SIXTEEN, _TWENTY_FOUR = (np.uint64(bits) for bits in (6, 10, 11, 16, 24))
_ONE, _TWO, _THREE, _FOUR, _EIGHT = (np.uint64(bytes_or_bits) for bytes_or_bits in (1, 2, 3, 4, 8))
_EDIT = np.frombuffer(b"edit]", np.uint8)
_NEEDED = np.frombuffer(b"citation needed]", np.uint8)


def _packed(words: str) -> NDArray[np.uint64]:
    """Pack the first eight bytes of each word as one number, sorted."""
    return np.unique(
        np.array([int.from_bytes(word.encode()[:8].ljust(8, b"\0"), "little") for word in words.split()], np.uint64)
    )


# After these a full stop ends a sentence only where the next word usually begins one.
_ABBREVIATIONS = _packed(
    "mr mrs ms messrs dr prof gen col maj capt lt adm sen rep reps gov rev st jr sr inc ltd corp co cos bros cie dept "
    "ave ft mg vs v jan feb aug sep sept oct nov dec tues wed fri sat ala ariz calif colo conn fla ga ill kan ky ky "
    "mass mich minn nev okla ore pa tenn va vt wash wis ph.d m.d a.m p.m a.d b.c u.s u.k u.n u.s.a u.s.s.r d.c l.a "
    "n.y n.j n.c n.h n.d n.m s.c w.va j.p j.r c d e f g h k l m n p r s t v w yr"
)
_STARTERS = _packed(
    "according although among both but despite even he however i if in indeed instead it many meanwhile moreover most "
    "nevertheless no now one other others previously rather several she similarly since so some still that the their "
    "then there these they this those though thus under until we when while yet you your a an and as at after before "
    "for from his her its my our on what who why how where with not all"
)
# spaCy keeps the full stop of these in the word; beside them every single upper-case letter.
_UNSPLIT = _packed(
    "a.m adm bros co corp d.c dr e.g gen gov i.e inc jr ltd md messrs mo mont mr mrs ms p.m ph.d prof rep rev sen st "
    "vs v.s jan feb mar apr jun jul aug sep sept oct nov dec ala ariz ark calif colo conn del fla ga ia id ill ind kan "
    "kans ky la mass mich minn miss n.c n.d n.h n.j n.m n.y neb nebr nev okla ore pa s.c tenn va wash wis"
)


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
    punkt: bool,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
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
        punkt: sentences as Punkt ends them; else as spaCy's sentencizer.

    Returns:
        (documents, COUNTS), (spans, 3) first byte from the document's start, end and reason, and (documents + 1,) where
        the spans of each document begin.
    """
    documents = len(valid)
    counts = np.zeros((documents, len(COUNTS)), np.int64)
    first_span = np.zeros(documents + 1, np.int64)
    spans = np.empty((1024, 3), np.int64)
    held: Any = np.int64(0)  # not 0, whose own type would have every kernel compiled twice
    longest: Any = 0
    for document in range(documents):
        if valid[document]:
            longest = max(longest, offsets[document + 1] - offsets[document])
    page = np.empty(longest + PADDING, np.uint8)
    line = np.empty(1024, np.uint8)
    places = np.empty(int(_STRETCH), np.int64)
    for document in range(documents):
        if valid[document]:
            start, size = np.uint64(offsets[document]), offsets[document + 1] - offsets[document]
            for at in range(size):
                page[np.uint64(at)] = data[start + np.uint64(at)]
            for at in range(size, size + PADDING):
                page[at] = 0
            spans, held, line = _clean_page(
                page,
                size,
                classes,
                bad_words,
                symbols,
                beginnings,
                min_words,
                end_marks,
                words_first,
                punkt,
                counts[document],
                spans,
                held,
                line,
                places,
            )
            spans, held = _trim(page, size, classes, spans, first_span[document], held)
        first_span[document + 1] = held
    return counts, spans[:held], first_span


@njit(cache=True, nogil=True)
def without(
    data: NDArray[np.uint8], offsets: NDArray[np.int64], spans: NDArray[np.int64], first_span: NDArray[np.int64]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Apply the spans of `clean`: return the bytes of the cleaned pages and where each begins."""
    documents = len(offsets) - 1
    cleaned = np.empty(offsets[documents] - offsets[0], np.uint8)
    begins = np.zeros(documents + 1, np.int64)
    size = 0
    for document in range(documents):
        start = at = offsets[document]
        for index in range(first_span[document], first_span[document + 1] + 1):
            last = index == first_span[document + 1]
            stop = offsets[document + 1] if last else start + spans[index, 0]
            while at < stop:
                cleaned[size] = data[at]
                size += 1
                at += 1
            if not last:
                if spans[index, 2] == _LINE_BREAK:
                    cleaned[size] = 0x0A
                    size += 1
                at = start + spans[index, 1]
        begins[document + 1] = size
    return cleaned[:size], begins


@njit(cache=True, nogil=True)
def _clean_page(
    page: NDArray[np.uint8],
    end: int,
    classes: NDArray[np.uint8],
    bad_words: NDArray[np.int32],
    symbols: NDArray[np.uint8],
    beginnings: NDArray[np.uint8],
    min_words: int,
    end_marks: bool,
    words_first: bool,
    punkt: bool,
    count: NDArray[np.int64],
    spans: NDArray[np.int64],
    held: int,
    line: NDArray[np.uint8],
    places: NDArray[np.int64],
) -> tuple[NDArray[np.int64], int, NDArray[np.uint8]]:
    """Clean one page, page[:end]; gives back the spans and the scratch, which may have grown."""
    first = held
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

        reason, citations = -1, 0
        source, begin, size = page, text_at, text_end
        if words == 0:
            reason = _WHITE_SPACE
        elif long_word:
            reason = _LONG_WORD
        else:
            if bracket:
                if len(line) < text_end - text_at + PADDING:
                    line = np.empty(2 * (text_end - text_at + PADDING), np.uint8)
                source, begin = line, 0
                size, citations = _without_citations(page, text_at, text_end, classes, line)
                if citations and not words_first:
                    words = _count_words(line, size, classes)
            if end_marks and not _ends_well(source, begin, size):
                reason = _NO_END_MARK
            elif words < min_words:
                reason = _FEW_WORDS
            else:
                reason = _look_into(source, begin, size, bad_words, symbols, beginnings, count, places)
        if reason >= 0:
            spans, held = _add(spans, held, first, line_at, next_at, reason)
            continue
        count[_KEPT] += 1
        if punkt:
            count[_SENTENCES] += _sentences_by_punkt(source, begin, size, classes)
        else:
            count[_SENTENCES] += _sentences_by_marks(source, begin, size, classes)
        spans, held = _add(spans, held, first, line_at, text_at, _WHITE_SPACE)
        if citations:
            inner = text_at
            while inner < text_end:
                length = _citation(page, inner, text_end, classes) if page[inner] == 0x5B else 0
                if length:
                    spans, held = _add(spans, held, first, inner, inner + length, _CITATION)
                inner += max(length, 1)
        # White space after the text, and of a line break all but its last byte where that is a newline.
        newline = next_at > stop_at and page[next_at - 1] == 0x0A
        spans, held = _add(spans, held, first, text_end, next_at - 1 if newline else stop_at, _WHITE_SPACE)
        if not newline:
            spans, held = _add(spans, held, first, stop_at, next_at, _LINE_BREAK)
    return spans, held, line


@njit(cache=True, nogil=True)
def _line_break(page: NDArray[np.uint8], at: int, end: int) -> Any:
    """Return where the next line break begins, or the end."""
    place: Any = np.uint64(at)
    last: Any = np.uint64(end)
    while place < last:
        found = False
        for index in range(_BLOCK):
            byte, second, third = page[place + index], page[place + index + _ONE], page[place + index + _TWO]
            found |= (byte >= 0x0A) & (byte <= 0x0D)
            found |= (byte >= 0x1C) & (byte <= 0x1E)
            found |= (byte == 0xC2) & (second == 0x85)
            found |= (byte == 0xE2) & (second == 0x80) & ((third == 0xA8) | (third == 0xA9))
        if found:
            for index in range(_BLOCK):
                byte, second, third = page[place + index], page[place + index + _ONE], page[place + index + _TWO]
                if (
                    0x0A <= byte <= 0x0D
                    or 0x1C <= byte <= 0x1E
                    or (byte == 0xC2 and second == 0x85)
                    or (byte == 0xE2 and second == 0x80 and (third == 0xA8 or third == 0xA9))
                ):
                    return np.int64(place + index)
        place += _BLOCK
    return end


@njit(cache=True, nogil=True)
def _look_at(
    page: NDArray[np.uint8], line_at: int, stop: int, classes: NDArray[np.uint8]
) -> tuple[int, int, int, bool, bool]:
    """Return where a line's text begins and ends, its words, whether one is too long, whether there is a bracket."""
    ends: Any = np.int64(0)
    bracket = other_space = False
    for index in range(np.uint64(line_at), np.uint64(stop)):
        byte, second, third = page[index], page[index + _ONE], page[index + _TWO]
        space = (byte == 0x20) | ((byte >= 0x09) & (byte <= 0x0D)) | ((byte >= 0x1C) & (byte <= 0x1F))
        then = (second == 0x20) | ((second >= 0x09) & (second <= 0x0D)) | ((second >= 0x1C) & (second <= 0x1F))
        ends += then & (not space)
        bracket |= byte == 0x5B
        # White space outside ASCII; with some characters that are none.
        other_space |= (byte == 0xC2) & ((second == 0x85) | (second == 0xA0))
        other_space |= ((byte == 0xE1) & (second == 0x9A)) | ((byte == 0xE3) & (second == 0x80))
        other_space |= (byte == 0xE2) & (second == 0x80) & ((third <= 0x8A) | (third >= 0xA8))
        other_space |= (byte == 0xE2) & (second == 0x81)
    if not other_space:
        text_at, text_end = line_at, stop
        while text_at < stop and page[text_at] <= 0x20 and classes[page[text_at]] & SPACE:
            text_at += 1
        while text_end > text_at and page[text_end - 1] <= 0x20 and classes[page[text_end - 1]] & SPACE:
            text_end -= 1
        if text_at == text_end:
            return -1, line_at, 0, False, False
        if text_end == stop and not classes[page[stop]] & SPACE:
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
            return text_at, text_end, ends, False, bracket

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
    return text_at, text_end, words, longest > MAX_WORD_CHARS, bracket


@njit(cache=True, nogil=True)
def _add(
    spans: NDArray[np.int64], held: int, first: int, start: int, end: int, reason: int
) -> tuple[NDArray[np.int64], int]:
    """Append a span, if it is not empty, to the page's spans from `first` on; two that touch for one reason are one."""
    if start >= end:
        return spans, held
    if held > first and spans[held - 1, 1] == start and spans[held - 1, 2] == reason and reason != _LINE_BREAK:
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
        grown[index, 0], grown[index, 1], grown[index, 2] = spans[index, 0], spans[index, 1], spans[index, 2]
    return grown


@njit(cache=True, nogil=True)
def _trim(
    page: NDArray[np.uint8],
    size: int,
    classes: NDArray[np.uint8],
    spans: NDArray[np.int64],
    first: int,
    held: int,
) -> tuple[NDArray[np.int64], int]:
    """Strip the cleaned page: cut the white space that is left at its ends. Spans stay in order."""
    at: Any = np.int64(0)
    index: Any = first
    # Front: over spans and white space to the first character that stays
    while at < size:
        if index < held and spans[index, 0] <= at:
            if spans[index, 2] == _LINE_BREAK:
                spans[index, 2] = _WHITE_SPACE
            at = max(at, spans[index, 1])
            index += 1
            continue
        code, width = decode(page, at, size)
        if not classes[code] & SPACE:
            break
        spans, held = _insert(spans, held, first, index, at, at + width)
        at += width
    at, index = size, held - 1  # back: the same
    while at > 0:
        if index >= first and spans[index, 1] >= at:
            if spans[index, 2] == _LINE_BREAK:
                spans[index, 2] = _WHITE_SPACE
            at = min(at, spans[index, 0])
            index -= 1
            continue
        before = at - 1
        while before > 0 and page[before] & 0xC0 == 0x80:
            before -= 1
        code, _ = decode(page, before, size)
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
        spans[moved, 0], spans[moved, 1], spans[moved, 2] = (
            spans[moved - 1, 0],
            spans[moved - 1, 1],
            spans[moved - 1, 2],
        )
    spans[index, 0], spans[index, 1], spans[index, 2] = start, end, _WHITE_SPACE
    return spans, held + 1


@njit(cache=True, nogil=True)
def _ends_well(text: NDArray[np.uint8], start: int, end: int) -> bool:
    """Whether a line ends in . ? ! or " and not in three dots."""
    if end <= start:
        return False
    last = text[end - 1]
    if last == 0x2E:
        return not (end - start >= 3 and text[end - 2] == 0x2E and text[end - 3] == 0x2E)
    return bool(last == 0x3F or last == 0x21 or last == 0x22)


@njit(cache=True, nogil=True)
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


@njit(cache=True, nogil=True)
def _without_citations(
    data: NDArray[np.uint8], start: int, end: int, classes: NDArray[np.uint8], line: NDArray[np.uint8]
) -> tuple[int, int]:
    """Copy a line without its citations; return how many bytes it has, and how many citations it had."""
    size = citations = 0
    at = start
    while at < end:
        length = _citation(data, at, end, classes) if data[at] == 0x5B else 0
        if length:
            citations += 1
            at += length
        else:
            line[size] = data[at]
            size += 1
            at += 1
    for place in range(PADDING):
        line[size + place] = 0
    return size, citations


@njit(cache=True, nogil=True)
def _count_words(line: NDArray[np.uint8], size: int, classes: NDArray[np.uint8]) -> int:
    words, at = 0, 0
    in_word = False
    while at < size:
        code, width = decode(line, at, size)
        space = (classes[code] & SPACE) != 0
        words += not space and not in_word
        in_word = not space
        at += width
    return words


@njit(cache=True, nogil=True)
def _lowered(byte: int) -> int:
    return byte | 0x20 if 0x41 <= byte <= 0x5A else byte


@njit(cache=True, nogil=True)
def _is_kelvin(line: NDArray[np.uint8], size: int, at: int) -> bool:
    """Whether the Kelvin sign is at `at`: in lower case it is the letter k."""
    return bool(at + 2 < size and line[at] == 0xE2 and line[at + 1] == 0x84 and line[at + 2] == 0xAA)


@njit(cache=True, nogil=True)
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


@njit(cache=True, nogil=True)
def _has_rare_letters(line: NDArray[np.uint8], at: Any) -> Any:
    """Whether the rare letters of a phrase begin here, in any case: psu, jav, ms, vac, coo."""
    first, second, third = line[at] | 0x20, line[at + _ONE] | 0x20, line[at + _TWO] | 0x20
    found = (first == 0x63) & (second == 0x6F) & (third == 0x6F)
    found |= (first == 0x6D) & (second == 0x73) & (third == 0x20)
    found |= (first == 0x76) & (second == 0x61) & (third == 0x63)
    found |= (first == 0x6A) & (second == 0x61) & (third == 0x76)
    found |= (first == 0x70) & (second == 0x73) & (third == 0x75)
    return found


@njit(cache=True, nogil=True)
def _look_into(
    line: NDArray[np.uint8],
    start: int,
    end: int,
    bad_words: NDArray[np.int32],
    symbols: NDArray[np.uint8],
    beginnings: NDArray[np.uint8],
    count: NDArray[np.int64],
    places: NDArray[np.int64],
) -> int:
    """Say why line[start:end] goes, or -1; count what page rules ask for, each on lines that get as far as its test.

    The tests stand in this order: lorem ipsum, javascript, curly bracket, policy, bad words.
    """
    lorem = script = curly = policy = False
    place: Any = np.uint64(start)
    last: Any = np.uint64(end)
    while place < last:
        rare = False
        for index in range(_BLOCK):
            rare |= _has_rare_letters(line, place + index) | (line[place + index] == 0x7B)
        if rare:
            for at in range(place, min(place + _BLOCK, last)):
                curly |= line[at] == 0x7B
                if _has_rare_letters(line, at):
                    found = _phrase(line, start, end, np.int64(at))
                    lorem |= found == _LOREM
                    script |= found == _SCRIPT
                    policy |= found >= _FIRST_POLICY
        place += _BLOCK
    count[_LOREM_IPSUM] += lorem
    if script:
        return _JAVASCRIPT
    count[_CURLY_BRACKET] += curly
    if policy:
        return _POLICY
    if len(bad_words) > 0:
        count[_BAD_WORD] += _has_bad_word(line, start, end, bad_words, symbols, beginnings, places)
    return -1


@njit(cache=True, nogil=True)
def beginning(four: np.uint64) -> np.uint64:
    """Return the place of four bytes, little-endian and in any case: the first two, and a hash of the others."""
    four |= _LOWER_FOUR
    hashed = (four >> _SIXTEEN) * _MIX >> _TEN & _SIX_BITS
    return (four & _FIVE_BITS) << _ELEVEN | (four >> _EIGHT & _FIVE_BITS) << _SIX | hashed


@njit(cache=True, nogil=True)
def _has_bad_word(
    line: NDArray[np.uint8],
    start: int,
    end: int,
    bad_words: NDArray[np.int32],
    symbols: NDArray[np.uint8],
    beginnings: NDArray[np.uint8],
    places: NDArray[np.int64],
) -> bool:
    """Whether a bad word follows a character of line[start:end] that is no letter: so none at the line's start."""
    place: Any = np.uint64(start)
    last: Any = np.uint64(end)
    while place < last:
        others = np.uint64(0)
        for at in range(place, min(place + _STRETCH, last)):
            places[others] = at  # no branch here: where words end cannot be guessed
            letter = line[at] | 0x20
            others += np.uint64((letter < 0x61) | (letter > 0x7A))
        for index in range(others):
            before: Any = np.uint64(places[index])
            four = np.uint64(line[before + _ONE]) | np.uint64(line[before + _TWO]) << _EIGHT
            four |= np.uint64(line[before + _THREE]) << _SIXTEEN | np.uint64(line[before + _FOUR]) << _TWENTY_FOUR
            if four & _HIGH_FOUR or beginnings[beginning(four)]:
                after: Any = np.int64(before)
                kelvin = line[before] == 0xAA and after - 2 >= start and _is_kelvin(line, end, after - 2)
                if not kelvin and _is_bad(line, end, after + 1, bad_words, symbols):
                    return True
        place += _STRETCH
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


@njit(cache=True, nogil=True)
def _is_closer(byte: int) -> bool:
    return bool(byte == 0x22 or byte == 0x27 or byte == 0x29 or byte == 0x5D or byte == 0x7D)


@njit(cache=True, nogil=True)
def _parts_words(byte: int) -> bool:
    r"""Whether Punkt ends a word at this byte: [?!)";}\]*:@'({\[]."""
    return bool(
        _is_closer(byte)
        or byte == 0x3F
        or byte == 0x21
        or byte == 0x3B
        or byte == 0x2A
        or byte == 0x3A
        or byte == 0x40
        or byte == 0x28
        or byte == 0x7B
        or byte == 0x5B
    )


@njit(cache=True, nogil=True)
def _pack(line: NDArray[np.uint8], start: int, end: int) -> np.uint64:
    """Pack the first eight bytes of a word in lower case."""
    packed = np.uint64(0)
    for place in range(min(end - start, 8)):
        packed |= np.uint64(_lowered(line[start + place])) << np.uint64(8 * place)
    return packed


@njit(cache=True, nogil=True)
def _listed(words: NDArray[np.uint64], line: NDArray[np.uint8], start: int, end: int) -> bool:
    packed = _pack(line, start, end)
    low, high = 0, len(words)
    while low < high:
        middle = (low + high) // 2
        if words[middle] < packed:
            low = middle + 1
        else:
            high = middle
    return bool(low < len(words) and words[low] == packed)


@njit(cache=True, nogil=True)
def _is_space(line: NDArray[np.uint8], at: int, size: int, classes: NDArray[np.uint8]) -> bool:
    code, _ = decode(line, at, size)
    return bool(classes[code] & SPACE)


@njit(cache=True, nogil=True)
def _next_mark(line: NDArray[np.uint8], at: int, end: int) -> Any:
    """Return where the next . ? or ! stands, or the end."""
    place: Any = np.uint64(at)
    last: Any = np.uint64(end)
    while place < last:
        found = False
        for index in range(_BLOCK):
            byte = line[place + index]
            found |= (byte == 0x2E) | (byte == 0x3F) | (byte == 0x21)
        if found:
            for other in range(place, min(place + _BLOCK, last)):
                byte = line[other]
                if byte == 0x2E or byte == 0x3F or byte == 0x21:
                    return np.int64(other)
        place += _BLOCK
    return end


@njit(cache=True, nogil=True)
def _token(line: NDArray[np.uint8], at: int, begin: int, size: int, classes: NDArray[np.uint8]) -> tuple[int, int]:
    """Return where the piece of line[begin:size] without white space around `at` begins and ends."""
    start = at
    while start > begin:
        before = start - 1
        while before > begin and line[before] & 0xC0 == 0x80:
            before -= 1
        if _is_space(line, before, size, classes):
            break
        start = before
    end = at
    while end < size:
        code, width = decode(line, end, size)
        if classes[code] & SPACE:
            break
        end += width
    return start, end


@njit(cache=True, nogil=True)
def _sentences_by_punkt(line: NDArray[np.uint8], start: int, size: int, classes: NDArray[np.uint8]) -> int:
    """Count sentences as Punkt ends them, with a short list of abbreviations in the place of its English model."""
    breaks = 0
    last_break = at = start
    while at < size:
        at = _next_mark(line, at, size)
        if at == size:
            break
        token_at, token_end = _token(line, at, start, size, classes)
        next_at = token_end
        while next_at < size and _is_space(line, next_at, size, classes):
            next_at += decode(line, next_at, size)[1]
        mark: Any = np.int64(-1)  # the last one in the token that something follows
        for place in range(at, token_end):
            followed = next_at < size if place + 1 == token_end else _parts_words(line[place + 1])
            if followed and (line[place] == 0x2E or line[place] == 0x3F or line[place] == 0x21):
                mark = place
        at = token_end
        if mark >= 0:
            follows = next_at if mark + 1 == token_end else mark + 1
            if _breaks(line, size, token_at, mark, follows, classes):
                breaks += 1
                last_break = follows
    rest = last_break
    while rest < size and (_is_closer(line[rest]) or line[rest] == 0x20):
        rest += 1
    return breaks + (rest < size or breaks == 0)


@njit(cache=True, nogil=True)
def _breaks(
    line: NDArray[np.uint8], size: int, token_at: int, mark: int, follows: int, classes: NDArray[np.uint8]
) -> bool:
    """Whether a sentence ends at a mark in a token, when the next token begins at `follows`."""
    for place in range(token_at, mark + 1):
        if line[place] == 0x3F or line[place] == 0x21:
            return True
    word_at = mark
    while word_at > token_at and not _parts_words(line[word_at - 1]):
        word_at -= 1
    code, _ = decode(line, follows, size)
    upper, lower = (classes[code] & UPPER) != 0, (classes[code] & LOWER) != 0
    next_end = follows
    while next_end < size and line[next_end] > 0x20 and line[next_end] != 0x2C and not _parts_words(line[next_end]):
        next_end += 1
    starter = upper and _listed(_STARTERS, line, follows, next_end)
    if word_at == mark:
        return True
    if line[mark - 1] == 0x2E:  # an ellipsis
        return bool(starter)
    part_at = word_at
    for place in range(word_at, mark):
        if line[place] == 0x2D:
            part_at = place + 1
    while word_at < mark and (line[word_at] == 0x60 or line[word_at] == 0x23 or line[word_at] == 0x26):
        word_at += 1
    if _listed(_ABBREVIATIONS, line, word_at, mark) or (
        part_at < mark and _listed(_ABBREVIATIONS, line, part_at, mark)
    ):
        return bool(starter)
    number = True
    for place in range(word_at, mark):
        byte = line[place]
        number &= 0x30 <= byte <= 0x39 or byte == 0x2C or byte == 0x2E or byte == 0x2D
    if number:
        return not lower
    code, width = decode(line, word_at, size)
    if word_at + width == mark and classes[code] & (UPPER | LOWER):  # an initial
        return not lower and (starter or not upper)
    return True


@njit(cache=True, nogil=True)
def _is_mark(byte: int) -> bool:
    """Whether spaCy takes this byte off a word's ends: ASCII punctuation but / @ \\ ^ | ~ + - = and the full stop."""
    if byte <= 0x2A:
        return bool(byte >= 0x21 and byte != 0x24 and byte != 0x25)
    if byte <= 0x3F:
        return bool(byte == 0x2C or (byte >= 0x3A and byte != 0x3D))
    return bool(byte == 0x5B or byte == 0x5D or byte == 0x5F or byte == 0x60 or byte == 0x7B or byte == 0x7D)


@njit(cache=True, nogil=True)
def _mark_width(line: NDArray[np.uint8], at: int, size: int) -> int:
    """Return the width of what spaCy takes off a word's ends, 0 if it is something else."""
    if _is_mark(line[at]) or line[at] == 0x2E:
        return 1
    # typographic quotes, dashes, ellipsis
    return 3 if at + 2 < size and line[at] == 0xE2 and line[at + 1] == 0x80 else 0


@njit(cache=True, nogil=True)
def _sentences_by_marks(line: NDArray[np.uint8], begin: int, size: int, classes: NDArray[np.uint8]) -> int:
    """Count sentences as spaCy's sentencizer does: one begins at a word after a token that is . ? or !"""
    sentences, at = 1, begin
    while at < size:
        at = _next_mark(line, at, size)
        if at == size:
            break
        byte = line[at]
        start, end = _token(line, at, begin, size, classes)
        while start < at and _mark_width(line, start, size):
            start += _mark_width(line, start, size)
        alone = True
        if start < at:  # in the middle or at the end of a word: only marks may follow
            rest = at + 1
            while rest < end and _mark_width(line, rest, size):
                rest += _mark_width(line, rest, size)
            alone = rest == end
            if alone and byte == 0x2E:
                alone = line[at - 1] != 0x2E and _splits_stop(line, start, at, classes)
        if byte == 0x2E and at + 1 < end and line[at + 1] == 0x2E:
            alone = False  # an ellipsis is no end
            while at + 1 < end and line[at + 1] == 0x2E:
                at += 1
        at += 1
        if not alone:
            continue
        while at < size:
            width = _mark_width(line, at, size)
            if not width:
                if not _is_space(line, at, size, classes):
                    break
                width = decode(line, at, size)[1]
            at += width
        sentences += at < size
    return sentences


@njit(cache=True, nogil=True)
def _splits_stop(line: NDArray[np.uint8], start: int, end: int, classes: NDArray[np.uint8]) -> bool:
    """Whether spaCy parts the full stop at `end` from the word before it."""
    if _listed(_UNSPLIT, line, start, end):
        return False
    last_at = end - 1
    while last_at > start and line[last_at] & 0xC0 == 0x80:
        last_at -= 1
    code, _ = decode(line, last_at, end)
    if not classes[code] & UPPER:
        return True
    if last_at == start:
        return False
    before = last_at - 1
    while before > start and line[before] & 0xC0 == 0x80:
        before -= 1
    code, _ = decode(line, before, end)
    return bool(classes[code] & UPPER)
