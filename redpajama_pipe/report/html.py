"""One self-contained HTML page about a run: no network, no fonts, no scripts but a table sorter; light, dark and print.

`render` is a pure function: the same data gives the same bytes. A Content-Security-Policy in the page forbids loading
anything, so a crawled text could not make the page fetch even if it escaped escaping.
"""

from __future__ import annotations

import base64
import hashlib

from redpajama_pipe.report import charts, figures, outcomes, sections
from redpajama_pipe.report.markup import Html, escape, join, name, tag
from redpajama_pipe.report.model import FunnelRow, ReportData
from redpajama_pipe.report.style import CSS, SCRIPT


def render(data: ReportData) -> str:
    """Draw the report.

    Returns:
        The page, to be written as UTF-8. It holds no external reference but links to documents' own URLs.
    """
    drawn = [(key, heading, make(data)) for key, heading, make in sections.SECTIONS]
    shown = [(key, heading, content) for key, heading, content in drawn if content is not None]
    empty = [heading.lower() for _, heading, content in drawn if content is None]
    body = join(
        [
            tag("a", "Skip to the figures", class_="skip", href="#main"),
            tag("header", _masthead(data), class_="wrap"),
            _navigation([("funnel", "Funnel")] + [(key, heading) for key, heading, _ in shown]),
            tag(
                "main",
                _section("funnel", "From records to kept documents", _funnel(data)),
                *(_section(key, heading, content) for key, heading, content in shown),
                _footer(data, empty),
                class_="wrap",
                id="main",
            ),
            tag("script", Html(SCRIPT)),
        ],
        "\n",
    )
    return f"<!DOCTYPE html>\n{tag('html', _head(data), tag('body', body), lang='en')}\n"


