"""Read one unit of input, on a worker: records to document parts, quarantine rows and a receipt.

A unit is one file. Its documents go to one or more parts, cut by bytes of text, named after the unit, so that parts
are the same however units are spread over tasks. The receipt is written last: a unit with a receipt is done, and a
killed job continues with the others. Memory: one batch of documents, whatever the size of the file.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from redpajama_pipe import schema, storage
from redpajama_pipe.settings.annotate import Annotate
from redpajama_pipe.settings.source import Source
from redpajama_pipe.settings.tree import digest
from redpajama_pipe.sources.provenance import host_of, snapshot_of
from redpajama_pipe.sources.record import Document, Quarantined, Record, Skipped, Split
from redpajama_pipe.sources.remote import DEFAULT, Retry
from redpajama_pipe.storage import File
from redpajama_pipe.tables import TableWriter

BATCH_BYTES = 16 << 20
BATCH_DOCUMENTS = 8192
# Keys of a source that say which files are read, not what becomes of one.
CHOOSING = (
    *("paths", "exclude", "fraction", "base", "max_quarantined_share", "allow_failed_files"),
    *("wiki_date", "languages", "dump_mirror"),
)
PLAIN = (
    *(schema.TEXT, schema.DOC_ID, schema.CONTENT_HASH, schema.NORMALIZED_HASH, schema.SIGNATURE),
    *("record_id", "url", "meta", "title"),
)


@dataclass(frozen=True)
class Unit:
    """What a worker needs to ingest one file.

    Attributes:
        split: the file.
        source: its part of the recipe.
        annotate: compute signals in the same pass; None: only extract.
        model: path of the language model, "" when not annotating.
        part_bytes: a part is closed when it holds this much text.
        fingerprint: state of the file when the job was planned; "listed": a snapshot's listing is all that was read.
        input_bytes: its size, or -1 when reading will tell.
        models: what the annotations depend on beside the recipe: the language model's sha256.
        retry: how long to try to read it; changes nothing of its output.
    """

    split: Split
    source: Source
    annotate: Annotate | None
    model: str
    part_bytes: int
    fingerprint: str
    input_bytes: int
    models: str = ""
    retry: Retry = DEFAULT

    @property
    def name(self) -> str:
        """Name the unit after its source, its identity and its place, so that other files do not change it."""
        base = f"{self.source.name}-{hashlib.blake2b(self.split.identity.encode(), digest_size=6).hexdigest()}"
        return f"{base}-{self.split.start}" if self.split.start else base

    @property
    def key(self) -> str:
        """Hash everything that its output depends on."""
        source = {name: value for name, value in asdict(self.source).items() if name not in CHOOSING}
        return digest(
            {
                "split": asdict(self.split),
                "source": source,
                "annotate": asdict(self.annotate) if self.annotate else None,
                "models": self.models,
                "part_bytes": self.part_bytes,
                "fingerprint": self.fingerprint,
            }
        )


@dataclass(frozen=True)
class Part:
    """One file of documents: its rows and its bytes of text."""

    name: str
    rows: int
    text_bytes: int
    file: File


@dataclass(frozen=True)
class Receipt:
    """What became of a unit; records = documents + skipped + quarantined."""

    key: str
    source: str
    identity: str
    input_bytes: int
    parts: tuple[Part, ...]
    quarantine: File | None
    records: int
    documents: int
    skipped: dict[str, int]
    quarantined: dict[str, int]

    def to_json(self) -> bytes:
        return json.dumps(asdict(self), ensure_ascii=False, sort_keys=True).encode("utf-8")

    @staticmethod
    def from_json(data: bytes) -> Receipt:
        tree: dict[str, Any] = json.loads(data)
        parts = tuple(Part(**{**part, "file": File(**part["file"])}) for part in tree["parts"])
        quarantine = File(**tree["quarantine"]) if tree["quarantine"] else None
        return Receipt(**{**tree, "parts": parts, "quarantine": quarantine})


def documents_schema(annotate: Annotate | None) -> pa.Schema:
    """Return the columns of a document part."""
    if annotate is None:
        return schema.DOCUMENTS
    from redpajama_pipe.signals.annotation import annotation_schema

    return pa.schema([*schema.DOCUMENTS, *annotation_schema(annotate)])


def receipt_path(documents: str, unit: Unit) -> str:
    """Say where a unit's receipt is."""
    return storage.join(documents, "_units", f"{unit.name}.json")


def _mark_path(documents: str, unit: Unit) -> str:
    """Say where it is noted that a unit is being read: only a process that died leaves it there."""
    return storage.join(documents, "_units", f"{unit.name}.started")


