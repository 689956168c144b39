"""Every signal against a plain-Python reading of the same definitions."""

import io
import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from redpajama_pipe.errors import RecipeError
from redpajama_pipe.signals import SIGNALS, gopher, score

GOPHER = [signal.name for signal in gopher.SIGNALS]

STOP_WORDS = {"the", "be", "to", "of", "and", "that", "have", "with"}


def ratio(numerator: int, denominator: int) -> float | None:
    return numerator / denominator if denominator else None


def covered_chars(words: Sequence[str], starts: Sequence[int], n: int) -> int:
    return sum(len(words[i]) for i in {start + k for start in starts for k in range(n)})


def reference(text: str) -> dict[str, float | None]:
    words = text.split()
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    paragraphs = [paragraph.strip() for paragraph in text.split("\n\n") if paragraph.strip()]
    word_chars = sum(map(len, words))
    values: dict[str, float | None] = {
        "char_count": len(text),
        "byte_count": len(text.encode()),
        "line_count": len(lines),
        "word_count": len(words),
        "mean_word_length": ratio(word_chars, len(words)),
        "hash_word_ratio": ratio(text.count("#"), len(words)),
        "ellipsis_word_ratio": ratio(text.count("...") + text.count("…"), len(words)),
        "bullet_line_fraction": ratio(sum(line.startswith(("●", "•", "*", "-")) for line in lines), len(lines)),
        "ellipsis_line_fraction": ratio(sum(line.endswith(("...", ". . .", "…")) for line in lines), len(lines)),
        "alphabetic_word_fraction": ratio(sum(any(map(str.isalpha, word)) for word in words), len(words)),
        "stop_word_count": len(STOP_WORDS & set(words)),
    }
    for kind, pieces in (("line", lines), ("paragraph", paragraphs)):
        count = Counter(pieces)
        repeated = [piece for piece in pieces if count[piece] > 1]
        values[f"duplicate_{kind}_fraction"] = ratio(len(repeated), len(pieces))
        values[f"duplicate_{kind}_char_fraction"] = ratio(sum(map(len, repeated)), sum(map(len, pieces)))
    for n in range(2, 11):
        ngrams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
        count_of = Counter(ngrams)
        if n <= 4:
            # max() keeps the earliest of equals, and a Counter is in the order of first occurrence.
            top = max(count_of, key=lambda ngram: (count_of[ngram], sum(map(len, ngram))), default=())
            starts = [i for i, ngram in enumerate(ngrams) if ngram == top and count_of[top] > 1]
            values[f"top_{n}gram_char_fraction"] = ratio(covered_chars(words, starts, n), word_chars)
        else:
            starts = [i for i, ngram in enumerate(ngrams) if count_of[ngram] > 1]
            values[f"duplicate_{n}gram_char_fraction"] = ratio(covered_chars(words, starts, n), word_chars)
    return values


def only(text: str, *signals: str) -> dict[str, float | None]:
    row: dict[str, float | None]
    (row,) = score(pa.array([text], pa.string()), signals or GOPHER).to_pylist()
    return row


# Few different words, so that n-grams of every length repeat; every kind of gap; symbols at words' edges.
WORDS = [
    "the",
    "The",
    "of",
    "a",
    "ab",
    "é",
    "e\u0301",
    "日本",
    "привет",
    "𝒳",
    "#",
    "...",
    "…",
    "•",
    "-x",
    "12",
    ".",
    "\0",
]
GAPS = [" ", "  ", "\n", "\n\n", "\n \n", "\n\n\n", "\r\n", "\r\n\r\n", "\t", "\u2028", "\u00a0", "\u3000", "\x1c", ""]
documents = st.one_of(
    st.lists(st.tuples(st.sampled_from(WORDS), st.sampled_from(GAPS)).map("".join), max_size=60).map("".join),
    st.lists(st.sampled_from(["a ", "b ", "the\n"]), max_size=60).map("".join),
    st.text(max_size=40),
)


@settings(max_examples=300)
@given(st.lists(documents, min_size=1, max_size=6))
def test_signals_equal_the_reference_on_any_text(texts: list[str]) -> None:
    assert score(pa.array(texts, pa.string()), GOPHER).to_pylist() == [reference(text) for text in texts]


def test_signals_equal_the_reference_on_real_text(real_data: Path) -> None:
    with zstandard.open(real_data / "corpora/pile_sample.jsonl.zst", "rb") as stream:
        lines = io.TextIOWrapper(stream, encoding="utf-8")
        texts = [json.loads(line)["text"] for line, _ in zip(lines, range(300), strict=False)]
    assert len(texts) == 300
    assert score(pa.array(texts), GOPHER).to_pylist() == [reference(text) for text in texts]