def _head(data: ReportData) -> Html:
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode("ascii")
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    policy += "; base-uri 'none'; form-action 'none'"
    return join(
        [
            Html("<head>"),
            Html('<meta charset="utf-8">'),
            Html(f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">'),
            Html('<meta name="viewport" content="width=device-width, initial-scale=1">'),
            Html('<meta name="referrer" content="no-referrer">'),
            tag("title", f"{data.title} · {data.recipe_name}"),
            tag("style", Html(CSS)),
            Html("</head>"),
        ],
        "\n",
    )


def _masthead(data: ReportData) -> Html:
    totals = data.totals
    facts = [tag("div", tag("dt", key), tag("dd", tag("bdi", value))) for key, value in data.facts.items()]
    return tag(
        "div",
        tag("p", "recipe ", name(data.recipe_name), " · ", data.created, class_="eyebrow"),
        tag("h1", name(data.title)),
        _lede(data),
        tag("dl", *_headline(data, totals), class_="headline"),
        tag("dl", *facts, class_="facts") if facts else None,
        class_="masthead",
    )


def _lede(data: ReportData) -> Html:
    totals = data.totals
    if not totals.documents_in:
        return tag("p", "No documents came in.", class_="lede")
    sources = sum(row.kind == "source" for row in data.funnel)
    languages = sum(row.kind == "language" for row in data.funnel)
    kept = figures.share(totals.kept, totals.documents_in)
    parts: list[object] = ["Of ", tag("b", figures.plural(totals.documents_in, "record")), " read"]
    if sources:
        parts.append(f" from {figures.plural(sources, 'source')}")
    parts += [", ", tag("b", figures.plural(totals.kept, "document")), f" ({kept}) stay"]
    if languages:
        parts.append(f", in {figures.plural(languages, 'language')}")
    if totals.tokens is not None:
        parts += [": ", tag("b", figures.plural(totals.tokens, "token"))]
        if data.shards:
            parts.append(f" in {figures.plural(len(data.shards), 'shard')}")
    return tag("p", *parts, ".", class_="lede")


def _headline(data: ReportData, totals: FunnelRow) -> list[Html]:
    def entry(label: str, big: str, small: str, title: str = "") -> Html:
        return tag(
            "div",
            tag("dt", label),
            tag("dd", big, class_="big", title=title or None),
            tag("dd", small or "\u00a0", class_="small"),
        )

    dropped = sum(totals.dropped.values())
    seconds = sum(row.seconds for row in data.stages)
    made = [
        entry("Kept", figures.share(totals.kept, totals.documents_in), figures.plural(totals.kept, "document")),
        entry("Dropped", figures.share(dropped, totals.documents_in), figures.plural(dropped, "document")),
        entry(
            "Quarantined",
            figures.share(totals.quarantined, totals.documents_in),
            figures.plural(totals.quarantined, "record"),
        ),
    ]
    if totals.tokens is not None:
        each = f"{totals.tokens / totals.kept:,.0f} a document" if totals.kept else ""
        made.append(entry("Tokens", figures.compact(totals.tokens), each, f"{totals.tokens:,}"))
    if totals.bytes_in is not None:
        left = "" if totals.bytes_kept is None else f"{figures.size(totals.bytes_kept)} kept"
        made.append(entry("Text", figures.size(totals.bytes_in), left, f"{totals.bytes_in:,} bytes"))
    if data.stages:
        made.append(entry("Time", figures.duration(seconds), figures.plural(len(data.stages), "stage")))
    return made


def _navigation(entries: list[tuple[str, str]]) -> Html:
    items = [tag("li", tag("a", heading, href=f"#{key}")) for key, heading in entries]
    return tag("nav", tag("ul", *items, class_="wrap"), aria_label="Sections")


def _section(key: str, heading: str, content: Html) -> Html:
    return tag("section", tag("h2", heading, id=f"{key}-heading"), content, id=key, aria_labelledby=f"{key}-heading")


def _funnel(data: ReportData) -> Html:
    totals = data.totals
    if not totals.documents_in:
        return tag("p", "There is nothing to draw: no documents came in.", class_="intro")
    kept, exits = outcomes.funnel_slices(totals)
    whole = totals.documents_in
    parts = ", ".join(f"{part.name} {part.value:,.0f} ({figures.share(part.value, whole)})" for part in exits)
    label = f"{whole:,} records in; {parts}; kept {totals.kept:,} ({figures.share(totals.kept, whole)})"
    steps = [_step(None, "read", whole, whole)]
    steps += [_step(part.css, part.name, int(part.value), whole) for part in exits]
    steps.append(_step(kept.css, "kept", totals.kept, whole))
    flow = tag(
        "div",
        charts.flow(kept, exits, label),
        charts.flow(kept, exits, label, upright=True),
        tag("ol", *steps),
        class_="flow",
        style=f"--n: {len(steps)}",
    )
    intro = "Each band leaves the stream where its documents do; what runs through to the end is kept."
    parts_of = [_balance(totals)]
    for kind, heading in (("source", "By source"), ("language", "By language")):
        rows = [row for row in data.funnel if row.kind == kind]
        if rows:
            parts_of += [tag("h3", heading), outcomes.funnel_table(kind, rows)]
    if any(row.kind == "language" for row in data.funnel) and totals.quarantined:
        parts_of.append(tag("p", "Quarantined records have no language and are counted by source only.", class_="note"))
    return join([tag("p", intro, class_="intro"), flow, *parts_of])


def _step(css: str | None, what: str, value: int, whole: int) -> Html:
    return tag(
        "li",
        tag("div", what, class_="what"),
        tag(
            "div",
            figures.compact(value) if value >= 10**9 else figures.count(value),
            class_="value",
            title=f"{value:,}",
        ),
        tag("div", figures.share(value, whole), class_="part"),
        class_=css,
    )


def _balance(totals: FunnelRow) -> Html:
    _, exits = outcomes.funnel_slices(totals)
    accounted = totals.kept + sum(int(part.value) for part in exits)
    terms = " + ".join([f"{totals.kept:,} kept", *(f"{int(part.value):,} {part.name}" for part in exits)])
    if accounted == totals.documents_in:
        return tag("p", tag("b", "Reconciled."), tag("span", f"{totals.documents_in:,} in = {terms}"), class_="balance")
    missing = totals.documents_in - accounted
    text = f"{totals.documents_in:,} in, but {terms} = {accounted:,}; difference {missing:+,}"
    return tag("p", tag("b", "Not reconciled."), tag("span", text), class_="balance broken", role="alert")


def _footer(data: ReportData, empty: list[str]) -> Html:
    left_out = f" Nothing to show for: {', '.join(empty)}." if empty else ""
    return tag("footer", tag("p", f"redpajama_pipe · {data.created}.{left_out}"))
