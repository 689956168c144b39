"""A recipe: conf/*.yaml as frozen dataclasses. Unknown keys are errors that list the known ones.

`${name}` in any string is replaced from `vars`, which `--set vars.name=...` overrides. The resolved recipe, with
every default written out, stands beside each output as recipe.yaml; its hash is part of every manifest.
"""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from redpajama_pipe import catalog
from redpajama_pipe.errors import RecipeError
from redpajama_pipe.settings.annotate import Annotate, Filter
from redpajama_pipe.settings.decontaminate import Decontaminate
from redpajama_pipe.settings.dedup import Dedup
from redpajama_pipe.settings.limits import NATURAL, WHOLE, check_limits
from redpajama_pipe.settings.models import Importance, Perplexity, Quality
from redpajama_pipe.settings.source import Source
from redpajama_pipe.settings.tokens import Schedule, Tokenize
from redpajama_pipe.settings.tree import apply_override, build, to_tree


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
        check_limits(self, "execution", partitions=WHOLE, read_attempts=NATURAL, read_timeout=(0.001, math.inf))
        check_limits(self, "execution", read_backoff=WHOLE, read_backoff_limit=WHOLE)


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
    importance: Importance = field(default_factory=Importance)
    execution: Execution = field(default_factory=Execution)

    def __post_init__(self) -> None:
        if not self.name:
            raise RecipeError("name is empty; reports are headed by it")
        check_limits(self, "", part_bytes=NATURAL, gate_documents=WHOLE)

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
    tree = dict(copy.deepcopy(catalog.load("conf", name)))
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


def to_yaml(recipe: Recipe) -> str:
    """Write the resolved recipe as YAML that `load` reads back to an equal one."""
    return yaml.safe_dump(to_tree(recipe), sort_keys=False, allow_unicode=True)


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

    return re.sub(r"\$\{([^{}]*)\}", replace, value)
