"""How RedPajama-V2 normalises text, as tables over code points: no ASCII punctuation, lower case, single spaces, NFD.

Built from the running Python's Unicode database on first use (0.2 s), as the published signals follow that of their
Python; 400 KB. What tables cannot say is the kernels' part: a capital sigma that ends a word, and the order of marks.

Source: RedPajama-Data, app/src/utilities/text/normalization.py.
"""

from __future__ import annotations

import string
import unicodedata
from functools import cache
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# What a character is to a tokeniser: re's \s, \w, neither. Bits 0 and 1 of a flag byte.
SPACE, WORD, OTHER = 0, 1, 2
UPPER = 4  # str.isupper()
NOT_UPPER = 8  # lower or title case: a token that has one is not str.isupper()
# In the table of ASCII: [a-zA-Z], [.!?], [#{}], neither punctuation nor white space.
LETTER, STOP, MARK, KEPT = 16, 32, 64, 128
# In the table of all: the two kinds that Unicode's rule Final_Sigma knows; and what is written as `pool` says.
CASED, IGNORABLE, LONG = 16, 32, 64
NUMERIC_SHIFT = 8  # how many characters of what is written are str.isnumeric(): bits 8 and 9
WRITTEN_SHIFT = 11  # above: what is written minus the code point; a place in `pool` where it is LONG

# Nothing in these planes has a property, in any version of Unicode so far.
_EMPTY_PLANES = (*range(4, 14), 15, 16)


class Characters(NamedTuple):
    """Look-up tables: the entry of code point c is entries[blocks[c >> 8] << 8 | c & 255].

    Attributes:
        ascii: (128,) flags, and 256 times the character that is written where it is KEPT.
        blocks: (8192,); one for each 256 numbers that 21 bits can spell, so that malformed UTF-8 stays inside.
        entries: (distinct blocks * 256,) flags and what is written.
        pool: for each LONG character how many code points are written, then these, with their combining class << 21.
    """

    ascii: NDArray[np.uint16]
    blocks: NDArray[np.uint16]
    entries: NDArray[np.int32]
    pool: NDArray[np.int32]


@cache
def characters() -> Characters:
    """Return the tables, read-only."""
    codes = list(chain.from_iterable(range(p << 16, (p + 1) << 16) for p in range(17) if p not in _EMPTY_PLANES))
    letters = [chr(code) for code in codes]
    entries = np.full(1 << 21, OTHER, np.int32)
    flags = np.full(len(codes), OTHER, np.int32)

    def those(predicate: object) -> NDArray[np.bool_]:
        return np.fromiter(map(predicate, letters), np.bool_, len(letters))  # type: ignore[call-overload]

    upper, title = those(str.isupper), those(str.istitle)
    flags[those(str.isalnum)] = WORD
    flags[ord("_")] = WORD
    flags[those(str.isspace)] = SPACE
    flags[upper] |= UPPER
    flags[those(str.islower) | (title & ~upper)] |= NOT_UPPER
    cased, ignorable = _sigma_context(letters)
    flags[cased] |= CASED
    flags[ignorable] |= IGNORABLE
    flags |= those(str.isnumeric).astype(np.int32) << NUMERIC_SHIFT
    written = np.zeros(len(codes), np.int32)
    pool: list[int] = []
    for index, letter in enumerate(letters):
        low = letter.lower()
        text = low if low.isascii() else unicodedata.normalize("NFD", low)
        if text == letter and not unicodedata.combining(letter) and letter != "Σ":
            continue
        flags[index] &= ~(3 << NUMERIC_SHIFT)
        flags[index] |= sum(map(str.isnumeric, text)) << NUMERIC_SHIFT
        if len(text) == 1 and not unicodedata.combining(text) and letter != "Σ":
            written[index] = ord(text) - ord(letter)
            continue
        flags[index] |= LONG
        written[index] = len(pool)
        pool += [len(text), *(ord(part) | unicodedata.combining(part) << 21 for part in text)]
    entries[codes] = flags | written << WRITTEN_SHIFT
    numbers: dict[bytes, int] = {}
    blocks = np.array([numbers.setdefault(block.tobytes(), len(numbers)) for block in entries.reshape(-1, 256)])
    tables = Characters(
        _ascii(flags[:128], written[:128]),
        blocks.astype(np.uint16),
        np.frombuffer(b"".join(numbers), np.int32),
        np.array(pool, np.int32),
    )
    for table in tables:
        table.flags.writeable = False
    return tables


def _ascii(flags: NDArray[np.int32], written: NDArray[np.int32]) -> NDArray[np.uint16]:
    table = (flags & 0x0F | KEPT | (np.arange(128) + written) << 8).astype(np.uint16)
    for group, flag in ((string.ascii_letters, LETTER), (".!?", STOP), ("#{}", MARK)):
        for character in group:
            table[ord(character)] |= flag
    for code in range(128):
        if chr(code) in string.punctuation or chr(code).isspace():
            table[code] &= 0xFF & ~KEPT
    return table


def _sigma_context(letters: list[str]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Ask str.lower() which characters are cased and which it passes over when it looks around a capital sigma."""
    context = np.empty((2, len(letters)), np.bool_)
    for row, before in enumerate("A1"):
        text = "\n".join(f"{before}{letter}Σ" for letter in letters if letter != "\n").lower()
        final = np.array([piece[-1] == "ς" for piece in text.split("\n")])
        context[row] = np.insert(final, 10, False)
    return context[0] & context[1], context[0] & ~context[1]
