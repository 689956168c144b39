"""What RedPajama-V2 publishes beside documents/: quality_signals/, minhash/ and duplicates/, one file of each a file.

Row i of each file (of duplicates/: the id that ends in /i) is of line i of the file of documents. Signals are the run's
own; of a text that decisions changed, and signatures of another kind than the published one, they are computed here.
Memory: one batch of texts, and for each open file 1,000 signatures of 2 kB.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from redpajama_pipe import schema, storage
from redpajama_pipe.dedup.minhash import MinHashSpec, sign_batch
from redpajama_pipe.export.gzip_lines import GzipLines
from redpajama_pipe.settings.annotate import Annotate
from redpajama_pipe.signals.redpajama_v2_record import (
    DUPLICATES,
    MINHASH,
    SPEC,
    Place,
    duplicate_rows,
    minhash_rows,
    records,
)
from redpajama_pipe.storage import File
from redpajama_pipe.tables import TableWriter

FOLDERS = ("documents", "quality_signals", "minhash", "duplicates")
ROWS_PER_GROUP = 1000  # as worker.py's flush_interval


@dataclass(frozen=True)
class Exported:
    """A document that was written.

    Attributes:
        path: of its file, below the folder of the export.
        row: its line there, from 0.
        record: what was written.
        changed: decisions changed its text.
        duplicate: the run's dedup found that it equals another.
    """

    path: str
    row: int
    record: Mapping[str, Any]
    changed: bool
    duplicate: bool


@dataclass(frozen=True)
class Known:
    """What a run knows of its documents.

    Attributes:
        folder: of the document parts' annotations.
        signals: those of the family redpajama_v2 that are there.
        annotate: what they were computed with, every signal spelt out.
        deduplicated: whether duplicates were looked for.
    """

    folder: str
    signals: tuple[str, ...]
    annotate: Annotate
    deduplicated: bool

    @property
    def signed(self) -> bool:
        """Whether the run's signatures are the published ones."""
        spec = MinHashSpec.of(self.annotate.minhash)
        return dataclasses.replace(spec, bands=SPEC.bands, rows=SPEC.rows) == SPEC

    @property
    def columns(self) -> list[str]:
        """The annotations to read."""
        return [schema.DOC_ID, *self.signals, *([schema.SIGNATURE] if self.signed else [])]


class Beside:
    """The files beside those of one document part, published when `files` closes."""

    def __init__(self, target: str, known: Known, files: ExitStack) -> None:
        self._target = target
        self._known = known
        self._open = files
        self._files: dict[str, _Files] = {}

    def write(self, exported: Sequence[Exported], stored: pa.RecordBatch) -> None:
        """Write rows for some documents; `stored` has Known.columns of each."""
        places = [Place(each.path.partition("/")[2], each.row) for each in exported]
        changed = [index for index, each in enumerate(exported) if each.changed]
        signals = self._signals(exported, changed, stored)
        signatures = self._signatures(exported, changed, stored)
        of_file: dict[str, list[int]] = {}
        lines = records(places, [each.record for each in exported], signals)
        for index, (each, pieces) in enumerate(zip(exported, lines, strict=True)):
            of_file.setdefault(each.path, []).append(index)
            self._of(each.path).signals.write(pieces)
        rows = minhash_rows(places, signatures)
        for path, indices in of_file.items():
            files = self._of(path)
            files.minhash.append(rows.take(pa.array(indices)))
            duplicates = [index for index in indices if exported[index].duplicate]
            if files.duplicates is not None and duplicates:
                digests = [exported[index].record["digest"] for index in duplicates]
                files.duplicates.append(duplicate_rows([places[index] for index in duplicates], digests))

    def end(self) -> None:
        """End the files, which `files` then publishes."""
        for each in self._files.values():
            each.signals.end()

    def written(self) -> list[tuple[File, int]]:
        """Describe the published files: paths below the folder of the export, and rows."""
        found: list[tuple[File, int]] = []
        for path, files in self._files.items():
            found.append((files.signals.file(_beside(path, "quality_signals")), files.signals.count))
            for folder, table in (("minhash", files.minhash), ("duplicates", files.duplicates)):
                if table is not None and table.file is not None:
                    found.append((dataclasses.replace(table.file, path=_beside(path, folder)), table.rows))
        return found

    def _signals(self, exported: Sequence[Exported], changed: Sequence[int], stored: pa.RecordBatch) -> pa.RecordBatch:
        from redpajama_pipe.signals.annotation import scores

        kept = stored.select(self._known.signals)
        if not changed or not self._known.signals:
            return kept
        texts, languages, urls = (
            pa.array([exported[index].record[name] for index in changed], pa.string())
            for name in ("raw_content", "language", "url")
        )
        settings = dataclasses.replace(self._known.annotate, signals=self._known.signals)
        made = scores(texts, languages, urls, settings)
        columns = [_put(old, changed, new) for old, new in zip(kept.columns, made.columns, strict=True)]
        return pa.RecordBatch.from_arrays(columns, names=made.schema.names)

    def _signatures(self, exported: Sequence[Exported], changed: Sequence[int], stored: pa.RecordBatch) -> pa.Array:
        signed = self._known.signed
        wanted = changed if signed else range(len(exported))
        made = sign_batch(pa.array([exported[index].record["raw_content"] for index in wanted], pa.string()), SPEC)
        return _put(stored.column(schema.SIGNATURE), changed, made) if signed else made

    def _of(self, path: str) -> _Files:
        if path not in self._files:
            signals, minhash, duplicates = (storage.join(self._target, _beside(path, folder)) for folder in FOLDERS[1:])
            plain = [name for name in MINHASH.names if name.startswith("signature_")]
            table = TableWriter(minhash, MINHASH, ROWS_PER_GROUP, ["id", "id_int", *plain])
            listed = TableWriter(duplicates, DUPLICATES) if self._known.deduplicated else None
            self._files[path] = _Files(
                GzipLines(signals, self._open),
                self._open.enter_context(table),
                None if listed is None else self._open.enter_context(listed),
            )
        return self._files[path]


@dataclass(frozen=True)
class _Files:
    signals: GzipLines
    minhash: TableWriter
    duplicates: TableWriter | None


def _beside(path: str, folder: str) -> str:
    """Name the file of a folder that belongs to documents/….json.gz."""
    suffix = {"quality_signals": "signals.json.gz", "minhash": "minhash.parquet", "duplicates": "duplicates.parquet"}
    return f"{folder}/{path.partition('/')[2].removesuffix('json.gz')}{suffix[folder]}"


def _put(old: pa.Array, rows: Sequence[int], new: pa.Array) -> pa.Array:
    """Return `old` with `new` at some rows, for values of any type."""
    if not len(rows):
        return old
    order = np.arange(len(old))
    order[np.asarray(rows)] = len(old) + np.arange(len(rows))
    return pa.concat_arrays([old, new.cast(old.type)]).take(pa.array(order))
