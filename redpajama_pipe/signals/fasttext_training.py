"""Train a fastText classifier in a process of its own, so that equal lines give an equal model.

On fewer than ten threads fastText initialises that many tenths of its vectors and leaves the rest as malloc gave them:
another process's rubbish, now and then not even numbers ("Encountered NaN."). Here malloc gives zeros.

Source: fastText 0.9.3, src/densematrix.cc, uniformThread; mallopt(3), M_PERTURB.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from redpajama_pipe.errors import RecipeError

ZEROS = {"MALLOC_PERTURB_": "255"}  # glibc fills what it gives with the complement


def train(lines: Path, target: Path, options: Mapping[str, int | float]) -> Path:
    """Train on lines that begin with a label, and write the model.

    Args:
        lines: UTF-8, `__label__NAME words ...`.
        target: the model's file.
        options: of fasttext.train_supervised.

    Returns:
        `target`.

    Raises:
        RecipeError: fastText cannot train on these lines.
    """
    command = [sys.executable, "-m", __name__, str(lines), str(target), json.dumps(dict(options))]
    # a zip on --py-files is on this process's path, not on the next one's
    environment = {**os.environ, **ZEROS, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise RecipeError(f"fastText cannot train: {said[-1] if said else f'status {done.returncode}'}")
    return target


def _main(lines: str, target: str, options: str) -> None:
    import fasttext

    fasttext.train_supervised(input=lines, verbose=0, **json.loads(options)).save_model(target)


if __name__ == "__main__":
    _main(*sys.argv[1:])
