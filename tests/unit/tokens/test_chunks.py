import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from redpajama_pipe import catalog
from redpajama_pipe.tokens import chunks
from redpajama_pipe.tokens.chunks import ChunkedTexts, cut_text, json_cuts, sentencepiece_cuts
from redpajama_pipe.tokens.encode import Encoder, open_encoder
from redpajama_pipe.tokens.spec import TokenizerSpec, load_spec
from redpajama_pipe.tokens.train import train_sentencepiece

FILES = {"gpt_neox_20b": "gpt_neox_20b.json", "gpt2": "gpt2.json", "mistral_v1": "mistral_v1_32k.model"}
ENGINES = ("gigatoken", "reference")
FRAGMENTS = [
    *(" ", "  ", "   ", "\n", "\t", "\u00a0", "\u2581", "a b", "x", "The", " of", " a", "'s", "'ll ", "don't", "1 2"),
    *("<|endoftext|>", "</s>", "e\u0301", "\u0301", " \u0301", "日本", "🙂", "\u1df6\u0334", "_", "-", "I ", "\r\n"),
]  # fmt: skip
odd = st.lists(st.sampled_from(FRAGMENTS) | st.text(st.characters(exclude_categories=["Cs"]), max_size=4)).map("".join)
documents = st.lists(odd, min_size=1, max_size=4)


def whole(encoder: Encoder) -> tuple[Encoder, bool]:
    """The encoder that takes documents whole, and whether a space at a cut is dropped."""
    assert isinstance(encoder, ChunkedTexts)
    return encoder._encoder, encoder._drop_space


def same_ids(encoder: Encoder) -> None:
    inner, drop_space = whole(encoder)

    @given(documents, st.integers(1, 12))
    def check(texts: list[str], chunk_bytes: int) -> None:
        array = pa.array(texts, pa.string())
        got = ChunkedTexts(inner, drop_space, chunk_bytes).encode_batch(array)
        expected = inner.encode_batch(array)
        assert (got[0].tolist(), got[1].tolist()) == (expected[0].tolist(), expected[1].tolist())

    check()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", list(FILES))
def test_pieces_give_the_ids_of_the_whole(real_data: Path, name: str, engine: Any) -> None:
    encoder = open_encoder(load_spec(name), real_data / "tokenizers" / FILES[name], engine)
    assert encoder.engine == engine
    same_ids(encoder)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", ["json", "sentencepiece"])
def test_pieces_give_the_ids_of_the_whole_with_trained_ones(
    kind: str, engine: Any, request: pytest.FixtureRequest
) -> None:
    spec, model = request.getfixturevalue(f"{kind}_spec"), request.getfixturevalue(f"{kind}_model")
    same_ids(open_encoder(spec, model, engine))


def test_every_entry_of_the_catalogue_is_covered() -> None:
    # llama: the settings of mistral_v1, and no file here; sample_*: trained above; unigram: never cut
    covered = {*FILES, "llama", "sample_spm", "sample_bpe", "sample_unigram"}
    assert covered == set(catalog.entries("tokenize"))


def test_real_text_in_pieces(real_data: Path) -> None:
    text = (real_data / "corpora" / "valid.txt").read_text(encoding="utf-8")[:100_000]
    for name, file in FILES.items():
        encoder = open_encoder(load_spec(name), real_data / "tokenizers" / file)
        inner, drop_space = whole(encoder)
        array = pa.array(["short", text, "", text[:10]], pa.string())
        got = ChunkedTexts(inner, drop_space, 1000).encode_batch(array)
        expected = inner.encode_batch(array)
        assert np.array_equal(got[0], expected[0])
        assert np.array_equal(got[1], expected[1])


@given(odd, st.integers(1, 20), st.booleans())
def test_cuts_lose_nothing_but_the_space(text: str, chunk_bytes: int, drop_space: bool) -> None:
    data = text.encode()
    pieces = list(cut_text(data, chunk_bytes, drop_space))
    assert (b" " if drop_space else b"").join(pieces) == data
    assert all(len(piece) >= chunk_bytes for piece in pieces[:-1])
    for piece in pieces:
        piece.decode("utf-8")


def test_what_looks_across_a_cut_is_taken_whole(json_model: Path, sentencepiece_model: Path, tmp_path: Path) -> None:
    tree = json.loads(json_model.read_bytes())
    assert json_cuts(json.dumps(tree).encode()) is False
    token = {"id": 340, "content": "New York", "special": False, "normalized": True}
    for change in (
        {"pre_tokenizer": None},
        {"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}},
        {"normalizer": {"type": "Lowercase"}},
        {"model": {**tree["model"], "type": "Unigram"}},
        {"model": {**tree["model"], "dropout": 0.1}},
        {"added_tokens": [token]},
        {"added_tokens": [{**token, "content": "x", "rstrip": True}]},
    ):
        assert json_cuts(json.dumps({**tree, **change}).encode()) is None
    assert sentencepiece_cuts(sentencepiece_model.read_bytes()) is False
    texts = [f"line {n}  {n * n} naïve 日本 the end of the text" for n in range(200)]
    unigram = train_sentencepiece(texts, str(tmp_path / "unigram"), 286, algorithm="unigram")
    assert sentencepiece_cuts(Path(unigram).read_bytes()) is None


def test_published_models_say_how_they_are_cut(real_data: Path) -> None:
    folder = real_data / "tokenizers"
    assert sentencepiece_cuts((folder / "mistral_v1_32k.model").read_bytes()) is True  # it puts a space first
    assert sentencepiece_cuts((folder / "test_model.model").read_bytes()) is None  # unigram, and maps characters
    assert json_cuts((folder / "llama_32k.json").read_bytes()) is None  # no pre-tokenizer


def test_null_is_refused_as_ever(json_spec: TokenizerSpec, json_model: Path) -> None:
    inner, drop_space = whole(open_encoder(json_spec, json_model))
    with pytest.raises(ValueError, match="text 1 is null"):
        ChunkedTexts(inner, drop_space, 2).encode_batch(pa.array(["long enough", None]))
    assert chunks.CHUNK_BYTES >= 1 << 20
