"""Drop the documents that repeat one of an index: equal ones, then verified near-duplicates.

The older document wins, whatever the keep order says. A document is compared with old ones alone, never through a chain
of new ones; those that are left are then decided among themselves. Shuffled are the band keys of the new documents and
of the indexes, 24 bytes a document and band; sets of shingles are read of the old documents that share a band alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import reduce
from itertools import groupby, pairwise
from operator import itemgetter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.storagelevel import StorageLevel

from redpajama_pipe import storage
from redpajama_pipe.decisions import drops, hexadecimal, id_place
from redpajama_pipe.dedup.bucket_entries import BAND, PACKED, SHARD, Entries, gathered, ids_of, packer, pieces, together
from redpajama_pipe.dedup.byte_columns import fixed_width
from redpajama_pipe.dedup.component_decisions import KEYS, MEMBERS, VALUES, decide_components
from redpajama_pipe.dedup.components import COMPONENT, connected_components
from redpajama_pipe.dedup.edges import CHUNK, EDGES, Forest, check_buckets, signature_keys
from redpajama_pipe.dedup.index import FILE_NAME, INDEX, Index
from redpajama_pipe.dedup.minhash import MinHashSpec
from redpajama_pipe.dedup.near import OpenPart, check_components, with_values
from redpajama_pipe.schema import (
    BYTE_COUNT,
    CONTENT_HASH,
    DECISIONS,
    DOC_ID,
    LANGUAGE,
    PART,
    ROW,
    SIGNATURE,
    SOURCE,
    spark_ddl,
)
from redpajama_pipe.settings.dedup import Dedup

EXACT_RULE = "exact_duplicate_of_index"

_PLACE, _PATH, _OLD = "place", "path", "old"


def equal_to_index(documents: DataFrame, indexes: Sequence[Index]) -> DataFrame:
    """Decide which documents have the text of a document of an index.

    Args:
        documents: doc_id, source, language, content_hash, byte_count.
        indexes: of several that have the text, the first is named; in it, the least id.

    Returns:
        Decisions as schema.DECISIONS. A document whose hash or length is null is equal to none.
    """
    first = (
        _read(documents.sparkSession, indexes, [CONTENT_HASH, BYTE_COUNT])
        .groupBy(CONTENT_HASH, BYTE_COUNT)
        .agg(F.min(F.struct(_PLACE, DOC_ID)).alias("old"))
        .select(F.col(CONTENT_HASH).alias("hash"), F.col(BYTE_COUNT).alias("bytes"), "old.*")
        .withColumnRenamed(DOC_ID, "kept_doc_id")
    )
    same = (F.col(CONTENT_HASH) == F.col("hash")) & (F.col(BYTE_COUNT) == F.col("bytes"))
    hashes = F.array(*(F.lit(index.hash) for index in indexes))
    evidence = F.struct(
        hexadecimal("kept_doc_id").alias("kept"),
        F.col("bytes"),
        F.element_at(hashes, F.col(_PLACE)).alias("index"),  # a negative place counts from the end
    )
    return drops(
        documents.join(first, same),
        "dedup",
        F.lit(EXACT_RULE),
        F.to_json(evidence),
        kept=F.col("kept_doc_id"),
        similarity=F.lit(1.0),
    )


def like_index(
    documents: DataFrame,
    indexes: Sequence[Index],
    open_part: OpenPart,
    spec: MinHashSpec,
    dedup: Dedup,
    num_partitions: int = 0,
) -> DataFrame:
    """Decide which documents are near-duplicates of a document of an index.

    Args:
        documents: as `near.near_duplicates`; what they are to each other plays no part here.
        indexes: made with `spec`, and holding what `dedup.verify` compares.
        open_part, spec, dedup, num_partitions: as `near.near_duplicates`.

    Returns:
        Decisions as schema.DECISIONS; each names the most similar old document, of equally similar ones that of the
        first index, in it the least id. The set of rows depends on nothing but documents and indexes.

    Raises:
        GateError: a bucket or a component, old documents included, is larger than its limit.
    """
    session = documents.sparkSession
    tasks = num_partitions or int(session.conf.get("spark.sql.shuffle.partitions") or 200)
    edges = _edges(documents, indexes, spec, tasks, dedup.max_bucket)
    try:
        components = connected_components(edges, dedup.driver_edges)
        check_components(components, dedup.max_component)
    finally:
        edges.unpersist()
    sizes = components.groupBy(COMPONENT).agg(F.count(F.lit(1)).alias("size"))
    sized = components.join(sizes, COMPONENT)
    new = documents.select(DOC_ID, SOURCE, LANGUAGE, PART, ROW, SIGNATURE).join(sized, DOC_ID)
    members = with_values(new.withColumn(_PLACE, F.lit(0)), open_part, spec, dedup.verify, tasks, MEMBERS)
    old = _read(session, indexes, [_PATH]).join(sized.withColumnRenamed(DOC_ID, "vertex"), "vertex")
    by_path = old.repartition(tasks, _PATH).sortWithinPartitions(_PATH, DOC_ID)
    compared = members.unionByName(by_path.mapInArrow(_read_values, spark_ddl(MEMBERS)))
    by_component = compared.repartition(tasks, COMPONENT).sortWithinPartitions(COMPONENT, _PLACE, DOC_ID)
    decide = decide_components(spec.bands, dedup, [index.hash for index in indexes])
    return by_component.mapInArrow(decide, spark_ddl(DECISIONS))


def _read(session: SparkSession, indexes: Sequence[Index], columns: Sequence[str]) -> DataFrame:
    """Read the documents of all indexes.

    Returns:
        doc_id, place (from minus the number of indexes to -1), vertex (what stands for the document among edges: an id
        may be in several indexes and among the new documents as well) and `columns`: of INDEX, or `path`, the file.
    """
    frames = []
    for place, index in enumerate(indexes, -len(indexes)):
        names = [name for name in columns if name in INDEX.names]
        paths = [storage.join(index.folder, name) for name in storage.list_names(index.folder) if ".parquet" in name]
        ddl = spark_ddl(pa.schema([INDEX.field(name) for name in (DOC_ID, *names)]))
        if paths:
            frame = session.read.schema(ddl).parquet(*map(storage.for_spark, paths))
        else:
            frame = session.createDataFrame([], ddl)
        number = (id_place() * index.files / (1 << 32)).cast("int")
        path = F.concat(F.lit(index.folder + "/"), F.format_string(FILE_NAME, number))
        frames.append(
            frame.withColumn(_PLACE, F.lit(place))
            .withColumn("vertex", F.unhex(F.md5(F.concat(DOC_ID, F.lit(str(place)).cast("binary")))))
            .withColumn(_PATH, path)
            .select(DOC_ID, _PLACE, "vertex", *columns)
        )
    return reduce(DataFrame.unionByName, frames)


def _edges(documents: DataFrame, indexes: Sequence[Index], spec: MinHashSpec, tasks: int, max_bucket: int) -> DataFrame:
    """Join the documents of every bucket that holds both old and new ones; rows as `edges.band_edges`, persisted."""

    def of_new(batch: pa.RecordBatch) -> NDArray[np.uint64]:
        return signature_keys(batch[SIGNATURE], spec)

    def of_old(batch: pa.RecordBatch) -> NDArray[np.uint64]:
        return fixed_width(batch[KEYS], spec.bands * 8, KEYS).view("<u8").astype(np.uint64)

    new = documents.where(F.col(SIGNATURE).isNotNull()).select(DOC_ID, SIGNATURE)
    old = _read(documents.sparkSession, indexes, [KEYS]).where(F.col(KEYS).isNotNull())
    old = old.select(F.col("vertex").alias(DOC_ID), KEYS)
    entries = (
        new.mapInArrow(packer(of_new, spec.bands, tasks), PACKED)
        .withColumn(_OLD, F.lit(False))
        .unionByName(old.mapInArrow(packer(of_old, spec.bands, tasks), PACKED).withColumn(_OLD, F.lit(True)))
    )
    edges = (
        entries.repartition(tasks, BAND, SHARD)
        .sortWithinPartitions(BAND, SHARD, F.col(_OLD).desc())
        .mapInArrow(edges_with_index, EDGES)
        .persist(StorageLevel.MEMORY_AND_DISK)
    )
    check_buckets(edges, max_bucket)
    return edges


def edges_with_index(batches: Iterable[pa.RecordBatch], chunk: int = CHUNK) -> Iterator[pa.RecordBatch]:
    """Turn packed entries, sorted by (band, shard, old first), into the edges of buckets with both old and new ones.

    The old entries of a shard are held; the new ones come `chunk` at a time. The examples of a bucket are new ones.
    """
    forest = Forest()
    for (band, _), shard in groupby(pieces(batches, (BAND, SHARD, _OLD)), key=lambda piece: piece[0][:2]):
        old: list[Entries] = []
        for is_old, some in groupby(shard, key=lambda piece: piece[0][2]):
            entries = map(itemgetter(1), some)
            if is_old:
                old = list(entries)
            elif old:
                _join_with_old(together(old), gathered(entries, chunk), band, forest)
                yield from forest.full()
    yield from forest.rest()


def _join_with_old(old: Entries, new: Iterable[Entries], band: int, forest: Forest) -> None:
    old = old[np.argsort(old["key"], kind="stable")]
    keys, begins, sizes = np.unique(old["key"], return_index=True, return_counts=True)
    ids, met = ids_of(old), np.zeros(len(keys), np.int64)
    largest = 0
    for found in new:
        bucket = np.minimum(np.searchsorted(keys, found["key"]), len(keys) - 1)
        same = keys[bucket] == found["key"]
        bucket, entries = bucket[same], found[same]
        if len(entries) == 0:
            continue
        forest.add(ids[begins[bucket]], ids_of(entries))
        met += np.bincount(bucket, minlength=len(keys))
        with_new = np.where(met > 0, sizes + met, 0)
        if with_new.max() > largest:
            at, largest = int(with_new.argmax()), int(with_new.max())
            of_it = entries[bucket == at]
            forest.add_bucket(band, largest, ids_of(of_it[np.lexsort((of_it["low"], of_it["high"]))]))
    of = np.repeat(np.arange(len(keys)), sizes)
    other = (met[of] > 0) & (begins[of] != np.arange(len(old)))
    forest.add(ids[begins[of[other]]], ids[other])


def _read_values(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Read what old documents are compared by; rows sorted by (path, doc_id), as the files are."""
    for batch in batches:
        paths = batch[_PATH].dictionary_encode().indices.to_numpy()
        ends = (np.flatnonzero(paths[1:] != paths[:-1]) + 1).tolist()
        for begin, end in pairwise([0, *ends, batch.num_rows]):
            if begin < end:
                yield from _read_rows(batch.slice(begin, end - begin))


