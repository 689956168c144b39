"""WARC, ARC and WET files to documents: which records are pages, and what a page's record says about it.

A `response` or `resource` with HTML or plain text becomes a document through the extractor, a `conversion` (WET) as it
is; any other record is skipped under its type. 500 to 1,700 pages a second on one core, nearly all of it extraction.

Source: ISO 28500:2017 (WARC 1.1); Internet Archive ARC 1.0; Common Crawl's WET files (ia-web-commons).
"""

from __future__ import annotations

from collections.abc import Iterator

import orjson

from redpajama_pipe.settings.source import Source
from redpajama_pipe.sources.charset import Decoded, content_type_charset
from redpajama_pipe.sources.html import ExtractionError, Page
from redpajama_pipe.sources.http_message import (
    Message,
    can_be_page,
    declared_type,
    decode_body,
    page_type,
    parse_response,
)
from redpajama_pipe.sources.identifiers import UniqueIds
from redpajama_pipe.sources.pages import PageReader, open_pages
from redpajama_pipe.sources.record import Document, Quarantined, Record, Skipped
from redpajama_pipe.sources.sanitise import clean, clean_optional
from redpajama_pipe.sources.streams import MemberStream
from redpajama_pipe.sources.timestamps import utc_timestamp
from redpajama_pipe.sources.warc_frames import Frame, frames, record_name

# The types of ISO 28500, 6.1, that hold no page of their own.
SKIPPED_TYPES = frozenset({"warcinfo", "request", "metadata", "revisit", "continuation"})
TITLE_CHARS = 300  # a longer first line of a WET record is text
# Header fields that go to `meta`, under these names.
META_FIELDS = {
    "WARC-Identified-Content-Language": "identified_content_language",
    "WARC-Truncated": "truncated",
    "WARC-Refers-To": "refers_to",
    "WARC-TREC-ID": "trec_id",
}


def read_warc(stream: MemberStream, source: Source, *, guarded: bool = False) -> Iterator[Record]:
    """Yield one row for each record of a WARC, ARC or WET file; guarded: a page that kills its parser is one too.

    Skipped are, by kind: the record's type (`request`, `warcinfo`, `arc_header`, …; `unknown_type` for types that the
    standard does not have); `status` for a response that is not 200; `mime` for one that is neither HTML nor plain
    text; `empty_text` for a page without text.

    Quarantined are, by reason: `too_large`; `truncated_warc`, `bad_warc_header`, `bad_content_length`, `not_a_warc` and
    the faults of the compression (see warc_frames); `segmented` for a part of a record; `corrupt_content_encoding`;
    `extraction_failed`, `too_complex` and, when guarded, `extractor_crashed`.

    A record whose Content-Length was wrong is read up to the next record; its `meta` then holds `declared_length`.
    """
    with open_pages(source.extractor, guarded=guarded) as read_page:
        reader = _Pages(source, read_page)
        for frame in frames(stream, source.max_document_bytes):
            if isinstance(frame, Quarantined):
                yield Quarantined(clean(frame.record_id), frame.offset, frame.reason, clean(frame.detail))
            else:
                yield reader.read(frame)


