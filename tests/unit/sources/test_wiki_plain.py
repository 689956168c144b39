"""Wikitext to clean text for pretraining."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redpajama_pipe.sources.wiki_aliases import CATEGORY_ALIASES, INTERLANGUAGE, MEDIA_ALIASES
from redpajama_pipe.sources.wiki_lines import decode, unquote
from redpajama_pipe.sources.wiki_plain import clean_plain
from redpajama_pipe.sources.wikitext import MAX_BYTES, MAX_DEPTH, WikitextError

PAGE = """{{Infobox|a=b
|c={{d|e}}
}}
'''Foo''' ist ein [[Bar|Baz]]<ref>x {{y}}</ref>. [[Datei:a.jpg|mini|Bild [[mit]] Link]] __NOTOC__ &nbsp;Ende
{{lang|en|hi}} ({{IPA|x}}, 1900) und [[Haus]]es.

== Geschichte ==
Text [http://x.org link] <!-- c --> <math>x^2</math> <nowiki>[[x]]</nowiki>
* eins
** ''zwei''
# erstens
# zweitens
; Wort : Bedeutung
: eingerückt

{| class="wikitable"
| a || {| 
| b
|}
|}
<gallery>
Datei:b.jpg|cap
</gallery>
=== Leer ===
== Einzelnachweise ==
<references />
== Weblinks ==
{{Commons}}
* [http://y.org]
[[Kategorie:Test]]
[[fr:Test]]
"""
TEXT = """Foo ist ein Baz. Ende
hi (1900) und Hauses.

Geschichte
Text link $x^2$ [[x]]
- eins
  - zwei
1. erstens
2. zweitens
Wort: Bedeutung
eingerückt"""


def test_golden_page() -> None:
    assert clean_plain(PAGE, "de") == TEXT


@pytest.mark.parametrize(
    ("source", "text"),
    [
        # links
        ("[[a]] [[a|b]] [[a]]s [[A b#c|d]] [[:a]] [[a|b [c] d]] [[a|[b]]]", "a b as d a b [c] d [b]"),
        ("[[Foo (bar)|]] [[Help:Foo|]] [[a|b|c]] [[|x]]", "Foo Foo c x"),
        ("a[[File:x.jpg|thumb|b [[c]] {{d}} [http://e f]]]g", "ag"),
        ("[[image :x.jpg]]a[[ FILE: y]]b[[Media:z.ogg|listen]]", "ab"),
        ("a [[Category:X]][[category:Y|*]]\n[[Category:Z]]\nb", "a\nb"),
        ("see [[:Category:Cats]], [[:File:Cat.jpg]] and [[:de:Katze]]", "see Cats, Cat.jpg and Katze"),
        ("a\n[[de:A]]\n[[zh-yue:B|c]][[Be-x-old:D]]", "a"),
        ("[[wikt:a|b]] [[Star Wars: C]] [[d: e|f]]", "b Star Wars: C f"),
        (
            "[http://a.b] [https://a.b c d] [//a.b e] [mailto:a@b f] [http://a.b g [h] i] http://a.b",
            "c d e f g [h] i http://a.b",
        ),
        ("[1] [a http://b] x[i]", "[1] [a http://b] x[i]"),
        # templates
        ("a {{b}} c{{d|e={{f}}|[[g|h]]}}, {{i}}.", "a c."),
        ("a {{b}}. c {{d}}, e", "a. c, e"),
        ("{{a\n|b=c\n}}\nd", "d"),
        ("a {{{1|b}}} {{{{c}}}} d {{#if:x|y}} {{PAGENAME}} {{DEFAULTSORT:q}}e", "a d e"),
        ("{{{lang|a|b}}} {{{{lang|a|b}}}} {{ {{lang|a|b}} }}c", "c"),
        # brackets, only where something was dropped
        ("a ({{b}}) c ({{d}}, {{e}}) f () g( ) h()", "a c f () g( ) h()"),
        ("a ({{b}}, 1900) b (1900; {{c}}) c ({{d}}; {{e}}, x)", "a (1900) b (1900) c (x)"),
        ("a, {{b}}, c ; d {{e}} ; f<ref/> ; g (x <ref>y</ref>)", "a, c ; d ; f ; g (x)"),
        ("（{{a}}）b（{{c}}、d）", "b（d）"),
        ("a\n* {{b}} –\n: ({{c}};{{d}}).\n{{e}}!\nf", "a\nf"),
        # tables
        ("a\n{|\n! b || c\n|-\n| d\n|}\ne", "a\ne"),
        ("a\n:{| x\n| {{b|\n|}} \n|\n{|\n|c\n|}\n|}d", "a\nd"),
        ("a {{b|\n{|\n| c\n|}}} d {{e\n|}} f", "a d f"),
        ("{{clear}}{|\n|a\n|}\nb", "b"),
        ("a<table><tr><td>b<table><tr><td>c</table></table>d", "a\nd"),
        # tags
        ('a<ref name="b">c <b>d</b></ref><ref name=e /><REF>f</REF> g', "a g"),
        ("a<!-- b\n== c ==\n-->d\n<!-- e -->\nf", "ad\nf"),
        ("a <b>b</b><i >c</i> <small>d</small> <span style='x'>e</span> f<br>g<br />h", "a bc d e f\ng\nh"),
        ("H<sub>2</sub>O, m<sup>2</sup>, 10<sup>−3</sup>, 1<sup>er</sup>", "H2O, m², 10⁻³, 1er"),
        ("<div>a</div><p>b<blockquote>c</blockquote>", "a\n\nb\nc"),
        ("<ul><li>a<li>b</li></ul>", "- a\n- b"),
        ("<gallery>\na.jpg|b\n</gallery><timeline>c</timeline><score>d</score><imagemap>e</imagemap>f", "f"),
        ("#include <stdio.h> <Foo> 1 < 2 > 0", "1. include <stdio.h> <Foo> 1 < 2 > 0"),
        ("<nowiki>'' [[a]] {{b}} &amp; == <ref></nowiki>", "'' [[a]] {{b}} & == <ref>"),
        ("<nowiki>* a</nowiki>\n<nowiki/>b '<nowiki/>' c", "* a\nb '' c"),
        ("a\n<pre>\n  b  ''c''\n\n* d\n</pre>\ne", "a\n\n  b  ''c''\n\n* d\n\ne"),
        ('x <syntaxhighlight lang="c" inline>a[[0]];  // &amp;</syntaxhighlight> y', "x a[[0]];  // &amp; y"),
        ("<source lang=c>\nint a;\n\tb();\n</source>", "int a;\n\tb();"),
        ("<code>a[i]</code> <poem>b\nc</poem>", "a[i] \nb\nc".replace(" \n", "\n")),
        ("<noinclude>a</noinclude><includeonly>b</includeonly><onlyinclude>c</onlyinclude>", "ac"),
        # formulas
        (
            "<math>\\frac{a}{b}\n {{c}}</math> <chem>H2O</chem> <math/> <math> </math>.",
            "$\\frac{a}{b} {{c}}$ $\\ce{H2O}$.",
        ),
        # quotes
        ("'''a''' ''b'' '''''c''''' ''''d''''", "a b c 'd'"),
        ("don't ''stop''s 'x'", "don't stops 'x'"),
        # entities
        (
            "a&nbsp;b &ndash; &lt;ref&gt; &#91;&#91;c&#x5D; &amp;amp; &bogus; &amp",
            "a b – <ref> [[c] &amp; &bogus; &amp",
        ),
        ("&#xD800; &#0; &#1114112; &#x10FFFF;", "&#xD800; &#0; &#1114112; \U0010ffff"),
        # magic words
        ("__TOC__a__NOEDITSECTION__ __notoc__ __БЕЗ_ОГЛ__ __KEIN_INHALTSVERZEICHNIS__ __目次非表示__b", "a b"),
        ("__init__ x__y __a b__ ___", "__init__ x__y __a b__ ___"),
        # lists
        (
            "* a\n*b\n** c\n*# d\n*# e\n*: f\n* {{g}}\n*\n# h\n\n# i",
            "- a\n- b\n  - c\n  1. d\n  2. e\n  f\n1. h\n\n2. i",
        ),
        ("; a\n: b\n;c : d\n:: e", "a\nb\nc: d\ne"),
        # headings
        ("=a=\nb\n== c==\n===d ===\ne\n====f====\n== '''g''' <ref>x</ref>==\nh", "a\nb\n\nc\n\nd\ne\n\ng\nh"),
        ("== a ==\n=== b ===\n== c ==\nd\n=== e ===\n{{f}}\n== g ==\n", "c\nd"),
        ("== a == {{anchor}}<!-- b -->\nc\n== {{d}} e ==\nf\n= =\ng", "a\nc\n\ne\nf\ng"),
        ("a = b\n=c\nd=", "a = b\n=c\nd="),
        # lines
        ("a\n\n\n\nb\n \nc\n----\nd\n-----e", "a\n\nb\n\nc\nd\ne"),
        ("  a  b\t c \n\r\n d", "a b c\n\nd"),
    ],
)
def test_constructs(source: str, text: str) -> None:
    assert clean_plain(source, "en") == text


@pytest.mark.parametrize(
    ("language", "source", "text"),
    [
        ("en", "{{lang|de|Wien}} {{lang-fr|''Vienne''}} {{nowrap|a b}} {{transl|ar|b}}", "Wien Vienne a b b"),
        (
            "en",
            "{{convert|5|km|mi}} {{Convert|5|to|10|sqmi|km2}} {{cvt|5|ft|6|in}} {{convert|1,000|km2}}",
            "5 km 5 to 10 sq mi 5 ft 6 in 1,000 km²",
        ),
        ("en", "{{convert|{{formatnum:7}}|C|F}} {{convert|x}}a", "7 °C a"),
        (
            "en",
            "{{val|1.5|e=6|u=m}} {{frac|1|2}} {{frac|3|1|2}} {{sfrac|2}} {{chem|H|2|O}}",
            "1.5×10⁶ m 1/2 3 1/2 1/2 H2O",
        ),
        (
            "en",
            "{{As of|2019|5}} {{as of|2020|lc=y}} {{as of|2021|alt=in 2021}} {{circa|1500}}",
            "As of 2019 as of 2020 in 2021 c. 1500",
        ),
        ("en", "a{{ndash}}b {{=}} c{{nbsp}}d {{nihongo|X|漢}} {{ill|Y|de|Z}} {{quote|text=q}}", "a–b = c d X 漢 Y q"),
        ("en", "a {{citation|title=b}} {{Citation needed|date=c}} {{sfn|d}}{{rp|5}}, e {{flagicon|F}}", "a, e"),
        (
            "fr",
            "Au {{s-|XX}}, {{XXe siècle}}, Otton {{Ier}}, {{unité|3797|m}}, {{citation|mot}}",
            "Au XXe siècle, XXe siècle, Otton Ier, 3797 m, « mot »",
        ),
        (
            "fr",
            "L''''autre''' l'''Iliade'' {{date-|1|mai|1955}} {{lien|lang=de|trad=b|fr=a|texte=c}}",
            "L'autre l'Iliade 1 mai 1955 c",
        ),
        ("fr", "a {{citation}} {{s|}} {{lang|de}} {{nobr|}}b", "a b"),
        ("de", '{{"|Zitat}} {{Höhe|115|DE-NHN}} {{lang|la|pax}}', "„Zitat“ 115 m pax"),
        ("it", "Nell{{'}}''Arte'' {{TA|3 km²}} {{formatnum:4666}}", "Nell’Arte 3 km² 4666"),
        ("ru", "{{lang-de|Berlin}} {{нп5|a|b|de|c}} {{iw|d}} {{IPA|x}}", "Berlin b d"),
        ("uk", "{{lang-de|Berlin}} — {{не перекладено|a|b}}", "Berlin — b"),
        ("sr", "Берлин ({{јез-нем|Berlin}}) -{Berlin}-", "Берлин (Berlin) Berlin"),
        ("zh", "-{zh-hans:计算机; zh-hant:電腦}-a-{H|x}--{zh-cn|b}- {{link-en|c|d}} {{lang|de|e}}", "计算机ab c e"),
        ("en", "x-{y}-", "x-{y}-"),
        ("ja", "{{仮リンク|法|en|Act}}により", "法により"),
        ("pl", "miasto {{lang|de}}", "miasto"),
        ("pt", "no {{séc|XIII}} {{fmtn|90000}}", "no século XIII 90000"),
        ("ro", "{{conversie|22|–|25|C|F}}", "22–25 °C"),
        ("ca", "el {{segle|XIII|s}}", "el segle XIII"),
        ("hu", "{{szám|180000}} török", "180000 török"),
        ("es", "45{{esd}}km", "45 km"),
    ],
)
def test_templates_whose_content_is_text(language: str, source: str, text: str) -> None:
    assert clean_plain(source, language) == text


@pytest.mark.parametrize("language", MEDIA_ALIASES)
def test_files_and_categories_go_in_every_language(language: str) -> None:
    for name in ("File", "image", *MEDIA_ALIASES[language], *CATEGORY_ALIASES[language], "Category"):
        for written in (name, name.upper(), f" {name} "):
            assert clean_plain(f"a[[{written}:x|thumb|[[y]] z]]b", language) == "ab"


def test_names_of_the_dump_are_added() -> None:
    assert clean_plain("a[[Tiedosto:x|y]][[Luokka:z]]b", "fi", ["Tiedosto"], ["Luokka"]) == "ab"
    assert clean_plain("a[[Tiedosto:x|y]]b", "fi") == "ayb"


def test_links_to_every_wikipedia_go() -> None:
    assert {"de", "en", "simple", "zh-min-nan", "be-x-old", "map-bms"} <= INTERLANGUAGE
    assert len(INTERLANGUAGE) == 346
    assert clean_plain("a" + "".join(f"[[{code}:x]]" for code in sorted(INTERLANGUAGE)), "en") == "a"


def test_formulas_can_be_dropped() -> None:
    source = "where <math>x</math> is (<math>y</math>) <ce>z</ce>."
    assert clean_plain(source, "en", math="drop") == "where is."
    assert clean_plain(source, "en", math="keep") == "where $x$ is ($y$) $\\ce{z}$."


@pytest.mark.parametrize(
    ("source", "text"),
    [
        # a template or a table that never ends: its line, and the lines after it that begin with |
        ("a {{b|c\n| d = [[e]]\n| f\ng\n== h ==\ni {{j}}", "a\ng\n\nh\ni"),
        ("a {{fact|date=b} c [[d]]\n\ne", "a c d\n\ne"),
        ("a\n{| class=b\n! c | d\n|-\n| e\nf\n\n== g ==\nh\n|}\ni", "a\nf\n\ng\nh\ni"),
        ("a\n{|\n| {{b\n|}\nc", "a\nc"),
        ("{{a|{| b\n| c\n}}\nd", "d"),
        # a file that never ends: its line; another link: brackets and target
        ("a [[File:b|thumb|c [[d]]\ne\n== f ==\ng", "a\ne\n\nf\ng"),
        ("a [[b c [[d|e]] f\n\ng [[h|i", "a b c e f\n\ng i"),
        ("{{a|[[b}} c [[d]]", "c d"),
        ("[[a {{b]] c\n== d ==\ne", "a\n\nd\ne"),
        # tags
        ("a<ref>b\nc <ref>d</ref> e", "ab\nc e"),
        ("a<ref>b\n== c ==\nd</ref> e", "ab\n\nc\nd e"),
        ("a <!-- b\nc\n== d ==\ne", "a\nc\n\nd\ne"),
        ("a<nowiki>b [[c]]\n<math>d\n<gallery>e", "ab c\nd\ne"),
        ("</ref></gallery></nowiki>a}}]]\n|}\n</table>b", "a\n\nb"),
        # single ones are text
        ("a { b } [ c ] | d", "a { b } [ c ] | d"),
    ],
)
def test_what_is_not_closed_costs_little(source: str, text: str) -> None:
    assert clean_plain(source, "en") == text


@pytest.mark.parametrize(
    "opening", ["{{", "{|", "[[", "<ref>", "<!--", "<gallery>", "<math>", "[[File:", "<table>", "'''"]
)
def test_the_rest_of_a_page_survives_any_opening(opening: str) -> None:
    rest = "\n".join(f"Line {number} stays." for number in range(100))
    assert clean_plain(f"a\n{opening}b\n{rest}", "en").endswith(rest)
    assert clean_plain(f"a\n{opening}b\n== c ==\n{rest}\n}}}}]]\n|}}", "en").endswith(f"c\n{rest}")


MARKS = [
    *("{{", "}}", "{{{", "}}}", "[[", "]]", "|", "=", "\n{|", "\n|-", "\n|}", "\n| ", "\n== a ==\n", "\n=", "=\n"),
    *("<ref>", "</ref>", "<ref/>", "<!--", "-->", "<nowiki>", "</nowiki>", "<math>", "</math>", "<pre>", "</pre>"),
    *("<gallery>", "</gallery>", "<div>", "<br>", "<table>", "</table>", "<li>", "<sup>2</sup>", "<", ">"),
    *("''", "'''", "[http://a ", "]", "[", "File:", "Category:", "de:", "lang|de|", "convert|5|km", "&amp;", "&#91;"),
    *("\n* ", "\n# ", "\n; ", ": ", "__TOC__", "__", "(", ")", ", ", ";", "-{", "}-", "a", "word ", "\n", "\n\n", " "),
    *("\x01", "\x02", "\0", "\r\n", "\ud800", "é", "漢", "\u00a0"),
]


@settings(max_examples=400)
@given(st.lists(st.sampled_from(MARKS), max_size=60).map("".join), st.sampled_from(["en", "fr", "zh", "xx"]))
def test_any_soup_becomes_text(soup: str, language: str) -> None:
    text = clean_plain(soup, language, math="drop")  # too short to be too complex
    assert clean_plain(soup, language, math="drop") == text
    assert not re.search("[\x01\x02\0]|\n\n\n|^\n|\n$", text) or "<pre>" in soup
    if not re.search("<nowiki>|<pre>|&#|&amp;", soup):
        assert not re.search(r"\{\{|\}\}|''|<ref|<!--|</?(?:div|table|gallery)>", text)
        if all(len(run) % 2 == 0 for run in re.findall(r"\[+|\]+", soup)):  # single ones are text
            assert not re.search(r"\[\[|\]\]", text)


balanced: st.SearchStrategy[str] = st.recursive(
    st.sampled_from(["word", "word ", "two words, ", "\n", "\n\n", "é", "''i''", "'''b'''", "<br>"]),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map("".join),
        inner.map(lambda text: "{{name|" + text + "}}"),
        inner.map(lambda text: "[[target|x" + text + "]]"),
        inner.map(lambda text: "[[File:x|" + text + "]]"),
        inner.map(lambda text: "<ref>" + text.replace("<ref", "<b").replace("</ref", "</b") + "</ref>"),
        inner.map(lambda text: "\n{|\n| " + text + "\n|}\n"),
        inner.map(lambda text: "{{nowrap|" + text + "}}"),
        inner.map(lambda text: "<div>" + text + "</div>"),
    ),
    max_leaves=12,
)


@settings(max_examples=100)
@given(balanced)
def test_balanced_mark_up_leaves_nothing(source: str) -> None:
    assert not re.search(r"[{}\[\]<>|=]|''|name|target|File|ref|div", clean_plain(source, "en"))


letters = st.characters(
    codec="utf-8",
    exclude_categories=["Cc", "Zs", "Zl", "Zp"],
    exclude_characters="[]{}|=*#:;'<>_&!-",
    include_characters="\n\t \u00a0",
)


@given(st.text(letters, max_size=80))
def test_text_without_marks_stays(text: str) -> None:
    lines = [" ".join(re.split("[ \t\u00a0]+", line.strip(" \t\u00a0"))) for line in text.split("\n")]
    assert clean_plain(text, "en") == re.sub("\n{2,}", "\n\n", "\n".join(lines)).strip("\n")


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("{{" * (1 << 19), "nested more than 100 deep"),
        ("{{a|" * 200 + "}}" * 200, "nested more than 100 deep"),
        ("[[a|" * (MAX_DEPTH + 1), "nested more than 100 deep"),
        ("\n{|\n|" * 101, "nested more than 100 deep"),
        ("words " * 900_000, "5400000 bytes"),
        ("é" * (MAX_BYTES // 2) + "x", "2097153 bytes"),
    ],
)
def test_too_complex_pages_are_refused(source: str, why: str) -> None:
    with pytest.raises(WikitextError, match=why) as caught:
        clean_plain(source, "en")
    assert caught.value.reason == "too_complex"


def test_deep_but_allowed() -> None:
    assert clean_plain("[[a|" * MAX_DEPTH + "b" + "]]" * MAX_DEPTH, "en") == "b"
    assert clean_plain("{{nowrap|" * MAX_DEPTH + "b" + "}}" * MAX_DEPTH, "en") == "b"


@pytest.mark.parametrize(
    "soup", [*MARKS, "(<ref/>,", "[http://a [b] ", "'''a ''b", "a\n{{b\n|", ",, <ref/>", "[[a|", "({{a}}"]
)
def test_a_page_of_one_mark_ends(soup: str) -> None:
    """A step that is quadratic would take minutes here."""
    try:
        clean_plain(soup * ((1 << 18) // len(soup)), "zh")
    except WikitextError as error:
        assert "nested more than" in str(error)  # noqa: PT017


def test_entities_need_their_semicolon() -> None:
    assert decode("&times;&notin;&not &#x41;&#65;") == "×∉&not AA"


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("l'''Iliade''", "l'Iliade"),
        ("dell'''Arte'' e '''b'''", "dell'Arte e b"),
        ("'''a'' b", "'a b"),
        ("''''a'''", "'a"),
        ("'''''a''' b''", "a b"),
        ("''''''''", ""),
    ],
)
def test_quotes_as_mediawiki_reads_them(line: str, text: str) -> None:
    assert unquote(line) == text
