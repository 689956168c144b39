"""Export: a run's documents as files of JSON lines, in the layout of a published corpus, with the decisions applied.

Each document part becomes files of its own, written by the task that reads it; Spark moves ids and spans, no text. The
bytes depend on the corpus and the decisions alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from redpajama_pipe.arguments import guarded
from redpajama_pipe.export import NAMES

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from redpajama_pipe.manifest import Manifest
    from redpajama_pipe.run_folder import RunFolder

MAX_TASKS = 10_000


def run(
    spark: Callable[[], SparkSession],
    folder: RunFolder,
    target: str,
    layout: str,
    *,
    everything: bool = False,
    quiet: bool = False,
) -> Manifest:
    """Write the documents of a run below another folder.

    Args:
        spark: gives the session; called only when there is something to do.
        folder: the run's.
        target: where to write; what an earlier export left there is replaced.
        layout: one of export.NAMES.
        everything: every document as it was extracted, whatever was decided.
        quiet: no progress line.

    Returns:
        The manifest of the target; its counts: documents.

    Raises:
        ManifestError: ingest did not finish; or decisions are to be applied and there are no signals.
        ReconcileError: the documents written are not documents in - dropped.
    """
    # imported here: the command line imports this module for its arguments alone
    from redpajama_pipe import manifest, storage
    from redpajama_pipe.errors import ReconcileError
    from redpajama_pipe.export.parts import WRITTEN, ExportSettings, exporter
    from redpajama_pipe.progress import Progress
    from redpajama_pipe.storage import File

    documents = manifest.read(folder.documents)
    taken = {} if everything else folder.decided()
    annotated = bool(taken) or manifest.find(folder.annotations) is not None or documents.counts["annotated"]
    where, known = folder.annotated() if annotated else (folder.documents, documents)
    inputs = {"documents": known.hash, **{f"decisions {found.stage}": found.hash for found in taken.values()}}
    section = {"layout": layout, "everything": everything}
    done = manifest.current(target, "export", inputs, section)
    if done:
        return done
    stale = manifest.find(target)
    storage.remove(storage.join(target, manifest.NAME))
    for file in stale.files if stale else ():
        storage.remove(storage.join(target, file.path))
    parts = [name for name, _, _ in documents.counts["parts"]]
    kinds = {source["name"]: source["kind"] for source in documents.recipe["sources"]}
    settings = ExportSettings(folder.documents, target, layout, kinds)
    files: list[File] = []
    count = 0
    with Progress("export", spark().sparkContext, quiet=quiet) as progress:
        if parts:
            rows = _rows(spark(), where, list(taken), parts)
            for row in rows.mapInArrow(exporter(settings), WRITTEN).collect():
                files.append(File(row["path"], row["bytes"], row["sha256"]))
                count += row["documents"]
        progress.note = f"{count:,} documents in {len(files):,} files"
    total = sum(source["documents"] for source in documents.counts["sources"].values())
    dropped = sum(sum(rules.values()) for found in taken.values() for rules in found.counts["by_rule"].values())
    if count != total - dropped:
        raise ReconcileError(f"{total} documents in and {dropped} dropped, but {count} were written")
    return manifest.write(target, "export", inputs, section, {"documents": count}, files, progress.seconds)


def _rows(spark: SparkSession, where: str, taken: Sequence[str], parts: Sequence[str]) -> DataFrame:
    """Return what each task exports: the rows of its parts, in the order of the corpus."""
    from pyspark.sql import functions as F

    from redpajama_pipe import decisions, schema, storage
    from redpajama_pipe.export.layouts import PERPLEXITY, SCORES

    found = spark.read.parquet(storage.for_spark(where))
    if schema.LANGUAGE not in found.columns:  # no signals yet: what the source declares
        found = found.withColumn(schema.LANGUAGE, F.col(schema.DECLARED_LANGUAGE))
        found = found.withColumn(schema.LANGUAGE_SCORE, F.lit(None).cast("double"))
    for name, kind in zip(PERPLEXITY, ("double", "string"), strict=True):
        if name not in found.columns:
            found = found.withColumn(name, F.lit(None).cast(kind))
    rows = found.select(schema.PART, schema.ROW, schema.DOC_ID, *SCORES)
    if taken:
        decided = decisions.read(spark, taken)
        rows = rows.join(decisions.counted(decided).select(schema.DOC_ID), schema.DOC_ID, "left_anti")
        rows = rows.join(decisions.spans(decided), schema.DOC_ID, "left")
    tasks = min(len(parts), MAX_TASKS)
    plan = [(part, order % tasks, order) for order, part in enumerate(parts)]
    planned = spark.createDataFrame(plan, f"`{schema.PART}` string, task int, `order` int")
    rows = rows.join(F.broadcast(planned), schema.PART).repartitionById(tasks, "task")
    return rows.sortWithinPartitions("order", schema.ROW)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add RUN, FOLDER, --layout, --all, --master and --quiet."""
    parser.add_argument("run", metavar="RUN", help="the run's folder: a path or a URL")
    parser.add_argument("folder", metavar="FOLDER", help="where to write: a path or a URL")
    parser.add_argument(
        "--layout",
        choices=NAMES,
        default="redpajama_v1",
        help="redpajama_v1: text and meta; redpajama_v2: CCNet's records by snapshot, shard and language; "
        "jsonl: text and all that is known of it (default: redpajama_v1)",
    )
    parser.add_argument("--all", action="store_true", help="every document as extracted, whatever was decided")
    parser.add_argument(
        "--master", help="Spark master: local[4], yarn, spark://… (default: spark-submit's, or local[*])"
    )
    parser.add_argument("--quiet", "-q", action="store_true", help="no progress line")


def work(options: argparse.Namespace) -> None:
    """Export as a parsed command line says."""
    from redpajama_pipe import session, storage
    from redpajama_pipe.run_folder import RunFolder

    started: list[SparkSession] = []

    def spark() -> SparkSession:
        if not started:
            started.append(session.build("redpajama-pipe export-documents", options.master))
        return started[0]

    target = storage.absolute(options.folder)
    try:
        done = run(
            spark, RunFolder.at(options.run), target, options.layout, everything=options.all, quiet=options.quiet
        )
    finally:
        for one in started:
            one.stop()
    print(f"{done.counts['documents']:,} documents  {len(done.files):,} files  {target}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run this stage from a command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    options = parser.parse_args(argv)
    return guarded(lambda: work(options))
