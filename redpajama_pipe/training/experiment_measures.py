"""The arithmetic of an experiment: means with standard errors over seeds, groups by exposure, and parts of training.

Needs neither torch nor a run.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from redpajama_pipe.errors import InputError

# Where in training a text was read: name → from which share of the steps on, and below which.
PARTS = {"first tenth": (0.0, 0.1), "middle tenth": (0.45, 0.55), "last tenth": (0.9, 1.0)}


@dataclass(frozen=True)
class Mean:
    """A mean over seeds.

    Attributes:
        mean: of the values.
        error: the standard error, from the sample's standard deviation; None: one value has none.
        n: values.
    """

    mean: float
    error: float | None
    n: int

    def __str__(self) -> str:
        return f"{self.mean:.3f}" if self.error is None else f"{self.mean:.3f} ± {self.error:.3f}"


def mean(values: Sequence[float]) -> Mean:
    """Take the mean and its standard error.

    Raises:
        ValueError: there is no value.
    """
    if not values:
        raise ValueError("no value to take the mean of")
    centre = math.fsum(values) / len(values)
    if len(values) == 1:
        return Mean(centre, None, 1)
    variance = math.fsum((value - centre) ** 2 for value in values) / (len(values) - 1)
    return Mean(centre, math.sqrt(variance / len(values)), len(values))


def difference(ours: Mapping[int, float], theirs: Mapping[int, float]) -> Mean:
    """Take the mean difference, seed by seed, over the seeds that both have."""
    return mean([ours[seed] - theirs[seed] for seed in sorted(ours.keys() & theirs.keys())])


def exposure_group(times: int) -> str:
    """Name the group of an exposure: 0, 1, 2, 3-4, 5-8, 9-16 …"""
    if times <= 2:
        return str(times)
    high = 1 << (times - 1).bit_length()
    return f"{high // 2 + 1}-{high}"


def group_order(name: str) -> int:
    """Sort groups of exposures by their first number."""
    return int(name.split("-")[0])


def part_of(step: int, steps: int) -> str | None:
    """Name the part of training that a step is in; None: it is in none of PARTS.

    Args:
        step: from 0.
        steps: of the whole training.
    """
    share = step / steps
    return next((name for name, (low, high) in PARTS.items() if low <= share < high), None)


def against_elsewhere(by_seed: Mapping[int, Sequence[Mapping[str, Any]]]) -> dict[int, list[float | None]]:
    """Compare the loss of each text with that of the same text in models that read it elsewhere.

    Args:
        by_seed: seed → probes, in the same order for every seed: once (read so often, in one sequence), part and loss.

    Returns:
        seed → for each probe its loss minus the mean loss over the other seeds that read it once too, in another part
        of training or in none of PARTS; None: it was not read once, in one of PARTS, or there is no such seed.
    """
    found: dict[int, list[float | None]] = {}
    for seed, probes in by_seed.items():
        found[seed] = []
        for at, probe in enumerate(probes):
            others = [rows[at] for other, rows in by_seed.items() if other != seed]
            losses = [row["loss"] for row in others if row["once"] and row["part"] != probe["part"]]
            asked = probe["once"] and probe["part"] is not None and losses
            found[seed].append(probe["loss"] - math.fsum(losses) / len(losses) if asked else None)
    return found


def match(probes: NDArray[Any], beginnings: NDArray[Any]) -> list[list[int]]:
    """Join probes to the documents that begin with them.

    Args:
        probes: (probes, width) ids.
        beginnings: (documents, width) ids.

    Returns:
        For each probe the numbers of the documents, ascending.
    """
    if probes.shape[1:] != beginnings.shape[1:]:
        raise ValueError(f"probes have {probes.shape[1]} ids, documents begin with {beginnings.shape[1]}")
    places: dict[bytes, list[int]] = defaultdict(list)
    for number, row in enumerate(np.ascontiguousarray(beginnings, np.int64)):
        places[row.tobytes()].append(number)
    return [places.get(row.tobytes(), []) for row in np.ascontiguousarray(probes, np.int64)]


def choose_probes(held_out: NDArray[np.bool_], repeated: NDArray[np.bool_], most: int) -> NDArray[np.int64]:
    """Choose at most so many probes, in order: those that stand in the corpus twice or more, then an even spread.

    Of the places left, held-out probes get a third at most.
    """
    chosen = _spread(np.flatnonzero(repeated & ~held_out), most)
    for kind, share in ((np.flatnonzero(held_out), 3), (np.flatnonzero(~held_out & ~repeated), 1)):
        chosen = np.concatenate([chosen, _spread(kind, (most - len(chosen)) // share)])
    return np.sort(chosen)


def _spread(numbers: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    if len(numbers) <= most:
        return numbers
    return numbers[np.linspace(0, len(numbers) - 1, most).astype(np.int64)] if most else numbers[:0]


def grouped(
    rows: Iterable[Mapping[str, Any]], key: Callable[[Mapping[str, Any]], str | None], value: str
) -> dict[str, list[float]]:
    """Collect one value of some rows by group; rows whose key is None are left out."""
    found: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        name = key(row)
        if name is not None:
            found[name].append(float(row[value]))
    return dict(found)


def over_seeds(by_seed: Mapping[int, Mapping[str, Sequence[float]]]) -> dict[str, tuple[Mean, float]]:
    """Average within each seed, then over seeds.

    Args:
        by_seed: seed → group → values of single texts.

    Returns:
        group → the mean over the seeds that have it, and how many texts a seed has there on average.
    """
    names = sorted({name for groups in by_seed.values() for name in groups})
    found = {}
    for name in names:
        inside = [groups[name] for groups in by_seed.values() if groups.get(name)]
        texts = sum(map(len, inside)) / len(inside)
        found[name] = (mean([math.fsum(values) / len(values) for values in inside]), texts)
    return found


def same_budget(tokens: Mapping[str, int]) -> int:
    """Return the tokens that every trial was trained on.

    Raises:
        InputError: they differ, so that the models cannot be compared.
    """
    if len(set(tokens.values())) != 1:
        told = ", ".join(f"{name}: {count:,}" for name, count in tokens.items())
        raise InputError(f"the models were not trained on the same number of tokens ({told}); use another --output")
    return next(iter(tokens.values()))
