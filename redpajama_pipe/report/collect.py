"""Gather what the report shows from manifests, decisions and signals; of text, only a few examples are read."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pyspark.sql import Row
from pyspark.sql import functions as F

from redpajama_pipe import __version__, decisions, manifest, schema, storage
from redpajama_pipe.manifest import Manifest
from redpajama_pipe.recipe import Recipe
from redpajama_pipe.report.collect_cuts import cut_rows, with_texts
from redpajama_pipe.report.collect_duplicates import (
    RuleDrops,
    clusters,
    described_rules,
    drops_by_rule,
    duplicates,
    part_of,
)
from redpajama_pipe.report.collect_signals import Sizes, sizes_and_histograms, thresholds_of
from redpajama_pipe.report.model import (
    FunnelRow,
    QuarantineRow,
    ReportData,
    RuleRow,
    ScheduleRow,
    ShardRow,
    SkippedRow,
    StageRow,
    TaskRow,
    TokenRow,
)
from redpajama_pipe.rules import ruleset
from redpajama_pipe.run_folder import DECIDING, RunFolder
from redpajama_pipe.settings.tree import digest
from redpajama_pipe.stages.dedup_documents import part_opener
from redpajama_pipe.stages.filter_documents import read_annotated

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


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
    bounds = thresholds_of(recipe) if "filter" in steps else {}
    all_sizes, kept_sizes, histograms = sizes_and_histograms(bounds, documents, taken)
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
    drops = drops_by_rule(taken) if taken is not None else []
    cuts, texts = with_texts(cut_rows(steps), documents, taken, part_opener(folder))
    return ReportData(
        recipe_name=recipe.name,
        title=recipe.title or recipe.name,
        created=created,
        totals=totals,
        funnel=funnel,
        rules=_rules(recipe, steps, drops),
        cuts=cuts,
        cut_texts=texts,
        tasks=_tasks(steps["decontaminate"], taken) if taken is not None and "decontaminate" in steps else [],
        quarantine=_quarantine(spark, folder),
        skipped=[
            SkippedRow(name, kind, count)
            for name, counted in annotated.counts["sources"].items()
            for kind, count in counted["skipped"].items()
        ],
        histograms=histograms,
        duplicates=duplicates(spark, recipe, folder, steps["dedup"], documents, drops) if "dedup" in steps else None,
        clusters=clusters(spark, folder) if "dedup" in steps else [],
        tokens=[TokenRow(lang, src, docs, toks) for src, lang, docs, toks in tokens.counts["groups"]] if tokens else [],
        schedules=[_schedule_row(row) for row in schedule.counts["schedules"]] if schedule else [],
        shards=[_shard_row(shard) for shard in tokens.counts["shards"]] if tokens else [],
        stages=_stages(folder, annotated, steps, tokens, schedule),
        facts=facts_of(recipe, folder),
    )


def facts_of(recipe: Recipe, folder: RunFolder) -> dict[str, str]:
    """Return what identifies a run, and a setting that makes its languages differ from the published definition."""
    sampled = folder.annotate_settings().get("language_sample_bytes", 0)
    return {
        "recipe": digest(recipe)[:16],
        "redpajama_pipe": __version__,
        **({"annotate.language_sample_bytes": f"{sampled:,}"} if sampled else {}),
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
        if steps["dedup"].recipe["lines"]["mode"] == "ccnet":  # the mode that may leave nothing of a document
            dropped["repeated_lines"] = 0
        for rule, count in by_rule["dedup"].items():
            dropped[part_of(rule)] += count
    if "decontaminate" in by_rule:
        dropped["decontaminate"] = sum(by_rule["decontaminate"].values())
    # tokens.counts["groups"]: source, language, documents, tokens
    own = sum(row[3] for row in tokens.counts["groups"] if row[place] == name) if tokens else None
    return FunnelRow(kind, name, documents + quarantined, quarantined, dropped, kept, own, bytes_in, bytes_kept)


def _rules(recipe: Recipe, steps: Mapping[str, Manifest], drops: Sequence[RuleDrops]) -> list[RuleRow]:
    if not steps:
        return []
    first, only, every = _summed(steps, "by_rule"), _summed(steps, "only"), Counter[str]()
    for dropped in drops:
        every[dropped.rule] += dropped.documents
    rows = [
        RuleRow(
            stage="filter",
            rule=f"{rules.name}.{rule.name}",
            keep=rule.keep,
            dropped_first=first[f"{rules.name}.{rule.name}"],
            dropped_any=every[f"{rules.name}.{rule.name}"],
            dropped_only=only[f"{rules.name}.{rule.name}"],
            citation=rule.source or rules.source,
        )
        for rules in map(ruleset.load, recipe.filter.rule_sets)
        for rule in rules.rules
    ]
    described = described_rules(recipe)
    others = {dropped.rule for dropped in drops if dropped.stage == "dedup"} - {rule for rule, _, _ in described}
    described += [(rule, "", "") for rule in sorted(others)]
    for rule, keeps, citation in described:
        rows.append(RuleRow(part_of(rule), rule, keeps, first[rule], citation=citation))
    for chosen in recipe.decontaminate.sets:
        rule = f"contaminated.{chosen.name}"
        rows.append(
            RuleRow("decontaminate", rule, "it holds no example of the set", first[rule], every[rule], only[rule])
        )
    return rows


def _summed(steps: Mapping[str, Manifest], key: str) -> Counter[str]:
    """Add up, over stages and sources, what their manifests count by rule."""
    sums = Counter[str]()
    for found in steps.values():
        for rules in found.counts.get(key, {}).values():
            sums.update(rules)
    return sums


def _tasks(decontaminated: Manifest, taken: DataFrame) -> list[TaskRow]:
    rows = taken.where("stage = 'decontaminate'").groupBy("rule", schema.SOURCE)
    counted = rows.agg(
        F.countDistinct(schema.DOC_ID).alias("documents"), F.min(F.struct(schema.DOC_ID, "evidence")).alias("example")
    )
    by_rule: dict[str, list[Row]] = {}
    for row in counted.orderBy("rule", schema.SOURCE).collect():
        by_rule.setdefault(row["rule"], []).append(row)
    return [
        TaskRow(
            name,
            counted["examples"],
            counted["too_short"],
            counted["ngrams"],
            counted["documents_hit"],
            counted["examples_hit"],
            counted.get("common"),
            {row[schema.SOURCE]: row["documents"] for row in by_rule.get(f"contaminated.{name}", ())},
            _example(by_rule.get(f"contaminated.{name}", ())),
        )
        for name, counted in decontaminated.counts["by_task"].items()
    ]


def _example(rows: Sequence[Row]) -> tuple[str, str, str] | None:
    """Return the first receipt of a set: the document, the example and the words."""
    if not rows:
        return None
    doc_id, evidence = min((bytes(row["example"][schema.DOC_ID]), row["example"]["evidence"]) for row in rows)
    said = json.loads(evidence)
    return doc_id.hex(), str(said["example"]), str(said["ngram"])


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
