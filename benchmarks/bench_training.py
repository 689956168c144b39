"""The training loop: step time, tokens a second, MFU and the share of a step that waits for data, on this machine.

    python benchmarks/bench_training.py [--model pythia_14m …] [--batch 4] [--micro-batch 1] [--steps 8]

The run is made on the spot: random ids in documents of lognormal lengths. The peer is the barest loop that makes the
same updates, transformers' model and torch's AdamW on one batch that is in memory already, so the ratio is what loader,
checks, metrics and learning rates cost. MFU counts 6 N + 12 layers * d_model * seq_len operations a token (PaLM,
appendix B) over the device's dense bf16 peak; of a CPU, over the fp32 matrix products that it is seen to do, or
--peak-tflops. On a CPU seconds are the processor's, which other work on the machine disturbs little; waiting is by the
clock everywhere. Medians over the steps after the first two. The last lines are rows for docs/benchmarks.md. Under
torchrun the peer is left out. Activations are kept, unless --set training.activation_checkpointing=true, then by both.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
from bench_loader import SEQ_LEN, write_run  # beside this file

from redpajama_pipe.arguments import guarded
from redpajama_pipe.tokens.reader import INPUT_IDS
from redpajama_pipe.training import loop, models
from redpajama_pipe.training.devices import (
    World,
    accumulating,
    autocast,
    computes_in_bf16,
    distribute,
    less_memory,
    machine,
    open_world,
    peak_flops,
    within_memory,
)
from redpajama_pipe.training.loop import Settings
from redpajama_pipe.training.validation import token_loss

WARM = 2
HEADER = (
    "| machine | model | sequences a step (at a time) | step, s | tokens a second | MFU | waiting | memory, GB "
    "| against the barest loop |"
)


def measured_peak(size: int = 2048, rounds: int = 40) -> float:
    """Return the TFLOP a processor second of the fastest of some fp32 matrix products: no data sheet says it."""
    left, right = torch.randn(size, size), torch.randn(size, size)
    best = float("inf")
    for _ in range(rounds):
        began = clock(False)
        left @ right
        best = min(best, clock(False) - began)
    return 2 * size**3 / best / 1e12


def load() -> str:
    """Say how many cores there are, and what else runs on them."""
    return f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"


def clock(is_gpu: bool) -> float:
    """Return seconds: of this process's threads, or by the clock where a GPU works."""
    return time.perf_counter() if is_gpu else time.process_time()


def our_loop(settings: Settings, world: World) -> tuple[list[dict[str, Any]], list[float]]:
    """Return what the training loop says of its steps, and the seconds of each."""
    rows, seconds = [], []
    began = clock(world.is_gpu)
    for row in loop._Run(settings, world)._steps():
        rows.append(row)
        seconds.append(clock(world.is_gpu) - began)
        began = clock(world.is_gpu)
    return rows[WARM:], seconds[WARM:]


def bare_loop(model: models.Model, batch: int, steps: int, world: World) -> list[float]:
    """Return the seconds of each step of the barest loop."""
    training = model.training
    net = models.build(model.architecture, seed=training.seed).train()
    if training.activation_checkpointing:
        loop.recompute_activations(net)
    if training.compile:
        loop.compile_layers(net)
    forward = distribute(net, training, world)
    optimiser = torch.optim.AdamW(models.decay_groups(net, training.weight_decay), fused=world.is_gpu)
    ids = torch.randint(0, model.architecture.vocab_size, (training.micro_batch, SEQ_LEN + 1), device=world.device)
    micro_steps, seconds = batch // training.micro_batch, []
    for _ in range(steps):
        began = clock(world.is_gpu)
        for micro in range(micro_steps):
            with accumulating(forward, micro == micro_steps - 1):
                with autocast(training.precision, world):
                    loss = token_loss(forward, {INPUT_IDS: ids}, training.compile)
                (loss / (batch * SEQ_LEN)).backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), training.clip)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        if world.is_gpu:
            torch.cuda.synchronize(world.device)
        seconds.append(clock(world.is_gpu) - began)
    return seconds[WARM:]


