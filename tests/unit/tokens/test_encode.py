import dataclasses
import itertools
import json
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from redpajama_pipe.errors import SetupError
from redpajama_pipe.tokens.encode import Encoder, open_encoder
from redpajama_pipe.tokens.nfc_drift import changed
from redpajama_pipe.tokens.spec import Case, TokenizerSpec, find_file, load_spec

FRAGMENTS = [
    "<|endoftext|>", "<|padding|>", "</s>", "<s>", "<unk>", "<0x0A>", "<", "|", ">", "▁", " ", "  ", "\n", "\t", "\r\n",
    "\u00a0", "\u3000", "é", "e\u0301", "\u0301", "ﬁ", "한", "\u1112\u1161", "👨\u200d👩", "\ufeff", "\ufffd", "\x7f",
    "\x01", "'s", "'S", "n’t", "1", "123", "a", "B", "日", "٣", "½", "ß", "İ", "…", "--", "\u2028", "\x85", "\x1c",
    "endoftext", "\U000e0041", "\u0344", "Å", "|||IP_ADDRESS|||", "|||", "\u1df6", "\u0334", "\U0001e131",
]  # fmt: skip
RUNS = [" ", "\n", "\t", "a", "-", "=", "0", "日", "▁", "\u00a0", "e\u0301", "\r\n", " \n", "ha", "\u0334\u0327"]


def odd_texts() -> list[str]:
    """Every block of Unicode, random code points, special tokens, long runs, and nothing."""
    choose = random.Random(20_200_613)
    codes = [code for code in range(1, 0x110000) if not 0xD800 <= code < 0xE000]
    blocks = [block for block in range(0, 0x32000, 0x80) if not 0xD800 <= block < 0xE000]
    texts = ["", *("".join(chr(block + i) for i in range(0x80) if block + i) for block in blocks)]
    texts += ["".join(chr(choose.choice(codes)) for _ in range(choose.randrange(30))) for _ in range(300)]
    texts += ["".join(choose.choices(FRAGMENTS, k=choose.randrange(1, 25))) for _ in range(1500)]
    for unit, times in itertools.product(RUNS, [1, 2, 3, 5, 8, 13, 24, 25, 26, 31, 64, 129, 1000, 20_001]):
        texts += [unit * times, f"x{unit * times}y"]
    return texts


def encoded(encoder: Encoder, texts: list[str]) -> list[list[int]]:
    ids, offsets = encoder.encode_batch(pa.array(texts, pa.string()))
    assert ids.dtype == np.dtype("uint32")
    assert offsets.dtype == np.dtype("int64")
    assert (int(offsets[0]), int(offsets[-1])) == (0, len(ids))
    return [ids[start:stop].tolist() for start, stop in itertools.pairwise(offsets)]


def assert_engines_agree(spec: TokenizerSpec, path: Path, texts: list[str]) -> None:
    fast, reference = open_encoder(spec, path), open_encoder(spec, path, "reference")
    assert (fast.engine, reference.engine) == ("gigatoken", "reference")
    different = [
        text
        for text, one, other in zip(texts, encoded(fast, texts), encoded(reference, texts), strict=True)
        if one != other
    ]
    assert different == []


def test_engines_agree_on_odd_text_sentencepiece(sentencepiece_spec: TokenizerSpec, sentencepiece_model: Path) -> None:
    assert_engines_agree(sentencepiece_spec, sentencepiece_model, odd_texts())


def test_engines_agree_on_odd_text_json(json_spec: TokenizerSpec, json_model: Path) -> None:
    assert_engines_agree(json_spec, json_model, odd_texts())


@pytest.mark.parametrize("name", ["gpt_neox_20b", "gpt2", "mistral_v1"])
def test_engines_agree_on_odd_and_real_text(name: str, real_data: Path) -> None:
    texts = odd_texts()
    with zstandard.open(real_data / "corpora" / "pile_sample.jsonl.zst", "rt", encoding="utf-8") as file:
        texts += [json.loads(line)["text"] for line in itertools.islice(file, 0, 24_000, 120)]
    spec = load_spec(name)
    assert_engines_agree(spec, find_file(spec, str(real_data / "tokenizers")), texts)


def test_engines_agree_on_a_json_with_byte_fallback(real_data: Path) -> None:
    # LLaMA's vocabulary with three added tokens: allenai/dolma, tests/data/tokenizer/llama-test-tokenizer.json
    spec = TokenizerSpec("dolma_llama", "hf_json", "allenai/dolma", "</s>", 2, vocab_size=32_003)
    path = real_data / "tokenizers" / "llama_32k.json"
    assert_engines_agree(spec, path, odd_texts())
    spec = dataclasses.replace(spec, cases=load_spec("llama").cases)  # no BOS, though the file would add one
    assert open_encoder(spec, path).engine == "gigatoken"


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=5))
def test_engines_agree_on_any_text(
    json_spec: TokenizerSpec,
    json_model: Path,
    sentencepiece_spec: TokenizerSpec,
    sentencepiece_model: Path,
    texts: list[str],
) -> None:
    for spec, path in ((json_spec, json_model), (sentencepiece_spec, sentencepiece_model)):
        assert_engines_agree(spec, path, texts)


@pytest.mark.slow
def test_engines_agree_on_every_character_that_may_normalise_differently(
    json_spec: TokenizerSpec, json_model: Path
) -> None:
    codes = [code for code in range(1, 0x20000) if not 0xD800 <= code < 0xE000]
    texts = [text for code in codes for text in (f"x\u0315{chr(code)}", f"x{chr(code)}\u0334", chr(code) * 2)]
    assert_engines_agree(json_spec, json_model, texts)


