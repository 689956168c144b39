"""What rules take out of documents: the counts of the manifests, and the texts that go most often.

Decisions hold places, not texts, so texts are read of some documents: per rule those whose ids are lowest, `SAMPLE` of
them in the mean, which is all of them where there are fewer. Ids are hashes, so this is a random sample that needs no
shuffle and is the same on every cluster.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from itertools import pairwise
from operator import or_
from typing import TYPE_CHECKING, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import Window
from pyspark.sql import functions as F

from redpajama_pipe import decisions, schema
from redpajama_pipe.document_parts import read_members
from redpajama_pipe.manifest import Manifest
from redpajama_pipe.report.model import CutRow, CutText
from redpajama_pipe.schema import spark_ddl

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

SAMPLE = 600  # documents a rule
TEXTS = 6  # shown of a rule
LENGTH = 400  # characters of a text; what begins alike for so long is counted as one

_LINES = ("duplicate_line", "ccnet_paragraph")  # rules whose spans may be several lines in a row
_BLANK = re.compile(r"\n[^\S\n]*\n")
_LETTER, _DIGIT = re.compile(r"[^\W\d_]"), re.compile(r"\d")
_VISIBLE = str.maketrans({"\n": "⏎", "\r": "␍", "\t": "⇥", " ": "␣"})
_PIECES = pa.schema(
    [
        pa.field("rule", pa.string()),
        pa.field("text", pa.string()),  # null: the row says that the rule takes something out of the document
        pa.field("replacement", pa.string()),
        pa.field(schema.DOC_ID, pa.binary()),
        pa.field("kept_doc_id", pa.binary()),  # the least, and none before any
        pa.field("copies", pa.int64()),  # of the text in the document
    ]
)


def cut_rows(steps: Mapping[str, Manifest]) -> list[CutRow]:
    """Add up, over the sources, what the stages' manifests counted."""
    rows = []
    for stage, decided in steps.items():
        totals: dict[str, list[int]] = {}
        for rules in decided.counts.get("cuts", {}).values():
            for rule, counted in rules.items():
                row = totals.setdefault(rule, [0, 0, 0])
                for place, key in enumerate(("documents", "spans", "bytes")):
                    row[place] += counted[key]
        rows += [CutRow(rule, counts[0], counts[1], counts[2], stage) for rule, counts in sorted(totals.items())]
    return rows


def with_texts(
    rows: Sequence[CutRow], documents: DataFrame, taken: DataFrame | None, open_part: Callable[[str], pq.ParquetFile]
) -> tuple[list[CutRow], list[CutText]]:
    """Read what the rules take out most often.

    Args:
        rows: of `cut_rows`.
        documents: doc_id, part and row of all documents.
        taken: all decisions; None: there are none.
        open_part: opens a document part by its name, on any worker.

    Returns:
        The rows with `read`; and of each rule the texts taken out most often, the most frequent first.
    """
    if not rows or taken is None:
        return [], []
    span = F.struct("span_start", "span_end", "rule", "replacement", "kept_doc_id")
    chosen = (
        taken.where(decisions.CHANGES)
        .where(_sampled(rows))
        .groupBy(schema.DOC_ID)
        .agg(F.collect_list(span).alias("spans"))
    )
    members = documents.select(schema.DOC_ID, schema.PART, schema.ROW).join(chosen, schema.DOC_ID)
    ordered = members.repartition(schema.PART).sortWithinPartitions(schema.PART, schema.ROW)
    counted = (
        ordered.mapInArrow(_reader(open_part), spark_ddl(_PIECES))
        .groupBy("rule", "text", "replacement")
        .agg(
            F.sum("copies").alias("copies"),
            F.count(F.lit(1)).alias("documents"),
            F.min(F.struct(schema.DOC_ID, "kept_doc_id")).alias("example"),
        )
    )
    # the row without a text stands for the whole rule
    whole = F.col("text").isNull()
    place = Window.partitionBy("rule", whole).orderBy(F.col("copies").desc(), "text", "replacement")
    most = counted.withColumn("place", F.row_number().over(place)).where(F.col("place") <= TEXTS).collect()
    read = {row["rule"]: row["documents"] for row in most if row["text"] is None}
    found = sorted((row for row in most if row["text"] is not None), key=lambda row: row["place"])
    texts = [
        CutText(
            row.rule,
            text["text"],
            text["copies"],
            text["documents"],
            bytes(text["example"][schema.DOC_ID]).hex(),
            text["replacement"],
            bytes(kept).hex() if (kept := text["example"]["kept_doc_id"]) is not None else None,
        )
        for row in rows
        for text in found
        if text["rule"] == row.rule
    ]
    return [replace(row, read=read.get(row.rule, 0)) for row in rows], texts


