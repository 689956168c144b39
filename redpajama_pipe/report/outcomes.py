"""What became of the documents: the colour and the name of every way out, and the funnel of each source or language."""

from __future__ import annotations

from collections.abc import Sequence

from redpajama_pipe.report import charts, figures, markup
from redpajama_pipe.report.charts import Slice
from redpajama_pipe.report.markup import Cell, Column, Html, name, tag
from redpajama_pipe.report.model import DROP_STAGES, FunnelRow

_STAGES = {
    "filter": ("filter", "dropped by filter"),
    "exact_dedup": ("exact", "exact duplicates"),
    "near_dedup": ("near", "near-duplicates"),
    "decontaminate": ("other", "contaminated"),
    "repeated_lines": ("lines", "without a line left"),
}


def stage_css(stage: str) -> str:
    """Return the CSS class, and with it the colour, of a stage that drops documents."""
    return _STAGES.get(stage, ("other", ""))[0]


def stage_name(stage: str) -> str:
    """Return what documents dropped by a stage are called."""
    return _STAGES.get(stage, ("", f"dropped by {stage}"))[1]


def coloured(css: str, shown: Html) -> Html:
    """Put a square of a stage's colour before a name."""
    return tag("span", tag("i", class_=css), " ", shown)


def rule_cell(rule: str, css: str, stage: str) -> Cell:
    """A cell with a rule's name over that of its stage."""
    said = tag("span", tag("i", class_=css), " ", stage, class_="sub stage")
    return Cell(tag("div", markup.identifier(rule), said, class_="rule"), rule)


def funnel_slices(row: FunnelRow, stages: Sequence[str] = ()) -> tuple[Slice, list[Slice]]:
    """Return the kept slice and the slices that leave, in the order in which they leave."""
    order = list(DROP_STAGES) + [stage for stage in (*stages, *row.dropped) if stage not in DROP_STAGES]
    exits = [Slice("quarantine", "quarantined", row.quarantined)]
    exits += [Slice(stage_css(stage), stage_name(stage), row.dropped.get(stage, 0)) for stage in dict.fromkeys(order)]
    return Slice("kept", "kept", row.kept), exits


def funnel_table(kind: str, rows: Sequence[FunnelRow]) -> Html:
    """Draw the funnel of each source (in the order given) or of each language (the largest first)."""
    if kind == "language":
        rows = sorted(rows, key=lambda row: -row.documents_in)
    extra = sorted({stage for row in rows for stage in row.dropped} - set(DROP_STAGES))
    _, exits = funnel_slices(rows[0], extra)
    with_quarantine = any(row.quarantined for row in rows)
    with_tokens = any(row.tokens is not None for row in rows)
    with_bytes = any(row.bytes_kept is not None for row in rows)
    columns = [
        Column(kind.capitalize()),
        Column("Outcome"),
        Column("Kept", True),
        Column("Share kept", True),
    ]
    columns += [Column("Read", True)]
    columns += [Column(_heading(part.name), True) for part in exits[0 if with_quarantine else 1 :]]
    columns += [Column("Tokens", True)] if with_tokens else []
    columns += [Column("Text kept", True, "UTF-8 bytes of the kept documents")] if with_bytes else []
    cells: list[list[Cell]] = []
    for row in rows:
        kept, leaving = funnel_slices(row, extra)
        said = ", ".join(f"{part.name} {figures.share(part.value, row.documents_in)}" for part in [kept, *leaving])
        bar = charts.segments([kept, *reversed(leaving)], row.documents_in, f"{row.name}: {said}")
        line = [Cell(_named(kind, row.name), row.name), Cell(bar, css="graph"), markup.integer(row.kept)]
        line += [markup.share(row.kept, row.documents_in), markup.integer(row.documents_in)]
        line += [_part(int(part.value), row.documents_in) for part in leaving[0 if with_quarantine else 1 :]]
        line += [markup.integer(row.tokens)] if with_tokens else []
        line += [markup.size(row.bytes_kept)] if with_bytes else []
        cells.append(line)
    named = [funnel_slices(row, extra) for row in rows]
    present = {part.name for kept, leaving in named for part in [kept, *leaving] if part.value}
    kept, leaving = named[0]
    legend = charts.legend([(part.css, part.name) for part in [kept, *reversed(leaving)] if part.name in present])
    return tag("div", legend, markup.table(f"What became of the documents of each {kind}", columns, cells))


def _heading(text: str) -> str:
    short = {
        "dropped by filter": "Filter",
        "exact duplicates": "Exact",
        "near-duplicates": "Near",
        "without a line left": "No line left",
    }
    return short.get(text, text[:1].upper() + text[1:])


def _named(kind: str, text: str) -> Html:
    return markup.identifier(text) if kind == "source" else name(text)


def _part(value: int, whole: int) -> Cell:
    return Cell(figures.count(value), value, figures.share(value, whole), "" if value else "zero")
