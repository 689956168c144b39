"""Which records become documents, and what they carry."""

from __future__ import annotations

import gzip
import json

import pytest
from source_factory import PAGE, documents, http, members, rows, tally, warc

from redpajama_pipe.sources.record import Quarantined, Skipped

WORDS = "Some words of a page that is long enough."


def only(data: bytes, **options: object) -> object:
    (record,) = rows(data, **options)
    return record


def test_response_becomes_a_document() -> None:
    first, record = warc(b"a: b", "warcinfo"), warc(http())
    (document,) = documents(rows(members(first, record)))
    assert (document.text.strip(), document.title) == (WORDS, "A page")
    assert document.record_id.startswith("urn:uuid:")
    assert (document.url, document.timestamp) == ("http://example.org/", "2024-05-18T01:58:10Z")
    assert (document.mime, document.charset, document.charset_source) == ("text/html", "utf-8", "header")
    assert (document.language, document.meta) == (None, None)
    assert document.offset == len(members(first))
    assert document.length == len(members(record))


@pytest.mark.parametrize("kind", ["warcinfo", "request", "metadata", "revisit", "continuation"])
def test_other_types_are_skipped_by_name(kind: str) -> None:
    assert only(warc(http(), kind)) == Skipped(kind)


def test_types_that_the_standard_does_not_have_share_one_name() -> None:
    assert only(warc(http(), "screenshot")) == Skipped("unknown_type")


def test_missing_type_is_quarantined() -> None:
    record = only(warc(http(), WARC_Type=None))  # type: ignore[arg-type]
    assert isinstance(record, Quarantined)
    assert record.reason == "bad_warc_header"


@pytest.mark.parametrize("line", ["HTTP/1.1 404 Not Found", "HTTP/1.1 301 Moved", "HTTP/1.1 206 Partial Content"])
def test_other_statuses_are_skipped(line: str) -> None:
    assert only(warc(http(status=line))) == Skipped("status")


@pytest.mark.parametrize("block", [PAGE, http(status="HTTP/1.1 OK"), http(PAGE, "X-No-Type: x", status="HTTP")])
def test_pages_without_a_usable_status_line_are_pages(block: bytes) -> None:
    (document,) = documents(rows(warc(block)))
    assert document.text.strip() == WORDS


def test_other_types_of_content_are_skipped() -> None:
    assert only(warc(http(b"\x89PNG", "Content-Type: image/png"))) == Skipped("mime")
    assert only(warc(http(b"%PDF-1.4\0\1", "X: no type"))) == Skipped("mime")


@pytest.mark.parametrize("body", [b"", b"<html></html>", b"<p> \n </p>", b"<p>\0\0</p>"])
def test_pages_without_text_are_skipped(body: bytes) -> None:
    assert only(warc(http(body))) == Skipped("empty_text")


def test_plain_text_stays_whole() -> None:
    text = "First line\r\n\r\n  indented  é\n"
    (document,) = documents(rows(warc(http(text.encode(), "Content-Type: text/plain"))))
    assert (document.text, document.title, document.mime, document.charset) == (text, None, "text/plain", "utf-8")


def test_resource_is_read_by_its_own_type() -> None:
    (document,) = documents(rows(warc(PAGE, "resource", Content_Type="text/html; charset=utf-8")))
    assert (document.text.strip(), document.charset_source) == (WORDS, "header")
    assert only(warc(PAGE, "resource", Content_Type="image/png")) == Skipped("mime")


def test_conversion_is_taken_as_it_is() -> None:
    text = "Název stránky\nPrvní řádek\n\nDruhý\n"
    record = warc(
        text.encode(), "conversion", WARC_Identified_Content_Language="ces,slk", WARC_Refers_To="<urn:uuid:x>"
    )
    (document,) = documents(rows(record, kind="wet"))
    assert (document.text, document.title) == (text, "Název stránky")
    assert json.loads(document.meta or "") == {"identified_content_language": "ces,slk", "refers_to": "<urn:uuid:x>"}
    assert (document.charset, document.mime) == ("utf-8", "text/plain")


def test_long_first_line_of_a_conversion_is_no_title() -> None:
    (document,) = documents(rows(warc(b"word " * 100, "conversion")))
    assert document.title is None
    assert only(warc(b" \n\n ", "conversion")) == Skipped("empty_text")


