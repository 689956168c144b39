"""Why each line of a page goes, where the page is stripped between RefinedWeb's corrections."""

import re
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redpajama_pipe.signals import score

COUNTER = re.compile(
    r"^\W*\d(?:,|\.|\d)*(?:k|m|b)?\s+(?:likes|shares|comments|retweets|reposts|quotes|bookmarks|upvotes|downvotes"
    r"|downloads|views|followers)\W*$"
)
TESTS: dict[str, Callable[[str], bool]] = {
    "uppercase": lambda line: 2 * sum(map(str.isupper, line)) > len(line),
    "numeric": lambda line: sum(map(str.isdigit, line)) > 0.999999 * len(line),
    "counter": lambda line: COUNTER.search(line.lower()) is not None,
    "one_word": lambda line: len(line.split()) < 2,
}


def reasons(text: str) -> list[str | None]:
    """Say of each line why it goes, by correcting one thing after another; None: it stays."""
    lines = text.split("\n")
    why: list[str | None] = [None] * len(lines)
    run = 0
    for index, line in enumerate(lines):
        run = 0 if line else run + 1
        if run > 1 and index < len(lines) - 1:
            why[index] = "newlines"
    for reason, drops in TESTS.items():
        for index, line in enumerate(lines):
            if why[index] is None and line and drops(line):
                why[index] = reason
        for order, stripped in ((range(len(lines)), str.lstrip), (range(len(lines) - 1, -1, -1), str.rstrip)):
            for index in order:
                if why[index] is None:
                    lines[index] = stripped(lines[index])
                    if lines[index]:
                        break
                    why[index] = "white_space"
    return why


def rules(text: str) -> list[str | None]:
    """Say of each line which span holds all of it and its newline, or None."""
    spans: list[dict[str, Any]] = score(pa.array([text], pa.string()), ["refinedweb_cuts"])[0].to_pylist()[0]
    found: list[str | None] = []
    at, size = 0, len(text.encode())
    for line in text.split("\n"):
        after = min(at + len(line.encode()) + 1, size)
        found.append(next((s["rule"] for s in spans if s["start"] <= at < after <= s["end"]), None))
        at = after
    return found


LINES = [
    "a b c", "12", "12 ", " 12", "  ٣  ", "3 likes", " 3 likes ", "* 4k Views!", "3 likes shares", "7 views likes",
    "5 follower", "word", " word ", "", "", " ", "\t", "\u3000", "AB", "A ", " A", "AB   ", "Ab cd", "é É", "\r12",
]  # fmt: skip


@settings(max_examples=200)
@given(st.lists(st.sampled_from(LINES), max_size=9).map("\n".join))
def test_each_line_goes_for_the_reason_that_comes_first(text: str) -> None:
    for line, expected, found in zip(text.split("\n"), reasons(text), rules(text), strict=True):
        if line or found:  # an empty line that stays has a newline, which goes where it is at the page's end
            assert found == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" 12\n٣ ", ["numeric", "numeric"]),  # stripped, both are digits only, the second as the last line as well
        (" A\n3 likes\nword\na b", ["one_word", "counter", "one_word", None]),
        ("a b\n12 \n 12 ", [None, "one_word", "one_word"]),
        ("a b\n12 \n ", [None, "numeric", "white_space"]),
        (" \n \na b\n ", ["white_space", "white_space", None, "white_space"]),
        ("word\n \nword", ["one_word", "one_word", "one_word"]),
        ("", [None]),
    ],
)
def test_only_the_ends_of_a_page_are_stripped(text: str, expected: list[str | None]) -> None:
    assert rules(text) == expected
