"""What training gets: tokens by language and source, schedules and how often each shows a document, shards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from redpajama_pipe.report import charts, figures, markup
from redpajama_pipe.report.charts import Slice
from redpajama_pipe.report.markup import Cell, Column, Html, join, name, tag
from redpajama_pipe.report.model import ReportData, TokenRow

SEEN_COLUMNS = 8  # more distinct exposures than this are gathered in the last column


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
        bar = charts.amount("kept", count, max(by_language.values()), f"{language}: {count:,} tokens")
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
    return join([markup.intro(intro), tag("div", legend, markup.table("Schedules and exposure", columns, cells))])


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
    return join(
        [markup.intro("Hover over a checksum for all of it."), markup.table("Token shards", columns, cells, foot)]
    )


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
