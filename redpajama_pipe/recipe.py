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
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Literal, TypeVar, Union

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
        paths: files or glob patterns (`**` too), local or any URL fsspec opens.
        root: document ids are made from paths relative to it, so that they do not change when the corpus moves;
            empty: from the whole path.
        exclude: patterns of file names to leave out.
        extractor: HTML to text: `resiliparse`, `trafilatura` or `plain`.
        text_field: jsonl: where the text is; dots descend.
        subset_field: jsonl: a label to keep as `subset`, such as meta.pile_set_name.
        language: declared for every document of the source; a Wikipedia dump declares its own by its file name.
        wikitext: `rpv1`, the cleaning of the published RedPajama and Hugging Face sets.
        max_document_bytes: a larger record goes to quarantine, `too_large`.
        max_quarantined_share: the run stops when more of the source's records cannot be read.
    """

    name: str
    kind: Literal["warc", "wet", "wikipedia", "jsonl"]
    paths: tuple[str, ...]
    root: str = ""
    exclude: tuple[str, ...] = ()
    extractor: Literal["resiliparse", "trafilatura", "plain"] = "resiliparse"
    text_field: str = "text"
    subset_field: str | None = None
    language: str | None = None
    wikitext: Literal["rpv1"] = "rpv1"
    max_document_bytes: int = 256 << 20
    max_quarantined_share: float = 0.05


@dataclass(frozen=True)
class MinHash:
    """What a signature is; see dedup.minhash.MinHashSpec, which this becomes.

    The default, 14 bands of 8 rows over 5-word shingles, is FineWeb's (Penedo et al. 2024, arXiv:2406.17557).
    """

    bands: int = 14
    rows: int = 8
    shingle: int = 5
    normalization: str = "words"
    scheme: str = "affine32"
    seed: int = 1


@dataclass(frozen=True)
class Annotate:
    """The one pass over the text.

    Attributes:
        language_model: path of fastText's lid.176.ftz or .bin, or `lid.176` to find an installed copy.
        minhash: the signature that dedup will use.
        signals: names of signals or families to store beside Gopher's and those that the rule sets read.
        word_lists: folder of the word lists that some signals need; empty: look in the usual places.
    """

    language_model: str = "lid.176"
    signals: tuple[str, ...] = ()
    word_lists: str = ""
    minhash: MinHash = field(default_factory=MinHash)


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
class Dedup:
    """Exact, then near-duplicates.

    Attributes:
        exact: drop documents whose text is byte-equal to a kept one.
        near: drop documents whose shingles have a Jaccard similarity of at least `threshold` with a kept one.
        threshold: exact Jaccard on the shingle sets; 0.8 as Lee et al. 2021 (arXiv:2107.06499).
        keep_order: SQL over the documents' columns; the first document in this order is the one that stays.
            `source_rank` is the position of the source in the recipe. doc_id always breaks ties.
        driver_edges: up to this many edges, components are found on the driver by SciPy.
        max_component: the run stops when more documents than this hang together.
        max_bucket: the run stops when more documents than this share one band.
        max_dropped_share: the run stops when a source loses more of its documents to deduplication.
    """

    exact: bool = True
    near: bool = True
    threshold: float = 0.8
    keep_order: str = "source_rank, char_count desc"
    driver_edges: int = 5_000_000
    max_component: int = 100_000
    max_bucket: int = 1_000_000
    max_dropped_share: float = 0.9


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
    """

    tokenizer: str = "gpt_neox_20b"
    path: str = ""
    append_eod: bool = True
    shard_bytes: int = 2 << 30
    train_bytes: int = 64 << 20
    vocab_size: int = 32_000


@dataclass(frozen=True)
class Schedule:
    """The order in which training reads the shards.

    Attributes:
        seq_len: predicted tokens a sequence; each holds one id more.
        batch_size: sequences a step.
        epochs: one schedule is written for each number; 1.5 reads every document once and half of them twice
            (sequential_epochs), or as GPT-NeoX does with two jointly shuffled epochs cut short (joint_shuffle).
        mode: `joint_shuffle` (GPT-NeoX, Pythia) or `sequential_epochs`.
        seed: Pythia's main runs used 1234.
    """

    seq_len: int = 2048
    batch_size: int = 1024
    epochs: tuple[float, ...] = (1.0, 1.5)
    mode: Literal["joint_shuffle", "sequential_epochs"] = "joint_shuffle"
    seed: int = 1234


@dataclass(frozen=True)
class Execution:
    """How the work is cut up. Nothing here changes a byte of the documents, decisions, shards or schedules.

    Attributes:
        partitions: Spark tasks a stage; 0: as many as there are cores or files.
        spark: any spark.* settings.
    """

    partitions: int = 0
    spark: Mapping[str, str] = field(default_factory=dict)


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
    tokenize: Tokenize = field(default_factory=Tokenize)
    schedule: Schedule = field(default_factory=Schedule)
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
        _override(tree, override)
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


def _override(tree: dict[str, Any], override: str) -> None:
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
        return _convert(next(a for a in arguments if a is not type(None)), value, where)
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
