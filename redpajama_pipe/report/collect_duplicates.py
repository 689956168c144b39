"""What deduplication dropped and for what: kinds, similarities, sizes of groups, whose documents for whose, examples.

Counted from the decisions, which name the document that stays; one shuffle of ids finds the sources of these. Of text,
only the excerpts of a few groups are read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from pyspark.sql import functions as F

from redpajama_pipe import decisions, schema, storage
from redpajama_pipe.dedup import component_decisions, duplicate_counts, index_match, lines
from redpajama_pipe.dedup.exact import KEYS
from redpajama_pipe.document_parts import read_texts
from redpajama_pipe.manifest import Manifest
from redpajama_pipe.recipe import Recipe
from redpajama_pipe.report.model import (
    Cluster,
    DocCard,
    DuplicateRow,
    Duplicates,
    Histogram,
    IndexRow,
    PairRow,
    SizeRow,
)
from redpajama_pipe.run_folder import RunFolder

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

CLUSTERS = 12
EXCERPT = 4000  # characters of an example
SIMILARITY_BINS = 20

NEAR_RULES = (component_decisions.RULE, component_decisions.RULE_OF_INDEX)

# what an enabled rule keeps, and where that is published
_EXACT = {
    "text": ("no earlier document has the same bytes", ""),
    "normalized_text": ("no earlier document has the same text but for case and space", ""),
    "url": ("no earlier document is of the same address", "TFDS, text/c4_utils.py, normalize_url"),
    "digest": ("no earlier document has the same digest", "Weber et al. 2024, arXiv:2411.12372"),
}
_NEAR = {
    "jaccard": "no {which} has at least {threshold:g} of their shingles in common (exact Jaccard)",
    "containment": "no {which} holds at least {threshold:g} of its shingles",
    "estimate": "no {which}'s signature agrees in at least {threshold:g} of its values",
    "none": "no {which} shares a band with it",
}
_NEAR_SOURCE = "Broder 1997; Lee et al. 2021, arXiv:2107.06499"


def part_of(rule: str) -> str:
    """Return the report's name of the part of dedup that a rule belongs to."""
    if rule == lines.NOTHING_LEFT:
        return "repeated_lines"
    return "near_dedup" if rule in NEAR_RULES else "exact_dedup"


def described_rules(recipe: Recipe) -> list[tuple[str, str, str]]:
    """Return the kinds of duplicate that a recipe asks for, as they are decided: rule, what it keeps, source."""
    settings, found = recipe.dedup, []
    if settings.lines.mode == "ccnet":
        found.append((lines.NOTHING_LEFT, "a line is left that no other document of its files has", "arXiv:1911.00359"))
    if "text" in settings.exact_keys and settings.against:
        found.append((index_match.EXACT_RULE, "no document of an index has the same bytes", ""))
    found += [(KEYS[key].rule, *_EXACT[key]) for key in settings.exact_keys]
    if settings.near:
        near = [("document of an index", component_decisions.RULE_OF_INDEX)] if settings.against else []
        for which, rule in (*near, ("earlier kept document", component_decisions.RULE)):
            keeps = _NEAR[settings.verify].format(which=which, threshold=settings.threshold)
            found.append((rule, keeps, _NEAR_SOURCE))
    return found


@dataclass(frozen=True)
class RuleDrops:
    """What a rule drops: documents, whichever rule they are counted under, and least, mean and greatest similarity."""

    stage: str
    rule: str
    documents: int
    similarity: tuple[float, float, float] | None


def drops_by_rule(taken: DataFrame) -> list[RuleDrops]:
    """Count the drops of each stage and rule among decisions."""
    found = (
        taken.where("action = 'drop'")
        .groupBy("stage", "rule")
        .agg(
            F.count("*").alias("documents"),
            F.min("similarity").alias("least"),
            F.avg("similarity").alias("mean"),
            F.max("similarity").alias("most"),
        )
    )
    return [
        RuleDrops(
            row["stage"],
            row["rule"],
            row["documents"],
            None if row["least"] is None else (row["least"], row["mean"], row["most"]),
        )
        for row in found.collect()
    ]


def duplicates(
    spark: SparkSession,
    recipe: Recipe,
    folder: RunFolder,
    decided: Manifest,
    documents: DataFrame,
    drops: Sequence[RuleDrops],
) -> Duplicates:
    """Count what was dropped by its kind, for whom, and how alike it was.

    Args:
        spark: reads the decisions.
        recipe: of the run.
        folder: of the run.
        decided: the manifest of dedup, which counted the documents by source and rule.
        documents: doc_id and source of all documents.
        drops: of all stages, as `drops_by_rule` gives them.
    """
    counted = decisions.counted(decisions.read(spark, [folder.decisions("dedup")]))
    spread = {drop.rule: drop.similarity for drop in drops if drop.stage == "dedup" and drop.similarity}
    by_rule = decided.counts["by_rule"]
    named = [rule for rule, _, _ in described_rules(recipe)]
    named += sorted({rule for rules in by_rule.values() for rule in rules} - set(named))
    kinds = [
        DuplicateRow(
            rule,
            part_of(rule),
            {source: rules[rule] for source, rules in by_rule.items() if rule in rules},
            spread.get(rule),
        )
        for rule in named
    ]
    near = counted.where(F.col("rule").isin(*NEAR_RULES))
    groups = duplicate_counts.read(spark, folder).select(F.col(duplicate_counts.COUNT).alias("size"))
    sizes = _sizes(groups=groups, components=_components(near))
    return Duplicates(
        kinds=kinds,
        threshold=_bound(recipe),
        similarity=_similarities(recipe, near, [spread[rule] for rule in NEAR_RULES if rule in spread]),
        groups=sizes["groups"],
        components=sizes["components"],
        pairs=_pairs(counted, documents),
        indexes=_indexes(recipe, counted, decided),
    )


