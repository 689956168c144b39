"""Texts that differ in case, white space or composed letters only: one normal form, and its hash.

The form: NFC; each character in lower case (the simple mapping: one to one, without regard to its neighbours); every
run of white space (str.isspace) one space, none at the ends. Punctuation, digits and accents stay. One kernel over
UTF-8; only texts with a character that NFC may change or reorder are normalised as Python strings before it.
"""

from __future__ import annotations

import unicodedata
from functools import cache
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numba import njit
from numpy.typing import NDArray

from redpajama_pipe.dedup.byte_columns import from_fixed_width
from redpajama_pipe.dedup.content import DIGEST_BYTES
from redpajama_pipe.dedup.letters import lower_case_words
from redpajama_pipe.text.buffers import utf8

HASH_BYTES = DIGEST_BYTES + 8
MOST_BYTES = 1 << 16  # of text that is normalised at once: NFC is slow, and no more of a long text than this needs it

_SPACE, _COMPOSES = 1, 2


class Spans(NamedTuple):
    """Byte spans of a buffer: span i is data[starts[i]:ends[i]]; they may overlap.

    Attributes:
        data: (bytes,); what `normalize_spans` gives has SPARE more after the last span.
        starts: (spans,)
        ends: (spans,)
    """

    data: NDArray[np.uint8]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]


class Normalized(NamedTuple):
    """Normalised spans.

    Attributes:
        spans: in a buffer of their own, in the order given.
        chars: (spans,) code points of each.
    """

    spans: Spans
    chars: NDArray[np.int64]


SPARE = 64  # as the hash kernels want it


def normalized_hash(texts: pa.Array) -> pa.Array:
    """Hash each document's normalised text.

    Args:
        texts: string or large_string.

    Returns:
        binary, 24 bytes a document: BLAKE2b of 128 bits of the normalised UTF-8, then its length in bytes as a
        little-endian number, so that equal values mean equal hashes and equal lengths. Null for null, and for a text
        that has nothing but white space, which equals no other.
    """
    data, offsets, valid = utf8(texts)
    rows = np.zeros((len(valid), HASH_BYTES), np.uint8)
    first = 0
    while first < len(valid):
        last = max(first + 1, int(np.searchsorted(offsets, offsets[first] + MOST_BYTES, "right")) - 1)
        if offsets[last] - offsets[first] > MOST_BYTES:
            rows[first] = _hash_long(data, int(offsets[first]), int(offsets[last]))
        else:
            bounds = offsets[first : last + 1] - offsets[first]
            rows[first:last] = _hash_each(Spans(data[offsets[first] : offsets[last]], bounds[:-1], bounds[1:]))
        first = last
    hashes = from_fixed_width(rows)
    known = valid & rows[:, DIGEST_BYTES:].any(axis=1)
    return hashes if known.all() else pa.array(hashes.to_pylist(), pa.binary(), mask=~known)


def _hash_each(texts: Spans) -> NDArray[np.uint8]:
    (normal, starts, ends), _ = normalize_spans(texts)
    rows = np.empty((len(starts), HASH_BYTES), np.uint8)
    view = normal.data
    bounds = zip(starts.tolist(), ends.tolist(), strict=True)
    digests = b"".join(blake2b(view[start:end], digest_size=DIGEST_BYTES).digest() for start, end in bounds)
    rows[:, :DIGEST_BYTES] = np.frombuffer(digests, np.uint8).reshape(-1, DIGEST_BYTES)
    rows[:, DIGEST_BYTES:] = (ends - starts).astype("<i8").view(np.uint8).reshape(-1, 8)
    return rows


def _hash_long(data: NDArray[np.uint8], at: int, end: int) -> NDArray[np.uint8]:
    """Hash a text of any length, a piece at a time."""
    hashed, size, glue = blake2b(digest_size=DIGEST_BYTES), 0, b""
    while at < end:
        cut, next_glue = _cut(data, at, end)
        (normal, starts, ends), _ = normalize_spans(Spans(data[at:cut], np.zeros(1, np.int64), np.array([cut - at])))
        piece = normal[starts[0] : ends[0]]
        if len(piece):
            hashed.update(glue if size else b"")
            size += len(glue if size else b"") + len(piece)
            hashed.update(piece.data)
            glue = next_glue
        else:  # white space
            glue = b" "
        at = cut
    return np.frombuffer(hashed.digest() + size.to_bytes(8, "little"), np.uint8)


def _cut(data: NDArray[np.uint8], at: int, end: int) -> tuple[int, bytes]:
    """Find where a piece may end so that the pieces' normal forms, put together, are that of the whole.

    That is before white space; or before a character that composes with none and does not follow white space.

    Returns:
        The place, and what stands between the two normal forms.
    """
    place, tables = at + MOST_BYTES, _tables()
    last, plain = end, False  # the character after this one, and whether it composes with none
    while at < place < end:
        while data[place] & 0xC0 == 0x80 and place > at:
            place -= 1
        character = str(data[place : place + 4].tobytes(), "utf-8", "ignore")[:1]
        space = not character or character.isspace()
        if space and place > at:
            return place, b" "
        if plain and not space:
            return last, b""
        code = ord(character or " ")
        plain = not tables.entries[int(tables.blocks[code >> 8]) << 8 | code & 255] & _COMPOSES
        last = place
        place -= 1
    return end, b""


def normalize_spans(spans: Spans) -> Normalized:
    """Normalise spans of UTF-8, each for itself."""
    data, starts, ends = spans
    normal, composing = _normalize(data, starts, ends)
    if composing.any():
        normal, _ = _normalize(*_composed(spans, np.flatnonzero(composing)))
    return normal


