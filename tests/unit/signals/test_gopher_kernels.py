"""What the kernels promise one another; their values are tested through score()."""

import sys

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from redpajama_pipe.signals import gopher_kernels as kernels
from redpajama_pipe.text import characters

SPACES = [chr(code) for code in range(sys.maxunicode + 1) if chr(code).isspace()]


def bounds(text: str) -> tuple[int, int]:
    data = np.frombuffer(text.encode(), np.uint8)
    return kernels._most_words_and_lines(data, 0, len(data))


@given(st.lists(st.sampled_from([*SPACES, "a", "é", "日", "…"])).map("".join))
def test_scratch_is_never_smaller_than_the_words_and_lines(text: str) -> None:
    words, lines = bounds(text)
    assert words >= len(text.split())
    assert lines >= text.count("\n") + 1


def test_each_white_space_makes_room_for_a_word() -> None:
    for space in SPACES:
        assert bounds(space.join("aaaa"))[0] >= 4, repr(space)


def test_scratch_for_plain_text_is_no_larger_than_needed() -> None:
    assert bounds("a few words\non two lines") == (6, 2)


def test_kernels_read_the_flags_that_the_table_holds() -> None:
    for flag in ("ALPHABETIC", "SPACE", "MARK", "BULLET"):
        assert getattr(kernels, flag) == getattr(characters, flag)
