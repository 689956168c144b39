"""Identities inside one file."""

from hypothesis import given
from hypothesis import strategies as st

from redpajama_pipe.sources.identifiers import UniqueIds


def test_first_use_keeps_its_name_and_repeats_get_the_offset() -> None:
    ids = UniqueIds()
    assert [ids.claim("a", 0), ids.claim("b", 5), ids.claim("a", 9)] == ["a", "b", "a#9"]


def test_missing_name_is_the_offset() -> None:
    assert UniqueIds().claim("", 12) == "#12"


def test_a_name_that_looks_like_a_repeat_stays_unique() -> None:
    ids = UniqueIds()
    assert [ids.claim("a#9", 0), ids.claim("a", 1), ids.claim("a", 9)] == ["a#9", "a", "a#9#1"]


def test_table_grows_and_still_knows_every_name() -> None:
    ids = UniqueIds()
    for number in range(5000):
        assert ids.claim(str(number), number) == str(number)
    assert ids.claim("17", 99) == "17#99"
    assert ids.claim("4999", 98) == "4999#98"


@given(st.lists(st.sampled_from(["", "a", "b", "a#1"]), max_size=20))
def test_names_are_never_given_twice(names: list[str]) -> None:
    ids = UniqueIds()
    given_out = [ids.claim(name, offset) for offset, name in enumerate(names)]
    assert len(set(given_out)) == len(names)
