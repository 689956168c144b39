from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser

import pytest
from report_factory import SCRIPT_TEXT, digest, empty_report, extreme_report, funnel_row, rich_report

from redpajama_pipe.report import html, markup, outcomes, sections
from redpajama_pipe.report.model import FunnelRow, QuarantineRow, ReportData, RuleRow, ShardRow

VOID = {"meta", "wbr"}
REPORTS = {"rich": rich_report, "empty": empty_report, "extreme": extreme_report}


class Page(HTMLParser):
    """Reads a page back: elements with their attributes, text by element, and whether every element is closed."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[tuple[str, str]] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"<{tag}> repeats an attribute: {names}"
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open:
            self.text.append((self.open[-1], data))

    def all_text(self) -> str:
        return "".join(text for tag, text in self.text if tag not in ("script", "style"))


@pytest.fixture(scope="module", params=sorted(REPORTS))
def data(request: pytest.FixtureRequest) -> ReportData:
    return REPORTS[request.param]()


def test_every_report_is_well_formed_html(data: ReportData) -> None:
    page = Page(html.render(data))
    assert page.open == []
    tags = [tag for tag, _ in page.elements]
    assert tags.count("h1") == 1
    assert tags.count("main") == 1


def test_ids_are_unique_and_every_anchor_has_its_target(data: ReportData) -> None:
    page = Page(html.render(data))
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    anchors = [attributes["href"] for tag, attributes in page.elements if tag == "a"]
    inside = [anchor[1:] for anchor in anchors if anchor and anchor.startswith("#")]
    assert inside
    assert set(inside) <= set(ids)


def test_nothing_is_loaded_from_anywhere(data: ReportData) -> None:
    page = Page(html.render(data))
    loading = {"src", "srcset", "poster", "background", "action", "formaction", "ping", "xlink:href"}
    for tag, attributes in page.elements:
        assert not loading & attributes.keys(), tag
        assert tag not in {"link", "img", "iframe", "object", "embed", "base", "use", "image"}
        if "href" in attributes:
            assert tag == "a"
            assert re.match(r"#|https?://", attributes["href"] or "")
        assert not [name for name in attributes if name.startswith("on")]
    styles = "".join(text for tag, text in page.text if tag == "style")
    assert not re.search(r"url\(|@import|@font-face", styles)
    policies = [
        attributes["content"] for tag, attributes in page.elements if tag == "meta" and "http-equiv" in attributes
    ]
    assert len(policies) == 1
    assert (policies[0] or "").startswith("default-src 'none'; ")


def test_crawled_markup_is_text_and_never_an_element() -> None:
    source = html.render(rich_report())
    assert SCRIPT_TEXT not in source
    page = Page(source)
    assert [tag for tag, _ in page.elements].count("script") == 1  # the table sorter
    assert SCRIPT_TEXT in page.all_text()
    assert "<b>Free</b> & " in page.all_text()


def test_hostile_values_stay_inside_every_text_field() -> None:
    hostile = "\"'><script>x</script>&amp;</style></title>-->"

    def poison(value: object) -> object:
        if isinstance(value, str):
            return hostile
        if isinstance(value, dict):
            return {poison(key): poison(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [poison(item) for item in value]
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fixed = {"kind", "side"}
            new = {f.name: poison(getattr(value, f.name)) for f in dataclasses.fields(value) if f.name not in fixed}
            return dataclasses.replace(value, **new)
        return value

    poisoned = poison(rich_report())
    assert isinstance(poisoned, ReportData)
    source = html.render(poisoned)
    page = Page(source)
    assert "<script>x" not in source
    assert page.open == []
    assert [tag for tag, _ in page.elements].count("script") == 1
    assert all(tag != "a" or (attributes["href"] or "").startswith("#") for tag, attributes in page.elements)


def test_only_http_urls_become_links() -> None:
    assert 'href="https://a.example/?q=&quot;x"' in markup.link('https://a.example/?q="x')
    assert 'href="HTTP://a.example"' in markup.link("HTTP://a.example")
    for url in (
        "javascript:alert(1)",
        " https://a.example",
        "//a.example",
        "data:text/html,x",
        "file:///etc/passwd",
        "",
    ):
        assert "<a" not in markup.link(url)
    assert "<a" not in markup.link(None)


def test_control_characters_and_lone_surrogates_can_be_encoded() -> None:
    shown = markup.escape("a\x00b\x1bc\ud800d\ufffee\tf")
    assert shown == "a\ufffdb\ufffdc\ufffdd\ufffde\tf"
    html.render(rich_report()).encode("utf-8")


def test_same_data_gives_the_same_bytes(data: ReportData) -> None:
    assert html.render(data) == html.render(data)
    assert html.render(rich_report()) == html.render(rich_report())


def test_every_threshold_is_drawn_and_named() -> None:
    for item in rich_report().histograms:
        section = sections.histograms(dataclasses.replace(empty_report(), histograms=[item]))
        assert section is not None
        page = Page(section)
        lines = [a for tag, a in page.elements if tag == "line" and "bound" in (a.get("class") or "").split()]
        assert len(lines) == len({(bound.side, bound.value) for bound in item.thresholds})
        for bound in item.thresholds:
            assert bound.rule in page.all_text()


def test_every_section_of_a_full_report_is_there_and_an_empty_one_says_what_it_lacks() -> None:
    full, empty = html.render(rich_report()), html.render(empty_report())
    for key, heading, _ in sections.SECTIONS:
        assert f'<section id="{key}"' in full
        assert f'<section id="{key}"' not in empty
        assert heading.lower() in Page(empty).all_text()
    assert "No documents came in" in empty


def test_headline_numbers_are_the_totals() -> None:
    text = Page(html.render(rich_report())).all_text()
    for number in ("1,289,870 records", "681,115 documents", "52.8 %", "10,870 records", "770 M", "40 min 02 s"):
        assert number in text


def test_balance_is_stated_and_a_broken_one_is_an_alert() -> None:
    whole = empty_report()
    good = FunnelRow("total", "x", 10, 1, {"filter": 2, "own_stage": 3}, 4)
    source = html.render(dataclasses.replace(whole, totals=good))
    assert "Reconciled." in source
    assert 'role="alert"' not in source
    broken = html.render(dataclasses.replace(whole, totals=dataclasses.replace(good, kept=5)))
    assert "Not reconciled." in broken
    assert "difference -1" in broken
    assert 'role="alert"' in broken


def test_every_graphic_has_a_label_and_every_table_a_caption(data: ReportData) -> None:
    page = Page(html.render(data))
    for tag, attributes in page.elements:
        if tag == "svg":
            assert attributes["role"] == "img"
            assert attributes["aria-label"]
        if tag == "th":
            assert attributes["scope"] in ("row", "col")
    tags = [tag for tag, _ in page.elements]
    assert tags.count("caption") == tags.count("table")


def test_all_languages_are_shown_however_many() -> None:
    text = Page(html.render(extreme_report())).all_text()
    assert all(f"lang_{index:03d}" in text for index in range(150))


def test_a_table_says_how_many_rows_it_leaves_out() -> None:
    shards = [ShardRow(f"s{index}", 1, 1, 1, digest("s", 64)) for index in range(markup.MAX_ROWS + 234)]
    text = Page(html.render(dataclasses.replace(empty_report(), shards=shards))).all_text()
    assert "The first 1,000 rows; 234 more are not shown." in text
    assert "1,234" in text  # the totals count them all


def test_checksums_are_short_with_the_whole_in_the_title() -> None:
    source = html.render(rich_report())
    whole = rich_report().shards[0].sha256
    assert f'title="{whole}"' in source
    assert f"<code>{whole[: markup.DIGITS]}…</code>" in source


def test_differing_words_of_a_cluster_are_marked_on_both_sides() -> None:
    page = Page(html.render(rich_report()))
    marked = [text for tag, text in page.text if tag == "mark"]
    assert "harbour" in marked
    assert "harbor" in marked
    assert "About five thousand" in marked


def test_unknown_figures_are_dashes_not_zeros() -> None:
    data = dataclasses.replace(
        empty_report(), rules=[RuleRow("filter", "r", "x > 1", 3)], quarantine=[QuarantineRow("s", "r", 1)]
    )
    section = sections.rules(data)
    assert section is not None
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", section)
    assert cells == ["3", "–", "–", "–"]  # counted, share of no documents, any, alone


def test_languages_are_ordered_by_size_and_sources_as_given() -> None:
    rows = [funnel_row("language", name, (count, 0, 0, 0, 0, 1)) for name, count in (("aa", 5), ("bb", 50), ("cc", 20))]
    drawn = outcomes.funnel_table("language", rows)
    assert sorted(("aa", "bb", "cc"), key=lambda name: drawn.index(f">{name}<")) == ["bb", "cc", "aa"]
    rows = [dataclasses.replace(row, kind="source") for row in rows]
    drawn = outcomes.funnel_table("source", rows)
    assert sorted(("aa", "bb", "cc"), key=lambda name: drawn.index(f">{name}<")) == ["aa", "bb", "cc"]
