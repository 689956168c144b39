from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from redpajama_pipe import schema
from redpajama_pipe.errors import RecipeError
from redpajama_pipe.rules.what_if import Effect, format_effects, what_if

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

COLUMNS = "doc_id binary, source string, byte_count bigint, word_count bigint, language string"


@pytest.fixture(scope="module")
def documents(spark: SparkSession) -> DataFrame:
    rows = [
        (b"a", "web", 100, 10, "en"),
        (b"b", "web", 50, 200, "en"),
        (b"c", "web", 25, None, "en"),
        (b"d", "wiki", 80, 5, "de"),
        (b"e", "wiki", 20, 4, "de"),
    ]
    return spark.createDataFrame(rows, COLUMNS)


def drops(spark: SparkSession, *ids: bytes) -> DataFrame:
    values = {schema.DOC_ID: b"", schema.SOURCE: "web", "action": "drop", "stage": "filter", "rule": "r"}
    rows = [
        tuple({**values, schema.DOC_ID: name, "rank": rank, "evidence": "{}"}.get(f.name) for f in schema.DECISIONS)
        for name in ids
        for rank in (0, 1)  # a second rule drops it as well
    ]
    return spark.createDataFrame(rows, schema.spark_ddl(schema.DECISIONS))


def test_false_is_dropped_and_null_is_told_apart(documents: DataFrame) -> None:
    assert what_if(documents, None, "word_count >= 100") == [
        Effect("web", 3, 1, 1, 3, 1, 175, 100),
        Effect("wiki", 2, 2, 0, 2, 2, 100, 100),
    ]


def test_documents_dropped_before_are_not_dropped_again(spark: SparkSession, documents: DataFrame) -> None:
    effects = what_if(documents, drops(spark, b"a", b"e"), "word_count >= 100")
    assert effects == [Effect("web", 3, 1, 1, 2, 0, 75, 0), Effect("wiki", 2, 2, 0, 1, 1, 80, 80)]
    told = format_effects(effects, "word_count >= 100")
    assert told.splitlines()[0] == "keep only where word_count >= 100"
    assert [cell.strip() for cell in told.splitlines()[-3].strip("│").split("│")] == [
        *("total", "5", "3", "1", "3", "1", "51.6%"),
    ]


def test_unknown_signal_names_its_nearest(documents: DataFrame) -> None:
    with pytest.raises(RecipeError, match="unknown signal 'word_cout'; nearest: word_count"):
        what_if(documents, None, "word_cout >= 100")


@pytest.mark.parametrize(
    ("predicate", "told"),
    [
        ("x -> x", "'x -> x' is nothing that Spark can work out: "),
        ("(" * 3000 + "true" + ")" * 3000, r"\(\(…' is nothing that Spark can work out: it is nested too deeply"),
        ("word_count > " + "9" * 50, r"99' is not valid SQL: \[DECIMAL_PRECISION_EXCEEDS_MAX_PRECISION\]"),
        ("raise_error('a')", r'"raise_error\(\'a\'\)" is of type void; a rule must be true or false'),
        ("word_count", "is of type bigint; a rule must be true or false"),
        ("true; drop table x", "is not valid SQL: .*near ';'"),
        (" \n", r"--what-if ' \\n' is not valid SQL: \[PARSE_EMPTY_STATEMENT\]"),
        ("explode(array(true))", "The generator is not supported"),
        ("word_count > (select 1)", "has a query in it"),
        ("sum(word_count) > 1", "The WHERE condition .* contains invalid expressions"),
        ("rand() > 0.5", "its answer may differ from run to run"),
        ("1 / (word_count - 10) > 0", r"a rule fails on a document: \[DIVIDE_BY_ZERO\]"),
        ("language rlike '['", "a rule has a regular expression that is none: Unclosed character class"),
    ],
)
def test_what_is_no_predicate_is_one_line(
    predicate: str, told: str, documents: DataFrame, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(RecipeError, match=told) as refused:
        what_if(documents, None, predicate)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 1000
    assert "SQLQueryContextLogger" not in capfd.readouterr().err
