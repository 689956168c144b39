"""Gather what the report shows from manifests, decisions and signals; of text, only a few examples are read."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import functions as F

from redpajama_pipe import __version__, decisions, manifest, schema, storage
from redpajama_pipe.document_parts import read_texts
from redpajama_pipe.manifest import Manifest
from redpajama_pipe.recipe import Recipe, digest
from redpajama_pipe.report.model import (
    Cluster,
    CutRow,
    DocCard,
    FunnelRow,
    Histogram,
    QuarantineRow,
    ReportData,
    RuleRow,
    ScheduleRow,
    ShardRow,
    SkippedRow,
    StageRow,
    TaskRow,
    Threshold,
    TokenRow,
)
from redpajama_pipe.rules import ruleset
from redpajama_pipe.run_folder import DECIDING, RunFolder
from redpajama_pipe.schema import spark_ddl
from redpajama_pipe.signals import SIGNALS
from redpajama_pipe.stages.filter_documents import read_annotated
from redpajama_pipe.stages.pack_tokens import keep

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

BINS = 32
CLUSTERS = 12
EXCERPT = 4000  # characters of an example

# what an enabled rule of dedup keeps, and where that is published
_EXACT = {
    "text": ("exact_duplicate", "no earlier document has the same bytes", ""),
    "normalized_text": ("normalized_duplicate", "no earlier document has the same text but for case and space", ""),
    "url": ("url_duplicate", "no earlier document is of the same address", "TFDS, text/c4_utils.py, normalize_url"),
    "digest": ("digest_duplicate", "no earlier document has the same digest", "Weber et al. 2024, arXiv:2411.12372"),
}
_NEAR = {
    "jaccard": "no earlier kept document has at least {threshold:g} of their shingles in common (exact Jaccard)",
    "containment": "no earlier kept document holds at least {threshold:g} of its shingles",
    "estimate": "no earlier kept document's signature agrees in at least {threshold:g} of its values",
    "none": "no earlier kept document shares a band with it",
}
_NEAR_SOURCE = "Broder 1997; Lee et al. 2021, arXiv:2107.06499"


def part_of(rule: str) -> str:
    """Return the report's name of the part of dedup that a rule belongs to."""
    return "near_dedup" if rule.startswith("near_duplicate") else "exact_dedup"


def collect(spark: SparkSession, recipe: Recipe, folder: RunFolder, created: str) -> ReportData:
    """Fill the report of a run; stages that were not run leave their part empty.

    Raises:
        ManifestError: ingest and annotate did not finish.
    """
    where, annotated = folder.annotated()
    steps = {stage: found for stage in DECIDING if (found := manifest.find(folder.decisions(stage)))}
    tokens = manifest.find(folder.tokens)
    schedule = manifest.find(folder.schedule)
    documents = read_annotated(spark, where)
    taken = decisions.read(spark, [folder.decisions(step) for step in steps]) if steps else None
    kept_sizes = _sizes(keep(documents, taken))
    all_sizes = _sizes(documents)
    quarantined = {name: sum(s["quarantined"].values()) for name, s in annotated.counts["sources"].items()}
    funnel = [
        _funnel_row("source", name, 0, quarantined[name], steps, all_sizes, kept_sizes, tokens)
        for name in annotated.counts["sources"]
    ]
    languages = sorted({key[1] for key in all_sizes}, key=lambda name: (-_total(all_sizes, 1, name)[0], name))
    funnel += [_funnel_row("language", name, 1, 0, steps, all_sizes, kept_sizes, tokens) for name in languages]
    sources = [row for row in funnel if row.kind == "source"]
    totals = FunnelRow(
        kind="total",
        name=recipe.name,
        documents_in=sum(row.documents_in for row in sources),
        quarantined=sum(row.quarantined for row in sources),
        dropped={name: sum(row.dropped[name] for row in sources) for name in (sources[0].dropped if sources else ())},
        kept=sum(row.kept for row in sources),
        tokens=tokens.counts["tokens"] if tokens else None,
        bytes_in=sum(row.bytes_in or 0 for row in sources),
        bytes_kept=sum(row.bytes_kept or 0 for row in sources),
    )
    return ReportData(
        recipe_name=recipe.name,
        title=recipe.title or recipe.name,
        created=created,
        totals=totals,
        funnel=funnel,
        rules=_rules(recipe, taken),
        cuts=[row for step in steps.values() for row in _cuts(step)],
        tasks=_tasks(steps["decontaminate"]) if "decontaminate" in steps else [],
        quarantine=_quarantine(spark, folder),
        skipped=[
            SkippedRow(name, kind, count)
            for name, counted in annotated.counts["sources"].items()
            for kind, count in counted["skipped"].items()
        ],
        histograms=_histograms(recipe, documents, taken) if "filter" in steps else [],
        clusters=_clusters(spark, folder) if "dedup" in steps else [],
        tokens=[TokenRow(lang, src, docs, toks) for src, lang, docs, toks in tokens.counts["groups"]] if tokens else [],
        schedules=[_schedule_row(row) for row in schedule.counts["schedules"]] if schedule else [],
        shards=[_shard_row(shard) for shard in tokens.counts["shards"]] if tokens else [],
        stages=_stages(folder, annotated, steps, tokens, schedule),
        facts={"recipe": digest(recipe)[:16], "redpajama_pipe": __version__},
    )


