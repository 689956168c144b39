"""Near-duplicates: LSH proposes, exact Jaccard similarity with a kept document decides.

Signatures give edges, edges give components, and only the documents of components are read again, for their shingles.
Then each component is walked in keep order: a document goes when it reaches the threshold with an earlier one *that
stays* and shares a band with it. So nothing is dropped through a chain a ~ b ~ c of which a and c differ. Shuffled are
ids, signatures and shingle hashes, never text. A task holds one component's hashes: dedup.max_component bounds it.

Source: Broder 1997, On the resemblance and containment of documents (shingles, Jaccard); Lee et al. 2021,
Deduplicating Training Data Makes Language Models Better, arXiv:2107.06499 (verify candidates by exact similarity).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from redpajama_pipe.dedup import keep_order
from redpajama_pipe.dedup.byte_columns import ID_BYTES, fixed_width, from_fixed_width, from_runs, runs
from redpajama_pipe.dedup.components import COMPONENT, connected_components
from redpajama_pipe.dedup.edges import band_edges, signature_keys
from redpajama_pipe.dedup.minhash import MinHashSpec
from redpajama_pipe.dedup.shingles import shingle_hashes
from redpajama_pipe.dedup.walk import walk
from redpajama_pipe.document_parts import read_members
from redpajama_pipe.gate import check_component
from redpajama_pipe.recipe import Dedup
from redpajama_pipe.schema import DECISIONS, DOC_ID, LANGUAGE, PART, ROW, SIGNATURE, SOURCE, spark_ddl

RULE = "near_duplicate"
OpenPart = Callable[[str], pq.ParquetFile]

_EXAMPLES = 3
_MEMBERS = pa.schema(
    [
        pa.field(COMPONENT, pa.binary()),
        pa.field("place", pa.int32()),  # in keep order within the component, from 0
        pa.field("size", pa.int64()),  # of the component
        pa.field(DOC_ID, pa.binary()),
        pa.field(SOURCE, pa.string()),
        pa.field(LANGUAGE, pa.string()),
        pa.field("keys", pa.binary()),  # of the bands, little-endian uint64
        pa.field("shingles", pa.binary()),  # distinct hashes, ascending, little-endian uint64
    ]
)


def near_duplicates(
    documents: DataFrame, open_part: OpenPart, spec: MinHashSpec, dedup: Dedup, num_partitions: int = 0
) -> DataFrame:
    """Decide which documents are near-duplicates of one that stays.

    Edges and components are computed at once, with their limits; texts are read when the result is.

    Args:
        documents: doc_id, source, language, part, row, signature and what `dedup.keep_order` mentions; those already
            dropped, exact duplicates among them, are not in it, or they could be the ones that stay.
        open_part: opens a document part by its name, on any worker; the part has columns doc_id and text.
        spec: the signature's, as annotated.
        num_partitions: tasks of each shuffle; 0: spark.sql.shuffle.partitions. Changes no row.

    Returns:
        Decisions as schema.DECISIONS. The set of rows does not depend on partitions, adaptive execution or the order of
        `documents`; their order is not fixed. A document shorter than one shingle (signature null) is never dropped.

    Raises:
        GateError: a bucket or a component is larger than its limit, or components did not converge.
        RecipeError: `dedup.keep_order` does not fit the documents.
    """
    keys = keep_order.parse(dedup.keep_order)
    keep_order.check(documents, keys)
    tasks = num_partitions or int(documents.sparkSession.conf.get("spark.sql.shuffle.partitions") or 200)
    edges = band_edges(documents, spec, tasks, dedup.max_bucket)
    try:
        components = connected_components(edges, dedup.driver_edges)
        _check_components(components, dedup.max_component)
    finally:
        edges.unpersist()
    members = _members(documents, components, keys)
    by_part = members.repartition(tasks, PART).sortWithinPartitions(PART, ROW)
    shingled = by_part.mapInArrow(_shingler(open_part, spec), spark_ddl(_MEMBERS))
    by_component = shingled.repartition(tasks, COMPONENT).sortWithinPartitions(COMPONENT, "place")
    return by_component.mapInArrow(_decider(spec.bands, dedup.threshold), spark_ddl(DECISIONS))


def _check_components(components: DataFrame, limit: int) -> None:
    sizes = components.groupBy(COMPONENT).count().where(F.col("count") > limit)
    largest = sizes.orderBy(F.col("count").desc(), COMPONENT).first()
    if largest is None:
        return
    members = components.where(F.col(COMPONENT) == F.lit(largest[COMPONENT])).orderBy(DOC_ID).limit(_EXAMPLES)
    examples = [bytes(row[DOC_ID]) for row in members.collect()]
    check_component(largest["count"], sizes.count(), examples, limit)


def _members(documents: DataFrame, components: DataFrame, keys: tuple[keep_order.OrderKey, ...]) -> DataFrame:
    """Find the documents of components, with their place in keep order: the keys themselves go no further."""
    named = [(f"key_{index}", key) for index, key in enumerate(keys)]
    needed = documents.select(
        DOC_ID, SOURCE, LANGUAGE, PART, ROW, SIGNATURE, *(key.value.alias(name) for name, key in named)
    )
    component = Window.partitionBy(COMPONENT)
    ordered = component.orderBy(*(key.sort(F.col(name)) for name, key in named), F.col(DOC_ID).asc())
    return needed.join(components, DOC_ID).select(
        COMPONENT,
        (F.row_number().over(ordered) - 1).alias("place"),
        F.count(F.lit(1)).over(component).alias("size"),
        DOC_ID,
        SOURCE,
        LANGUAGE,
        SIGNATURE,
        PART,
        ROW,
    )


def _shingler(open_part: OpenPart, spec: MinHashSpec) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """Make the pass that adds shingles to members sorted by (part, row)."""

    def shingle(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            parts = batch[PART].dictionary_encode().indices.to_numpy()
            ends = np.ones(len(parts), bool)  # the last row of each part
            ends[:-1] = parts[1:] != parts[:-1]
            for begin, end in pairwise([0, *(np.flatnonzero(ends) + 1).tolist()]):
                of_part = batch.slice(begin, end - begin)
                with open_part(of_part[PART][0].as_py()) as parquet:
                    yield from _shingle_part(of_part, parquet, spec)

    return shingle


def _shingle_part(members: pa.RecordBatch, parquet: pq.ParquetFile, spec: MinHashSpec) -> Iterator[pa.RecordBatch]:
    part = members[PART][0].as_py()
    for texts, known in read_members(parquet, members, part):
        values, offsets = shingle_hashes(texts, spec)
        keys = signature_keys(known[SIGNATURE], spec)
        columns = {
            **{name: known[name] for name in (COMPONENT, "place", "size", DOC_ID, SOURCE, LANGUAGE)},
            "keys": from_fixed_width(np.ascontiguousarray(keys, dtype="<u8").view(np.uint8)),
            "shingles": from_runs(values, offsets),
        }
        yield pa.RecordBatch.from_arrays([columns[field.name] for field in _MEMBERS], schema=_MEMBERS)


def _decider(bands: int, threshold: float) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """Make the pass that walks components, from members sorted by (component, place)."""

    def decide(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        pending: list[pa.RecordBatch] = []  # of one component, which may go on in the next batch
        for batch in batches:
            if batch.num_rows == 0:
                continue
            if pending and pending[-1][COMPONENT][-1] != batch[COMPONENT][0]:
                yield _decide(pending, bands, threshold)
                pending = []
            begins = _begins(fixed_width(batch[COMPONENT], ID_BYTES, COMPONENT))
            last = int(begins[-1])
            if last > 0:
                yield _decide([*pending, batch.slice(0, last)], bands, threshold)
                pending = []
            pending.append(batch.slice(last))
        if pending:
            yield _decide(pending, bands, threshold)

    return decide


def _decide(batches: list[pa.RecordBatch], bands: int, threshold: float) -> pa.RecordBatch:
    """Walk whole components, one after another."""
    read = [runs(batch["shingles"]) for batch in batches]
    values = np.concatenate([values for values, _ in read])
    offsets = np.concatenate([[0], np.cumsum(np.concatenate([np.diff(offsets) for _, offsets in read]))])
    # Without the hashes, which may be more than one Arrow column holds.
    small = pa.Table.from_batches([batch.drop_columns(["shingles"]) for batch in batches])
    members = small.combine_chunks().to_batches()[0]
    components = fixed_width(members[COMPONENT], ID_BYTES, COMPONENT)
    keys = np.ascontiguousarray(fixed_width(members["keys"], bands * 8, "keys")).view("<u8").astype(np.uint64)
    sizes = members["size"].to_numpy()
    bounds = [*_begins(components).tolist(), len(components)]
    dropped: list[int] = []
    kept: list[int] = []
    similarities: list[float] = []
    evidence: list[str] = []
    for begin, end in pairwise(bounds):
        assert sizes[begin] == end - begin, "a component is walked whole"
        of = offsets[begin : end + 1]
        twins, similar = walk(keys[begin:end], values[of[0] : of[-1]], of - of[0], threshold)
        component = components[begin].tobytes().hex()
        for at in np.flatnonzero(twins >= 0).tolist():
            dropped.append(begin + at)
            kept.append(begin + int(twins[at]))
            similarities.append(float(similar[at]))
            facts = {
                "kept": members[DOC_ID][kept[-1]].as_py().hex(),
                "jaccard": similarities[-1],
                "threshold": threshold,
                "component": component,
                "component_size": end - begin,
            }
            evidence.append(json.dumps(facts, separators=(",", ":")))
    return _drops(
        members.take(pa.array(dropped, pa.int64())),
        members[DOC_ID].take(pa.array(kept, pa.int64())),
        similarities,
        evidence,
    )


def _drops(dropped: pa.RecordBatch, kept: pa.Array, similarities: list[float], evidence: list[str]) -> pa.RecordBatch:
    count = dropped.num_rows
    columns = {
        DOC_ID: dropped[DOC_ID],
        SOURCE: dropped[SOURCE],
        LANGUAGE: dropped[LANGUAGE],
        "action": pa.repeat("drop", count),
        "stage": pa.repeat("dedup", count),
        "rule": pa.repeat(RULE, count),
        "rank": pa.repeat(pa.scalar(0, pa.int32()), count),
        "evidence": pa.array(evidence, pa.string()),
        "kept_doc_id": kept,
        "similarity": pa.array(similarities, pa.float64()),
    }
    arrays = [columns.get(field.name, pa.nulls(count, field.type)) for field in DECISIONS]
    return pa.RecordBatch.from_arrays(arrays, schema=DECISIONS)


def _begins(components: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Find the rows at which a component begins; row 0 is one."""
    return np.concatenate([[0], 1 + np.flatnonzero((components[1:] != components[:-1]).any(axis=1))])
