"""Tokens: megabytes of text a second from Arrow to .bin on one core, against Hugging Face tokenizers and others.

    python benchmarks/bench_tokens.py --data documents.jsonl.zst --tokenizer tokenizer.json [--spec gpt_neox_20b]
        [--megabytes 16] [--peer-megabytes 2] [--peer-python PYTHON]… [--curve 1,4,16,64] [--packing 200000]

Hugging Face tokenizers runs in this process on one thread; datatrove's DocumentTokenizer and dolma's tokenizer run in
the interpreters that have them (--peer-python may be given for each). Times are CPU seconds, the best of two rounds;
starting and loading are not counted. The curve encodes one growing document with both engines; --packing packs that
many documents of lognormal lengths into sequences of 2,048. What the loader reads a second is in bench_loader.py.
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

os.environ["TOKENIZERS_PARALLELISM"] = "false"

import numpy as np
import pyarrow as pa
import zstandard

from redpajama_pipe.tokens.encode import Encoder, Engine, open_encoder
from redpajama_pipe.tokens.indexed import IndexedWriter
from redpajama_pipe.tokens.packing import build_packed, count_packing, pack_documents
from redpajama_pipe.tokens.schedule import Plan
from redpajama_pipe.tokens.spec import TokenizerSpec, load_spec, token_dtype

BATCH_BYTES = 8 << 20
DATATROVE = """
import json, sys, tempfile, time
from datatrove.data import Document
from datatrove.pipeline.tokens import DocumentTokenizer
texts = json.load(open(sys.argv[1]))
with tempfile.TemporaryDirectory() as folder:
    stage = DocumentTokenizer(folder, sys.argv[2], eos_token=sys.argv[3], shuffle_documents=False)
    stage.tokenizer
    begin = time.process_time()
    stage.run(Document(text, str(at)) for at, text in enumerate(texts))
    print(time.process_time() - begin)
"""
DOLMA = """
import json, sys, time
import numpy
from dolma.tokenizer.tokenizer import Tokenizer
texts = json.load(open(sys.argv[1]))
tokenizer = Tokenizer.from_file(sys.argv[2], eos_token_id=int(sys.argv[4]), pad_token_id=int(sys.argv[4]))
begin = time.process_time()
for text in texts:
    numpy.array(tokenizer.encode(text, add_special_tokens=True), numpy.uint16)
print(time.process_time() - begin)
"""


def read_texts(path: Path, size: int) -> list[str]:
    """Read texts of JSON lines until there is enough, again from the beginning where there is not."""
    raw = path.read_bytes()
    if path.suffix == ".zst":
        raw = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(raw)).read()
    lines = raw.splitlines()
    texts: list[str] = []
    held = 0
    while held < size:
        for line in lines:
            texts.append(json.loads(line)["text"])
            held += len(texts[-1].encode())
            if held >= size:
                break
    return texts


def best(work: Callable[[], object], rounds: int = 2) -> float:
    """Return the least CPU seconds of some rounds."""
    found = []
    for _ in range(rounds):
        begin = time.process_time()
        work()
        found.append(time.process_time() - begin)
    return min(found)


def peer(name: str, script: str, pythons: list[str], arguments: list[str]) -> float | None:
    """Run a peer's script in the first interpreter that has it."""
    for python in pythons:
        if subprocess.run([python, "-c", f"import {name}"], capture_output=True, check=False).returncode == 0:
            done = subprocess.run([python, "-c", script, *arguments], capture_output=True, text=True, check=False)
            if done.returncode == 0:
                return float(done.stdout.split()[-1])
            print(f"{name}: {done.stderr.strip().splitlines()[-1]}")
            return None
    print(f"{name}: not installed (see --peer-python)")
    return None


