"""Shingles: runs of consecutive words, joined by one space, or of consecutive characters, as 64-bit hashes.

A document is normalised piece by piece into a small buffer, its shingles are hashed where they lie, and the last words
are carried on to the next piece: what this holds depends on the longest shingle alone, not on the document or the
batch. The set of shingles and its Jaccard similarity are those of Broder 1997, On the resemblance and containment of
documents.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
from numba import njit, uint64
from numpy.typing import NDArray

from redpajama_pipe.dedup.ascii_blocks import ascii_ranges, fill_ascii
from redpajama_pipe.dedup.letters import ALONE, MARK, SEPARATOR, WORD, Letters, lower_case_words, words_between_spaces
from redpajama_pipe.dedup.normalizations import PUBLISHED
from redpajama_pipe.dedup.sha1 import SPARE, Lanes, make_lanes, sha1_spans
from redpajama_pipe.dedup.xxh64 import xxh64_spans
from redpajama_pipe.text.blocks import BLOCK
from redpajama_pipe.text.buffers import utf8
from redpajama_pipe.text.unaligned import load_little64

if TYPE_CHECKING:
    from redpajama_pipe.dedup.minhash import MinHashSpec

NORMALIZATIONS = ("words", "none", *PUBLISHED)

_BUFFER = 32 << 10  # bytes of normalised text at a time: it, its words and its hashes stay in the L2 cache
_MARGIN = max(SPARE, BLOCK) + 16  # the rest is for a separator and one more character

# What the kernel says when it returns.
_DONE, _FULL, _GROW = 0, 1, 2


class HashRuns(NamedTuple):
    """Hashes of consecutive documents; a long document goes on in the next runs.

    Attributes:
        hashes: (hashes,), in the order of the text, repeated shingles repeated.
        documents: (runs,); the document of each run. Every document with a shingle has one.
        ends: (runs,); one past its last hash; it begins where the run before it ends.
    """

    hashes: NDArray[np.uint64]
    documents: NDArray[np.int64]
    ends: NDArray[np.int64]


def hash_runs(
    texts: pa.Array, shingle: int, normalization: str, function: Literal["sha1", "xxh64"] = "sha1"
) -> Iterator[HashRuns]:
    """Hash every shingle of every document.

    Args:
        texts: strings; a null has no shingles.
        shingle: words in each; with `slimpajama` characters.
        normalization: see `minhash.MinHashSpec`.
        function: `sha1`: the digest's first 8 bytes, little-endian. `xxh64`: XXH64 with seed 0.

    Yields:
        Views of scratch that the next step overwrites.
    """
    if normalization in PUBLISHED:
        published = PUBLISHED[normalization]
        texts = pa.array([None if text is None else published(text) for text in texts.to_pylist()], pa.large_string())
    characters = normalization == "slimpajama"
    data, offsets, valid = utf8(texts)
    letters = lower_case_words() if normalization == "words" else words_between_spaces()
    ranges = ascii_ranges(letters.ascii)
    lanes = make_lanes()
    progress = np.array([0, -1, 0, 0])  # document, place in data (-1: before its start), bytes and words in the buffer
    buffer, starts, ends, hashes = _scratch(_BUFFER, shingle)
    status = _FULL
    while status != _DONE:
        documents, run_ends = np.empty(len(hashes), np.int64), np.empty(len(hashes), np.int64)
        status, runs = _hash_documents(
            data, offsets, valid, progress, shingle, letters, ranges, characters, function == "xxh64", lanes,
            buffer, starts, ends, hashes, documents, run_ends,
        )  # fmt: skip
        if runs:
            yield HashRuns(hashes[: run_ends[runs - 1]], documents[:runs], run_ends[:runs])
        if status == _GROW:
            text, begins, stops = buffer, starts, ends
            buffer, starts, ends, hashes = _scratch(2 * len(text), shingle)
            filled, count = int(progress[2]), int(progress[3])
            buffer[:filled], starts[: count + 1], ends[:count] = text[:filled], begins[: count + 1], stops[:count]


def shingle_hashes(texts: pa.Array, spec: MinHashSpec) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Make each document's set of shingles.

    A shingle is its SHA-1's first 8 bytes as a little-endian number, so two different ones are taken for the same
    with a probability of 2**-64. `spec`'s scheme and seed play no part.

    Returns:
        values: (total,); the distinct hashes of document i, ascending, are values[offsets[i]:offsets[i + 1]].
        offsets: (documents + 1,); a document shorter than one shingle, or null, has none.
    """
    sets: list[NDArray[np.uint64]] = []
    offsets = np.zeros(len(texts) + 1, np.int64)
    pieces: list[NDArray[np.uint64]] = []
    current = -1
    for hashes, documents, ends in hash_runs(texts, spec.shingle, spec.normalization):
        begin = 0
        for document, end in zip(documents.tolist(), ends.tolist(), strict=True):
            if document != current and pieces:
                sets.append(_distinct(pieces))
                offsets[current + 1] = len(sets[-1])
                pieces = []
            current = document
            pieces.append(hashes[begin:end].copy())
            begin = end
    if pieces:
        sets.append(_distinct(pieces))
        offsets[current + 1] = len(sets[-1])
    values = np.concatenate(sets) if sets else np.empty(0, np.uint64)
    return values, np.cumsum(offsets)


