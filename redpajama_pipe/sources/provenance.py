"""What a page's address and its file's path say of it: the host, and the snapshot of Common Crawl."""

from __future__ import annotations

import re

# RFC 3986, section 3.2, as browsers read it: in a host's place a backslash ends it too (WHATWG URL, "host state")
_HOST = re.compile(
    r"\s*[a-zA-Z][a-zA-Z0-9+.-]*://(?:[^/?#\\]*@)?"
    r"(?:\[([^\]/?#\\]*)\]|([^:/?#\\\[\]]*))(?::\d*)?(?=[/?#\\]|\s*\Z)"
)
_SNAPSHOT = re.compile(r"(?:^|/)crawl-data/(CC-MAIN-\d{4}-\d{2})/")


def host_of(url: str | None) -> str | None:
    """Return the host of a URL in lower case, without user, port and the brackets of an IPv6 address.

    An internationalised name stays as it is given, in Unicode or in Punycode. None where the URL has no host, or none
    that can be made out.
    """
    found = _HOST.match(url) if url else None
    return (found[1] or found[2] or "").strip().lower() or None if found else None


def snapshot_of(path: str) -> str | None:
    """Return the snapshot in whose folder of Common Crawl's layout a file lies, CC-MAIN-YYYY-WW, or None."""
    found = _SNAPSHOT.search(path)
    return found[1] if found else None
