"""How often, and at which steps, training reads each document, source, language and subset.

Three passes over the schedule, and one over the columns of the token map that are asked for. Memory: about 60 bytes a
document, 4 a sequence, and one shard's token map. For a few documents `lookup` is the way.
A step reads the inputs of its sequences; the last id of a sequence is only predicted there, and is the next one's first
input. A packed sequence reads every id it holds. Steps are counted from 0: step k reads turns k * batch_size to
(k + 1) * batch_size - 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numba import njit
from numpy.typing import NDArray

from redpajama_pipe import schema, storage
from redpajama_pipe.errors import ManifestError
from redpajama_pipe.report import figures
from redpajama_pipe.report.table import format_table
from redpajama_pipe.run_folder import RunFolder
from redpajama_pipe.storage import File
from redpajama_pipe.tables import TableWriter
from redpajama_pipe.tokens.indexed import ShardedDataset
from redpajama_pipe.tokens.lookup import Lookup, find_document, invert_part
from redpajama_pipe.tokens.order import Order, count_exposure
from redpajama_pipe.tokens.packing import PackedSchedule
from redpajama_pipe.tokens.packing_kernels import count_packed_readings, list_packed_readings
from redpajama_pipe.tokens.reader import SequenceReader, open_run, schedule_folders

By = Literal["source", "language", "subset"]

# One row a document, in the order of the shards.
EXPOSURES = pa.schema(
    [
        *(schema.TOKEN_MAP.field(name) for name in (schema.DOC_ID, "shard", "sequence", "length")),
        *(schema.TOKEN_MAP.field(name) for name in (schema.SOURCE, schema.SUBSET, schema.LANGUAGE)),
        pa.field("times_seen", pa.int64(), nullable=False),  # how often its first token is an input
        pa.field("tokens_seen", pa.int64(), nullable=False),  # repetitions counted
        pa.field("exposure", pa.float64()),  # tokens_seen / length; null: no tokens
        pa.field("steps", pa.list_(pa.int32()), nullable=False),  # steps that read any of it, ascending, distinct
    ]
)


@dataclass(frozen=True)
class GroupExposure:
    """How training reads one source, language or subset.

    Attributes:
        name: of the group; empty: documents that have none.
        documents: with tokens.
        empty: documents without tokens, which are in no shard.
        never: documents whose first token is never an input; `once` and `more` likewise.
        tokens: in the shards.
        tokens_seen: read as inputs, repetitions counted.
        first_step: that reads any of it; -1: none does. `last_step` likewise.
    """

    name: str
    documents: int
    empty: int
    never: int
    once: int
    more: int
    tokens: int
    tokens_seen: int
    first_step: int
    last_step: int

    @property
    def mean(self) -> float | None:
        """How often a token is read on average; None where there are none."""
        return self.tokens_seen / self.tokens if self.tokens else None


class Exposures:
    """The exposure of every document of a run.

    Attributes:
        reader: the schedule.
        sizes: (documents,) tokens of each, in the order of the shards.
        times_seen: (documents,) how often the first token is an input.
        tokens_seen: (documents,) tokens read as inputs, repetitions counted.
    """

    def __init__(self, reader: SequenceReader) -> None:
        """Count the exposure of every document in what training reads of a schedule."""
        self.reader = reader
        self.sizes = ShardedDataset([storage.join(reader.tokens, name) for name in reader.shards]).sizes
        counted = count_exposure(reader.order, self.sizes, reader.samples)
        self.times_seen, self.tokens_seen = counted.first_token, counted.tokens

    @cached_property
    def steps(self) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """The steps that read each document: (documents + 1,) where its steps begin, and the steps, ascending."""
        reader, order = self.reader, self.reader.order
        ends = np.zeros(len(self.sizes) + 1, np.int64)
        for number, part in enumerate(order.parts):
            counts = np.zeros(part.schedule.documents, np.int64)
            if isinstance(part.schedule, PackedSchedule):
                count_packed_readings(*self._bins(part.schedule), counts)
            else:
                _count_readings(*self._stream(number), reader.samples, counts)
            part.scatter(counts, ends[1:])
        np.cumsum(ends, out=ends)
        steps = np.empty(ends[-1], np.int32)
        for number, part in enumerate(order.parts):
            free = part.gather(ends[:-1]).copy()
            if isinstance(part.schedule, PackedSchedule):
                list_packed_readings(*self._bins(part.schedule), reader.batch_size, free, steps)
            else:
                _list_readings(*self._stream(number), reader.samples, reader.batch_size, free, steps)
        kept = _sort_distinct(ends, steps)
        return ends, steps[:kept]

    def _stream(self, number: int) -> tuple[NDArray[np.int32], NDArray[np.int32], int, NDArray[Any]]:
        """Return a part's documents and where each of its sequences is read, as the kernels take them."""
        part = self.reader.order.parts[number]
        turns = invert_part(self.reader.order, number)
        return part.gather(self.sizes), part.stream.doc_idx, part.stream.seq_len, turns

    def _bins(self, schedule: PackedSchedule) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[Any]]:
        """Return what training reads of packed documents, as the kernels take it."""
        return schedule.pieces, schedule.bins, schedule.shuffle_idx[: self.reader.samples]

    def groups(self, by: By = "source") -> list[GroupExposure]:
        """Sum up by source, language or subset, sorted by name."""
        ends, steps = self.steps
        sums: dict[str, NDArray[np.int64]] = {}
        for first, rows in self._token_map(["sequence", by]):
            column = pc.dictionary_encode(rows.column(by).combine_chunks(), null_encoding="encode")
            counts = _no_group(len(column.dictionary))
            sequences = rows.column("sequence").to_numpy()
            groups = column.indices.to_numpy()
            _sum_groups(groups, sequences, first, self.sizes, self.times_seen, self.tokens_seen, ends, steps, counts)
            for name, found in zip(column.dictionary.to_pylist(), counts, strict=True):
                total = sums.setdefault(name or "", _no_group(1)[0])
                total[:-2] += found[:-2]
                total[-2] = min(total[-2], found[-2])
                total[-1] = max(total[-1], found[-1])
        return [_group(name, found) for name, found in sorted(sums.items())]

    def write(self, path: str) -> File:
        """Write one row a document, as EXPOSURES, in the order of the shards."""
        ends, steps = self.steps
        with TableWriter(path, EXPOSURES, plain=(schema.DOC_ID, "steps")) as writer:
            for first, rows in self._token_map(EXPOSURES.names[:7]):
                sequences = rows.column("sequence").to_numpy()
                full = sequences >= 0
                begin, end = ends[first], ends[first + int(full.sum())]
                borders = np.zeros(len(full) + 1, np.int64)  # of each row's steps; a document without tokens has none
                borders[1:][full] = np.diff(ends[first : first + int(full.sum()) + 1])
                np.cumsum(borders, out=borders)
                times, tokens = np.zeros((2, len(full)), np.int64)
                times[full] = self.times_seen[first + sequences[full]]
                tokens[full] = self.tokens_seen[first + sequences[full]]
                lengths = rows.column("length").to_numpy()
                share = tokens / np.maximum(lengths, 1)
                columns = [
                    *(column.combine_chunks() for column in rows.columns),
                    pa.array(times),
                    pa.array(tokens),
                    pa.array(share, mask=~full),
                    pa.ListArray.from_arrays(pa.array(borders, pa.int32()), pa.array(steps[begin:end])),
                ]
                writer.append(pa.RecordBatch.from_arrays(columns, schema=EXPOSURES))
        assert writer.file is not None
        return writer.file

    def _token_map(self, columns: Sequence[str]) -> Iterator[tuple[int, pa.Table]]:
        """Yield the number of each shard's first document, and columns of its token map."""
        for number, name in enumerate(self.reader.shards):
            path = storage.join(self.reader.tokens, "token_map", f"{name}.parquet")
            with storage.open_parquet(path) as parquet:
                rows = parquet.read(columns=list(columns))
            first, end = self.reader.starts[number : number + 2]
            sequences = rows.column("sequence").to_numpy()
            if not np.array_equal(sequences[sequences >= 0], np.arange(end - first)):
                raise ManifestError(f"{path} does not list the documents of its shard; run tokenize again")
            yield first, rows


