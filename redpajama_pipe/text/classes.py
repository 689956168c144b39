"""Classes of code points that published line filters ask for, as one byte of flags that kernels look up.

Built from the running Python's Unicode database on first use (about 0.3 s) and kept: 2 MB a process.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from redpajama_pipe.text.characters import SIZE

SPACE = 1  # str.isspace()
LINE_BREAK = 2  # str.splitlines() ends a line here
DECIMAL = 4  # str.isdecimal(), \d in a regular expression
DIGIT = 8  # str.isdigit()
UPPER = 16  # str.isupper()
LOWER = 32  # str.islower()
ALPHANUMERIC = 64  # str.isalnum()

_TESTS = (
    (SPACE, str.isspace),
    (DECIMAL, str.isdecimal),
    (DIGIT, str.isdigit),
    (UPPER, str.isupper),
    (LOWER, str.islower),
    (ALPHANUMERIC, str.isalnum),
)


@cache
def classes() -> NDArray[np.uint8]:
    """Return the flags of every code point: (2**21,), read-only."""
    characters = [chr(code) for code in range(0x110000)]
    flags = np.zeros(SIZE, np.uint8)
    table = flags[: len(characters)]
    for flag, test in _TESTS:
        table[np.fromiter(map(test, characters), np.bool_, len(characters))] |= flag
    for character in "\n\v\f\r\x1c\x1d\x1e\x85\u2028\u2029":
        table[ord(character)] |= LINE_BREAK
    flags.flags.writeable = False
    return flags
