"""Dolma's counts of a long document: read in pieces and in many rounds they are those of an ordinary one."""

import sys

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from peak_memory import measured

from redpajama_pipe.signals import dolma_long
from redpajama_pipe.signals.dolma_kernels import TALLIES
from redpajama_pipe.text.buffers import utf8
from redpajama_pipe.text.characters import properties


def tally(texts: list[str], *limits: int) -> NDArray[np.int64]:
    return dolma_long.tally(*utf8(pa.array(texts, pa.large_string())), properties(), *limits)


LIMITS = [(0, 3, 16), (0, 20, 16), (0, 100, 32), (0, 1 << 15, 1 << 12)]  # all are long; words of a piece; slots
some = st.lists(
    st.sampled_from([*" \n\té日#\0", "a ", "b ", "the\n", "\n\n", "\u3000", "…", "* ", "x" * 300, "é" * 270 + " "]),
    max_size=30,
).map("".join)
pages = st.builds(
    lambda parts, order: "".join(parts[at % len(parts)] for at in order),
    st.lists(some, min_size=1, max_size=3),
    st.lists(st.integers(0, 5), max_size=9),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(pages | st.text(max_size=40), max_size=3), st.sampled_from(LIMITS))
def test_pieces_and_rounds_change_no_value(texts: list[str], limits: tuple[int, int, int]) -> None:
    assert tally(texts, *limits).tolist() == tally(texts).tolist()


@pytest.mark.parametrize("limits", LIMITS)
def test_more_lines_words_and_ngrams_than_a_table_holds(limits: tuple[int, int, int]) -> None:
    numbers = np.random.default_rng(1).integers(0, 60, 700)
    text = "".join(f"w{n}{' ' if n % 7 else chr(10)}" for n in numbers)
    text += " ".join(f"y{n}" for n in range(120)) + "\n" + text[500:1000]
    counts = tally([text, text[:300], "a b c"], *limits)
    assert counts.tolist() == tally([text, text[:300], "a b c"]).tolist()
    assert (counts[0] > 0)[
        [name not in ("bullet_lines", "ellipsis_lines", "symbol_words", "stop_words") for name in TALLIES]
    ].all()


@pytest.mark.parametrize("limits", [(), *LIMITS])
def test_the_median_of_long_words_is_exact(limits: tuple[int, ...]) -> None:
    lengths = [1, 255, 256, 257, 300, 300, 1000]
    texts = [" ".join("é" * length for length in lengths[:count]) for count in range(len(lengths) + 1)]
    medians = tally(texts, *limits)[:, TALLIES.index("double_median")]
    assert medians.tolist() == [0, *(round(2 * float(np.median(lengths[:count]))) for count in range(1, 8))]


# Prints how many bytes of memory ten megabytes of text take, in all, with a table of 4 MiB.
MEASURE = """
import pyarrow as pa
from peak_memory import peak
from redpajama_pipe.signals import dolma_long
from redpajama_pipe.text.buffers import utf8
from redpajama_pipe.text.characters import properties
def taken(text, long, size=10_000_000):
    utf = utf8(pa.array([(text * size)[:size]]))
    return peak(lambda: dolma_long.tally(*utf, properties(), long, slots=1 << 18))
taken("a b ", 0, 1000)
print(*(taken(text, 8 << 20) for text in ("Some words that come again\\n", "x")))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_is_a_table_and_a_few_bytes_a_word() -> None:
    words, one_word = map(int, measured(MEASURE)[0].split())
    assert one_word < 6 << 20
    assert words < (6 << 20) + 10_000_000 * 5 // 27 * 5
