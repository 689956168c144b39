from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redpajama_pipe.dedup.keep_order import OrderKey, check, order_by, parse
from redpajama_pipe.errors import RecipeError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("  ", []),
        ("a", [("a", False)]),
        ("source_rank, char_count desc", [("source_rank", False), ("char_count", True)]),
        ("a ASC,b DESC", [("a", False), ("b", True)]),
        ("a\n desc", [("a", True)]),
        ("greatest(a, b) desc, c", [("greatest(a, b)", True), ("c", False)]),
        ("map('x', 1)['x'], array(1, 2)[0] desc", [("map('x', 1)['x']", False), ("array(1, 2)[0]", True)]),
        ("if(a = ',', 1, 0), b", [("if(a = ',', 1, 0)", False), ("b", False)]),
        (r"a = 'it\', ', b", [(r"a = 'it\', '", False), ("b", False)]),
        ("a = 'it'', ', b", [("a = 'it'', '", False), ("b", False)]),
        ("`a, desc`, b", [("`a, desc`", False), ("b", False)]),
        ("`a\\`, b", [("`a\\`", False), ("b", False)]),
        ("description", [("description", False)]),
        ("case when a then 1 else 0 end desc", [("case when a then 1 else 0 end", True)]),
    ],
)
def test_a_sort_list_is_read_as_expressions_and_directions(text: str, expected: list[tuple[str, bool]]) -> None:
    assert parse(text) == tuple(OrderKey(*key) for key in expected)


@pytest.mark.parametrize("text", [",", "a,", "a,,b", "desc", "a, DESC", "(a, b", "a)]", "'a", "`a"])
def test_a_broken_sort_list_is_an_error_that_shows_it(text: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parse(text)
    assert repr(text) in str(caught.value)


@given(st.lists(st.tuples(st.sampled_from(["a", "f(a, b)", "x = ','", "`,`"]), st.booleans()), min_size=1))
def test_joined_keys_are_read_back(keys: list[tuple[str, bool]]) -> None:
    text = ",".join(f"{expression} {'desc' if down else 'asc'}" for expression, down in keys)
    assert parse(text) == tuple(OrderKey(*key) for key in keys)


@pytest.fixture(scope="module")
def documents(spark: SparkSession) -> DataFrame:
    rows = [(b"a", 1, 5), (b"b", 1, None), (b"c", None, 9), (b"d", 0, 1), (b"e", 1, 7), (b"f", 1, 7)]
    return spark.createDataFrame(rows, "doc_id binary, source_rank int, char_count bigint")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", b"abcdef"),
        ("source_rank, char_count desc", b"defabc"),
        ("source_rank, char_count", b"daefbc"),
        ("source_rank desc", b"abefdc"),
        ("char_count % 2 desc, char_count", b"daefcb"),
    ],
)
def test_documents_are_ordered_nulls_last_then_by_id(documents: DataFrame, text: str, expected: bytes) -> None:
    keys = parse(text)
    check(documents, keys)
    assert b"".join(bytes(row.doc_id) for row in documents.orderBy(*order_by(keys)).collect()) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "source_rank, chars desc",
            "dedup.keep_order: 'chars' names a column that documents do not have; "
            "there are: doc_id, source_rank, char_count",
        ),
        (
            "char_count dsc",
            "dedup.keep_order: 'char_count dsc' is not an SQL expression, with or without asc or desc after it",
        ),
        (
            "char_count desc nulls first",
            "dedup.keep_order: 'char_count desc nulls first' is not an SQL expression, "
            "with or without asc or desc after it",
        ),
        ("rand() desc", "dedup.keep_order: 'rand()' differs from run to run; use the documents' columns only"),
        (
            "monotonically_increasing_id()",
            "dedup.keep_order: 'monotonically_increasing_id()' differs from run to run; "
            "use the documents' columns only",
        ),
    ],
)
def test_a_key_that_does_not_fit_the_documents_is_explained(documents: DataFrame, text: str, message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        check(documents, parse(text))
    assert str(caught.value) == message


@pytest.mark.parametrize("text", ["count(1)", "map(doc_id, source_rank)", "row_number() over (order by doc_id)", "*"])
def test_what_cannot_order_is_an_error_in_one_line(
    documents: DataFrame, text: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(RecipeError, match=r"dedup\.keep_order: .* cannot order documents: [^\n]+$"):
        check(documents, parse(text))
    assert "QueryContextLogger" not in "".join(capfd.readouterr()), "PySpark's own report is not shown beside it"
