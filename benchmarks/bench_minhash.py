"""MinHash signatures: megabytes of text a second on one core, against datasketch.

    python benchmarks/bench_minhash.py [--data documents.jsonl.zst] [--megabytes 20] [--peer-python PATH]

datasketch signs a sample of the same documents, once from ready shingles and once from the text, with MinHash.bulk,
its fastest call, and with a MinHash made for each document, as its first examples do. With --peer-python, a Python that
has rensa and datatrove[processing], they do: rensa with shingles made in Python, datatrove's signature step with its
own words. Ratios are those of the sample, the rates above them those of all documents. Times are CPU seconds of the
process, the best of several rounds; the first call, which compiles or loads the kernels, stands on its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import time
from collections.abc import Callable

import datasketch
import numpy as np
import pyarrow as pa
from bench_signals import read

from redpajama_pipe.dedup.content import content_hash
from redpajama_pipe.dedup.minhash import MinHashSpec, sign, sign_batch
from redpajama_pipe.dedup.shingles import shingle_hashes

SPECS = {
    "default: words, affine32": MinHashSpec(),
    "words, affine64": MinHashSpec(scheme="affine64"),
    "words, legacy": MinHashSpec(scheme="legacy"),
    "words, datatrove_sha1": MinHashSpec(scheme="datatrove_sha1"),
    "words, datatrove": MinHashSpec(scheme="datatrove"),
    "none, affine32": MinHashSpec(normalization="none"),
    "none, legacy": MinHashSpec(normalization="none", scheme="legacy"),
    "RedPajama-V2: 13 words, 128 values": MinHashSpec(128, 13, "redpajama_v2", "redpajama_v2", 42, 9, 13),
}
PEER = "none, affine32"  # datasketch's default scheme, on the words that its examples take
OTHERS = """
import json, sys, time, tempfile
from importlib.metadata import version
texts = json.load(sys.stdin)
def shingles(text):
    words = text.split()
    return [" ".join(words[i : i + 5]) for i in range(len(words) - 4)]
def seconds(work, items):
    work(items[0])
    times = []
    for _ in range(3):
        begin = time.process_time()
        for item in items:
            work(item)
        times.append(time.process_time() - begin)
    return min(times)
found = {}
from rensa import RMinHash
def rensa(made):
    minhash = RMinHash(num_perm=112, seed=1)
    minhash.update(made)
    return minhash.digest()
found["rensa " + version("rensa") + ", shingles given"] = seconds(rensa, list(map(shingles, texts)))
found["rensa " + version("rensa") + ", from text"] = seconds(lambda text: rensa(shingles(text)), texts)
from datatrove.pipeline.dedup import MinhashDedupSignature
from datatrove.pipeline.dedup.minhash import MinhashConfig
from datatrove.utils.hashing import HashConfig
config = MinhashConfig(hash_config=HashConfig(precision=64), n_grams=5, num_buckets=14, hashes_per_bucket=8)
step = MinhashDedupSignature(output_folder=tempfile.mkdtemp(), config=config)
def datatrove(text):
    made = step.get_shingles(text)
    return step.get_signature(made) if made.size else None
found["datatrove " + version("datatrove") + ", from text"] = seconds(datatrove, texts)
print(json.dumps(found))
"""


def synthetic(most: int) -> list[str]:
    """Make English-like documents: 20,000 words with Zipf's frequencies, a few hundred a document, punctuation."""
    random = np.random.default_rng(1)
    letters = np.array(list("etaoinshrdlucmfwypvbgk"))
    vocabulary = np.array(["".join(random.choice(letters, size)) for size in random.integers(1, 12, 20_000)])
    ends = np.array(["", "", "", "", "", "", "", ",", ".", ".\n"])
    texts, size = [], 0
    while size < most:
        count = int(random.lognormal(6, 1))
        words = vocabulary[np.minimum(random.zipf(1.3, count), len(vocabulary)) - 1]
        texts.append(" ".join(map("".join, zip(words, random.choice(ends, count), strict=True))))
        size += len(texts[-1])
    return texts


