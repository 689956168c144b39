"""Token shards for other readers: one merged pair, datatrove's .ds, and Pythia's pre-shuffled pieces; and JSON lines.

Everything is copied in blocks of BLOCK tokens, so memory does not grow with the shards. Every file is written whole or
not at all, an index after what it points into. Merging takes 0.4 microseconds a document of 60 tokens, reading and
writing included; a source whose documents lie apart 3.

Source: EleutherAI/gpt-neox, megatron/data/indexed_dataset.py (.bin and .idx); huggingface/datatrove,
pipeline/tokens/tokenizer.py, TokenizedFile (.ds); EleutherAI/pythia, utils/shard_memmap.py and utils/batch_viewer.py.
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Any, Literal

import numpy as np
import zstandard
from numpy.typing import NDArray

from redpajama_pipe import schema, storage
from redpajama_pipe.errors import InputError
from redpajama_pipe.storage import File
from redpajama_pipe.tokens.indexed import CODES, HEADER, MAGIC, IndexedDataset, ShardedDataset
from redpajama_pipe.tokens.reader import SequenceReader

BLOCK = 1 << 18  # tokens, or entries of an index, held at a time
PIECE_BYTES = 5_000_000_000  # as EleutherAI/pythia, utils/unshard_memmap.py, puts them together


def merge_shards(prefixes: Sequence[str], target: str) -> tuple[File, File]:
    """Merge shards into one, in the order given.

    The pair is byte for byte what one `IndexedWriter` would have written. doc_idx keeps the borders of a shard whose
    doc_idx covers it. GPT-NeoX's own merge (MMapIndexedDatasetBuilder.merge_file_) forgets the borders of what it
    merges; in a shard whose doc_idx stops short like that, every sequence becomes a document, as training reads it.

    Args:
        prefixes: paths with or without .bin or .idx, on a local disk.
        target: path or URL, likewise; none of `prefixes`.

    Returns:
        The .bin and the .idx.

    Raises:
        InputError: there are no shards, they store tokens differently, one cannot be read or is the target.
    """
    if not prefixes:
        raise InputError("no shards given")
    stem = _stem(target)
    for prefix in prefixes:
        if storage.absolute(_stem(prefix)) == storage.absolute(stem):
            raise InputError(f"{target} is both a shard to merge and the target; give another target")
    shards = [IndexedDataset(prefix) for prefix in prefixes]
    dtype = shards[0].dtype
    for prefix, shard in zip(prefixes, shards, strict=True):
        if shard.dtype != dtype:
            raise InputError(f"{prefix} stores tokens as {shard.dtype}, {prefixes[0]} as {dtype}")
    with storage.create(stem + ".bin") as data:
        for shard in shards:
            for block in _blocks(shard):
                data.write(block)
    index = _write_index(stem + ".idx", dtype, [shard.sizes for shard in shards], [_borders(each) for each in shards])
    return _file(stem + ".bin", data), index


def write_documents(dataset: ShardedDataset, documents: NDArray[Any] | None, target: str) -> tuple[File, File]:
    """Write some sequences of shards as one pair, each a document.

    Args:
        dataset: the shards.
        documents: the numbers of the sequences, ascending; None: all of them.
        target: path or URL, with or without .bin or .idx.

    Returns:
        The .bin and the .idx: what one `IndexedWriter` would have written.
    """
    stem = _stem(target)
    with storage.create(stem + ".bin") as data:
        for block in _blocks(dataset, documents):
            data.write(block)
    sizes = dataset.sizes if documents is None else dataset.sizes[documents]
    return _file(stem + ".bin", data), _write_index(stem + ".idx", dataset.dtype, [sizes], [None])


def write_ds(
    dataset: IndexedDataset | ShardedDataset, target: str, tokenizer: str, token_size: Literal[2, 4] | None = None
) -> list[File]:
    """Write the sequences as datatrove's .ds, one document each, in their order.

    TARGET.ds has the ids back to back, little-endian uint16 or uint32; TARGET.ds.index the end of each document in
    tokens, uint64; TARGET.ds.metadata three lines: tokenizer|token size, tokens, and tokens for people ("1.50 kT").

    Args:
        target: path or URL, with or without .ds.
        tokenizer: what datatrove is to say the tokenizer was.
        token_size: bytes a token; None: as many as the shards have, 2 or 4.

    Returns:
        The .ds, the .ds.index, the .ds.metadata.

    Raises:
        InputError: the name is not one that datatrove's merger can read, or an id does not fit.
    """
    if "|" in tokenizer or tokenizer.splitlines() != [tokenizer]:
        raise InputError(f"tokenizer name {tokenizer!r}: give one line without '|', which datatrove splits at")
    if token_size is None:
        token_size = 2 if dataset.dtype.itemsize <= 2 else 4
    path = target.removesuffix(".ds") + ".ds"
    dtype = np.dtype(f"<u{token_size}")
    with storage.create(path) as data:
        for ids in _blocks(dataset):
            data.write(_fit(ids, dtype))
    with storage.create(path + ".index") as index:
        end = 0
        for sizes in _cut(dataset.sizes):
            ends = end + np.cumsum(sizes, dtype="<u8")
            index.write(ends.astype("<u8", copy=False))
            end = int(ends[-1])
    text = f"{tokenizer}|{token_size}\n{end}\n{_metric(end)}"
    described = storage.write_bytes(path + ".metadata", text.encode())
    return [_file(path, data), _file(path + ".index", index), described]


def write_preshuffled(
    reader: SequenceReader, target: str, samples: int | None = None, shard_bytes: int = PIECE_BYTES
) -> list[File]:
    """Write the sequences in training order, as the pre-shuffled Pile of Pythia.

    Put together (`cat TARGET-*.bin > TARGET.bin`), they are a shard whose sequence batch_size * k + j is the j-th of
    step k: seq_len + 1 ids, the last of which is the last label. utils/batch_viewer.py slices such a shard, and takes
    for granted that seq_len is 2048. Pieces are TARGET-000NN-of-000MM.bin; MM is the number of pieces less one, which
    is the last piece's own number. Where the bytes are a multiple of `shard_bytes`, utils/shard_memmap.py adds an empty
    piece, which utils/unshard_memmap.py cannot map; it is left out here. The 5 GB are those of unshard_memmap.py.

    Args:
        reader: what `reader.open_run` gave; ids are stored as its shards store them.
        target: path or URL without a suffix; Pythia's is FOLDER/document.
        samples: how many sequences, from the first one on; None: all that training reads.
        shard_bytes: size of every piece but the last.

    Returns:
        The pieces in order, then the .idx.

    Raises:
        InputError: training reads fewer sequences, or an option is below 1.
    """
    count = len(reader) if samples is None else samples
    if not 1 <= count <= len(reader):
        raise InputError(f"samples is {count}; the schedule has 1 to {len(reader)}")
    if shard_bytes < 1:
        raise InputError(f"shard_bytes is {shard_bytes}; give 1 or more")
    dtype, width = reader.shard(0).dtype, reader.seq_len + 1
    total = count * width * dtype.itemsize
    pieces = -(-total // shard_bytes)
    stem = _stem(target)
    rows = _rows(reader, count, dtype)
    left = memoryview(b"")
    files = []
    for number in range(pieces):
        path = f"{stem}-{number:05}-of-{pieces - 1:05}.bin"
        need = min(shard_bytes, total - number * shard_bytes)
        with storage.create(path) as piece:
            while need:
                if not left:
                    left = next(rows)
                some, left = left[:need], left[need:]
                need -= piece.write(some)
        files.append(_file(path, piece))
    sizes = np.broadcast_to(np.array(width, "<i4"), count)  # one number, seen `count` times
    return [*files, _write_index(stem + ".idx", dtype, [sizes], [None])]


def write_jsonl(tokens: str, shards: Sequence[str], target: str) -> File:
    """Write the ids of every document as JSON lines, gzip or zstd by the target's name, or plain.

    A line has `tokens`, and `meta` with id (32 hex digits), source, subset and language, as RedPajama v1's lines have
    `text` and `meta`; a document without tokens has none.

    Args:
        tokens: folder of the shards and their token maps.
        shards: names, in order.
        target: path or URL.

    Source: togethercomputer/RedPajama-Data, rp_v1, README.md (text and meta).
    """
    columns = [schema.DOC_ID, schema.SOURCE, schema.SUBSET, schema.LANGUAGE, "sequence"]
    with storage.create(target) as file, _compressed(target, file) as out:
        for name in shards:
            shard = IndexedDataset(storage.join(tokens, name))
            with storage.open_parquet(storage.join(tokens, "token_map", f"{name}.parquet")) as parquet:
                for batch in parquet.iter_batches(columns=columns):
                    for row in batch.to_pylist():
                        ids = shard.get(row["sequence"]).tolist() if row["sequence"] >= 0 else []
                        meta = {"id": row[schema.DOC_ID].hex()} | {key: row[key] for key in columns[1:4]}
                        line = json.dumps({"tokens": ids, "meta": meta}, ensure_ascii=False, separators=(",", ":"))
                        out.write(line.encode() + b"\n")
    return _file(target, file)


def _compressed(target: str, file: Any) -> Any:
    if target.endswith(".gz"):
        return gzip.GzipFile(fileobj=file, mode="wb", mtime=0)
    if target.endswith(".zst"):
        return zstandard.ZstdCompressor().stream_writer(file, closefd=False)
    return nullcontext(file)


def _stem(prefix: str) -> str:
    return os.fspath(prefix).removesuffix(".bin").removesuffix(".idx")


def _file(path: str, written: storage.HashingFile) -> File:
    return File(path.rsplit("/", 1)[-1], written.size, written.hexdigest())


def _cut(array: NDArray[Any]) -> Iterator[NDArray[Any]]:
    for at in range(0, len(array), BLOCK):
        yield array[at : at + BLOCK]


def _blocks(dataset: IndexedDataset | ShardedDataset, sequences: NDArray[Any] | None = None) -> Iterator[NDArray[Any]]:
    """Yield the ids of sequences (None: all), fewer than 2 * BLOCK at a time; wherever in the .bin each one lies."""
    held: list[NDArray[Any]] = []
    tokens = 0
    for ids in dataset.blocks(BLOCK, sequences):
        held.append(ids)
        tokens += len(ids)
        if tokens >= BLOCK:
            yield np.concatenate(held) if len(held) > 1 else ids
            held, tokens = [], 0
    if held:
        yield np.concatenate(held)


def _rows(reader: SequenceReader, count: int, dtype: np.dtype[Any]) -> Iterator[memoryview]:
    step = max(1, BLOCK // (reader.seq_len + 1))
    for first in range(0, count, step):
        ids = reader.read(range(first, min(first + step, count)))  # (rows, seq_len + 1)
        yield memoryview(_fit(ids, dtype).tobytes())


def _fit(ids: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    limits = np.iinfo(dtype)
    if int(ids.min()) < limits.min or int(ids.max()) > limits.max:
        raise InputError(f"ids {int(ids.min())} to {int(ids.max())} do not fit {dtype}")
    return ids.astype(dtype)


def _borders(shard: IndexedDataset) -> NDArray[np.int64] | None:
    """Return a shard's doc_idx; None when every sequence is to be a document."""
    borders = shard.doc_idx
    return borders if len(borders) and int(borders[0]) == 0 and int(borders[-1]) == len(shard) else None


