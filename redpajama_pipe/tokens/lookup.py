"""When training reads some documents, without going through the others: the inverse of a schedule.

With the arrays of `write_lookup` a document costs a few pages of them, at any scale; without them a lookup scans
doc_idx and shuffle_idx, 4 bytes a document and epoch and 4 a sequence.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from redpajama_pipe import schema, storage
from redpajama_pipe.errors import InputError, ManifestError
from redpajama_pipe.storage import File
from redpajama_pipe.tokens.order import Order, Part
from redpajama_pipe.tokens.packing import PackedSchedule
from redpajama_pipe.tokens.reader import SequenceReader
from redpajama_pipe.tokens.schedule import Schedule, index_names, load_array, write_array


def write_lookup(folder: str | Path, order: Order) -> list[File]:
    """Write two inverse arrays for each part beside an order, so that `Lookup` scans nothing.

    Args:
        folder: of the order: path or URL.
        order: what `write_order` wrote there.

    Returns:
        The files written: 4 bytes a document and epoch, 4 a sequence; 8 where numbers pass 32 bits.
    """
    files = []
    for number, part in enumerate(order.parts):
        if isinstance(part.schedule, PackedSchedule):
            continue  # a lookup goes through its pieces
        positions, turns = _inverse_names(part)
        files.append(write_array(folder, positions, invert_documents(part.stream)))
        files.append(write_array(folder, turns, invert_part(order, number)))
    return files


def _inverse_names(part: Part) -> list[str]:
    stem = index_names(part.stream, part.prefix)["doc_idx"].removesuffix("doc_idx.npy")
    return [f"{stem}{name}.npy" for name in ("position_idx", "turn_idx")]


class Visit(NamedTuple):
    """One sequence that reads a document: tokens `start` to `end - 1` of it are inputs at this turn."""

    turn: int
    start: int
    end: int


class Lookup:
    """Finds when training reads some documents.

    Attributes:
        scans: no inverse arrays: each call of `visits` goes through the whole schedule.
    """

    def __init__(self, reader: SequenceReader) -> None:
        """Map the inverse arrays where they are."""
        self._reader = reader
        self._maps: list[list[NDArray[Any]] | None] = []
        for part in reader.order.parts:
            names = [] if isinstance(part.schedule, PackedSchedule) else _inverse_names(part)
            paths = [storage.join(reader.schedule, name) for name in names]
            found = bool(paths) and all(map(storage.exists, paths))
            self._maps.append([load_array(path) for path in paths] if found else None)
        self.scans = None in self._maps

    def visits(self, documents: Sequence[int]) -> dict[int, list[Visit]]:
        """Return all that training reads of some documents, in the order of the turns.

        Args:
            documents: numbers over all shards, as in `reader.Piece`.

        Raises:
            ManifestError: the inverse arrays belong to another schedule.
        """
        found: dict[int, list[Visit]] = {document: [] for document in documents}
        for number, part in enumerate(self._reader.order.parts):
            own = _own_numbers(part, sorted(found))
            if isinstance(part.schedule, PackedSchedule):
                self._visit_packed(part.schedule, sorted(own), found)
                continue
            spans: list[tuple[int, int, int, int]] = []  # document, sequence, start, end
            for own_document, positions in self._positions(number, sorted(own)):
                document = own[own_document]
                shard, sequence = self._reader.place(document)
                size = int(self._reader.shard(shard).sizes[sequence])
                for position in positions:
                    spans += ((document, *span) for span in read_spans(part.stream, position, size))
            turns = self._turns(number, [span[1] for span in spans])
            for document, sequence, start, end in spans:
                if turns[sequence] < self._reader.samples:
                    found[document].append(Visit(turns[sequence], start, end))
        return {document: sorted(visits) for document, visits in found.items()}

    def _visit_packed(self, index: PackedSchedule, documents: Sequence[int], found: Mapping[int, list[Visit]]) -> None:
        """Add what training reads of some documents of a packed schedule: one pass over pieces and turns."""
        places = (self._reader.place(document) for document in documents)
        sizes = [int(self._reader.shard(shard).sizes[sequence]) for shard, sequence in places]
        most = sum(-(-size // (index.seq_len + 1)) for size in sizes)
        _, rows = _find(index.pieces[:, 0], documents, most)
        bins = np.searchsorted(index.bins, rows, side="right") - 1
        wanted = np.unique(bins)
        which, turns = _find(index.shuffle_idx[: self._reader.samples], wanted.tolist(), len(wanted) * index.epochs)
        for row, own_bin in zip(rows.tolist(), bins.tolist(), strict=True):
            document, start, length = index.pieces[row].tolist()
            own = turns[which == np.searchsorted(wanted, own_bin)]
            found[document] += [Visit(turn, start, start + length) for turn in own.tolist()]

    def _positions(self, number: int, documents: Sequence[int]) -> Iterator[tuple[int, list[int]]]:
        """Yield the positions in a part's doc_idx of each of its documents; these are counted in the part."""
        index, maps = self._reader.order.parts[number].stream, self._maps[number]
        if maps is None:
            which, places = _find(index.doc_idx, documents, len(documents) * index.epochs)
            yield from ((document, places[which == at].tolist()) for at, document in enumerate(documents))
            return
        for document in documents:
            positions = maps[0][document]
            if not (index.doc_idx[positions] == document).all():
                raise ManifestError(_STALE.format(self._reader.schedule))
            yield document, positions.tolist()

    def _turns(self, number: int, sequences: Sequence[int]) -> dict[int, int]:
        """Return the turn that reads each of some sequences of a part; len(order) or more where none does."""
        order = self._reader.order
        shuffle_idx, maps = order.parts[number].schedule.shuffle_idx, self._maps[number]
        wanted = sorted(set(sequences))
        if maps is None:
            which, places = _find(shuffle_idx, wanted, len(wanted))
            when = order.turns(number)
            if when is not None:
                places = np.append(when, len(order))[np.minimum(places, len(when))]
            return {wanted[at]: turn for at, turn in zip(which.tolist(), places.tolist(), strict=True)}
        turns = dict(zip(wanted, maps[1][wanted].tolist(), strict=True))
        for sequence, turn in turns.items():
            if order.dataset_index is not None and turn >= len(order):
                continue  # of a blend, and not read
            part, own_turn = order.locate(turn)
            if part is not order.parts[number] or shuffle_idx[own_turn] != sequence:
                raise ManifestError(_STALE.format(self._reader.schedule))
        return turns


