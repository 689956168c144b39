"""Ingest: sources to documents, with the signals in the same pass when asked; the rest is counted or quarantined.

A file that cannot be read as a whole (it is gone, or its server did not answer for minutes) does not stop the others.
After them it stops the run, which names it; a rerun reads such files alone. A source with `allow_failed_files` goes on
without them: each is a row in quarantine, `unreadable_file`, counted with the records that could not be read, and has
no receipt, so that the next run tries it again.

A page that kills the native code that parses it costs one attempt of its task, and then itself: see sources.pages.
"""

from __future__ import annotations

import math
import pickle
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from redpajama_pipe import manifest, storage
from redpajama_pipe.arguments import Job, run_job
from redpajama_pipe.errors import GateError, InputError, RecipeError, ReconcileError
from redpajama_pipe.manifest import Manifest
from redpajama_pipe.progress import Progress, human_bytes
from redpajama_pipe.recipe import Recipe
from redpajama_pipe.report.figures import plural
from redpajama_pipe.run_folder import RunFolder
from redpajama_pipe.settings.annotate import Annotate
from redpajama_pipe.settings.tree import build, to_tree
from redpajama_pipe.signals.annotation import settings_of
from redpajama_pipe.signals.warm_up import warm_up_for_workers
from redpajama_pipe.sources.remote import Retry, is_local, stat
from redpajama_pipe.sources.unit import (
    Receipt,
    Unit,
    find_receipt,
    ingest_unit,
    load_receipts,
    quarantine_unit,
    receipt_path,
)
from redpajama_pipe.sources.wiki_dumps import with_dumps

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

MAX_TASKS = 10_000
SHOWN_FILES = 5


def run(
    spark: Callable[[], SparkSession], recipe: Recipe, folder: RunFolder, *, annotate: bool = True, quiet: bool = False
) -> Manifest:
    """Read every source of a recipe.

    Args:
        spark: gives the session; called only when there is something to do.
        recipe: the run's.
        folder: the run's.
        annotate: compute the signals in the same pass.
        quiet: no progress line.

    Returns:
        The manifest of documents/. Its counts: `annotated`; for each source files, failed_files, records, documents,
        skipped, quarantined, input_bytes, text_bytes; `parts` in the order of the corpus.

    Raises:
        InputError: a pattern matches no file, a snapshot's listing cannot be read, or a dump cannot be downloaded.
        GateError: files could not be read as a whole, or a source has a larger share of such files, or of unreadable
            records, than the recipe allows.
    """
    settings = settings_of(recipe) if annotate else None
    recipe = with_dumps(recipe, quiet, _retry(recipe))
    units = plan_units(recipe, settings)
    section: Any = {"sources": to_tree(recipe.sources), "part_bytes": recipe.part_bytes, "annotated": annotate}
    if settings:
        section["annotate"] = to_tree(settings)
    inputs = {unit.name: unit.key for unit in units}
    done = manifest.current(folder.documents, "ingest", inputs, section)
    if done and manifest.find(folder.quarantine) and not _failed_before(done):
        return done
    for stale in (folder.documents, folder.quarantine):
        storage.remove(storage.join(stale, manifest.NAME))
    receipts = {unit.name: receipt for unit, receipt in load_receipts(folder.documents, units) if receipt}
    left = [unit for unit in units if unit.name not in receipts]
    # a snapshot's listing tells no sizes: then progress is in files
    in_files = any(unit.input_bytes < 0 for unit in units)
    weights = {unit.name: 1 if in_files else unit.input_bytes for unit in units}
    total = sum(weights.values())
    earlier = total - sum(weights[unit.name] for unit in left)

    def measure() -> tuple[float, float]:
        names = set(storage.list_names(storage.join(folder.documents, "_units")))
        ready = sum(weights[unit.name] for unit in left if receipt_path("", unit).rsplit("/", 1)[-1] in names)
        return earlier + ready, total

    if left and left[0].annotate:
        warm_up_for_workers(spark(), left[0].annotate, left[0].model, quiet=quiet)
    with Progress("ingest", measure=measure, quiet=quiet, counted="files" if in_files else "") as progress:
        for unit in left:
            storage.remove(receipt_path(folder.documents, unit))
        if left:  # what tasks of an earlier run that were killed had begun; on a full disk, that very room is needed
            _remove_stale(folder.documents)
            _remove_stale(folder.quarantine)
        failures = _ingest(spark(), recipe, left, folder) if left else {}
        receipts |= {unit.name: receipt for unit, receipt in load_receipts(folder.documents, left) if receipt}
        _check_failures(recipe, units, failures)
        for unit in left:
            if unit.name in failures:
                receipts[unit.name] = quarantine_unit(unit, failures[unit.name], folder.quarantine)
        missing = [unit.split.uri for unit in units if unit.name not in receipts]
        if missing:
            raise ReconcileError(f"{len(missing)} input files have no receipt although the job ended: {missing[0]}, …")
        ordered = [receipts[unit.name] for unit in units]
        counts = _count(recipe, ordered, {unit.split.identity for unit in left if unit.name in failures})
        documents = sum(source["documents"] for source in counts["sources"].values())
        read = len({unit.split.identity for unit in units})
        size = sum(receipt.input_bytes for receipt in ordered)
        progress.note = f"{plural(documents, 'document')} from {human_bytes(size)} in {plural(read, 'file')}"
        _check_quarantine(recipe, counts)
    files = [part.file for receipt in ordered for part in receipt.parts]
    bad = [receipt.quarantine for receipt in ordered if receipt.quarantine]
    _remove_stale(folder.documents, {file.path for file in files})
    _remove_stale(folder.quarantine, {file.path for file in bad})
    _remove_stale(storage.join(folder.documents, "_units"), set())
    manifest.write(folder.quarantine, "quarantine", inputs, section, {}, bad)
    counts["annotated"] = annotate
    return manifest.write(folder.documents, "ingest", inputs, section, counts, files, progress.seconds)


