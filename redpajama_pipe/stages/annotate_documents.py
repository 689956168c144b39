"""Annotate: compute language, signals, hashes and signatures of documents that are already stored.

`run` does this while ingesting. This stage is for afterwards, when a signal or the MinHash
settings changed: it writes the new columns beside the documents, row by row and file by file, never the text again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from redpajama_pipe import manifest, schema, storage
from redpajama_pipe.arguments import Job, run_job
from redpajama_pipe.manifest import Manifest
from redpajama_pipe.progress import Progress
from redpajama_pipe.recipe import Recipe
from redpajama_pipe.report.figures import plural
from redpajama_pipe.run_folder import RunFolder
from redpajama_pipe.settings.annotate import Annotate
from redpajama_pipe.settings.tree import to_tree
from redpajama_pipe.storage import File
from redpajama_pipe.tables import FILES, TableWriter, file_row

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# Beside the signals: what later stages select and count by, so that they read this folder alone.
CARRIED = (
    *(schema.DOC_ID, schema.SOURCE, schema.SUBSET, schema.PART, schema.ROW, schema.DECLARED_LANGUAGE),
    *("url", "host", "timestamp", "snapshot", "content_digest"),
)


def run(spark: Callable[[], SparkSession], recipe: Recipe, folder: RunFolder, *, quiet: bool = False) -> Manifest:
    """Write annotations/ for the documents of a run.

    Raises:
        ManifestError: ingest did not finish.
        SetupError: the language model is not there.
    """
    from redpajama_pipe.signals.annotation import settings_of
    from redpajama_pipe.signals.language import find_model
    from redpajama_pipe.signals.warm_up import warm_up_for_workers

    settings = settings_of(recipe)
    documents = manifest.read(folder.documents)
    model = str(find_model(settings.language_model))
    inputs = {"documents": documents.hash, "language_model": storage.sha256(model)}
    section = to_tree(settings)
    done = manifest.current(folder.annotations, "annotate", inputs, section)
    if done:
        return done
    session = spark()
    storage.remove(folder.annotations)
    parts = [name for name, _, _ in documents.counts["parts"]]
    files: list[File] = []
    if parts:
        warm_up_for_workers(session, settings, model, quiet=quiet)
    with Progress("annotate", session.sparkContext, quiet=quiet) as progress:
        if parts:
            tasks = recipe.execution.partitions or len(parts)
            frame = session.createDataFrame(
                [(i % tasks, part) for i, part in enumerate(parts)], "task int, part string"
            )
            work = _task(folder, settings, model)
            rows = frame.repartitionById(tasks, "task").mapInArrow(work, schema.spark_ddl(FILES)).collect()
            files = [File(**row.asDict()) for row in rows]
        count = sum(rows for _, rows, _ in documents.counts["parts"])
        progress.note = plural(count, "document")
    counts = {"sources": documents.counts["sources"], "parts": documents.counts["parts"], "annotated": True}
    return manifest.write(folder.annotations, "annotate", inputs, section, counts, files, progress.seconds)


def annotations_schema(settings: Annotate) -> pa.Schema:
    """Return the columns of a file of annotations/."""
    from redpajama_pipe.signals.annotation import annotation_schema

    return pa.schema([*(schema.DOCUMENTS.field(name) for name in CARRIED), *annotation_schema(settings)])


def annotate_part(folder: RunFolder, part: str, settings: Annotate, model: str) -> TableWriter:
    """Annotate one part of documents/, row group by row group; returns the writer of the published file."""
    from redpajama_pipe.signals.annotation import annotate
    from redpajama_pipe.sources.unit import PLAIN

    target = annotations_schema(settings)
    plain = [name for name in PLAIN if name in target.names]
    source = storage.join(folder.documents, f"{part}.parquet")
    writer = TableWriter(storage.join(folder.annotations, f"{part}.parquet"), target, 1 << 40, plain)
    with storage.open_parquet(source) as stored, writer:
        for group in range(stored.num_row_groups):
            table = stored.read_row_group(group, columns=[*CARRIED, schema.TEXT]).combine_chunks()
            for batch in table.to_batches():
                texts, declared, urls = (batch.column(name) for name in (schema.TEXT, schema.DECLARED_LANGUAGE, "url"))
                arrays = [*(batch.column(name) for name in CARRIED), *annotate(texts, declared, urls, settings, model)]
                writer.append(pa.RecordBatch.from_arrays(arrays, schema=target))
            writer.cut()
    return writer


def _task(
    folder: RunFolder, settings: Annotate, model: str
) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def work(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for part in batch.column("part").to_pylist():
                yield file_row(annotate_part(folder, part, settings, model))

    return work


def work(job: Job) -> None:
    """Do this stage for a parsed command line."""
    run(job.spark, job.recipe, job.folder, quiet=job.quiet)


def main(argv: Sequence[str] | None = None) -> int:
    """Run this stage from a command line."""
    return run_job(argv, __doc__, work)
