"""The order in which training reads the shards: GPT-NeoX's three index arrays, bit for bit.

doc_idx is the shuffled stream of documents, sample_idx where each sequence begins in it, shuffle_idx the order of the
sequences. Everything follows from the documents' lengths and the seed. Memory: 4 bytes a document and epoch, 12 a
sequence.

Source: EleutherAI/gpt-neox, megatron/data/gpt2_dataset.py (_build_index_mappings) and helpers.cpp (build_sample_idx);
mode megatron: NVIDIA/Megatron-LM, megatron/core/datasets/gpt_dataset.py (_build_document_sample_shuffle_indices).
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from redpajama_pipe import storage
from redpajama_pipe.errors import InputError, RecipeError
from redpajama_pipe.storage import File

if TYPE_CHECKING:
    from redpajama_pipe.tokens.shuffle import LegacyShuffler

Mode = Literal["joint_shuffle", "megatron", "sequential_epochs"]
PARTS = ("doc_idx", "sample_idx", "shuffle_idx")
BLOCK = 512  # lengths read ahead


@dataclass(frozen=True)
class Schedule:
    """One order of training.

    Attributes:
        doc_idx: (epochs * documents,) int32, the document at each position of the stream.
        sample_idx: (sequences + 1, 2) position in doc_idx and token offset at which each sequence begins; int32, or
            int64, see `_sample_dtype`.
        shuffle_idx: (sequences,) the sequence that is read at each turn; uint32, or int64 from 2**32 - 2 on.
        seq_len: predicted tokens a sequence.
        num_samples: how many sequences were asked for.
        seed: of the shuffle.
        mode: see `build_index`.
        epochs: how many whole epochs the stream holds.
        separated: the last of them is shuffled by itself and read last.
    """

    doc_idx: NDArray[np.int32]
    sample_idx: NDArray[Any]
    shuffle_idx: NDArray[Any]
    seq_len: int
    num_samples: int
    seed: int
    mode: Mode
    epochs: int
    separated: bool = False

    def __len__(self) -> int:
        """How many sequences can be read: in GPT-NeoX one less than there are, in Megatron all."""
        return len(self.shuffle_idx) - unread_sequences(self.mode)

    @property
    def documents(self) -> int:
        """How many documents an epoch has."""
        return len(self.doc_idx) // self.epochs


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
    sequences = (tokens - 1) // seq_len - 1
    if sequences < 1:
        raise RecipeError(
            f"{tokens} tokens make no schedule: two sequences of {seq_len} need {2 * seq_len + 1}; "
            "keep more text or lower schedule.seq_len"
        )
    steps = max(1, take_epochs(epochs, sequences) // batch_size)
    return Plan(steps, steps * batch_size, steps * batch_size + 1)


def take_epochs(epochs: float, sequences: int) -> int:
    """Return how many whole sequences so many epochs have; 1.5 is taken as the decimal number that it is.

    Raises:
        RecipeError: epochs is not positive.
    """
    if not epochs > 0 or not math.isfinite(epochs):
        raise RecipeError(f"schedule.epochs is {epochs}; give a number above 0")
    return math.floor(Fraction(str(epochs)) * sequences)


def unread_sequences(mode: Mode) -> int:
    """Return how many of the sequences there are can never be read: GPT-NeoX's dataset loses one."""
    return 0 if mode == "megatron" else 1


