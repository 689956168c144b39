"""Find the document of an index that a new one repeats: all of an index stay, whatever they are to each other.

In a component a new document is compared with those old ones that share a key with it and with nothing else. Cost: one
sort of the old keys, then 2 µs and the length of both sets for each pair; 8 bytes a band and old document.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from redpajama_pipe.dedup.shingles import shared_values
from redpajama_pipe.dedup.walk import CONTAINMENT, EQUAL_VALUES, JACCARD


def most_similar_old(
    keys: NDArray[np.uint64],
    values: NDArray[np.uint64],
    offsets: NDArray[np.int64],
    threshold: float,
    measure: int = JACCARD,
    *,
    old: int,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Find, for each new document, the old one that it duplicates.

    Arguments as `walk.walk`, and:
        old: how many documents, the first ones, are of an index.

    Returns:
        twin: (documents,); the index of the old document that is most similar, of equally similar ones the first; -1
            for an old document, and for a new one that repeats none.
        similarity: (documents,); with the twin, 0.0 without.
    """
    count, bands = keys.shape
    twin, similarity = np.full(count, -1, np.int64), np.zeros(count, np.float64)
    if old == 0:
        return twin, similarity
    orders = np.argsort(keys[:old], axis=0, kind="stable")
    ordered = [keys[:old, band][orders[:, band]] for band in range(bands)]
    begins = [np.searchsorted(ordered[band], keys[old:, band], "left") for band in range(bands)]
    ends = [np.searchsorted(ordered[band], keys[old:, band], "right") for band in range(bands)]
    for document in range(old, count):
        own = values[offsets[document] : offsets[document + 1]]
        if len(own) == 0:
            continue
        at = document - old
        meeting = [orders[begins[band][at] : ends[band][at], band] for band in range(bands)]
        for other in np.unique(np.concatenate(meeting)).tolist():
            theirs = values[offsets[other] : offsets[other + 1]]
            found = _similarity(own, theirs, measure) if len(theirs) else -1.0
            if found >= threshold and (twin[document] < 0 or found > similarity[document]):
                twin[document], similarity[document] = other, found
    return twin, similarity


def _similarity(own: NDArray[np.uint64], theirs: NDArray[np.uint64], measure: int) -> float:
    if measure == EQUAL_VALUES:
        return int((own == theirs).sum()) / len(own)
    shared = int(shared_values(own, theirs))
    return shared / (len(own) if measure == CONTAINMENT else len(own) + len(theirs) - shared)
