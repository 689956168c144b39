"""A recipe: conf/*.yaml as frozen dataclasses. Unknown keys are errors that list the known ones.

`${name}` in any string is replaced from `vars`, which `--set vars.name=...` overrides. The resolved recipe, with
every default written out, stands beside each output as recipe.yaml; its hash is part of every manifest.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import types
import typing
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, ClassVar, Literal, TypeVar, Union

import yaml

from redpajama_pipe import catalog
from redpajama_pipe.errors import RecipeError

T = TypeVar("T")


@dataclass(frozen=True)
class Source:
    """One input: files of one kind, counted and reported under one name.

    Attributes:
        name: RedPajama calls it a slice.
        kind: `warc` (WARC and ARC with HTTP responses, also any WET records in them), `wet`, `wikipedia`, `jsonl`.
        paths: files or glob patterns (`**` too), local or any URL fsspec opens; over http single files.
        snapshot: instead of paths: a crawl of Common Crawl, such as CC-MAIN-2023-06; `kind` says which of its files.
        fraction: of the snapshot's files, above 0 and up to 1; chosen by a hash of snapshot and path, so that a larger
            fraction holds a smaller one, and a `wet` source has the pages of the `warc` files of the same fraction.
        base: what crawl-data/ lies in: https://data.commoncrawl.org, s3://commoncrawl, or a folder that mirrors them.
            Document ids do not depend on it.
        root: document ids are made from paths relative to it, so that they do not change when the corpus moves;
            empty: from the whole path. Those of a snapshot are made from crawl-data/… without it.
        exclude: patterns of file names to leave out.
        extractor: HTML to text: `resiliparse`, `trafilatura` or `plain`.
        text_field: jsonl: where the text is; dots descend.
        subset_field: jsonl: a label to keep as `subset`, such as meta.pile_set_name.
        language: declared for every document of the source; a Wikipedia dump declares its own by its file name.
        wikitext: `plain`, clean text for pretraining (docs/wikipedia.md); or `rpv1`, the cleaning of the published
            RedPajama and Hugging Face sets.
        math: wikitext plain: formulas are kept as $TeX$, or dropped.
        max_document_bytes: a larger record goes to quarantine, `too_large`.
        max_quarantined_share: the run stops when more of the source's records cannot be read.
        allow_failed_files: go on without files that cannot be read as a whole, each one a row in quarantine, up to
            max_quarantined_share of the files; the next run tries them again. Else they stop the run, after the others.
        wiki_date: wikipedia: download the dumps of this date, such as 20240101, before anything is read, or those that
            were finished last, `latest`; `paths` is then the one local folder to keep them in. Empty: download none.
        languages: wikipedia: of which Wikipedias, by the codes of their languages.
        dump_mirror: wikipedia: the server to download from.
    """

    name: str
    kind: Literal["warc", "wet", "wikipedia", "jsonl"]
    paths: tuple[str, ...] = ()
    snapshot: str = ""
    fraction: float = 1.0
    base: str = "https://data.commoncrawl.org"
    root: str = ""
    exclude: tuple[str, ...] = ()
    extractor: Literal["resiliparse", "trafilatura", "plain"] = "resiliparse"
    text_field: str = "text"
    subset_field: str | None = None
    language: str | None = None
    wikitext: Literal["plain", "rpv1"] = "plain"
    math: Literal["keep", "drop"] = "keep"
    max_document_bytes: int = 256 << 20
    max_quarantined_share: float = 0.05
    allow_failed_files: bool = False
    wiki_date: str = ""
    languages: tuple[str, ...] = ()
    dump_mirror: str = "https://dumps.wikimedia.org"

    def __post_init__(self) -> None:
        where = f"sources.{self.name}"
        if bool(self.paths) == bool(self.snapshot):
            found = "both paths and a snapshot; leave one out" if self.paths else "no paths and no snapshot; give one"
            raise RecipeError(f"{where} has {found}")
        if not 0 < self.fraction <= 1:
            raise RecipeError(f"{where}.fraction is {self.fraction:g}; give a number above 0 and up to 1")
        if not self.snapshot:
            for key in ("fraction", "base"):
                if getattr(self, key) != getattr(type(self), key):
                    raise RecipeError(f"{where}.{key} is for a snapshot; give a snapshot, or leave {key} out")
            return
        if self.kind not in ("warc", "wet"):
            raise RecipeError(f"{where}.kind is {self.kind!r}; a snapshot of Common Crawl has warc and wet files")
        if self.root:
            raise RecipeError(f"{where}.root is for paths; with a snapshot, base says where crawl-data/ lies")
        if not re.fullmatch(r"CC-[A-Z]+[A-Z0-9-]*(/\d+)*", self.snapshot):
            raise RecipeError(f"{where}.snapshot is {self.snapshot!r}; write it as CC-MAIN-2023-06 (year and week)")


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
        artifacts: folder of RedPajama-V2's models and URL lists, for its signals that need them.
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


@dataclass(frozen=True)
class Lines:
    """Repeated text inside documents that stay, cut out of them. docs/dedup.md says what each mode keeps.

    Attributes:
        mode: `none`; `first`: of each unit the first copy in keep order stays, in the whole corpus; `ccnet`: a line
            that two documents of a group of files have goes from both, as CCNet does (arXiv:1911.00359); `c4`: all but
            the first copy of any three sentences in a row go, as C4 (arXiv:1910.10683).
        unit: mode first: `line`, or `paragraph`: lines up to a blank one.
        min_chars: mode first: a unit whose normalised text has fewer characters stays: a heading, a brace. No source.
        group_files: mode ccnet: input files of a group, in the order of the corpus; cc_net's default is 50 shards,
            RedPajama-v1 took 1.
    """

    mode: Literal["none", "first", "ccnet", "c4"] = "none"
    unit: Literal["line", "paragraph"] = "line"
    min_chars: int = 20
    group_files: int = 50

    def __post_init__(self) -> None:
        if self.group_files < 1:
            raise RecipeError(f"dedup.lines.group_files is {self.group_files}; give 1 or more")


@dataclass(frozen=True)
class Dedup:
    """Exact, then near-duplicates. docs/dedup.md says what each choice means and costs.

    Attributes:
        exact: drop documents that are equal to a kept one in their text (`text`, or true), their text but for case and
            white space (`normalized_text`), their address (`url`), or the archive's digest of them (`digest`), decided
            in the order of this list.
        near: drop near-duplicates of a kept document, as `verify` and `survivors` define them.
        verify: what two documents that share a band must have at least `threshold` of: `jaccard`, of their shingle
            sets; `containment`, the share of the later one's shingles that the earlier one has; `estimate`, the share
            of equal values in their signatures, for which no text is read; `none`: nothing, a shared band will do.
        threshold: 0.8 as Lee et al. 2021 (arXiv:2107.06499).
        survivors: `walk`: a document is dropped when, and only when, it is a verified near-duplicate of an earlier
            document that stays. `components`: the first document of each connected component stays, as in published
            pipelines; others go although they may resemble it only through a chain.
        keep_order: SQL over the documents' columns; the first document in this order is the one that stays.
            `source_rank` is the position of the source in the recipe. doc_id always breaks ties.
        driver_edges: up to this many edges, components are found on the driver by SciPy.
        component_bytes: a component whose shingles take more is decided from a temporary file. Changes no decision.
        max_component: the run stops when more documents than this hang together.
        max_bucket: the run stops when more documents than this share one band.
        max_dropped_share: the run stops when a source loses more of its documents to deduplication.
        lines: repeated lines and paragraphs inside documents that stay.
        against: earlier runs, or their dedup_index/: a document that equals one of theirs, or is a verified
            near-duplicate of it, is dropped, and theirs stays. They are only read.
        write_index: write dedup_index/ of the documents that stay, for later runs. With `against`, of the new ones.
    """

    exact: bool | tuple[Literal["text", "normalized_text", "url", "digest"], ...] = True
    near: bool = True
    verify: Literal["jaccard", "containment", "estimate", "none"] = "jaccard"
    threshold: float = 0.8
    survivors: Literal["walk", "components"] = "walk"
    keep_order: str = "source_rank, char_count desc"
    driver_edges: int = 5_000_000
    component_bytes: int = 256 << 20
    max_component: int = 100_000
    max_bucket: int = 1_000_000
    max_dropped_share: float = 0.9
    lines: Lines = field(default_factory=Lines)
    against: tuple[str, ...] = ()
    write_index: bool = False

    def __post_init__(self) -> None:
        if len(set(self.exact_keys)) < len(self.exact_keys):
            raise RecipeError(f"dedup.exact: a key is given twice in {', '.join(self.exact_keys)}")
        if not 0.0 < self.threshold <= 1.0:
            raise RecipeError(f"dedup.threshold is {self.threshold:g}; it must be above 0 and at most 1")
        if self.component_bytes < 0:
            raise RecipeError(f"dedup.component_bytes is {self.component_bytes}; 0 puts all shingles into files")

    @property
    def exact_keys(self) -> tuple[str, ...]:
        """What documents are compared by, in order; () for nothing."""
        if isinstance(self.exact, bool):
            return ("text",) if self.exact else ()
        return self.exact


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
        for name in ("min_words", "min_overlap"):
            if getattr(self, name) < 1:
                raise RecipeError(f"decontaminate.{name} is {getattr(self, name)}; give 1 or more")
        for name in ("window", "min_piece", "max_pieces", "max_documents"):
            if getattr(self, name) < 0:
                raise RecipeError(f"decontaminate.{name} is {getattr(self, name)}; give 0 or more")
        names = [chosen.name for chosen in self.sets]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise RecipeError(f"decontaminate: two sets are called {repeated[0]!r}; names must differ")


@dataclass(frozen=True)
class Tokenize:
    """Kept text to token shards.

    Attributes:
        tokenizer: an entry of tokenize/, or a path ending in .yaml.
        path: where the tokenizer's file is; empty: look in the Hugging Face cache, then fetch it.
        append_eod: one end-of-document id after each document, as `--append-eod` of GPT-NeoX's preprocess_data.
        shard_bytes: a shard takes whole document parts until it holds this much text, in bytes of UTF-8.
        train_bytes: for a tokenizer trained by the recipe: how much kept text it is trained on.
        vocab_size: for a tokenizer trained by the recipe.
        special_tokens_in_text: a text that spells a special token: `as_special`, `as_text` or `error`; nothing: what
            the tokenizer's entry says, see tokens/spec.py.
    """

    tokenizer: str = "gpt_neox_20b"
    path: str = ""
    append_eod: bool = True
    shard_bytes: int = 2 << 30
    train_bytes: int = 64 << 20
    vocab_size: int = 32_000
    special_tokens_in_text: Literal["as_text", "as_special", "error"] | None = None


@dataclass(frozen=True)
class Schedule:
    """The order in which training reads the shards.

    Attributes:
        seq_len: predicted tokens a sequence; each holds one id more.
        batch_size: sequences a step.
        epochs: one schedule is written for each number; 1.5 reads every document once and half of them twice
            (sequential_epochs), or as GPT-NeoX does with two jointly shuffled epochs cut short (joint_shuffle).
            1 and 1.5 where neither this nor `steps` is given.
        steps: instead of epochs: optimiser steps, for which as many epochs are shuffled as GPT-NeoX would.
        mode: `joint_shuffle` (GPT-NeoX, Pythia), `megatron` (Megatron-LM: the last epoch by itself when little of it is
            used) or `sequential_epochs` (the last epoch always by itself).
        packing: `concat` (GPT-NeoX: documents one after the other, cut where a sequence ends), `best_fit` (no document
            that fits is cut; padding) or `document` (one document a sequence; padding); see tokens/packing.py.
        separate_below: mode megatron: how much of the last epoch must be used for it to be shuffled with the others;
            0.8 in NVIDIA/Megatron-LM, 0.95 in bigscience-workshop/Megatron-DeepSpeed.
        split: weights of train, valid and test, such as `969,30,1`: the first documents are scheduled, the others
            held out. Empty: all are scheduled.
        blend: weights of sources or subsets, by name; each is shuffled by itself, and each turn reads the one that lags
            most behind its weight. Documents of others are left out. Empty: all documents as one.
        seed: Pythia's main runs used 1234.
    """

    seq_len: int = 2048
    batch_size: int = 1024
    epochs: tuple[float, ...] | None = None
    steps: int | None = None
    mode: Literal["joint_shuffle", "megatron", "sequential_epochs"] = "joint_shuffle"
    packing: Literal["concat", "best_fit", "document"] = "concat"
    separate_below: float = 0.8
    split: str = ""
    blend: Mapping[str, float] = field(default_factory=dict)
    seed: int = 1234

    def __post_init__(self) -> None:
        if self.steps is None and self.epochs is None:
            object.__setattr__(self, "epochs", (1.0, 1.5))
        if self.steps is not None and self.epochs:
            raise RecipeError("schedule: epochs and steps are both given; one of them says how long training is")
        if self.steps is not None and self.steps < 1:
            raise RecipeError(f"schedule.steps is {self.steps}; give 1 or more")
        for name in ("seq_len", "batch_size"):
            if getattr(self, name) < 1:
                raise RecipeError(f"schedule.{name} is {getattr(self, name)}; give 1 or more")


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


@dataclass(frozen=True)
class Execution:
    """How the work is cut up. Nothing here changes a byte of the documents, decisions, shards or schedules.

    Attributes:
        partitions: Spark tasks a stage; 0: as many as there are cores or files.
        read_attempts: requests for one place in a remote file before the file is given up (see sources.remote).
        read_timeout: seconds to wait for a server's next bytes.
        read_backoff: seconds before the second attempt, doubled each time; Common Crawl asks for one at least
            (https://status.commoncrawl.org).
        read_backoff_limit: seconds, the longest wait between two attempts.
        spark: any spark.* settings.
    """

    partitions: int = 0
    read_attempts: int = 12
    read_timeout: float = 60.0
    read_backoff: float = 1.0
    read_backoff_limit: float = 60.0
    spark: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        limits = {"read_attempts": 1, "read_timeout": 0.001, "read_backoff": 0, "read_backoff_limit": 0}
        for name, least in limits.items():
            if not getattr(self, name) >= least:
                raise RecipeError(f"execution.{name} is {getattr(self, name):g}; give {least} or more")


@dataclass(frozen=True)
class Recipe:
    """A whole run.

    Attributes:
        name: of the run, in reports.
        sources: in order of preference where the keep order says source_rank.
        title: one line, for lists.
        vars: what ${name} stands for.
        part_bytes: a document part is closed when it holds this much text, in bytes of UTF-8.
        gate_documents: the limits on what a source or language may lose are for those with at least so many documents.
    """

    name: str
    sources: tuple[Source, ...]
    title: str = ""
    vars: Mapping[str, str] = field(default_factory=dict)
    part_bytes: int = 256 << 20
    gate_documents: int = 100
    annotate: Annotate = field(default_factory=Annotate)
    filter: Filter = field(default_factory=Filter)
    dedup: Dedup = field(default_factory=Dedup)
    decontaminate: Decontaminate = field(default_factory=Decontaminate)
    tokenize: Tokenize = field(default_factory=Tokenize)
    schedule: Schedule = field(default_factory=Schedule)
    quality: Quality = field(default_factory=Quality)
    perplexity: Perplexity = field(default_factory=Perplexity)
    execution: Execution = field(default_factory=Execution)

    def source(self, name: str) -> Source:
        """Return the source of this name."""
        return next(source for source in self.sources if source.name == name)


def load(name: str, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe from conf/ or a file, with `key=value` overrides.

    Args:
        name: an entry of conf/, or a path ending in .yaml.
        overrides: dotted keys, `dedup.threshold=0.9`; a source is addressed by its name,
            `sources.pile.paths=[a.jsonl.zst]`. Values are YAML.

    Raises:
        RecipeError: an unknown key, a value of the wrong type, an undefined ${variable}.
        CatalogError: no such recipe.
    """
    tree = json.loads(json.dumps(catalog.load("conf", name)))  # a deep copy of plain values
    for override in overrides:
        apply_override(tree, override)
    variables = {str(key): str(value) for key, value in (tree.get("vars") or {}).items()}
    recipe = from_tree(_substitute(tree, variables), name)
    names = [source.name for source in recipe.sources]
    repeated = sorted({source for source in names if names.count(source) > 1})
    if repeated:
        raise RecipeError(f"{name}: two sources are called {repeated[0]!r}; names must differ")
    return recipe


def from_tree(tree: Mapping[str, Any], where: str) -> Recipe:
    """Build a recipe from plain values, as YAML gives them; `where` begins the error messages."""
    return build(Recipe, tree, where)


def to_tree(value: Any) -> Any:
    """Turn a recipe, or a part of one, into plain values with every default written out."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_tree(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: to_tree(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_tree(item) for item in value]
    return value


def to_yaml(recipe: Recipe) -> str:
    """Write the resolved recipe as YAML that `load` reads back to an equal one."""
    return yaml.safe_dump(to_tree(recipe), sort_keys=False, allow_unicode=True)


def digest(value: Any) -> str:
    """Hash a recipe, a part of one, or any tree of plain values: sha256 of its canonical JSON."""
    text = json.dumps(to_tree(value), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def apply_override(tree: dict[str, Any], override: str) -> None:
    """Change a tree of plain values by one `key=value`; keys are dotted, a list's items go by their `name`.

    Raises:
        RecipeError: it is not of that form, or the key leads nowhere.
    """
    key, equals, text = override.partition("=")
    if not equals:
        raise RecipeError(f"--set {override!r}: write key=value, such as dedup.threshold=0.9")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RecipeError(f"--set {override!r}: the value is not valid YAML") from error
    steps = key.split(".")
    at: Any = tree
    for index, step in enumerate(steps):
        if isinstance(at, list):
            named = [item for item in at if isinstance(item, dict) and item.get("name") == step]
            if not named:
                known = ", ".join(str(item.get("name")) for item in at)
                raise RecipeError(f"--set {override!r}: no source {step!r}; there are: {known}")
            at = named[0]
        elif index == len(steps) - 1:
            at[step] = value
        else:
            if at.get(step) is None:
                at[step] = {}
            at = at[step]
        if not isinstance(at, (dict, list)):
            raise RecipeError(f"--set {override!r}: {'.'.join(steps[: index + 1])} is a value, not a group of keys")


def _substitute(value: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _substitute(item, variables) for key, item in value.items()}
    if isinstance(value, list):
        return [_substitute(item, variables) for item in value]
    if not isinstance(value, str):
        return value

    def replace(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in variables:
            raise RecipeError(f"${{{name}}} is not defined; vars defines: {', '.join(variables) or 'nothing'}")
        return variables[name]

    return re.sub(r"\$\{(\w+)\}", replace, value)


def build(kind: type[T], tree: Any, where: str) -> T:
    """Build a frozen dataclass from plain values; errors begin with `where`.

    Raises:
        RecipeError: an unknown or missing key, or a value of the wrong type.
    """
    if not isinstance(tree, Mapping):
        raise RecipeError(f"{where}: expected a group of keys, found {tree!r}")
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for key in tree:
        if key not in fields:
            near = get_close_matches(str(key), fields, 1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise RecipeError(f"{where}: unknown key {key!r}{hint}; known: {', '.join(fields)}")
    hints = typing.get_type_hints(kind)
    values = {key: _convert(hints[key], item, f"{where}: {key}") for key, item in tree.items()}
    missing = [
        f.name
        for f in fields.values()
        if f.name not in values and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise RecipeError(f"{where}: missing key {missing[0]!r}")
    return kind(**values)


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        return build(typing.cast(type, hint), value, where)
    if origin is Literal:
        if value not in arguments:
            raise RecipeError(f"{where}: {value!r} is not one of {', '.join(map(str, arguments))}")
        return value
    if origin in (Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        *others, last = (a for a in arguments if a is not type(None))
        for other in others:  # the last one says what is wrong
            with suppress(RecipeError):
                return _convert(other, value, where)
        return _convert(last, value, where)
    if origin is tuple:
        if not isinstance(value, list):
            raise RecipeError(f"{where}: expected a list, found {value!r}")
        return tuple(_convert(arguments[0], item, f"{where}[{index}]") for index, item in enumerate(value))
    if origin is not None and issubclass(origin, Mapping):
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            raise RecipeError(f"{where}: expected a group of keys, found {value!r}")
        return {str(key): _convert(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is str and isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise RecipeError(f"{where}: expected {hint.__name__}, found {value!r}")
    return value
