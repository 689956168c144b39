from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from redpajama_pipe.dedup.edges import band_edges, star_edges
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


def pairs(edges: DataFrame) -> set[tuple[bytes, bytes]]:
    rows = [(bytes(row.src), bytes(row.dst)) for row in edges.collect()]
    assert len(set(rows)) == len(rows), "edges are distinct"
    edges.unpersist()
    return set(rows)


@given(
    entries=st.lists(
        st.tuples(st.integers(0, 2), st.sampled_from([-(2**63), -1, 0, 5]), st.integers(0, 40)), min_size=1
    ),
    size=st.integers(1, 7),
)
def test_a_bucket_becomes_a_star_around_its_least_document(entries: list[tuple[int, int, int]], size: int) -> None:
    rows = sorted({(band, key, doc_id(number)) for band, key, number in entries})
    columns = [pa.array(column) for column in zip(*rows, strict=True)]
    table = pa.table([columns[0].cast(pa.int32()), columns[1], columns[2].cast(pa.binary())], ["band", "key", "doc_id"])
    batches = [*table.to_batches(max_chunksize=size), table.schema.empty_table().to_batches()]
    found = [row for batch in star_edges(b for b in batches if b) for row in batch.to_pylist()]

    buckets = defaultdict(list)
    for band, key, document in rows:
        buckets[band, key].append(document)
    expected = [
        {"src": members[0], "dst": member, "bucket": place << 16 | band}
        for (band, _), members in buckets.items()
        for place, member in enumerate(members[1:], 2)
    ]
    assert found == expected


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
        [0, 0, 5, 5, 8],  # shares both bands with the one before: one edge
    ]

    def star(*numbers: int) -> set[tuple[bytes, bytes]]:
        least, *others = sorted(map(doc_id, numbers))
        return {(least, other) for other in others}

    expected = star(0, 1) | star(0, 2) | star(7, 8)
    for partitions in (1, 7):
        edges = band_edges(signatures(spark, values).repartition(partitions), SPEC, partitions, 2)
        assert pairs(edges) == expected


def test_a_bucket_over_the_limit_stops_the_run_and_is_named(spark: SparkSession) -> None:
    small, large = range(4), range(4, 9)
    values: list[list[int] | None] = [[9, 9, number, 2, 0] for number in small]
    values += [[number, 1, 8, 8, 0] for number in large]
    assert len(pairs(band_edges(signatures(spark, values), SPEC, 2, 5))) == 7
    with pytest.raises(GateError) as caught:
        band_edges(signatures(spark, values), SPEC, 2, 4)
    least = ", ".join(document.hex() for document in sorted(map(doc_id, large))[:3])
    assert str(caught.value).startswith(
        f"band 1: 5 documents share one key, more than dedup.max_bucket=4; among them {least}. "
    )


def test_no_signatures_give_no_edges(spark: SparkSession) -> None:
    assert pairs(band_edges(signatures(spark, [None, None]), SPEC, 2, 10)) == set()


def test_signatures_of_another_spec_are_an_error(spark: SparkSession) -> None:
    from pyspark.errors import PythonException

    other = MinHashSpec(num_perm=6, bands=2, rows=2)
    with pytest.raises(PythonException, match="a signature has 20 bytes; 6 values of affine32 are 24"):
        band_edges(signatures(spark, [[1, 2, 3, 4, 0]]), other, 2, 10)
