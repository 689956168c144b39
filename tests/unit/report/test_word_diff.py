from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from redpajama_pipe.report import worddiff
from redpajama_pipe.report.worddiff import Run


def test_differing_words_stand_alone() -> None:
    assert worddiff.compare("a big cat sat", "a small cat sat") == [
        Run("same", "a ", "a "),
        Run("differ", "big ", "small "),
        Run("same", "cat sat", "cat sat"),
    ]


def test_white_space_is_no_difference_and_is_kept() -> None:
    assert worddiff.compare("one\n\ntwo", "one two") == [Run("same", "one\n\ntwo", "one two")]


def test_scripts_without_spaces_are_compared_by_character() -> None:
    assert worddiff.split("東京 abc は") == ["東", "京 ", "abc ", "は"]
    runs = worddiff.compare("日本の首都である", "日本の都である")
    assert [(run.left, run.right) for run in runs if run.kind == "differ"] == [("首", "")]


def test_long_equal_stretches_become_a_gap() -> None:
    middle = " ".join(f"w{index}" for index in range(100))
    runs = worddiff.compare(f"x {middle} y", f"z {middle} y!", context=3)
    assert [run.kind for run in runs] == ["differ", "same", "gap", "same", "differ"]
    assert runs[2].words == 94


def test_equal_texts_show_how_they_begin() -> None:
    text = " ".join(f"w{index}" for index in range(200))
    runs = worddiff.compare(text, text)
    assert [run.kind for run in runs] == ["same", "gap"]
    assert runs[0].left.startswith("w0 w1 ")


def test_only_the_first_characters_are_compared() -> None:
    assert worddiff.compare("a" * 10 + "x", "a" * 10 + "y", limit=10) == [Run("same", "a" * 10, "a" * 10)]


def test_an_empty_side_is_one_difference() -> None:
    assert worddiff.compare("", "") == []
    assert worddiff.compare("", "new words") == [Run("differ", "", "new words")]


def test_a_repetitive_pair_is_aligned_at_once() -> None:
    # difflib takes minutes on this one
    runs = worddiff.compare("東" * 2_000, "東京" * 1_000)
    assert sum(run.left.count("東") + run.words for run in runs) == 2_000


def longest_common(left: list[str], right: list[str]) -> int:
    row = [0] * (len(right) + 1)
    for word in left:
        before = row
        row = [0]
        for index, other in enumerate(right):
            row.append(before[index] + 1 if word == other else max(before[index + 1], row[index]))
    return row[-1]


@given(st.lists(st.sampled_from("abc"), max_size=40), st.lists(st.sampled_from("abc"), max_size=40))
def test_no_alignment_has_more_equal_words(left: list[str], right: list[str]) -> None:
    runs = worddiff.compare(" ".join(left), " ".join(right), context=10_000)
    assert sum(len(run.left.split()) for run in runs if run.kind == "same") == longest_common(left, right)
    kinds = [run.kind for run in runs]
    assert all(one != two for one, two in pairwise(kinds))


words = st.lists(st.sampled_from(["a", "b", "c", "東", "京", " ", "\n", "ا"]), max_size=60).map("".join)


@given(words, words)
def test_runs_give_both_texts_back_when_nothing_is_left_out(left: str, right: str) -> None:
    runs = worddiff.compare(left, right, context=10_000)
    assert "".join(run.left for run in runs) == left
    assert "".join(run.right for run in runs) == right
    for run in runs:
        if run.kind == "same":
            assert "".join(run.left.split()) == "".join(run.right.split())


@given(words, words, st.integers(0, 5))
def test_gaps_count_exactly_the_words_left_out(left: str, right: str, context: int) -> None:
    runs = worddiff.compare(left, right, context=context)
    shown = sum(len(worddiff.split(run.left)) for run in runs)
    assert shown + sum(run.words for run in runs) == len(worddiff.split(left))
