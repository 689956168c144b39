"""Count what datatrove's Gopher filters count: words as spaCy parts them, and repetition with datatrove's quirks.

A word of letters between white space is one token; anything else is parted by spaCy's rules for English without its
list of exceptions. An n-gram is one 64-bit key, a polynomial over its characters, so that n-grams that are equal when
joined are equal, as in the original. Time and memory are linear in the text.

Everything compiled is in this one file: Numba's cache looks at no other file when it decides whether it is stale.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from redpajama_pipe.text.decode import decode

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

_BASE = 0x9E3779B97F4A7C15
_POWERS = np.array([pow(_BASE, size, 1 << 64) for size in range(65)], np.uint64)
_INVERSES = np.array([pow(pow(_BASE, -1, 1 << 64), size, 1 << 64) for size in range(65)], np.uint64)
_MULTIPLIER = np.uint64(0xA0761D6478BD642F)
_OTHER_MULTIPLIER = np.uint64(0xE7037ED1A0B428DB)
_SEED = np.uint64(0x243F6A8885A308D3)
_LOW = np.uint64(0xFF)
_HALF = np.uint64(32)


def _packed(words: str) -> NDArray[np.uint64]:
    """Pack words of at most eight bytes as numbers, sorted."""
    return np.unique(
        np.array([int.from_bytes(word.encode().ljust(8, b"\0"), "little") for word in words.split()], np.uint64)
    )


# spaCy's units, which it parts from a number; and words that keep their full stop.
_UNITS = _packed("km m dm cm mm ha nm yd in ft kg g mg t lb oz kmh mph hPa Pa mbar mb MB kb KB gb GB tb TB T G M K")
_UNSPLIT = _packed(
    "a.m adm bros co corp d.c dr e.g gen gov i.e inc jr ltd md messrs mo mont mr mrs ms p.m ph.d prof rep rev sen st "
    "vs v.s jan feb mar apr jun jul aug sep sept oct nov dec ala ariz ark calif colo conn del fla ga ia id ill ind kan "
    "kans ky la mass mich minn miss n.c n.d n.h n.j n.m n.y neb nebr nev okla ore pa s.c tenn va wash wis"
)


@njit(cache=True, nogil=True)
def tally(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    valid: NDArray[np.bool_],
    flags: NDArray[np.uint8],
    repetition: bool,
) -> NDArray[np.int64]:
    """Count for every document.

    Args:
        data: the documents' UTF-8, end to end.
        offsets: (documents + 1,) where each begins.
        valid: (documents,) False: leave zeros.
        flags: of every code point, datatrove.flags().
        repetition: whether to fill the columns from `breaks` on.

    Returns:
        (documents, TALLIES); zeros where `valid` is False.
    """
    documents = len(valid)
    counts = np.zeros((documents, len(TALLIES)), np.int64)
    most = most_lines = 0
    for document in range(documents):
        if valid[document]:
            most_tokens, lines = _bounds(data, offsets[document], offsets[document + 1])
            most, most_lines = max(most, most_tokens), max(most_lines, lines)
    hashes = np.empty(most + 1, np.uint64)  # of the characters before each token, and of all
    scales = np.empty(most + 1, np.uint64)  # what takes a hash to where a text begins
    ends = np.empty(most + 1, np.int64)  # characters in all tokens before
    keys = np.empty(most + 1, np.uint64)
    bounds = np.empty(most + 2, np.int64)  # of the tokens of a piece
    slots = np.zeros(_power_of_two(2 * max(most, 2 * most_lines) + 4), np.uint64)
    tally_of, first_of = np.empty(len(slots), np.int32), np.empty(len(slots), np.int32)
    generation, widest = 0, 0
    for document in range(documents):
        if not valid[document]:
            continue
        count = counts[document]
        start, end = offsets[document], offsets[document + 1]
        _tokenise(data, start, end, flags, (hashes, scales, ends), bounds, count)
        if not repetition:
            _segments(data, start, end, flags, slots, 0, 1, count)
            continue
        tokens = count[_TOKENS]
        size = _power_of_two(2 * max(tokens, 2 * count[_LINES] + 2) + 4)  # lines and paragraphs, or n-grams
        widest = max(widest, size)
        if generation + 10 > 255:
            slots[:widest] = 0
            generation, widest = 0, size
        generation = _segments(data, start, end, flags, slots, generation, size - 1, count)
        size = _power_of_two(2 * (tokens + 1))
        for n in range(2, _LAST_NGRAM + 1):
            generation += 1
            if n > tokens:
                continue
            if n <= _LAST_TOP:
                count[_NGRAMS + n - 2] = _top(
                    hashes, scales, ends, keys, tokens, n, slots, tally_of, first_of, size - 1, generation
                )
            else:
                count[_NGRAMS + n - 2] = _duplicate(hashes, scales, ends, tokens, n, slots, size - 1, generation)
    return counts


@njit(cache=True, nogil=True)
def _power_of_two(least: int) -> int:
    size = 16
    while size < least:
        size *= 2
    return size


@njit(cache=True, nogil=True)
def _bounds(data: NDArray[np.uint8], start: int, end: int) -> tuple[int, int]:
    """Bound the number of tokens and of lines from above: a token ends before a byte that is no letter of ASCII."""
    others = newlines = 0
    for at in range(start, end):
        byte = data[at]
        letter = (byte | 0x20) - 0x61
        others += not 0 <= letter < 26
        newlines += byte == 0x0A
    return 2 * others + 2, newlines + 1


@njit(cache=True, nogil=True)
def _before(data: NDArray[np.uint8], at: int, start: int) -> int:
    """Return where the character before `at` begins."""
    at -= 1
    while at > start and data[at] & 0xC0 == 0x80:
        at -= 1
    return at


@njit(cache=True, nogil=True)
def _tokenise(
    data: NDArray[np.uint8],
    start: int,
    end: int,
    flags: NDArray[np.uint8],
    table: tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.int64]],
    bounds: NDArray[np.int64],
    count: NDArray[np.int64],
) -> None:
    """Fill the columns up to `ellipsis_lines`; leave the hash and length of the text before each token in `table`.

    A hash is the sum of (code point + 1) * base ** place; its scale, base ** -place, takes it to where a text begins.
    """
    hashes, scales, ends = table
    total, scale, power = np.uint64(0), np.uint64(1), np.uint64(1)
    hashes[0], scales[0], ends[0] = total, scale, 0
    tokens = words = word_chars = alphabetic_tokens = stop_words = all_chars = 0
    first, last_at = -1, start  # of the line: its first character that is no white space, and where its last piece ends
    line_at = at = start
    while at < end:
        piece = at
        while at < end and 0x61 <= (data[at] | 0x20) <= 0x7A:
            at += 1
        parts, bounds[0], bounds[1] = 1, piece, at
        letters = at
        if at > piece and at < end and _ends_piece(data, piece, at, end):
            at += 1
            parts, bounds[2] = 2, at
        elif at < end and not flags[data[at] & 0x7F] & SPACE:
            while at < end:
                code, width = decode(data, at, end)
                if flags[code] & SPACE:
                    break
                at += width
            if at > letters:
                bounds[1] = at
                parts = _part(data, piece, at, flags, bounds)
        if at > piece:
            if first < 0:
                first = int(decode(data, piece, end)[0])
            last_at = at
            for part in range(parts):
                place, token_end = bounds[part], bounds[part + 1]
                chars = size = 0  # size: since `power` was last brought up to here
                alphabetic = word = False
                value = np.uint64(0)
                if token_end - place <= 4:
                    stop_words |= _stop_word(data, place, token_end)
                while place < token_end:
                    code = np.int64(data[place])
                    width = 1
                    if code >= 0x80:
                        code, width = decode(data, place, token_end)
                    kind = flags[code]
                    alphabetic |= (kind & ALPHABETIC) != 0
                    word |= not kind & PUNCTUATION
                    value += np.uint64(code + 1) * _POWERS[size]
                    size += 1
                    chars += 1
                    place += width
                    if size == 64 or place >= token_end:
                        total += value * power
                        power *= _POWERS[size]
                        scale *= _INVERSES[size]
                        value, size = np.uint64(0), 0
                tokens += 1
                all_chars += chars
                hashes[tokens], scales[tokens], ends[tokens] = total, scale, all_chars
                alphabetic_tokens += alphabetic
                words += word
                word_chars += chars if word else 0
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
    count[_TOKENS], count[_WORDS], count[_WORD_CHARS], count[_ALPHABETIC] = tokens, words, word_chars, alphabetic_tokens
    while stop_words:
        count[_STOP_WORDS] += stop_words & 1
        stop_words >>= 1


@njit(cache=True, nogil=True)
def _ends_piece(data: NDArray[np.uint8], start: int, at: int, end: int) -> bool:
    """Whether a word of letters is followed by one mark and white space, so that no rule needs to be asked."""
    if at + 1 < end and data[at + 1] != 0x20 and data[at + 1] != 0x0A:
        return False
    byte = data[at]
    if byte == 0x2E:  # no abbreviation is so long
        return bool(at - start > 6 and data[at - 1] >= 0x61)
    return bool(byte == 0x2C or byte == 0x3A or byte == 0x3B or byte == 0x21 or byte == 0x3F or byte == 0x29)


@njit(cache=True, nogil=True)
def _end_line(data: NDArray[np.uint8], start: int, last_at: int, first: int, count: NDArray[np.int64]) -> None:
    count[_LINES] += 1
    if first < 0:
        return
    count[_BULLETS] += first == 0x2022 or first == 0x2D
    if last_at - start >= 3:
        third, second, last = data[last_at - 3], data[last_at - 2], data[last_at - 1]
        dots = third == 0x2E and second == 0x2E and last == 0x2E
        count[_ELLIPSIS_LINES] += dots or (third == 0xE2 and second == 0x80 and last == 0xA6)


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
def _listed(words: NDArray[np.uint64], data: NDArray[np.uint8], start: int, end: int, lower: bool) -> bool:
    if end - start > 8:
        return False
    packed = np.uint64(0)
    for place in range(end - start):
        byte = data[start + place]
        if lower and 0x41 <= byte <= 0x5A:
            byte |= 0x20
        packed |= np.uint64(byte) << np.uint64(8 * place)
    found = np.searchsorted(words, packed)
    return bool(found < len(words) and words[found] == packed)


@njit(cache=True, nogil=True)
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


@njit(cache=True, nogil=True)
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
        if last_at == start or _listed(_UNSPLIT, data, start, last_at, True):
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
        if unit > start and 0x30 <= data[unit - 1] <= 0x39 and _listed(_UNITS, data, unit, end, False):
            return end - unit
    return 0


@njit(cache=True, nogil=True)
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
        before = 0
        while at < middle:
            code, width = decode(data, at, middle)
            size = _infix(data, at, middle, flags, before, int(code), width) if at > start else 0
            if size:
                bounds[parts], bounds[parts + 1] = start, at
                parts += 2
                at += size
                start = at
                before = 0
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


@njit(cache=True, nogil=True)
def _contracts(data: NDArray[np.uint8], start: int, end: int) -> bool:
    """Whether these letters stand after the apostrophe of a contraction: ll re ve d m."""
    if end - start == 1:
        return bool(data[start] == 0x64 or data[start] == 0x6D)
    if end - start != 2:
        return False
    first, second = data[start], data[start + 1]
    return bool((first == 0x6C and second == 0x6C) or ((first == 0x72 or first == 0x76) and second == 0x65))


@njit(cache=True, nogil=True)
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


@njit(cache=True, nogil=True)
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


@njit(cache=True, nogil=True)
def _segments(
    data: NDArray[np.uint8],
    start: int,
    end: int,
    flags: NDArray[np.uint8],
    slots: NDArray[np.uint64],
    generation: int,
    mask: int,
    count: NDArray[np.int64],
) -> int:
    r"""Fill the columns from `chars` to `duplicate_paragraph_chars`; without a generation, only up to `newlines`.

    Lines are what re.split("\n+") gives, paragraphs what re.split("\n{2,}") gives of the stripped text.
    """
    text_at, text_end = start, end
    while text_at < end:
        code, width = decode(data, text_at, end)
        if not flags[code] & SPACE:
            break
        text_at += width
    while text_end > text_at:
        before = _before(data, text_end, start)
        if not flags[decode(data, before, end)[0]] & SPACE:
            break
        text_end = before
    wanted = mask > 1
    line_hash = paragraph_hash = _SEED
    line_chars = paragraph_chars = dots = newlines = chars = hash_marks = ellipses = 0
    pieces = duplicates = duplicate_chars = 0
    at = start
    while at <= end:
        if at == end or data[at] == 0x0A:
            run = at
            while run < end and data[run] == 0x0A:
                run += 1
            chars += line_chars + run - at
            newlines += run - at
            if wanted:
                pieces += 1
                if _seen(slots, mask, line_hash, generation + 1):
                    duplicates += 1
                    duplicate_chars += line_chars
                inside = text_at <= at < text_end
                if inside and run - at == 1:
                    paragraph_hash = (paragraph_hash ^ np.uint64(0x0A)) * _MULTIPLIER
                    paragraph_chars += 1
                elif inside:
                    _end_paragraph(slots, mask, paragraph_hash, paragraph_chars, generation + 1, count)
                    paragraph_hash, paragraph_chars = _SEED, 0
            line_hash, line_chars, dots = _SEED, 0, 0
            if at == end:
                break
            at = run
            continue
        byte = data[at]
        line_hash = (line_hash ^ np.uint64(byte)) * _MULTIPLIER
        begins = byte & 0xC0 != 0x80
        line_chars += begins
        if text_at <= at < text_end:
            paragraph_hash = (paragraph_hash ^ np.uint64(byte)) * _MULTIPLIER
            paragraph_chars += begins
        if byte == 0x2E:
            dots += 1
            if dots == 3:
                ellipses += 1
                dots = 0
        else:
            dots = 0
            hash_marks += byte == 0x23
            if byte == 0xA6 and at - start >= 2 and data[at - 1] == 0x80 and data[at - 2] == 0xE2:
                ellipses += 1
        at += 1
    count[_CHARS], count[_NEWLINES], count[_HASH_MARKS], count[_ELLIPSES] = chars, newlines, hash_marks, ellipses
    if not wanted:
        return generation
    count[_BREAKS], count[_BREAKS + 1], count[_BREAKS + 2] = pieces, duplicates, duplicate_chars
    _end_paragraph(slots, mask, paragraph_hash, paragraph_chars, generation + 1, count)
    return generation + 1


@njit(cache=True, nogil=True)
def _end_paragraph(
    slots: NDArray[np.uint64], mask: int, key: np.uint64, chars: int, generation: int, count: NDArray[np.int64]
) -> None:
    count[_PARAGRAPHS] += 1
    if _seen(slots, mask, ~key, generation):  # inverted: no line's key
        count[_PARAGRAPHS + 1] += 1
        count[_PARAGRAPHS + 2] += chars


@njit(cache=True, nogil=True)
def _slot(slots: NDArray[np.uint64], mask: int, key: np.uint64, generation: int) -> tuple[np.int64, bool]:
    """Find the key's slot among those of this generation, taking a free one; say whether it was there.

    A slot holds 56 bits of the key, after a multiplication, and the generation: nothing is cleared between generations.
    """
    key *= _OTHER_MULTIPLIER
    mark = (key & ~_LOW) | np.uint64(generation)
    slot = np.int64(key >> _HALF) & mask
    while True:
        held = slots[slot]
        if held == mark:
            return slot, True
        if held & _LOW != np.uint64(generation):
            slots[slot] = mark
            return slot, False
        slot = (slot + 1) & mask


@njit(cache=True, nogil=True)
def _seen(slots: NDArray[np.uint64], mask: int, key: np.uint64, generation: int) -> bool:
    return _slot(slots, mask, key, generation)[1]


@njit(cache=True, nogil=True)
def _key(
    hashes: NDArray[np.uint64], scales: NDArray[np.uint64], ends: NDArray[np.int64], first: int, n: int
) -> np.uint64:
    """Return the key of the characters of n tokens, joined by nothing."""
    return np.uint64((hashes[first + n] - hashes[first]) * scales[first] + np.uint64(ends[first + n] - ends[first]))


@njit(cache=True, nogil=True)
def _top(
    hashes: NDArray[np.uint64],
    scales: NDArray[np.uint64],
    ends: NDArray[np.int64],
    keys: NDArray[np.uint64],
    tokens: int,
    n: int,
    slots: NDArray[np.uint64],
    tally_of: NDArray[np.int32],
    first_of: NDArray[np.int32],
    mask: int,
    generation: int,
) -> int:
    """Return the length of the most frequent n-gram, with a space between its tokens, times how often it occurs.

    Of several equally frequent ones it is the first; one that occurs once counts too.
    """
    most, best = 0, 0
    for first in range(tokens - n + 1):
        if n == 2:
            keys[first] = _key(hashes, scales, ends, first, 1)
        keys[first] = keys[first] * _MULTIPLIER ^ (_key(hashes, scales, ends, first + n - 1, 1) * _OTHER_MULTIPLIER)
        slot, met = _slot(slots, mask, keys[first], generation)
        if not met:
            tally_of[slot], first_of[slot] = 0, first
        tally_of[slot] += 1
        if tally_of[slot] > most or (tally_of[slot] == most and first_of[slot] < best):
            most, best = tally_of[slot], first_of[slot]
    return int((ends[best + n] - ends[best] + n - 1) * most)


@njit(cache=True, nogil=True)
def _duplicate(
    hashes: NDArray[np.uint64],
    scales: NDArray[np.uint64],
    ends: NDArray[np.int64],
    tokens: int,
    n: int,
    slots: NDArray[np.uint64],
    mask: int,
    generation: int,
) -> int:
    """Return the characters of n-grams met before, from left to right: over one that was met, else one token on."""
    chars = first = 0
    while first + n <= tokens:
        if _seen(slots, mask, _key(hashes, scales, ends, first, n), generation):
            chars += ends[first + n] - ends[first]
            first += n
        else:
            first += 1
    return chars
