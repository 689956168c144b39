"""What is taken out of documents that stay, by rule and by the texts that go most often, and evaluation sets' text."""

from __future__ import annotations

from collections.abc import Sequence

from redpajama_pipe.report import charts, figures, markup, outcomes
from redpajama_pipe.report.markup import Cell, Column, Html, join, tag
from redpajama_pipe.report.model import CutRow, CutText, ReportData

_STAGES = {"filter": "filter", "dedup": "lines", "decontaminate": "other"}  # the colour of each


def cuts(data: ReportData) -> Html | None:
    """Draw what is taken out of documents that stay, the rule that takes most first, and which texts go most often."""
    if not data.cuts:
        return None
    rows = sorted(data.cuts, key=lambda row: (-row.bytes, row.rule))
    columns = [Column("Rule"), Column("Amount"), Column("Text", True, "UTF-8 bytes of the spans")]
    columns += [Column("Share", True, "of the text that was read"), Column("Spans", True)]
    columns += [Column("Documents", True, "with such a span, those that a later stage drops included")]
    columns += [Column("Touched", True, "share of all documents that could be read")]
    read = data.totals.documents_in - data.totals.quarantined
    cells = [
        [
            outcomes.rule_cell(row.rule, _STAGES.get(row.stage, "other"), row.stage),
            Cell(
                charts.amount(_STAGES.get(row.stage, "other"), row.bytes, rows[0].bytes, f"{row.rule}: {row.bytes:,}"),
                css="graph",
            ),
            markup.size(row.bytes),
            markup.share(row.bytes, data.totals.bytes_in or 0),
            markup.integer(row.spans),
            markup.integer(row.documents),
            markup.share(row.documents, read),
        ]
        for row in rows
    ]
    stages = [stage for stage in _STAGES if any(row.stage == stage for row in rows)]
    legend = charts.legend([(_STAGES[stage], stage) for stage in stages]) if len(stages) > 1 else None
    intro = (
        "What is taken out of documents, or replaced in them. Their text is stored whole, the tokens are without it. "
        "A document that several rules change is counted for each of them."
    )
    drawn = tag("div", legend, markup.table("Cuts", columns, cells, css="rules"))
    return join([markup.intro(intro), drawn, _most_often(rows, data.cut_texts) if data.cut_texts else None])


def _most_often(rows: Sequence[CutRow], texts: Sequence[CutText]) -> Html:
    """Draw the texts that go most often, in the order of their rules."""
    place = {row.rule: at for at, row in enumerate(rows)}
    colours = {row.rule: _STAGES.get(row.stage, "other") for row in rows}
    replaced = any(text.replacement is not None for text in texts)
    staying = any(text.kept_doc_id is not None for text in texts)
    columns = [Column("Rule"), Column("Text"), Column("Copies", True, "taken out, in the documents that were read")]
    columns += [Column("Documents", True, "with such a copy, of those that were read")]
    columns += [Column("Becomes")] if replaced else []
    columns += [Column("For example", hint="a document that lost it")]
    columns += [Column("One stays in", hint="the document that has the copy that stays")] if staying else []
    cells = []
    for text in sorted(texts, key=lambda text: (place.get(text.rule, len(place)), -text.copies, text.text)):
        line = [Cell(outcomes.coloured(colours.get(text.rule, "other"), markup.identifier(text.rule)), text.rule)]
        line += [Cell(tag("bdi", text.text), css="says"), markup.integer(text.copies), markup.integer(text.documents)]
        line += [Cell(_replacement(text.replacement), text.replacement)] if replaced else []
        line += [_document(text.doc_id)]
        line += [_document(text.kept_doc_id)] if staying else []
        cells.append(line)
    some = [row for row in rows if row.read < row.documents]
    intro = "Counted in all documents that the rules change."
    if some:
        least, most = min(row.read for row in some), max(row.read for row in some)
        read = f"{least:,}" if least == most else f"{least:,} to {most:,}"
        intro = (
            "A rule's texts are counted in the documents that it changes; where these are many, in a random sample of "
        )
        intro += f"them: those with the lowest ids, {read}."
    note = "What is replaced is shown by its shape: x for a letter, 0 for a digit." if replaced else None
    note = tag("p", note, class_="note") if note else None
    table = markup.table("Texts taken out most often", columns, cells, css="rules")
    return join([tag("h3", "Taken out most often"), markup.intro(intro), tag("div", table, note)])


def contamination(data: ReportData) -> Html | None:
    """Draw what of each evaluation set was found, in which source, with one receipt."""
    if not data.tasks:
        return None
    sources = [row.name for row in data.funnel if row.kind == "source"]
    sources = [name for name in sources if any(row.sources.get(name) for row in data.tasks)]
    common = any(row.common is not None for row in data.tasks)
    columns = [Column("Evaluation set"), Column("Documents", True, "dropped or cut because of it")]
    columns += [Column(name, True, "of them, of this source") for name in sources]
    columns += [Column("Examples found", True), Column("Share", True, "of all its examples")]
    columns += [Column("Examples", True), Column("Too short", True, "examples too short to be looked for")]
    columns += [Column("N-grams", True, "different ones that were looked for")]
    columns += [Column("Common", True, "n-grams passed over: they are in too many documents")] if common else []
    columns += [Column("For example"), Column("It has")]
    cells = []
    for row in data.tasks:
        line = [Cell(markup.identifier(row.name), row.name), markup.integer(row.documents)]
        line += [markup.integer(row.sources.get(name, 0)) for name in sources]
        line += [
            markup.integer(row.examples_hit),
            markup.share(row.examples_hit, row.examples),
            markup.integer(row.examples),
            markup.integer(row.too_short),
            markup.integer(row.ngrams),
        ]
        line += [markup.integer(row.common)] if common else []
        if row.example is None:
            line += [Cell(figures.DASH), Cell(figures.DASH)]
        else:
            doc_id, example, ngram = row.example
            said = join([tag("bdi", ngram), tag("span", f"example {example}", class_="sub")])
            line += [_document(doc_id), Cell(said, css="says")]
        cells.append(line)
    intro = "Text of evaluation sets in the documents that filter and deduplication left."
    return join([markup.intro(intro), markup.table("Evaluation sets", columns, cells)])


def _document(doc_id: str | None) -> Cell:
    if doc_id is None:
        return Cell(figures.DASH)
    return Cell(tag("code", markup.shorten(doc_id)), doc_id, doc_id, "tight")


def _replacement(text: str | None) -> Html:
    if text is None:
        return tag("span", figures.DASH, class_="muted")
    return tag("bdi", text if text.strip() else text.replace("\n", "⏎").replace(" ", "␣"))
