"""Near-duplicates: LSH proposes, a comparison with a document that stays decides.

Signatures give edges, edges give components, and each component is decided in keep order (component_decisions). Where
sets of shingles are compared, only the documents of components are read again; where signatures are, no text is.
Shuffled are ids, signatures and shingle hashes, never text.

Source: Broder 1997, On the resemblance and containment of documents (shingles, Jaccard); Lee et al. 2021,
Deduplicating Training Data Makes Language Models Better, arXiv:2107.06499 (verify candidates by exact similarity).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from redpajama_pipe.dedup import keep_order
from redpajama_pipe.dedup.byte_columns import cut_rows, from_fixed_width, from_runs
from redpajama_pipe.dedup.component_decisions import KEYS, MEMBERS, VALUES, decide_components
from redpajama_pipe.dedup.components import COMPONENT, connected_components
from redpajama_pipe.dedup.edges import band_edges, signature_keys
from redpajama_pipe.dedup.minhash import MinHashSpec, read_signatures
from redpajama_pipe.dedup.shingles import shingle_hashes
from redpajama_pipe.document_parts import read_members
from redpajama_pipe.gate import check_component
from redpajama_pipe.schema import DECISIONS, DOC_ID, LANGUAGE, PART, ROW, SIGNATURE, SOURCE, spark_ddl
from redpajama_pipe.settings.dedup import Dedup

OpenPart = Callable[[str], pq.ParquetFile]

_EXAMPLES = 3
_BATCH_VALUES = 4 << 20  # of 8 bytes, at a time
_BATCH_TEXT = 4 << 20  # bytes whose shingles are found at a time; a longer text alone


def near_duplicates(
    documents: DataFrame, open_part: OpenPart, spec: MinHashSpec, dedup: Dedup, num_partitions: int = 0
) -> DataFrame:
    """Decide which documents are near-duplicates of one that stays.

    Edges and components are computed at once, with their limits; texts are read, if at all, when the result is.

    Args:
        documents: doc_id, source, language, part, row, signature and what `dedup.keep_order` mentions; those already
            dropped, exact duplicates among them, are not in it, or they could be the ones that stay.
        open_part: opens a document part by its name, on any worker; the part has columns doc_id and text.
        spec: the signature's, as annotated.
        dedup: the recipe's; `verify` and `survivors` say what is a near-duplicate of what.
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
        check_components(components, dedup.max_component)
    finally:
        edges.unpersist()
    members = _members(documents, components, keys)
    compared = with_values(members, open_part, spec, dedup.verify, tasks, MEMBERS)
    by_component = compared.repartition(tasks, COMPONENT).sortWithinPartitions(COMPONENT, "place")
    return by_component.mapInArrow(decide_components(spec.bands, dedup), spark_ddl(DECISIONS))


def with_values(
    members: DataFrame, open_part: OpenPart, spec: MinHashSpec, verify: str, tasks: int, columns: pa.Schema
) -> DataFrame:
    """Give documents the keys of their bands, and what `verify` compares: their shingles, read from the text, or else
    their signature.

    Args:
        members: doc_id, part, row, signature (not null) and what `columns` mentions.
        open_part, spec: as `near_duplicates`.
        verify: as `Dedup.verify`.
        tasks: that read texts, each whole parts in order.
        columns: of the result; keys and values among them.
    """
    if verify in ("estimate", "none"):
        return members.mapInArrow(_with_signatures(spec, columns), spark_ddl(columns))
    by_part = members.repartition(tasks, PART).sortWithinPartitions(PART, ROW)
    return by_part.mapInArrow(_with_shingles(open_part, spec, columns), spark_ddl(columns))


def check_components(components: DataFrame, limit: int) -> None:
    """Stop when a component is larger than the limit."""
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


def _with_signatures(
    spec: MinHashSpec, columns: pa.Schema
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """Make the pass that gives members their band keys and signatures."""

    def signed(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for wide in batches:
            for batch in cut_rows(wide, _BATCH_VALUES // spec.num_perm):
                signatures = read_signatures(batch[SIGNATURE], spec).astype(np.uint64, copy=False)
                offsets = np.arange(len(signatures) + 1, dtype=np.int64) * spec.num_perm
                yield _compared(batch, spec, signatures.reshape(-1), offsets, columns)

    return signed


def _with_shingles(
    open_part: OpenPart, spec: MinHashSpec, columns: pa.Schema
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """Make the pass that gives members, sorted by (part, row), their band keys and shingles."""

    def shingled(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            parts = batch[PART].dictionary_encode().indices.to_numpy()
            ends = np.ones(len(parts), bool)  # the last row of each part
            ends[:-1] = parts[1:] != parts[:-1]
            for begin, end in pairwise([0, *(np.flatnonzero(ends) + 1).tolist()]):
                of_part = batch.slice(begin, end - begin)
                part = of_part[PART][0].as_py()
                with open_part(part) as parquet:
                    for texts, known in _gathered(read_members(parquet, of_part, part)):
                        yield _compared(known, spec, *shingle_hashes(texts, spec), columns)

    return shingled


def _gathered(read: Iterable[tuple[pa.Array, pa.RecordBatch]]) -> Iterator[tuple[pa.Array, pa.RecordBatch]]:
    """Put small batches together: members are often few in what is read at a time, and each batch costs Spark time."""
    held: list[tuple[pa.Array, pa.RecordBatch]] = []
    for texts, known in read:
        if held and sum(each.nbytes for each, _ in held) + texts.nbytes > _BATCH_TEXT:
            yield _together(held)
            held = []
        held.append((texts, known))
    if held:
        yield _together(held)


def _together(held: list[tuple[pa.Array, pa.RecordBatch]]) -> tuple[pa.Array, pa.RecordBatch]:
    return pa.concat_arrays([texts for texts, _ in held]), pa.concat_batches([known for _, known in held])


def _compared(
    members: pa.RecordBatch,
    spec: MinHashSpec,
    values: NDArray[np.uint64],
    offsets: NDArray[np.int64],
    columns: pa.Schema,
) -> pa.RecordBatch:
    keys = signature_keys(members[SIGNATURE], spec)  # keys: (documents, bands)
    made = {
        KEYS: from_fixed_width(np.ascontiguousarray(keys, dtype="<u8").view(np.uint8)),
        VALUES: from_runs(values, offsets),
    }
    return pa.RecordBatch.from_arrays(
        [made[name] if name in made else members[name] for name in columns.names], schema=columns
    )
