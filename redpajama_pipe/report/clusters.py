"""The largest groups of duplicates of a run, for the terminal: who stays, who goes for it, from where, how alike.

No Spark: the counts beside the decisions say which groups are the largest, the decisions say who is in them, and one
look at the ids of the documents finds the places of those that are shown. Memory does not grow with a group.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from redpajama_pipe import manifest, schema, storage
from redpajama_pipe.dedup.duplicate_counts import COUNT, FOLDER
from redpajama_pipe.document_parts import read_texts
from redpajama_pipe.errors import InputError
from redpajama_pipe.report import figures, terminal
from redpajama_pipe.report.terminal import clean, wrap
from redpajama_pipe.run_folder import RunFolder

WIDTH = 100
DROPPED_SHOWN = 5  # of each group, the least similar first: where a wrong decision would be
TEXT_LINES = 8
_TEXT = 4_000  # characters


@dataclass(frozen=True)
class Member:
    """A document of a group. `rule` and `similarity` are those of its decision, None for the one that stays."""

    doc_id: bytes
    source: str
    url: str | None
    title: str | None
    text: str
    rule: str | None = None
    similarity: float | None = None


@dataclass(frozen=True)
class Group:
    """A document that stays and those that were dropped for it.

    Attributes:
        dropped: how many.
        rules: rule → documents.
        sources: of the dropped ones → documents.
        similarity: least and greatest; None where no decision has one.
        examples: some of the dropped ones.
    """

    kept: Member
    dropped: int
    rules: Mapping[str, int]
    sources: Mapping[str, int]
    similarity: tuple[float, float] | None
    examples: Sequence[Member]


def clusters_text(run: str, top: int = 10, *, text: bool = False) -> str:
    """Print the largest groups of a run.

    Args:
        run: the run's folder.
        top: how many.
        text: show how the texts begin, and not their first lines alone.

    Raises:
        InputError: `top` is not at least 1.
        ManifestError: the run has no finished dedup.
    """
    if top < 1:
        raise InputError(f"clusters --top {top}: show at least one group")
    folder = RunFolder.at(run)
    taken = manifest.read(folder.decisions("dedup"))
    dropped = sum(sum(rules.values()) for rules in taken.counts["by_rule"].values())
    documents = sum(taken.counts["documents"].values())
    return render(largest_groups(folder, top), documents, dropped, lines=TEXT_LINES if text else 1)


def largest_groups(folder: RunFolder, top: int) -> list[Group]:
    """Find the groups with most dropped documents; of equal ones those with the least id of the kept one first."""
    where = folder.decisions("dedup")
    largest: list[tuple[int, bytes]] = []
    for batch in _batches(storage.join(where, FOLDER), [schema.DOC_ID, COUNT]):
        rows = zip(pc.negate(batch[COUNT]).to_pylist(), batch[schema.DOC_ID].to_pylist(), strict=True)
        largest = heapq.nsmallest(top, [*largest, *rows])
    wanted = [doc_id for _, doc_id in largest]
    chosen = pc.field("kept_doc_id").isin(wanted) & (pc.field("action") == "drop") & (pc.field("rank") == 0)
    columns = [schema.DOC_ID, schema.SOURCE, "rule", "kept_doc_id", "similarity"]
    tallies = {doc_id: _Tally() for doc_id in wanted}
    for batch in _batches(where, columns, chosen):
        for row in batch.to_pylist():
            tallies[row["kept_doc_id"]].add(row)
    shown = [row[schema.DOC_ID] for tally in tallies.values() for row in tally.examples]
    found = _documents(folder, [*wanted, *shown])
    # what repeats a document of an earlier run has no group here
    return [tally.group(found, doc_id) for doc_id, tally in tallies.items() if doc_id in found]


def excerpts(folder: RunFolder, doc_ids: Sequence[bytes]) -> str:
    """Write what documents of a run are and how their texts begin, in the order of the ids, as `render` does."""
    found = _documents(folder, doc_ids)
    lines = (line for doc_id in doc_ids if doc_id in found for line in _member("document", _made(found[doc_id]), 2))
    return "\n".join(line.rstrip() for line in lines)


def render(groups: Sequence[Group], documents: int, dropped: int, lines: int = 1) -> str:
    """Write groups as text.

    Args:
        groups: in the order to show.
        documents: of the run.
        dropped: by dedup.
        lines: of each text, at most.

    Returns:
        Lines of at most WIDTH columns, with a newline at the end.
    """
    said = f"{figures.plural(dropped, 'duplicate')} dropped of {figures.plural(documents, 'document')}"
    out = [said + (f"; the largest {figures.plural(len(groups), 'group')}:" if groups else "")]
    for number, group in enumerate(groups, 1):
        out += ["", *_shown(number, group, lines)]
    return "\n".join(line.rstrip() for line in out) + "\n"


def _shown(number: int, group: Group, lines: int) -> Iterator[str]:
    head = f"{number}. {figures.plural(group.dropped, 'document')} dropped for {group.kept.doc_id.hex()}"
    if group.similarity is not None:
        low, high = (f"{value:.3f}" for value in group.similarity)
        head += f", similarity {low}" if low == high else f", similarity {low} to {high}"
    yield from wrap(head, WIDTH)
    for label, counts in (("rules", group.rules), ("sources", group.sources)):
        ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        yield from _field(label, ", ".join(f"{clean(name)} {figures.count(count)}" for name, count in ordered))
    yield from _member("stays", group.kept, lines)
    for member in group.examples:
        how = "" if member.similarity is None else f" {member.similarity:.3f}"
        yield from _member(f"dropped{how}", member, lines)
    rest = group.dropped - len(group.examples)
    if rest:
        yield f"   and {figures.count(rest)} more"


def _member(label: str, member: Member, lines: int) -> Iterator[str]:
    about = [member.doc_id.hex(), clean(member.source), *(clean(part) for part in (member.title, member.url) if part)]
    yield from _field(label, "  ".join(about))
    written = [line for paragraph in member.text.splitlines() for line in wrap(clean(paragraph), WIDTH - 7)]
    for line in written[:lines]:
        yield f"     │ {line}"


def _field(label: str, text: str) -> Iterator[str]:
    head = terminal.pad(label, 13)
    for index, line in enumerate(wrap(text or figures.DASH, WIDTH - 18)):
        yield f"   {head}  {line}" if index == 0 else " " * 18 + line


@dataclass
class _Tally:
    """What was seen of a group's decisions."""

    rules: Counter[str] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)
    similarity: tuple[float, float] | None = None
    examples: list[dict[str, Any]] = field(default_factory=list)

    def add(self, row: dict[str, Any]) -> None:
        self.rules[row["rule"]] += 1
        self.sources[row[schema.SOURCE]] += 1
        found = row["similarity"]
        if found is not None:
            low, high = self.similarity or (found, found)
            self.similarity = min(low, found), max(high, found)
        self.examples = heapq.nsmallest(DROPPED_SHOWN, [*self.examples, row], key=_least_similar)

    def group(self, found: Mapping[bytes, dict[str, Any]], kept: bytes) -> Group:
        return Group(
            kept=_made(found[kept]),
            dropped=self.rules.total(),
            rules=self.rules,
            sources=self.sources,
            similarity=self.similarity,
            examples=[_made(found[row[schema.DOC_ID]], row["rule"], row["similarity"]) for row in self.examples],
        )


