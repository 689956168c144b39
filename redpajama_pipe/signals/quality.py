"""How much a document is like the positive side of a quality classifier: fastText, about 5 MB/s on one core.

Any model with two labels of which one says what is wanted, as redpajama-pipe train-quality-classifier writes it.

Source: RedPajama-Data, branch rp_v1, data_prep/cc/classifier (Wikipedia references against web pages, kept from 0.25).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from redpajama_pipe.errors import SetupError
from redpajama_pipe.signals.fasttext_library import load_model
from redpajama_pipe.signals.signal import Documents, Family, Signal

NEGATIVE = "__label__cc"
POSITIVE = "__label__wiki"

SIGNALS = (
    Signal(
        "quality_score",
        "probability",
        "of the first label if it is not __label__cc, else 1 minus it; of the lines joined by single spaces",
        "RedPajama-Data, branch rp_v1, data_prep/cc/classifier",
        "the document is null or has no word",
        (0.0, 1.0),
        pa.float64(),
    ),
)


def compute(documents: Documents, wanted: Sequence[str]) -> dict[str, pa.Array]:
    """Compute this family's signal; see signals.score.

    Raises:
        SetupError: no model is named, or the file is none.
    """
    path = documents.resources.quality_model
    values: list[float | None] = [None] * len(documents.texts)
    if not path and not documents.lenient:
        raise SetupError(
            "quality_score needs a classifier: set annotate.quality_model to a file that "
            "redpajama-pipe train-quality-classifier wrote"
        )
    if path:
        model = load_model(path)
        values = [None if text is None else quality(model, text) for text in documents.texts.to_pylist()]
    return {name: pa.array(values, pa.float64()) for name in wanted}


def line_of(text: str) -> str:
    """Write a document as the line that the model is trained on and scores."""
    return " ".join(text.strip().splitlines())


def quality(model: Any, text: str) -> float | None:
    """Score one document; None: it has no word."""
    line = line_of(text)
    if not line.strip():
        return None
    # what the library's predict() calls, which fails with NumPy 2
    found = model.f.predict(line + "\n", 1, 0.0, "strict")
    if not found:
        return None
    probability, label = found[0]
    likely = min(float(probability), 1.0)
    return 1.0 - likely if label == NEGATIVE else likely


FAMILY = Family("classifier", "a quality classifier's score", SIGNALS, compute)
