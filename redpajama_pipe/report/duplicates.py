"""The report's section on duplicates: kinds, whose documents go for whose, how alike, how many at a time; examples."""

from __future__ import annotations

from collections.abc import Sequence

from redpajama_pipe.report import charts, figures, markup, outcomes, worddiff
from redpajama_pipe.report.markup import Cell, Column, Html, join, name, tag
from redpajama_pipe.report.model import Cluster, DocCard, Duplicates, IndexRow, PairRow, ReportData, SizeRow

MAX_CLUSTERS = 40


def duplicates(data: ReportData) -> Html | None:
    """Draw everything about duplicates."""
    found = data.duplicates
    counted = None if found is None or not found.kinds else _counted(found)
    groups = clusters(data)
    if groups is not None and counted is not None:
        groups = join([tag("h3", "The largest groups of near-duplicates"), groups])
    return join([counted, groups]) if counted is not None or groups is not None else None


def _counted(found: Duplicates) -> Html:
    intro = "A document is dropped under one kind, and its receipt names a document that stays."
    parts: list[Html | None] = [markup.intro(intro), _kinds(found)]
    if found.indexes:
        parts += [tag("h3", "Dropped because an earlier corpus has it"), _indexes(found.indexes)]
    if found.pairs:
        pairs = "Rows: the source that lost documents. Columns: the source whose document stays for them."
        parts += [tag("h3", "Whose documents repeat whose"), markup.intro(pairs), _pairs(found.pairs)]
    drawn = []
    if found.similarity is not None:
        bound = "" if found.threshold is None else f" A document goes from {found.threshold:g} on."
        said = "Near-duplicates by their similarity with the document that stays." + bound
        drawn.append(join([tag("h3", "How alike"), markup.intro(said), charts.figure(found.similarity)]))
    for title, said, unit, rows in (
        (
            "Dropped for one document",
            "Documents that stay, by how many were dropped for each.",
            "Dropped",
            found.groups,
        ),
        (
            "Hanging together",
            "Components: documents that share bands, directly or through others. Those with a dropped one.",
            "Documents",
            found.components,
        ),
    ):
        if rows:
            drawn.append(join([tag("h3", title), markup.intro(said), _sizes(title, unit, rows)]))
    if drawn:
        parts.append(tag("div", *(tag("div", part) for part in drawn), class_="columns"))
    return join(parts)


def _kinds(found: Duplicates) -> Html:
    rows = found.kinds
    most = max(row.documents for row in rows)
    sources = sorted({source for row in rows for source in row.sources})
    columns = [Column("Kind"), Column("Amount"), Column("Documents", True)]
    columns += [Column("Similarity", hint="exact, with the document that stays: least to greatest; mean")]
    columns += [Column(source, True, "documents of this source") for source in sources]
    cells = []
    for row in rows:
        css = outcomes.stage_css(row.part)
        bar = charts.amount(css, row.documents, most, f"{row.rule}: {figures.plural(row.documents, 'document')}")
        line = [outcomes.rule_cell(row.rule, css, row.part), Cell(bar, css="graph"), markup.integer(row.documents)]
        line += [_spread(row.similarity)]
        line += [markup.integer(row.sources.get(source, 0)) for source in sources]
        cells.append(line)
    foot = [Cell("All"), Cell(""), markup.integer(sum(row.documents for row in rows)), Cell("")]
    foot += [markup.integer(sum(row.sources.get(source, 0) for row in rows)) for source in sources]
    return tag("div", markup.table("Kinds of duplicate", columns, cells, foot, css="rules"))


def _spread(similarity: tuple[float, float, float] | None) -> Cell:
    if similarity is None:
        return Cell(figures.DASH)
    least, mean, most = similarity
    if least == most:
        return Cell(f"{most:.3f}", least)
    return Cell(join([f"{least:.3f} to {most:.3f}", tag("span", f"mean {mean:.3f}", class_="sub")]), least)


def _indexes(rows: Sequence[IndexRow]) -> Html:
    columns = [Column("Index of"), Column("Equal", True), Column("Near", True), Column("Documents", True)]
    columns += [Column("Hash", hint="of its manifest: what receipts call it")]
    cells = [
        [
            Cell(tag("bdi", row.name or figures.DASH), row.name),
            markup.integer(row.equal),
            markup.integer(row.near),
            markup.integer(row.equal + row.near),
            Cell(tag("code", markup.shorten(row.hash)), row.hash, row.hash, "tight"),
        ]
        for row in rows
    ]
    return tag("div", markup.table("Dropped because an earlier corpus has it", columns, cells), class_="small-table")