def seconds(work: Callable[[], object], rounds: int = 5) -> float:
    """Time the best of several rounds."""
    best = float("inf")
    for _ in range(rounds):
        begin = time.process_time()
        work()
        best = min(best, time.process_time() - begin)
    return best


def shingles_in_python(document: str) -> list[bytes]:
    """Split, and join every five words."""
    words = document.split()
    return [" ".join(words[i : i + 5]).encode() for i in range(len(words) - 4)]


def datasketch_of(documents: list[list[bytes]]) -> list[datasketch.MinHash]:
    """Sign as `PEER` says, with datasketch's fastest call."""
    made: list[datasketch.MinHash] = datasketch.MinHash.bulk(documents, num_perm=112, seed=1, scheme="affine32")
    return made


def datasketch_one_by_one(documents: list[list[bytes]]) -> None:
    """Sign as `PEER` says, each document with a MinHash of its own."""
    for shingles in documents:
        datasketch.MinHash(num_perm=112, seed=1, scheme="affine32").update_batch(shingles)


def main() -> None:
    """Print one line a measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="JSON lines with a text, .zst or plain; without it, made-up text")
    parser.add_argument("--megabytes", type=float, default=20, help="how much text to sign")
    parser.add_argument("--peer-python", help="a Python that has rensa and datatrove[processing]")
    options = parser.parse_args()
    most = int(options.megabytes * 1e6)
    documents = read(options.data, most) if options.data else synthetic(most)
    texts = pa.array(documents, pa.large_string())
    megabytes = sum(len(document.encode()) for document in documents) / 1e6
    print(f"{len(documents):,} documents, {megabytes:.1f} MB")

    begin = time.process_time()
    sign_batch(texts[:1], MinHashSpec())
    print(f"first call: {time.process_time() - begin:.2f} s")

    rates = {}
    for name, spec in SPECS.items():
        rates[name] = megabytes / seconds(lambda spec=spec: sign_batch(texts, spec))  # type: ignore[misc]
        print(f"{name:36} {rates[name]:8.1f} MB/s")
    print(f"{'shingle sets':36} {megabytes / seconds(lambda: shingle_hashes(texts, MinHashSpec()), 3):8.1f} MB/s")
    print(f"{'content hash':36} {megabytes / seconds(lambda: content_hash(texts)):8.1f} MB/s")

    sample = documents[:: max(1, len(documents) // 300)]
    sampled = sum(len(document.encode()) for document in sample) / 1e6
    ready = list(map(shingles_in_python, sample))
    sampled_texts = pa.array(sample, pa.large_string())
    same = all(
        (row == each.hashvalues).all()
        for row, each in zip(sign(sampled_texts, SPECS[PEER]), datasketch_of(ready), strict=True)
    )
    peers = {
        "shingles given": lambda: datasketch_of(ready),
        "shingles given, one by one": lambda: datasketch_one_by_one(ready),
        "from text": lambda: datasketch_of(list(map(shingles_in_python, sample))),
    }
    # In turn, so that a busy machine slows both alike.
    spent, own = dict.fromkeys(peers, float("inf")), float("inf")
    for _ in range(5):
        own = min(own, seconds(lambda: sign_batch(sampled_texts, SPECS[PEER])))
        for name, peer in peers.items():
            spent[name] = min(spent[name], seconds(peer, 1))
    print(f"{len(sample):,} documents of these, {sampled:.1f} MB: {PEER} {sampled / own:.1f} MB/s")
    print(f"same signatures as datasketch: {same}")
    for name, best in spent.items():
        label = f"datasketch {datasketch.__version__}, {name}"
        print(f"{label:46} {sampled / best:6.1f} MB/s; {PEER} is {best / own:.1f} times as fast")
    if options.peer_python:
        command = [options.peer_python, "-c", OTHERS]
        answer = subprocess.run(command, input=json.dumps(sample), capture_output=True, text=True, check=True).stdout
        for name, best in json.loads(answer.splitlines()[-1]).items():
            print(f"{name:46} {sampled / best:6.1f} MB/s; {PEER} is {best / own:.1f} times as fast")


if __name__ == "__main__":
    main()
