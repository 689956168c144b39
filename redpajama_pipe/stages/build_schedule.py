"""Schedule: the order in which training reads the shards, one for each number of epochs in the recipe.

Runs where it is started, without Spark: it needs the lengths in the .idx files and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from redpajama_pipe import manifest, storage
from redpajama_pipe.arguments import Job, run_job
from redpajama_pipe.errors import PipelineError
from redpajama_pipe.manifest import Manifest
from redpajama_pipe.progress import Progress
from redpajama_pipe.recipe import Recipe
from redpajama_pipe.report.figures import plural
from redpajama_pipe.run_folder import RunFolder
from redpajama_pipe.settings.tokens import Schedule
from redpajama_pipe.settings.tree import build, to_tree
from redpajama_pipe.storage import File
from redpajama_pipe.tokens.blend import check_weights, label_documents
from redpajama_pipe.tokens.indexed import ShardedDataset
from redpajama_pipe.tokens.lookup import write_lookup
from redpajama_pipe.tokens.order import Order, build_order, count_exposure, split_documents, write_order
from redpajama_pipe.tokens.packing import check_packing, count_packing, describe_packing
from redpajama_pipe.tokens.schedule import Plan
from redpajama_pipe.tokens.spec import TokenizerSpec


def run(recipe: Recipe, folder: RunFolder, *, quiet: bool = False) -> Manifest:
    """Write schedule/<epochs>_epochs/ for each number of epochs, or schedule/<steps>_steps/.

    Returns:
        The manifest; its counts: for each schedule epochs, mode, folder, steps, samples, tokens, how many documents
        are seen how often (`seen`: by how often a document's first token is an input), how many are `left_out` by the
        split or the blend, how many sequences each source of a blend gives, and, without a blend, what the packing
        costs (`packed`, see PackingCounts: of one epoch; of the whole stream where it is concat).

    Raises:
        ManifestError: tokenize did not finish.
        PipelineError: nothing was kept, or too little for one sequence.
        RecipeError: the split or the blend does not fit what was kept.
    """
    check_settings(recipe.schedule)
    tokens = manifest.read(folder.tokens)
    inputs = {"tokens": tokens.hash}
    # a mapping's hash does not depend on its order, but the order of a blend decides between equals
    section = {**to_tree(recipe.schedule), "blend": [list(entry) for entry in recipe.schedule.blend.items()]}
    done = manifest.current(folder.schedule, "schedule", inputs, section)
    if done:
        return done
    storage.remove(folder.schedule)
    settings = recipe.schedule
    shards = [shard["name"] for shard in tokens.counts["shards"]]
    if not shards:
        raise PipelineError("no document was kept, so there is nothing to schedule; the decisions say why")
    with Progress("schedule", quiet=quiet) as progress:
        sizes = ShardedDataset([storage.join(folder.tokens, name) for name in shards]).sizes
        labels = label_documents(folder.tokens, shards, list(settings.blend)) if settings.blend else None
        files: list[File] = []
        schedules: list[dict[str, Any]] = []
        for epochs in [None] if settings.steps is not None else settings.epochs or ():
            order, plan = build_order(sizes, settings, epochs, labels)
            name = f"{settings.steps}_steps" if epochs is None else f"{epochs:g}_epochs"
            if epochs is None:
                total = sum(int(part.gather(sizes).sum(dtype=np.int64)) for part in order.parts)
                epochs = float(f"{plan.samples * settings.seq_len / total:.4g}")
            described = {
                "epochs": epochs,
                "steps": plan.steps,
                "batch_size": settings.batch_size,
                "samples": plan.samples,
                "shards": shards,
            }
            if settings.packing != "concat":
                spec = build(TokenizerSpec, tokens.recipe["spec"], f"the tokenizer of {folder.tokens}")
                described["pad_id"] = spec.pad_id
            written = write_order(storage.join(folder.schedule, name), order, described)
            written += write_lookup(storage.join(folder.schedule, name), order)
            files += [File(f"{name}/{file.path}", file.bytes, file.sha256) for file in written]
            schedules.append(_summary(order, plan, sizes, name, epochs, settings.packing))
        progress.note = ", ".join(map(_note, schedules))
    return manifest.write(
        folder.schedule, "schedule", inputs, section, {"schedules": schedules}, files, progress.seconds
    )


def check_settings(settings: Schedule) -> None:
    """Raise RecipeError for settings that fit no corpus at all."""
    check_weights(settings.blend)
    check_packing(settings.packing, settings.mode, bool(settings.blend))
    if settings.split:
        split_documents(settings.split, 1)


def _note(row: dict[str, Any]) -> str:
    text = f"{row['epochs']:g} epoch{'s' if row['epochs'] != 1 else ''}: {plural(row['steps'], 'step')}"
    if row.get("packing", "concat") != "concat":
        packed = row["packed"]
        text += (
            f" ({row['packing']}: {packed['padding_share']:.2%} padding, {packed['cut_share']:.1%} of documents cut)"
        )
    return text


def _summary(
    order: Order, plan: Plan, sizes: NDArray[np.int32], name: str, epochs: float, packing: str
) -> dict[str, Any]:
    counted = count_exposure(order, sizes, plan.samples).first_token
    scheduled = np.zeros(len(sizes), np.bool_)
    for part in order.parts:
        part.scatter(np.ones(part.schedule.documents, np.bool_), scheduled)
    times, documents = np.unique(counted[scheduled], return_counts=True)
    summary = {
        "epochs": epochs,
        "mode": order.mode,
        "folder": name,
        "steps": plan.steps,
        "samples": plan.samples,
        "tokens": plan.samples * order.seq_len,
        "seen": {str(number): int(count) for number, count in zip(times, documents, strict=True)},
    }
    if order.dataset_index is None:
        summary["packing"] = packing
        counts = count_packing(order.parts[0].schedule, order.parts[0].gather(sizes))
        summary["packed"] = describe_packing(counts)
    left_out = len(sizes) - int(scheduled.sum())
    if left_out:
        summary["left_out"] = left_out
    if order.dataset_index is not None:
        turns = order.count_turns(plan.samples)
        summary["blend"] = {part.name: count for part, count in zip(order.parts, turns, strict=True)}
    return summary


def work(job: Job) -> None:
    """Do this stage for a parsed command line."""
    run(job.recipe, job.folder, quiet=job.quiet)


def main(argv: Sequence[str] | None = None) -> int:
    """Run this stage from a command line."""
    return run_job(argv, __doc__, work)