class _Pages:
    """Turns records into rows; keeps the identities used so far."""

    def __init__(self, source: Source, read_page: PageReader) -> None:
        self._source = source
        self._read_page = read_page
        self._ids = UniqueIds()

    def read(self, frame: Frame) -> Record:
        """Decide what one record is."""
        if frame.format == "arc":
            if (frame.headers.get_header("uri") or "").startswith("filedesc://"):
                return Skipped("arc_header")
            return self._response(frame)
        kind = (frame.headers.get_header("WARC-Type") or "").strip().lower()
        if kind in SKIPPED_TYPES:
            return Skipped(kind)
        if not kind:
            return self._quarantine(frame, "bad_warc_header", "the record has no WARC-Type")
        if kind not in ("response", "resource", "conversion"):
            return Skipped("unknown_type")
        if frame.headers.get_header("WARC-Segment-Number"):
            return self._quarantine(frame, "segmented", "the record is one segment of several")
        if kind == "conversion":
            return self._conversion(frame)
        return self._response(frame)

    def _conversion(self, frame: Frame) -> Record:
        kind = page_type(frame.headers.get_header("Content-Type"), frame.block)
        if kind is None:
            return Skipped("mime")
        charset = content_type_charset(frame.headers.get_header("Content-Type"))
        try:
            decoded, page = self._read_page(frame.block, charset, "text")
        except ExtractionError as error:
            return self._quarantine(frame, error.reason, str(error))
        if not decoded.text.strip():
            return Skipped("empty_text")
        first = decoded.text.lstrip().split("\n", 1)[0].strip()
        page = Page(page.text, first if len(first) <= TITLE_CHARS else None)
        return self._document(frame, page, decoded, "text/plain")

    def _response(self, frame: Frame) -> Record:
        headers = frame.headers
        record_mime = headers.get_header("Content-Type" if frame.format == "warc" else "content-type") or ""
        if _is_http(frame, record_mime):
            message = parse_response(frame.block)
            if message.headers is None and frame.format == "arc":
                declared: str | None = record_mime
            else:
                declared = message.header("content-type")
        else:
            message, declared = Message(None, None, frame.block), record_mime
        if message.status not in (None, 200):
            return Skipped("status")
        mime = declared_type(declared)
        if not can_be_page(mime):
            return Skipped("mime")
        body = decode_body(message, self._source.max_document_bytes)
        if body.too_large:
            limit = self._source.max_document_bytes
            return self._quarantine(frame, "too_large", f"the decoded body passes the limit of {limit} bytes")
        if body.problem and not headers.get_header("WARC-Truncated"):
            if page_type(declared, b"") is None:
                return Skipped("mime")
            return self._quarantine(frame, "corrupt_content_encoding", body.problem)
        kind = page_type(declared, body.data)
        if kind is None:
            return Skipped("mime")
        try:
            decoded, page = self._read_page(body.data, content_type_charset(declared), kind)
        except ExtractionError as error:
            return self._quarantine(frame, error.reason, str(error))
        if not page.text.strip():
            return Skipped("empty_text")
        return self._document(frame, page, decoded, mime or None)

    def _document(self, frame: Frame, page: Page, decoded: Decoded, mime: str | None) -> Record:
        text = clean(page.text)
        if not text.strip():
            return Skipped("empty_text")
        headers = frame.headers
        raw_date = headers.get_header("WARC-Date" if frame.format == "warc" else "archive-date")
        timestamp = utc_timestamp(raw_date)
        meta: dict[str, str | int] = {}
        for field, name in META_FIELDS.items():
            value = headers.get_header(field)
            if value:
                meta[name] = clean(value)
        if raw_date and timestamp is None:
            meta["raw_date"] = clean(raw_date)
        if frame.declared_length is not None:
            meta["declared_length"] = clean(frame.declared_length)
        return Document(
            text=text,
            record_id=self._ids.claim(clean(record_name(frame.headers)), frame.offset),
            offset=frame.offset,
            length=frame.length,
            url=clean_optional(_target_uri(frame)),
            title=clean_optional(page.title),
            timestamp=timestamp,
            mime=clean_optional(mime),
            charset=decoded.charset,
            charset_source=decoded.source,
            language=self._source.language,
            meta=orjson.dumps(meta, option=orjson.OPT_SORT_KEYS).decode() if meta else None,
            content_digest=clean_optional(
                headers.get_header("WARC-Payload-Digest") or headers.get_header("WARC-Block-Digest")
            ),
        )

    def _quarantine(self, frame: Frame, reason: str, detail: str) -> Quarantined:
        return Quarantined(clean(record_name(frame.headers)), frame.offset, reason, clean(detail))


def _is_http(frame: Frame, mime: str) -> bool:
    """Say whether a block is an HTTP message: by its address or, where that is missing or odd, by its type."""
    if (frame.headers.get_header("WARC-Type") or "response").strip().lower() != "response":
        return False
    uri = (_target_uri(frame) or "").lower()
    return uri.startswith(("http:", "https:")) or mime.strip().lower().startswith("application/http")


def _target_uri(frame: Frame) -> str | None:
    """Return the address of a page: without the brackets of GNU Wget, spaces written as %20."""
    uri = frame.headers.get_header("WARC-Target-URI" if frame.format == "warc" else "uri")
    if not uri:
        return None
    uri = uri.strip()
    if uri.startswith("<") and uri.endswith(">"):
        uri = uri[1:-1]
    return str(uri).replace(" ", "%20") or None
