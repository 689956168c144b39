"""Wikipedia dumps (pages-articles XML, export 0.3 to 0.11) to documents, one page at a time.

Any XML encoding that expat knows, compressed or not, multistream or not. Memory: one page. Kept are the pages of the
main namespace that are wikitext and no redirect. About 8 MB of XML/s on one core, more than half of it bzip2; 1.5 MB/s
with the published cleaning.

Source: MediaWiki docs/export-0.11.xsd; huggingface/datasets, datasets/wikipedia/wikipedia.py 2.0.0.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import quote
from xml.parsers import expat

import orjson

from redpajama_pipe.errors import InputError
from redpajama_pipe.settings.source import Source
from redpajama_pipe.sources import wikitext
from redpajama_pipe.sources.identifiers import UniqueIds
from redpajama_pipe.sources.record import Document, Quarantined, Record, Skipped, Split
from redpajama_pipe.sources.sanitise import clean, clean_optional
from redpajama_pipe.sources.streams import MemberStream
from redpajama_pipe.sources.timestamps import utc_timestamp
from redpajama_pipe.sources.wiki_pages import PageReader, RawPage
from redpajama_pipe.sources.wiki_plain import clean_plain

# Wikipedias whose code is not the code of their language; Wikimedia's dblists, LanguageCode::getDeprecatedCodeMapping.
LANGUAGES = {
    "simple": "en",
    "zh-yue": "yue",
    "zh-min-nan": "nan",
    "zh-classical": "lzh",
    "bat-smg": "sgs",
    "fiu-vro": "vro",
    "roa-rup": "rup",
}
_FILE_NAME = re.compile(r"([a-z]{2,}(?:_[a-z]+)*?)wiki(?![a-z])")


def wiki_code(path: str) -> str | None:
    """Return the code of the Wikipedia that a dump's file name names: `zh-yue` for zh_yuewiki-20240101-….xml.bz2.

    The siteinfo inside is not asked: derived dumps carry that of another wiki.
    """
    found = _FILE_NAME.match(path.rsplit("/", 1)[-1])
    return found.group(1).replace("_", "-") if found else None


def read_wikipedia(stream: MemberStream, split: Split, source: Source) -> Iterator[Record]:
    """Yield one row for each page of a dump.

    A document's record_id is the page id; its offset is the byte of the decompressed XML at which <page> starts or, in
    a file of several compressed streams and after the first, the byte of the file at which the page's stream starts,
    as a multistream dump's index has it. Its length is that of the page's XML. `url` is as in wikimedia/wikipedia
    (spaces as %20).

    Skipped are, by kind: `namespace`, `redirect`, `model`, `deleted`, `empty_text`. Quarantined are, by reason:
    `too_large`, `too_complex`, `wikitext_parser`; `bad_xml` and the faults of the compression for what lies between
    them and the next page that can be read; `truncated_xml` for the rest of a file.

    Raises:
        InputError: neither the file name nor the recipe says which Wikipedia it is.
    """
    reader = PageReader(source.max_document_bytes)
    cleaner = articles_of(split, source, reader)
    streams = _Streams(stream)
    while True:
        for block in stream.blocks():
            for pages, bad in reader.read(block):
                yield from map(cleaner.read, streams.place(pages))
                if bad:
                    yield bad
        if not stream.fault:
            break
        yield reader.rest(stream.fault.reason, stream.fault.detail)
        if not stream.skip_to_member(_starts_page, back=False):
            return
        reader.recover()
    try:
        reader.close()
    except expat.ExpatError as error:
        yield reader.rest("truncated_xml", str(error))
        return
    if reader.other_root:
        yield reader.rest("bad_xml", f"the root element is <{reader.other_root}>, not <mediawiki>: this is no dump")


def _starts_page(text: bytes) -> bool:
    return text.lstrip().startswith(b"<page>")


def articles_of(split: Split, source: Source, reader: PageReader) -> Articles:
    """Return what turns the pages of a file into rows.

    Args:
        split: the file, whose name tells the Wikipedia.
        source: its part of the recipe.
        reader: has read siteinfo, or will have before the first page is asked for.

    Raises:
        InputError: neither the file name nor the recipe says which Wikipedia it is.
    """
    code = wiki_code(split.uri) or source.language
    if code is None:
        raise InputError(
            f"cannot tell the language of {split.uri!r} from its name; name it like dewiki-pages-articles.xml.bz2 "
            f"or set sources.{source.name}.language"
        )
    return Articles(code, source, reader)


class _Streams:
    """Knows in which compressed stream of the file a page starts; what lies behind is forgotten."""

    def __init__(self, stream: MemberStream) -> None:
        self._stream = stream
        self._starts: list[tuple[int, int]] = []  # in the decompressed bytes, in the file

    def place(self, pages: list[RawPage]) -> list[RawPage]:
        """Turn the offsets of pages after the first compressed stream into those of their streams."""
        for start in self._stream.members_between(0, self._stream.position):
            self._starts.append((start, self._stream.member_at(start) or 0))
        self._stream.forget()
        for page in pages:
            while len(self._starts) > 1 and self._starts[1][0] <= page.offset:
                del self._starts[0]
            if self._starts and self._starts[0][1]:
                page.offset = self._starts[0][1]
        return pages


class Articles:
    """Turns the pages of one Wikipedia into rows."""

    def __init__(self, code: str, source: Source, reader: PageReader) -> None:
        self._code = code
        self._language = source.language or LANGUAGES.get(code, code)
        self._source = source
        self._limit = source.max_document_bytes
        self._reader = reader
        self._ids = UniqueIds()

    def read(self, page: RawPage) -> Record:
        """Decide what one page is."""
        if page.namespace not in ("0", ""):
            return Skipped("namespace")
        if page.redirect:
            return Skipped("redirect")
        if page.model not in ("wikitext", ""):
            return Skipped("model")
        if page.deleted:
            return Skipped("deleted")
        if page.text is None:
            return Quarantined(
                clean(page.page_id),
                page.offset,
                "too_large",
                f"{page.title}: more than {self._limit} bytes of wikitext",
            )
        if wikitext.is_redirect(page.text, self._code):
            return Skipped("redirect")
        if not page.text.strip():
            return Skipped("empty_text")
        try:
            text = clean(self._clean(page.text))
        except wikitext.WikitextError as error:
            return Quarantined(clean(page.page_id), page.offset, error.reason, clean(f"{page.title}: {error}"))
        if not text.strip():
            return Skipped("empty_text")
        meta = {"revision": clean(page.revision)} if page.revision else None
        return Document(
            text=text,
            record_id=self._ids.claim(clean(page.page_id), page.offset),
            offset=page.offset,
            length=page.length,
            url=f"https://{self._code}.wikipedia.org/wiki/{quote(clean(page.title))}",
            title=clean_optional(page.title),
            timestamp=utc_timestamp(page.timestamp),
            mime="text/x-wiki",
            language=self._language,
            meta=orjson.dumps(meta).decode() if meta else None,
        )

    def _clean(self, text: str) -> str:
        media, category = self._reader.prefixes
        if self._source.wikitext == "rpv1":
            return wikitext.clean_rpv1(text, self._code, media, category)
        return clean_plain(text, self._code, media, category, self._source.math)
