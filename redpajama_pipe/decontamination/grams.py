"""The kernels that cut text into units (words, or lines), hash runs of them, and look the runs up, all without strings.

A run of n words has a rolling hash over the hashes of its words, so every window of every length costs a multiplication
and one look into a bitmap; what the bitmap and the table find is compared word by word, so there are no false hits.
One core reads more than 100 MB of text a second.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Literal, NamedTuple

import numpy as np
from numba import njit, uint64
from numpy.typing import NDArray

from redpajama_pipe.dedup.letters import (
    ALONE,
    MARK,
    SEPARATOR,
    WORD,
    Letters,
    lower_case_words,
    words_between_spaces,
)

Units = Literal["words", "grams", "lines"]

LONGEST = 63  # words in a run at most: so many are carried on
_BASE = 0x9FB21C651E98DF25
_PRIME = 0x100000001B3
_GOLDEN = 0x9E3779B97F4A7C15
_SPREAD = 0xD6E8FEB86659FD93
_SEED = 0xCBF29CE484222325
_AT_ONCE = 1024  # words whose hashes are made, then looked for: they stay in the L1 cache

# hashes, first bytes, and one past the last bytes of some units
_Scratch = tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.int64]]


class Table(NamedTuple):
    """Runs of units by their hash: open addressing, at most half full.

    Attributes:
        texts: (bytes,) UTF-8 in which the runs lie.
        begins: (runs,) first byte of each run in `texts`.
        ends: (runs,) one past its last.
        keys: (slots,) hashes; slots is a power of two.
        numbers: (slots,) the run; -1: empty.
        lengths: (lengths,) units in a run, ascending and distinct.
        powers: (lengths,) _BASE to the power of each.
        bits: (words,) for each length a bitmap of its runs' hashes: most windows are no runs, and end here.
        first_bits: (lengths + 1,) where each bitmap begins in `bits`; their sizes are powers of two.
        lines: the units are lines, not words.
    """

    texts: NDArray[np.uint8]
    begins: NDArray[np.int64]
    ends: NDArray[np.int64]
    keys: NDArray[np.uint64]
    numbers: NDArray[np.int32]
    lengths: NDArray[np.int64]
    powers: NDArray[np.uint64]
    bits: NDArray[np.uint64]
    first_bits: NDArray[np.int64]
    lines: bool


@cache
def letters_of(units: Units) -> Letters:
    """Return the tables that say what a word is; lines need none and get those of words.

    `ascii` has an entry for every byte here, so that a look needs no bounds.
    """
    letters = whitespace_grams() if units == "grams" else lower_case_words()
    first = np.zeros(256, np.uint16)
    first[:128] = letters.ascii
    first.flags.writeable = False
    return letters._replace(ascii=first)


@cache
def whitespace_grams() -> Letters:
    """Return the tables for "a lowercase, whitespace delimited word with no punctuation" (Brown et al. 2020).

    What is neither white space nor a letter, digit, other number or combining mark (Unicode 14.0) is taken out of the
    word that it stands in: `don't` is `dont`. Lower case is that of `lower_case_words`.
    """
    words, spaces = lower_case_words(), words_between_spaces()
    codes = np.arange(1 << 21)
    entries = words.entries[words.blocks[codes >> 8].astype(np.int64) << 8 | codes & 0xFF]
    space = spaces.entries[spaces.blocks[codes >> 8].astype(np.int64) << 8 | codes & 0xFF] & 3 == SEPARATOR
    kinds = entries & 3
    # a mark that is written as 0 belongs to the word and is not written
    made = np.where(kinds == SEPARATOR, (-codes << 2) | MARK, entries & ~3 | np.where(kinds == ALONE, WORD, kinds))
    made = np.where(space, SEPARATOR, made).astype(np.int32)
    rows, blocks = np.unique(made.reshape(-1, 256), axis=0, return_inverse=True)
    ascii_bytes = np.where(space[:128], 0x20, np.where(kinds[:128] == SEPARATOR, 0, words.ascii))
    tables = Letters(ascii_bytes.astype(np.uint16), blocks.reshape(-1).astype(np.uint16), rows.reshape(-1))
    for table in tables:
        table.flags.writeable = False
    return tables


def written(text: NDArray[np.uint8], units: Units) -> str:
    """Write a text as the kernels see it: its words in lower case, one space between them; lines are as they are."""
    if units == "lines":
        return text.tobytes().decode("utf-8")
    codes = _write(text, 0, len(text), letters_of(units))
    return "".join(map(chr, codes.tolist()))


@njit(cache=True, nogil=True)
def _decode(
    data: NDArray[np.uint8], at: int, end: int, blocks: NDArray[np.uint16], entries: NDArray[np.int32]
) -> tuple[Any, Any, int]:
    """Return the kind of a character beyond ASCII, what is written of it, and how many bytes it takes."""
    byte = np.int64(data[at])
    width = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
    if at + width > end:
        return np.int64(SEPARATOR), np.int64(0), end - at
    code = byte & (0x1F if width == 2 else 0x0F if width == 3 else 0x07)
    for i in range(1, width):
        code = code << 6 | np.int64(data[at + i]) & 0x3F
    entry = np.int64(entries[np.int64(blocks[code >> 8]) << 8 | code & 0xFF])
    return entry & 3, code + (entry >> 2), width


@njit(cache=True, nogil=True)
def _words(data: NDArray[np.uint8], end: int, letters: Letters, state: NDArray[np.int64], units: _Scratch) -> int:
    """Find words until the scratch is full or `end` is reached; returns how many.

    Args:
        data: UTF-8.
        end: where the text ends.
        letters: what makes a word.
        state: place in data; whether it is inside a word, and one that the next letter does not continue; where the
            word began, one past its last letter, its hash. Goes on from there.
        units: out: hash, first byte and one past the last of each.
    """
    first_bytes, blocks, entries = letters
    hashes, starts, stops = units
    at, inside, alone, start, stop = state[0], state[1], state[2], state[3], state[4]
    hashed = uint64(state[5])
    count = 0
    while at < end and count < len(hashes):
        byte = data[at]
        first = np.int64(first_bytes[byte])
        if byte < 0x80 and not alone:
            # No branch here: where words end cannot be guessed, and guessing wrong takes longer than all this.
            letter = first >> 8
            passed = np.int64(first == 0)
            hashes[count], starts[count], stops[count] = hashed, start, stop
            count += inside & ~(letter | passed)
            start = start if inside else at
            at += 1
            stop = at if letter else stop
            after = (hashed ^ uint64(first & 0xFF)) * uint64(_PRIME)
            hashed = after if letter else hashed if passed else uint64(_SEED)
            inside = letter | (inside & passed)
            continue
        width = 1
        low: Any = first & 0xFF
        kind: Any = WORD if first >> 8 else SEPARATOR if first else MARK
        if byte >= 0x80:
            kind, low, width = _decode(data, at, end, blocks, entries)
        if inside and (kind == SEPARATOR or (kind != MARK and (alone or kind == ALONE))):
            hashes[count], starts[count], stops[count] = hashed, start, stop
            count += 1
            inside, alone = np.int64(0), np.int64(0)
            hashed = uint64(_SEED)
            continue  # the character itself comes next
        if not inside and kind != SEPARATOR and kind != MARK:
            inside, alone, start = np.int64(1), np.int64(kind == ALONE), at
        at += width
        if inside and low:
            hashed = (hashed ^ uint64(low)) * uint64(_PRIME)
            stop = at
    if at == end and inside and count < len(hashes):
        hashes[count], starts[count], stops[count] = hashed, start, stop
        count += 1
        inside, alone = np.int64(0), np.int64(0)
    state[0], state[1], state[2], state[3], state[4] = at, inside, alone, start, stop
    state[5] = np.int64(hashed)
    return count


@njit(cache=True, nogil=True)
def _lines(data: NDArray[np.uint8], end: int, state: NDArray[np.int64], units: _Scratch) -> int:
    """Find lines; arguments and result as those of `_words`."""
    hashes, starts, stops = units
    at = state[0]
    count = 0
    while at < end and count < len(hashes):
        starts[count] = at
        hashed = uint64(_SEED)
        while at < end and data[at] != 0x0A:
            hashed = (hashed ^ uint64(data[at])) * uint64(_PRIME)
            at += 1
        hashes[count], stops[count] = hashed, at
        count += 1
        at = min(at + 1, end)
    state[0] = at
    return count


@njit(cache=True, nogil=True)
def _start(state: NDArray[np.int64], at: int) -> None:
    state[0], state[1], state[2] = at, 0, 0
    state[5] = np.int64(uint64(_SEED))


@njit(cache=True, nogil=True)
def _roll(units: _Scratch, count: int, prefixes: NDArray[np.uint64], places: NDArray[np.int64]) -> None:
    """Go on with the hashes of all units so far, and with where these begin, behind those of LONGEST units before."""
    prefix = prefixes[LONGEST]
    for unit in range(count):
        hashed = (units[0][unit] ^ units[0][unit] >> uint64(32)) * uint64(_GOLDEN)
        prefix = prefix * uint64(_BASE) + (hashed ^ hashed >> uint64(29))
        prefixes[LONGEST + unit + 1] = prefix
        places[LONGEST + unit] = units[1][unit]


@njit(cache=True, nogil=True)
def _keep_last(count: int, prefixes: NDArray[np.uint64], places: NDArray[np.int64]) -> None:
    for unit in range(LONGEST):
        prefixes[unit], places[unit] = prefixes[count + unit], places[count + unit]
    prefixes[LONGEST] = prefixes[count + LONGEST]


@njit(cache=True, nogil=True)
def _scratch(size: int) -> _Scratch:
    return np.empty(size, np.uint64), np.empty(size, np.int64), np.empty(size, np.int64)


@njit(cache=True, nogil=True)
def _write(data: NDArray[np.uint8], at: int, end: int, letters: Letters) -> NDArray[np.int32]:
    """Return the code points of the words of data[at:end], a space between two words."""
    out = np.empty(2 * (end - at) + 1, np.int32)  # words of scripts without spaces may touch
    filled = 0
    state = np.empty(6, np.int64)
    _start(state, at)
    units = _scratch(LONGEST)
    while state[0] < end or state[1]:
        count = _words(data, end, letters, state, units)
        for unit in range(count):
            if filled:
                out[filled] = 0x20
                filled += 1
            place, stop = units[1][unit], units[2][unit]
            while place < stop:
                low: Any = np.int64(letters.ascii[data[place]]) & 0xFF
                width = 1
                if data[place] >= 0x80:
                    _, low, width = _decode(data, place, end, letters.blocks, letters.entries)
                place += width
                if low:
                    out[filled] = low
                    filled += 1
    return out[:filled]


@njit(cache=True, nogil=True)
def _equal(a: NDArray[Any], b: NDArray[Any]) -> bool:
    at = 0
    while at < min(len(a), len(b)) and a[at] == b[at]:
        at += 1
    return at == len(a) == len(b)


@njit(cache=True, nogil=True)
def _same(data: NDArray[np.uint8], start: int, stop: int, table: Table, run: int, letters: Letters) -> bool:
    """Say whether data[start:stop] has the words of a run; of lines, its bytes."""
    begin, end = table.begins[run], table.ends[run]
    if table.lines:
        return _equal(data[start:stop], table.texts[begin:end])
    return _equal(_write(data, start, stop, letters), _write(table.texts, begin, end, letters))


@njit(cache=True, nogil=True)
def _find(data: NDArray[np.uint8], start: int, stop: int, key: Any, table: Table, letters: Letters) -> tuple[Any, Any]:
    """Return the run that data[start:stop] is, -1 for none, and the slot that it has or would have."""
    mask = len(table.keys) - 1
    slot = np.int64(key * uint64(_GOLDEN) >> uint64(32)) & mask
    while table.numbers[slot] >= 0:
        if table.keys[slot] == key and _same(data, start, stop, table, table.numbers[slot], letters):
            return table.numbers[slot], slot
        slot = slot + 1 & mask
    return -1, slot


@njit(cache=True, nogil=True)
def _bits_of(key: Any, first: int, end: int) -> tuple[Any, Any]:
    """Return the word of a bitmap that a hash has bits in, and these: three, so that few windows pass by chance."""
    spread = key * uint64(_SPREAD)
    bits = (
        uint64(1) << (spread & uint64(63))
        | uint64(1) << (spread >> uint64(6) & uint64(63))
        | uint64(1) << (spread >> uint64(12) & uint64(63))
    )
    return first + (np.int64(spread >> uint64(28)) & (end - first - 1)), bits


@njit(cache=True, nogil=True)
def count_words(data: NDArray[np.uint8], offsets: NDArray[np.int64], letters: Letters) -> NDArray[np.int64]:
    """Count the words of each text: (texts,)."""
    counts = np.zeros(len(offsets) - 1, np.int64)
    state = np.empty(6, np.int64)
    units = _scratch(_AT_ONCE)
    for text in range(len(counts)):
        _start(state, offsets[text])
        while state[0] < offsets[text + 1] or state[1]:
            counts[text] += _words(data, offsets[text + 1], letters, state, units)
    return counts


@njit(cache=True, nogil=True)
def fill_table(
    offsets: NDArray[np.int64], lengths: NDArray[np.int64], table: Table, letters: Letters, runs: NDArray[np.int64]
) -> tuple[int, int]:
    """Put every run of texts into an empty table whose `texts` they are.

    Args:
        offsets: (texts + 1,); text i is table.texts[offsets[i]:offsets[i + 1]].
        lengths: (texts,) units in each run of it; 0: it has none.
        table: `begins` and `ends` have room for every window.
        letters: what makes a word.
        runs: out: (windows, 2) for each window the run that it is, and the text.

    Returns:
        How many runs there are, numbered in the order of the texts, and how many windows.
    """
    state = np.empty(6, np.int64)
    units = _scratch(_AT_ONCE)
    prefixes = np.zeros(LONGEST + _AT_ONCE + 1, np.uint64)
    places = np.zeros(LONGEST + _AT_ONCE, np.int64)
    known = windows = 0
    data = table.texts
    for text in range(len(lengths)):
        length = lengths[text]
        if length == 0:
            continue
        number = np.searchsorted(table.lengths, length)
        power, first, last = table.powers[number], table.first_bits[number], table.first_bits[number + 1]
        end = offsets[text + 1]
        _start(state, offsets[text])
        seen = 0
        while state[0] < end or state[1]:
            count = _lines(data, end, state, units) if table.lines else _words(data, end, letters, state, units)
            _roll(units, count, prefixes, places)
            for unit in range(max(0, length - seen - 1), count):
                after = LONGEST + unit + 1
                key = prefixes[after] - prefixes[after - length] * power
                begin, stop = places[after - length], units[2][unit]
                run, slot = _find(data, begin, stop, key, table, letters)
                if run < 0:
                    run = known
                    known += 1
                    table.begins[run], table.ends[run] = begin, stop
                    table.keys[slot], table.numbers[slot] = key, run
                    place, bits = _bits_of(key, first, last)
                    table.bits[place] |= bits
                runs[windows, 0], runs[windows, 1] = run, text
                windows += 1
            seen += count
            _keep_last(count, prefixes, places)
    return known, windows


@njit(cache=True, nogil=True)
def find_runs(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    valid: NDArray[np.bool_],
    table: Table,
    letters: Letters,
) -> NDArray[np.int64]:
    """Find every run of a table in documents.

    Args:
        data: UTF-8; document i is data[offsets[i]:offsets[i + 1]].
        offsets: (documents + 1,).
        valid: (documents,) False: a null, in which nothing is.
        table: as `fill_table` filled it.
        letters: what makes a word.

    Returns:
        (hits, 4) document, run, first byte and one past the last, from the document's start; in the order of documents,
        else in none.
    """
    found = np.empty((256, 4), np.int64)
    hits = 0
    state = np.empty(6, np.int64)
    units = _scratch(_AT_ONCE)
    prefixes = np.zeros(LONGEST + _AT_ONCE + 1, np.uint64)
    places = np.zeros(LONGEST + _AT_ONCE, np.int64)
    bitmap = table.bits
    for document in range(len(valid)):
        if not valid[document]:
            continue
        end = offsets[document + 1]
        _start(state, offsets[document])
        seen = 0
        while state[0] < end or state[1]:
            count = _lines(data, end, state, units) if table.lines else _words(data, end, letters, state, units)
            _roll(units, count, prefixes, places)
            for number in range(len(table.lengths)):
                length, power = table.lengths[number], table.powers[number]
                first, last = table.first_bits[number], table.first_bits[number + 1]
                for unit in range(max(0, length - seen - 1), count):
                    after = LONGEST + unit + 1
                    key = prefixes[after] - prefixes[after - length] * power
                    place, bits = _bits_of(key, first, last)
                    if bitmap[place] & bits != bits:
                        continue
                    begin, stop = places[after - length], units[2][unit]
                    run, _ = _find(data, begin, stop, key, table, letters)
                    if run < 0:
                        continue
                    if hits == len(found):
                        grown = np.empty((2 * hits, 4), np.int64)
                        grown[:hits] = found
                        found = grown
                    found[hits, 0], found[hits, 1] = document, run
                    found[hits, 2], found[hits, 3] = begin - offsets[document], stop - offsets[document]
                    hits += 1
            seen += count
            _keep_last(count, prefixes, places)
    return found[:hits]


def power_of(length: int) -> int:
    """Return what a hash is multiplied by when so many units follow."""
    return pow(_BASE, length, 1 << 64)
