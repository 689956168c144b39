"""Decontaminate: find text of evaluation sets in the documents that are left, and drop these or cut it out.

The sets are indexed once and read by every task; the text of the documents is read once, and not moved.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from redpajama_pipe import decisions, manifest, schema, storage
from redpajama_pipe.arguments import Job, run_job
from redpajama_pipe.manifest import Manifest
from redpajama_pipe.progress import Progress
from redpajama_pipe.recipe import Recipe
from redpajama_pipe.report.figures import plural
from redpajama_pipe.run_folder import RunFolder
from redpajama_pipe.settings.tree import to_tree
from redpajama_pipe.stages.dedup_documents import part_opener
from redpajama_pipe.stages.filter_documents import (
    check_losses,
    count_cuts,
    count_decisions,
    count_only,
    read_annotated,
)
from redpajama_pipe.stages.pack_tokens import keep

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from redpajama_pipe.decontamination.index import Index

# Hidden from Spark; it holds the text of the sets, and is removed when the decisions are written.
INDEX = "_evaluation_sets.npz"


def run(
    spark: Callable[[], SparkSession], recipe: Recipe, folder: RunFolder, *, quiet: bool = False
) -> Manifest | None:
    """Write decisions/decontaminate/.

    Returns:
        The manifest; None without evaluation sets, when nothing is done but to remove what an earlier recipe decided.
        Counts as those of the filter stage, and `by_task`: for each set its examples, those too short to be looked for,
        n, its different n-grams, those passed over as common (gpt3), documents decided about, examples found in them.

    Raises:
        GateError: a source loses more than its limit.
        InputError: an evaluation set cannot be read.
    """
    settings = recipe.decontaminate
    target = folder.decisions("decontaminate")
    if not settings.sets:
        storage.remove(target)
        return None
    from redpajama_pipe.decontamination.evaluation_sets import read_set
    from redpajama_pipe.decontamination.find import find_hits
    from redpajama_pipe.decontamination.index import build_index, save

    where, annotated = folder.annotated()
    earlier = {stage: done for stage in ("filter", "dedup") if (done := manifest.find(folder.decisions(stage)))}
    sets = [read_set(chosen) for chosen in settings.sets]
    inputs = {"documents": annotated.hash, **{stage: taken.hash for stage, taken in earlier.items()}}
    inputs |= {f"set {examples.name}": examples.sha256 for examples in sets}
    section: dict[str, Any] = to_tree(settings)
    for chosen in section["sets"]:  # moved files are the same set
        del chosen["paths"]
    done = manifest.current(target, "decontaminate", inputs, section)
    if done:
        return done
    session = spark()
    storage.remove(target)
    with Progress("decontaminate", session.sparkContext, quiet=quiet) as progress, ExitStack() as held:
        index = build_index(sets, settings)
        place = storage.join(target, INDEX)
        saved = (place, save(index, place))
        held.callback(storage.remove, place)
        documents = read_annotated(session, where)
        left = keep(documents, decisions.read(session, list(map(folder.decisions, earlier))) if earlier else None)
        tasks = recipe.execution.partitions
        hits = find_hits(left, part_opener(folder), saved, settings, tasks).persist()
        held.callback(hits.unpersist)
        found, by_task = _decide(hits, index, saved, recipe)
        found = found.persist()
        held.callback(found.unpersist)
        total = sum(source["documents"] for source in annotated.counts["sources"].values())
        files = decisions.write(found, target, total)
        rows = decisions.read(session, [target])
        counts = count_decisions(annotated, documents, rows)
        counts |= {"only": count_only(annotated, rows), "cuts": count_cuts(annotated, rows)}
        counts["by_task"] = _count_tasks(by_task, found, index)
        dropped = sum(sum(rules.values()) for rules in counts["by_rule"].values())
        cut = sum(rule["documents"] for rules in counts["cuts"].values() for rule in rules.values())
        progress.note = (
            f"{dropped:,} of {plural(total, 'document')} dropped and {cut:,} cut "
            f"for {plural(len(sets), 'evaluation set')}"
        )
        check_losses(counts, settings.max_dropped_share, "decontaminate.max_dropped_share", recipe)
    return manifest.write(target, "decontaminate", inputs, section, counts, files, progress.seconds)


def _decide(
    hits: DataFrame, index: Index, saved: tuple[str, str], recipe: Recipe
) -> tuple[DataFrame, dict[str, dict[str, int]]]:
    """Decide from hits; with gpt3 without those that stand in too many documents, which are counted by set."""
    from pyspark.sql import functions as F

    from redpajama_pipe.decontamination.find import decide_hits

    settings = recipe.decontaminate
    by_task = index.counts()
    if settings.mode == "gpt3":
        documents = F.countDistinct(schema.DOC_ID).alias("documents")
        common = hits.groupBy("run").agg(documents).where(F.col("documents") > settings.max_documents)
        runs = sorted(row["run"] for row in common.select("run").collect())
        for number, name in enumerate(index.sets):
            by_task[name]["common"] = sum(
                bool((index.example_set[index.examples_of(run)] == number).any()) for run in runs
            )
        if runs:
            passed_over = hits.sparkSession.createDataFrame([(run,) for run in runs], "run bigint")
            hits = hits.join(F.broadcast(passed_over), "run", "left_anti").select(*hits.columns)
    return decide_hits(hits, saved, settings, recipe.execution.partitions), by_task


def _count_tasks(by_task: dict[str, dict[str, int]], found: DataFrame, index: Index) -> dict[str, dict[str, int]]:
    """Add to each set the documents decided about, and the examples that were found."""
    from pyspark.sql import functions as F

    from redpajama_pipe.decontamination.decide import RULE
    from redpajama_pipe.decontamination.find import EXAMPLES

    documents = found.groupBy("rule").agg(F.countDistinct(schema.DOC_ID).alias("documents")).collect()
    of_rule = {row["rule"]: row["documents"] for row in documents}
    examples = [row[0] for row in found.select(F.explode(EXAMPLES)).distinct().collect()]
    for number, name in enumerate(index.sets):
        by_task[name]["documents_hit"] = of_rule.get(f"{RULE}.{name}", 0)
        by_task[name]["examples_hit"] = sum(int(index.example_set[example]) == number for example in examples)
    return by_task


def work(job: Job) -> None:
    """Do this stage for a parsed command line."""
    run(job.spark, job.recipe, job.folder, quiet=job.quiet)


def main(argv: Sequence[str] | None = None) -> int:
    """Run this stage from a command line."""
    return run_job(argv, __doc__, work)
