"""A gzip file of lines whose bytes depend on the lines alone."""

from __future__ import annotations

import gzip
from collections.abc import Iterable
from contextlib import ExitStack

from redpajama_pipe import storage
from redpajama_pipe.storage import File, HashingFile

LEVEL = 6  # gzip's own default


class GzipLines:
    """A file of lines, published when `files` closes; no name and no time in its header."""

    def __init__(self, path: str, files: ExitStack) -> None:
        self._target: HashingFile = files.enter_context(storage.create(path))
        self._gzip = gzip.GzipFile("", "wb", LEVEL, self._target, mtime=0)
        self.count = 0

    def write(self, pieces: Iterable[bytes]) -> None:
        """Write one line, in pieces of which the last ends with a line feed."""
        for piece in pieces:
            self._gzip.write(piece)
        self.count += 1

    def end(self) -> None:
        """Write what is left, before `files` closes."""
        self._gzip.close()

    def file(self, path: str) -> File:
        """Describe the ended file under a path."""
        return File(path, self._target.size, self._target.hexdigest())
