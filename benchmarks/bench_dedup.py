"""Near-duplicates, the whole stage: what is found, how long it takes, what it holds and moves; against whole peers.

    python benchmarks/bench_dedup.py --documents 250000 1000000 4000000
    python benchmarks/bench_dedup.py --data documents.jsonl.zst [--peer-python PATH]

Made-up corpora have a tenth of their documents in pairs of exactly known Jaccard similarity, 0.3 to 1; decided at 0.5 a
pair is dropped with the chance that the bands give it, and never below. Bytes moved, core-seconds and the memory's peak
(driver, JVM and workers together) are measured; the model of the bytes is in `moved_by_model`. A corpus takes 1,200
bytes of disk a document, under --folder, and is deleted after its turn. The peers are datatrove, all four steps, and
text-dedup's minhash, each with 14 bands of 8 rows over 5 words, in one process of their own interpreter.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from bench_minhash import read
from numpy.typing import NDArray

from redpajama_pipe import decisions, session
from redpajama_pipe.dedup.bands import lsh_probability
from redpajama_pipe.dedup.minhash import MinHashSpec, sign_batch
from redpajama_pipe.dedup.shingles import shingle_hashes
from redpajama_pipe.settings.dedup import Dedup

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SPEC = MinHashSpec()
WORDS = 100  # in a made-up document; 96 shingles, all different
PER_PART = 50_000
FLOOR, TOP, THRESHOLD = 0.3, 1.0, 0.5  # of planted pairs; what made-up corpora are decided at

DATATROVE = """
import json, sys, time
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup import (
    MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupFilter, MinhashDedupSignature)
from datatrove.pipeline.dedup.minhash import MinhashConfig
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import JsonlWriter
from datatrove.utils.hashing import HashConfig
folder = sys.argv[1]
config = MinhashConfig(hash_config=HashConfig(precision=64), n_grams=5, num_buckets=14, hashes_per_bucket=8)
reader = lambda: JsonlReader(folder + "/in")
steps = [
    (1, lambda: [reader(), MinhashDedupSignature(output_folder=folder + "/sig", config=config)]),
    (14, lambda: [MinhashDedupBuckets(folder + "/sig", folder + "/buckets", config=config)]),
    (1, lambda: [MinhashDedupCluster(folder + "/buckets", folder + "/remove", config=config, save_cluster_id=True)]),
    (1, lambda: [reader(), MinhashDedupFilter(folder + "/remove", JsonlWriter(folder + "/dropped", compression=None),
                                              load_cluster_ids=True),
                 JsonlWriter(folder + "/out", compression=None)]),
]
times = []
for number, (tasks, pipeline) in enumerate(steps):
    begin = time.monotonic()
    LocalPipelineExecutor(pipeline(), tasks=tasks, workers=1, logging_dir=folder + f"/log{number}").run()
    times.append(time.monotonic() - begin)
import glob
lines = {part: [json.loads(line) for path in glob.glob(folder + f"/{part}/*.jsonl") for line in open(path)]
         for part in ("out", "dropped")}
clusters = {line["id"]: line["metadata"]["minhash_cluster_id"] for part in lines.values() for line in part
            if line["metadata"].get("minhash_cluster_id", -1) >= 0}
kept = [line["id"] for line in lines["out"]]
json.dump({"times": times, "kept": kept, "clusters": clusters}, open(folder + "/result.json", "w"))
"""

TEXT_DEDUP = """
import json, pickle, subprocess, sys, time
from datasets import load_from_disk
folder = sys.argv[1]
command = [sys.executable, "-m", "text_dedup.minhash", "--path", "json", "--data_files", folder + "/in/00000.jsonl"]
command += ["--split", "train", "--cache_dir", folder + "/cache", "--output", folder + "/out", "--column", "text"]
command += ["--num_proc", "1", "--debug", *sys.argv[2:]]
begin = time.monotonic()
subprocess.run(command, check=True)
times = [time.monotonic() - begin]
union_find = pickle.load(open(folder + "/out/uf.pkl", "rb"))
clusters = {number: union_find.find(number) for number in list(union_find.parent)}
kept = list(load_from_disk(folder + "/out")["id"])
json.dump({"times": times, "kept": kept, "clusters": clusters}, open(folder + "/result.json", "w"))
"""

BANDS_AND_ROWS = ["--ngram", str(SPEC.shingle), "--num_perm", str(SPEC.num_perm)]
BANDS_AND_ROWS += ["--b", str(SPEC.bands), "--r", str(SPEC.rows)]  # of text-dedup, as datatrove has them by default
PEERS: dict[str, tuple[str, list[str]]] = {"datatrove": (DATATROVE, []), "text-dedup": (TEXT_DEDUP, BANDS_AND_ROWS)}


@dataclass(frozen=True)
class Corpus:
    """Documents and annotations on disk, as ingest leaves them; the last 8 bytes of an id are a document's number."""

    folder: Path
    documents: int
    megabytes: float
    sign_seconds: float


