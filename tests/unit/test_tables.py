from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

from redpajama_pipe.tables import TableWriter

SCHEMA = pa.schema([pa.field("id", pa.int64(), nullable=False), pa.field("name", pa.string())])


def rows(start: int, stop: int) -> pa.RecordBatch:
    names = [None if n % 7 == 0 else f"name {n % 5}" for n in range(start, stop)]
    return pa.RecordBatch.from_pydict({"id": list(range(start, stop)), "name": names}, schema=SCHEMA)


@given(cuts=st.lists(st.integers(0, 1000), max_size=8))
def test_bytes_do_not_depend_on_the_batches(tmp_path_factory, cuts: list[int]) -> None:  # type: ignore[no-untyped-def]
    folder: Path = tmp_path_factory.mktemp("t")
    whole, pieces = TableWriter(f"{folder}/a", SCHEMA, 128), TableWriter(f"{folder}/b", SCHEMA, 128)
    with whole:
        whole.append(rows(0, 1000))
    with pieces:
        edges = [0, *sorted(cuts), 1000]
        for start, stop in pairwise(edges):
            pieces.append(rows(start, stop))
    assert whole.file is not None
    assert pieces.file is not None
    assert whole.file.sha256 == pieces.file.sha256
    assert pq.read_table(f"{folder}/b").column("id").to_pylist() == list(range(1000))
    assert pq.ParquetFile(f"{folder}/b").num_row_groups == 8
