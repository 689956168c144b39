from __future__ import annotations

import hashlib
import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redpajama_pipe.dedup import normalized as module
from redpajama_pipe.dedup.normalized import Spans, normalize_spans, normalized_hash

ODD = (
    "aA zZ\t\n\r\v\f\x1c\x85\xa0\u2003\u3000ΣσςİIıßẞÅÅẛéÉe\u0301\u0323ᄀ각각\u0915\u093cक़ȺȾ\U00010400\U0001d15e中🤷ⒶǅK"
)


def plain(text: str) -> str:
    """The definition, in plain Python."""
    lowered = "".join(
        "i" if character == "İ" else character.lower() for character in unicodedata.normalize("NFC", text)
    )
    return " ".join(lowered.split())


def expected(text: str | None) -> bytes | None:
    normal = plain(text or "").encode()
    return hashlib.blake2b(normal, digest_size=16).digest() + len(normal).to_bytes(8, "little") if normal else None


def normalized(texts: list[str]) -> list[str]:
    pieces = [text.encode() for text in texts]
    ends = np.cumsum([0, *map(len, pieces)]).astype(np.int64)
    (data, starts, stops), chars = normalize_spans(
        Spans(np.frombuffer(b"".join(pieces), np.uint8), ends[:-1], ends[1:])
    )
    found = [data[start:stop].tobytes().decode() for start, stop in zip(starts, stops, strict=True)]
    assert chars.tolist() == [len(text) for text in found]
    return found


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=12) | st.text(st.sampled_from(ODD), max_size=12)))
def test_text_is_normalised_as_defined(texts: list[str]) -> None:
    assert normalized(texts) == [plain(text) for text in texts]


def test_every_character_is_normalised_as_defined() -> None:
    characters = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    texts = ["".join(characters[at : at + 64]) for at in range(0, len(characters), 64)]
    assert normalized(texts) == [plain(text) for text in texts]


def test_characters_that_compose_are_found_after_any_starter() -> None:
    # every pair that NFC makes one character of
    pairs = [
        "".join(chr(int(part, 16)) for part in unicodedata.decomposition(chr(code)).split())
        for code in range(0xC0, 0x30000)
        if unicodedata.decomposition(chr(code)) and unicodedata.decomposition(chr(code))[0] != "<"
    ]
    pairs += ["ᄀ" + chr(0x1161 + k) for k in range(21)] + ["가" + chr(0x11A7 + k) for k in range(1, 28)]
    assert len(pairs) > 2000
    assert normalized(pairs) == [plain(text) for text in pairs]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
@given(texts=st.lists(st.none() | st.text(st.sampled_from(ODD), max_size=6)), begin=st.integers(0, 3))
def test_hash_is_that_of_the_normal_form(texts: list[str | None], begin: int, kind: pa.DataType) -> None:
    hashes = normalized_hash(pa.array(texts, kind)[begin:])
    hashes.validate(full=True)
    assert hashes.type == pa.binary()
    assert hashes.to_pylist() == [expected(text) for text in texts[begin:]]


def test_golden() -> None:
    same = normalized_hash(pa.array(["Hello  World.\n", "hello world.", "\u00a0HELLO\tworld. "])).to_pylist()
    assert len(set(same)) == 1
    # `printf 'hello world.' | b2sum -l 128`, then the length
    assert same[0].hex() == hashlib.blake2b(b"hello world.", digest_size=16).hexdigest() + "0c00000000000000"
    other = normalized_hash(pa.array(["hello world", "héllo world.", "hello, world."])).to_pylist()
    assert len({same[0], *other}) == 4


def test_white_space_alone_has_no_hash() -> None:
    assert normalized_hash(pa.array(["", " \n\t\u3000", None])).to_pylist() == [None, None, None]


@settings(max_examples=400)
@given(texts=st.lists(st.text(st.sampled_from(ODD + "  e\u0301")), max_size=3), most=st.integers(1, 40))
def test_long_texts_are_hashed_in_pieces(texts: list[str], most: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MOST_BYTES", most)
        assert normalized_hash(pa.array(texts, pa.string())).to_pylist() == [expected(text) for text in texts]


def test_a_long_text_is_cut_near_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 1000)
    sizes = []
    whole = module.normalize_spans

    def watched(spans: Spans) -> module.Normalized:
        sizes.append(int((spans.ends - spans.starts).sum()))
        return whole(spans)

    monkeypatch.setattr(module, "normalize_spans", watched)
    for text in ("a word " * 900, "letters" * 900, "漢字" * 900, "e\u0301" * 900, "각" * 900):
        sizes.clear()
        assert normalized_hash(pa.array([text])).to_pylist() == [expected(text)]
        assert max(sizes) <= 1000
        assert min(sizes[:-1]) > 900
