"""Ingest: sources to documents, with the signals in the same pass when asked; the rest is counted or quarantined."""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from redpajama_pipe import manifest, storage
from redpajama_pipe.arguments import Job, run_job
from redpajama_pipe.errors import GateError, RecipeError, ReconcileError
from redpajama_pipe.manifest import Manifest
from redpajama_pipe.progress import Progress, human_bytes
from redpajama_pipe.recipe import Annotate, Recipe, to_tree
from redpajama_pipe.run_folder import RunFolder
from redpajama_pipe.signals.annotation import settings_of
from redpajama_pipe.sources.unit import Receipt, Unit, ingest_unit, load_receipts, receipt_path

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

MAX_TASKS = 10_000


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
        The manifest of documents/. Its counts: `annotated`; for each source records, documents, skipped,
        quarantined, input_bytes, text_bytes; `parts` in the order of the corpus.

    Raises:
        InputError: a pattern matches no file.
        GateError: a source has a larger share of unreadable records than the recipe allows.
    """
    settings = settings_of(recipe) if annotate else None
    units = plan_units(recipe, settings)
    section: Any = {"sources": to_tree(recipe.sources), "part_bytes": recipe.part_bytes, "annotated": annotate}
    if settings:
        section["annotate"] = to_tree(settings)
    inputs = {unit.name: unit.key for unit in units}
    done = manifest.current(folder.documents, "ingest", inputs, section)
    if done and manifest.find(folder.quarantine):
        return done
    for stale in (folder.documents, folder.quarantine):
        storage.remove(storage.join(stale, manifest.NAME))
    receipts = {unit.name: receipt for unit, receipt in load_receipts(folder.documents, units) if receipt}
    left = [unit for unit in units if unit.name not in receipts]
    total = sum(unit.input_bytes for unit in units)
    earlier = total - sum(unit.input_bytes for unit in left)

    def measure() -> tuple[float, float]:
        names = set(storage.list_names(storage.join(folder.documents, "_units")))
        ready = sum(unit.input_bytes for unit in left if receipt_path("", unit).rsplit("/", 1)[-1] in names)
        return earlier + ready, total

    if left and annotate:
        _warm_up(spark(), left[0], quiet)
    with Progress("ingest", measure=measure, quiet=quiet) as progress:
        for unit in left:
            storage.remove(receipt_path(folder.documents, unit))
        if left:
            _ingest(spark(), recipe, left, folder)
        receipts |= {unit.name: receipt for unit, receipt in load_receipts(folder.documents, left) if receipt}
        missing = [unit.split.uri for unit in units if unit.name not in receipts]
        if missing:
            raise ReconcileError(f"{len(missing)} input files have no receipt although the job ended: {missing[0]}, …")
        ordered = [receipts[unit.name] for unit in units]
        counts = _count(recipe, ordered)
        documents = sum(source["documents"] for source in counts["sources"].values())
        progress.note = f"{documents:,} documents from {human_bytes(total)} in {len(units):,} files"
        _check_quarantine(recipe, counts)
    files = [part.file for receipt in ordered for part in receipt.parts]
    bad = [receipt.quarantine for receipt in ordered if receipt.quarantine]
    _remove_stale(folder.documents, {file.path for file in files})
    _remove_stale(folder.quarantine, {file.path for file in bad})
    manifest.write(folder.quarantine, "quarantine", inputs, section, {}, bad)
    counts["annotated"] = annotate
    return manifest.write(folder.documents, "ingest", inputs, section, counts, files, progress.seconds)


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
    owner: dict[str, str] = {}
    for source in recipe.sources:
        for split in plan_splits(source):
            if split.identity in owner:
                raise RecipeError(
                    f"{split.identity} belongs to two sources, {owner[split.identity]!r} and {source.name!r}; "
                    "exclude it from one"
                )
            owner[split.identity] = source.name
            size, state = storage.fingerprint(split.uri)
            units.append(
                Unit(
                    split=split,
                    source=source,
                    annotate=annotate,
                    model=model,
                    part_bytes=recipe.part_bytes,
                    fingerprint=state,
                    input_bytes=size,
                    models=models,
                )
            )
    return units


def _warm_up(spark: SparkSession, unit: Unit, quiet: bool) -> None:
    """Compile the kernels once where the workers share this machine's cache; on a cluster each machine does it."""
    master = spark.sparkContext.master or ""
    if unit.annotate is None or not master.startswith("local"):
        return
    from redpajama_pipe.signals.annotation import warm_up

    with Progress("kernels", quiet=quiet, doing="compiling, once for this installation") as progress:
        warm_up(unit.annotate, unit.model)
        progress.note = "ready"


def _ingest(spark: SparkSession, recipe: Recipe, units: Sequence[Unit], folder: RunFolder) -> None:
    tasks = recipe.execution.partitions or min(len(units), MAX_TASKS)
    # the largest first: a long file that starts last is what everybody waits for
    by_size = sorted(units, key=lambda unit: -unit.input_bytes)
    rows = [(index % tasks, bytearray(pickle.dumps(unit))) for index, unit in enumerate(by_size)]
    frame = spark.createDataFrame(rows, "task int, unit binary").repartitionById(tasks, "task")
    frame.mapInArrow(_task(folder.documents, folder.quarantine), "name string").collect()


def _task(documents: str, quarantine: str) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def work(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for payload in batch.column("unit").to_pylist():
                unit: Unit = pickle.loads(payload)
                ingest_unit(unit, documents, quarantine)
                yield pa.RecordBatch.from_pylist([{"name": unit.name}])

    return work


def _count(recipe: Recipe, receipts: Sequence[Receipt]) -> dict[str, Any]:
    sources: dict[str, Any] = {}
    for source in recipe.sources:
        own = [receipt for receipt in receipts if receipt.source == source.name]
        skipped: Counter[str] = Counter()
        quarantined: Counter[str] = Counter()
        for receipt in own:
            skipped.update(receipt.skipped)
            quarantined.update(receipt.quarantined)
        counted: dict[str, Any] = {
            "files": len(own),
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
                f"source {source.name!r}: {bad} of {bad + counted['documents']} records could not be read "
                f"({share:.1%}; limit {source.max_quarantined_share:.1%}): {reasons}. "
                f"Mend the input, or raise it with --set sources.{source.name}.max_quarantined_share={share:.2f}"
            )


def _remove_stale(folder: str, wanted: set[str]) -> None:
    for name in storage.list_names(folder):
        if name.endswith(".parquet") and name not in wanted:
            storage.remove(storage.join(folder, name))


def work(job: Job) -> None:
    """Do this stage for a parsed command line: extraction only, annotate adds the signals."""
    run(job.spark, job.recipe, job.folder, annotate=False, quiet=job.quiet)


def main(argv: Sequence[str] | None = None) -> int:
    """Run this stage from a command line."""
    return run_job(argv, __doc__, work)
