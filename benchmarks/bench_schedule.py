"""The schedule at full scale: building and opening the index of Pythia's 1.5 epochs, against GPT-NeoX's own code.

    python benchmarks/bench_schedule.py                       a twentieth of it, under a minute
    python benchmarks/bench_schedule.py --documents 134318121 --steps 143000     all of it: 7 GB of memory, 4 GB of disk
    python benchmarks/bench_schedule.py --helpers FOLDER/helpers.cpython-311-x86_64-linux-gnu.so

Lengths are drawn from a lognormal of mean 1,541 tokens (207 billion over the 134,318,121 documents of the deduplicated
Pile) and sigma 1.2, seed 1. Seconds are CPU seconds of one core, those of opening wall time. The peers run on the same
lengths, each in a process of its own, whose peak memory is said:

plain    megatron/data/gpt2_dataset.py as it stands: np.mgrid, RandomState.shuffle, _build_sample_idx in Python; on one
         document in a hundred, and extrapolated in proportion, which is in its favour: its arrays then fit the cache.
helpers  the same with build_sample_idx in C++. FILE is GPT-NeoX's compiled megatron/data/helpers.cpp, or
         helpers_cpp of the megatron-core wheel, which has the same loop.

Without --helpers, C++ is not measured. Equal arrays are checked, not assumed.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.machinery
import importlib.util
import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from redpajama_pipe.recipe import Schedule as Settings
from redpajama_pipe.tokens.blend import requests
from redpajama_pipe.tokens.order import build_order, count_exposure, read_order, write_order
from redpajama_pipe.tokens.schedule import build_index, count_epochs

DOCUMENTS, STEPS, BATCH, SEQ_LEN, SEED = 134_318_121, 143_000, 1024, 2048, 1234
MEAN, SIGMA = 1541, 1.2
DRAWN = 1 << 22  # lengths drawn at a time


def draw_sizes(documents: int) -> NDArray[np.int32]:
    """Draw the documents' lengths."""
    random = np.random.default_rng(1)
    sizes = np.empty(documents, np.int32)
    for first in range(0, documents, DRAWN):
        block = sizes[first : first + DRAWN]
        block[:] = np.maximum(1, random.lognormal(np.log(MEAN) - SIGMA**2 / 2, SIGMA, len(block)))
    return sizes


def build_ours(documents: int, samples: int, _: str) -> tuple[float, str]:
    """Build the index as the package does; returns seconds and the arrays' checksum."""
    sizes = draw_sizes(documents)
    build_index(sizes[:100_000], SEQ_LEN, 10, 1)  # kernels are compiled, or come from the cache
    begin = time.process_time()
    index = build_index(sizes, SEQ_LEN, samples, SEED)
    return time.process_time() - begin, checksum(index.doc_idx, index.sample_idx, index.shuffle_idx)


def build_peer(documents: int, samples: int, helpers: str) -> tuple[float, str]:
    """Build the index with GPT-NeoX's steps; sample_idx in C++ where there is some, else in Python."""
    sizes = draw_sizes(documents)
    tokens = int(sizes.sum(dtype=np.int64))
    begin = time.process_time()
    epochs = count_epochs(tokens, SEQ_LEN, samples)
    generator = np.random.RandomState(SEED)
    grid = np.mgrid[0:epochs, 0:documents][1]
    grid[:] = np.arange(documents, dtype=np.int32)
    doc_idx = grid.reshape(-1).astype(np.int32)
    del grid
    generator.shuffle(doc_idx)
    sample_idx = sample_index(helpers)(sizes, doc_idx, epochs, tokens)
    shuffle_idx = np.arange(len(sample_idx) - 1, dtype=np.uint32)
    generator.shuffle(shuffle_idx)
    return time.process_time() - begin, checksum(doc_idx, sample_idx, shuffle_idx)


def sample_index(helpers: str) -> Callable[..., NDArray[Any]]:
    """Return a function that fills sample_idx."""
    if not helpers:
        return plain_sample_index
    name = Path(helpers).name.partition(".")[0]
    loader = importlib.machinery.ExtensionFileLoader(name, helpers)
    spec = importlib.util.spec_from_loader(name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)

    def fill(sizes: NDArray[np.int32], doc_idx: NDArray[np.int32], epochs: int, tokens: int) -> NDArray[Any]:
        if hasattr(module, "build_sample_idx"):
            found: NDArray[Any] = module.build_sample_idx(sizes, doc_idx, SEQ_LEN, epochs, tokens)
            return found
        found = module.build_sample_idx_int32(sizes, doc_idx, SEQ_LEN, epochs, tokens, True, 1)
        return found.reshape(-1, 2)

    return fill