def _write_index(
    path: str, dtype: np.dtype[Any], sizes: Sequence[NDArray[np.int32]], borders: Sequence[NDArray[np.int64] | None]
) -> File:
    """Write the .idx of shards laid end to end; `borders` as `_borders` gives them, one for each."""
    sequences = sum(map(len, sizes))
    documents = 1
    for size, border in zip(sizes, borders, strict=True):
        documents += len(size) if border is None else len(border) - 1
    with storage.create(path) as index:
        index.write(HEADER.pack(MAGIC, 1, CODES[dtype], sequences, documents))
        for each in sizes:
            for block in _cut(each):
                index.write(block.astype("<i4"))
        at = 0  # bytes
        for each in sizes:
            for block in _cut(each):
                ends = at + np.cumsum(block, dtype="<i8") * dtype.itemsize
                index.write(np.concatenate([[at], ends[:-1]]).astype("<i8"))
                at = int(ends[-1])
        index.write(np.zeros(1, "<i8"))
        first = 0  # sequence of the shard
        for each, border in zip(sizes, borders, strict=True):
            if border is None:
                for low in range(0, len(each), BLOCK):
                    index.write(np.arange(first + low + 1, first + min(low + BLOCK, len(each)) + 1, dtype="<i8"))
            else:
                for block in _cut(border[1:]):
                    index.write((first + block).astype("<i8"))
            first += len(each)
    return _file(path, index)


def _metric(tokens: int) -> str:
    """Write a number as humanize.metric(tokens, unit="T") does: three digits and a prefix."""
    exponent = len(str(tokens)) - 1
    value = tokens / 10 ** (exponent // 3 * 3)
    if round(value, 2 - exponent % 3) >= 10 ** (exponent % 3 + 1):  # 999,950 is 1.00 M, not 1000 k
        value /= 1000 if exponent % 3 == 2 else 1
        exponent += 1
    return f"{value:.{2 - exponent % 3}f} {('', 'k', 'M', 'G', 'T', 'P', 'E')[exponent // 3]}T"
