"""Every case of every rule set, and the compiler that turns rules into columns."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from redpajama_pipe import catalog
from redpajama_pipe.errors import RecipeError
from redpajama_pipe.rules import ruleset
from redpajama_pipe.rules.compile import compile_cuts, compile_rules, decide
from redpajama_pipe.rules.ruleset import Cut, Rule, RuleSet
from redpajama_pipe.signals import SIGNALS, score
from redpajama_pipe.signals.cuts import SPANS
from redpajama_pipe.tokens.spans import apply_spans

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


GIVEN = {
    **{name: signal.type for name, signal in SIGNALS.items()},
    **dict.fromkeys(("language", "declared_language", "source", "subset", "url"), pa.string()),
    "language_score": pa.float64(),
}


def signals_of(case: Mapping[str, Any], rules: RuleSet) -> dict[str, Any]:
    """Give the values of a case: those it lists, or those of its text, as a document of a source `x`."""
    if "signals" in case:
        return dict(case["signals"])
    language = case.get("language", "en")
    scored = score(pa.array([case["text"]]), rules.columns(SIGNALS), language=language).to_pylist()[0]
    return {**dict.fromkeys(GIVEN), "language": language, "language_score": 1.0, "source": "x", **scored}


def rows_of(spark: SparkSession, values: Sequence[Mapping[str, Any]]) -> DataFrame:
    """Make one frame of all cases, in which each case is null where it gives nothing; doc_id is its number."""
    names = list(dict.fromkeys(["source", "language", *(name for row in values for name in row)]))
    fields = {name: pa.array([row.get(name) for row in values], GIVEN[name]) for name in names}
    fields["doc_id"] = pa.array([number.to_bytes(16, "big") for number in range(len(values))])
    fields["source"] = pa.array([row.get("source") or "x" for row in values])
    return spark.createDataFrame(pa.table(fields))


@pytest.mark.parametrize("name", catalog.entries("filters"))
def test_rule_set_decides_its_cases_as_it_says(spark: SparkSession, name: str) -> None:
    rules = ruleset.load(name)
    assert rules.cases, f"{name} has no cases"
    values = [signals_of(case, rules) for case in rules.cases]
    documents = rows_of(spark, values)
    cuts = compile_cuts([rules], documents) if all(cut.spans in documents.columns for cut in rules.cuts) else []
    rows = decide(documents, compile_rules([rules], documents), cuts).orderBy("doc_id", "rank").collect()
    proven: set[str] = set()
    for number, (case, given) in enumerate(zip(rules.cases, values, strict=True)):
        own = [row for row in rows if int.from_bytes(row["doc_id"], "big") == number]
        # A rule is only asked where the case gives all that it reads.
        asked = {rule.name for rule in rules.rules if set(ruleset.columns_of(rule.keep, list(GIVEN))) <= set(given)}
        dropped = [row["rule"].split(".", 1)[1] for row in own if row["action"] == "drop"]
        assert [rule for rule in dropped if rule in asked] == list(case["drops"]), f"{name}, case {number}: {given}"
        proven |= set(case["drops"])
        if "cleaned" in case:
            spans = [(row["span_start"], row["span_end"], row["replacement"]) for row in own if row["action"] != "drop"]
            assert apply_spans(case["text"].encode(), spans).decode() == case["cleaned"], f"{name}, case {number}"
    elsewhere = {rule.name for other in rules.include for rule in ruleset.load(other).rules}
    assert {rule.name for rule in rules.rules} - elsewhere <= proven, "each rule has a case that it drops"


@pytest.fixture(scope="module")
def documents(spark: SparkSession) -> DataFrame:
    rows = [(bytes([n] * 16), "web", "en", n * 10, None if n == 3 else n / 10) for n in range(1, 6)]
    return spark.createDataFrame(rows, "doc_id binary, source string, language string, words int, share double")


def test_every_failing_rule_leaves_a_receipt_and_the_first_counts(documents: DataFrame) -> None:
    rules = RuleSet(
        "test", "", "", (Rule("long", "words >= 30", "drop"), Rule("low", "share <= 0.1 OR words > 40", "drop"))
    )
    rows = decide(documents, compile_rules([rules], documents)).orderBy("doc_id", "rank").collect()
    seen = [(row["doc_id"][0], row["rank"], row["rule"], json.loads(row["evidence"])) for row in rows]
    assert seen == [
        (1, 0, "test.long", {"words": 10}),
        (2, 0, "test.long", {"words": 20}),
        (2, 1, "test.low", {"words": 20, "share": 0.2}),
        (3, 0, "test.low", {"words": 30, "share": None}),
        (4, 0, "test.low", {"words": 40, "share": 0.4}),
    ]


@pytest.mark.parametrize(("on_null", "dropped"), [("keep", []), ("drop", [3])])
def test_null_means_what_the_rule_says(documents: DataFrame, on_null: Any, dropped: list[int]) -> None:
    rules = RuleSet("test", "", "", (Rule("known", "share >= 0", on_null),))
    rows = decide(documents, compile_rules([rules], documents)).collect()
    assert [row["doc_id"][0] for row in rows] == dropped


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        ("word >= 3", r"rule test.bad: 'word >= 3' reads an unknown signal 'word'; nearest: words"),
        ("words >=", r"is not valid SQL"),
        ("words + 1", r"is of type int; a rule must be true or false"),
    ],
)
def test_a_broken_predicate_is_named_before_any_job(documents: DataFrame, keep: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        compile_rules([RuleSet("test", "", "", (Rule("bad", keep, "drop"),))], documents)


def test_a_caught_error_leaves_pyspark_logging_intact(documents: DataFrame, capfd: pytest.CaptureFixture[str]) -> None:
    from pyspark.errors import AnalysisException

    with pytest.raises(RecipeError):
        compile_rules([RuleSet("test", "", "", (Rule("bad", "word > 1", "drop"),))], documents)
    assert "UNRESOLVED_COLUMN" not in capfd.readouterr().err
    with pytest.raises(AnalysisException):
        documents.select("word")


def test_rule_files_refuse_what_they_do_not_know(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\nrules:\n  - {name: a, keep: words > 1, onnull: drop}\n")
    with pytest.raises(RecipeError, match="unknown key 'onnull'; known: name, keep, on_null"):
        ruleset.load(str(path))


SPAN_ROWS: list[list[tuple[str, int, int, str]] | None] = [
    [("blank", 0, 2, ""), ("short", 5, 9, "")],
    [("blank", 1, 3, ""), ("break", 3, 4, "\n")],
    [],
    None,
]


@pytest.fixture(scope="module")
def spanned(spark: SparkSession) -> DataFrame:
    spans = [
        None
        if row is None
        else [{"rule": rule, "start": start, "end": end, "replacement": text} for rule, start, end, text in row]
        for row in SPAN_ROWS
    ]
    fields = {
        "doc_id": pa.array([bytes([number] * 16) for number in range(4)]),
        "source": pa.array(["web"] * 4),
        "language": pa.array(["en"] * 4),
        "words": pa.array([1, 50, 50, None], pa.int64()),
        "my_cuts": pa.array(spans, SPANS),
    }
    return spark.createDataFrame(pa.table(fields))


def cut_rows(documents: DataFrame, rules: Sequence[Rule], cut: Cut) -> list[tuple[Any, ...]]:
    found = RuleSet("test", "", "", tuple(rules), (), (cut,))
    rows = decide(documents, compile_rules([found], documents), compile_cuts([found], documents))
    return [
        (row["doc_id"][0], row["action"], row["rule"], row["span_start"], row["span_end"], row["replacement"])
        for row in rows.orderBy("doc_id", "span_start").collect()
    ]


def test_cuts_are_decisions_about_documents_that_no_rule_drops(spanned: DataFrame) -> None:
    assert cut_rows(spanned, [Rule("long", "words >= 30", "keep")], Cut("tidy", "my_cuts")) == [
        (0, "drop", "test.long", None, None, None),
        (1, "cut", "test.tidy.blank", 1, 3, None),
        (1, "replace", "test.tidy.break", 3, 4, "\n"),
    ]


def test_a_cut_may_have_a_condition_and_take_some_of_the_spans(spanned: DataFrame) -> None:
    assert cut_rows(spanned, [], Cut("tidy", "my_cuts", ("short", "break"))) == [
        (0, "cut", "test.tidy.short", 5, 9, None),
        (1, "replace", "test.tidy.break", 3, 4, "\n"),
    ]
    assert cut_rows(spanned, [], Cut("tidy", "my_cuts", ("blank",), "words > 10")) == [
        (1, "cut", "test.tidy.blank", 1, 3, None)
    ]


@pytest.mark.parametrize(
    ("cut", "message"),
    [
        (Cut("tidy", "my_cut"), "cut test.tidy reads an unknown signal 'my_cut'; nearest: my_cuts"),
        (Cut("tidy", "words"), "cut test.tidy: words is of type bigint; a cut needs spans"),
        (Cut("tidy", "my_cuts", (), "word > 1"), "reads an unknown signal 'word'; nearest: words"),
    ],
)
def test_a_broken_cut_is_named_before_any_job(spanned: DataFrame, cut: Cut, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        compile_cuts([RuleSet("test", "", "", (), (), (cut,))], spanned)
