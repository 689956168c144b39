import string
import unicodedata

import numpy as np

from redpajama_pipe.text import normalise
from redpajama_pipe.text.normalise import characters


def entry_of(code: int) -> int:
    tables = characters()
    return int(tables.entries[int(tables.blocks[code >> 8]) << 8 | code & 0xFF])


def written(code: int) -> str:
    """What a character becomes when it stands alone, as the tables have it."""
    entry = entry_of(code)
    place = entry >> normalise.WRITTEN_SHIFT
    if not entry & normalise.LONG:
        return chr(code + place)
    pool = characters().pool
    return "".join(chr(int(part) & 0x1FFFFF) for part in pool[place + 1 : place + 1 + pool[place]])


def test_every_code_point_is_what_python_says() -> None:
    for code in range(0x110000):
        letter, entry = chr(code), entry_of(code)
        kind = normalise.SPACE if letter.isspace() else normalise.WORD if letter.isalnum() or letter == "_" else 2
        if entry & 3 != kind or bool(entry & normalise.UPPER) != letter.isupper():
            raise AssertionError(hex(code))
        if bool(entry & normalise.NOT_UPPER) != (letter.islower() or (letter.istitle() and not letter.isupper())):
            raise AssertionError(hex(code))
        if 0xD800 <= code < 0xE000:
            continue
        text = unicodedata.normalize("NFD", letter.lower().replace("ς", "σ") if letter == "Σ" else letter.lower())
        numeric = entry >> normalise.NUMERIC_SHIFT & 3
        if written(code) != text or numeric != sum(map(str.isnumeric, text)):
            raise AssertionError(hex(code))


def test_the_pool_knows_the_class_of_each_mark() -> None:
    pool = characters().pool
    place = 0
    while place < len(pool):
        for part in pool[place + 1 : place + 1 + pool[place]].tolist():
            assert part >> 21 == unicodedata.combining(chr(part & 0x1FFFFF))
        place += 1 + int(pool[place])
    assert entry_of(0x0301) & normalise.LONG


def test_case_context_is_that_of_the_final_sigma() -> None:
    def final(before: str) -> bool:
        return f"{before}Σ".lower()[-1] == "ς"

    for code in [*range(1, 0x3000), *range(0xA000, 0xAC00), 0x1D400, 0x10400, 0x1F130, 0xE0020, 0x4E00]:
        letter, entry = chr(code), entry_of(code)
        ignorable, cased = bool(entry & normalise.IGNORABLE), bool(entry & normalise.CASED)
        assert (ignorable, cased) == (final("A" + letter) and not final("1" + letter), final("1" + letter)), hex(code)


def test_white_space_ends_every_context_and_stays_what_it_is() -> None:
    # So that lines and words can be lowered and decomposed apart from each other.
    for code in range(0x110000):
        if chr(code).isspace():
            assert not entry_of(code) & (normalise.IGNORABLE | normalise.CASED)
        elif not 0xD800 <= code < 0xE000:
            assert not any(map(str.isspace, unicodedata.normalize("NFD", chr(code).lower())))


def test_ascii_says_what_is_deleted() -> None:
    kept = {chr(code) for code in range(128) if characters().ascii[code] & normalise.KEPT}
    assert kept == {chr(code) for code in range(128) if chr(code) not in string.punctuation and not chr(code).isspace()}
    for code in map(ord, kept):
        assert characters().ascii[code] >> 8 == ord(chr(code).lower())
    letters = {chr(code) for code in range(128) if characters().ascii[code] & normalise.LETTER}
    assert letters == set(string.ascii_letters)
    marks = {flag: {chr(c) for c in range(128) if characters().ascii[c] & flag} for flag in (32, 64)}
    assert marks == {normalise.STOP: set(".!?"), normalise.MARK: set("#{}")}


def test_tables_are_small_and_read_only() -> None:
    tables = characters()
    assert sum(table.nbytes for table in tables) < 600_000
    assert not any(table.flags.writeable for table in tables)
    assert tables.blocks.max() * 256 + 255 < len(tables.entries)
    assert np.array_equal(tables.ascii & 15, [entry_of(code) & 15 for code in range(128)])
