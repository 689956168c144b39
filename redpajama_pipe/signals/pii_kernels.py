"""Find the lines of documents that may hold personal data, by what each kind of it cannot do without.

One pass for all kinds, 64 bytes at once, and byte by byte beside a hit: time is linear in the text. Lines that stand
close together are given as one part, so that there are few: memory is a byte a byte at most.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from redpajama_pipe.text.blocks import BLOCK, first_one, within
from redpajama_pipe.text.classes import DECIMAL
from redpajama_pipe.text.decode import decode
from redpajama_pipe.text.lean import inner, lean

# What a part may hold, as regular expressions of ASCII.
AT = 1  # @
EMAIL = 2  # @(\w|\[)
DOTTED = 4  # \d\.\d+\.\d+\.\d
COLONS = 8  # [23][0-9A-Fa-f]{3}:[0-9A-Fa-f]*:
PHONE = 16  # \+[1-9] or [2-9]\d\d(\) ?|[-. ])\d{3}[-. ]\d{4}
TEN_DIGITS = 32  # \d{3}\)?[-. ]*\d{3}[-. ]?\d{4}, and whatever holds digits of other scripts

CLOSE = 64  # bytes; parts no further from each other are one
_ALL, _ONE = ~np.uint64(0), np.uint64(1)


@njit(cache=True, nogil=True)
def parts(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    valid: NDArray[np.bool_],
    classes: NDArray[np.uint8],
    kinds: int,
) -> NDArray[np.int64]:
    """Find the parts of documents that may hold something of these kinds.

    Args:
        data: the documents' UTF-8, end to end.
        offsets: (documents + 1,) where each begins.
        valid: (documents,) False: skip.
        classes: the flags of every code point, text.classes.classes().
        kinds: a sum of the constants above.

    Returns:
        (parts, 4): document, first byte, byte after the last, and kinds; ascending and disjoint. A part is whole lines
        with their newlines; all of a document where it holds digits of other scripts.
    """
    found = np.empty((16, 4), np.int64)
    held = 0
    for document in range(len(valid)):
        if not valid[document]:
            continue
        start, end = offsets[document], offsets[document + 1]
        first = held
        others = False
        line_start: Any = start  # up to where newlines are known
        line_stop: Any = start
        at: Any = np.uint64(start)
        while at < np.uint64(end):
            bits = _hits(data, at)
            while bits:
                place = np.int64(at) + first_one(bits)
                bits &= bits - _ONE
                if place >= end:
                    break
                if data[place] >= 0xC2:
                    others |= (classes[decode(data, place, end)[0]] & DECIMAL) != 0
                    continue
                kind = _kinds(data, place, start, end) & kinds
                if not kind:
                    continue
                if place >= line_stop:
                    line_stop = place
                    while line_stop < end and data[line_stop] != 0x0A:
                        line_stop += 1
                    line_stop = min(line_stop + 1, end)
                    before = line_start
                    line_start = place
                    while line_start > before and data[line_start - 1] != 0x0A:
                        line_start -= 1
                    if held == first or line_start - found[held - 1, 2] > CLOSE:
                        if held == len(found):
                            found = _grown(found)
                        found[held, 0], found[held, 1], found[held, 3] = document, line_start, 0
                        held += 1
                    found[held - 1, 2] = line_stop
                    line_start = line_stop
                found[held - 1, 3] |= kind
            at += np.uint64(BLOCK)
        if others and (held > first or kinds & TEN_DIGITS):
            kind = kinds & TEN_DIGITS
            for index in range(first, held):
                kind |= found[index, 3]
            held = first
            if held == len(found):
                found = _grown(found)
            found[held, 0], found[held, 1], found[held, 2], found[held, 3] = document, start, end, kind
            held += 1
    return found[:held]


@inner
def _grown(found: NDArray[np.int64]) -> NDArray[np.int64]:
    grown = np.empty((2 * len(found), 4), np.int64)
    for index in range(len(found)):
        for column in range(4):
            grown[index, column] = found[index, column]
    return grown


@lean
def _hits(data: NDArray[np.uint8], at: np.uint64) -> np.uint64:
    """Return 64 bits: whether _kinds, or a character that is not ASCII, must be looked at; at the end all are set."""
    if at + np.uint64(BLOCK + 3) > np.uint64(len(data)):
        return _ALL
    digits, next_digits = _digits(data, at), _digits(data, at + np.uint64(1))
    after = at + np.uint64(1)
    third = _digits(data, at + np.uint64(2))
    marks = within(data, after, 0x20, 0x20) | within(data, after, 0x2D, 0x2E)
    bits: np.uint64 = digits & third & (marks | next_digits & _digits(data, at + np.uint64(3)))
    bits |= within(data, at, 0x40, 0x40) | within(data, at, 0x3A, 0x3A) | within(data, at, 0x2B, 0x2B)
    bits |= within(data, at, 0xC2, 0xFF)
    return bits


@lean
def _digits(data: NDArray[np.uint8], at: np.uint64) -> np.uint64:
    bits: np.uint64 = within(data, at, 0x30, 0x39)
    return bits


@lean
def _kinds(data: NDArray[np.uint8], at: int, start: int, end: int) -> int:
    """Return what is at `at`: at an @ or +, the first : or the first digit before a mark, or of the last four."""
    byte = data[at]
    after = data[at + 1] if at + 1 < end else np.uint8(0)
    if byte == 0x40:
        return AT | EMAIL if _alphanumeric(after) or after == 0x5F or after == 0x5B else AT
    if byte == 0x2B:
        return PHONE if 0x31 <= after <= 0x39 else 0
    if byte == 0x3A:
        if at - start < 4 or (data[at - 4] != 0x32 and data[at - 4] != 0x33):
            return 0
        place = at - 3
        while place < end and _hexadecimal(data[place]):
            place += 1
        if place != at:
            return 0
        place += 1
        while place < end and _hexadecimal(data[place]):
            place += 1
        return COLONS if place < end and data[place] == 0x3A else 0
    if not _digit(byte):
        return 0
    kinds = 0
    if after == 0x2E and _dotted(data, at + 1, end):
        kinds |= DOTTED
    if (
        _mark(after)
        and _run(data, at + 2, min(end, at + 6)) == 4
        and at - start >= 6
        and _run(data, at - 2, at + 1) == 3
    ):
        place = at - 3  # before the three digits
        if data[place] == 0x20 and data[place - 1] == 0x29:
            place -= 1
        if data[place] == 0x29 or _mark(data[place]):
            area = place - 3
            if area >= start and _run(data, area, place) == 3 and data[area] >= 0x32:
                kinds |= PHONE
    if _run(data, at, min(end, at + 4)) == 4 and at - start >= 6 and _ends_six(data, at, start):
        kinds |= TEN_DIGITS
    return kinds


@lean
def _ends_six(data: NDArray[np.uint8], at: int, start: int) -> bool:
    r"""Whether \d{3}\)?[-. ]*\d{3}[-. ]? ends there."""
    if _mark(data[at - 1]):
        at -= 1
    if at - start < 6 or _run(data, at - 3, at) != 3:
        return False
    at -= 3
    while at > start and _mark(data[at - 1]):
        at -= 1
    if at > start and data[at - 1] == 0x29:
        at -= 1
    return bool(at - start >= 3 and _run(data, at - 3, at) == 3)


@lean
def _dotted(data: NDArray[np.uint8], at: int, end: int) -> bool:
    r"""Whether \.\d+\.\d+\.\d is there."""
    for _ in range(2):
        run = _run(data, at + 1, end)
        at += 1 + run
        if not run or at >= end or data[at] != 0x2E:
            return False
    return _run(data, at + 1, min(end, at + 2)) == 1


@lean
def _run(data: NDArray[np.uint8], at: int, end: int) -> int:
    """Return how many digits are there."""
    size = 0
    while at + size < end and _digit(data[at + size]):
        size += 1
    return size


@lean
def _digit(byte: np.uint8) -> bool:
    return bool(0x30 <= byte <= 0x39)


@lean
def _mark(byte: np.uint8) -> bool:
    return bool(byte == 0x20 or byte == 0x2D or byte == 0x2E)


@lean
def _alphanumeric(byte: np.uint8) -> bool:
    return bool(0x30 <= byte <= 0x39 or 0x61 <= (byte | 0x20) <= 0x7A)


@lean
def _hexadecimal(byte: np.uint8) -> bool:
    return bool(0x30 <= byte <= 0x39 or 0x61 <= (byte | 0x20) <= 0x66)
