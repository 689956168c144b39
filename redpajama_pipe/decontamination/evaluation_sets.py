"""Evaluation sets as lists of examples: JSON lines, JSON, CSV, TSV or plain text, compressed or not.

What a file is says its name, without .gz, .zst or .bz2; how it is compressed say its first bytes. A set is read whole.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redpajama_pipe.errors import InputError
from redpajama_pipe.settings.decontaminate import EvaluationSet
from redpajama_pipe.settings.source import Source
from redpajama_pipe.sources.plan import plan_splits
from redpajama_pipe.sources.sanitise import clean
from redpajama_pipe.sources.streams import open_stream

_COMPRESSED = (".gz", ".zst", ".bz2")
KINDS = (".jsonl", ".json", ".csv", ".tsv", ".txt")


@dataclass(frozen=True)
class Example:
    """One example: its id in its set, and its text."""

    id: str
    text: str


@dataclass(frozen=True)
class Examples:
    """The examples of one set, in the order of its files; `sha256` is that of the files' bytes, decompressed."""

    name: str
    examples: Sequence[Example]
    sha256: str


def read_set(chosen: EvaluationSet) -> Examples:
    """Read the examples of a set.

    The fields of an example are joined by line feeds, those that are lists of strings item by item. An example's id is
    what its `id_field` holds, or else its number in the set, from 0, the files in the order of their names.

    Raises:
        InputError: no such file, a file that cannot be read or parsed, an example without the fields, no examples.
    """
    where = f"decontaminate.sets.{chosen.name}"
    found: list[Example] = []
    digest = hashlib.sha256()
    for uri in files_of(chosen):
        data = _bytes(uri)
        digest.update(hashlib.sha256(data).digest())
        for number, record in _records(uri, data):
            at = f"{where}: {uri}, example {number}"
            parts = [part for field in chosen.fields for part in _strings(_field(record, field, at), at, field)]
            text = "\n".join(parts if chosen.fields else _every_string(record))
            name = _field(record, chosen.id_field, at) if chosen.id_field else len(found)
            found.append(Example(clean(str(name)), clean(text)))
    if not any(example.text for example in found):
        raise InputError(f"{where}: no text in {len(found)} examples; see its paths and fields")
    return Examples(chosen.name, found, digest.hexdigest())


def files_of(chosen: EvaluationSet) -> list[str]:
    """Find the files of a set, in the order of their names.

    Raises:
        InputError: no such file.
    """
    where = f"decontaminate.sets.{chosen.name}"
    try:
        splits = plan_splits(Source(chosen.name, "jsonl", chosen.paths))
    except InputError as error:  # said of a source there
        raise InputError(str(error).replace(f"sources.{chosen.name}", where)) from None
    return [split.uri for split in splits]


def _bytes(uri: str) -> bytes:
    with open_stream(uri) as stream:
        data = b"".join(stream.blocks())
        if stream.fault:
            raise InputError(f"{uri}: {stream.fault.reason}: {stream.fault.detail}; get the file again")
    return data


def _records(uri: str, data: bytes) -> Iterator[tuple[int, Any]]:
    """Yield each example of a file with its number in it, from 0."""
    name = uri.lower()
    for suffix in _COMPRESSED:
        name = name.removesuffix(suffix)
    kind = next((kind for kind in KINDS if name.endswith(kind)), None)
    if kind is None:
        raise InputError(f"{uri}: the name says no format; it may end in {', '.join(KINDS)}, before .gz, .zst or .bz2")
    try:
        text = data.decode("utf-8-sig")
        if kind == ".json":
            tree = json.loads(text)
            yield from enumerate(tree if isinstance(tree, list) else [tree])
        elif kind in (".csv", ".tsv"):
            yield from enumerate(_rows(text, "," if kind == ".csv" else "\t"))
        else:
            lines = [line for line in text.split("\n") if line.strip()]
            yield from enumerate(json.loads(line) if kind == ".jsonl" else line for line in lines)
    except (ValueError, RecursionError, csv.Error) as error:
        raise InputError(f"{uri} is no valid {kind[1:]}: {error}") from error


def _rows(text: str, delimiter: str) -> list[dict[str, Any]]:
    limit = csv.field_size_limit(len(text) + 1)  # of the process: 128 KiB, less than some passages have
    try:
        return list(csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter))
    finally:
        csv.field_size_limit(limit)


def _field(record: Any, field: str, at: str) -> Any:
    """Return what a field holds; dots descend."""
    value = record
    for step in field.split("."):
        if not isinstance(value, Mapping) or step not in value:
            known = ", ".join(map(str, record)) if isinstance(record, Mapping) else "none"
            raise InputError(f"{at} has no field {field!r}; it has: {known}")
        value = value[step]
    return value


def _strings(value: Any, at: str, field: str) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return value
    raise InputError(f"{at}: {field!r} holds {value!r}, no string and no list of strings; name other fields")


def _every_string(value: Any) -> list[str]:
    """Return all strings of a record, in order, however deep."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        value = list(value.values())
    return [text for item in value for text in _every_string(item)] if isinstance(value, list) else []
