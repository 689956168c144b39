"""Cut the XML of a MediaWiki export into pages, as it streams by.

An expat parser with a path of open elements: nothing is built, and what a page does not need is not kept. Elements are
told by their local names and their place, so that every export version reads alike and a contributor's <id> is not
taken for the page's. After an error a new parser goes on at the next <page>, except in UTF-16.

Source: MediaWiki docs/export-0.11.xsd.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any
from xml.parsers import expat

from redpajama_pipe.sources.record import Quarantined

# Where in a page the things lie that are kept.
_FIELDS = {
    "page/title": "title",
    "page/ns": "namespace",
    "page/id": "page_id",
    "page/revision/id": "revision",
    "page/revision/timestamp": "timestamp",
    "page/revision/model": "model",
}
_TEXT = "page/revision/text"
MEDIA_NAMESPACES = ("-2", "6")
CATEGORY_NAMESPACE = "14"
ROOT = b"<mediawiki>"
_PAGE = b"<page>"


@dataclass(slots=True)
class RawPage:
    """A page as the dump has it; of several revisions, the last.

    Attributes:
        text: the wikitext; None when it is larger than the limit.
        offset: byte of the XML at which <page> starts.
        length: bytes from there to </page>.
    """

    offset: int
    length: int = 0
    title: str = ""
    namespace: str = ""
    page_id: str = ""
    revision: str = ""
    timestamp: str = ""
    model: str = ""
    redirect: bool = False
    deleted: bool = False
    text: str | None = ""


class PageReader:
    """Feed it XML, take the pages."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._path: list[str] = []
        self._pages: list[RawPage] = []
        self._page: RawPage | None = None
        self._kept: list[str] | None = None
        self._kept_chars = 0
        self._offset = 0  # where the last page began, or the next one would
        self._namespace = ""
        self._media: list[str] = []
        self._category: list[str] = []
        self._encoding: str | None = None
        self._root = ""
        self._fed = 0  # bytes of the XML so far
        self._data = b""  # the last of them that a parser was given, or that wait for one
        self._before = b""  # as many before these as may begin a <page>
        self._broken_at = -1  # where the parser met an error that nobody has dealt with
        self._lost = False  # looking for the next page
        self._begin(0)

    @property
    def prefixes(self) -> tuple[list[str], list[str]]:
        """The names of the media and category namespaces in siteinfo, spaces and underscores as the dump has them."""
        return self._media, self._category

    @property
    def other_root(self) -> str:
        """The name of the root element if it is not that of a dump."""
        return "" if self._root in ("", "mediawiki") else self._root

    def feed(self, data: bytes) -> None:
        """Parse more of the file.

        Raises:
            expat.ExpatError: it is not well-formed, or in an encoding that expat does not know; pages before the fault
                can still be taken, and `recover` goes on behind it.
        """
        self._fed += len(data)
        if self._lost:
            self._data += data
            self._find_page()
        else:
            self._before = (self._before + self._data)[-len(_PAGE) + 1 :]
            self._data = data
            self._parse()

    def recover(self) -> None:
        """After an error, or where some of the file is missing, go on at the next page, of what is there or will come.

        Raises:
            expat.ExpatError: as `feed`.
        """
        self._page, self._path, self._kept, self._namespace = None, [], None, ""
        self._lost = True
        if self._broken_at >= 0:
            self._data = self._before + self._data
            self._data = self._data[max(0, self._broken_at - (self._fed - len(self._data))) :]
        else:
            self._data = b""
        self._before = b""
        self._broken_at = -1
        self._find_page()

    def read(self, data: bytes) -> Iterator[tuple[list[RawPage], Quarantined | None]]:
        """Parse more of the file, going on behind each error: the pages that ended, and the row for what is lost."""
        feed: Callable[[], None] | None = partial(self.feed, data)
        while feed:
            bad = None
            try:
                feed()
                feed = None
            except expat.ExpatError as error:
                bad, feed = self.rest("bad_xml", str(error)), self.recover
            yield self.take(), bad

    def close(self) -> None:
        """End the file.

        Raises:
            expat.ExpatError: it ends before its root element does.
        """
        if not self._lost:
            self._parser.Parse(b"", True)

    def _begin(self, at: int) -> None:
        """Make a parser whose first byte lies at a place in the XML."""
        self._base = at
        self._parser = expat.ParserCreate(self._encoding)
        # expat 2.6 would keep tokens back until more data comes, and an error in them is then told blocks too late
        if hasattr(self._parser, "SetReparseDeferralEnabled"):  # Python 3.11.9, 3.12.3, 3.13
            self._parser.SetReparseDeferralEnabled(False)
        self._parser.buffer_text = True
        self._parser.buffer_size = 1 << 16
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.EntityDeclHandler = self._entity
        self._parser.XmlDeclHandler = self._declaration

    def _find_page(self) -> None:
        found = self._data.find(_PAGE)
        if found < 0:
            self._data = self._data[-len(_PAGE) + 1 :]
            return
        self._data = self._data[found:]
        self._lost = False
        self._begin(self._fed - len(self._data) - len(ROOT))
        self._parser.Parse(ROOT, False)
        self._parse()

    def _parse(self) -> None:
        try:
            self._parser.Parse(self._data, False)
        except (expat.ExpatError, LookupError, ValueError) as error:
            if self._broken_at < 0:
                self._broken_at = self._position()
            if isinstance(error, expat.ExpatError):
                raise
            self._encoding = None
            raise expat.ExpatError(str(error)) from error  # of an encoding that expat does not know

    def _position(self) -> int:
        """Say where in the XML the parser is."""
        return self._base + self._parser.CurrentByteIndex

    def take(self) -> list[RawPage]:
        """Return the pages that ended since the last call."""
        pages, self._pages = self._pages, []
        return pages

    def rest(self, reason: str, detail: str) -> Quarantined:
        """Make the row for what cannot be read from here on, with the page that was being read."""
        page = self._page
        return Quarantined(page.page_id if page else "", page.offset if page else self._offset, reason, detail)

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._path.append(name.rpartition(":")[2])
        self._root = self._root or self._path[0]
        if self._page is None:
            if self._path[-1] == "page":
                self._page = RawPage(self._position())
            elif self._path[-1] == "namespace":
                self._namespace = attributes.get("key", "")
                self._keep()
            return
        place = self._place()
        if place == "page/page":
            self._broken_at = self._position()  # the parser has moved on when the caller sees the error
            raise expat.ExpatError("a page begins inside another, which has no end")
        if place in _FIELDS:
            self._keep()
        elif place == _TEXT:
            self._page.deleted = "deleted" in attributes
            self._keep()
        elif place == "page/redirect":
            self._page.redirect = True

    def _end(self, name: str) -> None:
        place = self._place()
        self._path.pop()
        text = self._stop() if self._kept is not None else ""
        page = self._page
        if page is None:
            if self._namespace and place.endswith("namespace"):
                if self._namespace in MEDIA_NAMESPACES and text:
                    self._media.append(text)
                elif self._namespace == CATEGORY_NAMESPACE and text:
                    self._category.append(text)
                self._namespace = ""
        elif place == "page":
            self._offset = self._position()
            page.length = self._offset - page.offset
            self._pages.append(page)
            self._page = None
        elif place == _TEXT:
            page.text = text
        elif place in _FIELDS:
            setattr(page, _FIELDS[place], (text or "").strip())

    def _place(self) -> str:
        """Name the open element by its path from <page>."""
        path = self._path
        return "/".join(path[1:]) if len(path) > 1 and path[1] == "page" else path[-1]

    def _keep(self) -> None:
        self._kept, self._kept_chars = [], 0
        self._parser.CharacterDataHandler = self._characters

    def _characters(self, data: str) -> None:
        assert self._kept is not None
        self._kept_chars += len(data)
        if self._kept_chars <= self._limit:
            self._kept.append(data)

    def _stop(self) -> str | None:
        """Return the characters kept since `_keep`; None when they are too many, in characters or in bytes."""
        assert self._kept is not None
        self._parser.CharacterDataHandler = None
        text = "".join(self._kept)
        self._kept = None
        if self._kept_chars > self._limit:
            return None
        if self._kept_chars * 4 > self._limit and len(text.encode("utf-8", "surrogatepass")) > self._limit:
            return None
        return text

    def _declaration(self, version: str, encoding: str | None, standalone: int) -> None:
        self._encoding = encoding

    def _entity(self, name: str, *_: Any) -> None:
        # dumps declare none, and declared ones can expand without bound
        raise expat.ExpatError(f"entity {name!r} is declared; dumps declare none")
