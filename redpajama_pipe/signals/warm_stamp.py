"""A note that a warm-up found every kernel in Numba's cache, so that the next one need not look: 5 CPU s of a start.

It is left only by a warm-up that compiled nothing, and says on what that depended: the code, versions, processor,
settings, word lists, and the size and time of each file of the cache. It holds while all of these are as they were, and
else the warm-up is done: a stamp that is lost, old or damaged costs time, never a cold cache.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import redpajama_pipe
from redpajama_pipe import storage
from redpajama_pipe.errors import StorageError
from redpajama_pipe.settings.annotate import Annotate
from redpajama_pipe.settings.tree import digest, to_tree
from redpajama_pipe.signals.resources import ARTIFACTS_ENVIRONMENT, WORD_LISTS_ENVIRONMENT, usual_folder

_PACKAGES = ("numba", "llvmlite", "numpy", "pyarrow")


@dataclass(frozen=True)
class Loaded:
    """What loading did: whether it had to compile any kernel, and the folders of Numba's cache that it used."""

    compiled: bool = False
    folders: frozenset[str] = frozenset()

    def __or__(self, other: Loaded) -> Loaded:
        return Loaded(self.compiled or other.compiled, self.folders | other.folders)


def loaded() -> Loaded:
    """Say what this process has loaded so far."""
    from numba.core.dispatcher import Dispatcher

    modules = [module for name, module in list(sys.modules.items()) if name.partition(".")[0] == "redpajama_pipe"]
    kernels = {id(each): each for module in modules for each in vars(module).values() if isinstance(each, Dispatcher)}
    stats = [kernel.stats for kernel in kernels.values() if kernel.signatures]
    return Loaded(
        # what is not cached at all, and yet was called, was compiled too
        any(one.cache_path is None or any(one.cache_misses.values()) for one in stats),
        frozenset(one.cache_path for one in stats if one.cache_path),
    )


class Stamp:
    """The stamp of some settings, with the state of the machine at the time it is made."""

    def __init__(self, settings: Annotate, model: str) -> None:
        self._state: dict[str, Any] = {}
        code = Path(redpajama_pipe.__file__).parent
        # the files of these are not looked at here
        models = settings.artifacts, settings.url_lists, settings.perplexity_models, settings.quality_model
        if any(models) or os.environ.get(ARTIFACTS_ENVIRONMENT) or not code.is_dir():
            return
        words = Path(settings.word_lists or os.environ.get(WORD_LISTS_ENVIRONMENT) or usual_folder())
        tree = {"settings": to_tree(settings), "model": model, "code": str(code), "python": sys.prefix}
        self._state = {
            **tree,
            "versions": [sys.version, *map(_version, _PACKAGES)],
            "processor": _processor(),
            "environment": {key: value for key, value in sorted(os.environ.items()) if key.startswith("NUMBA_")},
            "files": _seen([model, *_below(code, "*.py"), *_below(words, "*.json")]),
        }
        self._path = usual_folder().parent / "kernels" / f"{digest(tree)[:32]}.json"

    def holds(self) -> bool:
        """Whether a warm-up now would find all that an earlier one found."""
        if not self._state:
            return False
        try:
            known = json.loads(self._path.read_bytes())
            cached, folders = known["cache"], known["folders"]
            # Numba looks elsewhere when a folder may not be written
            same = known["state"] == self._state and all(os.access(folder, os.W_OK) for folder in folders)
            return bool(cached) and same and _seen(cached) == cached
        except (OSError, ValueError, TypeError, KeyError):
            return False

    def leave(self, done: Loaded) -> None:
        """Write it, if the warm-up since it was made compiled nothing; what cannot be written is left out."""
        if not self._state or done.compiled:
            return
        folders = sorted(done.folders)
        cache = _seen(path for folder in folders for path in _below(Path(folder), "*.nb[ic]"))
        left = json.dumps({"state": self._state, "folders": folders, "cache": cache})
        with suppress(OSError, StorageError):
            storage.write_bytes(str(self._path), left.encode())


def _below(folder: Path, pattern: str) -> Iterator[str]:
    return map(str, sorted(folder.rglob(pattern)))


def _seen(paths: Iterable[str]) -> dict[str, list[int] | None]:
    """Return path → size and time of last change; None where there is no such file."""
    found: dict[str, list[int] | None] = {}
    for path in paths:
        try:
            status = os.stat(path)
            found[path] = [status.st_size, status.st_mtime_ns]
        except OSError:
            found[path] = None
    return found


def _processor() -> list[str]:
    """Name the processor as Numba's cache does, which keeps code for each."""
    from llvmlite import binding  # type: ignore[import-untyped]

    return [binding.get_host_cpu_name(), binding.get_host_cpu_features().flatten()]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
