"""Count every signal that a rule tests into bins, for documents that the filter keeps and drops, in one pass."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import functions as F

from redpajama_pipe import decisions, schema
from redpajama_pipe.recipe import Recipe
from redpajama_pipe.report.model import Histogram, Threshold
from redpajama_pipe.rules import ruleset
from redpajama_pipe.schema import spark_ddl
from redpajama_pipe.signals import SIGNALS

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

BINS = 32

_BOUND = re.compile(r"\b([A-Za-z_]\w*)\s*(>=|<=|>|<)\s*(-?\d+(?:\.\d+)?)")
_BINNED = pa.schema([("signal", pa.string()), ("bin", pa.int32()), ("dropped", pa.bool_()), ("documents", pa.int64())])


def thresholds_of(recipe: Recipe) -> dict[str, list[Threshold]]:
    """Find the bounds that the recipe's rules put on signals: comparisons with a number, and BETWEEN."""
    found: dict[str, list[Threshold]] = {}
    for rules in map(ruleset.load, recipe.filter.rule_sets):
        for rule in rules.rules:
            between = r"\b(\w+)\s+BETWEEN\s+(-?[\d.]+)\s+AND\s+(-?[\d.]+)"
            sql = re.sub(between, r"\1 >= \2 AND \1 <= \3", rule.keep, flags=re.IGNORECASE)
            for signal, sign, value in _BOUND.findall(sql):
                if signal in SIGNALS or signal == schema.LANGUAGE_SCORE:
                    bound = Threshold(rule.name, float(value), "min" if sign.startswith(">") else "max")
                    found.setdefault(signal, []).append(bound)
    return found


def histograms(recipe: Recipe, documents: DataFrame, taken: DataFrame | None) -> list[Histogram]:
    """Count the signals that the recipe's rules bound.

    Args:
        recipe: whose rule sets are read for bounds.
        documents: the annotations of all documents that reached the filter.
        taken: the decisions; None: nothing is decided yet, and there is nothing to draw.
    """
    bounds = thresholds_of(recipe)
    if not bounds or taken is None:
        return []
    signals = list(bounds)
    # the middle 99 % decide the scale: one odd document must not squeeze all others into one bin
    ranges = documents.select(
        *(F.percentile_approx(F.col(name).cast("double"), [0.005, 0.995], 1000).alias(name) for name in signals)
    ).first()
    edges: dict[str, tuple[list[float], bool]] = {}
    for name in signals:
        ends = (ranges[name] if ranges is not None else None) or [0.0, 1.0]
        edges[name] = _edges(ends[0], ends[1], [bound.value for bound in bounds[name]])
    dropped = decisions.counted(taken).where("stage = 'filter'").select(schema.DOC_ID, F.lit(True).alias("dropped"))
    marked = documents.select(schema.DOC_ID, *(F.col(name).cast("double") for name in signals))
    marked = marked.join(dropped, schema.DOC_ID, "left").drop(schema.DOC_ID)
    binned = marked.mapInArrow(_binner([(name, edges[name][0]) for name in signals]), spark_ddl(_BINNED))
    rows = binned.groupBy("signal", "bin", "dropped").agg(F.sum("documents").alias("documents")).collect()
    counts = {(row["signal"], row["bin"], row["dropped"]): row["documents"] for row in rows}
    return [
        Histogram(
            signal=name,
            unit=SIGNALS[name].unit if name in SIGNALS else "probability",
            edges=edges[name][0],
            kept=[counts.get((name, place, False), 0) for place in range(len(edges[name][0]) - 1)],
            dropped=[counts.get((name, place, True), 0) for place in range(len(edges[name][0]) - 1)],
            thresholds=bounds[name],
            nulls=counts.get((name, -1, False), 0) + counts.get((name, -1, True), 0),
            log=edges[name][1],
        )
        for name in signals
    ]


def _binner(
    edges: Sequence[tuple[str, Sequence[float]]],
) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """Make the pass that counts signals into bins; bin -1 is null, and the outer bins take what lies outside."""

    def bin_batches(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            dropped = pc.is_valid(batch.column("dropped")).to_numpy(zero_copy_only=False)
            for name, borders in edges:
                values = batch.column(name).to_numpy(zero_copy_only=False)  # null becomes NaN
                places = np.searchsorted(np.asarray(borders[1:-1]), values, side="right")
                places[np.isnan(values)] = -1
                for fate in (False, True):
                    bins, counts = np.unique(places[dropped == fate], return_counts=True)
                    yield pa.RecordBatch.from_pydict(
                        {
                            "signal": [name] * len(bins),
                            "bin": bins,
                            "dropped": [fate] * len(bins),
                            "documents": counts,
                        },
                        schema=_BINNED,
                    )

    return bin_batches


def _edges(low: float, high: float, bounds: Sequence[float]) -> tuple[list[float], bool]:
    """Choose bin edges that hold the bulk of the values and every bound; a wide positive range gets a log scale."""
    near = [bound for bound in bounds if high <= 0 or bound <= 20 * high]
    low, high = min([low, *bounds]), max([high, *near])
    if low >= 0 and high > 200:
        start = max(low, 1.0)
        ratio = (high * 1.05 / start) ** (1 / BINS)
        return [start * ratio**place for place in range(BINS + 1)], True
    if high <= low:
        high = low + 1.0
    step = (high - low) * 1.02 / BINS
    return [low + step * place for place in range(BINS + 1)], False
