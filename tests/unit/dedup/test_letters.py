import base64
import sys
import unicodedata
import zlib

import numpy as np
import pytest

from redpajama_pipe.dedup import letters
from redpajama_pipe.dedup.letters import ALONE, MARK, SEPARATOR, WORD, lower_case_words, words_between_spaces


def look_up(tables: letters.Letters, code: int) -> tuple[int, int]:
    entry = int(tables.entries[int(tables.blocks[code >> 8]) << 8 | code & 255])
    return entry & 3, code + (entry >> 2)


def pack(values: list[int]) -> str:
    """Write runs as the tables hold them."""
    out = bytearray()
    begin = 0
    for i in range(1, len(values) + 1):
        if i == len(values) or values[i] != values[begin]:
            value = values[begin]
            for number in (i - begin, 2 * value if value >= 0 else -2 * value - 1):
                rest = number
                while rest > 0x7F:
                    out.append(rest & 0x7F | 0x80)
                    rest >>= 7
                out.append(rest)
            begin = i
    return base64.b85encode(zlib.compress(bytes(out), 9)).decode()


@pytest.mark.skipif(unicodedata.unidata_version != "14.0.0", reason="the tables are those of Python 3.11")
def test_the_tables_are_those_of_unicode_14() -> None:
    kinds, changes = [], []
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        is_mark = unicodedata.category(character).startswith("M")
        kinds.append(WORD if character.isalnum() else MARK if is_mark else SEPARATOR)
        lower = "i" if character == "İ" else character.lower()
        changes.append(ord(lower) - code)
    assert letters._unpack(pack(kinds)).tolist() == letters._unpack(letters._KIND_RUNS).tolist() == kinds
    assert letters._unpack(pack(changes)).tolist() == letters._unpack(letters._LOWER_RUNS).tolist() == changes


@pytest.mark.parametrize(
    ("character", "kind", "lower"),
    [
        ("A", WORD, "a"),
        ("7", WORD, "7"),
        ("_", SEPARATOR, "_"),
        ("-", SEPARATOR, "-"),
        ("’", SEPARATOR, "’"),
        ("É", WORD, "é"),
        ("\u0301", MARK, "\u0301"),
        ("İ", WORD, "i"),
        ("Σ", WORD, "σ"),
        ("ẞ", WORD, "ß"),
        ("Ⱥ", WORD, "ⱥ"),
        ("Ж", WORD, "ж"),
        ("٣", WORD, "٣"),
        ("한", WORD, "한"),
        ("ि", MARK, "ि"),
        ("日", ALONE, "日"),
        ("𠀀", ALONE, "𠀀"),
        ("々", ALONE, "々"),
        ("の", ALONE, "の"),
        ("ー", ALONE, "ー"),
        ("ｶ", ALONE, "ｶ"),
        ("・", SEPARATOR, "・"),
        ("。", SEPARATOR, "。"),
        ("ก", ALONE, "ก"),
        ("่", MARK, "่"),
        ("ລ", ALONE, "ລ"),
        ("ខ", ALONE, "ខ"),
        ("မ", ALONE, "မ"),
        ("😀", SEPARATOR, "😀"),
    ],
)
def test_characters(character: str, kind: int, lower: str) -> None:
    assert look_up(lower_case_words(), ord(character)) == (kind, ord(lower))


def test_words_between_spaces_are_separated_as_str_split_does() -> None:
    tables = words_between_spaces()
    for code in range(sys.maxunicode + 1):
        assert look_up(tables, code) == (SEPARATOR if chr(code).isspace() else WORD, code)


def test_numbers_beyond_unicode_stay_inside_the_tables() -> None:
    for tables in (lower_case_words(), words_between_spaces()):
        assert len(tables.blocks) == (1 << 21) >> 8
        assert int(tables.blocks.max()) < len(tables.entries) // 256
        assert look_up(tables, (1 << 21) - 1)[0] == SEPARATOR


def test_ascii_is_as_in_the_large_table() -> None:
    for tables in (lower_case_words(), words_between_spaces()):
        for code in range(128):
            kind, lower = look_up(tables, code)
            assert int(tables.ascii[code]) == (256 + lower if kind == WORD else 0x20)
        assert tables.ascii.dtype == np.uint16
