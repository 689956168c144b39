"""Ingest of web pages on one core: documents and megabytes of HTML a second, against a bare loop and published tools.

    python benchmarks/bench_ingest.py a.warc.gz b.warc.gz … [--peer-python PYTHON]… [--rounds 2] [--trafilatura]

Ours is a whole unit: WARC to Parquet, without the signals. The bare loop is warcio and Resiliparse, with our options
and with its defaults for main content, writing nothing. datatrove is WarcReader, Trafilatura as its FineWeb example
sets it up, and JsonlWriter; dolma is its own WARC pipeline. Each peer runs in the interpreter that has it:
--peer-python may be given for each. Times are CPU seconds of the process and its children, the best of the rounds; what
starting and importing costs is left out. HTML is what the pages hold after their transfer and content codings.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from redpajama_pipe.settings.source import Source
from redpajama_pipe.sources.html import MAIN_CONTENT
from redpajama_pipe.sources.record import Split
from redpajama_pipe.sources.unit import Unit, ingest_unit

Measured = tuple[float, int, int]  # CPU seconds, documents, bytes of their HTML


def cpu() -> float:
    """Return the CPU seconds of this process and its ended children."""
    return sum(os.times()[:4])


def html_of(paths: list[str]) -> tuple[int, int]:
    """Count the pages of files and the bytes of their HTML."""
    from warcio.archiveiterator import ArchiveIterator

    pages = size = 0
    for path in paths:
        with open(path, "rb") as file:
            for record in ArchiveIterator(file):
                if record.rec_type == "response":
                    pages += 1
                    size += len(record.content_stream().read())
    return pages, size


def ours(paths: list[str], size: int, extractor: str, *, guarded: bool = False) -> Measured:
    """Ingest each file as a unit."""
    source = Source("cc", "warc", tuple(paths), extractor=extractor)  # type: ignore[arg-type]
    documents = 0
    with tempfile.TemporaryDirectory() as folder:
        units = [Unit(Split("cc", path, Path(path).name), source, None, "", 256 << 20, "", 1) for path in paths]
        first = replace(units[0], split=replace(units[0].split, uri=os.devnull))
        ingest_unit(first, folder, folder)  # imports
        begin = cpu()
        for unit in units:
            documents += ingest_unit(unit, folder, folder, guarded=guarded).documents
        return cpu() - begin, documents, size


def bare(paths: list[str], size: int, *, defaults: bool) -> Measured:
    """Read with warcio, extract with Resiliparse's defaults for main content or with our options, keep nothing."""
    from resiliparse.extract.html2text import extract_plain_text
    from warcio.archiveiterator import ArchiveIterator

    def extract(html: str) -> str:
        text: str = (
            extract_plain_text(html, main_content=True) if defaults else extract_plain_text(html, **MAIN_CONTENT)
        )
        return text

    documents = 0
    begin = cpu()
    for path in paths:
        with open(path, "rb") as file:
            for record in ArchiveIterator(file):
                if record.rec_type == "response":
                    html = record.content_stream().read().decode("utf-8", "replace")
                    documents += bool(extract(html))
    return cpu() - begin, documents, size


