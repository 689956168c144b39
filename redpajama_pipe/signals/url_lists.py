"""Block lists of URLs, in the layout of UT1: one folder a category, with files of domains, URLs and words.

A list of 4.5 million domains takes 36 MB a process: of each entry 64 bits of a hash are kept, so a page that is in no
list is taken for one that is about once in 10**12. Looking a page up costs some hashes, whatever the lists' size.

Source: UT1 blacklists (Université Toulouse Capitole, dsi.ut-capitole.fr/blacklists); the order of tests and the words
are datatrove's (pipeline/filters/url_filter.py; Penedo et al. 2024, arXiv:2406.17557).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from redpajama_pipe.errors import SetupError
from redpajama_pipe.sources.provenance import host_of

KINDS = ("domains", "urls", "words", "soft_words")
SOFT_WORDS = 2  # that many make a match

_WORD = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True)
class Match:
    """Why a URL is blocked: the category, the kind of entry (`domain`, `url`, `word`, `soft_words`), the entry."""

    category: str
    kind: str
    entry: str

    def __str__(self) -> str:
        return f"{self.kind} {self.entry}"


class _Entries:
    """Entries by hash, each with its category: of several the first by name."""

    def __init__(self, entries: Sequence[tuple[str, int]]) -> None:
        hashes = np.fromiter((_hash(entry) for entry, _ in entries), np.uint64, len(entries))
        categories = np.fromiter((category for _, category in entries), np.int32, len(entries))
        order = np.lexsort((categories, hashes))
        self._hashes: NDArray[np.uint64] = hashes[order]
        self._categories: NDArray[np.int32] = categories[order]

    def find(self, entry: str) -> int:
        """Return the category's number, or -1."""
        wanted = np.uint64(_hash(entry))
        at = int(np.searchsorted(self._hashes, wanted))
        return int(self._categories[at]) if at < len(self._hashes) and self._hashes[at] == wanted else -1


class UrlLists:
    """All lists of a folder.

    Args:
        folder: CATEGORY/domains, CATEGORY/urls (host and path, no scheme), CATEGORY/words (one of them in a URL is
            enough), CATEGORY/soft_words (two are needed). Lines that begin with # are comments.

    Raises:
        SetupError: there is no list in it.
    """

    def __init__(self, folder: Path) -> None:
        found = sorted(path for path in folder.glob("*/*") if path.name in KINDS) if folder.is_dir() else []
        if not found:
            raise SetupError(
                f"no URL lists in {str(folder)!r}: unpack UT1's (dsi.ut-capitole.fr/blacklists) so that "
                f"{folder / 'adult' / 'domains'} is there, or name another folder with annotate.url_lists"
            )
        self._categories = sorted({path.parent.name for path in found})
        lists: dict[str, list[tuple[str, int]]] = {kind: [] for kind in KINDS}
        for path in found:
            category = self._categories.index(path.parent.name)
            lists[path.name] += [(entry, category) for entry in _read(path, path.name)]
        self._domains, self._urls = _Entries(lists["domains"]), _Entries(lists["urls"])
        self._words, self._soft_words = dict(reversed(lists["words"])), dict(reversed(lists["soft_words"]))

    def match(self, url: str) -> Match | None:
        """Say why a URL is blocked, or None.

        A listed domain blocks its subdomains, and a listed URL the pages below it, both at whole labels and path
        segments; `www.` counts for nothing. Words are those between characters other than ASCII letters and digits,
        in lower case.
        """
        host = host_of(url)
        if host is None:
            return None
        host = _ascii(host)
        for domain in _parents(host):
            category = self._domains.find(domain)
            if category >= 0:
                return Match(self._categories[category], "domain", domain)
        for page in _pages(url, host):
            category = self._urls.find(page)
            if category >= 0:
                return Match(self._categories[category], "url", page)
        words = [word for word in _WORD.split(url.lower()) if word]
        for word in words:
            if word in self._words:
                return Match(self._categories[self._words[word]], "word", word)
        soft = [word for word in words if word in self._soft_words]
        if len(soft) >= SOFT_WORDS:
            return Match(self._categories[self._soft_words[soft[0]]], "soft_words", " ".join(soft))
        return None


@lru_cache(maxsize=2)
def read_lists(folder: str) -> UrlLists:
    """Read the lists of a folder, once a process."""
    return UrlLists(Path(folder))


def _hash(entry: str) -> int:
    return int.from_bytes(hashlib.blake2b(entry.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def _read(path: Path, kind: str) -> Iterator[str]:
    # UT1's lists are Latin-1 here and there
    with path.open(encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            entry = line.strip().lower() if kind != "urls" else line.strip()
            if not entry or entry.startswith("#"):
                continue
            if kind == "domains":
                yield _ascii(entry.strip(".").removeprefix("www."))
            elif kind == "urls":
                host, _, path_of = entry.removeprefix("http://").removeprefix("https://").partition("/")
                yield f"{_ascii(host.lower().removeprefix('www.'))}/{path_of}".rstrip("/")
            else:
                yield entry


def _ascii(host: str) -> str:
    """Return a host in Punycode, as it is looked up; what is no valid name stays as it is."""
    host = host.rstrip(".")
    if host.isascii():
        return host
    try:
        return host.encode("idna").decode("ascii")
    except UnicodeError:
        return host


def _parents(host: str) -> Iterator[str]:
    """Yield a host and the domains above it, the longest first: a.b.co, b.co, co."""
    yield host
    while "." in host and ":" not in host and not host.replace(".", "").isdigit():
        host = host.partition(".")[2]
        yield host


def _pages(url: str, host: str) -> Iterator[str]:
    """Yield host and path with the query, without it, and the folders above."""
    try:
        parts = urlsplit(url.strip())
    except ValueError:  # unbalanced brackets
        return
    page = f"{host.removeprefix('www.')}{parts.path}"
    if parts.query:
        yield f"{page}?{parts.query}"
    page = page.rstrip("/")
    yield page
    while "/" in page:
        page = page.rpartition("/")[0]
        if "/" in page:
            yield page.rstrip("/")
