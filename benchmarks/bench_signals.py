"""Signals: megabytes of text a second on one core, against datatrove's four filters and Dolma's taggers.

    python benchmarks/bench_signals.py [--data documents.jsonl.zst] [--megabytes 20] [--curve 1,10,50]
        [--datatrove-python path] [--dolma-python path]

The peers run in their own interpreters, on a sample of the same documents. Times are CPU seconds of the process, the
best of several rounds; the first batch, which compiles or loads the kernels, stands on its own. The curve scores one
growing document with every family and shows the peak of memory beside its size.
"""

from __future__ import annotations

import argparse
import io
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial

import pyarrow as pa
import zstandard

from redpajama_pipe.errors import SetupError
from redpajama_pipe.signals import score
from redpajama_pipe.signals.catalogue import FAMILIES, select

TOGETHER = {
    "C4 + FineWeb + RefinedWeb": ("c4", "fineweb", "refinedweb"),
    "rule set fineweb": ("datatrove", "c4_fineweb"),
    "Gopher + C4 + FineWeb": ("gopher", "c4", "fineweb"),
    "Gopher + C4 + FineWeb + RP-V2": ("gopher", "c4", "fineweb", "redpajama_v2"),
}
NOT_TEXT = ("url",)  # families that read no text
DATATROVE = """
import json, sys, time
from datatrove.data import Document
from datatrove.pipeline.filters import C4QualityFilter, FineWebQualityFilter, GopherQualityFilter
from datatrove.pipeline.filters import GopherRepetitionFilter
filters = [GopherRepetitionFilter(), GopherQualityFilter(), C4QualityFilter(filter_no_terminal_punct=False)]
filters.append(FineWebQualityFilter())
texts = json.load(sys.stdin)
filters[1].filter(Document(text=texts[0], id="warm"))
begin = time.process_time()
for text in texts:
    for each in filters:
        try:
            each.filter(Document(text=text, id="x"))
        except ZeroDivisionError:
            pass
print(time.process_time() - begin)
"""
DOLMA = """
import json, sys, time
from dolma.core.data_types import Document
from dolma.core.registry import TaggerRegistry
import dolma.taggers.c4, dolma.taggers.gopher
taggers = [TaggerRegistry.get(name)() for name in ("gopher_v2", "c4_v2")]
texts = json.load(sys.stdin)
begin = time.process_time()
for text in texts:
    for each in taggers:
        each.predict(Document(source="", version="", id="x", text=text))
print(time.process_time() - begin)
"""


def read(path: str, most: int) -> list[str]:
    """Read the `text` of JSON lines until there are `most` bytes of it."""
    texts, size = [], 0
    with open(path, "rb") as raw:
        lines = zstandard.ZstdDecompressor().stream_reader(raw) if path.endswith(".zst") else raw
        for line in io.TextIOWrapper(lines, encoding="utf-8"):
            texts.append(json.loads(line)["text"])
            size += len(texts[-1].encode())
            if size >= most:
                break
    return texts


def synthetic(most: int) -> list[str]:
    """Make pages of English-like sentences."""
    lines = [
        f"The {n} boats that lie in harbour {n % 97} carry grain and wool to the {n * n % 89} towns."
        for n in range(999)
    ]
    page = "\n".join(lines)
    return [page[shift : shift + 4000] for shift in range(0, 60_000, 6)][: max(1, most // 4000)]


def seconds(work: Callable[[], object], rounds: int = 3) -> float:
    """Time the best of several rounds."""
    best = float("inf")
    for _ in range(rounds):
        begin = time.process_time()
        work()
        best = min(best, time.process_time() - begin)
    return best


def peer(python: str, program: str, texts: Sequence[str]) -> float:
    """Run a peer in its own interpreter; return its CPU seconds."""
    done = subprocess.run([python, "-c", program], input=json.dumps(texts), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{python}: {done.stderr.strip().splitlines()[-1]}")
    return float(done.stdout.strip().splitlines()[-1])


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="", help="JSON lines with `text`; default: made here")
    parser.add_argument("--megabytes", type=float, default=20)
    parser.add_argument("--curve", default="1,10,50", help="sizes of one document, in megabytes; empty: none")
    parser.add_argument("--datatrove-python", default="", help="an interpreter with datatrove 0.10 and spaCy")
    parser.add_argument("--dolma-python", default="", help="an interpreter with dolma 1.2")
    options = parser.parse_args()
    most = int(options.megabytes * 1e6)
    texts = read(options.data, most) if options.data else synthetic(most)
    array = pa.array(texts, pa.large_string())
    size = sum(len(text.encode()) for text in texts)
    print(f"{len(texts):,} documents, {size / 1e6:.1f} MB")

    rates: dict[str, float] = {}
    for name in FAMILIES:
        if name in NOT_TEXT:
            continue
        signals = select([name])
        begin = time.process_time()
        try:
            score(array.slice(0, 1), signals)
        except SetupError as error:  # word lists or models are not there
            print(f"{name:32} not measured: {str(error).splitlines()[0][:80]}")
            continue
        first = time.process_time() - begin
        rates[name] = size / seconds(partial(score, array, signals)) / 1e6
        print(f"{name:32} {rates[name]:8.1f} MB/s   first batch {first:6.2f} s")
    for title, names in TOGETHER.items():
        chosen = select(names)
        rates[title] = size / seconds(partial(score, array, chosen)) / 1e6
        print(f"{title:32} {rates[title]:8.1f} MB/s")

    sample = texts[:: max(1, len(texts) // 300)]
    sampled = sum(len(text.encode()) for text in sample)
    for title, python, program, ours in (
        ("datatrove, four filters", options.datatrove_python, DATATROVE, "rule set fineweb"),
        ("dolma, gopher_v2 + c4_v2", options.dolma_python, DOLMA, "Gopher + C4 + FineWeb"),
    ):
        if python:
            rate = sampled / peer(python, program, sample) / 1e6
            print(f"{title:32} {rate:8.2f} MB/s   {ours} is {rates[ours] / rate:.0f} times as fast")

    page = "\n".join(texts[: max(1, len(texts) // 4)])
    every = select([name for name in rates if name in FAMILIES])
    for megabytes in [float(part) for part in options.curve.split(",") if part]:
        wanted = int(megabytes * 1e6)
        document = pa.array([(page * (wanted // len(page) + 1))[:wanted]], pa.large_string())
        begin = time.process_time()
        score(document, every)
        taken = time.process_time() - begin
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
        print(f"one document of {megabytes:6.0f} MB   {wanted / taken / 1e6:8.1f} MB/s   peak {peak:8.0f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
