"""HTML to text, by an extractor chosen by name, and the page's title.

One core extracts 500 news articles (170 KB each) or 1,700 help pages (12 KB) a second with Resiliparse; trafilatura
takes 11 times as long. On the 181 pages of Scrapinghub's article-extraction-benchmark (4-word shingles, mean precision
and recall) the options of `resiliparse` below give F1 0.934, its defaults with main_content 0.898, `trafilatura` 0.960
and `plain` 0.683 (docs/extraction.md). A list (ul) that lies less than eight elements below body is navigation to
Resiliparse and left out; keeping those lists lowers F1 to 0.916.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.html import HTMLTree

from redpajama_pipe.errors import SetupError

# Resiliparse takes time in the square of the nesting: 0.17 s at 4,000 open div, 149 s at 100,000. Blink cuts trees at
# 512 (kMaximumHTMLParserDOMTreeDepth), so no page that people can read comes near.
MAX_DEPTH = 4000
# A parser opens every unclosed <b>, <font> or <a> again in each block that follows (HTML Standard, 13.2.4.3), so that a
# page's nodes grow with the square of its bytes: 1,000 of them are 500,000 nodes, 0.8 s and 200 MB.
MAX_NODES = 500_000
# So few tags make no more nodes than that, whatever they are: half of them open, half of them blocks.
FEW_TAGS = 1400

_FORMATS = "a b big code em font i nobr s small strike strong tt u"
_INSIDE = "span q sub sup ins del tbody label button object svg g"  # nest, and open nothing again
_OUTSIDE = (
    "div center table tr td ul ol li dl dd blockquote section article main form fieldset nav aside header footer pre"
)
_FLAT = "p dt h1 h2 h3 h4 h5 h6 br hr img"  # open again, and do not nest
_REOPENED = frozenset(_FORMATS.split())
_BLOCKS = frozenset(f"{_OUTSIDE} {_FLAT}".split())
_NESTED = frozenset(f"{_FORMATS} {_INSIDE} {_OUTSIDE}".split())
_TAG = re.compile(
    rf"<(/?)({'|'.join(sorted(_NESTED | _BLOCKS, key=lambda name: (-len(name), name)))})\b", re.IGNORECASE
)


# Formatting and bullets stay: line and bullet rules of the filters look at them. Image descriptions, reader comments,
# dates and bylines, link targets, form fields and noscript notices are not running text; leaving each of the first
# three out raises precision and costs no recall (see above).
MAIN_CONTENT: Mapping[str, Any] = {
    "main_content": True,
    "preserve_formatting": True,
    "list_bullets": True,
    "alt_texts": False,
    "links": False,
    "form_fields": False,
    "noscript": False,
    "comments": False,
    "post_meta": False,
}


@dataclass(frozen=True, slots=True)
class Budget:
    """What a page may cost, in what can be counted: no clock decides, so that a page is kept everywhere or nowhere.

    Attributes:
        characters: of HTML.
        tags: of anything that begins with "<".
    """

    characters: int
    tags: int


# Resiliparse takes 0.7 s for a million tags, trafilatura 20 to 70 s; 20,000,000 is trafilatura's own limit of bytes.
BUDGETS = {
    "resiliparse": Budget(64 << 20, 2_000_000),
    "plain": Budget(64 << 20, 2_000_000),
    "trafilatura": Budget(20_000_000, 200_000),
}


@dataclass(frozen=True, slots=True)
class Page:
    """Text with a line feed between blocks, and the title with its white space collapsed."""

    text: str
    title: str | None


class ExtractionError(Exception):
    """A page that the extractor cannot read; `reason` is the word for the quarantine."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason

    def __reduce__(self) -> tuple[type[ExtractionError], tuple[str, str]]:
        return type(self), (self.reason, str(self))


Extractor = Callable[[str], Page]


def find_extractor(name: str) -> Extractor:
    """Return an extractor: `resiliparse`, `trafilatura` or `plain`.

    An extractor takes a decoded page without lone surrogates and raises ExtractionError for a page it cannot read, or
    that passes its budget.

    Raises:
        SetupError: trafilatura is asked for and not installed.
    """
    makers = {"resiliparse": lambda: _main_content, "plain": lambda: _all_text, "trafilatura": _trafilatura}
    inner: Callable[[HTMLTree, str], str] = makers[name]()

    budget = BUDGETS[name]

    def extract(html: str) -> Page:
        why = too_complex(html, budget)
        if why:
            raise ExtractionError("too_complex", why)
        try:
            tree = HTMLTree.parse(html)
            title = " ".join((tree.title or "").split()) or None
            return Page(inner(tree, html), title)
        except Exception as error:
            # whatever foreign code raises for one page must not end the job: the caller quarantines the page
            raise ExtractionError("extraction_failed", f"{name}: {type(error).__name__}: {error}") from error

    return extract


def too_complex(html: str, budget: Budget) -> str | None:
    """Say what of a page passes the budget, MAX_DEPTH or MAX_NODES; None: nothing does.

    An ordinary page costs a count or two. Depth and nodes are estimates from the tags of common elements, made only for
    pages with more than MAX_DEPTH tags, or with many that nothing closes.
    """
    if len(html) > budget.characters:
        return f"{len(html)} characters; the limit is {budget.characters}"
    tags = html.count("<")
    if tags <= FEW_TAGS:
        return None
    if tags > budget.tags:
        return f"{tags} tags; the limit is {budget.tags}"
    if tags <= MAX_DEPTH and tags - 2 * html.count("</") <= FEW_TAGS // 2:
        return None
    depth, nodes = estimate(html)
    if depth > MAX_DEPTH:
        return f"elements are nested more than {MAX_DEPTH} deep"
    return f"its tree has more than {MAX_NODES} nodes" if nodes > MAX_NODES else None


def estimate(html: str) -> tuple[int, int]:
    """Return the deepest nesting and the nodes of a page's tree, from the tags of common elements.

    An element that is never closed, such as a list item, counts as open to the end. Either number stops growing as soon
    as it has passed its limit.
    """
    depth = deepest = reopened = nodes = 0
    for tag in _TAG.finditer(html):
        name = tag.group(2).lower()
        if tag.group(1):
            depth = max(depth - 1, 0) if name in _NESTED else depth
            reopened = max(reopened - 1, 0) if name in _REOPENED else reopened
            continue
        nodes += 1
        if name in _NESTED:
            depth += 1
            deepest = max(depth, deepest)
        if name in _REOPENED:
            reopened += 1
        elif name in _BLOCKS:
            nodes += reopened
        if deepest > MAX_DEPTH or nodes > MAX_NODES:
            break
    return deepest, nodes


def _main_content(tree: HTMLTree, html: str) -> str:
    text: str = extract_plain_text(tree, **MAIN_CONTENT)
    return text


def _all_text(tree: HTMLTree, html: str) -> str:
    # What WET files hold: everything visible, navigation included.
    text: str = extract_plain_text(tree, main_content=False, preserve_formatting=True, alt_texts=False)
    return text


def _trafilatura() -> Callable[[HTMLTree, str], str]:
    try:
        from trafilatura import extract
    except ImportError as error:
        raise SetupError(
            "extractor 'trafilatura' is not installed: pip install 'redpajama-pipe[trafilatura]'"
        ) from error

    def article(tree: HTMLTree, html: str) -> str:
        text: str | None = extract(html, include_comments=False, include_tables=True)
        return text or ""

    return article