def plain_sample_index(
    sizes: NDArray[np.int32], doc_idx: NDArray[np.int32], epochs: int, tokens: int
) -> NDArray[np.int32]:
    """Walk the documents in Python, as the function that GPT-NeoX's C++ stands for."""
    sample_idx = np.zeros(((epochs * tokens - 1) // SEQ_LEN + 1, 2), np.int32)
    position, offset = 0, 0
    for row in range(1, len(sample_idx)):
        need = SEQ_LEN + 1
        while need:
            left = sizes[doc_idx[position]] - offset
            need -= left
            if need <= 0:
                offset += need + left - 1
                need = 0
            else:
                position += 1
                offset = 0
        sample_idx[row] = position, offset
    return sample_idx


def checksum(*arrays: NDArray[Any]) -> str:
    """Hash arrays."""
    found = hashlib.sha256()
    for array in arrays:
        found.update(array.data.cast("B"))
    return found.hexdigest()


def write_and_count(documents: int, samples: int, folder: str) -> tuple[float, str]:
    """Build, count exposures, and write; returns the seconds of counting and writing."""
    sizes = draw_sizes(documents)
    order, _plan = build_order(sizes, Settings(steps=samples // BATCH), None)
    begin = time.process_time()
    seen = np.bincount(count_exposure(order, sizes, samples).first_token, minlength=3) / documents
    write_order(folder, order)
    seconds = time.process_time() - begin
    shares = ", ".join(f"{times} times {100 * share:.2f} %" for times, share in enumerate(seen.tolist()))
    return seconds, f"documents read {shares}"


def open_order(_: int, samples: int, folder: str) -> tuple[float, str]:
    """Open what was written, and look up 10,000 turns; returns the seconds to open."""
    before = resident()
    begin = time.perf_counter()
    order, _described = read_order(folder)
    opened = time.perf_counter() - begin
    held = resident() - before
    begin = time.process_time()
    for turn in np.random.default_rng(2).integers(0, samples, 10_000).tolist():
        part, own = order.locate(turn)
        row = int(part.schedule.shuffle_idx[own])
        (first, _offset), (last, _end) = part.schedule.sample_idx[row : row + 2].tolist()
        part.schedule.doc_idx[first : last + 1].tolist()
    seconds = time.process_time() - begin
    return opened, f"{held / 2**20:.1f} MiB more in memory; 10,000 random turns located in {seconds:.2f} s"


def resident() -> int:
    """Return the bytes that this process holds in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def build_blend(documents: int, samples: int, _: str) -> tuple[float, str]:
    """Build a blend of three interleaved sources."""
    sizes = draw_sizes(documents)
    labels = (np.arange(documents) % 3).astype(np.uint8)
    settings = Settings(steps=samples // BATCH, blend={"a": 0.5, "b": 0.3, "c": 0.2})
    begin = time.process_time()
    order, plan = build_order(sizes, settings, None, labels)
    counts = ", ".join(f"{count:,}" for count in order.count_turns(plan.samples))
    return time.process_time() - begin, f"{counts} turns"


def _child(function: Callable[[int, int, str], tuple[float, str]], arguments: tuple[int, int, str], pipe: Any) -> None:
    seconds, said = function(*arguments)
    pipe.send((seconds, said, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20))


def measure(
    name: str, function: Callable[[int, int, str], tuple[float, str]], *arguments: Any
) -> tuple[float, str, float]:
    """Run a function in a process of its own and print one line; returns seconds, what it said, and peak GiB."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(function, arguments, theirs))
    process.start()
    theirs.close()
    seconds, said, peak = ours.recv()
    process.join()
    shown = said if " " in said else ""
    print(f"{name:34} {seconds:9.2f} s   peak {peak:5.2f} GiB   {shown}".rstrip(), flush=True)
    return seconds, said, peak


def main() -> None:
    """Print one line a measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=DOCUMENTS // 20)
    parser.add_argument("--steps", type=int, default=STEPS // 20, help=f"of {BATCH} sequences of {SEQ_LEN}")
    parser.add_argument("--helpers", default="", metavar="FILE", help="compiled helpers of GPT-NeoX or Megatron-Core")
    parser.add_argument("--plain", type=int, default=100, help="plain Python runs on one document in so many; 0: never")
    parser.add_argument("--keep", metavar="FOLDER", help="write the schedule there and keep it")
    options = parser.parse_args()
    documents, read = options.documents, options.steps * BATCH
    (samples,) = requests([1.0], read, "joint_shuffle")
    print(f"{documents:,} documents, {read:,} sequences of {SEQ_LEN}, {samples:,} asked for")
    ours, hashed, peak = measure("build_index", build_ours, documents, samples, "")
    if options.helpers:
        seconds, theirs, theirs_peak = measure("GPT-NeoX, C++", build_peer, documents, samples, options.helpers)
        assert theirs == hashed, "the arrays differ"
        print(f"{'':34} {seconds / ours:.1f} times as long, {theirs_peak / peak:.1f} times the memory; equal arrays")
    if options.plain:
        small = documents // options.plain, samples // options.plain
        seconds, theirs, _ = measure(f"plain Python, 1/{options.plain}", build_peer, *small, "")
        begin, own, _ = measure(f"build_index, 1/{options.plain}", build_ours, *small, "")
        assert theirs == own, "the arrays differ"
        print(f"{'':34} {seconds / begin:.0f} times as long; extrapolated to all: {seconds * options.plain:,.0f} s")
    measure("blend of 3 sources", build_blend, documents, read, "")
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or temporary
        measure("exposure and writing", write_and_count, documents, read, folder)
        measure("opening", open_order, documents, read, folder)


if __name__ == "__main__":
    main()
