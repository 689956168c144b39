"""Write the sample: a small corpus that needs no network and shows every part of the pipeline at work.

The text is what the machine already has (Python's documentation of itself) and this package's own articles. Two calls
on one Python write equal bytes. The default, about 12 MB of text, takes about 10 s.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

from redpajama_pipe.errors import InputError
from redpajama_pipe.sample import broken, pile, planted, wiki
from redpajama_pipe.sample.articles import ISO_639_3, language, languages, plain_text
from redpajama_pipe.sample.crawl import FORMS, Place, Response, WarcFile, charset_in_meta, gzipped, plain_utf8
from redpajama_pipe.sample.pages import (
    Page,
    article_page,
    digest_pages,
    edit_lines,
    module_pages,
    paragraphs,
    topic_pages,
)
from redpajama_pipe.sample.render import Rendering, render

PAGES = 360
FEWEST_PAGES = 30

_FIRST_CRAWL = datetime(2026, 1, 5, 8)
_SECOND_CRAWL = datetime(2026, 1, 19, 8)
_WET = "crawl/sample-20260105-00000.warc.wet.gz"
_PILE = "pile/sample.jsonl.zst"

# Shares of the lines in which a word is changed, and the Jaccard similarity of the 5-word shingles that follows.
_NEAR_SHARE = 0.05  # at least 0.9
_CHAIN_SHARE = 0.14  # about 0.88 to the edition before, less than 0.8 from the first to the last
_FAR_SHARE = 0.36  # 0.65 to 0.78: often proposed by LSH, never a duplicate

_README = """\
A sample corpus for redpajama_pipe, written by `redpajama-pipe make-sample`.

crawl/sample-*.warc.gz       web pages as a crawler stores them, in many encodings; the last file is a second crawl
                             of the same site two weeks later, with near-duplicates, copies under other addresses,
                             and records that are no document (redirect, error, image, revisit, empty page)
