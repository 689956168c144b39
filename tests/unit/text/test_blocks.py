from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import njit

from redpajama_pipe.text import blocks
from redpajama_pipe.text.blocks import first_one, ones, within
from redpajama_pipe.text.unaligned import load_little64


@njit
def ask(data: Any, at: Any, low: Any, high: Any) -> tuple[Any, Any, Any, Any]:
    bits = within(data, at, low, high)
    return bits, ones(bits), first_one(bits), load_little64(data, at)


@given(st.binary(min_size=80, max_size=80), st.integers(0, 16), st.integers(0, 255), st.integers(0, 255))
def test_bits_are_those_of_a_plain_comparison(raw: bytes, at: int, one: int, other: int) -> None:
    low, high = min(one, other), max(one, other)
    bits, count, first, eight = ask(np.frombuffer(raw, np.uint8), np.uint64(at), low, high)
    wanted = [low <= byte <= high for byte in raw[at : at + blocks.BLOCK]]
    assert [bool(int(bits) >> place & 1) for place in range(blocks.BLOCK)] == wanted
    assert count == sum(wanted)
    assert first == (wanted.index(True) if any(wanted) else blocks.BLOCK)
    assert int(eight) == int.from_bytes(raw[at : at + 8], "little")


@pytest.mark.parametrize(("low", "high"), [(0, 255), (0, 0), (255, 255)])
def test_bounds_are_included(low: int, high: int) -> None:
    raw = bytes([low, high] * 32)
    assert int(ask(np.frombuffer(raw, np.uint8), np.uint64(0), low, high)[0]) == 2**64 - 1