_NEVER = np.iinfo(np.int64).max


def _no_group(count: int) -> NDArray[np.int64]:
    # the fields of GroupExposure after its name
    return np.tile(np.array([0, 0, 0, 0, 0, 0, 0, _NEVER, -1], np.int64), (count, 1))


def _group(name: str, found: NDArray[np.int64]) -> GroupExposure:
    values: list[int] = found.tolist()
    if values[-1] < 0:
        values[-2] = -1
    return GroupExposure(name, *values)


@njit(cache=True, nogil=True)
def _sum_groups(
    groups: NDArray[np.int32],
    sequences: NDArray[np.int64],
    first: int,
    sizes: NDArray[np.int32],
    times_seen: NDArray[np.int64],
    tokens_seen: NDArray[np.int64],
    ends: NDArray[np.int64],
    steps: NDArray[np.int32],
    counts: NDArray[np.int64],
) -> None:
    for row in range(len(groups)):
        found = counts[groups[row]]
        if sequences[row] < 0:
            found[1] += 1
            continue
        document = first + sequences[row]
        found[0] += 1
        found[2 + min(times_seen[document], 2)] += 1
        found[5] += sizes[document]
        found[6] += tokens_seen[document]
        if ends[document + 1] > ends[document]:
            found[7] = min(found[7], steps[ends[document]])
            found[8] = max(found[8], steps[ends[document + 1] - 1])


