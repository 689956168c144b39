"""Kernels of fastText inference: words of UTF-8 to rows of a matrix, their sum, and the walk down a tree of labels.

Most of the time goes into words that were not met lately, whose runs of characters are hashed one by one; the rows of
the others are copied from a table of one cache line a word. That table, and the end of the walk where no label can win,
made it half as fast again on English; hashing many runs at once, or remembering those at four characters, made no
difference or was slower.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from redpajama_pipe.text.lean import lean, lean_entry
from redpajama_pipe.text.unaligned import load_little64

LABEL = b"__label__"
END_OF_LINE = b"</s>"
_SPACE = 2  # text.characters.SPACE
_FNV_START, _FNV_PRIME = np.uint32(2166136261), np.uint32(16777619)
WINDOW = 256  # bytes of a word that are looked at together
RECENT_BITS = 15  # 2 MB of recent words: a batch of English finds four words of five there
_KEPT = 11  # rows that fit beside a word of up to 15 bytes in a cache line; 2 to 8 words of a hundred have more
_ALL, _LOW, _HALF = np.uint64(2**64 - 1), np.uint64(2**32 - 1), np.uint64(32)
_ONES, _TOPS = np.uint64(0x0101010101010101), np.uint64(0x8080808080808080)


class Lookup(NamedTuple):
    """Which rows of the input matrix a word stands for.

    Attributes:
        slots: open-addressed table, a power of two: a word's hash in the upper half, its index + 1 in the lower, or 0.
        spelling: the words' bytes, end to end.
        places: (words + 1, 2) where each word's spelling and rows begin.
        rows: the rows of every known word: its own, then those of the runs of characters in it.
        run_rows: (buckets,) the row of each hash of a run of characters; -1: it was pruned.
        run_known: (buckets / 8 and one,) a bit for each that was not: 250 kB, which stay near the core when the 8 MB
            of `run_rows` do not. Of the runs in text, one in eight is known.
        shortest: the length of the shortest run, in characters.
        longest: of the longest.
    """

    slots: NDArray[np.uint64]
    spelling: NDArray[np.uint8]
    places: NDArray[np.int64]
    rows: NDArray[np.int32]
    run_rows: NDArray[np.int32]
    run_known: NDArray[np.uint8]
    shortest: int
    longest: int


@lean
def _step(value: np.uint32, byte: int) -> np.uint32:
    """Take one byte into an FNV-1a hash of 32 bits; the library has bytes as signed numbers."""
    return np.uint32(np.uint32(value ^ np.uint32(np.int32(np.int8(byte)))) * _FNV_PRIME)


@lean
def _hash(data: NDArray[np.uint8]) -> np.uint32:
    value = _FNV_START
    for byte in data:
        value = _step(value, byte)
    return value


@lean_entry
def fill(slots: NDArray[np.uint64], spelling: NDArray[np.uint8], places: NDArray[np.int64]) -> None:
    for index in range(len(places) - 1):
        start, end = places[index, 0], places[index + 1, 0]
        word_hash = _hash(spelling[start:end])
        slot = _find(slots, spelling, places, spelling, start, end, word_hash)
        slots[slot] = np.uint64(word_hash) << _HALF | np.uint64(index + 1)


@lean
def _find(
    slots: NDArray[np.uint64],
    spelling: NDArray[np.uint8],
    places: NDArray[np.int64],
    data: NDArray[np.uint8],
    start: int,
    end: int,
    word_hash: np.uint32,
) -> np.int64:
    """Return the slot that holds the word data[start:end], or the empty one where it belongs."""
    slot = np.int64(word_hash) & (len(slots) - 1)
    while True:
        held = slots[slot]
        if held == np.uint64(0):
            return slot
        if held >> _HALF == np.uint64(word_hash):
            index = int(held & _LOW) - 1
            at = places[index, 0]
            if _same(data, start, end - start, spelling, at, places[index + 1, 0] - at):
                return slot
        slot = (slot + 1) & (len(slots) - 1)


@lean
def _same(
    data: NDArray[np.uint8], at: int, size: int, other: NDArray[np.uint8], other_at: int, other_size: int
) -> bool:
    if size != other_size:
        return False
    for offset in range(size):  # noqa: SIM110 - a generator cannot be compiled
        if data[at + offset] != other[other_at + offset]:
            return False
    return True


@lean_entry
def run_rows_of(
    data: NDArray[np.uint8],
    start: int,
    end: int,
    first: int,
    last: int,
    run_rows: NDArray[np.int32],
    run_known: NDArray[np.uint8],
    shortest: int,
    longest: int,
    out: NDArray[np.int32],
    held: int,
) -> int:
    """List the rows of runs of `shortest` to `longest` characters of `<word>`, in the library's order.

    Args:
        start: the word is data[start:end]; one before it stands for `<`, and its end for `>`.
        first: runs are listed that begin here ...
        last: ... up to before here; all of them from start - 1 to end + 1.
        out: rows are appended; room for `longest` more a byte from `first` to `last`.
        held: how many rows it has.

    Returns:
        How many rows it has then.
    """
    buckets = np.uint64(len(run_rows))
    inverse = _ALL // buckets + np.uint64(1)
    count = held
    any_byte = np.uint8(0)
    for at in range(max(first, start), min(last + longest - 1, end)):
        any_byte |= data[at]
    if any_byte < 0x80 and shortest == 2 and longest == 4:
        return _ascii_run_rows(data, start, end, first, last, run_rows, run_known, buckets, inverse, out, held)
    for begin in range(first, last):
        if start <= begin < end and data[begin] & 0xC0 == 0x80:
            continue
        value = _FNV_START
        at = begin
        for length in range(1, longest + 1):
            if at > end:
                break
            value = _step(value, 0x3C if at < start else 0x3E if at == end else data[at])
            at += 1
            while start < at < end and data[at] & 0xC0 == 0x80:
                value = _step(value, data[at])
                at += 1
            # A mark alone is no run.
            if length < shortest or (length == 1 and (begin < start or at > end)):
                continue
            # value % buckets without a division (Lemire, Kaser and Kurz 2019, arXiv:1902.01961): the fraction of the
            # quotient, rounded up, times the buckets.
            fraction = (np.uint64(value) * inverse >> _HALF) + np.uint64(1)
            bucket = np.int64(fraction * buckets >> _HALF)
            out[count] = bucket  # the next one is written over it unless it is known
            count += int(run_known[bucket >> 3] >> (bucket & 7) & 1)
    for index in range(held, count):
        out[index] = run_rows[out[index]]
    return count


@lean
def _ascii_run_rows(
    data: NDArray[np.uint8],
    start: int,
    end: int,
    first: int,
    last: int,
    run_rows: NDArray[np.int32],
    run_known: NDArray[np.uint8],
    buckets: np.uint64,
    inverse: np.uint64,
    out: NDArray[np.int32],
    held: int,
) -> int:
    """Do what `_run_rows` does for runs of 2 to 4 characters of ASCII, the published models', without a branch a run.

    Every bucket is written, and the next one over it unless it is known.
    """
    count = held
    for begin in range(first, min(last, end)):
        byte = np.uint64(0x3C) if begin < start else np.uint64(data[begin])
        value = (np.uint64(_FNV_START) ^ byte) * np.uint64(_FNV_PRIME) & _LOW
        for at in range(begin + 1, min(begin + 4, end + 1)):
            byte = np.uint64(data[at]) if at < end else np.uint64(0x3E)
            value = (value ^ byte) * np.uint64(_FNV_PRIME) & _LOW
            bucket = np.int64((((value * inverse) >> _HALF) + np.uint64(1)) * buckets >> _HALF)
            out[count] = bucket
            count += int(run_known[bucket >> 3] >> (bucket & 7) & 1)
    for index in range(held, count):
        out[index] = run_rows[out[index]]
    return count


@lean
def _is_separator(byte: int) -> bool:
    return bool(byte == 0x20 or 0x09 <= byte <= 0x0D or byte == 0)


@lean
def _has_word(data: NDArray[np.uint8], start: int, end: int, flags: NDArray[np.uint8]) -> bool:
    """Whether a character is left when NUL and all that str.isspace() says are gone."""
    at = start
    while at < end:
        byte = np.int64(data[at])
        if byte < 0x80:
            if byte != 0 and flags[byte] & _SPACE == 0:
                return True
            at += 1
            continue
        # White space outside ASCII takes two or three bytes.
        if byte >= 0xF0 or at + (2 if byte < 0xE0 else 3) > end:
            return True
        code = (byte & 0x1F) << 6 | (data[at + 1] & 0x3F)
        if byte >= 0xE0:
            code = (byte & 0x0F) << 12 | np.int64(data[at + 1] & 0x3F) << 6 | (data[at + 2] & 0x3F)
        if flags[code] & _SPACE == 0:
            return True
        at += 2 if byte < 0xE0 else 3
    return False


@lean
def _starts_with(data: NDArray[np.uint8], start: int, end: int, text: bytes) -> bool:
    if end - start < len(text):
        return False
    for offset in range(len(text)):  # noqa: SIM110 - a generator cannot be compiled
        if data[start + offset] != text[offset]:
            return False
    return True


@lean
def _head(word: np.uint64) -> tuple[int, np.uint64]:
    """Return how many of eight bytes come before the first below `!`, and those alone."""
    low = (word - _ONES * np.uint64(0x21)) & ~word & _TOPS
    if low == np.uint64(0):
        return 8, word
    upto = low ^ (low - np.uint64(1))
    return int((upto & _ONES) * _ONES >> np.uint64(56)) - 1, word & (upto >> np.uint64(8))


@lean
def _short_word(data: NDArray[np.uint8], at: int, end: int) -> tuple[int, np.uint64, np.uint64]:
    """Return the length of the word at `at`, and its bytes; length 0: it is longer than 15, or ends with its document.

    Words are the same when both numbers are: none has a zero byte, which ends a word.
    """
    none = np.uint64(0)
    if at + 16 > len(data):
        return 0, none, none
    size, first = _head(load_little64(data, at))
    second = none
    if size == 8:
        more, second = _head(load_little64(data, at + 8))
        size += more
    # A control character is below `!` and no separator.
    if size == 16 or at + size >= end or not _is_separator(data[at + size]):
        return 0, none, none
    return size, first, second


@njit(cache=True, nogil=True)
def predict(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    valid: NDArray[np.bool_],
    flags: NDArray[np.uint8],
    lookup: Lookup,
    inputs: NDArray[np.float32],
    outputs: NDArray[np.float32],
    children: NDArray[np.int32],
    recent: NDArray[np.uint64],
    most: int,
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return the index of each document's best label, -1 for a document without a word, and its probability.

    Args:
        recent: (2 ** RECENT_BITS, 8) zeros: of a word its bytes, how many rows it has, and the rows, 4 bytes each.
        most: rows of a known word, or of WINDOW bytes of another one, at most.
    """
    documents, dimension = len(valid), inputs.shape[1]
    best, probability = np.full(documents, -1, np.int32), np.zeros(documents, np.float32)
    ending = np.frombuffer(END_OF_LINE, np.uint8)
    slots, places = lookup.slots, lookup.places
    line_end = int(slots[_find(slots, lookup.spelling, places, ending, 0, len(ending), _hash(ending))] & _LOW) - 1
    _predict(
        data,
        offsets,
        valid,
        flags,
        slots,
        lookup.spelling,
        places,
        lookup.rows,
        lookup.run_rows,
        lookup.run_known,
        lookup.shortest,
        lookup.longest,
        inputs,
        outputs,
        children,
        recent,
        recent.view(np.int32),
        most,
        line_end,
        # Rows are listed first and added later, so that the core fetches many at a time.
        np.empty(4 * most + _KEPT, np.int32),
        np.empty(dimension, np.float32),
        np.empty(len(children) + 2, np.int32),
        np.empty(len(children) + 2, np.float32),
        best,
        probability,
    )
    return best, probability


