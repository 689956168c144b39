"""Train a tokenizer on the recipe's own text: SentencePiece BPE or unigram with byte fallback, or byte-level BPE.

SentencePiece BPE is as LLaMA's, byte-level BPE as GPT-2's. The tokenizer changes nothing in a text: decoding what was
encoded gives it back, spaces, tabs and line ends included. The one exception is U+2581, by which SentencePiece stands
for a space: it comes back as one. Equal texts in equal order give equal bytes. About 8 s and 0.3 GB for 16 MB of text
and 32,000 pieces of SentencePiece BPE.

Source: Radford et al. 2019, Language Models are Unsupervised Multitask Learners, section 2.2 (byte-level BPE);
huggingface/tokenizers, bindings/python/py_src/tokenizers/implementations/byte_level_bpe.py.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

from redpajama_pipe import storage
from redpajama_pipe.errors import RecipeError
from redpajama_pipe.tokens.spec import TokenizerSpec

UNK_ID, BOS_ID, EOS_ID = 0, 1, 2  # LLaMA's
LONGEST_LINE = 4096  # characters; longer lines are cut
GPT_SPECIAL = {"<|endoftext|>": 0, "<|padding|>": 1}  # GPT-NeoX's
_TOO_LITTLE = (
    "tokenize.vocab_size is {}, but {} characters of text give at most {} pieces; "
    "lower it or raise tokenize.train_bytes"
)


def train_tokenizer(spec: TokenizerSpec, texts: Iterable[str], prefix: str, vocab_size: int) -> str:
    """Train what an entry of tokenize/ with `trained: true` asks for; returns where the file is.

    Raises:
        RecipeError: the text is too small for so many pieces, or so few pieces cannot hold its characters.
    """
    if spec.kind == "hf_json":
        return train_byte_level_bpe(texts, prefix, vocab_size, spec.special_ids)
    return train_sentencepiece(texts, prefix, vocab_size, algorithm=spec.algorithm)


def train_byte_level_bpe(
    texts: Iterable[str], prefix: str, vocab_size: int, special_ids: Mapping[str, int] = GPT_SPECIAL
) -> str:
    """Train and write `prefix`.json, a tokenizer.json of Hugging Face tokenizers.

    Args:
        texts: documents; what is held is their distinct words.
        prefix: path or URL without .json.
        vocab_size: tokens, the special ones and the 256 bytes included.
        special_ids: the special tokens and their ids, which are 0, 1, …

    Returns:
        Where the file is.

    Raises:
        RecipeError: the text is too small for so many tokens, or so few cannot hold the bytes; the special tokens'
            ids are not 0, 1, …
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    special = sorted(special_ids, key=lambda token: special_ids[token])
    if [special_ids[token] for token in special] != list(range(len(special))):
        raise RecipeError(f"special_ids of a trained tokenizer must be 0, 1, …; found {dict(special_ids)}")
    least = len(special) + 256
    if vocab_size < least:
        raise RecipeError(f"tokenize.vocab_size is {vocab_size}, but special tokens and bytes alone take {least}")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        special_tokens=special,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    count = _Count()
    tokenizer.train_from_iterator(count.whole(texts), trainer)
    if not count.characters:
        raise RecipeError("no text to train a tokenizer on")
    most = tokenizer.get_vocab_size(with_added_tokens=True)
    if most < vocab_size:
        raise RecipeError(_TOO_LITTLE.format(vocab_size, count.characters, most))
    path = f"{prefix}.json"
    storage.write_bytes(path, tokenizer.to_str(pretty=True).encode())
    return path


def train_sentencepiece(
    texts: Iterable[str],
    prefix: str,
    vocab_size: int,
    character_coverage: float = 0.99995,
    algorithm: Literal["bpe", "unigram"] = "bpe",
) -> str:
    """Train and write `prefix`.model.

    Args:
        texts: documents; all of them are held in memory.
        prefix: path or URL without .model.
        vocab_size: pieces, with `<unk>` 0, `<s>` 1, `</s>` 2 and the 256 bytes.
        character_coverage: the share of the characters that get a piece of their own, the rest is spelt in bytes;
            LLaMA's.
        algorithm: unigram needs a text in which more pieces than these come twice.

    Returns:
        Where the model is.

    Raises:
        RecipeError: the text is too small for so many pieces, or so few pieces cannot hold its characters.
    """
    from sentencepiece import SentencePieceTrainer

    model = io.BytesIO()
    count = _Count()
    try:
        SentencePieceTrainer.train(
            sentence_iterator=count.lines(texts),
            model_writer=model,
            model_type=algorithm,
            vocab_size=vocab_size,
            character_coverage=character_coverage,
            byte_fallback=True,
            split_digits=True,
            allow_whitespace_only_pieces=True,
            # nmt_nfkc, the default, would change the text
            normalization_rule_name="identity",
            remove_extra_whitespaces=False,
            add_dummy_prefix=False,
            unk_id=UNK_ID,
            bos_id=BOS_ID,
            eos_id=EOS_ID,
            pad_id=-1,
            max_sentence_length=4 * LONGEST_LINE,  # bytes; a longer line would be left out without a word
            num_threads=1,
            input_sentence_size=0,
            shuffle_input_sentence=False,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise RecipeError(_explain(str(error), vocab_size, count.characters)) from error
    path = f"{prefix}.model"
    storage.write_bytes(path, model.getvalue())
    return path


class _Count:
    """Cuts documents into lines and counts what went through."""

    def __init__(self) -> None:
        self.characters = 0

    def whole(self, texts: Iterable[str]) -> Iterator[str]:
        for text in texts:
            self.characters += len(text)
            yield text

    def lines(self, texts: Iterable[str]) -> Iterator[str]:
        # A line end never joins a piece: it is spelt as a byte.
        for text in texts:
            self.characters += len(text)
            for line in text.split("\n"):
                for start in range(0, len(line), LONGEST_LINE):
                    yield line[start : start + LONGEST_LINE]


def _explain(message: str, vocab_size: int, characters: int) -> str:
    most = re.search(r"value <= (\d+)", message)
    if most:
        return _TOO_LITTLE.format(vocab_size, characters, most[1])
    least = re.search(r"required_chars\. \d+ vs (\d+)", message)
    if least:
        return f"tokenize.vocab_size is {vocab_size}, but the text's characters and bytes alone take {least[1]} pieces"
    if "sentences_.empty()" in message:
        return "no text to train a tokenizer on"
    return f"SentencePiece cannot train: {message}"
