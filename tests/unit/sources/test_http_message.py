"""The HTTP message inside a record."""

from __future__ import annotations

import gzip
import zlib

import brotli
import pytest
import zstandard
from source_factory import PAGE, http

from redpajama_pipe.sources.http_message import Body, dechunk, decode_body, page_type, parse_response

LIMIT = 1 << 20
RAW_DEFLATE = zlib.compressobj(wbits=-15)


def decoded(body: bytes, *headers: str, limit: int = LIMIT) -> Body:
    return decode_body(parse_response(http(body, "Content-Type: text/html", *headers)), limit)


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("HTTP/1.1 200 OK", 200),
        ("HTTP/1.0 404", 404),
        ("HTTP/2 301 Moved", 301),
        ("HTTP/1.1   200 OK", 200),
        ("ICY 200 OK", 200),
        ("http/1.1 200", 200),
        ("HTTP/1.1 OK", None),
        ("HTTP/1.1 2000", None),
        ("HTTP", None),
    ],
)
def test_status_lines(line: str, status: int | None) -> None:
    message = parse_response(http(b"body", "X-A: b", status=line))
    assert (message.status, message.header("x-a"), message.body) == (status, "b", b"body")


def test_body_without_a_status_line_is_all_body() -> None:
    message = parse_response(b"<html>old</html>")
    assert (message.status, message.headers, message.body) == (None, None, b"<html>old</html>")


def test_header_lines_of_every_kind_are_read() -> None:
    block = b"HTTP/1.1 200 OK\nno colon here\nContent-Type : text/html\n folded\nX-Latin: caf\xe9\n\nbody"
    message = parse_response(block)
    assert message.header("content-type") == "text/html folded"
    assert message.header("x-latin") == "café"
    assert message.body == b"body"


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", gzip.compress(PAGE)),
        ("x-gzip", gzip.compress(PAGE)),
        ("GZIP", gzip.compress(PAGE)),
        ("deflate", zlib.compress(PAGE)),
        ("deflate", RAW_DEFLATE.compress(PAGE) + RAW_DEFLATE.flush()),
        ("br", brotli.compress(PAGE)),
        ("zstd", zstandard.ZstdCompressor().compress(PAGE)),
        ("deflate, gzip", gzip.compress(zlib.compress(PAGE))),
        ("gzip", gzip.compress(PAGE[:40]) + gzip.compress(b"") + gzip.compress(PAGE[40:]) + b"junk"),
        ("zstd", zstandard.ZstdCompressor().compress(PAGE[:40]) + zstandard.ZstdCompressor().compress(PAGE[40:])),
        ("gzip", gzip.compress(gzip.compress(PAGE))),
        ("gzip, gzip", gzip.compress(PAGE)),
        ("identity", gzip.compress(PAGE)),
        ("identity", PAGE),
        ("utf-8", PAGE),
    ],
)
def test_content_codings_are_removed(coding: str, body: bytes) -> None:
    assert decoded(body, f"Content-Encoding: {coding}") == Body(PAGE)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
def test_a_coding_that_was_never_applied_is_passed_over(coding: str) -> None:
    assert decoded(PAGE, f"Content-Encoding: {coding}") == Body(PAGE)
    assert decoded(b"plain words", "Content-Encoding: gzip") == Body(b"plain words")


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
def test_what_is_neither_in_the_coding_nor_text_is_damaged(coding: str) -> None:
    problem = decoded(b"\x01\x02\x03 \x00\xff words", f"Content-Encoding: {coding}").problem
    assert problem == f"the body is neither {coding} nor text"
    assert decoded(b"<html>\x01\x02 words", f"Content-Encoding: {coding}").problem is None
    assert decoded("<p>wide".encode("utf-16"), f"Content-Encoding: {coding}").problem is None


def test_members_of_a_body_at_any_border_of_a_read() -> None:
    for size in range(4080, 4110, 2):
        first = gzip.compress(bytes(range(256)) * 8 + b"x" * size, 0, mtime=0)
        body = decoded(first + gzip.compress(b"end", mtime=0), "Content-Encoding: gzip")
        assert body.problem is None
        assert body.data.endswith(b"xxxend")


def test_codings_of_the_transfer_are_removed_too() -> None:
    encoded = gzip.compress(PAGE)
    body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(encoded), encoded)
    assert decoded(body, "Transfer-Encoding: gzip, chunked") == Body(PAGE)


