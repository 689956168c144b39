"""Repeated units to spans that can be cut out of a text: disjoint, with their line breaks, nothing left dangling."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple


class Repeated(NamedTuple):
    """A unit to be cut; places as those of `lines_units.Units`.

    Attributes:
        before: where the unit before it ends.
        start: where it begins.
        stop: where it ends.
        end: where what separates it from the next unit ends; equal to `stop` for a text's last unit alone.
        kept: the document that has the copy that stays; None: all copies go.
        documents: how many documents have it, where that decides; else 0.
    """

    before: int
    start: int
    stop: int
    end: int
    kept: bytes | None
    documents: int


@dataclass
class Cut:
    """A span to cut: bytes start to end, of so many repeated units, with one `kept`; `documents` is the least."""

    start: int
    end: int
    kept: bytes | None
    units: int
    documents: int


def merge_cuts(repeated: Iterable[Repeated]) -> tuple[list[Cut], bool]:
    """Join the repeated units of one text to spans.

    Units that touch or overlap are one span where they have the same `kept`; otherwise the later one begins where the
    earlier one ends. A unit goes with what separates it from the next one; where the last unit of the text goes, with
    what separates it from the one before, so that no line break is left at the end that was not there.

    Returns:
        The spans, in order, disjoint, none empty; and whether nothing of the text is left, not even an empty line.
    """
    cuts: list[Cut] = []
    chain = 0  # the first of the spans that touch
    to_end = False
    before = 0
    for unit in sorted(repeated, key=lambda unit: (unit.start, unit.end)):
        if cuts and unit.start <= cuts[-1].end:
            last = cuts[-1]
            if unit.kept == last.kept or unit.end <= last.end:
                last.end = max(last.end, unit.end)
                last.units += 1
                last.documents = min(last.documents, unit.documents)
            else:
                cuts.append(Cut(last.end, unit.end, unit.kept, 1, unit.documents))
        else:
            chain, before = len(cuts), unit.before
            cuts.append(Cut(unit.start, unit.end, unit.kept, 1, unit.documents))
        to_end = unit.stop == unit.end
    whole = to_end and chain == 0 and cuts[0].start == 0
    if to_end:
        cuts[chain].start = before
    return [cut for cut in cuts if cut.start < cut.end], whole
