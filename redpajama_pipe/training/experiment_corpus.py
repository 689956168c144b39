"""The corpus of an experiment: training documents with planted copies, and held-out documents.

Written once as JSON lines, drawn by a hash of text and place, so that equal input gives equal bytes. A held-out
document is contaminated when it equals a training document or shares enough of its shingles; all pairs that share any
shingle are compared exactly. Memory: the corpus, and 8 bytes a shingle of the training documents.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from redpajama_pipe import storage
from redpajama_pipe.errors import InputError
from redpajama_pipe.settings.source import Source
from redpajama_pipe.settings.tree import digest
from redpajama_pipe.training.experiment_plan import Corpus

ENDINGS = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".jsonl.bz2")


@dataclass(frozen=True)
class Text:
    """A document: its text, its subset, and the hash that draws it."""

    text: str
    subset: str
    place: bytes


@dataclass(frozen=True)
class HeldOutText:
    """A held-out document, and its largest Jaccard similarity to a training document (equal texts: 1.0)."""

    text: str
    similarity: float


def write(data: str, subset_field: str, settings: Corpus, folder: Path) -> dict[str, Any]:
    """Write train/corpus.jsonl and held_out.jsonl, or leave them where they are up to date.

    Returns:
        Counts: documents read, cut, trained on, planted, held out, contaminated.

    Raises:
        InputError: no JSON lines in `data`, or too few documents.
    """
    files = find_files(data)
    asked = digest(
        {
            "settings": settings,
            "subset_field": subset_field,
            "files": [[name.name, storage.sha256(str(name))] for name in files],
        }
    )
    done = folder / "corpus.json"
    if done.is_file() and (found := json.loads(done.read_text("utf-8")))["asked"] == asked:
        return dict(found["counts"])
    texts = [text for file in files for text in _read(file, subset_field, settings)]
    chosen = sorted(texts, key=lambda text: text.place)[: settings.documents or None]
    train, held_out = split(chosen, settings.held_out)
    planted = choose_planted(train, settings)
    extra = [text for text, copies in planted for _ in range(copies - 1)]
    similar = similarities([text.text for text in held_out], [text.text for text in train])
    _write_lines(folder / "train" / "corpus.jsonl", [_line(text) for text in (*train, *extra)])
    _write_lines(
        folder / "held_out.jsonl",
        [_line(text) | {"similarity": value} for text, value in zip(held_out, similar.tolist(), strict=True)],
    )
    counts = {
        "read": len(texts),
        "training": len(train) + len(extra),
        "planted_texts": len(planted),
        "planted_copies": len(extra),
        "held_out": len(held_out),
        "contaminated": int((similar >= settings.threshold).sum()),
    }
    storage.write_bytes(str(done), json.dumps({"asked": asked, "counts": counts}, indent=1).encode())
    return counts


def find_files(data: str) -> list[Path]:
    """Return the JSON lines under a folder, sorted.

    Raises:
        InputError: there are none.
    """
    files = sorted(path for path in Path(data).rglob("*") if path.name.endswith(ENDINGS))
    if not files:
        raise InputError(f"no {', '.join(ENDINGS)} under {data!r}; give data=FOLDER of JSON lines, or leave it empty")
    return files


def _read(file: Path, subset_field: str, settings: Corpus) -> Iterator[Text]:
    """Yield the documents of one file; lines that hold none are left out, as ingest leaves them out with a receipt."""
    from redpajama_pipe.sources.jsonl import read_jsonl
    from redpajama_pipe.sources.record import Document
    from redpajama_pipe.sources.streams import open_stream

    source = Source("corpus", "jsonl", (str(file),), subset_field=subset_field or None)
    with open_stream(str(file)) as stream:
        for record in read_jsonl(stream, source):
            if not isinstance(record, Document) or record.subset in settings.exclude_subsets:
                continue
            for number, piece in enumerate(cut(record.text, settings.longest)):
                key = f"{settings.seed} {file.name} {record.record_id} {number} {piece}"
                yield Text(piece, record.subset or "", hashlib.sha256(key.encode()).digest())


def cut(text: str, longest: int) -> list[str]:
    """Cut a text at line ends into pieces of at most `longest` characters; a longer line stays whole. 0: do not cut."""
    if not longest or len(text) <= longest:
        return [text]
    pieces: list[str] = []
    held = ""
    for line in text.splitlines(keepends=True):
        if held and len(held) + len(line) > longest:
            pieces.append(held)
            held = ""
        held += line
    pieces.append(held)
    return [piece for piece in pieces if piece.strip()]


def split(texts: Sequence[Text], held_out: float) -> tuple[list[Text], list[Text]]:
    """Divide documents at random, copies of one text each by itself.

    Returns:
        Training documents and held-out ones, both in the order given.

    Raises:
        InputError: one side has none.
    """
    border = int(held_out * 2**32)
    # other bytes of the hash than those that sort: the first documents are no draw
    outside = [int.from_bytes(text.place[16:20], "big") < border for text in texts]
    train = [text for text, out in zip(texts, outside, strict=True) if not out]
    rest = [text for text, out in zip(texts, outside, strict=True) if out]
    if not train or not rest:
        raise InputError(f"{len(texts)} documents are too few to hold {held_out:g} of them out; give more data")
    return train, rest


def choose_planted(train: Sequence[Text], settings: Corpus) -> list[tuple[Text, int]]:
    """Choose which texts are copied, and how often each stands in the training data in all.

    Raises:
        InputError: too few texts have the right length and stand there once.
    """
    wanted = [copies for copies in settings.planted_copies for _ in range(settings.planted_documents)]
    often = Counter(text.text for text in train)
    least, most = settings.planted_longest // 3, settings.planted_longest
    able = [text for text in train if least <= len(text.text) <= most and often[text.text] == 1]
    if len(able) < len(wanted):
        raise InputError(
            f"{len(wanted)} texts are to be planted, but {len(able)} have {least} to {most} characters and stand in "
            "the corpus once; change corpus.planted_longest or corpus.planted_documents"
        )
    return list(zip(able, wanted, strict=False))


def similarities(texts: Sequence[str], others: Sequence[str]) -> NDArray[np.float64]:
    """Return for each text its largest Jaccard similarity to one of `others`, of sets of 5-word shingles.

    Equal texts have 1.0, those shorter than a shingle too; otherwise such a text is like no other.
    """
    from redpajama_pipe.dedup.minhash import MinHashSpec
    from redpajama_pipe.dedup.shingles import shingle_hashes

    spec = MinHashSpec()
    values, offsets = shingle_hashes(pa.array(texts, pa.large_string()), spec)
    sizes = np.diff(offsets)
    owner = np.repeat(np.arange(len(texts)), sizes)
    order = np.argsort(values, kind="stable")
    sorted_values, owner = values[order], owner[order]
    equal = set(others)
    best = np.array([float(text in equal) for text in texts])
    other_values, other_offsets = shingle_hashes(pa.array(others, pa.large_string()), spec)
    for begin, end in zip(other_offsets[:-1].tolist(), other_offsets[1:].tolist(), strict=True):
        theirs = other_values[begin:end]
        first = np.searchsorted(sorted_values, theirs, "left")
        counts = np.searchsorted(sorted_values, theirs, "right") - first
        hits = np.repeat(first - np.concatenate([[0], np.cumsum(counts)[:-1]]), counts) + np.arange(counts.sum())
        shared = np.bincount(owner[hits], minlength=len(texts))
        union = sizes + len(theirs) - shared
        best = np.maximum(best, shared / np.maximum(union, 1))
    return best


def read_held_out(folder: Path) -> list[HeldOutText]:
    """Read what `write` held out."""
    lines = (folder / "held_out.jsonl").read_text("utf-8").split("\n")
    rows = [json.loads(line) for line in lines if line]
    return [HeldOutText(row["text"], row["similarity"]) for row in rows]


def _line(text: Text) -> dict[str, Any]:
    return {"text": text.text, "meta": {"pile_set_name": text.subset}}


def _write_lines(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    body = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    storage.write_bytes(str(path), body.encode())
