"""Real pages of 22 Wikipedias: no mark-up is left, and nothing but mark-up is lost."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
from source_factory import documents, source, tally

from redpajama_pipe.sources.record import Document, Record, Split
from redpajama_pipe.sources.streams import MemberStream
from redpajama_pipe.sources.wiki_aliases import CATEGORY, CATEGORY_ALIASES, MEDIA, MEDIA_ALIASES
from redpajama_pipe.sources.wikipedia import read_wikipedia

LANGUAGES = "bg ca cs da de en es fr hr hu it ja nl pl pt ro ru sl sr sv uk zh".split()  # noqa: SIM905
MARKS = (
    r"\{\{|\}\}|\[\[|\]\]|\{\||\|\}|''|thumb\||__[A-Z]+__|\[https?:|&nbsp;|"
    r"</?(?:ref|div|span|br|small|gallery|math|nowiki)\b|<!--"
)


def read(path: Path, **options: str) -> list[Record]:
    with path.open("rb") as file:
        return list(
            read_wikipedia(MemberStream(file), Split("s", path.name, path.name), source("wikipedia", **options))
        )


def stray(document: Document) -> Counter[str]:
    """Count what should not be in a text: marks, and names of files and categories in its language."""
    language = document.language or ""
    names = (*MEDIA, *CATEGORY, *MEDIA_ALIASES.get(language, ()), *CATEGORY_ALIASES.get(language, ()))
    prefixes = "|".join(re.escape(name) for name in names if len(name) > 2)
    return Counter(re.findall(rf"{MARKS}|\b(?:{prefixes}):\S", document.text, re.IGNORECASE))


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_mark_up_is_left(real_data: Path, language: str) -> None:
    records = read(real_data / f"wiki/minidumps/{language}wiki-pages-articles.xml.bz2", math="drop")
    assert documents(records)
    assert not [kind for kind in tally(records) if kind.startswith("!")]
    for document in documents(records):
        assert not stray(document), document.title


def test_no_mark_up_is_left_in_an_older_dump(real_data: Path) -> None:
    path = real_data / "wiki/enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2"
    records = read(path, math="drop")
    assert tally(records)["document"] == 106
    assert not sum(map(stray, documents(records)), Counter())


@pytest.mark.parametrize("language", ["de", "fr", "ru"])
def test_words_of_the_published_cleaning_stay(real_data: Path, language: str) -> None:
    path = real_data / f"wiki/minidumps/{language}wiki-pages-articles.xml.bz2"
    for ours, theirs in zip(documents(read(path)), documents(read(path, wikitext="rpv1")), strict=True):
        published = Counter(re.findall(r"\w+", theirs.text))
        lost = published - Counter(re.findall(r"\w+", ours.text))
        assert lost.total() < 0.03 * published.total() + 70  # names of categories, empty sections, leaked attributes