Sizes = Mapping[tuple[str, str], tuple[int, int]]


def _sizes(documents: DataFrame) -> Sizes:
    """Count documents and bytes of text by (source, language)."""
    rows = documents.groupBy(schema.SOURCE, schema.LANGUAGE).agg(
        F.count("*").alias("documents"), F.sum(schema.BYTE_COUNT).alias("bytes")
    )
    return {
        (row[schema.SOURCE], row[schema.LANGUAGE] or ""): (row["documents"], row["bytes"] or 0)
        for row in rows.collect()
    }


def _total(sizes: Sizes, place: int, name: str) -> tuple[int, int]:
    own = [value for key, value in sizes.items() if key[place] == name]
    return sum(documents for documents, _ in own), sum(size for _, size in own)


def _funnel_row(
    kind: Any,
    name: str,
    place: int,
    quarantined: int,
    steps: Mapping[str, Manifest],
    all_sizes: Sizes,
    kept_sizes: Sizes,
    tokens: Manifest | None,
) -> FunnelRow:
    documents, bytes_in = _total(all_sizes, place, name)
    kept, bytes_kept = _total(kept_sizes, place, name)
    by_rule = {
        stage: found.counts["by_rule"][name] if kind == "source" else found.counts["languages"][name]["dropped"]
        for stage, found in steps.items()
    }
    dropped = {"filter": sum(by_rule["filter"].values())} if "filter" in by_rule else {}
    if "dedup" in by_rule:
        dropped |= {"exact_dedup": 0, "near_dedup": 0}
        for rule, count in by_rule["dedup"].items():
            dropped[part_of(rule)] += count
    if "decontaminate" in by_rule:
        dropped["decontaminate"] = sum(by_rule["decontaminate"].values())
    # tokens.counts["groups"]: source, language, documents, tokens
    own = sum(row[3] for row in tokens.counts["groups"] if row[place] == name) if tokens else None
    return FunnelRow(kind, name, documents + quarantined, quarantined, dropped, kept, own, bytes_in, bytes_kept)


