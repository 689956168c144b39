from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sentencepiece import SentencePieceProcessor

from redpajama_pipe.errors import RecipeError
from redpajama_pipe.tokens.encode import open_encoder
from redpajama_pipe.tokens.spec import load_spec
from redpajama_pipe.tokens.train import train_sentencepiece

TEXTS = [f"line {n}\n\n\tindented  twice   {n * n}\r\nthe end of the text, naïve 日本 {n}" for n in range(200)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(train_sentencepiece(TEXTS, str(tmp_path_factory.mktemp("trained") / "own"), 340))


@pytest.fixture(scope="module")
def processor(model: Path) -> SentencePieceProcessor:
    return SentencePieceProcessor(model_file=str(model))


def test_model_is_what_the_catalogue_says(model: Path, processor: SentencePieceProcessor) -> None:
    assert model.name == "own.model"
    spec = load_spec("sample_spm")
    encoder = open_encoder(spec, model)
    assert (encoder.engine, encoder.vocab_size) == ("gigatoken", 340)
    assert {piece: processor.piece_to_id(piece) for piece in spec.special_ids} == spec.special_ids
    assert processor.piece_to_id("<0x0A>") == 3 + 10


@pytest.mark.parametrize(
    "text",
    [
        *TEXTS[:3], "a\nb\n\n\nc", "\ttab\t\t", "  two  and   three    ", " ", "\n", "\r\n \r", "\0",
        "\u00a0\u3000\u2003",
        "ﬁ ½ Å e\u0301", "👨\u200d👩\u200d👧", "𝒳 never seen Ж", "</s> <s> <unk> <0x0A>", "\ufeff\ufffd",
    ],
)  # fmt: skip
def test_text_comes_back_unchanged(processor: SentencePieceProcessor, text: str) -> None:
    assert processor.decode(processor.encode(text)) == text


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="▁")))
def test_any_text_comes_back_unchanged(processor: SentencePieceProcessor, text: str) -> None:
    assert processor.decode(processor.encode(text)) == text


def test_the_one_exception_is_the_symbol_for_a_space(processor: SentencePieceProcessor) -> None:
    assert processor.decode(processor.encode("a▁b")) == "a b"


def test_equal_text_gives_equal_bytes(model: Path, tmp_path: Path) -> None:
    again = Path(train_sentencepiece(iter(TEXTS), str(tmp_path / "other"), 340))
    assert again.read_bytes() == model.read_bytes()
    different = Path(train_sentencepiece([text.upper() for text in TEXTS], str(tmp_path / "different"), 340))
    assert different.read_bytes() != model.read_bytes()


def test_line_ends_join_no_piece(processor: SentencePieceProcessor) -> None:
    pieces = [processor.id_to_piece(token) for token in range(processor.get_piece_size())]
    assert not any("\n" in piece for piece in pieces)
    assert "▁▁" in pieces  # runs of spaces do


def test_lines_longer_than_sentencepiece_takes_are_trained_on(tmp_path: Path) -> None:
    path = train_sentencepiece(["ab" * 100_000, "the cat"], str(tmp_path / "long"), 265)
    assert "ab" * 8 in [SentencePieceProcessor(model_file=path).id_to_piece(token) for token in range(265)]


@pytest.mark.parametrize(
    ("texts", "vocab_size", "message"),
    [
        (["the cat"] * 3, 32_000, r"vocab_size is 32000, but 21 characters of text give at most \d+ pieces; lower it"),
        (TEXTS, 270, r"vocab_size is 270, but the text's characters and bytes alone take \d+ pieces"),
        ([], 300, "no text to train a tokenizer on"),
        (["", "\n"], 300, "no text to train a tokenizer on"),
    ],
)
def test_what_cannot_be_trained_is_one_line(tmp_path: Path, texts: list[str], vocab_size: int, message: str) -> None:
    with pytest.raises(RecipeError, match=message) as caught:
        train_sentencepiece(texts, str(tmp_path / "no"), vocab_size)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_training_prints_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    train_sentencepiece(TEXTS, str(tmp_path / "own"), 340)
    assert capfd.readouterr() == ("", "")
