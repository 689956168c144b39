"""HTML to text, by an extractor chosen by name, and the page's title.

One core extracts 500 news articles (170 KB each) or 1,700 help pages (12 KB) a second with Resiliparse; trafilatura
takes 15 times as long. On the 181 pages of Scrapinghub's
article-extraction-benchmark (4-word shingles, mean precision and recall) the options of `resiliparse` below give
F1 0.934, its defaults with main_content 0.898, and `plain` 0.653. A list (ul) that lies less than eight elements below
body is navigation to Resiliparse and left out; keeping those lists lowers F1 to 0.916.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.html import HTMLTree

from redpajama_pipe.errors import SetupError

# Resiliparse takes time in the square of the nesting: 0.17 s at 4,000 open div, 149 s at 100,000. Blink cuts trees at
# 512 (kMaximumHTMLParserDOMTreeDepth), so no page that people can read comes near.
MAX_DEPTH = 4000

_NESTING = re.compile(
    r"<(/?)(?:div|span|font|b|i|u|a|em|strong|big|small|center|table|tbody|tr|td|ul|ol|li|dl|dd|blockquote|section|article"
    r"|main|form|fieldset|nav|aside|header|footer|code|pre|sub|sup|ins|del|q|s|strike|tt|nobr|label|button|object|svg|g)\b",
    re.IGNORECASE,
)


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

    An extractor takes a decoded page without lone surrogates and raises ExtractionError for a page it cannot read.

    Raises:
        SetupError: trafilatura is asked for and not installed.
    """
    makers = {"resiliparse": lambda: _main_content, "plain": lambda: _all_text, "trafilatura": _trafilatura}
    inner: Callable[[HTMLTree, str], str] = makers[name]()

    def extract(html: str) -> Page:
        if nesting(html, MAX_DEPTH) > MAX_DEPTH:
            raise ExtractionError("too_complex", f"elements are nested more than {MAX_DEPTH} deep")
        try:
            tree = HTMLTree.parse(html)
            title = " ".join((tree.title or "").split()) or None
            return Page(inner(tree, html), title)
        except Exception as error:
            # whatever foreign code raises for one page must not end the job: the caller quarantines the page
            raise ExtractionError("extraction_failed", f"{name}: {type(error).__name__}: {error}") from error

    return extract


def nesting(html: str, limit: int) -> int:
    """Return the deepest nesting of common elements, or any number above `limit` as soon as it is passed.

    An estimate: an element that is never closed, such as a list item, counts as open to the end. It costs nothing for
    pages with fewer tags than the limit.
    """
    if html.count("<") <= limit:
        return 0
    depth = deepest = 0
    for tag in _NESTING.finditer(html):
        if tag.group(1):
            depth = max(depth - 1, 0)
        else:
            depth += 1
            if depth > deepest:
                deepest = depth
                if deepest > limit:
                    break
    return deepest


def _main_content(tree: HTMLTree, html: str) -> str:
    # Formatting and bullets stay: line and bullet rules of the filters look at them. Image descriptions, reader
    # comments, dates and bylines, link targets, form fields and noscript notices are not running text; leaving each
    # of the first three out raises precision and costs no recall (see above).
    text: str = extract_plain_text(
        tree,
        main_content=True,
        preserve_formatting=True,
        list_bullets=True,
        alt_texts=False,
        links=False,
        form_fields=False,
        noscript=False,
        comments=False,
        post_meta=False,
    )
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