def _rules(recipe: Recipe, taken: DataFrame | None) -> list[RuleRow]:
    if taken is None:
        return []
    drops = taken.where("action = 'drop'")
    alone = drops.groupBy(schema.DOC_ID, "stage").agg(F.count("*").alias("rules"), F.first("rule").alias("rule"))
    only = {row["rule"]: row["count"] for row in alone.where("rules = 1").groupBy("rule").count().collect()}
    first = {row["rule"]: row["count"] for row in decisions.counted(taken).groupBy("rule").count().collect()}
    every = {row["rule"]: row["count"] for row in drops.groupBy("rule").count().collect()}
    rows = [
        RuleRow(
            stage="filter",
            rule=f"{rules.name}.{rule.name}",
            keep=rule.keep,
            dropped_first=first.get(f"{rules.name}.{rule.name}", 0),
            dropped_any=every.get(f"{rules.name}.{rule.name}", 0),
            dropped_only=only.get(f"{rules.name}.{rule.name}", 0),
            citation=rule.source or rules.source,
        )
        for rules in map(ruleset.load, recipe.filter.rule_sets)
        for rule in rules.rules
    ]
    described = [_EXACT[key] for key in recipe.dedup.exact_keys]
    if recipe.dedup.near:
        keeps = _NEAR[recipe.dedup.verify].format(threshold=recipe.dedup.threshold)
        described.append(("near_duplicate", keeps, _NEAR_SOURCE))
    named = {rule for rule, _, _ in described}
    others = drops.where("stage = 'dedup'").select("rule").distinct().orderBy("rule").collect()
    described += [(row["rule"], "", "") for row in others if row["rule"] not in named]
    for rule, keeps, citation in described:
        rows.append(RuleRow(part_of(rule), rule, keeps, first.get(rule, 0), citation=citation))
    for chosen in recipe.decontaminate.sets:
        rule = f"contaminated.{chosen.name}"
        counted = (first.get(rule, 0), every.get(rule, 0), only.get(rule, 0))
        rows.append(RuleRow("decontaminate", rule, "it holds no example of the set", *counted))
    return rows


def _tasks(decontaminated: Manifest) -> list[TaskRow]:
    return [
        TaskRow(
            name,
            counted["examples"],
            counted["too_short"],
            counted["ngrams"],
            counted["documents_hit"],
            counted["examples_hit"],
        )
        for name, counted in decontaminated.counts["by_task"].items()
    ]


def _cuts(decided: Manifest) -> list[CutRow]:
    totals: dict[str, list[int]] = {}
    for rules in decided.counts.get("cuts", {}).values():
        for rule, counted in rules.items():
            row = totals.setdefault(rule, [0, 0, 0])
            for place, key in enumerate(("documents", "spans", "bytes")):
                row[place] += counted[key]
    return [CutRow(rule, *counts) for rule, counts in sorted(totals.items())]


def _quarantine(spark: SparkSession, folder: RunFolder) -> list[QuarantineRow]:
    if not manifest.read(folder.quarantine).files:
        return []
    bad = spark.read.parquet(storage.for_spark(folder.quarantine))
    example = F.min(F.struct("uri", "offset", "detail")).alias("example")
    rows = bad.groupBy(schema.SOURCE, "reason").agg(F.count("*").alias("count"), example)
    return [
        QuarantineRow(
            row[schema.SOURCE],
            row["reason"],
            row["count"],
            f"{row['example']['uri']} at {row['example']['offset']:,}",
            row["example"]["detail"],
        )
        for row in rows.orderBy(F.col("count").desc(), schema.SOURCE, "reason").collect()
    ]


_BOUND = re.compile(r"\b([A-Za-z_]\w*)\s*(>=|<=|>|<)\s*(-?\d+(?:\.\d+)?)")


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


def _histograms(recipe: Recipe, documents: DataFrame, taken: DataFrame | None) -> list[Histogram]:
    """Count every signal that a rule tests into bins, for documents that the filter keeps and drops, in one pass."""
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


_BINNED = pa.schema([("signal", pa.string()), ("bin", pa.int32()), ("dropped", pa.bool_()), ("documents", pa.int64())])


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
    low, high = min(low, *bounds), max(high, *(bound for bound in bounds if bound <= 20 * max(high, 1e-9)), 1e-9)
    if low >= 0 and high > 200:
        start = max(low, 1.0)
        ratio = (high * 1.05 / start) ** (1 / BINS)
        return [start * ratio**place for place in range(BINS + 1)], True
    if high <= low:
        high = low + 1.0
    step = (high - low) * 1.02 / BINS
    return [low + step * place for place in range(BINS + 1)], False


