"""The table of character classes against the string methods that it stands for."""

import numpy as np

from redpajama_pipe.text import classes


def test_every_flag_is_the_string_method_it_names() -> None:
    table = classes.classes()
    sample = [*range(0x3000), *range(0xA000, 0xA100), *range(0xFF00, 0x10000), 0x1D7CE, 0x1F600, 0x10FFFF]
    for flag, method in (
        (classes.SPACE, str.isspace),
        (classes.DECIMAL, str.isdecimal),
        (classes.DIGIT, str.isdigit),
        (classes.UPPER, str.isupper),
        (classes.LOWER, str.islower),
        (classes.ALPHANUMERIC, str.isalnum),
        (classes.LINE_BREAK, lambda character: len(f"a{character}a".splitlines()) == 2),
    ):
        found = (table[sample] & flag) != 0
        expected = np.array([method(chr(code)) for code in sample])
        assert (found == expected).all(), flag


def test_numbers_that_are_no_characters_have_no_flags() -> None:
    assert not classes.classes()[0x110000:].any()
