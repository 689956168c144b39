"""C4's cleaning against its published code, restated, and what the cuts leave."""

import io
import json
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from redpajama_pipe.signals import c4, c4_kernels, score
from redpajama_pipe.signals.resources import Resources
from redpajama_pipe.text import classes
from redpajama_pipe.tokens.spans import apply_spans

CITATION = re.compile(r"\[\d*\]|\[edit\]|\[citation needed\]")
POLICY = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")


def clean_page(text: str, min_words: int = 5, bad_words: Sequence[str] = ()) -> str | None:
    """Clean as tensorflow/datasets: tensorflow_datasets/text/c4_utils.py, clean_page, without its sentence count."""
    bad = re.compile("[^a-z]({})[^a-z]".format("|".join(bad_words))) if bad_words else None
    valid = []
    for line in text.splitlines():
        line = line.strip()
        if any(len(word) > 1000 for word in line.split()):
            continue
        line = CITATION.sub("", line)
        if not line.endswith((".", "?", "!", '"')) or line.endswith("..."):
            continue
        if len(line.split()) < min_words:
            continue
        lower = line.lower()
        if "lorem ipsum" in lower:
            return None
        if "javascript" in lower:
            continue
        if "{" in line:
            return None
        if any(phrase in lower for phrase in POLICY):
            continue
        if bad and bad.search(lower):
            return None
        valid.append(line)
    return "\n".join(valid).strip()


def clean_by_datatrove(text: str) -> str | None:
    """Clean as datatrove 0.10's C4QualityFilter(filter_no_terminal_punct=False), without its sentence count."""
    kept = []
    for line in text.splitlines():
        line = line.strip()
        words = line.split()
        if any(len(word) > 1000 for word in words):
            continue
        line = CITATION.sub("", line)
        if len(words) < 3:
            continue
        lower = line.lower()
        if "lorem ipsum" in lower:
            return None
        if "javascript" in lower:
            continue
        if "{" in line:
            return None
        if any(phrase in lower for phrase in POLICY):
            continue
        kept.append(line)
    return "\n".join(kept).strip()


def cleaned(text: str, spans: list[dict[str, Any]]) -> str:
    for before, after in pairwise(spans):
        assert before["end"] <= after["start"], "spans are in order and disjoint"
    return apply_spans(text.encode(), [(s["start"], s["end"], s["replacement"]) for s in spans]).decode()


def page(text: str, reading: str = "c4") -> dict[str, Any]:
    names = [s.name for family in c4.FAMILIES if family.name == reading for s in family.signals if "bad" not in s.name]
    row: dict[str, Any] = score(pa.array([text]), names).to_pylist()[0]
    return {name.removeprefix(f"{reading}_"): value for name, value in row.items()}


def check(reading: str, text: str, row: dict[str, Any], expected: str | None) -> None:
    dropped = row[f"{reading}_lorem_ipsum_line_count"] + row[f"{reading}_curly_bracket_line_count"] > 0
    assert dropped == (expected is None)
    if expected is not None:
        assert cleaned(text, row[f"{reading}_cuts"]) == expected


# fmt: off
PIECES = [
    "a b c d e.", "[1] ", "[edit]", "[citation needed]", "[٣]", "foo", " ", "\n", "\r\n", "\r", "\x85", "\u2028", "...",
    "x y z w v!", '"', "javascript", "JavaScrİpt", "use coo\u212aies", "Terms of Use", "{", "é", "\t", "\x1f", "\u3000",
    "lorem ipsum", "a" * 1001, "bad word", "ass", "K",
]
# fmt: on
pages = st.lists(st.sampled_from(PIECES), max_size=25).map("".join) | st.text(max_size=30)
NAMES = ["cuts", "lorem_ipsum_line_count", "curly_bracket_line_count"]


@settings(max_examples=300)
@given(st.lists(pages, min_size=1, max_size=4))
def test_a_page_without_its_cuts_is_what_the_published_code_writes(texts: list[str]) -> None:
    for reading, published in (
        ("c4", clean_page),
        ("c4_paper", lambda text: clean_page(text, 3)),
        ("c4_fineweb", clean_by_datatrove),
    ):
        rows = score(pa.array(texts, pa.string()), [f"{reading}_{name}" for name in NAMES]).to_pylist()
        for text, row in zip(texts, rows, strict=True):
            check(reading, text, row, published(text))


def test_real_pages_without_their_cuts_are_what_the_published_code_writes(real_data: Path) -> None:
    with zstandard.open(real_data / "corpora/pile_sample.jsonl.zst", "rb") as stream:
        lines = io.TextIOWrapper(stream, encoding="utf-8")
        texts = [json.loads(line)["text"] for line, _ in zip(lines, range(300), strict=False)]
    for row, text in zip(score(pa.array(texts), [f"c4_{name}" for name in NAMES]).to_pylist(), texts, strict=True):
        check("c4", text, row, clean_page(text))


