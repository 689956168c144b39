"""datatrove's and Dolma's readings of Gopher against their published code, restated."""

import math
import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redpajama_pipe.signals import (
    datatrove,
    datatrove_kernels,
    datatrove_repetition_kernels,
    datatrove_token_kernels,
    dolma,
    dolma_kernels,
    score,
)
from redpajama_pipe.text import characters, classes

STOP_WORDS = {"the", "be", "to", "of", "and", "that", "have", "with"}
DATATROVE = [signal.name for signal in datatrove.SIGNALS]
DOLMA = [signal.name for signal in dolma.SIGNALS]


def ratio(numerator: float, denominator: float) -> float | None:
    return numerator / denominator if denominator else None


def tokens_of(text: str) -> list[str]:
    """Part a text as the kernel does, token by token."""
    bounds = np.empty(4 * len(text) + 4, np.int64)
    flags = datatrove.flags()
    tokens: list[str] = []
    for piece in text.split():
        raw = piece.encode()
        edges = [0, len(raw)]
        if not re.fullmatch("[A-Za-z]+", piece):
            parts = datatrove_token_kernels._part(np.frombuffer(raw, np.uint8), 0, len(raw), flags, bounds)
            edges = bounds[: parts + 1].tolist()
        tokens += [raw[start:end].decode() for start, end in pairwise(edges)]
    return tokens


def repeated(items: Sequence[str]) -> tuple[int, int]:
    """huggingface/datatrove: gopher_repetition_filter.py, find_duplicates."""
    seen: set[str] = set()
    elements = chars = 0
    for item in items:
        if item in seen:
            elements, chars = elements + 1, chars + len(item)
        seen.add(item)
    return elements, chars


def met_before(words: Sequence[str], n: int) -> int:
    """huggingface/datatrove: gopher_repetition_filter.py, find_all_duplicate."""
    seen: set[str] = set()
    chars = at = 0
    while at < len(words) - n + 1:
        ngram = "".join(words[at : at + n])
        if ngram in seen:
            chars, at = chars + len(ngram), at + n
        else:
            seen.add(ngram)
            at += 1
    return chars


def by_datatrove(text: str) -> dict[str, float | None]:
    tokens = tokens_of(text)
    words = [token for token in tokens if any(c not in set(datatrove.PUNCTUATION) for c in token)]
    lines = text.splitlines()
    values: dict[str, float | None] = {
        "token_count": len(tokens),
        "word_count": len(words),
        "mean_word_length": ratio(sum(map(len, words)), len(words)),
        "hash_word_ratio": ratio(text.count("#"), len(tokens)),
        "ellipsis_word_ratio": ratio(text.count("...") + text.count("…"), len(tokens)),
        "bullet_line_fraction": ratio(sum(line.lstrip().startswith(("•", "-")) for line in lines), len(lines)),
        "ellipsis_line_fraction": ratio(sum(line.rstrip().endswith(("...", "…")) for line in lines), len(lines)),
        "alphabetic_word_fraction": ratio(sum(any(map(str.isalpha, token)) for token in tokens), len(tokens)),
        "stop_word_count": len(STOP_WORDS & set(tokens)),
        "newline_word_ratio": ratio(text.count("\n"), len(tokens)),
    }
    for kind, pieces in (("line", re.split("\n+", text)), ("paragraph", re.split("\n{2,}", text.strip()))):
        elements, chars = repeated(pieces)
        values[f"duplicate_{kind}_fraction"] = elements / len(pieces)
        values[f"duplicate_{kind}_char_fraction"] = ratio(chars, len(text))
    for n in range(2, 11):
        if n <= 4:
            ngrams = Counter(" ".join(tokens[at : at + n]) for at in range(len(tokens) - n + 1))
            top = ngrams.most_common(1)
            values[f"top_{n}gram_char_fraction"] = ratio(len(top[0][0]) * top[0][1] if top else 0, len(text))
        else:
            values[f"duplicate_{n}gram_char_fraction"] = ratio(met_before(tokens, n), len(text))
    return {f"datatrove_{name}": value for name, value in values.items()}


