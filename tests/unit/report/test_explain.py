from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_factory import EXAMPLE_TEXT, KEPT_TEXT, digest

from redpajama_pipe.report import terminal
from redpajama_pipe.report.explain import (
    WIDTH,
    DecisionRow,
    Explanation,
    RuleTest,
    SignalValue,
    TokenPlace,
    Twin,
    render_explanation,
)

DROPPED = Explanation(
    doc_id="00112233445566778899aabbccddeeff",
    fate="dropped by filter: gopher.word_count",
    provenance={"source": "common_crawl", "offset": 81_220_113, "url": None},
    excerpt="Too short.\nReally.",
    signals=[
        SignalValue("word_count", 3, "words", [RuleTest("gopher.word_count", "word_count >= 50", False)]),
        SignalValue("mean_word_length", None, "characters", [RuleTest("gopher.length", "mean_word_length >= 3", None)]),
        SignalValue("char_count", 18, "characters", [RuleTest("own.chars", "char_count >= 1", True)]),
    ],
    decisions=[
        DecisionRow("filter", "c4.min_words", "drop", 1, {"word_count": 3}),
        DecisionRow("filter", "gopher.word_count", "drop", 0, {"word_count": 3, "limit": 50.5}),
    ],
)

GOLDEN = """\
document 00112233445566778899aabbccddeeff                       dropped by filter: gopher.word_count
────────────────────────────────────────────────────────────────────────────────────────────────────

where it came from
  source        common_crawl
  offset        81,220,113
  url           –

how it begins
  │ Too short.
  │ Really.

what was measured
  word_count         3  words
    ✗ gopher.word_count  keeps  word_count >= 50
  mean_word_length   –  characters
    ? gopher.length  keeps  mean_word_length >= 3  (no value: not decided)
  char_count        18  characters
    ✓ own.chars  keeps  char_count >= 1

what was decided
  ● drop by filter: gopher.word_count
    word_count = 3, limit = 50.5
  ○ drop by filter: c4.min_words  (as well; not counted here)
    word_count = 3
"""


def duplicate() -> Explanation:
    twin = Twin(digest("a"), "wikipedia", "https://en.wikipedia.org/wiki/Republic_of_Ragusa", 0.9312, KEPT_TEXT)
    return Explanation(
        doc_id=digest("b"),
        fate="dropped by near_dedup: jaccard",
        excerpt=EXAMPLE_TEXT,
        twin=twin,
        tokens=TokenPlace("shard_00003", 1_204, 913),
    )


def test_life_of_a_dropped_document() -> None:
    assert render_explanation(DROPPED) == GOLDEN


def test_twin_is_shown_with_the_words_that_differ() -> None:
    text = render_explanation(duplicate())
    assert "similarity    0.931" in text
    assert "The [-harbor-] {+harbour+} of Ragusa" in text
    assert "[-Some 5,000-] {+About five thousand+} people" in re.sub(r"\s+│?\s*", " ", text)
    assert "⋯32 equal words⋯" in text.replace("\u00a0", " ")


def test_place_of_the_tokens_is_inclusive() -> None:
    assert "tokens        1,204 to 2,116 (913 tokens)" in render_explanation(duplicate())
    empty = Explanation("00", "kept", tokens=TokenPlace("shard_00000", 7, 0))
    assert "tokens        none" in render_explanation(empty)


def test_equal_twins_say_that_they_do_not_differ() -> None:
    same = Explanation(
        "00", "dropped by exact_dedup: same_text", excerpt="a b", twin=Twin("11", "s", None, 1.0, "a  b")
    )
    assert "difference    none in the first 2,000 characters" in render_explanation(same)


def test_a_kept_document_without_anything_else_is_a_few_lines() -> None:
    assert render_explanation(Explanation("00", "kept")).splitlines()[3:] == [
        "what was decided",
        "  nothing: no rule drops it",
    ]


def test_colour_only_on_request_and_it_adds_nothing_else() -> None:
    for data in (DROPPED, duplicate()):
        plain, coloured = render_explanation(data), render_explanation(data, color=True)
        assert "\x1b" not in plain
        assert "\x1b[31m" in coloured
        assert re.sub(r"\x1b\[\d+m", "", coloured) == plain
        for line in coloured.splitlines():  # no colour runs over the end of a line
            assert line.count("\x1b[0m") * 2 == line.count("\x1b")


@pytest.mark.parametrize("attack", ["\x1b]0;title\x07", "\x1b[2J", "\u202eevil", "\x9b31m", "\ud800"])
def test_crawled_text_cannot_command_the_terminal(attack: str) -> None:
    data = Explanation(
        attack,
        attack,
        {attack: attack},
        attack,
        [SignalValue(attack, attack, attack, [RuleTest(attack, attack, None)])],
        [DecisionRow(attack, attack, attack, 0, {attack: [attack]})],
        Twin(attack, attack, attack, None, attack + " more"),
        TokenPlace(attack, 0, 1),
    )
    text = render_explanation(data)
    assert attack[0] not in text
    text.encode("utf-8")


texts = st.text(max_size=300)


@given(texts, texts, texts, st.booleans())
def test_no_line_is_wider_than_the_page(name: str, left: str, right: str, passed: bool) -> None:
    data = Explanation(
        doc_id=name,
        fate=left,
        provenance={name: right},
        excerpt=left,
        signals=[SignalValue(name, right, left, [RuleTest(left, right, passed)])],
        decisions=[DecisionRow(name, left, right, 0, {left: right})],
        twin=Twin(name, left, right, 0.5, right),
        tokens=TokenPlace(left, 10**15, 10**15),
    )
    for line in render_explanation(data).split("\n"):
        assert terminal.width(line) <= WIDTH
