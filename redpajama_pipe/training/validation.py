"""Loss on held-out documents: those of another run, or those of the same run that no turn of its schedule reads.

That none of another run's documents is trained on is looked up in the token maps: 16 bytes a document, read once.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from torch.nn.functional import cross_entropy

from redpajama_pipe import schema
from redpajama_pipe.errors import InputError, RecipeError
from redpajama_pipe.tokens.exposures import Exposures
from redpajama_pipe.tokens.loader import rank_batches
from redpajama_pipe.tokens.reader import INPUT_IDS, SequenceReader
from redpajama_pipe.training import documents
from redpajama_pipe.training.devices import World, autocast
from redpajama_pipe.training.options import Training
from redpajama_pipe.training.rows import LABELS, NO_LABEL, POSITIONS, attention_mask, mark, open_rows

LOGITS = 2**28  # at a time on a GPU: a GB in fp32


def token_loss(forward: Any, batch: Mapping[str, Any], compiled: bool = False) -> Any:
    """Return the summed cross-entropy of predicting a batch's labels from what each id sees, in nats.

    Args:
        forward: a model.
        batch: `input_ids` (sequences, seq_len + 1): all but the last are inputs; and what `rows.mark` gives. Without
            labels all ids but the first are labels; without position_ids an id sees all that stands before it.
        compiled: torch.compile fuses what follows the logits, so that they are never there in fp32.
    """
    ids, positions = batch[INPUT_IDS], batch.get(POSITIONS)
    seen = {} if positions is None else {"position_ids": positions, "attention_mask": attention_mask(positions)}
    logits = forward(input_ids=ids[:, :-1], use_cache=False, **seen).logits
    labels = batch.get(LABELS, ids[:, 1:])
    logits, labels = logits.flatten(0, 1), labels.flatten()
    if compiled:
        return _compiled_nats()(logits, labels)
    return summed_nats(logits, labels, LOGITS if logits.is_cuda else logits.numel())


def summed_nats(logits: Any, labels: Any, most: int) -> Any:
    """Return the summed cross-entropy, computed over so many logits at a time.

    Of 32 sequences of Pythia's the logits are 13 GB in fp32, in three copies at once; and more than 2**31, for which
    not every kernel of torch was written. In pieces one copy is whole.

    Args:
        logits: (ids, vocabulary).
        labels: (ids,), NO_LABEL where nothing is predicted.
        most: logits of a piece, but at least one id's.
    """
    rows = max(1, most // logits.shape[1])
    pieces = zip(logits.split(rows), labels.split(rows), strict=True)
    losses = [_nats(some, wanted) for some, wanted in pieces]
    return losses[0] if len(losses) == 1 else torch.stack(losses).sum()


def _nats(logits: Any, labels: Any) -> Any:
    return cross_entropy(logits.float(), labels, reduction="sum", ignore_index=NO_LABEL)


@cache
def _compiled_nats() -> Any:
    return torch.compile(_nats)


def count_labels(batch: Mapping[str, Any]) -> int:
    """Count the ids that a batch predicts."""
    labels = batch.get(LABELS)
    return int(batch[INPUT_IDS][:, 1:].numel() if labels is None else (labels != NO_LABEL).sum())


class HeldOut:
    """The sequences on which a run is validated, held in memory."""

    def __init__(self, training: Training, reader: SequenceReader, world: World) -> None:
        """Read them.

        Args:
            training: whose `validation.documents` is set.
            reader: what is trained on.

        Raises:
            InputError: a document is trained on too, the sequences have another length, or no document is unread.
            RecipeError: fewer sequences than one micro-step takes.
        """
        settings = training.validation
        self._training, self._world = training, world
        self._step = training.micro_batch * world.size
        if settings.documents == "unread":
            ids, owner = unread_sequences(reader, settings.sequences)
            rows = {INPUT_IDS: ids, **(mark(ids, owner, "document") if training.attention == "document" else {})}
        else:
            other = open_rows(settings.documents, settings.epochs, training.attention)
            if other.seq_len != reader.seq_len:
                raise InputError(
                    f"{settings.documents} has sequences of {other.seq_len} tokens, training has {reader.seq_len}; "
                    "schedule it again with the same schedule.seq_len"
                )
            count = min(settings.sequences, len(other))
            shared = shared_documents(other, count, reader) if world.rank == 0 else 0
            if shared := int(world.sum(shared)[0]):
                raise InputError(
                    f"{shared:,} documents of {settings.documents} are in the training run too, so they are not held "
                    "out; give a run over other documents as training.validation.documents"
                )
            rows = other.batch(range(count))
        found = len(rows[INPUT_IDS])
        self._count = found // self._step * self._step
        self._rows = {name: torch.from_numpy(values[: self._count]) for name, values in rows.items()}
        if not self._count:
            raise RecipeError(
                f"{found} sequences to validate on, but one micro-step takes {self._step}; "
                "raise training.validation.sequences, hold more documents out, or lower training.micro_batch"
            )
        if not count_labels(self._rows):
            raise InputError("no id of the held-out sequences is predicted: each document has one; hold others out")

    def loss(self, model: Any, forward: Any) -> float:
        """Return the mean loss of a label; all ranks call it."""
        world, total, labels = self._world, 0.0, 0
        model.eval()
        with torch.no_grad():
            for turns in rank_batches(self._count, self._step, world.rank, world.size):
                batch = {name: values[turns.start : turns.stop] for name, values in self._rows.items()}
                labels += count_labels(batch)
                batch = {name: values.to(world.device) for name, values in batch.items()}
                with autocast(self._training.precision, world):
                    total += float(token_loss(forward, batch, self._training.compile).item())
        model.train()
        nats, predicted = world.sum(total, labels)
        return nats / predicted


def unread_sequences(reader: SequenceReader, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Cut the documents that no turn of a schedule reads, in the order of the shards, into sequences.

    Such are those that `schedule.split` leaves out, and those that the last epoch of a joint shuffle does not reach.

    Returns:
        (sequences, seq_len + 1) ids, `count` of them or as many as there are; each begins with the last id of the one
        before. And of the same shape, which document each id belongs to.

    Raises:
        InputError: every document is read, or the others do not fill one sequence.
    """
    unread = np.flatnonzero(Exposures(reader).tokens_seen == 0)
    need = count * reader.seq_len + 1
    pieces: list[NDArray[Any]] = []
    lengths: list[int] = []
    have = 0
    for document in unread.tolist():
        if have >= need:
            break
        shard, sequence = reader.place(document)
        pieces.append(reader.shard(shard).get(sequence))
        lengths.append(len(pieces[-1]))
        have += lengths[-1]
    found = min(count, (have - 1) // reader.seq_len)
    if found < 1:
        raise InputError(
            f"the schedule reads all but {len(unread):,} documents of {reader.tokens}, with {have:,} tokens: too few "
            "to validate on; set schedule.split to hold some out, or name another run"
        )
    places = np.arange(found)[:, None] * reader.seq_len + np.arange(reader.seq_len + 1)
    stream = np.concatenate(pieces).astype(np.int64)
    return stream[places], np.repeat(unread[: len(lengths)], lengths)[places]


def shared_documents(held_out: SequenceReader, sequences: int, trained: SequenceReader) -> int:
    """Count the documents of the first turns of one run that are in the shards of another."""
    numbers = {piece.document for turn in range(sequences) for piece in held_out.pieces(turn)}
    rows = documents.rows_of(held_out, numbers, [schema.DOC_ID]).values()
    wanted = pa.array([row[schema.DOC_ID] for row in rows], pa.binary())
    return sum(
        pc.sum(pc.is_in(documents.read_map(trained, shard, [schema.DOC_ID]).column(0), value_set=wanted)).as_py() or 0
        for shard in range(len(trained.shards))
    )
