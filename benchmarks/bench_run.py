"""A whole run, from JSON lines to token shards, schedule and report: what each stage costs; against datatrove's.

    python benchmarks/bench_run.py --data documents.jsonl.zst --tokenizer 20B_tokenizer.json [--megabytes 600]
        [--peer-python PYTHON] [--peer-megabytes 15] [--master 'local[2]'] [--folder FOLDER]

The corpus is made of the documents of --data, over and over, in eight files: after the first time words change places
inside every line, but every 20th document comes again as it is, and another 20th nearly so. The run is the command
itself: ingest with the signals of gopher, c4 and fineweb, filter, exact and near-duplicates, GPT-NeoX ids, schedule,
report.
CPU seconds, memory and bytes written are those of the command and all its children, as /proc has them; a stage has what
happens until its last line. MB are bytes of text in. The peer does the same kinds of work on the first documents of the
same files, in one process of its own interpreter: datatrove's Gopher, C4 and FineWeb filters, MinHash and tokenizer.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any

import orjson
import zstandard

FILES = 8
SAME = 20  # every so many documents come again as they are, and as many nearly so
RULE_SETS = "[gopher,c4,fineweb]"
_ENDED = re.compile(r"(\w[\w ]*?)  +.*\(\d.*\)$")  # the last line of a stage

DATATROVE = """
import glob, json, os, sys, time
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup import (
    MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupFilter, MinhashDedupSignature)
from datatrove.pipeline.dedup.minhash import MinhashConfig
from datatrove.pipeline.filters import (
    C4QualityFilter, FineWebQualityFilter, GopherQualityFilter, GopherRepetitionFilter)
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.tokens import DocumentTokenizer
from datatrove.pipeline.writers import JsonlWriter
from datatrove.utils.hashing import HashConfig
folder, tokenizer = sys.argv[1:]
config = MinhashConfig(hash_config=HashConfig(precision=64), n_grams=5, num_buckets=14, hashes_per_bucket=8)
left = lambda: JsonlReader(folder + "/filtered")
steps = {
    "read and filter": [
        (1, [JsonlReader(folder + "/in"), GopherRepetitionFilter(), GopherQualityFilter(),
             C4QualityFilter(filter_no_terminal_punct=False), FineWebQualityFilter(),
             JsonlWriter(folder + "/filtered")])],
    "dedup": [
        (1, [left(), MinhashDedupSignature(output_folder=folder + "/sig", config=config)]),
        (14, [MinhashDedupBuckets(folder + "/sig", folder + "/buckets", config=config)]),
        (1, [MinhashDedupCluster(folder + "/buckets", folder + "/remove", config=config)])],
    "tokenize": [
        (1, [left(), MinhashDedupFilter(folder + "/remove"),
             DocumentTokenizer(folder + "/tokens", tokenizer_name_or_path=tokenizer, eos_token="<|endoftext|>")])],
}
seconds = {}
for name, parts in steps.items():
    begin = sum(os.times()[:4])
    for number, (tasks, pipeline) in enumerate(parts):
        log = f"{folder}/log-{name}-{number}".replace(" ", "-")
        LocalPipelineExecutor(pipeline, tasks=tasks, workers=1, logging_dir=log).run()
    seconds[name] = sum(os.times()[:4]) - begin
