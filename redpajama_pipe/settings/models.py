"""The sections `quality` and `perplexity`: the models that jobs train on the documents of a run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Quality:
    """The classifier that train-quality-classifier makes; RedPajama-v1's by default.

    Attributes:
        positive: SQL over the documents' columns: what good documents are.
        negative: SQL: what they are told from.
        documents: of each side at most so many, chosen by their ids.
        min_chars: shorter positive documents are left out; RedPajama-v1's 1,000.
        held_out: share of the documents that is kept from training, to measure precision and recall on.
        dimension: of the word vectors.
        epochs: passes over the text.
        learning_rate: at the beginning.
        word_ngrams: longest run of words that is a feature.
        threads: more than one is faster, and then no two runs give the same model.
        seed: of the initial vectors.
    """

    positive: str = "source = 'wikipedia'"
    negative: str = "source <> 'wikipedia'"
    documents: int = 300_000
    min_chars: int = 1000
    held_out: float = 0.1
    dimension: int = 100
    epochs: int = 5
    learning_rate: float = 0.1
    word_ngrams: int = 1
    threads: int = 1
    seed: int = 0


@dataclass(frozen=True)
class Perplexity:
    """The language model that train-language-model makes; CCNet's by default.

    Attributes:
        language: of the documents that it is trained on.
        where: SQL over the documents' columns: which of them; CCNet took Wikipedia.
        documents: at most so many, chosen by their ids.
        vocab_size: SentencePiece pieces.
        order: n of the n-grams.
        memory: of lmplz, as its -S takes it.
    """

    language: str = "en"
    where: str = "source = 'wikipedia'"
    documents: int = 5_000_000
    vocab_size: int = 65_536
    order: int = 5
    memory: str = "50%"
