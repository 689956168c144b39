"""What stays for how many: a row for each document that others were dropped for, beside the decisions.

How often a text occurred in the raw corpus is what memorisation is measured against; after deduplication it is known
here alone. Counted from the decisions, in one shuffle of ids and names of sources.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow as pa

from redpajama_pipe import decisions, storage
from redpajama_pipe.run_folder import RunFolder
from redpajama_pipe.schema import DOC_ID, SOURCE
from redpajama_pipe.storage import File

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

FOLDER = "_duplicates"  # inside decisions/dedup; whoever reads that folder as a table skips it: the name begins with _
COUNT, SOURCES = "duplicate_count", "duplicate_sources"
DUPLICATES = pa.schema(
    [
        pa.field(DOC_ID, pa.binary(), nullable=False),  # a document that stays
        pa.field(COUNT, pa.int64(), nullable=False),  # documents dropped for it, equal and near ones; at least 1
        pa.field(SOURCES, pa.list_(pa.string()), nullable=False),  # of those, ascending, each once
    ]
)


def count_duplicates(taken: DataFrame) -> DataFrame:
    """Count decisions of dedup by the document that they name as kept; rows as DUPLICATES, in any order."""
    from pyspark.sql import functions as F

    return (
        decisions.counted(taken)
        .where(F.col("kept_doc_id").isNotNull())
        .groupBy(F.col("kept_doc_id").alias(DOC_ID))
        .agg(F.count(F.lit(1)).alias(COUNT), F.array_sort(F.collect_set(SOURCE)).alias(SOURCES))
    )


def write(taken: DataFrame, folder: str, documents: int) -> list[File]:
    """Write the counts into FOLDER of the dedup stage's folder.

    Args:
        taken: the stage's decisions.
        folder: the stage's.
        documents: how many the corpus has; sets the number of files.

    Returns:
        The files, their paths relative to the stage's folder.
    """
    made = decisions.write_by_id(
        count_duplicates(taken), DUPLICATES, (DOC_ID,), storage.join(folder, FOLDER), documents
    )
    return [replace(file, path=f"{FOLDER}/{file.path}") for file in made]


def read(spark: SparkSession, folder: RunFolder) -> DataFrame:
    """Read the counts of a run, columns as DUPLICATES; documents that are not in it stand for themselves alone."""
    where = storage.join(folder.decisions("dedup"), FOLDER)
    ddl = f"{DOC_ID} binary, {COUNT} bigint, {SOURCES} array<string>"
    names = storage.list_names(where)
    if not names:  # nothing was dropped
        return spark.createDataFrame([], ddl)
    return spark.read.schema(ddl).parquet(*(storage.for_spark(storage.join(where, name)) for name in names))
