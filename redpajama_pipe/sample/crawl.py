"""Write pages as a crawler stores them: WARC files of HTTP captures and WET files of their text.

Every date and record id follows from the page, so that two calls write equal bytes.
"""

from __future__ import annotations

import gzip
from base64 import b32encode
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hashlib import sha1
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from redpajama_pipe.sample.pages import HOST, Page

_SECONDS_BETWEEN_CAPTURES = 7

# What a language's older sites are written in; every other language of the sample fits Latin-1.
_OLD_CHARSETS = {
    "bg": "windows-1251",
    "ru": "koi8-r",
    "sr": "windows-1251",
    "uk": "windows-1251",
    "cs": "iso-8859-2",
    "hr": "windows-1250",
    "hu": "iso-8859-2",
    "pl": "iso-8859-2",
    "sl": "iso-8859-2",
    "ro": "utf-8",
}


@dataclass(frozen=True)
class Place:
    """Where a document of the sample lies; what expected.json calls it.

    Attributes:
        source: the recipe's name of the source.
        record_id: what is unique in the file: the WARC record id without its brackets, the page id of a dump, the
            number of the line, from 0.
    """

    source: str
    file: str
    record_id: str
    url: str
    date: str = ""


@dataclass(frozen=True)
class Response:
    """An HTTP response: the body as it goes over the wire, and the headers that say how to read it."""

    headers: tuple[tuple[str, str], ...]
    body: bytes
    status: str = "200 OK"
    charset: str = "utf-8"


def plain_utf8(page: Page) -> Response:
    """Say UTF-8 in the header."""
    return Response((("Content-Type", "text/html; charset=utf-8"),), page.html().encode())


def chunked(page: Page) -> Response:
    """Send UTF-8 in chunks; the sizes are inside the stored body."""
    response = plain_utf8(page)
    return replace(response, headers=(*response.headers, ("Transfer-Encoding", "chunked")), body=_chunks(response.body))


def gzipped(page: Page) -> Response:
    """Compress the body."""
    response = plain_utf8(page)
    body = gzip.compress(response.body, mtime=0)
    return replace(response, headers=(*response.headers, ("Content-Encoding", "gzip")), body=body)


def gzipped_and_chunked(page: Page) -> Response:
    """Compress the body, then send it in chunks."""
    response = gzipped(page)
    return replace(response, headers=(*response.headers, ("Transfer-Encoding", "chunked")), body=_chunks(response.body))


def decoded_by_crawler(page: Page) -> Response:
    """Store what the crawler has decompressed, the header renamed, as Common Crawl does."""
    response = plain_utf8(page)
    return replace(response, headers=(*response.headers, ("X-Crawler-Content-Encoding", "gzip")))


def latin1_in_header(page: Page) -> Response:
    """Say ISO-8859-1 in the header."""
    return Response(
        (("content-type", "text/html;charset=ISO-8859-1"),),
        page.html().encode("iso-8859-1", "xmlcharrefreplace"),
        charset="iso-8859-1",
    )


def utf16_in_header(page: Page) -> Response:
    """Say UTF-16 in the header; the body begins with a byte order mark."""
    body = b"\xff\xfe" + page.html().encode("utf-16-le")
    return Response((("Content-Type", "text/html; charset=utf-16"),), body, charset="utf-16")


def charset_in_meta(page: Page) -> Response:
    """Name the charset in a <meta> only."""
    charset = _OLD_CHARSETS.get(page.language, "windows-1252")
    body = page.html(meta_charset=charset).encode(charset, "xmlcharrefreplace")
    return Response((("Content-Type", "text/html"),), body, charset=charset)


def no_charset(page: Page) -> Response:
    """Send UTF-8 and name no charset anywhere."""
    return Response((("Content-Type", "text/html"),), page.html().encode())


FORMS: tuple[Callable[[Page], Response], ...] = (
    plain_utf8,
    chunked,
    gzipped,
    charset_in_meta,
    gzipped_and_chunked,
    decoded_by_crawler,
    latin1_in_header,
    no_charset,
    utf16_in_header,
)


