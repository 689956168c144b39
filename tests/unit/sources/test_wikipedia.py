"""Wikipedia dumps to documents."""

from __future__ import annotations

import bz2
import gzip
import json
from typing import Any

import pytest
from source_factory import documents, source, stream, tally

from redpajama_pipe.errors import InputError
from redpajama_pipe.sources.record import Quarantined, Record, Split
from redpajama_pipe.sources.streams import READ_BYTES
from redpajama_pipe.sources.wikipedia import read_wikipedia, wiki_code

HEAD = """<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" version="0.11" xml:lang="en">
  <siteinfo><sitename>Wikipedia</sitename><namespaces><namespace key="-2" case="first-letter">Media</namespace>
  <namespace key="0" case="first-letter" /><namespace key="6" case="first-letter">Tiedosto</namespace>
  <namespace key="14" case="first-letter">Luokka</namespace></namespaces></siteinfo>
"""
TAIL = "</mediawiki>\n"


def page(
    text: str = "Some '''words'''.",
    title: str = "A & B / č",
    page_id: int | str = 12,
    ns: str = "0",
    extra: str = "",
    model: str = "wikitext",
    attributes: str = "",
    version: str = "0.11",
) -> str:
    from xml.sax.saxutils import escape

    body = f"<model>{model}</model><format>text/x-wiki</format>"
    return (
        f"  <page>\n    <title>{escape(title)}</title>\n    <ns>{ns}</ns>\n    <id>{page_id}</id>\n{extra}"
        "    <revision><id>777</id><parentid>5</parentid><timestamp>2024-01-02T03:04:05Z</timestamp>"
        f"<contributor><username>u</username><id>99</id></contributor><comment>id</comment>{body}"
        f'<text bytes="9" xml:space="preserve"{attributes}>{escape(text)}</text>'
        "<content><role>other</role><model>json</model><text>not this</text></content>"
        "<sha1>x</sha1></revision>\n  </page>\n"
    )


def read(data: bytes | str, name: str = "dewiki-20240101-pages-articles.xml.bz2", **options: Any) -> list[Record]:
    raw = data.encode() if isinstance(data, str) else data
    return list(read_wikipedia(stream(raw), Split("s", name, name), source("wikipedia", **options)))


def test_page_becomes_a_document() -> None:
    dump = HEAD + page() + TAIL
    (document,) = documents(read(dump))
    assert (document.text, document.title, document.record_id) == ("Some words.", "A & B / č", "12")
    assert document.url == "https://de.wikipedia.org/wiki/A%20%26%20B%20/%20%C4%8D"
    assert (document.timestamp, document.language, document.mime) == ("2024-01-02T03:04:05Z", "de", "text/x-wiki")
    assert json.loads(document.meta or "") == {"revision": "777"}
    assert dump.encode()[document.offset :].startswith(b"<page>")
    assert dump.encode()[document.offset + document.length :].startswith(b"</page>")


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"ns": "10"}, "namespace"),
        ({"extra": '    <redirect title="x" />\n'}, "redirect"),
        ({"text": "#WEITERLEITUNG [[x]]"}, "redirect"),
        ({"model": "css"}, "model"),
        ({"attributes": ' deleted="deleted"', "text": ""}, "deleted"),
        ({"text": ""}, "empty_text"),
        ({"text": "{{nur eine Vorlage}}"}, "empty_text"),
    ],
)
def test_other_pages_are_skipped_by_kind(options: dict[str, str], kind: str) -> None:
    assert tally(read(HEAD + page(**options) + page() + TAIL)) == {kind: 1, "document": 1}


def test_empty_text_element_is_empty_text() -> None:
    dump = HEAD + page().replace(">Some '''words'''.</text>", " />") + TAIL
    assert tally(read(dump)) == {"empty_text": 1}


def test_older_exports_read_alike() -> None:
    dump = (HEAD + page() + TAIL).replace("export-0.11", "export-0.10").replace("<model>wikitext</model>", "")
    assert documents(read(dump))[0].text == "Some words."
    assert documents(read(dump.replace("<ns>0</ns>", "")))[0].text == "Some words."


def test_entities_are_unescaped_once() -> None:
    (document,) = documents(read(HEAD + page("a<ref>x</ref> &lt;b&gt; &amp;amp;") + TAIL))
    assert document.text == "a <b> &amp;"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings_of_xml(encoding: str) -> None:
    raw = (HEAD + page("Žluťoučký") + page("kůň", page_id=13) + TAIL).encode(encoding)
    found = documents(read(raw))
    assert [document.text for document in found] == ["Žluťoučký", "kůň"]
    for document in found:
        start = raw[document.offset :]
        assert start.startswith("<page>".encode("utf-16-le" if encoding == "utf-16" else "utf-8"))


