"""A run's tokens/ and schedule/, made without the stages: the files that loader, exposures and view read."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from redpajama_pipe import manifest, schema
from redpajama_pipe.storage import File
from redpajama_pipe.tables import TableWriter
from redpajama_pipe.tokens.indexed import IndexedWriter, ShardedDataset
from redpajama_pipe.tokens.lookup import write_lookup
from redpajama_pipe.tokens.order import Order, Part, write_order
from redpajama_pipe.tokens.schedule import Mode, Schedule, build_index, plan_steps

SOURCES = ("crawl", "pile", "wiki")
LANGUAGES = ("en", None, "de", "fr")


def doc_id(number: int) -> bytes:
    return hashlib.md5(str(number).encode()).digest()


def made_ids(sizes: Sequence[int], salt: int = 0) -> list[NDArray[np.int64]]:
    """Ids that say which document and which token they are, as far as 16 bits go."""
    return [(number * 1009 + salt + np.arange(size)) % 60_000 for number, size in enumerate(sizes)]


def make_run(
    folder: Path,
    shards: Sequence[Sequence[NDArray[Any]]],
    *,
    seq_len: int = 4,
    batch_size: int = 4,
    epochs: Sequence[float] = (1.0, 1.5),
    mode: Mode = "joint_shuffle",
    seed: int = 1234,
    spec: dict[str, Any] | None = None,
    files: Sequence[File] = (),
    lookup: bool = False,
    rows_per_group: int = 65_536,
    subsets: Sequence[str | None] = (),
) -> Path:
    """Write a run.

    Args:
        shards: the ids of each document of each shard; a document without ids gets a row in the token map only.
        files: more that tokens/ holds already.
        lookup: write the inverse arrays too.
        subsets: of the documents, those without ids counted; none where it is empty.
    """
    tokens, schedule = folder / "tokens", folder / "schedule"
    receipts: list[dict[str, Any]] = []
    found, first = list(files), 0
    for number, documents in enumerate(shards):
        name = f"shard-{number:05d}"
        full = [ids for ids in documents if len(ids)]
        writer = IndexedWriter(tokens / name, np.dtype("<u2"))
        writer.append(np.concatenate([np.zeros(0, np.int64), *full]), np.array([len(ids) for ids in full], np.int64))
        found += writer.close()
        lengths = np.array([len(ids) for ids in documents], np.int64)
        numbers = range(first, first + len(documents))
        columns = {
            "doc_id": [doc_id(at) for at in numbers],
            "shard": [number] * len(documents),
            "sequence": np.where(lengths > 0, np.cumsum(lengths > 0) - 1, -1).tolist(),
            "offset": (np.cumsum(lengths) - lengths).tolist(),
            "length": lengths.tolist(),
            "source": [SOURCES[at % 3] for at in numbers],
            "subset": [subsets[at] if subsets else None for at in numbers],
            "language": [LANGUAGES[at % 4] for at in numbers],
            "part": [f"part-{number}"] * len(documents),
            "row": list(range(len(documents))),
        }
        path = str(tokens / "token_map" / f"{name}.parquet")
        with TableWriter(path, schema.TOKEN_MAP, rows_per_group, plain=(schema.DOC_ID,)) as table:
            table.append(pa.RecordBatch.from_pydict(columns, schema=schema.TOKEN_MAP))
        assert table.file is not None
        found.append(File(f"token_map/{table.file.path}", table.file.bytes, table.file.sha256))
        receipts.append({"name": name, "sequences": len(full), "tokens": int(lengths.sum())})
        first += len(documents)
    total = sum(receipt["tokens"] for receipt in receipts)
    packed = manifest.write(str(tokens), "tokenize", {}, {"spec": spec}, {"shards": receipts, "tokens": total}, found)
    names = [receipt["name"] for receipt in receipts]
    sizes = ShardedDataset([tokens / name for name in names]).sizes
    written: list[File] = []
    schedules = []
    for each in epochs:
        plan = plan_steps(each, total, seq_len, batch_size)
        index = build_index(sizes, seq_len, plan.num_samples, seed, mode)
        name = f"{each:g}_epochs"
        extra = {"epochs": each, "steps": plan.steps, "batch_size": batch_size, "samples": plan.samples}
        order = Order((Part(index),))
        some = write_order(schedule / name, order, {**extra, "shards": names})
        some += write_lookup(schedule / name, order) if lookup else []
        written += [File(f"{name}/{file.path}", file.bytes, file.sha256) for file in some]
        schedules.append({"epochs": each, "mode": mode, "folder": name, "steps": plan.steps})
    manifest.write(str(schedule), "schedule", {"tokens": packed.hash}, {}, {"schedules": schedules}, written)
    return folder


def sequence_of(schedule: Schedule, dataset: Any, turn: int) -> NDArray[np.int64]:
    """The ids of a turn, piece by piece as GPT-NeoX reads them: all but the last are inputs, all but the first labels.

    Source: EleutherAI/gpt-neox, megatron/data/gpt2_dataset.py, GPT2Dataset.__getitem__.
    """
    row = schedule.shuffle_idx[turn]
    (first, begin), (last, end) = schedule.sample_idx[row].tolist(), schedule.sample_idx[row + 1].tolist()
    pieces = []
    for position in range(first, last + 1):
        start = begin if position == first else 0
        length = end + 1 - start if position == last else None
        pieces.append(dataset.get(int(schedule.doc_idx[position]), start, length))
    return np.concatenate(pieces).astype(np.int64)