def _similarities(recipe: Recipe, near: DataFrame, spread: list[tuple[float, float, float]]) -> Histogram | None:
    """Count near-duplicates by their similarity, from the least that there is to 1."""
    if not spread:
        return None
    bound = _bound(recipe)
    least = min([found[0] for found in spread] + ([] if bound is None else [bound]))
    low = min(int(least * 20 + 1e-9) / 20, 0.95)
    width = (1 - low) / SIMILARITY_BINS
    # a similarity that lies on an edge, but for the rounding of the division, counts into the bin that it begins
    place = F.least(F.floor((F.col("similarity") - low) / width + 1e-9), F.lit(SIMILARITY_BINS - 1))
    rows = {row["place"]: row["count"] for row in near.groupBy(place.alias("place")).count().collect()}
    return Histogram(
        signal="similarity",
        unit={"none": "estimate"}.get(recipe.dedup.verify, recipe.dedup.verify),
        edges=[round(low + width * step, 6) for step in range(SIMILARITY_BINS + 1)],
        kept=[0] * SIMILARITY_BINS,
        dropped=[rows.get(step, 0) for step in range(SIMILARITY_BINS)],
    )


def _components(near: DataFrame) -> DataFrame:
    """Return `size`, a row for each component of which a document was dropped."""
    of = [_said("component").alias("component"), _said("component_size").cast("bigint").alias("size")]
    return near.select(*of).where("component IS NOT NULL").distinct().select("size")


def _sizes(**tables: DataFrame) -> dict[str, list[SizeRow]]:
    """Count, in each table, rows with `size` of at least 1 by powers of two: 1, 2 to 3, 4 to 7 …"""
    power = F.length(F.bin("size")) - 1  # exact, as a logarithm is not
    rows = [table.select(F.lit(name).alias("table"), power.alias("power"), "size") for name, table in tables.items()]
    found = (
        reduce(lambda left, right: left.unionByName(right), rows)
        .groupBy("table", "power")
        .agg(F.count("*").alias("groups"), F.sum("size").alias("documents"))
        .collect()
    )
    counted: dict[str, list[SizeRow]] = {name: [] for name in tables}
    for row in sorted(found, key=lambda row: row["power"]):
        low = 1 << row["power"]
        counted[row["table"]].append(SizeRow(low, 2 * low - 1, row["groups"], row["documents"]))
    return counted


def _pairs(counted: DataFrame, documents: DataFrame) -> list[PairRow]:
    """Count dropped documents by their source and that of the document that stays for them, both of this run."""
    near = F.col("rule").isin(*NEAR_RULES)
    inside = counted.where(F.col("kept_doc_id").isNotNull() & _said("index").isNull())
    stays = documents.select(F.col(schema.DOC_ID).alias("kept_doc_id"), F.col(schema.SOURCE).alias("kept"))
    rows = (
        inside.select(schema.SOURCE, "kept_doc_id", near.alias("near"))
        .join(stays, "kept_doc_id")
        .groupBy(schema.SOURCE, "kept")
        .agg(F.count_if(~F.col("near")).alias("exact"), F.count_if("near").alias("near"))
        .orderBy(schema.SOURCE, "kept")
    )
    return [PairRow(row[schema.SOURCE], row["kept"], row["exact"], row["near"]) for row in rows.collect()]


def _indexes(recipe: Recipe, counted: DataFrame, decided: Manifest) -> list[IndexRow]:
    """Count what repeats a document of an earlier run, by the index that its receipt names."""
    hashes = [found for name, found in decided.inputs.items() if name.startswith("index ")]
    if not hashes:
        return []
    paths = recipe.dedup.against if len(recipe.dedup.against) == len(hashes) else ("",) * len(hashes)
    of = counted.select(_said("index").alias("index"), F.col("rule").isin(*NEAR_RULES).alias("near"))
    rows = {(row["index"], row["near"]): row["count"] for row in of.groupBy("index", "near").count().collect()}
    return [
        IndexRow(path, found, rows.get((found, False), 0), rows.get((found, True), 0))
        for path, found in zip(paths, hashes, strict=True)
    ]


def _bound(recipe: Recipe) -> float | None:
    return None if recipe.dedup.verify == "none" else recipe.dedup.threshold


def _said(key: str) -> Column:
    return F.get_json_object("evidence", f"$.{key}")


def clusters(spark: SparkSession, folder: RunFolder) -> list[Cluster]:
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
    columns = (schema.DOC_ID, schema.PART, schema.ROW, schema.SOURCE, "url", "title")
    read = schema.spark_ddl(pa.schema([schema.DOCUMENTS.field(name) for name in columns]))
    places = spark.read.schema(read).parquet(storage.for_spark(folder.documents))
    rows = places.where(F.col(schema.DOC_ID).isin(wanted)).collect()
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
