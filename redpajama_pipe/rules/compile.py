"""Rule sets to decisions: one Spark column a rule, evaluated for every document, text never touched."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from operator import and_
from typing import TYPE_CHECKING, Any

from py4j.protocol import Py4JJavaError  # type: ignore[import-untyped]
from pyspark.errors import AnalysisException, ParseException, PySparkException
from pyspark.sql import functions as F

from redpajama_pipe import decisions, schema
from redpajama_pipe.errors import RecipeError
from redpajama_pipe.rules.ruleset import Cut, Rule, RuleSet, columns_of, nearest, words_of
from redpajama_pipe.session import unlogged

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

STAGE = "filter"
_DATA_EXCEPTION = "22"  # class of SQLSTATE: division by zero, invalid cast, index out of bounds, ...
# What Spark calls deterministic, and is so within one query.
CLOCK = {"current_date", "current_time", "current_timestamp", "curdate", "localtimestamp", "now"}


@dataclass(frozen=True)
class CompiledRule:
    """A rule, its receipt name (`set.rule`), and the columns that it reads."""

    rule: Rule
    name: str
    columns: tuple[str, ...]

    def keeps(self) -> Column:
        """Return a boolean column, never null."""
        return F.coalesce(F.expr(self.rule.keep).cast("boolean"), F.lit(self.rule.on_null == "keep"))


@dataclass(frozen=True)
class CompiledCut:
    """A cut, its receipt name (`set.cut`), and the columns that its condition reads."""

    cut: Cut
    name: str
    columns: tuple[str, ...]

    def spans(self) -> Column:
        """Return the column of the spans that are applied: an array, null or empty where there are none."""
        spans = F.col(self.cut.spans)
        if self.cut.rules:
            spans = F.filter(spans, lambda span: span["rule"].isin(list(self.cut.rules)))
        return F.when(F.expr(self.cut.when).cast("boolean"), spans)


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
    fine = _all_fine(documents, [rule.keep for rules in sets for rule in rules.rules])
    for rules in sets:
        for rule in rules.rules:
            if not fine:
                check_predicate(documents, rule.keep, f"rule {rules.name}.{rule.name}: {rule.keep!r}")
            name = f"{rules.name}.{rule.name}"
            compiled.append(CompiledRule(rule, name, tuple(columns_of(rule.keep, documents.columns))))
    return compiled


def compile_cuts(sets: Sequence[RuleSet], documents: DataFrame) -> list[CompiledCut]:
    """Check every cut against the documents' columns before any job starts; arguments as for `compile_rules`.

    Raises:
        RecipeError: spans that are no column of spans, or a condition that is no boolean SQL over the columns.
    """
    compiled: list[CompiledCut] = []
    for rules in sets:
        for cut in rules.cuts:
            where = f"cut {rules.name}.{cut.name}"
            kinds = dict(documents.dtypes)
            if cut.spans not in kinds:
                hint = nearest(cut.spans, documents.columns)
                raise RecipeError(f"{where} reads an unknown signal {cut.spans!r}{hint}")
            if not kinds[cut.spans].startswith("array<struct<start:bigint,end:bigint,rule:string,replacement:string"):
                raise RecipeError(f"{where}: {cut.spans} is of type {kinds[cut.spans]}; a cut needs spans")
            check_predicate(documents, cut.when, f"{where}: {cut.when!r}")
            compiled.append(
                CompiledCut(cut, f"{rules.name}.{cut.name}", tuple(columns_of(cut.when, documents.columns)))
            )
    return compiled


def check_predicate(documents: DataFrame, predicate: str, where: str) -> None:
    """Raise RecipeError where a predicate is no boolean SQL over the columns of one document and of nothing else.

    Chance, the clock, a row's place and other rows are refused: an answer must be the same in every run.
    """
    try:
        with unlogged():
            kind = documents.select(F.expr(predicate).alias("keep")).schema["keep"].dataType.simpleString()
            # aggregates, windows and generators may stand in a list of columns, not in a condition
            plan: Any = (
                documents.where(F.expr(predicate))._jdf.queryExecution().analyzed() if kind == "boolean" else None
            )
    except ParseException as error:
        raise RecipeError(f"{where} is not valid SQL: {_first_line(error)}") from None
    except AnalysisException as error:
        missing = re.search(r"with name (?:`[^`]*`\.)*`([^`]+)`", str(error))
        if missing:
            hint = nearest(missing.group(1), documents.columns)
            raise RecipeError(f"{where} reads an unknown signal {missing.group(1)!r}{hint}") from None
        raise RecipeError(f"{where}: {_first_line(error)}") from None
    except PySparkException as error:  # such as a number of too many digits
        raise RecipeError(f"{where} is not valid SQL: {_first_line(error)}") from None
    except Py4JJavaError as error:  # what Spark's own checks pass over, such as a function by itself: x -> x
        raise RecipeError(f"{where} is nothing that Spark can work out: {_java_line(error)}") from None
    if kind != "boolean":
        raise RecipeError(f"{where} is of type {kind}; a rule must be true or false")
    if _reads_clock(documents, predicate) or not plan.deterministic():
        raise RecipeError(
            f"{where}: its answer may differ from run to run; a rule may look at a document's columns only"
        )
    if not plan.subqueries().isEmpty():
        raise RecipeError(f"{where} has a query in it; a rule may look at a document's columns only")


def _all_fine(documents: DataFrame, predicates: Sequence[str]) -> bool:
    """Whether `check_predicate` has nothing against any: at once, for Spark takes 20 ms to look at one."""
    if any(_reads_clock(documents, predicate) for predicate in predicates):
        return False
    try:
        with unlogged():
            asked = [F.expr(predicate) for predicate in predicates]
            kinds = documents.select(*(each.alias(f"keep_{place}") for place, each in enumerate(asked))).schema
            plan: Any = documents.where(reduce(and_, asked, F.lit(True)))._jdf.queryExecution().analyzed()
    except (PySparkException, Py4JJavaError):
        return False
    answers = [field.dataType.simpleString() for field in kinds]
    return answers == ["boolean"] * len(asked) and bool(plan.deterministic()) and bool(plan.subqueries().isEmpty())


def _reads_clock(documents: DataFrame, predicate: str) -> bool:
    return bool(CLOCK & (words_of(predicate) - set(map(str.lower, documents.columns))))


@contextmanager
def failures_of_rules() -> Iterator[None]:
    """Raise RecipeError where a rule has no answer for some document, such as a division by zero.

    To be put around what computes decisions: only the documents show it.
    """
    try:
        with unlogged():
            yield
    except PySparkException as error:
        if (error.getSqlState() or "")[:2] != _DATA_EXCEPTION:
            raise
        raise RecipeError(f"a rule fails on a document: {_first_line(error)}") from None
    except Py4JJavaError as error:
        wrong = re.search(r"PatternSyntaxException: (.+)", str(error))
        if wrong is None:
            raise
        raise RecipeError(f"a rule has a regular expression that is none: {wrong.group(1)}") from None


def decide(documents: DataFrame, rules: Sequence[CompiledRule], cuts: Sequence[CompiledCut] = ()) -> DataFrame:
    """Return a drop decision for each document and each rule that would drop it, and the cuts of the others.

    Rank 0 is the first such rule, under which the document is counted. Evidence is a JSON object of the columns that
    the rule, or the condition of the cut, reads, with their values.
    """
    drops = _drops(documents, rules)
    for cut in cuts:
        drops = drops.unionByName(_cut_rows(documents, rules, cut))
    return drops


def _cut_rows(documents: DataFrame, rules: Sequence[CompiledRule], cut: CompiledCut) -> DataFrame:
    # one condition: Spark looks through the whole plan again for each
    kept = reduce(and_, (rule.keeps() for rule in rules), F.lit(True))
    spans = documents.where(kept).withColumn("span", F.explode(cut.spans()))
    read = F.to_json(F.struct(*map(F.col, cut.columns)), {"ignoreNullFields": "false"}) if cut.columns else F.lit("{}")
    replaced = F.col("span.replacement") != ""
    return spans.select(
        schema.DOC_ID,
        schema.SOURCE,
        schema.LANGUAGE,
        F.when(replaced, "replace").otherwise("cut").alias("action"),
        F.col("span.start").alias("span_start"),
        F.col("span.end").alias("span_end"),
        F.when(replaced, F.col("span.replacement")).alias("replacement"),
        F.lit(STAGE).alias("stage"),
        F.concat(F.lit(f"{cut.name}."), F.col("span.rule")).alias("rule"),
        F.lit(0).alias("rank"),
        read.alias("evidence"),
        F.lit(None).cast("binary").alias("kept_doc_id"),
        F.lit(None).cast("double").alias("similarity"),
    )


def _drops(documents: DataFrame, rules: Sequence[CompiledRule]) -> DataFrame:
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
    return decisions.drops(exploded, STAGE, F.col("failure.rule"), F.col("failure.evidence"), rank=F.col("rank"))


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]


def _java_line(error: Py4JJavaError) -> str:
    if "StackOverflowError" in str(error):
        return "it is nested too deeply"
    said = re.search(r"^: (?:[\w.]+: )?(.+)$", str(error), re.MULTILINE)
    return said.group(1)[:200] if said else "an error within Spark"