@pytest.mark.parametrize("compress", [bz2.compress, gzip.compress])
def test_multistream_files_are_read_to_the_end(compress: Any) -> None:
    parts = [HEAD, page("one"), page("two", page_id=13) + page("three", page_id=14), TAIL]
    data = b"".join(compress(part.encode()) for part in parts)
    assert [document.text for document in documents(read(data))] == ["one", "two", "three"]


def test_page_larger_than_one_read_is_whole() -> None:
    words = "word " * READ_BYTES
    assert documents(read(HEAD + page(words) + page(page_id=3) + TAIL))[0].text == words.strip()


def test_page_beyond_the_limit_is_quarantined_without_being_held() -> None:
    dump = HEAD + page("é" * 600) + page("fine", page_id=13) + TAIL
    found = read(dump, max_document_bytes=1000)
    assert tally(found) == {"!too_large": 1, "document": 1}
    assert isinstance(found[0], Quarantined)
    assert (found[0].record_id, found[0].offset) == ("12", dump.index("<page>"))


def test_text_beyond_the_limit_takes_no_memory() -> None:
    import tracemalloc

    data = bz2.compress((HEAD + page("words " * (4 << 20)) + TAIL).encode())
    tracemalloc.start()
    found = read(data, max_document_bytes=1 << 20)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert tally(found) == {"!too_large": 1}
    assert peak < 8 << 20


def test_page_that_cannot_be_cleaned_is_quarantined() -> None:
    found = read(HEAD + page("{{" * 150 + "}}" * 150) + page("fine", page_id=13) + TAIL)
    assert tally(found) == {"!too_complex": 1, "document": 1}


@pytest.mark.parametrize(("cut", "page_id"), [(5, "13"), (60, "13"), (400, "")])
def test_truncated_xml_gives_what_precedes_and_one_row(cut: int, page_id: str) -> None:
    whole = HEAD + page("one") + page("two", page_id=13) + TAIL
    found = read(whole[: -len(TAIL) - cut])
    assert tally(found) == {"document": 1, "!truncated_xml": 1}
    row = found[-1]
    assert isinstance(row, Quarantined)
    assert (row.record_id, row.offset) == (page_id, whole.encode().rindex(b"<page>"))


def test_missing_end_of_the_root_is_a_row_too() -> None:
    assert tally(read(HEAD + page())) == {"document": 1, "!truncated_xml": 1}
    assert tally(read("")) == {"!truncated_xml": 1}


@pytest.mark.parametrize(
    ("whole", "broken"),
    [
        ("</title>", "</titel>"),
        ("two", "\x01"),
        ("two", "&nbsp;"),
        ("two", "&#xD800;"),
        ("two", "<b>"),
        ("two", "a < b & c"),
        ("two", "\udcff"),
        ("</revision>\n  </page>", "</revision>"),
        ("  </page>", ""),
    ],
)
@pytest.mark.parametrize("step", [1, 7, 1 << 16])
def test_broken_xml_costs_its_own_page(whole: str, broken: str, step: int) -> None:
    pages = [page(word, page_id=12 + place) for place, word in enumerate(["one", "two", "three", "four"])]
    pages[1] = pages[1].replace(whole, broken)
    reader = stream((HEAD + "".join(pages) + TAIL).encode("utf-8", "surrogateescape"))
    data = b"".join(reader.blocks())
    reader.blocks = lambda: (data[at : at + step] for at in range(0, len(data), step))  # type: ignore[method-assign]
    name = "dewiki-20240101-pages-articles.xml"
    found = list(read_wikipedia(reader, Split("s", name, name), source("wikipedia")))
    assert [(kept.record_id, kept.text) for kept in documents(found)] == [
        ("12", "one"),
        ("14", "three"),
        ("15", "four"),
    ]
    (row,) = (row for row in found if isinstance(row, Quarantined))
    assert (row.record_id, row.reason) == ("13" if whole != "</title>" else "", "bad_xml")
    for kept in documents(found):
        assert data[kept.offset :].startswith(b"<page>")
        assert data[kept.offset + kept.length :].lstrip().startswith(b"</page>")


def test_two_dumps_in_one_file_are_both_read() -> None:
    found = read(2 * (HEAD + page() + TAIL))
    assert tally(found) == {"document": 2, "!bad_xml": 1}
    assert len({document.record_id for document in documents(found)}) == 2


