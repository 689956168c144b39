"""Count sentences in lines: as NLTK's Punkt ends them, or as spaCy's sentencizer begins them.

Marks are looked for 64 bytes at once. Punkt's rules are those of NLTK up to 3.9; its trained model is not here: a short
list of abbreviations and one of words that begin sentences stand in its place. Time is linear in the text; there is no
scratch.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from redpajama_pipe.text.blocks import BLOCK, first_one, within
from redpajama_pipe.text.decode import character_before, decode
from redpajama_pipe.text.lean import lean
from redpajama_pipe.text.lines import line_end
from redpajama_pipe.text.packed import has_bit, next_bit
from redpajama_pipe.text.span_hash import LOW_BYTES
from redpajama_pipe.text.unaligned import load_little64

# The flags of text.classes; a test compares them.
SPACE, UPPER, LOWER = 1, 16, 32
# Kinds of characters to spaCy: of the Unicode categories P, and those of them that end a sentence.
PUNCTUATION, ENDS = 1, 2

# What a byte is to Punkt: it ends a word at one of [?!)";}\]*:@'({\[], passes over closing marks after a sentence,
# begins no sentence at what stops one, and no word at what stands before it.
_PARTS, _CLOSES, _ENDS, _STOPS, _BEFORE = 1, 2, 4, 8, 16
_KINDS = np.zeros(256, np.uint8)
for _kind, _characters in (
    (_PARTS, b"?!)\";}]*:@'({["),
    (_CLOSES, b"\"')]}"),
    (_ENDS, b".?!"),
    (_STOPS, b";:,.!?"),
    (_BEFORE, b"`#&-,"),
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
    "mr mrs ms messrs dr prof gen col maj lt adm sen rep reps st jr sr inc ltd corp co cos bros cie ave ft mg vs v jan "
    "feb aug sep sept oct nov dec tues wed fri ala ariz calif colo conn fla ga ill kan ky mich minn nev okla ore pa "
    "tenn va vt wash wis ph.d a.m p.m a.d u.s u.k u.n u.s.a u.s.s.r d.c l.a n.y n.j n.c n.h n.d n.m s.c w.va j.p j.r c "
    "d e f g h k l m n p r s t w yr"
)
_STARTERS = _packed(
    "according although among both but despite even he however i if in indeed instead it many meanwhile moreover most "
    "nevertheless previously similarly since so some still the there these they this though thus under when while yet "
    "your her"
)
# After an initial, where it is a word that is also written small: these and those above.
_SMALL = np.union1d(
    _STARTERS,
    _packed(
        "no now one other others rather several she that their then those until we you a an and as at after before for "
        "from his its my our on what who why how where with not all"
    ),
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
    text: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    starts: NDArray[np.uint64],
    lasts: NDArray[np.uint64],
    kinds: NDArray[np.uint8],
    ended: NDArray[np.bool_],
    counts: NDArray[np.int64],
) -> None:
    """Count like `by_punkt`, but as spaCy: a sentence begins at a token that is no punctuation, after one that ends it.

    Args:
        text: parts of texts end to end, then PADDING bytes; a text may end between words and go on in the next call.
        offsets: (texts + 1,) where each begins.
        starts: a bitmap of the first byte of each token.
        lasts: a bitmap of the last byte of each token.
        kinds: PUNCTUATION and ENDS of every code point.
        ended: (1,) whether the last text ended with a token that ends a sentence, and a space: for the next call.
        counts: (texts,) the sum is added.
    """
    after = ended[0]
    for index in range(len(counts)):
        at, end = offsets[index], offsets[index + 1]
        sentences = 0
        while at < end:
            if not after:
                at = _next_mark(text, at, end, True)
                if at == end:
                    break
                code, width = decode(text, at, end)
                if not kinds[code] & ENDS or not has_bit(starts, at) or not has_bit(lasts, at + width - 1):
                    at += width
                    continue
                at += width
            # Over punctuation to the token that begins a sentence; more white space than one space is a token too.
            spaces: Any = np.int64(after)
            after = True
            while at < end and after:
                if has_bit(starts, at):
                    marks = True
                    place: Any = at
                    last = next_bit(lasts, at)
                    while place <= last:
                        code, width = decode(text, place, end)
                        marks &= (kinds[code] & PUNCTUATION) != 0
                        place += width
                    if marks:
                        at = place
                        spaces = 0
                        continue
                    sentences += 1
                    after = False
                elif text[at] == 0x0A:
                    after = False
                elif text[at] != 0x20 or spaces:
                    sentences += 1
                    after = False
                at += 1
                spaces += 1
        counts[index] += sentences
        if index + 1 < len(counts):
            after = False
    ended[0] = after


@lean
def _next_mark(line: NDArray[np.uint8], at: int, end: int, others: bool) -> Any:
    """Return where the next . ? or ! stands, or what is not ASCII if there are `others`, or the end."""
    place: Any = np.uint64(at)
    last: Any = np.uint64(end)
    while place < last:
        bits = within(line, place, 0x2E, 0x2E) | within(line, place, 0x3F, 0x3F) | within(line, place, 0x21, 0x21)
        if others:
            bits |= within(line, place, 0xC2, 0xFF)
        if bits:
            return min(np.int64(place) + first_one(bits), end)
        place += _BLOCK
    return end


@lean
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


@lean
def _breaks_by_punkt(line: NDArray[np.uint8], start: int, size: int, classes: NDArray[np.uint8]) -> int:
    """Count the sentences of a line after its first; one that holds nothing but closing marks is none."""
    breaks = 0
    last_break = at = start
    while at < size:
        at = _next_mark(line, at, size, False)
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
        if mark < 0:
            continue
        follows = next_at if mark + 1 == token_end else mark + 1
        found = _breaks(line, size, token_at, mark, follows, classes) or _ends_within(
            line, size, token_at, mark + 1, classes
        )
        if not found and follows == next_at:  # Punkt asks whether one ends before the next token does, in either
            _, next_end = _token(line, next_at, next_at, size, classes)
            found = _ends_within(line, size, next_at, next_end, classes)
        if found:
            breaks += 1
            last_break = follows
    rest = last_break
    while rest < size and _KINDS[line[rest]] & _CLOSES:
        rest += 1
    return breaks - (breaks > 0 and rest == size)


@lean
def _breaks(
    line: NDArray[np.uint8], size: int, token_at: int, mark: int, follows: int, classes: NDArray[np.uint8]
) -> bool:
    """Whether a sentence ends at a mark in a token, when the next token begins at `follows`."""
    if line[mark] != 0x2E:
        return True
    word_at = mark
    while word_at > token_at and not _KINDS[line[word_at - 1]] & _PARTS:
        word_at -= 1
    if word_at > token_at and line[word_at - 1] == 0x27:  # it begins the word 's, and 'Mr
        word_at -= 1
    code, _ = decode(line, follows, size)
    upper = (classes[code] & UPPER) != 0
    goes_on = (classes[code] & LOWER) != 0 or (_KINDS[line[follows]] & _STOPS) != 0
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
    while word_at < mark and _KINDS[line[word_at]] & _BEFORE:
        word_at += 1
    code, width = decode(line, word_at, size)
    initial = word_at + width == mark and (classes[code] & (UPPER | LOWER)) != 0
    if _listed(_ABBREVIATIONS, line, word_at, mark) or (
        part_at < mark and _listed(_ABBREVIATIONS, line, part_at, mark)
    ):
        return bool(starter and not initial)
    number = True
    for place in range(word_at, mark):
        byte = line[place]
        number &= 0x30 <= byte <= 0x39 or byte == 0x2C or byte == 0x2E or byte == 0x2D
    if number:
        return not goes_on
    return not initial or (not goes_on and (not upper or _listed(_SMALL, line, follows, next_end)))


@lean
def _ends_within(line: NDArray[np.uint8], size: int, start: int, end: int, classes: NDArray[np.uint8]) -> bool:
    """Whether a sentence ends in a token of line[:size] before the token ends: the next of its words begins there."""
    for place in range(start, end - 1):
        byte = line[place + 1]
        if byte == 0x2C and (place + 2 == end or _KINDS[line[place + 2]] & _PARTS):
            byte = 0x3B  # a comma where a word ends parts as a semicolon does
        if (
            _KINDS[line[place]] & _ENDS
            and _KINDS[byte] & _PARTS
            and _breaks(line, size, start, place, place + 1, classes)
        ):
            return True
    return False


@lean
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