crawl/sample-*.warc.wet.gz   plain text of some of these pages, of pages of its own, and of articles in 20 languages
wiki/*.xml.bz2               one dump for each of 20 languages, with articles, a stub, a redirect, a talk page, a
                             template and an empty page; formats 0.11 and 0.10, one or several bz2 streams
pile/sample.jsonl.zst        {"text", "meta": {"pile_set_name"}} lines: Python sources and documentation, copies of
                             documents in the other folders, documents that break one Gopher rule each (subset
                             Planted), and lines that cannot be read
broken/                      files that are cut off, and records with a wrong length
expected.json                what is planted where: duplicates, documents by rule, broken records
"""


@dataclass
class _Plan:
    """Everything expected.json says."""

    exact_duplicates: list[list[Place]] = field(default_factory=list)
    near_duplicates: list[list[Place]] = field(default_factory=list)
    chains: list[list[Place]] = field(default_factory=list)
    not_duplicates: list[list[Place]] = field(default_factory=list)
    gopher: dict[str, list[Place]] = field(default_factory=dict)
    broken: list[broken.Damage] = field(default_factory=list)
    bad_lines: dict[str, int] = field(default_factory=dict)
    odd_lines: dict[str, int] = field(default_factory=dict)
    files: dict[str, dict[str, int]] = field(default_factory=dict)

    def tree(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class _Site:
    """The pages of the first crawl, by kind."""

    topics: list[Page]
    modules: list[Page]
    digests: list[Page]
    articles: list[Page]

    def all(self) -> Iterator[Page]:
        """Yield every page, the kinds mixed: any part of the crawl holds some of each."""
        kinds = (self.topics, self.modules, self.digests, self.articles)
        for place in range(max(map(len, kinds))):
            for pages in kinds:
                yield from pages[place : place + 1]


def make_sample(folder: Path, *, pages: int = PAGES) -> dict[str, int]:
    """Write the sample into a folder, which is made; files of an earlier call are replaced.

    Args:
        folder: where.
        pages: web pages of the first crawl, the 20 pages of articles not counted; most other parts grow with it. From
            about 600 on, pages are put together from the same paragraphs in other combinations.

    Returns:
        Counts of what was written, each by a name that a person can read.

    Raises:
        InputError: fewer pages than the planted duplicates need.
    """
    if pages < FEWEST_PAGES:
        raise InputError(f"a sample of {pages} pages is too small; the fewest is {FEWEST_PAGES}")
    for name in ("crawl", "wiki", "pile", "broken"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    rendering = render(pages // 3)
    prose = paragraphs(rendering)
    site = _site(rendering, prose, pages)
    plan = _Plan()
    first = _write_first_crawl(folder, site, plan)
    _write_second_crawl(folder, site, first, plan)
    wet = _write_wet(folder, site, prose, first, plan)
    _write_dumps(folder, plan)
    _write_pile(folder, rendering, prose, wet, plan)
    _write_broken(folder, prose, plan)
    (folder / "README.txt").write_text(_README, encoding="utf-8")
    (folder / "expected.json").write_text(json.dumps(plan.tree(), ensure_ascii=False, indent=1) + "\n", "utf-8")
    return _summary(folder, plan)


def _site(rendering: Rendering, prose: Sequence[str], pages: int) -> _Site:
    topics = list(islice(topic_pages(rendering), pages // 3))
    modules = list(islice(module_pages(rendering), pages // 3))
    digests = list(islice(digest_pages(prose, "reading"), pages - len(topics) - len(modules)))
    return _Site(topics, modules, digests, [article_page(wiki, 3) for wiki in languages()])


def _write_first_crawl(folder: Path, site: _Site, plan: _Plan) -> dict[str, Place]:
    """Write every page once, in two files; returns where each page is, by slug."""
    pages = list(site.all())
    places: dict[str, Place] = {}
    for number in range(2):
        name = f"crawl/sample-20260105-{number:05}.warc.gz"
        with WarcFile(folder, name, _FIRST_CRAWL.replace(hour=8 + 4 * number)) as warc:
            for place, page in enumerate(pages[number::2]):
                # a page of articles tests its language's old charset, the others take turns
                form = charset_in_meta if page.kind == "articles" else FORMS[place % len(FORMS)]
                places[page.slug] = warc.capture(page.url(), form(page))
        plan.files[name] = dict(warc.counts)
    return places


def _write_second_crawl(folder: Path, site: _Site, first: dict[str, Place], plan: _Plan) -> None:
    # Long pages only: of a short one, header and footer are too large a share.
    long = [page for page in (*site.topics, *site.digests) if len(page.text.split()) >= 400]
    count = max(3, len(long) // 9)
    near, copied, far = long[:count], long[count : 2 * count], long[2 * count : 2 * count + count // 2]
    chained = long[2 * count + count // 2 :][:2]
    name = "crawl/sample-20260119-00000.warc.gz"
    with WarcFile(folder, name, _SECOND_CRAWL) as warc:
        for place, page in enumerate(near):
            again = warc.capture(page.url(), FORMS[place % len(FORMS)](page.next_edition(_NEAR_SHARE)))
            plan.near_duplicates.append([first[page.slug], again])
        for page in [page for page in site.modules if len(page.text.split()) >= 1000][: max(2, count // 2)]:
            again = warc.capture(page.url(), gzipped(page.next_edition(0.0)))
            plan.near_duplicates.append([first[page.slug], again])
        for place, page in enumerate(copied):
            url = page.url("http") if place % 2 else page.url(host=f"www.{first[page.slug].url.split('/')[2]}")
            plan.exact_duplicates.append([first[page.slug], warc.capture(url, FORMS[place % len(FORMS)](page))])
        for page in far:
            again = warc.capture(page.url(), plain_utf8(page.next_edition(_FAR_SHARE)))
            plan.not_duplicates.append([first[page.slug], again])
        for page in chained:
            chain, edition = [first[page.slug]], page
            for _ in range(3):
                edition = edition.next_edition(_CHAIN_SHARE)
                chain.append(warc.capture(page.url(), plain_utf8(edition)))
            plan.chains.append(chain)
        _write_what_is_no_document(warc, site, first)
    plan.files[name] = dict(warc.counts)


def _write_what_is_no_document(warc: WarcFile, site: _Site, first: dict[str, Place]) -> None:
    html = (("Content-Type", "text/html; charset=utf-8"),)
    base = site.digests[0].url().rsplit("/", 2)[0]
    moved = Response((("Location", f"{base}/"), *html), b"<html><body>Moved</body></html>", "301 Moved Permanently")
    warc.capture(f"{base}/old.html", moved)
    missing = b"<html><body><h1>Not found</h1><p>There is no such page.</p></body></html>"
    warc.capture(f"{base}/missing.html", Response(html, missing, "404 Not Found"))
    # a PNG of one pixel
    image = bytes.fromhex(
        "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b550000000a49444154789c6360000000020001"
        "48afa4710000000049454e44ae426082"
    )
    warc.capture(f"{base}/logo.png", Response((("Content-Type", "image/png"),), image))
    warc.capture(f"{base}/empty.html", Response(html, b"<!DOCTYPE html><html><body></body></html>"))
    for page in site.digests[-2:]:
        warc.revisit(page.url(), first[page.slug], plain_utf8(page).body)


def _write_wet(
    folder: Path, site: _Site, prose: Sequence[str], first: dict[str, Place], plan: _Plan
) -> list[tuple[Place, str]]:
    """Write the text of pages of the crawl, of other pages and of articles; returns the other pages."""
    others: list[tuple[Place, str]] = []
    with WarcFile(folder, _WET, _FIRST_CRAWL) as wet:
        for page in site.digests[::4]:
            # the text of a page whose capture is in the crawl as well
            twin = wet.conversion(page.url(), page.everything(), "eng", first[page.slug].record_id)
            plan.near_duplicates.append([first[page.slug], twin])
        for page in islice(digest_pages(prose, "text"), len(site.digests) // 2):
            text = page.everything()
            others += [(wet.conversion(page.url(), text, "eng"), text)]
        for item in languages():
            texts = [plain_text(article.wikitext) for article in item.articles[:2][::-1]]
            text = f"{item.sitename}\n{''.join(texts)}{plain_text(item.stub.wikitext)}"
            wet.conversion(f"https://{item.code}.sample.example/", text, ISO_639_3[item.code])
    plan.files[_WET] = dict(wet.counts)
    return others


def _write_dumps(folder: Path, plan: _Plan) -> None:
    for item in languages():
        found = wiki.pages(item)
        streams = wiki.dump(item, found, pages_in_stream=3 if item.code in wiki.MULTISTREAM else 0)
        name = f"wiki/{item.code}wiki-20260101-pages-articles.xml.bz2"
        (folder / name).write_bytes(b"".join(streams))
        plan.files[name] = dict(Counter(page.kind for page in found))


def _write_pile(
    folder: Path, rendering: Rendering, prose: Sequence[str], wet: Sequence[tuple[Place, str]], plan: _Plan
) -> None:
    out = pile.PileFile(_PILE)

    def add(text: str, subset: str) -> Place:
        return Place("pile", _PILE, str(out.add(text, subset)), "")

    half = len(rendering.modules) // 2
    for module in rendering.modules[:half]:
        if module.source:
            add(module.source, "Python source")
    for module in rendering.modules[half:]:
        add(module.plain, "Python documentation")
    for kind, line in pile.BAD_LINES.items():
        plan.bad_lines[kind] = out.add_line(line)
    digests = list(islice(digest_pages(prose, "pile"), 3 * len(rendering.modules) // 2))
    places = [add(page.text, "Reading lists") for page in digests]
    count = max(2, len(digests) // 20)
    for place, page in islice(zip(places, digests, strict=True), count):
        plan.exact_duplicates.append([place, add(page.text, "Reading lists")])
    for place, page in islice(zip(places, digests, strict=True), count, 2 * count):
        edited = edit_lines(page.text, _NEAR_SHARE, page.slug)
        plan.near_duplicates.append([place, add(edited, "Reading lists")])
    for rule, text in planted.documents():
        plan.gopher.setdefault(rule, []).append(add(text, "Planted"))
    for kind, line in pile.ODD_LINES.items():
        plan.odd_lines[kind] = out.add_line(line)
    for twin, text in wet[:4]:
        plan.exact_duplicates.append([twin, add(text, "Web text")])
    english = language("en")
    dump = "wiki/enwiki-20260101-pages-articles.xml.bz2"
    for number, article in enumerate(english.articles):
        original = Place("wikipedia", dump, str(wiki.FIRST_ARTICLE_ID + number), "")
        plan.near_duplicates.append([original, add(plain_text(article.wikitext), "Wikipedia (en)")])
    out.write(folder)
    plan.files[_PILE] = {"lines": len(out.lines), **out.subsets}


def _write_broken(folder: Path, prose: Sequence[str], plan: _Plan) -> None:
    pages = list(islice(digest_pages(prose, "broken"), 10))
    plan.broken = [
        broken.clipped_warc(folder, pages[:5], _SECOND_CRAWL),
        *broken.wrong_lengths(folder, pages[5:], _SECOND_CRAWL),
        broken.truncated_dump(folder),
    ]
    # an older dump: the articles that can still be read are in the newer one as well
    newer = "wiki/enwiki-20260101-pages-articles.xml.bz2"
    for number in range(plan.broken[-1].readable):
        page_id = str(wiki.FIRST_ARTICLE_ID + number)
        both = [Place("wikipedia", file, page_id, "") for file in (newer, broken.TRUNCATED_DUMP)]
        plan.exact_duplicates.append(both)


def _summary(folder: Path, plan: _Plan) -> dict[str, int]:
    total = Counter[str]()
    for counts in plan.files.values():
        total.update(counts)
    written = [path for path in folder.rglob("*.*") if path.suffix in (".gz", ".bz2", ".zst")]
    return {
        "files": len(written),
        "bytes, compressed": sum(path.stat().st_size for path in written),
        "web pages (WARC responses)": total["response"],
        "web texts (WET conversions)": total["conversion"],
        "Wikipedia articles": total["article"],
        "JSON lines": total["lines"],
        "planted exact duplicates": len(plan.exact_duplicates),
        "planted near-duplicates": len(plan.near_duplicates),
        "planted documents that break a Gopher rule": sum(map(len, plan.gopher.values())),
        "planted records that cannot be read": len(plan.broken) + len(plan.bad_lines),
    }
