"""Count sentences in lines: as NLTK's Punkt ends them, or as spaCy's sentencizer begins them.

Marks are looked for 64 bytes at once. Punkt's trained model is not here: a short list of abbreviations and one of words
that begin sentences stand in its place. Time is linear in the text; there is no scratch.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from redpajama_pipe.text.blocks import BLOCK, first_one, within
from redpajama_pipe.text.decode import character_before, decode
from redpajama_pipe.text.lean import inner
from redpajama_pipe.text.lines import line_end
from redpajama_pipe.text.span_hash import LOW_BYTES
from redpajama_pipe.text.unaligned import load_little64

# The flags of text.classes; a test compares them.
SPACE, UPPER, LOWER = 1, 16, 32

# What a byte is: Punkt ends a word at one of [?!)";}\]*:@'({\[] and passes over closing marks after a sentence;
# spaCy takes ASCII punctuation but / @ \ ^ | ~ + - = off a word's ends, and the full stop by other rules.
_PARTS, _CLOSES, _MARK, _ENDS = 1, 2, 4, 8
_KINDS = np.zeros(256, np.uint8)
for _kind, _characters in (
    (_PARTS, b"?!)\";}]*:@'({["),
    (_CLOSES, b"\"')]}"),
    (_MARK, b"!\"#&'()*,.:;<>?[]_`{}"),
    (_ENDS, b".?!"),
):
    for _character in _characters:
        _KINDS[_character] |= _kind

_BLOCK, _TWO = np.uint64(BLOCK), np.uint64(2)
# Eight bytes at once: added to seven bits, the second and third carry from A and from what follows Z.
_HIGH_BITS, _FROM_UPPER, _AFTER_UPPER = (np.uint64(byte * 0x0101010101010101) for byte in (0x80, 0x3F, 0x25))
PADDING = BLOCK  # so much may be read after a text


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
def by_punkt(
    text: NDArray[np.uint8], offsets: NDArray[np.int64], classes: NDArray[np.uint8], counts: NDArray[np.int64]
) -> None:
    """Count the sentences that begin within a line, after its first: a line has one more, an empty one too.

    Args:
        text: texts end to end, then PADDING bytes.
        offsets: (texts + 1,) where each begins.
        classes: the flags of every code point, text.classes.classes().
        counts: (texts,) the sum over the pieces between newlines is added. A sentence ends at . ? or ! before white
            space or a closing mark, but not after an abbreviation or initial unless a word follows that usually begins
            a sentence.
    """
    for index in range(len(counts)):
        at, end = offsets[index], offsets[index + 1]
        while at < end:
            stop = line_end(text, at, end)
            counts[index] += _breaks_by_punkt(text, at, stop, classes)
            at = stop + 1


@njit(cache=True, nogil=True)
def by_marks(
    text: NDArray[np.uint8], offsets: NDArray[np.int64], classes: NDArray[np.uint8], counts: NDArray[np.int64]
) -> None:
    """Count like `by_punkt`, but as spaCy: a sentence begins at a word after a token that is . ? or !"""
    for index in range(len(counts)):
        at, end = offsets[index], offsets[index + 1]
        while at < end:
            stop = line_end(text, at, end)
            counts[index] += _breaks_by_marks(text, at, stop, classes)
            at = stop + 1


@inner
def _next_mark(line: NDArray[np.uint8], at: int, end: int) -> Any:
    """Return where the next . ? or ! stands, or the end."""
    place: Any = np.uint64(at)
    last: Any = np.uint64(end)
    while place < last:
        bits = within(line, place, 0x2E, 0x2E) | within(line, place, 0x3F, 0x3F) | within(line, place, 0x21, 0x21)
        if bits:
            return min(np.int64(place) + first_one(bits), end)
        place += _BLOCK
    return end


@inner
def _token(line: NDArray[np.uint8], at: int, begin: int, size: int, classes: NDArray[np.uint8]) -> tuple[int, int]:
    """Return where the piece of line[begin:size] without white space around `at` begins and ends."""
    start = at
    while start > begin:
        before = character_before(line, start, begin)
        if classes[decode(line, before, size)[0]] & SPACE:
            break
        start = before
    end = at
    while end < size:
        code, width = decode(line, end, size)
        if classes[code] & SPACE:
            break
        end += width
    return start, end


@inner
def _breaks_by_punkt(line: NDArray[np.uint8], start: int, size: int, classes: NDArray[np.uint8]) -> int:
    """Count the sentences of a line after its first; one that holds nothing but closing marks is none."""
    breaks = 0
    last_break = at = start
    while at < size:
        at = _next_mark(line, at, size)
        if at == size:
            break
        token_at, token_end = _token(line, at, start, size, classes)
        next_at = token_end
        while next_at < size:
            code, width = decode(line, next_at, size)
            if not classes[code] & SPACE:
                break
            next_at += width
        mark: Any = np.int64(-1)  # the last one in the token that something follows
        for place in range(at, token_end):
            followed = next_at < size if place + 1 == token_end else (_KINDS[line[place + 1]] & _PARTS) != 0
            if followed and _KINDS[line[place]] & _ENDS:
                mark = place
        at = token_end
        if mark >= 0:
            follows = next_at if mark + 1 == token_end else mark + 1
            if _breaks(line, size, token_at, mark, follows, classes):
                breaks += 1
                last_break = follows
    rest = last_break
    while rest < size and (_KINDS[line[rest]] & _CLOSES or line[rest] == 0x20):
        rest += 1
    return breaks - (breaks > 0 and rest == size)


@inner
def _breaks(
    line: NDArray[np.uint8], size: int, token_at: int, mark: int, follows: int, classes: NDArray[np.uint8]
) -> bool:
    """Whether a sentence ends at a mark in a token, when the next token begins at `follows`."""
    for place in range(token_at, mark + 1):
        if line[place] == 0x3F or line[place] == 0x21:
            return True
    word_at = mark
    while word_at > token_at and not _KINDS[line[word_at - 1]] & _PARTS:
        word_at -= 1
    code, _ = decode(line, follows, size)
    upper, lower = (classes[code] & UPPER) != 0, (classes[code] & LOWER) != 0
    next_end = follows
    while next_end < size and line[next_end] > 0x20 and line[next_end] != 0x2C and not _KINDS[line[next_end]] & _PARTS:
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


@inner
def _breaks_by_marks(line: NDArray[np.uint8], begin: int, size: int, classes: NDArray[np.uint8]) -> int:
    """Count the sentences of a line after its first."""
    sentences, at = 0, begin
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
                code, width = decode(line, at, size)
                if not classes[code] & SPACE:
                    break
            at += width
        sentences += at < size
    return sentences


@inner
def _splits_stop(line: NDArray[np.uint8], start: int, end: int, classes: NDArray[np.uint8]) -> bool:
    """Whether spaCy parts the full stop at `end` from the word before it."""
    if _listed(_UNSPLIT, line, start, end):
        return False
    last_at = character_before(line, end, start)
    code, _ = decode(line, last_at, end)
    if not classes[code] & UPPER:
        return True
    if last_at == start:
        return False
    before = character_before(line, last_at, start)
    code, _ = decode(line, before, end)
    return bool(classes[code] & UPPER)


@inner
def _mark_width(line: NDArray[np.uint8], at: int, size: int) -> int:
    """Return the width of what spaCy takes off a word's ends, 0 if it is something else."""
    if _KINDS[line[at]] & _MARK:
        return 1
    # typographic quotes, dashes, ellipsis
    return 3 if at + 2 < size and line[at] == 0xE2 and line[at + 1] == 0x80 else 0


@inner
def _listed(words: NDArray[np.uint64], line: NDArray[np.uint8], start: int, end: int) -> bool:
    """Whether a list has the first eight bytes of a word, in lower case."""
    packed = load_little64(line, start) & LOW_BYTES[min(end - start, 8)]
    low = packed & ~_HIGH_BITS
    packed |= (low + _FROM_UPPER & ~(low + _AFTER_UPPER) & ~packed & _HIGH_BITS) >> _TWO
    first, last = 0, len(words)
    while first < last:
        middle = (first + last) // 2
        if words[middle] < packed:
            first = middle + 1
        else:
            last = middle
    return bool(first < len(words) and words[first] == packed)