@lean
def _predict(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    valid: NDArray[np.bool_],
    flags: NDArray[np.uint8],
    slots: NDArray[np.uint64],
    spelling: NDArray[np.uint8],
    places: NDArray[np.int64],
    known: NDArray[np.int32],
    run_rows: NDArray[np.int32],
    run_known: NDArray[np.uint8],
    shortest: int,
    longest: int,
    inputs: NDArray[np.float32],
    outputs: NDArray[np.float32],
    children: NDArray[np.int32],
    recent: NDArray[np.uint64],
    kept: NDArray[np.int32],
    most: int,
    line_end: int,
    rows: NDArray[np.int32],
    hidden: NDArray[np.float32],
    nodes: NDArray[np.int32],
    scores: NDArray[np.float32],
    best: NDArray[np.int32],
    probability: NDArray[np.float32],
) -> None:
    """Do what `predict` does, in arrays that it made: see text.lean."""
    for document in range(len(valid)):
        start, end = offsets[document], offsets[document + 1]
        if not valid[document] or not _has_word(data, start, end, flags):
            continue
        for column in range(len(hidden)):
            hidden[column] = np.float32(0)
        total, count = 0, 0
        stopped = False
        at = start
        while at < end and not stopped:
            if _is_separator(data[at]):
                at += 1
                continue
            if count > 2 * most:
                total += _add(hidden, inputs, rows, count)
                count = 0
            size, first_half, second_half = _short_word(data, at, end)
            mixed = (first_half ^ second_half * np.uint64(0xC2B2AE3D27D4EB4F)) * np.uint64(0x9E3779B97F4A7C15)
            mixed = (mixed ^ mixed >> _HALF) * np.uint64(0xBF58476D1CE4E5B9)
            line = np.int64(mixed >> np.uint64(64 - RECENT_BITS))
            if size and recent[line, 0] == first_half and recent[line, 1] == second_half:
                for offset in range(_KEPT):
                    rows[count + offset] = kept[line, 5 + offset]
                count += kept[line, 4]
                at += size
                continue
            word_at, word_hash, before = at, _FNV_START, count
            while at < end and not _is_separator(data[at]):
                word_hash = _step(word_hash, data[at])
                at += 1
            entry = int(slots[_find(slots, spelling, places, data, word_at, at, word_hash)] & _LOW) - 1
            if entry >= 0:
                count = _append(rows, count, known, places[entry, 1], places[entry + 1, 1])
                # The library takes this word in a text for the end of the line.
                stopped = entry == line_end
            elif not _starts_with(data, word_at, at, LABEL):
                # In pieces: text without spaces is one word, however long.
                for first in range(word_at - 1, at + 1, WINDOW):
                    if count > 2 * most:
                        total += _add(hidden, inputs, rows, count)
                        count = 0
                    last = min(first + WINDOW, at + 1)
                    count = run_rows_of(
                        data, word_at, at, first, last, run_rows, run_known, shortest, longest, rows, count
                    )
            if size and count - before <= _KEPT and not stopped:
                recent[line, 0], recent[line, 1] = first_half, second_half
                kept[line, 4] = count - before
                for offset in range(count - before):
                    kept[line, 5 + offset] = rows[before + offset]
        if not stopped and line_end >= 0:
            count = _append(rows, count, known, places[line_end, 1], places[line_end + 1, 1])
        total += _add(hidden, inputs, rows, count)
        if total == 0:
            continue
        share = np.float32(1.0 / total)
        for column in range(len(hidden)):
            hidden[column] *= share
        best[document], score = _best_label(hidden, outputs, children, nodes, scores)
        probability[document] = np.exp(score)


