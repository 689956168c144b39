"""A checkpoint: the model as transformers reads it, optimiser, random states, and where the data stands.

    step00001000/ config.json model.safetensors optimiser.pt random.pt _manifest.json

Its manifest is written last and has sizes and checksums: a folder without one is no checkpoint. Rank 0 gathers whole
tensors, so any number of ranks and either strategy goes on from it. Main memory of rank 0: 12 bytes a parameter.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)
from transformers import GPTNeoXForCausalLM
from transformers.utils.logging import disable_progress_bar

from redpajama_pipe import manifest, storage
from redpajama_pipe.errors import InputError, ManifestError
from redpajama_pipe.manifest import Manifest
from redpajama_pipe.storage import File
from redpajama_pipe.training.devices import World

STAGE = "checkpoint"


@dataclass(frozen=True)
class Checkpoint:
    """A finished checkpoint.

    Attributes:
        folder: where it is.
        step: updates done.
        manifest: inputs: hashes of the shards' manifest and of the schedule; recipe: the settings; counts: step, epochs
            of the schedule, batch_size, and the loader's state.
    """

    folder: str
    step: int
    manifest: Manifest


def folder_of(output: str, step: int) -> str:
    """Name the folder of a step's checkpoint."""
    return storage.join(output, "checkpoints", f"step{step:08d}")


def read(folder: str) -> Checkpoint:
    """Read a checkpoint's manifest.

    Raises:
        ManifestError: it is not finished, or a file of it is missing.
        InputError: it is something else.
    """
    found = manifest.read(folder)
    if found.stage != STAGE:
        raise InputError(f"{folder} is no checkpoint but the output of {found.stage}; give a folder like step00001000")
    return Checkpoint(folder, int(found.counts["step"]), found)


def latest(output: str) -> Checkpoint | None:
    """Return the last finished checkpoint of an output folder; None: there is none."""
    folders = Path(output, "checkpoints").glob("step*")
    numbered = [path for path in folders if re.fullmatch(r"step\d{8,}", path.name)]
    for path in sorted(numbered, key=lambda path: int(path.name[4:]), reverse=True):
        try:
            return read(str(path))
        except ManifestError:
            continue  # it was being written when the run ended
    return None


def save(
    folder: str,
    model: Any,
    optimiser: Any,
    world: World,
    inputs: Mapping[str, str],
    settings: Any,
    counts: Mapping[str, Any],
) -> None:
    """Write a checkpoint; all ranks call it.

    Args:
        folder: replaced where it is there.
        model: transformers' model, not a wrapper of it.
        settings: plain values.
        counts: `step` and more; see Checkpoint.
    """
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    weights = get_model_state_dict(model, options=options)
    # before the first update there is no state, and asking for it would count an update that never was
    state = get_optimizer_state_dict(model, optimiser, options=options) if optimiser.state else None
    random = world.gather(_random_states(world))
    if world.rank == 0:
        storage.remove(folder)
        Path(folder).mkdir(parents=True)
        disable_progress_bar()
        with torch.device("meta"):  # fully_shard makes a class of its own, which is saved under other names
            plain = GPTNeoXForCausalLM(model.config)
        plain.save_pretrained(folder, state_dict=weights, max_shard_size="1TB")
        files = [
            File(path.name, path.stat().st_size, storage.sha256(str(path))) for path in sorted(Path(folder).iterdir())
        ]
        for name, value in (("optimiser.pt", state), ("random.pt", random)):
            with storage.create(storage.join(folder, name)) as file:
                torch.save(value, file)
            files.append(File(name, file.size, file.hexdigest()))
        manifest.write(folder, STAGE, inputs, settings, counts, files)
    world.barrier()


def open_model(checkpoint: Checkpoint, dtype: Any = torch.float32, config: Any = None) -> Any:
    """Return a checkpoint's model on the CPU, as transformers loads it.

    Args:
        config: a transformers.GPTNeoXConfig; None: as the checkpoint has it.
    """
    disable_progress_bar()
    return GPTNeoXForCausalLM.from_pretrained(checkpoint.folder, dtype=dtype, config=config)


def load_optimiser(checkpoint: Checkpoint, model: Any, optimiser: Any, world: World) -> None:
    """Put a checkpoint's optimiser and random states back; all ranks call it, after the model was shared out."""
    if checkpoint.step:
        path = storage.join(checkpoint.folder, "optimiser.pt")
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True) if world.rank == 0 else {}
        for group in state.get("param_groups", ()):
            group["fused"] = optimiser.defaults["fused"]  # the saved one may be another device's
        options = StateDictOptions(full_state_dict=True, broadcast_from_rank0=world.size > 1)
        set_optimizer_state_dict(model, optimiser, state, options=options)
    random = torch.load(storage.join(checkpoint.folder, "random.pt"), weights_only=True)
    if world.rank < len(random):
        torch.set_rng_state(random[world.rank]["cpu"])
        if world.is_gpu and random[world.rank]["cuda"] is not None:
            torch.cuda.set_rng_state(random[world.rank]["cuda"], world.device)


def _random_states(world: World) -> dict[str, Any]:
    return {
        "cpu": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state(world.device) if world.is_gpu else None,
    }
