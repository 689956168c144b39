"""Report: one self-contained HTML page about a run, and the same figures as report/data.json."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from redpajama_pipe import manifest, storage
from redpajama_pipe.arguments import Job, run_job
from redpajama_pipe.manifest import Manifest
from redpajama_pipe.progress import Progress
from redpajama_pipe.recipe import Recipe
from redpajama_pipe.run_folder import RunFolder
from redpajama_pipe.settings.tree import to_tree

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def run(spark: Callable[[], SparkSession], recipe: Recipe, folder: RunFolder, *, quiet: bool = False) -> Manifest:
    """Write report.html over what is finished of a run.

    Raises:
        ManifestError: ingest and annotate did not finish.
    """
    _, annotated = folder.annotated()
    inputs = {"documents": annotated.hash}
    others = (manifest.find(path) for path in (folder.tokens, folder.schedule))
    inputs |= {found.stage: found.hash for found in (*folder.decided().values(), *others) if found}
    section = to_tree(recipe)
    target = storage.join(folder.path, "report")
    done = manifest.current(target, "report", inputs, section)
    if done and storage.exists(folder.report):
        return done
    from redpajama_pipe.report.collect import collect
    from redpajama_pipe.report.html import render

    session = spark()
    with Progress("report", session.sparkContext, quiet=quiet) as progress:
        created = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
        data = collect(session, recipe, folder, created)
        page = render(data).encode("utf-8")
        storage.write_bytes(folder.report, page)
        figures = json.dumps(asdict(data), ensure_ascii=False, indent=1).encode("utf-8")
        file = storage.write_bytes(storage.join(target, "data.json"), figures)
        progress.note = f"{len(page) // 1000:,} kB"
    return manifest.write(target, "report", inputs, section, {}, [file], progress.seconds)


def work(job: Job) -> None:
    """Do this stage for a parsed command line."""
    run(job.spark, job.recipe, job.folder, quiet=job.quiet)


def main(argv: Sequence[str] | None = None) -> int:
    """Run this stage from a command line."""
    return run_job(argv, __doc__, work)
