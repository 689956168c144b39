"""What is known of each step: one JSON line, TensorBoard where it is installed, and a line that moves.

A step's keys: step (updates done), loss (mean over the batch's labels, before the update), lr, grad_norm (before
clipping), labels (ids predicted), seconds, tokens_per_second (padding counted, as in mfu), mfu (null: the device's peak
is not known), data_wait (share of the step that waited for the loader), memory_bytes (most held by rank 0). A step that
was validated has validation_loss too.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from redpajama_pipe.progress import Progress, human_seconds
from redpajama_pipe.report import figures

NAME = "metrics.jsonl"


class Metrics:
    """Writes the steps of a run; a context manager, used on rank 0 alone."""

    def __init__(self, output: str, step: int) -> None:
        """Go on after a step: what was written of later ones, before the run broke off, is dropped."""
        self._path = Path(output, NAME)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        kept = [row for row in read(output) if row["step"] <= step]
        text = "".join(json.dumps(row) + "\n" for row in kept)
        temporary = self._path.with_suffix(".tmp")
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, self._path)
        self._file = self._path.open("a", encoding="utf-8")
        self._board = _tensorboard(output, step)

    def write(self, row: Mapping[str, Any]) -> None:
        """Add one step."""
        self._file.write(json.dumps(row) + "\n")
        self._file.flush()
        if self._board is not None:
            for name, value in row.items():
                if name != "step" and value is not None:
                    self._board.add_scalar(name, value, row["step"])

    def __enter__(self) -> Metrics:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        if self._board is not None:
            self._board.close()


def read(output: str) -> list[dict[str, Any]]:
    """Return the steps of a run; a last line that was cut off is left out."""
    path = Path(output, NAME)
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows


def _tensorboard(output: str, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(Path(output, "tensorboard")), purge_step=step + 1)


class TrainingProgress(Progress):
    """The line that moves: step, loss, rate, and about how long it still takes."""

    def __init__(self, first: int, total: int, quiet: bool) -> None:
        super().__init__("pretrain", quiet=quiet)
        self._done, self._total = first, total
        self._loss = 0.0
        self._rate = 0.0
        self._step_seconds: float | None = None

    def show(self, row: Mapping[str, Any]) -> None:
        """Take in a step."""
        self._done, self._loss, self._rate = row["step"], row["loss"], row["tokens_per_second"]
        # a moving mean: the first steps compile and fill caches
        before = self._step_seconds if self._step_seconds is not None else row["seconds"]
        self._step_seconds = 0.9 * before + 0.1 * row["seconds"]

    def _state(self) -> str:
        if self._step_seconds is None:
            return self.doing
        left = human_seconds(self._step_seconds * (self._total - self._done))
        return (
            f"step {self._done:,} of {self._total:,}, loss {self._loss:.4f}, "
            f"{figures.compact(self._rate)} tokens/s, about {left} left"
        )