@njit(cache=True, nogil=True)
def shared_values(a: NDArray[np.uint64], b: NDArray[np.uint64]) -> int:
    """Count the values that two ascending arrays without repetitions have in common."""
    shared = i = j = 0
    while i < len(a) and j < len(b):
        x, y = a[i], b[j]
        shared += x == y
        i += x <= y
        j += y <= x
    return shared


def _distinct(pieces: list[NDArray[np.uint64]]) -> NDArray[np.uint64]:
    values = pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
    values.sort()
    first = np.ones(len(values), np.bool_)
    np.not_equal(values[1:], values[:-1], out=first[1:])
    return values[first]


def _scratch(
    size: int, shingle: int
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64], NDArray[np.uint64]]:
    # A piece of text fills at most the buffer with twice its bytes, and has a word for at most every second byte.
    words = size // 4 + shingle + 2 + 3  # fill_ascii writes up to 3 too many
    return (
        np.zeros(size, np.uint8),
        np.zeros(words, np.int64),
        np.zeros(words, np.int64),
        np.empty(2 * words, np.uint64),
    )


@njit(cache=True, nogil=True)
def _hash_documents(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    valid: NDArray[np.bool_],
    progress: NDArray[np.int64],
    shingle: int,
    letters: Letters,
    ranges: NDArray[np.uint8],
    characters: bool,
    xxh64: bool,
    lanes: Lanes,
    buffer: NDArray[np.uint8],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    hashes: NDArray[np.uint64],
    documents: NDArray[np.int64],
    run_ends: NDArray[np.int64],
) -> tuple[int, int]:
    """Go on from `progress` until the hashes are full, a word does not fit, or all is done."""
    document, at, filled, count = progress
    runs = total = 0
    status = _DONE
    while document < len(valid):
        if not valid[document]:
            document += 1
            continue
        if len(hashes) - total < len(starts):
            status = _FULL
            break
        end = offsets[document + 1]
        if at < 0:
            at, filled, count = offsets[document], 0, 0
            starts[0] = 0
        before = at
        if characters:
            at, filled, count = _fill_characters(data, at, end, buffer, filled, starts, ends, count)
        else:
            at, filled, count = _fill(data, at, end, buffer, filled, starts, ends, count, letters, ranges)
        found = count - shingle + 1
        if found > 0:
            if xxh64:
                xxh64_spans(buffer, starts, ends[shingle - 1 :], found, hashes[total:])
            else:
                sha1_spans(buffer, starts, ends[shingle - 1 :], found, hashes[total:], lanes)
            total += found
            if runs == 0 or documents[runs - 1] != document:
                runs += 1
            documents[runs - 1] = document
            run_ends[runs - 1] = total
        if at == end:
            document += 1
            at = -1
            continue
        # Carry the last words of an unfinished document to the front.
        first = max(count - shingle + 1, 0)
        moved = starts[first]
        for i in range(moved, filled):
            buffer[i - moved] = buffer[i]
        for i in range(first, count):
            starts[i - first] = starts[i] - moved
            ends[i - first] = ends[i] - moved
        starts[count - first] = filled - moved
        filled -= moved
        count -= first
        if filled > len(buffer) // 2 or at == before:
            status = _GROW
            break
    progress[0], progress[1], progress[2], progress[3] = document, at, filled, count
    return status, runs