@njit(cache=True, nogil=True)
def _count_readings(
    sizes: NDArray[np.int32],
    doc_idx: NDArray[np.int32],
    seq_len: int,
    turns: NDArray[Any],
    samples: int,
    counts: NDArray[np.int64],
) -> None:
    at = 0  # of the stream of all documents
    for document in doc_idx:
        end = at + sizes[document]
        last = min(-(-end // seq_len), len(turns)) if end > at else 0
        for sequence in range(at // seq_len, last):
            if turns[sequence] < samples:
                counts[document] += 1
        at = end


@njit(cache=True, nogil=True)
def _list_readings(
    sizes: NDArray[np.int32],
    doc_idx: NDArray[np.int32],
    seq_len: int,
    turns: NDArray[Any],
    samples: int,
    batch_size: int,
    free: NDArray[np.int64],
    steps: NDArray[np.int32],
) -> None:
    at = 0
    for document in doc_idx:
        end = at + sizes[document]
        last = min(-(-end // seq_len), len(turns)) if end > at else 0
        for sequence in range(at // seq_len, last):
            if turns[sequence] < samples:
                steps[free[document]] = turns[sequence] // batch_size
                free[document] += 1
        at = end


@njit(cache=True, nogil=True)
def _sort_distinct(ends: NDArray[np.int64], steps: NDArray[np.int32]) -> int:
    """Sort each document's steps, keep each once, close the gaps; `ends` is changed to fit. Returns how many stay."""
    kept = begin = 0
    for document in range(len(ends) - 1):
        end = ends[document + 1]
        if end - begin > 1:
            steps[begin:end].sort()
        ends[document] = kept
        for at in range(begin, end):
            if at == begin or steps[at] != steps[at - 1]:
                steps[kept] = steps[at]
                kept += 1
        begin = end
    ends[-1] = kept
    return kept


def document_steps(reader: SequenceReader, doc_id: str | bytes) -> list[int]:
    """Return the steps that read any token of a document as an input, ascending; errors as `find_document`."""
    document = find_document(reader, doc_id)
    return sorted({visit.turn // reader.batch_size for visit in Lookup(reader).visits([document])[document]})


def exposure_text(run: str | Path, epochs: float | None = None, by: By = "source") -> str:
    """Say in tables how often training reads what: one table a schedule.

    Args:
        run: the run's folder, on a local disk.
        epochs: which schedule; None: all of them.
        by: what a row of the tables is.

    Raises:
        ManifestError, InputError: as `open_run`.
    """
    folders = schedule_folders(RunFolder.at(str(run)).schedule)
    readers = [open_run(run, each) for each in ([epochs] if epochs is not None else folders)]
    return "\n\n".join(render_exposures(reader, Exposures(reader).groups(by), by) for reader in readers) + "\n"


def render_exposures(reader: SequenceReader, groups: Sequence[GroupExposure], by: By = "source") -> str:
    """Draw the table of one schedule, without a newline at the end."""
    order = reader.order
    header = (by, "documents", "never", "once", "more often", "tokens seen", "exposure", "steps")
    total = [sum(getattr(group, name) for group in groups) for name in ("documents", "never", "once", "more")]
    tokens, seen, empty = (sum(getattr(group, name) for group in groups) for name in ("tokens", "tokens_seen", "empty"))
    rows = [
        (
            group.name or figures.DASH,
            *(group.documents, group.never, group.once, group.more, figures.compact(group.tokens_seen)),
            None if group.mean is None else round(group.mean, 3),
            f"{group.first_step:,} to {group.last_step:,}" if group.last_step >= 0 else figures.DASH,
        )
        for group in groups
    ]
    mean = round(seen / tokens, 3) if tokens else None
    footer = ("total", *total, figures.compact(seen), mean, f"0 to {reader.steps - 1:,}")
    never, once, more = (figures.share(part, total[0]) for part in total[1:])
    lines = [
        f"epochs {reader.epochs:g}, {_order_text(order)}: {figures.plural(reader.steps, 'step')} of "
        f"{figures.plural(reader.batch_size, 'sequence')} of {reader.seq_len:,} tokens",
        format_table(rows, header, "lrrrrrrr", max_width=None, footer=footer),
        f"seen: its first token is an input. Documents never seen: {never}; once: {once}; more often: {more}.",
    ]
    if empty:
        lines.append(f"{figures.plural(empty, 'document')} without tokens: in no shard, and not counted above.")
    return "\n".join(lines)


def _order_text(order: Order) -> str:
    if order.dataset_index is None:
        schedule = order.parts[0].schedule
        packing = f", {schedule.packing}" if isinstance(schedule, PackedSchedule) else ""
        return f"{order.mode} of {schedule.epochs}{packing}"
    total = sum(part.weight for part in order.parts)
    parts = (
        f"{figures.share(part.weight, total)} {part.name} ({figures.plural(part.schedule.epochs, 'epoch')})"
        for part in order.parts
    )
    return f"{order.mode}, blend of {', '.join(parts)}"


def write_exposures(run: str | Path, path: str, epochs: float | None = None) -> File:
    """Write the exposure of every document of a run as Parquet; errors as `open_run`."""
    return Exposures(open_run(run, epochs)).write(path)