@pytest.fixture
def word_lists(tmp_path: Path) -> Resources:
    folder = tmp_path / "naughty-words"
    folder.mkdir()
    (folder / "en.json").write_text(json.dumps(["bad word", "ass", "kit", "hai"]))
    return Resources(word_lists=str(tmp_path))


@settings(max_examples=100)
@given(
    st.lists(st.sampled_from(["ass", "bad", " ", "word", "Kit", "\u212ait", "haİ", "hai", "é", ".", "x"]), max_size=9)
)
def test_bad_words_are_found_as_the_published_expression_finds_them(pieces: list[str]) -> None:
    line = "".join(pieces)
    table, symbols = c4.trie(("bad word", "ass", "kit", "hai"))
    data = line.encode()
    found = any(
        c4_kernels._is_bad(np.frombuffer(data, np.uint8).copy(), len(data), at, table, symbols)
        for at in range(1, len(data))
        if _no_letter_before(line, data, at)
    )
    assert found == bool(re.search("[^a-z](bad word|ass|kit|hai)[^a-z]", line.lower()))


def _no_letter_before(line: str, data: bytes, at: int) -> bool:
    if data[at] & 0xC0 == 0x80:
        return False
    return re.fullmatch("[a-z]", data[:at].decode()[-1].lower()[-1]) is None


@pytest.mark.parametrize("size", [*range(24, 72), *range(506, 516)])
def test_what_is_looked_for_is_found_at_every_place_of_a_block(size: int, word_lists: Resources) -> None:
    words = "one two three four five six "
    for found, name in (
        ("An ass bit it", "c4_bad_word_line_count"),
        ("LOREM Ipsum", "c4_lorem_ipsum_line_count"),
        ("a { b", "c4_curly_bracket_line_count"),
        ("one. Two", "c4_sentence_count"),
    ):
        text = (words * 20)[:size] + found + " is the end."
        assert score(pa.array([text, text[:-1]]), [name], resources=word_lists)[0].to_pylist() == [
            2 if name == "c4_sentence_count" else 1,
            0,
        ]
    for dropped in ("JavaScript", "Terms of use", "Privacy Policy", "coo\u212aie policy", "uses Cookies"):
        text = f"{(words * 20)[:size]}{dropped} is it.\nThe next line has five words.\u2028And so has this one here."
        row = page(text)
        assert cleaned(text, row["cuts"]) == "The next line has five words.\nAnd so has this one here."
    for longest in (1000, 1001):
        for letter in ("a", "\x01", "é"):
            text = f"{(words * 20)[:size]} {letter * longest} {words}."
            assert (page(text)["kept_line_count"] == 1) == (longest == 1000)


