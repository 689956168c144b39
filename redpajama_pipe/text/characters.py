"""What each code point is, as one byte of flags that kernels look up.

Built from the running Python's Unicode database on first use (about 0.2 s) and kept: 2 MB a process. Only the list of
scripts that are written without spaces is one of a fixed version of Unicode.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from redpajama_pipe.text.scripts import SCRIPTS_WITHOUT_SPACES

ALPHABETIC = 1  # str.isalpha()
SPACE = 2  # str.isspace()
MARK = 4  # the symbols whose frequency is measured: # . …
BULLET = 8  # ● • * -
ALPHANUMERIC = 16  # str.isalnum()
ALONE = 32  # the same, in a script that is written without spaces: text.scripts

# Every number that the three payload bits and the 18 continuation bits of UTF-8 can spell, so that even malformed
# text cannot index past the end.
SIZE = 1 << 21


@cache
def properties() -> NDArray[np.uint8]:
    """Return the flags of every code point: (2**21,), read-only."""
    characters = [chr(code) for code in range(0x110000)]
    flags = np.zeros(SIZE, np.uint8)
    table = flags[: len(characters)]
    table[np.fromiter(map(str.isalpha, characters), np.bool_, len(characters))] |= ALPHABETIC
    table[np.fromiter(map(str.isspace, characters), np.bool_, len(characters))] |= SPACE
    table[np.fromiter(map(str.isalnum, characters), np.bool_, len(characters))] |= ALPHANUMERIC
    for first, last in SCRIPTS_WITHOUT_SPACES:
        script = table[first : last + 1]
        script[(script & ALPHANUMERIC) != 0] |= ALONE
    for character in "#.…":
        table[ord(character)] |= MARK
    for character in "●•*-":
        table[ord(character)] |= BULLET
    flags.flags.writeable = False
    return flags