def main() -> None:
    """Print one line a measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--model", nargs="+", default=["pythia_14m"], help="entries of conf/models, one after the other"
    )
    parser.add_argument("--batch", type=int, default=4, help="sequences a step, of all ranks")
    parser.add_argument(
        "--micro-batch", type=int, default=1, help="sequences a rank and forward pass; less of a GPU's memory: fewer"
    )
    parser.add_argument("--steps", type=int, default=8, help="steps, the first two are not counted")
    parser.add_argument("--workers", type=int, default=2, help="loader processes")
    parser.add_argument("--peak-tflops", type=float, help="dense peak of a device, for MFU")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as pretrain's")
    options = parser.parse_args()
    if options.steps <= WARM:
        parser.error(f"--steps {options.steps}: the first {WARM} are not counted; give more")
    sets = [
        f"training.batch_size={options.batch}",
        f"training.micro_batch={options.micro_batch}",
        f"training.steps={options.steps}",
        f"training.workers={options.workers}",
        f"training.peak_tflops={options.peak_tflops or 'null'}",
        "training.checkpoint_steps=[]",
        "training.checkpoint_every=0",
        "training.activation_checkpointing=false",
    ]
    sys.exit(
        guarded(
            lambda: measure_all(options, {name: models.load(name, [*sets, *options.set]) for name in options.model})
        )
    )


def measure_all(options: argparse.Namespace, wanted: dict[str, models.Model]) -> None:
    """Measure one model after the other, and print the rows of those that were."""
    table: list[str] = []
    first = next(iter(wanted.values())).training
    with open_world(first.device) as world:
        try:
            for name, model in wanted.items():
                with within_memory(world.device, less_memory(model.training)):
                    row = measure(options, name, model, world)
                if world.rank == 0:
                    table.append(f"| {' | '.join(row)} |")
        finally:
            if table:
                print(f"\n{HEADER}\n" + "\n".join(table))


def measure(options: argparse.Namespace, name: str, model: models.Model, world: World) -> tuple[str, ...]:
    """Run both loops; returns the cells of a row for docs/benchmarks.md, on rank 0."""
    if world.is_gpu:
        torch.cuda.reset_peak_memory_stats(world.device)  # of a process's memory on a CPU it is the most it ever held
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder, "run")
        write_run(run, max(2_000_000, 2 * options.batch * SEQ_LEN * options.steps), 400)
        rows, ours = our_loop(Settings(str(run), str(Path(folder, "out")), model, quiet=True), world)
    gc.collect()  # the first model and its optimiser
    bare = median(bare_loop(model, options.batch, options.steps, world)) if world.size == 1 else None
    gc.collect()
    return tell(options, name, model, world, rows, ours, bare) if world.rank == 0 else ()


def tell(
    options: argparse.Namespace,
    name: str,
    model: models.Model,
    world: World,
    rows: list[dict[str, Any]],
    ours: list[float],
    bare: float | None,
) -> tuple[str, ...]:
    """Print what was measured of a model, and return its row."""
    is_gpu, training = world.is_gpu, model.training
    place = machine(world) if is_gpu else f"{machine(world)}, {load()}"
    peak = peak_flops(options.peak_tflops, world)
    if peak is None and not is_gpu:
        peak = 1e12 * measured_peak()
        print(f"{'fp32 matrix product':24} {peak / 1e12:10.3f} TFLOP a processor second, which MFU is counted against")
    # on GPUs of several ranks by the clock; on a CPU of this rank's part, by its processor time
    ranks = world.size
    tokens = options.batch * SEQ_LEN // (1 if is_gpu else ranks)
    step, unit = median(ours), "s" if is_gpu else "processor s"
    flops = models.flops_per_token(model.architecture, SEQ_LEN) * tokens / step / (ranks if is_gpu else 1)
    mfu = f"{100 * flops / peak:.1f} %" if peak else "–"
    seconds = [row["seconds"] for row in rows]
    wait = f"{100 * sum(row['data_wait'] * row['seconds'] for row in rows) / sum(seconds):.2f} %"
    rate = f"{tokens / step:,.0f}"
    how = [
        "bf16" if computes_in_bf16(training.precision, world) else "fp32",
        *(["compiled"] if training.compile else []),
        *(["activations computed again"] if training.activation_checkpointing else []),
        *([training.strategy] if ranks > 1 else []),
    ]
    place += f", {', '.join(how)}"
    print(f"{place}\n{name}: {options.batch} × {SEQ_LEN} tokens a step, micro-batch {options.micro_batch}")
    print(f"{'step':24} {step:10.3f} {unit}, {median(seconds):.3f} s by the clock")
    print(f"{'tokens':24} {rate:>10} a {unit}")
    print(f"{'MFU':24} {mfu:>10}{'' if peak else '  give --peak-tflops: this device is not in PEAK_TFLOPS'}")
    print(f"{'waiting for data':24} {wait:>10} of a step")
    memory = f"{rows[-1]['memory_bytes'] / 1e9:.1f}"
    print(f"{'memory':24} {memory:>10} GB at most")
    ratio = "–"
    if bare is not None:
        ratio = f"{step / bare:.3f}"
        print(f"{'barest loop':24} {bare:10.3f} {unit}; ours takes {ratio} of it")
    print(f"{'last loss':24} {rows[-1]['loss']:10.3f}")
    size = f"{options.batch} ({options.micro_batch})"
    return place, name, size, f"{step:.2f}", rate, mfu, wait, memory, ratio


if __name__ == "__main__":
    main()