def only_annotations_differ(recipe: Recipe, folder: RunFolder, *, quiet: bool = False) -> bool:
    """Whether documents/ has the text that the recipe's sources give, with other annotations than it asks for."""
    found = manifest.find(folder.documents)
    if found is None or found.recipe.get("annotate") == to_tree(settings_of(recipe)):
        return False  # said before the sources are looked at: to ingest, they are looked at anyway
    if not manifest.find(folder.quarantine) or _failed_before(found):
        return False
    try:
        annotate = build(Annotate, found.recipe["annotate"], "annotate") if "annotate" in found.recipe else None
    except RecipeError:  # of another version
        return False
    recipe = with_dumps(recipe, quiet, _retry(recipe))
    inputs = {unit.name: unit.key for unit in plan_units(recipe, annotate)}
    section = {**found.recipe, "sources": to_tree(recipe.sources), "part_bytes": recipe.part_bytes}
    return found.key == manifest.key_of("ingest", inputs, section)


def plan_units(recipe: Recipe, annotate: Annotate | None) -> list[Unit]:
    """List the files to read, in the order of the corpus: by source as in the recipe, then by identity.

    Raises:
        InputError: a pattern matches no file.
        RecipeError: one file belongs to two sources, so that its documents would have the same ids twice.
    """
    from redpajama_pipe.sources.plan import plan_splits

    model = models = ""
    if annotate:
        from redpajama_pipe.signals.language import find_model

        path = find_model(annotate.language_model)
        model, models = str(path), storage.sha256(str(path))
    units: list[Unit] = []
    owner: dict[str, tuple[str, str]] = {}  # identity → source, uri
    retry = _retry(recipe)
    states: dict[str, tuple[int, str]] = {}  # several splits of one file ask once
    for source in recipe.sources:
        for split in plan_splits(source, retry):
            other, uri = owner.setdefault(split.identity, (source.name, split.uri))
            if other != source.name:
                way_out = "exclude it from one"
                if source.paths and uri != split.uri:  # two files, each below its own root
                    way_out = f"their documents would have the same ids: give both a root above {uri} and {split.uri}"
                raise RecipeError(f"{split.identity} belongs to two sources, {other!r} and {source.name!r}; {way_out}")
            if split.uri not in states:
                states[split.uri] = _state(split.uri, retry, listed=bool(source.snapshot))
            size, state = states[split.uri]
            units.append(
                Unit(
                    split=split,
                    source=source,
                    annotate=annotate,
                    model=model,
                    part_bytes=recipe.part_bytes,
                    fingerprint=state,
                    input_bytes=size if split.end < 0 else split.end - split.start,
                    models=models,
                    retry=retry,
                )
            )
    return units


