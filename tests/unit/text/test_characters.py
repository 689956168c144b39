import sys

from redpajama_pipe.text import characters

EVERYTHING = [chr(code) for code in range(sys.maxunicode + 1)]


def test_every_character_is_alphabetic_exactly_when_python_says_so() -> None:
    flags = characters.properties()
    assert [bool(flags[ord(c)] & characters.ALPHABETIC) for c in EVERYTHING] == [c.isalpha() for c in EVERYTHING]


def test_every_character_is_space_exactly_when_python_says_so() -> None:
    flags = characters.properties()
    assert [c for c in EVERYTHING if flags[ord(c)] & characters.SPACE] == [c for c in EVERYTHING if c.isspace()]


def test_letters_and_digits_are_alphanumeric_exactly_when_python_says_so() -> None:
    flags = characters.properties()
    assert [c for c in EVERYTHING if flags[ord(c)] & characters.ALPHANUMERIC] == [c for c in EVERYTHING if c.isalnum()]


def test_letters_of_scripts_without_spaces_stand_alone() -> None:
    flags = characters.properties()
    alone = {c for c in "日々ぁアーกๆ໐ກကក丽aé1한བ。、็・" if flags[ord(c)] & characters.ALONE}
    assert alone == set("日々ぁアーกๆ໐ກကក丽")


def test_marks_and_bullets_are_those_of_the_rules() -> None:
    flags = characters.properties()
    assert {c for c in EVERYTHING if flags[ord(c)] & characters.MARK} == set("#.…")
    assert {c for c in EVERYTHING if flags[ord(c)] & characters.BULLET} == set("●•*-")


def test_table_covers_every_code_that_malformed_utf8_can_spell() -> None:
    assert len(characters.properties()) == (0x07 << 18 | 0x3FFFF) + 1
    assert not characters.properties()[0x110000:].any()


def test_table_is_built_once_and_cannot_be_changed() -> None:
    assert characters.properties() is characters.properties()
    assert not characters.properties().flags.writeable
