"""Runs and settings that are small enough to train on a CPU in seconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from redpajama_pipe.tokens.packing import Packing
from redpajama_pipe.training import models

VOCABULARY = 128
SEQ_LEN = 32
BATCH = 8


def pattern_documents(count: int, salt: int = 0) -> list[NDArray[np.int64]]:
    """Documents that repeat one of four runs of 16 ids: a pattern to learn."""
    return [np.tile(np.arange(1, 17), 12) + 16 * ((number + salt) % 4) for number in range(count)]


def random_documents(count: int, size: int, seed: int) -> list[NDArray[np.int64]]:
    """Documents of which nothing can be learnt but their very ids."""
    random = np.random.default_rng(seed)
    return [random.integers(1, VOCABULARY, size) for _ in range(count)]


def settings(run: Path, output: Path, overrides: Sequence[str] = (), epochs: float = 1.0) -> Any:
    """Settings of a tiny model; later overrides win."""
    from redpajama_pipe.training.loop import Settings

    base = [
        f"architecture.vocab_size={VOCABULARY}",
        "architecture.d_model=32",
        "architecture.d_ff=64",
        "training.micro_batch=4",
        "training.device=cpu",
        "training.checkpoint_steps=[]",
        "training.checkpoint_every=0",
    ]
    return Settings(str(run), str(output), models.load("tiny", [*base, *overrides]), epochs, quiet=True)


def weights(folder: str) -> dict[str, Any]:
    """The weights of a checkpoint."""
    from safetensors.torch import load_file

    return dict(load_file(f"{folder}/model.safetensors"))


def packed_run(folder: Path, documents: Sequence[NDArray[Any]], packing: Packing, batch_size: int = 4) -> Path:
    """A run of one shard whose sequences are packed; they are padded with id 1, which documents hold too."""
    from made_run import make_run

    from redpajama_pipe.recipe import load
    from redpajama_pipe.run_folder import RunFolder
    from redpajama_pipe.settings.tokens import Schedule
    from redpajama_pipe.settings.tree import to_tree
    from redpajama_pipe.stages import build_schedule
    from redpajama_pipe.tokens.spec import load_spec

    make_run(folder, [documents], epochs=(), spec=to_tree(load_spec("gpt_neox_20b")))
    (folder / "schedule/_manifest.json").unlink()
    schedule = Schedule(seq_len=SEQ_LEN, batch_size=batch_size, epochs=(1.0,), packing=packing)
    build_schedule.run(replace(load("sample"), schedule=schedule), RunFolder.at(str(folder)), quiet=True)
    return folder


def mixed_documents(count: int, seed: int) -> list[NDArray[np.int64]]:
    """Documents of 1 to 50 ids, so that some fill a sequence, some are cut, and some predict nothing."""
    random = np.random.default_rng(seed)
    sizes = [1, 2, SEQ_LEN, SEQ_LEN + 1, *random.integers(1, 50, count - 4).tolist()]
    return [random.integers(0, VOCABULARY, size) for size in sizes]