def _own_numbers(part: Part, documents: Sequence[int]) -> dict[int, int]:
    """Return those of some documents, ascending, that a part has: by their number in it."""
    if part.documents is None:
        return {document: document for document in documents if 0 <= document < part.schedule.documents}
    places = np.searchsorted(part.documents, documents)
    return {
        place: document
        for place, document in zip(places.tolist(), documents, strict=True)
        if place < len(part.documents) and part.documents[place] == document
    }


def read_spans(index: Schedule, position: int, size: int) -> Iterator[tuple[int, int, int]]:
    """Yield the sequences that read one place of the stream, and which tokens of the document there they read."""
    borders = index.sample_idx
    last = len(borders) - 1
    sequence = bisect_right(range(last + 1), (position, 0), key=lambda row: tuple(borders[row].tolist())) - 1
    while sequence < last:
        (first, start), (next_position, end) = borders[sequence : sequence + 2].tolist()
        if first > position:
            return
        begin = start if first == position else 0
        stop = end if next_position == position else size
        if begin < stop:
            yield sequence, begin, stop
        sequence += 1


_STALE = "the inverse arrays in {} belong to another schedule; run schedule again"


def _find(values: NDArray[Any], wanted: Sequence[int], most: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Find all places of some values: which of `wanted` (sorted, distinct), and where, ascending; at most `most`."""
    from redpajama_pipe.tokens.index_kernels import scan

    which, places = np.zeros((2, most), np.int64)
    targets = np.array(wanted, np.int64)
    count = scan(values, targets, np.bincount(targets & 0xFFFF, minlength=1 << 16) > 0, which, places)
    return which[:count], places[:count]


def find_document(reader: SequenceReader, doc_id: str | bytes) -> int:
    """Return the number of a document over all shards; reads the ids of the token map until it is found.

    Args:
        reader: a run's schedule.
        doc_id: 32 hex digits, or the 16 bytes.

    Raises:
        InputError: the run has no tokens of such a document.
    """
    import pyarrow.compute as pc

    shown = doc_id if isinstance(doc_id, str) else doc_id.hex()
    try:
        wanted = pa.scalar(bytes.fromhex(shown), pa.binary())
    except ValueError:
        raise InputError(f"{shown!r} is not a document's id: give its 32 hex digits") from None
    for number, name in enumerate(reader.shards):
        path = storage.join(reader.tokens, "token_map", f"{name}.parquet")
        with storage.open_parquet(path) as parquet:
            for group in range(parquet.num_row_groups):
                rows = parquet.read_row_group(group, columns=[schema.DOC_ID, "sequence"])
                at = pc.index(rows.column(0), wanted).as_py()
                if at >= 0 and rows.column(1)[at].as_py() >= 0:
                    return int(reader.starts[number] + rows.column(1)[at].as_py())
    raise InputError(f"{reader.tokens} has no tokens of a document {shown}: it was dropped, is empty, or never was")


def invert_turns(shuffle_idx: NDArray[Any]) -> NDArray[Any]:
    """Return the turn at which each sequence is read."""
    from redpajama_pipe.tokens.index_kernels import invert

    turns = np.empty_like(shuffle_idx, subok=False)
    invert(shuffle_idx, turns)
    return turns


def invert_part(order: Order, number: int) -> NDArray[Any]:
    """Return the turn at which each sequence of a part is read; of a blend, len(order) where none reads it."""
    shuffle_idx = order.parts[number].schedule.shuffle_idx
    when = order.turns(number)
    if when is None:
        return invert_turns(shuffle_idx)
    turns = np.full(len(shuffle_idx), len(order), np.uint32 if len(order) <= np.iinfo(np.uint32).max else np.int64)
    turns[shuffle_idx[: len(when)]] = when
    return turns


def invert_documents(index: Schedule) -> NDArray[Any]:
    """Return (documents, epochs) the positions of each document in doc_idx, ascending."""
    from redpajama_pipe.tokens.index_kernels import invert_repeated

    dtype = np.int32 if len(index.doc_idx) <= np.iinfo(np.int32).max else np.int64
    positions = np.empty((index.documents, index.epochs), dtype)
    invert_repeated(index.doc_idx, np.zeros(index.documents, np.int32), positions)
    return positions
