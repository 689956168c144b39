"""Find the YAML files of filters/, tokenize/ and conf/ in a checkout, in a wheel, or in a wheel used as a zip.

In a checkout the folders lie beside the package; an installed wheel carries them as data of `redpajama_pipe._catalog`.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import yaml

from redpajama_pipe.errors import CatalogError

KINDS = ("conf", "filters", "tokenize")


def folder(kind: str) -> Traversable:
    """Return the folder of one catalogue: the checkout's when there is one, else the wheel's."""
    checkout = Path(__file__).resolve().parent.parent / kind
    if (checkout.parent / "setup.cfg").is_file() and checkout.is_dir():
        return checkout
    return files("redpajama_pipe") / "_catalog" / kind


def entries(kind: str) -> list[str]:
    """Name every entry of a catalogue, sorted; an entry in a sub-folder is named `folder/entry`."""
    return sorted(_walk(folder(kind), ""))


def _walk(where: Traversable, prefix: str) -> list[str]:
    names: list[str] = []
    for item in where.iterdir():
        if item.is_dir() and not item.name.startswith(("_", ".")):
            names += _walk(item, f"{prefix}{item.name}/")
        elif item.name.endswith(".yaml"):
            names.append(prefix + item.name.removesuffix(".yaml"))
    return names


def read_text(kind: str, name: str) -> str:
    """Return the text of one entry, or of a file when `name` is a path that ends in .yaml.

    Raises:
        CatalogError: there is no such entry; the message lists the ones there are.
    """
    if name.endswith((".yaml", ".yml")):
        path = Path(name)
        if not path.is_file():
            raise CatalogError(f"no file {name!r}")
        return path.read_text(encoding="utf-8")
    known = entries(kind)
    if name not in known:
        near = get_close_matches(name, known, 1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise CatalogError(f"no {kind} entry {name!r}{hint}; there are: {', '.join(known)}")
    where = folder(kind)
    for step in f"{name}.yaml".split("/"):
        where = where / step
    return where.read_text(encoding="utf-8")


def load(kind: str, name: str) -> Mapping[str, Any]:
    """Parse one entry.

    Raises:
        CatalogError: no such entry, or it is not a YAML mapping.
    """
    try:
        value = yaml.safe_load(read_text(kind, name))
    except yaml.YAMLError as error:
        raise CatalogError(f"{kind} entry {name!r} is not valid YAML: {error}") from error
    if not isinstance(value, dict):
        raise CatalogError(f"{kind} entry {name!r} is not a YAML mapping")
    return value
