"""Repeated lines, paragraphs and three-sentence spans, as spans to cut out of documents that stay.

Each text is read once. Of each distinct unit of a document one row goes through one shuffle: its hash, the document's
id and place in keep order, and where its copies are; never text. What occurs once is dropped as soon as it arrives. A
second shuffle gathers each document's cuts. A unit that is in very many documents is sorted by one task, on disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from redpajama_pipe import decisions
from redpajama_pipe.dedup import keep_order as order
from redpajama_pipe.dedup.byte_columns import ID_BYTES, fixed_width
from redpajama_pipe.dedup.lines_spans import Cut, Repeated, merge_cuts
from redpajama_pipe.dedup.lines_units import SPAN_BYTES, Unit, find_units, rows_of
from redpajama_pipe.document_parts import read_members
from redpajama_pipe.schema import BYTE_COUNT, DECISIONS, DOC_ID, LANGUAGE, PART, ROW, SOURCE, spark_ddl
from redpajama_pipe.settings.dedup import Lines

OpenPart = Callable[[str], pq.ParquetFile]
Pass = Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]

NOTHING_LEFT = "ccnet_no_text_left"
_HIGH, _LOW, _GROUP, _SPANS, _KEPT, _DOCUMENTS = "high", "low", "file_group", "spans", "kept", "documents"


def rule_of(lines: Lines) -> str:
    """Return the rule under which `repeated_lines` cuts."""
    if lines.mode == "first":
        return f"duplicate_{lines.unit}"
    return "ccnet_paragraph" if lines.mode == "ccnet" else "c4_three_sentences"


def repeated_lines(
    documents: DataFrame,
    open_part: OpenPart,
    lines: Lines,
    keep_order: str,
    groups: Mapping[str, int] | None = None,
    num_partitions: int = 0,
) -> DataFrame:
    """Decide what repeated text to cut out of documents.

    Args:
        documents: doc_id, source, language, part, row, byte_count and what `keep_order` mentions. In modes `first` and
            `c4` those that stay in the end, or a copy could be kept in a document that goes.
        open_part: opens a document part by its name, on any worker; the part has columns doc_id and text.
        lines: the recipe's.
        keep_order: as `Dedup.keep_order`: of equal units the first in the first document in this order stays.
        groups: mode `ccnet`: document part → its group; parts are compared within their group. None: all are one.
        num_partitions: tasks of each shuffle; 0: spark.sql.shuffle.partitions. Changes no row.

    Returns:
        Decisions as schema.DECISIONS: cuts, disjoint within a document, each with the document that has the copy that
        stays, if one does; in mode `ccnet` a drop instead where no line is left. The set of rows does not depend on
        partitions or on the order of `documents`.

    Raises:
        RecipeError: `keep_order` does not fit the documents.
    """
    keys = order.parse(keep_order)
    order.check(documents, keys)
    tasks = num_partitions or int(documents.sparkSession.conf.get("spark.sql.shuffle.partitions") or 200)
    found = _units(documents, open_part, lines, keys, groups, tasks)
    repeated = _in_group(found) if lines.mode == "ccnet" else _but_first(found, keys)
    known = documents.select(DOC_ID, SOURCE, LANGUAGE, BYTE_COUNT)
    cuts = known.join(repeated, DOC_ID).repartition(tasks, DOC_ID).sortWithinPartitions(DOC_ID)
    decided = cuts.mapInArrow(_decide(rule_of(lines), drops=lines.mode == "ccnet"), spark_ddl(DECISIONS))
    return decided.unionByName(_without_text(documents)) if lines.mode == "ccnet" else decided


def file_groups(parts: list[str], files: int) -> dict[str, int]:
    """Give parts to groups of so many input files each, in the order of the corpus.

    Args:
        parts: names in that order; parts of one file differ in what follows the last hyphen.
        files: of a group.
    """
    numbers: dict[str, int] = {}
    return {part: numbers.setdefault(part.rpartition("-")[0], len(numbers)) // files for part in parts}


def _units(
    documents: DataFrame,
    open_part: OpenPart,
    lines: Lines,
    keys: tuple[order.OrderKey, ...],
    groups: Mapping[str, int] | None,
    tasks: int,
) -> DataFrame:
    """Return a row for each distinct unit of each document: its hash, places, and what orders the document."""
    named = [key.value.alias(f"key_{index}") for index, key in enumerate(keys)] if lines.mode != "ccnet" else []
    carried = documents.select(DOC_ID, *named)
    members = documents.select(PART, ROW, DOC_ID, *named).repartition(tasks, PART).sortWithinPartitions(PART, ROW)
    kinds = ", ".join(f"`{name}` {kind}" for name, kind in carried.dtypes)
    row = f"{_HIGH} bigint, {_LOW} bigint, {_GROUP} int, {kinds}, {_SPANS} binary"
    return members.mapInArrow(_find(open_part, lines, groups, carried.columns), row)


def _but_first(units: DataFrame, keys: tuple[order.OrderKey, ...]) -> DataFrame:
    """Keep of each unit the first copy of the first document; 128 bits of hash say what is equal."""
    place = [key.sort(F.col(f"key_{index}")) for index, key in enumerate(keys)]
    same = Window.partitionBy(_HIGH, _LOW).orderBy(*place, F.col(DOC_ID).asc())
    kept = F.first(DOC_ID).over(same.rowsBetween(Window.unboundedPreceding, Window.currentRow))
    return _cut(units.withColumn(_KEPT, kept).withColumn(_DOCUMENTS, F.lit(0)), F.col(_KEPT) != F.col(DOC_ID))


def _in_group(units: DataFrame) -> DataFrame:
    """Keep no copy of what two documents of a group have, and the first of what one document repeats."""
    same = Window.partitionBy(_GROUP, _HIGH)
    # Published code marks what it removes with the hash 0, so a line whose hash that is goes as well.
    counted = units.withColumn(_DOCUMENTS, F.count(F.lit(1)).over(same).cast("int"))
    everywhere = (F.col(_DOCUMENTS) > 1) | (F.col(_HIGH) == 0)
    return _cut(counted.withColumn(_KEPT, F.when(~everywhere, F.col(DOC_ID))), everywhere)


def _cut(units: DataFrame, all_copies: Column) -> DataFrame:
    repeated = units.where(all_copies | (F.length(_SPANS) > SPAN_BYTES))
    later = F.substring(_SPANS, SPAN_BYTES + 1, 2**31 - 1 - SPAN_BYTES)
    return repeated.select(DOC_ID, F.when(all_copies, F.col(_SPANS)).otherwise(later).alias(_SPANS), _KEPT, _DOCUMENTS)


def _without_text(documents: DataFrame) -> DataFrame:
    """Drop documents that have no byte, as CCNet does before it looks at lines."""
    empty = documents.where(F.col(BYTE_COUNT) == 0)
    return decisions.drops(empty, "dedup", F.lit(NOTHING_LEFT), F.lit('{"lines":0}'))


def _find(open_part: OpenPart, lines: Lines, groups: Mapping[str, int] | None, carried: list[str]) -> Pass:
    """Make the pass that reads documents, sorted by (part, row), and gives the rows of `_units`."""
    unit: Unit = lines.unit if lines.mode == "first" else "ccnet_line" if lines.mode == "ccnet" else "three_sentences"
    min_chars = lines.min_chars if lines.mode == "first" else 0

    def find(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            parts = batch[PART].dictionary_encode().indices.to_numpy()
            bounds = [0, *(np.flatnonzero(np.diff(parts)) + 1).tolist(), len(parts)]
            for begin, end in pairwise(bounds):
                if begin == end:
                    continue
                of_part = batch.slice(begin, end - begin)
                part = of_part[PART][0].as_py()
                group = groups[part] if groups else 0
                with open_part(part) as parquet:
                    for texts, members in read_members(parquet, of_part, part):
                        document, keys, spans = rows_of(find_units(texts, unit, min_chars))
                        of = pa.array(document)
                        hashes = keys.view(np.int64)
                        columns = {
                            _HIGH: pa.array(hashes[:, 0]),
                            _LOW: pa.array(hashes[:, 1]),
                            _GROUP: pa.array(np.full(len(document), group, np.int32)),
                            **{name: members[name].take(of) for name in carried},
                            _SPANS: spans,
                        }
                        yield pa.RecordBatch.from_pydict(columns)

    return find


def _decide(rule: str, *, drops: bool) -> Pass:
    """Make the pass from rows sorted by document to decisions; a document's rows may lie in several batches."""

    def decide(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        waiting: list[pa.RecordBatch] = []  # rows of one document, the last one
        for batch in batches:
            if not batch.num_rows:
                continue
            ids = fixed_width(batch[DOC_ID], ID_BYTES, DOC_ID)
            bounds = [0, *(np.flatnonzero(np.any(ids[1:] != ids[:-1], axis=1)) + 1).tolist(), batch.num_rows]
            made = []
            for begin, end in pairwise(bounds):
                rows = batch.slice(begin, end - begin)
                if waiting and waiting[0][DOC_ID][0] != rows[DOC_ID][0]:
                    made += _decisions(waiting, rule, drops)
                    waiting = []
                waiting.append(rows)
            yield pa.RecordBatch.from_pylist(made, schema=DECISIONS)
        if waiting:
            yield pa.RecordBatch.from_pylist(_decisions(waiting, rule, drops), schema=DECISIONS)

    return decide


def _decisions(rows: list[pa.RecordBatch], rule: str, drops: bool) -> list[dict[str, object]]:
    first = {name: rows[0][name][0].as_py() for name in (DOC_ID, SOURCE, LANGUAGE)}
    cuts, whole = merge_cuts(_repeated(rows))
    common = {**first, "replacement": None, "stage": "dedup", "rank": 0, "similarity": None}
    if whole and drops:
        lines = sum(cut.units for cut in cuts)
        evidence = f'{{"lines":{lines}}}'
        return [{**common, "action": "drop", "rule": NOTHING_LEFT, "evidence": evidence}]
    return [
        {
            **common,
            "action": "cut",
            "rule": rule,
            "span_start": cut.start,
            "span_end": cut.end,
            "evidence": _evidence(cut),
            "kept_doc_id": cut.kept,
        }
        for cut in cuts
    ]


def _repeated(rows: list[pa.RecordBatch]) -> Iterator[Repeated]:
    for batch in rows:
        columns = (batch[name].to_pylist() for name in (_SPANS, _KEPT, _DOCUMENTS))
        for spans, kept, documents in zip(*columns, strict=True):
            for before, start, stop, end in np.frombuffer(spans, "<i4").reshape(-1, 4).tolist():
                yield Repeated(before, start, stop, end, kept, documents)


def _evidence(cut: Cut) -> str:
    if cut.kept is None:
        return f'{{"units":{cut.units},"documents":{cut.documents}}}'
    return f'{{"kept":"{cut.kept.hex()}","units":{cut.units}}}'