@pytest.mark.parametrize("line_break", ["\n", "\v", "\f", "\r", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"])
def test_every_line_break_ends_a_line(line_break: str) -> None:
    assert page(f"one{line_break}two")["line_count"] == 2


def test_no_word_of_a_list_is_passed_over(word_lists: Resources) -> None:
    words = ("ab", "xyz", "four", "longer one", "naïve", "2 girls")
    (Path(str(word_lists.word_lists)) / "naughty-words" / "en.json").write_text(json.dumps(words))
    lines = [f"There is {word}{end} in a line." for word in words for end in (" ", "!", "é", ". Or", "7")]
    lines += [f"There is one{mark}ab in a line." for mark in "|~@[`"]
    lines += [f"There is {word} in a line." for word in ("AB", "xYz", "FOUR", "Longer One", "NAïVE", "2 Girls")]
    counts = score(pa.array(lines), ["c4_bad_word_line_count"], resources=word_lists)[0].to_pylist()
    assert counts == [1] * len(lines)


def test_bad_words_are_counted_on_lines_that_stay(word_lists: Resources) -> None:
    texts = pa.array(["He is an ass, you know.", "ass is the first word here.", "Two words: an ass.", None])
    names = ["c4_bad_word_line_count"]
    assert score(texts, names, resources=word_lists)[0].to_pylist() == [1, 0, 0, None]
    assert score(texts, names, resources=word_lists, language="de")[0].null_count == 4


def test_without_the_list_bad_words_are_not_known(tmp_path: Path) -> None:
    column = score(pa.array(["An ass, you know it."]), ["c4_bad_word_line_count"], resources=Resources(str(tmp_path)))[
        0
    ]
    assert column.to_pylist() == [None]


def test_a_curly_bracket_counts_only_in_a_line_that_gets_as_far() -> None:
    assert page("{ foo")["curly_bracket_line_count"] == 0
    assert page("{ foo bar baz qux.")["curly_bracket_line_count"] == 1
    assert page("javascript { foo bar baz.")["curly_bracket_line_count"] == 0


def test_three_words_are_a_line_for_the_paper_and_datatrove_not_for_the_code() -> None:
    text = "Hello big world."
    kept = [page(text, reading)["kept_line_count"] for reading in ("c4", "c4_paper", "c4_fineweb")]
    assert kept == [0, 1, 1]


def test_each_cut_says_why() -> None:
    text = f"  a b c d e.[1]\r\nno mark\na b c.\na javascript is not here.\nwe use cookies on it.\n{'x' * 1001}\r\n\n"
    assert [(span["rule"], text.encode()[span["start"] : span["end"]]) for span in page(text)["cuts"]] == [
        ("white_space", b"  "),
        ("citation", b"[1]"),
        ("white_space", b"\r\n"),
        ("no_end_mark", b"no mark\n"),
        ("few_words", b"a b c.\n"),
        ("javascript", b"a javascript is not here.\n"),
        ("policy", b"we use cookies on it.\n"),
        ("long_word", b"x" * 1001 + b"\r\n"),
        ("white_space", b"\n"),
    ]


@pytest.mark.parametrize(
    ("line", "sentences"),
    [
        ("One is here. Two is here. Three.", 3),
        ("Mr. Smith and J. Bach met at 5 p.m. in the U.S. embassy.", 1),
        ("He came to the U.S. The weather was fine there.", 2),
        ("Really? Yes! It is so.", 3),
        ('He said "it is so." Then he left us.', 2),
        ("It is 3.5 or www.example.com or so.", 1),
        ("(It is so.) That is all of it.", 2),
        ("Wait... there is more of it.", 1),
        ("Take vitamin C. The rest is fine.", 1),
        ("It is plan X. The plan is good.", 2),
        ("It was in the 1980's. Books of it were sold.", 2),
        ('He said "I am Mr. Smith." Then he left.', 3),
        ("See it on p. 4.) in that book.", 3),
        ("See it on p. 4., in that book.", 1),
        ("It is number 4.: a colon after it.", 1),
        ("Written by J.: a colon after it.", 1),
        ("It is from 'vanity fair . ' \"", 2),
        ("It is from 'vanity fair.'\"", 1),
        ("He met 'Mr. Smith in that town.", 2),
        ("He met Mr. who?me in the town.", 1),
    ],
)
def test_sentences_end_as_punkt_ends_them(line: str, sentences: int) -> None:
    assert page(line)["sentence_count"] == sentences


@pytest.mark.parametrize(
    ("line", "sentences"),
    [
        ("One is here. Two is here! three", 3),
        ("Mr. Smith lives in Washington D.C. now", 1),
        ("wait... there is more", 1),
        ('he said "so." then he left', 2),
        ("one. ... . two and three", 2),
        ("?! yes it is", 2),
        ("plan A. is plan B", 1),
        ("cell.TopBorder is one. www.example.com too", 3),
        ("\u4ed6 \u5728 \u8fd9\u91cc\u3002 \u6211 \u4e5f\u3002 \u5979", 3),
        ('one is. \t" ) two is here', 2),
        ('one is here. \t" )', 2),
        ('one is here. " )', 1),
        ('one is here.  " )', 2),
        ("one is here. - \u2014 + two", 2),
        ("it is so.\u00bb (see it)", 2),
    ],
)
def test_sentences_begin_as_spacys_sentencizer_begins_them(line: str, sentences: int) -> None:
    assert page(line, "c4_fineweb")["sentence_count"] == sentences


def test_null_and_empty_documents() -> None:
    names = ["c4_kept_line_count", "c4_sentence_count", "c4_cuts"]
    assert score(pa.array([None, ""], pa.string()), names).to_pylist() == [
        dict.fromkeys(names),
        {"c4_kept_line_count": 0, "c4_sentence_count": 0, "c4_cuts": []},
    ]


def test_spans_count_from_the_document_not_from_its_batch() -> None:
    texts = pa.array(["first document", "  a b c d e.", "é é é é é. "]).slice(1)
    spans = score(texts, ["c4_cuts"])[0].to_pylist()
    assert [[(span["start"], span["end"]) for span in row] for row in spans] == [[(0, 2)], [(15, 16)]]


def test_malformed_utf8_is_never_read_past_its_end() -> None:
    pieces = [b"\xf4", b"a\xe2\x80", b"\xff [\xf0", b"\x80\x80.", b"a b c d e.\xe2"]
    offsets = np.cumsum([0, *map(len, pieces)]).astype(np.int32)
    array = pa.StringArray.from_buffers(len(pieces), pa.py_buffer(offsets), pa.py_buffer(b"".join(pieces)))
    for row, piece in zip(score(array, ["c4_cuts", "c4_fineweb_cuts"]).to_pylist(), pieces, strict=True):
        for spans in row.values():
            assert all(0 <= span["start"] < span["end"] <= len(piece) for span in spans)


def test_kernels_read_the_flags_that_the_table_holds() -> None:
    for flag in ("SPACE", "LINE_BREAK", "DECIMAL", "UPPER", "LOWER"):
        assert getattr(c4_kernels, flag) == getattr(classes, flag)
