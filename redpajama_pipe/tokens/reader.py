"""The sequences that training reads, in schedule order, from token shards and a schedule.

Needs NumPy alone: turn i of the schedule → seq_len + 1 ids, straight from the memory-mapped files; from anything else
that fsspec opens by range, and then the schedule and the shards' indexes are held in memory. Opening reads two
manifests and the shards' headers; nothing is held that grows with the corpus.
"""

from __future__ import annotations

import operator
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from redpajama_pipe import manifest, storage
from redpajama_pipe.errors import InputError, ManifestError
from redpajama_pipe.run_folder import RunFolder
from redpajama_pipe.settings.tree import digest
from redpajama_pipe.tokens.indexed import IndexedDataset, read_remote
from redpajama_pipe.tokens.order import Part, array_hashes, read_order
from redpajama_pipe.tokens.packing import PackedSchedule, Packing

INPUT_IDS = "input_ids"
LOSS_MASK = "loss_mask"


class Piece(NamedTuple):
    """The part of a sequence that comes from one document.

    Attributes:
        document: its number, counted over all shards.
        shard: the shard that holds it, by its place in the order of shards.
        sequence: its number inside the shard's .idx.
        start: first token of the document that is in it.
        length: how many are.
    """

    document: int
    shard: int
    sequence: int
    start: int
    length: int


class Borders(NamedTuple):
    """Where the documents lie in the inputs of one sequence, for attention inside documents.

    Attributes:
        cu_seqlens: (documents + 1,) int32 the first input of each document, and seq_len; padding at the end counts as
            one more document. As flash-attention's varlen functions take it.
        position_ids: (seq_len,) int64 from 0 in each of them.
        document_ids: (seq_len,) int64 the number of the document over all shards; -1: padding. Where a document comes
            twice in a row (the last of an epoch and the first of the next), cu_seqlens has the border between.
        loss_mask: (seq_len,) bool: the label (ids[1:]) is an id of a document, not padding.
    """

    cu_seqlens: NDArray[np.int32]
    position_ids: NDArray[np.int64]
    document_ids: NDArray[np.int64]
    loss_mask: NDArray[np.bool_]


def open_run(run: str | Path, epochs: float | None = None) -> SequenceReader:
    """Open a run's shards and one of its schedules.

    Args:
        run: the run's folder: a path, from which files are memory-mapped, or a URL, from which ids are read by range.
        epochs: which schedule; None where there is one only.

    Raises:
        ManifestError: tokenize or schedule did not finish, or they do not belong together.
        InputError: the run has no such schedule.
    """
    folder = RunFolder.at(str(run))
    return open_folders(folder.tokens, folder.schedule, epochs)


def open_folders(tokens: str | Path, schedule: str | Path, epochs: float | None = None) -> SequenceReader:
    """Open shards and a schedule that lie apart from their run.

    Args:
        tokens: a folder of shards with its manifest.
        schedule: a run's folder of schedules, or one schedule.
        epochs: which schedule; None where there is one only.

    Raises:
        ManifestError, InputError: as `open_run`.
    """
    places = [storage.absolute(str(place)) for place in (tokens, schedule)]
    if storage.exists(storage.join(places[1], "schedule.json")):
        return SequenceReader(*places)
    folders = schedule_folders(places[1])
    said = ", ".join(f"{each:g}" for each in folders)
    if epochs is None and len(folders) > 1:
        raise InputError(f"{schedule} has schedules of {said} epochs; say which: --epochs, in Python epochs=")
    wanted = next(iter(folders)) if epochs is None else epochs
    if wanted not in folders:
        raise InputError(f"{schedule} has no schedule of {wanted:g} epochs; there are: {said}")
    return SequenceReader(places[0], folders[wanted])


def schedule_folders(schedule: str) -> dict[float, str]:
    """Return the folder of each schedule of a run, by its number of epochs, in the recipe's order.

    Raises:
        ManifestError: the stage did not finish.
    """
    schedules = manifest.read(schedule).counts["schedules"]
    return {each["epochs"]: storage.join(schedule, each["folder"]) for each in schedules}


