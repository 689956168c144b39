"""Wikitext to text, as the published sets have it."""

from __future__ import annotations

import re

import mwparserfromhell
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mwparserfromhell.parser import ParserError

from redpajama_pipe.sources import wikitext
from redpajama_pipe.sources.wiki_aliases import CATEGORY_ALIASES, MEDIA_ALIASES
from redpajama_pipe.sources.wikitext import WikitextError, clean_rpv1, is_redirect

SOURCE = """{{Infobox|a=b}}
'''Foo''' ist ein [[Bar|Baz]]<ref>x</ref>. [[Datei:a.jpg|mini|Bild]] __NOTOC__ &nbsp;end {{lang|en|hi}}

== Geschichte ==
Text [http://x.org link] <!-- c --> <math>x^2</math> <nowiki>[[x]]</nowiki>
* eins
* zwei
{| class="wikitable"
| a || b
|}
<gallery>
Datei:b.jpg|cap
</gallery>
== Weblinks ==
[[Kategorie:Test]]
"""
CLEAN = "Foo ist ein Baz.   \xa0end\n\nGeschichte \nText link   [[x]]\n eins\n zwei\n\nWeblinks \nTest"


def test_golden_page_of_the_published_cleaning() -> None:
    assert clean_rpv1(SOURCE, "de") == CLEAN


def test_prefixes_of_another_language_leave_markup_behind() -> None:
    text = clean_rpv1(SOURCE, "en")
    assert "mini|Bild" in text
    assert text.endswith("Kategorie:Test")


def test_prefixes_of_the_dump_serve_where_no_table_is_published() -> None:
    source = "a [[Tiedosto:x.jpg|y]] b [[Luokka:Kissat]] [[luokka:Koirat|*]]"
    assert clean_rpv1(source, "fi") == "a y b Luokka:Kissat *"
    assert clean_rpv1(source, "fi", ["Tiedosto"], ["Luokka"]) == "a  b Kissat"  # * becomes a list


@pytest.mark.parametrize("language", MEDIA_ALIASES)
def test_every_prefix_of_a_language_is_removed(language: str) -> None:
    for name in ("File", "image", *MEDIA_ALIASES[language]):
        assert clean_rpv1(f"a[[{name}:x.jpg|thumb|words]]b", language) == "ab"
    for name in ("Category", *CATEGORY_ALIASES[language]):
        assert clean_rpv1(f"[[{name}:Name]]", language) == "Name"


def test_links_tables_and_references_inside_others() -> None:
    assert clean_rpv1("<div>a[[File:x.jpg|[[File:y.jpg]] z]]b<ref>c[[d]]</ref></div>", "en") == "ab"
    assert clean_rpv1("[[File:a.jpg|[[b]]<ref>c</ref>]]d", "en") == "d"


def literal(raw: str, language: str) -> str:
    """Follow the published description step by step, with the slow `remove` of mwparserfromhell."""
    is_media, in_category = wikitext._prefixes(language, (), ())
    sections = []
    for section in mwparserfromhell.parse(raw).get_sections(flat=True, include_lead=True, include_headings=True):
        for link in section.ifilter_wikilinks(recursive=True):
            if is_media.match(str(link.title)):
                try:
                    section.remove(link)
                except ValueError:
                    continue
            elif in_category.match(str(link.title)):
                link.text = in_category.sub("", link.__strip__())
        for tag in section.ifilter_tags(matches=lambda node: str(node.tag) in {"ref", "table"}, recursive=True):
            try:
                section.remove(tag)
            except ValueError:
                continue
        sections.append(re.sub("__[A-Z]*__", "", section.strip_code().strip()))
    return "\n\n".join(sections)


PIECES = [
    "[[File:",
    "[[Category:",
    "[[",
    "|",
    "]]",
    "{{",
    "}}",
    "<ref>",
    "</ref>",
    "<div>",
    "</div>",
    "<ref/>",
    "''",
    "b",
    "__TOC__",
    "&amp;",
    "<!--",
    "-->",
    "<gallery>",
    "</gallery>",
    "\n{|\n|",
    "\n|}",
    "\n== h ==\n",
    "* ",
    "a ",
]


@settings(max_examples=300)
@given(st.lists(st.sampled_from(PIECES), max_size=40).map("".join))
def test_fast_removal_gives_the_published_text(raw: str) -> None:
    assert clean_rpv1(raw, "en") == literal(raw, "en")


def test_nodes_are_not_searched_for_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(*_: object) -> None:
        raise AssertionError("Wikicode.remove searches the whole section for each node")

    monkeypatch.setattr(mwparserfromhell.wikicode.Wikicode, "remove", slow)
    assert clean_rpv1("a<ref>b</ref> [[c]] [[File:d]]\n" * 3, "en") == "a c \na c \na c"


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("{{" * 200 + "a" + "}}" * 200, "nested 200 deep"),
        ("[[" * 3000, "nested 3000 deep"),
        ("é" * (1 << 20) + "x", "2097153 bytes"),
        ("<b>" * 3000, "unclosed mark-up times characters is 27,000,000; the limit is 20,000,000"),
        ("</b>" * 3000 + "<b>" * 3000, "unclosed mark-up times characters is 63,000,000"),
        ("<!--" * 3000, "unclosed mark-up times characters is 36,000,000"),
        ("[http://x " * 2000, "unclosed mark-up times characters is 40,000,000"),
        ("<div a=" * 2000, "unclosed mark-up times characters is 28,000,000"),
    ],
)
def test_too_complex_pages_are_refused(source: str, why: str) -> None:
    with pytest.raises(WikitextError, match=why) as caught:
        clean_rpv1(source, "en")
    assert caught.value.reason == "too_complex"


def test_what_closes_or_stands_alone_is_no_burden() -> None:
    many = "<b>a</b> <ref name=b /> <br> <li>c <!-- d --> [http://e f] [[g]] h<i\n>j</i>\n" * 2000
    assert clean_rpv1(many, "en").count("a") == 2000


def test_parser_error_has_its_own_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: str) -> None:
        raise ParserError("C tokenizer exited with non-empty token stack")

    monkeypatch.setattr(mwparserfromhell, "parse", fail)
    with pytest.raises(WikitextError, match="non-empty token stack") as caught:
        clean_rpv1("x", "en")
    assert caught.value.reason == "wikitext_parser"


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("#REDIRECT [[House Tornado]]", "en", True),
        ("#redirect: [[a]]", "de", True),
        ("\n#WEITERLEITUNG [[a]]", "de", True),
        ("#WEITERLEITUNG [[a]]", "en", False),
        ("#перенаправление [[a]]", "ru", True),
        ("#ПЕРЕНАПРАВЛЕННЯ[[a]]", "uk", True),
        ("#TAM [[a]]", "pl", True),
        ("#redirect is a word", "en", False),
        ("# a list", "en", False),
        ("text #REDIRECT [[a]]", "en", False),
    ],
)
def test_redirects_in_the_words_of_each_language(text: str, language: str, expected: bool) -> None:
    assert is_redirect(text, language) is expected
