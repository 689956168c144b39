"""Count documents, their bytes, and signals that rules test by bins, by what became of each: in one pass."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

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
# Documents by source and language, where `signal` is null, dropped by any stage or none; else by a signal's bin,
# dropped by the filter or not.
_COUNTED = pa.schema(
    [
        pa.field(schema.SOURCE, pa.string()),
        pa.field(schema.LANGUAGE, pa.string()),
        pa.field("signal", pa.string()),
        pa.field("bin", pa.int32()),
        pa.field("dropped", pa.bool_()),
        pa.field("documents", pa.int64()),
        pa.field("bytes", pa.int64()),
    ]
)
_KEYS = (schema.SOURCE, schema.LANGUAGE, "signal", "bin", "dropped")

# (source, language) → documents, bytes of their text
Sizes = Mapping[tuple[str, str], tuple[int, int]]


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


def sizes_and_histograms(
    bounds: Mapping[str, list[Threshold]], documents: DataFrame, taken: DataFrame | None
) -> tuple[Sizes, Sizes, list[Histogram]]:
    """Count documents by source and language, and the signals that rules bound.

    Args:
        bounds: of each signal to count, as `thresholds_of` finds them.
        documents: the annotations of all documents that reached the filter.
        taken: the decisions; None: nothing is decided yet.

    Returns:
        Sizes of all documents, and of those that no stage drops; a histogram for each signal.
    """
    signals = list(bounds)
    edges = _edges_of(bounds, documents) if bounds else {}
    if taken is None:
        fates = documents.withColumn(_STAGE, F.lit(None).cast("string"))
    else:
        dropped = decisions.counted(taken).select(schema.DOC_ID, F.col("stage").alias(_STAGE))
        fates = documents.join(dropped, schema.DOC_ID, "left")
    read = fates.select(
        *(schema.SOURCE, schema.LANGUAGE, schema.BYTE_COUNT, _STAGE), *(F.col(name).cast("double") for name in signals)
    )
    counted = read.mapInArrow(_counter([(name, edges[name][0]) for name in signals]), spark_ddl(_COUNTED))
    sums = (F.sum(name).alias(name) for name in ("documents", "bytes"))
    rows = counted.groupBy(*_KEYS).agg(*sums).collect()
    everything: dict[tuple[str, str], tuple[int, int]] = {}
    kept: dict[tuple[str, str], tuple[int, int]] = {}
    counts: dict[tuple[str, int, bool], int] = {}
    for row in rows:
        if row["signal"] is not None:
            counts[row["signal"], row["bin"], row["dropped"]] = row["documents"]
            continue
        place = row[schema.SOURCE], row[schema.LANGUAGE] or ""
        for sizes in (everything,) if row["dropped"] else (everything, kept):
            documents_before, bytes_before = sizes.get(place, (0, 0))
            sizes[place] = documents_before + row["documents"], bytes_before + (row["bytes"] or 0)
    return everything, kept, [_histogram(name, *edges[name], bounds[name], counts) for name in signals]


_STAGE = "dropped_by"  # of the decision under which a document is counted; null for one that stays


def _histogram(
    name: str,
    edges: list[float],
    log: bool,
    bounds: list[Threshold],
    counts: Mapping[tuple[str, int, bool], int],
) -> Histogram:
    return Histogram(
        signal=name,
        unit=SIGNALS[name].unit if name in SIGNALS else "probability",
        edges=edges,
        kept=[counts.get((name, place, False), 0) for place in range(len(edges) - 1)],
        dropped=[counts.get((name, place, True), 0) for place in range(len(edges) - 1)],
        thresholds=bounds,
        nulls=counts.get((name, -1, False), 0) + counts.get((name, -1, True), 0),
        log=log,
    )


def _edges_of(bounds: Mapping[str, list[Threshold]], documents: DataFrame) -> dict[str, tuple[list[float], bool]]:
    """Choose the bins of each signal."""
    read = documents.select(*(F.col(name).cast("double") for name in bounds))
    rows = read.mapInArrow(_spread, spark_ddl(_SPREAD)).groupBy("signal", "key").agg(F.sum("documents")).collect()
    counts: dict[str, dict[int, int]] = {}
    for name, key, documents_of_key in rows:
        counts.setdefault(name, {})[key] = documents_of_key
    edges: dict[str, tuple[list[float], bool]] = {}
    for name, own in bounds.items():
        low, high = _range(counts[name]) if name in counts else (0.0, 1.0)
        edges[name] = _edges(low, high, [bound.value for bound in own])
    return edges


# percentile_approx is cheaper, but what it answers depends on how the documents were cut into tasks.
_SPREAD = pa.schema([("signal", pa.string()), ("key", pa.int64()), ("documents", pa.int64())])
_SHIFT = 45  # of a double's 52 bits of fraction, 7 tell values apart that differ by 1 %; whole numbers below 256 all


def _spread(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Count values, rounded towards zero to their sign, exponent and 7 bits; nulls are none."""
    for batch in batches:
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            values = column.drop_null().to_numpy() + 0.0  # -0.0 is 0
            keys, counts = np.unique(values[np.isfinite(values)].view(np.int64) >> _SHIFT, return_counts=True)
            yield pa.RecordBatch.from_pydict(
                {"signal": [name] * len(keys), "key": keys, "documents": counts}, schema=_SPREAD
            )


