"""Signals that are a tally of a kernel, or one tally over another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from redpajama_pipe.signals.signal import Signal

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Tallied(Signal):
    """A signal made of tallies.

    Attributes:
        numerator: what is tallied, a column of the kernel's tallies.
        denominator: what it is divided by; None for a count.
        least: the denominator is never taken to be less.
    """

    numerator: str = ""
    denominator: str | None = None
    least: int = 0


def tallied_columns(
    chosen: Sequence[Tallied],
    names: Sequence[str],
    tallies: NDArray[np.int64],
    valid: NDArray[np.bool_],
    known: Mapping[str, NDArray[np.bool_]] | None = None,
) -> dict[str, pa.Array]:
    """Make the columns of signals.

    Args:
        chosen: the signals.
        names: of the tallies, in order.
        tallies: (documents, names).
        valid: (documents,) False: null.
        known: of some signals by name, (documents,) where they are not null, in the place of `valid`.

    Returns:
        Signal → column; a ratio over 0 is null.
    """
    of = {name: tallies[:, column] for column, name in enumerate(names)}
    columns: dict[str, pa.Array] = {}
    for signal in chosen:
        there = (known or {}).get(signal.name, valid)
        if signal.denominator is None:
            values = of[signal.numerator].astype(signal.type.to_pandas_dtype())
            columns[signal.name] = pa.array(values, mask=~there)
            continue
        total = np.maximum(of[signal.denominator], signal.least)
        there = there & (total > 0)
        values = np.divide(of[signal.numerator], total, out=np.zeros(len(total)), where=there)
        columns[signal.name] = pa.array(values, mask=~there)
    return columns
