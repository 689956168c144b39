"""The sections `annotate` and `filter`: what is computed from each text, and the rules on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from redpajama_pipe.errors import RecipeError
from redpajama_pipe.settings.limits import NATURAL, SEED, SHARE, check_limits


@dataclass(frozen=True)
class MinHash:
    """What a signature is; see dedup.minhash.MinHashSpec, which this becomes, and docs/dedup.md for the presets.

    Attributes:
        preset: where the values that are not given come from: a key of PRESETS.
        bands: groups of values that make documents candidates when one group is equal.
        rows: values in each.
        shingle: consecutive words (characters with the normalization `slimpajama`) in one element of the set.
        normalization: what the words are: `words`, `none`, `redpajama_v2`, `datatrove`, `slimpajama`.
        scheme: from words to values: `affine32`, `affine64`, `legacy`, `redpajama_v2`, `datatrove`, `datatrove_sha1`.
        seed: of the permutations.
        num_perm: values in a signature; more than bands * rows where the published one has more.
    """

    preset: str = "default"
    # 0, empty and -1 are no possible values: they stand for the preset's.
    bands: int = 0
    rows: int = 0
    shingle: int = 0
    normalization: str = ""
    scheme: str = ""
    seed: int = -1
    num_perm: int = 0

    # bands, rows, shingle, normalization, scheme, seed, num_perm (0: bands * rows)
    PRESETS: ClassVar[Mapping[str, tuple[int, int, int, str, str, int, int]]] = {
        # FineWeb's bands and shingles with words as they are seen by `words` and values of 32 bits; docs/decisions.md
        "default": (14, 8, 5, "words", "affine32", 1, 0),
        # measured to miss a tenth of what the default misses, for a quarter more bytes a signature
        "thorough": (20, 7, 5, "words", "affine32", 1, 0),
        # Penedo et al. 2024, arXiv:2406.17557; huggingface/datatrove: examples/fineweb.py
        "fineweb": (14, 8, 5, "datatrove", "datatrove_sha1", 1, 0),
        # togethercomputer/RedPajama-Data: app/src/dedupe/minhash.py; one signature serves the four similarities
        "redpajama_v2_1.0": (1, 128, 13, "redpajama_v2", "redpajama_v2", 42, 128),
        "redpajama_v2_0.9": (5, 25, 13, "redpajama_v2", "redpajama_v2", 42, 128),
        "redpajama_v2_0.8": (9, 13, 13, "redpajama_v2", "redpajama_v2", 42, 128),
        "redpajama_v2_0.7": (14, 9, 13, "redpajama_v2", "redpajama_v2", 42, 128),
        # Lee et al. 2021, arXiv:2107.06499, appendix A: 9,000 values; the hash function is not published
        "lee_2021": (450, 20, 5, "words", "affine32", 1, 0),
        # Cerebras/modelzoo: data_preparation/nlp/slimpajama/dedup/to_hash.py
        "slimpajama": (9, 13, 13, "slimpajama", "legacy", 1, 128),
        # EleutherAI/pythia: only the threshold 0.87 is known; bands and rows are datasketch's for it and 128 values
        "pile_0.87": (7, 18, 5, "words", "affine32", 1, 128),
    }

    def __post_init__(self) -> None:
        if self.preset not in self.PRESETS:
            raise RecipeError(f"minhash: no preset {self.preset!r}; there are: {', '.join(self.PRESETS)}")
        *named, num_perm = self.PRESETS[self.preset]
        for name, absent, value in zip(
            ("bands", "rows", "shingle", "normalization", "scheme", "seed"), (0, 0, 0, "", "", -1), named, strict=True
        ):
            if getattr(self, name) == absent:
                object.__setattr__(self, name, value)
        if self.num_perm == 0:
            object.__setattr__(self, "num_perm", max(num_perm, self.bands * self.rows))
        numbers = dict.fromkeys(("bands", "rows", "shingle", "num_perm"), NATURAL)
        check_limits(self, "annotate.minhash", **numbers, seed=SEED)


@dataclass(frozen=True)
class Annotate:
    """The one pass over the text.

    Attributes:
        language_model: path of fastText's lid.176.ftz or .bin, or `lid.176` to find an installed copy.
        language_sample_bytes: the language of a longer document is told from three windows of it, of a third of so many
            bytes each: its beginning, middle and end (signals/language_sample.py). 0: of the whole text, as published.
        minhash: the signature that dedup will use.
        signals: names of signals or families to store beside Gopher's and those that the rule sets read.
        word_lists: folder of the word lists that some signals need; empty: look in the usual places.
        artifacts: folder of RedPajama-V2's models and URL lists, for its signals that need them; train-importance-bags
            makes one, RUN/artifacts.
        url_lists: folder of URL lists in UT1's layout: CATEGORY/domains, urls, words, soft_words.
        perplexity_models: folder of LANGUAGE.sp.model and LANGUAGE.arpa.bin, as train-language-model writes them.
        quality_model: path of a model that train-quality-classifier wrote.
    """

    language_model: str = "lid.176"
    language_sample_bytes: int = 0
    signals: tuple[str, ...] = ()
    word_lists: str = ""
    artifacts: str = ""
    url_lists: str = ""
    perplexity_models: str = ""
    quality_model: str = ""
    minhash: MinHash = field(default_factory=MinHash)

    def __post_init__(self) -> None:
        if self.language_sample_bytes and self.language_sample_bytes < 300:
            raise RecipeError(
                f"annotate.language_sample_bytes is {self.language_sample_bytes}; give 300 or more, or 0 for all text"
            )


@dataclass(frozen=True)
class Filter:
    """Rule sets, in order: a document is counted under the first rule that drops it.

    Attributes:
        rule_sets: entries of filters/, or paths ending in .yaml.
        max_dropped_share: the run stops when a source loses more of its documents to rules.
    """

    rule_sets: tuple[str, ...] = ("gopher",)
    max_dropped_share: float = 0.95

    def __post_init__(self) -> None:
        check_limits(self, "filter", max_dropped_share=SHARE)
