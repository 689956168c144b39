from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from redpajama_pipe.errors import InputError, RecipeError
from redpajama_pipe.settings.tokens import Tokenize
from redpajama_pipe.settings.tree import build
from redpajama_pipe.tokens.encode import Encoder, open_encoder
from redpajama_pipe.tokens.spec import SpecialText, TokenizerSpec, load_spec

JSON_SPECIAL = ("<|endoftext|>", "<|padding|>")
SPM_SPECIAL = ("<s>", "</s>")
FRAGMENTS = ["<|endoftext|>", "<|padding|>", "</s>", "<s>", "<unk>", "<|endof", "text|>", " ", "  ", "a cat", "é", "\n"]
spelt = st.lists(st.sampled_from(FRAGMENTS), max_size=8).map("".join)


def one(encoder: Encoder, text: str) -> list[int]:
    ids: list[int] = encoder.encode_batch(pa.array([text], pa.string()))[0].tolist()
    return ids


def opened(spec: TokenizerSpec, model: Path, wanted: SpecialText | None, **more: Any) -> Encoder:
    return open_encoder(replace(spec, special_tokens_in_text=wanted), model, **more)


def test_json_tokenizer_takes_them_as_text_when_asked(json_spec: TokenizerSpec, json_model: Path) -> None:
    special, text = (opened(json_spec, json_model, wanted) for wanted in ("as_special", "as_text"))
    default = opened(json_spec, json_model, None)
    for name, number in zip(JSON_SPECIAL, (0, 1), strict=True):
        assert one(special, f"end{name}begin") == one(default, f"end{name}begin")
        assert number in one(special, f"end{name}begin")
        assert number not in one(text, f"end{name}begin")
        # as the characters between which something stands
        assert text.decode(one(text, f"end{name}begin")) == f"end{name}begin"


def test_sentencepiece_takes_them_as_special_when_asked(
    sentencepiece_spec: TokenizerSpec, sentencepiece_model: Path
) -> None:
    special, text = (opened(sentencepiece_spec, sentencepiece_model, wanted) for wanted in ("as_special", "as_text"))
    assert one(special, "the cat</s>sat") == [*one(text, "the cat"), 2, *one(text, "sat")]
    assert one(special, "</s></s>") == [2, 2]
    assert 2 not in one(text, "the cat</s>sat")
    assert one(opened(sentencepiece_spec, sentencepiece_model, None), "a</s>b") == one(text, "a</s>b")
    assert one(special, "<unk> <0x0A>") == one(text, "<unk> <0x0A>")  # no control symbols


@pytest.mark.parametrize("wanted", ["as_text", "as_special", None])
@pytest.mark.parametrize("kind", ["json", "sentencepiece"])
def test_engines_agree(kind: str, wanted: SpecialText | None, request: pytest.FixtureRequest) -> None:
    spec, model = request.getfixturevalue(f"{kind}_spec"), request.getfixturevalue(f"{kind}_model")
    fast, reference = (opened(spec, model, wanted, engine=engine) for engine in ("gigatoken", "reference"))
    assert (fast.engine, reference.engine) == ("gigatoken", "reference")

    @given(st.lists(spelt, max_size=5))
    def check(texts: list[str]) -> None:
        array = pa.array(texts, pa.string())
        got, expected = fast.encode_batch(array), reference.encode_batch(array)
        assert (got[0].tolist(), got[1].tolist()) == (expected[0].tolist(), expected[1].tolist())

    check()


@pytest.mark.parametrize("engine", ["gigatoken", "reference"])
def test_error_names_the_token_and_the_way_out(json_spec: TokenizerSpec, json_model: Path, engine: Any) -> None:
    encoder = opened(json_spec, json_model, "error", engine=engine)
    texts = pa.array(["fine", "before <|endoftext|> after"], pa.string())
    with pytest.raises(InputError, match=r"the special token '<\|endoftext\|>': 'before .* after'; set tokenize\."):
        encoder.encode_batch(texts)
    assert len(encoder.encode_batch(texts[:1])[1]) == 2


def test_published_tokenizer_as_text(real_data: Path) -> None:
    spec = load_spec("gpt_neox_20b")
    path = real_data / "tokenizers" / "gpt_neox_20b.json"
    for engine in ("gigatoken", "reference"):
        # ids from Hugging Face tokenizers 0.23 with encode_special_tokens
        text = opened(spec, path, "as_text", engine=engine)
        assert one(text, "end<|endoftext|>begin   x") == [423, 29, 93, 423, 1171, 1156, 49651, 2043, 50275, 89]
        assert one(opened(spec, path, None, engine=engine), "end<|endoftext|>begin") == [423, 0, 2043]


def test_recipe_names_the_choice() -> None:
    tokenize = build(Tokenize, {"special_tokens_in_text": "error"}, "tokenize")
    assert tokenize.special_tokens_in_text == "error"
    with pytest.raises(RecipeError, match="'text' is not one of as_text, as_special, error"):
        build(Tokenize, {"special_tokens_in_text": "text"}, "tokenize")
