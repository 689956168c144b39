"""What a signal is and what a family of signals is given: the description is data, apart from what computes it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from redpajama_pipe.signals.resources import Resources
from redpajama_pipe.text.buffers import Utf8


@dataclass(frozen=True)
class Signal:
    """A value that every document gets.

    Attributes:
        name: the column's name.
        unit: what one of it is.
        counts: exactly what is counted, and of what.
        source: the paper, and the published implementation whose reading this is.
        null: when the value is null; a null document is null always.
        range: least and greatest value; None: no limit. Of each item, where the value is a list.
        type: the column's type: a number, a list of numbers (one a line, where `unit` says so), or spans.
    """

    name: str
    unit: str
    counts: str
    source: str
    null: str
    range: tuple[float, float | None]
    type: pa.DataType


@dataclass(frozen=True)
class Documents:
    """A batch, as the families see it.

    Attributes:
        texts: (documents,) string or large_string, nulls allowed.
        utf8: the same, as buffers.
        language: ISO 639-1, of all documents or (documents,) of each.
        urls: (documents,) or None where no document has one.
        resources: word lists and models.
        lenient: a signal whose list or model is not there is null; False: that is a SetupError.
    """

    texts: pa.Array
    utf8: Utf8
    language: str | pa.Array = "en"
    urls: pa.Array | None = None
    resources: Resources = field(default_factory=Resources)
    lenient: bool = False

    def speaks(self, languages: Sequence[str]) -> NDArray[np.bool_]:
        """Return (documents,): whether the language of a document is one of these; an unknown one is not."""
        if isinstance(self.language, str):
            return np.full(len(self.texts), self.language in languages)
        listed = pc.is_in(self.language, pa.array(languages, self.language.type))
        return np.asarray(listed.to_numpy(zero_copy_only=False), np.bool_)


@dataclass(frozen=True)
class Family:
    """Signals that one pass over the text computes together.

    Attributes:
        name: may stand for all of its signals in a recipe.
        title: one line, for lists.
        signals: in the order of their columns.
        compute: some of the signals by name → their columns, each of the signal's type.
        lenient: where all of its signals are asked for, those whose list or model is not there are null.
    """

    name: str
    title: str
    signals: tuple[Signal, ...]
    compute: Callable[[Documents, Sequence[str]], dict[str, pa.Array]]
    lenient: bool = False