def _read_rows(wanted: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Read documents of one file, row group by row group; a group without a wanted one is passed over."""
    ids = wanted[DOC_ID]
    with storage.open_parquet(wanted[_PATH][0].as_py()) as parquet:
        column = parquet.schema_arrow.names.index(DOC_ID)
        for group in range(parquet.num_row_groups):
            range_of = parquet.metadata.row_group(group).column(column).statistics
            inside = pc.and_(
                pc.greater_equal(ids, pa.scalar(range_of.min, pa.binary())),
                pc.less_equal(ids, pa.scalar(range_of.max, pa.binary())),
            )
            some = wanted.filter(inside)
            if some.num_rows == 0:
                continue
            table = parquet.read_row_group(group, columns=[DOC_ID, SOURCE, KEYS, VALUES])
            found = table.take(pc.index_in(some[DOC_ID], table[DOC_ID].combine_chunks())).combine_chunks()
            columns = {name: found[name].chunk(0) for name in (SOURCE, KEYS, VALUES)}
            columns[LANGUAGE] = pa.nulls(some.num_rows, pa.string())
            arrays = [columns.get(name, some[name] if name in some.schema.names else None) for name in MEMBERS.names]
            yield pa.RecordBatch.from_arrays(arrays, schema=MEMBERS)
