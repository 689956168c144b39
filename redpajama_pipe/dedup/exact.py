"""Exact duplicates: one document stays of those that are equal in their text, its normal form, address or digest.

Each document is moved once, as a key, its place in the keep order and its id, never its text; memory does not grow
with the size of a group, which Spark spills to disk.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from redpajama_pipe import decisions
from redpajama_pipe.dedup import keep_order as order
from redpajama_pipe.dedup.urls import normalized_url
from redpajama_pipe.errors import RecipeError
from redpajama_pipe.schema import (
    BYTE_COUNT,
    CONTENT_DIGEST,
    CONTENT_HASH,
    DOC_ID,
    NORMALIZED_HASH,
    URL,
)

RULE = "exact_duplicate"


@dataclass(frozen=True)
class Key:
    """One way of being equal.

    Attributes:
        rule: of its decisions.
        called: how people call such duplicates.
        columns: what it reads.
        group: the columns that equal documents have in common; a document that lacks one is equal to none.
        evidence: what a receipt says beside the document that stays.
    """

    rule: str
    called: str
    columns: tuple[str, ...]
    group: Callable[[], list[Column]]
    evidence: Callable[[], list[Column]]


# dedup.exact of a recipe → what it means
KEYS: Mapping[str, Key] = {
    # Two texts of different length under one hash are not equal: each length is a group of its own.
    "text": Key(
        RULE,
        "equal",
        (CONTENT_HASH, BYTE_COUNT),
        lambda: [F.col(CONTENT_HASH), F.col(BYTE_COUNT)],
        lambda: [F.col(BYTE_COUNT).cast("bigint").alias("bytes")],
    ),
    "normalized_text": Key(
        "normalized_duplicate",
        "equal but for case and space",
        (NORMALIZED_HASH,),
        lambda: [F.col(NORMALIZED_HASH)],
        lambda: [decisions.hexadecimal(NORMALIZED_HASH).alias("normalized")],
    ),
    "url": Key(
        "url_duplicate",
        "of one address",
        (URL,),
        lambda: [normalized_url(F.col(URL))],
        lambda: [normalized_url(F.col(URL)).alias("url")],
    ),
    "digest": Key(
        "digest_duplicate",
        "of one digest",
        (CONTENT_DIGEST,),
        lambda: [F.nullif(F.col(CONTENT_DIGEST), F.lit(""))],
        lambda: [F.col(CONTENT_DIGEST).alias("digest")],
    ),
}


def exact_duplicates(documents: DataFrame, keep_order: str, key: str = "text") -> DataFrame:
    """Decide which documents equal one that stays.

    Args:
        documents: doc_id, source, language, content_hash, byte_count and what `key` reads and `keep_order` mentions;
            those that an earlier stage dropped are not in it, or they could be the ones that stay.
        keep_order: as `Dedup.keep_order`: of equal documents the first in this order stays.
        key: one of KEYS: what they are to be equal in.

    Returns:
        Decisions as schema.DECISIONS, one for each document but the first of its group; similarity is 1.0 where the two
        texts are equal, else null. The set of rows does not depend on partitions or on the order of `documents`; their
        order is not fixed. A document whose key is null is compared with nothing and stays.

    Raises:
        RecipeError: `keep_order` does not fit the documents, or they lack a column that `key` reads.
    """
    keys = order.parse(keep_order)
    order.check(documents, keys)
    chosen = KEYS[key]
    missing = [name for name in chosen.columns if name not in documents.columns]
    if missing:
        raise RecipeError(
            f"dedup.exact: {key!r} reads the column {missing[0]!r}, which this run's annotations do not have; "
            f"run annotate, or leave {key!r} out"
        )
    named = {f"group_{index}": column for index, column in enumerate(chosen.group())}
    group = Window.partitionBy(*named).orderBy(*order.order_by(keys))
    text = F.struct(F.col(CONTENT_HASH).alias("hash"), F.col(BYTE_COUNT).alias("bytes"))
    kept = F.first(F.struct(F.col(DOC_ID), text.alias("text"))).over(
        group.rowsBetween(Window.unboundedPreceding, Window.currentRow)
    )
    known = documents.withColumns(named).dropna(subset=list(named))
    repeated = known.withColumn("kept", kept).where(F.col(f"kept.{DOC_ID}") != F.col(DOC_ID))
    same_text = (F.col("kept.text.hash") == F.col(CONTENT_HASH)) & (F.col("kept.text.bytes") == F.col(BYTE_COUNT))
    evidence = F.struct(decisions.hexadecimal(f"kept.{DOC_ID}").alias("kept"), *chosen.evidence())
    return decisions.drops(
        repeated,
        "dedup",
        F.lit(chosen.rule),
        F.to_json(evidence),
        kept=F.col(f"kept.{DOC_ID}"),
        similarity=F.when(same_text, F.lit(1.0)),
    )
