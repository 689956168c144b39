"""Every case of every rule set, and the compiler that turns rules into columns."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from redpajama_pipe import catalog
from redpajama_pipe.errors import RecipeError
from redpajama_pipe.rules import ruleset
from redpajama_pipe.rules.compile import compile_rules, decide
from redpajama_pipe.rules.ruleset import Rule, RuleSet

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


def signals_of(case: Mapping[str, Any]) -> dict[str, Any]:
    if "signals" in case:
        return dict(case["signals"])
    from redpajama_pipe.signals import score

    language = case.get("language", "en")
    scored = score(pa.array([case["text"]]), language=language).to_pylist()[0]
    return {"language": language, "language_score": 1.0, "declared_language": None, **scored}


def one_row(spark: SparkSession, values: Mapping[str, Any]) -> DataFrame:
    kinds = {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string(), type(None): pa.string()}
    fields = {name: pa.array([value], kinds[type(value)]) for name, value in values.items()}
    fields["doc_id"] = pa.array([bytes(16)])
    for name in ("source", "language"):
        fields.setdefault(name, pa.array(["x"]))
    return spark.createDataFrame(pa.table(fields))


@pytest.mark.parametrize("name", catalog.entries("filters"))
def test_rule_set_decides_its_cases_as_it_says(spark: SparkSession, name: str) -> None:
    rules = ruleset.load(name)
    assert rules.cases, f"{name} has no cases"
    proven: set[str] = set()
    for number, case in enumerate(rules.cases):
        values = signals_of(case)
        known = list(values)
        asked = tuple(
            rule for rule in rules.rules if set(ruleset.columns_of(rule.keep, [*known, *_ALL_COLUMNS])) <= set(known)
        )
        documents = one_row(spark, values)
        compiled = compile_rules([RuleSet(rules.name, "", "", asked)], documents)
        rows = decide(documents, compiled).orderBy("rank").collect()
        dropped = [row["rule"].split(".", 1)[1] for row in rows]
        assert dropped == list(case["drops"]), f"{name}, case {number}: {values}"
        proven |= set(dropped)
    assert proven == {rule.name for rule in rules.rules}, "each rule has a case that it drops"


def _all_columns() -> list[str]:
    from redpajama_pipe.signals import SIGNALS

    return [*SIGNALS, "language", "language_score", "declared_language", "source", "subset", "url"]


_ALL_COLUMNS = _all_columns()


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
