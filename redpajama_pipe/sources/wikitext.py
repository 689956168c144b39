"""Wikitext to plain text, as the published Wikipedia sets have it.

`rpv1` is the cleaning of the Hugging Face `wikipedia` script, which RedPajama v1 ran and wikimedia/wikipedia still
follows: no templates, no tables, no references, no files; link labels and headings stay, and category names at the
end. About 1.6 MB/s on one core, nearly all of it mwparserfromhell.

Source: huggingface/datasets, datasets/wikipedia/wikipedia.py 2.0.0; togethercomputer/RedPajama-Data, rp_v1.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

import mwparserfromhell
from mwparserfromhell.nodes import Node, Tag, Wikilink
from mwparserfromhell.parser import ParserError
from mwparserfromhell.wikicode import Wikicode

from redpajama_pipe.sources.wiki_aliases import CATEGORY, CATEGORY_ALIASES, MEDIA, MEDIA_ALIASES, REDIRECT_WORDS

# MediaWiki refuses to save a larger page ($wgMaxArticleSize, 2,048 KiB), so this bounds only damaged dumps.
MAX_BYTES = 2 << 20
# MediaWiki stops expanding at this depth ($wgMaxPPExpandDepth). mwparserfromhell recurses, and where it would overflow
# depends on its caller: a limit of our own keeps the result the same everywhere.
MAX_DEPTH = 100
# What opens and never closes makes mwparserfromhell read the rest of the page once more, then go back: 5 to 250 ns for
# each such opening and character of the page. So the product is bounded; of 162 real articles one reaches 500,000.
MAX_REREAD = 20_000_000

_MAGIC_WORD = re.compile(r"__[A-Z]*__")
_NODE = re.compile(r"<ref\b[^<>]*/>|(\[\[|\{\{|\{\||<(?:ref|table)\b)|\]\]|\}\}|\|\}|</(?:ref|table)>", re.IGNORECASE)
_OPENING = re.compile(r"<(/?)([a-z][a-z0-9]*)[^<>]*|<!--|-->|\[|\]", re.IGNORECASE)
_SINGLE = ("br", "wbr", "hr", "meta", "link", "img", "li", "dt", "dd", "th", "td", "tr")  # of mwparserfromhell


class WikitextError(Exception):
    """A page that cannot be cleaned; `reason` is the word for the quarantine."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def is_redirect(wikitext: str, language: str) -> bool:
    """Say whether a page's text begins a redirect, in English or in the words of its language.

    Dumps mark redirects with an element of their own; this finds those of older and derived dumps.
    """
    start = wikitext[:100].lstrip()
    if not start.startswith(("#", "＃")):
        return False
    lower = start.lower()
    words = ("#redirect", *REDIRECT_WORDS.get(language, ()))
    return any(
        lower.startswith(word.lower()) and lower[len(word) :].lstrip(" \t\r\n:：").startswith("[[") for word in words
    )


def check_size(wikitext: str) -> None:
    """Refuse a page larger than MediaWiki saves.

    Raises:
        WikitextError: `too_complex`.
    """
    size = len(wikitext.encode("utf-8", "surrogatepass")) if len(wikitext) * 4 > MAX_BYTES else 0
    if size > MAX_BYTES:
        raise WikitextError("too_complex", f"{size} bytes of wikitext; the limit is {MAX_BYTES}")


