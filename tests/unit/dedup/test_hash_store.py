from __future__ import annotations

import gc
import os
import tempfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from redpajama_pipe.dedup.byte_columns import from_fixed_width, from_runs
from redpajama_pipe.dedup.component_decisions import MEMBERS, decide_components
from redpajama_pipe.dedup.hash_store import HashStore
from redpajama_pipe.settings.dedup import Dedup

PIECES = st.lists(st.lists(st.integers(0, 2**64 - 1), max_size=5), max_size=8)


@given(PIECES, st.integers(0, 200))
def test_what_was_appended_is_read_back(pieces: list[list[int]], budget: int) -> None:
    store = HashStore(budget)
    for piece in pieces:
        store.append(np.array(piece, np.uint64))
    flat = [value for piece in pieces for value in piece]
    assert store.bytes == 8 * len(flat)
    assert (store._file is not None) == (8 * len(flat) > budget)
    assert store.values().tolist() == flat


def test_no_more_than_the_budget_is_kept_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARK_LOCAL_DIRS", f"{tmp_path / 'gone'},{tmp_path}")
    used: list[object] = []
    made = tempfile.TemporaryFile

    def make(dir: str | None) -> object:
        used.append(dir)
        return made(dir=dir)

    monkeypatch.setattr(tempfile, "TemporaryFile", make)
    store = HashStore(100)
    for _ in range(5):
        store.append(np.arange(10, dtype=np.uint64))
        assert sum(piece.nbytes for piece in store._pieces) <= 100
    assert used == [str(tmp_path)], "the first folder of Spark's that is there"
    assert not os.listdir(tmp_path), "the file has no name"
    assert len(store.values()) == 50


def test_the_array_outlives_the_store() -> None:
    store = HashStore(0)
    store.append(np.arange(1000, dtype=np.uint64))
    values = store.values()
    del store
    gc.collect()
    assert int(values.sum()) == 499_500


@st.composite
def sorted_members(draw: st.DrawFn) -> list[tuple[int, list[int], list[int]]]:
    """(component, keys, shingles) of documents in (component, place) order."""
    rows = []
    for component in range(draw(st.integers(1, 4))):
        for _ in range(draw(st.integers(2, 6))):
            keys = draw(st.lists(st.integers(0, 2), min_size=2, max_size=2))
            rows.append((component, keys, draw(st.lists(st.integers(0, 6), unique=True, max_size=7).map(sorted))))
    return rows


def batches(rows: list[tuple[int, list[int], list[int]]], size: int) -> list[pa.RecordBatch]:
    def id16(number: int) -> bytes:
        return number.to_bytes(16, "big")

    components = [component for component, _, _ in rows]
    places = [components[:at].count(component) for at, component in enumerate(components)]
    offsets = np.cumsum([0, *(len(shingles) for _, _, shingles in rows)]).astype(np.int64)
    values = np.array([value for _, _, shingles in rows for value in shingles], np.uint64)
    keys = np.array([keys for _, keys, _ in rows], "<u8")
    columns = [
        pa.array([id16(component) for component in components], pa.binary()),
        pa.array(places, pa.int32()),
        pa.array([components.count(component) for component in components], pa.int64()),
        pa.array([id16(1000 + at) for at in range(len(rows))], pa.binary()),
        pa.array(["web"] * len(rows)),
        pa.array(["en"] * len(rows)),
        from_fixed_width(keys.view(np.uint8).reshape(len(rows), -1)),
        from_runs(values, offsets),
    ]
    table = pa.Table.from_arrays(columns, schema=MEMBERS)
    cuts = [*range(0, len(rows), size), len(rows)]
    return [table.slice(begin, end - begin).combine_chunks().to_batches()[0] for begin, end in pairwise(cuts)]


@pytest.mark.parametrize("survivors", ["walk", "components"])
@given(sorted_members(), st.sampled_from([0, 24, 1 << 20]), st.integers(1, 30))
def test_budget_and_batches_change_no_decision(
    survivors: str, rows: list[tuple[int, list[int], list[int]]], budget: int, size: int
) -> None:
    def decided(budget: int, size: int) -> list[dict[str, object]]:
        dedup = Dedup(threshold=0.5, survivors=survivors, component_bytes=budget)  # type: ignore[arg-type]
        made = decide_components(2, dedup)(iter(batches(rows, size)))
        return [row for batch in made for row in batch.to_pylist()]

    assert decided(budget, size) == decided(1 << 30, len(rows))
