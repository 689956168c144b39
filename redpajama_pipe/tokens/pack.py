"""Kept documents to one token shard, on a worker: read text where it lies, encode, write .bin, .idx and the token map.

The rows that arrive say which rows of which document parts to take, in the order of the corpus; no text is among
them. Memory: one row group of text and its ids.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from redpajama_pipe import schema, storage
from redpajama_pipe.document_parts import read_members
from redpajama_pipe.tables import TableWriter
from redpajama_pipe.tokens.encode import Encoder, open_encoder
from redpajama_pipe.tokens.indexed import IndexedWriter
from redpajama_pipe.tokens.spans import apply_spans
from redpajama_pipe.tokens.spec import TokenizerSpec, token_dtype

ENCODE_BYTES = 8 << 20  # text encoded in one call


@dataclass(frozen=True)
class PackSettings:
    """What a worker needs to write shards.

    Attributes:
        documents: folder of the document parts.
        tokens: folder of the shards.
        spec: the tokenizer.
        tokenizer_path: its file.
        append_eod: one end-of-document id after each document.
    """

    documents: str
    tokens: str
    spec: TokenizerSpec
    tokenizer_path: str
    append_eod: bool


def shard_name(shard: int) -> str:
    """Name a shard: the prefix of its .bin, its .idx and its token map."""
    return f"shard-{shard:05d}"


def packer(settings: PackSettings) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """Return the function for mapInArrow: kept documents in, one receipt a shard out.

    Rows have shard, part, row, doc_id, source, subset, language, and spans where there are cuts or replacements; they
    come sorted by shard, the part's place in the corpus, and row.
    """

    def pack(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        encoder = open_encoder(settings.spec, settings.tokenizer_path)
        current: _Shard | None = None
        for batch in batches:
            for shard, rows in _runs(batch, "shard"):
                if current is None or current.number != shard:
                    if current is not None:
                        yield _receipt(current.finish())
                    current = _Shard(shard, settings, encoder)
                for part, some in _runs(rows, schema.PART):
                    current.add(part, some)
        if current is not None:
            yield _receipt(current.finish())

    return pack


def read_rows(documents: str, rows: pa.RecordBatch) -> Iterator[str]:
    """Read the texts of some rows of document parts.

    Args:
        documents: folder of the document parts.
        rows: part, row and doc_id, sorted by part and row.
    """
    for name, some in _runs(rows, schema.PART):
        with storage.open_parquet(storage.join(documents, f"{name}.parquet")) as parquet:
            for texts, _ in read_members(parquet, some, name, ENCODE_BYTES):
                yield from texts.to_pylist()


def _receipt(receipt: dict[str, Any]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([{"receipt": json.dumps(receipt, sort_keys=True)}])


def _runs(batch: pa.RecordBatch, column: str) -> Iterator[tuple[Any, pa.RecordBatch]]:
    """Cut a batch where a sorted column changes."""
    start = 0
    values = batch.column(column)
    while start < batch.num_rows:
        value = values[start]
        same = pc.equal(values.slice(start), value)
        length = pc.index(same, False).as_py()
        length = batch.num_rows - start if length < 0 else length
        yield value.as_py(), batch.slice(start, length)
        start += length


class _Shard:
    """One shard being written."""

    def __init__(self, number: int, settings: PackSettings, encoder: Encoder) -> None:
        self.number = number
        self._settings = settings
        self._encoder = encoder
        self._name = shard_name(number)
        prefix = storage.join(settings.tokens, self._name)
        self._writer = IndexedWriter(prefix, token_dtype(encoder.vocab_size))
        self._map = TableWriter(
            storage.join(settings.tokens, "token_map", f"{self._name}.parquet"),
            schema.TOKEN_MAP,
            plain=(schema.DOC_ID,),
        )
        self._map.__enter__()
        self._part = ""
        self._parquet: pq.ParquetFile = None
        self._parts = ExitStack()  # the part that is open
        self._sequences = 0
        self._tokens = 0
        self._empty = 0
        self._by_group: Counter[tuple[str, str]] = Counter()
        self._documents: Counter[tuple[str, str]] = Counter()

    def add(self, part: str, rows: pa.RecordBatch) -> None:
        """Encode some rows of a part; rows ascend."""
        if part != self._part:
            self._parts.close()
            self._parquet = self._parts.enter_context(
                storage.open_parquet(storage.join(self._settings.documents, f"{part}.parquet"))
            )
            self._part = part
        for texts, some in read_members(self._parquet, rows, part, ENCODE_BYTES):
            self._encode(texts, some)

    def _encode(self, texts: pa.Array, rows: pa.RecordBatch) -> None:
        if "spans" in rows.schema.names:
            texts = _with_spans(texts, rows.column("spans"))
        ids, offsets = self._encoder.encode_batch(texts)
        lengths: NDArray[np.int64] = np.diff(offsets)
        full = lengths > 0  # a document without tokens gets no sequence, as in GPT-NeoX's preprocess_data
        if self._settings.append_eod:
            ids = np.insert(ids, offsets[1:][full], self._settings.spec.eod_id)
            lengths = lengths + full
        self._writer.append(ids, lengths[full])
        starts = self._tokens + np.cumsum(lengths) - lengths
        sequences = np.where(full, self._sequences + np.cumsum(full) - 1, -1)
        columns = {
            "shard": pa.array(np.full(len(lengths), self.number, np.int32)),
            "sequence": pa.array(sequences),
            "offset": pa.array(starts),
            "length": pa.array(lengths),
        }
        arrays = [columns[name] if name in columns else rows.column(name) for name in schema.TOKEN_MAP.names]
        self._map.append(pa.RecordBatch.from_arrays(arrays, schema=schema.TOKEN_MAP))
        groups = zip(rows.column(schema.SOURCE).to_pylist(), rows.column(schema.LANGUAGE).to_pylist(), strict=True)
        for (source, language), length in zip(groups, lengths.tolist(), strict=True):
            self._by_group[source, language or ""] += length
            self._documents[source, language or ""] += 1
        self._sequences += int(full.sum())
        self._tokens += int(lengths.sum())
        self._empty += int((~full).sum())

    def finish(self) -> dict[str, Any]:
        """Publish the files and return the shard's receipt."""
        self._parts.close()
        bin_file, idx_file = self._writer.close()
        self._map.__exit__(None, None, None)
        assert self._map.file is not None
        return {
            "shard": self.number,
            "name": self._name,
            "sequences": self._sequences,
            "tokens": self._tokens,
            "empty": self._empty,
            "groups": [
                [source, language, self._documents[source, language], tokens]
                for (source, language), tokens in sorted(self._by_group.items())
            ],
            "files": [
                [bin_file.path, bin_file.bytes, bin_file.sha256],
                [idx_file.path, idx_file.bytes, idx_file.sha256],
                [f"token_map/{self._map.file.path}", self._map.file.bytes, self._map.file.sha256],
            ],
        }


def _with_spans(texts: pa.Array, spans: pa.Array) -> pa.Array:
    """Apply the cut and replace decisions of each document that has any."""
    changed = [
        apply_spans(text.as_buffer(), [(s["start"], s["end"], s["replacement"]) for s in own.as_py()]).decode("utf-8")
        if own.is_valid
        else text.as_py()
        for text, own in zip(texts, spans, strict=True)
    ]
    return pa.array(changed, pa.string())