class WarcFile:
    """One .warc.gz or .warc.wet.gz under construction; a context manager.

    Attributes:
        counts: records by type; responses also by what became of them, as `response 404`.
    """

    def __init__(self, folder: Path, name: str, start: datetime) -> None:
        self.name = name
        self.counts: Counter[str] = Counter()
        self._source = "crawl_text" if name.endswith(".wet.gz") else "crawl"
        self._start = start
        self._captures = 0
        self._out = (folder / name).open("wb")
        self._writer = WARCWriter(self._out, gzip=True)
        info = "software: redpajama_pipe.sample\r\nformat: WARC File Format 1.0\r\nrobots: obey\r\n"
        self._write("warcinfo", "", info.encode(), f"warcinfo {name}", "application/warc-fields")

    def __enter__(self) -> WarcFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._out.close()

    def capture(self, url: str, response: Response) -> Place:
        """Write request, response and metadata of one fetch, as Common Crawl does."""
        seed = f"{self.name} {url} {self._captures}"
        self._write("request", url, _request(url), seed, "application/http; msgtype=request")
        record_id = self._write("response", url, response, seed)
        metadata = f"fetchTimeMs: 42\r\ncharset-detected: {response.charset}\r\n".encode()
        self._write(
            "metadata", url, metadata, seed, "application/warc-fields", {"WARC-Concurrent-To": f"<{record_id}>"}
        )
        self.counts[f"response {response.status[:3]}"] += 1
        return self._place(record_id, url)

    def revisit(self, url: str, first: Place, body: bytes) -> None:
        """Write a revisit record: the page was fetched again and had not changed."""
        record = self._writer.create_revisit_record(
            url,
            digest=f"sha1:{b32encode(sha1(body).digest()).decode()}",
            refers_to_uri=first.url,
            refers_to_date=first.date,
            http_headers=StatusAndHeaders("200 OK", [("Content-Type", "text/html")], protocol="HTTP/1.1"),
            warc_headers_dict=self._headers("revisit", f"{self.name} {url}"),
        )
        self._writer.write_record(record)
        self.counts["revisit"] += 1

    def conversion(self, url: str, text: str, language: str, refers_to: str = "") -> Place:
        """Write the plain text of a page, as a WET file holds it."""
        more = {"WARC-Refers-To": f"<{refers_to}>"} if refers_to else {}
        if language:
            more["WARC-Identified-Content-Language"] = language
        record_id = self._write("conversion", url, text.encode(), f"{self.name} {url}", "text/plain", more)
        return self._place(record_id, url)

    def _date(self) -> str:
        date = self._start + timedelta(seconds=_SECONDS_BETWEEN_CAPTURES * self._captures)
        return f"{date:%Y-%m-%dT%H:%M:%SZ}"

    def _place(self, record_id: str, url: str) -> Place:
        place = Place(self._source, self.name, record_id, url, self._date())
        self._captures += 1
        return place

    def _headers(self, kind: str, seed: str) -> dict[str, str]:
        record_id = f"<urn:uuid:{uuid5(NAMESPACE_URL, f'{kind} {seed}')}>"
        return {"WARC-Record-ID": record_id, "WARC-Date": self._date()}

    def _write(
        self,
        kind: str,
        url: str,
        content: bytes | Response,
        seed: str,
        content_type: str = "application/http; msgtype=response",
        more: dict[str, str] | None = None,
    ) -> str:
        headers = self._headers(kind, seed) | (more or {})
        body = content.body if isinstance(content, Response) else content
        http: Any = None
        if isinstance(content, Response):
            http = StatusAndHeaders(content.status, list(content.headers), protocol="HTTP/1.1")
        record = self._writer.create_warc_record(
            url,
            kind,
            payload=BytesIO(body),
            length=len(body),
            warc_content_type=content_type,
            warc_headers_dict=headers,
            http_headers=http,
        )
        self._writer.write_record(record)
        self.counts[kind] += 1
        return headers["WARC-Record-ID"][1:-1]


def _request(url: str) -> bytes:
    path = "/" + url.split("/", 3)[3]
    return f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nUser-Agent: sample\r\nAccept: text/html\r\n\r\n".encode()


def _chunks(body: bytes) -> bytes:
    size = 4000
    parts = (body[start : start + size] for start in range(0, len(body), size))
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
