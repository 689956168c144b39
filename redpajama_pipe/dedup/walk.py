"""Decide which documents of a component stay: one walk in keep order, against kept documents alone.

A document is dropped when, and only when, a document that was kept before it shares a band key with it and their
shingle sets have a Jaccard similarity of at least the threshold. So nothing is dropped through a chain of
resemblances. Each document meets only those it shares a key with, found through a hash table, not all of the
component.
"""

from __future__ import annotations

import numpy as np
from numba import njit, uint64
from numpy.typing import NDArray


def walk(
    keys: NDArray[np.uint64], values: NDArray[np.uint64], offsets: NDArray[np.int64], threshold: float
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Find, for each document that is dropped, the kept document it duplicates.

    Args:
        keys: (documents, bands) as `bands.band_keys` gives them, in keep order: the first stays.
        values: the shingle sets end to end, as `shingles.shingle_hashes` gives them.
        offsets: (documents + 1,); the set of document i is values[offsets[i]:offsets[i + 1]].
        threshold: the least exact Jaccard similarity of duplicates, in (0, 1].

    Returns:
        twin: (documents,); the index of the kept document that is most similar, of equally similar ones the first;
            -1 for a document that is kept. One without shingles always is, and is nobody's twin.
        similarity: (documents,); the exact Jaccard similarity with the twin, 0.0 for a document that is kept.

    Raises:
        ValueError: the threshold is outside (0, 1], or offsets and keys differ in length.
    """
    if not 0.0 < threshold <= 1.0:
        raise ValueError(f"threshold is {threshold}; it must be above 0 and at most 1")
    if len(offsets) != len(keys) + 1:
        raise ValueError(f"{len(keys)} documents need {len(keys) + 1} offsets, found {len(offsets)}")
    twin = np.full(len(keys), -1, np.int64)
    similarity = np.zeros(len(keys), np.float64)
    # Room for every key twice over, so that a search ends soon at an empty slot.
    slots = np.full(1 << (2 * keys.size).bit_length(), -1, np.int64)
    _walk(np.ascontiguousarray(keys), values, offsets, threshold, slots, twin, similarity)
    return twin, similarity


@njit(cache=True, nogil=True)
def _walk(
    keys: NDArray[np.uint64],
    values: NDArray[np.uint64],
    offsets: NDArray[np.int64],
    threshold: float,
    slots: NDArray[np.int64],
    twin: NDArray[np.int64],
    similarity: NDArray[np.float64],
) -> None:
    documents, bands = keys.shape
    # An entry is document * bands + band of a kept document; those of one key are chained, the newest first.
    chain = np.full(documents * bands, -1, np.int64)
    met = np.full(documents, -1, np.int64)  # the last document that each was compared with
    for document in range(documents):
        own = values[offsets[document] : offsets[document + 1]]
        if len(own) == 0:
            continue
        for band in range(bands):
            entry = slots[_slot(keys, keys[document, band], band, slots)]
            while entry >= 0:
                other = entry // bands
                if met[other] != document:
                    met[other] = document
                    theirs = values[offsets[other] : offsets[other + 1]]
                    at_least = max(threshold, similarity[document])
                    found = _jaccard_from(own, theirs, at_least)
                    if found >= at_least and (found > similarity[document] or other < twin[document]):
                        twin[document], similarity[document] = other, found
                entry = chain[entry]
        if twin[document] < 0:
            for band in range(bands):
                slot = _slot(keys, keys[document, band], band, slots)
                entry = document * bands + band
                chain[entry] = slots[slot]
                slots[slot] = entry


@njit(cache=True, nogil=True)
def _slot(keys: NDArray[np.uint64], key: int, band: int, slots: NDArray[np.int64]) -> int:
    """Find the slot that holds this key of this band, or the empty one where it belongs."""
    bands = keys.shape[1]
    mask = uint64(len(slots) - 1)
    mixed = (uint64(key) + uint64(band)) * uint64(0x9E3779B97F4A7C15)
    slot = (mixed ^ (mixed >> uint64(32))) & mask
    while True:
        entry = slots[slot]
        if entry < 0 or (entry % bands == band and keys[entry // bands, band] == key):
            return int(slot)
        slot = (slot + uint64(1)) & mask


@njit(cache=True, nogil=True)
def _jaccard_from(a: NDArray[np.uint64], b: NDArray[np.uint64], at_least: float) -> float:
    """Return the exact Jaccard similarity, or -1.0 as soon as it cannot reach `at_least`."""
    total = len(a) + len(b)
    # The least intersection that will do. Division rounds without changing the order, so counting up from just below
    # the real solution gives the same answer as dividing at the end.
    needed = int(at_least / (1.0 + at_least) * total)
    needed -= needed > 0
    while needed < total and needed / (total - needed) < at_least:
        needed += 1
    if needed > min(len(a), len(b)):
        return -1.0
    shared = i = j = 0
    spare_a, spare_b = len(a) - needed, len(b) - needed  # how many of each may be without a match
    while i < len(a) and j < len(b):
        x, y = a[i], b[j]
        shared += x == y
        i += x <= y
        j += y <= x
        if i - shared > spare_a or j - shared > spare_b:
            return -1.0
    return shared / (total - shared)