def by_dolma(text: str) -> dict[str, float | None]:
    """allenai/dolma: python/dolma/taggers/gopher.py, get_attributes."""
    words, lines = text.split(), text.split("\n") if text else []
    chars, count = sum(map(len, words)), max(len(words), 1)
    copies = Counter(lines)
    values: dict[str, float | None] = {
        "word_count": len(words),
        "median_word_length": float(median(map(len, words))) if words else 0.0,
        "symbol_word_ratio": sum("#" in word or "…" in word for word in words) / count,
        "alphabetic_word_fraction": sum(any(map(str.isalpha, word)) for word in words) / count,
        "stop_word_count": sum(word in STOP_WORDS for word in words),
        "bullet_line_fraction": sum(line.startswith(("*", "-")) for line in lines) / max(len(lines), 1),
        "ellipsis_line_fraction": sum(line.endswith("…") for line in lines) / max(len(lines), 1),
        "duplicate_line_fraction": sum(n for n in copies.values() if n > 1) / max(len(lines), 1),
        "duplicate_line_char_fraction": sum(len(x) * n for x, n in copies.items() if n > 1) / max(chars, 1),
    }
    for n in range(2, 11):
        ngrams = Counter(tuple(words[at : at + n]) for at in range(len(words) - n + 1))
        sizes = {ngram: times * sum(map(len, ngram)) for ngram, times in ngrams.items()}
        if n <= 4:
            values[f"top_{n}gram_char_fraction"] = sizes[ngrams.most_common(1)[0][0]] / chars if ngrams else None
        else:
            twice = sum(size for ngram, size in sizes.items() if ngrams[ngram] > 1)
            values[f"duplicate_{n}gram_char_fraction"] = twice / sum(sizes.values()) if ngrams else None
    return {f"dolma_{name}": value for name, value in values.items()}


WORDS = [
    "the",
    "The",
    "of",
    "a",
    "ab",
    "é",
    "e\u0301",
    "日本",
    "#",
    "...",
    "…",
    "•",
    "-x",
    "12",
    ".",
    "\0",
    "don't",
    "U.S.",
    "a-b",
    "éto",
    "\0to",
]
GAPS = [" ", "  ", "\n", "\n\n", "\n \n", "\n\n\n", "\r\n", "\t", "\u2028", "\u00a0", "\u3000", "\x1c", ""]
documents = st.one_of(
    st.lists(st.tuples(st.sampled_from(WORDS), st.sampled_from(GAPS)).map("".join), max_size=60).map("".join),
    st.lists(st.sampled_from(["a ", "b ", "the\n", "the\n\n"]), max_size=60).map("".join),
    st.text(max_size=40),
)


def same(found: dict[str, Any], expected: dict[str, float | None]) -> None:
    for name, value in expected.items():
        other = found[name]
        assert (other is None) == (value is None), name
        assert value is None or math.isclose(other, value, rel_tol=1e-12), name


@settings(max_examples=200)
@given(st.lists(documents, min_size=1, max_size=4))
def test_datatroves_signals_equal_its_code_on_the_same_tokens(texts: list[str]) -> None:
    for text, row in zip(texts, score(pa.array(texts, pa.string()), DATATROVE).to_pylist(), strict=True):
        same(row, by_datatrove(text))


@settings(max_examples=200)
@given(st.lists(documents, min_size=1, max_size=4))
def test_dolmas_signals_equal_its_code(texts: list[str]) -> None:
    for text, row in zip(texts, score(pa.array(texts, pa.string()), DOLMA).to_pylist(), strict=True):
        same(row, by_dolma(text))