def test_documents_stand_alone_wherever_the_batch_is_cut(json_spec: TokenizerSpec, json_model: Path) -> None:
    texts = ["the cat", "", "a\u1df6\u0334 mark", "naïve", "\U0001e131\u0334", ""]
    array = pa.array(["before", *texts, "after"], pa.large_string())
    for engine in ("gigatoken", "reference"):
        encoder = open_encoder(json_spec, json_model, engine)
        alone = [encoded(encoder, [text])[0] for text in texts]
        assert encoded(encoder, texts) == alone
        ids, offsets = encoder.encode_batch(array.slice(1, len(texts)))
        assert [ids[a:b].tolist() for a, b in itertools.pairwise(offsets)] == alone
        assert encoded(encoder, []) == []


def test_characters_that_normalise_differently_are_flagged_by_document(
    json_spec: TokenizerSpec, json_model: Path
) -> None:
    table = changed()
    assert table.sum() == 226
    assert not table[:0x5C8].any()
    encoder = open_encoder(json_spec, json_model)
    reference = open_encoder(json_spec, json_model, "reference")
    marked = [f"plain {chr(code)}\u0334 text" for code in np.flatnonzero(table)]
    mixed = [text for pair in zip(marked, ["plain text"] * len(marked), strict=True) for text in pair]
    assert encoded(encoder, mixed) == encoded(reference, mixed)


def test_special_tokens_in_text(
    json_spec: TokenizerSpec, json_model: Path, sentencepiece_spec: TokenizerSpec, sentencepiece_model: Path
) -> None:
    for engine in ("gigatoken", "reference"):
        json_encoder = open_encoder(json_spec, json_model, engine)
        assert encoded(json_encoder, ["a<|endoftext|>b"])[0][1] == json_spec.eod_id
        sentencepiece = open_encoder(sentencepiece_spec, sentencepiece_model, engine)
        assert not {0, 1, 2} & set(encoded(sentencepiece, ["a</s>b<s><unk>"])[0])


def test_nothing_is_added_around_a_document(sentencepiece_spec: TokenizerSpec, sentencepiece_model: Path) -> None:
    encoder = open_encoder(sentencepiece_spec, sentencepiece_model)
    assert encoded(encoder, ["the", ""])[1] == []
    assert encoder.decode(encoded(encoder, ["the"])[0]) == "the"


@pytest.mark.parametrize("engine", ["gigatoken", "reference"])
def test_ids_are_decoded_with_special_tokens_spelt_out(
    json_spec: TokenizerSpec,
    json_model: Path,
    sentencepiece_spec: TokenizerSpec,
    sentencepiece_model: Path,
    engine: str,
) -> None:
    text = " the  naïve\tcat\n日本 "
    for spec, path in ((json_spec, json_model), (sentencepiece_spec, sentencepiece_model)):
        encoder = open_encoder(spec, path, "gigatoken" if engine == "gigatoken" else "reference")
        ids = encoded(encoder, [text])[0]
        assert encoder.decode(np.array([*ids, spec.eod_id, *ids])) == text + spec.eod + text


def test_nulls_are_refused(json_spec: TokenizerSpec, json_model: Path) -> None:
    for engine in ("gigatoken", "reference"):
        with pytest.raises(ValueError, match="text 1 is null"):
            open_encoder(json_spec, json_model, engine).encode_batch(pa.array(["a", None]))


def test_models_that_gigatoken_cannot_read_go_to_the_reference(json_spec: TokenizerSpec, json_model: Path) -> None:
    tree = json.loads(json_model.read_text())
    tree["normalizer"] = {"type": "Sequence", "normalizers": [{"type": "NFKC"}]}
    path = json_model.with_name("nfkc.json")
    path.write_text(json.dumps(tree))
    assert open_encoder(json_spec, path).engine == "reference"


def test_unigram_models_go_to_the_reference(real_data: Path) -> None:
    spec = TokenizerSpec("unigram", "sentencepiece", "google/sentencepiece", "</s>", 2, vocab_size=1000)
    encoder = open_encoder(spec, real_data / "tokenizers" / "test_model.model")
    assert encoder.engine == "reference"
    assert encoded(encoder, ["this is a test"])[0] != []


def test_tokenizer_that_is_not_what_the_spec_says_is_refused(
    tmp_path: Path, json_spec: TokenizerSpec, json_model: Path, sentencepiece_model: Path
) -> None:
    def refused(message: str, path: Path = json_model, **changes: object) -> None:
        with pytest.raises(SetupError, match=message):
            open_encoder(dataclasses.replace(json_spec, **changes), path)  # type: ignore[arg-type]

    refused(r"made_json: the tokenizer has \d+ tokens, expected 348", vocab_size=348)
    refused("made_json: <|endoftext|> is token 0, expected 1".replace("|", r"\|"), eod_id=1)
    refused("made_json: </s> is token None, expected 0", eod="</s>")
    refused(r"made_json: gigatoken gives \[.*\] for 'the', expected \[1, 2\]", cases=(Case("the", (1, 2)),))
    refused("made_json: cannot read tokenizer file .*: No such file", tmp_path / "nowhere")
    refused("is not a hf_json tokenizer", sentencepiece_model)
    refused("is not a sentencepiece tokenizer", json_model, kind="sentencepiece")
    (tmp_path / "empty").touch()
    refused("is not a sentencepiece tokenizer", tmp_path / "empty", kind="sentencepiece")