def main() -> None:
    """Print one line a measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="JSON lines with a key text, plain or zstd")
    parser.add_argument("--tokenizer", type=Path, required=True, help="the tokenizer's file")
    parser.add_argument("--spec", default="gpt_neox_20b", help="its entry in tokenize/ (default: gpt_neox_20b)")
    parser.add_argument("--megabytes", type=float, default=16)
    parser.add_argument("--peer-megabytes", type=float, default=2)
    parser.add_argument("--peer-python", action="append", default=[], metavar="PYTHON")
    parser.add_argument("--curve", default="1,4,16,64", help="megabytes of one document; empty: none")
    parser.add_argument("--packing", type=int, default=200_000, help="documents; 0: none")
    options = parser.parse_args()
    spec = load_spec(options.spec)
    encoder = open_encoder(spec, options.tokenizer)
    texts = read_texts(options.data, int(options.megabytes * 1e6))
    with tempfile.TemporaryDirectory() as folder:
        ours = tokenise(encoder, spec, texts, Path(folder))
        print(f"{'ours, Arrow to .bin':34} {ours:8.1f} MB/s   ({encoder.engine})")
        few = read_texts(options.data, int(options.peer_megabytes * 1e6))
        size = sum(len(text.encode()) for text in few) / 1e6
        if spec.kind == "hf_json":
            from tokenizers import Tokenizer

            tokenizer = Tokenizer.from_file(str(options.tokenizer))
            rate = size / best(lambda: tokenizer.encode_batch_fast(few, add_special_tokens=False))
            print(f"{'Hugging Face tokenizers, 1 thread':34} {rate:8.1f} MB/s   ours is {ours / rate:.1f} times that")
        data = Path(folder) / "texts.json"
        data.write_text(json.dumps(few))
        arguments = [str(data), str(options.tokenizer), spec.eod, str(spec.eod_id)]
        for name, script in (("datatrove", DATATROVE), ("dolma", DOLMA)):
            seconds = peer(name, script, options.peer_python or [sys.executable], arguments)
            if seconds:
                print(f"{name:34} {size / seconds:8.1f} MB/s   ours is {ours * seconds / size:.1f} times that")
    if options.curve:
        curve(options, texts)
    if options.packing:
        pack(options.packing)


def tokenise(encoder: Encoder, spec: TokenizerSpec, texts: list[str], folder: Path) -> float:
    """Return megabytes a second from Arrow to a .bin with its .idx, end-of-document ids included."""
    array = pa.array(texts, pa.string())
    sizes = np.array([len(text.encode()) for text in texts])
    batches = np.searchsorted(np.cumsum(sizes), np.arange(0, sizes.sum(), BATCH_BYTES))
    borders = sorted({0, *batches.tolist(), len(texts)})

    def work() -> None:
        with IndexedWriter(folder / "shard", token_dtype(encoder.vocab_size)) as writer:
            for begin, end in itertools.pairwise(borders):
                ids, offsets = encoder.encode_batch(array.slice(begin, end - begin))
                full = np.diff(offsets) > 0
                ids = np.insert(ids, offsets[1:][full], spec.eod_id)
                writer.append(ids, (np.diff(offsets) + 1)[full])

    work()
    return float(sizes.sum()) / 1e6 / best(work)


def curve(options: argparse.Namespace, texts: list[str]) -> None:
    """Encode one document of growing size; the reference only up to 4 MB."""
    joined = "\n".join(texts)
    spec = load_spec(options.spec)
    names: tuple[Engine, ...] = ("gigatoken", "reference")
    engines = {name: open_encoder(spec, options.tokenizer, name) for name in names}
    for megabytes in map(float, options.curve.split(",")):
        text = (joined * (int(megabytes * 1e6) // len(joined) + 1))[: int(megabytes * 1e6)]
        array = pa.array([text], pa.large_string())
        size = len(text.encode()) / 1e6
        for name, encoder in engines.items():
            if name == "gigatoken" or megabytes <= 4:
                seconds = best(partial(encoder.encode_batch, array), 1)
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
                print(
                    f"one document of {size:6.1f} MB, {name:10} {seconds:8.3f} s "
                    f"{size / seconds:7.1f} MB/s  {peak:,.0f} MiB"
                )


def pack(documents: int) -> None:
    """Pack documents of lognormal lengths, mean 600 tokens."""
    sizes = np.maximum(1, np.random.default_rng(1).lognormal(np.log(600) - 0.5, 1, documents)).astype(np.int32)
    pack_documents(sizes[:10], 2048, "best_fit")
    seconds = best(lambda: pack_documents(sizes, 2048, "best_fit"))
    for packing in ("best_fit", "document"):
        counts = count_packing(build_packed(sizes, 2048, Plan(1, 1, 1), 1, "joint_shuffle", packing)[0], sizes)
        print(f"{packing:10} {counts.padding_share:.3%} padding, {counts.cut_share:.2%} of documents cut")
    print(f"best_fit   {documents / seconds / 1e6:.1f} million documents/s, {1e9 * seconds / documents:.0f} ns each")


if __name__ == "__main__":
    main()
