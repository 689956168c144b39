"""The schedule at full scale: building and opening the index of Pythia's 1.5 epochs, against GPT-NeoX's own code.

    python benchmarks/bench_schedule.py                       a twentieth of it, under a minute
    python benchmarks/bench_schedule.py --documents 134318121 --steps 143000     all of it: 7 GB of memory, 4 GB of disk
    python benchmarks/bench_schedule.py --helpers FOLDER/helpers.cpython-311-x86_64-linux-gnu.so
    python benchmarks/bench_schedule.py --view FOLDER --documents 134318121 --steps 143000     what `view` takes on it

Lengths are drawn from a lognormal of mean 1,541 tokens (207 billion over the 134,318,121 documents of the deduplicated
Pile) and sigma 1.2, seed 1. Seconds are CPU seconds of one core, those of opening wall time. The peers run on the same
lengths, each in a process of its own, whose peak memory is said:

plain    megatron/data/gpt2_dataset.py as it stands: np.mgrid, RandomState.shuffle, _build_sample_idx in Python; on one
         document in a hundred, and extrapolated in proportion, which is in its favour: its arrays then fit the cache.
helpers  the same with build_sample_idx in C++. FILE is GPT-NeoX's compiled megatron/data/helpers.cpp, or
         helpers_cpp of the megatron-core wheel, which has the same loop.

Without --helpers, C++ is not measured. Equal arrays are checked, not assumed.

--view makes a run of that size in FOLDER, 50 bytes of disk a document, unless it is there: 384 shards, all hard links
to one; every document has 1,541 tokens of one sentence, and the two permutations are i → a * i + b, so the arrays and
their inverses are written as fast as the disk takes them. Each line is a process of its own, as a user starts it,
on a random step. Cold: the files' pages are dropped from the cache first, not those of Python and its libraries.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.machinery
import importlib.util
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from redpajama_pipe import manifest, schema, storage
from redpajama_pipe.settings.tokens import Schedule as Settings
from redpajama_pipe.settings.tree import to_tree
from redpajama_pipe.storage import File
from redpajama_pipe.tables import TableWriter
from redpajama_pipe.tokens.blend import requests
from redpajama_pipe.tokens.encode import open_encoder
from redpajama_pipe.tokens.indexed import CODES, HEADER, MAGIC
from redpajama_pipe.tokens.order import build_order, count_exposure, read_order, write_order
from redpajama_pipe.tokens.schedule import build_index, count_epochs, write_description
from redpajama_pipe.tokens.spec import TokenizerSpec
from redpajama_pipe.tokens.train import train_sentencepiece

DOCUMENTS, STEPS, BATCH, SEQ_LEN, SEED = 134_318_121, 143_000, 1024, 2048, 1234
MEAN, SIGMA = 1541, 1.2
DRAWN = 1 << 22  # lengths drawn, or entries written, at a time
SENTENCE = "the cat sat on the mat, and the dog looked at both of them"
SHARDS = 384  # 825 GB of text in shards of 2 GiB
FACTOR, SHIFT = 1_000_003, 12_345  # of the permutations; the factor is a prime


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
        row = int(part.stream.shuffle_idx[own])
        (first, _offset), (last, _end) = part.stream.sample_idx[row : row + 2].tolist()
        part.stream.doc_idx[first : last + 1].tolist()
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


def permute(places: NDArray[np.int64], count: int, back: bool = False) -> NDArray[np.int64]:
    """Permute 0 … count - 1 at some places, or say where each of them went."""
    if not back:
        return (places * FACTOR + SHIFT) % count
    found: NDArray[np.int64] = (places - SHIFT) % count
    factor = pow(FACTOR, -1, count)
    # in two steps: the inverse factor is as large as the count, and products of both pass 63 bits
    low, high = factor & 0xFFFF, factor >> 16
    return (found * high % count * 0x10000 + found * low) % count


def write_made(path: Path, shape: tuple[int, ...], dtype: str, fill: Callable[[NDArray[np.int64]], Any]) -> File:
    """Write an array whose rows follow from their numbers."""
    array = np.lib.format.open_memmap(path, "w+", np.dtype(dtype), shape, version=(1, 0))
    for first in range(0, shape[0], DRAWN):
        rows = np.arange(first, min(first + DRAWN, shape[0]))
        array[first : first + len(rows)] = fill(rows)
    array.flush()
    return File(path.name, path.stat().st_size, "0" * 64)


def write_made_shards(folder: Path, own: int, ids: NDArray[Any]) -> tuple[list[File], dict[str, Any]]:
    """Write one shard of so many documents, with its map and its part of documents, and link the others to it."""
    tokens, documents = folder / "tokens", folder / "documents"
    (tokens / "token_map").mkdir()
    sizes = np.full(own, MEAN, "<i4")
    with open(tokens / "shard-00000.idx", "wb") as index:
        index.write(HEADER.pack(MAGIC, 1, CODES[np.dtype("<u2")], own, own + 1))
        for piece in (sizes, np.arange(own, dtype="<i8") * 2 * MEAN, np.arange(own + 1, dtype="<i8")):
            index.write(piece.tobytes())
    document = np.resize(ids, MEAN).astype("<u2").tobytes()
    with open(tokens / "shard-00000.bin", "wb") as data:
        for _ in range(own):
            data.write(document)
    names = np.random.default_rng(1).bytes(16 * own)
    columns = {
        "doc_id": pa.array([names[16 * row : 16 * row + 16] for row in range(own)], pa.binary()),
        "shard": pa.array(np.zeros(own, np.int32)),
        "sequence": pa.array(np.arange(own)),
        "offset": pa.array(np.arange(own) * MEAN),
        "length": pa.array(sizes.astype(np.int64)),
        "source": pa.array(["pile"] * own),
        "subset": pa.array([("Pile-CC", "ArXiv", "Github")[row % 3] for row in range(own)]),
        "language": pa.array(["en"] * own),
        "part": pa.array([f"part-{row // 20_000:05}" for row in range(own)]),
        "row": pa.array(np.arange(own) % 20_000),
    }
    map_path = str(tokens / "token_map" / "shard-00000.parquet")
    with TableWriter(map_path, schema.TOKEN_MAP, plain=(schema.DOC_ID,)) as table:
        table.append(pa.RecordBatch.from_pydict(columns, schema=schema.TOKEN_MAP))
    described = pa.schema([("doc_id", pa.binary()), ("url", pa.string()), ("title", pa.string())])
    for first in range(0, own, 20_000):
        some = columns["doc_id"][first : first + 20_000]
        urls = [f"https://example.org/{first + row}/of/some/length.html" for row in range(len(some))]
        with TableWriter(str(documents / f"part-{first // 20_000:05}.parquet"), described, 4096) as table:
            table.append(pa.RecordBatch.from_arrays([some, pa.array(urls), pa.array(urls)], schema=described))
    manifest.write(str(documents), "ingest", {}, {}, {}, [])
    files, receipts = [], []
    for shard in range(SHARDS):
        for name in ("{}.bin", "{}.idx", "token_map/{}.parquet"):
            source, path = (tokens / name.format(f"shard-{number:05}") for number in (0, shard))
            if shard:
                os.link(source, path)
            files.append(File(str(path.relative_to(tokens)), path.stat().st_size, "0" * 64))
        receipts.append({"name": f"shard-{shard:05}", "sequences": own, "tokens": own * MEAN})
    return files, {"shards": receipts, "documents": own * SHARDS, "tokens": own * SHARDS * MEAN}


def make_view_run(folder: Path, documents: int, steps: int) -> None:
    """Write a run of joint_shuffle whose arrays follow from their places."""
    own, samples = documents // SHARDS, steps * BATCH
    documents, tokens = own * SHARDS, own * SHARDS * MEAN
    model = train_sentencepiece([SENTENCE] * 9, str(folder / "tokens" / "tokenizer"), 280)
    spec = TokenizerSpec("made", "sentencepiece", "this benchmark", "</s>", 2, trained=True)
    ids, _ = open_encoder(spec, model).encode_batch(pa.array([SENTENCE]))
    files, counts = write_made_shards(folder, own, ids)
    files.append(File("tokenizer.model", storage.size(model), "0" * 64))
    packed = manifest.write(str(folder / "tokens"), "tokenize", {}, {"spec": to_tree(spec)}, counts, files)
    epochs = count_epochs(tokens, SEQ_LEN, samples + 1)
    rows = (epochs * tokens - 1) // SEQ_LEN
    target = folder / "schedule" / "made"
    target.mkdir(parents=True)
    stem = f"train_0_indexmap_{samples + 1}ns_{SEQ_LEN}sl_{SEED}s"
    places = epochs * documents

    def positions(own_documents: NDArray[np.int64]) -> NDArray[np.int64]:
        copies = [permute(own_documents + epoch * documents, places, back=True) for epoch in range(epochs)]
        return np.sort(np.stack(copies, axis=1), axis=1)

    written = {
        "doc_idx": write_made(
            target / f"{stem}_doc_idx.npy", (places,), "<i4", lambda at: permute(at, places) % documents
        ),
        "sample_idx": write_made(
            target / f"{stem}_sample_idx.npy",
            (rows + 1, 2),
            "<i4",
            lambda at: np.stack(np.divmod(at * SEQ_LEN, MEAN), axis=1),
        ),
        "shuffle_idx": write_made(target / f"{stem}_shuffle_idx.npy", (rows,), "<u4", lambda at: permute(at, rows)),
    }
    inverse = [
        write_made(target / f"{stem}_position_idx.npy", (documents, epochs), "<i4", positions),
        write_made(target / f"{stem}_turn_idx.npy", (rows,), "<u4", lambda at: permute(at, rows, back=True)),
    ]
    described = {
        "seq_len": SEQ_LEN,
        "num_samples": samples + 1,
        "seed": SEED,
        "mode": "joint_shuffle",
        "epochs_in_stream": epochs,
        "turns": rows - 1,
        "epochs": 1.45,
        "steps": steps,
        "batch_size": BATCH,
        "samples": samples,
        "shards": [shard["name"] for shard in counts["shards"]],
        "files": {part: {"name": file.path, "sha256": file.sha256} for part, file in written.items()},
    }
    files = [write_description(target, described), *written.values(), *inverse]
    files = [File(f"made/{file.path}", file.bytes, file.sha256) for file in files]
    schedules = [{"epochs": 1.45, "mode": "joint_shuffle", "folder": "made", "steps": steps}]
    manifest.write(str(folder / "schedule"), "schedule", {"tokens": packed.hash}, {}, {"schedules": schedules}, files)


def drop_pages(folder: Path) -> None:
    """Drop the pages of a folder's files from the cache."""
    for path in folder.rglob("*"):
        if path.is_file():
            handle = os.open(path, os.O_RDONLY)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(handle)


