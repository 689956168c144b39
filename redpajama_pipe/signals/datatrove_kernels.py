"""Count what datatrove's Gopher filters count: words as spaCy parts them, and repetition with datatrove's quirks.

A word of letters between white space is one token; anything else is parted by spaCy's rules for English without its
list of exceptions. Two bits a byte say where tokens begin and end; n-grams are read from there, a chunk of tokens at a
time, and have 64-bit keys. What repeats is found with one table of at most 64 MiB, in rounds where that is too small:
beside it and a chunk, memory is less than half a byte a byte of text. Time is linear in the text but for the rounds.

Everything compiled is in this file and in text/, whose changes Numba's cache does not see.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from redpajama_pipe.text.blocks import first_one, ones, power_of_two
from redpajama_pipe.text.decode import decode
from redpajama_pipe.text.lean import lean, lean_entry
from redpajama_pipe.text.unaligned import load_little64

# The columns of what `tally` returns, in order.
TALLIES = (
    "tokens",
    "words",
    "word_chars",
    "alphabetic_tokens",
    "stop_words",
    "lines",
    "bullet_lines",
    "ellipsis_lines",
    "chars",
    "hash_marks",
    "ellipses",
    "newlines",
    "breaks",
    "duplicate_breaks",
    "duplicate_break_chars",
    "paragraphs",
    "duplicate_paragraphs",
    "duplicate_paragraph_chars",
    *(f"top_{n}gram_chars" for n in (2, 3, 4)),
    *(f"duplicate_{n}gram_chars" for n in (5, 6, 7, 8, 9, 10)),
)
_TOKENS, _WORDS, _WORD_CHARS, _ALPHABETIC, _STOP_WORDS, _LINES, _BULLETS, _ELLIPSIS_LINES = range(8)
_CHARS, _HASH_MARKS, _ELLIPSES, _NEWLINES, _BREAKS, _PARAGRAPHS, _NGRAMS = 8, 9, 10, 11, 12, 15, 18
_LAST_TOP, _LAST_NGRAM = 4, 10

# Flags of characters; datatrove.flags() makes the table and a test compares them.
SPACE, LINE_BREAK, ALPHABETIC, PUNCTUATION, EDGE, CURRENCY, UPPER, ALPHANUMERIC = 1, 2, 4, 8, 16, 32, 64, 128

ROOM = 1 << 23  # words of the table for 128 MiB of text or less: 64 MiB
CHUNK = 1 << 19  # tokens that are read at a time: 16 MiB
_TAIL = 16  # bytes that are known of the text before a token's end, and tokens that a chunk has of the next one
_FULL = 5  # eighths of a table

_BASE = 0x9E3779B97F4A7C15
_POWERS = np.array([pow(_BASE, size, 1 << 64) for size in range(9)], np.uint64)
_INVERSES = np.array([pow(_BASE, -size, 1 << 64) for size in range(9)], np.uint64)
_UNITIES = np.array([sum(map(int, _POWERS[:size])) % (1 << 64) for size in range(9)], np.uint64)  # of so many bytes
_MASKS = np.array([(1 << 8 * size) - 1 for size in range(9)], np.uint64)
_MULTIPLIER = np.uint64(0xA0761D6478BD642F)
_OTHER_MULTIPLIER = np.uint64(0xE7037ED1A0B428DB)
_SEED = np.uint64(0x243F6A8885A308D3)
_NONE, _ONE, _FIVE, _SIX, _SEVEN = (np.uint64(number) for number in (0, 1, 5, 6, 7))
_HALF, _WORD, _BYTE, _BITS = np.uint64(32), np.uint64(64), np.uint64(0xFF), np.uint64(63)
_LOW_HALF, _TALLY = np.uint64((1 << 32) - 1), np.uint64(1 << 32)

# The same in each of eight bytes.
_EACH, _LOWS, _NEWLINE, _CASES = (np.uint64(0x0101010101010101 * byte) for byte in (1, 0x7F, 0x0A, 0x20))
_FROM_A, _PAST_Z = np.uint64(0x0101010101010101 * (0x80 - 0x61)), np.uint64(0x0101010101010101 * (0x80 - 0x7B))

# For what takes a number: Numba would compile it for each number that is written there.
_AT_0: Any = np.int64(0)
_AT_1: Any = np.int64(1)
_AT_2: Any = np.int64(2)
_AT_32: Any = np.int64(32)


def _words(words: str, slots: int) -> NDArray[np.uint64]:
    """Make a table, as _find takes it, of words of at most eight bytes, packed."""
    table = np.zeros(slots, np.uint64)
    for word in words.split():
        packed = int.from_bytes(word.encode(), "little")
        slot = packed * int(_OTHER_MULTIPLIER) % (1 << 64) >> 32
        while table[slot % slots]:
            slot += 1
        table[slot % slots] = packed
    return table


_STOP_LIST = _words("the be to of and that have with", 64)
# spaCy's units, which it parts from a number; and words that keep their full stop.
_UNITS = _words("km m dm cm mm ha nm yd in ft kg g mg t lb oz kmh mph hPa Pa mbar mb MB kb KB gb GB tb TB T G M K", 512)
_UNSPLIT = _words(
    "a.m adm bros co corp d.c dr e.g gen gov i.e inc jr ltd md messrs mo mont mr mrs ms p.m ph.d prof rep rev sen st "
    "vs v.s jan feb mar apr jun jul aug sep sept oct nov dec ala ariz ark calif colo conn del fla ga ia id ill ind kan "
    "kans ky la mass mich minn miss n.c n.d n.h n.j n.m n.y neb nebr nev okla ore pa s.c tenn va wash wis",
    512,
)


def tally(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    valid: NDArray[np.bool_],
    flags: NDArray[np.uint8],
    repetition: bool,
    room: int = ROOM,
    chunk: int = CHUNK,
) -> NDArray[np.int64]:
    """Count for every document.

    Args:
        data: the documents' UTF-8, end to end.
        offsets: (documents + 1,) where each begins.
        valid: (documents,) False: leave zeros.
        flags: of every code point, datatrove.flags().
        repetition: whether to fill the columns from `breaks` on.
        room: of the table, in words, a power of two and at least 16; it changes no value. A text longer than 128 MiB
            has a table that grows with it, since each round walks what is left of the text.
        chunk: tokens read at a time, at least 16; it changes no value.

    Returns:
        (documents, TALLIES); zeros where `valid` is False.
    """
    data, offsets = data[offsets[0] :], offsets - offsets[0]
    if len(data) < 8:
        data = np.append(data, np.zeros(8, np.uint8))
    data.flags.writeable = False  # else everything would be compiled for either
    counts = np.zeros((len(valid), len(TALLIES)), np.int64)
    longest = int(np.max(np.diff(offsets), initial=0, where=valid))
    starts, lasts = np.zeros((2, offsets[-1] // 64 + 2), np.uint64)
    _tokens(data, offsets, valid, flags, starts, lasts, np.empty(longest + 2, np.int64), counts)
    _characters(data, offsets, valid, counts)
    if repetition:
        room <<= (max(longest - 1, 0) >> 27).bit_length()
        table = np.empty(min(room, 1 << (8 * longest + 15).bit_length()), np.uint64)
        marks, others = np.empty((2, longest // 64 + 2), np.uint64)
        _segments(data, offsets, valid, flags, table, marks, counts)
        held = min(longest, chunk) + _TAIL + 1
        sums, scales, tails = np.empty((3, held), np.uint64)
        ends, chunks = np.empty(held, np.int64), np.empty(longest // chunk + 3, np.int64)
        _ngrams(
            data,
            offsets,
            valid,
            starts,
            lasts,
            chunks,
            sums,
            scales,
            tails,
            ends,
            chunk,
            table,
            marks,
            others,
            counts,
        )
    return counts


@lean
def _set(bitmap: NDArray[np.uint64], at: int) -> None:
    bitmap[at >> 6] |= _ONE << np.uint64(at & 63)


@lean
def _bit(bitmap: NDArray[np.uint64], at: int) -> np.uint64:
    bit: np.uint64 = bitmap[at >> 6] >> np.uint64(at & 63) & _ONE
    return bit


@lean
def _clear(words: NDArray[np.uint64], size: int) -> None:
    for at in range(size):
        words[at] = _NONE


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
            word = _word(data, at, min(8, end - at))
            size = first_one(~_letters(word) & ~_LOWS) >> 3
            at += size
            while size == 8:
                size = first_one(~_letters(_word(data, at, min(8, end - at))) & ~_LOWS) >> 3
                at += size
            letters = at
            parts = 0
            if at < end and not flags[data[at] & 0x7F] & SPACE:
                if at > piece and _ends_piece(data, piece, at, end):
                    _set(starts, at)
                    _set(lasts, at)
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
                    _set(starts, piece)
                    _set(lasts, letters - 1)
                    tokens += 1
                    words += 1
                    alphabetic_tokens += 1
                    word_chars += letters - piece
                    if letters - piece <= 4:
                        stop_words |= _listed(_STOP_LIST, word & _MASKS[letters - piece])
                for part in range(parts):
                    place, token_end = bounds[part], bounds[part + 1]
                    _set(starts, place)
                    _set(lasts, token_end - 1)
                    chars = 0
                    alphabetic = other = False
                    if token_end - place <= 4 and data[token_end - 1]:
                        stop_words |= _listed(_STOP_LIST, _word(data, place, token_end - place))
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
    slot = _find(words, len(words) - 1, _AT_1, packed)
    return _ONE << np.uint64(slot & 63) if words[slot] else _NONE


@lean
def _packs(words: NDArray[np.uint64], data: NDArray[np.uint8], start: int, end: int, case: int) -> bool:
    """Whether _words lists these bytes, `case` added to capitals."""
    if end - start > 8:
        return False
    packed = _NONE
    for at in range(start, end):
        byte = np.int64(data[at])
        packed |= np.uint64(byte + case if 0x41 <= byte <= 0x5A else byte) << np.uint64(8 * (at - start))
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
def _before(data: NDArray[np.uint8], at: int, start: int) -> int:
    """Return where the character before `at` begins."""
    at -= 1
    while at > start and data[at] & 0xC0 == 0x80:
        at -= 1
    return at


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
    last_at = _before(data, end, start)
    code, width = decode(data, last_at, end)
    if code == 0x2E:
        dots = end
        while dots > start and data[dots - 1] == 0x2E:
            dots -= 1
        if end - dots > 1:
            return end - dots
        if last_at == start or _packs(_UNSPLIT, data, start, last_at, _AT_32):
            return 0
        before_at = _before(data, last_at, start)
        before, _ = decode(data, before_at, end)
        if flags[before] & UPPER:
            if before_at == start:
                return 0
            other, _ = decode(data, _before(data, before_at, start), end)
            return 1 if flags[other] & UPPER else 0
        parted = flags[before] & (EDGE | ALPHABETIC) or 0x30 <= before <= 0x39
        return 1 if parted or before == 0x25 or before == 0x2B or before == 0x2D or before == 0xB2 else 0
    if flags[code] & EDGE:
        return width
    if last_at == start:
        return 0
    before_at = _before(data, last_at, start)
    before, _ = decode(data, before_at, end)
    if (code == 0x73 or code == 0x53) and (before == 0x27 or before == 0x2019):
        return end - before_at
    if 0x30 <= before <= 0x39 and (code == 0x2B or code == 0x25 or flags[code] & CURRENCY):
        return width
    if code < 0x80 and flags[code] & ALPHABETIC:
        unit = end
        while unit > start and 0x61 <= (data[unit - 1] | 0x20) <= 0x7A:
            unit -= 1
        if unit > start and 0x30 <= data[unit - 1] <= 0x39 and _packs(_UNITS, data, unit, end, _AT_0):
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
    if not _is_address(data, start, middle, flags):
        at = start
        before = _AT_0
        while at < middle:
            code, width = decode(data, at, middle)
            size = _infix(data, at, middle, flags, before, int(code), width) if at > start else 0
            if size:
                bounds[parts], bounds[parts + 1] = start, at
                parts += 2
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
        letters &= 0x61 <= (data[at] | 0x20) <= 0x7A
    return letters


@lean
def _infix(
    data: NDArray[np.uint8], at: int, end: int, flags: NDArray[np.uint8], before: int, code: int, width: int
) -> int:
    """Return the width of a token that parts a word at `at`, or 0."""
    if flags[code] & ALPHANUMERIC:
        return 0
    if code == 0x2026:
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


@lean
def _word(data: NDArray[np.uint8], at: int, size: int) -> np.uint64:
    """Return `size` bytes, from one to eight, as a number; `data` has eight or more and is not read past its end."""
    place = min(at, len(data) - 8)
    word: np.uint64 = load_little64(data, np.uint64(place)) >> np.uint64(8 * (at - place)) & _MASKS[size]
    return word


@lean
def _find(table: NDArray[np.uint64], mask: int, stride: int, key: np.uint64) -> int:
    """Return the place of a key, not 0, in a table whose slots are `stride` words: it holds the key, or 0."""
    slot: Any = np.int64(key * _OTHER_MULTIPLIER >> _HALF) & mask
    while table[slot * stride] != key and table[slot * stride]:
        slot = (slot + 1) & mask
    return int(slot * stride)


@lean_entry
def _characters(
    data: NDArray[np.uint8], offsets: NDArray[np.int64], valid: NDArray[np.bool_], counts: NDArray[np.int64]
) -> None:
    """Fill the columns from `chars` to `newlines`."""
    for document in range(len(valid)):
        if not valid[document]:
            continue
        text = data[offsets[document] : offsets[document + 1]]
        chars = newlines = hash_marks = ellipses = triples = 0
        for at in range(len(text)):
            byte = text[at]
            chars += byte & 0xC0 != 0x80
            newlines += byte == 0x0A
            hash_marks += byte == 0x23
        for at in range(len(text) - 2):
            third, second, last = text[at], text[at + 1], text[at + 2]
            ellipses += (third == 0xE2) & (second == 0x80) & (last == 0xA6)
            triples += (third == 0x2E) & (second == 0x2E) & (last == 0x2E)
        if triples:
            dots = 0
            for at in range(len(text)):
                dots = dots + 1 if text[at] == 0x2E else 0
                if dots == 3:
                    ellipses += 1
                    dots = 0
        count = counts[document]
        count[_CHARS], count[_NEWLINES], count[_HASH_MARKS], count[_ELLIPSES] = chars, newlines, hash_marks, ellipses


@lean_entry
def _segments(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    valid: NDArray[np.bool_],
    flags: NDArray[np.uint8],
    table: NDArray[np.uint64],
    marks: NDArray[np.uint64],
    counts: NDArray[np.int64],
) -> None:
    r"""Fill the columns from `breaks` to `duplicate_paragraph_chars`.

    Lines are what re.split("\n+") gives, paragraphs what re.split("\n{2,}") gives of the stripped text.
    """
    for document in range(len(valid)):
        if not valid[document]:
            continue
        count = counts[document]
        start, end = offsets[document], offsets[document + 1]
        _pieces(data, start, end, _AT_1, count[_NEWLINES] + 1, table, marks, count[_BREAKS:])
        while start < end:
            code, width = decode(data, start, end)
            if not flags[code] & SPACE:
                break
            start += width
        while end > start:
            before = _before(data, end, start)
            if not flags[decode(data, before, end)[0]] & SPACE:
                break
            end = before
        _pieces(data, start, end, _AT_2, count[_NEWLINES] + 1, table, marks, count[_PARAGRAPHS:])


@lean
def _pieces(
    data: NDArray[np.uint8],
    start: int,
    end: int,
    apart: int,
    most: int,
    table: NDArray[np.uint64],
    marks: NDArray[np.uint64],
    count: NDArray[np.int64],
) -> None:
    """Count pieces between runs of `apart` or more newlines, those met before, and their characters: three columns.

    A round notes pieces until the table is full and marks what repeats them; the next begins where it was full.
    """
    size = min(power_of_two(2 * most), len(table))
    _clear(marks, most // 64 + 1)
    begin = 0
    while begin >= 0:
        _clear(table, size)
        left = size * _FULL // 8
        first, begin = begin, -1
        pieces = _AT_0
        at, key, chars = start, _SEED, 0
        while True:
            stop, line, line_chars = _line(data, at, end)
            at = stop
            while at < end and data[at] == 0x0A:
                at += 1
            key, chars = (key ^ line) * _MULTIPLIER | _ONE, chars + line_chars
            if stop < end and at - stop < apart:
                chars += 1
                continue
            if pieces >= first and not _bit(marks, pieces):
                place = _find(table, size - 1, _AT_1, key)
                if table[place]:
                    count[1] += 1
                    count[2] += chars
                    _set(marks, pieces)
                elif left:
                    table[place] = key
                    left -= 1
                elif begin < 0:
                    begin = pieces
            pieces += 1
            if stop == end:
                break
            key, chars = _SEED, 0
    count[0] = pieces


@lean
def _line(data: NDArray[np.uint8], at: int, end: int) -> tuple[int, np.uint64, int]:
    """Return where the line that begins at `at` ends, a hash of it, and its characters."""
    start, key, chars = at, _SEED, 0
    found = _NONE
    while at < end and not found:
        size = min(8, end - at)
        word = _word(data, at, size)
        other = word ^ _NEWLINE
        found = ~((other & _LOWS) + _LOWS | other | _LOWS)  # the top bit of each byte that is a newline
        if found:
            size = first_one(found) >> 3
            word &= _MASKS[size]
        if size:
            key = (key ^ word) * _MULTIPLIER
            key ^= key >> _HALF
            chars += size - ones(word >> _SEVEN & ~(word >> _SIX) & _EACH)
            at += size
    return at, key ^ np.uint64(at - start), chars


@lean
def _load(
    data: NDArray[np.uint8],
    starts: NDArray[np.uint64],
    lasts: NDArray[np.uint64],
    chunks: NDArray[np.int64],
    sums: NDArray[np.uint64],
    scales: NDArray[np.uint64],
    tails: NDArray[np.uint64],
    ends: NDArray[np.int64],
    chunk: int,
    tokens: int,
    which: int,
) -> None:
    """Read a chunk of the document's tokens, and _TAIL of the next, unless it is there.

    A hash is the sum of (byte + 1) * base ** place; its scale, base ** -place, takes it to where a text begins.
    """
    if chunks[-1] == which:
        return
    chunks[-1] = which
    at = chunks[which]
    block = last_block = at >> 6
    begins = starts[block] >> np.uint64(at & 63) << np.uint64(at & 63)
    closes = lasts[block] >> np.uint64(at & 63) << np.uint64(at & 63)
    total, scale, power = _NONE, _ONE, _ONE
    low = high = _NONE  # the last sixteen bytes
    chars = 0
    count = min(chunk + _TAIL, tokens - which * chunk)
    for token in range(count):
        sums[token], scales[token], ends[token] = total, scale, chars
        while not begins:
            block += 1
            begins = starts[block]
        while not closes:
            last_block += 1
            closes = lasts[last_block]
        at = 64 * block + first_one(begins)
        stop = 64 * last_block + first_one(closes) + 1
        begins &= begins - _ONE
        closes &= closes - _ONE
        if token == chunk:
            chunks[which + 1] = at
        chars += stop - at
        while at < stop:
            size = min(8, stop - at)
            word = _word(data, at, size)
            value = _UNITIES[size]
            for place in range(8):
                value += (word >> np.uint64(8 * place) & _BYTE) * _POWERS[place]
            total += value * power
            power *= _POWERS[size]
            scale *= _INVERSES[size]
            chars -= ones(word >> _SEVEN & ~(word >> _SIX) & _EACH)
            if size == 8:
                low, high = high, word
            else:
                shift = np.uint64(8 * size)
                low = low >> shift | high << _WORD - shift
                high = high >> shift | word << _WORD - shift
            at += size
        tail = (low * _MULTIPLIER ^ high) * _OTHER_MULTIPLIER
        tails[token] = tail ^ tail >> _HALF
    sums[count], scales[count], ends[count] = total, scale, chars


@lean
def _key(sums: NDArray[np.uint64], scales: NDArray[np.uint64], first: int, n: int) -> np.uint64:
    """Return the key of the characters of n tokens, joined by nothing."""
    key: np.uint64 = (sums[first + n] - sums[first]) * scales[first]
    return key


@lean
def _top(
    data: NDArray[np.uint8],
    starts: NDArray[np.uint64],
    lasts: NDArray[np.uint64],
    chunks: NDArray[np.int64],
    sums: NDArray[np.uint64],
    scales: NDArray[np.uint64],
    tails: NDArray[np.uint64],
    ends: NDArray[np.int64],
    chunk: int,
    tokens: int,
    n: int,
    table: NDArray[np.uint64],
    likely: NDArray[np.uint64],
    marks: NDArray[np.uint64],
) -> int:
    """Return the length of the most frequent n-gram, with a space between its tokens, times how often it occurs.

    Of several equally frequent ones it is the first; one that occurs once counts too. Every place of one that repeats
    is marked. An n-gram can only repeat where both of n - 1 in it do: others than those (`likely`) are not looked at.
    A round notes n-grams until the table is full and counts those everywhere; the next begins where it was full.
    """
    last = tokens - n
    if last < 0:
        return 0
    likelies = 0
    for block in range(tokens // 64 + 1):
        if n == 2:
            likely[block] = ~_NONE
        likelies += ones(likely[block])
    _set(likely, tokens)
    _clear(marks, tokens // 64 + 2)
    size = min(power_of_two(2 * min(likelies, tokens)), len(table) // 2)
    most = best = width = 0
    begin = _AT_0
    while begin >= 0:
        _clear(table, 2 * size)
        left = size * _FULL // 8
        first, begin = begin, -1
        while first <= last:
            which = first // chunk
            _load(data, starts, lasts, chunks, sums, scales, tails, ends, chunk, tokens, which)
            before = which * chunk
            if not most:
                most, width = 1, ends[n]
            while first < before + chunk:
                first = _next(likely, min(first, tokens))
                if first >= before + chunk or first > last:
                    break
                if _bit(likely, first + 1) and not _bit(marks, first):
                    key = _NONE
                    for place in range(first - before, first - before + n):
                        key = (key ^ _key(sums, scales, place, _AT_1)) * _MULTIPLIER
                        key ^= key >> _HALF
                    place = _find(table, size - 1, _AT_2, key | _ONE)
                    if table[place]:
                        held = table[place + 1] + _TALLY
                        table[place + 1] = held
                        met: Any = np.int64(held & _LOW_HALF)
                        times: Any = np.int64(held >> _HALF)
                        _set(marks, first)
                        _set(marks, met)
                        if times > most or (times == most and met < best):
                            most, best = times, met
                            width = ends[first - before + n] - ends[first - before]
                    elif left:
                        table[place], table[place + 1] = key | _ONE, _TALLY + np.uint64(first)
                        left -= 1
                    elif begin < 0:
                        begin = first
                first += 1
    return (width + n - 1) * most


@lean
def _next(bitmap: NDArray[np.uint64], at: int) -> int:
    """Return the first bit that is set from `at` on; there must be one."""
    block = at >> 6
    bits = bitmap[block] >> np.uint64(at & 63) << np.uint64(at & 63)
    while not bits:
        block += 1
        bits = bitmap[block]
    return 64 * block + int(first_one(bits))


@lean
def _sketch(
    data: NDArray[np.uint8],
    starts: NDArray[np.uint64],
    lasts: NDArray[np.uint64],
    chunks: NDArray[np.int64],
    sums: NDArray[np.uint64],
    scales: NDArray[np.uint64],
    tails: NDArray[np.uint64],
    ends: NDArray[np.int64],
    chunk: int,
    tokens: int,
    table: NDArray[np.uint64],
    marks: NDArray[np.uint64],
) -> int:
    """Mark the tokens that may end a 5-gram, or a longer one, that occurs elsewhere; return how many there are.

    n-grams that are equal when joined may be parted differently, so they are told apart by their last _TAIL bytes: one
    that occurs twice ends in bytes that do, or is shorter. Two bits stand for a hash of them: met, and met again.
    """
    size = min(power_of_two(tokens // 4), len(table))
    mask = np.uint64(32 * size - 1)
    _clear(table, size)
    _clear(marks, tokens // 64 + 2)
    likely = 0
    for again in range(2):
        for which in range((tokens - 1) // chunk + 1):
            _load(data, starts, lasts, chunks, sums, scales, tails, ends, chunk, tokens, which)
            before = which * chunk
            # The chunk before has those whose last bytes are in part before this one.
            for token in range(_TAIL if which else 0, min(chunk + _TAIL, tokens - before)):
                cell = tails[token] & mask
                block, bit = np.int64(cell >> _FIVE), _ONE << (cell + cell & _BITS)
                if again:  # a longer n-gram that is short ends in a 5-gram that is
                    short = token >= _LAST_TOP and ends[token + 1] - ends[token - _LAST_TOP] < _TAIL
                    if short or table[block] & bit + bit:
                        _set(marks, before + token)
                        likely += 1
                else:
                    table[block] |= (table[block] & bit) + (table[block] & bit) | bit
    _set(marks, tokens)
    return likely


@lean
def _duplicate(
    data: NDArray[np.uint8],
    starts: NDArray[np.uint64],
    lasts: NDArray[np.uint64],
    chunks: NDArray[np.int64],
    sums: NDArray[np.uint64],
    scales: NDArray[np.uint64],
    tails: NDArray[np.uint64],
    ends: NDArray[np.int64],
    chunk: int,
    tokens: int,
    n: int,
    table: NDArray[np.uint64],
    likely: NDArray[np.uint64],
    seen: NDArray[np.uint64],
    most: int,
) -> int:
    """Return the characters of n-grams met before, from left to right: over one that was met, else one token on.

    What was passed over was not met. A round walks until the table of what it met is full and marks the later places
    of all that; the next walks on from there. What _sketch did not mark cannot be met twice and is not noted.
    """
    last = tokens - n
    size = min(power_of_two(2 * most), len(table))
    _clear(seen, tokens // 64 + 2)
    chars, begin = 0, _AT_0
    while begin >= 0:
        _clear(table, size)
        left = size * _FULL // 8
        first, begin = begin, -1
        while first <= last:
            which = first // chunk
            _load(data, starts, lasts, chunks, sums, scales, tails, ends, chunk, tokens, which)
            before = which * chunk
            while first < before + chunk:
                first = _next(likely, min(first, last + 1) + n - 1) - n + 1
                if first >= before + chunk or first > last:
                    break
                met = _bit(seen, first) != 0
                if not met:
                    key = _key(sums, scales, first - before, n) * _MULTIPLIER | _ONE
                    place = _find(table, size - 1, _AT_1, key)
                    met = table[place] == key
                    if begin >= 0 and met:
                        _set(seen, first)
                    elif begin < 0 and not met and left:
                        table[place] = key
                        left -= 1
                    elif begin < 0 and not met:
                        begin = first
                if met and begin < 0:
                    chars += ends[first - before + n] - ends[first - before]
                    first += n
                else:
                    first += 1
    return chars


@lean_entry
def _ngrams(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    valid: NDArray[np.bool_],
    starts: NDArray[np.uint64],
    lasts: NDArray[np.uint64],
    chunks: NDArray[np.int64],
    sums: NDArray[np.uint64],
    scales: NDArray[np.uint64],
    tails: NDArray[np.uint64],
    ends: NDArray[np.int64],
    chunk: int,
    table: NDArray[np.uint64],
    marks: NDArray[np.uint64],
    others: NDArray[np.uint64],
    counts: NDArray[np.int64],
) -> None:
    """Fill the columns of n-grams.

    Args:
        data: the documents' UTF-8, end to end.
        offsets: (documents + 1,) where each begins.
        valid: (documents,) which to look at.
        starts: the bits of the bytes that begin a token.
        lasts: the bits of those that end one.
        chunks: scratch: where the first token of each chunk of a document begins; last of all which of them is read.
        sums: scratch, of the chunk that is read: the hash of the bytes of its tokens before each, and of all.
        scales: scratch: what takes a hash to where a text begins.
        tails: scratch: a hash of the last _TAIL bytes up to the end of each token.
        ends: scratch: the characters of its tokens before each, and of all.
        chunk: tokens that a chunk has.
        table: scratch.
        marks: scratch, a bit a token.
        others: scratch, the same.
        counts: (documents, TALLIES), with the tokens.
    """
    for document in range(len(valid)):
        tokens = counts[document, _TOKENS]
        if tokens < 2:
            continue
        count = counts[document, _NGRAMS:]
        chunks[0], chunks[-1] = offsets[document], -1
        for n in range(2, _LAST_TOP + 1):
            count[n - 2] = _top(
                data, starts, lasts, chunks, sums, scales, tails, ends, chunk, tokens, n, table, others, marks
            )
            others, marks = marks, others
        most = _sketch(data, starts, lasts, chunks, sums, scales, tails, ends, chunk, tokens, table, marks)
        for n in range(_LAST_TOP + 1, min(tokens, _LAST_NGRAM) + 1):
            count[n - 2] = _duplicate(
                data, starts, lasts, chunks, sums, scales, tails, ends, chunk, tokens, n, table, marks, others, most
            )
