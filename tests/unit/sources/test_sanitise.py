"""Strings that Parquet takes."""

from hypothesis import given
from hypothesis import strategies as st

from redpajama_pipe.sources.sanitise import clean, clean_optional


def test_lone_surrogates_become_replacement_characters() -> None:
    assert clean("a\ud800b\udfff") == "a\ufffdb\ufffd"


def test_nul_is_removed_also_from_ascii() -> None:
    assert clean("a\0b\0") == "ab"
    assert clean("é\0\ud800") == "é\ufffd"


def test_valid_text_comes_back_as_the_same_object() -> None:
    for text in ("plain", "čeština 日本 🎉", ""):
        assert clean(text) is text


def test_absent_text_stays_absent() -> None:
    assert clean_optional(None) is None
    assert clean_optional("x\0") == "x"


@given(st.text(st.characters(exclude_categories=[])))
def test_cleaned_text_encodes_and_is_stable(text: str) -> None:
    cleaned = clean(text)
    assert "\0" not in cleaned
    assert cleaned.encode("utf-8").decode("utf-8") == cleaned
    assert clean(cleaned) == cleaned
    assert len(cleaned) == len(text) - text.count("\0")
