"""Exact duplicates: one document stays of those with equal text.

Equal means equal content hash and equal length in bytes. Each document is moved once, as a hash, its place in the keep
order and its id, never its text; memory does not grow with the size of a group, which Spark spills to disk.
"""

from __future__ import annotations

from typing import cast

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from redpajama_pipe.dedup import keep_order as order
from redpajama_pipe.schema import BYTE_COUNT, CONTENT_HASH, DECISIONS, DOC_ID, LANGUAGE, SOURCE, spark_ddl

RULE = "exact_duplicate"


def exact_duplicates(documents: DataFrame, keep_order: str) -> DataFrame:
    """Decide which documents repeat the text of one that stays.

    Args:
        documents: doc_id, source, language, content_hash, byte_count and what `keep_order` mentions; those that an
            earlier stage dropped are not in it, or they could be the ones that stay.
        keep_order: as `recipe.Dedup.keep_order`: of equal documents the first in this order stays.

    Returns:
        Decisions as schema.DECISIONS, one for each document but the first of its content. The set of rows does not
        depend on partitions or on the order of `documents`; their order is not fixed. A document whose hash or length
        is null is compared with nothing and stays.

    Raises:
        RecipeError: `keep_order` does not fit the documents.
    """
    keys = order.parse(keep_order)
    order.check(documents, keys)
    # Two texts of different length under one hash are not equal: each length is a group of its own.
    group = Window.partitionBy(CONTENT_HASH, BYTE_COUNT).orderBy(*order.order_by(keys))
    kept = F.first(DOC_ID).over(group.rowsBetween(Window.unboundedPreceding, Window.currentRow))
    repeated = (
        documents.where(F.col(CONTENT_HASH).isNotNull() & F.col(BYTE_COUNT).isNotNull())
        .withColumn("kept_doc_id", kept)
        .where(F.col("kept_doc_id") != F.col(DOC_ID))
    )
    values = {
        DOC_ID: F.col(DOC_ID),
        SOURCE: F.col(SOURCE),
        LANGUAGE: F.col(LANGUAGE),
        "action": F.lit("drop"),
        "span_start": F.lit(None),
        "span_end": F.lit(None),
        "replacement": F.lit(None),
        "stage": F.lit("dedup"),
        "rule": F.lit(RULE),
        "rank": F.lit(0),
        "evidence": F.to_json(
            F.struct(F.lower(F.hex("kept_doc_id")).alias("kept"), F.col(BYTE_COUNT).cast("bigint").alias("bytes"))
        ),
        "kept_doc_id": F.col("kept_doc_id"),
        "similarity": F.lit(1.0),
    }
    fields = cast(StructType, StructType.fromDDL(spark_ddl(DECISIONS))).fields
    return repeated.select(*(values[field.name].cast(field.dataType).alias(field.name) for field in fields))