def ingest_unit(unit: Unit, documents: str, quarantine: str, *, guarded: bool = False) -> Receipt:
    """Read a unit and write its parts, its quarantine rows and, last, its receipt.

    Args:
        unit: what to read.
        documents: folder of the document parts.
        quarantine: folder of the quarantine.
        guarded: survive pages that kill their parser. So does a unit that was begun once and never ended.
    """
    mark = _mark_path(documents, unit)
    guarded = guarded or storage.exists(mark)
    storage.write_bytes(mark, b"")
    try:
        return _ingest(unit, documents, quarantine, guarded)
    finally:  # whatever Python can report was no crash
        storage.remove(mark)


def _ingest(unit: Unit, documents: str, quarantine: str, guarded: bool) -> Receipt:
    from redpajama_pipe.sources.read import read_split

    skipped: Counter[str] = Counter()
    quarantined: Counter[str] = Counter()
    records = 0
    parts = _PartWriter(unit, documents)
    bad: _QuarantineWriter | None = None
    with ExitStack() as open_files:
        open_files.enter_context(parts)
        reader = _Counted(read_split(unit.split, unit.source, unit.retry, guarded=guarded))
        for record in reader:
            records += 1
            if isinstance(record, Document):
                parts.add(record)
                del record
                parts.flush_full()
            elif isinstance(record, Skipped):
                skipped[record.kind] += 1
            else:
                quarantined[record.reason] += 1
                if bad is None:
                    bad = open_files.enter_context(_QuarantineWriter(unit, quarantine))
                bad.add(record)
    receipt = Receipt(
        key=unit.key,
        source=unit.source.name,
        identity=unit.split.identity,
        input_bytes=unit.input_bytes if unit.input_bytes >= 0 else reader.bytes,
        parts=tuple(parts.done),
        quarantine=bad.file if bad else None,
        records=records,
        documents=sum(part.rows for part in parts.done),
        skipped=dict(sorted(skipped.items())),
        quarantined=dict(sorted(quarantined.items())),
    )
    storage.write_bytes(receipt_path(documents, unit), receipt.to_json())
    return receipt


def quarantine_unit(unit: Unit, reason: str, quarantine: str) -> Receipt:
    """Write the one quarantine row of a unit that could not be read as a whole.

    Returns:
        What is counted for it, one record; it is not stored, so that the next run reads the unit again.
    """
    with _QuarantineWriter(unit, quarantine) as bad:
        bad.add(Quarantined("", -1, "unreadable_file", reason))
    return Receipt(
        key=unit.key,
        source=unit.source.name,
        identity=unit.split.identity,
        input_bytes=max(0, unit.input_bytes),
        parts=(),
        quarantine=bad.file,
        records=1,
        documents=0,
        skipped={},
        quarantined={"unreadable_file": 1},
    )


class _Counted:
    """The records of a split; once they have ended, how many bytes they were read from."""

    def __init__(self, records: Generator[Record, None, int]) -> None:
        self._records = records
        self.bytes = -1

    def __iter__(self) -> Iterator[Record]:
        self.bytes = yield from self._records


