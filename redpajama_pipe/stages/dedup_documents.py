"""Dedup: decide which documents repeat one that stays, exactly and nearly, and say which one.

Two steps, each with its own decisions: equal content first, then near-duplicates among what is left, so that a
document that was dropped already can never be the one that stays.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from redpajama_pipe import decisions, manifest, schema, storage
from redpajama_pipe.arguments import Job, run_job
from redpajama_pipe.manifest import Manifest
from redpajama_pipe.progress import Progress
from redpajama_pipe.recipe import Recipe, to_tree
from redpajama_pipe.run_folder import RunFolder
from redpajama_pipe.stages.filter_documents import check_shares, count_decisions, read_annotated
from redpajama_pipe.stages.pack_tokens import keep

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyspark.sql import DataFrame, SparkSession

    from redpajama_pipe.dedup.minhash import MinHashSpec


def run(spark: Callable[[], SparkSession], recipe: Recipe, folder: RunFolder, *, quiet: bool = False) -> list[Manifest]:
    """Write decisions/exact/ and decisions/near/, as the recipe asks.

    Returns:
        Their manifests; counts as those of the filter stage.

    Raises:
        GateError: a source loses more than its limit, a bucket or a component is too large.
        RecipeError: dedup.keep_order does not fit the documents.
    """
    steps = {"exact": recipe.dedup.exact, "near": recipe.dedup.near}
    for step, wanted in steps.items():
        if not wanted:
            storage.remove(folder.decisions(step))
    return [_run_step(step, spark, recipe, folder, quiet) for step, wanted in steps.items() if wanted]


def _run_step(step: str, spark: Callable[[], SparkSession], recipe: Recipe, folder: RunFolder, quiet: bool) -> Manifest:
    where, annotated = folder.annotated()
    earlier = [folder.decisions(name) for name in ("filter", "exact") if name != step]
    before = {name: found for name in earlier if (found := manifest.find(name))}
    inputs = {"documents": annotated.hash, **{name.rsplit("/", 1)[-1]: found.hash for name, found in before.items()}}
    section: dict[str, Any] = {**to_tree(recipe.dedup), "minhash": to_tree(recipe.annotate.minhash)}
    section["sources"] = [source.name for source in recipe.sources]
    target = folder.decisions(step)
    done = manifest.current(target, step, inputs, section)
    if done:
        return done
    storage.remove(target)
    session = spark()
    with Progress(f"dedup {step}", session.sparkContext, quiet=quiet) as progress:
        documents = with_source_rank(read_annotated(session, where), recipe)
        left = keep(documents, decisions.read(session, list(before)) if before else None)
        total = sum(source["documents"] for source in annotated.counts["sources"].values())
        files = decisions.write(_decide(step, left, recipe, folder), target, total)
        counts = count_decisions(annotated, documents, decisions.read(session, [target]))
        dropped = sum(sum(rules.values()) for rules in counts["by_rule"].values())
        progress.note = f"{dropped:,} {'equal documents' if step == 'exact' else 'near-duplicates'} dropped"
        check_shares(f"dedup {step}", counts, recipe.dedup.max_dropped_share, "dedup.max_dropped_share", recipe)
    return manifest.write(target, step, inputs, section, counts, files, progress.seconds)


def with_source_rank(documents: DataFrame, recipe: Recipe) -> DataFrame:
    """Add `source_rank`: the position of a document's source in the recipe, from 0."""
    from pyspark.sql import functions as F

    names = F.array(*(F.lit(source.name) for source in recipe.sources))
    return documents.withColumn("source_rank", (F.array_position(names, F.col(schema.SOURCE)) - 1).cast("int"))


def part_opener(folder: RunFolder) -> Callable[[str], pq.ParquetFile]:
    """Return the function that opens a document part by its name, on any worker."""
    documents = folder.documents

    def open_part(part: str) -> pq.ParquetFile:
        return storage.open_parquet(storage.join(documents, f"{part}.parquet"))

    return open_part


def _decide(step: str, left: DataFrame, recipe: Recipe, folder: RunFolder) -> DataFrame:
    if step == "exact":
        from redpajama_pipe.dedup.exact import exact_duplicates

        return exact_duplicates(left, recipe.dedup.keep_order)
    from redpajama_pipe.dedup.near import near_duplicates
    from redpajama_pipe.signals.annotation import minhash_spec

    spec: MinHashSpec = minhash_spec(recipe.annotate.minhash)
    return near_duplicates(left, part_opener(folder), spec, recipe.dedup, recipe.execution.partitions)


def work(job: Job) -> None:
    """Do this stage for a parsed command line."""
    run(job.spark, job.recipe, job.folder, quiet=job.quiet)


def main(argv: Sequence[str] | None = None) -> int:
    """Run this stage from a command line."""
    return run_job(argv, __doc__, work)