def count_epochs(tokens: int, seq_len: int, num_samples: int) -> int:
    """Return the least number of whole epochs that hold so many sequences."""
    return max(1, -(-(num_samples * seq_len + 1) // tokens))


def build_index(
    sizes: NDArray[np.int32],
    seq_len: int,
    num_samples: int,
    seed: int,
    mode: Mode = "joint_shuffle",
    separate_below: float = 0.8,
) -> Schedule:
    """Build a schedule of at least `num_samples` sequences.

    `joint_shuffle` is GPT-NeoX's: as many whole epochs as it takes, shuffled as one. A run of 1.5 epochs is two epochs
    shuffled together and cut short: some documents are read twice before others are read once, or never are.
    `megatron` is Megatron-LM's: when less than `separate_below` of the last epoch is used, that epoch is shuffled by
    itself and read after the others, so that every document is read before one comes back; otherwise as joint_shuffle.
    `sequential_epochs` always shuffles the last epoch by itself. The epochs before the last are shuffled together in
    every mode.

    Args:
        sizes: (documents,) tokens in each; every sequence of the shards is a document.
        seq_len: predicted tokens a sequence; each has one id more, which the next one begins with.
        num_samples: sequences wanted; another number gives another order of everything.
        seed: of NumPy's RandomState (MT19937).
        separate_below: 0.8 in NVIDIA/Megatron-LM, 0.95 in bigscience-workshop/Megatron-DeepSpeed
            (megatron/data/gpt_dataset.py, cutoff_last_epoch); read in mode megatron alone.

    Raises:
        InputError: there are too few tokens for one sequence, or more documents than int32 counts.
    """
    from redpajama_pipe.tokens.index_kernels import fill_sample_idx
    from redpajama_pipe.tokens.shuffle import LegacyShuffler

    tokens = int(sizes.sum(dtype=np.int64))
    if tokens <= seq_len or num_samples < 1:
        raise InputError(f"{tokens} tokens do not make {num_samples} sequences of {seq_len}")
    if len(sizes) > np.iinfo(np.int32).max:
        raise InputError(f"{len(sizes):,} documents: doc_idx is int32, so a schedule has at most {2**31 - 1:,}")
    epochs = count_epochs(tokens, seq_len, num_samples)
    sequences = (epochs * tokens - 1) // seq_len
    border = ((epochs - 1) * tokens - 1) // seq_len  # whole sequences before the last epoch
    separate = separates_last_epoch(mode, tokens, seq_len, num_samples, separate_below)
    generator = LegacyShuffler(seed)  # one for all: each shuffle goes on where the last one stopped
    doc_idx = np.empty(epochs * len(sizes), np.int32)
    doc_idx.reshape(epochs, -1)[:] = np.arange(len(sizes), dtype=np.int32)
    _shuffle(generator, doc_idx, (epochs - 1) * len(sizes) if separate else 0)
    sample_idx = np.zeros((sequences + 1, 2), _sample_dtype(sequences, len(doc_idx), mode))
    fill_sample_idx(sizes, doc_idx, seq_len, sample_idx, np.empty(BLOCK, np.int32))
    shuffle_idx = np.arange(sequences, dtype=_shuffle_dtype(sequences))
    _shuffle(generator, shuffle_idx, border if separate else 0)
    return Schedule(doc_idx, sample_idx, shuffle_idx, seq_len, num_samples, seed, mode, epochs, separate)


def separates_last_epoch(mode: Mode, tokens: int, seq_len: int, num_samples: int, separate_below: float = 0.8) -> bool:
    """Say whether the last epoch is shuffled by itself; arguments as `build_index` has them."""
    epochs = count_epochs(tokens, seq_len, num_samples)
    used = num_samples - ((epochs - 1) * tokens - 1) // seq_len
    little = used < int(separate_below * ((tokens - 1) // seq_len))
    return epochs > 1 and (mode == "sequential_epochs" or (mode == "megatron" and little))


def _shuffle(generator: LegacyShuffler, items: NDArray[Any], border: int) -> None:
    """Shuffle what lies before the border, then the rest."""
    generator.shuffle(items[:border])
    generator.shuffle(items[border:])


def _sample_dtype(sequences: int, positions: int, mode: Mode) -> np.dtype[Any]:
    """Choose int32 or int64 as the published tools do, and int64 where positions in doc_idx would overflow.

    GPT-NeoX looks at the number of entries alone. So many short documents that doc_idx passes 2**31 positions while
    sample_idx stays smaller overflow there: the positions turn negative. Megatron-Core looks at the positions.
    """
    limit = np.iinfo(np.int32).max
    small = positions <= limit and (mode == "megatron" or 2 * (sequences + 1) < limit)
    return np.dtype("<i4") if small else np.dtype("<i8")


def _shuffle_dtype(sequences: int) -> np.dtype[Any]:
    return np.dtype("<u4") if sequences < np.iinfo(np.uint32).max - 1 else np.dtype("<i8")


def index_names(schedule: Schedule, prefix: str = "train_0", infix: str = "") -> dict[str, str]:
    """Name the three files as GPT-NeoX does; its head has an infix after the seed."""
    stem = f"{prefix}_indexmap_{schedule.num_samples}ns_{schedule.seq_len}sl_{schedule.seed}s{infix}"
    return {part: f"{stem}_{part}.npy" for part in PARTS}


def write_index(folder: str | Path, schedule: Schedule, prefix: str) -> tuple[dict[str, Any], list[File]]:
    """Write the three arrays; returns what schedule.json is to say of them, and the files."""
    names = index_names(schedule, prefix)
    files = [write_array(folder, names[part], getattr(schedule, part)) for part in PARTS]
    described = {
        "seq_len": schedule.seq_len,
        "num_samples": schedule.num_samples,
        "seed": schedule.seed,
        "mode": schedule.mode,
        "epochs_in_stream": schedule.epochs,
        "turns": len(schedule),
        "files": {part: name_file(file) for part, file in zip(PARTS, files, strict=True)},
    }
    if schedule.mode == "megatron":
        described["last_epoch_separated"] = schedule.separated
    return described, files


def write_array(folder: str | Path, name: str, array: NDArray[Any]) -> File:
    """Write one array as np.save does."""
    with storage.create(storage.join(str(folder), name)) as file:
        np.lib.format.write_array(file, array, version=(1, 0), allow_pickle=False)
    return File(name, file.size, file.hexdigest())


def write_description(folder: str | Path, described: Mapping[str, Any]) -> File:
    """Write schedule.json."""
    text = json.dumps(described, indent=1, sort_keys=True) + "\n"
    return storage.write_bytes(storage.join(str(folder), "schedule.json"), text.encode())


def name_file(file: File) -> dict[str, str]:
    """Return how schedule.json names a file."""
    return {"name": file.path, "sha256": file.sha256}


def read_description(folder: str | Path) -> dict[str, Any]:
    """Read schedule.json."""
    described: dict[str, Any] = json.loads(storage.read_bytes(storage.join(str(folder), "schedule.json")))
    return described


def map_index(folder: str | Path, described: Mapping[str, Any]) -> Schedule:
    """Map the three arrays that `write_index` described."""
    doc_idx, sample_idx, shuffle_idx = (map_array(folder, described, part) for part in PARTS)
    return Schedule(
        doc_idx,
        sample_idx,
        shuffle_idx,
        **{key: described[key] for key in ("seq_len", "num_samples", "seed", "mode")},
        epochs=described["epochs_in_stream"],
        separated=described.get("last_epoch_separated", described["mode"] == "sequential_epochs"),
    )


def map_array(folder: str | Path, described: Mapping[str, Any], part: str) -> NDArray[Any]:
    """Map one array that schedule.json names."""
    return load_array(storage.join(str(folder), described["files"][part]["name"]))


def load_array(path: str) -> NDArray[Any]:
    """Map an array of a local disk; read the whole of it from anywhere else."""
    if "://" in path:
        return cast("NDArray[Any]", np.load(io.BytesIO(storage.read_bytes(path))))
    # a plain array over the same map: reading one value of a numpy.memmap takes several times as long
    return np.asarray(np.load(path, mmap_mode="r"))


@contextmanager
def usable(folder: str | Path) -> Iterator[None]:
    """Say in one line that a schedule is missing or damaged."""
    try:
        yield
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise InputError(f"no usable schedule in {folder}: {error}; write it again") from error
