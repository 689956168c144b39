"""Export: a run's documents as files of JSON lines, in the layout of a published corpus, with the decisions applied.

Each document part becomes files of its own, written by the task that reads it; Spark moves ids and spans, no text. The
bytes depend on the corpus and the decisions alone. RedPajama-V2's layout has signals, signatures and duplicates too.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from redpajama_pipe.arguments import Parser, guarded
from redpajama_pipe.driver import Driver
from redpajama_pipe.export import NAMES
from redpajama_pipe.report.figures import plural

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from redpajama_pipe.export.redpajama_v2 import Known
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
        The manifest of the target; its counts: documents; of redpajama_v2 also the number of the family's signals that
        the run has, and of duplicates, null where none were looked for.

    Raises:
        ManifestError: ingest did not finish; or decisions are to be applied and there are no signals.
        ReconcileError: the documents written are not documents in - dropped.
    """
    # imported here: the command line imports this module for its arguments alone
    from redpajama_pipe import manifest, storage
    from redpajama_pipe.errors import ReconcileError
    from redpajama_pipe.export.parts import WRITTEN, ExportSettings, exporter
    from redpajama_pipe.export.redpajama_v2 import FOLDERS
    from redpajama_pipe.progress import Progress
    from redpajama_pipe.storage import File

    documents = manifest.read(folder.documents)
    taken = {} if everything else folder.decided()
    annotated = bool(taken) or manifest.find(folder.annotations) is not None or documents.counts["annotated"]
    where, known = folder.annotated() if annotated else (folder.documents, documents)
    inputs = {"documents": known.hash, **{f"decisions {found.stage}": found.hash for found in taken.values()}}
    section: dict[str, Any] = {"layout": layout, "everything": everything}
    dedup = manifest.find(folder.decisions("dedup"))
    if dedup and dedup.inputs.get("documents") != known.hash:  # of documents that have changed since
        dedup = None
    beside = _beside(folder, where, annotated, dedup is not None) if layout == "redpajama_v2" else None
    if beside:
        section["folders"] = list(FOLDERS)
        inputs |= {"decisions dedup": dedup.hash} if dedup else {}
    done = manifest.current(target, "export", inputs, section)
    if done:
        return done
    stale = manifest.find(target)
    storage.remove(storage.join(target, manifest.NAME))
    for file in stale.files if stale else ():
        storage.remove(storage.join(target, file.path))
    parts = [name for name, _, _ in documents.counts["parts"]]
    kinds = {source["name"]: source["kind"] for source in documents.recipe["sources"]}
    settings = ExportSettings(folder.documents, target, layout, kinds, beside)
    files: list[File] = []
    rows_of: Counter[str] = Counter()  # by folder, where there are several
    with Progress("export", spark().sparkContext, quiet=quiet) as progress:
        if parts:
            shown = folder.decisions("dedup") if beside and beside.deduplicated and everything else None
            rows = _rows(spark(), where, list(taken), parts, shown)
            for row in rows.mapInArrow(exporter(settings), WRITTEN).collect():
                files.append(File(row["path"], row["bytes"], row["sha256"]))
                rows_of[row["path"].partition("/")[0] if beside else FOLDERS[0]] += row["rows"]
        count = rows_of[FOLDERS[0]]
        progress.note = f"{plural(count, 'document')} in {plural(len(files), 'file')}"
    total = sum(source["documents"] for source in documents.counts["sources"].values())
    dropped = sum(sum(rules.values()) for found in taken.values() for rules in found.counts["by_rule"].values())
    if count != total - dropped:
        raise ReconcileError(f"{total} documents in and {dropped} dropped, but {count} were written")
    counts: dict[str, Any] = {"documents": count}
    if beside:
        counts["signals"] = len(beside.signals)
        counts["duplicates"] = rows_of["duplicates"] if beside.deduplicated else None
    return manifest.write(target, "export", inputs, section, counts, files, progress.seconds)


