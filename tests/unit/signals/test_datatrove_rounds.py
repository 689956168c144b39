"""datatrove's repetition with a table that is too small: the same values in many rounds, and memory that is bounded."""

import sys
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from peak_memory import measured
from test_gopher_readings import met_before

from redpajama_pipe.signals import datatrove
from redpajama_pipe.signals import datatrove_kernels as kernels
from redpajama_pipe.signals import datatrove_token_kernels as token_kernels
from redpajama_pipe.signals.datatrove_repetition_kernels import CHUNK, ROOM
from redpajama_pipe.text.buffers import utf8

ZERO = b"\0"
SMALL = [(16, 16), (64, 16), (256, 100)]  # words of the table, and tokens that are read at a time


def tally(texts: list[str], room: int = ROOM, chunk: int = CHUNK) -> NDArray[np.int64]:
    return kernels.tally(*utf8(pa.array(texts, pa.large_string())), datatrove.flags(), True, room, chunk)


def column(counts: NDArray[np.int64], name: str) -> list[int]:
    found: list[int] = counts[:, kernels.TALLIES.index(name)].tolist()
    return found


def top(words: list[str], n: int) -> int:
    """huggingface/datatrove: gopher_repetition_filter.py, get_n_grams and find_top_duplicate."""
    times: dict[str, int] = {}
    for at in range(len(words) - n + 1):
        ngram = " ".join(words[at : at + n])
        times[ngram] = times.get(ngram, 0) + 1
    first = max(times, key=times.__getitem__, default="")
    return len(first) * times.get(first, 0)


# Words of letters, which are one token each: joined by nothing, "ab" "c" and "a" "bc" are the same.
few = st.lists(st.sampled_from(["a", "b", "c", "ab", "bc", "é", "abcdefgh", "abcdefghijklmnopqrs"]), max_size=60)
pages = st.builds(
    lambda parts, times: [word for part in parts for word in part] * times, st.lists(few, max_size=4), st.integers(1, 3)
)


@settings(max_examples=150, deadline=None)
@given(st.lists(pages, min_size=1, max_size=3), st.sampled_from([(ROOM, CHUNK), *SMALL]))
def test_ngrams_are_those_of_datatrove_in_any_number_of_rounds(words: list[list[str]], limits: tuple[int, int]) -> None:
    counts = tally([" ".join(page) for page in words], *limits)
    for n in range(2, 5):
        assert column(counts, f"top_{n}gram_chars") == [top(page, n) for page in words]
    for n in range(5, 11):
        assert column(counts, f"duplicate_{n}gram_chars") == [met_before(page, n) for page in words]


marked = st.text(st.sampled_from("ab .,-#!?\n\n\r\t•…é日\0\u2028\u00a0"), max_size=200)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(marked, marked.map(lambda text: text * 3), st.text(max_size=60)), max_size=3))
def test_small_tables_and_chunks_change_no_value(texts: list[str]) -> None:
    whole = tally(texts)
    for room, chunk in SMALL:
        assert tally(texts, room, chunk).tolist() == whole.tolist()


def test_lines_and_paragraphs_that_do_not_fit_the_table_are_all_compared() -> None:
    lines = [f"{number % 70}" for number in range(200)]
    counts = tally(["\n".join(lines), "\n\n".join(lines), " \n" + "\n \n".join(lines)], room=16)
    assert column(counts, "duplicate_breaks") == [130, 130, 130 + 199]
    assert column(counts, "duplicate_break_chars") == [sum(map(len, lines[70:]))] * 2 + [
        sum(map(len, lines[70:])) + 199
    ]
    assert column(counts, "paragraphs") == [1, 200, 1]
    assert column(counts, "duplicate_paragraphs") == [0, 130, 0]


def test_of_equally_frequent_ngrams_the_first_counts_whichever_round_finds_it() -> None:
    once = [f"w{number}" for number in range(100)]
    words = ["long", "words", *once, "a", "b", "long", "words", "a", "b"]
    for room, chunk in [(ROOM, CHUNK), *SMALL]:
        assert column(tally([" ".join(words)], room, chunk), "top_2gram_chars") == [2 * len("long words")]
        assert column(tally([" ".join(once)], room, chunk), "top_3gram_chars") == [len("w0 w1 w2")]


