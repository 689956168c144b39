"""Rule sets to decisions: one Spark column a rule, evaluated for every document, text never touched."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.errors import AnalysisException, ParseException
from pyspark.sql import functions as F

from redpajama_pipe import schema
from redpajama_pipe.errors import RecipeError
from redpajama_pipe.rules.ruleset import Rule, RuleSet, columns_of, nearest
from redpajama_pipe.session import unlogged

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

STAGE = "filter"


@dataclass(frozen=True)
class CompiledRule:
    """A rule, its receipt name (`set.rule`), and the columns that it reads."""

    rule: Rule
    name: str
    columns: tuple[str, ...]

    def keeps(self) -> Column:
        """Return a boolean column, never null."""
        return F.coalesce(F.expr(self.rule.keep).cast("boolean"), F.lit(self.rule.on_null == "keep"))


def compile_rules(sets: Sequence[RuleSet], documents: DataFrame) -> list[CompiledRule]:
    """Check every predicate against the documents' columns before any job starts.

    Args:
        sets: in the recipe's order; their rules are ranked in this order.
        documents: any frame with the documents' columns.

    Raises:
        RecipeError: a predicate that does not parse, reads an unknown column (the message names the nearest) or is not
            boolean.
    """
    compiled: list[CompiledRule] = []
    for rules in sets:
        for rule in rules.rules:
            where = f"rule {rules.name}.{rule.name}: {rule.keep!r}"
            try:
                with unlogged():
                    kind = documents.select(F.expr(rule.keep).alias("keep")).schema["keep"].dataType.simpleString()
            except ParseException as error:
                raise RecipeError(f"{where} is not valid SQL: {_first_line(error)}") from None
            except AnalysisException as error:
                missing = re.search(r"with name (?:`[^`]*`\.)*`([^`]+)`", str(error))
                if missing:
                    hint = nearest(missing.group(1), documents.columns)
                    raise RecipeError(f"{where} reads an unknown signal {missing.group(1)!r}{hint}") from None
                raise RecipeError(f"{where}: {_first_line(error)}") from None
            if kind != "boolean":
                raise RecipeError(f"{where} is of type {kind}; a rule must be true or false")
            name = f"{rules.name}.{rule.name}"
            compiled.append(CompiledRule(rule, name, tuple(columns_of(rule.keep, documents.columns))))
    return compiled


def decide(documents: DataFrame, rules: Sequence[CompiledRule]) -> DataFrame:
    """Return one drop decision for each document and each rule that would drop it.

    Rank 0 is the first such rule, under which the document is counted. Evidence is a JSON object of the columns that
    the rule reads, with their values.
    """
    if not rules:
        return documents.sparkSession.createDataFrame([], schema.spark_ddl(schema.DECISIONS))
    failures = [
        F.when(
            ~rule.keeps(),
            F.struct(
                F.lit(rule.name).alias("rule"),
                F.to_json(F.struct(*[F.col(column) for column in rule.columns]), {"ignoreNullFields": "false"}).alias(
                    "evidence"
                ),
            ),
        )
        for rule in rules
    ]
    failed = F.filter(F.array(*failures), lambda entry: entry.isNotNull())
    exploded = documents.select(
        schema.DOC_ID, schema.SOURCE, schema.LANGUAGE, F.posexplode(failed).alias("rank", "failure")
    )
    return exploded.select(
        schema.DOC_ID,
        schema.SOURCE,
        schema.LANGUAGE,
        F.lit("drop").alias("action"),
        F.lit(None).cast("bigint").alias("span_start"),
        F.lit(None).cast("bigint").alias("span_end"),
        F.lit(None).cast("string").alias("replacement"),
        F.lit(STAGE).alias("stage"),
        F.col("failure.rule").alias("rule"),
        F.col("rank").cast("int").alias("rank"),
        F.col("failure.evidence").alias("evidence"),
        F.lit(None).cast("binary").alias("kept_doc_id"),
        F.lit(None).cast("double").alias("similarity"),
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