def _beside(folder: RunFolder, where: str, annotated: bool, deduplicated: bool) -> Known:
    """Return what the files beside the documents are made of."""
    from redpajama_pipe.export.redpajama_v2 import Known
    from redpajama_pipe.settings.annotate import Annotate
    from redpajama_pipe.settings.tree import build
    from redpajama_pipe.signals.redpajama_v2 import SIGNALS

    settings = build(Annotate, folder.annotate_settings(), "annotate") if annotated else Annotate()
    signals = tuple(signal.name for signal in SIGNALS if signal.name in settings.signals)
    return Known(where, signals, settings, deduplicated)


def _with_duplicates(rows: DataFrame, dedup: str) -> DataFrame:
    """Add a column that is true where dedup found that a document equals one that stays, null elsewhere."""
    from pyspark.sql import functions as F

    from redpajama_pipe import decisions, schema
    from redpajama_pipe.dedup.exact import KEYS
    from redpajama_pipe.dedup.index_match import EXACT_RULE
    from redpajama_pipe.export.parts import DUPLICATE

    decided = decisions.counted(decisions.read(rows.sparkSession, [dedup]))
    equal = decided.where(F.col("rule").isin(EXACT_RULE, *(key.rule for key in KEYS.values())))
    return rows.join(equal.select(schema.DOC_ID, F.lit(True).alias(DUPLICATE)), schema.DOC_ID, "left")


def _rows(spark: SparkSession, where: str, taken: Sequence[str], parts: Sequence[str], dedup: str | None) -> DataFrame:
    """Return what each task exports: the rows of its parts, in the order of the corpus; `dedup`: with duplicates."""
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
    if dedup:
        rows = _with_duplicates(rows, dedup)
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
        help="redpajama_v1: text and meta; redpajama_v2: CCNet's records by snapshot, shard and language, with "
        "quality signals, MinHash signatures and duplicates; "
        "jsonl: text and all that is known of it (default: redpajama_v1)",
    )
    parser.add_argument("--all", action="store_true", help="every document as extracted, whatever was decided")
    parser.add_argument(
        "--master", help="Spark master: local[4], yarn, spark://… (default: spark-submit's, or local[*])"
    )
    parser.add_argument("--quiet", "-q", action="store_true", help="no progress line")


def work(options: argparse.Namespace) -> None:
    """Export as a parsed command line says."""
    from redpajama_pipe import storage
    from redpajama_pipe.run_folder import RunFolder

    target = storage.absolute(options.folder)
    with Driver("redpajama-pipe export-documents", options.master) as driver:
        folder = RunFolder.at(options.run)
        done = run(driver.spark, folder, target, options.layout, everything=options.all, quiet=options.quiet)
    print(f"{plural(done.counts['documents'], 'document')}  {plural(len(done.files), 'file')}  {target}")
    for line in missing(done):
        print(line)


def missing(done: Manifest) -> list[str]:
    """Say what RedPajama-V2 has and an export has not, and what brings it."""
    from redpajama_pipe.signals.redpajama_v2 import SIGNALS

    if "signals" not in done.counts:
        return []
    there, lines = done.counts["signals"], []
    if there < len(SIGNALS):
        lines.append(
            f"quality_signals has CCNet's and {there or 'none'} of RedPajama-V2's {len(SIGNALS)}: "
            "annotate the run with --set 'annotate.signals=[redpajama_v2]' for all of them"
        )
    if done.counts["duplicates"] is None:
        lines.append(
            "there is no duplicates/: none were looked for; dedup does, with --set 'dedup.exact=[digest]' as published"
        )
    elif not done.recipe["everything"]:
        lines.append("duplicates/ lists none, for they are dropped: --all keeps all documents and lists the equal ones")
    return lines


def main(argv: Sequence[str] | None = None) -> int:
    """Run this stage from a command line."""
    parser = Parser(description=__doc__)
    add_arguments(parser)
    options = parser.parse_args(argv)
    return guarded(lambda: work(options))
