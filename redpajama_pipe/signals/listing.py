"""The signals as text: a list by family, and exact descriptions."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import pyarrow as pa

from redpajama_pipe.signals.catalogue import FAMILIES, SIGNALS, find
from redpajama_pipe.signals.signal import Signal


def list_signals() -> str:
    """List every signal under its family."""
    lines: list[str] = []
    width = max(map(len, SIGNALS))
    for family in FAMILIES.values():
        lines += [f"{family.name}: {family.title}", ""]
        lines += [f"  {signal.name:<{width}}  {signal.unit}" for signal in family.signals]
        lines.append("")
    return "\n".join([*lines, f"{len(SIGNALS)} signals. One in full: redpajama-pipe signals {next(iter(SIGNALS))}"])


def describe_signals(names: Sequence[str]) -> str:
    """Say exactly what some signals are; a family stands for all of its signals.

    Raises:
        RecipeError: there is no such signal.
    """
    chosen: list[Signal] = []
    for name in names:
        chosen += FAMILIES[name].signals if name in FAMILIES else [find(name)]
    return "\n\n".join(map(_describe, chosen))


def _describe(signal: Signal) -> str:
    least, most = signal.range
    values = {
        "unit": signal.unit,
        "type": f"list of {signal.type.value_type}" if pa.types.is_list(signal.type) else str(signal.type),
        "range": f"{least:g} to {'no limit' if most is None else format(most, 'g')}",
        "counts": signal.counts,
        "source": signal.source,
        "null": signal.null,
    }
    wrapped = (
        textwrap.fill(value, 100, initial_indent=f"  {key:<8}", subsequent_indent=" " * 10)
        for key, value in values.items()
    )
    return "\n".join([signal.name, *wrapped])
