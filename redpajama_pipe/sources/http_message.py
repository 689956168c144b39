"""The HTTP message inside a crawl record: status, headers, body, and whether the body is a page.

Crawlers store what servers sent, so each step tolerates what servers do: no status line, chunks that are no chunks, a
Content-Encoding that was never applied. Every decoder stops at a limit of output.

Source: RFC 9112 (HTTP/1.1), 7.1 chunked coding; RFC 9110, 8.4 content codings; WHATWG MIME Sniffing Standard, 7.1.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Protocol

import zstandard
from warcio.statusandheaders import StatusAndHeaders, StatusAndHeadersParser

from redpajama_pipe.sources.decoders import ZSTD_WINDOW

HTML_TYPES = frozenset({"text/html", "application/xhtml+xml", "application/vnd.wap.xhtml+xml"})
# Types that say nothing, or that servers send for whatever they do not know.
VAGUE_TYPES = frozenset({"", "text/plain", "application/octet-stream", "application/unknown", "unknown/unknown", "*/*"})

_PARSER = StatusAndHeadersParser(["HTTP/"], verify=False)
_STATUS = re.compile(rb"(?:HTTP|ICY)\S*[ \t]+(\d{3})\b", re.IGNORECASE)
_CHUNK = re.compile(rb"[ \t]*0*([0-9a-fA-F]{1,8})[ \t]*(?:;[^\r\n]*)?\r?\n")
_LAST_CHUNK = re.compile(rb"\r?\n0+[ \t]*\r?\n\r?\n\Z")
_TYPE = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+/[!#$%&'*+.^_`|~0-9a-z-]+")
_HTML = re.compile(
    rb"\s*(?:<\?xml[^>]*>\s*)?(?:<!--|<(?:!DOCTYPE\s+HTML|HTML|HEAD|SCRIPT|IFRAME|H1|DIV|FONT|TABLE|A|STYLE|TITLE|B|BODY|BR|P)"
    rb"[\s>])",
    re.IGNORECASE,
)
_BINARY = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")
_MAGIC = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd")
_GZIP = b"\x1f\x8b\x08"
# What is no page, whatever it is called (WHATWG MIME Sniffing, 6)
_NO_PAGE = (b"\x89PNG\r\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"%PDF-", b"PK\x03\x04", _GZIP, b"\x28\xb5\x2f\xfd")
_MARKS = (b"\xfe\xff", b"\xff\xfe")
SNIFF_BYTES = 1445  # WHATWG MIME Sniffing, 5.2: the resource header
FEED_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Message:
    """A parsed response: `status` is None when there is no status line that says."""

    status: int | None
    headers: StatusAndHeaders | None
    body: bytes

    def header(self, name: str) -> str | None:
        value: str | None = self.headers.get_header(name) if self.headers else None
        return value


@dataclass(frozen=True, slots=True)
class Body:
    """A body without its codings. `problem`: why the end of it is missing; `too_large`: it passed the limit."""

    data: bytes
    problem: str | None = None
    too_large: bool = False


def parse_response(block: bytes) -> Message:
    """Split a block at its header; a block that does not start with a status line is all body (HTTP/0.9)."""
    if block[:4].upper() not in (b"HTTP", b"ICY "):
        return Message(None, None, block)
    reader = BytesIO(block)
    headers = _PARSER.parse(reader)
    status = _STATUS.match(block)
    return Message(int(status.group(1)) if status else None, headers, block[reader.tell() :])


def decode_body(message: Message, limit: int) -> Body:
    """Remove the transfer and content codings that a response declares.

    Renamed headers, such as Common Crawl's X-Crawler-Content-Encoding, declare nothing: that crawler stores bodies
    decoded. A coding that was not applied (the first bytes do not decode, and are text) is passed over; one that was
    applied twice and declared once is removed twice. At most `limit` bytes are decoded.
    """
    data = message.body
    transfer = _words(message.header("transfer-encoding"))
    if "chunked" in transfer:
        data = dechunk(data)
    for coding in reversed(_words(message.header("content-encoding")) + transfer):
        maker = _CODINGS.get(coding)
        if maker is None or not data:
            continue  # identity, or a word that is no coding, such as utf-8
        decoded = _inflate(maker, data, limit)
        if decoded is None and coding == "deflate":  # RFC 9110, 8.4.1.2: some senders leave out the zlib frame
            decoded = _inflate(lambda: zlib.decompressobj(-zlib.MAX_WBITS), data, limit)
        if decoded is None:
            head = data[:SNIFF_BYTES]
            if _BINARY.search(head) and not _HTML.match(head) and not head.startswith(_MARKS):
                return Body(data, problem=f"the body is neither {coding} nor text")
            continue
        if decoded.problem or decoded.too_large:
            return decoded
        data = decoded.data
    if data.startswith(_GZIP):
        decoded = _inflate(_CODINGS["gzip"], data, limit)
        if decoded and not decoded.problem:
            return decoded
    return Body(data, too_large=len(data) > limit)


def _words(value: str | None) -> list[str]:
    return [word.strip() for word in (value or "").lower().split(",")]


def dechunk(data: bytes) -> bytes:
    """Join the chunks of a chunked body; from the first thing that is no chunk on, bytes stay as they are."""
    pieces: list[bytes] = []
    at = 0
    while True:
        size_line = _CHUNK.match(data, at)
        if not size_line:
            rest = data[at:]  # not chunked at all, or not from here on
            pieces.append(_LAST_CHUNK.sub(b"", rest) if pieces else rest)
            break
        size = int(size_line.group(1), 16)
        if size == 0:
            break  # trailers may follow
        start = size_line.end()
        piece = data[start : start + size]
        pieces.append(piece if len(piece) == size else _LAST_CHUNK.sub(b"", piece))
        at = start + size
        if data[at : at + 2] == b"\r\n":
            at += 2
        elif data[at : at + 1] == b"\n":
            at += 1
        if at >= len(data):
            break
    return b"".join(pieces)


def page_type(declared: str | None, body: bytes) -> str | None:
    """Say whether a body is a page: "html", "text", or None for anything else.

    The declared type decides, unless the body is an image or an archive; where it is missing, vague or no type at all,
    the first bytes do.
    """
    kind = declared_type(declared)
    head = body[:SNIFF_BYTES]
    if not can_be_page(kind) or head.startswith(_NO_PAGE):
        return None
    if kind in HTML_TYPES:
        return "html"
    if head.startswith(_MARKS):
        head = head[2:].replace(b"\0", b"")
        return "html" if _HTML.match(head) else "text"
    if head.startswith(b"\xef\xbb\xbf"):
        head = head[3:]
    if _HTML.match(head):
        return "html"
    if _BINARY.search(head) or kind not in ("text/plain", ""):
        return None
    return "text"


def can_be_page(kind: str) -> bool:
    """Say whether a body of this type (see `declared_type`) may be a page; if not, it need not be decoded."""
    return kind in HTML_TYPES or kind in VAGUE_TYPES


def declared_type(value: str | None) -> str:
    """Return the type that a Content-Type names, in lower case; "" where it names none (WHATWG: failure)."""
    kind = re.split("[;,]", value or "", maxsplit=1)[0].strip().lower()
    return kind if _TYPE.fullmatch(kind) else ""


class _Decoder(Protocol):
    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _Zstd:
    def __init__(self) -> None:
        self._zstd = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW).decompressobj()

    @property
    def eof(self) -> bool:
        return self._zstd.eof

    @property
    def unused_data(self) -> bytes:
        return self._zstd.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._zstd.decompress(data)


class _Brotli:
    def __init__(self) -> None:
        import brotli  # type: ignore[import-untyped]  # comes with Resiliparse

        self._brotli = brotli.Decompressor()
        self._error: type[Exception] = brotli.error

    unused_data = b""  # one stream is all that there can be

    @property
    def eof(self) -> bool:
        return bool(self._brotli.is_finished())

    def decompress(self, data: bytes, max_length: int) -> bytes:
        try:
            return bytes(self._brotli.process(data))
        except self._error as error:
            raise ValueError(f"brotli: {error}") from error


_CODINGS: dict[str, Callable[[], _Decoder]] = {
    "gzip": lambda: zlib.decompressobj(16 + zlib.MAX_WBITS),
    "x-gzip": lambda: zlib.decompressobj(16 + zlib.MAX_WBITS),
    "deflate": lambda: zlib.decompressobj(),
    "br": _Brotli,
    "zstd": _Zstd,
}


def _inflate(make: Callable[[], _Decoder], data: bytes, limit: int) -> Body | None:
    """Decode, all members of gzip and frames of Zstandard; None: not even the first bytes decode.

    What follows the last member is no part of the body.
    """
    decoder = make()
    pieces: list[bytes] = []
    size = 0
    for at in range(0, len(data), FEED_BYTES):
        feed = data[at : at + FEED_BYTES]
        while feed:
            try:
                piece = decoder.decompress(feed, limit + 1 - size)
            except (zlib.error, zstandard.ZstdError, ValueError) as error:
                return Body(b"".join(pieces), problem=str(error)) if size or data.startswith(_MAGIC) else None
            size += len(piece)
            if size > limit:
                return Body(b"", too_large=True)
            pieces.append(piece)
            if not decoder.eof:
                break
            feed = decoder.unused_data
            following = feed + data[at + FEED_BYTES : at + FEED_BYTES + 4]
            if not following.startswith(_MAGIC):
                return Body(b"".join(pieces))
            decoder = make()
    if not size and not data.startswith(_MAGIC):  # Brotli takes some short texts for the beginning of a stream
        return None
    return Body(b"".join(pieces), problem="the encoded body ends early")