@dataclass(frozen=True)
class Outcome:
    """What a run of the stage did: document → (kept document, similarity)."""

    dropped: dict[int, tuple[int, float]]
    seconds: float
    core_seconds: float
    peak_gigabytes: float
    moved: int
    sha256: str  # of the decisions


@dataclass(frozen=True)
class PeerOutcome:
    """What a peer did with documents 0, 1, …: those in its output, and the cluster of each it joined to another."""

    kept: set[int]
    clusters: dict[int, int]
    seconds: list[float]  # of each step


def words_of(documents: NDArray[np.int64], shared: NDArray[np.int64], total: int) -> pa.Array:
    """Make texts; the first `shared` words of a document are those of its partner, the document total - 1 - number."""
    place = np.arange(WORDS)
    owner = np.where(place < shared[:, None], total - 1 - documents[:, None], documents[:, None])
    x = (owner * WORDS + place).astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((33, 0xFF51AFD7ED558CCD), (33, 0xC4CEB9FE1A85EC53), (33, 1)):
        x = (x ^ (x >> np.uint64(shift))) * np.uint64(factor)
    letters = np.full((len(documents), WORDS, 6), ord(" "), np.uint8)
    for letter in range(5):
        letters[:, :, letter] = ord("a") + ((x >> np.uint64(4 * letter)) & np.uint64(15))
    offsets = np.arange(len(documents) + 1, dtype=np.int32) * (WORDS * 6)
    return pa.Array.from_buffers(pa.string(), len(documents), [None, pa.py_buffer(offsets), pa.py_buffer(letters)])


