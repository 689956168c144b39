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
            raise CatalogError(f"no file {name!r}{' (a folder)' if path.is_dir() else ''}; see that the path is right")
        try:
            return path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise CatalogError(f"{name} is not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    known = entries(kind)
    if name not in known and Path(name).exists() and Path(name).name != name:
        what = "a folder" if Path(name).is_dir() else "a file whose name does not end in .yaml"
        raise CatalogError(f"{name} is {what}; give an entry ({', '.join(known[:3])} …) or a path ending in .yaml")
    if name not in known:
        near = get_close_matches(name, known, 1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        beside = [other for other in known if other.rpartition("/")[0] == name.rpartition("/")[0]] or known
        file = f"; a file of yours ends in .yaml: {name}.yaml" if Path(f"{name}.yaml").is_file() else ""
        raise CatalogError(f"no {kind} entry {name!r}{hint}; there are: {', '.join(beside)}{file}")
    where = folder(kind)
    for step in f"{name}.yaml".split("/"):
        where = where / step
    return where.read_text(encoding="utf-8")


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice in a mapping, of which YAML would take the last in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} stands twice", key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def load(kind: str, name: str) -> Mapping[str, Any]:
    """Parse one entry.

    Raises:
        CatalogError: no such entry, or it is not a YAML mapping.
    """
    try:
        value = yaml.load(read_text(kind, name), Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or " ".join(str(error).split())
        raise CatalogError(f"{_named(kind, name)}{where} is not valid YAML: {problem}") from None
    if not isinstance(value, dict):
        raise CatalogError(f"{_named(kind, name)} is not a YAML mapping, `key: value` lines")
    return value


def _named(kind: str, name: str) -> str:
    return name if name.endswith((".yaml", ".yml")) else f"{kind} entry {name!r}"