def test_renamed_headers_declare_nothing() -> None:
    body = zlib.compress(PAGE)
    assert decoded(body, "X-Crawler-Content-Encoding: deflate", "X-Crawler-Transfer-Encoding: chunked").data == body


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
def test_a_body_cut_short_says_so(coding: str) -> None:
    long = PAGE * 500
    encoded = {
        "gzip": gzip.compress(long),
        "deflate": zlib.compress(long),
        "br": brotli.compress(long),
        "zstd": zstandard.ZstdCompressor().compress(long),
    }[coding]
    body = decoded(encoded[:-4], f"Content-Encoding: {coding}")
    assert body.problem == "the encoded body ends early"
    assert long.startswith(body.data)


def test_a_damaged_body_says_so() -> None:
    encoded = bytearray(gzip.compress(PAGE))
    encoded[20] ^= 0xFF
    assert decoded(bytes(encoded), "Content-Encoding: gzip").problem is not None


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
def test_a_bomb_stops_at_the_limit(coding: str) -> None:
    zeros = bytes(8 << 20)
    encoded = {
        "gzip": gzip.compress(zeros),
        "deflate": zlib.compress(zeros),
        "br": brotli.compress(zeros),
        "zstd": zstandard.ZstdCompressor().compress(zeros),
    }[coding]
    body = decoded(encoded, f"Content-Encoding: {coding}", limit=100_000)
    assert (body.too_large, body.data) == (True, b"")


def test_plain_body_beyond_the_limit_is_too_large() -> None:
    assert decoded(b"x" * 11, limit=10).too_large
    assert not decoded(b"x" * 10, limit=10).too_large


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"4\r\nWiki\r\n5;x=y\r\npedia\r\n0\r\nTrailer: x\r\n\r\n", b"Wikipedia"),
        (b"4\nWiki\n0\n\n", b"Wiki"),
        (b"4\r\nWiki\r\n", b"Wiki"),
        (b"FF\r\ncut", b"cut"),
        (b"<html>never chunked</html>", b"<html>never chunked</html>"),
        (b"4\r\nWiki\r\nnot a size\r\nrest", b"Wikinot a size\r\nrest"),
        (b"4\r\nWikipedia\r\n0\r\n\r\n", b"Wikipedia"),
        (b"fff\r\nWikipedia\r\n0\r\n\r\n", b"Wikipedia"),
        (b"00000000000004\r\nWiki\r\n0\r\n\r\n", b"Wiki"),
        (b"a number:\r\n0\r\n\r\n", b"a number:\r\n0\r\n\r\n"),
        (b"", b""),
    ],
)
def test_dechunk(data: bytes, expected: bytes) -> None:
    assert dechunk(data) == expected


def test_chunks_are_joined_before_the_coding_is_removed() -> None:
    encoded = gzip.compress(PAGE)
    body = b"%x\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n" % (10, encoded[:10], len(encoded) - 10, encoded[10:])
    assert decoded(body, "Transfer-Encoding: Chunked", "Content-Encoding: gzip") == Body(PAGE)


@pytest.mark.parametrize(
    ("declared", "body", "expected"),
    [
        ("text/html; charset=x", b"anything", "html"),
        ("Application/XHTML+XML", b"", "html"),
        ("text/plain", b"just words", "text"),
        ("text/plain", b"  <!DOCTYPE html><p>", "html"),
        ("text/plain", b"\xef\xbb\xbf<html>", "html"),
        ("text/plain", "<html><p>".encode("utf-16"), "html"),
        ("text/plain", b"\x89PNG\r\n\x1a\n\0", None),
        (None, b"<?xml version='1.0'?> <html xmlns='x'>", "html"),
        (None, b"<!-- c --><p>", "html"),
        (None, b"just words", "text"),
        (None, b"%PDF-1.4 \x00\x01", None),
        ("unk", b"<table>", "html"),
        ("application/octet-stream", b"<html>", "html"),
        ("application/octet-stream", b"words", None),
        ("image/png", b"<html>", None),
        ("text/css", b"a {}", None),
        ("text/dns", b"words", None),
        ("text/html, text/html; charset=x", b"words", "html"),
        ("*/*", b"<p>", "html"),
        ("html", b"<p>", "html"),
        ('"text/html"', b"words", "text"),
        ("unknown/unknown", b"\x00\x01", None),
        ("text/html", b"%PDF-1.4", None),
        ("text/html", gzip.compress(b"a"), None),
    ],
)
def test_page_type_is_declared_or_sniffed(declared: str | None, body: bytes, expected: str | None) -> None:
    assert page_type(declared, body) == expected
