"""Signals: megabytes of text a second on one core, against datatrove's four filters and Dolma's taggers.

    python benchmarks/bench_signals.py [--data documents.jsonl.zst] [--megabytes 20]
        [--datatrove-python path] [--dolma-python path]
    python benchmarks/bench_signals.py --long 25,50,100,200 [--data ...] [--families gopher,datatrove]
    python benchmarks/bench_signals.py --first

Times are CPU seconds. The first form takes the best of several rounds; the peers run in their own interpreters, on a
sample of the same documents. --long scores one document of each size, in a process for each family, and shows time by
length and the peak of memory beside the document. --first shows what a worker's first batch costs with no kernel
compiled, and with all of them in the cache.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import count
from pathlib import Path

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
NOT_TEXT = ("url_lists",)  # families that read no text
LANGUAGE = "language"  # no family, but part of the same pass
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


def compute(names: Sequence[str], texts: pa.Array) -> None:
    """Do the work of some families, or tell the language."""
    if LANGUAGE in names:
        from redpajama_pipe.signals.language import NAME, identify

        identify(texts, NAME)
    signals = select([name for name in names if name != LANGUAGE])
    if signals:
        score(texts, signals)


def peak_bytes() -> int:
    """Return the most memory that this process has had."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def child(name: str, paths: str) -> int:
    """Print for each file of text CPU seconds and bytes of memory beside it; without files, for a batch of a line."""
    names = name.split(",")
    if not paths:
        texts = pa.array(["A first batch is a line of words, which is as good as any other.\n"], pa.large_string())
        begin = time.process_time()
        compute(names, texts)
        print(time.process_time() - begin)
        return 0
    compute(names, pa.array(["The kernels are loaded with this.\n"], pa.large_string()))
    for path in paths.split(","):
        text = pa.py_buffer(bytearray(Path(path).read_bytes()))  # as Parquet has it: Numba compiles by what is writable
        ends = pa.array([0, text.size], pa.int64()).buffers()[1]
        document = pa.LargeStringArray.from_buffers(1, ends, text)
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        before = peak_bytes()
        begin = time.process_time()
        compute(names, document)
        taken = time.process_time() - begin
        print(taken, peak_bytes() - before)
    return 0


def run_child(names: Sequence[str], paths: Sequence[str] = (), cache: str = "") -> list[list[float]] | str:
    """Run `child` in a fresh interpreter; return its numbers, or why there are none."""
    environment = {**os.environ, **({"NUMBA_CACHE_DIR": cache} if cache else {})}
    command = [sys.executable, __file__, "--child", ",".join(names), "--long", ",".join(paths)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        return done.stderr.strip().splitlines()[-1].partition(": ")[2][:80]
    return [[float(value) for value in line.split()] for line in done.stdout.splitlines()]


def first_batches(families: Sequence[str]) -> int:
    """Print what a first batch costs: compiled in an empty cache, then loaded from it."""
    ready = []
    with tempfile.TemporaryDirectory() as cache:
        print(f"{'first batch, CPU seconds':32} {'compiled':>9} {'loaded':>9}")
        total = 0.0
        for name in families:
            cold, warm = run_child([name], cache=cache), run_child([name], cache=cache)
            if isinstance(cold, str) or isinstance(warm, str):
                print(f"{name:32} not measured: {cold}")
                continue
            ready.append(name)
            total += cold[0][0]
            print(f"{name:32} {cold[0][0]:9.2f} {warm[0][0]:9.2f}")
        together = run_child(ready, cache=cache)
        loaded = together if isinstance(together, str) else f"{together[0][0]:.2f}"
        print(f"{'all of them, in one worker':32} {total:9.2f} {loaded:>9}")
    return 0


def longer(texts: Sequence[str]) -> Iterator[str]:
    """Yield lines of pages, and of the same pages again with their words in other places: no n-gram comes twice."""
    for turn in count():
        for text in texts:
            for line in text.splitlines():
                words = line.split(" ")
                yield line if not turn else " ".join([*words[turn % len(words) :: 2], str(turn), *words[::-2]])


def long_documents(texts: Sequence[str], sizes: Sequence[int], families: Sequence[str]) -> int:
    """Print time and memory by length; a family that is linear takes as long for a byte of any document."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [str(Path(folder) / f"{size}.txt") for size in sizes]
        for path, size in zip(paths, sizes, strict=True):
            left = size
            with open(path, "wb") as target:
                for line in longer(texts):
                    part = f"{line}\n".encode()[:left]
                    target.write(part.decode(errors="ignore").encode())
                    left -= len(part)
                    if not left:
                        break
        titles = "".join(f"{size / 1e6:8.0f} MB" for size in sizes)
        print(f"{'ns a byte of one document':32}{titles}   last : first   memory beside the last, bytes a byte")
        for name in families:
            found = run_child([name], paths)
            if isinstance(found, str):
                print(f"{name:32} not measured: {found}")
                continue
            costs = [1e9 * seconds / size for (seconds, _), size in zip(found, sizes, strict=True)]
            line = "".join(f"{cost:11.2f}" for cost in costs)
            print(f"{name:32}{line}   {costs[-1] / costs[0]:12.2f}   {found[-1][1] / sizes[-1]:10.2f}")
    return 0


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="", help="JSON lines with `text`; default: made here")
    parser.add_argument("--megabytes", type=float, default=20)
    parser.add_argument("--long", default="", help="sizes of one document, in megabytes")
    parser.add_argument("--first", action="store_true", help="what a worker's first batch costs")
    parser.add_argument("--families", default="", help="only these, with --long and --first")
    parser.add_argument("--datatrove-python", default="", help="an interpreter with datatrove 0.10 and spaCy")
    parser.add_argument("--dolma-python", default="", help="an interpreter with dolma 1.2")
    parser.add_argument("--child", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        return child(options.child, options.long)
    families = [name for name in options.families.split(",") if name]
    families = families or [LANGUAGE, *(name for name in FAMILIES if name not in NOT_TEXT)]
    if options.first:
        return first_batches(families)
    if options.long:
        sizes = [int(float(size) * 1e6) for size in options.long.split(",")]
        return long_documents(
            read(options.data, max(sizes)) if options.data else synthetic(max(sizes)), sizes, families
        )
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

    return 0


if __name__ == "__main__":
    sys.exit(main())
