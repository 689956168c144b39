"""The sections of the HTML report, one function each: ReportData in, markup out, None when there is nothing to show."""

from __future__ import annotations

from collections.abc import Callable

from redpajama_pipe.report import charts, cut_sections, duplicates, figures, markup, outcomes, token_sections
from redpajama_pipe.report.charts import Slice
from redpajama_pipe.report.markup import Cell, Column, Html, join, name, tag
from redpajama_pipe.report.model import ReportData

MAX_HISTOGRAMS = 120


def rules(data: ReportData) -> Html | None:
    """Draw why documents were dropped, the rule with most of them first."""
    if not data.rules:
        return None
    rows = sorted(data.rules, key=lambda row: (-row.dropped_first, -(row.dropped_any or 0)))
    most = max(max(row.dropped_any or 0, row.dropped_first) for row in rows)
    columns = [
        Column("Rule"),
        Column("Documents"),
        Column("Counted", True, "documents counted under this rule: it is the first that drops them"),
        Column("Share", True, "counted documents out of all that were read"),
        Column("Any", True, "documents that this rule drops, whatever others do"),
        Column("Alone", True, "documents that no other rule drops: what removing the rule would bring back"),
        Column("Keeps documents where"),
        Column("Source"),
    ]
    cells = []
    for row in rows:
        parts = [
            Slice(f"{outcomes.stage_css(row.stage)} any", "any", row.dropped_any or 0),
            # where nobody counted what other rules would drop, the whole bar is solid
            Slice(
                f"{outcomes.stage_css(row.stage)}{'' if row.dropped_only is None else ' first'}",
                "counted",
                row.dropped_first,
            ),
            Slice(f"{outcomes.stage_css(row.stage)} only", "alone", row.dropped_only or 0),
        ]
        said = f"{row.rule}: {row.dropped_first:,} counted"
        cells.append(
            [
                outcomes.rule_cell(row.rule, outcomes.stage_css(row.stage), row.stage),
                Cell(charts.nested(parts, most, said), css="graph"),
                markup.integer(row.dropped_first),
                markup.share(row.dropped_first, data.totals.documents_in),
                markup.integer(row.dropped_any),
                markup.integer(row.dropped_only),
                Cell(tag("code", row.keep, class_="sql"), css="wide"),
                Cell(tag("span", row.citation or figures.DASH, class_="muted"), row.citation or None, css="mid"),
            ]
        )
    legend = charts.legend(
        [
            ("filter only", "only this rule drops them"),
            ("filter first", "counted under this rule"),
            ("filter any", "this rule would drop them too"),
        ]
    )
    intro = (
        "A document is counted under the first rule that drops it, so that the counts add up. "
        "The pale part of a bar would be dropped by this rule as well; the solid part by nothing else."
    )
    return join(
        [markup.intro(intro), tag("div", legend, markup.table("Rules and what they drop", columns, cells, css="rules"))]
    )


def histograms(data: ReportData) -> Html | None:
    """Draw the signals, each with the bounds that rules put on it."""
    if not data.histograms:
        return None
    figures_ = [charts.figure(item) for item in data.histograms[:MAX_HISTOGRAMS]]
    legend = charts.legend([("kept", "kept by the filter"), ("dropped", "dropped, for whatever rule")])
    intro = (
        "Documents that reached the filter, by the value of each signal. Shaded: what a rule on this signal refuses."
    )
    left = len(data.histograms) - MAX_HISTOGRAMS
    note = tag("p", f"{left:,} more signals are not shown.", class_="note") if left > 0 else None
    return join([markup.intro(intro), tag("div", legend, tag("div", *figures_, class_="plots"), note)])


def quarantine(data: ReportData) -> Html | None:
    """Draw what could not be read, and what was passed over because it is no document."""
    parts: list[Html] = []
    if data.quarantine:
        rows = sorted(data.quarantine, key=lambda row: -row.count)
        most = rows[0].count
        columns = [Column("Reason"), Column("Source"), Column("Records", True), Column("Amount")]
        columns += [Column("For example"), Column("What was found")]
        cells = [
            [
                Cell(markup.identifier(row.reason), row.reason),
                Cell(name(row.source), row.source),
                markup.integer(row.count),
                Cell(charts.amount("quarantine", row.count, most, f"{row.reason}: {row.count:,} records"), css="graph"),
                Cell(tag("code", row.example_location or figures.DASH), css="wide"),
                Cell(tag("bdi", row.example_detail or figures.DASH), css="wide"),
            ]
            for row in rows
        ]
        parts.append(
            markup.intro("Records that should be documents but could not be read. The run went on without them.")
        )
        parts.append(markup.table("Quarantined records", columns, cells))
    if data.skipped:
        skipped = sorted(data.skipped, key=lambda row: -row.count)
        columns = [Column("Kind"), Column("Source"), Column("Records", True)]
        lines = [
            [
                Cell(markup.identifier(row.kind), row.kind),
                Cell(name(row.source), row.source),
                markup.integer(row.count),
            ]
            for row in skipped
        ]
        if parts:
            parts.append(tag("h3", "Passed over"))
        parts.append(markup.intro("Records that are no documents by their kind. They are not counted as read."))
        parts.append(tag("div", markup.table("Records passed over", columns, lines), class_="small-table"))
    return join(parts) if parts else None


def stages(data: ReportData) -> Html | None:
    """Draw how long each stage took."""
    if not data.stages:
        return None
    longest = max(row.seconds for row in data.stages)
    whole = sum(row.seconds for row in data.stages)
    columns = [Column("Stage"), Column("Time taken"), Column("Time", True), Column("Share", True)]
    columns += [Column("Documents", True), Column("Text", True), Column("Rate", True, "bytes of text a second")]
    cells = [
        [
            Cell(markup.identifier(row.name), row.name),
            Cell(
                charts.amount("time", row.seconds, longest, f"{row.name}: {figures.duration(row.seconds)}"), css="graph"
            ),
            Cell(figures.duration(row.seconds), row.seconds, f"{row.seconds:,.3f} s"),
            Cell(figures.share(row.seconds, whole), row.seconds / whole if whole else None),
            markup.integer(row.documents),
            markup.size(row.bytes),
            Cell(figures.rate(row.rate), row.rate),
        ]
        for row in data.stages
    ]
    foot = [Cell("All"), Cell(""), Cell(figures.duration(whole), whole), Cell(""), Cell(""), Cell(""), Cell("")]
    return tag("div", markup.table("Time taken by each stage", columns, cells, foot), style="margin-top: 1.5rem")


# In the order in which they are drawn: anchor, heading, function.
SECTIONS: tuple[tuple[str, str, Callable[[ReportData], Html | None]], ...] = (
    ("rules", "Reasons", rules),
    ("cuts", "Cuts", cut_sections.cuts),
    ("signals", "Signals", histograms),
    ("quarantine", "Quarantine", quarantine),
    ("duplicates", "Duplicates", duplicates.duplicates),
    ("contamination", "Contamination", cut_sections.contamination),
    ("tokens", "Tokens", token_sections.tokens),
    ("schedules", "Schedules", token_sections.schedules),
    ("shards", "Shards", token_sections.shards),
    ("stages", "Timings", stages),
)
