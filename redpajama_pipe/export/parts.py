"""Document parts to files of JSON lines, on a worker: read what is wanted of a part, apply the spans, write gzip.

The rows that arrive say which rows of which parts to take; no text is among them. Memory: the metadata (and signals, if
they are exported) of one row group, a batch of its text, and one open file for each language of a part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import groupby
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from redpajama_pipe import schema, storage
from redpajama_pipe.document_parts import read_members
from redpajama_pipe.errors import ManifestError
from redpajama_pipe.export.gzip_lines import GzipLines
from redpajama_pipe.export.layouts import COLUMNS, LAYOUTS, SCORES, file_of, line
from redpajama_pipe.export.redpajama_v2 import Beside, Exported, Known
from redpajama_pipe.tokens.spans import apply_spans

DUPLICATE = "duplicate"
WRITTEN = "path string, bytes bigint, sha256 string, `rows` bigint"


@dataclass(frozen=True)
class ExportSettings:
    """What a worker needs: the folder of the document parts, where to write, the layout, and each source's kind.

    `known` says what to make the files beside the documents of; None: there are none.
    """

    documents: str
    target: str
    layout: str
    kinds: Mapping[str, str]
    known: Known | None = None


def exporter(settings: ExportSettings) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """Return the function for mapInArrow: documents in, one row for each file written out.

    Rows have part, row, doc_id, the columns of SCORES, order (the part's place in the corpus) and, where there are
    cuts or replacements, spans, where there are duplicates, DUPLICATE; they come sorted by order and row.
    """

    def export(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for (name, order), slices in groupby(_by_part(batches), key=lambda each: each[0]):
            with _Part(name, order, settings) as part:
                for _, members in slices:
                    part.add(members)
            yield part.written()

    return export


def _by_part(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[tuple[str, int], pa.RecordBatch]]:
    for batch in batches:
        runs = pc.run_end_encode(batch.column(schema.PART))
        start = 0
        for part, end in zip(runs.values.to_pylist(), runs.run_ends.to_pylist(), strict=True):
            yield (part, batch.column("order")[start].as_py()), batch.slice(start, end - start)
            start = end


class _Part:
    """One document part being exported; a context manager, which publishes the files unless there is an error."""

    def __init__(self, name: str, order: int, settings: ExportSettings) -> None:
        self._name = name
        self._order = order
        self._settings = settings
        self._record = LAYOUTS[settings.layout]
        self._open = ExitStack()
        self._files: dict[str, GzipLines] = {}

    def __enter__(self) -> _Part:
        settings = self._settings
        self._parquet, self._starts = self._read(settings.documents)
        self._beside = None
        if settings.known is not None:
            self._beside = Beside(settings.target, settings.known, self._open)
            self._annotations, starts = self._read(settings.known.folder)
            if not np.array_equal(starts, self._starts):
                raise ManifestError(
                    f"document part {self._name} has other row groups than its annotations: they are not of one run; "
                    "annotate again"
                )
        return self

    def _read(self, folder: str) -> tuple[pq.ParquetFile, np.ndarray[Any, np.dtype[np.int64]]]:
        """Open the part's file in a folder, and say where its row groups start."""
        path = storage.join(folder, f"{self._name}.parquet")
        parquet: pq.ParquetFile = self._open.enter_context(storage.open_parquet(path))
        metadata = parquet.metadata
        sizes = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
        return parquet, np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)

    def add(self, members: pa.RecordBatch) -> None:
        """Write some rows; rows ascend."""
        rows = members.column(schema.ROW).to_numpy()
        cuts = np.searchsorted(rows, self._starts)
        for group in np.flatnonzero(np.diff(cuts)).tolist():
            some = members.slice(cuts[group], cuts[group + 1] - cuts[group])
            places = pa.array(rows[cuts[group] : cuts[group + 1]] - self._starts[group])
            known = self._parquet.read_row_group(group, columns=list(COLUMNS)).take(places)
            stored = None
            if self._settings.known is not None:
                stored = self._annotations.read_row_group(group, columns=self._settings.known.columns).take(places)
            done = 0
            for texts, same in read_members(self._parquet, some, self._name):
                written = self._write(texts, same, known.slice(done, len(texts)).to_pylist())
                exported = [each for each in written if stored is not None]
                if self._beside is not None and stored is not None:
                    batch = stored.slice(done, len(texts)).combine_chunks().to_batches()
                    self._beside.write(exported, batch[0])
                done += len(texts)

    def _write(self, texts: pa.Array, members: pa.RecordBatch, known: list[dict[str, Any]]) -> Iterator[Exported]:
        names = [name for name in (*SCORES, "spans", DUPLICATE) if name in members.schema.names]
        for text, row, more in zip(texts, known, members.select(names).to_pylist(), strict=True):
            spans, duplicate = more.pop("spans", None), more.pop(DUPLICATE, None)
            row |= more
            original = text.as_py()
            new = original
            if spans:
                found = [(span["start"], span["end"], span["replacement"]) for span in spans]
                new = apply_spans(text.as_buffer(), found).decode("utf-8")
            path = file_of(self._settings.layout, row, self._name, self._order)
            if path not in self._files:
                self._files[path] = GzipLines(storage.join(self._settings.target, path), self._open)
            lines = self._files[path]
            record = self._record(row, new, original, self._settings.kinds[row[schema.SOURCE]])
            lines.write([line(record)])
            yield Exported(path, lines.count - 1, record, new != original, bool(duplicate))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._open.__exit__(kind, error, trace)
            return
        with self._open:  # which publishes nothing if the last lines cannot be written
            for lines in self._files.values():
                lines.end()
            if self._beside is not None:
                self._beside.end()

    def written(self) -> pa.RecordBatch:
        """Describe the published files."""
        files = [(lines.file(path), lines.count) for path, lines in self._files.items()]
        if self._beside is not None:
            files += self._beside.written()
        rows = [
            {"path": file.path, "bytes": file.bytes, "sha256": file.sha256, "rows": count}
            for file, count in sorted(files, key=lambda each: each[0].path)
        ]
        return pa.RecordBatch.from_pylist(rows)
