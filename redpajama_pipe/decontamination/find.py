"""The two passes over documents: read them once and note where evaluation n-grams stand, then decide by document.

Only documents with a hit leave the first pass, as a row for each hit; no text is moved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from redpajama_pipe.decontamination.decide import STAGE, Hit, decide
from redpajama_pipe.decontamination.index import load
from redpajama_pipe.document_parts import read_members
from redpajama_pipe.schema import DECISIONS, DOC_ID, LANGUAGE, PART, ROW, SOURCE, spark_ddl
from redpajama_pipe.settings.decontaminate import Decontaminate

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

OpenPart = Callable[[str], pq.ParquetFile]
Pass = Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]

BATCH_BYTES = 4 << 20  # of text at a time: a batch that is an evaluation set itself gives 50 bytes of hits a word
_ROWS = 4096

# A hit, and of its document what decisions need.
HITS = pa.schema(
    [
        pa.field(DOC_ID, pa.binary()),
        pa.field(SOURCE, pa.string()),
        pa.field(LANGUAGE, pa.string()),
        pa.field("size", pa.int64()),
        pa.field("chars", pa.int64()),
        *(pa.field(name, pa.int64()) for name in Hit.__dataclass_fields__),
    ]
)
EXAMPLES = "examples"
DECIDED = DECISIONS.append(pa.field(EXAMPLES, pa.list_(pa.int32())))


def find_hits(
    documents: DataFrame, open_part: OpenPart, index: tuple[str, str], settings: Decontaminate, partitions: int = 0
) -> DataFrame:
    """Note where the runs of an index stand in documents, in the columns of HITS, in no order.

    Args:
        documents: doc_id, source, language, part and row.
        open_part: opens a document part by its name, on any worker.
        index: path and sha256, as `load` takes them.
        settings: the recipe's.
        partitions: tasks; 0: spark.sql.shuffle.partitions. Changes no row.
    """
    tasks = partitions or int(documents.sparkSession.conf.get("spark.sql.shuffle.partitions") or 200)
    rows = documents.select(DOC_ID, SOURCE, LANGUAGE, PART, ROW)
    by_part = rows.repartition(tasks, PART).sortWithinPartitions(PART, ROW)
    return by_part.mapInArrow(_searched(open_part, index, settings), spark_ddl(HITS))


def decide_hits(hits: DataFrame, index: tuple[str, str], settings: Decontaminate, partitions: int = 0) -> DataFrame:
    """Decide about each document that has hits, in the columns of DECIDED; arguments as for `find_hits`."""
    tasks = partitions or int(hits.sparkSession.conf.get("spark.sql.shuffle.partitions") or 200)
    by_document = hits.repartition(tasks, DOC_ID).sortWithinPartitions(DOC_ID, "start", "end", "run")
    return by_document.mapInArrow(_decided(index, settings), f"{spark_ddl(DECISIONS)}, {EXAMPLES} array<int>")


def _searched(open_part: OpenPart, index: tuple[str, str], settings: Decontaminate) -> Pass:
    def search(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for part, members in _by_part(batch):
                with open_part(part) as parquet:
                    for texts, known in read_members(parquet, members, part, BATCH_BYTES):
                        found = load(*index).find(texts)
                        if len(found):
                            yield _hit_rows(texts, known, found, settings)

    return search


def _by_part(batch: pa.RecordBatch) -> Iterator[tuple[str, pa.RecordBatch]]:
    """Cut a batch that is sorted by part where the part changes."""
    begin = 0
    for part, run in groupby(batch[PART].to_pylist()):
        end = begin + sum(1 for _ in run)
        yield part, batch.slice(begin, end - begin)
        begin = end


def _hit_rows(
    texts: pa.Array, members: pa.RecordBatch, found: NDArray[np.int64], settings: Decontaminate
) -> pa.RecordBatch:
    places = np.zeros((len(found), 5), np.int64)  # chars, before, after, chars_before, chars_after
    if settings.mode == "gpt3":
        for document in np.unique(found[:, 0]).tolist():
            own = found[:, 0] == document
            places[own] = windows(texts[document].as_buffer(), found[own, 2:], settings.window)
    sizes = pc.binary_length(texts).to_numpy(zero_copy_only=False).astype(np.int64)
    at = pa.array(found[:, 0])
    columns = [members[name].take(at) for name in (DOC_ID, SOURCE, LANGUAGE)]
    columns += [pa.array(np.ascontiguousarray(column)) for column in (sizes[found[:, 0]], places[:, 0])]
    columns += [pa.array(np.ascontiguousarray(column)) for column in (*found[:, 1:].T, *places[:, 1:].T)]
    return pa.RecordBatch.from_arrays(columns, schema=HITS)


def windows(text: Any, hits: NDArray[np.int64], width: int) -> NDArray[np.int64]:
    """Widen hits by characters.

    Args:
        text: of one document, UTF-8, any buffer.
        hits: (hits, 2) first byte and one past the last.
        width: characters to add on both sides, as far as there are any.

    Returns:
        (hits, 5) characters of the document, then of each window the first byte and one past the last, and the same in
        characters.
    """
    data = np.frombuffer(text, np.uint8)
    leads = np.flatnonzero(data & 0xC0 != 0x80)  # where each character begins
    ends = np.append(leads, len(data))
    before = np.maximum(np.searchsorted(leads, hits[:, 0]) - width, 0)
    after = np.minimum(np.searchsorted(leads, hits[:, 1]) + width, len(leads))
    return np.stack([np.full(len(hits), len(leads)), ends[before], ends[after], before, after], axis=1)


def _decided(index: tuple[str, str], settings: Decontaminate) -> Pass:
    def decide_all(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        rows: list[dict[str, Any]] = []
        for _, hits in groupby((row for batch in batches for row in batch.to_pylist()), lambda row: row[DOC_ID]):
            rows += _rows_of(list(hits), index, settings)
            if len(rows) >= _ROWS:
                yield pa.RecordBatch.from_pylist(rows, schema=DECIDED)
                rows = []
        if rows:
            yield pa.RecordBatch.from_pylist(rows, schema=DECIDED)

    return decide_all


def _rows_of(rows: list[dict[str, Any]], index: tuple[str, str], settings: Decontaminate) -> list[dict[str, Any]]:
    """Make the rows of one document's decisions."""
    first = rows[0]
    hits = [Hit(**{name: row[name] for name in Hit.__dataclass_fields__}) for row in rows]
    of_document = {name: first[name] for name in (DOC_ID, SOURCE, LANGUAGE)}
    return [
        of_document
        | {
            "action": decision.action,
            "span_start": decision.start,
            "span_end": decision.end,
            "stage": STAGE,
            "rule": decision.rule,
            "rank": decision.rank,
            "evidence": decision.evidence,
            EXAMPLES: list(decision.examples),
        }
        for decision in decide(hits, first["size"], first["chars"], load(*index), settings)
    ]
