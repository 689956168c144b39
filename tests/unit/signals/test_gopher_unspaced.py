"""Gopher's signals of words in scripts without spaces: those of the same text with spaces between its words."""

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from redpajama_pipe.signals import gopher, score
from redpajama_pipe.text.scripts import SCRIPTS_WITHOUT_SPACES

UNSPACED = [signal.name for signal in gopher.UNSPACED]
PLAIN = [name.removeprefix("unspaced_") for name in UNSPACED]


def spaced(text: str) -> str:
    """Put a space wherever the definition parts a word."""
    words: list[str] = []
    for piece in text.split():
        word = ""
        for character in piece:
            alone = [any(first <= ord(c) <= last for first, last in SCRIPTS_WITHOUT_SPACES) for c in word + character]
            letters = [c.isalnum() for c in word]
            if character.isalnum() and any(letters) and any(map(min, alone, [*letters, True])):
                words.append(word)
                word = ""
            word += character
        words.append(word)
    return " ".join(words)


def differences(texts: list[str]) -> list[str]:
    found = score(pa.array(texts), UNSPACED)
    wanted = score(pa.array(list(map(spaced, texts))), PLAIN)
    return [name for name, one, other in zip(UNSPACED, found, wanted, strict=True) if not one.equals(other)]


def test_words_are_parted_as_the_definition_says() -> None:
    assert spaced("「日本語」とEnglish 2語です。abc") == "「日 本 語」 と English 2 語 で す。 abc"
    assert spaced("ภาษาไทย ๑ครั้ง") == "ภ า ษ า ไ ท ย ๑ ค รั้ ง"
    assert spaced("... 日...本… #日") == "... 日... 本… #日"


def test_only_signals_of_words_are_there() -> None:
    assert PLAIN[:5] == [
        "word_count",
        "mean_word_length",
        "hash_word_ratio",
        "ellipsis_word_ratio",
        "alphabetic_word_fraction",
    ]
    assert len(PLAIN) == 14
    assert all("gram_char_fraction" in name for name in PLAIN[5:])


@given(
    st.lists(
        st.text(st.sampled_from([*" \n\u3000a1é.#…。「」日本ーกั็๑ກ", "\u0301", "丽", "𛀀"])), min_size=1, max_size=9
    )
)
def test_values_are_those_of_the_text_with_spaces_between_its_words(texts: list[str]) -> None:
    assert differences(texts) == []


@pytest.mark.parametrize("language", ["zh", "ja", "th"])
def test_real_text_has_words(real_data: Path, language: str) -> None:
    lines = (real_data / "langid" / "flores_sentences.tsv").read_text(encoding="utf-8").splitlines()
    sentences = [line.partition("\t")[2] for line in lines if line.startswith(f"{language}\t")]
    if not sentences:
        pytest.skip(f"no sentences in {language}")
    texts = ["\n".join(sentences[first : first + 10]) for first in range(0, 300, 10)]
    assert differences(texts) == []
    values = score(pa.array(texts), ["word_count", "mean_word_length", *UNSPACED]).to_pydict()
    assert min(values["unspaced_word_count"]) > 3 * max(values["word_count"]) > 0
    assert max(values["mean_word_length"]) > 10  # Gopher's bound drops such a text
    assert 1 <= min(values["unspaced_mean_word_length"]) <= max(values["unspaced_mean_word_length"]) < 2
    assert min(values["unspaced_alphabetic_word_fraction"]) > 0.8


def test_text_with_spaces_has_gopher_s_values() -> None:
    texts = [
        "Das ist ein Text, und das ist ein Text.",
        "한국어는 띄어쓰기를 한다. 한국어는 띄어쓰기를 한다.",
        "Это текст…",
        "",
    ]
    found, plain = score(pa.array(texts), UNSPACED), score(pa.array(texts), PLAIN)
    assert [one.to_pylist() for one in found] == [one.to_pylist() for one in plain]
