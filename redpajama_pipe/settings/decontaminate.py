"""The section `decontaminate`: evaluation sets, and what is done about documents that hold their examples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from redpajama_pipe.errors import RecipeError
from redpajama_pipe.settings.limits import NATURAL, SHARE, WHOLE, check_limits


@dataclass(frozen=True)
class EvaluationSet:
    """A set of examples that models are evaluated on.

    Attributes:
        name: in the rule `contaminated.NAME`.
        paths: files or glob patterns: .jsonl, .json, .csv, .tsv, .txt (a line an example), also .gz, .zst, .bz2.
        fields: which make the text of an example, joined; dots descend. Empty: every string in it.
        id_field: names an example in receipts; empty: its number in the set, from 0.
    """

    name: str
    paths: tuple[str, ...]
    fields: tuple[str, ...] = ()
    id_field: str = ""

    def __post_init__(self) -> None:
        if not self.name or not self.paths:
            raise RecipeError(f"decontaminate: the set {self.name!r} needs a name and paths, files or glob patterns")


@dataclass(frozen=True)
class Decontaminate:
    """What is done about documents that hold examples of evaluation sets; docs/decontamination.md.

    Attributes:
        sets: what is looked for; empty: the stage does nothing.
        mode: `ngram`: n-grams of the words that deduplication uses; `gpt3`: Brown et al. 2020, appendix C; `dolma`:
            whole lines.
        n: words in an n-gram; dolma: the least tokens in a line. With gpt3, 0: for each set the 5th percentile of the
            words of its examples, from 8 to 13.
        min_words: ngram: an example shorter than n is looked for as a whole when it has so many words; 8 as the least n
            of Brown et al. 2020. Shorter ones are counted, and not looked for.
        min_overlap: different n-grams that a document must share with one example, or all where it has fewer.
        action: `drop` the document, or `cut` what matches. Empty: cut with gpt3, else drop.
        window: gpt3: characters that are cut before and after an n-gram.
        min_piece: gpt3: shorter pieces between cuts are cut too, in characters.
        max_pieces: gpt3: a document that falls into more is dropped.
        max_documents: gpt3: n-grams in more documents are common phrases and are passed over.
        max_dropped_share: the run stops when a source loses more of its documents.
    """

    sets: tuple[EvaluationSet, ...] = ()
    mode: Literal["ngram", "gpt3", "dolma"] = "ngram"
    n: int = 13
    min_words: int = 8
    min_overlap: int = 1
    action: Literal["", "drop", "cut"] = ""
    window: int = 200
    min_piece: int = 200
    max_pieces: int = 10
    max_documents: int = 10
    max_dropped_share: float = 0.1

    def __post_init__(self) -> None:
        if not self.action:
            object.__setattr__(self, "action", "cut" if self.mode == "gpt3" else "drop")
        if not (0 if self.mode == "gpt3" else 1) <= self.n <= 63:
            raise RecipeError(f"decontaminate.n is {self.n}; give 1 to 63, or 0 with mode gpt3: chosen for each set")
        check_limits(self, "decontaminate", min_words=NATURAL, min_overlap=NATURAL, max_dropped_share=SHARE)
        check_limits(self, "decontaminate", window=WHOLE, min_piece=WHOLE, max_pieces=WHOLE, max_documents=WHOLE)
        names = [chosen.name for chosen in self.sets]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise RecipeError(f"decontaminate: two sets are called {repeated[0]!r}; names must differ")
