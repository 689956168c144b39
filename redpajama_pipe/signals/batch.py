"""Score a batch of documents: each family computes its signals in one pass over the text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pyarrow as pa

from redpajama_pipe.signals.catalogue import FAMILIES, SIGNALS, find
from redpajama_pipe.signals.resources import Resources
from redpajama_pipe.signals.signal import Documents


def score(
    texts: pa.Array,
    signals: Sequence[str] | None = None,
    *,
    language: str | pa.Array = "en",
    urls: pa.Array | None = None,
    resources: Resources | None = None,
) -> pa.RecordBatch:
    """Compute signals of every document. Pure: a document's values depend on its own text, language and URL only.

    Args:
        texts: (documents,) string or large_string, sliced or not, nulls allowed.
        signals: names from SIGNALS, in the order of the columns wanted; None: all of them.
        language: ISO 639-1, of all documents or (documents,) of each, as strings of any Arrow type; a signal that needs
            a word list is null for a language that has none.
        urls: (documents,) strings, for signals of the URL; None: those signals are null.
        resources: where word lists and models lie; None: in the usual places.

    Returns:
        One row a document, one column a signal, of the type and with the nulls that SIGNALS states.

    Raises:
        RecipeError: an unknown signal.
        SetupError: a signal that is asked for by name needs a word list or model that is not there; a family that is
            `lenient` may be asked for as a whole.
        TypeError: `texts` is not an Arrow array of strings.
        ValueError: `language` or `urls` has another length than `texts`.
    """
    from redpajama_pipe.text.buffers import utf8

    chosen = list(SIGNALS.values()) if signals is None else [find(name) for name in signals]
    for what, given in (("languages", language), ("URLs", urls)):
        if given is not None and not isinstance(given, str) and len(given) != len(texts):
            raise ValueError(f"{len(given)} {what} for {len(texts)} documents")
    if isinstance(language, pa.Array):
        language = language.cast(pa.string())
    documents = Documents(texts, utf8(texts), language, urls, resources or Resources(), lenient=signals is None)
    lenient = replace(documents, lenient=True)
    wanted = {signal.name for signal in chosen}
    columns: dict[str, pa.Array] = {}
    for family in FAMILIES.values():
        of_family = [signal.name for signal in family.signals if signal.name in wanted]
        if of_family:
            whole = len(of_family) == len(family.signals)
            columns |= family.compute(lenient if family.lenient and whole else documents, of_family)
    schema = pa.schema([pa.field(signal.name, signal.type) for signal in chosen])
    return pa.RecordBatch.from_arrays([columns[signal.name] for signal in chosen], schema=schema)
