"""The pass that decides components one after another, from their documents in keep order.

What a task holds is the ids, band keys and receipts of one component (about 250 bytes a document and 50 more a band,
which dedup.max_component bounds), and of its shingles `dedup.component_bytes` at most; a larger component's are read
from a file. A component is decided by one task: for equal documents in time that grows as their number, for ones that
share a band and are not alike as its square.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from redpajama_pipe.dedup.byte_columns import ID_BYTES, fixed_width, runs
from redpajama_pipe.dedup.components import COMPONENT
from redpajama_pipe.dedup.hash_store import HashStore
from redpajama_pipe.dedup.index_similar import most_similar_old
from redpajama_pipe.dedup.walk import CONTAINMENT, EQUAL_VALUES, JACCARD, join_components, walk
from redpajama_pipe.schema import DECISIONS, DOC_ID, LANGUAGE, SOURCE
from redpajama_pipe.settings.dedup import Dedup

RULE, RULE_OF_INDEX = "near_duplicate", "near_duplicate_of_index"
KEYS, VALUES = "keys", "values"
MEMBERS = pa.schema(
    [
        pa.field(COMPONENT, pa.binary()),
        pa.field("place", pa.int32()),  # in keep order within the component, from 0; of an index see decide_components
        pa.field("size", pa.int64()),  # of the component
        pa.field(DOC_ID, pa.binary()),
        pa.field(SOURCE, pa.string()),
        pa.field(LANGUAGE, pa.string()),
        pa.field(KEYS, pa.binary()),  # of the bands, little-endian uint64
        pa.field(VALUES, pa.binary()),  # little-endian uint64: the set of shingles, ascending, or the signature
    ]
)

# dedup.verify → what is measured, and what a receipt calls it
_MEASURES = {
    "jaccard": (JACCARD, "jaccard"),
    "containment": (CONTAINMENT, "containment"),
    "estimate": (EQUAL_VALUES, "estimate"),
    "none": (EQUAL_VALUES, "estimate"),
}


def decide_components(
    bands: int, dedup: Dedup, indexes: Sequence[str] = ()
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """Make the pass from MEMBERS sorted by (component, place) to DECISIONS.

    A component may run over any number of batches, and is decided as a whole. With `indexes`, hashes of them, documents
    of the index -k from the end have the place -k, and those at place 0 are compared with these alone.
    """

    def decide(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        pending = _Pending(dedup.component_bytes)  # of one component, which may go on in the next batch
        last: pa.Scalar | None = None
        for batch in batches:
            if batch.num_rows == 0:
                continue
            if last is not None and last != batch[COMPONENT][0]:
                yield pending.decide(bands, dedup, indexes)
                pending = _Pending(dedup.component_bytes)
            begin = int(_begins(batch[COMPONENT])[-1])  # of the component that may go on
            if begin > 0:
                pending.append(batch.slice(0, begin))
                yield pending.decide(bands, dedup, indexes)
                pending = _Pending(dedup.component_bytes)
            pending.append(batch.slice(begin))
            last = batch[COMPONENT][-1]
        if last is not None:
            yield pending.decide(bands, dedup, indexes)

    return decide


class _Pending:
    """Documents of whole components, or of one whose end has not come yet; their values may be in a file."""

    def __init__(self, budget: int) -> None:
        self._rows: list[pa.RecordBatch] = []
        self._counts: list[NDArray[np.int64]] = []
        self._store = HashStore(budget)

    def append(self, batch: pa.RecordBatch) -> None:
        values, offsets = runs(batch[VALUES])
        self._store.append(values)
        self._counts.append(np.diff(offsets))
        self._rows.append(batch.drop_columns([VALUES]))

    def decide(self, bands: int, dedup: Dedup, indexes: Sequence[str]) -> pa.RecordBatch:
        members = pa.Table.from_batches(self._rows).combine_chunks().to_batches()[0]
        offsets = np.concatenate([[0], np.cumsum(np.concatenate(self._counts))])
        return _decide(members, self._store.values(), offsets, bands, dedup, indexes)


def _decide(
    members: pa.RecordBatch,
    values: NDArray[np.uint64],
    offsets: NDArray[np.int64],
    bands: int,
    dedup: Dedup,
    indexes: Sequence[str],
) -> pa.RecordBatch:
    """Decide whole components."""
    measure, name = _MEASURES[dedup.verify]
    threshold = 0.0 if dedup.verify == "none" else dedup.threshold
    keys = np.ascontiguousarray(fixed_width(members[KEYS], bands * 8, KEYS)).view("<u8").astype(np.uint64)
    sizes, places = members["size"].to_numpy(), members["place"].to_numpy()
    begins = _begins(members[COMPONENT])
    ends = np.append(begins[1:], len(keys))
    assert (sizes[begins] == ends - begins).all(), "a component is decided whole"
    if indexes:
        twins, similar = np.full(len(keys), -1, np.int64), np.zeros(len(keys), np.float64)
        for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
            old = int(np.count_nonzero(places[begin:end] < 0))
            found = most_similar_old(keys[begin:end], values, offsets[begin : end + 1], threshold, measure, old=old)
            twins[begin:end], similar[begin:end] = np.where(found[0] >= 0, found[0] + begin, -1), found[1]
    else:
        find = walk if dedup.survivors == "walk" else join_components
        twins, similar = find(keys, values, offsets, threshold, measure, begins)
    dropped = np.flatnonzero(twins >= 0)
    kept, similarities = twins[dropped], similar[dropped]
    ids, components = (fixed_width(members[column], ID_BYTES, column) for column in (DOC_ID, COMPONENT))
    evidence = []
    for at, to, similarity in zip(dropped.tolist(), kept.tolist(), similarities.tolist(), strict=True):
        facts = {"kept": ids[to].tobytes().hex(), name: similarity}
        if dedup.verify != "none":
            facts["threshold"] = threshold
        if indexes:
            facts["index"] = indexes[places[to]]
        else:
            facts |= {"component": components[at].tobytes().hex(), "component_size": int(sizes[at])}
            if dedup.survivors == "components":
                facts["survivors"] = "components"
        evidence.append(json.dumps(facts, separators=(",", ":")))
    return _drops(
        members.take(pa.array(dropped)),
        members[DOC_ID].take(pa.array(kept)),
        similarities,
        evidence,
        RULE_OF_INDEX if indexes else RULE,
    )


def _drops(
    dropped: pa.RecordBatch, kept: pa.Array, similarities: NDArray[np.float64], evidence: list[str], rule: str
) -> pa.RecordBatch:
    count = dropped.num_rows
    columns = {
        DOC_ID: dropped[DOC_ID],
        SOURCE: dropped[SOURCE],
        LANGUAGE: dropped[LANGUAGE],
        "action": pa.repeat("drop", count),
        "stage": pa.repeat("dedup", count),
        "rule": pa.repeat(rule, count),
        "rank": pa.repeat(pa.scalar(0, pa.int32()), count),
        "evidence": pa.array(evidence, pa.string()),
        "kept_doc_id": kept,
        "similarity": pa.array(similarities, pa.float64()),
    }
    arrays = [columns.get(field.name, pa.nulls(count, field.type)) for field in DECISIONS]
    return pa.RecordBatch.from_arrays(arrays, schema=DECISIONS)


def _begins(column: pa.Array) -> NDArray[np.int64]:
    """Find the rows at which a component begins; row 0 is one."""
    ids = fixed_width(column, ID_BYTES, COMPONENT)
    return np.concatenate([[0], 1 + np.flatnonzero((ids[1:] != ids[:-1]).any(axis=1))])
