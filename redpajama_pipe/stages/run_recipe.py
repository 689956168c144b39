"""Run a recipe: every stage in order; what is up to date is skipped, what was interrupted continues."""

from __future__ import annotations

import time
from collections.abc import Sequence

from redpajama_pipe import recipe as recipes
from redpajama_pipe import storage
from redpajama_pipe.arguments import Job, run_job
from redpajama_pipe.stages import (
    build_schedule,
    dedup_documents,
    filter_documents,
    ingest_documents,
    pack_tokens,
    write_report,
)
from redpajama_pipe.summary import format_summary, write_summary


def work(job: Job) -> None:
    """Run every stage of a recipe and print what came of it."""
    began = time.monotonic()
    folder, recipe = job.folder, job.recipe
    storage.write_bytes(folder.recipe, recipes.to_yaml(recipe).encode("utf-8"))
    ingest_documents.run(job.spark, recipe, folder, annotate=True, quiet=job.quiet)
    filter_documents.run(job.spark, recipe, folder, quiet=job.quiet)
    dedup_documents.run(job.spark, recipe, folder, quiet=job.quiet)
    pack_tokens.run(job.spark, recipe, folder, quiet=job.quiet)
    build_schedule.run(recipe, folder, quiet=job.quiet)
    write_report.run(job.spark, recipe, folder, quiet=job.quiet)
    summary = write_summary(recipe, folder)
    print(format_summary(summary, folder, time.monotonic() - began))


def main(argv: Sequence[str] | None = None) -> int:
    """Run every stage from a command line."""
    return run_job(argv, __doc__, work)
