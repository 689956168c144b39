"""One corpus after another against its definition: all of them at once, the older documents first in keep order."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from test_walk_measures import Component, candidates, similar, walked

from redpajama_pipe.dedup.index_similar import most_similar_old
from redpajama_pipe.dedup.walk import CONTAINMENT, EQUAL_VALUES, JACCARD, walk

Lists = list[list[int]]
Arrays = tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.int64]]


@st.composite
def corpora(draw: st.DrawFn) -> tuple[Component, tuple[int, int]]:
    """Documents of three corpora, one after another, and where the second and the third begin."""
    measure = draw(st.sampled_from([JACCARD, CONTAINMENT, EQUAL_VALUES]))
    count, bands = draw(st.integers(0, 14)), draw(st.integers(1, 3))
    key = st.integers(0, 3) | st.integers(2**64 - 2, 2**64 - 1)
    keys = draw(st.lists(st.lists(key, min_size=bands, max_size=bands), min_size=count, max_size=count))
    of_set = st.lists(st.integers(0, 7), unique=True, max_size=9)
    of_signature = st.lists(st.integers(0, 3), min_size=4, max_size=4)
    each = of_signature if measure == EQUAL_VALUES else of_set
    values = draw(st.lists(each, min_size=count, max_size=count))
    threshold = draw(st.sampled_from([0.25, 1 / 3, 0.5, 2 / 3, 0.75, 0.8, 1.0]))
    first = draw(st.integers(0, count))
    return (keys, values, threshold, measure), (first, draw(st.integers(first, count)))


def arrays(keys: Lists, values: Lists, measure: int) -> Arrays:
    ordered = values if measure == EQUAL_VALUES else [sorted(each) for each in values]
    flat = np.array([value for each in ordered for value in each], np.uint64)
    width = len(keys[0]) if keys else 2
    return np.array(keys, np.uint64).reshape(-1, width), flat, np.cumsum([0, *map(len, values)])


def pick(items: Lists, chosen: list[int]) -> Lists:
    return [items[at] for at in chosen]


def survivors_against(old: list[int], new: list[int], component: Component) -> list[int]:
    """What the stage does: drop what repeats an old document, then decide the rest among themselves."""
    keys, values, threshold, measure = component
    both = old + new
    parts = arrays(pick(keys, both), pick(values, both), measure)
    twin, _ = most_similar_old(*parts, threshold, measure, old=len(old))
    left = [document for place, document in enumerate(both) if place >= len(old) and twin[place] < 0]
    twin, _ = walk(*arrays(pick(keys, left), pick(values, left), measure), threshold, measure)
    return [document for place, document in enumerate(left) if twin[place] < 0]


# a chain: the first corpus drops 1 for 0, and 2 of the second is like 1 alone
CHAIN = ([[1], [1], [1]], [list(range(10)), list(range(1, 11)), list(range(2, 12))], 0.8, JACCARD)


@given(corpora())
@example((CHAIN, (2, 3)))
@example((CHAIN, (1, 2)))
def test_one_after_another_is_all_at_once(drawn: tuple[Component, tuple[int, int]]) -> None:
    component, (second, third) = drawn
    count = len(component[0])
    at_once, _ = walked(*component)
    index_a = survivors_against([], list(range(second)), component)
    index_b = survivors_against(index_a, list(range(second, third)), component)
    rest = survivors_against(index_a + index_b, list(range(third, count)), component)
    assert index_a + index_b + rest == [document for document in range(count) if at_once[document] < 0]


@given(corpora())
def test_the_most_similar_old_document_is_found(drawn: tuple[Component, tuple[int, int]]) -> None:
    (keys, values, threshold, measure), (old, _) = drawn
    twins, similarities = most_similar_old(*arrays(keys, values, measure), threshold, measure, old=old)
    for document in range(len(keys)):
        met = [other for other in candidates(keys, values, document) if other < old <= document]
        found = [(-similar(values[document], values[other], measure), other) for other in met]
        best = min([pair for pair in found if -pair[0] >= threshold], default=(0.0, -1))
        assert (twins[document], similarities[document]) == (best[1], -best[0])


def test_old_documents_stay_even_if_they_are_equal() -> None:
    parts = arrays([[1], [1], [1]], [[5, 6], [5, 6], [5, 6]], JACCARD)
    twins, similarities = most_similar_old(*parts, 0.8, JACCARD, old=2)
    assert twins.tolist() == [-1, -1, 0]
    assert similarities.tolist() == [0.0, 0.0, 1.0]