@lean
def _append(rows: NDArray[np.int32], count: int, known: NDArray[np.int32], start: int, end: int) -> int:
    for index in range(start, end):
        rows[count + index - start] = known[index]
    return count + end - start


@lean
def _add(hidden: NDArray[np.float32], inputs: NDArray[np.float32], rows: NDArray[np.int32], count: int) -> int:
    """Add the first `count` rows to `hidden`, one after the other as the library does; return how many."""
    for index in range(count):
        row = rows[index]
        for column in range(len(hidden)):
            hidden[column] += inputs[row, column]
    return count


@lean
def _best_label(
    hidden: NDArray[np.float32],
    outputs: NDArray[np.float32],
    children: NDArray[np.int32],
    nodes: NDArray[np.int32],
    scores: NDArray[np.float32],
) -> tuple[int, np.float32]:
    """Return the label of the highest logarithm of a probability, the first of equal ones, and that.

    Branches that are below the best label found stay out, which leaves a tenth of them.

    Args:
        nodes: (labels + 1,) room for the branches that are still to be looked at ...
        scores: ... and theirs.
    """
    labels = len(children) + 1
    # A step down may add: log(1 + 1e-5).
    margin = np.float32(1e-4 * labels)
    best, highest = -1, np.float32(-np.inf)
    nodes[0], scores[0], waiting = 2 * labels - 2, np.float32(0), 1
    while waiting:
        waiting -= 1
        node, above = nodes[waiting], scores[waiting]
        if above < highest - margin:
            continue
        if node < labels:
            if best < 0 or above > highest or (above == highest and node < best):
                best, highest = int(node), above
            continue
        node -= labels
        value = np.float32(0)
        for column in range(len(hidden)):
            value += outputs[node, column] * hidden[column]
        right = np.float32(1.0 / np.float32(np.float32(1) + np.exp(-value)))
        left = np.float32(1.0 - right)
        # The likelier branch is looked at first: it lies on top.
        likelier = 1 if right > left else 0
        # The library adds 1e-5 before it takes logarithms.
        nodes[waiting + likelier] = children[node, 1]
        scores[waiting + likelier] = above + np.float32(np.log(right + 1e-5))
        nodes[waiting + 1 - likelier] = children[node, 0]
        scores[waiting + 1 - likelier] = above + np.float32(np.log(left + 1e-5))
        waiting += 2
    return best, highest
