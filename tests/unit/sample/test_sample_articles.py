import re
import unicodedata

import mwparserfromhell
import pytest

from redpajama_pipe.sample.articles import ISO_639_3, Language, language, languages, plain_text

_CODES = "bg ca cs da de en es fr hr hu it nl pl pt ro ru sl sr sv uk"  # the Wikipedia slice of RedPajama-V1
RPV1_LANGUAGES = _CODES.split()
CYRILLIC = {"bg", "ru", "sr", "uk"}
# Frequent letters, at least one of which every text of the language has and plain ASCII or a neighbour has not.
_TELLING = "bg:ъ ca:çà cs:ě da:å de:ß es:ñí fr:êû hr:đć hu:ő it:èò pl:ł pt:ã ro:ț ru:ы sl:čšž sr:ј sv:ä uk:ї en:e nl:ij"
TELLING = dict(pair.split(":") for pair in _TELLING.split())


def test_the_twenty_languages_are_there_with_iso_codes() -> None:
    assert [item.code for item in languages()] == RPV1_LANGUAGES
    assert sorted(ISO_639_3) == RPV1_LANGUAGES


@pytest.mark.parametrize("wiki", languages(), ids=lambda wiki: wiki.code)
def test_articles_have_real_wikitext_and_the_promised_length(wiki: Language) -> None:
    assert 3 <= len(wiki.articles) <= 5
    titles = [article.title for article in wiki.articles]
    assert len(set(titles)) == len(titles)
    for article in wiki.articles:
        parsed = mwparserfromhell.parse(article.wikitext)
        assert [str(template.name) for template in parsed.filter_templates()] == [wiki.infobox]
        assert len(parsed.filter_headings()) == 2
        targets = [str(link.title) for link in parsed.filter_wikilinks()]
        assert sum(target.startswith(f"{wiki.category}:") for target in targets) == 1
        assert sum(":" in target for target in targets) == 2  # the category and one picture
        tags = [str(tag.tag) for tag in parsed.filter_tags()]
        assert tags.count("ref") == 1
        assert tags.count("b") == 1
        assert tags.count("li") == 3
        assert 60 <= len(plain_text(article.wikitext).split()) <= 140
    assert len(plain_text(wiki.stub.wikitext).split()) < 20


@pytest.mark.parametrize("wiki", languages(), ids=lambda wiki: wiki.code)
def test_articles_are_in_the_script_and_letters_of_their_language(wiki: Language) -> None:
    text = " ".join(plain_text(article.wikitext) for article in wiki.articles)
    letters = [character for character in text if character.isalpha()]
    script = "CYRILLIC" if wiki.code in CYRILLIC else "LATIN"
    assert {unicodedata.name(letter).split()[0] for letter in letters} == {script}
    assert set(TELLING[wiki.code]) & set(text)
    assert unicodedata.is_normalized("NFC", text)


def test_no_russian_letters_in_ukrainian_serbian_or_bulgarian() -> None:
    for code, foreign in (("uk", "ыэёъ"), ("sr", "ыэёъйщюя"), ("bg", "ыэё")):
        text = " ".join(article.wikitext for article in language(code).articles).lower()
        assert not set(text) & set(foreign), code


def test_plain_text_leaves_words_and_no_markup() -> None:
    wikitext = (
        "{{Box|a=b}}\n[[File:A.jpg|thumb|A picture]]\n'''Bread''' is [[flour|baked]] [[food]].<ref>A book.</ref>\n\n"
        "== Kinds ==\n* one\n\n[[Category:Food]]\n"
    )
    assert plain_text(wikitext) == "Bread is baked food.\n\nKinds\n* one\n"


def test_no_article_keeps_markup() -> None:
    for wiki in languages():
        for article in wiki.articles:
            assert not re.search(r"\[\[|\]\]|\{\{|\}\}|'''|<|==", plain_text(article.wikitext)), article.title