def _retry(recipe: Recipe) -> Retry:
    execution = recipe.execution
    return Retry(execution.read_attempts, execution.read_timeout, execution.read_backoff, execution.read_backoff_limit)


def _state(uri: str, retry: Retry, *, listed: bool) -> tuple[int, str]:
    """Return a file's size, -1 where only reading will tell, and what changes with the file."""
    if is_local(uri):
        try:
            return storage.fingerprint(uri)
        except FileNotFoundError:  # a mirror may lack a listed file: reading says so
            return -1, "missing"
    if listed:  # 90,000 files are not asked for one by one, and a published crawl does not change
        return -1, "listed"
    found = stat(uri, retry=retry)
    return -1 if found.size is None else found.size, f"{found.size}:{found.etag or found.modified}"


def _ingest(spark: SparkSession, recipe: Recipe, units: Sequence[Unit], folder: RunFolder) -> dict[str, str]:
    """Read units; returns the names of those that could not be read as a whole, with the reason."""
    tasks = recipe.execution.partitions or min(len(units), MAX_TASKS)
    # the largest first: a long file that starts last is what everybody waits for
    by_size = sorted(units, key=lambda unit: -unit.input_bytes)
    rows = [(index % tasks, bytearray(pickle.dumps(unit))) for index, unit in enumerate(by_size)]
    frame = spark.createDataFrame(rows, "task int, unit binary").repartitionById(tasks, "task")
    read = frame.mapInArrow(_task(folder.documents, folder.quarantine), "name string, failure string").collect()
    return {row["name"]: row["failure"] for row in read if row["failure"] is not None}


