"""The sample's own encyclopaedia: short articles in wikitext for the 20 languages of RedPajama's Wikipedia slice."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import yaml

FILES = ("articles_germanic.yaml", "articles_romance.yaml", "articles_slavic.yaml", "articles_uralic.yaml")

_CODES = (
    "bg:bul ca:cat cs:ces da:dan de:deu en:eng es:spa fr:fra hr:hrv hu:hun it:ita nl:nld pl:pol pt:por ro:ron"
    " ru:rus sl:slv sr:srp sv:swe uk:ukr"
)
ISO_639_3 = dict(pair.split(":") for pair in _CODES.split())  # dump name → the code that WET records carry


@dataclass(frozen=True)
class Article:
    """One page of the main namespace."""

    title: str
    wikitext: str


@dataclass(frozen=True)
class Language:
    """One wiki: the names its siteinfo needs, and its pages.

    Attributes:
        redirect: the magic word of a redirect page, `#` included.
        infobox: the template that the articles use.
        stub: a page of one short sentence.
    """

    code: str
    sitename: str
    talk: str
    file: str
    template: str
    category: str
    redirect: str
    infobox: str
    stub: Article
    articles: tuple[Article, ...]


@cache
def languages() -> tuple[Language, ...]:
    """Read every language, sorted by its code."""
    tree: dict[str, dict[str, object]] = {}
    for name in FILES:
        tree |= yaml.safe_load(files(__package__).joinpath(name).read_text(encoding="utf-8"))
    return tuple(_language(code, tree[code]) for code in sorted(tree))


def language(code: str) -> Language:
    """Return one language by its code."""
    return next(item for item in languages() if item.code == code)


def plain_text(wikitext: str) -> str:
    """Write an article as a reader sees it: no infobox, picture, reference or category; headings stand alone.

    Made for these articles, which nest nothing; a dump needs a real parser.
    """
    text = re.sub(r"\{\{.*?\}\}\n?|<ref>.*?</ref>", "", wikitext)
    # a picture or a category fills its line; a link never has a colon in its target here
    text = re.sub(r"(?m)^\[\[\w+:[^\n]*\]\]\n?", "", text)
    text = re.sub(r"\[\[(?:[^|\]]*\|)?([^\]]*)\]\]", r"\1", text)
    text = re.sub(r"(?m)^== (.*) ==$", r"\1", text).replace("'''", "")
    return text.strip() + "\n"


def _language(code: str, tree: dict[str, object]) -> Language:
    stub, articles = tree["stub"], tree["articles"]
    assert isinstance(stub, dict)
    assert isinstance(articles, list)
    names = {key: str(value) for key, value in tree.items() if key not in ("stub", "articles")}
    return Language(
        code=code, stub=Article(**stub), articles=tuple(Article(**article) for article in articles), **names
    )
