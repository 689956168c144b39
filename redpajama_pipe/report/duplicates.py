"""The report's section on near-duplicates: each cluster with one pair side by side, differing words marked."""

from __future__ import annotations

from collections.abc import Sequence

from redpajama_pipe.report import figures, markup, worddiff
from redpajama_pipe.report.markup import Html, join, name, tag
from redpajama_pipe.report.model import Cluster, DocCard, ReportData

MAX_CLUSTERS = 40


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
