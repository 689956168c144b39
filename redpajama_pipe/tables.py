"""Parquet files whose bytes depend on their rows alone, not on the batches in which the rows arrived."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from types import TracebackType

import pyarrow as pa
import pyarrow.parquet as pq

from redpajama_pipe import storage
from redpajama_pipe.storage import File

ROWS_PER_GROUP = 65_536

# What a task that writes files tells the driver: the fields of storage.File.
FILES = pa.schema([("path", pa.string()), ("bytes", pa.int64()), ("sha256", pa.string())])


class TableWriter:
    """Write one Parquet file atomically, in row groups of a fixed number of rows, or as the caller cuts them.

    A context manager; leaving it without an error publishes the file, after which `file` describes it.
    """

    def __init__(
        self, path: str, schema: pa.Schema, rows_per_group: int = ROWS_PER_GROUP, plain: Sequence[str] = ()
    ) -> None:
        """Name the file.

        Args:
            path: where the file will be.
            schema: of the file; rows are cast to it.
            rows_per_group: how many rows make a row group.
            plain: columns of ever new values, which no dictionary or statistics helps: text, hashes.
        """
        self._path = path
        self._schema = schema
        self._rows_per_group = rows_per_group
        self._indexed = [name for name in schema.names if name not in plain]
        self._pending: list[pa.RecordBatch] = []
        self._waiting = 0
        self.rows = 0
        self.file: File | None = None

    def __enter__(self) -> TableWriter:
        with ExitStack() as opening:
            self._target = opening.enter_context(storage.create(self._path))
            self._writer = pq.ParquetWriter(  # which writes already
                self._target,
                self._schema,
                compression="zstd",
                use_dictionary=self._indexed,
                write_statistics=self._indexed,
                store_schema=False,
            )
            self._stack = opening.pop_all()
        return self

    def append(self, batch: pa.RecordBatch) -> None:
        """Add rows; they are written when a row group is full."""
        self._pending.append(batch)
        self._waiting += batch.num_rows
        self.rows += batch.num_rows
        if self._waiting >= self._rows_per_group:
            table = pa.Table.from_batches(self._pending)
            whole = self._waiting - self._waiting % self._rows_per_group
            for start in range(0, whole, self._rows_per_group):
                self._write(table.slice(start, self._rows_per_group))
            rest = table.slice(whole)
            self._pending, self._waiting = rest.to_batches(), rest.num_rows

    def cut(self) -> None:
        """End the row group here."""
        if self._waiting:
            self._write(pa.Table.from_batches(self._pending))
        self._pending, self._waiting = [], 0

    def _write(self, table: pa.Table) -> None:
        # the same rows in the same chunks: pages are cut at chunk borders
        self._writer.write_table(table.cast(self._schema).combine_chunks(), row_group_size=max(1, table.num_rows))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            try:
                self._writer.close()
            finally:
                self._stack.__exit__(kind, error, trace)
            return
        with self._stack:  # which publishes nothing if the last rows cannot be written
            try:
                self.cut()
            finally:
                self._writer.close()
        self.file = File(self._path.rsplit("/", 1)[-1], self._target.size, self._target.hexdigest())


def file_row(writer: TableWriter) -> pa.RecordBatch:
    """Describe a published file as one row of FILES."""
    assert writer.file is not None
    return pa.RecordBatch.from_pylist([asdict(writer.file)], schema=FILES)
