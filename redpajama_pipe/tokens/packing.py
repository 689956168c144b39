"""Sequences that cut no document that fits: whole documents packed into bins of seq_len + 1 ids, and padding.

`best_fit` is best-fit decreasing: pieces from the longest to the shortest, each into the fullest bin that has room;
O(n log seq_len) by a tree over the room left. `document` gives each piece a bin of its own. A document longer than a
bin is cut into full bins and a tail, which is packed as a document is. Order: a permutation of the bins. Memory: 12
bytes a piece, 8 a bin, 4 a turn.

Source: Ding et al. 2024, Fewer Truncations Improve Language Modeling (arXiv:2404.10830), section 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from redpajama_pipe.errors import InputError, RecipeError
from redpajama_pipe.storage import File
from redpajama_pipe.tokens.schedule import Mode, Plan, Schedule, map_array, name_file, take_epochs, write_array

if TYPE_CHECKING:
    from redpajama_pipe.tokens.reading_counts import Exposure

Packing = Literal["concat", "best_fit", "document"]
PACKED_PARTS = ("pieces", "bins", "shuffle_idx")


@dataclass(frozen=True)
class PackedSchedule:
    """One order of training in which no sequence takes its ids from a stream.

    Attributes:
        pieces: (pieces, 3) int32: document, first token, length; in the order of the bins, and inside a bin of the
            corpus.
        bins: (bins + 1,) int64, where each bin begins in `pieces`.
        shuffle_idx: (epochs * bins,) the bin that is read at each turn.
        seq_len: predicted tokens a sequence; a bin holds at most one id more.
        num_samples: how many sequences were asked for.
        seed: of the shuffle.
        mode: `joint_shuffle`: all epochs are shuffled as one; `sequential_epochs`: each by itself, one after the other.
        epochs: how many whole ones there are.
        packing: `best_fit` or `document`.
        documents: how many an epoch has.
        tokens: in all of them.
        cut: documents in more than one piece.
    """

    pieces: NDArray[np.int32]
    bins: NDArray[np.int64]
    shuffle_idx: NDArray[Any]
    seq_len: int
    num_samples: int
    seed: int
    mode: Mode
    epochs: int
    packing: Packing
    documents: int
    tokens: int
    cut: int

    def __len__(self) -> int:
        """How many sequences can be read: all."""
        return len(self.shuffle_idx)

    def rows(self, turn: int) -> NDArray[np.int32]:
        """Return (pieces, 3) the pieces of a turn: document, first token, length."""
        bin_number = int(self.shuffle_idx[turn])
        return self.pieces[int(self.bins[bin_number]) : int(self.bins[bin_number + 1])]


@dataclass(frozen=True)
class PackingCounts:
    """What a packing costs; of one epoch, or of a stream of several.

    Attributes:
        documents: read, repetitions counted.
        documents_cut: of them in more than one piece.
        pieces: into which they are cut.
        sequences: that hold them.
        padding: ids that are no document's.
        padding_share: of all ids.
        cut_share: of the documents.
    """

    documents: int
    documents_cut: int
    pieces: int
    sequences: int
    padding: int
    padding_share: float
    cut_share: float


def check_packing(packing: Packing, mode: Mode, blended: bool) -> None:
    """Refuse what has no meaning without a stream of tokens.

    Raises:
        RecipeError: mode megatron, or a blend, with another packing than concat.
    """
    if packing != "concat" and mode == "megatron":
        raise RecipeError(
            f"schedule.packing is {packing}, schedule.mode megatron: Megatron-LM's order is one of a stream of tokens; "
            "choose joint_shuffle or sequential_epochs, or packing concat"
        )
    if packing != "concat" and blended:
        raise RecipeError(
            f"schedule.packing is {packing}, and there is a schedule.blend: only concatenated documents can be "
            "blended; leave out the blend, or choose packing concat"
        )


def pack_documents(sizes: NDArray[np.int32], seq_len: int, packing: Packing) -> tuple[NDArray[np.int32], NDArray[Any]]:
    """Cut documents into pieces of at most seq_len + 1 ids and put them into bins of as many.

    Args:
        sizes: (documents,) tokens in each.
        seq_len: predicted tokens a sequence.
        packing: `best_fit`: equal lengths are taken in the order of the corpus, and among bins with equal room the one
            that was filled last takes the piece; `document`: one piece a bin.

    Returns:
        `pieces` and `bins` of PackedSchedule.
    """
    from redpajama_pipe.tokens import packing_kernels as kernels

    capacity = seq_len + 1
    pieces = np.empty((kernels.count_pieces(sizes, capacity), 3), np.int32)
    kernels.cut(sizes, capacity, pieces)
    if packing == "document":
        return pieces, np.arange(len(pieces) + 1, dtype=np.int64)
    places = np.empty(len(pieces), np.int64)
    count = kernels.best_fit(pieces[:, 2], capacity, places)
    bins = np.zeros(count + 1, np.int64)
    np.cumsum(np.bincount(places, minlength=count), out=bins[1:])
    ordered = np.empty_like(pieces)
    kernels.group(pieces, places, bins[:-1].copy(), ordered)
    return ordered, bins


def plan_packed(epochs: float, bins: int, batch_size: int) -> Plan:
    """Turn a number of epochs into whole steps: floor(epochs * bins / batch_size), and at least 1.

    Raises:
        RecipeError: epochs is not positive.
    """
    steps = max(1, take_epochs(epochs, bins) // batch_size)
    return Plan(steps, steps * batch_size, steps * batch_size)


def build_packed(
    sizes: NDArray[np.int32], seq_len: int, plan: Plan | tuple[float, int], seed: int, mode: Mode, packing: Packing
) -> tuple[PackedSchedule, Plan]:
    """Build a schedule of packed documents.

    Every epoch reads the same bins, each once, so every token of every document once. 1.5 epochs are, in
    `sequential_epochs`, one permutation of the bins and half of another one; in `joint_shuffle` one permutation of two
    copies of the bins, cut short: some are read twice before others are read once.

    Args:
        sizes: (documents,) tokens in each.
        seq_len: predicted tokens a sequence.
        plan: how many sequences are read; or epochs and batch size.
        seed: of NumPy's RandomState (MT19937).
        mode: not megatron.
        packing: not concat.

    Raises:
        RecipeError: epochs is not positive, or mode is megatron.
        InputError: there are no tokens.
    """
    from redpajama_pipe.tokens.shuffle import LegacyShuffler

    check_packing(packing, mode, blended=False)
    pieces, bins = pack_documents(sizes, seq_len, packing)
    count = len(bins) - 1
    if not count:
        raise InputError("no tokens, so nothing to pack; keep more text")
    plan = plan if isinstance(plan, Plan) else plan_packed(plan[0], count, plan[1])
    epochs = -(-plan.samples // count)
    shuffle_idx = np.empty(epochs * count, np.uint32 if count < np.iinfo(np.uint32).max else np.int64)
    shuffle_idx.reshape(epochs, -1)[:] = np.arange(count)
    generator = LegacyShuffler(seed)  # one for all: each shuffle goes on where the last one stopped
    for own in [shuffle_idx] if mode == "joint_shuffle" else shuffle_idx.reshape(epochs, -1):
        generator.shuffle(own)
    schedule = PackedSchedule(
        pieces,
        bins,
        shuffle_idx,
        seq_len,
        plan.samples,
        seed,
        mode,
        epochs,
        packing,
        documents=len(sizes),
        tokens=int(sizes.sum(dtype=np.int64)),
        cut=int((sizes > seq_len + 1).sum()),
    )
    return schedule, plan


def count_packing(schedule: Schedule | PackedSchedule, sizes: NDArray[np.int32]) -> PackingCounts:
    """Count padding and cuts: of one epoch of packed documents, or of the whole stream of concatenated ones.

    A concatenated document is cut where its ids are inputs of more than one sequence; what the stream's end leaves out
    of the last sequence is not counted.

    Args:
        schedule: either kind.
        sizes: (documents,) tokens in each of its documents.
    """
    from redpajama_pipe.tokens import packing_kernels as kernels

    if isinstance(schedule, PackedSchedule):
        documents, cut, pieces = int((sizes > 0).sum()), schedule.cut, len(schedule.pieces)
        sequences = len(schedule.bins) - 1
        places = sequences * (schedule.seq_len + 1)
        padding = places - schedule.tokens
    else:
        sequences, padding = len(schedule.shuffle_idx), 0
        places = sequences * schedule.seq_len
        documents, cut, pieces = kernels.count_cuts(sizes, schedule.doc_idx, schedule.seq_len, places)
    return PackingCounts(documents, cut, pieces, sequences, padding, padding / places, cut / max(documents, 1))


def packed_exposure(schedule: PackedSchedule, sizes: NDArray[np.int32], turns: int) -> Exposure:
    """Count what the first turns read of each document; an id counts as read where its sequence holds it."""
    from redpajama_pipe.tokens import packing_kernels as kernels
    from redpajama_pipe.tokens.reading_counts import Exposure

    tokens, first = np.zeros((2, len(sizes)), np.int64)
    kernels.expose_packed(schedule.pieces, schedule.bins, schedule.shuffle_idx[:turns], tokens, first)
    return Exposure(sizes, tokens, first)


def write_packed(folder: str | Path, schedule: PackedSchedule, prefix: str) -> tuple[dict[str, Any], list[File]]:
    """Write the three arrays; returns what schedule.json is to say of them, and the files."""
    stem = f"{prefix}_{schedule.packing}_{schedule.num_samples}ns_{schedule.seq_len}sl_{schedule.seed}s"
    files = [write_array(folder, f"{stem}_{part}.npy", getattr(schedule, part)) for part in PACKED_PARTS]
    keys = ("seq_len", "num_samples", "seed", "mode", "packing", "tokens", "cut", "documents")
    described = {
        **{key: getattr(schedule, key) for key in keys},
        "epochs_in_stream": schedule.epochs,
        "turns": len(schedule),
        "files": {part: name_file(file) for part, file in zip(PACKED_PARTS, files, strict=True)},
    }
    return described, files


def map_packed(folder: str | Path, described: Mapping[str, Any]) -> PackedSchedule:
    """Map the three arrays that `write_packed` described."""
    pieces, bins, shuffle_idx = (map_array(folder, described, part) for part in PACKED_PARTS)
    keys = ("seq_len", "num_samples", "seed", "mode", "packing", "tokens", "cut", "documents")
    return PackedSchedule(
        pieces, bins, shuffle_idx, **{key: described[key] for key in keys}, epochs=described["epochs_in_stream"]
    )


def describe_packing(counts: PackingCounts) -> dict[str, Any]:
    """Return the counts as a manifest holds them."""
    return asdict(counts)
