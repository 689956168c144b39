"""Which of several equal documents stays: a list of SQL expressions over the documents' columns.

The expressions are Spark's own; only the list and its `asc` and `desc` are read here, since Spark has no public parser
for a sort list. Nulls come last in both directions, so a document with an unknown value never wins over a known one,
and doc_id always ends the order, so it is total.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from pyspark.errors import AnalysisException, ParseException
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from redpajama_pipe.errors import RecipeError
from redpajama_pipe.schema import DOC_ID
from redpajama_pipe.session import unlogged

_DIRECTION = re.compile(r"^(?P<expression>.*\S)\s+(?P<direction>asc|desc)$", re.IGNORECASE | re.DOTALL)
_OPENING, _CLOSING, _QUOTES = "([{", ")]}", "'\"`"


@dataclass(frozen=True)
class OrderKey:
    """One expression of the order."""

    expression: str
    descending: bool

    @property
    def value(self) -> Column:
        """The expression as a column of the documents."""
        # In parentheses `char_count dsc` is a syntax error; without, Spark takes the misspelt word for an alias.
        # The line break ends a comment, should the expression have one.
        return F.expr(f"({self.expression}\n)")

    def sort(self, column: Column) -> Column:
        """Order `column`, which holds this key's value, in its direction, nulls last."""
        return column.desc_nulls_last() if self.descending else column.asc_nulls_last()


def parse(text: str) -> tuple[OrderKey, ...]:
    """Read a sort list: SQL expressions between commas, each with an optional `asc` or `desc`.

    An empty text gives no keys: then doc_id alone decides.

    Raises:
        RecipeError: an expression is missing, or a bracket or a quote is not closed.
    """
    if not text.strip():
        return ()
    keys = []
    for piece in _split(text):
        match = _DIRECTION.match(piece)
        expression = match["expression"] if match else piece
        if not expression or expression.lower() in ("asc", "desc"):
            raise RecipeError(f"dedup.keep_order={text!r}: an expression is missing between commas or before asc/desc")
        keys.append(OrderKey(expression, match is not None and match["direction"].lower() == "desc"))
    return tuple(keys)


def order_by(keys: tuple[OrderKey, ...]) -> list[Column]:
    """Return the columns that sort documents, doc_id last."""
    return [*(key.sort(key.value) for key in keys), F.col(DOC_ID).asc()]


def check(documents: DataFrame, keys: tuple[OrderKey, ...]) -> None:
    """Make sure that each key is one deterministic, sortable value of a document.

    Raises:
        RecipeError: an unknown column (the message lists the known ones), a syntax error, an aggregate, or an
            expression such as rand() that differs from run to run.
    """
    for key in keys:
        where = f"dedup.keep_order: {key.expression!r}"
        try:
            with unlogged():
                # The argument of an aggregate must be deterministic, sortable and no aggregate: Spark checks all three.
                documents.agg(F.max(key.value))
        except ParseException as error:
            raise RecipeError(f"{where} is not an SQL expression, with or without asc or desc after it") from error
        except AnalysisException as error:
            condition = error.getCondition() or ""
            if condition.startswith("UNRESOLVED_COLUMN"):
                columns = ", ".join(documents.columns)
                raise RecipeError(f"{where} names a column that documents do not have; there are: {columns}") from error
            if "NONDETERMINISTIC" in condition:
                raise RecipeError(f"{where} differs from run to run; use the documents' columns only") from error
            raise RecipeError(f"{where} cannot order documents: {str(error).splitlines()[0]}") from error


def _split(text: str) -> Iterator[str]:
    depth, quote, begin, at = 0, "", 0, 0
    while at < len(text):
        character = text[at]
        if quote:
            if character == "\\" and quote != "`":
                at += 1  # the next character is escaped
            elif character == quote:
                quote = ""  # a doubled quote closes and opens again, which comes to the same
        elif character in _QUOTES:
            quote = character
        elif character in _OPENING:
            depth += 1
        elif character in _CLOSING:
            depth -= 1
        elif character == "," and depth == 0:
            yield text[begin:at].strip()
            begin = at + 1
        at += 1
    if depth or quote:
        raise RecipeError(f"dedup.keep_order={text!r}: {'a quote' if quote else 'a bracket'} is not closed")
    yield text[begin:].strip()
