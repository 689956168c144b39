"""The names inside a run's folder, once."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from redpajama_pipe import manifest, storage
from redpajama_pipe.errors import InputError, ManifestError, RecipeError
from redpajama_pipe.manifest import Manifest
from redpajama_pipe.settings.tree import to_tree

if TYPE_CHECKING:
    from redpajama_pipe.recipe import Recipe

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

    def check_owner(self, recipe: Recipe) -> None:
        """Refuse a recipe that would replace the documents of another corpus, hours of work, by other ones.

        It is another corpus when its sources differ, and the recipe has another name, or no source of the same name.
        Recipes of equal sources share documents; a recipe goes on with its own, whatever in it changed.

        Raises:
            RecipeError: it would; the message says what differs, and how to have it so.
        """
        units = storage.list_names(storage.join(self.documents, "_units"))
        if not any(name.endswith(".json") for name in units) or not storage.exists(self.recipe):
            return
        try:
            before = dict(yaml.safe_load(storage.read_bytes(self.recipe)))
        except (yaml.YAMLError, TypeError, ValueError):
            before = {}
        sources: list[Mapping[str, Any]] = before.get("sources") or []
        if sources == to_tree(recipe.sources):
            return
        names, wanted = [str(source.get("name")) for source in sources], [source.name for source in recipe.sources]
        if before.get("name") == recipe.name and set(names) & set(wanted):
            return
        raise RecipeError(
            f"{self.path} holds the documents of recipe {str(before.get('name'))!r} ({_listed(names)}), which recipe "
            f"{recipe.name!r} ({_listed(wanted)}) would replace; give another --output, or add --replace if it may"
        )

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


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:4]) + (", …" if len(names) > 4 else "")
    return f"{'source' if len(names) == 1 else 'sources'} {shown or 'none'}"
