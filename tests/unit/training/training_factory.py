"""Runs and settings that are small enough to train on a CPU in seconds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
