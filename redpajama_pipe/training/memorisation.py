"""What a checkpoint can say by heart, against how often training had read it by then.

A sequence's score is the share of its next 32 ids that greedy decoding gives back after its first 32; 1.0 is
memorised (k-extractible). Exposure counts what was read before the checkpoint; `copies` counts the same 64 ids anywhere
in the shards. Cost: one generation of 32 ids a sequence, and one pass over the shards.

Source: Biderman et al. 2023, Emergent and Predictable Memorization in Large Language Models, section 2;
EleutherAI/pythia, predictable-memorization/eval_memorization.py. Its generate() cannot give the end-of-document token,
because min_length forbids it; here any id can come, since shards may hold that token.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import torch
from fsspec.implementations.local import LocalFileSystem
from numpy.typing import NDArray

from redpajama_pipe import manifest, schema
from redpajama_pipe.errors import InputError, ManifestError, RecipeError, SetupError
from redpajama_pipe.report import figures
from redpajama_pipe.report.table import format_table
from redpajama_pipe.storage import File
from redpajama_pipe.tables import TableWriter
from redpajama_pipe.tokens.lookup import Lookup, Visit
from redpajama_pipe.tokens.reader import Piece, open_run
from redpajama_pipe.training import checkpoint, documents
from redpajama_pipe.training.checkpoint import Checkpoint
from redpajama_pipe.training.devices import within_memory
from redpajama_pipe.training.windows import count_windows

PROMPT = CONTINUATION = 32

# One row a sequence, in the schedule's order.
MEMORISATION = pa.schema(
    [
        pa.field("turn", pa.int64(), nullable=False),
        pa.field("step", pa.int32(), nullable=False),  # that reads it, from 0: step N is new to a checkpoint of N
        pa.field("score", pa.float32(), nullable=False),  # share of the continuation's ids that are given back
        pa.field("memorised", pa.bool_(), nullable=False),  # all of them
        pa.field("times_seen", pa.int32(), nullable=False),  # before the checkpoint; of the id seen least
        pa.field("steps_seen", pa.list_(pa.int32()), nullable=False),  # before the checkpoint, that read any of it
        pa.field("copies", pa.int64(), nullable=False),  # places of the window in the shards; 0: it spans documents
        pa.field("documents", pa.int32(), nullable=False),  # in the window
        pa.field(schema.DOC_ID, pa.binary(), nullable=False),  # the first of them, as are the next ones
        pa.field(schema.SOURCE, pa.string(), nullable=False),
        pa.field(schema.SUBSET, pa.string()),
        pa.field(schema.LANGUAGE, pa.string()),
        pa.field("dropped_duplicates", pa.int64()),  # of the window's documents; null: the run's decisions are not here
    ]
)


@dataclass(frozen=True)
class Memorisation:
    """The scores of some sequences.

    Attributes:
        rows: as MEMORISATION.
        step: of the checkpoint.
        prompt, continuation: how many ids.
    """

    rows: pa.Table
    step: int
    prompt: int
    continuation: int

    def write(self, path: str) -> File:
        """Write the rows as Parquet."""
        with TableWriter(path, MEMORISATION, plain=(schema.DOC_ID, "steps_seen")) as writer:
            for batch in self.rows.to_batches():
                writer.append(batch)
        assert writer.file is not None
        return writer.file


def measure(
    run: str,
    checkpoint_folder: str,
    sequences: int = 4096,
    prompt: int = PROMPT,
    continuation: int = CONTINUATION,
    batch_size: int = 64,
    device: str = "auto",
    dtype: str = "float32",
    told: Callable[[int, int], None] = lambda done, total: None,
) -> Memorisation:
    """Score sequences of a run with a checkpoint that was trained on it.

    Args:
        run: the run's folder, on a local disk.
        checkpoint_folder: a checkpoint, or the output folder of `train`: its last one.
        sequences: how many, evenly spread over the whole schedule, those to come included; 0: all. Those of a packed
            schedule whose window holds padding are left out.
        batch_size: sequences decoded together.
        device: cuda, cpu or auto.
        dtype: of the model's weights; the published evaluation takes float16.
        told: called with (done, total) sequences, at first with none done.

    Raises:
        InputError: the checkpoint was trained on something else, the window is longer than a sequence, or every one
            holds padding.
        ManifestError: the checkpoint or the run is not finished.
        RecipeError: a number that cannot be.
        SetupError: a GPU is asked for and there is none.
        PipelineError: a GPU's memory is not enough.
    """
    if sequences < 0 or batch_size < 1:
        raise RecipeError(
            f"{sequences} sequences, {batch_size} at a time; give 0 (all) or more, and 1 or more at a time"
        )
    if device == "cuda" and not torch.cuda.is_available():
        raise SetupError("the device is cuda, but torch sees no GPU; use --device cpu, or mend CUDA")
    found = find_checkpoint(checkpoint_folder)
    reader = open_run(run, found.manifest.counts["epochs"])
    cursor = reader.cursor(found.manifest.counts["loader"])
    width = prompt + continuation
    if min(prompt, continuation) < 1 or width > reader.seq_len:
        raise InputError(f"a window of {prompt} + {continuation} ids, but sequences have {reader.seq_len} tokens")
    batch = int(found.manifest.counts["batch_size"])
    count = min(sequences or len(reader), len(reader))
    spread = np.unique(np.linspace(0, len(reader) - 1, count).astype(np.int64)).tolist()
    inside = {turn: list(clip_pieces(reader.pieces(turn), width)) for turn in spread}
    turns = [turn for turn, own in inside.items() if sum(piece.length for piece in own) == width]
    if not turns:
        raise InputError(f"none of {len(spread):,} sequences of {run} begins with {width} ids that are no padding")
    pieces = [inside[turn] for turn in turns]
    place = torch.device("cuda" if device == "auto" and torch.cuda.is_available() else device.replace("auto", "cpu"))
    windows = np.empty((len(turns), width), np.int64)
    scores = np.empty(len(turns), np.float32)
    with within_memory(place, f"lower --batch (now {batch_size}), or take --dtype bfloat16"):
        model = checkpoint.open_model(found, getattr(torch, dtype)).to(place).eval()
        told(0, len(turns))
        for first in range(0, len(turns), batch_size):
            some = slice(first, first + batch_size)
            windows[some] = reader.read(turns[some])[:, :width]
            scores[some] = extractible(model, windows[some], prompt)
            told(min(first + batch_size, len(turns)), len(turns))
    numbers = sorted({piece.document for each in pieces for piece in each})
    visits = Lookup(reader).visits(numbers)
    known = documents.rows_of(reader, numbers, [schema.DOC_ID, schema.SOURCE, schema.SUBSET, schema.LANGUAGE])
    dropped = documents.dropped_duplicates(run, [row[schema.DOC_ID] for row in known.values()])
    first_rows = [known[each[0].document] for each in pieces]
    columns: dict[str, Sequence[Any]] = {
        "turn": turns,
        "step": [turn // batch for turn in turns],
        "score": scores.tolist(),
        "memorised": (scores == 1.0).tolist(),
        "times_seen": [times_seen(each, visits, cursor) for each in pieces],
        "steps_seen": [steps_seen(each, visits, cursor, batch) for each in pieces],
        "copies": count_windows(reader, windows).tolist(),
        "documents": [len(each) for each in pieces],
        **{name: [row[name] for row in first_rows] for name in MEMORISATION.names if name in first_rows[0]},
        "dropped_duplicates": [
            None if dropped is None else sum(dropped[known[piece.document][schema.DOC_ID]] for piece in each)
            for each in pieces
        ],
    }
    return Memorisation(pa.table(columns, schema=MEMORISATION), found.step, prompt, continuation)


def check_output(path: str) -> None:
    """See that a file can be written, before the work that fills it.

    On a local disk its folder is made. Of an object store it is known only that something here can open it.

    Raises:
        RecipeError: it cannot.
    """
    try:
        filesystem, target = fsspec.core.url_to_fs(path)
        if isinstance(filesystem, LocalFileSystem):
            if os.path.isdir(target):
                raise IsADirectoryError("that is a folder")
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=os.path.dirname(target)):
                pass
    except (OSError, ValueError, ImportError) as error:
        why = getattr(error, "strerror", None) or error
        raise RecipeError(f"--output {path} cannot be written: {why}; name another file") from error


def find_checkpoint(folder: str) -> Checkpoint:
    """Read a checkpoint, or the last one of an output folder.

    Raises:
        ManifestError: there is none.
    """
    inside = Path(folder, "checkpoints").is_dir()
    found = checkpoint.latest(folder) if inside else None
    if found is None and (inside or not manifest.find(folder)):
        raise ManifestError(
            f"no finished checkpoint in {folder}; give the output folder of pretrain, or one of its checkpoints/step…"
        )
    return found or checkpoint.read(folder)


def extractible(model: Any, windows: NDArray[np.int64], prompt: int) -> NDArray[np.float32]:
    """Return the share of ids after the prompt that greedy decoding gives back.

    Args:
        model: a transformers causal model, in eval mode.
        windows: (sequences, prompt + continuation) ids.

    Returns:
        (sequences,) shares in [0, 1].
    """
    from transformers import GenerationConfig

    length = windows.shape[1] - prompt
    ids = torch.from_numpy(windows).to(model.device)
    greedy = GenerationConfig(do_sample=False, max_new_tokens=length, min_new_tokens=length, use_cache=True)
    # with its own end-of-document token, generation would stop, or never give it
    model.generation_config.eos_token_id = None
    with torch.no_grad():
        given = model.generate(
            ids[:, :prompt], attention_mask=torch.ones_like(ids[:, :prompt]), generation_config=greedy
        )
    equal = (given[:, prompt:] == ids[:, prompt:]).float().mean(dim=1)
    shares: NDArray[np.float32] = equal.cpu().numpy()
    return shares


def clip_pieces(pieces: Sequence[Piece], width: int) -> Iterator[Piece]:
    """Yield the parts of documents that make up the first `width` ids of a sequence."""
    left = width
    for piece in pieces:
        if left <= 0:
            return
        if piece.length:
            yield piece._replace(length=min(piece.length, left))
            left -= piece.length


def times_seen(pieces: Sequence[Piece], visits: Mapping[int, Sequence[Visit]], cursor: int) -> int:
    """Return how often training had read a window after `cursor` sequences: the count of its id that was read least.

    Another epoch cuts a document elsewhere, so a window may be read half by one sequence and half by the next: once.
    """
    counts = []
    for piece in pieces:
        read = np.zeros(piece.length, np.int64)
        for visit in visits[piece.document]:
            if visit.turn < cursor:
                read[max(0, visit.start - piece.start) : max(0, visit.end - piece.start)] += 1
        counts.append(int(read.min()))
    return min(counts)


def steps_seen(
    pieces: Sequence[Piece], visits: Mapping[int, Sequence[Visit]], cursor: int, batch_size: int
) -> list[int]:
    """Return the steps that had read any id of a window after `cursor` sequences, ascending."""
    found = {
        visit.turn // batch_size
        for piece in pieces
        for visit in visits[piece.document]
        if visit.turn < cursor and visit.start < piece.start + piece.length and piece.start < visit.end
    }
    return sorted(found)


def render(found: Memorisation) -> str:
    """Draw memorised shares against exposure, copies and dropped duplicates, without a newline at the end."""
    rows = found.rows
    memorised = rows.column("memorised").to_numpy()
    scores = rows.column("score").to_numpy()
    lines = [
        f"checkpoint of step {found.step:,}: {figures.plural(len(memorised), 'sequence')}, "
        f"{found.prompt} ids given, {found.continuation} decoded greedily",
    ]
    titles = {"times_seen": "times seen before", "copies": "copies in the shards"}
    if not rows.column("dropped_duplicates").null_count:  # the run's decisions are here
        titles["dropped_duplicates"] = "duplicates dropped"
    for name, title in titles.items():
        groups = _doubling(rows.column(name).to_numpy())
        body = [
            (label, int(inside.sum()), int(memorised[inside].sum()), *_shares(memorised[inside], scores[inside]))
            for label, inside in groups
        ]
        footer = ("total", len(memorised), int(memorised.sum()), *_shares(memorised, scores))
        header = (title, "sequences", "memorised", "share", "mean score")
        lines.append(format_table(body, header, "lrrrr", max_width=None, footer=footer))
    return "\n".join(lines)


def _shares(memorised: NDArray[np.bool_], scores: NDArray[np.float32]) -> tuple[str, str]:
    return figures.share(int(memorised.sum()), len(memorised)), f"{scores.mean():.3f}"


def _doubling(values: NDArray[np.int64]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Yield the groups 0, 1, 2, 3–4, 5–8 … that are not empty, and which values are in each."""
    low, high = 0, 0
    while low <= values.max():
        inside = (values >= low) & (values <= high)
        if inside.any():
            yield (f"{low:,}" if low == high else f"{low:,} to {high:,}"), inside
        low, high = high + 1, max(1, 2 * high)
