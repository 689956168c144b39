"""Fetch the text of some documents out of a document part, row group by row group.

Only row groups that hold a wanted row are read, each once; what is in memory at a time is one row group's pages and a
batch of at most `batch_bytes` of text (or one document, when it alone is longer).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from redpajama_pipe.errors import ManifestError
from redpajama_pipe.schema import DOC_ID, ROW, TEXT

BATCH_BYTES = 16 << 20
_ROWS = 256


@dataclass(frozen=True)
class Texts:
    """Texts of wanted rows: `texts[i]` belongs to wanted row number `first + i`."""

    first: int
    doc_ids: pa.Array
    texts: pa.Array


def read_texts(
    parquet: pq.ParquetFile, rows: NDArray[np.int64], part: str, batch_bytes: int = BATCH_BYTES
) -> Iterator[Texts]:
    """Read the texts at some rows of a part.

    Args:
        parquet: the part, open; has columns doc_id and text.
        rows: ascending and distinct, counted from 0.
        part: its name, for errors.
        batch_bytes: UTF-8 bytes of text in a batch, at most.

    Yields:
        The texts of all `rows`, in their order.

    Raises:
        ManifestError: the part has no such row.
    """
    metadata = parquet.metadata
    if len(rows) and (rows[-1] >= metadata.num_rows or rows[0] < 0):
        raise ManifestError(
            f"document part {part} has {metadata.num_rows:,} rows but row {int(rows[-1]):,} is asked for: "
            "documents and annotations are not of one run; annotate again"
        )
    sizes = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
    starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    done = 0
    for group in np.unique(np.searchsorted(starts, rows, side="right") - 1):
        begin = int(starts[group])
        step = _rows_at_once(metadata.row_group(int(group)), batch_bytes)
        for batch in parquet.iter_batches(batch_size=step, row_groups=[int(group)], columns=[DOC_ID, TEXT]):
            end = begin + batch.num_rows
            until = int(np.searchsorted(rows, end))
            if until > done:
                wanted = batch.take(pa.array(rows[done:until] - begin))
                yield from _cut(wanted, done, batch_bytes)
                done = until
            begin = end


def read_members(
    parquet: pq.ParquetFile, members: pa.RecordBatch, part: str, batch_bytes: int = BATCH_BYTES
) -> Iterator[tuple[pa.Array, pa.RecordBatch]]:
    """Read the texts of documents that another table names, beside that table's rows.

    Args:
        parquet: the part, open.
        members: columns row and doc_id, rows ascending and distinct; other columns are carried along.
        part: its name, for errors.
        batch_bytes: as for `read_texts`.

    Raises:
        ManifestError: a row of the part holds another document: the two are not of one run.
    """
    for read in read_texts(parquet, members.column(ROW).to_numpy(), part, batch_bytes):
        some = members.slice(read.first, len(read.texts))
        if not some.column(DOC_ID).equals(read.doc_ids.cast(pa.binary())):
            raise ManifestError(
                f"document part {part} has other ids than its annotations at rows "
                f"{some[ROW][0]} to {some[ROW][-1]}: they are not of one run; annotate again"
            )
        yield read.texts, some


def _rows_at_once(group: pq.RowGroupMetaData, batch_bytes: int) -> int:
    # Uncompressed but encoded: a text that a dictionary page repeats counts once, hence a small bound as well.
    size = max(1, group.total_byte_size)
    return int(min(_ROWS, max(1, group.num_rows * batch_bytes // size)))


def _cut(batch: pa.RecordBatch, first: int, batch_bytes: int) -> Iterator[Texts]:
    ids, texts = batch[DOC_ID], batch[TEXT].cast(pa.string())
    sums = np.cumsum(pc.binary_length(texts).to_numpy(zero_copy_only=False).astype(np.int64))
    begin, spent = 0, 0
    while begin < len(texts):
        end = max(begin + 1, int(np.searchsorted(sums, spent + batch_bytes, side="right")))
        yield Texts(first + begin, ids.slice(begin, end - begin), texts.slice(begin, end - begin))
        begin, spent = end, int(sums[end - 1])
