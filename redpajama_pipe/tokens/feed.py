"""A schedule for GPT-NeoX and Megatron-LM: a pair of files for each source, the order, and the settings that read it.

GPT-NeoX loads doc_idx, sample_idx and shuffle_idx from beside the data, by a name that follows from its settings, so it
reads any order of concatenated documents that lies there. Which data set of a blend each turn reads it works out
itself; that is compared with the schedule before anything is written. Megatron-LM builds everything itself, so only an
order that it will build is written. Cost: the shards, and for GPT-NeoX the arrays, are copied once, in blocks.

Source: EleutherAI/gpt-neox, megatron/data/gpt2_dataset.py (_build_index_mappings), data_utils.py
(build_weighted_datasets, get_normalized_weights_and_num_samples) and blendable_dataset.py; NVIDIA/Megatron-LM,
megatron/core/datasets/blended_megatron_dataset_builder.py and gpt_dataset.py.
"""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import yaml
from numpy.typing import NDArray

from redpajama_pipe import storage
from redpajama_pipe.errors import InputError
from redpajama_pipe.storage import File
from redpajama_pipe.tokens import blend
from redpajama_pipe.tokens.export import write_documents
from redpajama_pipe.tokens.indexed import ShardedDataset
from redpajama_pipe.tokens.order import Order
from redpajama_pipe.tokens.packing import PackedSchedule
from redpajama_pipe.tokens.reader import SequenceReader
from redpajama_pipe.tokens.schedule import PARTS, Mode, Schedule, index_names, separates_last_epoch, write_array

Release = Literal["neox_head", "neox_v1.0"]
# what GPT-NeoX's head puts into the arrays' names: packing implementation `packed`, chopped documents allowed
INFIX = {"neox_head": "_packedpi_ac", "neox_v1.0": ""}


def write_neox(reader: SequenceReader, target: str, release: Release = "neox_head") -> list[File]:
    """Write what GPT-NeoX needs to read a schedule, batch for batch.

    The pair TARGET.bin and .idx, of a blend TARGET_0_name.bin and .idx, …; beside each pair its three arrays, under the
    number of sequences that GPT-NeoX will ask for, whatever they were made for; TARGET.yml.

    Args:
        reader: what `reader.open_run` gave.
        target: path or URL without a suffix; TARGET.yml names the pairs by it, made absolute.
        release: of GPT-NeoX: its head, or v1.0, with which Pythia was trained.

    Returns:
        The files, TARGET.yml last.

    Raises:
        InputError: the sequences are packed, or GPT-NeoX would choose other data sets at some turns.
    """
    order = _concatenated(reader)
    weights = [part.weight for part in order.parts]
    shares = blend.normalize(weights, "joint_shuffle")
    if not _same_choices(order, shares, reader.samples, "joint_shuffle"):
        raise InputError(
            f"GPT-NeoX would choose other data sets than {reader.schedule} at some turns, which is in mode "
            f"{order.mode}; give schedule.mode: joint_shuffle"
        )
    asked = blend.requests(shares, reader.samples, "joint_shuffle")
    pairs, files = _write_pairs(reader, order, target)
    needed = order.count_turns(reader.samples)
    for number, (part, pair) in enumerate(zip(order.parts, pairs, strict=True)):
        index = replace(_with_last(part.stream, needed[number]), num_samples=asked[number])
        folder, stem = pair.rsplit("/", 1)
        names = index_names(index, f"{stem}_train_{number}", INFIX[release])
        files += [write_array(folder, names[name], getattr(index, name)) for name in PARTS]
    settings = {
        "train-data-paths": pairs,
        "train-data-weights": weights,
        "valid-data-paths": pairs[:1],
        "valid-data-weights": [1.0],
        "test-data-paths": pairs[:1],
        "test-data-weights": [1.0],
        "data-impl": "mmap",
        "weight-by-num-documents": False,
        "seq-length": reader.seq_len,
        "train-iters": reader.steps,
        "train-batch-size": reader.batch_size,
        "seed": order.parts[0].stream.seed,
    }
    path = storage.absolute(target) + ".yml"
    lines = [
        f"# {reader.steps} steps of {reader.batch_size} sequences for GPT-NeoX ({release}); the last file of settings:",
        f"#   python deepy.py train.py MODEL.yml {path}",
        "# valid and test name documents that are trained on: put held-out ones there, or set eval-iters to 0.",
    ]
    if not _same_from_python_312(order, weights, asked, reader.samples):
        lines.append(
            "# Needs Python 3.11 or older: later, sum() of these weights rounds otherwise, and the order is another."
        )
    text = "\n".join(lines) + "\n" + yaml.safe_dump(settings, sort_keys=False, width=100, allow_unicode=True)
    return [*files, storage.write_bytes(path, text.encode())]


