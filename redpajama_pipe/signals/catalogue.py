"""Every signal, once, by family: what it counts, in which unit and range, whose definition it is, what null means."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from redpajama_pipe.errors import RecipeError
from redpajama_pipe.signals import (
    c4,
    datatrove,
    dolma,
    fineweb,
    gopher,
    perplexity,
    pii,
    quality,
    redpajama_v1,
    redpajama_v2,
    refinedweb,
    url,
)
from redpajama_pipe.signals.signal import Family, Signal

_FAMILIES = (
    gopher.FAMILY,
    gopher.UNSPACED_FAMILY,
    datatrove.FAMILY,
    dolma.FAMILY,
    *c4.FAMILIES,
    fineweb.FAMILY,
    refinedweb.FAMILY,
    redpajama_v1.FAMILY,
    redpajama_v2.FAMILY,
    pii.FAMILY,
    url.FAMILY,
    quality.FAMILY,
    perplexity.FAMILY,
)
FAMILIES: dict[str, Family] = {family.name: family for family in _FAMILIES}
SIGNALS: dict[str, Signal] = {signal.name: signal for family in FAMILIES.values() for signal in family.signals}


def select(names: Sequence[str]) -> list[str]:
    """Expand families, and put signals into the order of SIGNALS, each once.

    Args:
        names: of signals and families.

    Raises:
        RecipeError: there is no such signal; the message names the nearest.
    """
    chosen: set[str] = set()
    for name in names:
        if name in FAMILIES:
            chosen.update(signal.name for signal in FAMILIES[name].signals)
        else:
            chosen.add(find(name).name)
    return [name for name in SIGNALS if name in chosen]


def find(name: str) -> Signal:
    """Return the signal of this name.

    Raises:
        RecipeError: there is none; the message names the nearest.
    """
    if name not in SIGNALS:
        near = get_close_matches(name, SIGNALS, 3, 0.5)
        hint = f"nearest: {', '.join(near)}" if near else f"families: {', '.join(FAMILIES)}; see redpajama-pipe signals"
        raise RecipeError(f"no signal {name!r}; {hint}")
    return SIGNALS[name]
