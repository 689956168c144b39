"""What a reader yields for each record of its input: a document, a skip or a quarantine row.

Every record of an input becomes exactly one of the three, so that
records read = documents + skipped by kind + quarantined by reason holds for each file.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Split:
    """One unit of ingest and of resume: a file, or a byte range of one (multistream Wikipedia dumps only).

    Attributes:
        source: the recipe's name of the source.
        uri: where to open it (a local path or a URL), as given.
        identity: what document ids are made from: the URI relative to the source's root, credentials removed.
        start: first byte of the range.
        end: one past the last byte, or -1 for the end of the file.
    """

    source: str
    uri: str
    identity: str
    start: int = 0
    end: int = -1


@dataclass(frozen=True, slots=True)
class Document:
    """One extracted document.

    Attributes:
        text: valid Unicode, never empty: no lone surrogates, no NUL (see sanitise.clean).
        record_id: the record's identity inside its file: a WARC-Record-ID, a page id, a line number.
        offset: where the record starts in the file: a byte offset, in the stored (compressed) file where records are
            members of their own, else in the decompressed stream (Wikipedia dumps: see wikipedia.read_wikipedia).
        length: bytes of the record in that same stream, or -1 when unknown.
        timestamp: ISO 8601 in UTC, as precise as the record.
        charset_source: which evidence decided `charset`: bom, header, meta, utf-8, detected, fallback.
        language: declared by the source (a Wikipedia dump's name), not identified from the text.
        subset: a label inside the source, such as the Pile's pile_set_name.
        meta: whatever else the record carried, as a JSON object in text.
        content_digest: the archive's own digest of the page, as given: of its payload, else of the whole block.
    """

    text: str
    record_id: str
    offset: int
    length: int = -1
    url: str | None = None
    title: str | None = None
    timestamp: str | None = None
    mime: str | None = None
    charset: str | None = None
    charset_source: str | None = None
    language: str | None = None
    subset: str | None = None
    meta: str | None = None
    content_digest: str | None = None


@dataclass(frozen=True, slots=True)
class Skipped:
    """A record that is no document by its nature: a request, a redirect, an image, a page without text.

    Attributes:
        kind: a short stable word, such as `request`, `redirect`, `mime`, `namespace`, `empty_text`, `status`.
    """

    kind: str


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A record that should have become a document and could not be read or extracted.

    Attributes:
        record_id: its identity where known, else "".
        offset: where it starts (as `Document.offset`), or -1.
        reason: a short stable word, such as `truncated_gzip`, `bad_json`, `bad_xml`, `extraction_failed`, `too_large`.
        detail: one line for a person: the exception's text, the field at fault.
    """

    record_id: str
    offset: int
    reason: str
    detail: str


Record = Document | Skipped | Quarantined
