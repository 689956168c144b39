from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from redpajama_pipe.dedup.walk import walk


def reference(keys: list[list[int]], sets: list[list[int]], threshold: float) -> tuple[list[int], list[float]]:
    """The definition, comparing every pair."""
    kept: list[int] = []
    twins, similarities = [], []
    for i, own in enumerate(map(set, sets)):
        twin, similarity = -1, 0.0
        for j in kept:
            if any(a == b for a, b in zip(keys[i], keys[j], strict=True)) and own | set(sets[j]):
                found = len(own & set(sets[j])) / len(own | set(sets[j]))
                if found >= threshold and found > similarity:
                    twin, similarity = j, found
        if twin < 0:
            kept.append(i)
        twins.append(twin)
        similarities.append(similarity)
    return twins, similarities


def run(keys: list[list[int]], sets: list[list[int]], threshold: float) -> tuple[list[int], list[float]]:
    width = len(keys[0]) if keys else 2
    values = np.array([value for each in sets for value in sorted(each)], np.uint64)
    offsets = np.cumsum([0, *map(len, sets)])
    twin, similarity = walk(np.array(keys, np.uint64).reshape(-1, width), values, offsets, threshold)
    assert twin.dtype == np.int64
    assert similarity.dtype == np.float64
    return twin.tolist(), similarity.tolist()


@st.composite
def components(draw: st.DrawFn) -> tuple[list[list[int]], list[list[int]], float]:
    count, bands = draw(st.integers(0, 14)), draw(st.integers(1, 3))
    key = st.integers(0, 3) | st.integers(2**64 - 2, 2**64 - 1)
    keys = draw(st.lists(st.lists(key, min_size=bands, max_size=bands), min_size=count, max_size=count))
    values = st.integers(0, 7) | st.integers(2**64 - 2, 2**64 - 1)
    sets = draw(st.lists(st.lists(values, unique=True, max_size=9), min_size=count, max_size=count))
    return keys, sets, draw(st.sampled_from([0.01, 0.25, 1 / 3, 0.5, 0.6, 2 / 3, 0.75, 0.8, 7 / 9, 1.0]))


@given(components())
def test_walk_is_its_definition(component: tuple[list[list[int]], list[list[int]], float]) -> None:
    assert run(*component) == reference(*component)


def test_larger_sets_at_the_very_threshold() -> None:
    random = np.random.default_rng(3)
    universe = np.arange(60)
    keys = [[int(random.integers(0, 4)), int(random.integers(0, 4))] for _ in range(120)]
    sets = [sorted(random.choice(universe, random.integers(40, 60), replace=False).tolist()) for _ in range(120)]
    for threshold in np.unique([len(set(a) & set(b)) / len(set(a) | set(b)) for a, b in pairwise(sets)]):
        assert run(keys, sets, float(threshold)) == reference(keys, sets, float(threshold))


def test_nothing_is_dropped_through_a_chain() -> None:
    first, middle, last = list(range(10)), list(range(1, 11)), list(range(2, 12))
    twins, similarities = run([[1], [1], [1]], [first, middle, last], 0.8)
    assert twins == [-1, 0, -1]  # the last is like the middle one alone, which is gone
    assert similarities == [0.0, 9 / 11, 0.0]


def test_equal_sets_without_a_common_key_are_kept() -> None:
    assert run([[1, 2], [3, 4]], [[5, 6], [5, 6]], 0.5)[0] == [-1, -1]


def test_a_key_counts_only_in_its_band() -> None:
    assert run([[1, 2], [2, 1]], [[5, 6], [5, 6]], 0.5)[0] == [-1, -1]


def test_the_most_similar_kept_document_is_the_twin_and_the_first_of_equals() -> None:
    sets = [[1, 2, 3, 4], [2, 3, 4, 5, 6, 9], [1, 2, 3, 4, 5, 6], [7, 8, 20, 21], [7, 8, 30, 31], [7, 8]]
    keys = [[1]] * 3 + [[2]] * 3
    assert run(keys, sets, 0.4) == ([-1, 0, 0, -1, -1, 3], [0.0, 3 / 7, 4 / 6, 0.0, 0.0, 0.5])


def test_documents_without_shingles_are_kept() -> None:
    assert run([[1], [1], [1]], [[], [], [1]], 0.5) == ([-1, -1, -1], [0.0, 0.0, 0.0])


def test_a_large_component_of_strangers_and_copies() -> None:
    count = 20_000
    keys = np.arange(count, dtype=np.uint64)[:, None] % (count // 2) + np.array([[0, count]], np.uint64)
    values = (np.arange(count, dtype=np.uint64)[:, None] % (count // 2) * 3 + np.array([[0, 1, 2]], np.uint64)).ravel()
    twin, similarity = walk(keys, values, np.arange(count + 1) * 3, 0.8)
    assert (twin[: count // 2] == -1).all()
    assert (twin[count // 2 :] == np.arange(count // 2)).all()
    assert (similarity[count // 2 :] == 1.0).all()


@pytest.mark.parametrize("threshold", [0.0, 1.01, float("nan")])
def test_a_threshold_outside_its_range_is_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match="it must be above 0 and at most 1"):
        run([[1]], [[1]], threshold)


def test_offsets_must_fit_the_documents() -> None:
    with pytest.raises(ValueError, match="2 documents need 3 offsets, found 2"):
        walk(np.zeros((2, 1), np.uint64), np.zeros(1, np.uint64), np.array([0, 1]), 0.5)