def _composed(spans: Spans, which: NDArray[np.int64]) -> Spans:
    """Put the NFC of some spans behind the data, and let the spans point there."""
    data, starts, ends = spans[0], spans[1].copy(), spans[2].copy()
    view = data.data
    pieces = []
    at = len(data)
    for index in which.tolist():
        piece = unicodedata.normalize("NFC", str(view[starts[index] : ends[index]], "utf-8")).encode()
        pieces.append(piece)
        starts[index], ends[index] = at, at + len(piece)
        at += len(piece)
    return Spans(np.concatenate([data, np.frombuffer(b"".join(pieces), np.uint8)]), starts, ends)


def _normalize(
    data: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> tuple[Normalized, NDArray[np.bool_]]:
    count = len(starts)
    size = int((ends - starts).sum())
    # a character of 2 bytes may become one of 3 (U+023A), none grows by more
    out = np.zeros(size + size // 2 + SPARE, np.uint8)
    out_ends, chars, composing = np.zeros(count + 1, np.int64), np.zeros(count, np.int64), np.zeros(count, np.bool_)
    tables = _tables()
    _normalize_kernel(data, starts, ends, tables.ascii, tables.blocks, tables.entries, out, out_ends, chars, composing)
    return Normalized(Spans(out, out_ends[:-1], out_ends[1:]), chars), composing


class _Tables(NamedTuple):
    """Look-up tables: the entry of code point c is entries[blocks[c >> 8] << 8 | c & 255].

    Attributes:
        ascii: (128,) what is written; a space for white space.
        blocks: (8192,) one for each 256 numbers that 21 bits can spell, so that malformed UTF-8 stays inside.
        entries: (distinct blocks * 256,) what is written << 2, and flags.
    """

    ascii: NDArray[np.uint8]
    blocks: NDArray[np.uint16]
    entries: NDArray[np.int32]


@cache
def _tables() -> _Tables:
    letters = lower_case_words()
    codes = np.arange(1 << 21, dtype=np.int32)
    changes = letters.entries[letters.blocks[codes >> 8].astype(np.int32) << 8 | codes & 255] >> 2
    entries = (codes + changes) << 2
    seconds = {*range(0x1161, 0x1176), *range(0x11A8, 0x11C3)}  # Hangul vowels and finals compose by rule
    for code in range(0x80, 0x110000):
        character = chr(code)
        if character.isspace():
            entries[code] = ord(" ") << 2 | _SPACE
        if unicodedata.combining(character):
            entries[code] |= _COMPOSES
        parts = unicodedata.decomposition(character)
        if parts and parts[0] != "<":
            seconds.update(int(part, 16) for part in parts.split()[1:])
            if not unicodedata.is_normalized("NFC", character):
                entries[code] |= _COMPOSES
    entries[list(seconds)] |= _COMPOSES
    numbers: dict[bytes, int] = {}
    blocks = np.array([numbers.setdefault(block.tobytes(), len(numbers)) for block in entries.reshape(-1, 256)])
    ascii_bytes = np.array([32 if chr(code).isspace() else ord(chr(code).lower()) for code in range(128)], np.uint8)
    tables = _Tables(ascii_bytes, blocks.astype(np.uint16), np.frombuffer(b"".join(numbers), np.int32))
    for table in tables:
        table.flags.writeable = False
    return tables


@njit(cache=True, nogil=True)
def _normalize_kernel(
    data: NDArray[np.uint8],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    ascii_bytes: NDArray[np.uint8],
    blocks: NDArray[np.uint16],
    entries: NDArray[np.int32],
    out: NDArray[np.uint8],
    out_ends: NDArray[np.int64],
    chars: NDArray[np.int64],
    composing: NDArray[np.bool_],
) -> None:
    k = 0
    for i in range(len(starts)):
        at, end = starts[i], ends[i]
        begin = k
        after_space = True  # none at the beginning
        found = 0
        continuing = 0  # bytes written beyond the first of each character
        while at < end:
            byte = data[at]
            if byte < 128:
                byte = ascii_bytes[byte]
                at += 1
                out[k] = byte
                space = byte == 32
                k += 0 if space and after_space else 1
                after_space = space
                continue
            length = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            if at + length > end:  # not UTF-8
                break
            if length == 2:
                code = (byte & 0x1F) << 6 | data[at + 1] & 0x3F
            elif length == 3:
                code = (byte & 0x0F) << 12 | (data[at + 1] & 0x3F) << 6 | data[at + 2] & 0x3F
            else:
                code = (
                    (byte & 0x07) << 18
                    | (data[at + 1] & 0x3F) << 12
                    | (data[at + 2] & 0x3F) << 6
                    | (data[at + 3] & 0x3F)
                )
            at += length
            entry = entries[np.int64(blocks[code >> 8]) << 8 | code & 255]
            found |= entry & 3
            code = entry >> 2
            if entry & 1:
                out[k] = 32
                k += 0 if after_space else 1
                after_space = True
                continue
            after_space = False
            if code < 0x80:
                out[k] = code
                k += 1
            elif code < 0x800:
                out[k] = 0xC0 | code >> 6
                out[k + 1] = 0x80 | code & 0x3F
                k += 2
                continuing += 1
            elif code < 0x10000:
                out[k] = 0xE0 | code >> 12
                out[k + 1] = 0x80 | code >> 6 & 0x3F
                out[k + 2] = 0x80 | code & 0x3F
                k += 3
                continuing += 2
            else:
                out[k] = 0xF0 | code >> 18
                out[k + 1] = 0x80 | code >> 12 & 0x3F
                out[k + 2] = 0x80 | code >> 6 & 0x3F
                out[k + 3] = 0x80 | code & 0x3F
                k += 4
                continuing += 3
        if k > begin and after_space:
            k -= 1
        out_ends[i + 1] = k
        chars[i] = k - begin - continuing
        composing[i] = found & 2 != 0
