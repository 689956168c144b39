"""fastText inference over Arrow buffers: the library's own labels and probabilities, without a string a document.

A classifier is small: look up a row of numbers for every word and for every run of a few characters in it, average
them, and walk a binary tree of logistic regressions (hierarchical softmax). Sums are kept in float32 and in the order
in which the library adds, so results agree to the last bits.

Source: Joulin et al. 2016, arXiv:1607.01759 (the classifier) and arXiv:1612.03651 (the compressed format).
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from redpajama_pipe.signals import fasttext_file
from redpajama_pipe.text.buffers import Utf8
from redpajama_pipe.text.characters import properties

_LABEL = b"__label__"
_END_OF_LINE = b"</s>"
_SPACE = 2  # text.characters.SPACE
_FNV_START, _FNV_PRIME = np.uint32(2166136261), np.uint32(16777619)
_MEMO = 1 << 15  # unknown words of a batch that are remembered with their rows, 16 bytes and 8 rows of each
_WINDOW = 256  # bytes of a word that are looked at together
_ALL, _LOW, _HALF = np.uint64(2**64 - 1), np.uint64(2**32 - 1), np.uint64(32)


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


class Model(NamedTuple):
    """A supervised model with hierarchical softmax.

    Attributes:
        labels: without `__label__`.
        lookup: text to rows of `inputs`.
        inputs: (rows, dimension).
        outputs: (labels - 1 used, dimension), one for each inner node of the tree.
        children: (labels - 1, 2) of inner nodes from the first made to the root; below len(labels) it is a label.
    """

    labels: tuple[str, ...]
    lookup: Lookup
    inputs: NDArray[np.float32]
    outputs: NDArray[np.float32]
    children: NDArray[np.int32]


def predict(model: Model, documents: Utf8) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return the index of each document's best label, -1 for a document without a word, and its probability."""
    data, offsets, valid = documents
    return _predict(data, offsets, valid, properties(), model.lookup, model.inputs, model.outputs, model.children)


def read(path: Path) -> Model | None:
    """Read a model file, compressed (.ftz) or not (.bin); None: one of a kind that only the library can read.

    Raises:
        SetupError: the file ends too early.
    """
    contents = fasttext_file.read(path)
    if contents is None:
        return None
    words = len(contents.words)
    run_rows = words + np.arange(contents.buckets, dtype=np.int32)
    if contents.kept is not None:
        run_rows[:] = -1
        run_rows[contents.kept[:, 0]] = words + contents.kept[:, 1]
    return Model(
        labels=tuple(label.removeprefix(_LABEL).decode() for label in contents.labels),
        lookup=_lookup(contents.words, run_rows, contents.shortest, contents.longest),
        inputs=contents.inputs,
        outputs=contents.outputs,
        children=_huffman(contents.label_counts),
    )


def _huffman(counts: list[int]) -> NDArray[np.int32]:
    """Join the two rarest of labels (descending by count) and joints, again and again, ties as the library does."""
    labels = len(counts)
    weight = [*counts, *[10**15] * (labels - 1)]
    children = np.empty((labels - 1, 2), np.int32)
    leaf, joint = labels - 1, labels
    for made in range(labels - 1):
        for side in range(2):
            if leaf >= 0 and weight[leaf] < weight[joint]:
                children[made, side] = leaf
                leaf -= 1
            else:
                children[made, side] = joint
                joint += 1
        weight[labels + made] = weight[children[made, 0]] + weight[children[made, 1]]
    return children


def _lookup(words: list[bytes], run_rows: NDArray[np.int32], shortest: int, longest: int) -> Lookup:
    data = np.frombuffer(b"".join(words), np.uint8)
    at = np.concatenate([[0], np.cumsum([len(word) for word in words])]).astype(np.int64)
    places = np.zeros((len(words) + 1, 2), np.int64)
    places[:, 0] = at
    run_known = np.packbits(run_rows >= 0, bitorder="little")
    slots = np.zeros(1 << (2 * (len(words) + _MEMO)).bit_length(), np.uint64)
    _fill(slots, data, places)
    rows: list[NDArray[np.int32]] = []
    room = np.empty(1 + longest * (max(map(len, words), default=0) + 2), np.int32)
    for index, word in enumerate(words):
        room[0], count = index, 0
        if word != _END_OF_LINE:
            start, end = at[index], at[index + 1]
            count = _run_rows(data, start, end, start - 1, end + 1, run_rows, run_known, shortest, longest, room[1:])
        rows.append(room[: 1 + count].copy())
    places[1:, 1] = np.cumsum([len(found) for found in rows])
    known_rows = np.concatenate(rows) if rows else np.zeros(0, np.int32)
    return Lookup(slots, data, places, known_rows, run_rows, run_known, shortest, longest)


