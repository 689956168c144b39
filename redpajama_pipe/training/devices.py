"""Where training runs: this process alone, or the ranks that torchrun started, on GPUs (NCCL) or CPUs (gloo).

torch's own DistributedDataParallel and fully_shard (FSDP2) do the work, torchrun starts the processes: there is no
other launcher to learn, and a run on one device uses none of it. Every rank makes the same initial weights from the
seed on its CPU, 4 bytes a parameter, before fully_shard moves its part to the device layer by layer.
"""

from __future__ import annotations

import os
import re
import resource
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

import torch
import torch.distributed as dist

from redpajama_pipe.errors import PipelineError, SetupError
from redpajama_pipe.report import figures
from redpajama_pipe.training.options import Training

# Dense bf16 peaks in TFLOP/s, by words of the device's name; from NVIDIA's data sheets. The first match counts.
PEAK_TFLOPS = {
    "H200 NVL": 835.0,
    "H200": 989.0,
    "GH200": 989.0,
    "H100 NVL": 835.0,
    "H100 PCIe": 756.0,
    "H100": 989.0,
    "A100": 312.0,
    "L40S": 362.0,
    "L40": 181.0,
    "L4": 121.0,
    "A40": 149.7,
    "A30": 165.0,
    "A10G": 70.0,
    "A10": 125.0,
}

# The longest that ranks wait for each other: rank 0 alone writes, hashes and reads checkpoints of up to 142 GB, which
# NCCL's own 10 minutes need not be enough for.
PATIENCE = timedelta(hours=1)


@dataclass(frozen=True)
class World:
    """The processes that train together.

    Attributes:
        rank: of this process; rank 0 writes.
        size: how many there are.
        device: of this process.
    """

    rank: int
    size: int
    device: Any

    @property
    def is_gpu(self) -> bool:
        return bool(self.device.type == "cuda")

    def barrier(self) -> None:
        """Wait for all ranks."""
        if self.size > 1:
            dist.barrier()

    def sum(self, *values: float) -> list[float]:
        """Add up some numbers over all ranks."""
        if self.size == 1:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(total)
        summed: list[float] = total.tolist()
        return summed

    def gather(self, value: Any) -> list[Any]:
        """Collect a small object of each rank, in order, on all ranks."""
        if self.size == 1:
            return [value]
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, value)
        return found

    def peak_memory(self) -> int:
        """Return the most bytes this process held: on the GPU, or resident in main memory."""
        if self.is_gpu:
            return int(torch.cuda.max_memory_allocated(self.device))
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


@contextmanager
def open_world(device: Literal["auto", "cuda", "cpu"]) -> Iterator[World]:
    """Join the ranks that torchrun started, or train alone.

    It is opened once in a process: torch cannot join ranks again that have parted. A rank that fails does not part from
    the others, which may wait for it: it ends, and torchrun ends them.

    Raises:
        SetupError: a GPU is asked for and there is none, or fewer than ranks.
    """
    gpu = torch.cuda.is_available()
    if device == "cuda" and not gpu:
        raise SetupError("training.device is cuda, but torch sees no GPU; use --set training.device=cpu, or mend CUDA")
    rank, size, local = (int(os.environ.get(name, default)) for name, default in _TORCHRUN)
    place = torch.device("cpu")
    if gpu and device != "cpu":
        if local >= torch.cuda.device_count():
            raise SetupError(
                f"rank {rank} is number {local} of its machine, counted from 0, but torch sees "
                f"{figures.plural(torch.cuda.device_count(), 'GPU')}; give torchrun a smaller --nproc-per-node, or "
                "show every rank all GPUs (CUDA_VISIBLE_DEVICES)"
            )
        place = torch.device("cuda", local)
        torch.cuda.set_device(place)  # before the ranks meet: NCCL takes the current device
    joined = size > 1 and not dist.is_initialized()
    if joined and place.type == "cuda":
        dist.init_process_group("nccl", timeout=PATIENCE, device_id=place)
    elif joined:
        dist.init_process_group("gloo", timeout=PATIENCE)
    yield World(rank, size, place)
    if joined:
        dist.destroy_process_group()


_TORCHRUN = (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0))


def computes_in_bf16(precision: Literal["auto", "bf16", "fp32"], world: World) -> bool:
    """Say whether autocast is on: `auto` is yes on a GPU that has bf16, and no on a CPU, where it is slow.

    Raises:
        SetupError: bf16 is asked for on a GPU that has none.
    """
    # emulated bf16 runs on every GPU, without tensor cores
    has = world.is_gpu and bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if precision == "bf16" and world.is_gpu and not has:
        raise SetupError(
            f"training.precision is bf16, which {torch.cuda.get_device_name(world.device)} has not got (compute "
            "capability 8.0 and later have it); use --set training.precision=fp32"
        )
    return has if precision == "auto" else precision == "bf16"


