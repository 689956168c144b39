"""FineWeb's, RefinedWeb's and RedPajama-V1's signals against their published code, restated."""

import re
import sys
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from peak_memory import measured

from redpajama_pipe.signals import datatrove, fineweb_kernels, redpajama_v1_kernels, refinedweb_kernels, score
from redpajama_pipe.text import classes
from redpajama_pipe.tokens.spans import apply_spans

LINES = [
    "a b c.", "a b c", "Ab? ", "é！", "x" * 30, "x" * 31 + ".", "", " ", "\t", "a b c.\r", "\u3000", "x" * 16, "x" * 17,
    "x" * 71 + "é", "é" * 40 + "x", "語" * 30,
]  # fmt: skip
line_documents = st.lists(st.sampled_from(LINES), max_size=12).map("\n".join) | st.text(max_size=30)


def by_fineweb(text: str) -> list[float | None]:
    """huggingface/datatrove: fineweb_quality_filter.py."""
    lines = [line for line in text.split("\n") if line.strip() != ""]
    if not lines:
        return [None, None, None]
    duplicate = sum(len(line) for place, line in enumerate(lines) if line in lines[:place])
    return [
        sum(line.endswith(tuple(datatrove.TERMINAL_PUNCTUATION)) for line in lines) / len(lines),
        sum(len(line) <= 30 for line in lines) / len(lines),
        duplicate / len(text.replace("\n", "")),
    ]


OF_LINES = [f"fineweb_{n}_fraction" for n in ("punctuated_line", "short_line", "duplicate_line_char")]
NONE: list[float | None] = [None, None, None]


@settings(max_examples=300)
@given(st.lists(line_documents | st.none(), min_size=1, max_size=5), st.sampled_from([fineweb_kernels.ROOM, 2, 8]))
def test_finewebs_signals_equal_its_code_in_any_number_of_rounds(texts: list[str | None], room: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fineweb_kernels, "ROOM", room)
        rows = score(pa.array(texts, pa.string()), OF_LINES).to_pylist()
    assert [list(row.values()) for row in rows] == [NONE if text is None else by_fineweb(text) for text in texts]


