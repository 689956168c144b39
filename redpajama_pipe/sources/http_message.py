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

from redpajama_pipe.sources.streams import ZSTD_WINDOW

HTML_TYPES = frozenset({"text/html", "application/xhtml+xml", "application/vnd.wap.xhtml+xml"})
# Types that say nothing, or that servers send for whatever they do not know.
VAGUE_TYPES = frozenset(
    {"", "unk", "unknown", "no-type", "text/plain", "application/octet-stream", "application/unknown"}
)

_PARSER = StatusAndHeadersParser(["HTTP/"], verify=False)
_STATUS = re.compile(rb"(?:HTTP|ICY)\S*[ \t]+(\d{3})\b", re.IGNORECASE)
_CHUNK = re.compile(rb"[ \t]*([0-9a-fA-F]{1,8})[ \t]*(?:;[^\r\n]*)?\r?\n")
_HTML = re.compile(
    rb"\s*(?:<\?xml[^>]*>\s*)?(?:<!--|<(?:!DOCTYPE\s+HTML|HTML|HEAD|SCRIPT|IFRAME|H1|DIV|FONT|TABLE|A|STYLE|TITLE|B|BODY|BR|P)"
    rb"[\s>])",
    re.IGNORECASE,
)
_BINARY = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")
_MAGIC = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd")
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
    decoded. A coding that was not applied (the first bytes do not decode) is passed over. At most `limit` bytes are
    decoded.
    """
    data = message.body
    if "chunked" in (message.header("transfer-encoding") or "").lower():
        data = dechunk(data)
    codings = [word.strip() for word in (message.header("content-encoding") or "").lower().split(",")]
    for coding in reversed(codings):
        maker = _CODINGS.get(coding)
        if maker is None or not data:
            continue  # identity, or a word that is no coding, such as utf-8
        decoded = _inflate(maker(), data, limit)
        if decoded is None and coding == "deflate":  # RFC 9110, 8.4.1.2: some senders leave out the zlib frame
            decoded = _inflate(zlib.decompressobj(-zlib.MAX_WBITS), data, limit)
        if decoded is None:
            continue
        if decoded.problem or decoded.too_large:
            return decoded
        data = decoded.data
    return Body(data, too_large=len(data) > limit)


def dechunk(data: bytes) -> bytes:
    """Join the chunks of a chunked body; from the first thing that is no chunk on, bytes stay as they are."""
    pieces: list[bytes] = []
    at = 0
    while True:
        size_line = _CHUNK.match(data, at)
        if not size_line:
            pieces.append(data[at:])  # not chunked at all, or not from here on
            break
        size = int(size_line.group(1), 16)
        if size == 0:
            break  # trailers may follow
        start = size_line.end()
        pieces.append(data[start : start + size])
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

    The declared type decides; where it is missing or vague, the first bytes do.
    """
    kind = (declared or "").partition(";")[0].strip().lower()
    if kind in HTML_TYPES:
        return "html"
    if kind not in VAGUE_TYPES:
        return None
    head = body[:SNIFF_BYTES]
    if head.startswith((b"\xfe\xff", b"\xff\xfe")):
        head = head[2:].replace(b"\0", b"")
        return "html" if _HTML.match(head) else "text"
    if head.startswith(b"\xef\xbb\xbf"):
        head = head[3:]
    if _HTML.match(head):
        return "html"
    if _BINARY.search(head) or kind not in ("text/plain", ""):
        return None
    return "text"


class _Decoder(Protocol):
    @property
    def eof(self) -> bool: ...

    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _Zstd:
    def __init__(self) -> None:
        self._zstd = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW).decompressobj()

    @property
    def eof(self) -> bool:
        return self._zstd.eof

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._zstd.decompress(data)


class _Brotli:
    def __init__(self) -> None:
        import brotli  # type: ignore[import-untyped]  # comes with Resiliparse

        self._brotli = brotli.Decompressor()
        self._error: type[Exception] = brotli.error

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


def _inflate(decoder: _Decoder, data: bytes, limit: int) -> Body | None:
    """Decode; None when not even the first bytes decode, so that the coding was never applied."""
    pieces: list[bytes] = []
    size = 0
    for at in range(0, len(data), FEED_BYTES):
        try:
            piece = decoder.decompress(data[at : at + FEED_BYTES], limit + 1 - size)
        except (zlib.error, zstandard.ZstdError, ValueError) as error:
            applied = size > 0 or at > 0 or data.startswith(_MAGIC)
            return Body(b"".join(pieces), problem=str(error)) if applied else None
        size += len(piece)
        if size > limit:
            return Body(b"", too_large=True)
        pieces.append(piece)
        if decoder.eof:
            return Body(b"".join(pieces))
    return Body(b"".join(pieces), problem="the encoded body ends early")