def planted(total: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Draw the pairs: for documents 0 to total / 20, how many words are shared, and what Jaccard similarity that is."""
    wanted = np.random.default_rng(1).uniform(FLOOR, TOP, total // 20)
    shingles = WORDS - SPEC.shingle + 1
    common = np.clip(np.rint(2 * shingles * wanted / (1 + wanted)).astype(np.int64), 1, shingles - 1)
    return common + SPEC.shingle - 1, common / (2 * shingles - common)


def write_part(folder: Path, part: int, first: int, texts: pa.Array) -> float:
    """Write a document part and its annotations; returns the seconds that signing took."""
    numbers = np.arange(first, first + len(texts))
    ids = np.empty((len(texts), 16), np.uint8)
    ids[:, :8] = np.random.default_rng(part).integers(0, 256, (len(texts), 8))  # ids are not in the order of documents
    ids[:, 8:] = numbers.astype(">u8").view(np.uint8).reshape(-1, 8)
    doc_id = pa.array(list(map(bytes, ids)), pa.binary())
    (folder / "documents").mkdir(parents=True, exist_ok=True)
    (folder / "annotations").mkdir(exist_ok=True)
    name = f"part-{part:05d}"
    pq.write_table(
        pa.table({"doc_id": doc_id, "text": texts}),
        folder / "documents" / f"{name}.parquet",
        row_group_size=4096,
        compression="zstd",
        use_dictionary=False,
    )
    begin = time.process_time()
    signature = sign_batch(texts, SPEC)
    seconds = time.process_time() - begin
    columns = {
        "doc_id": doc_id,
        "source": pa.repeat("made up", len(texts)),
        "language": pa.repeat("en", len(texts)),
        "part": pa.repeat(name, len(texts)),
        "row": pa.array(np.arange(len(texts))),
        "signature": signature,
    }
    pq.write_table(pa.table(columns), folder / "annotations" / f"{name}.parquet", use_dictionary=["source", "part"])
    return seconds


def make(folder: Path, total: int) -> Corpus:
    """Write a made-up corpus."""
    shared = np.zeros(total, np.int64)
    shared[: total // 20] = planted(total)[0]
    sign_batch(pa.array(["one two three four five six"]), SPEC)  # compiles
    seconds = 0.0
    for part, first in enumerate(range(0, total, PER_PART)):
        numbers = np.arange(first, min(first + PER_PART, total))
        seconds += write_part(folder, part, first, words_of(numbers, shared[numbers], total))
    return Corpus(folder, total, total * WORDS * 6 / 1e6, seconds)


def store(folder: Path, texts: list[str]) -> Corpus:
    """Write a corpus of given texts."""
    sign_batch(pa.array(texts[:1]), SPEC)
    seconds = 0.0
    for part, first in enumerate(range(0, len(texts), 4_000)):
        seconds += write_part(folder, part, first, pa.array(texts[first : first + 4_000], pa.string()))
    return Corpus(folder, len(texts), sum(len(text.encode()) for text in texts) / 1e6, seconds)


def dedup(spark: SparkSession, corpus: Corpus, settings: Dedup) -> Outcome:
    """Run near-deduplication from the annotations on, decisions written."""
    from redpajama_pipe.dedup.near import near_duplicates

    folder, target = corpus.folder, str(corpus.folder / f"decisions-{time.monotonic_ns()}")
    documents = spark.read.parquet(str(folder / "annotations"))
    before, used, begin = shuffled(spark), family()[1], time.monotonic()
    with peak_memory() as peak:
        found = near_duplicates(
            documents, lambda part: pq.ParquetFile(folder / "documents" / f"{part}.parquet"), SPEC, settings
        )
        files = decisions.write(found, target, corpus.documents)
        seconds = time.monotonic() - begin
    core_seconds, moved = family()[1] - used, shuffled(spark) - before
    rows = pq.read_table(target, columns=["doc_id", "kept_doc_id", "similarity"]).to_pydict()
    each = zip(*(rows[name] for name in ("doc_id", "kept_doc_id", "similarity")), strict=True)
    dropped = {number_of(doc_id): (number_of(kept), similarity) for doc_id, kept, similarity in each}
    sha256 = hashlib.sha256("".join(file.sha256 for file in files).encode()).hexdigest()
    return Outcome(dropped, seconds, core_seconds, peak[0] / 1e9, moved, sha256)


def number_of(doc_id: bytes) -> int:
    """Read a document's number from its id."""
    return int.from_bytes(doc_id[8:], "big")


def shuffled(spark: SparkSession) -> int:
    """Return the bytes that shuffles have written so far, as Spark's own status says."""
    store = spark.sparkContext._jsc.sc().statusStore()
    executors = store.executorList(False)
    return sum(executors.apply(place).totalShuffleWrite() for place in range(executors.size()))


def moved_by_model(documents: int) -> int:
    """Bytes that shuffles write: an entry of 24 bytes, key and id, for each document and band.

    On top come the documents of components: twice the signature, then once 8 bytes a distinct shingle; and each
    document's signature once where these are too many to be sent to all. Ids compress here, since they end in a number.
    """
    return documents * SPEC.bands * 24


@contextmanager
def peak_memory() -> Iterator[list[int]]:
    """Watch the resident memory of this process and its descendants, shared pages counted once for each."""
    peak, done = [0], Event()

    def watch() -> None:
        while not done.wait(0.5):
            peak[0] = max(peak[0], family()[0])

    thread = Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()


def family() -> tuple[int, float]:
    """Add up the resident bytes, and the core-seconds so far, of this process and its descendants."""
    parents, sizes, times = {}, {}, {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            fields = Path(f"/proc/{entry}/stat").read_text().rsplit(")", 1)[1].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        parents[int(entry)], sizes[int(entry)] = int(fields[1]), int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
        times[int(entry)] = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")  # with those of ended children
    below = more = {os.getpid()}
    while more:
        more = {process for process, parent in parents.items() if parent in below} - below
        below = below | more
    return sum(sizes[process] for process in below), sum(times[process] for process in below)


def show_outcome(name: str, corpus: Corpus, outcome: Outcome) -> None:
    """Print one corpus."""
    documents = corpus.documents
    print(
        f"{name}: {documents:,} documents, {corpus.megabytes:,.0f} MB; {len(outcome.dropped):,} dropped in "
        f"{outcome.seconds:.1f} s ({documents / outcome.seconds:,.0f} documents/s), {outcome.core_seconds:.1f} core-s "
        f"and {corpus.sign_seconds:.1f} to sign; peak {outcome.peak_gigabytes:.2f} GB; moved "
        f"{outcome.moved / documents:,.0f} bytes a document, entries by the model "
        f"{moved_by_model(documents) / documents:,.0f}; decisions {outcome.sha256[:12]}; load {os.getloadavg()[0]:.1f}",
        flush=True,
    )


def check_made_up(corpus: Corpus, outcome: Outcome) -> None:
    """Print recall by similarity, and the false removals, of a made-up corpus."""
    jaccards = planted(corpus.documents)[1]
    total, found = corpus.documents, np.zeros(len(jaccards), bool)
    false = wrong = 0
    for document, (kept, similarity) in outcome.dropped.items():
        pair = min(document, total - 1 - document)
        if pair >= len(jaccards) or kept != total - 1 - document or jaccards[pair] < THRESHOLD:
            false += 1
        else:
            found[pair] = True
            wrong += similarity != jaccards[pair]
    for low in np.arange(THRESHOLD, TOP, 0.05):
        inside = (jaccards >= low) & (jaccards < low + 0.05)
        curve = np.mean([lsh_probability(each, SPEC.bands, SPEC.rows) for each in jaccards[inside]])
        recall = found[inside].mean()
        print(
            f"  {low:.2f} to {low + 0.05:.2f}: {inside.sum():7,} pairs, found {recall:.4f}, "
            f"by the bands {curve:.4f}, {100 * (recall - curve):+.2f} points, "
            f"chance alone {100 * np.sqrt(curve * (1 - curve) / max(1, inside.sum())):.2f}"
        )
    below = (jaccards < THRESHOLD).sum()
    print(f"  false removals: {false} ({below:,} planted pairs are below the threshold); wrong similarities: {wrong}")


def run_peer(python: str, script: str, settings: list[str], texts: list[str]) -> PeerOutcome:
    """Run a peer on texts, in a process of its own interpreter; raises RuntimeError with its last line if it fails."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "in").mkdir()
        lines = (json.dumps({"id": str(number), "text": text}) for number, text in enumerate(texts))
        (Path(folder) / "in" / "00000.jsonl").write_text("\n".join(lines) + "\n")
        ran = subprocess.run([python, "-c", script, folder, *settings], check=False, capture_output=True, text=True)
        if ran.returncode:
            raise RuntimeError(ran.stderr.strip().splitlines()[-1])
        result = json.loads((Path(folder) / "result.json").read_text())
    clusters = {int(number): int(cluster) for number, cluster in result["clusters"].items()}
    return PeerOutcome(set(map(int, result["kept"])), clusters, result["times"])


def compare(corpus: Corpus, texts: list[str], ours: Outcome, python: str) -> None:
    """Run the peers on the same documents and print times and what each drops."""
    mine, whole = set(ours.dropped), ours.seconds + corpus.sign_seconds
    for name, (script, settings) in PEERS.items():
        try:
            peer = run_peer(python, script, settings, texts)
        except RuntimeError as error:
            print(f"{name}: {error}")
            continue
        times, theirs = peer.seconds, set(range(len(texts))) - peer.kept
        print(
            f"{name}: {' + '.join(f'{seconds:.1f}' for seconds in times)} s to {whole:.1f} s here, signing with them: "
            f"{sum(times) / whole:.1f} times"
        )
        print(
            f"  dropped by both {len(mine & theirs):,}, here alone {len(mine - theirs):,}, there {len(theirs - mine):,}"
        )
        # why they differ: is what one alone drops like something else that stays there?
        explain("there", texts, theirs - mine, mine)
        explain("here", texts, mine - theirs, theirs)


def explain(where: str, texts: list[str], alone: set[int], dropped: set[int]) -> None:
    """Print how like what is dropped by one alone is to what stays with the other, over all pairs."""
    best = most_similar(texts, sorted(alone), sorted(set(range(len(texts))) - dropped))
    ranges = ((0.0, 0.5), (0.5, 0.7), (0.7, 0.8), (0.8, 1.01))
    shares = ", ".join(f"{low:g} to {min(1, high):g}: {sum(low <= x < high for x in best)}" for low, high in ranges)
    print(f"  dropped {where} alone, by the similarity with another that stays with the other: {shares}")


def most_similar(texts: list[str], asked: list[int], among: list[int]) -> list[float]:
    """Give each document's greatest Jaccard similarity with another of `among`, over all of them."""
    values, offsets = shingle_hashes(pa.array(texts, pa.large_string()), SPEC)
    sets = {number: values[offsets[number] : offsets[number + 1]] for number in {*asked, *among}}
    holders: dict[int, list[int]] = {}
    wanted = {int(value) for number in asked for value in sets[number].tolist()}
    for number in among:
        for value in wanted.intersection(sets[number].tolist()):
            holders.setdefault(value, []).append(number)
    best = []
    for number in asked:
        shared: dict[int, int] = {}
        for value in sets[number].tolist():
            for other in holders.get(value, ()):
                shared[other] = shared.get(other, 0) + 1
        shared.pop(number, None)
        size = len(sets[number])
        best.append(max((same / (size + len(sets[other]) - same) for other, same in shared.items()), default=0.0))
    return best


def main() -> None:
    """Print one block a corpus."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, nargs="*", default=[], help="sizes of made-up corpora")
    parser.add_argument("--data", help="JSON lines with a text, .zst or plain")
    parser.add_argument("--megabytes", type=float, default=1e6, help="how much of it")
    parser.add_argument("--peer-python", help="a Python that has datatrove[processing] and text-dedup")
    parser.add_argument("--master", default="local[2]")
    parser.add_argument("--memory", default="2g", help="of Spark's JVM")
    parser.add_argument("--folder", help="for what is made, and for Spark's own files; the system's temporary one")
    options = parser.parse_args()
    conf: dict[str, Any] = {"spark.driver.memory": options.memory}
    if options.folder:
        conf["spark.local.dir"] = options.folder
    spark = session.build("bench_dedup", options.master, conf)
    keep_order = Dedup(keep_order="", max_dropped_share=1.0)
    with tempfile.TemporaryDirectory(dir=options.folder) as scratch:
        dedup(spark, make(Path(scratch) / "warm", 2_000), keep_order)  # starts workers, loads kernels
        last: tuple[int, Outcome] | None = None
        for total in options.documents:
            begin = time.monotonic()
            corpus = make(Path(scratch) / str(total), total)
            print(f"made in {time.monotonic() - begin:.0f} s", flush=True)
            outcome = dedup(spark, corpus, replace(keep_order, threshold=THRESHOLD))
            show_outcome("made up", corpus, outcome)
            check_made_up(corpus, outcome)
            shutil.rmtree(corpus.folder)
            if last:
                print(
                    f"  {total / last[0]:.1f} times the documents in {outcome.seconds / last[1].seconds:.1f} times the "
                    f"time, {outcome.core_seconds / last[1].core_seconds:.1f} times the core-s"
                )
            last = total, outcome
        if options.data:
            texts = read(options.data, int(options.megabytes * 1e6))
            corpus = store(Path(scratch) / "data", texts)
            # the first of the file stays, as with text-dedup
            outcome = dedup(spark, corpus, replace(keep_order, keep_order="substr(doc_id, 9)"))
            show_outcome(Path(options.data).name, corpus, outcome)
            if options.peer_python:
                compare(corpus, texts, outcome, options.peer_python)
    spark.stop()


if __name__ == "__main__":
    main()