# Each prints JSON: CPU seconds, documents, bytes of HTML. Arguments: the files. What comes before `begin` is not timed.
# datatrove's reader asks libmagic what a page is and passes over what that does not call HTML: its pages are counted.
DATATROVE = """
import json, os, sys, tempfile, logging
from loguru import logger
logger.remove()
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.extractors import Trafilatura
from datatrove.pipeline.readers import WarcReader
from datatrove.pipeline.writers import JsonlWriter
import trafilatura
cpu = lambda: sum(os.times()[:4])
size, count = [0], [0]
def read(data, rank=0, world_size=1):
    for document in data:
        size[0] += len(document.text.encode("utf-8", "replace"))
        yield document
def counted(data, rank=0, world_size=1):
    for document in data:
        count[0] += 1
        yield document
with tempfile.TemporaryDirectory() as out:
    for number, path in enumerate(sys.argv[1:]):
        os.symlink(os.path.abspath(path), os.path.join(out, f"{number}.warc.gz"))
    data = None
    steps = [WarcReader(out, glob_pattern="*.warc.gz"), read, Trafilatura(favour_precision=True, timeout=600), counted,
             JsonlWriter(out + "/written")]
    begin = cpu()
    for step in steps:
        data = step(data, 0, 1)
    for _ in data:
        pass
    print(json.dumps([cpu() - begin, count[0], size[0]]))
"""
DOLMA = """
import glob, gzip, json, os, sys, tempfile
from dolma.warc import create_and_run_warc_pipeline
with tempfile.TemporaryDirectory() as out:
    begin = sum(os.times()[:4])
    create_and_run_warc_pipeline(documents=sys.argv[1:], destination=[out + "/written"], source_name="cc", debug=True,
                                 metadata=[out + "/state"], linearizer_name=os.environ["LINEARIZER"])
    spent = sum(os.times()[:4]) - begin
    written = glob.glob(out + "/written/**/*.gz", recursive=True)
    print(json.dumps([spent, sum(gzip.open(name).read().count(b"\\n") for name in written)]))
"""


def peer(
    module: str, script: str, pythons: list[str], paths: list[str], size: int, **environment: str
) -> Measured | None:
    """Run a peer's script in the first interpreter that has it; None where none has."""
    for python in pythons:
        if subprocess.run([python, "-c", f"import {module}"], capture_output=True, check=False).returncode:
            continue
        ended = subprocess.run(
            [python, "-c", script, *paths],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, **environment},
        )
        if ended.returncode:
            print(f"{module}: {ended.stderr.strip().splitlines()[-1]}")
            return None
        seconds, documents, *read = json.loads(ended.stdout.strip().splitlines()[-1])
        return seconds, documents, read[0] if read else size
    print(f"{module}: not installed (see --peer-python)")
    return None


def main() -> None:
    """Print one line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="+")
    parser.add_argument("--peer-python", action="append", default=[], metavar="PYTHON")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--trafilatura", action="store_true", help="ours with trafilatura too")
    options = parser.parse_args()
    paths, pythons = options.paths, options.peer_python or [sys.executable]
    pages, size = html_of(paths)
    print(f"{len(paths)} files, {pages:,} pages, {size / 1e6:.1f} MB of HTML, {size / pages / 1e3:.0f} KB each")
    runs: dict[str, Callable[[], Measured | None]] = {
        "ours, resiliparse, Parquet written": lambda: ours(paths, size, "resiliparse"),
        "ours, guarded (as after a crash)": lambda: ours(paths, size, "resiliparse", guarded=True),
        "warcio + Resiliparse, our options": lambda: bare(paths, size, defaults=False),
        "warcio + Resiliparse, its defaults": lambda: bare(paths, size, defaults=True),
        "datatrove, WarcReader + Trafilatura": lambda: peer(
            "datatrove.pipeline.readers", DATATROVE, pythons, paths, size
        ),
        "dolma, trafilatura": lambda: peer("dolma.warc", DOLMA, pythons, paths, size, LINEARIZER="trafilatura"),
        "dolma, resiliparse": lambda: peer("dolma.warc", DOLMA, pythons, paths, size, LINEARIZER="resiliparse"),
    }
    if options.trafilatura:
        runs["ours, trafilatura"] = lambda: ours(paths, size, "trafilatura")
    best: dict[str, Measured] = {}
    for round_ in range(options.rounds):
        for name, run in runs.items():
            found = run() if round_ == 0 or name in best else None
            if found:
                best[name] = min(found, best.get(name, found))
    ours_speed = next(documents / seconds for seconds, documents, _ in best.values())
    for name, (seconds, documents, read) in best.items():
        speed = documents / seconds
        line = f"{speed:8,.0f} documents/s  {read / seconds / 1e6:6.1f} MB/s of HTML  {documents:6,} documents"
        print(f"{name:38} {line}  ours is {ours_speed / speed:5.2f} times as fast")


if __name__ == "__main__":
    main()
