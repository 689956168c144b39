"""Counts of windows in the shards, against plain Python."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_run import make_run

from redpajama_pipe.tokens.reader import open_run
from redpajama_pipe.training.windows import count_windows


def places(documents: list[list[int]], window: list[int]) -> int:
    width = len(window)
    return sum(document[at : at + width] == window for document in documents for at in range(len(document) - width + 1))


@settings(max_examples=25)
@given(
    documents=st.lists(st.lists(st.integers(0, 2), max_size=30), min_size=2, max_size=8),
    width=st.integers(1, 6),
)
def test_counts_are_those_of_plain_python(
    tmp_path_factory: pytest.TempPathFactory, documents: list[list[int]], width: int
) -> None:
    documents += [[0, 1, 2] * 4]  # enough for a schedule
    ids = [np.array(document, np.int64) for document in documents]
    reader = open_run(make_run(tmp_path_factory.mktemp("run"), [ids[:3], ids[3:]], epochs=(1.0,)))
    random = np.random.default_rng(0)
    windows = random.integers(0, 3, (40, width))  # with repetitions
    windows[-1] = 60_000  # nowhere
    assert count_windows(reader, windows).tolist() == [places(documents, window) for window in windows.tolist()]


def test_a_window_over_two_documents_is_in_none(tmp_path: Path) -> None:
    ids = [np.arange(1, 9), np.arange(9, 17), np.arange(5, 13)]
    reader = open_run(make_run(tmp_path, [ids], epochs=(1.0,)))
    windows = np.array([[7, 8, 9, 10], [8, 9, 10, 11], [3, 4, 5, 6], [14, 15, 16, 5]])
    # the first two lie across the first two documents too, which does not count; the third document holds them
    assert count_windows(reader, windows).tolist() == [1, 1, 1, 0]
