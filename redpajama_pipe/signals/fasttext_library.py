"""fastText's own models: read once a process, with errors that name the file."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from redpajama_pipe.errors import SetupError


@lru_cache(maxsize=8)
def load_model(path: str) -> Any:
    """Read a model; its `f.predict` is what the library's predict() calls, which fails with NumPy 2.

    Raises:
        SetupError: there is none, or the library cannot read it.
    """
    import fasttext

    try:
        # What fasttext.load_model() calls, without the warning that it prints.
        return fasttext.FastText._FastText(path)
    except ValueError as error:
        # Its message has three lines.
        reason = str(error).partition("\n")[0]
        raise SetupError(f"{path} is not a fastText model: {reason}") from error
