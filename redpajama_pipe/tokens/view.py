"""What the model sees at a step: the text of each sequence, its documents, and when it saw them before.

One row costs a few pages of the schedule and the shards, and one row group of the token map and of the documents for
each document in it, found by the statistics of the map's column `sequence`; nothing is scanned where the schedule has
its inverse (see `lookup`). Steps and rows are counted from 0, as in Pythia's batch viewer: a checkpoint of step N has
seen steps 0 to N - 1.

Source: EleutherAI/pythia, utils/batch_viewer.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow.parquet as pq

from redpajama_pipe import manifest, recipe, schema, storage
from redpajama_pipe.errors import InputError, ManifestError
from redpajama_pipe.report import figures, terminal
from redpajama_pipe.report.explain import WIDTH
from redpajama_pipe.run_folder import RunFolder
from redpajama_pipe.settings.tree import build
from redpajama_pipe.tokens.encode import Encoder, open_encoder
from redpajama_pipe.tokens.lookup import Lookup, Visit
from redpajama_pipe.tokens.reader import Piece, SequenceReader, open_run, schedule_folders
from redpajama_pipe.tokens.spec import TokenizerSpec, find_file

STEPS_SHOWN = 12
ROWS_TOGETHER = 64
_MAP = (schema.DOC_ID, schema.SOURCE, schema.SUBSET, schema.LANGUAGE, schema.PART, schema.ROW)


@dataclass(frozen=True)
class Passage:
    """The part of a sequence that comes from one document.

    Attributes:
        doc_id: in hex digits.
        source, subset, language: of the document.
        url, title: of the document; None where it has none, or the run's documents are not here.
        start: first token of the document that is shown.
        length: how many are.
        size: how many the document has.
        before: earlier steps that read any of the tokens shown.
        elsewhere: earlier steps that read other tokens of the document.
        text: the tokens' text.
    """

    doc_id: str
    source: str
    subset: str | None
    language: str | None
    url: str | None
    title: str | None
    start: int
    length: int
    size: int
    before: Sequence[int]
    elsewhere: Sequence[int]
    text: str


@dataclass(frozen=True)
class Row:
    """One sequence of a step."""

    row: int
    turn: int
    passages: Sequence[Passage]


def view_lines(run: str | Path, step: int, row: int | None = None, epochs: float | None = None) -> Iterator[str]:
    """Yield what the model sees at a step, line by line, as it is found.

    Args:
        run: the run's folder: path or URL.
        step: from 0.
        row: one sequence of the batch, from 0; None: all of them.
        epochs: which schedule; None: the recipe's first.

    Raises:
        InputError: there is no such step, row or schedule.
        ManifestError: tokenize or schedule did not finish.
        SetupError: the tokenizer's file is not there.
    """
    folder = RunFolder.at(str(run))
    wanted = next(iter(schedule_folders(folder.schedule))) if epochs is None else epochs
    reader = open_run(run, wanted)
    rows = find_rows(reader, folder, step, row, open_tokenizer(folder, reader.packed))
    head = (
        f"step {step:,} of 0 to {reader.steps - 1:,} · {figures.plural(reader.batch_size, 'sequence')} of "
        f"{reader.seq_len:,} tokens · "
        f"epochs {reader.epochs:g}, {reader.order.mode}"
    )
    for number, found in enumerate(rows):
        yield from terminal.wrap(head, WIDTH) if number == 0 else ()
        yield from _render(found)


def find_rows(reader: SequenceReader, folder: RunFolder, step: int, row: int | None, encoder: Encoder) -> Iterator[Row]:
    """Look up the sequences of a step.

    Raises:
        InputError: there is no such step or row.
        ManifestError: the token map or the documents are not those of the shards.
    """
    if not 0 <= step < reader.steps:
        raise InputError(f"step {step:,} of a schedule of {reader.steps:,} steps: give 0 to {reader.steps - 1:,}")
    if row is not None and not 0 <= row < reader.batch_size:
        raise InputError(f"row {row:,} of a batch of {reader.batch_size:,}: give 0 to {reader.batch_size - 1:,}")
    rows = range(reader.batch_size) if row is None else range(row, row + 1)
    lookup, first, count = Lookup(reader), 0, 1
    while first < len(rows):
        # the first row at once, then more and more together: rows share row groups of the maps, and scans
        some = rows[first:] if lookup.scans else rows[first : first + count]
        yield from _find_rows(reader, folder, step, some, encoder, lookup)
        first, count = first + len(some), min(2 * count, ROWS_TOGETHER)


def _find_rows(
    reader: SequenceReader, folder: RunFolder, step: int, rows: Sequence[int], encoder: Encoder, lookup: Lookup
) -> Iterator[Row]:
    pieces = {row: reader.pieces(step * reader.batch_size + row) for row in rows}
    found = {piece.document: piece for each in pieces.values() for piece in each}
    mapped = _token_map(reader, found.values())
    where = _documents(folder, mapped.values())
    visits = lookup.visits(sorted(found))
    for row, each in pieces.items():
        passages = []
        for piece in each:
            shard, known = reader.shard(piece.shard), mapped[piece.document]
            before, elsewhere = _before(visits[piece.document], step * reader.batch_size, reader.batch_size, piece)
            passages.append(
                Passage(
                    known[schema.DOC_ID].hex(),
                    known[schema.SOURCE],
                    known[schema.SUBSET],
                    known[schema.LANGUAGE],
                    *where.get(known[schema.DOC_ID], (None, None)),
                    piece.start,
                    piece.length,
                    int(shard.sizes[piece.sequence]),
                    before,
                    elsewhere,
                    encoder.decode(shard.get(piece.sequence, piece.start, piece.length)),
                )
            )
        yield Row(row, step * reader.batch_size + row, passages)


def open_tokenizer(folder: RunFolder, packed: manifest.Manifest | None = None) -> Encoder:
    """Open the tokenizer with which a run's shards were written.

    Args:
        folder: of the run.
        packed: the manifest of its shards, where it has been read; of a thousand files that takes 50 ms.

    Raises:
        SetupError: its file is not there.
    """
    packed = packed or manifest.read(folder.tokens)
    spec = build(TokenizerSpec, packed.recipe["spec"], f"the tokenizer of {folder.tokens}")
    trained = [file.path for file in packed.files if file.path == f"tokenizer{spec.model_suffix}"]
    if trained:
        return open_encoder(spec, storage.join(folder.tokens, trained[0]), "reference")
    path = recipe.load(folder.recipe).tokenize.path if storage.exists(folder.recipe) else ""
    return open_encoder(spec, find_file(spec, path), "reference")


def _before(visits: Sequence[Visit], turn: int, batch_size: int, piece: Piece) -> tuple[list[int], list[int]]:
    """Return the earlier steps that read any of these tokens, and those that read only others of the document."""
    end = piece.start + piece.length
    earlier = [visit for visit in visits if visit.turn < turn]
    same = {visit.turn // batch_size for visit in earlier if visit.start < end and piece.start < visit.end}
    return sorted(same), sorted({visit.turn // batch_size for visit in earlier} - same)


def _token_map(reader: SequenceReader, pieces: Iterable[Piece]) -> dict[int, dict[str, Any]]:
    """Return the token map's row of each document; only row groups that hold one are read."""
    found: dict[int, dict[str, Any]] = {}
    for shard, own in groupby(sorted(pieces, key=lambda piece: piece.document), key=lambda piece: piece.shard):
        wanted = np.array([piece.sequence for piece in own])
        path = storage.join(reader.tokens, "token_map", f"{reader.shards[shard]}.parquet")
        # dictionaries stay as they are, and one thread: half the time for a row group
        with _open_dictionaries(path) as parquet:
            column = parquet.schema_arrow.get_field_index("sequence")
            last = -1  # sequences ascend, apart from the -1 of documents without tokens
            for group in range(parquet.num_row_groups):
                statistics = parquet.metadata.row_group(group).column(column).statistics
                first, last = last + 1, max(last, statistics.max)
                inside = wanted[(wanted >= first) & (wanted <= last)]
                if len(inside):
                    table = parquet.read_row_group(group, [*_MAP, "sequence"], use_threads=False)
                    sequences = np.from_dlpack(table.column("sequence").combine_chunks())
                    # no to_numpy() and no take(): pyarrow imports pandas for them
                    for place in np.flatnonzero(np.isin(sequences, inside)).tolist():
                        row = table.slice(place, 1).to_pylist()[0]
                        found[reader.starts[shard] + row["sequence"]] = row
        if any(reader.starts[shard] + sequence not in found for sequence in wanted.tolist()):
            raise ManifestError(f"{path} does not list the documents of its shard; run tokenize again")
    return found


