"""What one trained model of an experiment answers: loss on held-out documents, and the beginnings of texts by heart.

A probe is the beginning of a text. Its exposure is how often training had read those very ids, in whichever documents
they stand, so that duplicates count. Cost: one generation a probe, and one forward pass over the held-out documents.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import cross_entropy

from redpajama_pipe.tokens.lookup import Lookup
from redpajama_pipe.tokens.reader import Piece, SequenceReader
from redpajama_pipe.training.experiment_measures import match
from redpajama_pipe.training.memorisation import extractible, times_seen
from redpajama_pipe.training.rows import NO_LABEL

BATCH = 64
LOGITS = 2**28  # at a time: a GB in fp32; of Pythia's vocabulary two sequences of 2,048


@dataclass(frozen=True)
class Probes:
    """Beginnings of texts that are asked for.

    Attributes:
        ids: (probes, prompt + continuation).
        held_out: (probes,) of a held-out document that is not contaminated.
        prompt: ids given.
    """

    ids: NDArray[np.int64]
    held_out: NDArray[np.bool_]
    prompt: int


def beginnings(reader: SequenceReader, width: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Read the first ids of every document that has so many.

    Returns:
        (documents, width) ids, and (documents,) their numbers over all shards.
    """
    rows, numbers = [], []
    for number, first in enumerate(reader.starts[:-1]):
        shard = reader.shard(number)
        for sequence in np.flatnonzero(shard.sizes >= width).tolist():
            rows.append(shard.get(sequence, 0, width).astype(np.int64))
            numbers.append(int(first) + sequence)
    return np.array(rows, np.int64).reshape(-1, width), np.array(numbers, np.int64)


def exposures(reader: SequenceReader, probes: NDArray[np.int64], turns: int) -> tuple[list[int], list[int | None]]:
    """Count how often the first `turns` sequences of a schedule read each probe whole, over all documents with it.

    Returns:
        Times of each probe, and the turn that reads it where that happens once, in one sequence; None: it is never
        read, more often, or cut by a sequence's end.
    """
    width = probes.shape[1]
    ids, numbers = beginnings(reader, width)
    documents = [[int(numbers[at]) for at in found] for found in match(probes, ids)]
    visits = Lookup(reader).visits(sorted({number for each in documents for number in each}))
    times: list[int] = []
    only: list[int | None] = []
    for each in documents:
        pieces = [Piece(number, *reader.place(number), 0, width) for number in each]
        times.append(sum(times_seen([piece], visits, turns) for piece in pieces))
        read = {visit.turn for number in each for visit in visits[number] if visit.turn < turns and visit.start < width}
        only.append(read.pop() if times[-1] == 1 and len(read) == 1 else None)
    return times, only


def score(model: Any, probes: Probes) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Ask a model for the continuations.

    Returns:
        (probes,) the share of the continuation's ids that greedy decoding gives back, and its mean loss in nats.
    """
    shares, losses = [], []
    for start in range(0, len(probes.ids), BATCH):
        ids = probes.ids[start : start + BATCH]
        shares.append(extractible(model, ids, probes.prompt))
        each = _losses(model, torch.from_numpy(ids).to(model.device))
        losses.append(each[:, probes.prompt - 1 :].mean(dim=1).cpu().numpy())
    return np.concatenate(shares), np.concatenate(losses)


def document_losses(
    model: Any, documents: Sequence[NDArray[np.int64]], seq_len: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Sum the loss over each document, read by itself in windows of `seq_len` predicted ids.

    Returns:
        (documents,) nats, and (documents,) predicted ids; the first id of a document is not predicted.
    """
    windows, owners = [], []
    for number, ids in enumerate(documents):
        for start in range(0, len(ids) - 1, seq_len):
            windows.append(ids[start : start + seq_len + 1])
            owners.append(number)
    nats, counts = np.zeros(len(documents)), np.zeros(len(documents), np.int64)
    batch = max(1, min(BATCH, LOGITS // (seq_len * model.config.vocab_size)))
    for start in range(0, len(windows), batch):
        some = windows[start : start + batch]
        ids = np.full((len(some), max(map(len, some))), NO_LABEL, np.int64)
        for row, window in zip(ids, some, strict=True):
            row[: len(window)] = window
        owner = owners[start : start + batch]
        each = _losses(model, torch.from_numpy(ids).to(model.device)).double().sum(dim=1).cpu().numpy()
        np.add.at(nats, owner, each)
        np.add.at(counts, owner, (ids[:, 1:] != NO_LABEL).sum(axis=1))
    return nats, counts


def _losses(model: Any, ids: Any) -> Any:
    """Return (sequences, ids - 1) losses; 0 where there is no label."""
    with torch.no_grad():
        logits = model(input_ids=ids[:, :-1].clamp(min=0), use_cache=False).logits
    labels = ids[:, 1:]
    losses = cross_entropy(logits.flatten(0, 1).float(), labels.flatten(), reduction="none", ignore_index=NO_LABEL)
    return losses.view(labels.shape)