@njit(cache=True, nogil=True)
def _fill(
    data: NDArray[np.uint8],
    at: int,
    end: int,
    buffer: NDArray[np.uint8],
    filled: int,
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    count: int,
    letters: Letters,
    ranges: NDArray[np.uint8],
) -> tuple[int, int, int]:
    """Append words to the buffer, each with a space after it, until half of its free room was read.

    Args:
        data: the text; `at` and `end` bound it.
        buffer: `filled` bytes and `count` words of it are there already.
        starts: out: where each word begins in the buffer.
        ends: out: one past its last byte.
        letters: what makes a word.
        ranges: its ASCII part, of `ascii_ranges`.

    Returns:
        The new `at`, `filled` and `count`. A word that was cut is taken back: `at` is at its first byte.
    """
    ascii_bytes, blocks, entries = letters
    limit = min(end, at + (len(buffer) - filled - _MARGIN) // 2)
    inside = 0
    alone = False  # in a word that the next letter does not continue
    word_at = at
    whole = len(data) - BLOCK
    while at < limit:
        # Worth it from eight bytes of ASCII on.
        if not alone and at <= whole and load_little64(data, at) & uint64(0x8080808080808080) == 0:
            at, filled, count, inside, word_at = fill_ascii(
                data, at, limit, buffer, filled, starts, ends, count, inside, word_at, ranges
            )
            continue
        byte = np.int64(data[at])
        if byte < 0x80 and not alone:
            # No branch here: where words end cannot be guessed, and guessing wrong takes longer than all this.
            low: Any = np.int64(ascii_bytes[byte])
            letter = low >> 8
            word_at = word_at if inside else at
            buffer[filled] = low
            ends[count] = filled
            starts[count + 1] = filled + 1
            count += inside & ~letter
            filled += inside | letter
            inside = letter
            at += 1
            continue
        if byte < 0x80:
            width = 1
            low = np.int64(ascii_bytes[byte])
            kind: Any = WORD if low >> 8 else SEPARATOR
            low &= 0xFF
        else:
            width = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            kind, low = SEPARATOR, np.int64(0)
            if at + width <= end:
                code = byte & (0x1F if width == 2 else 0x0F if width == 3 else 0x07)
                for i in range(1, width):
                    code = code << 6 | np.int64(data[at + i]) & 0x3F
                entry = np.int64(entries[np.int64(blocks[code >> 8]) << 8 | code & 0xFF])
                kind, low = entry & 3, code + (entry >> 2)
        if kind == MARK and not inside:
            kind = SEPARATOR
        if inside and (kind == SEPARATOR or (kind != MARK and (alone or kind == ALONE))):
            buffer[filled] = 0x20
            ends[count] = filled
            filled += 1
            count += 1
            starts[count] = filled
            inside = 0
            alone = False
        if kind != SEPARATOR:
            if not inside:
                word_at = at
                inside = 1
                alone = kind == ALONE
            if low < 0x80:
                buffer[filled] = low
                filled += 1
            elif low < 0x800:
                buffer[filled] = 0xC0 | low >> 6
                buffer[filled + 1] = 0x80 | low & 0x3F
                filled += 2
            elif low < 0x10000:
                buffer[filled] = 0xE0 | low >> 12
                buffer[filled + 1] = 0x80 | low >> 6 & 0x3F
                buffer[filled + 2] = 0x80 | low & 0x3F
                filled += 3
            else:
                buffer[filled] = 0xF0 | low >> 18
                buffer[filled + 1] = 0x80 | low >> 12 & 0x3F
                buffer[filled + 2] = 0x80 | low >> 6 & 0x3F
                buffer[filled + 3] = 0x80 | low & 0x3F
                filled += 4
        at += width
    if inside and at < end:
        return word_at, starts[count], count
    if inside:
        buffer[filled] = 0x20
        ends[count] = filled
        filled += 1
        count += 1
        starts[count] = filled
    return min(at, end), filled, count


@njit(cache=True, nogil=True)
def _fill_characters(
    data: NDArray[np.uint8],
    at: int,
    end: int,
    buffer: NDArray[np.uint8],
    filled: int,
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    count: int,
) -> tuple[int, int, int]:
    """Append characters as they are, none cut, until a quarter of the free room was read; as `_fill` otherwise."""
    limit = min(end, at + (len(buffer) - filled - _MARGIN) // 4)  # there is room for so many starts and ends
    while at < limit:
        byte = data[at]
        width = min(1 if byte < 0x80 else 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4, end - at)
        for i in range(width):
            buffer[filled + i] = data[at + i]
        at += width
        filled += width
        ends[count] = filled
        count += 1
        starts[count] = filled
    return at, filled, count