def test_declared_language_is_the_sources() -> None:
    (document,) = documents(rows(warc(http()), language="cs"))
    assert document.language == "cs"


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("<http://example.org/a>", "http://example.org/a"),
        ("http://example.org/a b", "http://example.org/a%20b"),
        ("http://example.org/é", "http://example.org/é"),
    ],
)
def test_target_uris(uri: str, expected: str) -> None:
    (document,) = documents(rows(warc(http(), WARC_Target_URI=uri)))
    assert document.url == expected


@pytest.mark.parametrize("uri", [None, "", "HTTP://EXAMPLE.ORG/", "//example.org/"])
def test_a_response_is_http_by_its_type_where_its_address_does_not_say(uri: str | None) -> None:
    (document,) = documents(rows(warc(http(), WARC_Target_URI=uri)))  # type: ignore[arg-type]
    assert (document.text, document.url) == ("Some words of a page that is long enough.", uri or None)


def test_date_that_is_none_is_kept_as_it_was() -> None:
    (document,) = documents(rows(warc(http(), WARC_Date="2008-10-294T05:21:46-0700")))
    assert document.timestamp is None
    assert json.loads(document.meta or "") == {"raw_date": "2008-10-294T05:21:46-0700"}
    (document,) = documents(rows(warc(http(), WARC_Date=None)))  # type: ignore[arg-type]
    assert (document.timestamp, document.meta) == (None, None)


def test_repeated_and_missing_ids_get_the_offset() -> None:
    one = warc(http(), WARC_Record_ID="<urn:x>")
    none = warc(http(), WARC_Record_ID=None)  # type: ignore[arg-type]
    found = documents(rows(one + one + none))
    assert [d.record_id for d in found] == ["urn:x", f"urn:x#{len(one)}", f"#{2 * len(one)}"]


def test_document_with_a_wrong_length_says_so() -> None:
    found = documents(rows(warc(http(), length=7) + warc(http())))
    assert [document.text.strip() for document in found] == [WORDS, WORDS]
    assert json.loads(found[0].meta or "") == {"declared_length": "7"}
    assert found[1].meta is None


def test_coded_bodies_are_decoded_and_damaged_ones_quarantined() -> None:
    body = gzip.compress(PAGE)
    headers = ("Content-Type: text/html", "Content-Encoding: gzip")
    (document,) = documents(rows(warc(http(body, *headers))))
    assert document.text.strip() == WORDS
    record = only(warc(http(body[:-10], *headers)))
    assert isinstance(record, Quarantined)
    assert record.reason == "corrupt_content_encoding"
    (document,) = documents(rows(warc(http(body[:-10], *headers), WARC_Truncated="length")))
    assert json.loads(document.meta or "") == {"truncated": "length"}
    assert only(warc(http(body[:-10], "Content-Type: image/svg+xml", headers[1]))) == Skipped("mime")


def test_body_that_decodes_beyond_the_limit_is_quarantined() -> None:
    body = gzip.compress(b"<p>" + b"word " * 10_000)
    record = only(warc(http(body, "Content-Type: text/html", "Content-Encoding: gzip")), max_document_bytes=5000)
    assert isinstance(record, Quarantined)
    assert record.reason == "too_large"


def test_segment_of_a_record_is_quarantined() -> None:
    record = only(warc(http(), WARC_Segment_Number="1"))
    assert isinstance(record, Quarantined)
    assert record.reason == "segmented"


def test_page_that_cannot_be_extracted_is_quarantined() -> None:
    record = only(warc(http(b"<div>" * 20_000 + b"x")))
    assert isinstance(record, Quarantined)
    assert (record.reason, record.offset) == ("too_complex", 0)


def test_strings_of_a_document_are_clean() -> None:
    body = b"<title>a\0 title</title><p>text\0 with &#xD800; and more words"
    (document,) = documents(rows(warc(http(body), WARC_Target_URI="http://example.org/\0x", WARC_TREC_ID="a\0b")))
    for value in (document.text, document.title, document.url, document.meta, document.record_id):
        assert value is not None
        assert "\0" not in value
        value.encode("utf-8")


def test_every_record_is_counted_once() -> None:
    data = members(warc(b"", "warcinfo"), warc(http()), warc(http(status="HTTP/1.1 500 No")), warc(http(b"")))
    assert tally(rows(data)) == {"warcinfo": 1, "document": 1, "status": 1, "empty_text": 1}
