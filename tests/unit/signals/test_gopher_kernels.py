"""What the kernels promise one another; their values are tested through score()."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from redpajama_pipe.signals import gopher_kernels as kernels
from redpajama_pipe.text import characters
from redpajama_pipe.text.blocks import BLOCK
from redpajama_pipe.text.characters import properties
from redpajama_pipe.text.span_hash import hash_span

UNSPACED_TEXT = "「日本語」とEnglish 2語です。abc"


def padded(text: str) -> tuple[np.ndarray, int]:
    raw = text.encode()
    return np.frombuffer(raw + bytes(kernels.PADDING), np.uint8).copy(), len(raw)


def words_of(text: str, unspaced: bool = False) -> list[str]:
    """Find words as `tally` does."""
    page, size = padded(text)
    room = size // 2 + 2
    bits = np.empty(size // BLOCK + 2, np.uint64)
    begins, ends, breaks = np.empty(room, np.uint32), np.empty(room, np.uint32), np.empty((2, size + 2), np.int64)
    count = np.zeros(len(kernels.TALLIES), np.int64)
    kernels.find_words(page, size, properties(), bits, begins, ends, breaks, count)
    if unspaced:
        part_begins, part_ends = np.empty(room, np.uint32), np.empty(room, np.uint32)
        kernels.part_words(page, properties(), begins, ends, part_begins, part_ends, count)
        begins, ends = part_begins, part_ends
    words = count[kernels.TALLIES.index("words")]
    return [text.encode()[begins[i] : ends[i]].decode() for i in range(words)]


odd = st.lists(st.sampled_from([*" \n\t\x1c\x85\xa0\u3000\u2028aé1.#日ก็", "word" * 20, " " * 70, "日" * 30])).map(
    "".join
)


@given(odd)
def test_words_are_those_of_str_split_wherever_blocks_end(text: str) -> None:
    assert words_of(text) == text.split()


@given(st.lists(st.sampled_from([*" a1。é日ก", "็", "\u0301"])).map("".join))
def test_parts_of_words_fit_their_scratch_and_leave_nothing_out(text: str) -> None:
    parts = words_of(text, unspaced=True)
    assert "".join(parts) == "".join(text.split())
    assert len(parts) <= len(text.encode()) // 2 + 2


def test_a_character_of_a_script_without_spaces_is_a_word_with_what_follows_it() -> None:
    assert words_of(UNSPACED_TEXT, unspaced=True) == [
        "「日",
        "本",
        "語」",
        "と",
        "English",
        "2",
        "語",
        "で",
        "す。",
        "abc",
    ]
    assert words_of("ก็ abc", unspaced=True) == ["ก็", "abc"]  # a Thai letter and its vowel mark


def test_hash_of_a_word_depends_on_all_of_its_bytes() -> None:
    texts = ["a" * size for size in range(1, 40)] + ["a" * place + "b" + "a" * (39 - place) for place in range(40)]
    texts += ["a\0", "a\0\0", "\0", "\0\0"]
    assert len({int(hash_span(*padded(text)[:1], 0, padded(text)[1])[0]) for text in texts}) == len(texts)


def test_stop_words_stand_at_their_places() -> None:
    for place, number in enumerate(kernels._STOP_NUMBERS_AT):
        assert int(number) * int(kernels._STOP_MULTIPLIER) % 2**64 >> 61 == place


def test_kernels_read_the_flags_that_the_table_holds() -> None:
    for flag in ("ALPHABETIC", "SPACE", "BULLET", "ALPHANUMERIC", "ALONE"):
        assert getattr(kernels, flag) == getattr(characters, flag)
