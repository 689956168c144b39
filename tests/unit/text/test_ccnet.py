"""CCNet's normalisations against its own code, character by character as published."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redpajama_pipe.text.ccnet import normalize, normalize_for_dedup

# cc_net/text_normalizer.py
MAP = dict(zip("，。、„”“«»１」「《》´∶：？！（）；–～’━〈〉【】％►", ',.,""""""""""\'::?!();-~\'-<>[]%-', strict=True))
MAP |= {"—": " - ", "．": ". ", "…": "..."}
CONTROLS = re.compile(f"[{''.join(map(chr, [*range(32), *range(127, 160)]))}]")


def published(line: str) -> str:
    line = line.strip().lower()
    line = "".join(c for c in unicodedata.normalize("NFD", line) if unicodedata.category(c) != "Mn")
    line = re.sub(r"\d", "0", line)
    return CONTROLS.sub("", "".join(MAP.get(c, c) for c in line))


def published_for_dedup(line: str) -> str:
    line = re.sub(r"\d", "0", line.strip().lower())
    return CONTROLS.sub("", re.sub(f"[{''.join(MAP)}]", "", line))


EVERY = "".join(chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000)


def test_every_character_is_as_published() -> None:
    assert normalize(f"a{EVERY}b") == published(f"a{EVERY}b")
    assert normalize_for_dedup(f"a{EVERY}b") == published_for_dedup(f"a{EVERY}b")


@given(st.text() | st.text("aÀ1１ \n\tΣ«…—．①é\u0301İ"))
def test_text_is_as_published(text: str) -> None:
    assert normalize(text) == published(text)
    assert normalize_for_dedup(text) == published_for_dedup(text)


@pytest.mark.parametrize(
    ("text", "expected"), [(" Café №12…\nNext ", "cafe №00...next"), ("「１２」", '"00"'), ("", ""), (" \n ", "")]
)
def test_examples(text: str, expected: str) -> None:
    assert normalize(text) == expected
