"""Document parts to files of JSON lines, on a worker: read what is wanted of a part, apply the spans, write gzip.

The rows that arrive say which rows of which parts to take; no text is among them. Memory: the metadata of one row
group, a batch of its text, and one open file for each language of a part.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from redpajama_pipe import schema, storage
from redpajama_pipe.document_parts import read_members
from redpajama_pipe.export.layouts import COLUMNS, LAYOUTS, SCORES, file_of
from redpajama_pipe.storage import File, HashingFile
from redpajama_pipe.tokens.spans import apply_spans

LEVEL = 6  # gzip's own default
WRITTEN = "path string, bytes bigint, sha256 string, documents bigint"


@dataclass(frozen=True)
class ExportSettings:
    """What a worker needs: the folder of the document parts, where to write, the layout, and each source's kind."""

    documents: str
    target: str
    layout: str
    kinds: Mapping[str, str]


def exporter(settings: ExportSettings) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """Return the function for mapInArrow: documents in, one row for each file written out.

    Rows have part, row, doc_id, the columns of SCORES, order (the part's place in the corpus) and, where there are
    cuts or replacements, spans; they come sorted by order and row.
    """

    def export(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        current: _Part | None = None
        for batch in batches:
            runs = pc.run_end_encode(batch.column(schema.PART))
            start = 0
            for part, end in zip(runs.values.to_pylist(), runs.run_ends.to_pylist(), strict=True):
                if current is None or current.name != part:
                    if current is not None:
                        yield current.finish()
                    current = _Part(part, batch.column("order")[start].as_py(), settings)
                current.add(batch.slice(start, end - start))
                start = end
        if current is not None:
            yield current.finish()

    return export


class _Part:
    """One document part being exported."""

    def __init__(self, name: str, order: int, settings: ExportSettings) -> None:
        self.name = name
        self._order = order
        self._settings = settings
        self._line = LAYOUTS[settings.layout]
        self._open = ExitStack()
        self._parquet = self._open.enter_context(
            storage.open_parquet(storage.join(settings.documents, f"{name}.parquet"))
        )
        metadata = self._parquet.metadata
        sizes = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
        self._starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        self._files: dict[str, _Lines] = {}

    def add(self, members: pa.RecordBatch) -> None:
        """Write some rows; rows ascend."""
        rows = members.column(schema.ROW).to_numpy()
        cuts = np.searchsorted(rows, self._starts)
        for group in np.flatnonzero(np.diff(cuts)).tolist():
            some = members.slice(cuts[group], cuts[group + 1] - cuts[group])
            known = self._parquet.read_row_group(group, columns=list(COLUMNS)).take(
                pa.array(rows[cuts[group] : cuts[group + 1]] - self._starts[group])
            )
            done = 0
            for texts, same in read_members(self._parquet, some, self.name):
                columns = known.slice(done, len(texts)).to_pylist()
                done += len(texts)
                self._write(texts, same, columns)

    def _write(self, texts: pa.Array, members: pa.RecordBatch, known: list[dict[str, Any]]) -> None:
        names = [*SCORES, *(["spans"] if "spans" in members.schema.names else [])]
        for text, row, more in zip(texts, known, members.select(names).to_pylist(), strict=True):
            spans = more.pop("spans", None)
            row |= more
            original = text.as_py()
            new = original
            if spans:
                found = [(span["start"], span["end"], span["replacement"]) for span in spans]
                new = apply_spans(text.as_buffer(), found).decode("utf-8")
            path = file_of(self._settings.layout, row, self.name, self._order)
            if path not in self._files:
                self._files[path] = _Lines(storage.join(self._settings.target, path), self._open)
            kind = self._settings.kinds[row[schema.SOURCE]]
            self._files[path].write(self._line(row, new, original, kind))

    def finish(self) -> pa.RecordBatch:
        """Publish the files and describe them."""
        for lines in self._files.values():
            lines.end()
        self._open.close()
        rows = [
            {"path": path, "bytes": file.bytes, "sha256": file.sha256, "documents": lines.documents}
            for path, lines in sorted(self._files.items())
            for file in [lines.file]
        ]
        return pa.RecordBatch.from_pylist(rows)


class _Lines:
    """A gzip file of lines, published when `files` closes; no name and no time in its header."""

    def __init__(self, path: str, files: ExitStack) -> None:
        self._target: HashingFile = files.enter_context(storage.create(path))
        self._gzip = gzip.GzipFile("", "wb", LEVEL, self._target, mtime=0)
        self.documents = 0

    def write(self, line: bytes) -> None:
        self._gzip.write(line)
        self.documents += 1

    def end(self) -> None:
        self._gzip.close()

    @property
    def file(self) -> File:
        return File("", self._target.size, self._target.hexdigest())
