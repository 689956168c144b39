"""Dedup: decide which documents repeat one that stays, exactly and nearly, and say which one.

Equal documents are decided first and near-duplicates among what is left. A document whose equal twin turns out to be a
near-duplicate of a third is shown with that third one, which has the same similarity with it: a receipt always names a
document that stays.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from redpajama_pipe import decisions, manifest, schema, storage
from redpajama_pipe.arguments import Job, run_job
from redpajama_pipe.manifest import Manifest
from redpajama_pipe.progress import Progress
from redpajama_pipe.recipe import Recipe, to_tree
from redpajama_pipe.run_folder import RunFolder
from redpajama_pipe.stages.filter_documents import check_losses, count_decisions, read_annotated
from redpajama_pipe.stages.pack_tokens import keep

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyspark.sql import DataFrame, SparkSession


def run(spark: Callable[[], SparkSession], recipe: Recipe, folder: RunFolder, *, quiet: bool = False) -> Manifest:
    """Write decisions/dedup/.

    Returns:
        The manifest; counts as those of the filter stage.

    Raises:
        GateError: a source loses more than its limit, a bucket or a component is too large.
        RecipeError: dedup.keep_order does not fit the documents.
    """
    where, annotated = folder.annotated()
    filtered = manifest.find(folder.decisions("filter"))
    inputs = {"documents": annotated.hash, **({"filter": filtered.hash} if filtered else {})}
    section: dict[str, Any] = {**to_tree(recipe.dedup), "minhash": to_tree(recipe.annotate.minhash)}
    section["sources"] = [source.name for source in recipe.sources]
    target = folder.decisions("dedup")
    done = manifest.current(target, "dedup", inputs, section)
    if done:
        return done
    storage.remove(target)
    session = spark()
    with Progress("dedup", session.sparkContext, quiet=quiet) as progress:
        documents = with_source_rank(read_annotated(session, where), recipe)
        left = keep(documents, decisions.read(session, [folder.decisions("filter")]) if filtered else None)
        total = sum(source["documents"] for source in annotated.counts["sources"].values())
        with ExitStack() as held:
            files = decisions.write(decide(left, recipe, folder, held), target, total)
        counts = count_decisions(annotated, documents, decisions.read(session, [target]))
        by_rule = counts["by_rule"].values()
        exact, near = (sum(rules.get(rule, 0) for rules in by_rule) for rule in ("exact_duplicate", "near_duplicate"))
        progress.note = f"{exact:,} equal and {near:,} near-duplicates of {total:,} documents dropped"
        check_losses(counts, recipe.dedup.max_dropped_share, "dedup.max_dropped_share", recipe)
    return manifest.write(target, "dedup", inputs, section, counts, files, progress.seconds)


def decide(left: DataFrame, recipe: Recipe, folder: RunFolder, held: ExitStack) -> DataFrame:
    """Return the decisions about documents that are left after the filter.

    Args:
        left: their annotations, with source_rank.
        recipe: the run's.
        folder: the run's; its documents are read again where near-duplicates are verified.
        held: closed by the caller when the decisions are written; frees what Spark keeps of them until then.
    """
    from redpajama_pipe.dedup.exact import exact_duplicates
    from redpajama_pipe.dedup.minhash import MinHashSpec
    from redpajama_pipe.dedup.near import near_duplicates

    session = left.sparkSession
    taken = session.createDataFrame([], schema.spark_ddl(schema.DECISIONS))
    if recipe.dedup.exact:
        taken = exact_duplicates(left, recipe.dedup.keep_order).persist()
        held.callback(taken.unpersist)
        left = keep(left, taken)
    if not recipe.dedup.near:
        return taken
    spec = MinHashSpec.of(recipe.annotate.minhash)
    near = near_duplicates(left, part_opener(folder), spec, recipe.dedup, recipe.execution.partitions).persist()
    held.callback(near.unpersist)
    return naming_who_stays(taken, near).unionByName(near)


def naming_who_stays(exact: DataFrame, near: DataFrame) -> DataFrame:
    """Let exact decisions name a document that stays, where the one that they name is a near-duplicate of it.

    Equal texts have equal similarities, so the similarity of the near decision is exact for them too. Evidence then
    says which document is equal (`equal_to`) and which one stays (`kept`).
    """
    from pyspark.sql import functions as F

    moved = near.select(
        F.col(schema.DOC_ID).alias("equal"), F.col("kept_doc_id").alias("stays"), F.col("similarity").alias("jaccard")
    )
    joined = exact.join(moved, exact["kept_doc_id"] == moved["equal"], "left")
    evidence = F.to_json(
        F.struct(
            F.lower(F.hex("stays")).alias("kept"),
            F.lower(F.hex("equal")).alias("equal_to"),
            F.col("jaccard"),
            F.get_json_object("evidence", "$.bytes").cast("bigint").alias("bytes"),
        )
    )
    redirected = {
        "evidence": F.when(F.col("stays").isNull(), F.col("evidence")).otherwise(evidence),
        "kept_doc_id": F.coalesce("stays", "kept_doc_id"),
        "similarity": F.coalesce("jaccard", "similarity"),
    }
    return joined.select(*(redirected.get(name, F.col(name)).alias(name) for name in schema.DECISIONS.names))


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


def work(job: Job) -> None:
    """Do this stage for a parsed command line."""
    run(job.spark, job.recipe, job.folder, quiet=job.quiet)


def main(argv: Sequence[str] | None = None) -> int:
    """Run this stage from a command line."""
    return run_job(argv, __doc__, work)