def _task(documents: str, quarantine: str) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def work(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from pyspark import TaskContext

        context = TaskContext.get()
        again = context is not None and context.attemptNumber() > 0  # a worker died, perhaps of a page
        for batch in batches:
            for payload in batch.column("unit").to_pylist():
                unit: Unit = pickle.loads(payload)
                failure = None
                try:
                    if not (again and find_receipt(documents, unit)):
                        ingest_unit(unit, documents, quarantine, guarded=again)
                except InputError as error:
                    failure = str(error)
                yield pa.RecordBatch.from_pydict({"name": [unit.name], "failure": pa.array([failure], pa.string())})

    return work


def _failed_before(done: Manifest) -> bool:
    return any(counted["failed_files"] for counted in done.counts["sources"].values())


def _check_failures(recipe: Recipe, units: Sequence[Unit], failures: dict[str, str]) -> None:
    """Stop for files that could not be read as a whole, unless their source goes on without so many."""
    for source in recipe.sources:
        own = [unit for unit in units if unit.source.name == source.name]
        files = len({unit.split.identity for unit in own})
        # one reason a file, in the order of the corpus
        failed = {unit.split.identity: failures[unit.name] for unit in own if unit.name in failures}
        share = len(failed) / max(1, files)
        if not failed or (source.allow_failed_files and share <= source.max_quarantined_share):
            continue
        shown = "; ".join(list(failed.values())[:SHOWN_FILES])
        more = f"; and {len(failed) - SHOWN_FILES} more" if len(failed) > SHOWN_FILES else ""
        key = f"--set sources.{source.name}"
        go_on = f"{key}.allow_failed_files=true"
        if share > source.max_quarantined_share:
            go_on += f" {key}.max_quarantined_share={math.ceil(share * 100) / 100:.2f}"
        raise GateError(
            f"source {source.name!r}: {len(failed)} of {plural(files, 'file')} could not be read ({share:.1%}): "
            f"{shown}{more}. Run again to try these alone, for the others are done; or go on without them: {go_on}"
        )


def _count(recipe: Recipe, receipts: Sequence[Receipt], failed: set[str]) -> dict[str, Any]:
    sources: dict[str, Any] = {}
    for source in recipe.sources:
        own = [receipt for receipt in receipts if receipt.source == source.name]
        skipped: Counter[str] = Counter()
        quarantined: Counter[str] = Counter()
        for receipt in own:
            skipped.update(receipt.skipped)
            quarantined.update(receipt.quarantined)
        counted: dict[str, Any] = {
            "files": len({receipt.identity for receipt in own}),
            "failed_files": len({receipt.identity for receipt in own} & failed),
            "records": sum(receipt.records for receipt in own),
            "documents": sum(receipt.documents for receipt in own),
            "skipped": dict(sorted(skipped.items())),
            "quarantined": dict(sorted(quarantined.items())),
            "input_bytes": sum(receipt.input_bytes for receipt in own),
            "text_bytes": sum(part.text_bytes for receipt in own for part in receipt.parts),
        }
        ended = counted["documents"] + sum(skipped.values()) + sum(quarantined.values())
        if ended != counted["records"]:
            raise ReconcileError(
                f"source {source.name!r}: {counted['records']} records were read, but documents, skipped and "
                f"quarantined add up to {ended}"
            )
        sources[source.name] = counted
    parts = [[part.name, part.rows, part.text_bytes] for receipt in receipts for part in receipt.parts]
    return {"sources": sources, "parts": parts}


def _check_quarantine(recipe: Recipe, counts: dict[str, Any]) -> None:
    for source in recipe.sources:
        counted = counts["sources"][source.name]
        bad = sum(counted["quarantined"].values())
        share = bad / max(1, bad + counted["documents"])
        if share > source.max_quarantined_share:
            reasons = ", ".join(f"{reason} {count}" for reason, count in counted["quarantined"].items())
            raise GateError(
                f"source {source.name!r}: {bad} of {plural(bad + counted['documents'], 'record')} could not be read "
                f"({share:.1%}; limit {source.max_quarantined_share:.1%}): {reasons}. "
                f"Mend the input, or raise it with --set sources.{source.name}.max_quarantined_share={share:.2f}"
            )


def _remove_stale(folder: str, wanted: set[str] | None = None) -> None:
    """Remove what processes that died were writing, and tables that are not wanted; None: all are."""
    for name in storage.list_names(folder):
        unwanted = wanted is not None and name.endswith(".parquet") and name not in wanted
        if unwanted or name.endswith(".tmp"):
            storage.remove(storage.join(folder, name))


def work(job: Job) -> None:
    """Do this stage for a parsed command line: extraction only, annotate adds the signals."""
    job.own()
    run(job.spark, job.recipe, job.folder, annotate=False, quiet=job.quiet)
    sink = getattr(job.options, "sink", None)  # jobs/ scripts have no such option
    if sink:
        from redpajama_pipe.stages import export_documents

        layout = "redpajama_v1" if sink == "redpajama" else sink
        target = storage.join(job.folder.path, "sink")
        export_documents.run(job.spark, job.folder, target, layout, everything=True, quiet=job.quiet)


def main(argv: Sequence[str] | None = None) -> int:
    """Run this stage from a command line."""
    return run_job(argv, __doc__, work, replaces=True)
