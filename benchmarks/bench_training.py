"""The training loop: step time, tokens a second, MFU and the share of a step that waits for data, on this machine.

    python benchmarks/bench_training.py [--model pythia_14m] [--batch 4] [--micro-batch 1] [--steps 8]

The run is made on the spot: random ids in documents of lognormal lengths. The peer is the barest loop that makes the
same updates, transformers' model and torch's AdamW on one batch that is in memory already, so the ratio is what loader,
checks, metrics and learning rates cost. MFU counts 6 N + 12 layers * d_model * seq_len operations a token (PaLM,
appendix B) over the device's dense bf16 peak; without a known peak it is left out: give --peak-tflops.
Medians over the steps after the first two. Under torchrun the peer is left out.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median

import torch
from bench_loader import SEQ_LEN, write_run  # beside this file

from redpajama_pipe.tokens.loader import INPUT_IDS
from redpajama_pipe.training import metrics, models
from redpajama_pipe.training.devices import accumulating, autocast, distribute, machine, open_world
from redpajama_pipe.training.loop import Settings, train
from redpajama_pipe.training.validation import token_loss

WARM = 2


def bare_loop(model: models.Model, batch: int, steps: int) -> float:
    """Return the median seconds of a step of the barest loop."""
    training = model.training
    with open_world(training.device) as world:
        net = models.build(model.architecture, seed=training.seed).train()
        forward = distribute(net, training, world)
        optimiser = torch.optim.AdamW(models.decay_groups(net, training.weight_decay), fused=world.is_gpu)
        if training.compile:
            forward.compile()
        ids = torch.randint(0, model.architecture.vocab_size, (training.micro_batch, SEQ_LEN + 1), device=world.device)
        micro_steps, seconds = batch // training.micro_batch, []
        for _ in range(steps):
            began = time.perf_counter()
            for micro in range(micro_steps):
                with accumulating(forward, micro == micro_steps - 1):
                    with autocast(training.precision, world):
                        loss = token_loss(forward, {INPUT_IDS: ids})
                    (loss / (batch * SEQ_LEN)).backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), training.clip)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            if world.is_gpu:
                torch.cuda.synchronize(world.device)
            seconds.append(time.perf_counter() - began)
    return median(seconds[WARM:])


def main() -> None:
    """Print one line a measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="pythia_14m", help="an entry of conf/models")
    parser.add_argument("--batch", type=int, default=4, help="sequences a step, of all ranks")
    parser.add_argument("--micro-batch", type=int, default=1, help="sequences a rank and forward pass")
    parser.add_argument("--steps", type=int, default=8, help="steps, the first two are not counted")
    parser.add_argument("--workers", type=int, default=2, help="loader processes")
    parser.add_argument("--peak-tflops", type=float, help="dense peak of a device, for MFU")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as pretrain's")
    options = parser.parse_args()
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
    model = models.load(options.model, [*sets, *options.set])
    with tempfile.TemporaryDirectory() as name:
        run = Path(name, "run")
        tokens = max(2_000_000, 2 * options.batch * SEQ_LEN * options.steps)
        write_run(run, tokens, 400)
        with open_world(model.training.device) as world:
            place, alone, main_rank = machine(world), world.size == 1, world.rank == 0
        result = train(Settings(str(run), str(Path(name, "out")), model, quiet=True))
        rows = metrics.read(str(Path(name, "out")))[WARM:] if main_rank else []
    if not main_rank:
        return
    step = median(row["seconds"] for row in rows)
    mfu = median(row["mfu"] for row in rows) if rows[0]["mfu"] is not None else None
    wait = sum(row["data_wait"] * row["seconds"] for row in rows) / sum(row["seconds"] for row in rows)
    print(f"{place}\n{options.model}: {options.batch} × {SEQ_LEN} tokens a step, micro-batch {options.micro_batch}")
    print(f"{'step':24} {step:10.3f} s")
    print(f"{'tokens':24} {options.batch * SEQ_LEN / step:10,.0f} a second")
    print(f"{'MFU':24} {f'{100 * mfu:10.1f} %' if mfu is not None else '  not known: give --peak-tflops'}")
    print(f"{'waiting for data':24} {100 * wait:10.2f} % of a step")
    print(f"{'memory':24} {rows[-1]['memory_bytes'] / 1e9:10.2f} GB at most")
    if alone:
        bare = bare_loop(model, options.batch, options.steps)
        print(f"{'barest loop':24} {bare:10.3f} s a step; ours takes {step / bare:.3f} of it")
    print(f"{'last loss':24} {result.loss:10.3f}")


if __name__ == "__main__":
    main()