def _range(counts: Mapping[int, int]) -> tuple[float, float]:
    """Return between what the middle 99 % of values lie: one odd document must not squeeze all others into one bin."""
    keys = np.array(list(counts), np.int64)
    values = (keys << _SHIFT).view(np.float64)
    order = np.argsort(values)
    sums = np.cumsum(np.array(list(counts.values()), np.int64)[order])
    low, high = (values[order[np.searchsorted(sums, share * sums[-1])]] for share in (0.005, 0.995))
    return float(low), float(high)


def _counter(
    edges: Sequence[tuple[str, Sequence[float]]],
) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """Make the pass to _COUNTED; bin -1 is null, and the outer bins take what lies outside."""

    def count(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield _of_sizes(batch)
            dropped = pc.equal(batch[_STAGE], "filter").fill_null(False).to_numpy(zero_copy_only=False)
            for name, borders in edges:
                values = batch[name].to_numpy(zero_copy_only=False)  # null becomes NaN
                places = np.searchsorted(np.asarray(borders[1:-1]), values, side="right")
                places[np.isnan(values)] = -1
                for fate in (False, True):
                    bins, counts = np.unique(places[dropped == fate], return_counts=True)
                    yield _made(
                        len(bins), {"signal": [name] * len(bins), "bin": bins, "dropped": [fate] * len(bins)}, counts
                    )

    return count


def _of_sizes(batch: pa.RecordBatch) -> pa.RecordBatch:
    columns = {name: batch[name] for name in (schema.SOURCE, schema.LANGUAGE, schema.BYTE_COUNT)}
    table = pa.table({**columns, "dropped": pc.is_valid(batch[_STAGE])})
    keys = [schema.SOURCE, schema.LANGUAGE, "dropped"]
    sums = table.group_by(keys).aggregate([([], "count_all"), (schema.BYTE_COUNT, "sum")])
    known = {name: sums[name].combine_chunks() for name in keys}
    known["bytes"] = sums[f"{schema.BYTE_COUNT}_sum"].combine_chunks()
    return _made(sums.num_rows, known, sums["count_all"].combine_chunks())


def _made(rows: int, known: Mapping[str, Any], documents: Any) -> pa.RecordBatch:
    """Make a batch of _COUNTED; columns that are not known are null."""
    columns = {**known, "documents": documents}
    return pa.RecordBatch.from_pydict(
        {field.name: columns.get(field.name, pa.nulls(rows, field.type)) for field in _COUNTED}, schema=_COUNTED
    )


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
