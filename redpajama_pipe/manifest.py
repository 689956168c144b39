"""The commit of a stage: `_manifest.json`, written last. No manifest, no output.

A manifest has two hashes. `key` says what the stage was asked to do: its inputs, its part of the recipe, the code's
version; a rerun with the same key is skipped. `hash` says what came out: counts, and files with their checksums;
it is what later stages record as their input, so a stage that was redone with the same result invalidates nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from redpajama_pipe import __version__, storage
from redpajama_pipe.errors import ManifestError
from redpajama_pipe.settings.tree import digest
from redpajama_pipe.storage import File

NAME = "_manifest.json"


@dataclass(frozen=True)
class Manifest:
    """What a stage did.

    Attributes:
        stage: the folder's stage.
        key: hash of what it was asked to do.
        version: of this package.
        inputs: name of each input → the hash of its manifest, or the fingerprint of a file.
        recipe: the resolved part of the recipe that the stage reads.
        counts: whatever the stage counted; JSON values.
        files: every file of the output, paths relative to the folder, sorted.
        seconds: how long it took; not part of any hash.
    """

    stage: str
    key: str
    version: str
    inputs: Mapping[str, str]
    recipe: Any
    counts: Mapping[str, Any]
    files: Sequence[File]
    seconds: float = 0.0

    @property
    def hash(self) -> str:
        """Hash of what came out."""
        return digest({"stage": self.stage, "counts": self.counts, "files": [asdict(file) for file in self.files]})


def key_of(stage: str, inputs: Mapping[str, str], recipe: Any) -> str:
    """Hash what a stage is asked to do."""
    return digest({"stage": stage, "version": __version__, "inputs": inputs, "recipe": recipe})


def write(
    folder: str,
    stage: str,
    inputs: Mapping[str, str],
    recipe: Any,
    counts: Mapping[str, Any],
    files: Sequence[File],
    seconds: float = 0.0,
) -> Manifest:
    """Commit a stage's output.

    Raises:
        ManifestError: a file that it names is not there, or not of its size.
    """
    ordered = tuple(sorted(files, key=lambda file: file.path))
    _check(folder, ordered)
    manifest = Manifest(
        stage,
        key_of(stage, inputs, recipe),
        __version__,
        dict(inputs),
        recipe,
        dict(counts),
        ordered,
        round(seconds, 3),
    )
    text = json.dumps({**asdict(manifest), "hash": manifest.hash}, indent=1, ensure_ascii=False)
    storage.write_bytes(storage.join(folder, NAME), text.encode("utf-8"))
    return manifest


def read(folder: str) -> Manifest:
    """Read a stage's manifest and check that its files are there.

    Raises:
        ManifestError: there is none, it is damaged, or a file is missing or of another size.
    """
    try:
        tree = json.loads(storage.read_bytes(storage.join(folder, NAME)))
    except FileNotFoundError:
        raise ManifestError(f"no finished output in {folder} (it has no {NAME}); run that stage first") from None
    except ValueError as error:
        raise ManifestError(f"{storage.join(folder, NAME)} is damaged ({error}); run the stage again") from error
    try:
        stated = tree.pop("hash")
        manifest = Manifest(**{**tree, "files": tuple(File(**file) for file in tree["files"])})
    except (AttributeError, KeyError, TypeError) as error:
        raise ManifestError(f"{storage.join(folder, NAME)} is no manifest ({error!r}); run the stage again") from error
    if manifest.hash != stated:
        raise ManifestError(f"{storage.join(folder, NAME)} was edited: its hash does not fit; run the stage again")
    _check(folder, manifest.files)
    return manifest


def find(folder: str) -> Manifest | None:
    """Read a stage's manifest, or None where there is no whole output."""
    try:
        return read(folder)
    except ManifestError:
        return None


def current(folder: str, stage: str, inputs: Mapping[str, str], recipe: Any) -> Manifest | None:
    """Return the manifest of an output that is what would be made now, or None."""
    manifest = find(folder)
    return manifest if manifest and manifest.key == key_of(stage, inputs, recipe) else None


def _check(folder: str, files: Sequence[File]) -> None:
    """Compare files with what is there, by one listing of each folder: an object store has 90,000 of them."""
    listings: dict[str, Mapping[str, int]] = {}
    for file in files:
        inside, _, name = file.path.rpartition("/")
        if inside not in listings:
            listings[inside] = storage.list_sizes(storage.join(folder, inside) if inside else folder)
        size = listings[inside].get(name)
        if size is None:
            path = storage.join(folder, file.path)
            raise ManifestError(f"{path} is missing although {NAME} names it; run the stage again")
        if size != file.bytes:
            path = storage.join(folder, file.path)
            raise ManifestError(f"{path} has {size} bytes, {NAME} says {file.bytes}; run the stage again")
