"""One long array of 64-bit values that grows piece by piece: in memory up to a budget, beyond it in a temporary file.

The file is mapped, so reading it costs page cache, which the system takes back when memory is short, and no memory of
the task's own. It has no name: its space is free again as soon as the array is, also after a crash.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from typing import IO

import numpy as np
from numpy.typing import NDArray


class HashStore:
    """Append pieces, then read them as one array."""

    def __init__(self, budget: int) -> None:
        """Make an empty store.

        Args:
            budget: bytes kept in memory, and for a moment as many again in `values`; 0: all are in the file.
        """
        self._budget = budget
        self._pieces: list[NDArray[np.uint64]] = []
        self._file: IO[bytes] | None = None
        self.bytes = 0

    def append(self, values: NDArray[np.uint64]) -> None:
        """Add values at the end."""
        if len(values) == 0:
            return
        self.bytes += values.nbytes
        self._pieces.append(values)
        if self._file is None and self.bytes > self._budget:
            self._file = tempfile.TemporaryFile(dir=_scratch_folder())  # noqa: SIM115  closed by values()
        if self._file is not None:
            for piece in self._pieces:
                self._file.write(np.ascontiguousarray(piece).data)
            self._pieces = []

    def values(self) -> NDArray[np.uint64]:
        """Return all values, to be called once, at the end; a file stays as long as the array does."""
        if self._file is None:
            return np.concatenate(self._pieces) if self._pieces else np.empty(0, np.uint64)
        with self._file as file:
            file.flush()
            return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint64)


def _scratch_folder() -> str | None:
    """Return the first folder in which Spark keeps its own temporary data; None: the system's."""
    folders = os.environ.get("SPARK_LOCAL_DIRS", "").split(",")
    return next((folder for folder in folders if folder and os.path.isdir(folder)), None)
