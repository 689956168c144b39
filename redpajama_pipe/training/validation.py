"""Loss on held-out documents: those of another run, or those of the same run that no turn of its schedule reads.

That none of another run's documents is trained on is looked up in the token maps: 16 bytes a document, read once.
"""

from __future__ import annotations

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
from redpajama_pipe.tokens.loader import SequenceReader, open_run, rank_batches
from redpajama_pipe.training import documents
from redpajama_pipe.training.devices import World, autocast
from redpajama_pipe.training.options import Training


def token_loss(forward: Any, ids: Any) -> Any:
    """Return the mean cross-entropy of predicting each id from those before it, in nats.

    Args:
        forward: a model.
        ids: (sequences, seq_len + 1): all but the last are inputs, all but the first are labels.
    """
    logits = forward(input_ids=ids[:, :-1], use_cache=False).logits
    return cross_entropy(logits.flatten(0, 1).float(), ids[:, 1:].flatten())


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
            ids = unread_sequences(reader, settings.sequences)
        else:
            other = open_run(settings.documents, settings.epochs)
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
            ids = other.read(range(count))
        self._ids = ids[: len(ids) // self._step * self._step]
        if not len(self._ids):
            raise RecipeError(
                f"{len(ids)} sequences to validate on, but one micro-step takes {self._step}; "
                "raise training.validation.sequences, hold more documents out, or lower training.micro_batch"
            )

    def loss(self, model: Any, forward: Any) -> float:
        """Return the mean loss; all ranks call it."""
        world, total, count = self._world, 0.0, 0
        model.eval()
        with torch.no_grad():
            for turns in rank_batches(len(self._ids), self._step, world.rank, world.size):
                ids = torch.from_numpy(self._ids[turns.start : turns.stop]).to(world.device)
                with autocast(self._training.precision, world):
                    total += float(token_loss(forward, ids).item())
                count += 1
        model.train()
        whole, batches = world.sum(total, count)
        return whole / batches


def unread_sequences(reader: SequenceReader, count: int) -> NDArray[np.int64]:
    """Cut the documents that no turn of a schedule reads, in the order of the shards, into sequences.

    Such are those that `schedule.split` leaves out, and those that the last epoch of a joint shuffle does not reach.

    Returns:
        (sequences, seq_len + 1) ids, `count` of them or as many as there are; each begins with the last id of the one
        before.

    Raises:
        InputError: every document is read, or the others do not fill one sequence.
    """
    unread = np.flatnonzero(Exposures(reader).tokens_seen == 0)
    need = count * reader.seq_len + 1
    pieces: list[NDArray[Any]] = []
    have = 0
    for document in unread.tolist():
        if have >= need:
            break
        shard, sequence = reader.place(document)
        pieces.append(reader.shard(shard).get(sequence))
        have += len(pieces[-1])
    found = min(count, (have - 1) // reader.seq_len)
    if found < 1:
        raise InputError(
            f"the schedule reads all but {len(unread):,} documents of {reader.tokens}, with {have:,} tokens: too few "
            "to validate on; set schedule.split to hold some out, or name another run"
        )
    stream = np.concatenate(pieces).astype(np.int64)
    starts = np.arange(found)[:, None] * reader.seq_len
    ids: NDArray[np.int64] = stream[starts + np.arange(reader.seq_len + 1)]
    return ids


def shared_documents(held_out: SequenceReader, sequences: int, trained: SequenceReader) -> int:
    """Count the documents of the first turns of one run that are in the shards of another."""
    numbers = {piece.document for turn in range(sequences) for piece in held_out.pieces(turn)}
    rows = documents.rows_of(held_out, numbers, [schema.DOC_ID]).values()
    wanted = pa.array([row[schema.DOC_ID] for row in rows], pa.binary())
    return sum(
        pc.sum(pc.is_in(documents.read_map(trained, shard, [schema.DOC_ID]).column(0), value_set=wanted)).as_py() or 0
        for shard in range(len(trained.shards))
    )
