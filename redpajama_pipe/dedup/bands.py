"""Locality-sensitive hashing: documents that agree in every row of one band become candidates.

Bands propose, exact similarity decides (dedup.walk). Leskovec, Rajaraman and Ullman, Mining of Massive Datasets,
chapter 3.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, uint64
from numpy.typing import NDArray


def band_keys(signatures: NDArray[Any], bands: int, rows: int) -> NDArray[np.uint64]:
    """Fold each signature into one key per band.

    The key of band k starts as mix(k), and each value v makes it mix(key ^ v), where mix(x) is MurmurHash3's 64-bit
    finaliser of x + 0x9E3779B97F4A7C15. The number of the band is in the key, so keys of different bands differ too.

    Args:
        signatures: (documents, bands * rows or more) minima, as `minhash.sign` returns them; values beyond
            bands * rows play no part.
        bands: how many bands.
        rows: values in each.

    Returns:
        (documents, bands) keys. Equal rows give equal keys on every machine and version, whether the values are
        stored in 32 or 64 bits; unequal rows collide with probability about 2**-64.

    Raises:
        ValueError: the signatures are narrower than bands * rows.
    """
    if signatures.ndim != 2 or signatures.shape[1] < bands * rows:
        raise ValueError(
            f"{bands} bands of {rows} rows need {bands * rows} values; the signatures have shape {signatures.shape}"
        )
    keys = np.empty((len(signatures), bands), np.uint64)
    _fold(np.ascontiguousarray(signatures), rows, keys)
    return keys


def lsh_probability(similarity: float, bands: int, rows: int) -> float:
    """Give the chance that two documents of this Jaccard similarity share a band: 1 - (1 - s**rows)**bands."""
    return float(1.0 - (1.0 - similarity ** float(rows)) ** float(bands))


@njit(cache=True, nogil=True)
def _mix(x: np.uint64) -> np.uint64:
    x = x + uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> uint64(33))) * uint64(0xFF51AFD7ED558CCD)
    x = (x ^ (x >> uint64(33))) * uint64(0xC4CEB9FE1A85EC53)
    return x ^ (x >> uint64(33))


@njit(cache=True, nogil=True)
def _fold(signatures: NDArray[Any], rows: int, keys: NDArray[np.uint64]) -> None:
    for document in range(len(signatures)):
        for band in range(keys.shape[1]):
            # Mixed from the start: were it the bare number, a small value of the next band could make up for it.
            key = _mix(uint64(band))
            for row in range(band * rows, (band + 1) * rows):
                key = _mix(key ^ uint64(signatures[document, row]))
            keys[document, band] = key
