"""Every way of deciding a component against its definition, comparing every pair."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from redpajama_pipe.dedup.walk import CONTAINMENT, EQUAL_VALUES, JACCARD, join_components, walk

Component = tuple[list[list[int]], list[list[int]], float, int]
Decided = tuple[list[int], list[float]]


def similar(own: list[int], theirs: list[int], measure: int) -> float:
    if measure == EQUAL_VALUES:
        return sum(a == b for a, b in zip(own, theirs, strict=True)) / len(own)
    shared = len(set(own) & set(theirs))
    return shared / len(own) if measure == CONTAINMENT else shared / len(set(own) | set(theirs))


def candidates(keys: list[list[int]], values: list[list[int]], later: int) -> list[int]:
    def shared(other: int) -> bool:
        return any(a == b for a, b in zip(keys[later], keys[other], strict=True))

    return [other for other in range(later) if values[later] and values[other] and shared(other)]


def walked(keys: list[list[int]], values: list[list[int]], threshold: float, measure: int) -> Decided:
    kept: set[int] = set()
    twins, similarities = [], []
    for later in range(len(keys)):
        found = [(-similar(values[later], values[k], measure), k) for k in candidates(keys, values, later) if k in kept]
        best = min([pair for pair in found if -pair[0] >= threshold], default=(0.0, -1))
        twins.append(best[1])
        similarities.append(-best[0])
        if best[1] < 0:
            kept.add(later)
    return twins, similarities


def joined(keys: list[list[int]], values: list[list[int]], threshold: float, measure: int) -> Decided:
    """Plain union-find over every pair of candidates."""
    parent = list(range(len(keys)))

    def root(at: int) -> int:
        while parent[at] != at:
            at = parent[at]
        return at

    for later in range(len(keys)):
        for earlier in candidates(keys, values, later):
            if similar(values[later], values[earlier], measure) >= threshold:
                low, high = sorted((root(later), root(earlier)))
                parent[high] = low
    twins = [-1 if root(at) == at else root(at) for at in range(len(keys))]
    return twins, [similar(values[at], values[twin], measure) if twin >= 0 else 0.0 for at, twin in enumerate(twins)]


def run(way, keys: list[list[int]], values: list[list[int]], threshold: float, measure: int) -> Decided:  # type: ignore[no-untyped-def]
    width = len(keys[0]) if keys else 2
    flat = np.array([value for each in values for value in each], np.uint64)
    twin, similarity = way(
        np.array(keys, np.uint64).reshape(-1, width), flat, np.cumsum([0, *map(len, values)]), threshold, measure
    )
    return twin.tolist(), similarity.tolist()


@st.composite
def components(draw: st.DrawFn) -> Component:
    count, bands = draw(st.integers(0, 16)), draw(st.integers(1, 3))
    key = st.integers(0, draw(st.integers(0, 4)))
    keys = draw(st.lists(st.lists(key, min_size=bands, max_size=bands), min_size=count, max_size=count))
    measure = draw(st.sampled_from([JACCARD, CONTAINMENT, EQUAL_VALUES]))
    if measure == EQUAL_VALUES:
        each = st.lists(st.integers(0, 2), min_size=6, max_size=6)
    else:
        each = st.lists(st.integers(0, 9), unique=True, max_size=9).map(sorted)
    values = draw(st.lists(each, min_size=count, max_size=count))
    threshold = draw(st.sampled_from([0.01, 0.25, 1 / 3, 0.5, 0.6, 2 / 3, 0.75, 0.8, 7 / 9, 1.0]))
    return keys, values, 0.0 if measure == EQUAL_VALUES and draw(st.booleans()) else threshold, measure


@given(components())
def test_walk_is_its_definition_by_every_measure(component: Component) -> None:
    assert run(walk, *component) == walked(*component)


@given(components())
# two groups of one bucket are joined through another bucket, then a third document meets both
@example(([[1, 5], [1, 6], [2, 5], [2, 6], [1, 7]], [[1], [2], [1], [2], [2]], 1.0, JACCARD))
# the fourth document makes one group of two, before a third group that the last one belongs to
@example(([[1]] * 5, [[9], [1, 2], [3, 4], [1, 2, 3, 4], [9]], 0.5, JACCARD))
def test_components_are_those_of_union_find_by_every_measure(component: Component) -> None:
    assert run(join_components, *component) == joined(*component)


@given(components(), st.lists(st.integers(0, 15), unique=True, max_size=5))
def test_components_side_by_side_are_decided_each_for_itself(component: Component, cuts: list[int]) -> None:
    """Though keys of one occur in another."""
    keys, values, threshold, measure = component
    begins = [0, *sorted(cut for cut in cuts if 0 < cut < len(keys))]
    flat = np.array([value for each in values for value in each], np.uint64)
    offsets = np.cumsum([0, *map(len, values)])
    matrix = np.array(keys, np.uint64).reshape(len(keys), -1 if keys else 2)
    for way, definition in ((walk, walked), (join_components, joined)):
        twins, similarities = way(matrix, flat, offsets, threshold, measure, np.array(begins))
        expected: Decided = ([], [])
        for begin, end in pairwise([*begins, len(keys)]):
            twin, similarity = definition(keys[begin:end], values[begin:end], threshold, measure)
            expected[0].extend(other + begin if other >= 0 else -1 for other in twin)
            expected[1].extend(similarity)
        assert (twins.tolist(), similarities.tolist()) == expected


def test_components_go_through_a_chain_and_the_walk_does_not() -> None:
    chain = [list(range(10)), list(range(1, 11)), list(range(2, 12))]
    assert run(walk, [[1]] * 3, chain, 0.8, JACCARD)[0] == [-1, 0, -1]
    assert run(join_components, [[1]] * 3, chain, 0.8, JACCARD) == ([-1, 0, 0], [0.0, 9 / 11, 8 / 12])


def test_containment_is_of_the_later_document_in_the_earlier() -> None:
    page, excerpt = list(range(100)), list(range(20))
    assert run(walk, [[1]] * 2, [page, excerpt], 0.8, CONTAINMENT) == ([-1, 0], [0.0, 1.0])
    assert run(walk, [[1]] * 2, [excerpt, page], 0.8, CONTAINMENT)[0] == [-1, -1], "what is more is not lost"
    assert run(walk, [[1]] * 2, [page, excerpt], 0.8, JACCARD)[0] == [-1, -1]


def test_a_threshold_of_0_is_for_signatures_alone() -> None:
    assert run(walk, [[1]] * 2, [[1, 2], [3, 4]], 0.0, EQUAL_VALUES) == ([-1, 0], [0.0, 0.0])
    for measure in (JACCARD, CONTAINMENT):
        with pytest.raises(ValueError, match=r"threshold is 0\.0; it must be above 0 and at most 1"):
            run(walk, [[1]] * 2, [[1, 2], [3, 4]], 0.0, measure)


@pytest.mark.parametrize("way", [walk, join_components])
def test_a_bucket_of_ten_thousand_equal_documents_is_decided_in_linear_time_and_memory(way) -> None:  # type: ignore[no-untyped-def]
    count, bands, size = 10_000, 14, 50
    keys = np.repeat(np.arange(bands, dtype=np.uint64)[None], count, axis=0)
    values = np.tile(np.arange(size, dtype=np.uint64), count)
    twin, similarity = way(keys, values, np.arange(count + 1) * size, 0.8)
    assert twin.tolist() == [-1] + [0] * (count - 1)
    assert (similarity[1:] == 1.0).all()
