"""Our inference against the library's, on the published model and on small ones that the library trains here."""

import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redpajama_pipe.errors import SetupError
from redpajama_pipe.signals import fasttext_model, language


@pytest.fixture(scope="module")
def published() -> str:
    language.find_model.cache_clear()
    try:
        return str(language.find_model(language.NAME))
    except SetupError as error:
        pytest.skip(str(error))


def assert_equals_library(texts: list[str | None], path: str) -> None:
    model = language._read(path)
    assert model is not None
    labels, probabilities = language.identify(pa.array(texts, pa.string()), path)
    expected_labels, expected = language._identify_by_library(pa.array(texts, pa.string()), path)
    assert labels.to_pylist() == expected_labels.to_pylist()
    assert probabilities.to_pylist() == pytest.approx(expected.to_pylist(), abs=1e-6)


PIECES = [
    *["the", "und", "la", "日本語", "привет", "é", "e\u0301", "𝒳𝒳", "a", "x" * 200, "xyz" * 200, "日本" * 100],
    *[
        "</s>",
        "x</s>",
        "</s>x",
        "__label__en",
        "__label__",
        "__label__nothing",
        "<",
        ">",
        "\u00a0",
        "\u2028",
        "\x1c",
        "\x1b",
    ],
]
GAPS = [" ", "\n", "\r\n", "\t", "\0", "\v", "\f", "  ", ""]
texts = st.one_of(
    st.lists(st.tuples(st.sampled_from(PIECES), st.sampled_from(GAPS)).map("".join), max_size=12).map("".join),
    st.text(max_size=30),
)


@settings(max_examples=100)
@given(documents=st.lists(st.none() | texts, max_size=5))
def test_any_text_is_labelled_as_the_library_does(published: str, documents: list[str | None]) -> None:
    assert_equals_library(documents, published)


@pytest.mark.parametrize("odd", ["</s>", "</s>x", "__label__en", "__label__nothing", "\0", "\u00a0"])
def test_what_the_library_reads_specially(published: str, odd: str) -> None:
    assert_equals_library([odd, f"{odd} und", f"the cat {odd} und der Hund und die Maus"], published)


def test_real_text_is_labelled_as_the_library_does(published: str, real_data: Path) -> None:
    lines = (real_data / "langid/flores_sentences.tsv").read_text(encoding="utf-8").splitlines()
    sentences = [line.split("\t", 1)[1] for line in lines]
    # Long documents of many languages, too, so that float32 sums grow and words repeat.
    assert_equals_library([*sentences[::10], *(" ".join(sentences[i::997]) for i in range(40))], published)


def test_more_different_words_than_are_remembered(published: str) -> None:
    words = [f"wort{i}" for i in range(40_000)]
    assert_equals_library([" ".join(words), " ".join(words[:100]), " ".join(words[::-1])], published)


LETTERS = {"one": "abcdeé", "two": "defghж", "three": "ghijk日"}


def trained(folder: Path, **options: Any) -> Any:
    """Train a small model on three made-up languages."""
    fasttext = pytest.importorskip("fasttext")
    choose = random.Random(0)
    lines = []
    # One label is as frequent as the two others together: a tie when they are joined into a tree.
    for label in ["one", "two", "one", "three"] * 150:
        words = ["".join(choose.choices(LETTERS[label], k=choose.randint(1, 7))) for _ in range(8)]
        lines.append(f"__label__{label} {' '.join(words)}")
    (folder / "lines.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    options = {"loss": "hs", "minn": 2, "maxn": 4, "dim": 16, "bucket": 3000, "epoch": 5} | options
    # Each of ten threads sets a tenth of the numbers to start from; with fewer threads the rest is whatever lay there.
    return fasttext.train_supervised(str(folder / "lines.txt"), thread=10, verbose=0, **options)


DOCUMENTS = ["abc dé bca", "ghж hgfe", "日jk kij 日", "abc", "zzz", "qq ж 日", "", None, "</s> abc", "__label__one gh"]


@pytest.mark.parametrize(
    "options", [{}, {"minn": 1, "maxn": 3}, {"dim": 10}, {"minCount": 3}], ids=["default", "marks", "dim10", "rare"]
)
def test_an_uncompressed_model_is_read(tmp_path: Path, options: dict[str, int]) -> None:
    path = tmp_path / "model.bin"
    trained(tmp_path, **options).save_model(str(path))
    assert_equals_library(DOCUMENTS, str(path))


@pytest.mark.parametrize(
    "options",
    [{"qnorm": True}, {"qnorm": False}, {"qnorm": True, "cutoff": 500}, {"dsub": 3}],
    ids=["lengths", "no-lengths", "pruned", "odd-parts"],
)
def test_a_compressed_model_is_read(tmp_path: Path, options: dict[str, int]) -> None:
    path = tmp_path / "model.ftz"
    model = trained(tmp_path)
    model.quantize(**options)
    model.save_model(str(path))
    assert_equals_library(DOCUMENTS, str(path))


@pytest.mark.parametrize("options", [{"loss": "softmax"}, {"wordNgrams": 2}], ids=["softmax", "bigrams"])
def test_other_models_go_to_the_library(tmp_path: Path, options: dict[str, Any]) -> None:
    path = tmp_path / "model.bin"
    trained(tmp_path, **options).save_model(str(path))
    assert fasttext_model.read(path) is None
    labels, _ = language.identify(pa.array(["abc dé bca", None]), str(path))
    assert labels[0].as_py() in LETTERS
    assert labels[1].as_py() is None


def test_a_model_that_was_cut_short_is_refused(tmp_path: Path, published: str) -> None:
    path = tmp_path / "half.ftz"
    path.write_bytes(Path(published).read_bytes()[:400_000])
    with pytest.raises(SetupError, match=r"half\.ftz is not a whole fastText model: "):
        language.identify(pa.array(["a"]), str(path))
