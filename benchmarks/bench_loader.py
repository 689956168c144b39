"""The loader: tokens a second on one core at seq_len 2048, against the bare memory-map read of the same bytes.

    python benchmarks/bench_loader.py [--megatokens 200] [--documents 400] [--workers 1]

Memory-mapped shards in the page cache hold documents of lognormal lengths; the schedule is GPT-NeoX's. The peer
copies seq_len + 1 consecutive ids from a NumPy memory map at a random place and turns them into int64: what any loader
must do at least. With torch, DataLoader workers are measured too. Best of three rounds.
"""

from __future__ import annotations

import argparse
import importlib.util
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from redpajama_pipe import manifest
from redpajama_pipe.tokens.indexed import IndexedWriter, ShardedDataset
from redpajama_pipe.tokens.loader import TokenLoader, rank_batches
from redpajama_pipe.tokens.order import Order, Part, write_order
from redpajama_pipe.tokens.reader import SequenceReader, open_run
from redpajama_pipe.tokens.schedule import build_index, plan_steps

SEQ_LEN = 2048
BATCH = 32
SHARDS = 4


def write_run(folder: Path, tokens: int, mean: int) -> None:
    """Write shards and a schedule of one epoch."""
    random = np.random.default_rng(1)
    receipts = []
    for number in range(SHARDS):
        lengths = np.maximum(1, random.lognormal(np.log(mean) - 0.5, 1, tokens // mean // SHARDS)).astype(np.int64)
        with IndexedWriter(folder / "tokens" / f"shard-{number:05d}", np.dtype("<u2")) as writer:
            writer.append(random.integers(0, 50_277, lengths.sum(), dtype=np.uint16), lengths)
        receipts.append({"name": f"shard-{number:05d}", "sequences": len(lengths), "tokens": int(lengths.sum())})
    names = [receipt["name"] for receipt in receipts]
    total = sum(receipt["tokens"] for receipt in receipts)
    packed = manifest.write(str(folder / "tokens"), "tokenize", {}, {}, {"shards": receipts, "tokens": total}, [])
    plan = plan_steps(1, total, SEQ_LEN, BATCH)
    sizes = ShardedDataset([folder / "tokens" / name for name in names]).sizes
    index = build_index(sizes, SEQ_LEN, plan.num_samples, 1234)
    extra = {"epochs": 1.0, "steps": plan.steps, "samples": plan.samples, "batch_size": BATCH, "shards": names}
    write_order(folder / "schedule" / "1_epochs", Order((Part(index),)), extra)
    schedules = [{"epochs": 1.0, "folder": "1_epochs"}]
    manifest.write(str(folder / "schedule"), "schedule", {"tokens": packed.hash}, {}, {"schedules": schedules}, [])


def read_all(reader: SequenceReader) -> int:
    """Read every batch in this process."""
    return sum(reader.read(turns).size for turns in rank_batches(len(reader), BATCH))


def read_bare(paths: list[Path], count: int) -> Callable[[], int]:
    """Return a function that copies `count` runs of ids from random places."""
    maps = [np.asarray(np.memmap(path, np.uint16, "r")) for path in paths]
    random = np.random.default_rng(2)
    which = random.integers(0, len(maps), count).tolist()
    starts = random.integers(0, min(map(len, maps)) - SEQ_LEN - 1, count).tolist()

    def read() -> int:
        size = 0
        for first in range(0, count, BATCH):
            ids = np.empty((BATCH, SEQ_LEN + 1), np.int64)
            for row, shard, start in zip(ids, which[first : first + BATCH], starts[first : first + BATCH], strict=True):
                row[:] = maps[shard][start : start + SEQ_LEN + 1]
            size += ids.size
        return size

    return read


def rate(read: Callable[[], int], rounds: int = 3) -> float:
    """Return ids a second, the best of some rounds."""
    best = 0.0
    for _ in range(rounds):
        begin = time.perf_counter()
        size = read()
        best = max(best, size / (time.perf_counter() - begin))
    return best


def main() -> None:
    """Print one line a measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megatokens", type=float, default=200, help="how many tokens the shards hold")
    parser.add_argument("--documents", type=int, default=400, help="mean length of a document in tokens")
    parser.add_argument("--workers", type=int, default=1, help="DataLoader workers, where torch is installed")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_run(folder, int(options.megatokens * 1e6), options.documents)
        begin = time.perf_counter()
        reader = open_run(folder)
        opened = time.perf_counter() - begin
        pieces = np.mean([len(reader.pieces(turn)) for turn in range(0, len(reader), 101)])
        print(f"{len(reader):,} sequences of {SEQ_LEN}, {pieces:.1f} documents each; opened in {1000 * opened:.0f} ms")
        paths = [folder / "tokens" / f"{shard}.bin" for shard in reader.shards]
        bare = rate(read_bare(paths, len(reader)))
        ours = rate(lambda: read_all(reader))
        print(f"{'bare memory map':28} {bare / 1e6:8.1f} million tokens/s")
        print(f"{'SequenceReader':28} {ours / 1e6:8.1f} million tokens/s   {ours / bare:.2f} of the bare read")
        if importlib.util.find_spec("torch") is None:
            print("torch is not installed: DataLoader not measured")
            return

        def tensors() -> int:
            loader = TokenLoader(reader, workers=options.workers)
            return sum(batch["input_ids"].numel() for batch in loader)

        for workers in sorted({0, options.workers}):
            options.workers = workers
            through = rate(tensors)
            label = f"TokenLoader, {workers} workers"
            share = f"{through / max(1, workers) / bare:.2f} of the bare read a worker"
            print(f"{label:28} {through / 1e6:8.1f} million tokens/s   {share}")


if __name__ == "__main__":
    main()
