from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from redpajama_pipe.decontamination.decide import Decision, Hit, decide
from redpajama_pipe.decontamination.evaluation_sets import Example, Examples
from redpajama_pipe.decontamination.find import windows
from redpajama_pipe.decontamination.index import Index, build_index
from redpajama_pipe.errors import RecipeError
from redpajama_pipe.settings.decontaminate import Decontaminate, EvaluationSet
from redpajama_pipe.tokens.spans import apply_spans

ONE = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi"  # 14 words
OTHER = "one two three four five six seven eight nine ten eleven twelve thirteen"  # 13


def index_of(settings: Decontaminate, **sets: Sequence[str]) -> Index:
    chosen = [
        Examples(name, [Example(f"{name}-{number}", text) for number, text in enumerate(texts)], "")
        for name, texts in sets.items()
    ]
    return build_index(chosen, settings)


def decided(text: str, index: Index, settings: Decontaminate) -> list[Decision]:
    data = text.encode()
    found = index.find(pa.array([text]))
    places = windows(data, found[:, 2:], settings.window)
    hits = [Hit(*row[1:], *place[1:]) for row, place in zip(found.tolist(), places.tolist(), strict=True)]
    return decide(sorted(hits, key=lambda hit: (hit.start, hit.end, hit.run)), len(data), len(text), index, settings)


def test_a_receipt_says_which_example_and_where() -> None:
    settings = Decontaminate()
    index = index_of(settings, first=["nothing that occurs here or there", ONE], second=[OTHER, ONE[6:]])
    rows = decided(f"Née: {ONE.upper()}; and {OTHER}.", index, settings)
    assert [(row.action, row.rule, row.rank, row.start) for row in rows] == [
        ("drop", "contaminated.first", 0, None),
        ("drop", "contaminated.second", 1, None),
    ]
    assert json.loads(rows[0].evidence) == {
        "set": "first",
        "example": "first-1",
        "ngram": ONE.removesuffix(" xi"),
        "byte": 6,
        "hits": 2,
        "examples": 1,
    }
    second = json.loads(rows[1].evidence)
    assert (second["example"], second["byte"], second["hits"], second["examples"]) == ("second-1", 12, 2, 2)
    assert [index.example_ids[example] for example in rows[1].examples] == ["second-0", "second-1"]


def test_enough_different_ngrams_of_one_example_must_be_there() -> None:
    settings = Decontaminate(min_overlap=2)
    # OTHER has one n-gram alone, so all of its n-grams are enough
    index = index_of(settings, a=[ONE], b=[OTHER])
    words = ONE.split()
    assert decided(f"{' '.join(words[:13])} - {' '.join(words[:13])}", index, settings) == []
    assert [row.rule for row in decided(f"{' '.join(words[:13])} - {' '.join(words[1:])}", index, settings)] == [
        "contaminated.a"
    ]
    assert [row.rule for row in decided(OTHER, index, settings)] == ["contaminated.b"]
    assert decided("nothing at all", index, settings) == []


def test_cuts_take_out_what_matches_and_no_more() -> None:
    settings = Decontaminate(action="cut")
    index = index_of(settings, a=[ONE], b=[OTHER])
    text = f"“Before” {ONE}, between ({OTHER}) after. {ONE}"
    rows = decided(text, index, settings)
    assert [row.rule for row in rows] == ["contaminated.a", "contaminated.a", "contaminated.b"]
    assert {row.rank for row in rows} == {0}
    left = apply_spans(text.encode(), [(row.start or 0, row.end or 0, None) for row in rows])
    assert left.decode() == "“Before” , between () after. "
    assert [row.action for row in decided(ONE, index, settings)] == ["drop"], "nothing would be left"


def plain_windows(text: str, spans: list[tuple[int, int]], window: int, least: int) -> tuple[int, list[bool]]:
    """Mark the characters that go, one by one; returns how many pieces there were before short ones went, too."""
    gone = [False] * len(text)
    for start, end in spans:
        for at in range(max(0, start - window), min(len(text), end + window)):
            gone[at] = True
    pieces, at = [], 0
    while at < len(text):
        end = at
        while end < len(text) and gone[end] == gone[at]:
            end += 1
        if not gone[at]:
            pieces.append((at, end))
        at = end
    for start, end in pieces:
        if end - start < least:
            gone[start:end] = [True] * (end - start)
    return len(pieces), gone


@given(
    pieces=st.lists(st.tuples(st.text("é—x日", max_size=30), st.booleans()), min_size=1, max_size=9),
    window=st.integers(0, 6),
    least=st.integers(0, 9),
    most=st.integers(1, 4),
)
def test_windows_are_cut_as_plain_python_cuts_them(
    pieces: list[tuple[str, bool]], window: int, least: int, most: int
) -> None:
    settings = Decontaminate(mode="gpt3", n=2, window=window, min_piece=least, max_pieces=most)
    index = index_of(settings, a=["planted one"])
    text, spans = "", []
    for filler, planted in pieces:
        text += f"{filler} "
        if planted:
            spans.append((len(text), len(text) + len("planted one")))
            text += "planted one "
    assume(spans)
    count, gone = plain_windows(text, spans, window, least)
    rows = decided(text, index, settings)
    assert all(json.loads(row.evidence)["pieces"] == count for row in rows)
    if count > most or all(gone):
        assert [(row.action, row.rank) for row in rows] == [("drop", 0)]
        return
    left = apply_spans(text.encode(), [(row.start or 0, row.end or 0, None) for row in rows])
    assert {row.action for row in rows} == {"cut"}
    assert left.decode() == "".join(character for character, out in zip(text, gone, strict=True) if not out)


def test_the_published_cut_takes_200_characters_on_both_sides() -> None:
    settings = Decontaminate(mode="gpt3")
    assert (settings.n, settings.window, settings.min_piece, settings.max_pieces) == (13, 200, 200, 10)
    assert (settings.max_documents, settings.action) == (10, "cut")
    index = index_of(settings, a=[OTHER])
    text = "é" * 999 + f" {OTHER}. " + "é" * 399
    (row,) = decided(text, index, settings)
    assert (row.start, row.end) == (2 * 800, len(text.encode()) - 2 * 201)
    # 199 characters would be left: they go as well
    (row,) = decided(text[:-2], index, settings)
    assert row.end == len(text[:-2].encode())
    eleven = f" {OTHER} ".join("é" * 700 for _ in range(11))
    assert {row.action for row in decided(eleven, index, settings)} == {"drop"}
    ten = f" {OTHER} ".join("é" * 700 for _ in range(10))
    rows = decided(ten, index, settings)
    assert [(row.action, json.loads(row.evidence)["hits"]) for row in rows] == [("cut", 1)] * 9


def test_hits_are_widened_by_characters_not_bytes() -> None:
    text = "日本語 planted é".encode()
    start = text.index(b"planted")
    rows = windows(text, np.array([[start, start + 7]]), 2)
    assert rows.tolist() == [[13, 6, len(text), 2, 13]]
    assert windows(text, np.array([[start, start + 7]]), 0).tolist() == [[13, start, start + 7, 4, 11]]


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(RecipeError, match=r"^decontaminate\.n is 0; give 1 to 63, or 0 with mode gpt3: chosen for"):
        Decontaminate(n=0)
    with pytest.raises(RecipeError, match=r"^decontaminate\.min_overlap is 0; give 1 or more$"):
        Decontaminate(min_overlap=0)
    with pytest.raises(RecipeError, match=r"^decontaminate: two sets are called 'a'; names must differ$"):
        Decontaminate(sets=(EvaluationSet("a", ("x",)), EvaluationSet("a", ("y",))))