def _pairs(rows: Sequence[PairRow]) -> Html:
    """Draw the matrix of sources; the shade is the number of documents."""
    grid = {(row.source, row.kept): row for row in rows}
    sources = sorted({row.source for row in rows})
    kept = sorted({row.kept for row in rows})
    most = max(row.exact + row.near for row in rows)
    columns = [Column("Dropped, of"), *(Column(source, True, "stays for them") for source in kept), Column("All", True)]
    cells = []
    for source in sources:
        found = [grid.get((source, other)) for other in kept]
        total = sum(row.exact + row.near for row in found if row)
        cells.append([Cell(name(source), source), *(_pair(row, most) for row in found), markup.integer(total)])
    sums = [sum(row.exact + row.near for row in rows if row.kept == other) for other in kept]
    foot = [Cell("All"), *(Cell(figures.count(count), count, css="cell") for count in sums), markup.integer(sum(sums))]
    return tag("div", markup.table("Whose documents repeat whose", columns, cells, foot, "heat"))


def _pair(row: PairRow | None, most: int) -> Cell:
    if row is None:
        return Cell(figures.DASH, None, css="cell zero")
    total = row.exact + row.near
    title = f"{row.exact:,} equal, {row.near:,} near"
    return Cell(figures.count(total), total, title, "cell", f"--h: {0.42 * (total / most) ** 0.5:.3f}")


def _sizes(title: str, unit: str, rows: Sequence[SizeRow]) -> Html:
    most = max(row.groups for row in rows)
    columns = [Column(unit), Column("Amount"), Column("Groups", True), Column("In all", True, "documents in them")]
    cells = [
        [
            Cell(_range(row), row.low),
            Cell(charts.amount("near", row.groups, most, f"{_range(row)}: {row.groups:,}"), css="graph"),
            markup.integer(row.groups),
            markup.integer(row.documents),
        ]
        for row in rows
    ]
    foot = [Cell("All"), Cell(""), markup.integer(sum(row.groups for row in rows))]
    foot += [markup.integer(sum(row.documents for row in rows))]
    return markup.table(title, columns, cells, foot)


def _range(row: SizeRow) -> str:
    return figures.count(row.low) if row.low == row.high else f"{row.low:,} to {row.high:,}"


def clusters(data: ReportData) -> Html | None:
    """Draw groups of near-duplicates, each with one pair side by side."""
    if not data.clusters:
        return None
    shown = data.clusters[:MAX_CLUSTERS]
    intro = (
        "Left the document that is kept, right one that is dropped because it matches it. Marked: the words in which "
        f"they differ, among the first {worddiff.LIMIT:,} characters."
    )
    note = tag("p", f"{len(shown):,} of {len(data.clusters):,} clusters shown.", class_="note")
    return join(
        [
            tag("p", intro, class_="intro"),
            tag("div", *(_cluster(item) for item in shown)),
            note if len(shown) < len(data.clusters) else None,
        ]
    )


def _cluster(data: Cluster) -> Html:
    low, mean, high = (f"{value:.3f}" for value in (data.similarity_min, data.similarity_mean, data.similarity_max))
    spread = f"similarity {low}" if low == high else f"similarity {low} to {high}, mean {mean}"
    runs = worddiff.compare(data.kept.text, data.example.text)
    this = "" if data.example_similarity is None else f", similarity {data.example_similarity:.3f}"
    return tag(
        "article",
        tag("header", tag("h3", figures.plural(data.size, "document")), tag("p", spread)),
        tag(
            "div",
            _card("kept", "Kept", data.kept, [(run.kind, run.left, run.words) for run in runs]),
            _card("near", f"Dropped{this}", data.example, [(run.kind, run.right, run.words) for run in runs]),
            class_="pair",
        ),
        class_="cluster",
    )


def _card(css: str, heading: str, card: DocCard, runs: Sequence[tuple[str, str, int]]) -> Html:
    pieces: list[object] = []
    for kind, text, words in runs:
        if kind == "gap":
            pieces.append(tag("span", f"{words:,} equal words", class_="gap"))
        elif kind == "differ" and text.strip():
            bare = text.rstrip()
            pieces += [tag("mark", bare), text[len(bare) :]]
        else:
            pieces.append(text)
    about = [tag("span", card.title, class_="headingline", dir="auto") if card.title else None]
    about += [tag("span", name(card.source), " · ", tag("code", markup.shorten(card.doc_id), title=card.doc_id))]
    about += [markup.link(card.url) if card.url else None]
    return tag(
        "div",
        tag("h4", heading),
        tag("div", *about, class_="about"),
        tag("blockquote", *pieces, dir="auto", tabindex="0"),
        class_=f"card {css}",
    )
