"""Write MediaWiki export dumps (`pages-articles.xml.bz2`) of the sample's articles, in format 0.11 or 0.10."""

from __future__ import annotations

import bz2
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

from redpajama_pipe.sample.articles import Article, Language

OLD_FORMAT = ("cs", "sr")  # their dumps are written in 0.10, as all were until 2022
MULTISTREAM = ("de", "en", "fr")  # several bz2 streams in one file: a reader must not stop after the first
FIRST_ARTICLE_ID = 10

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class DumpPage:
    """One <page>.

    Attributes:
        kind: `article`, `stub`, `redirect`, `talk`, `template` or `empty`.
        redirect: the title it leads to, or "".
    """

    page_id: int
    title: str
    text: str
    kind: str
    namespace: int = 0
    redirect: str = ""


def pages(wiki: Language) -> list[DumpPage]:
    """List a language's pages: its articles, then one of each kind that must not become a document, and a stub."""
    target = wiki.articles[0].title
    found = [_article(FIRST_ARTICLE_ID + place, article) for place, article in enumerate(wiki.articles)]
    found += [
        DumpPage(50, wiki.stub.title, wiki.stub.wikitext, "stub"),
        DumpPage(60, "H2O", f"{wiki.redirect} [[{target}]]", "redirect", redirect=target),
        DumpPage(70, f"{wiki.talk}:{target}", f"== {target} ==\n{wiki.stub.wikitext} --~~~~", "talk", 1),
        DumpPage(80, f"{wiki.template}:{wiki.infobox}", '{| class="infobox"\n! {{{1|}}}\n|}', "template", 10),
        DumpPage(90, "2026", "", "empty"),
    ]
    return found


def dump(wiki: Language, found: Sequence[DumpPage], pages_in_stream: int = 0) -> list[bytes]:
    """Return the bz2 streams of a dump, to be joined.

    Args:
        wiki: names the namespaces.
        found: in order.
        pages_in_stream: 0: everything in one stream; else a stream for the head, one for each so many pages, and one
            for the tail, as a multistream dump has.
    """
    version = "0.10" if wiki.code in OLD_FORMAT else "0.11"
    bodies = [_page(page, version) for page in found]
    head, tail = _head(wiki, version), "</mediawiki>\n"
    if not pages_in_stream:
        return [_compress(head + "".join(bodies) + tail)]
    groups = [bodies[start : start + pages_in_stream] for start in range(0, len(bodies), pages_in_stream)]
    return [_compress(head), *(_compress("".join(group)) for group in groups), _compress(tail)]


def base36_sha1(text: str) -> str:
    """Return the checksum of a revision: SHA-1 in base 36, 31 digits."""
    number = int.from_bytes(hashlib.sha1(text.encode()).digest(), "big")
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
    return digits.rjust(31, "0")


def _article(page_id: int, article: Article) -> DumpPage:
    return DumpPage(page_id, article.title, article.wikitext.rstrip("\n"), "article")


def _compress(xml: str) -> bytes:
    return bz2.compress(xml.encode())


def _head(wiki: Language, version: str) -> str:
    namespaces = {
        -2: "Media",
        -1: "Special",
        0: "",
        1: wiki.talk,
        6: wiki.file,
        10: wiki.template,
        14: wiki.category,
    }
    listed = "\n".join(
        f'      <namespace key="{key}" case="first-letter"' + (f">{escape(name)}</namespace>" if name else " />")
        for key, name in namespaces.items()
    )
    schema = f"http://www.mediawiki.org/xml/export-{version}/"
    return (
        f'<mediawiki xmlns="{schema}" version="{version}" xml:lang="{wiki.code}">\n  <siteinfo>\n'
        f"    <sitename>{escape(wiki.sitename)}</sitename>\n    <dbname>{wiki.code}wiki</dbname>\n"
        f"    <base>https://{wiki.code}.wikipedia.sample.example/wiki/</base>\n"
        f"    <generator>redpajama_pipe.sample</generator>\n    <case>first-letter</case>\n"
        f"    <namespaces>\n{listed}\n    </namespaces>\n  </siteinfo>\n"
    )


def _page(page: DumpPage, version: str) -> str:
    size = len(page.text.encode())
    sha1 = base36_sha1(page.text)
    old = version == "0.10"
    text_sha1 = "" if old else f' sha1="{sha1}"'
    text = f'<text bytes="{size}"{text_sha1} xml:space="preserve">{escape(page.text)}</text>'
    if not page.text:
        text = f'<text bytes="0"{text_sha1} />'
    redirect = f"    <redirect title={quoteattr(page.redirect)} />\n" if page.redirect else ""
    revision_id = 1000 + page.page_id
    origin = "" if old else f"      <origin>{revision_id}</origin>\n"
    return (
        f"  <page>\n    <title>{escape(page.title)}</title>\n    <ns>{page.namespace}</ns>\n"
        f"    <id>{page.page_id}</id>\n{redirect}    <revision>\n      <id>{revision_id}</id>\n"
        f"      <timestamp>2026-01-01T00:00:{page.page_id % 60:02}Z</timestamp>\n"
        f"      <contributor><username>Sample</username><id>1</id></contributor>\n"
        f"      <comment>first version</comment>\n{origin}      <model>wikitext</model>\n"
        f"      <format>text/x-wiki</format>\n      {text}\n      <sha1>{sha1}</sha1>\n    </revision>\n  </page>\n"
    )