@given(st.lists(st.none() | documents, max_size=6), st.sampled_from([pa.string(), pa.large_string()]), st.data())
def test_a_documents_signals_do_not_depend_on_its_batch(
    texts: list[str | None], kind: pa.DataType, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, len(texts)))
    whole = score(pa.array(texts, kind), GOPHER)
    alone = [score(pa.array([text], kind), GOPHER).to_pylist()[0] for text in texts]
    assert whole.to_pylist() == alone
    assert score(pa.array(texts, kind).slice(start), GOPHER).to_pylist() == alone[start:]


@given(documents)
def test_every_value_lies_in_its_range(text: str) -> None:
    for name, value in only(text).items():
        least, most = SIGNALS[name].range
        assert value is None or (least <= value and (most is None or value <= most)), name


def test_columns_are_those_asked_for_in_their_order_and_type() -> None:
    batch = score(pa.array(["a b"]), ["word_count", "top_2gram_char_fraction", "char_count"])
    assert batch.schema == pa.schema(
        [("word_count", pa.int64()), ("top_2gram_char_fraction", pa.float64()), ("char_count", pa.int64())]
    )


@pytest.mark.parametrize("name", GOPHER)
def test_a_signal_alone_has_the_value_it_has_among_all(name: str) -> None:
    text = "a b c d e f g h i j k\na b c d e f g h i j k\n\n- # the...\n\n- # the..."
    assert only(text, name) == {name: reference(text)[name]}


def test_unknown_signal_is_refused_with_the_nearest_names() -> None:
    with pytest.raises(RecipeError) as refused:
        score(pa.array(["a"]), ["word_cout"])
    assert str(refused.value) == "no signal 'word_cout'; nearest: word_count, stop_word_count, dolma_word_count"


def test_null_document_has_null_signals_and_an_empty_one_has_zero_counts() -> None:
    null, empty = score(pa.array([None, ""]), GOPHER).to_pylist()
    assert set(null.values()) == {None}
    counts = {name for name, value in empty.items() if value == 0}
    assert counts == {"char_count", "byte_count", "line_count", "word_count", "stop_word_count"}
    assert {value for name, value in empty.items() if name not in counts} == {None}


def test_no_documents_give_no_rows() -> None:
    for array in (pa.array([], pa.string()), pa.array(["a"]).slice(1), pa.array([None, None], pa.string())):
        assert score(array, GOPHER).num_rows == len(array)


def test_stop_words_are_null_without_a_stop_list_for_the_language() -> None:
    texts = pa.array(["the of", "the of", "the of", None])
    names = ["stop_word_count"]
    assert score(texts, names, language=pa.array(["en", "de", None, "en"]))[0].to_pylist() == [2, None, None, None]
    assert score(texts, names, language="fr")[0].null_count == 4
    for kind in (pa.dictionary(pa.int32(), pa.string()), pa.large_string(), pa.string_view()):
        languages = pa.array(["en", "de", None, "en"]).cast(kind)
        assert score(texts, names, language=languages)[0].to_pylist() == [2, None, None, None]
    with pytest.raises(ValueError, match="2 languages for 4 documents"):
        score(texts, names, language=pa.array(["en", "de"]))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("the the", 1),  # distinct words, not occurrences
        ("The And", 0),  # case matters
        ("the, and", 1),  # a word is what str.split() gives
        ("the be to of and that have with", 8),
        ("bee tto ofo then thatt", 0),
        ("\0the b\0e", 0),  # NUL is a character like any other
    ],
)
def test_stop_words_are_distinct_words_in_lower_case(text: str, expected: int) -> None:
    assert only(text, "stop_word_count") == {"stop_word_count": expected}


@pytest.mark.parametrize(
    ("text", "fraction", "char_fraction"),
    [
        ("a\na\nb", 2 / 3, 2 / 3),  # every occurrence counts, the first too
        (" aa \naa\n\n\nb\r\n", 2 / 3, 4 / 5),  # stripped; blank lines are no lines
        ("one", 0.0, 0.0),
        ("é\né\nabc", 2 / 3, 2 / 5),  # characters, not bytes
        ("a b\na  b", 0.0, 0.0),  # white space inside a line is part of it
    ],
)
def test_duplicate_lines(text: str, fraction: float, char_fraction: float) -> None:
    assert only(text, "duplicate_line_fraction", "duplicate_line_char_fraction") == {
        "duplicate_line_fraction": fraction,
        "duplicate_line_char_fraction": char_fraction,
    }


