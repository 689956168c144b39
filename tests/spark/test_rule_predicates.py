"""What a rule's predicate may be: boolean SQL over one document's columns, whose answer is the same in every run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from redpajama_pipe.errors import RecipeError
from redpajama_pipe.rules import compile
from redpajama_pipe.rules.compile import compile_rules, decide, failures_of_rules
from redpajama_pipe.rules.ruleset import Rule, RuleSet

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


@pytest.fixture(scope="module")
def documents(spark: SparkSession) -> DataFrame:
    columns = "doc_id binary, source string, language string, word_count bigint, now int"
    return spark.createDataFrame([(b"a", "web", "en", 10, 1), (b"b", "web", "en", None, 1)], columns)


def one_rule(predicate: str) -> list[RuleSet]:
    return [RuleSet("s", "", "", (Rule("r", predicate, "drop"),))]


def among_others(predicate: str) -> list[RuleSet]:
    first, last = Rule("a", "word_count > 1", "drop"), Rule("z", "now = 1 OR language IS NULL", "drop")
    return [RuleSet("s", "", "", (first, Rule("r", predicate, "drop"), last))]


@pytest.mark.parametrize(
    ("predicate", "message"),
    [
        ("rand(7) > 0.5", "may differ from run to run"),
        ("spark_partition_id() = 0", "may differ from run to run"),
        ("monotonically_increasing_id() % 2 = 0", "may differ from run to run"),
        ("current_date() > '2020-01-01'", "may differ from run to run"),
        ("sum(word_count) > 3", "INVALID_WHERE_CONDITION"),
        ("max(word_count) over () > 3", "WINDOW_FUNCTION_NOT_ALLOWED"),
        ("explode(array(true))", "generator is not supported"),
        ("exists(select 1)", "has a query in it"),
        ("word_count in (select 1)", "has a query in it"),
        ("word_count > 1; drop table x", "is not valid SQL"),
        ("word_count", "is of type bigint"),
        ("'true'", "is of type string"),
        ("keep_0", "reads an unknown signal 'keep_0'"),  # what the first of several is called while they are checked
    ],
)
def test_predicate_that_looks_beyond_the_document_is_refused(
    documents: DataFrame, predicate: str, message: str
) -> None:
    for rules in (one_rule(predicate), among_others(predicate)):
        with pytest.raises(RecipeError, match=rf"^rule s\.r: .*{message}"):
            compile_rules(rules, documents)


def test_rules_without_fault_are_checked_at_once(documents: DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compile, "check_predicate", None)
    assert [rule.name for rule in compile_rules(among_others("language = 'en'"), documents)] == ["s.a", "s.r", "s.z"]
    assert compile_rules([], documents) == []


def test_evidence_holds_the_columns_in_whatever_case_they_are_written(documents: DataFrame) -> None:
    rules = compile_rules(one_rule(r"WORD_COUNT > 100 and 'it\'s now()' is not null and now = 1"), documents)
    rows = decide(documents, rules).collect()
    assert sorted((bytes(row["doc_id"]), row["evidence"]) for row in rows) == [
        (b"a", '{"word_count":10,"now":1}'),
        (b"b", '{"word_count":null,"now":1}'),
    ]


@pytest.mark.parametrize("predicate", ["word_count / 0 > 1", "language = 1", "element_at(array(1), 5) = 1"])
def test_rule_that_fails_on_a_document_is_named_in_one_line(documents: DataFrame, predicate: str) -> None:
    decided = decide(documents, compile_rules(one_rule(predicate), documents))
    with (
        pytest.raises(RecipeError, match=r"^a rule fails on a document: \[\w+\] [^\n]+try_\w+[^\n]+$"),
        failures_of_rules(),
    ):
        decided.collect()
