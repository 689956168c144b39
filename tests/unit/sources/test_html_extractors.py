"""HTML to text."""

from __future__ import annotations

import sys

import pytest

from redpajama_pipe.errors import SetupError
from redpajama_pipe.sources import html
from redpajama_pipe.sources.html import MAX_DEPTH, ExtractionError, find_extractor, nesting

PAGE = """<html><head><title>
  The   title </title></head><body><nav><a href="/">Home</a> <a href="/x">Products</a></nav>
<main><div><div><div><div><div><article><h1>Heading</h1>
<p>First paragraph of the article, long enough to count as content.</p>
<ul><li>one item of a list that says something about the subject</li>
<li>another item of the same list, no less to the point</li></ul>
<img alt="a picture of something" src="x">
<p>Second paragraph.</p></article></div></div></div></div></div></main><footer>Imprint</footer></body></html>"""


def test_main_content_has_paragraphs_and_bullets_and_no_navigation() -> None:
    page = find_extractor("resiliparse")(PAGE)
    assert page.title == "The title"
    lines = [line.strip() for line in page.text.splitlines() if line.strip()]
    assert lines == [
        "Heading",
        "First paragraph of the article, long enough to count as content.",
        "• one item of a list that says something about the subject",
        "• another item of the same list, no less to the point",
        "Second paragraph.",
    ]


def test_plain_keeps_the_navigation() -> None:
    text = find_extractor("plain")(PAGE).text
    assert "Products" in text
    assert "Imprint" in text
    assert "picture" not in text


def test_page_without_title_has_none() -> None:
    assert find_extractor("plain")("<p>x").title is None


def test_missing_trafilatura_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trafilatura", None)
    with pytest.raises(SetupError, match=r"pip install 'redpajama-pipe\[trafilatura\]'"):
        find_extractor("trafilatura")


def test_deep_nesting_is_refused_before_it_costs_anything() -> None:
    deep = MAX_DEPTH + 1
    for tags in ("<div>" * deep + "x", "<p>" + "<b><i>" * deep + "x" + "</i></b>" * deep):
        with pytest.raises(ExtractionError) as caught:
            find_extractor("resiliparse")(tags)
        assert caught.value.reason == "too_complex"


def test_many_tags_side_by_side_are_not_deep() -> None:
    wide = "<div><p>words and words</p></div>" * 5000
    assert nesting(wide, MAX_DEPTH) == 1
    assert find_extractor("plain")(wide).text.count("words") == 10_000


def test_whatever_an_extractor_raises_becomes_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> str:
        raise RuntimeError("parser said no")

    monkeypatch.setattr(html, "extract_plain_text", fail)
    with pytest.raises(ExtractionError, match="resiliparse: RuntimeError: parser said no") as caught:
        find_extractor("resiliparse")("<p>x")
    assert caught.value.reason == "extraction_failed"
