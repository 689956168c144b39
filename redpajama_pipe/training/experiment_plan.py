"""conf/experiments/*/experiment.yaml: which corpus, which two recipes, which models; read without torch and Spark."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from redpajama_pipe import catalog
from redpajama_pipe.errors import CatalogError, RecipeError
from redpajama_pipe.settings.tree import apply_override, build

Arm = Literal["standard", "deduped"]
ARMS: tuple[Arm, ...] = ("standard", "deduped")
Varied = Literal["weights", "order"]


@dataclass(frozen=True)
class Corpus:
    """Which documents are trained on, and which are held out.

    Attributes:
        exclude_subsets: that are left out.
        longest: characters; a longer text becomes several documents, cut at line ends. 0: none is cut.
        documents: the first by a hash of their text and place; 0: all.
        held_out: share of them.
        planted_copies: how often a planted text stands in the training data.
        planted_documents: texts for each of these numbers.
        planted_longest: characters of a planted text at most; a third of it at least.
        threshold: Jaccard similarity of 5-word shingles from which a held-out document is in the training data.
        seed: of the hash that draws.
    """

    exclude_subsets: tuple[str, ...] = ()
    longest: int = 4000
    documents: int = 0
    held_out: float = 0.1
    planted_copies: tuple[int, ...] = ()
    planted_documents: int = 0
    planted_longest: int = 1500
    threshold: float = 0.8
    seed: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.held_out < 1:
            raise RecipeError(f"corpus.held_out is {self.held_out:g}; give a share between 0 and 1")
        if any(copies < 2 for copies in self.planted_copies):
            raise RecipeError(f"corpus.planted_copies is {list(self.planted_copies)}; give numbers of 2 or more")
        if not 0 < self.threshold <= 1:
            raise RecipeError(f"corpus.threshold is {self.threshold:g}; it must be above 0 and at most 1")


@dataclass(frozen=True)
class Experiment:
    """What is compared.

    Attributes:
        data: a folder of JSON lines; empty: the built-in sample.
        subset_field: of a line.
        standard, deduped: recipes of the two arms.
        model: an entry of conf/models or a file; `overrides` as `pretrain --set`.
        seeds: one model for each, of each setting.
        vary: what a seed decides: `weights`, the initial ones; `order`, the shuffles of the schedule. What is not
            named has the seed of the model's entry, or of the arm's recipe.
        steps: stop after so many; null: the standard arm's whole schedule.
        doubled: arms that are also trained with twice the batch and half the steps.
        probes: texts whose beginnings are asked for, at most.
        prompt, continuation: ids given, and asked for.
        threads: of torch.
    """

    title: str
    source: str
    standard: str
    deduped: str
    data: str = ""
    subset_field: str = ""
    corpus: Corpus = field(default_factory=Corpus)
    model: str = "tiny"
    overrides: tuple[str, ...] = ()
    seeds: tuple[int, ...] = (1,)
    vary: tuple[Varied, ...] = ("weights", "order")
    steps: int | None = None
    doubled: tuple[Arm, ...] = ()
    probes: int = 700
    prompt: int = 32
    continuation: int = 32
    threads: int = 2

    def __post_init__(self) -> None:
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise RecipeError(f"seeds is {list(self.seeds)}; give one or more, each once")
        if not self.vary or len(set(self.vary)) < len(self.vary):
            raise RecipeError(f"vary is {list(self.vary)}; give weights, order or both, each once")
        for name in ("probes", "prompt", "continuation", "threads"):
            if getattr(self, name) < 1:
                raise RecipeError(f"{name} is {getattr(self, name)}; give 1 or more")
        if self.steps is not None and self.steps < 2:
            raise RecipeError(f"steps is {self.steps}; give 2 or more, so that half of them is a number")

    @property
    def width(self) -> int:
        """Ids of a probe."""
        return self.prompt + self.continuation


@dataclass(frozen=True)
class Trial:
    """One model that is trained.

    Attributes:
        arm: whose shards are read.
        doubled: twice the batch, half the steps.
        seed: of what the experiment varies.
    """

    arm: Arm
    doubled: bool
    seed: int

    @property
    def setting(self) -> str:
        """The name that it shares with the trials of the other seeds."""
        return f"{self.arm}, batch doubled" if self.doubled else self.arm

    @property
    def folder(self) -> str:
        return f"{self.arm}{'_doubled' if self.doubled else ''}_seed{self.seed}"

    @property
    def order(self) -> str:
        """The name of its order of documents, which is the doubled trial's too."""
        return f"{self.arm}_seed{self.seed}"


def trials(experiment: Experiment) -> list[Trial]:
    """List the models, those that answer the main question first."""
    found = [Trial(arm, False, seed) for seed in experiment.seeds for arm in ARMS]
    return found + [Trial(arm, True, seed) for seed in experiment.seeds for arm in experiment.doubled]


def names() -> list[str]:
    """Name the experiments of conf/experiments, sorted."""
    found = [entry.split("/") for entry in catalog.entries("conf")]
    return [steps[1] for steps in found if len(steps) == 3 and (steps[0], steps[2]) == ("experiments", "experiment")]


def load(name: str, overrides: Sequence[str] = ()) -> Experiment:
    """Read an experiment by its name, or a file ending in .yaml, with `key=value` overrides.

    Raises:
        CatalogError: no such experiment; the message lists the ones there are.
        RecipeError: an unknown key, or a value of the wrong type or out of range.
    """
    known = names()
    if name not in known and not name.endswith((".yaml", ".yml")):
        raise CatalogError(f"no experiment {name!r}; there are: {', '.join(known)}")
    entry = catalog.load("conf", f"experiments/{name}/experiment" if name in known else name)
    tree = json.loads(json.dumps(entry))  # a deep copy of plain values
    for override in overrides:
        apply_override(tree, override)
    return build(Experiment, tree, name)
