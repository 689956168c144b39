"""Where training runs: this process alone, or the ranks that torchrun started, on GPUs (NCCL) or CPUs (gloo).

torch's own DistributedDataParallel and fully_shard (FSDP2) do the work, torchrun starts the processes: there is no
other launcher to learn, and a run on one device uses none of it. Every rank makes the same initial weights from the
seed on its CPU, 4 bytes a parameter, before fully_shard moves its part to the device layer by layer.
"""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.distributed as dist

from redpajama_pipe.errors import SetupError
from redpajama_pipe.training.options import Training

# Dense bf16 peaks in TFLOP/s, by a part of the device's name; from NVIDIA's data sheets. The first match counts.
PEAK_TFLOPS = {
    "H200": 989.0,
    "H100 PCIe": 756.0,
    "H100": 989.0,
    "A100": 312.0,
    "L40S": 362.0,
    "A10G": 70.0,
    "A10": 125.0,
    "V100": 125.0,
    "T4": 65.0,
}


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

    Raises:
        SetupError: a GPU is asked for and there is none.
    """
    gpu = torch.cuda.is_available()
    if device == "cuda" and not gpu:
        raise SetupError("training.device is cuda, but torch sees no GPU; use --set training.device=cpu, or mend CUDA")
    kind = "cuda" if gpu and device != "cpu" else "cpu"
    rank, size, local = (int(os.environ.get(name, default)) for name, default in _TORCHRUN)
    place = torch.device(kind, local) if kind == "cuda" else torch.device("cpu")
    if kind == "cuda":
        torch.cuda.set_device(place)
    joined = size > 1 and not dist.is_initialized()
    if joined:
        dist.init_process_group("nccl" if kind == "cuda" else "gloo")
    try:
        yield World(rank, size, place)
    finally:
        if joined:
            dist.destroy_process_group()


_TORCHRUN = (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0))


def computes_in_bf16(precision: Literal["auto", "bf16", "fp32"], world: World) -> bool:
    """Say whether autocast is on: `auto` is yes on a GPU that has bf16, and no on a CPU, where it is slow."""
    if precision == "auto":
        return world.is_gpu and bool(torch.cuda.is_bf16_supported())
    return precision == "bf16"


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
    """Leave gradients on their rank until the last micro-step of a batch."""
    if hasattr(forward, "set_requires_gradient_sync"):
        forward.set_requires_gradient_sync(last)
        yield
    elif last or not hasattr(forward, "no_sync"):
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
    return next((peak * 1e12 for part, peak in PEAK_TFLOPS.items() if part in name), None)


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
