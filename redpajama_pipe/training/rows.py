"""What training takes of a sequence: inputs, labels, and positions where attention stays inside documents.

Padding is no label. With attention `document` neither is the first id of a document, which nothing of its own precedes;
with `sequence` it is, as in GPT-NeoX (eod_mask_loss, reset_position_ids and reset_attention_mask off).
Cost: one walk over a sequence's documents.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from redpajama_pipe.tokens.reader import INPUT_IDS, Piece, SequenceReader, open_run
from redpajama_pipe.training.options import Attention

LABELS = "labels"
POSITIONS = "position_ids"
NO_LABEL = -100  # torch's cross_entropy leaves it out
_PADDING = -1


def open_rows(run: str, epochs: float | None, attention: Attention) -> SequenceReader:
    """Open a run for training; arguments and errors as `open_run`.

    Returns:
        A reader whose batches hold `input_ids` alone where every id but the first is a label, else a MarkedReader.
    """
    reader = open_run(run, epochs)
    if reader.packing == "concat" and attention == "sequence":
        return reader
    return MarkedReader(reader.tokens, reader.schedule, attention)


class MarkedReader(SequenceReader):
    """A run's sequences, whose batches have what `mark` says of them; a loader's processes find it out."""

    def __init__(self, tokens: str, schedule: str, attention: Attention) -> None:
        super().__init__(tokens, schedule)
        self._attention = attention

    def batch(self, turns: Sequence[int], borders: bool = False) -> dict[str, NDArray[Any]]:
        """Read several turns: `input_ids` (turns, seq_len + 1), and what `mark` gives; `borders` adds nothing."""
        ids = self.read(turns)
        return {
            INPUT_IDS: ids,
            **mark(ids, owners([self.pieces(turn) for turn in turns], ids.shape[1]), self._attention),
        }

    def __reduce__(self) -> Any:
        return MarkedReader, (self.tokens, self.schedule, self._attention)


def owners(rows: Sequence[Sequence[Piece]], width: int) -> NDArray[np.int32]:
    """Number the pieces of each row.

    Returns:
        (rows, width) which piece each id belongs to, from 0; -1: padding.
    """
    found = np.full((len(rows), width), _PADDING, np.int32)
    for row, pieces in zip(found, rows, strict=True):
        lengths = [piece.length for piece in pieces]
        row[: sum(lengths)] = np.repeat(np.arange(len(lengths)), lengths)
    return found


def mark(ids: NDArray[np.int64], owner: NDArray[np.integer[Any]], attention: Attention) -> dict[str, NDArray[np.int64]]:
    """Say what is predicted, and where documents begin.

    Args:
        ids: (rows, seq_len + 1): all but the last are inputs, all but the first are labels.
        owner: (rows, seq_len + 1): equal for neighbours of one document, below 0 for padding.
        attention: see options.Training.

    Returns:
        `labels` (rows, seq_len), NO_LABEL where nothing is predicted; for attention `document` also `position_ids`
        (rows, seq_len), from 0 at the first id of each document, or of the padding.
    """
    before, after = owner[:, :-1], owner[:, 1:]
    predicted = after >= 0 if attention == "sequence" else (after >= 0) & (after == before)
    found = {LABELS: np.where(predicted, ids[:, 1:], NO_LABEL)}
    if attention == "document":
        places = np.broadcast_to(np.arange(before.shape[1]), before.shape)
        begins = np.ones(before.shape, np.bool_)
        begins[:, 1:] = before[:, 1:] != before[:, :-1]
        found[POSITIONS] = places - np.maximum.accumulate(np.where(begins, places, 0), axis=1)
    return found


def attention_mask(position_ids: Any) -> Any:
    """Return which inputs each input of a row sees: those of its own document up to itself.

    Args:
        position_ids: (rows, seq_len) tensor, 0 where a document begins.

    Returns:
        (rows, 1, seq_len, seq_len) bool, as transformers hands it to scaled_dot_product_attention; seq_len bytes an
        input.
    """
    document = (position_ids == 0).cumsum(dim=1)
    return (document[:, :, None] == document[:, None, :]).tril()[:, None]
