"""Documents that two Unicode versions normalise (NFC) differently.

Hugging Face tokenizers normalises by Unicode 9 (seen with 0.23), and golden ids rest on it. gigatoken follows a newer
Unicode and gives other ids where a text has one of 226 rare characters: combining marks and composites added since.
Found by encoding every code point in eight surroundings with both; the composites by comparing Unicode's data files.
One pass over the bytes, about 1 GB/s on one core.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numba import njit
from numpy.typing import NDArray

# A different combining class or canonical decomposition in Unicode 9.0 and 18.0, and the new characters that compose.
CHANGED = """
    05C8-05C9 07FD 0897-089F 08CA-08D3 09FE 0C3C 0D3B-0D3C 0EBA 1715 1ABF-1AF0 1DF6-1DFA A82C 105C9 105D2 105DA 105E4
    10D24-10D27 10D69-10D6D 10EAB-10EAC 10ECB-10ECF 10EF0-10EFB 10EFD-10EFF 10F46-10F50 10F82-10F85 11070 1133B
    11382-11385 1138B 1138E 11390-11391 113B8 113BB 113C2 113C5 113C7-113C9 113CE-113D0 1145E 11839-1183A 11935 11938
    1193D-1193E 11943 119E0 11A34 11A47 11A99 11D42 11D44-11D45 11D97 11F41-11F42 1611E-16129 1612F 16D63 16D67-16D6A
    16FF0-16FF1 1D127-1D128 1D250-1D252 1D25B-1D25C 1D25F 1D280-1D281 1E08F 1E130-1E136 1E2AE 1E2EC-1E2EF 1E4EC-1E4EF
    1E5EE-1E5EF 1E6E3 1E6E6 1E6EE-1E6EF 1E6F5
"""
# Two-byte characters from U+05C0 on begin with 0xD7 or more.
FIRST_LEAD = 0xD7


@cache
def changed() -> NDArray[np.bool_]:
    """Return a table of every number that UTF-8 can spell: is it one of those characters? (2**21,), read-only."""
    table = np.zeros(1 << 21, np.bool_)
    for entry in CHANGED.split():
        first, _, last = entry.partition("-")
        table[int(first, 16) : int(last or first, 16) + 1] = True
    table.flags.writeable = False
    return table


@njit(cache=True, nogil=True)
def find_drifting(
    data: NDArray[np.uint8], offsets: NDArray[np.int64], table: NDArray[np.bool_], out: NDArray[np.bool_]
) -> None:
    """Mark the documents that have such a character.

    Args:
        data: valid UTF-8.
        offsets: (documents + 1,) byte offsets into data.
        table: what `changed` returns.
        out: (documents,) written.
    """
    for document in range(len(offsets) - 1):
        at, end = offsets[document], offsets[document + 1]
        found = False
        while at < end and not found:
            byte = data[at]
            if byte < FIRST_LEAD:
                at += 1
            elif byte < 0xE0:
                if at + 1 < end:
                    found = table[(byte & 0x1F) << 6 | data[at + 1] & 0x3F]
                at += 2
            elif byte < 0xF0:
                if at + 2 < end:
                    found = table[(byte & 0x0F) << 12 | (data[at + 1] & 0x3F) << 6 | data[at + 2] & 0x3F]
                at += 3
            else:
                if at + 3 < end:
                    high = (byte & 0x07) << 18 | (data[at + 1] & 0x3F) << 12
                    found = table[high | (data[at + 2] & 0x3F) << 6 | data[at + 3] & 0x3F]
                at += 4
        out[document] = found
