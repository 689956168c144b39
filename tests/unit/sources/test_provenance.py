"""Host and snapshot of a document."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from source_factory import documents, http, rows, warc

from redpajama_pipe.sources.provenance import host_of, snapshot_of


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://example.org/", "example.org"),
        ("HTTPS://WWW.Example.ORG:8443/A?b#c", "www.example.org"),
        ("http://user:p@ss@Example.org:80/x@y", "example.org"),
        ("http://user@example.org", "example.org"),
        ("http://example.org?query=http://other.org/", "example.org"),
        ("http://example.org#a@b", "example.org"),
        ("http://example.org:/", "example.org"),
        ("http://example.org./", "example.org."),
        ("http://[2001:DB8::1]:8080/x", "2001:db8::1"),
        ("http://user:pw@[::1]/", "::1"),
        ("http://127.0.0.1:80/", "127.0.0.1"),
        ("http://Bücher.example/", "bücher.example"),
        ("http://xn--BCHER-kva.example/", "xn--bcher-kva.example"),
        ("http://例え.テスト/パス", "例え.テスト"),
        ("ftp://Files.example.org/a", "files.example.org"),
        ("http://a.example\\@b.example/", "a.example"),
        (" http://example.org/ ", "example.org"),
        ("http://my_host/x", "my_host"),
        ("file:///etc/hosts", None),
        ("dns:www.example.org", None),
        ("urn:uuid:1", None),
        ("www.example.org/x", None),
        ("//example.org/", None),
        ("http://", None),
        ("http:///x", None),
        ("http://[::1/", None),
        ("http://a b:x/", None),
        ("", None),
        (None, None),
    ],
)
def test_host(url: str | None, host: str | None) -> None:
    assert host_of(url) == host


@given(st.text(max_size=40))
def test_host_never_fails_and_holds_no_delimiter(rest: str) -> None:
    host = host_of("http://" + rest)
    assert host is None or (host and not set("/?#@") & set(host))


@pytest.mark.parametrize(
    ("path", "snapshot"),
    [
        ("crawl-data/CC-MAIN-2023-06/segments/1/warc/a.warc.gz", "CC-MAIN-2023-06"),
        ("s3://commoncrawl/crawl-data/CC-MAIN-2013-20/segments/1/wet/a.warc.wet.gz", "CC-MAIN-2013-20"),
        ("/data/crawl-data/CC-MAIN-2023-06.warc.gz", None),
        ("/data/mycrawl-data/CC-MAIN-2023-06/a.warc.gz", None),
        ("crawl-data/CC-NEWS/2023/06/a.warc.gz", None),
    ],
)
def test_snapshot_of_a_path(path: str, snapshot: str | None) -> None:
    assert snapshot_of(path) == snapshot


def test_digest_is_the_payloads_else_the_blocks_as_given() -> None:
    payload, block = "sha1:3I42H3S6NNFQ2MSVX7XZKYAYSCX5QBYJ", "sha1:V3Q7LGQOSSI6YO6XVGQVRXW2V7MBL3ZP"
    data = warc(http(), WARC_Block_Digest=block, WARC_Payload_Digest=payload)
    data += warc(http(), WARC_Block_Digest=block) + warc(http()) + warc(b"Words", "conversion", WARC_Block_Digest=block)
    assert [document.content_digest for document in documents(rows(data))] == [payload, block, None, block]