def write_megatron(reader: SequenceReader, target: str) -> list[File]:
    """Write what Megatron-LM needs to read a schedule, batch for batch: pairs as `write_neox` does, and TARGET.args.

    Args:
        reader: what `reader.open_run` gave.
        target: path or URL without a suffix; TARGET.args names the pairs by it, made absolute.

    Returns:
        The files, TARGET.args last: command-line arguments of pretrain_gpt.py.

    Raises:
        InputError: the sequences are packed, or Megatron-LM would build another order.
    """
    order = _concatenated(reader)
    weights = [part.weight for part in order.parts]
    shares, asked = [1.0], [reader.samples]
    if order.dataset_index is not None:
        shares = blend.normalize(weights, "megatron")
        asked = blend.requests(shares, reader.samples, "megatron")
    dataset = _dataset(reader)
    for part, samples in zip(order.parts, asked, strict=True):
        index, tokens = part.stream, int(part.gather(dataset.sizes).sum(dtype=np.int64))
        separated = separates_last_epoch("megatron", tokens, index.seq_len, samples)
        if index.num_samples != samples or index.separated != separated:
            raise InputError(
                f"Megatron-LM would build another order than {reader.schedule}: of {part.name or 'the corpus'} it asks "
                f"for {samples} sequences, and that was made for {index.num_samples} in mode {index.mode}; give "
                "schedule.steps and schedule.mode: megatron"
            )
    if not _same_choices(order, shares, reader.samples, "megatron"):
        raise InputError(
            f"Megatron-LM would choose other data sets than {reader.schedule} at some turns, which is in mode "
            f"{order.mode}; give schedule.mode: megatron"
        )
    pairs, files = _write_pairs(reader, order, target)
    path = [str(word) for entry in zip(weights, pairs, strict=True) for word in entry]
    options = {
        "data-path": " ".join(pairs if order.dataset_index is None else path),
        "split": "1,0,0",
        "seq-length": reader.seq_len,
        "train-iters": reader.steps,
        "global-batch-size": reader.batch_size,
        "seed": order.parts[0].stream.seed,
    }
    text = "".join(f"--{name} {value}\n" for name, value in options.items())
    return [*files, storage.write_bytes(storage.absolute(target) + ".args", text.encode())]


def _concatenated(reader: SequenceReader) -> Order:
    if isinstance(reader.order.parts[0].schedule, PackedSchedule):
        raise InputError(
            f"{reader.schedule} packs documents ({reader.packing}), which no index of GPT-NeoX or Megatron-LM can say; "
            "export --layout preshuffled, or give schedule.packing: concat"
        )
    return reader.order


def _dataset(reader: SequenceReader) -> ShardedDataset:
    return ShardedDataset([storage.join(reader.tokens, name) for name in reader.shards])


def _write_pairs(reader: SequenceReader, order: Order, target: str) -> tuple[list[str], list[File]]:
    """Write a pair for each part; returns their paths without suffix, and the files."""
    dataset, stem = _dataset(reader), storage.absolute(target)
    pairs: list[str] = []
    files: list[File] = []
    for number, part in enumerate(order.parts):
        documents: NDArray[Any] | None = part.documents
        if documents is None and part.stream.documents < len(dataset):
            documents = np.arange(part.stream.documents)  # of a split
        name = re.sub(r"[^A-Za-z0-9._-]+", "_", part.name)  # pairs stand in argument lists
        pairs.append(stem if order.dataset_index is None else f"{stem}_{number}_{name}")
        files += write_documents(dataset, documents, pairs[-1])
    return pairs, files


def _same_choices(order: Order, shares: list[float], samples: int, mode: Mode) -> bool:
    """Say whether a trainer that has these shares reads the same data set at each turn."""
    if order.dataset_index is None:
        return True
    dataset_index, _ = blend.blending_indices(shares, samples, mode)
    return np.array_equal(dataset_index, order.dataset_index[:samples])


def _same_from_python_312(order: Order, weights: list[float], asked: list[int], samples: int) -> bool:
    """Say whether GPT-NeoX does the same where sum() of floats makes up for rounding."""
    total = math.fsum(weights)
    shares = [weight / total for weight in weights]
    same = blend.requests(shares, samples, "joint_shuffle") == asked
    return same and _same_choices(order, shares, samples, "joint_shuffle")


def _with_last(index: Schedule, needed: int) -> Schedule:
    """Return a schedule whose last sequence GPT-NeoX reads too: it leaves out the last entries, so they come twice."""
    if len(index.shuffle_idx) > needed:
        return index
    last: Any = slice(-1, None)
    return replace(
        index,
        sample_idx=np.concatenate([index.sample_idx, index.sample_idx[last]]),
        shuffle_idx=np.concatenate([index.shuffle_idx, index.shuffle_idx[last]]),
    )
