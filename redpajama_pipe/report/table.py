"""Tables for the terminal: the summary at the end of a run.

Whole numbers get thousands separators, None a dash, and text is made harmless (see terminal.clean). A table that is too
wide gives up columns of text, the widest first; numbers are never cut before text is.
"""

from __future__ import annotations

from collections.abc import Sequence

from redpajama_pipe.report import figures, terminal

Value = str | int | float | None

MIN_TEXT = 8  # columns below which text is not cut while another column can give


def format_table(
    rows: Sequence[Sequence[Value]],
    header: Sequence[str],
    align: str = "",
    max_width: int | None = 100,
    footer: Sequence[Value] | None = None,
) -> str:
    """Draw a table with light box lines.

    Args:
        rows: as many values each as `header` has.
        align: a letter a column: l, r or c; empty: numbers right, text left.
        max_width: columns of the terminal; None: as wide as it needs to be.
        footer: a row of totals below a line.

    Returns:
        Lines joined by newlines, without one at the end; each has the same width.

    Raises:
        ValueError: a row or `align` does not fit the header.

    Example:
        >>> print(format_table([("wikipedia", 204118), ("arxiv", 9004)], ("source", "documents")))
        ┌───────────┬───────────┐
        │ source    │ documents │
        ├───────────┼───────────┤
        │ wikipedia │   204,118 │
        │ arxiv     │     9,004 │
        └───────────┴───────────┘
    """
    body = [*rows, *([footer] if footer is not None else [])]
    for row in body:
        if len(row) != len(header):
            raise ValueError(f"a row has {len(row)} values, the header {len(header)}: {row!r}")
    if align and len(align) != len(header):
        raise ValueError(f"align {align!r} has {len(align)} letters, the header {len(header)} columns")
    sides = align or "".join(_side([row[at] for row in body]) for at in range(len(header)))
    shown = [[_show(value) for value in row] for row in body]
    heading = [terminal.clean(text) for text in header]
    natural = [max(terminal.width(row[at]) for row in [heading, *shown]) for at in range(len(header))]
    widths = natural if max_width is None else _fit(natural, sides, max_width - 3 * len(header) - 1)

    def line(cells: Sequence[str]) -> str:
        parts = (terminal.pad(*cell) for cell in zip(cells, widths, sides, strict=True))
        return f"│ {' │ '.join(parts)} │"

    def rule(left: str, middle: str, right: str) -> str:
        return left + middle.join("─" * (columns + 2) for columns in widths) + right

    lines = [rule("┌", "┬", "┐"), line(heading), rule("├", "┼", "┤")]
    lines += [line(row) for row in shown[: len(rows)]]
    if footer is not None:
        lines += [rule("├", "┼", "┤"), line(shown[-1])]
    return "\n".join([*lines, rule("└", "┴", "┘")])


def _show(value: Value) -> str:
    return terminal.clean(value) if isinstance(value, str) else figures.number(value)


def _side(values: Sequence[Value]) -> str:
    known = [value for value in values if value is not None]
    return "r" if known and all(isinstance(value, int | float) for value in known) else "l"


def _fit(natural: Sequence[int], sides: str, room: int) -> list[int]:
    """Narrow columns, the widest first: text down to MIN_TEXT, then any, down to one."""
    widths = list(natural)
    for floor, which in ((MIN_TEXT, "l"), (1, "lcr")):
        while sum(widths) > room:
            able = [at for at, side in enumerate(sides) if side in which and widths[at] > floor]
            if not able:
                break
            widths[max(able, key=lambda at: (widths[at], -at))] -= 1
    return widths
