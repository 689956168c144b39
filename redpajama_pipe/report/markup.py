"""HTML from Python values: escaping, links, tables. Whatever comes from a crawl passes through `escape` or `link`.

`Html` marks strings that are markup already; everything else is text and is escaped, so that forgetting is safe.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from redpajama_pipe.report import figures

MAX_ROWS = 1_000  # a table shows so many rows and says how many it left out
DIGITS = 12  # of an id or a checksum
UNBROKEN = 20  # characters of a name that stay on one line
TALL_ROWS = 16  # a table with more rows scrolls inside its own box

# Control characters but tab and line ends, lone surrogates, and U+FFFE/FFFF: not allowed in HTML or not encodable.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


class Html(str):
    """Markup that is safe to write as it is."""

    __slots__ = ()


@dataclass(frozen=True)
class Column:
    """One column of a table: its heading, whether it holds numbers, and what its heading means."""

    heading: str
    numeric: bool = False
    hint: str = ""


@dataclass(frozen=True)
class Cell:
    """One cell: what it shows, what it is sorted by (None: not known, sorted last), its tooltip and its look."""

    shown: str
    key: float | str | None = None
    title: str = ""
    css: str = ""
    style: str = ""


def escape(text: object) -> Html:
    """Escape text for element content and for quoted attributes; what cannot be shown becomes U+FFFD."""
    if isinstance(text, Html):
        return text
    return Html(html.escape(_UNPRINTABLE.sub("\ufffd", str(text)), quote=True))


def tag(name: str, *content: object, **attributes: object) -> Html:
    """Build an element. Content that is not Html is escaped; attributes of None or False are left out.

    A trailing underscore is cut from attribute names and the others become hyphens: class_, aria_label.
    """
    parts = [f"<{name}"]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        label = key.rstrip("_").replace("_", "-")
        parts.append(f" {label}" if value is True else f' {label}="{escape(value)}"')
    parts.append(">")
    parts += [escape(item) for item in content if item is not None]
    parts.append(f"</{name}>")
    return Html("".join(parts))


def join(items: Iterable[object], separator: str = "") -> Html:
    """Escape each item that is not Html and join them; None is left out."""
    return Html(escape(separator).join(escape(item) for item in items if item is not None))


def link(url: str | None) -> Html:
    """Show a URL, as a link only if it is http or https: a crawled `javascript:` must not become one."""
    if not url:
        return tag("span", figures.DASH, class_="muted")
    shown = tag("bdi", url)
    if re.match(r"https?://[^\s]", url, re.IGNORECASE) is None:
        return tag("span", shown, class_="url")
    return tag("a", shown, class_="url", href=url, rel="noreferrer noopener nofollow")


def name(text: str | None) -> Html:
    """Show a name from the data: isolated, so that right-to-left text leaves its surroundings alone."""
    return tag("bdi", text if text else figures.DASH)


def identifier(text: str) -> Html:
    """Show a name of ours (a rule, a signal, a stage) in monospace; a long one may break after _, dot or slash."""
    shown = escape(text)
    if len(text) > UNBROKEN:
        shown = Html(re.sub("([_./])(?=.)", r"\1<wbr>", shown))
    return tag("bdi", shown, class_="id mono")


def intro(text: str) -> Html:
    """The paragraph that says what a section shows."""
    return tag("p", text, class_="intro")


def shorten(digest: str) -> str:
    """Cut an id or a checksum to its first DIGITS characters."""
    return digest if len(digest) <= DIGITS else f"{digest[:DIGITS]}…"


def integer(value: int | None, title: str = "") -> Cell:
    """A cell with every digit of a count."""
    return Cell(figures.count(value), value, title)


def share(part: int, whole: int) -> Cell:
    """A cell with a percentage, sorted by the exact value, with the counts in its tooltip."""
    title = f"{part:,} of {whole:,}" if whole else ""
    return Cell(figures.share(part, whole), part / whole if whole else None, title)


def size(value: float | None) -> Cell:
    """A cell with bytes, every digit in its tooltip."""
    return Cell(figures.size(value), value, "" if value is None else f"{value:,.0f} bytes")


def table(
    caption: str,
    columns: Sequence[Column],
    rows: Sequence[Sequence[Cell]],
    foot: Sequence[Cell] | None = None,
    css: str = "",
) -> Html:
    """Build a table in a box of its own that scrolls sideways (and down, when tall) without moving the page.

    Args:
        caption: what the table holds, for screen readers and as the name of the scrolling region.
        rows: a cell for each column; the first one heads its row.
        foot: a row of totals.
    """
    head = tag("tr", *(_heading(column) for column in columns))
    body = tag("tbody", *(_row(columns, row) for row in rows[:MAX_ROWS]))
    end = tag("tfoot", _row(columns, foot)) if foot else None
    made = tag("table", tag("caption", caption), tag("thead", head), body, end, class_=css or None, data_sort=True)
    tall = " tall" if len(rows) > TALL_ROWS else ""
    box = tag("div", made, class_=f"box{tall}", role="region", aria_label=caption, tabindex="0")
    if len(rows) <= MAX_ROWS:
        return box
    left = len(rows) - MAX_ROWS
    return join([box, tag("p", f"The first {MAX_ROWS:,} rows; {left:,} more are not shown.", class_="note")])


def _heading(column: Column) -> Html:
    return tag("th", column.heading, scope="col", class_="n" if column.numeric else None, title=column.hint or None)


def _row(columns: Sequence[Column], row: Sequence[Cell]) -> Html:
    return tag(
        "tr", *(_cell(column, cell, index == 0) for index, (column, cell) in enumerate(zip(columns, row, strict=True)))
    )


def _cell(column: Column, cell: Cell, first: bool) -> Html:
    css = " ".join(part for part in ("n" if column.numeric else "", cell.css) if part)
    return tag(
        "th" if first else "td",
        cell.shown,
        scope="row" if first else None,
        class_=css or None,
        title=cell.title or None,
        style=cell.style or None,
        data_key=repr(cell.key) if isinstance(cell.key, float) else cell.key,
    )