def test_more_documents_than_table_generations() -> None:
    texts = [f"w{number} a b c d e f g h\n" * (1 + number % 3) for number in range(120)]
    for text, row in zip(texts, score(pa.array(texts), DATATROVE).to_pylist(), strict=True):
        same(row, by_datatrove(text))


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        # As spaCy 3.8's spacy.blank("en") parts them.
        ("Hello, world!", ["Hello", ",", "world", "!"]),
        ("(see 'this')...", ["(", "see", "'", "this", "'", ")", "..."]),
        ("I don't; it's we'll you've I'm", ["I", "do", "n't", ";", "it", "'s", "we", "'ll", "you", "'ve", "I", "'m"]),
        (
            "well-known 10-12 a,b this/that 1/2",
            ["well", "-", "known", "10", "-", "12", "a", ",", "b", "this", "/", "that", "1/2"],
        ),
        ("U.S. Mr. end. NASA.", ["U.S.", "Mr.", "end", ".", "NASA", "."]),
        ("$5 5kg 50% C#", ["$", "5", "5", "kg", "50", "%", "C", "#"]),
        ("https://a.org/b-c?d=e www.example.com", ["https://a.org/b-c?d=e", "www.example.com"]),
        ("“quoted” —dash— wait…", ["“", "quoted", "”", "—", "dash", "—", "wait", "…"]),
        ("a©b Great!😀Thanks ♥you♥ 🥱no", ["a", "©", "b", "Great!", "😀", "Thanks", "♥", "you", "♥", "🥱no"]),
        ("36.6°C. 5°c. so♥. a♥♥b", ["36.6", "°", "C", ".", "5", "°", "c", ".", "so", "♥", ".", "a", "♥", "♥", "b"]),
        ("\u2329a\u232a MR. jul. Jul. (p.", ["\u2329", "a", "\u232a", "MR", ".", "jul", ".", "Jul.", "(", "p."]),
        ("Ph.D. ab.B r., x…—y", ["Ph.D.", "ab", ".", "B", "r.", ",", "x", "…", "—y"]),
        ("foo_bar __init__ a=b", ["foo_bar", "_", "_", "init", "_", "_", "a", "=", "b"]),
    ],
)
def test_tokens_are_parted_as_spacy_parts_them(text: str, tokens: list[str]) -> None:
    assert tokens_of(text) == tokens


def test_the_same_lines_are_a_third_for_datatrove_and_two_thirds_for_dolma() -> None:
    row = score(
        pa.array(["a\na\nb"]), ["datatrove_duplicate_line_fraction", "dolma_duplicate_line_fraction"]
    ).to_pylist()[0]
    assert row == {"datatrove_duplicate_line_fraction": 1 / 3, "dolma_duplicate_line_fraction": 2 / 3}


def test_stop_words_are_distinct_for_datatrove_occurrences_for_dolma_and_in_any_case_for_refinedweb() -> None:
    names = ["datatrove_stop_word_count", "dolma_stop_word_count", "refinedweb_stop_word_count"]
    assert [list(row.values()) for row in score(pa.array(["the the", "The And"]), names).to_pylist()] == [
        [1, 2, 2],
        [0, 0, 2],
    ]
    assert score(pa.array(["the the"]), names, language="de").to_pylist() == [dict.fromkeys(names)]


def test_punctuation_marks_are_no_words_for_datatrove() -> None:
    row = score(pa.array(["a — b … !"]), ["datatrove_token_count", "datatrove_word_count"]).to_pylist()[0]
    assert row == {"datatrove_token_count": 5, "datatrove_word_count": 2}


def test_null_documents_have_null_signals() -> None:
    row = score(pa.array([None], pa.string()), [*DATATROVE, *DOLMA]).to_pylist()[0]
    assert set(row.values()) == {None}


def test_malformed_utf8_is_never_read_past_its_end() -> None:
    pieces = [b"\xf4", b"a\xe2\x80", b"\xff\xff\xff\xff", b"\x80\x80", b"\xc2", b"x.\xe2\x80", b"ok, the"]
    offsets = np.cumsum([0, *map(len, pieces)]).astype(np.int32)
    array = pa.StringArray.from_buffers(len(pieces), pa.py_buffer(offsets), pa.py_buffer(b"".join(pieces)))
    values = score(array, ["datatrove_token_count", "dolma_word_count"]).to_pydict()
    assert values["datatrove_token_count"][-1] == 3
    assert values["dolma_word_count"][-1] == 2


def test_kernels_read_the_flags_that_the_tables_hold() -> None:
    for flag in ("ALPHABETIC", "SPACE"):
        assert getattr(dolma_kernels, flag) == getattr(characters, flag)
    table, base = datatrove.flags(), classes.classes()
    for flag in ("SPACE", "LINE_BREAK", "UPPER", "ALPHANUMERIC"):
        kept = (table & getattr(datatrove_token_kernels, flag)) != 0
        assert (kept == ((base & getattr(classes, flag)) != 0)).all()
    assert datatrove_repetition_kernels.SPACE == datatrove_token_kernels.SPACE


def test_signals_are_made_of_tallies_that_are_counted() -> None:
    for family, tallies in ((datatrove, datatrove_kernels.TALLIES), (dolma, dolma_kernels.TALLIES)):
        used = {s.numerator for s in family.SIGNALS} | {s.denominator for s in family.SIGNALS if s.denominator}
        assert used <= set(tallies)