size = sum(os.path.getsize(path) for path in glob.glob(folder + "/tokens/*.ds"))
json.dump({"seconds": seconds, "tokens": size // 2}, open(folder + "/result.json", "w"))
"""


@dataclass(frozen=True)
class Used:
    """What a process tree has used so far: CPU seconds of its JVM and of the rest, bytes written to disks."""

    clock: float
    jvm: float
    python: float
    written: int

    def since(self, other: Used) -> Used:
        return Used(*(getattr(self, name) - getattr(other, name) for name in self.__dataclass_fields__))


@dataclass(frozen=True)
class Seen:
    """A process when it was last looked at: its name, CPU seconds, resident bytes, bytes written to disks."""

    name: str
    seconds: float
    resident: int
    written: int


class Watched:
    """A process and its descendants: looked at five times a second, so that what a process used outlives it."""

    def __init__(self, process: int) -> None:
        self._process = process
        self._lock, self._done = Lock(), Event()
        self._seen: dict[tuple[int, int], Seen] = {}  # by process and when it began: numbers come again
        self.jvm_peak = self.worker_peak = self.together_peak = 0
        Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while not self._done.wait(0.2):
            self.used()

    def close(self) -> None:
        self._done.set()

    def used(self) -> Used:
        """Add up what the processes have used, those that have ended too."""
        with self._lock:
            now = _descendants(self._process)
            self._seen |= now
            jvm = [seen.resident for seen in now.values() if seen.name == "java"]
            workers = [seen.resident for (process, _), seen in now.items() if process != self._process]
            self.jvm_peak = max(self.jvm_peak, *jvm, 0)
            self.worker_peak = max(self.worker_peak, *(size for size in workers if size not in jvm), 0)
            self.together_peak = max(self.together_peak, sum(seen.resident for seen in now.values()))
            every = self._seen.values()
            return Used(
                time.monotonic(),
                sum(seen.seconds for seen in every if seen.name == "java"),
                sum(seen.seconds for seen in every if seen.name != "java"),
                sum(seen.written for seen in every),
            )


def _descendants(root: int) -> dict[tuple[int, int], Seen]:
    """Look at a process and all below it."""
    parents: dict[int, int] = {}
    found: dict[int, tuple[int, Seen]] = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            head, _, tail = Path(f"/proc/{entry}/stat").read_text().rpartition(")")
            fields = tail.split()
            parents[int(entry)] = int(fields[1])
            lines = Path(f"/proc/{entry}/io").read_text().splitlines()
        except OSError:  # it has just ended, or is another user's
            continue
        seconds = sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")
        written = sum(int(line.split()[1]) for line in lines if line.startswith("write_bytes"))
        resident = int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
        found[int(entry)] = int(fields[19]), Seen(head.partition("(")[2], seconds, resident, written)
    below = more = {root}
    while more:
        more = {process for process, parent in parents.items() if parent in below} - below
        below = below | more
    return {(process, found[process][0]): found[process][1] for process in below if process in found}


def documents_of(path: str) -> Iterator[dict[str, Any]]:
    """Read JSON lines."""
    with open(path, "rb") as raw:
        lines = zstandard.ZstdDecompressor().stream_reader(raw) if path.endswith(".zst") else raw
        for line in io.BufferedReader(lines, 1 << 20):
            yield orjson.loads(line)


def changed(text: str, chance: random.Random) -> str:
    """Let the words of each line change places, but for the first and the last, which rules look at."""
    lines = []
    for line in text.split("\n"):
        words = line.split(" ")
        if len(words) > 3:
            inner = words[1:-1]
            chance.shuffle(inner)
            words[1:-1] = inner
        lines.append(" ".join(words))
    return "\n".join(lines)


def corpus(path: str, most: int) -> Iterator[tuple[bytes, int]]:
    """Yield lines, and the bytes of their text, until there are `most` bytes of text."""
    done, chance = 0, random.Random(1)
    for turn in range(most):
        for number, document in enumerate(documents_of(path)):
            text = document["text"]
            if turn and number % SAME == turn % SAME:
                pass
            elif turn and number % SAME == (turn + 1) % SAME:
                text = text.rpartition(" ")[0] or text
            elif turn:
                text = changed(text, chance)
            size = len(text.encode())
            yield orjson.dumps({**document, "text": text}) + b"\n", size
            done += size
            if done >= most:
                return


def make(path: str, folder: Path, megabytes: float, peer_megabytes: float) -> tuple[int, int, int]:
    """Write the corpus, and beginnings of its files for the peer; returns bytes of text of both, and stored bytes."""
    most, peer_most = int(megabytes * 1e6), int(peer_megabytes * 1e6)
    sizes = peer = 0
    (folder / "all").mkdir(parents=True)
    (folder / "in").mkdir()
    with ExitStack() as files:
        whole: list[zstandard.ZstdCompressionWriter] = []
        part: list[zstandard.ZstdCompressionWriter] = []
        for number in range(FILES):
            for name, opened in (("all", whole), ("in", part)):
                file = files.enter_context(open(folder / name / f"{number:02}.jsonl.zst", "wb"))
                opened.append(files.enter_context(zstandard.ZstdCompressor(level=3).stream_writer(file)))
        own = [0] * FILES
        for line, size in corpus(path, most):
            number = min(FILES - 1, sizes * FILES // most)
            whole[number].write(line)
            sizes += size
            if own[number] < peer_most / FILES:
                own[number] += size
                part[number].write(line)
        peer = sum(own)
    return sizes, peer, sum(file.stat().st_size for file in (folder / "all").iterdir())


def command(folder: Path, options: argparse.Namespace) -> list[str]:
    """Write the recipe and return the command."""
    (folder / "recipe.yaml").write_text(
        f"""
name: bench
sources:
  - name: pile
    kind: jsonl
    paths: ["{folder}/all/*.jsonl.zst"]
    root: {folder}
    subset_field: meta.pile_set_name
filter: {{rule_sets: {RULE_SETS}, max_dropped_share: 1}}
dedup: {{max_dropped_share: 1}}
tokenize: {{tokenizer: gpt_neox_20b, path: "{options.tokenizer}", shard_bytes: {32 << 20}}}
schedule: {{batch_size: 16}}
"""
    )
    run = [sys.executable, "-m", "redpajama_pipe.cli", "run", str(folder / "recipe.yaml")]
    run += ["--output", str(folder / "run"), "--master", options.master]
    for setting in options.set:
        run += ["--set", setting]
    return run


def ours(folder: Path, options: argparse.Namespace) -> tuple[dict[str, Used], Watched]:
    """Run it; returns what each stage used."""
    began = Used(time.monotonic(), 0.0, 0.0, 0)
    process = subprocess.Popen(command(folder, options), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    watched = Watched(process.pid)
    stages: dict[str, Used] = {}
    assert process.stderr is not None
    told = []
    for line in process.stderr:
        told.append(line)
        ended = _ENDED.match(line.rstrip())
        if ended:
            now = watched.used()
            stages[ended.group(1)] = now.since(began)
            began = now
            print(f"  {line.rstrip()}", flush=True)
    if process.wait():
        raise SystemExit("".join(told[-20:]))
    now = watched.used()
    stages["summary, end"] = Used(time.monotonic(), now.jvm, now.python, now.written).since(began)
    watched.close()
    return stages, watched


def show(stages: dict[str, Used], watched: Watched, folder: Path, size: int, stored: int, cores: int) -> float:
    """Print the table; returns MB a second and core."""
    print(f"{'stage':14} {'wall s':>7} {'CPU s':>7} {'JVM':>7} {'Python':>7} {'MB/s a core':>12} {'MB written':>11}")
    together = Used(*(sum(getattr(used, name) for used in stages.values()) for name in Used.__dataclass_fields__))
    for name, used in {**stages, "all": together}.items():
        cpu = used.jvm + used.python
        print(
            f"{name:14} {used.clock:7.1f} {cpu:7.1f} {used.jvm:7.1f} {used.python:7.1f} "
            f"{size / 1e6 / max(cpu, 1e-9):12.1f} {used.written / 1e6:11.1f}"
        )
    kept = sum(file.stat().st_size for file in (folder / "run").rglob("*") if file.is_file())
    jvm, worker, every = (peak / 1e9 for peak in (watched.jvm_peak, watched.worker_peak, watched.together_peak))
    rate, load = size / 1e6 / together.clock / cores, os.getloadavg()[0]
    ratios = [together.written / size, together.written / stored, kept / size]
    print(f"by the clock {rate:.1f} MB/s a core of {cores}, load {load:.1f}")
    print(f"peak of the JVM {jvm:.2f} GB, of the largest Python worker {worker:.2f}, of all together {every:.2f}")
    print("bytes written for one of text {:.2f}, for a stored one {:.2f}; left for one of text {:.2f}".format(*ratios))
    shards = json.loads((folder / "run" / "summary.json").read_text())["shards"]
    print("shards " + " ".join(shard["sha256"][:12] for shard in shards))
    return size / 1e6 / (together.jvm + together.python)


def peer(folder: Path, python: str, tokenizer: str, size: int, rate: float) -> None:
    """Run datatrove on the smaller files and print its table."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [python, "-c", DATATROVE, str(folder), tokenizer], capture_output=True, text=True, check=False, env=environment
    )
    if done.returncode:
        raise SystemExit(f"{python}: {done.stderr.strip().splitlines()[-1]}")
    result = json.loads((folder / "result.json").read_text())
    print(f"datatrove, {size / 1e6:.1f} MB of the same files, {result['tokens']:,} tokens")
    for name, seconds in {**result["seconds"], "all": sum(result["seconds"].values())}.items():
        print(f"{name:16} {seconds:7.1f} CPU s {size / 1e6 / seconds:7.3f} MB/s a core")
    theirs = size / 1e6 / sum(result["seconds"].values())
    print(f"ours is {rate / theirs:.0f} times as fast a core")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="JSON lines with `text`, .zst or plain")
    parser.add_argument("--tokenizer", required=True, help="GPT-NeoX's 20B_tokenizer.json")
    parser.add_argument("--megabytes", type=float, default=600)
    parser.add_argument("--peer-python", help="an interpreter with datatrove[processing] and spaCy")
    parser.add_argument("--peer-megabytes", type=float, default=15)
    parser.add_argument("--master", default="local[2]")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="of the recipe")
    parser.add_argument("--folder", help="for all that is made; the system's temporary one")
    options = parser.parse_args()
    tokenizer = os.path.abspath(options.tokenizer)
    options.tokenizer = tokenizer
    with tempfile.TemporaryDirectory(dir=options.folder) as scratch:
        folder = Path(scratch)
        begin = time.monotonic()
        size, peer_size, stored = make(options.data, folder, options.megabytes, options.peer_megabytes)
        print(f"made {size / 1e6:.0f} MB of text, {stored / 1e6:.0f} stored, in {time.monotonic() - begin:.0f} s")
        stages, watched = ours(folder, options)
        cores = re.search(r"\d+", options.master)
        rate = show(stages, watched, folder, size, stored, int(cores.group()) if cores else os.cpu_count() or 1)
        if options.peer_python:
            peer(folder, options.peer_python, tokenizer, peer_size, rate)


if __name__ == "__main__":
    main()
