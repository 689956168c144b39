"""From the places where evaluation n-grams were found in one document to decisions about it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from redpajama_pipe.decontamination.index import Index
from redpajama_pipe.settings.decontaminate import Decontaminate

STAGE = "decontaminate"
RULE = "contaminated"


@dataclass(frozen=True)
class Hit:
    """One place where a run of the index stands in a document.

    Attributes:
        run: its number.
        start: first byte, from the document's start.
        end: one past its last.
        before: first byte of the window that goes with it.
        after: one past the window's last.
        chars_before: characters before the window.
        chars_after: characters before the window's end.
    """

    run: int
    start: int
    end: int
    before: int = 0
    after: int = 0
    chars_before: int = 0
    chars_after: int = 0


@dataclass(frozen=True)
class Decision:
    """What a row of the decisions table says beside the document, and the examples that the document holds."""

    action: str
    rule: str
    rank: int
    evidence: str
    start: int | None = None
    end: int | None = None
    examples: Sequence[int] = ()


@dataclass
class _Found:
    """What a document shares with one set; the hits of examples that it holds enough of, in order."""

    examples: list[int]
    hits: list[Hit] = field(default_factory=list)
    first_example: int = 0


def decide(hits: Sequence[Hit], size: int, chars: int, index: Index, settings: Decontaminate) -> list[Decision]:
    """Decide about a document.

    Args:
        hits: in it, by start, end and run; common n-grams are not among them any more.
        size: its bytes.
        chars: its characters; read with mode gpt3 only.
        index: of the evaluation sets.
        settings: the recipe's.

    Returns:
        No decision; or drops, one for each set that it holds examples of, rank 0 for the first of the recipe; or cuts,
        in order.
    """
    found = _by_set(hits, index, settings.min_overlap)
    if not found:
        return []
    if settings.mode == "gpt3" and settings.action == "cut":
        spans, pieces = _windows(sorted({hit for of in found.values() for hit in of.hits}, key=_place), chars, settings)
        left = [after - before for before, after in pieces if after - before >= settings.min_piece]
        if len(pieces) > settings.max_pieces or not left:
            return _drops(found, index, {"pieces": len(pieces)})
        return [_cut_of_window(hit, span, found, index, len(pieces)) for hit, span in _to_bytes(spans, size, chars)]
    if settings.action == "cut":
        cuts = {number: _merged(of.hits) for number, of in found.items()}
        if not _covers([span for spans in cuts.values() for span in spans], size):
            return [
                Decision(
                    "cut",
                    f"{RULE}.{index.sets[number]}",
                    0,
                    _evidence(index, number, found[number], {}),
                    start,
                    end,
                    found[number].examples,
                )
                for number, spans in cuts.items()
                for start, end in spans
            ]
    return _drops(found, index, {})


def _by_set(hits: Sequence[Hit], index: Index, min_overlap: int) -> dict[int, _Found]:
    """Find the examples of which the document holds enough, by the number of their set, ascending."""
    runs = sorted({hit.run for hit in hits})
    of_run = {run: index.examples_of(run) for run in runs}
    examples, counts = np.unique(np.concatenate([np.empty(0, np.int32), *of_run.values()]), return_counts=True)
    enough = examples[counts >= np.minimum(min_overlap, index.example_runs[examples])]
    found = {
        int(number): _Found([int(example) for example in enough[index.example_set[enough] == number]])
        for number in np.unique(index.example_set[enough])
    }
    held = set(enough.tolist())
    for hit in hits:
        seen: set[int] = set()
        for example in of_run[hit.run].tolist():
            number = int(index.example_set[example])
            if example not in held or number in seen:
                continue
            seen.add(number)
            of = found[number]
            if not of.hits:
                of.first_example = example
            of.hits.append(hit)
    return found


def _drops(found: dict[int, _Found], index: Index, more: dict[str, Any]) -> list[Decision]:
    return [
        Decision("drop", f"{RULE}.{index.sets[number]}", rank, _evidence(index, number, of, more), examples=of.examples)
        for rank, (number, of) in enumerate(found.items())
    ]


def _evidence(index: Index, number: int, found: _Found, more: dict[str, Any]) -> str:
    first = found.hits[0]
    values = {
        "set": index.sets[number],
        "example": index.example_ids[found.first_example],
        "ngram": index.text_of(first.run),
        "byte": first.start,
        "hits": len(found.hits),
        "examples": len(found.examples),
        **more,
    }
    return json.dumps(values, ensure_ascii=False, separators=(",", ":"))


def _place(hit: Hit) -> tuple[int, int, int]:
    return hit.start, hit.end, hit.run


def _merged(hits: Sequence[Hit]) -> list[tuple[int, int]]:
    """Return the bytes of hits as spans that do not overlap."""
    spans: list[tuple[int, int]] = []
    for start, end in sorted((hit.start, hit.end) for hit in hits):
        if spans and start <= spans[-1][1]:
            spans[-1] = (spans[-1][0], max(spans[-1][1], end))
        else:
            spans.append((start, end))
    return spans


def _covers(spans: Sequence[tuple[int, int]], size: int) -> bool:
    """Say whether spans leave nothing of a document."""
    at = 0
    for start, end in sorted(spans):
        if start > at:
            return False
        at = max(at, end)
    return at >= size


@dataclass
class _Span:
    """A stretch that is cut: characters, bytes, and the first hit in it."""

    hit: Hit
    chars_before: int
    chars_after: int
    before: int
    after: int


def _windows(hits: Sequence[Hit], chars: int, settings: Decontaminate) -> tuple[list[_Span], list[tuple[int, int]]]:
    """Return what is cut around hits, short pieces included, and the pieces that the windows leave, in characters."""
    windows: list[_Span] = []
    for hit in hits:
        if windows and hit.chars_before <= windows[-1].chars_after:
            last = windows[-1]
            if hit.chars_after > last.chars_after:
                last.chars_after, last.after = hit.chars_after, hit.after
        else:
            windows.append(_Span(hit, hit.chars_before, hit.chars_after, hit.before, hit.after))
    edges = [0, *(edge for span in windows for edge in (span.chars_before, span.chars_after)), chars]
    pieces = [(before, after) for before, after in zip(edges[::2], edges[1::2], strict=True) if before < after]
    spans: list[_Span] = []
    for span in windows:
        if spans and span.chars_before - spans[-1].chars_after < settings.min_piece:
            spans[-1].chars_after, spans[-1].after = span.chars_after, span.after
        else:
            spans.append(span)
    if spans[0].chars_before < settings.min_piece:
        spans[0].chars_before = spans[0].before = 0
    if chars - spans[-1].chars_after < settings.min_piece:
        spans[-1].chars_after = chars
    return spans, pieces


def _to_bytes(spans: Sequence[_Span], size: int, chars: int) -> list[tuple[Hit, tuple[int, int]]]:
    return [(span.hit, (span.before, size if span.chars_after == chars else span.after)) for span in spans]


def _cut_of_window(hit: Hit, span: tuple[int, int], found: dict[int, _Found], index: Index, pieces: int) -> Decision:
    """Name a cut after the first set that its first hit is of."""
    number = next(number for number, of in found.items() if hit in of.hits)
    inside = [other for other in found[number].hits if span[0] <= other.start < span[1]]
    example = next(int(e) for e in index.examples_of(hit.run) if int(e) in found[number].examples)
    own = _Found(found[number].examples, inside, example)
    evidence = _evidence(index, number, own, {"pieces": pieces})
    return Decision("cut", f"{RULE}.{index.sets[number]}", 0, evidence, *span, found[number].examples)
