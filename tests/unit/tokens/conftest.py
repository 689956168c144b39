"""Tokenizers made on the spot, so that most tests need no file from outside."""

from __future__ import annotations

from pathlib import Path

import pytest

from redpajama_pipe.tokens.spec import Case, TokenizerSpec
from redpajama_pipe.tokens.train import train_sentencepiece

WORDS = [
    "the cat sat on the mat",
    "naïve café, 日本語の文 and Ελληνικά",
    "def f(x):\n\treturn  x + 1\n",
    "1234 <un k> </s>",
]


@pytest.fixture(scope="session")
def sentencepiece_spec() -> TokenizerSpec:
    return TokenizerSpec("made_spm", "sentencepiece", "this test", "</s>", 2, trained=True)


@pytest.fixture(scope="session")
def sentencepiece_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(train_sentencepiece(WORDS * 20, str(tmp_path_factory.mktemp("spm") / "made"), 380))


@pytest.fixture(scope="session")
def json_spec() -> TokenizerSpec:
    return TokenizerSpec("made_json", "hf_json", "this test", "<|endoftext|>", 0, cases=(Case("", ()),))


@pytest.fixture(scope="session")
def json_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A byte-level BPE as GPT-NeoX's: NFC, and runs of spaces as added tokens that are normalised."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=340,
        special_tokens=["<|endoftext|>", "<|padding|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(WORDS * 20, trainer)
    tokenizer.add_tokens([AddedToken(" " * n, normalized=True) for n in range(8, 1, -1)])
    path = tmp_path_factory.mktemp("json") / "made.json"
    tokenizer.save(str(path))
    return path
