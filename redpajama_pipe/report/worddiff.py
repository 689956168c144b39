"""How two texts differ, word by word: what the report and `explain` show of a duplicate and its twin.

The alignment is a longest common subsequence over at most LIMIT characters a side, found in bit-parallel steps on
Python's integers: about 10 ms a pair at most, whatever the texts say. difflib took 130 s on one repetitive pair of that
length (its worst case is cubic), which a crawl will hold.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

LIMIT = 2_000  # characters of each text that are compared
CONTEXT = 14  # words left standing on either side of a difference

# Scripts written without spaces give one word a character: kana, CJK ideographs and their extensions, Thai, Lao, Khmer.
_SPACELESS = r"\u0e00-\u0eff\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_WORD = re.compile(rf"[{_SPACELESS}]|[^\s{_SPACELESS}]+|\s+")


@dataclass(frozen=True)
class Run:
    """A stretch of both texts. `left` and `right` are equal for `same`; white space is as in the texts.

    `gap` stands for `words` equal words that were left out; its texts are empty.
    """

    kind: Literal["same", "differ", "gap"]
    left: str
    right: str
    words: int = 0


def split(text: str) -> list[str]:
    """Cut a text into words, each with the white space that follows it; joined they give the text back."""
    pieces: list[str] = []
    for match in _WORD.finditer(text):
        piece = match.group()
        if piece.isspace() and pieces:
            pieces[-1] += piece
        else:
            pieces.append(piece)
    return pieces


def compare(left: str, right: str, limit: int = LIMIT, context: int = CONTEXT) -> list[Run]:
    """Align two texts by words; equal means equal but for white space.

    Args:
        left: only the first `limit` characters are compared; likewise `right`.
        context: equal stretches keep this many words at each end that touches a difference; the rest becomes a gap.

    Returns:
        Runs in order. Two equal texts give one `same` run.
    """
    left_words, right_words = split(left[:limit]), split(right[:limit])
    left_keys, right_keys = [w.strip() for w in left_words], [w.strip() for w in right_words]
    runs: list[Run] = []
    stretches = _stretches(_matches(left_keys, right_keys), len(left_keys), len(right_keys))
    for index, (same, (l0, l1), (r0, r1)) in enumerate(stretches):
        if not same:
            runs.append(Run("differ", "".join(left_words[l0:l1]), "".join(right_words[r0:r1])))
            continue
        head = context if index else 0
        tail = context if index + 1 < len(stretches) else 0
        if len(stretches) == 1:
            head = 4 * context  # equal texts: show how they begin
        runs += _equal(left_words[l0:l1], right_words[r0:r1], head, tail)
    return runs


def _matches(left: Sequence[str], right: Sequence[str]) -> list[tuple[int, int]]:
    """Return index pairs of a longest common subsequence, in order.

    Source: Hyyrö 2004, Bit-parallel LCS-length computation revisited. Bit i of a row is 0 where one more word of `left`
    makes the subsequence longer; keeping every row (LIMIT bits each) lets the pairs be read back.
    """
    where: dict[str, int] = {}
    for index, word in enumerate(left):
        where[word] = where.get(word, 0) | 1 << index
    every = (1 << len(left)) - 1
    row, rows = every, []
    for word in right:
        hit = row & where.get(word, 0)
        row = ((row + hit) | (row - hit)) & every
        rows.append(row)
    pairs: list[tuple[int, int]] = []
    at, down = len(left), len(right)
    while at and down:
        if rows[down - 1] >> (at - 1) & 1:
            at -= 1
            continue
        down -= 1
        if not down or rows[down - 1] >> (at - 1) & 1:
            at -= 1
            pairs.append((at, down))
    return pairs[::-1]


def _stretches(
    pairs: Sequence[tuple[int, int]], left: int, right: int
) -> list[tuple[bool, tuple[int, int], tuple[int, int]]]:
    """Turn matched pairs into alternating stretches (same, span of the left, span of the right) that cover both."""
    found: list[tuple[bool, tuple[int, int], tuple[int, int]]] = []
    l0 = r0 = 0  # start of the stretch that is open
    l1 = r1 = 0  # one past its last pair
    for l2, r2 in [*pairs, (left, right)]:
        if (l2, r2) == (l1, r1) and (l2, r2) != (left, right):
            l1, r1 = l2 + 1, r2 + 1
            continue
        if l1 > l0:
            found.append((True, (l0, l1), (r0, r1)))
        if l2 > l1 or r2 > r1:
            found.append((False, (l1, l2), (r1, r2)))
        l0, r0, l1, r1 = l2, r2, l2 + 1, r2 + 1
    return found


def _equal(left: Sequence[str], right: Sequence[str], head: int, tail: int) -> list[Run]:
    hidden = len(left) - head - tail
    if hidden < 4:  # a gap says no less than four words do
        return [Run("same", "".join(left), "".join(right))]
    ends = [Run("same", "".join(left[:head]), "".join(right[:head]))] if head else []
    ends.append(Run("gap", "", "", hidden))
    if tail:
        ends.append(Run("same", "".join(left[-tail:]), "".join(right[-tail:])))
    return ends
