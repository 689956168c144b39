r"""Token shards: Megatron's memory-mapped .bin and .idx, which GPT-NeoX and Megatron-LM train from.

.bin holds the ids back to back. .idx, all little-endian and unpadded: "MMIDIDX\0\0", u64 version 1, u8 dtype code,
u64 sequences S, u64 entries D of doc_idx, int32 sizes[S] in tokens, int64 byte offsets[S], int64 doc_idx[D].
A writer holds 4 bytes a sequence until it is closed; a reader maps both files and reads nothing ahead.

Source: EleutherAI/gpt-neox, megatron/data/indexed_dataset.py, MMapIndexedDataset.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import fsspec
import numpy as np
from numpy.typing import NDArray

from redpajama_pipe import storage
from redpajama_pipe.errors import InputError
from redpajama_pipe.storage import File

MAGIC = b"MMIDIDX\x00\x00"
OLD_MAGIC = b"TNTIDX\x00\x00"
HEADER = struct.Struct("<9sQBQQ")
# Codes 6 and 7 are left out: GPT-NeoX reads them as float32 and float64, Megatron-core the other way round.
DTYPES = {1: "<u1", 2: "<i1", 3: "<i2", 4: "<i4", 5: "<i8", 8: "<u2"}
CODES = {np.dtype(name): code for code, name in DTYPES.items()}


def _files(prefix: str | Path) -> tuple[str, str]:
    stem = os.fspath(prefix).removesuffix(".bin").removesuffix(".idx")
    return stem + ".bin", stem + ".idx"


class IndexedWriter:
    """Writes one shard: one sequence a document.

    Nothing appears under the final names before `close`; equal input gives equal bytes, however it is cut into calls.
    As a context manager it closes at the end of the block and leaves nothing behind when the block raises.
    """

    def __init__(self, prefix: str | Path, dtype: np.dtype[Any]) -> None:
        """Open a shard for writing.

        Args:
            prefix: path or URL without .bin or .idx.
            dtype: what `spec.token_dtype` says.
        """
        self.dtype = np.dtype(dtype).newbyteorder("<")
        if self.dtype not in CODES:
            raise ValueError(f"no dtype code for {self.dtype}; there are: {', '.join(map(str, CODES))}")
        self.tokens = 0
        self.sequences = 0
        self._bin_path, self._idx_path = _files(prefix)
        self._sizes: list[NDArray[np.int32]] = []
        self._stack = ExitStack()
        self._bin = self._stack.enter_context(storage.create(self._bin_path))

    def append(self, ids: NDArray[Any], lengths: NDArray[Any]) -> None:
        """Add sequences.

        Args:
            ids: token ids of all of them, back to back.
            lengths: (sequences,) tokens in each; at least 1.

        Raises:
            ValueError: the lengths do not add up to the ids, one is empty, or an id does not fit the dtype.
        """
        total = int(lengths.sum(dtype=np.int64))
        if total != len(ids):
            raise ValueError(f"{len(ids)} ids, but the lengths add up to {total}")
        if len(lengths) == 0:
            return
        if int(lengths.min()) < 1:
            raise ValueError("an empty sequence: GPT-NeoX cannot index one; leave the document out")
        if int(lengths.max()) > np.iinfo(np.int32).max:
            raise ValueError(f"a sequence of {int(lengths.max())} tokens: sizes are int32")
        limits = np.iinfo(self.dtype)
        if int(ids.min()) < limits.min or int(ids.max()) > limits.max:
            raise ValueError(f"ids {int(ids.min())} to {int(ids.max())} do not fit {self.dtype}")
        self._bin.write(np.ascontiguousarray(ids, dtype=self.dtype))
        self._sizes.append(lengths.astype("<i4"))
        self.tokens += total
        self.sequences += len(lengths)

    def close(self) -> tuple[File, File]:
        """Publish the .bin, then the .idx, and describe them."""
        self._stack.close()
        sizes = np.concatenate([np.zeros(0, "<i4"), *self._sizes]).astype("<i4", copy=False)
        offsets = np.zeros(len(sizes), "<i8")
        np.cumsum(sizes[:-1], dtype="<i8", out=offsets[1:])
        offsets *= self.dtype.itemsize
        with storage.create(self._idx_path) as index:
            index.write(HEADER.pack(MAGIC, 1, CODES[self.dtype], len(sizes), len(sizes) + 1))
            index.write(sizes)
            index.write(offsets)
            index.write(np.arange(len(sizes) + 1, dtype="<i8"))
        return (
            File(self._bin_path.rsplit("/", 1)[-1], self._bin.size, self._bin.hexdigest()),
            File(self._idx_path.rsplit("/", 1)[-1], index.size, index.hexdigest()),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._stack.__exit__(kind, error, trace)


class RemoteBytes:
    """A file that fsspec opens: its size, and ranges of it."""

    def __init__(self, path: str) -> None:
        self.filesystem, self.path = fsspec.core.url_to_fs(path)
        self._size = int(self.filesystem.info(self.path)["size"])

    def __len__(self) -> int:
        return self._size

    def read(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Read some ranges, (begin, end), with one call."""
        return read_ranges([(self, begin, end) for begin, end in ranges])


