"""What the report counts from decisions, against the same counts in plain Python."""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from redpajama_pipe import schema
from redpajama_pipe.recipe import Recipe, from_tree
from redpajama_pipe.report import collect, collect_cuts, collect_duplicates
from redpajama_pipe.report.collect_duplicates import RuleDrops, drops_by_rule
from redpajama_pipe.report.collect_signals import sizes_and_histograms
from redpajama_pipe.report.model import CutRow, CutText, IndexRow, PairRow, SizeRow, Threshold

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

TEXTS = [
    "Ünlike all others.\nAll rights reserved.\nEnd",
    "All rights  reserved.\nRead more\nMail jo1@x.org",
    "Read more\nRead more",
]
SOURCES = ("web", "web", "wiki")


def doc_id(number: int) -> bytes:
    """Ids whose place among all ids is known: 0 is the lowest, 2 lies in the upper half."""
    return bytes([number * 100]) + bytes(14) + bytes([number])


def decided(spark: SparkSession, rows: Sequence[dict[str, Any]]) -> DataFrame:
    names = schema.DECISIONS.names
    whole = [{"action": "drop", "stage": "dedup", "rank": 0, "evidence": "{}", "source": "web", **row} for row in rows]
    return spark.createDataFrame(
        [tuple(row.get(name) for name in names) for row in whole], schema.spark_ddl(schema.DECISIONS)
    )


def span(number: int, text: str, rule: str, replacement: str | None = None, kept: int | None = None) -> dict[str, Any]:
    start = TEXTS[number].encode().index(text.encode())
    return {
        "doc_id": doc_id(number),
        "action": "cut" if replacement is None else "replace",
        "rule": rule,
        "span_start": start,
        "span_end": start + len(text.encode()),
        "replacement": replacement,
        "kept_doc_id": None if kept is None else doc_id(kept),
    }


def documents(spark: SparkSession) -> DataFrame:
    rows = [(doc_id(number), source, "part-0", number) for number, source in enumerate(SOURCES)]
    return spark.createDataFrame(rows, "doc_id binary, source string, part string, row bigint")


