"""Schedule: the order in which training reads the shards, one for each number of epochs in the recipe.

Runs where it is started, without Spark: it needs the lengths in the .idx files and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from redpajama_pipe import manifest, storage
from redpajama_pipe.arguments import Job, run_job
from redpajama_pipe.errors import PipelineError
from redpajama_pipe.manifest import Manifest
from redpajama_pipe.progress import Progress
from redpajama_pipe.recipe import Recipe, to_tree
from redpajama_pipe.run_folder import RunFolder
from redpajama_pipe.storage import File
from redpajama_pipe.tokens.indexed import ShardedDataset
from redpajama_pipe.tokens.lookup import write_lookup
from redpajama_pipe.tokens.schedule import build_index, exposure, plan_steps, write_schedule


def run(recipe: Recipe, folder: RunFolder, *, quiet: bool = False) -> Manifest:
    """Write schedule/<epochs>_epochs/ for each number of epochs.

    Returns:
        The manifest; its counts: for each schedule epochs, mode, folder, steps, samples, tokens, and how many documents
        are seen how often (`seen`: by how often a document's first token is an input).

    Raises:
        ManifestError: tokenize did not finish.
        PipelineError: nothing was kept, or too little for one sequence.
    """
    tokens = manifest.read(folder.tokens)
    inputs = {"tokens": tokens.hash}
    section = to_tree(recipe.schedule)
    done = manifest.current(folder.schedule, "schedule", inputs, section)
    if done:
        return done
    storage.remove(folder.schedule)
    settings = recipe.schedule
    names = [storage.join(folder.tokens, shard["name"]) for shard in tokens.counts["shards"]]
    if not names:
        raise PipelineError("no document was kept, so there is nothing to schedule; the decisions say why")
    with Progress("schedule", quiet=quiet) as progress:
        sizes = ShardedDataset(names).sizes
        total = int(sizes.sum(dtype=np.int64))
        files: list[File] = []
        schedules: list[dict[str, Any]] = []
        for epochs in settings.epochs:
            plan = plan_steps(epochs, total, settings.seq_len, settings.batch_size)
            index = build_index(sizes, settings.seq_len, plan.num_samples, settings.seed, settings.mode)
            times, documents = np.unique(exposure(index, sizes, plan.samples).first_token, return_counts=True)
            described = {
                "epochs": epochs,
                "steps": plan.steps,
                "batch_size": settings.batch_size,
                "samples": plan.samples,
                "shards": [shard["name"] for shard in tokens.counts["shards"]],
            }
            name = f"{epochs:g}_epochs"
            written = write_schedule(storage.join(folder.schedule, name), index, described)
            written += write_lookup(storage.join(folder.schedule, name), index)
            files += [File(f"{name}/{file.path}", file.bytes, file.sha256) for file in written]
            schedules.append(
                {
                    "epochs": epochs,
                    "mode": settings.mode,
                    "folder": name,
                    "steps": plan.steps,
                    "samples": plan.samples,
                    "tokens": plan.samples * settings.seq_len,
                    "seen": {str(number): int(count) for number, count in zip(times, documents, strict=True)},
                }
            )
        progress.note = ", ".join(f"{row['epochs']:g} epochs: {row['steps']:,} steps" for row in schedules)
    return manifest.write(
        folder.schedule, "schedule", inputs, section, {"schedules": schedules}, files, progress.seconds
    )


def work(job: Job) -> None:
    """Do this stage for a parsed command line."""
    run(job.recipe, job.folder, quiet=job.quiet)


def main(argv: Sequence[str] | None = None) -> int:
    """Run this stage from a command line."""
    return run_job(argv, __doc__, work)