def read_ranges(ranges: Sequence[tuple[RemoteBytes, int, int]]) -> list[bytes]:
    """Read ranges of files of one filesystem with one call: object stores answer them at the same time.

    Raises:
        InputError: one cannot be read.
    """
    if not ranges:
        return []
    files, starts, ends = zip(*((file.path, begin, end) for file, begin, end in ranges), strict=True)
    try:
        found: list[bytes] = ranges[0][0].filesystem.cat_ranges(list(files), list(starts), list(ends), on_error="raise")
    except OSError as error:
        raise InputError(f"cannot read {files[0]}: {error}") from error
    return found


class IndexedDataset:
    """One shard, memory-mapped: `dataset[i]` is sequence i as a read-only view of the file.

    From a URL the .idx is read whole, and of the .bin the ranges asked for.

    Reads what GPT-NeoX and Megatron-core write, merged files included: they keep only the first entry of doc_idx.
    Bytes after doc_idx are ignored: Megatron-core puts modes there.

    Attributes:
        sizes: (sequences,) int32 tokens in each.
        doc_idx: document borders, counted in sequences, as the file has them.
        dtype: how a token is stored.
    """

    def __init__(self, prefix: str | Path) -> None:
        """Map a shard.

        Args:
            prefix: path or URL with or without .bin or .idx.

        Raises:
            InputError: a file is missing, is not in this format, or is shorter than it says.
        """
        self._bin_path, self._idx_path = _files(prefix)
        index = self._map(self._idx_path)
        if index[:8] == OLD_MAGIC:
            raise InputError(f"{self._idx_path} is in the old TNTIDX format; tokenise again with --dataset-impl mmap")
        if index[:9] != MAGIC or len(index) < HEADER.size:
            raise InputError(f"{self._idx_path} is not a Megatron index: it begins with {bytes(index[:9])!r}")
        _, version, code, count, documents = HEADER.unpack_from(index)
        if version != 1:
            raise InputError(f"{self._idx_path} has version {version}; only 1 is known")
        if code not in DTYPES:
            raise InputError(f"{self._idx_path} has dtype code {code}; known: {', '.join(map(str, DTYPES))}")
        need = HEADER.size + 12 * count + 8 * documents
        if len(index) < need:
            raise InputError(f"{self._idx_path} has {len(index)} bytes, its header asks for {need}; write it again")
        self.dtype = np.dtype(DTYPES[code])
        at = HEADER.size
        self.sizes: NDArray[np.int32] = np.frombuffer(index, "<i4", count, at)
        # int64: byte offsets pass 2**31 in any real shard
        self._offsets: NDArray[np.int64] = np.frombuffer(index, "<i8", count, at + 4 * count)
        self.doc_idx: NDArray[np.int64] = np.frombuffer(index, "<i8", documents, at + 12 * count)
        self._data = self._map(self._bin_path, whole=False)
        end = int(self._offsets[-1]) + int(self.sizes[-1]) * self.dtype.itemsize if count else 0
        if len(self._data) < end:
            raise InputError(f"{self._bin_path} has {len(self._data)} bytes, its index asks for {end}; write it again")

    @staticmethod
    def _map(path: str, whole: bool = True) -> Any:
        try:
            if "://" in path:
                return storage.read_bytes(path) if whole else RemoteBytes(path)
            with open(path, "rb") as file:
                if os.fstat(file.fileno()).st_size == 0:  # mmap refuses an empty file
                    return b""
                return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror}") from error

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def tokens(self) -> int:
        """How many tokens there are."""
        return int(self.sizes.sum(dtype=np.int64))

    def get(self, sequence: int, offset: int = 0, length: int | None = None) -> NDArray[Any]:
        """Return `length` ids of a sequence from `offset` on; all that is left when `length` is None.

        Raises:
            IndexError: there is no such sequence, or no such tokens in it; never wraps around.
        """
        if not 0 <= sequence < len(self.sizes):
            raise IndexError(f"sequence {sequence} of {len(self.sizes)}")
        size = int(self.sizes[sequence])
        count = size - offset if length is None else length
        if offset < 0 or count < 0 or offset + count > size:
            raise IndexError(f"tokens {offset} to {offset + count} of sequence {sequence}, which has {size}")
        at = int(self._offsets[sequence]) + offset * self.dtype.itemsize
        return self._read(at, count)

    def _read(self, at: int, count: int) -> NDArray[Any]:
        if isinstance(self._data, RemoteBytes):
            return np.frombuffer(self._data.read([(at, at + count * self.dtype.itemsize)])[0], self.dtype)
        return np.frombuffer(self._data, self.dtype, count, at)

    def blocks(self, most: int, sequences: NDArray[Any] | None = None) -> Iterator[NDArray[Any]]:
        """Yield the ids of sequences back to back, at most so many at a time; those that lie together are one read.

        Args:
            most: ids at a time; a long sequence comes in pieces.
            sequences: their numbers; None: all of them, in order.
        """
        sizes, starts = self.sizes, self._offsets
        if sequences is not None:
            sizes, starts = sizes[sequences], starts[sequences]
        ends = starts + sizes.astype(np.int64) * self.dtype.itemsize
        first = np.flatnonzero(np.append(len(starts) > 0, starts[1:] != ends[:-1]))
        last = np.append(first[1:], len(starts))[: len(first)] - 1
        step = most * self.dtype.itemsize
        for begin, end in zip(starts[first].tolist(), ends[last].tolist(), strict=True):
            for at in range(begin, end, step):
                yield self._read(at, min(step, end - at) // self.dtype.itemsize)

    def remote_range(self, sequence: int, offset: int, length: int) -> tuple[RemoteBytes, int, int]:
        """Return the file and the bytes of it that `get` reads, of a shard that is not mapped."""
        at = int(self._offsets[sequence]) + offset * self.dtype.itemsize
        assert isinstance(self._data, RemoteBytes)
        return self._data, at, at + length * self.dtype.itemsize

    def __getitem__(self, sequence: int) -> NDArray[Any]:
        return self.get(sequence)

    def __reduce__(self) -> tuple[type[IndexedDataset], tuple[str]]:
        # Loader processes open the files themselves.
        return IndexedDataset, (self._idx_path,)


def read_remote(spans: Sequence[tuple[IndexedDataset, int, int, int]]) -> Iterator[NDArray[Any]]:
    """Return the ids of (shard, sequence, offset, length) of shards that are not mapped, read with one call.

    Raises:
        IndexError, InputError: as `IndexedDataset.get`.
    """
    read = read_ranges([shard.remote_range(*span) for shard, *span in spans])
    return (np.frombuffer(data, shard.dtype) for data, (shard, *_) in zip(read, spans, strict=True))


class ShardedDataset:
    """Several shards as one dataset, in the order given.

    Attributes:
        sizes: (sequences,) int32 tokens in each, over all shards.
        starts: (shards + 1,) the first sequence of each shard.
        shards: the shards.
    """

    def __init__(self, prefixes: Sequence[str | Path]) -> None:
        """Map shards.

        Raises:
            InputError: there are none, they store tokens differently, or one cannot be read.
        """
        if not prefixes:
            raise InputError("no shards given")
        self.shards = [IndexedDataset(prefix) for prefix in prefixes]
        self.dtype = self.shards[0].dtype
        for prefix, shard in zip(prefixes, self.shards, strict=True):
            if shard.dtype != self.dtype:
                raise InputError(f"{prefix} stores tokens as {shard.dtype}, {prefixes[0]} as {self.dtype}")
        self.sizes: NDArray[np.int32] = np.concatenate([shard.sizes for shard in self.shards])
        self.starts: NDArray[np.int64] = np.zeros(len(self.shards) + 1, np.int64)
        np.cumsum([len(shard) for shard in self.shards], out=self.starts[1:])
        self._prefixes = [os.fspath(prefix) for prefix in prefixes]

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def tokens(self) -> int:
        """How many tokens there are."""
        return int(self.sizes.sum(dtype=np.int64))

    def locate(self, sequence: int) -> tuple[int, int]:
        """Return the shard of a sequence and its number inside it.

        Raises:
            IndexError: there is no such sequence.
        """
        if not 0 <= sequence < len(self.sizes):
            raise IndexError(f"sequence {sequence} of {len(self.sizes)}")
        shard = int(np.searchsorted(self.starts, sequence, side="right")) - 1
        return shard, sequence - int(self.starts[shard])

    def get(self, sequence: int, offset: int = 0, length: int | None = None) -> NDArray[Any]:
        """Return ids as `IndexedDataset.get` does."""
        shard, inside = self.locate(sequence)
        return self.shards[shard].get(inside, offset, length)

    def blocks(self, most: int, sequences: NDArray[Any] | None = None) -> Iterator[NDArray[Any]]:
        """Yield ids as `IndexedDataset.blocks` does; `sequences` ascend."""
        for shard, first, end in zip(self.shards, self.starts[:-1], self.starts[1:], strict=True):
            own = None
            if sequences is not None:
                begin, stop = np.searchsorted(sequences, (first, end))
                own = sequences[begin:stop] - first
            yield from shard.blocks(most, own)

    def __getitem__(self, sequence: int) -> NDArray[Any]:
        return self.get(sequence)

    def __reduce__(self) -> tuple[type[ShardedDataset], tuple[list[str]]]:
        return ShardedDataset, (self._prefixes,)
