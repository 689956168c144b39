"""Our inference against the library's, on the published model and on small ones of every form that are written here."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

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


@pytest.mark.parametrize("letter", ["t", "é", "日", "𝒳"])
def test_a_word_of_any_length_counts_as_much_when_it_is_met_again(published: str, letter: str) -> None:
    words = [f"{letter * length}{ending}" for length in range(1, 20) for ending in ("", "e", "\x01", "on")]
    again = [f"{gap.join(words)}{gap}{gap.join(words)} und" for gap in (" ", "\n", "\0", "\t ")]
    assert_equals_library([*again, *words, *words], published)


def test_a_document_s_last_word_ends_with_it(published: str) -> None:
    # End to end the middle ones are `theqz is where` once more.
    met = "theqz is where"
    assert_equals_library([met, "the", "qz is where", met], published)
    assert_equals_library(["the", "qz is where", met], published)


def test_words_that_share_half_of_their_letters_are_told_apart(published: str) -> None:
    choose = np.random.default_rng(0)
    halves = ["".join(choose.choice(list("abcdeinorst"), 7)) for _ in range(3000)]
    # So many that some meet in the table of recent words.
    assert_equals_library([" ".join([f"nachmitt{half}" for half in halves] * 2)], published)
    assert_equals_library([" ".join([f"{half}enachmi" for half in halves] * 2)], published)


def test_scores_do_not_depend_on_what_came_before_in_the_batch(published: str, real_data: Path) -> None:
    lines = (real_data / "langid/flores_sentences.tsv").read_text(encoding="utf-8").splitlines()
    sentences = [line.split("\t", 1)[1] for line in lines[::211]]
    together = language.identify(pa.array(sentences * 2), published)
    alone = [language.identify(pa.array([sentence]), published) for sentence in sentences]
    for column in (0, 1):
        assert together[column].to_pylist() == [found[column][0].as_py() for found in alone] * 2


def matrix(values: NDArray[np.float32]) -> bytes:
    return struct.pack("<qq", *values.shape) + values.tobytes()


def quantiser(choose: np.random.Generator, dimension: int, width: int, scale: float) -> bytes:
    parts = -(-dimension // width)
    centroids = choose.normal(scale=scale, size=dimension * 256).astype(np.float32)
    return struct.pack("<4i", dimension, parts, width, dimension - (parts - 1) * width) + centroids.tobytes()


def write_model(
    path: Path,
    *,
    dimension: int = 16,
    shortest: int = 2,
    longest: int = 4,
    word_ngrams: int = 1,
    loss: int = 1,
    compressed: bool = False,
    lengths: bool = False,
    width: int = 2,
    pruned: bool = False,
) -> None:
    """Write a model of random numbers in the library's format: its training is never the same twice."""
    choose = np.random.default_rng(0)
    words = ["</s>", "abc", "dé", "ж", "日本", "und"]
    # The two rarest together are as frequent as the second: a tie when labels are joined into a tree.
    labels = {"one": 3, "two": 2, "three": 1, "four": 1}
    buckets = 500
    kept = choose.permutation(buckets)[:200] if pruned else None
    rows = len(words) + (buckets if kept is None else len(kept))
    parts = [struct.pack("<ii", 793712314, 12)]
    parts.append(
        struct.pack("<12id", dimension, 5, 5, 1, 5, word_ngrams, loss, 3, buckets, shortest, longest, 100, 1e-4)
    )
    size, known = len(words) + len(labels), -1 if kept is None else len(kept)
    parts.append(struct.pack("<3iqq", size, len(words), len(labels), 100, known))
    parts += [word.encode() + struct.pack("<bqb", 0, 9, 0) for word in words]
    parts += [f"__label__{label}".encode() + struct.pack("<bqb", 0, count, 1) for label, count in labels.items()]
    if kept is not None:
        parts.append(np.stack([kept, np.arange(len(kept))], axis=1).astype(np.int32).tobytes())
    parts.append(struct.pack("<?", compressed))
    if compressed:
        codes = choose.integers(0, 256, rows * -(-dimension // width), dtype=np.uint8)
        parts.append(struct.pack("<?qqi", lengths, rows, dimension, len(codes)) + codes.tobytes())
        parts.append(quantiser(choose, dimension, width, 1.0))
        if lengths:
            parts.append(choose.integers(0, 256, rows, dtype=np.uint8).tobytes() + quantiser(choose, 1, 1, 3.0))
    else:
        parts.append(matrix(choose.normal(size=(rows, dimension)).astype(np.float32)))
    parts.append(struct.pack("<?", False))
    parts.append(matrix(choose.normal(size=(len(labels), dimension)).astype(np.float32)))
    path.write_bytes(b"".join(parts))


DOCUMENTS = [
    "abc dé bca",
    "ghж hgfe",
    "日jk kij 日",
    "abc",
    "zzz",
    "qq ж 日本",
    "",
    None,
    "</s> abc",
    "__label__one gh",
]
DOCUMENTS += ["abcd abcd kij日 kij日 x", "aaaaaaaaaaaaaaa aaaaaaaaaaaaaaa ж"]
DOCUMENTS += [f"{word} und etwas" for word in ("die", "Katze", "sitzt", "vor", "dem", "Haus", "am", "Abend")]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"shortest": 1, "longest": 3},
        {"dimension": 10},
        {"compressed": True},
        {"compressed": True, "lengths": True},
        {"compressed": True, "lengths": True, "pruned": True},
        {"compressed": True, "width": 3},
    ],
    ids=lambda options: "-".join(options) or "plain",
)
def test_every_form_of_the_file_is_read(tmp_path: Path, options: dict[str, Any]) -> None:
    path = tmp_path / "model.ftz"
    write_model(path, **options)
    assert_equals_library(DOCUMENTS, str(path))
    assert len(set(language.identify(pa.array(DOCUMENTS), str(path))[0].to_pylist())) > 2


@pytest.mark.parametrize("options", [{"loss": 3}, {"word_ngrams": 2}], ids=["softmax", "bigrams"])
def test_other_models_go_to_the_library(tmp_path: Path, options: dict[str, Any]) -> None:
    path = tmp_path / "model.bin"
    write_model(path, **options)
    assert fasttext_model.read(path) is None
    labels, probabilities = language.identify(pa.array(["abc dé bca", None]), str(path))
    assert labels[0].as_py() in {"one", "two", "three", "four"}
    assert 0 < probabilities[0].as_py() <= 1
    assert labels[1].as_py() is probabilities[1].as_py() is None


def test_a_model_that_was_cut_short_is_refused(tmp_path: Path, published: str) -> None:
    path = tmp_path / "half.ftz"
    path.write_bytes(Path(published).read_bytes()[:400_000])
    with pytest.raises(SetupError, match=r"half\.ftz is not a whole fastText model: "):
        language.identify(pa.array(["a"]), str(path))


def test_a_model_that_the_library_refuses_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    write_model(path, loss=3, pruned=True)
    with pytest.raises(SetupError) as refused:
        language.identify(pa.array(["a"]), str(path))
    assert str(refused.value) == f"{path} is not a fastText model: Invalid model file."