def test_texts_that_are_cut_most_often(spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = {schema.DOC_ID: pa.array([doc_id(n) for n in range(3)], pa.binary()), schema.TEXT: TEXTS}
    pq.write_table(pa.table(table), tmp_path / "part-0.parquet")
    taken = decided(
        spark,
        [
            span(0, "All rights reserved.\n", "duplicate_line", kept=2),
            span(1, "All rights  reserved.\nRead more\n", "duplicate_line", kept=2),
            span(2, "Read more\nRead more", "duplicate_line", kept=0),
            span(1, "jo1@x.org", "pii.pii.email", "a@example.org"),
            {"doc_id": doc_id(2), "rule": "duplicate_line"},  # a drop has no text
        ],
    )
    rows = [CutRow("duplicate_line", 3, 3, 61, "dedup"), CutRow("pii.pii.email", 1, 1, 9)]

    def read() -> tuple[list[CutRow], list[CutText]]:
        return collect_cuts.with_texts(
            rows, documents(spark), taken, lambda part: pq.ParquetFile(f"{tmp_path}/{part}.parquet")
        )

    found, texts = read()
    assert [row.read for row in found] == [3, 1]
    assert [(text.text, text.copies, text.documents) for text in texts] == [
        ("Read more", 3, 2),
        ("All rights reserved.", 2, 2),
        ("xx0@x.xxx", 1, 1),
    ]
    assert texts[1].doc_id == doc_id(0).hex()
    assert texts[1].kept_doc_id == doc_id(2).hex()
    assert texts[2].replacement == "a@example.org"
    monkeypatch.setattr(collect_cuts, "SAMPLE", 2)  # of three: ids in the lower two thirds
    found, texts = read()
    assert [row.read for row in found] == [2, 1]
    assert [(text.text, text.copies) for text in texts[:2]] == [("All rights reserved.", 2), ("Read more", 1)]


def test_sizes_are_counted_by_powers_of_two(spark: SparkSession) -> None:
    sizes = [1, 1, 2, 3, 4, 7, 8, 2**31, 2**53 - 1]
    tables = {"sizes": spark.createDataFrame([(size,) for size in sizes], "size bigint")}
    found = collect_duplicates._sizes(other=tables["sizes"].where("size > 7"), **tables)["sizes"]
    wanted: Counter[int] = Counter(size.bit_length() - 1 for size in sizes)
    assert {row.low.bit_length() - 1: row.groups for row in found} == wanted
    assert all(row.high == 2 * row.low - 1 for row in found)
    assert found[1] == SizeRow(2, 3, 2, 5)
    assert sum(row.documents for row in found) == sum(sizes)


def near(number: int, similarity: float, kept: int, **evidence: object) -> dict[str, Any]:
    rule = "near_duplicate_of_index" if "index" in evidence else "near_duplicate"
    return {
        "doc_id": doc_id(number),
        "source": SOURCES[number],
        "rule": rule,
        "evidence": json.dumps(evidence),
        "kept_doc_id": doc_id(kept),
        "similarity": similarity,
    }


def of(**dedup: object) -> Recipe:
    return from_tree({"name": "x", "sources": [], "dedup": dedup}, "x")


def test_pairs_of_sources_and_indexes(spark: SparkSession) -> None:
    equal = {**near(1, 1.0, 0), "rule": "exact_duplicate"}
    rows = [
        near(0, 0.9, 2),
        near(1, 0.9, 2),
        equal,
        near(2, 0.8, 0),
        near(1, 1.0, 0, index="h1"),
        near(0, 1.0, 2, index="h2"),
    ]
    taken = decided(spark, rows)
    assert collect_duplicates._pairs(taken, documents(spark)) == [
        PairRow("web", "web", 1, 0),
        PairRow("web", "wiki", 0, 2),
        PairRow("wiki", "web", 0, 1),
    ]
    manifest = type("Manifest", (), {"inputs": {"documents": "d", "index 0": "h1", "index 1": "h2"}})
    found = collect_duplicates._indexes(of(against=["a", "b"]), taken, manifest)  # type: ignore[arg-type]
    assert found == [IndexRow("a", "h1", 0, 1), IndexRow("b", "h2", 0, 1)]
    moved = collect_duplicates._indexes(of(against=["a"]), taken, manifest)  # type: ignore[arg-type]
    assert [row.name for row in moved] == ["", ""]


def test_components_are_counted_once(spark: SparkSession) -> None:
    rows = [near(n, 0.9, 2, component=c, component_size=s) for n, c, s in ((0, "aa", 3), (1, "aa", 3), (2, "bb", 3))]
    sizes = collect_duplicates._components(decided(spark, [*rows, near(0, 1.0, 1, index="h")]))
    assert sorted(row["size"] for row in sizes.collect()) == [3, 3]


def test_similarities_fall_into_the_bins_that_they_begin(spark: SparkSession) -> None:
    values = [0.8, 0.81, 0.8099, 0.99, 1.0, 1.0]
    taken = decided(spark, [near(0, value, 1) for value in values])
    spread = [(min(values), sum(values) / len(values), max(values))]
    found = collect_duplicates._similarities(of(threshold=0.8), taken, spread)
    assert found is not None
    assert found.edges[:3] == [0.8, 0.81, 0.82]
    assert found.edges[-1] == 1.0
    assert found.dropped[:2] == [2, 1]
    assert found.dropped[-1] == 3
    assert sum(found.dropped) == len(values)
    whole = collect_duplicates._similarities(
        of(verify="none"), decided(spark, [near(0, 0.07, 1)]), [(0.07, 0.07, 0.07)]
    )
    assert whole is not None
    assert whole.edges[0] == 0.05
    assert whole.dropped[0] == 1
    assert whole.unit == "estimate"
    assert collect_duplicates._similarities(of(), taken, []) is None


def test_sizes_and_signals_by_what_became_of_a_document(spark: SparkSession) -> None:
    rows = [
        # number, source, language, bytes, words
        (0, "web", "en", 10, 1.0),
        (1, "web", "en", 20, 3.0),
        (2, "web", None, 40, None),
    ]
    table = spark.createDataFrame(
        [(doc_id(number), *others) for number, *others in rows],
        "doc_id binary, source string, language string, byte_count bigint, word_count double",
    ).repartition(2)
    by_filter = {"doc_id": doc_id(0), "stage": "filter"}
    taken = decided(
        spark,
        [
            {**by_filter, "rule": "gopher.min_word_count"},
            {**by_filter, "rule": "gopher.max_word_count", "rank": 1},  # counted under the first alone
            {"doc_id": doc_id(1), "rule": "exact_duplicate"},  # of another stage: kept by the filter
            {**span(2, "Read more", "duplicate_line")},
        ],
    )
    bounds = {"word_count": [Threshold("words", 2.0, "min")]}
    sizes, kept, (histogram,) = sizes_and_histograms(bounds, table, taken)
    assert sizes == {("web", "en"): (2, 30), ("web", ""): (1, 40)}
    assert kept == {("web", ""): (1, 40)}
    assert (sum(histogram.dropped), sum(histogram.kept), histogram.nulls) == (1, 1, 1)
    assert histogram.dropped[0] == 1
    assert histogram.kept.index(1) > 0
    sizes, kept, drawn = sizes_and_histograms({}, table, None)
    assert sizes == kept == {("web", "en"): (2, 30), ("web", ""): (1, 40)}
    assert drawn == []


def test_bins_do_not_depend_on_how_documents_are_cut_into_tasks(spark: SparkSession) -> None:
    chance = random.Random(1)
    values = [chance.lognormvariate(4, 3) * chance.choice((1, 1, -1)) for _ in range(20_000)]
    values[:3] = [-0.0, math.nan, math.inf]
    rows = [(bytes([0]), "web", "en", 5, value) for value in values]
    columns = "doc_id binary, source string, language string, byte_count bigint, language_score double"
    table = spark.createDataFrame(rows, columns)
    bounds = {"language_score": [Threshold("r", 0.5, "min")]}
    drawn = [sizes_and_histograms(bounds, table.repartition(parts), None)[2] for parts in (1, 7)]
    assert drawn[0] == drawn[1]
    (histogram,) = drawn[0]
    exact = sorted(value for value in values if math.isfinite(value))
    assert histogram.edges[0] == pytest.approx(exact[len(exact) // 200], rel=0.02)
    assert histogram.edges[-1] == pytest.approx(exact[-len(exact) // 200], rel=0.04)


def test_rules_are_counted_by_stages_and_here(spark: SparkSession) -> None:
    chars = "gopher.min_mean_word_length"
    rows: list[dict[str, Any]] = [
        {"doc_id": doc_id(0), "stage": "filter", "rule": "gopher.min_word_count"},
        {"doc_id": doc_id(0), "stage": "filter", "rule": chars, "rank": 1},
        {"doc_id": doc_id(1), "stage": "filter", "rule": chars},
        near(2, 0.8, 0),
        near(1, 0.9, 0),
        {"doc_id": doc_id(2), "rule": "url_duplicate"},
        span(2, "Read more", "duplicate_line"),
    ]
    drops = drops_by_rule(decided(spark, rows))
    assert {(drop.stage, drop.rule): (drop.documents, drop.similarity) for drop in drops} == {
        ("filter", "gopher.min_word_count"): (1, None),
        ("filter", chars): (2, None),
        ("dedup", "near_duplicate"): (2, (0.8, (0.8 + 0.9) / 2, 0.9)),
        ("dedup", "url_duplicate"): (1, None),
    }
    steps: Any = {
        "filter": SimpleNamespace(
            counts={"by_rule": {"web": {"gopher.min_word_count": 1}, "wiki": {chars: 1}}, "only": {"wiki": {chars: 1}}}
        ),
        "dedup": SimpleNamespace(counts={"by_rule": {"web": {"near_duplicate": 2, "url_duplicate": 1}}}),
    }
    found = {row.rule: row for row in collect._rules(of(), steps, drops)}
    counts = {rule: (row.dropped_first, row.dropped_any, row.dropped_only) for rule, row in found.items()}
    assert counts["gopher.min_word_count"] == (1, 1, 0)
    assert counts[chars] == (1, 2, 1)
    assert found["near_duplicate"].dropped_first == 2
    assert found["url_duplicate"].dropped_first == 1  # not one of the recipe's, and yet in the decisions
    assert RuleDrops("dedup", "url_duplicate", 1, None) in drops
