"""Decide which documents of a component stay: in keep order, against earlier documents alone.

Two ways. `walk`: a document is dropped when, and only when, a document that was kept before it shares a band key with
it and is similar enough, so nothing is dropped through a chain of resemblances. `join_components`: documents that share
a key and are similar enough are joined, and the first of all that hang together stays. In both each document meets only
those it shares a key with, found through a hash table of about 50 bytes a document and band.
"""

from __future__ import annotations

import numpy as np
from numba import njit, uint64
from numpy.typing import NDArray

# What similarity is measured by: of the sets of shingles the Jaccard similarity, or the share of the later one's that
# the earlier one has; of signatures the share of equal values, place by place.
JACCARD, CONTAINMENT, EQUAL_VALUES = 0, 1, 2


def walk(
    keys: NDArray[np.uint64],
    values: NDArray[np.uint64],
    offsets: NDArray[np.int64],
    threshold: float,
    measure: int = JACCARD,
    begins: NDArray[np.int64] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Find, for each document that is dropped, the kept document it duplicates.

    Args:
        keys: (documents, bands) as `bands.band_keys` gives them, in keep order: the first stays.
        values: the shingle sets end to end, as `shingles.shingle_hashes` gives them; or signatures, all of one length.
        offsets: (documents + 1,); the values of document i are values[offsets[i]:offsets[i + 1]].
        threshold: the least similarity of duplicates, in (0, 1]; of EQUAL_VALUES also 0, when a common key will do.
        measure: JACCARD, CONTAINMENT or EQUAL_VALUES.
        begins: the first document of each component, ascending from 0; documents of two components never meet, whatever
            their keys. None: all are one. Thousands of small ones cost no more than their documents.

    Returns:
        twin: (documents,); the index of the kept document that is most similar, of equally similar ones the first;
            -1 for a document that is kept. One without values always is, and is nobody's twin.
        similarity: (documents,); the similarity with the twin, 0.0 for a document that is kept.

    Raises:
        ValueError: the threshold is out of range, or offsets and keys differ in length.
    """
    return _decided(False, keys, values, offsets, threshold, measure, begins)


def join_components(
    keys: NDArray[np.uint64],
    values: NDArray[np.uint64],
    offsets: NDArray[np.int64],
    threshold: float,
    measure: int = JACCARD,
    begins: NDArray[np.int64] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Find, for each document, the first of those it hangs together with.

    Two documents are joined when they share a key and are similar enough. Pairs that hang together already are not
    compared: of a bucket of equal documents each is compared once.

    Returns:
        twin: (documents,); the index of the first document of its component; -1 for that one itself.
        similarity: (documents,); the similarity with it, which a chain may take below the threshold; 0.0 for itself.

    Arguments and errors as `walk`.
    """
    return _decided(True, keys, values, offsets, threshold, measure, begins)


def _decided(
    joined: bool,
    keys: NDArray[np.uint64],
    values: NDArray[np.uint64],
    offsets: NDArray[np.int64],
    threshold: float,
    measure: int,
    begins: NDArray[np.int64] | None,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    if not (0.0 < threshold <= 1.0 or (threshold == 0.0 and measure == EQUAL_VALUES)):
        raise ValueError(f"threshold is {threshold}; it must be above 0 and at most 1")
    if len(offsets) != len(keys) + 1:
        raise ValueError(f"{len(keys)} documents need {len(keys) + 1} offsets, found {len(offsets)}")
    bounds = np.append(np.zeros(1, np.int64) if begins is None else begins, len(keys)).astype(np.int64)
    twin, similarity = np.full(len(keys), -1, np.int64), np.zeros(len(keys), np.float64)
    _each(joined, np.ascontiguousarray(keys), values, offsets, bounds, threshold, measure, twin, similarity)
    return twin, similarity


@njit(cache=True, nogil=True)
def _each(
    joined: bool,
    keys: NDArray[np.uint64],
    values: NDArray[np.uint64],
    offsets: NDArray[np.int64],
    bounds: NDArray[np.int64],
    threshold: float,
    measure: int,
    twin: NDArray[np.int64],
    similarity: NDArray[np.float64],
) -> None:
    """Decide one component after another; twins are indices of all documents."""
    for component in range(len(bounds) - 1):
        first, end = bounds[component], bounds[component + 1]
        # Room for every key twice over, so that a search ends soon at an empty slot.
        room = 1
        while room <= 2 * (end - first) * keys.shape[1]:
            room *= 2
        slots = np.full(room, -1, np.int64)
        some, places = keys[first:end], offsets[first : end + 1]
        if joined:
            _join(some, values, places, threshold, measure, slots, twin[first:end], similarity[first:end])
        else:
            _walk(some, values, places, threshold, measure, slots, twin[first:end], similarity[first:end])
        for document in range(first, end):
            if twin[document] >= 0:
                twin[document] += first


@njit(cache=True, nogil=True)
def _walk(
    keys: NDArray[np.uint64],
    values: NDArray[np.uint64],
    offsets: NDArray[np.int64],
    threshold: float,
    measure: int,
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
                    found = _similarity_from(own, theirs, at_least, measure)
                    if found >= at_least and (
                        twin[document] < 0 or found > similarity[document] or other < twin[document]
                    ):
                        twin[document], similarity[document] = other, found
                entry = chain[entry]
        if twin[document] < 0:
            for band in range(bands):
                slot = _slot(keys, keys[document, band], band, slots)
                entry = document * bands + band
                chain[entry] = slots[slot]
                slots[slot] = entry


@njit(cache=True, nogil=True)
def _join(
    keys: NDArray[np.uint64],
    values: NDArray[np.uint64],
    offsets: NDArray[np.int64],
    threshold: float,
    measure: int,
    slots: NDArray[np.int64],
    twin: NDArray[np.int64],
    similarity: NDArray[np.float64],
) -> None:
    documents, bands = keys.shape
    parent = np.arange(documents)  # of a tree for each component; its root is the first document
    # The entries of a key are in groups, one a component: the groups are chained, and the entries of each are.
    next_group = np.full(documents * bands, -1, np.int64)  # of a group's first entry
    next_entry = np.full(documents * bands, -1, np.int64)
    last_entry = np.arange(documents * bands)  # of a group's first entry
    met = np.full(documents, -1, np.int64)
    for document in range(documents):
        own = values[offsets[document] : offsets[document + 1]]
        if len(own) == 0:
            continue
        for band in range(bands):
            slot = _slot(keys, keys[document, band], band, slots)
            joined, before, group = -1, -1, slots[slot]
            while group >= 0:
                following = next_group[group]
                together = _root(parent, group // bands) == _root(parent, document)
                entry = group
                while entry >= 0 and not together:
                    other = entry // bands
                    if met[other] != document:
                        met[other] = document
                        theirs = values[offsets[other] : offsets[other + 1]]
                        if _similarity_from(own, theirs, threshold, measure) >= threshold:
                            a, b = _root(parent, other), _root(parent, document)
                            parent[max(a, b)] = min(a, b)
                            together = True
                    entry = next_entry[entry]
                if together and joined < 0:
                    joined, before = group, group
                elif together:  # one component now: the groups become one
                    next_entry[last_entry[joined]] = group
                    last_entry[joined] = last_entry[group]
                    next_group[before] = following
                else:
                    before = group
                group = following
            entry = document * bands + band
            if joined < 0:
                next_group[entry] = slots[slot]
                slots[slot] = entry
            else:
                next_entry[last_entry[joined]] = entry
                last_entry[joined] = entry
    for document in range(documents):
        first = _root(parent, document)
        if first != document:
            own = values[offsets[document] : offsets[document + 1]]
            twin[document] = first
            similarity[document] = _similarity_from(own, values[offsets[first] : offsets[first + 1]], 0.0, measure)


@njit(cache=True, nogil=True)
def _root(parent: NDArray[np.int64], document: int) -> int:
    while parent[document] != document:
        parent[document] = parent[parent[document]]
        document = parent[document]
    return document


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
def _similarity_from(own: NDArray[np.uint64], theirs: NDArray[np.uint64], at_least: float, measure: int) -> float:
    """Return the similarity, exactly, or -1.0 as soon as it cannot reach `at_least`."""
    if measure == EQUAL_VALUES:
        equal = 0
        for i in range(len(own)):
            equal += own[i] == theirs[i]
        return equal / len(own)
    # The least intersection that will do. Division rounds without changing the order, so counting up from just below
    # the real solution gives the same answer as dividing at the end.
    total = len(own) + len(theirs)
    if measure == CONTAINMENT:
        needed = int(at_least * len(own))
        needed -= needed > 0
        while needed < len(own) and needed / len(own) < at_least:
            needed += 1
    else:
        needed = int(at_least / (1.0 + at_least) * total)
        needed -= needed > 0
        while needed < total and needed / (total - needed) < at_least:
            needed += 1
    shared = _shared_from(own, theirs, needed)
    if shared < 0:
        return -1.0
    return shared / len(own) if measure == CONTAINMENT else shared / (total - shared)


@njit(cache=True, nogil=True)
def _shared_from(a: NDArray[np.uint64], b: NDArray[np.uint64], needed: int) -> int:
    """Count the common values of two ascending arrays, or return -1 as soon as there cannot be `needed` of them."""
    if needed > min(len(a), len(b)):
        return -1
    shared = i = j = 0
    spare_a, spare_b = len(a) - needed, len(b) - needed  # how many of each may be without a match
    while i < len(a) and j < len(b):
        x, y = a[i], b[j]
        shared += x == y
        i += x <= y
        j += y <= x
        if i - shared > spare_a or j - shared > spare_b:
            return -1
    return shared