class _PartWriter:
    """Gather documents into batches, annotate each, and write them to parts of bounded size."""

    def __init__(self, unit: Unit, folder: str) -> None:
        self._unit = unit
        self._folder = folder
        self._schema = documents_schema(unit.annotate)
        self._snapshot = unit.source.snapshot or snapshot_of(unit.split.identity) or snapshot_of(unit.split.uri)
        self._most = min(BATCH_BYTES, unit.part_bytes)
        self._waiting: list[Document] = []
        self._waiting_bytes = 0
        self._writer: TableWriter | None = None
        self._part_bytes = 0
        self.done: list[Part] = []

    def __enter__(self) -> _PartWriter:
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if kind is None:
            self._flush()
            self._close()
        elif self._writer is not None:
            self._writer.__exit__(kind, error, trace)

    def add(self, document: Document) -> None:
        size = len(document.text)  # of characters; exact bytes are counted when the batch is built
        if self._waiting and (self._waiting_bytes + size > self._most or len(self._waiting) >= BATCH_DOCUMENTS):
            self._flush()
        self._waiting.append(document)
        self._waiting_bytes += size

    def flush_full(self) -> None:
        """Write what waits if no other document has room beside it; a giant one does not wait for the next."""
        if self._waiting_bytes >= self._most:
            self._flush()

    def _flush(self) -> None:
        if not self._waiting:
            return
        if self._writer is None:
            self._part = f"{self._unit.name}-{len(self.done):04d}"
            self._writer = TableWriter(
                storage.join(self._folder, f"{self._part}.parquet"), self._schema, rows_per_group=1 << 40, plain=PLAIN
            )
            self._writer.__enter__()
            self._part_bytes = 0
        batch = self._batch(self._writer.rows)
        self._writer.append(batch)
        self._writer.cut()
        self._part_bytes += pc.sum(pc.binary_length(batch.column(schema.TEXT))).as_py()
        if self._part_bytes >= self._unit.part_bytes:
            self._close()

    def _batch(self, first_row: int) -> pa.RecordBatch:
        unit, waiting = self._unit, self._waiting
        identity = unit.split.identity
        columns: dict[str, list[Any]] = {
            schema.DOC_ID: [schema.document_id(identity, document.record_id) for document in waiting],
            schema.SOURCE: [unit.source.name] * len(waiting),
            schema.SUBSET: [document.subset for document in waiting],
            schema.PART: [self._part] * len(waiting),
            schema.ROW: list(range(first_row, first_row + len(waiting))),
            "uri": [identity] * len(waiting),
            schema.DECLARED_LANGUAGE: [document.language for document in waiting],
            "host": [host_of(document.url) for document in waiting],
            "snapshot": [self._snapshot] * len(waiting),
        }
        for name in (*schema.PROVENANCE.names, schema.TEXT):
            if name not in columns:
                columns[name] = [getattr(document, name) for document in waiting]
        waiting, self._waiting, self._waiting_bytes = [], [], 0
        # column by column Python's strings, of up to four bytes a character, make way
        arrays = [pa.array(columns.pop(field.name), field.type) for field in schema.DOCUMENTS]
        if unit.annotate is not None:
            from redpajama_pipe.signals.annotation import annotate

            texts, declared, urls = (
                arrays[schema.DOCUMENTS.get_field_index(n)] for n in (schema.TEXT, schema.DECLARED_LANGUAGE, "url")
            )
            arrays += annotate(texts, declared, urls, unit.annotate, unit.model)
        return pa.RecordBatch.from_arrays(arrays, schema=self._schema)

    def _close(self) -> None:
        if self._writer is None:
            return
        self._writer.__exit__(None, None, None)
        assert self._writer.file is not None
        self.done.append(Part(self._part, self._writer.rows, self._part_bytes, self._writer.file))
        self._writer = None


class _QuarantineWriter:
    """Write a unit's quarantine rows, if it has any."""

    def __init__(self, unit: Unit, folder: str) -> None:
        self._unit = unit
        self._writer = TableWriter(storage.join(folder, f"{unit.name}.parquet"), schema.QUARANTINE)
        self._rows: list[dict[str, Any]] = []

    @property
    def file(self) -> File | None:
        return self._writer.file

    def __enter__(self) -> _QuarantineWriter:
        self._writer.__enter__()
        return self

    def add(self, record: Quarantined) -> None:
        row = {"source": self._unit.source.name, "uri": self._unit.split.identity, **asdict(record)}
        self._rows.append(row)
        if len(self._rows) >= BATCH_DOCUMENTS:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            self._writer.append(pa.RecordBatch.from_pylist(self._rows, schema=schema.QUARANTINE))
            self._rows = []

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if kind is None:
            self._flush()
        self._writer.__exit__(kind, error, trace)


def find_receipt(documents: str, unit: Unit) -> Receipt | None:
    """Return a unit's receipt, or None when it is not done, not as asked now, damaged, or a part of it is missing."""
    path = receipt_path(documents, unit)
    return _checked(documents, unit, path) if storage.exists(path) else None


def load_receipts(documents: str, units: list[Unit]) -> Iterator[tuple[Unit, Receipt | None]]:
    """Pair each unit with its receipt, as `find_receipt` does, but list the folder once."""
    names = set(storage.list_names(storage.join(documents, "_units")))
    for unit in units:
        path = receipt_path(documents, unit)
        yield unit, _checked(documents, unit, path) if path.rsplit("/", 1)[-1] in names else None


def _checked(documents: str, unit: Unit, path: str) -> Receipt | None:
    try:
        found = Receipt.from_json(storage.read_bytes(path))
    except (ValueError, KeyError, TypeError):
        return None
    whole = all(
        storage.exists(storage.join(documents, part.file.path))
        and storage.size(storage.join(documents, part.file.path)) == part.file.bytes
        for part in found.parts
    )
    return found if found.key == unit.key and whole else None
