"""What repeats in a long document, against counting it plainly, with tables that are far too small."""

from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from redpajama_pipe.text import repeats

SLOTS = [16, 64, repeats.SLOTS >> 6]


def hashed(number: int) -> int:
    """Spread numbers over all 64 bits, the lowest one kept."""
    return (number // 2 * 0x9E3779B97F4A7C15 + 1) * 0xE7037ED1A0B428DB % 2**63 << 1 | number & 1


class Reading:
    """Items whose characters are their number and one; a piece has three and is overwritten by the next."""

    def __init__(self, items: list[int]) -> None:
        self.items, self.times = items, 0

    def __call__(self) -> Iterator[repeats.Piece]:
        self.times += 1
        hashes, ends = np.empty(3, np.uint64), np.empty(4, np.uint32)
        for at in range(0, len(self.items), 3):
            piece = self.items[at : at + 3]
            hashes[: len(piece)] = [hashed(item) for item in piece]
            ends[: len(piece) + 1] = np.cumsum([0, *(item + 1 for item in piece)])
            yield hashes[: len(piece)], ends[: len(piece) + 1]


def bits(bitmap: NDArray[np.uint64]) -> list[int]:
    found: list[int] = np.flatnonzero(np.unpackbits(bitmap.view(np.uint8), bitorder="little")).tolist()
    return found


few = st.lists(st.integers(0, 5), max_size=80)
many = st.lists(st.integers(0, 400), max_size=400)
different = st.integers(0, 400).map(lambda size: list(range(size)))
items = st.one_of(few, many, different, st.builds(lambda part, more: part + more + part, few | different, many))


@settings(max_examples=60, deadline=None)
@given(items, st.sampled_from(SLOTS))
def test_duplicates_are_all_occurrences_of_what_occurs_twice(numbers: list[int], slots: int) -> None:
    times = Counter(numbers)
    wanted = [
        [sum(times[item] * width for item, width in kind if times[item] > 1) for kind in kinds]
        for parity in (0, 1)
        for kinds in [
            [
                [(item, 1) for item in times if item % 2 == parity],
                [(item, item + 1) for item in times if item % 2 == parity],
            ]
        ]
    ]
    assert repeats.duplicates(Reading(numbers), slots).tolist() == wanted


@settings(max_examples=60, deadline=None)
@given(items, st.sampled_from(SLOTS))
def test_equal_words_share_a_name_and_are_marked(numbers: list[int], slots: int) -> None:
    words = repeats.name_words(Reading(numbers), len(numbers), slots)
    times = Counter(numbers)
    again = [at for at, item in enumerate(numbers) if times[item] > 1]
    assert bits(words.repeated) == again
    assert words.positions == len(again)
    assert len(words.names) == len(numbers)
    names = {(numbers[at], int(words.names[at])) for at in again}
    assert len(names) == len({item for item, _ in names}) == len({name for _, name in names})
    assert all(words.lengths[name] == item + 1 for item, name in names)
    assert not {name for _, name in names} & {int(words.names[at]) for at in set(range(len(numbers))) - set(again)}


@settings(max_examples=60, deadline=None)
@given(items, st.sampled_from(SLOTS), st.booleans())
def test_ngrams_that_occur_twice_are_marked_and_the_top_one_found(
    numbers: list[int], slots: int, longest: bool
) -> None:
    words = repeats.name_words(Reading(numbers), len(numbers), 1 << 12)
    before = words.repeated.copy()
    found = {
        ngrams.n: (bits(ngrams.repeated), ngrams.positions, ngrams.times, ngrams.chars, ngrams.first)
        for ngrams in repeats.repeated_ngrams(words, 4, 7, longest, slots)
    }
    for n in range(2, 8):
        ngrams = [tuple(numbers[at : at + n]) for at in range(len(numbers) - n + 1)]
        times = Counter(ngrams)
        marked = [at for at, ngram in enumerate(ngrams) if times[ngram] > 1]
        top = 0, 0, -1
        if marked and n <= 4:
            sizes = {ngram: sum(ngram) + n for ngram in times}
            best = max(times, key=lambda ngram: (times[ngram], sizes[ngram] if longest else 0))  # the first of several
            top = times[best], sizes[best], ngrams.index(best)
        assert found.get(n, ([], 0, 0, 0, -1)) == (marked, len(marked), *top)
    assert (words.repeated == before).all()


def test_a_table_that_is_too_small_is_filled_again_but_not_for_what_occurs_once() -> None:
    once, twice = Reading(list(range(4000))), Reading([*range(4000), *range(4000)])
    assert repeats.duplicates(once, 1 << 10).sum() == 0
    assert repeats.duplicates(twice, 1 << 10).tolist() == [[4000, 2 * 2000 * 2000], [4000, 2 * 2000 * 2001]]
    assert once.times < 7 < twice.times < 25
    roomy = Reading([*range(4000), *range(4000)])
    repeats.duplicates(roomy, 1 << 13)
    assert roomy.times == 2  # after a table of a small part


def test_a_table_grows_with_its_text_up_to_a_budget_that_doubles_beyond_128_mib() -> None:
    mib = 1 << 20
    assert [repeats.slots_for(size) for size in (0, mib, 64 * mib, 128 * mib)] == [16, 1 << 16, 1 << 22, 1 << 22]
    assert [repeats.slots_for(size * mib) for size in (129, 200, 256, 257)] == [1 << 23, 1 << 23, 1 << 23, 1 << 24]


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 128])
def test_what_ends_with_a_block_of_bits_is_found(size: int) -> None:
    words = repeats.name_words(Reading([7] * size), size, 64)
    assert bits(words.repeated) == (list(range(size)) if size > 1 else [])
    found = [bits(ngrams.repeated) for ngrams in repeats.repeated_ngrams(words, 4, 10, True, 64)]
    assert found == [list(range(size - n + 1)) for n in range(2, 11) if size > n]
