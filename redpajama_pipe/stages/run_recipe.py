"""Run a recipe: every stage in order; what is up to date is skipped, what was interrupted continues."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from redpajama_pipe import recipe as recipes
from redpajama_pipe import storage
from redpajama_pipe.arguments import Job, run_job
from redpajama_pipe.recipe import Recipe
from redpajama_pipe.run_folder import RunFolder
from redpajama_pipe.stages import (
    annotate_documents,
    build_schedule,
    decontaminate_documents,
    dedup_documents,
    filter_documents,
    ingest_documents,
    pack_tokens,
    write_report,
)
from redpajama_pipe.summary import format_summary, write_summary

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def run(spark: Callable[[], SparkSession], recipe: Recipe, folder: RunFolder, *, quiet: bool = False) -> dict[str, Any]:
    """Run every stage and write recipe.yaml and summary.json.

    Args:
        spark: gives the session; called only when a stage has something to do.
        recipe: what to run.
        folder: where.
        quiet: no progress lines.

    Returns:
        The summary, see summary.build_summary.
    """
    storage.write_bytes(folder.recipe, recipes.to_yaml(recipe).encode("utf-8"))
    annotated_documents(spark, recipe, folder, quiet=quiet)
    filter_documents.run(spark, recipe, folder, quiet=quiet)
    dedup_documents.run(spark, recipe, folder, quiet=quiet)
    decontaminate_documents.run(spark, recipe, folder, quiet=quiet)
    pack_tokens.run(spark, recipe, folder, quiet=quiet)
    build_schedule.run(recipe, folder, quiet=quiet)
    write_report.run(spark, recipe, folder, quiet=quiet)
    return write_summary(recipe, folder)


def annotated_documents(
    spark: Callable[[], SparkSession], recipe: Recipe, folder: RunFolder, *, quiet: bool = False
) -> None:
    """Write documents/ with the recipe's annotations; where only these are new, they are written beside the text."""
    if ingest_documents.only_annotations_differ(recipe, folder, quiet=quiet):
        annotate_documents.run(spark, recipe, folder, quiet=quiet)
        return
    ingest_documents.run(spark, recipe, folder, annotate=True, quiet=quiet)
    storage.remove(folder.annotations)  # those of other settings would be read before the documents' own


def work(job: Job) -> None:
    """Run every stage for a parsed command line and print what came of it."""
    began = time.monotonic()
    summary = run(job.spark, job.recipe, job.folder, quiet=job.quiet)
    print(format_summary(summary, job.folder, time.monotonic() - began))


def main(argv: Sequence[str] | None = None) -> int:
    """Run every stage from a command line."""
    return run_job(argv, __doc__, work)
