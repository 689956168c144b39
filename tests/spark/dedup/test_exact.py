from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from redpajama_pipe.dedup.exact import exact_duplicates
from redpajama_pipe.errors import RecipeError
from redpajama_pipe.schema import DECISIONS, spark_ddl

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

KEEP_ORDER = "source_rank, char_count desc"
COLUMNS = pa.schema(
    {
        "doc_id": pa.binary(),
        "source": pa.string(),
        "language": pa.string(),
        "content_hash": pa.binary(),
        "byte_count": pa.int64(),
        "source_rank": pa.int32(),
        "char_count": pa.int64(),
    }
)

Document = dict[str, Any]


def document(number: int, text: str | None, source: str = "web", rank: int | None = 0, **other: Any) -> Document:
    return {
        "doc_id": hashlib.blake2b(str(number).encode(), digest_size=16).digest(),
        "source": source,
        "language": "en",
        "content_hash": None if text is None else hashlib.blake2b(text.encode(), digest_size=16).digest(),
        "byte_count": None if text is None else len(text.encode()),
        "source_rank": rank,
        "char_count": None if text is None else len(text),
        **other,
    }


def corpus() -> list[Document]:
    chance = random.Random(4)
    sources = [("books", 0), ("web", 1), ("code", None)]
    return [document(n, f"text {chance.randrange(60)}", *chance.choice(sources)) for n in range(300)]


def frame(spark: SparkSession, documents: list[Document], partitions: int = 2) -> DataFrame:
    return spark.createDataFrame(pa.Table.from_pylist(documents, schema=COLUMNS)).repartition(partitions)


def rows(decisions: DataFrame) -> list[Document]:
    return sorted(decisions.toArrow().to_pylist(), key=lambda row: row["doc_id"])


def one_by_one(documents: list[Document]) -> list[Document]:
    """The definition: go through the documents in keep order and drop those whose text was seen."""

    def place(row: Document) -> tuple[object, ...]:
        rank = row["source_rank"]
        return rank is None, rank or 0, -row["char_count"], row["doc_id"]

    seen: dict[tuple[bytes, int], bytes] = {}
    dropped = []
    for row in sorted(documents, key=place):
        content = row["content_hash"], row["byte_count"]
        kept = seen.setdefault(content, row["doc_id"])
        if kept != row["doc_id"]:
            dropped.append(
                {
                    "doc_id": row["doc_id"],
                    "source": row["source"],
                    "language": row["language"],
                    "action": "drop",
                    "span_start": None,
                    "span_end": None,
                    "replacement": None,
                    "stage": "dedup",
                    "rule": "exact_duplicate",
                    "rank": 0,
                    "evidence": f'{{"kept":"{kept.hex()}","bytes":{row["byte_count"]}}}',
                    "kept_doc_id": kept,
                    "similarity": 1.0,
                }
            )
    return sorted(dropped, key=lambda row: row["doc_id"])


@pytest.mark.parametrize(("partitions", "adaptive"), [(1, "true"), (2, "false"), (7, "true"), (7, "false")])
def test_decisions_are_those_of_going_one_by_one(
    spark: SparkSession, configure: Callable[..., None], partitions: int, adaptive: str
) -> None:
    configure(adaptive_enabled=adaptive, shuffle_partitions=str(partitions))
    documents = corpus()
    expected = one_by_one(documents)
    assert len(expected) > 200
    random.Random(partitions).shuffle(documents)
    assert rows(exact_duplicates(frame(spark, documents, partitions), KEEP_ORDER)) == expected


def test_decisions_have_the_columns_of_the_schema(spark: SparkSession) -> None:
    from pyspark.sql.types import StructType

    decisions = exact_duplicates(frame(spark, [document(1, "a"), document(2, "a")]), KEEP_ORDER)
    declared = StructType.fromDDL(spark_ddl(DECISIONS))
    assert [(f.name, f.dataType) for f in decisions.schema] == [(f.name, f.dataType) for f in declared]
    assert json.loads(rows(decisions)[0]["evidence"])["bytes"] == 1


def test_first_in_keep_order_stays(spark: SparkSession) -> None:
    web, books = document(1, "same", "web", 1), document(2, "same", "books", 0)
    (row,) = rows(exact_duplicates(frame(spark, [web, books]), KEEP_ORDER))
    assert (row["doc_id"], row["kept_doc_id"]) == (web["doc_id"], books["doc_id"])
    (row,) = rows(exact_duplicates(frame(spark, [web, books]), "source_rank desc"))
    assert (row["doc_id"], row["kept_doc_id"]) == (books["doc_id"], web["doc_id"])


def test_equal_hashes_of_different_lengths_both_stay(spark: SparkSession) -> None:
    first = document(1, "abc")
    collision = document(2, "abc", byte_count=4)
    assert rows(exact_duplicates(frame(spark, [first, collision]), KEEP_ORDER)) == []


def test_unknown_hashes_and_lengths_are_equal_to_nothing(spark: SparkSession) -> None:
    documents = [document(1, None, byte_count=1), document(2, None, byte_count=1), document(3, "a", byte_count=None)]
    documents.append(document(4, "a", byte_count=None))
    assert rows(exact_duplicates(frame(spark, documents), KEEP_ORDER)) == []


def test_unknown_column_in_keep_order_is_an_error(spark: SparkSession) -> None:
    with pytest.raises(RecipeError, match="'stars' names a column that documents do not have"):
        exact_duplicates(frame(spark, [document(1, "a")]), "stars desc")
