"""From signatures to edges: documents that share a band hang together.

The least document of a bucket is joined to each other one: size - 1 edges and the same components as all pairs, so a
bucket of a million documents costs a million edges. What a task finds is thinned to a forest before it leaves it: at
most one edge a document, however many bands two documents share.

Source: Broder 1997, On the resemblance and containment of documents, for the signatures; the star in place of all
pairs is Kiveris et al. 2014.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import itemgetter

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.storagelevel import StorageLevel

from redpajama_pipe.dedup.bands import band_keys
from redpajama_pipe.dedup.bucket_entries import (
    BAND,
    ENTRY,
    PACKED,
    SHARD,
    Entries,
    gathered,
    ids_of,
    packer,
    pieces,
    together,
)
from redpajama_pipe.dedup.byte_columns import from_fixed_width
from redpajama_pipe.dedup.components import DST, SRC, least_members
from redpajama_pipe.dedup.minhash import MinHashSpec, read_signatures
from redpajama_pipe.gate import check_bucket
from redpajama_pipe.schema import DOC_ID, SIGNATURE

BUCKET = "bucket"
EDGES = f"{SRC} binary, {DST} binary, {BUCKET} bigint"
_BAND_BITS = 16  # BUCKET is size << 16 | band: one number whose maximum is the largest bucket
_EXAMPLES = 3
CHUNK = 1 << 22  # entries that are sorted together; a shard that has more is worked off in pieces
_HELD = 1 << 19  # edges that are thinned together


def band_edges(signatures: DataFrame, spec: MinHashSpec, num_partitions: int, max_bucket: int) -> DataFrame:
    """Join the documents of every LSH bucket.

    Args:
        signatures: doc_id, signature: `spec.num_perm` values of `spec.dtype`; null for a document shorter than one
            shingle, which is in no bucket.
        num_partitions: tasks that sort the buckets.
        max_bucket: the largest bucket allowed, in documents.

    Returns:
        src, dst, bucket: edges whose components are those of all pairs that share a band, whatever the partitions;
        `bucket` is null but where src is dst, see `Forest`. Persisted: unpersist it when done.

    Raises:
        GateError: a bucket is larger; the message names its band, size and a few of its documents.
    """

    def keys(batch: pa.RecordBatch) -> NDArray[np.uint64]:
        return signature_keys(batch[SIGNATURE], spec)

    signed = signatures.where(F.col(SIGNATURE).isNotNull()).select(DOC_ID, SIGNATURE)
    entries = signed.mapInArrow(packer(keys, spec.bands, num_partitions), PACKED)
    # A number is given, so adaptive execution neither merges nor splits these partitions.
    by_shard = entries.repartition(num_partitions, BAND, SHARD).sortWithinPartitions(BAND, SHARD)
    edges = by_shard.mapInArrow(star_edges, EDGES).persist(StorageLevel.MEMORY_AND_DISK)
    check_buckets(edges, max_bucket)
    return edges


def check_buckets(edges: DataFrame, limit: int) -> None:
    """Stop when a bucket is larger than the limit; this computes and stores all of persisted edges."""
    largest = edges.agg(F.max(BUCKET)).first()
    bucket = largest[0] if largest is not None else None
    if bucket is not None and bucket >> _BAND_BITS > limit:
        rows = edges.where(F.col(BUCKET) == bucket).orderBy(SRC).limit(_EXAMPLES).collect()
        edges.unpersist()
        check_bucket(bucket & ((1 << _BAND_BITS) - 1), bucket >> _BAND_BITS, [bytes(row[SRC]) for row in rows], limit)


def star_edges(batches: Iterable[pa.RecordBatch], chunk: int = CHUNK) -> Iterator[pa.RecordBatch]:
    """Turn packed entries, sorted by (band, shard), into the edges of a forest.

    Args:
        batches: as `bucket_entries.pack` makes them.
        chunk: entries of a shard that are sorted together. Of those before, one entry of each key is carried on, so
            that a bucket of any size takes no memory.

    Yields:
        src, dst, bucket, as `Forest`.
    """
    forest = Forest()
    for (band, _), shard in groupby(pieces(batches, (BAND, SHARD)), key=itemgetter(0)):
        carried, counts = np.empty(0, ENTRY), np.empty(0, np.int64)  # one entry of each key so far, and of how many
        for found in gathered(map(itemgetter(1), shard), chunk):
            entries = together([carried, found]) if len(carried) else found
            counts = np.concatenate([counts, np.ones(len(found), np.int64)])
            carried, counts = _join_buckets(entries, counts, band, forest)
            yield from forest.full()
    yield from forest.rest()


def signature_keys(column: pa.Array, spec: MinHashSpec) -> NDArray[np.uint64]:
    """Read a column of signatures as the keys of their bands, (documents, bands)."""
    return band_keys(read_signatures(column, spec), spec.bands, spec.rows)


class Forest:
    """The edges of a task, thinned as they come, and its largest bucket."""

    def __init__(self) -> None:
        self._src: list[NDArray[np.uint8]] = []
        self._dst: list[NDArray[np.uint8]] = []
        self._held = 0
        self._largest: tuple[int, list[bytes]] = (0, [])  # size << 16 | band, examples

    def add(self, src: NDArray[np.uint8], dst: NDArray[np.uint8]) -> None:
        """Add edges: (edges, 16) ids each."""
        self._src.append(src)
        self._dst.append(dst)
        self._held += len(src)

    def add_bucket(self, band: int, size: int, examples: NDArray[np.uint8]) -> None:
        """Take note of a bucket and of a few of its documents, the least first; the largest is remembered."""
        bucket = size << _BAND_BITS | band
        some = [row.tobytes() for row in examples[:_EXAMPLES]]
        if bucket > self._largest[0] or (bucket == self._largest[0] and some < self._largest[1]):
            self._largest = bucket, some

    def full(self) -> Iterator[pa.RecordBatch]:
        """Yield the edges so far, thinned, if there are many."""
        if self._held >= _HELD:
            yield self._thinned()

    def rest(self) -> Iterator[pa.RecordBatch]:
        """Yield what is left, and the largest bucket: edges from each example to itself, which connect nothing, with
        size << 16 | band as `bucket`."""
        if self._held:
            yield self._thinned()
        bucket, examples = self._largest
        if examples:
            ids = pa.array(examples, pa.binary())
            yield pa.RecordBatch.from_arrays([ids, ids, pa.repeat(bucket, len(ids))], [SRC, DST, BUCKET])

    def _thinned(self) -> pa.RecordBatch:
        ids, least = least_members(np.concatenate(self._src), np.concatenate(self._dst))
        self._src, self._dst, self._held = [], [], 0
        edge = (ids != least).any(axis=1)
        ends = [from_fixed_width(least[edge]), from_fixed_width(ids[edge])]
        return pa.RecordBatch.from_arrays([*ends, pa.nulls(len(ends[0]), pa.int64())], [SRC, DST, BUCKET])


def _join_buckets(
    entries: Entries, counts: NDArray[np.int64], band: int, forest: Forest
) -> tuple[Entries, NDArray[np.int64]]:
    """Add the stars of all buckets.

    Args:
        entries: of one band, in any order.
        counts: how many entries each stands for.
        band: for the largest bucket.
        forest: gets the edges.

    Returns:
        The least entry of each key, and how many entries of that key there are.
    """
    keys = np.ascontiguousarray(entries["key"])
    order = np.argsort(keys)
    same = keys[order[1:]] == keys[order[:-1]]
    shared = np.zeros(len(keys), bool)
    shared[1:] |= same
    shared[:-1] |= same
    alone, some = order[~shared], order[shared]
    if len(some) == 0:
        return entries[alone], counts[alone]
    # mostly few: only these are sorted by their ids too
    some = some[np.lexsort((entries["low"][some], entries["high"][some], keys[some]))]
    begins = np.concatenate([[0], 1 + np.flatnonzero(keys[some[1:]] != keys[some[:-1]])])
    sizes = np.add.reduceat(counts[some], begins)
    lengths = np.diff(np.append(begins, len(some)))
    first = np.repeat(begins, lengths)
    ids = ids_of(entries)[some]  # ids: (entries that share a key, 16)
    other = first != np.arange(len(some))
    forest.add(ids[first[other]], ids[other])
    largest = np.flatnonzero(sizes == sizes.max())
    heads = entries[some[begins[largest]]]
    at = int(largest[np.lexsort((heads["low"], heads["high"]))[0]])  # of equally large ones that of the least id
    forest.add_bucket(band, int(sizes[at]), ids[begins[at] : begins[at] + lengths[at]])
    kept = np.concatenate([alone, some[begins]])
    return entries[kept], np.concatenate([counts[alone], sizes])
