from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from redpajama_pipe.dedup.byte_columns import fixed_width, from_fixed_width, from_runs, runs
from redpajama_pipe.document_parts import read_texts
from redpajama_pipe.errors import ManifestError

LENGTHS = [0, 3, 900, 1, 40, 0, 0, 250, 5000, 7, 8, 1, 60, 70, 80, 90, 2, 2, 2, 300]
TEXTS = [chr(97 + number) * length for number, length in enumerate(LENGTHS)]


@pytest.fixture(scope="module")
def part(tmp_path_factory: pytest.TempPathFactory) -> Path:
    ids = [bytes([number] * 16) for number in range(len(TEXTS))]
    table = pa.table({"doc_id": pa.array(ids, pa.binary()), "other": list(range(len(TEXTS))), "text": TEXTS})
    path = tmp_path_factory.mktemp("documents") / "p0.parquet"
    pq.write_table(table, path, row_group_size=6)
    return path


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.sets(st.integers(0, len(TEXTS) - 1)).map(sorted),
    batch_bytes=st.sampled_from([1, 100, 1000, 1 << 20]),
)
def test_wanted_rows_are_read_in_order_and_in_small_batches(part: Path, rows: list[int], batch_bytes: int) -> None:
    ids: list[bytes] = []
    texts: list[str] = []
    with pq.ParquetFile(part) as parquet:
        for read in read_texts(parquet, np.array(rows, np.int64), "p0", batch_bytes):
            assert read.first == len(texts)
            assert len(read.texts) == 1 or sum(map(len, read.texts.to_pylist())) <= batch_bytes
            ids += read.doc_ids.to_pylist()
            texts += read.texts.to_pylist()
    assert texts == [TEXTS[row] for row in rows]
    assert ids == [bytes([row] * 16) for row in rows]


def test_repeated_texts_are_cut_as_well(tmp_path: Path) -> None:
    # 300 times the same text is stored once: the file says nothing of the 300,000 bytes to come.
    table = pa.table({"doc_id": pa.array([bytes(16)] * 300, pa.binary()), "text": ["x" * 1000] * 300})
    pq.write_table(table, tmp_path / "p0.parquet")
    with pq.ParquetFile(tmp_path / "p0.parquet") as parquet:
        assert parquet.metadata.row_group(0).total_byte_size < 10_000
        sizes = [len(read.texts) for read in read_texts(parquet, np.arange(300), "p0", 50_000)]
    assert sum(sizes) == 300
    assert max(sizes) == 50


def test_only_row_groups_with_wanted_rows_are_read(part: Path) -> None:
    class Counting(pq.ParquetFile):  # type: ignore[misc]
        groups: tuple[int, ...] = ()

        def iter_batches(self, batch_size: int, row_groups: list[int], columns: list[str]) -> object:
            self.groups += tuple(row_groups)
            assert columns == ["doc_id", "text"]
            return super().iter_batches(batch_size, row_groups=row_groups, columns=columns)

    with Counting(part) as parquet:
        assert [len(read.texts) for read in read_texts(parquet, np.array([1, 2, 18]), "p0")] == [2, 1]
        assert parquet.groups == (0, 3)


def test_a_row_past_the_end_is_an_error(part: Path) -> None:
    with pq.ParquetFile(part) as parquet, pytest.raises(ManifestError, match="part p0 has 20 rows but row 20 is asked"):
        list(read_texts(parquet, np.array([1, 20]), "p0"))


@given(st.lists(st.binary(min_size=4, max_size=4)), st.integers(0, 3))
def test_fixed_width_columns_are_read_back(values: list[bytes], begin: int) -> None:
    column = pa.array(values, pa.binary()).slice(begin)
    matrix = fixed_width(column, 4, "id")
    assert [row.tobytes() for row in matrix] == values[begin:]
    assert from_fixed_width(matrix).to_pylist() == values[begin:]


@pytest.mark.parametrize(("values", "found"), [([b"abcd", b"abc"], "3 bytes"), ([b"abcd", None], "null")])
def test_a_value_of_another_width_is_an_error(values: list[bytes | None], found: str) -> None:
    with pytest.raises(ValueError, match=f"^id should be 4 bytes; found {found}$"):
        fixed_width(pa.array(values, pa.binary()), 4, "id")


@given(st.lists(st.lists(st.integers(0, 2**64 - 1), max_size=4)), st.integers(0, 3))
def test_runs_are_read_back(values: list[list[int]], begin: int) -> None:
    offsets = np.cumsum([0, *map(len, values)])
    column = from_runs(np.array([v for run in values for v in run], np.uint64), offsets).slice(begin)
    flat, bounds = runs(column)
    assert [flat[a:b].tolist() for a, b in pairwise(bounds)] == values[begin:]
    assert from_runs(flat, bounds).to_pylist() == column.to_pylist()
