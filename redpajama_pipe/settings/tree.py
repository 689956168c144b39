"""Frozen dataclasses from trees of plain values, as YAML and JSON give them, and back.

`build` follows the dataclass's own hints; errors name the key, what was found, and what would do. Hashes are of
canonical JSON, so they are the same on every machine.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import types
import typing
from collections.abc import Mapping
from contextlib import suppress
from difflib import get_close_matches
from typing import Any, Literal, TypeVar, Union

import yaml

from redpajama_pipe.errors import RecipeError

T = TypeVar("T")


def to_tree(value: Any) -> Any:
    """Turn a recipe, or a part of one, into plain values with every default written out."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_tree(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: to_tree(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_tree(item) for item in value]
    return value


def digest(value: Any) -> str:
    """Hash a recipe, a part of one, or any tree of plain values: sha256 of its canonical JSON."""
    text = json.dumps(to_tree(value), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def apply_override(tree: dict[str, Any], override: str) -> None:
    """Change a tree of plain values by one `key=value`; keys are dotted, a list's items go by their `name`.

    Raises:
        RecipeError: it is not of that form, or the key leads nowhere.
    """
    key, equals, text = override.partition("=")
    if not equals:
        raise RecipeError(f"--set {override!r}: write key=value, such as dedup.threshold=0.9")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RecipeError(f"--set {override!r}: the value is not valid YAML") from error
    steps = key.split(".")
    at: Any = tree
    for index, step in enumerate(steps):
        if isinstance(at, list):
            place = ".".join(steps[:index])
            known = [str(item["name"]) for item in at if isinstance(item, dict) and "name" in item]
            if not known:
                raise RecipeError(f"--set {override!r}: {place} is a list of values; give all of it, {place}=[...]")
            if step not in known:
                raise RecipeError(
                    f"--set {override!r}: no {steps[index - 1].rstrip('s')} {step!r}; there are: {', '.join(known)}"
                )
            if index == len(steps) - 1:
                raise RecipeError(f"--set {override!r}: {key} is a group of keys; say which of them, {key}.KEY=VALUE")
            at = next(item for item in at if isinstance(item, dict) and str(item.get("name")) == step)
        elif index == len(steps) - 1:
            at[step] = value
        else:
            if at.get(step) is None:
                at[step] = {}
            at = at[step]
        if not isinstance(at, (dict, list)):
            raise RecipeError(f"--set {override!r}: {'.'.join(steps[: index + 1])} is a value, not a group of keys")


def build(kind: type[T], tree: Any, where: str) -> T:
    """Build a frozen dataclass from plain values; errors begin with `where`.

    Raises:
        RecipeError: an unknown or missing key, or a value of the wrong type.
    """
    if not isinstance(tree, Mapping):
        raise RecipeError(f"{where}: expected a group of keys, found {tree!r}")
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for key in tree:
        if key not in fields:
            near = get_close_matches(str(key), fields, 1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise RecipeError(f"{where}: unknown key {key!r}{hint}; known: {', '.join(fields)}")
    hints = typing.get_type_hints(kind)
    values = {key: _convert(hints[key], item, f"{where}: {key}") for key, item in tree.items()}
    missing = [
        f.name
        for f in fields.values()
        if f.name not in values and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise RecipeError(f"{where}: missing key {missing[0]!r}")
    return kind(**values)


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        return build(typing.cast(type, hint), value, where)
    if origin is Literal:
        if value not in arguments:
            raise RecipeError(f"{where}: {value!r} is not one of {', '.join(map(str, arguments))}")
        return value
    if origin in (Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        *others, last = (a for a in arguments if a is not type(None))
        for other in others:  # the last one says what is wrong
            with suppress(RecipeError):
                return _convert(other, value, where)
        return _convert(last, value, where)
    if origin is tuple:
        if not isinstance(value, list):
            raise RecipeError(f"{where}: expected a list, found {value!r}")
        return tuple(_convert(arguments[0], item, f"{where}[{index}]") for index, item in enumerate(value))
    if origin is not None and issubclass(origin, Mapping):
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            raise RecipeError(f"{where}: expected a group of keys, found {value!r}")
        return {str(key): _convert(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is str and isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise RecipeError(f"{where}: expected {hint.__name__}, found {value!r}")
    return value
