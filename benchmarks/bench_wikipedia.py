"""Wikipedia dumps to text: pages and megabytes of XML a second on one core, against mwparserfromhell and wikiextractor.

    python benchmarks/bench_wikipedia.py enwiki-20240101-pages-articles1.xml.bz2 …
        [--wikiextractor python] [--rounds 3]

The readers are timed as a whole: decompression, XML and cleaning. The bare loop is mwparserfromhell.parse(text)
.strip_code() over the same articles, already in memory. wikiextractor runs as a command with one process and without
templates, by the interpreter given; starting it is subtracted. Times are CPU seconds, children's included, the best of
several rounds.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import replace

import mwparserfromhell

from redpajama_pipe.settings.source import Source
from redpajama_pipe.sources import wikitext
from redpajama_pipe.sources.record import Document, Split
from redpajama_pipe.sources.streams import MemberStream
from redpajama_pipe.sources.wiki_pages import PageReader, RawPage
from redpajama_pipe.sources.wiki_plain import clean_plain
from redpajama_pipe.sources.wiki_tags import drop_tags
from redpajama_pipe.sources.wikipedia import read_wikipedia, wiki_code


def seconds(work: Callable[[], object], rounds: int) -> float:
    """Time the best of several rounds in CPU seconds of the process and its children."""
    best = float("inf")
    for _ in range(rounds):
        begin = os.times()
        work()
        end = os.times()
        best = min(best, sum(end[:4]) - sum(begin[:4]))
    return best


def decompress(path: str) -> int:
    """Decompress one file and return how many bytes it holds."""
    with open(path, "rb") as file:
        return sum(map(len, MemberStream(file).blocks()))


def pages_of(path: str) -> list[RawPage]:
    """Decompress one file and cut its XML into pages."""
    reader, pages = PageReader(256 << 20), []
    with open(path, "rb") as file:
        for block in MemberStream(file).blocks():
            reader.feed(block)
            pages += reader.take()
    return pages


def articles_of(path: str) -> list[str]:
    """Return the wikitext of what the readers make documents of, or nearly so."""
    code = wiki_code(path) or "en"
    return [
        page.text
        for page in pages_of(path)
        if page.namespace == "0" and not page.redirect and page.text and not wikitext.is_redirect(page.text, code)
    ]


def documents(path: str, source: Source) -> int:
    """Read one file as ingest does and count its documents."""
    with open(path, "rb") as file:
        rows = read_wikipedia(MemberStream(file), Split(source.name, path, path), source)
        return sum(isinstance(row, Document) for row in rows)


def wikiextractor(python: str, paths: list[str], rounds: int) -> float | None:
    """Time wikiextractor over the files, without what starting it costs; None where that interpreter has none."""
    started = [python, "-c", "import wikiextractor.extract"]
    if subprocess.run(started, capture_output=True, check=False).returncode:
        return None
    command = [python, "-m", "wikiextractor.WikiExtractor", "--no-templates", "--processes", "1", "-q"]
    with tempfile.TemporaryDirectory() as folder:

        def run(commands: list[list[str]]) -> Callable[[], object]:
            return lambda: [subprocess.run(each, check=True, capture_output=True) for each in commands]

        whole = seconds(run([[*command, "-o", folder, path] for path in paths]), rounds)
        return whole - seconds(run([started] * len(paths)), rounds)


def main() -> None:
    """Print one line a measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dumps", nargs="+", help="pages-articles files, named as Wikimedia names them")
    parser.add_argument("--wikiextractor", default="python", help="an interpreter that has wikiextractor")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    paths, rounds = options.dumps, options.rounds
    megabytes = sum(map(decompress, paths)) / 1e6
    articles = [(text, wiki_code(path) or "en") for path in paths for text in articles_of(path)]
    print(f"{len(paths)} files, {megabytes:.1f} MB of XML, {len(articles)} articles, {rounds} rounds")

    def show(name: str, took: float, ratio: float | None = None) -> None:
        told = f"  {ratio:5.1f} times the bare loop" if ratio else ""
        print(f"{name:44} {len(articles) / took:9.1f} pages/s {megabytes / took:8.2f} MB of XML/s{told}")

    bare = seconds(lambda: [mwparserfromhell.parse(text).strip_code() for text, _ in articles], rounds)
    show(f"mwparserfromhell {mwparserfromhell.__version__}, bare loop, no reading", bare)
    source = Source("bench", "wikipedia", ("unused",))
    took = {}
    for mode in ("plain", "rpv1"):
        chosen = replace(source, wikitext=mode)
        took[mode] = seconds(lambda chosen=chosen: [documents(path, chosen) for path in paths], rounds)  # type: ignore[misc]
        show(f"reader, wikitext: {mode}", took[mode], bare / took[mode])
    extractor = wikiextractor(options.wikiextractor, paths, rounds)
    if extractor is None:
        print(f"{'wikiextractor':44} not installed for {options.wikiextractor}")
    else:
        show("wikiextractor", extractor, bare / extractor)

    unpack = seconds(lambda: list(map(decompress, paths)), rounds)
    cut = seconds(lambda: list(map(pages_of, paths)), rounds)
    tags = seconds(lambda: [drop_tags(text) for text, _ in articles], rounds)
    whole = seconds(lambda: [clean_plain(text, code) for text, code in articles], rounds)
    print(
        f"plain by part: decompress {unpack:.2f} s, XML {max(0, cut - unpack):.2f} s, tags {tags:.2f} s, braces, links "
        f"and lines {whole - tags:.2f} s, rest {max(0, took['plain'] - cut - whole):.2f} s"
    )


if __name__ == "__main__":
    main()
