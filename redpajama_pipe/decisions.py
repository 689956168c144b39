"""The table of decisions: how it is written, the same bytes on every cluster, and how it is read.

Rows are ranged by the first bytes of doc_id over a number of files that depends on the corpus alone, and sorted
within each file, so neither partitions nor executors nor task order can be seen in the output.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import reduce
from typing import TYPE_CHECKING, cast

import pyarrow as pa

from redpajama_pipe import schema, storage
from redpajama_pipe.storage import File
from redpajama_pipe.tables import FILES, TableWriter, file_row

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

DOCUMENTS_PER_FILE = 4_000_000
CHANGES = "action IN ('cut', 'replace')"  # SQL: decisions about a part of a text


def write(decisions: DataFrame, folder: str, documents: int) -> list[File]:
    """Write decisions into a folder.

    Args:
        decisions: in the columns of schema.DECISIONS, rows in any order.
        folder: where; one Parquet file for each range of ids that has rows.
        documents: how many documents the corpus has; sets the number of files.

    Returns:
        The files, for the manifest.
    """
    order = (schema.DOC_ID, "stage", "rank", "rule", "span_start")
    return write_by_id(decisions, schema.DECISIONS, order, folder, documents)


def write_by_id(rows: DataFrame, table: pa.Schema, order: Sequence[str], folder: str, documents: int) -> list[File]:
    """Write rows that have a doc_id; arguments and result as `write`, whose files these are like.

    Args:
        rows: in any order.
        table: the columns to write.
        order: columns that sort the rows of a file, doc_id first; no two rows are equal in all of them.
        folder: where.
        documents: how many documents the corpus has.
    """
    from pyspark.sql import functions as F

    files = max(1, -(-documents // DOCUMENTS_PER_FILE))
    ranged = (
        rows.select(*table.names)
        .withColumn("file", (id_place() * files / F.lit(1 << 32)).cast("int"))
        .repartitionById(files, F.col("file"))
        .sortWithinPartitions(*order)
    )
    written = ranged.mapInArrow(_file_writer(folder, table), schema.spark_ddl(FILES)).collect()
    return [File(**row.asDict()) for row in written]


def _file_writer(folder: str, table: pa.Schema) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def write_file(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        rows = (batch for batch in batches if batch.num_rows)
        first = next(rows, None)
        if first is None:  # no id falls into this range
            return
        path = storage.join(folder, f"part-{first.column('file')[0].as_py():05d}.parquet")
        with TableWriter(path, table) as writer:
            writer.append(first.select(table.names))
            for batch in rows:
                writer.append(batch.select(table.names))
        yield file_row(writer)

    return write_file


def drops(
    documents: DataFrame,
    stage: str,
    rule: Column,
    evidence: Column,
    *,
    rank: Column | None = None,
    kept: Column | None = None,
    similarity: Column | None = None,
) -> DataFrame:
    """Make a decision to drop each document.

    Args:
        documents: doc_id, source and language, and what the columns read.
        stage: of the decisions.
        rule: as schema.DECISIONS has it, as are the others.
        evidence: JSON.
        rank: 0 where it is not given.
        kept: the id of the document that stays instead.
        similarity: with that one.

    Returns:
        The columns of schema.DECISIONS.
    """
    from pyspark.sql import functions as F
    from pyspark.sql.types import StructType

    values = {
        schema.DOC_ID: F.col(schema.DOC_ID),
        schema.SOURCE: F.col(schema.SOURCE),
        schema.LANGUAGE: F.col(schema.LANGUAGE),
        "action": F.lit("drop"),
        "stage": F.lit(stage),
        "rule": rule,
        "rank": F.lit(0) if rank is None else rank,
        "evidence": evidence,
        "kept_doc_id": F.lit(None) if kept is None else kept,
        "similarity": F.lit(None) if similarity is None else similarity,
    }
    fields = cast(StructType, StructType.fromDDL(schema.spark_ddl(schema.DECISIONS))).fields
    return documents.select(
        *(values.get(field.name, F.lit(None)).cast(field.dataType).alias(field.name) for field in fields)
    )


def read(spark: SparkSession, folders: Sequence[str]) -> DataFrame:
    """Read the decisions of one or more stages as one table; the caller has checked their manifests."""
    ddl = schema.spark_ddl(schema.DECISIONS)
    frames = [
        spark.read.schema(ddl).parquet(storage.for_spark(folder))
        for folder in folders
        if any(name.endswith(".parquet") for name in storage.list_names(folder))  # a stage that decided nothing
    ]
    return reduce(lambda left, right: left.unionByName(right), frames) if frames else spark.createDataFrame([], ddl)


def counted(decisions: DataFrame) -> DataFrame:
    """Return the decisions under which dropped documents are counted: one for each document."""
    return decisions.where("action = 'drop' AND rank = 0")


def spans(decisions: DataFrame) -> DataFrame:
    """Return what is cut out of documents or replaced in them: doc_id and `spans`, sorted, one row a document."""
    from pyspark.sql import functions as F

    changes = decisions.where(CHANGES)
    span = F.struct(F.col("span_start").alias("start"), F.col("span_end").alias("end"), F.col("replacement"))
    return changes.groupBy(schema.DOC_ID).agg(F.array_sort(F.collect_list(span)).alias("spans"))


def hexadecimal(column: str) -> Column:
    """Write bytes in lower-case digits; F.lower would read the case of all of Unicode first, half a second long."""
    from pyspark.sql import functions as F

    return F.translate(F.hex(column), "ABCDEF", "abcdef")


def id_place() -> Column:
    """Return where doc_id lies in the range of ids: its first four bytes as a number, evenly spread below 2**32."""
    from pyspark.sql import functions as F

    return F.conv(F.hex(F.substring(schema.DOC_ID, 1, 4)), 16, 10).cast("bigint")