@njit(cache=True, nogil=True)
def _step(value: np.uint32, byte: int) -> np.uint32:
    """Take one byte into an FNV-1a hash of 32 bits; the library has bytes as signed numbers."""
    return np.uint32(np.uint32(value ^ np.uint32(np.int32(np.int8(byte)))) * _FNV_PRIME)


@njit(cache=True, nogil=True)
def _hash(data: NDArray[np.uint8]) -> np.uint32:
    value = _FNV_START
    for byte in data:
        value = _step(value, byte)
    return value


@njit(cache=True, nogil=True)
def _fill(slots: NDArray[np.uint64], spelling: NDArray[np.uint8], places: NDArray[np.int64]) -> None:
    for index in range(len(places) - 1):
        start, end = places[index, 0], places[index + 1, 0]
        word_hash = _hash(spelling[start:end])
        slot = _find(slots, spelling, places, spelling, start, end, word_hash)
        slots[slot] = np.uint64(word_hash) << _HALF | np.uint64(index + 1)


@njit(cache=True, nogil=True)
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


@njit(cache=True, nogil=True)
def _same(
    data: NDArray[np.uint8], at: int, size: int, other: NDArray[np.uint8], other_at: int, other_size: int
) -> bool:
    if size != other_size:
        return False
    for offset in range(size):  # noqa: SIM110 - a generator cannot be compiled
        if data[at + offset] != other[other_at + offset]:
            return False
    return True


@njit(cache=True, nogil=True)
def _run_rows(
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
) -> int:
    """List the rows of runs of `shortest` to `longest` characters of `<word>`, in the library's order.

    Args:
        start: the word is data[start:end]; one before it stands for `<`, and its end for `>`.
        first: runs are listed that begin here ...
        last: ... up to before here; all of them from start - 1 to end + 1.
        out: room for `longest` rows a byte from `first` to `last`.

    Returns:
        How many rows there are.
    """
    buckets = np.uint64(len(run_rows))
    inverse = _ALL // buckets + np.uint64(1)
    count = 0
    any_byte = np.uint8(0)
    for at in range(max(first, start), min(last + longest - 1, end)):
        any_byte |= data[at]
    if any_byte < 0x80 and shortest == 2 and longest == 4:
        return _ascii_run_rows(data, start, end, first, last, run_rows, run_known, buckets, inverse, out)
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
            if run_known[bucket >> 3] >> (bucket & 7) & 1:
                out[count] = run_rows[bucket]
                count += 1
    return count


@njit(cache=True, nogil=True)
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
) -> int:
    """Do what `_run_rows` does for runs of 2 to 4 characters of ASCII, the published models', without a branch a run.

    Every bucket is written, and the next one over it unless it is known.
    """
    count = 0
    for begin in range(first, min(last, end)):
        byte = np.uint64(0x3C) if begin < start else np.uint64(data[begin])
        value = (np.uint64(_FNV_START) ^ byte) * np.uint64(_FNV_PRIME) & _LOW
        for at in range(begin + 1, min(begin + 4, end + 1)):
            byte = np.uint64(data[at]) if at < end else np.uint64(0x3E)
            value = (value ^ byte) * np.uint64(_FNV_PRIME) & _LOW
            bucket = np.int64((((value * inverse) >> _HALF) + np.uint64(1)) * buckets >> _HALF)
            out[count] = bucket
            count += int(run_known[bucket >> 3] >> (bucket & 7) & 1)
    for index in range(count):
        out[index] = run_rows[out[index]]
    return count


@njit(cache=True, nogil=True)
def _is_separator(byte: int) -> bool:
    return bool(byte == 0x20 or 0x09 <= byte <= 0x0D or byte == 0)


@njit(cache=True, nogil=True)
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


@njit(cache=True, nogil=True)
def _starts_with(data: NDArray[np.uint8], start: int, end: int, text: bytes) -> bool:
    if end - start < len(text):
        return False
    for offset in range(len(text)):  # noqa: SIM110 - a generator cannot be compiled
        if data[start + offset] != text[offset]:
            return False
    return True