def _open_dictionaries(path: str) -> pq.ParquetFile:
    if "://" not in path:
        return pq.ParquetFile(path, read_dictionary=_MAP[1:5])
    filesystem, target = fsspec.core.url_to_fs(path)
    return pq.ParquetFile(target, filesystem=filesystem, read_dictionary=_MAP[1:5])


def _documents(folder: RunFolder, rows: Iterable[dict[str, Any]]) -> dict[bytes, tuple[str | None, str | None]]:
    """Return the URL and title of some documents; nothing where the run's documents are not here."""
    if not storage.exists(storage.join(folder.documents, manifest.NAME)):
        return {}
    found: dict[bytes, tuple[str | None, str | None]] = {}
    places = sorted((row[schema.PART], row[schema.ROW], row[schema.DOC_ID]) for row in rows)
    for part, own in groupby(places, key=lambda place: place[0]):
        path = storage.join(folder.documents, f"{part}.parquet")
        wanted = {row: doc_id for _, row, doc_id in own}
        with storage.open_parquet(path) as parquet:
            for row, doc_id, url, title in _rows_of(parquet, np.array(list(wanted))):
                if doc_id != wanted[row]:
                    raise ManifestError(f"{path} is not the one that the shards were made from; run tokenize again")
                found[doc_id] = url, title
    return found


