"""Long documents are read in windows and their words counted in rounds: no value depends on either."""

import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa
import pytest
import redpajama_v2_reference as reference
from hypothesis import example, given, settings
from hypothesis import strategies as st
from peak_memory import measured
from test_redpajama_v2 import BAD_WORDS, COUNTED, ODD, STOP_WORDS, expected, make_lists

from redpajama_pipe.signals import redpajama_v2_kernels as kernels
from redpajama_pipe.signals import score
from redpajama_pipe.signals.resources import Resources

LISTED = ("rps_doc_stop_word_fraction", "rps_doc_ldnoobw_words")
UNLISTED = [name for name in COUNTED if name not in LISTED]
REPEATED = [name for name in COUNTED if "_chars_" in name or "unique" in name or "entropy" in name]


@pytest.fixture(scope="module")
def lists(tmp_path_factory: pytest.TempPathFactory) -> Resources:
    return make_lists(tmp_path_factory.mktemp("lists"))


@contextmanager
def limits(window: int, cells: int) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "WINDOW", window)
        patch.setattr(kernels, "CELLS", cells)
        yield


SPOKEN = "a b c d the of x. ... … #. “x” • – Été ΟΔΟΣ 가 각각 日本 é ﬁ ① １２ LO-REM (Ipsum) ıpſum lorem ipsum"
spaces = st.sampled_from([" ", "  ", "\n", "\n\n", " \n", "\t", "\x1c", "\r\n", "\u3000", "\xa0", "\u2028"])
pieces = st.one_of(
    st.sampled_from(
        [*STOP_WORDS, *(part for word in BAD_WORDS for part in word.split()), "lorem", "ipsum", "javascript"]
    ),
    st.sampled_from(SPOKEN.split()),
    st.text(st.sampled_from(ODD.replace(" ", "") + "abcXYZ.,!?"), min_size=1, max_size=40),
    st.integers(0, 9).map(str),
    st.integers(1, 20).map(lambda size: "w" * size),
    st.integers(1, 20).map(lambda size: "é" * size),
)
long_texts = st.lists(st.tuples(pieces, spaces), min_size=20, max_size=150).map(
    lambda parts: "".join(piece + space for piece, space in parts)
)
few_words = st.sampled_from(["ab", "ab", "ab cd", "very bad word", "x. y", "Ω\n", "lorem", "ipsum\n", "e\u0301"])
repetitive = st.lists(few_words, min_size=100, max_size=300).map(" ".join)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(long_texts | repetitive, min_size=1, max_size=3), st.integers(1, 200), st.sampled_from([16, 32, 64, 4096])
)
@example(["very bad word " * 40], 64, 16)
@example(["a b c d e f g h i j k l m n o p " * 9], 64, 16)
def test_values_are_the_published_ones_in_any_windows_and_rounds(
    lists: Resources, texts: list[str], window: int, cells: int
) -> None:
    with limits(window, cells):
        found = score(pa.array(texts), COUNTED, resources=lists).to_pylist()
    assert found == [expected(text) for text in texts]


def test_many_rounds_count_as_one_does() -> None:
    # Some words more than 255 times, many twice, most once; n-grams of all lengths twice.
    words = (
        [f"w{index * index % 7919}" for index in range(6000)]
        + ["often"] * 300
        + ["c"] * 254
        + ["d"] * 255
        + ["a", "b"] * 400
    )
    text = " ".join([*words, *words[100:2000], *(f"once{index}" for index in range(3000))])
    wanted = score(pa.array([text, text[::-1]]), REPEATED).to_pylist()
    assert wanted[0] == {name: reference.signals(text)[name] for name in REPEATED}
    for window, cells in ((1 << 18, 512), (1000, 1 << 22), (3000, 4096)):
        with limits(window, cells):
            assert score(pa.array([text, text[::-1]]), REPEATED).to_pylist() == wanted


def test_a_line_and_a_sentence_go_on_in_the_next_window() -> None:
    text = "• " + "Word 1 javascript, x " * 200 + "end...\nNext” \n" + "y " * 100 + "É!"
    with limits(100, 1 << 22):
        found = score(pa.array([text]), UNLISTED).to_pylist()[0]
    wanted = reference.signals(text)
    assert found == {name: wanted[name] for name in UNLISTED}


def test_a_word_longer_than_a_window_is_one_word() -> None:
    texts = ["x " + "é" * 300 + " x", "日" * 500, "a" * 1000 + "\n", "Σ'" * 200 + "\u0301\u0323" * 100]
    with limits(64, 16):
        found = score(pa.array(texts), UNLISTED).to_pylist()
    assert found == [{name: reference.signals(text)[name] for name in UNLISTED} for text in texts]


def test_no_character_has_more_marks_than_bytes_nor_more_than_three_times_its_bytes_decomposed() -> None:
    # What the scratch of a window and of packed words is sized by.
    for code in range(0x110000):
        if not 0xD800 <= code < 0xE000:
            parts = unicodedata.normalize("NFD", chr(code).lower())
            size = len(chr(code).encode())
            assert sum(map(bool, map(unicodedata.combining, parts))) <= size
            assert len(parts.encode()) <= 3 * size


MEASURED = """
import pyarrow as pa
from peak_memory import peak
from redpajama_pipe.signals import redpajama_v2_kernels as kernels, score

kernels.CELLS = 1 << 12

names = ["rps_doc_unigram_entropy", "rps_doc_frac_chars_dupe_10grams", "rps_doc_num_sentences"]
score(pa.array(["a b\\n" * 1000]), names)
million = 400_000
for text in ("ab cd " * million, "a " * 3 * million, "a\\n" * 3 * million, "日" * 2 * million, "q" * 6 * million,
             "".join(f"w{number} " for number in range(100_000, 400_000))):
    document = pa.array([text], pa.large_string())
    print(peak(lambda: score(document, names)) / document.nbytes)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_scratch_is_about_a_byte_a_byte_of_any_text() -> None:
    found = [float(line) for line in measured(MEASURED)]
    assert len(found) == 6
    # 1 to 1.5 a byte, and some 3 MB for any document.
    assert max(found) < 3, found
