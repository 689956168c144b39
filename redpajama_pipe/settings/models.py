"""The sections `quality`, `perplexity` and `importance`: the models that jobs make of the documents of a run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from redpajama_pipe.errors import RecipeError
from redpajama_pipe.settings.limits import NATURAL, SHARE, WHOLE, check_limits


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

    def __post_init__(self) -> None:
        counts = dict.fromkeys(("documents", "dimension", "epochs", "word_ngrams", "threads"), NATURAL)
        check_limits(self, "quality", **counts, min_chars=WHOLE, held_out=SHARE, seed=(0, 2**31 - 1))
        if not 0 < self.learning_rate < math.inf:
            raise RecipeError(f"quality.learning_rate is {self.learning_rate}; give a number above 0, such as 0.1")


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

    def __post_init__(self) -> None:
        check_limits(self, "perplexity", documents=NATURAL, vocab_size=NATURAL, order=NATURAL)


@dataclass(frozen=True)
class Importance:
    """The bags of words that train-importance-bags counts, for RedPajama-V2's importance weights.

    Attributes:
        domains: domain → SQL over the documents' columns: which documents it is counted on. `ccnet` is what the
            others, `wikipedia`, `openwebtext` and `books`, are compared with.
        language: of the documents that are counted.
        documents: of each domain at most so many, chosen by their ids; RedPajama-V2's 500,000.
    """

    domains: Mapping[str, str] = field(
        default_factory=lambda: {"wikipedia": "source = 'wikipedia'", "ccnet": "source <> 'wikipedia'"}
    )
    language: str = "en"
    documents: int = 500_000

    def __post_init__(self) -> None:
        if not self.domains:
            raise RecipeError("importance.domains is empty; give {DOMAIN: SQL} for ccnet and what is compared with it")
        check_limits(self, "importance", documents=NATURAL)
