"""What a predicate would drop, from the stored signals: seconds, because no text is read and nothing is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from redpajama_pipe import decisions, schema
from redpajama_pipe.report.table import format_table
from redpajama_pipe.rules.compile import check_predicate, failures_of_rules

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

SHOWN = 200  # characters of a predicate, in an error


@dataclass(frozen=True)
class Effect:
    """What a predicate would do to one source.

    Attributes:
        documents: in the source.
        dropped: those for which the predicate is false.
        unknown: those for which it is null; on_null of a rule would decide.
        kept: documents that no decision of the run drops.
        dropped_of_kept: those of them for which it is false.
        kept_bytes: of text, UTF-8.
        dropped_bytes_of_kept: bytes that would go.
    """

    source: str
    documents: int
    dropped: int
    unknown: int
    kept: int
    dropped_of_kept: int
    kept_bytes: int
    dropped_bytes_of_kept: int


def what_if(documents: DataFrame, taken: DataFrame | None, predicate: str) -> list[Effect]:
    """Evaluate a predicate that says what is kept.

    Args:
        documents: annotations of every document.
        taken: the run's decisions, or None.
        predicate: SQL over signals and document columns.

    Returns:
        One effect for each source, by name.

    Raises:
        RecipeError: it does not parse, reads an unknown signal (the message names the nearest), is not boolean, or has
            no answer for some document.
    """
    check_predicate(documents, predicate, f"--what-if {_shown(predicate)!r}")
    answer = F.expr(predicate).cast("boolean")
    marked = documents.select(schema.DOC_ID, schema.SOURCE, schema.BYTE_COUNT, answer.alias("keep"))
    if taken is None:
        marked = marked.withColumn("kept", F.lit(True))
    else:
        gone = decisions.counted(taken).select(schema.DOC_ID, F.lit(True).alias("gone"))
        marked = marked.join(gone, schema.DOC_ID, "left").withColumn("kept", F.col("gone").isNull())
    size = F.col(schema.BYTE_COUNT)

    def count(condition: str) -> Column:
        return F.count_if(F.expr(condition))

    def total(condition: str) -> Column:
        return F.coalesce(F.sum(F.when(F.expr(condition), size)), F.lit(0))

    rows = marked.groupBy(schema.SOURCE).agg(
        F.count("*").alias("documents"),
        count("NOT keep").alias("dropped"),
        count("keep IS NULL").alias("unknown"),
        count("kept").alias("kept"),
        count("kept AND NOT keep").alias("dropped_of_kept"),
        total("kept").alias("kept_bytes"),
        total("kept AND NOT keep").alias("dropped_bytes_of_kept"),
    )
    with failures_of_rules():
        return [Effect(**row.asDict()) for row in rows.orderBy(schema.SOURCE).collect()]


def format_effects(effects: list[Effect], predicate: str) -> str:
    """Write the effects as a table with one line of conclusion."""
    rows = [
        (
            effect.source,
            effect.documents,
            effect.dropped,
            effect.unknown,
            effect.kept,
            effect.dropped_of_kept,
            _share(effect.dropped_bytes_of_kept, effect.kept_bytes),
        )
        for effect in effects
    ]
    sums = [
        sum(getattr(effect, column) for effect in effects)
        for column in ("documents", "dropped", "unknown", "kept", "dropped_of_kept")
    ]
    share = _share(sum(e.dropped_bytes_of_kept for e in effects), sum(e.kept_bytes for e in effects))
    header = ("source", "documents", "would drop", "null", "kept now", "of those, drops", "of their text")
    table = format_table(rows, header, "lrrrrrr", footer=("total", *sums, share))
    return f"keep only where {predicate}\n{table}\nNothing was written; a rule in filters/ makes it so."


def _shown(predicate: str) -> str:
    return predicate if len(predicate) <= SHOWN else f"{predicate[:SHOWN]}…"


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "-"
