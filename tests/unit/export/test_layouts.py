"""One document as a line of each layout, and the file it goes to."""

from __future__ import annotations

import json
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redpajama_pipe.export import NAMES
from redpajama_pipe.export.layouts import COLUMNS, LAYOUTS, SCORES, file_of, line
from redpajama_pipe.settings.source import Source
from redpajama_pipe.sources.jsonl import read_jsonl
from redpajama_pipe.sources.record import Document
from redpajama_pipe.sources.sanitise import clean
from redpajama_pipe.sources.streams import MemberStream


def row(**values: Any) -> dict[str, Any]:
    page = {
        "doc_id": bytes(range(16)),
        "source": "cc",
        "uri": "crawl-data/CC-MAIN-2023-06/segments/1/warc/a.warc.gz",
        "record_id": "urn:uuid:1",
        "offset": 516,
        "length": 507,
        "url": "https://example.org/é",
        "title": "A page",
        "timestamp": "2023-01-26T21:08:44Z",
        "mime": "text/html",
        "host": "example.org",
        "snapshot": "CC-MAIN-2023-06",
        "content_digest": "sha1:ABC",
        "language": "fr",
        "language_score": 0.98,
    }
    return dict.fromkeys((*COLUMNS, *SCORES)) | page | values


def written(layout: str, page: dict[str, Any], text: str, original: str, kind: str) -> bytes:
    return line(LAYOUTS[layout](page, text, original, kind))


PAGE_V1 = (
    '{"text":"Un café.\\nFin","meta":{"timestamp":"2023-01-26T21:08:44Z","url":"https://example.org/é",'
    '"language":"fr","source":"cc/crawl-data/CC-MAIN-2023-06/segments/1/warc/a.warc.gz/urn:uuid:1"}}\n'
)
PAGE_V2 = (
    '{"url":"https://example.org/é","date_download":"2023-01-26T21:08:44Z","digest":"sha1:ABC","length":12,"nlines":2,'
    '"source_domain":"example.org","title":"A page","raw_content":"Un café.\\nFin",'
    '"cc_segment":"crawl-data/CC-MAIN-2023-06/segments/1/warc/a.warc.gz","original_nlines":4,"original_length":18,'
    '"line_ids":null,"language":"fr","language_score":0.98,"perplexity":null,"bucket":"all"}\n'
)


@pytest.mark.parametrize(("layout", "wanted"), [("redpajama_v1", PAGE_V1), ("redpajama_v2", PAGE_V2)])
def test_a_web_page_is_this_line(layout: str, wanted: str) -> None:
    assert written(layout, row(), "Un café.\nFin", "Menu\n\nUn café.\nFin", "warc").decode() == wanted


def test_keys_of_version_2_are_those_of_its_own_reader() -> None:
    # togethercomputer/RedPajama-Data: app/src/core/data_types.py, InputSpec
    wanted = (
        "raw_content url nlines original_nlines source_domain length original_length language language_score "
        "perplexity bucket digest cc_segment date_download"
    )
    assert set(wanted.split()) < LAYOUTS["redpajama_v2"](row(), "x", "x", "warc").keys()


def test_an_article_has_the_keys_of_the_wikipedia_slice() -> None:
    article = row(uri="dewiki-20240101-pages-articles.xml.bz2", title="Wien", language="de", timestamp="2023-05-01")
    assert LAYOUTS["redpajama_v1"](article, "Wien ist", "Wien ist", "wikipedia")["meta"] == {
        "title": "Wien",
        "url": "https://example.org/é",
        "language": "de",
        "timestamp": "20240101",
    }
    undated = LAYOUTS["redpajama_v1"](article | {"uri": "x.xml.bz2"}, "Wien", "Wien", "wikipedia")
    assert undated["meta"]["timestamp"] is None


@pytest.mark.parametrize(
    ("given_line", "meta"),
    [
        ({"text": "x y", "meta": {"pile_set_name": "PubMed"}}, {"pile_set_name": "PubMed"}),
        ({"text": "x y", "meta": "{'a': 1}"}, "{'a': 1}"),
        (
            {"text": "x y", "url": "u", "timestamp": "2019-04-25T12:57:54Z"},
            {"timestamp": "2019-04-25T12:57:54Z", "url": "u"},
        ),
        ({"text": "x y"}, {}),
    ],
)
def test_json_lines_keep_the_meta_that_they_came_with(given_line: dict[str, Any], meta: Any) -> None:
    (document,) = read_jsonl(MemberStream(BytesIO(json.dumps(given_line).encode())), Source("s", "jsonl", ("unused",)))
    assert isinstance(document, Document)
    envelope = LAYOUTS["redpajama_v1"](row(meta=document.meta), document.text, document.text, "jsonl")
    assert envelope == {"text": "x y", "meta": meta}
    whole = json.loads(written("jsonl", row(meta=document.meta), document.text, document.text, "jsonl"))
    assert (whole["meta"]["meta"] or {}) == {key: value for key, value in given_line.items() if key != "text"}


@pytest.mark.parametrize("layout", ["redpajama_v1", "jsonl"])
def test_numbers_of_any_size_stay_as_they_are(layout: str) -> None:
    stored = json.dumps({"meta": {"n": 10**30, "é": 0.1}})
    found = json.loads(written(layout, row(meta=stored), "é", "é", "jsonl"))["meta"]
    assert (found if layout == "redpajama_v1" else found["meta"]["meta"]) == {"n": 10**30, "é": 0.1}


@given(st.sampled_from(NAMES), st.text(min_size=1).map(clean).filter(str.strip))
def test_any_text_comes_back_through_the_reader(layout: str, text: str) -> None:
    found = written(layout, row(), text, text, "warc")
    assert found.count(b"\n") == 1
    source = Source("s", "jsonl", ("unused",), text_field="raw_content" if layout == "redpajama_v2" else "text")
    (document,) = read_jsonl(MemberStream(BytesIO(found)), source)
    assert isinstance(document, Document)
    assert (document.text, document.url) == (text, "https://example.org/é")


def test_files_lie_as_published() -> None:
    place = ("cc-0123-0000", 12)
    assert file_of("redpajama_v2", row(), *place) == "documents/2023-06/0012/fr_all.json.gz"
    head = row(perplexity=120.5, perplexity_bucket="head")
    assert file_of("redpajama_v2", head, *place) == "documents/2023-06/0012/fr_head.json.gz"
    assert LAYOUTS["redpajama_v2"](head, "x", "x", "warc")["perplexity"] == 120.5
    other = row(snapshot=None, source="my/../news", language=None)
    assert file_of("redpajama_v2", other, *place) == "documents/my_.._news/0012/unknown_all.json.gz"
    assert file_of("redpajama_v1", other, *place) == "my_.._news/cc-0123-0000.jsonl.gz"