def _clusters(spark: SparkSession, folder: RunFolder) -> list[Cluster]:
    """Show the largest groups of near-duplicates, each with its least similar pair."""
    near = decisions.read(spark, [folder.decisions("dedup")]).where("rule = 'near_duplicate'")
    groups = near.groupBy("kept_doc_id").agg(
        F.count("*").alias("dropped"),
        F.min("similarity").alias("least"),
        F.avg("similarity").alias("mean"),
        F.max("similarity").alias("most"),
        F.min(F.struct("similarity", schema.DOC_ID)).alias("example"),
    )
    rows = groups.orderBy(F.col("dropped").desc(), "kept_doc_id").limit(CLUSTERS).collect()
    ids = [bytes(row["kept_doc_id"]) for row in rows] + [bytes(row["example"][schema.DOC_ID]) for row in rows]
    cards = document_cards(spark, folder, ids)
    return [
        Cluster(
            size=row["dropped"] + 1,
            similarity_min=row["least"],
            similarity_mean=row["mean"],
            similarity_max=row["most"],
            kept=cards[bytes(row["kept_doc_id"])],
            example=cards[bytes(row["example"][schema.DOC_ID])],
            example_similarity=row["example"]["similarity"],
        )
        for row in rows
    ]


def document_cards(spark: SparkSession, folder: RunFolder, ids: Iterable[bytes]) -> dict[bytes, DocCard]:
    """Read the excerpts of a few documents."""
    wanted = sorted(set(ids))
    if not wanted:
        return {}
    places = spark.read.parquet(storage.for_spark(folder.documents)).where(F.col(schema.DOC_ID).isin(wanted))
    rows = places.select(schema.DOC_ID, schema.PART, schema.ROW, schema.SOURCE, "url", "title").collect()
    cards: dict[bytes, DocCard] = {}
    for row in rows:
        cards[bytes(row[schema.DOC_ID])] = DocCard(
            doc_id=bytes(row[schema.DOC_ID]).hex(),
            source=row[schema.SOURCE],
            text=read_excerpt(folder, row[schema.PART], row[schema.ROW]),
            url=row["url"],
            title=row["title"],
        )
    return cards


def read_excerpt(folder: RunFolder, part: str, row: int, length: int = EXCERPT) -> str:
    """Read the beginning of one document's text."""
    with storage.open_parquet(storage.join(folder.documents, f"{part}.parquet")) as parquet:
        for read in read_texts(parquet, np.array([row], np.int64), part):
            text: str = read.texts[0].as_py()
            return text[:length]
    return ""


def _shard_row(shard: Mapping[str, Any]) -> ShardRow:
    name, size, sha256 = shard["files"][0]
    return ShardRow(name, shard["sequences"], shard["tokens"], size, sha256)


def _schedule_row(row: Mapping[str, Any]) -> ScheduleRow:
    seen = {int(times): count for times, count in row["seen"].items()}
    return ScheduleRow(row["epochs"], row["mode"], row["steps"], row["samples"], row["tokens"], seen)


def _stages(
    folder: RunFolder,
    annotated: Manifest,
    steps: Mapping[str, Manifest],
    tokens: Manifest | None,
    schedule: Manifest | None,
) -> list[StageRow]:
    documents = sum(source["documents"] for source in annotated.counts["sources"].values())
    size = sum(source["text_bytes"] for source in annotated.counts["sources"].values())
    ingest = manifest.read(folder.documents)
    found: list[tuple[str, Manifest]] = [("ingest", ingest)]
    if annotated.stage == "annotate":
        found.append(("annotate", annotated))
    found += list(steps.items())
    found += [(name, stage) for name, stage in (("tokenize", tokens), ("schedule", schedule)) if stage]
    reads_text = ("ingest", "annotate", "decontaminate", "tokenize")
    return [
        StageRow(
            name,
            stage.seconds,
            documents if name != "tokenize" else stage.counts["documents"],
            size if name in reads_text else None,
            size / stage.seconds if name in reads_text and stage.seconds else None,
        )
        for name, stage in found
    ]