def test_ngrams_that_are_parted_differently_are_the_same_when_joined() -> None:
    words = ["ab", "c", "d", "e", "f", "g", "h", "i", "j", "a", "bc", "d", "e", "f", "g", "h", "i", "j"]
    assert met_before(words, 5) > met_before(words[:-9], 5)
    assert column(tally([" ".join(words)]), "duplicate_5gram_chars") == [met_before(words, 5)]


def test_what_differs_in_zeros_only_is_not_the_same() -> None:
    words = ["b", "b", "b", "b", "\0", "c", "b", "b", "b", "b", "\0\0"]  # parted by white space, each is a token
    assert column(tally([" ".join(words)]), "duplicate_5gram_chars") == [met_before(words, 5)] == [0]


def test_the_first_offset_and_the_kind_of_buffer_change_nothing() -> None:
    texts = ["the first is cut off", "a b c d e f a b c d e f", "-"]
    data, offsets, valid = utf8(pa.array(texts, pa.large_string()).slice(1))
    for given_data in (data, np.array(data)):
        counts = kernels.tally(given_data, offsets, valid, datatrove.flags(), True)
        assert counts.tolist() == tally(texts[1:]).tolist()
    assert tally(["a", "", "-"]).tolist() == [tally([text])[0].tolist() for text in ("a", "", "-")]


MEMORY = """
import numpy as np, pyarrow as pa
from peak_memory import peak
from redpajama_pipe.signals import datatrove, datatrove_kernels, datatrove_token_kernels
from redpajama_pipe.text.buffers import utf8
def taken(text):
    documents = utf8(pa.array([text], pa.large_string()))
    return peak(lambda: datatrove_kernels.tally(*documents, flags, True, 1 << 16, 1 << 16)) / len(text)
flags = np.zeros(1 << 21, np.uint8)
flags[[32, 10]] = datatrove_token_kernels.SPACE
flags.flags.writeable = False
taken("some words to begin with " * 9)
size = 8_000_000
print(taken("spam ham " * (size // 9)), taken("a\\n" * (size // 2)), taken("x" * size))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_scratch_beside_table_and_chunk_is_less_than_a_byte_a_byte() -> None:
    (out,) = measured(MEMORY)
    assert all(float(bytes_a_byte) < 1 for bytes_a_byte in out.split()), out


def test_every_listed_word_is_found() -> None:
    for table, words in ((token_kernels._UNSPLIT, "a.m Wash Messrs"), (token_kernels._UNITS, "km kmh K")):
        held = [word.tobytes().rstrip(ZERO).decode() for word in table if word]
        assert len(held) == len(set(held)) > 30
        assert set(words.split()) <= set(held)
    texts = [f"{word.tobytes().rstrip(ZERO).decode()}. x" for word in token_kernels._UNSPLIT if word]
    assert column(tally(texts), "tokens") == [2] * len(texts)
    texts = [f"5{word.tobytes().rstrip(ZERO).decode()} x" for word in token_kernels._UNITS if word]
    assert column(tally(texts), "tokens") == [3] * len(texts)
    assert column(tally(["the be to of and that have with", "The thee t", "be\0 to\0"]), "stop_words") == [8, 0, 0]


def test_bits_are_the_tokens() -> None:
    text = "  one, two-three\t…“four”  "
    data, offsets, valid = utf8(pa.array([text], pa.large_string()))
    counts, starts, lasts = token_kernels.count_tokens(data, offsets, valid, datatrove.flags(), len(data))
    begin, end = (np.flatnonzero(np.unpackbits(bits.view(np.uint8), bitorder="little")) for bits in (starts, lasts))
    tokens = [text.encode()[first : last + 1].decode() for first, last in zip(begin, end, strict=True)]
    assert tokens == ["one", ",", "two", "-", "three", "…", "“", "four", "”"]
    assert counts[0, 0] == len(tokens)
    assert all(a > b for (_, b), (a, _) in pairwise(zip(begin, end, strict=True)))