@pytest.mark.parametrize(
    ("text", "fraction"),
    [
        ("a\nb\n\na\nb\n\n\nc", 2 / 3),
        ("a\n\nb\n\na", 2 / 3),
        ("a\n \na", 0.0),  # only newlines that touch part paragraphs
        ("a\r\n\r\na", 0.0),
        ("a\nb\n\na b", 0.0),  # a line break differs from a space
    ],
)
def test_duplicate_paragraphs(text: str, fraction: float) -> None:
    assert only(text, "duplicate_paragraph_fraction") == {"duplicate_paragraph_fraction": fraction}


@pytest.mark.parametrize(
    ("text", "top"),
    [
        ("a b c", 0.0),  # an n-gram must occur twice
        ("a b x a b", 4 / 5),
        ("a a a", 1.0),  # overlapping occurrences count a word once
        ("a b c d a b ccc ddd ccc ddd", 12 / 18),  # of equally frequent ones the longest
    ],
)
def test_top_2gram_counts_each_covered_character_once(text: str, top: float) -> None:
    assert only(text, "top_2gram_char_fraction") == {"top_2gram_char_fraction": top}


def test_duplicate_ngrams_cover_every_occurrence() -> None:
    row = only("a b c d e x a b c d e")
    assert row["duplicate_5gram_char_fraction"] == 10 / 11
    assert row["duplicate_6gram_char_fraction"] == 0.0


def test_equal_ngrams_need_equal_words_not_equal_letters() -> None:
    assert only("ab c a bc", "top_2gram_char_fraction") == {"top_2gram_char_fraction": 0.0}


@pytest.mark.parametrize("line", ["wait...", "wait. . .", "wait…", ". . .", "...", "…"])
def test_a_line_may_end_in_three_kinds_of_ellipsis(line: str) -> None:
    assert only(f"{line} \r\nno. .\n. .", "ellipsis_line_fraction") == {"ellipsis_line_fraction": 1 / 3}


def test_a_line_is_not_read_back_into_the_document_before() -> None:
    fractions = score(pa.array(["end. ", ". ."]), ["ellipsis_line_fraction"])[0]
    assert fractions.to_pylist() == [0.0, 0.0]


@pytest.mark.parametrize(("dots", "ellipses"), [(2, 0), (3, 1), (5, 1), (6, 2), (7, 2), (9, 3)])
def test_a_run_of_dots_holds_as_many_ellipses_as_fit(dots: int, ellipses: int) -> None:
    text = "wait" + "." * dots
    assert only(text, "ellipsis_word_ratio") == {"ellipsis_word_ratio": ellipses}


def test_malformed_utf8_is_never_read_past_its_end() -> None:
    pieces = [b"\xf4", b"a\xe2\x80", b"\xff\xff\xff\xff", b"\x80\x80", b"\xc2", b"ok the"]
    offsets = np.cumsum([0, *map(len, pieces)]).astype(np.int32)
    array = pa.StringArray.from_buffers(len(pieces), pa.py_buffer(offsets), pa.py_buffer(b"".join(pieces)))
    values = score(array, ["char_count", "word_count", "stop_word_count"]).to_pydict()
    assert values["char_count"] == [1, 2, 4, 0, 1, 6]  # bytes that continue no character
    assert values["word_count"] == [1, 1, 1, 1, 1, 2]
    assert values["stop_word_count"] == [0, 0, 0, 0, 0, 1]


def test_more_distinct_words_than_the_first_table_holds() -> None:
    row = only(" ".join([f"w{i}" for i in range(9000)] * 2))
    assert row["word_count"] == 18000
    assert {row[f"duplicate_{n}gram_char_fraction"] for n in range(5, 11)} == {1.0}


def test_a_50_megabyte_document_is_scored() -> None:
    sentence = "nothing of this repeats within a sentence but the whole of it does\n"
    row = only(sentence * (50_000_000 // len(sentence)))
    assert row["byte_count"] == 50_000_000 // len(sentence) * len(sentence)
    assert row["duplicate_line_fraction"] == row["duplicate_10gram_char_fraction"] == 1.0
    assert row["top_2gram_char_fraction"] == len("repeatswithin") / len("".join(sentence.split()))


def test_threads_give_the_same_values() -> None:
    texts = pa.array(["a b c\na b c\n\nthe of", "x " * 500] * 50)
    expected = score(texts, GOPHER).to_pylist()
    found: list[list[dict[str, float | None]]] = []
    threads = [threading.Thread(target=lambda: found.append(score(texts, GOPHER).to_pylist())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 4


def test_importing_signals_imports_no_compiler_and_no_engine() -> None:
    code = "import sys, redpajama_pipe.signals; print(sorted({'numba', 'pyspark', 'fasttext'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