# Prints how many bytes of memory eight megabytes of text take, in all.
MEASURE = """
import pyarrow as pa
from peak_memory import peak
from redpajama_pipe.signals import score
names = [f"fineweb_{n}_fraction" for n in ("punctuated_line", "short_line", "duplicate_line_char")]
score(pa.array(["a"]), names)
different = "".join(f"Line {number} is met once in this text.\\n" for number in range(200_000))
for lines in ("spam ham " * 900_000, different):
    array = pa.array([lines])
    print(peak(lambda: score(array, names)))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_finewebs_memory_is_a_table_of_lines() -> None:
    one_line, many_lines = map(int, measured(MEASURE))
    assert one_line < 1 << 20
    assert many_lines < (1 << 19) * 8 + (1 << 20)  # twice as many hashes as lines, to a power of two


COUNTER = re.compile(
    r"^\W*\d(?:,|\.|\d)*(?:K|k|M|m|B|b)?\s+(?:likes|shares|comments|retweets|reposts|quotes|bookmarks|upvotes|downvotes"
    r"|downloads|views|followers)\W*$"
)


def kept_lines(text: str, keep: Callable[[str], bool]) -> str:
    return "\n".join(line for line in text.split("\n") if not line or keep(line))


def without_phrase(text: str, pattern: str) -> str:
    lines: list[str] = []
    for line in text.split("\n"):
        if len(line.split()) <= 10:
            changed = re.sub(pattern, "", line, flags=re.IGNORECASE)
            if line and (not changed or changed.isspace()):
                continue
            line = changed
        lines.append(line)
    return "\n".join(lines).strip()


def by_dclm(text: str) -> str:
    """mlfoundations/dclm: baselines/mappers/modifiers.py, in the order of baselines_configs/refinedweb.yaml."""
    text = re.sub(r"\n{3,}", "\n\n", text)
    text = kept_lines(text, lambda line: sum(map(str.isupper, line)) / len(line) <= 0.5).strip()
    text = kept_lines(text, lambda line: sum(map(str.isdigit, line)) / len(line) <= 0.999999).strip()
    text = kept_lines(text, lambda line: not COUNTER.search(line.lower())).strip()
    text = kept_lines(text, lambda line: len(line.split()) >= 2)
    for pattern in (r"\s?(?:items in cart)", r"\s?(?:read more...)$", r"^(?:sign-in)\s?"):
        text = without_phrase(text, pattern)
    return text


def words(text: str) -> int:
    return sum(word[0].isalnum() for word in re.split(r"[ \n\r\t\v\f\0]+", text) if word)


WEB = [
    "a b c", "AB CD", "Ab cd", "12", "12 ", "3 likes", "* 3k Views!", "4,5 Shares", "word", "2 items in cart", "x y\tz",
    "Items in Cart", "a b. Read more...", "Read more...", "Sign-in a b", "sign-in", "read more abc", "é É", "٣", "",
    " ",
    "one two three four five six seven eight nine ten Read more...", "1. 2", "3 likes and more",
    "one two three four five six seven eight Read more...", "one two three four five six seven eight nine Read more...",
    "ABC de", "ABCd e", "a\rb", "word\r",
]  # fmt: skip


def corrected(texts: list[str]) -> list[tuple[str, float | None]]:
    rows = score(pa.array(texts, pa.string()), ["refinedweb_cuts", "refinedweb_removed_word_fraction"]).to_pylist()
    found: list[tuple[str, float | None]] = []
    for text, row in zip(texts, rows, strict=True):
        spans: list[dict[str, Any]] = row["refinedweb_cuts"]
        left = apply_spans(text.encode(), [(s["start"], s["end"], s["replacement"]) for s in spans])
        found.append((left.decode(), row["refinedweb_removed_word_fraction"]))
    return found


@settings(max_examples=300)
@given(st.lists(st.sampled_from(WEB), max_size=10).map("\n".join).map(lambda text: f"The text.\n{text}\nIt ends."))
def test_a_page_without_its_cuts_is_what_dclm_writes(text: str) -> None:
    ((left, fraction),) = corrected([text])
    assert left == by_dclm(text)
    assert fraction == pytest.approx((words(text) - words(left)) / words(text))


PHRASES = [
    "items in cart", "Items In Cart ", "sign-in", "Sign-in ", "sign-", "in", "read more...", "Read moreabc", "read m",
    "ore..", " ", "  ", "\t", "\u2028", "\n", "\n\n\n", "x", "a b", "12", "word ", "3 likes",
]  # fmt: skip


@settings(max_examples=400)
@given(st.lists(st.sampled_from(WEB), max_size=8).map("\n".join) | st.lists(st.sampled_from(PHRASES)).map("".join))
@example("items in cart sign-in x")  # the first line is stripped before sign-in is looked for at its start
@example("a b read more...  items in cart")  # the last one before read more at its end
@example("a b\nitems in cart\n sign-in x\nread more... \nitems in cart")
@example(" \u2028A B\nitems in cart sign-items in cartin x")
def test_the_ends_of_a_page_are_stripped_between_corrections(text: str) -> None:
    assert corrected([text])[0][0] == by_dclm(text)


@pytest.mark.parametrize("text", ["", "\n\n", "WORD", "12\n3 likes"])
def test_a_page_may_be_left_empty(text: str) -> None:
    ((left, fraction),) = corrected([text])
    assert left == ""
    assert fraction == (1.0 if words(text) else None)


@pytest.mark.parametrize(
    ("line", "left"),
    [
        ("ABC de", "ABC de"),  # half of the characters in upper case is not more than half
        ("ABCD e", ""),
        ("one two three four five six seven eight Read more...", "one two three four five six seven eight"),
        ("one two three four five six seven eight nine Read more...",) * 2,  # eleven words
        ("a\rb", "a\rb"),  # two words
        ("²3 likes", "²3 likes"),  # a superscript is a letter to \\w, and no number to \\d
        ("3 li\u212aes", ""),  # str.lower() makes a k of the Kelvin sign
        ("3\u212a likes", ""),
        ("3 like\u017f", "3 like\u017f"),
        ("a b \u0130temſ ın cart", "a b"),  # a regular expression that ignores case knows ı and İ for i and ſ for s
        ("ſıgn-\u0130n a b", "a b"),
    ],
)
def test_bounds_of_the_corrections(line: str, left: str) -> None:
    assert by_dclm(line) == left
    assert corrected([line])[0][0] == left


def test_stop_words_are_counted_in_any_case_and_whole() -> None:
    text = "The be\tTO\rof xbe and, that\x0bhave WITH\nbe\u00a0to the"
    counted = score(pa.array([text, "be", "a"]), ["refinedweb_stop_word_count"])[0].to_pylist()
    # the be to of that have with be to the; not `and,` or `xbe`
    assert counted == [10, 1, 0]


SPACES = "\0 \n\x1c\x85\u00a0\u1680\u2003\u2028\u202f\u205f\u3000\u200béは"


@given(st.lists(st.sampled_from([*SPACES, "the", "Be", "bE", "x"])).map("".join))
def test_stop_words_stand_between_white_space_of_any_kind(text: str) -> None:
    """mlfoundations/dclm: baselines/mappers/filters/content_filters.py, stop_word_filter."""
    counted = score(pa.array([text], pa.string()), ["refinedweb_stop_word_count"])[0].to_pylist()
    assert counted == [sum(word.lower() in ("the", "be") for word in text.split())]


@given(st.lists(st.text(max_size=20) | line_documents, min_size=1, max_size=5))
def test_redpajama_v1s_signals_equal_its_code(texts: list[str]) -> None:
    """togethercomputer/RedPajama-Data, rp_v1: data_prep/github."""
    names = [f"redpajama_v1_{n}" for n in ("max_line_length", "mean_line_length", "alphanumeric_char_fraction")]
    rows = score(pa.array(texts, pa.string()), names).to_pylist()
    for text, row in zip(texts, rows, strict=True):
        lines = text.splitlines()
        assert list(row.values()) == [
            max(map(len, lines), default=0),
            len(text) / len(lines) if lines else None,
            sum(map(str.isalnum, text)) / len(text) if text else None,
        ]


def test_null_documents_have_null_signals() -> None:
    names = [
        "fineweb_short_line_fraction",
        "refinedweb_cuts",
        "refinedweb_stop_word_count",
        "redpajama_v1_max_line_length",
    ]
    assert score(pa.array([None], pa.string()), names).to_pylist() == [dict.fromkeys(names)]


def test_kernels_read_the_flags_that_the_table_holds() -> None:
    for module in (refinedweb_kernels, redpajama_v1_kernels):
        for flag in ("SPACE", "LINE_BREAK", "DIGIT", "UPPER", "ALPHANUMERIC"):
            if hasattr(module, flag):
                assert getattr(module, flag) == getattr(classes, flag)
    assert fineweb_kernels.SPACE == classes.SPACE
