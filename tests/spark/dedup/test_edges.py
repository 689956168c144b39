from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from redpajama_pipe.dedup.bucket_entries import ids_of, pack, pieces
from redpajama_pipe.dedup.edges import band_edges, star_edges
from redpajama_pipe.dedup.index_match import edges_with_index
from redpajama_pipe.dedup.minhash import MinHashSpec
from redpajama_pipe.errors import GateError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

SPEC = MinHashSpec(num_perm=5, bands=2, rows=2)  # the fifth value is in no band


def doc_id(number: int) -> bytes:
    return bytes([number * 37 % 256]) * 15 + bytes([number])


def signatures(spark: SparkSession, values: list[list[int] | None]) -> DataFrame:
    cells = [None if value is None else np.array(value, "<u4").tobytes() for value in values]
    ids = pa.array([doc_id(number) for number in range(len(values))], pa.binary())
    return spark.createDataFrame(pa.table({"doc_id": ids, "signature": pa.array(cells, pa.binary())}))


def groups(edges: DataFrame) -> set[frozenset[bytes]]:
    """The components of edges, without what connects nothing."""
    links = [(bytes(row.src), bytes(row.dst)) for row in edges.collect()]
    edges.unpersist()
    return connected(links)


def connected(links: Iterable[tuple[bytes, bytes]]) -> set[frozenset[bytes]]:
    parts: list[set[bytes]] = []
    for a, b in links:
        if a != b:
            met = [part for part in parts if a in part or b in part]
            parts = [part for part in parts if part not in met] + [{a, b}.union(*met)]
    return {frozenset(part) for part in parts}


@st.composite
def documents(draw: st.DrawFn) -> list[list[int]]:
    """The keys of documents, few of them different, some in one shard."""
    bands = draw(st.integers(1, 3))
    key = st.sampled_from([0, 1, 2**63 - 1, 2**63, 2**64 - 1])
    rows = st.lists(st.lists(key, min_size=bands, max_size=bands), min_size=1, max_size=20)
    return draw(rows)


def packed(keys: list[list[int]], ids: list[bytes], bits: int, cut: int, **columns: bool) -> list[dict[str, Any]]:
    """Pack `cut` documents at a time."""
    rows: list[dict[str, Any]] = []
    for begin in range(0, len(keys), cut):
        some = np.frombuffer(b"".join(ids[begin : begin + cut]), np.uint8).reshape(-1, 16)
        rows += pack(np.array(keys[begin : begin + cut], np.uint64), some, bits).to_pylist()
    return [row | columns for row in rows]


def batches(rows: list[dict[str, Any]], size: int) -> list[pa.RecordBatch]:
    fields = {"band": pa.int32(), "shard": pa.int32(), "entries": pa.binary(), "old": pa.bool_()}
    kept = pa.schema([(name, kind) for name, kind in fields.items() if name in rows[0]])
    table = pa.Table.from_pylist(rows, schema=kept)
    made = table.to_batches(max_chunksize=size)
    return [*made, *kept.empty_table().to_batches()]


@given(documents(), st.integers(1, 2), st.integers(1, 9), st.integers(1, 5), st.integers(1, 7))
def test_stars_connect_who_shares_a_bucket(keys: list[list[int]], bits: int, cut: int, size: int, chunk: int) -> None:
    ids = [doc_id(number) for number in range(len(keys))]
    rows = sorted(packed(keys, ids, bits, cut), key=lambda row: (row["band"], row["shard"]))
    found = [row for batch in star_edges(batches(rows, size), chunk) for row in batch.to_pylist()]

    buckets = defaultdict(list)
    for number, each in enumerate(keys):
        for band, key in enumerate(each):
            buckets[band, key].append(ids[number])
    shared = {place: sorted(members) for place, members in buckets.items() if len(members) > 1}
    assert connected((row["src"], row["dst"]) for row in found) == connected(
        (members[0], member) for members in shared.values() for member in members
    )
    joined = [row for row in found if row["bucket"] is None]
    assert len({row["dst"] for row in joined}) == len(joined), "an edge a document, however many bands it shares"
    assert all(row["src"] < row["dst"] for row in joined)
    named = [row for row in found if row["bucket"] is not None]
    assert all(row["src"] == row["dst"] for row in named), "what names a bucket connects nothing"
    if shared:
        size_of, band_of = max((len(members), band) for (band, _), members in shared.items())
        assert {row["bucket"] for row in named} == {size_of << 16 | band_of}
        largest = [members for (band, _), members in shared.items() if (len(members), band) == (size_of, band_of)]
        examples = [row["src"] for row in named]
        assert any(examples[0] in members and set(examples) <= set(members) for members in largest)
        if chunk >= len(keys):  # nothing is carried on
            assert examples == min(largest)[:3]


