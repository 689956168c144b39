"""From signatures to edges: documents that share a band hang together.

One row (band, key, doc_id) for each document and band is sorted so that a bucket's documents follow each other; then
one pass with a few values of state joins the least of a bucket to each other one. That is size - 1 edges and the same
components as all pairs, so a bucket of a million documents costs a million rows and no memory.

Source: Broder 1997, On the resemblance and containment of documents, for the signatures; the star in place of all
pairs is Kiveris et al. 2014.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.storagelevel import StorageLevel

from redpajama_pipe.dedup.bands import band_keys
from redpajama_pipe.dedup.byte_columns import ID_BYTES, cut_rows, fixed_width, from_fixed_width
from redpajama_pipe.dedup.components import DST, SRC
from redpajama_pipe.dedup.minhash import MinHashSpec, read_signatures
from redpajama_pipe.gate import check_bucket
from redpajama_pipe.schema import DOC_ID, SIGNATURE

BUCKET = "bucket"
_BAND_BITS = 16  # BUCKET is size << 16 | band: one number whose maximum is the largest bucket
_EXAMPLES = 3
_BATCH_ENTRIES = 1 << 20  # of 28 bytes, at a time


def band_edges(signatures: DataFrame, spec: MinHashSpec, num_partitions: int, max_bucket: int) -> DataFrame:
    """Join the documents of every LSH bucket to the least one of it.

    Args:
        signatures: doc_id, signature: `spec.num_perm` values of `spec.dtype`; null for a document shorter than one
            shingle, which is in no bucket.
        num_partitions: tasks that sort the buckets; changes no row.
        max_bucket: the largest bucket allowed, in documents.

    Returns:
        src, dst, bucket: distinct edges, src the lesser id; `bucket` is for the limit alone. Persisted: unpersist it
        when done.

    Raises:
        GateError: a bucket is larger; the message names its band, size and a few of its documents.
    """

    def keys(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for wide in batches:
            for batch in cut_rows(wide, _BATCH_ENTRIES // spec.bands):
                yield _entries(batch, spec)

    entries = (
        signatures.where(F.col(SIGNATURE).isNotNull())
        .select(DOC_ID, SIGNATURE)
        .mapInArrow(keys, f"band int, key bigint, {DOC_ID} binary")
    )
    # A number is given, so adaptive execution neither merges nor splits these partitions.
    sorted_entries = entries.repartition(num_partitions, "band", "key").sortWithinPartitions("band", "key", DOC_ID)
    edges = (
        sorted_entries.mapInArrow(star_edges, f"{SRC} binary, {DST} binary, {BUCKET} bigint")
        .groupBy(SRC, DST)
        .agg(F.max(BUCKET).alias(BUCKET))
        .persist(StorageLevel.MEMORY_AND_DISK)
    )
    largest = edges.agg(F.max(BUCKET)).first()  # computes and stores all of `edges`
    bucket = largest[0] if largest is not None else None
    if bucket is not None and bucket >> _BAND_BITS > max_bucket:
        least = edges.where(F.col(BUCKET) == bucket).agg(F.min(SRC).alias(SRC))
        members = edges.join(least, SRC).orderBy(DST).limit(_EXAMPLES - 1).collect()
        examples = [bytes(members[0][SRC]), *(bytes(row[DST]) for row in members)]
        edges.unpersist()
        check_bucket(bucket & ((1 << _BAND_BITS) - 1), bucket >> _BAND_BITS, examples, max_bucket)
    return edges


def star_edges(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Turn entries sorted by (band, key, doc_id) into edges from the first document of a bucket to each other one.

    A bucket may run over any number of batches: only its key, first id and size so far are carried on.

    Args:
        batches: band int32, key int64, doc_id.

    Yields:
        src, dst, bucket: `bucket` is size << 16 | band with the size so far, so its maximum over a bucket's edges tells
        the size of the bucket.
    """
    bucket: tuple[int, int] | None = None
    leader = np.zeros(ID_BYTES, np.uint8)
    place = 0  # of the last row in its bucket
    for batch in batches:
        count = batch.num_rows
        if count == 0:
            continue
        band, key = batch["band"].to_numpy(), batch["key"].to_numpy()
        ids = fixed_width(batch[DOC_ID], ID_BYTES, DOC_ID)  # ids: (count, 16)
        begins = np.empty(count, bool)
        begins[0] = bucket != (int(band[0]), int(key[0]))
        begins[1:] = (band[1:] != band[:-1]) | (key[1:] != key[:-1])
        at = np.arange(count)
        first = np.maximum.accumulate(np.where(begins, at, -1))  # -1: the bucket began in an earlier batch
        leaders = np.where((first < 0)[:, None], leader, ids[first])
        places = np.where(first < 0, at + place + 1, at - first)
        edge = (leaders != ids).any(axis=1)
        if edge.any():
            size = places[edge].astype(np.int64) + 1
            columns = [
                from_fixed_width(leaders[edge]),
                from_fixed_width(ids[edge]),
                pa.array(size << _BAND_BITS | band[edge]),
            ]
            yield pa.RecordBatch.from_arrays(columns, [SRC, DST, BUCKET])
        bucket, leader, place = (int(band[-1]), int(key[-1])), leaders[-1].copy(), int(places[-1])


def signature_keys(column: pa.Array, spec: MinHashSpec) -> NDArray[np.uint64]:
    """Read a column of signatures as the keys of their bands, (documents, bands)."""
    return band_keys(read_signatures(column, spec), spec.bands, spec.rows)


def _entries(batch: pa.RecordBatch, spec: MinHashSpec) -> pa.RecordBatch:
    ids = fixed_width(batch[DOC_ID], ID_BYTES, DOC_ID)
    keys = signature_keys(batch[SIGNATURE], spec)  # keys: (documents, bands)
    columns = [
        pa.array(np.tile(np.arange(spec.bands, dtype=np.int32), len(ids))),
        pa.array(keys.reshape(-1).view(np.int64)),  # the same 64 bits: Spark has no unsigned type
        from_fixed_width(np.repeat(ids, spec.bands, axis=0)),
    ]
    return pa.RecordBatch.from_arrays(columns, ["band", "key", DOC_ID])
