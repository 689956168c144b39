"""Part text into tokens as spaCy does for datatrove's Gopher filters, and count them, words and lines.

A word of letters between white space is one token; anything else is parted by spaCy's rules for English without its
list of exceptions. Two bits a byte say where tokens begin and end. Time is linear in the text.

Everything compiled is in this file and in text/, whose changes Numba's cache does not see.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from redpajama_pipe.text.blocks import first_one, ones
from redpajama_pipe.text.decode import character_before, decode
from redpajama_pipe.text.lean import lean, lean_entry
from redpajama_pipe.text.packed import find_slot, load_packed, set_bit
from redpajama_pipe.text.span_hash import LOW_BYTES, OTHER_MULTIPLIER

# The columns of what `count_tokens` returns, in order.
TALLIES = (
    "tokens",
    "words",
    "word_chars",
    "alphabetic_tokens",
    "stop_words",
    "lines",
    "bullet_lines",
    "ellipsis_lines",
)
_TOKENS, _WORDS, _WORD_CHARS, _ALPHABETIC, _STOP_WORDS, _LINES, _BULLETS, _ELLIPSIS_LINES = range(8)

# Flags of characters; datatrove.flags() makes the table and a test compares them. Both EDGE and CURRENCY: an icon.
SPACE, LINE_BREAK, ALPHABETIC, PUNCTUATION, EDGE, CURRENCY, UPPER, ALPHANUMERIC = 1, 2, 4, 8, 16, 32, 64, 128
_ICON = EDGE | CURRENCY

_NONE, _ONE = np.uint64(0), np.uint64(1)
# The same in each of eight bytes.
_LOWS, _CASES = np.uint64(0x0101010101010101 * 0x7F), np.uint64(0x0101010101010101 * 0x20)
_FROM_A, _PAST_Z = np.uint64(0x0101010101010101 * (0x80 - 0x61)), np.uint64(0x0101010101010101 * (0x80 - 0x7B))

# For what takes a number: Numba would compile it for each number that is written there.
_AT_0: Any = np.int64(0)
_AT_1: Any = np.int64(1)


def _words(words: str, slots: int) -> NDArray[np.uint64]:
    """Make a table, as _find takes it, of words of at most eight bytes, packed."""
    table = np.zeros(slots, np.uint64)
    for word in words.split():
        packed = int.from_bytes(word.encode(), "little")
        slot = packed * int(OTHER_MULTIPLIER) % (1 << 64) >> 32
        while table[slot % slots]:
            slot += 1
        table[slot % slots] = packed
    return table


_STOP_LIST = _words("the be to of and that have with", 64)
# spaCy's units, which it parts from a number; and words that keep their full stop.
_UNITS = _words("km m dm cm mm ha nm yd in ft kg g mg t lb oz kmh mph hPa Pa mbar mb MB kb KB gb GB tb TB T G M K", 512)
_UNSPLIT = _words(
    "a b c d e f g h i j k l m n o p q r s t u v w x y z ä ö ü Ak Co Dr Ga Ia Id Jr Ky La Md Mo Mr Ms Mt Pa St Va co "
    "vs Adm Ala Apr Ark Aug D.C Dec Del E.G E.g Feb Fla Gen Gov I.E I.e Ill Inc Ind Jan Jul Jun Kan Ltd Mar Mrs N.C "
    "N.D N.H N.J N.M N.Y Neb Nev Nov Oct Ore Rep Rev S.C Sen Sep Wis a.m e.g i.e p.m v.s Ariz Bros Colo Conn Corp Kans "
    "Mass Mich Minn Miss Mont Nebr Okla Ph.D Prof Sept Tenn Wash Calif Messrs",
    512,
)


def count_tokens(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    valid: NDArray[np.bool_],
    flags: NDArray[np.uint8],
    longest: int,
) -> tuple[NDArray[np.int64], NDArray[np.uint64], NDArray[np.uint64]]:
    """Count for every document, and find where tokens are.

    Args:
        data: the documents' UTF-8, end to end; eight bytes or more.
        offsets: (documents + 1,) where each begins, the first at 0.
        valid: (documents,) False: leave zeros.
        flags: of every code point, datatrove.flags().
        longest: bytes of the longest document.

    Returns:
        (documents, TALLIES); a bitmap of the first byte of each token, and one of the last.
    """
    counts = np.zeros((len(valid), len(TALLIES)), np.int64)
    starts, lasts = np.zeros((2, offsets[-1] // 64 + 2), np.uint64)
    _tokens(data, offsets, valid, flags, starts, lasts, np.empty(longest + 2, np.int64), counts)
    return counts, starts, lasts


@lean_entry
def _tokens(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    valid: NDArray[np.bool_],
    flags: NDArray[np.uint8],
    starts: NDArray[np.uint64],
    lasts: NDArray[np.uint64],
    bounds: NDArray[np.int64],
    counts: NDArray[np.int64],
) -> None:
    """Fill the columns up to `ellipsis_lines`; set the bits of the first and the last byte of each token."""
    for document in range(len(valid)):
        if not valid[document]:
            continue
        count = counts[document]
        start, end = offsets[document], offsets[document + 1]
        tokens = words = word_chars = alphabetic_tokens = 0
        stop_words = _NONE
        first, last_at = -1, start  # of the line: where its first piece begins and its last piece ends
        line_at = at = start
        while at < end:
            piece = at
            word = load_packed(data, at, min(8, end - at))
            size = first_one(~_letters(word) & ~_LOWS) >> 3
            at += size
            while size == 8:
                size = first_one(~_letters(load_packed(data, at, min(8, end - at))) & ~_LOWS) >> 3
                at += size
            letters = at
            parts = 0
            if at < end and not flags[data[at] & 0x7F] & SPACE:
                if at > piece and _ends_piece(data, piece, at, end):
                    set_bit(starts, at)
                    set_bit(lasts, at)
                    tokens += 1
                    at += 1
                else:
                    while at < end:
                        code, width = decode(data, at, end)
                        if flags[code] & SPACE:
                            break
                        at += width
                    if at > letters:
                        bounds[0], bounds[1] = piece, at
                        parts = _part(data, piece, at, flags, bounds)
            if at > piece:
                if first < 0:
                    first = piece
                last_at = at
                if not parts:
                    set_bit(starts, piece)
                    set_bit(lasts, letters - 1)
                    tokens += 1
                    words += 1
                    alphabetic_tokens += 1
                    word_chars += letters - piece
                    if letters - piece <= 4:
                        stop_words |= _listed(_STOP_LIST, word & LOW_BYTES[letters - piece])
                for part in range(parts):
                    place, token_end = bounds[part], bounds[part + 1]
                    set_bit(starts, place)
                    set_bit(lasts, token_end - 1)
                    chars = 0
                    alphabetic = other = False
                    if token_end - place <= 4 and data[token_end - 1]:
                        stop_words |= _listed(_STOP_LIST, load_packed(data, place, token_end - place))
                    while place < token_end:
                        code = np.int64(data[place])
                        width = 1
                        if code >= 0x80:
                            code, width = decode(data, place, token_end)
                        kind = flags[code]
                        alphabetic |= (kind & ALPHABETIC) != 0
                        other |= not kind & PUNCTUATION
                        chars += 1
                        place += width
                    tokens += 1
                    alphabetic_tokens += alphabetic
                    words += other
                    word_chars += chars if other else 0
            if at < end and data[at] == 0x20:
                at += 1
                continue
            if at < end:
                code, width = decode(data, at, end)
                at += width
                if flags[code] & LINE_BREAK:
                    if code == 0x0D and at < end and data[at] == 0x0A:
                        at += 1
                    _end_line(data, start, last_at, first, count)
                    line_at, first = at, -1
        if line_at < end:
            _end_line(data, start, last_at, first, count)
        count[_TOKENS], count[_WORDS], count[_WORD_CHARS], count[_ALPHABETIC] = (
            tokens,
            words,
            word_chars,
            alphabetic_tokens,
        )
        count[_STOP_WORDS] = ones(stop_words)


@lean
def _letters(word: np.uint64) -> np.uint64:
    """Return the top bit of each of eight bytes that is a letter of ASCII."""
    low = (word | _CASES) & _LOWS  # as if all were lower-case ASCII
    return (low + _FROM_A) & ~(low + _PAST_Z) & ~word & ~_LOWS  # adding carries into the top bit of a byte


@lean
def _listed(words: NDArray[np.uint64], packed: np.uint64) -> np.uint64:
    """Return one bit, of its slot, where _words lists a word, packed; else 0."""
    slot = find_slot(words, len(words) - 1, _AT_1, packed)
    return _ONE << np.uint64(slot & 63) if words[slot] else _NONE


@lean
def _packs(words: NDArray[np.uint64], data: NDArray[np.uint8], start: int, end: int) -> bool:
    """Whether _words lists these bytes."""
    if end - start > 8:
        return False
    packed = _NONE
    for at in range(start, end):
        packed |= np.uint64(data[at]) << np.uint64(8 * (at - start))
    return bool(packed and _listed(words, packed))


@lean
def _ends_piece(data: NDArray[np.uint8], start: int, at: int, end: int) -> bool:
    """Whether a word of letters is followed by one mark and white space, so that no rule needs to be asked."""
    if at + 1 < end and data[at + 1] != 0x20 and data[at + 1] != 0x0A:
        return False
    byte = data[at]
    if byte == 0x2E:  # no abbreviation is so long
        return bool(at - start > 6 and data[at - 1] >= 0x61)
    return bool(byte == 0x2C or byte == 0x3A or byte == 0x3B or byte == 0x21 or byte == 0x3F or byte == 0x29)


@lean
def _end_line(data: NDArray[np.uint8], start: int, last_at: int, first: int, count: NDArray[np.int64]) -> None:
    count[_LINES] += 1
    if first < 0:
        return
    bullet = first + 2 < last_at and data[first] == 0xE2 and data[first + 1] == 0x80 and data[first + 2] == 0xA2
    count[_BULLETS] += bullet or data[first] == 0x2D
    if last_at - start >= 3:
        third, second, last = data[last_at - 3], data[last_at - 2], data[last_at - 1]
        dots = third == 0x2E and second == 0x2E and last == 0x2E
        count[_ELLIPSIS_LINES] += dots or (third == 0xE2 and second == 0x80 and last == 0xA6)


@lean
def _edge(data: NDArray[np.uint8], start: int, end: int, flags: NDArray[np.uint8]) -> int:
    """Return the width of the token that spaCy takes off the front of a piece, or 0."""
    code, width = decode(data, start, end)
    if code == 0x2E:
        dots = start
        while dots < end and data[dots] == 0x2E:
            dots += 1
        return dots - start if dots - start > 1 else 0
    if flags[code] & (EDGE | CURRENCY) or code == 0x25 or code == 0x3D or code == 0xA7:
        return width
    return 1 if code == 0x2B and not (start + 1 < end and 0x30 <= data[start + 1] <= 0x39) else 0


@lean
def _suffix(data: NDArray[np.uint8], start: int, end: int, flags: NDArray[np.uint8]) -> int:
    """Return the width of the token that spaCy takes off the back of a piece, or 0."""
    last_at = character_before(data, end, start)
    code, width = decode(data, last_at, end)
    if code == 0x2E:
        dots = end
        while dots > start and data[dots - 1] == 0x2E:
            dots -= 1
        if end - dots > 1:
            return end - dots
        if last_at == start or _packs(_UNSPLIT, data, start, last_at):
            return 0
        before_at = character_before(data, last_at, start)
        before, _ = decode(data, before_at, end)
        if flags[before] & UPPER:
            if before_at == start:
                return 0
            other, _ = decode(data, character_before(data, before_at, start), end)
            degrees = other == 0xB0 and (before == 0x43 or before == 0x46 or before == 0x4B)
            return 1 if degrees or flags[other] & UPPER else 0
        parted = flags[before] & _ICON == EDGE or flags[before] & ALPHABETIC or 0x30 <= before <= 0x39
        return 1 if parted or before == 0x25 or before == 0x2B or before == 0x2D or before == 0xB2 else 0
    if flags[code] & EDGE:
        return width
    if last_at == start:
        return 0
    before_at = character_before(data, last_at, start)
    before, _ = decode(data, before_at, end)
    if (code == 0x73 or code == 0x53) and (before == 0x27 or before == 0x2019):
        return end - before_at
    if 0x30 <= before <= 0x39 and (code == 0x2B or code == 0x25 or flags[code] & CURRENCY):
        return width
    if code < 0x80 and flags[code] & ALPHABETIC:
        unit = end
        while unit > start and 0x61 <= (data[unit - 1] | 0x20) <= 0x7A:
            unit -= 1
        if unit > start and 0x30 <= data[unit - 1] <= 0x39 and _packs(_UNITS, data, unit, end):
            return end - unit
    return 0


@lean_entry
def _part(data: NDArray[np.uint8], start: int, end: int, flags: NDArray[np.uint8], bounds: NDArray[np.int64]) -> int:
    """Part a piece between white space into tokens as spaCy's rules for English do.

    Args:
        data: holds the piece.
        start: of the piece.
        end: of the piece.
        flags: of every code point.
        bounds: out: where each token begins; then the end.

    Returns:
        How many tokens there are.
    """
    parts = 0
    while start < end:
        width = _edge(data, start, end, flags)
        if not width:
            break
        bounds[parts] = start
        parts += 1
        start += width
    tail = end
    while tail > start:
        width = _suffix(data, start, tail, flags)
        if not width or (width == tail - start and width < 2):
            break
        tail -= width
    # Contractions: n't, and what follows the last apostrophe.
    middle = tail
    if tail - start > 3 and data[tail - 1] == 0x74 and data[tail - 2] == 0x27 and data[tail - 3] == 0x6E:
        middle = tail - 3
    elif (
        tail - start > 5
        and data[tail - 1] == 0x74
        and data[tail - 4] == 0xE2
        and data[tail - 3] == 0x80
        and data[tail - 5] == 0x6E
    ):
        middle = tail - 5
    else:
        letters = tail
        while letters > start and tail - letters < 3 and 0x61 <= data[letters - 1] <= 0x7A:
            letters -= 1
        short = _contracts(data, letters, tail)
        if short and letters - 1 > start and data[letters - 1] == 0x27:
            middle = letters - 1
        elif (
            short
            and letters - 3 > start
            and data[letters - 3] == 0xE2
            and data[letters - 2] == 0x80
            and data[letters - 1] == 0x99
        ):
            middle = letters - 3
    whole = middle > start and data[middle - 1] == 0x2E and _packs(_UNSPLIT, data, start, middle - 1)
    if not whole and not _is_address(data, start, middle, flags):
        first = at = start
        before = _AT_0
        while at < middle:
            code, width = decode(data, at, middle)
            size = _infix(data, at, middle, flags, before, int(code), width) if at > first else 0
            if size:
                if start < at:
                    bounds[parts] = start
                    parts += 1
                bounds[parts] = at
                parts += 1
                at += size
                start = at
                before = _AT_0
            else:
                before = int(code)
                at += width
    if start < middle:
        bounds[parts] = start
        parts += 1
    if middle < tail:
        bounds[parts] = middle
        parts += 1
    while tail < end:
        code, width = decode(data, tail, end)
        if code == 0x2E:
            while tail + width < end and data[tail + width] == 0x2E:
                width += 1
        elif (code == 0x27 or code == 0x2019) and tail + width < end and (data[tail + width] | 0x20) == 0x73:
            width += 1
        elif flags[code] & ALPHABETIC:
            while tail + width < end and 0x61 <= (data[tail + width] | 0x20) <= 0x7A:
                width += 1
        bounds[parts] = tail
        parts += 1
        tail += width
    bounds[parts] = end
    return parts


@lean
def _contracts(data: NDArray[np.uint8], start: int, end: int) -> bool:
    """Whether these letters stand after the apostrophe of a contraction: ll re ve d m."""
    if end - start == 1:
        return bool(data[start] == 0x64 or data[start] == 0x6D)
    if end - start != 2:
        return False
    first, second = data[start], data[start + 1]
    return bool((first == 0x6C and second == 0x6C) or ((first == 0x72 or first == 0x76) and second == 0x65))


@lean
def _is_address(data: NDArray[np.uint8], start: int, end: int, flags: NDArray[np.uint8]) -> bool:
    """Whether spaCy takes a piece for a URL or host name, which it never parts."""
    dot = -1
    for at in range(start, end):
        byte = data[at]
        if byte == 0x3A and at + 2 < end and data[at + 1] == 0x2F and data[at + 2] == 0x2F:
            return True
        if byte == 0x2F or byte == 0x3A or byte == 0x3F or byte == 0x23:
            end = at
            break
        if byte == 0x2E:
            dot = at
        elif byte < 0x80 and byte != 0x2D and byte != 0x40 and byte != 0x5F and not flags[byte] & ALPHANUMERIC:
            return False
    if dot <= start or end - dot < 3 or data[dot - 1] == 0x2E:
        return False
    letters = True
    for at in range(dot + 1, end):
        letters &= 0x61 <= data[at] <= 0x7A  # foo.Bar is parted
    return letters


@lean
def _infix(
    data: NDArray[np.uint8], at: int, end: int, flags: NDArray[np.uint8], before: int, code: int, width: int
) -> int:
    """Return the width of a token that parts a word at `at`, or 0."""
    if flags[code] & ALPHANUMERIC:
        return 0
    if code == 0x2026 or flags[code] & _ICON == _ICON:
        return width
    dots = at
    while dots < end and data[dots] == 0x2E:
        dots += 1
    if dots - at > 1:
        return dots - at
    if at + width >= end:
        return 0
    after, _ = decode(data, at + width, end)
    kind, next_kind = flags[before], flags[after]
    if code == 0x2D or code == 0x2013 or code == 0x2014 or code == 0x7E:
        if not kind & ALPHANUMERIC:
            return 0
        if code == 0x2D and 0x30 <= before <= 0x39 and 0x30 <= after <= 0x39:
            return 1
        wide = at + width
        while code == 0x2D and wide < end and wide - at < 3 and data[wide] == 0x2D:
            wide += 1
        return wide - at if wide < end and flags[decode(data, wide, end)[0]] & ALPHABETIC else 0
    if code == 0x2C:
        return 1 if kind & ALPHABETIC and next_kind & ALPHABETIC else 0
    if code == 0x3A or code == 0x3C or code == 0x3E or code == 0x3D or code == 0x2F:
        return 1 if kind & ALPHANUMERIC and next_kind & ALPHABETIC else 0
    if code == 0x2B or code == 0x2A or code == 0x5E:
        return 1 if 0x30 <= before <= 0x39 and (0x30 <= after <= 0x39 or after == 0x2D) else 0
    if code == 0x2E:
        return 1 if kind & ALPHABETIC and not kind & UPPER and next_kind & UPPER else 0
    return 0