def autocast(precision: Literal["auto", "bf16", "fp32"], world: World) -> AbstractContextManager[Any]:
    """Return the context of a forward pass."""
    if not computes_in_bf16(precision, world):
        return nullcontext()
    context: AbstractContextManager[Any] = torch.autocast(world.device.type, torch.bfloat16)
    return context


def distribute(model: Any, training: Training, world: World) -> Any:
    """Move a model to this rank's device and share it out.

    Returns:
        What to call for a forward pass: the model itself, or DistributedDataParallel around it. Parameters, and the
        names of them, stay those of `model`.
    """
    if world.size > 1 and training.strategy == "fsdp":
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

        half = torch.bfloat16 if computes_in_bf16(training.precision, world) else None
        # gradients are summed up in fp32; the optimiser's weights stay in fp32
        policy = MixedPrecisionPolicy(param_dtype=half, reduce_dtype=torch.float32, cast_forward_inputs=False)
        mesh = init_device_mesh(world.device.type, (world.size,))
        for layer in model.gpt_neox.layers:
            fully_shard(layer, mesh=mesh, mp_policy=policy)
        fully_shard(model, mesh=mesh, mp_policy=policy)
        model.to(world.device)  # buffers
        return model
    model.to(world.device)
    if world.size == 1:
        return model
    from torch.nn.parallel import DistributedDataParallel

    # the gradients are views of the buckets: one copy less
    return DistributedDataParallel(
        model, device_ids=[world.device] if world.is_gpu else None, gradient_as_bucket_view=True
    )


@contextmanager
def accumulating(forward: Any, last: bool) -> Iterator[None]:
    """Leave gradients on their rank until the last micro-step of a batch.

    fully_shard shares them out in each micro-step: whole ones, which it would keep until then, are 4 bytes a parameter
    on each rank, of the 12B 47 GB.
    """
    if last or not hasattr(forward, "no_sync"):
        yield
    else:
        with forward.no_sync():
            yield


def scale_gradients(model: Any, factor: float) -> None:
    """Multiply the gradients."""
    for parameter in model.parameters():
        if parameter.grad is not None:
            parameter.grad.mul_(factor)


def clip_gradients(model: Any, clip: float) -> float:
    """Scale the gradients down to a norm of `clip` (0: leave them), and return their norm before that."""
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), clip if clip > 0 else float("inf"))
    whole = norm.full_tensor() if hasattr(norm, "full_tensor") else norm
    return float(whole.item())


def peak_flops(stated: float | None, world: World) -> float | None:
    """Return the peak of one device in FLOP/s: what the settings say, or a known GPU's; None: not known."""
    if stated is not None:
        return stated * 1e12
    name = torch.cuda.get_device_name(world.device) if world.is_gpu else ""
    words = set(re.split(r"[^A-Za-z0-9]+", name))
    if "MIG" in words:
        return None  # a part of a GPU
    return next((peak * 1e12 for entry, peak in PEAK_TFLOPS.items() if words.issuperset(entry.split())), None)


@contextmanager
def within_memory(device: Any, way_out: str) -> Iterator[None]:
    """Say in one line that a GPU's memory was not enough.

    Raises:
        PipelineError: it was not.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        whole = torch.cuda.get_device_properties(device).total_memory
        name = torch.cuda.get_device_name(device)
        raise PipelineError(f"out of memory on {name} ({whole / 1e9:.0f} GB): {way_out}") from error


def less_memory(training: Training) -> str:
    """Say what takes less of a GPU's memory than some settings do."""
    found = [f"lower training.micro_batch (now {training.micro_batch})"] if training.micro_batch > 1 else []
    if not training.activation_checkpointing:
        found.append("set training.activation_checkpointing=true")
    if training.strategy == "ddp":
        found.append("set training.strategy=fsdp and take more GPUs")
    return ", or ".join(found) or "take more GPUs"


def machine(world: World) -> str:
    """Say what is measured on."""
    if world.is_gpu:
        name = torch.cuda.get_device_name(world.device)
    else:
        name = f"{_processor()}, {torch.get_num_threads()} threads"
    return f"{world.size} × {name}, torch {torch.__version__}"


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return "CPU"
