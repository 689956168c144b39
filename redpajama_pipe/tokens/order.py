"""The order of training as a recipe asks for it: one schedule of all documents, or a blend of one for each source.

A blend copies no tokens: each of its data sets is a list of sequences of the shards, ascending, however sources lie in
them. Turn i reads turn dataset_sample_index[i] of data set dataset_index[i]. Memory: as `build_index` for each data
set, 4 bytes a document more, 9 a turn.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from redpajama_pipe.errors import RecipeError
from redpajama_pipe.settings.tokens import Schedule as Settings
from redpajama_pipe.storage import File
from redpajama_pipe.tokens import blend
from redpajama_pipe.tokens.packing import (
    PackedSchedule,
    build_packed,
    check_packing,
    map_packed,
    packed_exposure,
    write_packed,
)
from redpajama_pipe.tokens.schedule import (
    Mode,
    Plan,
    Schedule,
    build_index,
    count_epochs,
    map_array,
    map_index,
    name_file,
    plan_steps,
    read_description,
    unread_sequences,
    usable,
    write_array,
    write_description,
    write_index,
)

if TYPE_CHECKING:
    from redpajama_pipe.tokens.reading_counts import Exposure

T = TypeVar("T", bound=np.generic)
BLENDED = ("dataset_index", "dataset_sample_index")


@dataclass(frozen=True)
class Part:
    """One data set of an order.

    Attributes:
        schedule: its own; its documents are counted from 0. A blend has no packed ones.
        documents: (documents,) int32, which sequence of the shards each of them is, ascending; None: the same number.
        name: of the source or subset; empty: all documents.
        weight: as the recipe gives it.
        prefix: of its arrays' names.
    """

    schedule: Schedule | PackedSchedule
    documents: NDArray[np.int32] | None = None
    name: str = ""
    weight: float = 1.0
    prefix: str = "train_0"

    @property
    def stream(self) -> Schedule:
        """Its schedule, of concatenated documents."""
        assert isinstance(self.schedule, Schedule), "packed documents have no stream"
        return self.schedule

    def gather(self, values: NDArray[T]) -> NDArray[T]:
        """Return the values of its documents, from an array over all."""
        return values[: self.schedule.documents] if self.documents is None else values[self.documents]

    def scatter(self, own: NDArray[Any], target: NDArray[Any]) -> None:
        """Put a value of each of its documents where it belongs in an array over all."""
        if self.documents is None:
            target[: len(own)] = own
        else:
            target[self.documents] = own


@dataclass(frozen=True)
class Order:
    """What training reads, turn by turn.

    Attributes:
        parts: one, or those of a blend.
        dataset_index: (turns,) the part that each turn reads; None: there is one.
        dataset_sample_index: (turns,) which of its own turns that is.
    """

    parts: tuple[Part, ...]
    dataset_index: NDArray[Any] | None = None
    dataset_sample_index: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        """How many turns there are."""
        return len(self.parts[0].schedule) if self.dataset_index is None else len(self.dataset_index)

    @property
    def mode(self) -> Mode:
        """How the data sets are shuffled."""
        return self.parts[0].schedule.mode

    @property
    def seq_len(self) -> int:
        """Predicted tokens a sequence."""
        return self.parts[0].schedule.seq_len

    def locate(self, turn: int) -> tuple[Part, int]:
        """Return the part that a turn reads, and which of its own turns that is."""
        if self.dataset_index is None or self.dataset_sample_index is None:
            return self.parts[0], turn
        return self.parts[int(self.dataset_index[turn])], int(self.dataset_sample_index[turn])

    def turns(self, part: int) -> NDArray[np.int64] | None:
        """Return the turns that read a part, ascending: those of its own turns 0, 1, …; None: they are the same."""
        return None if self.dataset_index is None else np.flatnonzero(self.dataset_index == part)

    def count_turns(self, turns: int) -> list[int]:
        """Return how many of the first turns read each part."""
        if self.dataset_index is None:
            return [turns]
        counts: list[int] = np.bincount(self.dataset_index[:turns], minlength=len(self.parts)).tolist()
        return counts


def split_documents(split: str, documents: int) -> tuple[int, int, int, int]:
    """Cut documents into train, valid and test as GPT-NeoX and Megatron-LM do.

    Args:
        split: weights with commas or slashes between them, such as "969,30,1"; what is missing is 0.
        documents: how many there are.

    Returns:
        The borders: train is 0 … the second, and so on. Rounding shifts every border but the first by the same number.

    Raises:
        RecipeError: the weights are no numbers, one is negative, or they add up to 0.

    Source: EleutherAI/gpt-neox, megatron/data/data_utils.py, get_train_valid_test_split_.
    """
    try:
        weights = [float(word) for word in split.split("," if "," in split else "/")]
    except ValueError:
        raise RecipeError(f"schedule.split is {split!r}; give weights, such as 969,30,1") from None
    weights = [*weights, 0.0, 0.0][:3]
    total = sum(weights)
    if not 0 < total < math.inf or min(weights) < 0:
        raise RecipeError(f"schedule.split is {split!r}; give weights of 0 or more, such as 969,30,1")
    borders = [0]
    for weight in weights:
        borders.append(borders[-1] + round(weight / total * float(documents)))
    over = borders[-1] - documents
    train, valid, test = (max(0, border - over) for border in borders[1:])
    return 0, train, valid, test


def build_order(
    sizes: NDArray[np.int32], settings: Settings, epochs: float | None, labels: NDArray[np.uint8] | None = None
) -> tuple[Order, Plan]:
    """Build what training reads for one number of epochs, or for the recipe's steps.

    How many sequences each data set is asked for decides the whole order. With `steps` it is what the published tools
    ask: steps * batch_size for the train part of a split (GPT-NeoX's data_path) and in mode megatron, else 0.5 % more
    (GPT-NeoX's train_data_paths, and Pythia). A blend always asks for 0.5 % more of each. Where the published tool
    would begin again from its first turn, for want of one sequence, one more than is read is asked for.

    Args:
        sizes: (documents,) tokens in each document of the shards.
        settings: the recipe's.
        epochs: over all documents that the order reads; None: settings.steps.
        labels: what `blend.label_documents` gave for the names in settings.blend; None: no blend.

    Raises:
        RecipeError: a setting cannot be met.
        InputError: there are too few tokens.
    """
    check_packing(settings.packing, settings.mode, labels is not None)
    chosen = _choose(sizes, settings, labels)
    totals = [int(own.sum(dtype=np.int64)) for _, own in chosen]
    if settings.steps is not None:
        samples = settings.steps * settings.batch_size
        plan = Plan(settings.steps, samples, samples)
    if settings.packing != "concat":
        wanted = plan if settings.steps is not None else (epochs or 0.0, settings.batch_size)
        packed, plan = build_packed(
            chosen[0][1], settings.seq_len, wanted, settings.seed, settings.mode, settings.packing
        )
        return Order((Part(packed, prefix="train" if settings.split else "train_0"),)), plan
    if settings.steps is None:
        assert epochs is not None
        plan = plan_steps(epochs, sum(totals), settings.seq_len, settings.batch_size)
    mode, names = settings.mode, list(settings.blend) or [""]
    dataset_index = dataset_sample_index = None
    if labels is not None:
        weights = blend.normalize(list(settings.blend.values()), mode)
        dataset_index, dataset_sample_index = blend.blending_indices(weights, plan.samples, mode)
        asked = blend.requests(weights, plan.samples, mode)
        needed = np.bincount(dataset_index, minlength=len(names)).tolist()
    else:
        weighted = settings.steps is not None and not settings.split and mode != "megatron"
        asked = blend.requests([1.0], plan.samples, mode) if weighted else [plan.num_samples]
        needed = [plan.samples]
    parts = []
    for number, (name, (documents, own)) in enumerate(zip(names, chosen, strict=True)):
        tokens, request = totals[number], asked[number]
        if tokens <= settings.seq_len:
            raise RecipeError(
                f"{name or 'the schedule'} has {tokens} tokens: too few for one sequence of {settings.seq_len}; "
                "keep more text, lower schedule.seq_len, or leave it out of schedule.blend"
            )
        sequences = (count_epochs(tokens, settings.seq_len, request) * tokens - 1) // settings.seq_len
        if sequences - unread_sequences(mode) < needed[number]:
            request = needed[number] + unread_sequences(mode)
        index = build_index(own, settings.seq_len, request, settings.seed, mode, settings.separate_below)
        prefix = "train" if settings.split and labels is None else f"train_{number}"
        parts.append(Part(index, documents, name, settings.blend.get(name, 1.0), prefix))
    return Order(tuple(parts), dataset_index, dataset_sample_index), plan


def _choose(
    sizes: NDArray[np.int32], settings: Settings, labels: NDArray[np.uint8] | None
) -> list[tuple[NDArray[np.int32] | None, NDArray[np.int32]]]:
    """Return the documents of each part, None for the first ones of all, and their sizes."""

    def trained(documents: int) -> int:
        return split_documents(settings.split, documents)[1] if settings.split else documents

    if labels is None:
        return [(None, sizes[: trained(len(sizes))])]
    lists = [np.flatnonzero(labels == number).astype(np.int32) for number in range(len(settings.blend))]
    return [(own, sizes[own]) for own in (each[: trained(len(each))] for each in lists)]


def count_exposure(order: Order, sizes: NDArray[np.int32], turns: int) -> Exposure:
    """Count what the first `turns` turns read of each document of the shards.

    Raises:
        IndexError: the order has fewer turns.
    """
    from redpajama_pipe.tokens.reading_counts import Exposure

    if not 0 <= turns <= len(order):
        raise IndexError(f"{turns} turns of a schedule of {len(order)}")
    if len(order.parts) == 1 and len(sizes) == order.parts[0].schedule.documents:
        return _expose(order.parts[0].schedule, sizes, turns)
    tokens, first = np.zeros(len(sizes), np.int64), np.zeros(len(sizes), np.int64)
    # a part's own turns come in their order, so what is read of it are its first ones
    for part, own_turns in zip(order.parts, order.count_turns(turns), strict=True):
        counted = _expose(part.schedule, part.gather(sizes), own_turns)
        part.scatter(counted.tokens, tokens)
        part.scatter(counted.first_token, first)
    return Exposure(sizes, tokens, first)


def _expose(schedule: Schedule | PackedSchedule, sizes: NDArray[np.int32], turns: int) -> Exposure:
    if isinstance(schedule, PackedSchedule):
        return packed_exposure(schedule, sizes, turns)
    from redpajama_pipe.tokens.reading_counts import exposure

    return exposure(schedule, sizes, turns)


def write_order(folder: str | Path, order: Order, extra: Mapping[str, Any] | None = None) -> list[File]:
    """Write the arrays of every part and of the blend, and schedule.json, into a folder of their own.

    Args:
        folder: path or URL.
        order: what `build_order` gave.
        extra: more to say in schedule.json, such as steps and batch_size.

    Returns:
        The files written, schedule.json last.
    """
    parts: list[dict[str, Any]] = []
    files: list[File] = []
    for part in order.parts:
        if isinstance(part.schedule, PackedSchedule):
            described, written = write_packed(folder, part.schedule, part.prefix)
        else:
            described, written = write_index(folder, part.schedule, part.prefix)
        files += written
        if part.documents is not None:
            files.append(write_array(folder, f"{part.prefix}_documents.npy", part.documents))
            described["files"]["documents"] = name_file(files[-1])
        parts.append({**described, "documents": part.schedule.documents})
    if order.dataset_index is None or order.dataset_sample_index is None:
        return [*files, write_description(folder, {**parts[0], **(extra or {}), "prefix": order.parts[0].prefix})]
    blended = {}
    for name in BLENDED:
        files.append(write_array(folder, f"{name}.npy", getattr(order, name)))
        blended[name] = name_file(files[-1])
    shares = order.count_turns(len(order))
    described = {
        **(extra or {}),
        "seq_len": order.seq_len,
        "mode": order.mode,
        "seed": order.parts[0].schedule.seed,
        "turns": len(order),
        "files": blended,
        "blend": [
            {**each, "name": part.name, "weight": part.weight, "prefix": part.prefix, "turns_read": share}
            for each, part, share in zip(parts, order.parts, shares, strict=True)
        ],
    }
    return [*files, write_description(folder, described)]


def read_order(folder: str | Path) -> tuple[Order, dict[str, Any]]:
    """Map an order that `write_order` wrote to a local folder.

    Returns:
        The order, whose arrays are read as they are used, and schedule.json.

    Raises:
        InputError: schedule.json or an array is missing or damaged.
    """
    with usable(folder):
        described = read_description(folder)
        parts = tuple(
            Part(
                map_packed(folder, each) if "packing" in each else map_index(folder, each),
                map_array(folder, each, "documents") if "documents" in each["files"] else None,
                each.get("name", ""),
                each.get("weight", 1.0),
                each.get("prefix", "train_0"),
            )
            for each in described.get("blend", [described])
        )
        if "blend" not in described:
            return Order(parts), described
        return Order(parts, *(map_array(folder, described, each) for each in BLENDED)), described


def array_hashes(described: Mapping[str, Any]) -> dict[str, str]:
    """Return the checksum of every array that decides about the order, from schedule.json."""
    hashes = {name: file["sha256"] for name, file in described["files"].items()}
    for each in described.get("blend", []):
        hashes |= {f"{each['prefix']} {name}": file["sha256"] for name, file in each["files"].items()}
    return hashes
