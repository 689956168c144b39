"""CPython's hash() of a document's raw words and bigrams, as PYTHONHASHSEED=42 gives them from CPython 3.11 on.

RedPajama-V2 puts words into buckets by abs(hash(word)) % 10000, so its importance weights only mean something under the
same hash: SipHash-1-3 over the string as CPython stores it, and for a bigram the tuple's variant of xxHash. This gives
the same numbers under any Python, platform and seed.

Source: CPython 3.11, Python/pyhash.c, Python/bootstrap_hash.c (lcg_urandom) and Objects/tupleobject.c.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from redpajama_pipe.text.normalise import Characters, characters

_KEY_0, _KEY_1 = np.uint64(0xDC504FD368CD90AF), np.uint64(0xB920BB9FFE99E9C1)
_PRIME_1, _PRIME_2 = np.uint64(11400714785074694791), np.uint64(14029467366897019727)
_PRIME_5 = np.uint64(2870177450012600261)
_ALL = np.uint64(2**64 - 1)
_SIGN = np.uint64(1 << 63)
_SPACE = 0  # text.normalise.SPACE


def add_features(text: str, counts: NDArray[np.int64]) -> int:
    """Add a document's words and bigrams to the counts by bucket; return how many words there are."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    return int(_add_features(codes, characters(), counts))


@njit(cache=True, nogil=True)
def _add_features(codes: NDArray[np.uint32], tables: Characters, counts: NDArray[np.int64]) -> int:
    words = 0
    before = np.uint64(0)
    at = 0
    while at < len(codes):
        kind = _kind(codes[at], tables)
        if kind == _SPACE:
            at += 1
            continue
        start = at
        while at < len(codes) and _kind(codes[at], tables) == kind:
            at += 1
        word = _hash_text(codes, start, at)
        counts[_bucket(word, len(counts))] += 1
        if words:
            counts[_bucket(_hash_pair(before, word), len(counts))] += 1
        before = word
        words += 1
    return words


@njit(cache=True, nogil=True)
def _kind(code: np.uint32, tables: Characters) -> int:
    return int(tables.entries[np.int64(tables.blocks[code >> 8]) << 8 | np.int64(code & 0xFF)] & 3)


@njit(cache=True, nogil=True)
def _bucket(value: np.uint64, buckets: int) -> np.int64:
    """Return abs(hash) % buckets; abs(-2**63) is 2**63, as Python's integers have it."""
    magnitude = _ALL - value + np.uint64(1) if value & _SIGN else value
    return np.int64(magnitude % np.uint64(buckets))


@njit(cache=True, nogil=True)
def _rotated(value: np.uint64, bits: int) -> np.uint64:
    return value << np.uint64(bits) | value >> np.uint64(64 - bits)


@njit(cache=True, nogil=True)
def _round(
    v0: np.uint64, v1: np.uint64, v2: np.uint64, v3: np.uint64
) -> tuple[np.uint64, np.uint64, np.uint64, np.uint64]:
    v0 += v1
    v1 = _rotated(v1, 13) ^ v0
    v0 = _rotated(v0, 32)
    v2 += v3
    v3 = _rotated(v3, 16) ^ v2
    v0 += v3
    v3 = _rotated(v3, 21) ^ v0
    v2 += v1
    v1 = _rotated(v1, 17) ^ v2
    v2 = _rotated(v2, 32)
    return v0, v1, v2, v3


@njit(cache=True, nogil=True)
def _hash_text(codes: NDArray[np.uint32], start: int, end: int) -> np.uint64:
    """Hash codes[start:end] as str.__hash__ does, in two's complement."""
    if start == end:
        return np.uint64(0)
    widest = np.uint32(0)
    for at in range(start, end):
        widest = max(widest, codes[at])
    width = 1 if widest < 0x100 else 2 if widest < 0x10000 else 4  # bytes that CPython stores for each character
    v0, v1 = _KEY_0 ^ np.uint64(0x736F6D6570736575), _KEY_1 ^ np.uint64(0x646F72616E646F6D)
    v2, v3 = _KEY_0 ^ np.uint64(0x6C7967656E657261), _KEY_1 ^ np.uint64(0x7465646279746573)
    block, shift = np.uint64(0), 0
    for at in range(start, end):
        block |= np.uint64(codes[at]) << np.uint64(shift)
        shift += 8 * width
        if shift == 64:
            v3 ^= block
            v0, v1, v2, v3 = _round(v0, v1, v2, v3)
            v0 ^= block
            block, shift = np.uint64(0), 0
    block |= np.uint64((end - start) * width) << np.uint64(56)
    v3 ^= block
    v0, v1, v2, v3 = _round(v0, v1, v2, v3)
    v0 ^= block
    v2 ^= np.uint64(0xFF)
    for _ in range(3):
        v0, v1, v2, v3 = _round(v0, v1, v2, v3)
    value = (v0 ^ v1) ^ (v2 ^ v3)
    return value - np.uint64(1) if value == _ALL else value


@njit(cache=True, nogil=True)
def _hash_pair(first: np.uint64, second: np.uint64) -> np.uint64:
    """Hash a tuple of two strings from their hashes."""
    value = _PRIME_5
    value = _rotated(value + first * _PRIME_2, 31) * _PRIME_1
    value = _rotated(value + second * _PRIME_2, 31) * _PRIME_1
    value += np.uint64(2) ^ (_PRIME_5 ^ np.uint64(3527539))
    return np.uint64(1546275796) if value == _ALL else value