def _rows_of(parquet: pq.ParquetFile, wanted: Any) -> Iterator[tuple[int, bytes, str | None, str | None]]:
    end = 0
    for group in range(parquet.num_row_groups):
        begin, end = end, end + parquet.metadata.row_group(group).num_rows
        inside = wanted[(wanted >= begin) & (wanted < end)]
        if len(inside):
            table = parquet.read_row_group(group, columns=[schema.DOC_ID, "url", "title"])
            for row in inside.tolist():
                found = table.slice(row - begin, 1).to_pylist()[0]
                yield row, found[schema.DOC_ID], found["url"], found["title"]


def _render(row: Row) -> Iterator[str]:
    yield ""
    yield f"row {row.row:,} · turn {row.turn:,} · {figures.plural(len(row.passages), 'document')}"
    yield "─" * WIDTH
    for passage in row.passages:
        names = (passage.doc_id, passage.source, passage.subset, passage.language)
        yield terminal.truncate(terminal.clean(" · ".join(name for name in names if name)), WIDTH)
        last = passage.start + passage.length - 1
        fields = (
            ("url", passage.url),
            ("title", passage.title),
            (
                "tokens",
                f"{passage.start:,} to {last:,} of {passage.size:,} ({figures.plural(passage.length, 'token')})",
            ),
            ("seen before", _steps(passage.before) or "never"),
            ("other parts", _steps(passage.elsewhere)),
        )
        for label, value in fields:
            if value:
                for at, line in enumerate(terminal.wrap(terminal.clean(value), WIDTH - 15)):
                    yield f"  {terminal.pad(label if at == 0 else '', 11)}  {line}"
        for paragraph in passage.text.splitlines():
            yield from (f"  │ {line}".rstrip() for line in _lines(paragraph))
        yield ""


def _lines(paragraph: str) -> list[str]:
    """Break a line of text to the width, its spaces as they are: code is text too."""
    if len(paragraph) <= WIDTH - 4 and paragraph.isascii() and paragraph.isprintable():
        return [paragraph]
    words = re.split("( +)", paragraph.expandtabs(4))
    harmless = "".join(word if word.startswith(" ") else terminal.clean(word) for word in words)
    # wrap() breaks at single spaces only; clean() leaves no other white space, so this one stands for the rest
    held = re.sub("^ +| {2,}", lambda spaces: "\u00a0" * len(spaces[0]), harmless)
    return [line.replace("\u00a0", " ") for line in terminal.wrap(held, WIDTH - 4)] or [""]


def _steps(steps: Sequence[int]) -> str:
    if not steps:
        return ""
    shown = ", ".join(f"{step:,}" for step in steps[:STEPS_SHOWN])
    more = f" and {len(steps) - STEPS_SHOWN:,} more" if len(steps) > STEPS_SHOWN else ""
    return f"{'step' if len(steps) == 1 else 'steps'} {shown}{more}"