def clean_rpv1(wikitext: str, language: str, media: Sequence[str] = (), category: Sequence[str] = ()) -> str:
    """Clean one page.

    Args:
        wikitext: the source of the page.
        language: the Wikipedia's code, such as `de`, `simple`, `zh-yue`: it chooses the prefixes.
        media: prefixes of files, for a language without a published table.
        category: prefixes of categories, likewise.

    Returns:
        The sections joined by two line feeds; empty sections stay, so runs of line feeds occur.

    Raises:
        WikitextError: `too_complex`, or `wikitext_parser` when mwparserfromhell gives up.
    """
    check_size(wikitext)
    depth = _nesting(wikitext)
    if depth > MAX_DEPTH:
        raise WikitextError("too_complex", f"mark-up is nested {depth} deep; the limit is {MAX_DEPTH}")
    reread = _unclosed(wikitext) * len(wikitext)
    if reread > MAX_REREAD:
        raise WikitextError(
            "too_complex", f"unclosed mark-up times characters is {reread:,}; the limit is {MAX_REREAD:,}"
        )
    is_media, in_category = _prefixes(language, tuple(media), tuple(category))
    try:
        parsed = mwparserfromhell.parse(wikitext)
        return "\n\n".join(
            _section(section, is_media, in_category)
            for section in parsed.get_sections(flat=True, include_lead=True, include_headings=True)
        )
    except ParserError as error:
        raise WikitextError("wikitext_parser", str(error)) from error
    except RecursionError as error:
        raise WikitextError("too_complex", "mwparserfromhell recursed too deep") from error


def _nesting(wikitext: str) -> int:
    """Estimate how deep mark-up is nested; what is never closed counts as open to the end."""
    depth = deepest = 0
    for node in _NODE.finditer(wikitext):
        if node.group(1):
            depth += 1
            deepest = max(deepest, depth)
        else:
            depth = max(depth - 1, 0)
    return deepest


def _unclosed(wikitext: str) -> int:
    """Estimate how many tags, comments and single brackets are opened and never closed."""
    still_open: dict[str, int] = {}
    for found in _OPENING.finditer(wikitext):
        mark = found[0]
        name = (found[2] or mark[-1]).lower()  # - for <!--, > for -->
        if mark == "-->":
            still_open["-"] = 0
        elif mark == "]" or found[1]:
            name = "[" if mark == "]" else name
            still_open[name] = max(0, still_open.get(name, 0) - 1)
        elif not mark.endswith("/") and name not in _SINGLE:
            still_open[name] = still_open.get(name, 0) + 1
    return sum(still_open.values())


def _section(section: Wikicode, is_media: re.Pattern[str], in_category: re.Pattern[str]) -> str:
    """Clean one section.

    The published script calls `section.remove`, which searches the whole section for each node: 23 s for 2,000
    references. Here nodes of the section itself are marked and left out at the end, and a nested one is removed from
    the list that holds it while that list is walked. The text is the same, also where a removal makes the walk pass
    over the next nested node.
    """
    top = list(section.nodes)
    gone: set[int] = set()

    def remove(holder: Wikicode | None, node: Node) -> None:
        if holder is None:
            gone.add(id(node))
        else:
            del holder.nodes[next(index for index, other in enumerate(holder.nodes) if other is node)]

    for holder, node in _walk(top):
        if isinstance(node, Wikilink):
            target = str(node.title)
            if is_media.match(target):
                remove(holder, node)
            elif in_category.match(target):
                node.text = in_category.sub("", node.__strip__() or "")
    for holder, node in _walk(top):
        if isinstance(node, Tag) and str(node.tag) in ("ref", "table"):
            remove(holder, node)
    kept = Wikicode([node for node in top if id(node) not in gone])
    return _MAGIC_WORD.sub("", kept.strip_code().strip())


def _walk(top: list[Node]) -> Iterator[tuple[Wikicode | None, Node]]:
    """Visit each node, then those inside it, with the list that holds it; None: the section."""
    for node in top:
        yield from _inside(None, node)


def _inside(holder: Wikicode | None, node: Node) -> Iterator[tuple[Wikicode | None, Node]]:
    yield holder, node
    for code in node.__children__():
        for child in code.nodes:
            yield from _inside(code, child)


@lru_cache(maxsize=64)
def _prefixes(
    language: str, media: tuple[str, ...], category: tuple[str, ...]
) -> tuple[re.Pattern[str], re.Pattern[str]]:
    # the published script does not escape the names; none of them holds a character that would matter
    files = "|".join(map(re.escape, (*MEDIA, *MEDIA_ALIASES.get(language, media))))
    categories = "|".join(map(re.escape, (*CATEGORY, *CATEGORY_ALIASES.get(language, category))))
    return re.compile(f"^(?:{files}):", re.IGNORECASE), re.compile(f"^(?:{categories}):", re.IGNORECASE)
