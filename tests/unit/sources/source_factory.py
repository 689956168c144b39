"""Small WARC, ARC and dump files for the tests of sources."""

from __future__ import annotations

import gzip
import itertools
from collections import Counter
from io import BytesIO
from typing import Any

from redpajama_pipe.settings.source import Source
from redpajama_pipe.sources.record import Document, Quarantined, Record, Skipped
from redpajama_pipe.sources.streams import MemberStream
from redpajama_pipe.sources.warc import read_warc

PAGE = b"<html><head><title>A page</title></head><body><p>Some words of a page that is long enough.</p></body></html>"

_ids = itertools.count()


def stream(data: bytes) -> MemberStream:
    return MemberStream(BytesIO(data))


def source(kind: str = "warc", **options: Any) -> Source:
    return Source("s", kind, ("unused",), **options)  # type: ignore[arg-type]


def http(body: bytes = PAGE, *headers: str, status: str = "HTTP/1.1 200 OK") -> bytes:
    lines = [status, *(headers or ("Content-Type: text/html; charset=utf-8",)), "", ""]
    return "\r\n".join(lines).encode() + body


def warc(block: bytes, kind: str = "response", length: int | str | None = None, **fields: str) -> bytes:
    """Make a record; fields are header lines with _ for -, None leaves one out."""
    header = {
        "WARC-Type": kind,
        "WARC-Date": "2024-05-18T01:58:10Z",
        "WARC-Record-ID": f"<urn:uuid:{next(_ids):08d}-0000-0000-0000-000000000000>",
        "WARC-Target-URI": "http://example.org/",
        "Content-Type": "application/http; msgtype=response" if kind == "response" else "text/plain",
    }
    header |= {name.replace("_", "-"): value for name, value in fields.items()}
    lines = [f"{name}: {value}" for name, value in header.items() if value is not None]
    size = len(block) if length is None else length
    if size != "absent":
        lines.append(f"Content-Length: {size}")
    return ("WARC/1.0\r\n" + "\r\n".join(lines) + "\r\n\r\n").encode() + block + b"\r\n\r\n"


def members(*records: bytes) -> bytes:
    """Compress each record to a gzip member of its own."""
    return b"".join(gzip.compress(record, mtime=0) for record in records)


def rows(data: bytes, **options: Any) -> list[Record]:
    return list(read_warc(stream(data), source(**options)))


def documents(records: list[Record]) -> list[Document]:
    return [record for record in records if isinstance(record, Document)]


def tally(records: list[Record]) -> dict[str, int]:
    """Count rows: `document`, the kind of a skip, `!` and the reason of a quarantine row."""
    counts: Counter[str] = Counter()
    for record in records:
        if isinstance(record, Document):
            counts["document"] += 1
        elif isinstance(record, Skipped):
            counts[record.kind] += 1
        else:
            assert isinstance(record, Quarantined)
            counts[f"!{record.reason}"] += 1
    return dict(counts)