@given(documents(), st.integers(0, 20), st.integers(1, 9), st.integers(1, 5), st.integers(1, 7))
def test_stars_with_an_index_connect_old_with_new(
    keys: list[list[int]], first: int, cut: int, size: int, chunk: int
) -> None:
    ids = [doc_id(number) for number in range(len(keys))]
    old = packed(keys[:first], ids[:first], 1, cut, old=True)
    rows = old + packed(keys[first:], ids[first:], 1, cut, old=False)
    rows.sort(key=lambda row: (row["band"], row["shard"], not row["old"]))
    found = [row for batch in edges_with_index(batches(rows, size), chunk) for row in batch.to_pylist()]

    buckets = defaultdict(list)
    for number, each in enumerate(keys):
        for band, key in enumerate(each):
            buckets[band, key].append(number)
    both = {place: members for place, members in buckets.items() if members[0] < first <= members[-1]}
    assert connected((row["src"], row["dst"]) for row in found) == connected(
        (ids[members[0]], ids[member]) for members in both.values() for member in members
    )
    named = [row for row in found if row["bucket"] is not None]
    assert len({row["bucket"] for row in named}) == bool(both)
    if both:
        size_of, band_of = max((len(members), band) for (band, _), members in both.items())
        assert named[0]["bucket"] == size_of << 16 | band_of
        assert {row["src"] for row in named} <= set(ids[first:]), "new documents are named: they can be looked at"


@given(documents(), st.integers(1, 16))
def test_packing_loses_and_adds_nothing(keys: list[list[int]], bits: int) -> None:
    ids = [doc_id(number) for number in range(len(keys))]
    rows = packed(keys, ids, bits, 7)
    read = [
        (band, key, row.tobytes())
        for (band, shard), entries in pieces(batches(rows, 3), ("band", "shard"))
        for key, row in zip(entries["key"].tolist(), ids_of(entries), strict=True)
        if key >> (64 - bits) == shard
    ]
    assert sorted(read) == sorted(
        (band, key, ids[number]) for number, each in enumerate(keys) for band, key in enumerate(each)
    )


def test_documents_that_share_a_band_are_joined(spark: SparkSession) -> None:
    values = [
        [1, 2, 3, 4, 0],
        [1, 2, 9, 9, 1],  # shares band 0 with the first
        [7, 7, 3, 4, 2],  # shares band 1 with the first
        [3, 4, 1, 2, 3],  # has the first's values in the other bands
        [1, 0, 0, 4, 0],  # shares rows with the first, but no band
        None,
        None,
        [0, 0, 5, 5, 7],
        [0, 0, 5, 5, 8],  # shares both bands with the one before
    ]
    expected = {frozenset(map(doc_id, together)) for together in ((0, 1, 2), (7, 8))}
    for partitions in (1, 7):
        edges = band_edges(signatures(spark, values).repartition(partitions), SPEC, partitions, 2)
        assert groups(edges) == expected


def test_a_bucket_over_the_limit_stops_the_run_and_is_named(spark: SparkSession) -> None:
    small, large = range(4), range(4, 9)
    values: list[list[int] | None] = [[9, 9, number, 2, 0] for number in small]
    values += [[number, 1, 8, 8, 0] for number in large]
    assert sorted(map(len, groups(band_edges(signatures(spark, values), SPEC, 2, 5)))) == [4, 5]
    with pytest.raises(GateError) as caught:
        band_edges(signatures(spark, values), SPEC, 2, 4)
    least = ", ".join(document.hex() for document in sorted(map(doc_id, large))[:3])
    assert str(caught.value).startswith(
        f"band 1: 5 documents share one key, more than dedup.max_bucket=4; among them {least}. "
    )


def test_no_signatures_give_no_edges(spark: SparkSession) -> None:
    assert groups(band_edges(signatures(spark, [None, None]), SPEC, 2, 10)) == set()


def test_signatures_of_another_spec_are_an_error(spark: SparkSession) -> None:
    from pyspark.errors import PythonException

    other = MinHashSpec(num_perm=6, bands=2, rows=2)
    with pytest.raises(PythonException, match="a signature has 20 bytes; 6 values of affine32 are 24"):
        band_edges(signatures(spark, [[1, 2, 3, 4, 0]]), other, 2, 10)
