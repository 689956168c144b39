"""Train a quality classifier on documents of a run: fastText, two labels, a model card with held-out figures.

Only chosen documents are read again. The same documents and recipe give the same model, byte for byte, on one thread.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from redpajama_pipe import schema, storage
from redpajama_pipe.arguments import Job, run_job
from redpajama_pipe.errors import RecipeError
from redpajama_pipe.progress import Progress
from redpajama_pipe.recipe import Recipe
from redpajama_pipe.report.figures import plural
from redpajama_pipe.run_folder import RunFolder
from redpajama_pipe.settings.models import Quality
from redpajama_pipe.settings.tree import to_tree
from redpajama_pipe.signals.fasttext_library import load_model
from redpajama_pipe.signals.fasttext_training import train
from redpajama_pipe.signals.quality import NEGATIVE, POSITIVE, line_of, quality
from redpajama_pipe.stages.filter_documents import first_documents, read_annotated
from redpajama_pipe.storage import File
from redpajama_pipe.tokens.pack import read_rows

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

THRESHOLDS = (0.1, 0.25, 0.5, 0.75, 0.9)
PUBLISHED_THRESHOLD = 0.25


@dataclass(frozen=True)
class Trained:
    """What was written: the model, its card, and the figures in it."""

    model: str
    card: str
    figures: Mapping[str, Any]


def run(spark: Callable[[], SparkSession], recipe: Recipe, folder: RunFolder, *, quiet: bool = False) -> Trained:
    """Write quality/model.bin and quality/model_card.json.

    Raises:
        ManifestError: the run has no signals yet.
        RecipeError: a predicate is no SQL over the documents' columns, or one side has too few documents.
    """
    settings = recipe.quality
    where, annotated = folder.annotated()
    target = storage.join(folder.path, "quality")
    session = spark()
    with Progress("train", session.sparkContext, quiet=quiet) as progress, tempfile.TemporaryDirectory() as scratch:
        documents = read_annotated(session, where)
        sides = {
            POSITIVE: _choose(documents, settings.positive, settings, settings.min_chars, "quality.positive"),
            NEGATIVE: _choose(documents, settings.negative, settings, 0, "quality.negative"),
        }
        lines, held_out = Path(scratch) / "train.txt", Path(scratch) / "held_out.txt"
        counts = _write_lines(folder.documents, sides, settings.held_out, lines, held_out)
        for key, count in counts.items():
            if not count:
                label = key.partition(" ")[0]
                least = f" and quality.min_chars={settings.min_chars}" if label == POSITIVE else ""
                which = "quality.positive" if label == POSITIVE else "quality.negative"
                found = plural(sides[label].num_rows, "document")
                raise RecipeError(f"no document for {key}: {which}{least} are true of {found}")
        model = train_model(lines, Path(scratch) / "model.bin", settings)
        figures = measure(model, held_out)
        written = storage.write_bytes(storage.join(target, "model.bin"), model.read_bytes())
        card = _card(recipe, annotated.hash, written, counts, figures)
        storage.write_bytes(storage.join(target, "model_card.json"), json.dumps(card, indent=1).encode())
        at = figures["thresholds"][f"{PUBLISHED_THRESHOLD}"]
        progress.note = f"precision {at['precision']:.3f}, recall {at['recall']:.3f} at {PUBLISHED_THRESHOLD}"
    return Trained(storage.join(target, "model.bin"), storage.join(target, "model_card.json"), figures)


def train_model(lines: Path, target: Path, settings: Quality) -> Path:
    """Train on lines that begin with a label, and write the model.

    Raises:
        RecipeError: fastText cannot train on these lines.
    """
    options = {
        "dim": settings.dimension,
        "epoch": settings.epochs,
        "lr": settings.learning_rate,
        "wordNgrams": settings.word_ngrams,
        "thread": settings.threads,
        "seed": settings.seed,
    }
    return train(lines, target, options)


def measure(model: Path, held_out: Path) -> dict[str, Any]:
    """Score held-out lines.

    Returns:
        `documents`; `area_under_roc`; `thresholds`: threshold → precision, recall and the share kept, the positive
        label being what is looked for.
    """
    classifier = load_model(str(model))
    scores: list[float] = []
    positive: list[bool] = []
    with held_out.open(encoding="utf-8") as lines:
        for line in lines:
            label, _, text = line.rstrip("\n").partition(" ")
            value = quality(classifier, text)
            if value is not None:
                scores.append(value)
                positive.append(label == POSITIVE)
    return summarise(np.array(scores), np.array(positive, bool))


def summarise(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> dict[str, Any]:
    """Compute the figures of `measure` from scores and what is true."""
    thresholds: dict[str, dict[str, float | None]] = {}
    for threshold in THRESHOLDS:
        kept = scores >= threshold
        hits = int((kept & positive).sum())
        thresholds[f"{threshold}"] = {
            "precision": hits / int(kept.sum()) if kept.any() else None,
            "recall": hits / int(positive.sum()) if positive.any() else None,
            "kept": float(kept.mean()) if len(kept) else None,
        }
    return {"documents": len(scores), "area_under_roc": _area(scores, positive), "thresholds": thresholds}


def _area(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> float | None:
    """Return the chance that a positive document scores above a negative one; equal scores count half."""
    from scipy.stats import rankdata

    good, bad = int(positive.sum()), int((~positive).sum())
    if not good or not bad:
        return None
    return float((rankdata(scores)[positive].sum() - good * (good + 1) / 2) / (good * bad))


def _choose(documents: DataFrame, predicate: str, settings: Quality, min_chars: int, key: str) -> pa.Table:
    """Return part, row and doc_id of the chosen documents."""
    from pyspark.sql import functions as F

    long_enough = documents.where(F.col(schema.CHAR_COUNT) >= min_chars)
    chosen = first_documents(long_enough, predicate, key, settings.documents)
    return chosen.orderBy(schema.PART, schema.ROW).toArrow()


def _write_lines(
    documents: str, sides: Mapping[str, pa.Table], share: float, lines: Path, held_out: Path
) -> dict[str, int]:
    """Write the documents' lines, held-out ones by their ids, and count them by label and file."""
    counts: dict[str, int] = {}
    with lines.open("w", encoding="utf-8") as training, held_out.open("w", encoding="utf-8") as testing:
        for label, rows in sides.items():
            counts |= {f"{label} in training": 0, f"{label} held out": 0}
            for doc_id, text in _texts(documents, rows):
                # not the bytes that chose the document
                held = int.from_bytes(doc_id[8:12], "big") < share * 2**32
                counts[f"{label} {'held out' if held else 'in training'}"] += 1
                (testing if held else training).write(f"{label} {line_of(text)}\n")
    return counts


def _texts(documents: str, rows: pa.Table) -> Iterator[tuple[bytes, str]]:
    for batch in rows.to_batches():
        yield from zip(batch[schema.DOC_ID].to_pylist(), read_rows(documents, batch), strict=True)


def _card(
    recipe: Recipe, documents: str, model: File, counts: Mapping[str, int], figures: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "model": "fastText supervised classifier",
        "labels": {"positive": POSITIVE, "negative": NEGATIVE},
        "sha256": model.sha256,
        "bytes": model.bytes,
        "trained_on": {"recipe": recipe.name, "documents": documents, **to_tree(recipe.quality)},
        "documents": dict(counts),
        "held_out": dict(figures),
        "use": f"annotate.quality_model, rule set quality: quality_score >= {PUBLISHED_THRESHOLD}",
        "source": "RedPajama-Data, branch rp_v1, data_prep/cc/classifier",
    }


def work(job: Job) -> None:
    """Do this stage for a parsed command line and print the card."""
    trained = run(job.spark, job.recipe, job.folder, quiet=job.quiet)
    print(f"{trained.model}\n{trained.card}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run this stage from a command line."""
    return run_job(argv, __doc__, work)
