"""Python's round(value, 8) for whole arrays: correct for the binary value, a tie to even, without a digit string.

NumPy's round is another: it rounds value * 1e8, which is itself rounded.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

_GREAT = 4e7  # from here on the product below is not exact enough


def round_8(values: NDArray[np.float64]) -> None:
    """Round each value in place; none may be negative."""
    great = np.flatnonzero(values >= _GREAT)
    exact = [round(value, 8) for value in values[great].tolist()]
    _round(values)
    values[great] = exact


@njit(cache=True, nogil=True)
def _round(values: NDArray[np.float64]) -> None:
    for index in range(len(values)):
        value = values[index]
        # value * 1e8 = product + error, exactly: half of value has 26 bits, and 1e8 has 19 before its zeros.
        product = value * 1e8
        scaled = value * 134217729.0
        head = scaled - (scaled - value)
        error = (head * 1e8 - product) + (value - head) * 1e8
        whole = math.floor(product)
        over = product - whole - 0.5  # exact; unless it is 0, the error is too small to change its sign
        if over == 0.0:
            over = error
        if over > 0.0 or (over == 0.0 and whole % 2.0 == 1.0):
            whole += 1.0
        values[index] = whole / 1e8  # both are exact, so the quotient is the number nearest to the decimal fraction
