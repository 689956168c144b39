"""A tokenizer by name: tokenize/*.yaml says which file it is, byte for byte, and what it must answer.

A tokenizer that differs in one merge gives shards nobody can compare, so a file is taken only when its sha256 is one
of those the entry lists. One tokenizer may have several files: the same vocabulary and merges, written differently.
"""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from redpajama_pipe import catalog, storage
from redpajama_pipe.errors import RecipeError, SetupError
from redpajama_pipe.settings.tree import build

# megatron/data/indexed_dataset.py, best_fitting_dtype (EleutherAI/gpt-neox): 65,500, not 65,536.
UINT16_VOCABULARY = 65_500

SpecialText = Literal["as_text", "as_special", "error"]
PADDING = ("<|padding|>", "<pad>", "<|pad|>", "[PAD]")


@dataclass(frozen=True)
class TokenizerFile:
    """One file that holds the tokenizer.

    Attributes:
        sha256: of the whole file.
        size: bytes.
        source: where it is published.
        repo: on the Hugging Face Hub; empty: not there.
        file: its name inside `repo`.
    """

    sha256: str
    size: int
    source: str
    repo: str = ""
    file: str = ""


@dataclass(frozen=True)
class Case:
    """Golden ids: `text` encoded alone, with nothing added before or after."""

    text: str
    ids: tuple[int, ...]


@dataclass(frozen=True)
class TokenizerSpec:
    """One entry of tokenize/.

    Attributes:
        name: the entry's name.
        kind: `hf_json` (a tokenizer.json of Hugging Face tokenizers) or `sentencepiece` (a .model).
        source: who made it, and the paper or repository.
        eod: the end-of-document token.
        eod_id: its id.
        vocab_size: the tokenizer's own size with added tokens, unpadded; 0: ask the encoder, training decides.
        special_ids: every special token and its id.
        padded_sizes: rows of the embedding in published models, by model or by degree of model parallelism.
        trained: the recipe trains it; then there is no file to find and no hash.
        algorithm: of a trained one: `bpe`, or `unigram` (sentencepiece alone).
        special_tokens_in_text: what a text that spells a special token gives: `as_special` its id, `as_text` the ids of
            its characters, `error` stops. None: as the published libraries do, as_special for hf_json and as_text for
            sentencepiece. Cases are checked as published.
        files: the files that hold it, the canonical one first.
        cases: what it must answer; checked whenever an encoder is opened.
    """

    name: str
    kind: Literal["hf_json", "sentencepiece"]
    source: str
    eod: str
    eod_id: int
    vocab_size: int = 0
    special_ids: Mapping[str, int] = field(default_factory=dict)
    padded_sizes: Mapping[str, int] = field(default_factory=dict)
    trained: bool = False
    algorithm: Literal["bpe", "unigram"] = "bpe"
    special_tokens_in_text: SpecialText | None = None
    files: tuple[TokenizerFile, ...] = ()
    cases: tuple[Case, ...] = ()

    @property
    def pad_id(self) -> int:
        """What fills a packed sequence: the padding token's id, or the end-of-document token's where there is none."""
        return next((self.special_ids[name] for name in PADDING if name in self.special_ids), self.eod_id)

    @property
    def model_suffix(self) -> str:
        """How the name of its file ends."""
        return ".json" if self.kind == "hf_json" else ".model"

    @property
    def sha256(self) -> str:
        """Hash of the canonical file; empty for a trained tokenizer."""
        return self.files[0].sha256 if self.files else ""


def load_spec(name: str) -> TokenizerSpec:
    """Read an entry of tokenize/, or a file when `name` is a path ending in .yaml.

    Raises:
        CatalogError: no such entry.
        RecipeError: an unknown or missing key, or keys that contradict each other.
    """
    where = f"tokenize/{name}"
    tree: dict[str, Any] = {"name": Path(name).stem, **catalog.load("tokenize", name)}
    spec = build(TokenizerSpec, tree, where)
    if spec.trained and (spec.files or spec.cases):
        raise RecipeError(f"{where}: a trained tokenizer has no files and no cases")
    if spec.kind == "hf_json" and spec.algorithm != "bpe":
        raise RecipeError(f"{where}: algorithm is {spec.algorithm}, which kind sentencepiece alone has")
    if not spec.trained and (not spec.files or not spec.vocab_size):
        raise RecipeError(f"{where}: files and vocab_size are needed, or trained: true")
    if spec.special_ids.get(spec.eod, spec.eod_id) != spec.eod_id:
        raise RecipeError(f"{where}: eod_id is {spec.eod_id}, special_ids say {spec.special_ids[spec.eod]}")
    return spec


