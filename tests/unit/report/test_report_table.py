from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redpajama_pipe.report import terminal
from redpajama_pipe.report.table import format_table

SUMMARY = """\
┌───────────┬───────────┬────────┐
│ source    │ documents │ tokens │
├───────────┼───────────┼────────┤
│ wikipedia │   204,118 │  1,024 │
│ 東京      │     9,004 │      – │
├───────────┼───────────┼────────┤
│ all       │   213,122 │  1,024 │
└───────────┴───────────┴────────┘"""


def test_numbers_are_aligned_and_wide_characters_take_two_columns() -> None:
    rows = [("wikipedia", 204_118, 1_024), ("東京", 9_004, None)]
    assert format_table(rows, ("source", "documents", "tokens"), footer=("all", 213_122, 1_024)) == SUMMARY


def test_text_gives_way_before_numbers() -> None:
    made = format_table([("a" * 50, "b" * 30, 10**18)], ("one", "two", "three"), max_width=53)
    assert f"│ {'a' * 8}… │ {'b' * 8}… │ 1,000,000,000,000,000,000 │" in made
    assert {terminal.width(line) for line in made.splitlines()} == {53}


def test_the_widest_text_gives_way_first() -> None:
    made = format_table([("a" * 10, "b" * 30)], ("one", "two"), max_width=37)
    assert f"│ {'a' * 10} │ {'b' * 19}… │" in made


def test_alignment_can_be_given() -> None:
    lines = format_table([("a", "b")], ("left", "right"), align="cr").splitlines()
    assert lines[3] == "│  a   │     b │"


def test_a_table_without_rows_is_its_header() -> None:
    assert format_table([], ("a", "b")).splitlines()[1] == "│ a │ b │"


def test_misfitting_rows_and_alignments_are_errors() -> None:
    with pytest.raises(ValueError, match="a row has 1 values, the header 2"):
        format_table([("a",)], ("a", "b"))
    with pytest.raises(ValueError, match="align 'l' has 1 letters, the header 2 columns"):
        format_table([], ("a", "b"), align="l")


def test_escape_sequences_cannot_reach_the_terminal() -> None:
    made = format_table([("\x1b[31mred\x1b[0m\r\n\u202egnol", 1)], ("a", "b"))
    assert "\x1b" not in made
    assert "\u202e" not in made
    assert len(made.splitlines()) == 5


cells = st.one_of(st.none(), st.text(max_size=30), st.integers(), st.floats())


@given(st.lists(st.tuples(cells, cells, cells), max_size=5), st.integers(30, 120))
def test_all_lines_have_one_width_within_the_limit(rows: list[tuple[None, None, None]], limit: int) -> None:
    made = format_table(rows, ("first", "second", "third"), max_width=limit)
    widths = {terminal.width(line) for line in made.split("\n")}
    assert len(widths) == 1
    assert max(widths) <= limit


@given(st.text(), st.integers(1, 40))
def test_wrapped_lines_fit_and_lose_nothing(text: str, columns: int) -> None:
    cleaned = terminal.clean(text)
    lines = list(terminal.wrap(cleaned, columns))
    assert "".join(lines).replace(" ", "") == cleaned.replace(" ", "")
    for line in lines:
        assert terminal.width(line) <= max(columns, 2)  # one wide character may be wider than one column


def wrap_plainly(text: str, columns: int) -> list[str]:
    """Measure the line again for each word and each cut: slow, and plainly right."""
    lines = [""]
    for word in text.split(" "):
        joined = f"{lines[-1]} {word}" if lines[-1] else word
        if terminal.width(joined) <= columns:
            lines[-1] = joined
            continue
        rest = word
        if lines[-1]:
            lines.append("")
        while terminal.width(rest) > columns:
            fits = [size for size in range(1, len(rest)) if terminal.width(rest[:size]) <= columns]
            size = max(fits, default=1)
            lines[-1:] = [rest[:size], ""]
            rest = rest[size:]
        lines[-1] = rest
    return lines if lines[-1] else lines[:-1]


@given(st.lists(st.text("a東e\u0301 \u00a0…\u200b", max_size=30), max_size=4).map(" ".join), st.integers(0, 12))
def test_wrapping_equals_measuring_the_line_again_for_each_word(text: str, columns: int) -> None:
    assert list(terminal.wrap(text, columns)) == wrap_plainly(text, columns)


def test_a_long_word_is_wrapped_in_linear_time(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = 0

    def columns_of(character: str) -> int:
        nonlocal measured
        measured += 1
        return 1

    monkeypatch.setattr(terminal, "_columns", columns_of)
    assert len(list(terminal.wrap("x" * 5000, 50))) == 100
    assert measured <= 3 * 5000


def test_combining_marks_take_no_column() -> None:
    assert terminal.width("e\u0301") == 1
    assert terminal.truncate("abcdef", 4) == "abc…"
    assert terminal.truncate("東京都", 5) == "東京…"
    assert terminal.pad("東", 4, "r") == "  東"