def _made(row: Mapping[str, Any], rule: str | None = None, similarity: float | None = None) -> Member:
    return Member(row[schema.DOC_ID], row[schema.SOURCE], row["url"], row["title"], row[schema.TEXT], rule, similarity)


def _least_similar(row: Mapping[str, Any]) -> tuple[bool, float, bytes]:
    similarity = row["similarity"]
    return similarity is None, similarity or 0.0, row[schema.DOC_ID]


def _documents(folder: RunFolder, doc_ids: Sequence[bytes]) -> dict[bytes, dict[str, Any]]:
    """Look documents up: their source, url, title and how their texts begin."""
    columns = [schema.DOC_ID, schema.SOURCE, "url", "title", schema.PART, schema.ROW]
    places = [
        row
        for batch in _batches(folder.documents, columns, pc.field(schema.DOC_ID).isin(list(doc_ids)))
        for row in batch.to_pylist()
    ]
    places.sort(key=lambda row: (row[schema.PART], row[schema.ROW]))
    found: dict[bytes, dict[str, Any]] = {}
    for part in sorted({row[schema.PART] for row in places}):
        of_part = [row for row in places if row[schema.PART] == part]
        with storage.open_parquet(storage.join(folder.documents, f"{part}.parquet")) as parquet:
            for read in read_texts(parquet, np.array([row[schema.ROW] for row in of_part], np.int64), part):
                for place, text in enumerate(read.texts, read.first):
                    row = of_part[place]
                    found[row[schema.DOC_ID]] = {**row, schema.TEXT: text.as_py()[:_TEXT]}
    return found


def _batches(folder: str, columns: Sequence[str], condition: ds.Expression | None = None) -> Iterator[pa.RecordBatch]:
    names = [name for name in storage.list_names(folder) if name.endswith(".parquet")]
    if not names:
        return
    filesystem, target = fsspec.core.url_to_fs(folder)
    files = [storage.join(target, name) for name in names]
    yield from ds.dataset(files, format="parquet", filesystem=filesystem).to_batches(columns=columns, filter=condition)
