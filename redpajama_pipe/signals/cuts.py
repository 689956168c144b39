"""Columns of spans: what a published cleaning takes out of a text, and why, as a list of byte ranges a document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from numpy.typing import NDArray

# In order and disjoint; `rule` says why; an empty `replacement` is a cut.
SPAN = pa.struct(
    [
        pa.field("start", pa.int64(), nullable=False),
        pa.field("end", pa.int64(), nullable=False),
        pa.field("rule", pa.string(), nullable=False),
        pa.field("replacement", pa.string(), nullable=False),
    ]
)
SPANS = pa.list_(SPAN)


def span_column(
    spans: NDArray[np.int64],
    first: NDArray[np.int64],
    valid: NDArray[np.bool_],
    reasons: Sequence[str],
    replacements: Mapping[str, str],
) -> pa.Array:
    """Make a column of spans from what a kernel returns.

    Args:
        spans: (spans, 3) first byte, byte after the last, both from the document's start, and the number of a reason.
        first: (documents + 1,) where the spans of each document begin.
        valid: (documents,) False: null.
        reasons: by number.
        replacements: of reasons whose spans are replaced, not cut.

    Returns:
        (documents,) of type SPANS.
    """
    number = pa.array(spans[:, 2].astype(np.int32))
    rules = pa.DictionaryArray.from_arrays(number, pa.array(reasons, pa.string())).cast(pa.string())
    texts = pa.array([replacements.get(reason, "") for reason in reasons], pa.string())
    replaced = pa.DictionaryArray.from_arrays(number, texts).cast(pa.string())
    values = pa.StructArray.from_arrays(
        [pa.array(np.ascontiguousarray(spans[:, 0])), pa.array(np.ascontiguousarray(spans[:, 1])), rules, replaced],
        fields=list(SPAN),
    )
    lists = pa.ListArray.from_arrays(pa.array(first.astype(np.int32)), values, mask=pa.array(~valid))
    return lists.cast(SPANS)
