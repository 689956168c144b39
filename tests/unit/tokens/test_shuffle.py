import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from redpajama_pipe.tokens.shuffle import BLOCK, LegacyShuffler


@given(
    st.integers(0, 2**32 - 1),
    st.lists(st.integers(0, 3 * BLOCK), min_size=1, max_size=4),
    st.sampled_from(["<i4", "<u4", "<i8"]),
)
def test_shuffles_one_after_the_other_are_numpys(seed: int, lengths: list[int], dtype: str) -> None:
    generator, shuffler = np.random.RandomState(seed), LegacyShuffler(seed)
    for length in lengths:
        expected, items = np.arange(length, dtype=dtype), np.arange(length, dtype=dtype)
        generator.shuffle(expected)
        shuffler.shuffle(items)
        assert items.tolist() == expected.tolist()


@pytest.mark.parametrize("length", [0, 1, 2, 3, BLOCK, BLOCK + 1, BLOCK + 2, 2 * BLOCK + 1, 2**17, 2**17 + 1])
def test_borders_of_blocks_and_masks_are_numpys(length: int) -> None:
    expected, items = np.arange(length), np.arange(length)
    np.random.RandomState(1234).shuffle(expected)
    LegacyShuffler(1234).shuffle(items)
    assert np.array_equal(items, expected)


def test_a_slice_is_shuffled_in_place() -> None:
    items = np.arange(1000)
    LegacyShuffler(5).shuffle(items[100:900])
    assert items[:100].tolist() == list(range(100))
    assert items[900:].tolist() == list(range(900, 1000))
    expected = np.arange(100, 900)
    np.random.RandomState(5).shuffle(expected)
    assert items[100:900].tolist() == expected.tolist()