def token_dtype(vocab_size: int) -> np.dtype[Any]:
    """Return how a token is stored: uint16 below 65,500 tokens, else int32.

    Args:
        vocab_size: the tokenizer's own size with added tokens, not the padded one.

    Source: EleutherAI/gpt-neox, megatron/data/indexed_dataset.py, best_fitting_dtype.
    """
    return np.dtype("<u2") if vocab_size < UINT16_VOCABULARY else np.dtype("<i4")


def find_file(spec: TokenizerSpec, path: str = "") -> Path:
    """Find the tokenizer's file and check its hash.

    Args:
        spec: which tokenizer.
        path: the file, or a folder that has it under any name; empty: the Hugging Face cache, then the Hub, which
            needs the package huggingface_hub.

    Raises:
        SetupError: there is no such file, or its sha256 is not one the entry lists.
    """
    if path:
        return _given(spec, Path(path))
    if spec.trained:
        raise SetupError(
            f"{spec.name}: this tokenizer is trained by the recipe; set tokenize.path to its {spec.model_suffix}"
        )
    for candidate in _cached(spec):
        if _matches(spec, candidate):
            return candidate
    return _checked(spec, _fetch(spec))


def _given(spec: TokenizerSpec, path: Path) -> Path:
    if path.is_dir():
        files = sorted(item for item in path.iterdir() if item.is_file())
        if spec.trained:
            files = [item for item in files if item.suffix == spec.model_suffix and not item.name.startswith("_")]
        for item in files:
            if _matches(spec, item):
                return item
        wanted = spec.sha256 or f"a {spec.model_suffix} file"
        raise SetupError(f"{spec.name}: no file in {path} is this tokenizer; expected {wanted}")
    if not path.is_file():
        raise SetupError(f"{spec.name}: no tokenizer file {path}; set tokenize.path, or leave it empty to fetch one")
    return _checked(spec, path)


def _matches(spec: TokenizerSpec, path: Path) -> bool:
    if spec.trained:
        return True
    size = path.stat().st_size
    return any(file.size == size and file.sha256 == storage.sha256(str(path)) for file in spec.files)


def _checked(spec: TokenizerSpec, path: Path) -> Path:
    if not _matches(spec, path):
        known = " or ".join(file.sha256 for file in spec.files)
        raise SetupError(f"{spec.name}: {path} has sha256 {storage.sha256(str(path))}; expected {known}")
    return path


def _hub_cache() -> Path:
    # The layout and the variables of huggingface_hub, which need not be installed.
    cache = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    if cache:
        return Path(cache).expanduser()
    home = os.environ.get("HF_HOME") or "~/.cache/huggingface"
    return Path(home).expanduser() / "hub"


def _cached(spec: TokenizerSpec) -> Iterator[Path]:
    for file in spec.files:
        if file.repo:
            snapshots = _hub_cache() / f"models--{file.repo.replace('/', '--')}" / "snapshots"
            yield from (path for path in sorted(snapshots.glob(f"*/{file.file}")) if path.is_file())


def _fetch(spec: TokenizerSpec) -> Path:
    """Fetch the first file that the Hub has."""
    try:
        hub = importlib.import_module("huggingface_hub")
    except ImportError:
        raise _not_there(spec, "huggingface_hub, which could fetch one, is not installed") from None
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it tells each of its attempts
    for file in spec.files:
        if not file.repo:
            continue
        try:
            return Path(hub.hf_hub_download(file.repo, file.file))
        except (ConnectionError, FileNotFoundError) as error:  # so it would be for the other files
            raise _not_there(spec, "the Hub cannot be reached") from error
        except (OSError, ValueError):  # every other error of huggingface_hub is one of the two
            continue
    raise _not_there(spec, "the Hub has none that may be read")


def _not_there(spec: TokenizerSpec, why: str) -> SetupError:
    return SetupError(
        f"{spec.name}: no tokenizer file in {_hub_cache()}, and {why}; get it from {spec.files[0].source} and set "
        "tokenize.path to it"
    )
