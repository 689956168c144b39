"""The entries of LSH buckets, packed: a row of Spark holds those of many documents.

An entry is the key of a document's band and its id, 24 bytes. The entries of a band whose keys begin with the same bits
are a shard, and a row is a piece of one. So Spark moves and sorts a few thousand rows where there are millions of
entries; these are sorted in NumPy, one shard after another (measured: packing and joining take 0.2 µs an entry).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from redpajama_pipe.dedup.byte_columns import ID_BYTES, cut_rows, end_to_end, fixed_width
from redpajama_pipe.schema import DOC_ID

BAND, SHARD, ENTRIES = "band", "shard", "entries"
PACKED = f"{BAND} int, {SHARD} int, {ENTRIES} binary"
ENTRY = np.dtype([("key", "<u8"), ("high", ">u8"), ("low", ">u8")])  # the id as two numbers, which compare as its bytes

Entries = NDArray[np.void]  # of ENTRY
KeysOf = Callable[[pa.RecordBatch], NDArray[np.uint64]]

_BATCH_ENTRIES = 1 << 20  # packed at a time
_SHARDS = 1024  # at least, and eight a task: what is sorted at a time stays small, and tasks get equal shares


def shard_bits(bands: int, tasks: int) -> int:
    """Choose how many leading bits of its keys make a shard of a band, 1 to 16."""
    return min(16, max(1, (-(-max(_SHARDS, 8 * tasks) // bands) - 1).bit_length()))


def pack(keys: NDArray[np.uint64], ids: NDArray[np.uint8], bits: int) -> pa.RecordBatch:
    """Pack the entries of some documents.

    Args:
        keys: (documents, bands).
        ids: (documents, 16).
        bits: of a key, that choose the shard; see `shard_bits`.

    Returns:
        band, shard, entries: a row for each shard that has entries.
    """
    documents, bands = keys.shape
    words = np.ascontiguousarray(ids).view(">u8")  # words: (documents, 2)
    entries = np.empty((bands, documents), ENTRY)
    counts = np.empty((bands, 1 << bits), np.int64)
    for band in range(bands):
        shard = (keys[:, band] >> np.uint64(64 - bits)).astype(np.uint16)
        order = np.argsort(shard, kind="stable")  # of 16 bits: sorted in linear time
        entries[band]["key"] = keys[order, band]
        entries[band]["high"], entries[band]["low"] = words[order].T
        counts[band] = np.bincount(shard, minlength=1 << bits)
    bands_of, shards = np.nonzero(counts)
    ends = np.cumsum(counts[bands_of, shards], dtype=np.int32) * np.int32(ENTRY.itemsize)
    offsets = np.concatenate([np.zeros(1, np.int32), ends])
    packed = pa.Array.from_buffers(
        pa.binary(), len(shards), [None, pa.py_buffer(offsets), pa.py_buffer(entries.reshape(-1).view(np.uint8))]
    )
    columns = [pa.array(bands_of, pa.int32()), pa.array(shards, pa.int32()), packed]
    return pa.RecordBatch.from_arrays(columns, [BAND, SHARD, ENTRIES])


def packer(keys_of: KeysOf, bands: int, tasks: int) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """Make the pass from documents, with doc_id and what `keys_of` reads, to packed entries."""
    bits = shard_bits(bands, tasks)

    def packed(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for wide in batches:
            for batch in cut_rows(wide, _BATCH_ENTRIES // bands):
                yield pack(keys_of(batch), fixed_width(batch[DOC_ID], ID_BYTES, DOC_ID), bits)

    return packed


def pieces(batches: Iterable[pa.RecordBatch], by: tuple[str, ...]) -> Iterator[tuple[tuple[int, ...], Entries]]:
    """Read packed entries.

    Args:
        batches: rows sorted by the columns `by`.
        by: columns of numbers or truth values.

    Yields:
        The values of `by`, and entries: of all rows of the batch that have these values. They go on in the next item
        where the rows run over the end of a batch.
    """
    for batch in batches:
        if batch.num_rows == 0:
            continue
        columns = [batch[name].to_numpy(zero_copy_only=False) for name in by]
        other = np.zeros(batch.num_rows - 1, bool)
        for column in columns:
            other |= column[1:] != column[:-1]
        for begin, end in pairwise([0, *(np.flatnonzero(other) + 1).tolist(), batch.num_rows]):
            packed = end_to_end(batch[ENTRIES].slice(begin, end - begin))
            yield tuple(int(column[begin]) for column in columns), packed.view(ENTRY)


def gathered(some: Iterable[Entries], limit: int) -> Iterator[Entries]:
    """Put entries together, until there are `limit` of them at least or no more."""
    held: list[Entries] = []
    count = 0
    for entries in some:
        held.append(entries)
        count += len(entries)
        if count >= limit:
            yield together(held)
            held, count = [], 0
    if held:
        yield together(held)


def together(some: Iterable[Entries]) -> Entries:
    """Put entries end to end."""
    # as bytes: NumPy would turn the numbers of the ids, and so their bytes, into the machine's own order
    return np.concatenate([np.empty(0, np.uint8), *(entries.view(np.uint8) for entries in some)]).view(ENTRY)


def ids_of(entries: Entries) -> NDArray[np.uint8]:
    """View the ids of entries that lie end to end, (entries, 16)."""
    rows: NDArray[Any] = entries.view(np.uint8).reshape(-1, ENTRY.itemsize)
    return rows[:, ENTRY.itemsize - ID_BYTES :]