@pytest.mark.parametrize("encoding", ["klingon", "gbk"])
def test_encoding_that_the_parser_does_not_know_is_a_row(encoding: str) -> None:
    found = read(f"<?xml version='1.0' encoding='{encoding}'?>" + HEAD + page("one") + page("two", page_id=13) + TAIL)
    assert tally(found) == {"document": 2, "!bad_xml": 1}


def test_xml_that_is_no_dump_is_a_row() -> None:
    assert tally(read("<html><body/></html>")) == {"!bad_xml": 1}


def test_damaged_stream_without_an_index_costs_its_own_pages() -> None:
    streams = [bz2.compress(text.encode()) for text in (HEAD, page("one"), page("two", page_id=13), page("x") + TAIL)]
    damaged = bytearray(streams[2])
    damaged[len(damaged) // 2] ^= 0xFF
    found = read(b"".join([*streams[:2], bytes(damaged), streams[3]]))
    assert tally(found) == {"document": 2, "!corrupt_bzip2": 1}
    assert [document.text for document in documents(found)] == ["one", "x"]


def test_clipped_bzip2_gives_what_precedes_and_one_row() -> None:
    data = bz2.compress((HEAD + page("one")).encode()) + bz2.compress((page("two", page_id=13) + TAIL).encode())[:-40]
    assert tally(read(data)) == {"document": 1, "!truncated_bzip2": 1}


def test_declared_entities_are_refused() -> None:
    bomb = '<!DOCTYPE m [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]>' + HEAD + page() + TAIL
    assert tally(read(bomb)) == {"!bad_xml": 1, "document": 1}  # which knows nothing of them
    assert tally(read(bomb.replace("words", "&b;"))) == {"!bad_xml": 2}


def test_repeated_and_missing_page_ids_get_the_offset() -> None:
    found = documents(read(HEAD + page() + page() + page(page_id="") + TAIL))
    assert [document.record_id for document in found] == ["12", f"12#{found[1].offset}", f"#{found[2].offset}"]


@pytest.mark.parametrize(
    ("name", "code", "language"),
    [
        ("dewiki-20240101-pages-articles1.xml-p1p297012.bz2", "de", "de"),
        ("/dumps/zh_yuewiki-latest-pages-articles.xml.bz2", "zh-yue", "yue"),
        ("s3://bucket/simplewiki-20240101-pages-articles-multistream.xml.bz2", "simple", "en"),
        ("bgwiki-latest-pages-articles-shortened.xml.bz2", "bg", "bg"),
        ("frwiki.xml", "fr", "fr"),
    ],
)
def test_language_comes_from_the_file_name(name: str, code: str, language: str) -> None:
    assert wiki_code(name) == code
    (document,) = documents(read(HEAD + page() + TAIL, name))
    assert (document.language, document.url) == (
        language,
        f"https://{code}.wikipedia.org/wiki/A%20%26%20B%20/%20%C4%8D",
    )


def test_recipe_overrides_the_language_and_serves_odd_names() -> None:
    assert documents(read(HEAD + page() + TAIL, "dewiki-x.xml", language="gsw"))[0].language == "gsw"
    assert documents(read(HEAD + page() + TAIL, "dump.xml", language="de"))[0].url.startswith("https://de.")


@pytest.mark.parametrize("name", ["dump.xml", "dewiktionary-20240101.xml", "mywikis.xml"])
def test_unknown_language_is_an_error_with_a_way_out(name: str) -> None:
    with pytest.raises(InputError, match=r"name it like dewiki-.* or set sources\.s\.language"):
        read(HEAD + page() + TAIL, name)


def test_languages_without_a_published_table_use_the_names_in_siteinfo() -> None:
    dump = HEAD + page("a[[Tiedosto:x.jpg|thumb|y]] [[Luokka:Kissat]]") + TAIL
    assert documents(read(dump, "fiwiki-x.xml", wikitext="rpv1"))[0].text == "a Kissat"
    assert documents(read(dump, "svwiki-x.xml", wikitext="rpv1"))[0].text == "athumb|y Luokka:Kissat"


def test_plain_text_knows_the_names_in_siteinfo_in_every_language() -> None:
    dump = HEAD + page("a[[Tiedosto:x.jpg|thumb|y]] [[Luokka:Kissat]]b") + TAIL
    assert documents(read(dump, "fiwiki-x.xml"))[0].text == "a b"
    assert documents(read(dump, "svwiki-x.xml"))[0].text == "a b"


def test_recipe_chooses_the_cleaning() -> None:
    dump = HEAD + page("* is <math>x^2</math>\n== Empty ==") + TAIL
    assert documents(read(dump))[0].text == "- is $x^2$"
    assert documents(read(dump, math="drop"))[0].text == "- is"
    assert documents(read(dump, wikitext="rpv1"))[0].text == "is\n\nEmpty"
