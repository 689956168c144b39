"""The names inside a run's folder, once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from redpajama_pipe import manifest, storage
from redpajama_pipe.errors import InputError, ManifestError
from redpajama_pipe.manifest import Manifest

DECIDING = ("filter", "dedup", "decontaminate")


@dataclass(frozen=True)
class RunFolder:
    """A run: documents/ quarantine/ annotations/ decisions/ tokens/ schedule/ report.html recipe.yaml summary.json."""

    path: str

    @staticmethod
    def at(path: str) -> RunFolder:
        """Address a run by a local path or a URL."""
        return RunFolder(storage.absolute(path))

    def claim(self) -> int:
        """Take the folder for this process alone; two that write would remove each other's files.

        Returns:
            What `os.close` gives it back with, as does the end of the process; -1 where there is no such lock: in an
            object store, and on disks that cannot lock a folder.

        Raises:
            InputError: another process has it.
        """
        import fcntl  # Windows has none, where training may read a run

        if "://" in self.path:
            return -1
        os.makedirs(self.path, exist_ok=True)
        held = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(held)
            raise InputError(
                f"another command is at work in {self.path}; wait until it has ended, or give another --output"
            ) from None
        except OSError:  # NFS locks no folder
            os.close(held)
            return -1
        return held

    @property
    def documents(self) -> str:
        return storage.join(self.path, "documents")

    @property
    def annotations(self) -> str:
        return storage.join(self.path, "annotations")

    @property
    def quarantine(self) -> str:
        return storage.join(self.path, "quarantine")

    def decisions(self, stage: str) -> str:
        """Return the folder of one deciding stage: one of DECIDING."""
        return storage.join(self.path, "decisions", stage)

    @property
    def dedup_index(self) -> str:
        return storage.join(self.path, "dedup_index")

    @property
    def tokens(self) -> str:
        return storage.join(self.path, "tokens")

    @property
    def token_map(self) -> str:
        return storage.join(self.tokens, "token_map")

    @property
    def schedule(self) -> str:
        return storage.join(self.path, "schedule")

    @property
    def report(self) -> str:
        return storage.join(self.path, "report.html")

    @property
    def recipe(self) -> str:
        return storage.join(self.path, "recipe.yaml")

    @property
    def summary(self) -> str:
        return storage.join(self.path, "summary.json")

    def annotated(self) -> tuple[str, Manifest]:
        """Return the folder that holds the signals, and its manifest.

        That is annotations/ after the annotate stage, and documents/ when ingest and annotate were one pass.

        Raises:
            ManifestError: neither was finished.
        """
        documents = manifest.read(self.documents)
        found = manifest.find(self.annotations)
        if found and found.inputs.get("documents") == documents.hash:
            return self.annotations, found
        if not documents.counts["annotated"]:
            raise ManifestError(f"the documents of {self.path} have no signals yet; run annotate first")
        return self.documents, documents

    def annotate_settings(self) -> Mapping[str, Any]:
        """Return the recipe's section `annotate`, as plain values, that the signals were computed with.

        Raises:
            ManifestError: there are no signals yet.
        """
        _, found = self.annotated()
        settings: Mapping[str, Any] = found.recipe if found.stage == "annotate" else found.recipe["annotate"]
        return settings

    def decided(self) -> dict[str, Manifest]:
        """Return the finished decisions, folder → manifest, in the order in which they were taken."""
        folders = (self.decisions(stage) for stage in DECIDING)
        return {folder: found for folder in folders if (found := manifest.find(folder))}