class SequenceReader:
    """The sequences that training reads, in order: `reader[turn]`, from 0 to `len(reader) - 1`.

    Attributes:
        order: what each turn reads.
        seq_len: predicted tokens a sequence.
        samples: how many sequences training reads: steps * batch_size of the recipe.
        batch_size: sequences a step, as the recipe says.
        steps: samples // batch_size.
        epochs: as the recipe says.
        tokens: folder of the shards.
        schedule: folder of the schedule.
        packing: how documents fill the sequences.
        pad_id: what fills the rest of a packed sequence.
        shards: their names, in order.
        starts: (shards + 1,) the number of the first document of each shard.
        schedule_hash: of the order: the three arrays, seq_len, and the shards' names.
        packed: the shards' manifest.
        tokens_hash: its hash.
    """

    def __init__(self, tokens: str, schedule: str) -> None:
        """Open one schedule; see `open_run`.

        Args:
            tokens: folder of the shards, with its manifest.
            schedule: the folder that has schedule.json.
        """
        packed = manifest.read(tokens)
        self.tokens, self.schedule = tokens, schedule
        self.packed, self.tokens_hash = packed, packed.hash
        self.order, described = read_order(schedule)
        self.seq_len = self.order.seq_len
        first = self.order.parts[0].schedule
        self.packing: Packing = first.packing if isinstance(first, PackedSchedule) else "concat"
        self.pad_id = int(described.get("pad_id", 0))
        self.shards: list[str] = [shard["name"] for shard in packed.counts["shards"]]
        self.starts = [0, *accumulate(int(shard["sequences"]) for shard in packed.counts["shards"])]
        self.samples = int(described.get("samples", len(self.order)))
        self.batch_size = int(described.get("batch_size", 1))
        self.steps = self.samples // self.batch_size
        self.epochs = float(described.get("epochs", self.order.parts[0].schedule.epochs))
        self.schedule_hash = digest(
            {
                "seq_len": self.seq_len,
                "shards": self.shards,
                "arrays": array_hashes(described),
            }
        )
        self._open: dict[int, IndexedDataset] = {}
        self._check(described.get("shards", self.shards), int(packed.counts["tokens"]))

    def _check(self, shards: Sequence[str], tokens: int) -> None:
        order = self.order
        stage = manifest.find(self.schedule.rpartition("/")[0])
        same = (
            list(shards) == self.shards
            and all(self._fits(part, tokens) for part in order.parts)
            and (stage is None or stage.stage != "schedule" or stage.inputs["tokens"] == self.tokens_hash)
        )
        if not same:
            raise ManifestError(f"{self.schedule} was made for other shards than {self.tokens}; run schedule again")
        if self.samples > len(order):
            raise ManifestError(f"{self.schedule} has {len(order)} turns but says {self.samples}; run schedule again")

    def _fits(self, part: Part, tokens: int) -> bool:
        """Say whether a part can be one of these shards; where it is all of them, their tokens decide."""
        index, documents = part.schedule, self.starts[-1]
        if part.documents is not None:
            own = len(part.documents)
            return own == index.documents and part.documents[0] >= 0 and part.documents[-1] < documents
        if index.documents != documents:
            return index.documents < documents and part.prefix == "train"  # of a split
        if isinstance(index, PackedSchedule):
            return index.tokens == tokens
        return len(index.shuffle_idx) == (index.epochs * tokens - 1) // index.seq_len

    def __len__(self) -> int:
        return self.samples

    def __getitem__(self, turn: int) -> NDArray[np.int64]:
        """Return (seq_len + 1,) ids: all but the last are inputs, all but the first are labels."""
        ids: NDArray[np.int64] = self.read([turn])[0]
        return ids

    def read(self, turns: Sequence[int]) -> NDArray[np.int64]:
        """Read several turns.

        Returns:
            (turns, seq_len + 1) ids, a copy; the rest of a packed sequence is `pad_id`.

        Raises:
            IndexError: a turn is not in 0 … len(self) - 1; never wraps around.
            InputError: the schedule was built for other shards.
        """
        ids = np.empty((len(turns), self.seq_len + 1), np.int64)
        found = [self.pieces(turn) for turn in turns]
        fetched = self._fetch(found)
        for row, pieces in zip(ids, found, strict=True):
            at = 0
            for piece in pieces:
                end = at + piece.length
                if fetched is None:
                    row[at:end] = self.shard(piece.shard).get(piece.sequence, piece.start, piece.length)
                else:
                    row[at:end] = next(fetched)
                at = end
            row[at:] = self.pad_id
        return ids

    def _fetch(self, found: Sequence[Sequence[Piece]]) -> Iterator[NDArray[Any]] | None:
        """Read the ids of all pieces with one call where the shards are not mapped; None where they are."""
        if "://" not in self.tokens:
            return None
        return read_remote([(self.shard(each.shard), *each[2:]) for row in found for each in row])

    def borders(self, turn: int) -> Borders:
        """Return where the documents of a turn lie; errors as `pieces`."""
        starts, names, filled = [0], [], 0
        for piece in self.pieces(turn):
            filled += piece.length
            if starts[-1] < self.seq_len:  # else the piece is the last label alone
                starts.append(min(filled, self.seq_len))
                names.append(piece.document)
        if starts[-1] < self.seq_len:
            starts.append(self.seq_len)
            names.append(-1)
        cu_seqlens = np.array(starts, np.int32)
        lengths = np.diff(cu_seqlens)
        inputs = np.arange(self.seq_len)
        return Borders(
            cu_seqlens,
            inputs - np.repeat(cu_seqlens[:-1], lengths),
            np.repeat(np.array(names, np.int64), lengths),
            inputs + 1 < filled,
        )

    def batch(self, turns: Sequence[int], borders: bool = False) -> dict[str, NDArray[Any]]:
        """Read several turns as a batch for training.

        Returns:
            `input_ids` (turns, seq_len + 1) int64; of a packed schedule `loss_mask` (turns, seq_len) bool too. With
            `borders` also `position_ids` and `document_ids` (turns, seq_len) and one `cu_seqlens` of the whole batch,
            its inputs counted row after row.
        """
        batch: dict[str, NDArray[Any]] = {INPUT_IDS: self.read(turns)}
        if borders or self.packing != "concat":
            found = [self.borders(turn) for turn in turns]
            batch[LOSS_MASK] = np.stack([each.loss_mask for each in found])
        if borders:
            batch["position_ids"] = np.stack([each.position_ids for each in found])
            batch["document_ids"] = np.stack([each.document_ids for each in found])
            starts = [each.cu_seqlens[:-1] + row * self.seq_len for row, each in enumerate(found)]
            batch["cu_seqlens"] = np.append(np.concatenate(starts), len(found) * self.seq_len).astype(np.int32)
        return batch

    def pieces(self, turn: int) -> list[Piece]:
        """Return the documents of a turn, in order; their lengths add up to seq_len + 1, or to less where it is packed.

        Raises:
            IndexError: there is no such turn.
            InputError: the schedule was built for other shards.
        """
        turn = operator.index(turn)
        if not 0 <= turn < self.samples:
            raise IndexError(f"turn {turn} of a schedule of {self.samples}")
        part, own_turn = self.order.locate(turn)
        index = part.schedule
        if isinstance(index, PackedSchedule):
            return self._packed_pieces(index, turn)
        row = int(index.shuffle_idx[own_turn])
        (first, begin), (last, end) = index.sample_idx[row : row + 2].tolist()
        found, left = [], self.seq_len + 1
        for position, own in enumerate(index.doc_idx[first : last + 1].tolist(), first):
            if not 0 <= own < index.documents:
                break
            document = own if part.documents is None else int(part.documents[own])
            if not 0 <= document < self.starts[-1]:
                break
            shard, sequence = self.place(document)
            size = int(self.shard(shard).sizes[sequence])
            start = begin if position == first else 0
            stop = end + 1 if position == last else size
            if not start <= stop <= size:
                break
            found.append(Piece(document, shard, sequence, start, stop - start))
            left -= stop - start
        if left:
            raise InputError(f"{self.schedule} was built for other shards: turn {turn} is not a sequence of them")
        return found

    def _packed_pieces(self, index: PackedSchedule, turn: int) -> list[Piece]:
        found, left = [], self.seq_len + 1
        for document, start, length in index.rows(turn).tolist():
            left -= length
            if not 0 <= document < self.starts[-1] or start < 0 or length < 1 or left < 0:
                break
            shard, sequence = self.place(document)
            if start + length > int(self.shard(shard).sizes[sequence]):
                break
            found.append(Piece(document, shard, sequence, start, length))
        else:
            return found
        raise InputError(f"{self.schedule} was built for other shards: turn {turn} is not a sequence of them")

    def place(self, document: int) -> tuple[int, int]:
        """Return the shard of a document and its number in it."""
        shard = bisect_right(self.starts, document) - 1
        return shard, document - self.starts[shard]

    def shard(self, number: int) -> IndexedDataset:
        """Return a shard, opened when it is first needed."""
        if number not in self._open:
            self._open[number] = IndexedDataset(storage.join(self.tokens, self.shards[number]))
        return self._open[number]

    def state(self, cursor: int) -> dict[str, Any]:
        """Describe where training stands after `cursor` sequences, all ranks together."""
        return {"cursor": cursor, "schedule": self.schedule_hash, "tokens": self.tokens_hash}

    def cursor(self, state: Mapping[str, Any]) -> int:
        """Return where a saved state stands.

        Raises:
            InputError: it was saved with another schedule or other shards, or is no such state.
        """
        if not {"cursor", "schedule", "tokens"} <= set(state):
            raise InputError(f"not the state of a loader: its keys are {', '.join(map(str, state))}")
        for name, own, where in (
            ("schedule", self.schedule_hash, self.schedule),
            ("tokens", self.tokens_hash, self.tokens),
        ):
            if state[name] != own:
                raise InputError(
                    f"the state was saved with {name} {str(state[name])[:12]}, but {where} is {own[:12]}: training "
                    "would read something else; open the run it was saved with, or start anew"
                )
        cursor = int(state["cursor"])
        if not 0 <= cursor <= self.samples:
            raise InputError(f"the state stands at sequence {cursor:,} of a schedule of {self.samples:,}")
        return cursor

    def __reduce__(self) -> tuple[type[SequenceReader], tuple[str, str]]:
        # Loader processes open the files themselves.
        return SequenceReader, (self.tokens, self.schedule)
