"""Lists of the spans that a kernel cuts from a text: (spans, 3) first byte, byte after the last, and a reason.

Bytes count from where the text begins; a text's spans stand in order and disjoint, from `first` to before `held`. The
kernels that call these are cached with them: delete their caches after a change of this file.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from redpajama_pipe.text.classes import SPACE as _SPACE
from redpajama_pipe.text.decode import character_before, decode
from redpajama_pipe.text.lean import inner, lean

ROOM = 8


@lean
def add(spans: NDArray[np.int64], held: int, first: int, start: int, end: int, reason: np.int64) -> int:
    """Append a span if it is not empty; two that touch for one reason are one. There must be room for it."""
    if start >= end:
        return held
    if held > first and spans[held - 1, 1] == start and spans[held - 1, 2] == reason:
        spans[held - 1, 1] = end
        return held
    spans[held, 0], spans[held, 1], spans[held, 2] = start, end, reason
    return held + 1


@inner
def with_room(spans: NDArray[np.int64], held: int) -> NDArray[np.int64]:
    """Return the spans in an array that has room for ROOM more: the same one, or a copy twice as long."""
    if held + ROOM <= len(spans):
        return spans
    grown = np.empty((2 * len(spans) + ROOM, 3), np.int64)
    for index in range(held):  # an assignment to a slice takes seconds to compile
        for column in range(3):
            grown[index, column] = spans[index, column]
    return grown


@lean
def insert(spans: NDArray[np.int64], held: int, index: int, start: int, end: int, reason: np.int64) -> int:
    """Put a span in at its place among the others. There must be room for it."""
    for moved in range(held, index, -1):
        for column in range(3):
            spans[moved, column] = spans[moved - 1, column]
    spans[index, 0], spans[index, 1], spans[index, 2] = start, end, reason
    return held + 1


@inner
def trim(
    data: NDArray[np.uint8],
    start: int,
    end: int,
    classes: NDArray[np.uint8],
    spans: NDArray[np.int64],
    first: int,
    held: int,
    white_space: np.int64,
    line_break: np.int64,
) -> tuple[NDArray[np.int64], int]:
    """Strip what is left of data[start:end]: cut the white space at its ends, which may be between spans.

    Args:
        data: the documents' UTF-8, end to end.
        start: where the text begins.
        end: where it ends.
        classes: the flags of every code point, text.classes.classes().
        spans: what is cut from the text already; its spans are the last ones.
        first: the text's first span.
        held: how many spans there are.
        white_space: the reason of what is cut here.
        line_break: the reason of spans that leave a newline behind, and at the text's ends none; -1: there are none.

    Returns:
        The spans, which may have grown, and how many there are.
    """
    at: Any = np.int64(start)
    index: Any = np.int64(first)
    while at < end:  # over spans and white space to the first character that stays
        if index < held and start + spans[index, 0] <= at:
            if spans[index, 2] == line_break:
                spans[index, 2] = white_space
            at = max(at, start + spans[index, 1])
            index += 1
            continue
        code, width = decode(data, at, end)
        if not classes[code] & _SPACE:
            break
        if index > first and start + spans[index - 1, 1] == at and spans[index - 1, 2] == white_space:
            spans[index - 1, 1] += width
        elif index < held and start + spans[index, 0] == at + width and spans[index, 2] == white_space:
            spans[index, 0] -= width
        else:
            spans = with_room(spans, held)
            held = insert(spans, held, index, at - start, at + width - start, white_space)
        at += width
    at, index = np.int64(end), held - 1
    while at > start:  # the same from the back
        if index >= first and start + spans[index, 1] >= at:
            if spans[index, 2] == line_break:
                spans[index, 2] = white_space
            at = min(at, start + spans[index, 0])
            index -= 1
            continue
        before = character_before(data, at, start)
        if not classes[decode(data, before, end)[0]] & _SPACE:
            break
        if index >= first and start + spans[index, 1] == before and spans[index, 2] == white_space:
            spans[index, 1] = at - start
        elif index + 1 < held and start + spans[index + 1, 0] == at and spans[index + 1, 2] == white_space:
            spans[index + 1, 0] = before - start
        else:
            spans = with_room(spans, held)
            held = insert(spans, held, index + 1, before - start, at - start, white_space)
        at = before
    return spans, held
