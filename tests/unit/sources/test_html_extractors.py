"""HTML to text."""

from __future__ import annotations

import sys

import pytest
from resiliparse.parse.html import HTMLTree

from redpajama_pipe.errors import SetupError
from redpajama_pipe.sources import html
from redpajama_pipe.sources.html import (
    BUDGETS,
    FEW_TAGS,
    MAX_DEPTH,
    MAX_NODES,
    Budget,
    ExtractionError,
    estimate,
    find_extractor,
    too_complex,
)

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
    assert estimate(wide) == (1, 10_000)
    assert find_extractor("plain")(wide).text.count("words") == 10_000


@pytest.mark.parametrize("tag", ["b", "FONT size=2", "a href=x"])
def test_what_every_block_opens_again_is_refused_before_it_is_parsed(tag: str) -> None:
    page = "".join(f"<p><{tag} id={number}>x</p>" for number in range(1500))
    depth, nodes = estimate(page)
    assert depth <= MAX_DEPTH
    assert nodes > MAX_NODES
    with pytest.raises(ExtractionError, match="nodes") as caught:
        find_extractor("plain")(page)
    assert caught.value.reason == "too_complex"


@pytest.mark.parametrize("closed", ["", "</p>"])
@pytest.mark.parametrize("tags", [40, 200, 400])
def test_nodes_grow_as_the_estimate_says(tags: int, closed: str) -> None:
    half = tags // 2
    worst = "<p>" + "".join(f"<b id={number}>" for number in range(half)) + f"<p>x{closed}" * (half - 1)
    body = HTMLTree.parse(worst).body
    assert body is not None
    made = len(body.get_elements_by_tag_name("b"))
    assert made == half * half  # what FEW_TAGS counts on
    assert made - half <= estimate(worst)[1] <= made + tags


@pytest.mark.parametrize("name", BUDGETS)
def test_pages_over_the_budget_are_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if name == "trafilatura":
        pytest.importorskip("trafilatura")
    page = "<article>" + "<p>Some words of a paragraph that says something.</p>" * 1000 + "</article>"
    tags = page.count("<")
    monkeypatch.setitem(BUDGETS, name, Budget(len(page), tags))
    assert "paragraph" in find_extractor(name)(page).text
    assert too_complex(page, Budget(len(page), tags)) is None
    for budget, why in ((Budget(len(page) - 1, tags), "characters"), (Budget(len(page), tags - 1), f"{tags} tags")):
        monkeypatch.setitem(BUDGETS, name, budget)
        with pytest.raises(ExtractionError, match=why) as caught:
            find_extractor(name)(page)
        assert caught.value.reason == "too_complex"


def test_no_budget_looks_inside_a_page_of_few_tags() -> None:
    assert (FEW_TAGS // 2) ** 2 <= MAX_NODES


def test_trafilatura_finds_the_article_and_its_table() -> None:
    pytest.importorskip("trafilatura")
    extract = find_extractor("trafilatura")
    page = extract(PAGE.replace("</article>", "<table><tr><td>cell one</td><td>cell two</td></tr></table></article>"))
    assert page.title == "The title"
    for expected in ("First paragraph of the article", "- one item of a list", "Second paragraph.", "cell one"):
        assert expected in page.text
    for unexpected in ("Products", "Imprint", "a picture"):
        assert unexpected not in page.text
    assert extract("<title>Nothing</title>").text == ""


def test_trafilatura_does_not_remember_other_pages() -> None:
    pytest.importorskip("trafilatura")
    extract = find_extractor("trafilatura")  # its own deduplication would drop what it has seen on earlier pages
    assert len({extract(PAGE).text for _ in range(5)}) == 1


def test_whatever_an_extractor_raises_becomes_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> str:
        raise RuntimeError("parser said no")

    monkeypatch.setattr(html, "extract_plain_text", fail)
    with pytest.raises(ExtractionError, match="resiliparse: RuntimeError: parser said no") as caught:
        find_extractor("resiliparse")("<p>x")
    assert caught.value.reason == "extraction_failed"