def measure_views(folder: Path, steps: int) -> None:
    """Time the command on random steps; prints a line a kind of call."""
    random = np.random.default_rng()
    # a small process between: the peak memory of a child is at least that of the process that started it
    between = (
        "import resource as r, subprocess, sys; subprocess.run(sys.argv[1:], check=True);"
        "u = r.getrusage(r.RUSAGE_CHILDREN); print(u.ru_utime + u.ru_stime, u.ru_maxrss, file=sys.stderr)"
    )
    command = [sys.executable, "-c", between, sys.executable, "-m", "redpajama_pipe.cli", "view", str(folder), "--step"]
    for name, options, cold, rounds in (
        ("one row, cold", ["--row", "7"], True, 5),
        ("one row, warm", ["--row", "7"], False, 5),
        ("a batch, warm", [], False, 1),
    ):
        for _ in range(rounds):
            if cold:
                drop_pages(folder)
            arguments = [*command, str(random.integers(steps)), *options]
            begin = time.perf_counter()
            with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
                assert process.stdout is not None
                assert process.stderr is not None
                while not process.stdout.readline().startswith("row "):
                    assert process.poll() is None, "view failed"
                first = time.perf_counter() - begin
                process.stdout.read()
                processor, peak = map(float, process.stderr.read().split())
            print(
                f"{name:16} first row after {first:6.2f} s, all after {time.perf_counter() - begin:6.2f} s; "
                f"processor {processor:6.2f} s; peak {peak / 1024:5.0f} MiB",
                flush=True,
            )


def main() -> None:
    """Print one line a measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=DOCUMENTS // 20)
    parser.add_argument("--steps", type=int, default=STEPS // 20, help=f"of {BATCH} sequences of {SEQ_LEN}")
    parser.add_argument("--helpers", default="", metavar="FILE", help="compiled helpers of GPT-NeoX or Megatron-Core")
    parser.add_argument("--plain", type=int, default=100, help="plain Python runs on one document in so many; 0: never")
    parser.add_argument("--keep", metavar="FOLDER", help="write the schedule there and keep it")
    parser.add_argument("--view", type=Path, metavar="FOLDER", help="make a run there, if it is not there, and view it")
    options = parser.parse_args()
    if options.view:
        if not (options.view / "schedule" / manifest.NAME).exists():
            make_view_run(options.view, options.documents, options.steps)
        measure_views(options.view, options.steps)
        return
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