@njit(cache=True, nogil=True)
def _predict(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    valid: NDArray[np.bool_],
    flags: NDArray[np.uint8],
    lookup: Lookup,
    inputs: NDArray[np.float32],
    outputs: NDArray[np.float32],
    children: NDArray[np.int32],
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    documents, labels, dimension = len(valid), len(children) + 1, inputs.shape[1]
    best, probability = np.full(documents, -1, np.int32), np.zeros(documents, np.float32)
    hidden, score = np.empty(dimension, np.float32), np.empty(2 * labels - 1, np.float32)
    # Taken out of the tuple once: Numba counts references each time.
    run_rows, run_known = lookup.run_rows, lookup.run_known
    shortest, longest = lookup.shortest, lookup.longest
    words = len(lookup.places) - 1
    room = np.empty(longest * _WINDOW, np.int32)
    # Words that the model does not know are added with their rows as they are met: most are met again soon.
    slots = lookup.slots.copy()
    spelling = np.empty(len(lookup.spelling) + 16 * _MEMO, np.uint8)
    spelling[: len(lookup.spelling)] = lookup.spelling
    rows = np.empty(len(lookup.rows) + 8 * _MEMO, np.int32)
    rows[: len(lookup.rows)] = lookup.rows
    places = np.empty((words + _MEMO + 1, 2), np.int64)
    places[: words + 1] = lookup.places
    held = words
    ending = np.frombuffer(_END_OF_LINE, np.uint8)
    line_end = int(slots[_find(slots, spelling, places, ending, 0, len(ending), _hash(ending))] & _LOW) - 1
    for document in range(documents):
        start, end = offsets[document], offsets[document + 1]
        if not valid[document] or not _has_word(data, start, end, flags):
            continue
        hidden[:] = np.float32(0)
        total = 0
        stopped = False
        at = start
        while at < end and not stopped:
            if _is_separator(data[at]):
                at += 1
                continue
            word_at, word_hash = at, _FNV_START
            while at < end and not _is_separator(data[at]):
                word_hash = _step(word_hash, data[at])
                at += 1
            size = at - word_at
            slot = _find(slots, spelling, places, data, word_at, at, word_hash)
            entry = int(slots[slot] & _LOW) - 1
            if entry >= 0:
                total += _add(hidden, inputs, rows, places[entry, 1], places[entry + 1, 1])
                # The library takes this word in a text for the end of the line.
                stopped = entry == line_end
                continue
            count = 0
            if not _starts_with(data, word_at, at, _LABEL):
                # In pieces: text without spaces is one word, however long.
                for first in range(word_at - 1, at + 1, _WINDOW):
                    last = min(first + _WINDOW, at + 1)
                    count = _run_rows(data, word_at, at, first, last, run_rows, run_known, shortest, longest, room)
                    total += _add(hidden, inputs, room, 0, count)
            if size > _WINDOW - 2:
                continue
            spelt, row = places[held, 0], places[held, 1]
            if held == words + _MEMO or row + count > len(rows) or spelt + size > len(spelling):
                slots[:] = lookup.slots
                held = words
                continue
            slots[slot] = np.uint64(word_hash) << _HALF | np.uint64(held + 1)
            for offset in range(size):
                spelling[spelt + offset] = data[word_at + offset]
            for offset in range(count):
                rows[row + offset] = room[offset]
            held += 1
            places[held, 0], places[held, 1] = spelt + size, row + count
        if not stopped and line_end >= 0:
            total += _add(hidden, inputs, rows, places[line_end, 1], places[line_end + 1, 1])
        if total == 0:
            continue
        hidden *= np.float32(1.0 / total)
        score[2 * labels - 2] = 0
        for node in range(labels - 2, -1, -1):
            value = np.float32(0)
            for column in range(dimension):
                value += outputs[node, column] * hidden[column]
            right = np.float32(1.0 / np.float32(np.float32(1) + np.exp(-value)))
            above = score[labels + node]
            left = np.float32(1.0 - right)
            # The library adds 1e-5 before it takes logarithms.
            score[children[node, 0]] = above + np.float32(np.log(left + 1e-5))
            score[children[node, 1]] = above + np.float32(np.log(right + 1e-5))
        best[document] = np.argmax(score[:labels])
        probability[document] = np.exp(score[best[document]])
    return best, probability


@njit(cache=True, nogil=True)
def _add(
    hidden: NDArray[np.float32], inputs: NDArray[np.float32], rows: NDArray[np.int32], start: int, end: int
) -> int:
    """Add rows to `hidden`; return how many."""
    for index in range(start, end):
        row = rows[index]
        for column in range(len(hidden)):
            hidden[column] += inputs[row, column]
    return end - start
