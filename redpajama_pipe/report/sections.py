"""The sections of the HTML report, one function each: ReportData in, markup out, None when there is nothing to show."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from redpajama_pipe.report import charts, duplicates, figures, markup
from redpajama_pipe.report.charts import Slice
from redpajama_pipe.report.markup import Cell, Column, Html, join, name, tag
from redpajama_pipe.report.model import (
    DROP_STAGES,
    FunnelRow,
    Histogram,
    ReportData,
    Threshold,
    TokenRow,
)

MAX_HISTOGRAMS = 120
SEEN_COLUMNS = 8  # more distinct exposures than this are gathered in the last column

_STAGES = {
    "filter": ("filter", "dropped by filter"),
    "exact_dedup": ("exact", "exact duplicates"),
    "near_dedup": ("near", "near-duplicates"),
    "decontaminate": ("other", "contaminated"),
}


def stage_css(stage: str) -> str:
    """Return the CSS class, and with it the colour, of a stage that drops documents."""
    return _STAGES.get(stage, ("other", ""))[0]


def stage_name(stage: str) -> str:
    """Return what documents dropped by a stage are called."""
    return _STAGES.get(stage, ("", f"dropped by {stage}"))[1]


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
            Slice(f"{stage_css(row.stage)} any", "any", row.dropped_any or 0),
            # where nobody counted what other rules would drop, the whole bar is solid
            Slice(
                f"{stage_css(row.stage)}{'' if row.dropped_only is None else ' first'}", "counted", row.dropped_first
            ),
            Slice(f"{stage_css(row.stage)} only", "alone", row.dropped_only or 0),
        ]
        said = f"{row.rule}: {row.dropped_first:,} counted"
        stage = tag("span", tag("i", class_=stage_css(row.stage)), " ", row.stage, class_="sub stage")
        cells.append(
            [
                Cell(tag("div", markup.identifier(row.rule), stage, class_="rule"), row.rule),
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
        [_intro(intro), tag("div", legend, markup.table("Rules and what they drop", columns, cells, css="rules"))]
    )


def cuts(data: ReportData) -> Html | None:
    """Draw what is taken out of documents that stay, the rule that takes most first."""
    if not data.cuts:
        return None
    rows = sorted(data.cuts, key=lambda row: (-row.bytes, row.rule))
    columns = [Column("Rule"), Column("Amount"), Column("Documents", True), Column("Spans", True)]
    columns += [Column("Text", True, "UTF-8 bytes of the spans")]
    cells = [
        [
            Cell(markup.identifier(row.rule), row.rule),
            Cell(_amount("filter", row.bytes, rows[0].bytes, f"{row.rule}: {row.bytes:,} bytes"), css="graph"),
            markup.integer(row.documents),
            markup.integer(row.spans),
            markup.size(row.bytes),
        ]
        for row in rows
    ]
    intro = (
        "What is taken out of documents that the filter keeps. Their text is stored whole, the tokens are without it."
    )
    return join([_intro(intro), markup.table("Cuts", columns, cells)])


def contamination(data: ReportData) -> Html | None:
    """Draw what of each evaluation set was found."""
    if not data.tasks:
        return None
    columns = [Column("Evaluation set"), Column("Documents", True, "dropped or cut because of it")]
    columns += [Column("Examples found", True), Column("Share", True, "of all its examples")]
    columns += [Column("Examples", True), Column("Too short", True, "examples too short to be looked for")]
    columns += [Column("N-grams", True, "different ones that were looked for")]
    cells = [
        [
            Cell(markup.identifier(row.name), row.name),
            markup.integer(row.documents),
            markup.integer(row.examples_hit),
            markup.share(row.examples_hit, row.examples),
            markup.integer(row.examples),
            markup.integer(row.too_short),
            markup.integer(row.ngrams),
        ]
        for row in data.tasks
    ]
    intro = "Text of evaluation sets in the documents that filter and deduplication left."
    return join([_intro(intro), markup.table("Evaluation sets", columns, cells)])


def histograms(data: ReportData) -> Html | None:
    """Draw the signals, each with the bounds that rules put on it."""
    if not data.histograms:
        return None
    figures_ = [_histogram(item) for item in data.histograms[:MAX_HISTOGRAMS]]
    legend = charts.legend([("kept", "kept by the filter"), ("dropped", "dropped, for whatever rule")])
    intro = (
        "Documents that reached the filter, by the value of each signal. Shaded: what a rule on this signal refuses."
    )
    left = len(data.histograms) - MAX_HISTOGRAMS
    note = tag("p", f"{left:,} more signals are not shown.", class_="note") if left > 0 else None
    return join([_intro(intro), tag("div", legend, tag("div", *figures_, class_="plots"), note)])


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
                Cell(_amount("quarantine", row.count, most, f"{row.reason}: {row.count:,} records"), css="graph"),
                Cell(tag("code", row.example_location or figures.DASH), css="wide"),
                Cell(tag("bdi", row.example_detail or figures.DASH), css="wide"),
            ]
            for row in rows
        ]
        parts.append(_intro("Records that should be documents but could not be read. The run went on without them."))
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
        parts.append(_intro("Records that are no documents by their kind. They are not counted as read."))
        parts.append(tag("div", markup.table("Records passed over", columns, lines), class_="small-table"))
    return join(parts) if parts else None


def tokens(data: ReportData) -> Html | None:
    """Draw tokens by language and source, the largest of both first; the shade is the share of all tokens."""
    if not data.tokens:
        return None
    by_language, by_source = _totals(data.tokens, "language"), _totals(data.tokens, "source")
    grid: dict[tuple[str, str], TokenRow] = {(row.language, row.source): row for row in data.tokens}
    most = max((row.tokens for row in data.tokens), default=0)
    all_tokens = sum(by_language.values())
    documents = _totals(data.tokens, "language", "documents")
    columns = [Column("Language"), Column("Share of tokens"), Column("Documents", True), Column("Tokens", True)]
    columns += [Column("Share", True), *(Column(source, True) for source in by_source)]
    cells = []
    for language, count in by_language.items():
        bar = _amount("kept", count, max(by_language.values()), f"{language}: {count:,} tokens")
        line = [Cell(name(language), language), Cell(bar, css="graph"), markup.integer(documents[language])]
        line += [markup.integer(count), markup.share(count, all_tokens)]
        line += [_heat(grid.get((language, source)), most) for source in by_source]
        cells.append(line)
    foot = [Cell("All"), Cell(""), markup.integer(sum(documents.values())), markup.integer(all_tokens), Cell("")]
    foot += [Cell(figures.compact(count), count, f"{count:,} tokens", "cell") for count in by_source.values()]
    return tag(
        "div", markup.table("Tokens by language and source", columns, cells, foot, "heat"), style="margin-top: 1.5rem"
    )


def schedules(data: ReportData) -> Html | None:
    """Draw each schedule and how often it shows how many documents."""
    if not data.schedules:
        return None
    times = sorted({seen for row in data.schedules for seen in row.seen})
    columns = [Column("Epochs"), Column("Mode"), Column("Exposure of documents"), Column("Steps", True)]
    columns += [Column("Samples", True), Column("Tokens", True)]
    single = times if len(times) <= SEEN_COLUMNS else times[: SEEN_COLUMNS - 1]
    gathered = times[len(single) :]
    columns += [Column(_times(seen), True, "documents seen so often") for seen in single]
    columns += [Column(f"{gathered[0]}+ times", True, "documents seen so often or more")] if gathered else []
    cells = []
    for row in data.schedules:
        slices = [Slice(_seen_css(seen), _times(seen), row.seen[seen]) for seen in sorted(row.seen)]
        said = ", ".join(f"{part.name}: {part.value:,.0f}" for part in slices)
        bar = charts.segments(slices, sum(row.seen.values()), f"{figures.number(row.epochs)} epochs; seen {said}")
        line = [Cell(figures.number(row.epochs), row.epochs), Cell(markup.identifier(row.mode), row.mode)]
        line += [
            Cell(bar, css="graph"),
            markup.integer(row.steps),
            markup.integer(row.samples),
            markup.integer(row.tokens),
        ]
        line += [markup.integer(row.seen.get(seen)) for seen in single]
        line += [markup.integer(sum(row.seen.get(seen, 0) for seen in gathered))] if gathered else []
        cells.append(line)
    present = {_seen_css(seen): _times(seen) for seen in reversed(times)}
    legend = charts.legend(
        [(css, "3 times or more" if css == "kept-3" else said) for css, said in reversed(present.items())]
    )
    intro = "How often training meets each document. A document cut by the end of a schedule counts as seen."
    return join([_intro(intro), tag("div", legend, markup.table("Schedules and exposure", columns, cells))])


def shards(data: ReportData) -> Html | None:
    """Draw the token shards with their checksums."""
    if not data.shards:
        return None
    columns = [
        Column("Shard"),
        Column("Sequences", True),
        Column("Tokens", True),
        Column("Size", True),
        Column("SHA-256"),
    ]
    cells = [
        [
            Cell(markup.identifier(row.name), row.name),
            markup.integer(row.sequences),
            markup.integer(row.tokens),
            markup.size(row.bytes),
            Cell(tag("code", markup.shorten(row.sha256)), row.sha256, row.sha256, "tight"),
        ]
        for row in data.shards
    ]
    total = [sum(row.sequences for row in data.shards), sum(row.tokens for row in data.shards)]
    foot = [Cell("All"), *map(markup.integer, total), markup.size(sum(row.bytes for row in data.shards)), Cell("")]
    return join([_intro("Hover over a checksum for all of it."), markup.table("Token shards", columns, cells, foot)])


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
            Cell(_amount("time", row.seconds, longest, f"{row.name}: {figures.duration(row.seconds)}"), css="graph"),
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
    ("cuts", "Cuts", cuts),
    ("signals", "Signals", histograms),
    ("quarantine", "Quarantine", quarantine),
    ("duplicates", "Duplicates", duplicates.clusters),
    ("contamination", "Contamination", contamination),
    ("tokens", "Tokens", tokens),
    ("schedules", "Schedules", schedules),
    ("shards", "Shards", shards),
    ("stages", "Timings", stages),
)


def _intro(text: str) -> Html:
    return tag("p", text, class_="intro")


def _heading(text: str) -> str:
    short = {"dropped by filter": "Filter", "exact duplicates": "Exact", "near-duplicates": "Near"}
    return short.get(text, text[:1].upper() + text[1:])


def _named(kind: str, text: str) -> Html:
    return markup.identifier(text) if kind == "source" else name(text)


def _part(value: int, whole: int) -> Cell:
    return Cell(figures.count(value), value, figures.share(value, whole), "" if value else "zero")


def _amount(css: str, value: float, most: float, label: str) -> Html:
    return charts.nested([Slice(css, label, value)], most, label)


def _times(seen: int) -> str:
    return {0: "never", 1: "once", 2: "twice"}.get(seen, f"{seen} times")


def _seen_css(seen: int) -> str:
    return {0: "unseen", 1: "kept-2", 2: "kept"}.get(seen, "kept-3")


def _totals(rows: Sequence[TokenRow], by: str, what: str = "tokens") -> Mapping[str, int]:
    totals: dict[str, int] = {}
    for row in rows:
        totals[getattr(row, by)] = totals.get(getattr(row, by), 0) + int(getattr(row, what))
    return dict(sorted(totals.items(), key=lambda item: (-item[1], item[0])))


def _heat(row: TokenRow | None, most: int) -> Cell:
    if row is None:
        return Cell(figures.DASH, None, css="cell zero")
    shade = 0.42 * (row.tokens / most) ** 0.5 if most else 0.0
    title = f"{figures.plural(row.tokens, 'token')} in {figures.plural(row.documents, 'document')}"
    return Cell(figures.compact(row.tokens), row.tokens, title, "cell", f"--h: {shade:.3f}")


def _histogram(data: Histogram) -> Html:
    total = sum(data.kept) + sum(data.dropped)
    nulls = figures.plural(data.nulls, "document") + " without a value" if data.nulls else ""
    unit = " · ".join(part for part in (data.unit, "log scale" if data.log else "") if part)
    caption = tag("figcaption", tag("b", markup.identifier(data.signal)), tag("span", unit, class_="muted"))
    drawn = charts.histogram(data) if total or data.thresholds else tag("p", "No values.", class_="note")
    bounds = [
        join([tag("dt", charts.bound(item)), tag("dd", markup.identifier(item.rule))])
        for item in sorted(data.thresholds, key=_bound_order)
    ]
    listed = tag("dl", *bounds, class_="bounds") if bounds else None
    return tag("figure", caption, drawn, listed, tag("p", nulls, class_="note") if nulls else None)


def _bound_order(threshold: Threshold) -> tuple[float, str, str]:
    return (threshold.value, threshold.side, threshold.rule)