def _sampled(rows: Sequence[CutRow]) -> Column:
    """Say which decisions are looked at: of a rule that many documents have, those with the lowest ids."""
    whole = [row.rule for row in rows if row.documents <= SAMPLE]
    # as numbers the first four bytes of an id are below a bound where the id is below the bound's four bytes
    bounds = {row.rule: int((1 << 32) * (SAMPLE / row.documents)) for row in rows if row.documents > SAMPLE}
    parts = [F.col("rule").isin(whole)] if whole else []
    parts += [
        (F.col("rule") == rule) & (F.col(schema.DOC_ID) < F.lit(bound.to_bytes(4, "big")))
        for rule, bound in bounds.items()
    ]
    return reduce(or_, parts)


def pieces_of(rule: str, text: str, replacement: str | None = None) -> list[str]:
    """Write the text of a span as what is counted: one piece, or one a line or a paragraph where the rule is on these.

    White space is joined; a piece that is nothing else is shown by signs for it. What is replaced is shown by its
    shape, x for a letter and 0 for a digit.
    """
    if rule in _LINES:
        parts = [part for part in text.split("\n") if part.strip()]
    elif rule == "duplicate_paragraph":
        parts = [part for part in _BLANK.split(text) if part.strip()]
    else:
        parts = [text]
    if replacement is not None:
        parts = [_DIGIT.sub("0", _LETTER.sub("x", part)) for part in parts]
    shown = [" ".join(part.split()) or part.translate(_VISIBLE) for part in parts]
    return [part if len(part) <= LENGTH else part[:LENGTH] + "…" for part in shown]


def _reader(
    open_part: Callable[[str], pq.ParquetFile],
) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """Make the pass from documents with spans, sorted by (part, row), to rows of _PIECES."""

    def read(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            parts = batch[schema.PART].dictionary_encode().indices.to_numpy()
            ends = [0, *(np.flatnonzero(np.diff(parts)) + 1).tolist(), len(parts)]
            for begin, end in pairwise(ends):
                if begin == end:
                    continue
                wanted = batch.slice(begin, end - begin)
                part = wanted[schema.PART][0].as_py()
                with open_part(part) as parquet:
                    for texts, members in read_members(parquet, wanted, part):
                        found = [
                            row
                            for text, doc_id, spans in zip(
                                texts, members[schema.DOC_ID].to_pylist(), members["spans"].to_pylist(), strict=True
                            )
                            for row in _rows(text.as_buffer(), doc_id, spans)
                        ]
                        yield pa.RecordBatch.from_pylist(found, schema=_PIECES)

    return read


def _rows(utf8: pa.Buffer, doc_id: bytes, spans: Sequence[Mapping[str, object]]) -> Iterator[dict[str, object]]:
    """Count the pieces of a document: rows of _PIECES, one a rule, text and replacement, and one a rule."""
    counted: dict[tuple[object, str | None, object], tuple[int, bytes | None]] = {}
    for span in spans:
        kept = cast("bytes | None", span["kept_doc_id"])
        pieces = _pieces(utf8, span)
        keys = [(span["rule"], piece, span["replacement"]) for piece in pieces]
        for key in [*keys, *([(span["rule"], None, None)] if pieces else [])]:
            copies, least = counted.get(key, (0, kept))
            counted[key] = copies + 1, None if kept is None or least is None else min(least, kept)
    for (rule, text, replacement), (copies, least) in counted.items():
        known = {"rule": rule, "text": text, "replacement": replacement}
        yield {**known, schema.DOC_ID: doc_id, "kept_doc_id": least, "copies": copies}


def _pieces(utf8: pa.Buffer, span: Mapping[str, object]) -> list[str]:
    start, end = span["span_start"], span["span_end"]
    assert isinstance(start, int)
    assert isinstance(end, int)
    text = utf8.slice(start, end - start).to_pybytes().decode("utf-8", "replace")
    replacement = span["replacement"]
    return pieces_of(str(span["rule"]), text, None if replacement is None else str(replacement))
