"""The order in which training reads the shards: GPT-NeoX's three index arrays, bit for bit.

doc_idx is the shuffled stream of documents, sample_idx where each sequence begins in it, shuffle_idx the order of the
sequences. Everything follows from the documents' lengths and the seed. Memory: 4 bytes a document and epoch, 12 a
sequence.

Source: EleutherAI/gpt-neox, megatron/data/gpt2_dataset.py (_build_index_mappings) and helpers.cpp (build_sample_idx);
sequential_epochs: NVIDIA/Megatron-LM, megatron/data/gpt_dataset.py, separate_last_epoch.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numba import njit
from numpy.typing import NDArray

from redpajama_pipe import storage
from redpajama_pipe.errors import InputError, RecipeError
from redpajama_pipe.storage import File

Mode = Literal["joint_shuffle", "sequential_epochs"]
PARTS = ("doc_idx", "sample_idx", "shuffle_idx")


class Sequences(Protocol):
    """What a schedule reads from: `indexed.IndexedDataset` or `indexed.ShardedDataset`."""

    sizes: NDArray[np.int32]

    def get(self, sequence: int, offset: int = 0, length: int | None = None) -> NDArray[Any]: ...


@dataclass(frozen=True)
class Schedule:
    """One order of training.

    Attributes:
        doc_idx: (epochs * documents,) int32, the document at each position of the stream.
        sample_idx: (sequences + 1, 2) position in doc_idx and token offset at which each sequence begins; int32, or
            int64 where the array has 2**31 - 1 entries or more.
        shuffle_idx: (sequences,) the sequence that is read at each turn; uint32, or int64 from 2**32 - 2 on.
        seq_len: predicted tokens a sequence.
        num_samples: how many sequences were asked for.
        seed: of the shuffle.
        mode: see `build_index`.
        epochs: how many whole epochs the stream holds.
    """

    doc_idx: NDArray[np.int32]
    sample_idx: NDArray[Any]
    shuffle_idx: NDArray[Any]
    seq_len: int
    num_samples: int
    seed: int
    mode: Mode
    epochs: int

    def __len__(self) -> int:
        """How many sequences can be read: one less than there are, as in GPT-NeoX."""
        return len(self.shuffle_idx) - 1


@dataclass(frozen=True)
class Plan:
    """How long training is.

    Attributes:
        steps: optimiser steps.
        samples: sequences that are read: steps * batch_size.
        num_samples: sequences to ask `build_index` for: one more, for the one that GPT-NeoX's dataset loses.
    """

    steps: int
    samples: int
    num_samples: int


def plan_steps(epochs: float, tokens: int, seq_len: int, batch_size: int) -> Plan:
    """Turn a number of epochs into whole steps.

    An epoch gives (tokens - 1) // seq_len sequences, of which one is lost; steps are floor(epochs * sequences /
    batch_size), and at least 1. So `epochs: 1` never begins a second epoch when there is a whole batch. GPT-NeoX asks
    for 0.5 % more than it reads, which can bring a second epoch into the shuffle of the first; this does not.

    Args:
        epochs: more than 0; 1.5 is taken as the decimal number that it is.
        tokens: in all documents, end-of-document tokens included.

    Raises:
        RecipeError: epochs is not positive, or there are too few tokens for two sequences.
    """
    if not epochs > 0 or not math.isfinite(epochs):
        raise RecipeError(f"schedule.epochs is {epochs}; give a number above 0")
    sequences = (tokens - 1) // seq_len - 1
    if sequences < 1:
        raise RecipeError(
            f"{tokens} tokens make no schedule: two sequences of {seq_len} need {2 * seq_len + 1}; "
            "keep more text or lower schedule.seq_len"
        )
    steps = max(1, math.floor(Fraction(str(epochs)) * sequences / batch_size))
    return Plan(steps, steps * batch_size, steps * batch_size + 1)


def build_index(
    sizes: NDArray[np.int32], seq_len: int, num_samples: int, seed: int, mode: Mode = "joint_shuffle"
) -> Schedule:
    """Build a schedule of at least `num_samples` sequences.

    `joint_shuffle` is GPT-NeoX's: as many whole epochs as it takes, shuffled as one. A run of 1.5 epochs is two epochs
    shuffled together and cut short: some documents are read twice before others are read once, or never are.
    `sequential_epochs` shuffles the last epoch by itself and reads it after the others: every document is read once
    before half of them are read again. Megatron-LM does so when the last epoch is less than 80 % used; here always.
    The epochs before the last are shuffled together, there and here.

    Args:
        sizes: (documents,) tokens in each; every sequence of the shards is a document.
        seq_len: predicted tokens a sequence; each has one id more, which the next one begins with.
        num_samples: sequences wanted; another number gives another order of everything.
        seed: of NumPy's RandomState (MT19937).

    Raises:
        InputError: there are too few tokens for one sequence.
    """
    tokens = int(sizes.sum(dtype=np.int64))
    if tokens <= seq_len or num_samples < 1:
        raise InputError(f"{tokens} tokens do not make {num_samples} sequences of {seq_len}")
    epochs = max(1, -(-(num_samples * seq_len + 1) // tokens))
    sequences = (epochs * tokens - 1) // seq_len
    generator = np.random.RandomState(seed)  # the published order rests on the legacy generator
    separate = mode == "sequential_epochs" and epochs > 1
    groups = (epochs - 1, 1) if separate else (epochs,)
    streams = [np.tile(np.arange(len(sizes), dtype=np.int32), group) for group in groups]
    for stream in streams:
        generator.shuffle(stream)
    doc_idx = np.concatenate(streams) if separate else streams[0]
    sample_idx = np.zeros((sequences + 1, 2), _sample_dtype(sequences))
    _fill_sample_idx(sizes, doc_idx, seq_len, sample_idx)
    shuffle_idx = np.arange(sequences, dtype=_shuffle_dtype(sequences))
    border = ((epochs - 1) * tokens - 1) // seq_len if separate else sequences
    generator.shuffle(shuffle_idx[:border])
    if separate:
        generator.shuffle(shuffle_idx[border:])
    return Schedule(doc_idx, sample_idx, shuffle_idx, seq_len, num_samples, seed, mode, epochs)


def _sample_dtype(sequences: int) -> np.dtype[Any]:
    return np.dtype("<i4") if 2 * (sequences + 1) < np.iinfo(np.int32).max else np.dtype("<i8")


def _shuffle_dtype(sequences: int) -> np.dtype[Any]:
    return np.dtype("<u4") if sequences < np.iinfo(np.uint32).max - 1 else np.dtype("<i8")


@njit(cache=True, nogil=True)
def _fill_sample_idx(
    sizes: NDArray[np.int32], doc_idx: NDArray[np.int32], seq_len: int, sample_idx: NDArray[Any]
) -> None:
    position = 0
    offset = 0
    for row in range(1, len(sample_idx)):
        # seq_len + 1 ids are taken, and the last one is given back: the next sequence begins with it.
        need = seq_len + 1
        while need > 0:
            left = sizes[doc_idx[position]] - offset
            if left >= need:
                offset += need - 1
                need = 0
            else:
                need -= left
                position += 1
                offset = 0
        sample_idx[row, 0] = position
        sample_idx[row, 1] = offset


def sample(schedule: Schedule, dataset: Sequences, turn: int) -> NDArray[np.int64]:
    """Read the sequence of one turn.

    Returns:
        (seq_len + 1,) ids: all but the last are inputs, all but the first are labels. Documents follow each other
        without padding.

    Raises:
        IndexError: `turn` is not in 0 … len(schedule) - 1; never wraps around.
        InputError: the schedule was not built for these shards.
    """
    if not 0 <= turn < len(schedule):
        raise IndexError(f"turn {turn} of a schedule of {len(schedule)}")
    row = int(schedule.shuffle_idx[turn])
    first, begin = map(int, schedule.sample_idx[row])
    last, end = map(int, schedule.sample_idx[row + 1])
    pieces = []
    try:
        for position in range(first, last + 1):
            start = begin if position == first else 0
            length = end + 1 - start if position == last else None
            pieces.append(dataset.get(int(schedule.doc_idx[position]), start, length))
    except IndexError as error:
        raise InputError(f"the schedule was built for other shards: {error}") from error
    ids = np.concatenate(pieces).astype(np.int64)
    if len(ids) != schedule.seq_len + 1:
        raise InputError(f"the schedule was built for other shards: turn {turn} has {len(ids)} ids")
    return ids


@dataclass(frozen=True)
class Exposure:
    """How much of each document some turns read.

    A sequence reads its seq_len inputs; the one id more is the next sequence's first input. So no token is counted
    twice in one pass, and all counts add up to turns * seq_len.

    Attributes:
        tokens: (documents,) int64, tokens read as inputs, repetitions counted.
        first_token: (documents,) int64, how often the document's first token was an input.
        times: (documents,) tokens / size: 1.5 is one and a half readings; NaN for a document without tokens.
    """

    tokens: NDArray[np.int64]
    first_token: NDArray[np.int64]
    times: NDArray[np.float64]


def exposure(schedule: Schedule, sizes: NDArray[np.int32], turns: int) -> Exposure:
    """Count what the first `turns` turns read of each document.

    Raises:
        IndexError: the schedule has fewer turns.
    """
    if not 0 <= turns <= len(schedule):
        raise IndexError(f"{turns} turns of a schedule of {len(schedule)}")
    read = np.zeros(len(schedule.shuffle_idx) + 1, np.int64)
    read[schedule.shuffle_idx[:turns].astype(np.int64) + 1] = 1
    np.cumsum(read, out=read)  # read[j]: how many of the first j sequences are read
    tokens, first = np.zeros(len(sizes), np.int64), np.zeros(len(sizes), np.int64)
    _expose(sizes, schedule.doc_idx, schedule.seq_len, read, tokens, first)
    times = np.full(len(sizes), np.nan)
    np.divide(tokens, sizes, out=times, where=sizes > 0)
    return Exposure(tokens, first, times)


@njit(cache=True, nogil=True)
def _expose(
    sizes: NDArray[np.int32],
    doc_idx: NDArray[np.int32],
    seq_len: int,
    read: NDArray[np.int64],
    tokens: NDArray[np.int64],
    first: NDArray[np.int64],
) -> None:
    sequences = len(read) - 1
    at = 0  # of the stream of all documents
    before = 0  # tokens read in front of it
    for position in range(len(doc_idx)):
        document = doc_idx[position]
        size = sizes[document]
        own = at // seq_len
        if size > 0 and own < sequences:
            first[document] += read[own + 1] - read[own]
        at += size
        row = min(at // seq_len, sequences)
        after = read[row] * seq_len
        if row < sequences:
            after += (read[row + 1] - read[row]) * (at - row * seq_len)
        tokens[document] += after - before
        before = after


def index_names(schedule: Schedule, prefix: str = "train_0") -> dict[str, str]:
    """Name the three files as GPT-NeoX does."""
    stem = f"{prefix}_indexmap_{schedule.num_samples}ns_{schedule.seq_len}sl_{schedule.seed}s"
    return {part: f"{stem}_{part}.npy" for part in PARTS}


def write_schedule(
    folder: str | Path, schedule: Schedule, extra: Mapping[str, Any] | None = None, prefix: str = "train_0"
) -> list[File]:
    """Write the three arrays and schedule.json, which names them, into a folder of their own.

    Args:
        folder: path or URL.
        schedule: what `build_index` gave.
        extra: more to say in schedule.json, such as steps and batch_size.
        prefix: of the arrays' names.

    Returns:
        The files written, schedule.json last.
    """
    names = index_names(schedule, prefix)
    files = []
    for part in PARTS:
        with storage.create(storage.join(str(folder), names[part])) as file:
            np.lib.format.write_array(file, getattr(schedule, part), version=(1, 0), allow_pickle=False)
        files.append(File(names[part], file.size, file.hexdigest()))
    described = {
        **(extra or {}),
        "seq_len": schedule.seq_len,
        "num_samples": schedule.num_samples,
        "seed": schedule.seed,
        "mode": schedule.mode,
        "epochs_in_stream": schedule.epochs,
        "turns": len(schedule),
        "files": {part: {"name": file.path, "sha256": file.sha256} for part, file in zip(PARTS, files, strict=True)},
    }
    text = json.dumps(described, indent=1, sort_keys=True) + "\n"
    return [*files, storage.write_bytes(storage.join(str(folder), "schedule.json"), text.encode())]


def read_schedule(folder: str | Path) -> Schedule:
    """Map a schedule that `write_schedule` wrote to a local folder; the arrays are read as they are used.

    Raises:
        InputError: schedule.json or an array is missing or damaged.
    """
    folder = Path(folder)
    try:
        described = json.loads((folder / "schedule.json").read_text(encoding="utf-8"))
        arrays = {part: np.load(folder / described["files"][part]["name"], mmap_mode="r") for part in PARTS}
        return Schedule(
            **arrays,
            **{key: described[key] for key in ("seq_len", "num_samples", "seed", "mode")},
            epochs=described["epochs_in_stream"],
        )
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise InputError(f"no usable schedule in {folder}: {error}; write it again") from error
