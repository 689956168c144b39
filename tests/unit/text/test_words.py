import sys

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from redpajama_pipe.text.words import split_words

SPACES = [chr(c) for c in range(sys.maxunicode + 1) if chr(c).isspace()]


def words(text: str) -> list[str]:
    data = np.frombuffer(text.encode(), np.uint8)
    room = len(data) // 2 + 1
    starts, ends = np.empty(room, np.int64), np.empty(room, np.int64)
    count = split_words(data, 0, len(data), starts, ends)
    return [bytes(data[a:b]).decode() for a, b in zip(starts[:count], ends[:count], strict=True)]


@given(st.text(st.sampled_from([*SPACES, "a", "é", "日", "𝒳", "\x1b", "\u200b", "\u2007", "\ufeff"])))
def test_words_are_those_of_str_split(text: str) -> None:
    assert words(text) == text.split()


def test_every_character_is_a_space_exactly_when_python_says_so() -> None:
    everything = [chr(c) for c in range(sys.maxunicode + 1) if not 0xD800 <= c < 0xE000]
    text = "x".join(everything)
    assert words(text) == text.split()
