"""Score a batch of documents: kernels tally, this divides. About 100 MB/s of text on one core, all signals together."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from redpajama_pipe.errors import RecipeError
from redpajama_pipe.signals.catalogue import SIGNALS, STOP_LIST_LANGUAGES, STOP_LIST_SIGNALS, Signal


def score(texts: pa.Array, signals: Sequence[str] | None = None, *, language: str | pa.Array = "en") -> pa.RecordBatch:
    """Compute signals of every document. Pure: a document's values depend on its own text and language only.

    Args:
        texts: (documents,) string or large_string, sliced or not, nulls allowed.
        signals: names from SIGNALS, in the order of the columns wanted; None: all of them.
        language: ISO 639-1, of all documents or (documents,) of each; signals that need a stop list are null for a
            language that has none.

    Returns:
        One row a document, one column a signal, of the type and with the nulls that SIGNALS states.

    Raises:
        RecipeError: an unknown signal.
        TypeError: `texts` is not an Arrow array of strings.
        ValueError: `language` has another length than `texts`.
    """
    chosen = [_signal(name) for name in (SIGNALS if signals is None else signals)]
    # Numba takes half a second to import, and a driver that only reads SIGNALS never needs it.
    from redpajama_pipe.signals import kernels
    from redpajama_pipe.text.buffers import utf8
    from redpajama_pipe.text.characters import properties

    documents = utf8(texts)
    repetition = any(signal.numerator.startswith(("duplicate_", "top_")) for signal in chosen)
    tallies = kernels.tally(documents.data, documents.offsets, documents.valid, properties(), repetition)
    of = {name: tallies[:, column] for column, name in enumerate(kernels.TALLIES)}
    has_stop_list = _has_stop_list(language, len(texts))
    columns = []
    for signal in chosen:
        known = documents.valid
        if signal.name in STOP_LIST_SIGNALS:
            known = known & has_stop_list
        if signal.denominator is None:
            columns.append(pa.array(of[signal.numerator], mask=~known))
            continue
        total = of[signal.denominator]
        known = known & (total > 0)
        values = np.divide(of[signal.numerator], total, out=np.zeros(len(total)), where=known)
        columns.append(pa.array(values, mask=~known))
    schema = pa.schema([pa.field(signal.name, signal.type) for signal in chosen])
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _signal(name: str) -> Signal:
    if name not in SIGNALS:
        near = get_close_matches(name, SIGNALS, 3, 0.5)
        hint = f"nearest: {', '.join(near)}" if near else f"there are: {', '.join(SIGNALS)}"
        raise RecipeError(f"no signal {name!r}; {hint}")
    return SIGNALS[name]


def _has_stop_list(language: str | pa.Array, count: int) -> NDArray[np.bool_]:
    if isinstance(language, str):
        return np.full(count, language in STOP_LIST_LANGUAGES)
    if len(language) != count:
        raise ValueError(f"{len(language)} languages for {count} documents")
    listed = pc.is_in(language, pa.array(STOP_LIST_LANGUAGES, language.type))
    return np.asarray(listed.to_numpy(zero_copy_only=False), np.bool_)
