from __future__ import annotations

import hashlib
import json
import re
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from redpajama_pipe.dedup.exact import KEYS, exact_duplicates
from redpajama_pipe.dedup.normalized import normalized_hash
from redpajama_pipe.dedup.urls import normalized_url
from redpajama_pipe.errors import RecipeError
from redpajama_pipe.stages.dedup_documents import Kind, decide

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

Row = dict[str, Any]


def document(number: int, text: str, url: str | None = None, digest: str | None = None) -> Row:
    return {
        "doc_id": bytes([number] * 16),
        "source": "web",
        "language": "en",
        "content_hash": hashlib.blake2b(text.encode(), digest_size=16).digest(),
        "normalized_hash": normalized_hash(pa.array([text]))[0].as_py(),
        "byte_count": len(text.encode()),
        "url": url,
        "content_digest": digest,
    }


COLUMNS = pa.schema(
    {
        **dict.fromkeys(("doc_id", "content_hash", "normalized_hash"), pa.binary()),
        **dict.fromkeys(("source", "language", "url", "content_digest"), pa.string()),
        "byte_count": pa.int64(),
    }
)


def frame(spark: SparkSession, rows: list[Row]) -> DataFrame:
    return spark.createDataFrame(pa.Table.from_pylist(rows, schema=COLUMNS)).repartition(2)


def of_c4(url: str) -> str:
    """normalize_url of tensorflow/datasets: tensorflow_datasets/text/c4_utils.py."""
    bare = re.sub(r"https?://(www\.)?", "", url)
    return re.sub(r"\?(utm_|ref|feed).*", "", bare).rstrip("/")


URLS = [
    "http://www.example.com/",
    "https://example.com",
    "https://example.com/a?utm_source=x&b=1",
    "https://example.com/a?b=1&utm_source=x",
    "http://example.com/a/?ref=me",
    "http://example.com/a?feed",
    "http://example.com/a?reflection=1",
    "http://example.com/a//",
    "http://example.com/?u=https://www.other.org/",
    "http://wwww.example.com/www.b",
    "ftp://example.com/x",
    "example.com/x?refer\u2028y/\n",
    "http://example.com/a#b/",
    "http://example.com/\u00c9?ref=\u00e9\nz",
]


def test_urls_are_normalised_as_published(spark: SparkSession) -> None:
    urls = spark.createDataFrame(pa.table({"url": [*URLS, "HTTP://WWW.Example.COM/Aa", "http://", "", None]}))
    found = urls.select(normalized_url(urls["url"]).alias("found")).toArrow()["found"].to_pylist()
    assert found == [*map(of_c4, URLS), "example.com/Aa", None, None, None]


def test_each_key_finds_its_own(spark: SparkSession) -> None:
    documents = [
        document(1, "One text.", "http://a.org/", "sha1:AAA"),
        document(2, "One text.", "http://b.org/", "sha1:BBB"),
        document(3, "one  TEXT.", "http://c.org/", ""),
        document(4, "another", "https://www.a.org", "sha1:BBB"),
        document(5, "a third", None, None),
        document(6, "a fourth", None, None),
        document(7, " ", "", ""),
        document(8, "\n", "", ""),
    ]
    same: dict[str, dict[int, tuple[int, float | None]]] = {}
    for key, kind in KEYS.items():
        rows = exact_duplicates(frame(spark, documents), "", key).toArrow().to_pylist()
        assert {row["rule"] for row in rows} == {kind.rule}
        same[key] = {row["doc_id"][0]: (row["kept_doc_id"][0], row["similarity"]) for row in rows}
    assert same == {
        "text": {2: (1, 1.0)},
        "normalized_text": {2: (1, 1.0), 3: (1, None)},
        "url": {4: (1, None)},
        "digest": {4: (2, None)},
    }


def test_receipts_name_who_stays_after_a_chain_of_kinds(spark: SparkSession) -> None:
    documents = [
        document(1, "Zz", "http://b.org/", "D"),
        document(2, "other", "http://a.org/", "D"),
        document(3, "One", "http://a.org/", "E"),
        document(4, "one", "http://c.org/", "F"),
        document(5, "one", "http://d.org/", "G"),
        document(6, "Zz", "http://e.org/", "H"),
    ]

    def kind(key: str, order: str) -> Kind:
        return Kind(KEYS[key].rule, "", lambda left: exact_duplicates(left, order, key))

    # 5 = 4 by text, 4 ~ 3 but for case, 3 and 2 of one address, 2 and 1 of one digest; 6 = 1 by text, both stay equal
    chosen = [kind(key, "") for key in ("text", "normalized_text", "url", "digest")]
    with ExitStack() as held:
        rows = decide(frame(spark, documents), chosen, held).toArrow().to_pylist()
    by_id = {row["doc_id"][0]: row for row in rows}
    assert {number: (row["rule"], row["kept_doc_id"][0], row["similarity"]) for number, row in by_id.items()} == {
        2: ("digest_duplicate", 1, None),
        3: ("url_duplicate", 1, None),
        4: ("normalized_duplicate", 1, None),
        5: ("exact_duplicate", 1, None),
        6: ("exact_duplicate", 1, 1.0),
    }
    one, two = (bytes([number] * 16).hex() for number in (1, 2))
    assert json.loads(by_id[5]["evidence"]) == {"kept": one, "through": two, "bytes": 3}
    assert json.loads(by_id[3]["evidence"]) == {"kept": one, "through": two, "url": "a.org"}
    assert json.loads(by_id[4]["evidence"])["through"] == two
    assert json.loads(by_id[2]["evidence"]) == {"kept": one, "digest": "D"}


def test_a_missing_column_is_an_error(spark: SparkSession) -> None:
    with pytest.raises(RecipeError, match=r"'digest' reads the column 'content_digest'.*run annotate"):
        exact_duplicates(frame(spark, [document(1, "a")]).drop("content_digest"), "", "digest")
