"""Count what repeats in the reading of datatrove's Gopher filters: lines, paragraphs and n-grams, with its quirks.

n-grams are read from the bits where tokens begin and end, a chunk of tokens at a time, and have 64-bit keys. What
repeats is found with one table of at most 64 MiB, in rounds where that is too small: beside it and a chunk, memory is
less than half a byte a byte of text. Time is linear in the text but for the rounds.

Everything compiled is in this file and in text/, whose changes Numba's cache does not see.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from redpajama_pipe.text.blocks import first_one, ones, power_of_two
from redpajama_pipe.text.decode import character_before, decode
from redpajama_pipe.text.lean import lean, lean_entry
from redpajama_pipe.text.packed import find_slot, has_bit, load_packed, next_bit, set_bit
from redpajama_pipe.text.span_hash import LOW_BYTES, MULTIPLIER, OTHER_MULTIPLIER, SEED

# The columns of what `count_repetition` returns, in order.
TALLIES = (
    "breaks",
    "duplicate_breaks",
    "duplicate_break_chars",
    "paragraphs",
    "duplicate_paragraphs",
    "duplicate_paragraph_chars",
    *(f"top_{n}gram_chars" for n in (2, 3, 4)),
    *(f"duplicate_{n}gram_chars" for n in (5, 6, 7, 8, 9, 10)),
)
_PARAGRAPHS, _NGRAMS = 3, 6
_LAST_TOP, _LAST_NGRAM = 4, 10

SPACE = 1  # the flag of datatrove.flags(); a test compares them

ROOM = 1 << 23  # words of the table for 128 MiB of text or less: 64 MiB
CHUNK = 1 << 19  # tokens that are read at a time: 16 MiB
_TAIL = 16  # bytes that are known of the text before a token's end, and tokens that a chunk has of the next one
_FULL = 5  # eighths of a table

_BASE = 0x9E3779B97F4A7C15
_POWERS = np.array([pow(_BASE, size, 1 << 64) for size in range(9)], np.uint64)
_INVERSES = np.array([pow(_BASE, -size, 1 << 64) for size in range(9)], np.uint64)
_UNITIES = np.array([sum(map(int, _POWERS[:size])) % (1 << 64) for size in range(9)], np.uint64)  # of so many bytes
_NONE, _ONE, _FIVE, _SIX, _SEVEN = (np.uint64(number) for number in (0, 1, 5, 6, 7))
_HALF, _WORD, _BYTE, _BITS = np.uint64(32), np.uint64(64), np.uint64(0xFF), np.uint64(63)
_LOW_HALF, _TALLY = np.uint64((1 << 32) - 1), np.uint64(1 << 32)

# The same in each of eight bytes.
_EACH, _LOWS, _NEWLINE = (np.uint64(0x0101010101010101 * byte) for byte in (1, 0x7F, 0x0A))

# For what takes a number: Numba would compile it for each number that is written there.
_AT_0: Any = np.int64(0)
_AT_1: Any = np.int64(1)
_AT_2: Any = np.int64(2)


def count_repetition(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    valid: NDArray[np.bool_],
    flags: NDArray[np.uint8],
    starts: NDArray[np.uint64],
    lasts: NDArray[np.uint64],
    tokens: NDArray[np.int64],
    newlines: NDArray[np.int64],
    longest: int,
    room: int,
    chunk: int,
) -> NDArray[np.int64]:
    """Count for every document.

    Args:
        data: the documents' UTF-8, end to end; eight bytes or more.
        offsets: (documents + 1,) where each begins, the first at 0.
        valid: (documents,) False: leave zeros.
        flags: of every code point, datatrove.flags().
        starts: the bits of the bytes that begin a token.
        lasts: the bits of those that end one.
        tokens: (documents,) how many there are.
        newlines: (documents,) how many there are.
        longest: bytes of the longest document.
        room: of the table, in words, a power of two and at least 16; it changes no value. A text longer than 128 MiB
            has a table that grows with it, since each round walks what is left of the text.
        chunk: tokens read at a time, at least 16; it changes no value.

    Returns:
        (documents, TALLIES).
    """
    counts = np.zeros((len(valid), len(TALLIES)), np.int64)
    room <<= (max(longest - 1, 0) >> 27).bit_length()
    table = np.empty(min(room, 1 << (8 * longest + 15).bit_length()), np.uint64)
    marks, others = np.empty((2, longest // 64 + 2), np.uint64)
    _segments(data, offsets, valid, flags, newlines, table, marks, counts)
    held = min(longest, chunk) + _TAIL + 1
    sums, scales, tails = np.empty((3, held), np.uint64)
    ends, chunks = np.empty(held, np.int64), np.empty(longest // chunk + 3, np.int64)
    _ngrams(
        data, offsets, tokens, starts, lasts, chunks, sums, scales, tails, ends, chunk, table, marks, others, counts
    )
    return counts


@lean
def _clear(words: NDArray[np.uint64], size: int) -> None:
    for at in range(size):
        words[at] = _NONE


@lean_entry
def _segments(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    valid: NDArray[np.bool_],
    flags: NDArray[np.uint8],
    newlines: NDArray[np.int64],
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
        _pieces(data, start, end, _AT_1, newlines[document] + 1, table, marks, count)
        while start < end:
            code, width = decode(data, start, end)
            if not flags[code] & SPACE:
                break
            start += width
        while end > start:
            before = character_before(data, end, start)
            if not flags[decode(data, before, end)[0]] & SPACE:
                break
            end = before
        _pieces(data, start, end, _AT_2, newlines[document] + 1, table, marks, count[_PARAGRAPHS:])


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
        at, key, chars = start, SEED, 0
        while True:
            stop, line, line_chars = _line(data, at, end)
            at = stop
            while at < end and data[at] == 0x0A:
                at += 1
            key, chars = (key ^ line) * MULTIPLIER | _ONE, chars + line_chars
            if stop < end and at - stop < apart:
                chars += 1
                continue
            if pieces >= first and not has_bit(marks, pieces):
                place = find_slot(table, size - 1, _AT_1, key)
                if table[place]:
                    count[1] += 1
                    count[2] += chars
                    set_bit(marks, pieces)
                elif left:
                    table[place] = key
                    left -= 1
                elif begin < 0:
                    begin = pieces
            pieces += 1
            if stop == end:
                break
            key, chars = SEED, 0
    count[0] = pieces


@lean
def _line(data: NDArray[np.uint8], at: int, end: int) -> tuple[int, np.uint64, int]:
    """Return where the line that begins at `at` ends, a hash of it, and its characters."""
    start, key, chars = at, SEED, 0
    found = _NONE
    while at < end and not found:
        size = min(8, end - at)
        word = load_packed(data, at, size)
        other = word ^ _NEWLINE
        found = ~((other & _LOWS) + _LOWS | other | _LOWS)  # the top bit of each byte that is a newline
        if found:
            size = first_one(found) >> 3
            word &= LOW_BYTES[size]
        if size:
            key = (key ^ word) * MULTIPLIER
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
            word = load_packed(data, at, size)
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
        tail = (low * MULTIPLIER ^ high) * OTHER_MULTIPLIER
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
    set_bit(likely, tokens)
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
                first = next_bit(likely, min(first, tokens))
                if first >= before + chunk or first > last:
                    break
                if has_bit(likely, first + 1) and not has_bit(marks, first):
                    key = _NONE
                    for place in range(first - before, first - before + n):
                        key = (key ^ _key(sums, scales, place, _AT_1)) * MULTIPLIER
                        key ^= key >> _HALF
                    place = find_slot(table, size - 1, _AT_2, key | _ONE)
                    if table[place]:
                        held = table[place + 1] + _TALLY
                        table[place + 1] = held
                        met: Any = np.int64(held & _LOW_HALF)
                        times: Any = np.int64(held >> _HALF)
                        set_bit(marks, first)
                        set_bit(marks, met)
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
                        set_bit(marks, before + token)
                        likely += 1
                else:
                    table[block] |= (table[block] & bit) + (table[block] & bit) | bit
    set_bit(marks, tokens)
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
                first = next_bit(likely, min(first, last + 1) + n - 1) - n + 1
                if first >= before + chunk or first > last:
                    break
                met = has_bit(seen, first) != 0
                if not met:
                    key = _key(sums, scales, first - before, n) * MULTIPLIER | _ONE
                    place = find_slot(table, size - 1, _AT_1, key)
                    met = table[place] == key
                    if begin >= 0 and met:
                        set_bit(seen, first)
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
    token_counts: NDArray[np.int64],
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
        token_counts: (documents,) how many tokens each has.
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
        counts: (documents, TALLIES).
    """
    for document in range(len(token_counts)):
        tokens = token_counts[document]
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
