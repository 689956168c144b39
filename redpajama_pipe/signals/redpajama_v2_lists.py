"""RedPajama-V2's word lists as hash tables that its kernels look into, and its list of domains."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlparse

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from redpajama_pipe.errors import SetupError
from redpajama_pipe.signals import resources
from redpajama_pipe.signals.redpajama_v2_kernels import PADDING, Lists, fill_slots, hash_words
from redpajama_pipe.signals.signal import Documents

# Only of these did the published code read a list of bad words; in any other language it counted none.
BAD_WORD_LANGUAGES = ("en", "fr", "it", "es", "de")


class Listed(NamedTuple):
    """Lists for a batch.

    Attributes:
        lists: for the kernels.
        known: (documents,) whether the count means something; else it is null.
    """

    lists: Lists
    known: NDArray[np.bool_]


def stop_words(documents: Documents, wanted: bool) -> Listed:
    """Look up the stop lists of a batch.

    Raises:
        SetupError: they are wanted by name and not installed.
    """
    if not wanted or (documents.lenient and not documents.resources.has(resources.STOP_WORDS)):
        return _none(documents)
    languages, of = _languages(documents)
    found = [documents.resources.words(resources.STOP_WORDS, language) for language in languages]
    listed = [words is not None for words in found]
    of = _renumbered(of, listed)
    return Listed(_stop_lists(tuple(words for words in found if words is not None))._replace(of=of), of >= 0)


def bad_words(documents: Documents, wanted: bool) -> Listed:
    """Look up the lists of bad words of a batch.

    Raises:
        SetupError: they are wanted by name and not installed.
    """
    if not wanted:
        return _none(documents)
    languages, of = _languages(documents)
    found: list[frozenset[str] | None] = []
    known = np.ones(len(languages), np.bool_)
    for index, language in enumerate(languages):
        words: frozenset[str] | None = None
        if language in BAD_WORD_LANGUAGES:
            path = documents.resources.artifact(f"bad_words/{language}.txt")
            if path is not None:
                words = _read_lines(path)
            elif not documents.lenient or documents.resources.has(resources.BAD_WORDS):
                words = documents.resources.words(resources.BAD_WORDS, language)
            known[index] = words is not None
        found.append(words)
    counted = (of >= 0) & np.append(known, False)[of]
    of = _renumbered(of, [words is not None for words in found])
    return Listed(_bad_lists(tuple(words for words in found if words is not None))._replace(of=of), counted)


def blacklist(documents: Documents) -> pa.Array:
    """Return the UT1 category of each document's host.

    The host is urllib's netloc, as CCNet wrote it into source_domain.

    Raises:
        SetupError: it is wanted by name and not installed.
    """
    path = documents.resources.artifact("bad_urls/domain_to_category_id.json")
    if path is None:
        if not documents.lenient:
            raise SetupError(
                f"no bad_urls/domain_to_category_id.json in RedPajama-V2's artifacts: set Resources.artifacts or "
                f"{resources.ARTIFACTS_ENVIRONMENT} to the folder that its app/src/artifacts/update_resources.py made"
            )
        return pa.nulls(len(documents.texts), pa.int64())
    if documents.urls is None:
        return pa.nulls(len(documents.texts), pa.int64())
    categories = _read_categories(path)
    values = [
        categories.get(_host(url)) if url is not None and valid else None
        for url, valid in zip(documents.urls.to_pylist(), documents.utf8.valid, strict=True)
    ]
    return pa.array(values, pa.int64())


def _host(url: str) -> str | None:
    try:
        return urlparse(url).netloc
    except ValueError:  # an address in brackets that is none
        return None


@lru_cache(maxsize=1)
def _read_categories(path: Path) -> dict[str | None, int]:
    categories: dict[str | None, int] = json.loads(path.read_text(encoding="utf-8"))
    return categories


@lru_cache(maxsize=16)
def _read_lines(path: Path) -> frozenset[str]:
    with path.open(encoding="utf-8") as file:
        return frozenset(line.strip() for line in file)


def _languages(documents: Documents) -> tuple[list[str], NDArray[np.int32]]:
    """Return the languages of a batch, and which of them each document has; -1: none is known."""
    if isinstance(documents.language, str):
        return [documents.language], np.zeros(len(documents.texts), np.int32)
    encoded = documents.language.dictionary_encode()
    of = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int32)
    return encoded.dictionary.to_pylist(), of


def _renumbered(of: NDArray[np.int32], kept: list[bool]) -> NDArray[np.int32]:
    numbers = np.where(kept, np.cumsum(kept, dtype=np.int32) - 1, -1)
    return np.append(numbers, -1).astype(np.int32)[of]


def _none(documents: Documents) -> Listed:
    of = np.full(len(documents.texts), -1, np.int32)
    return Listed(_stop_lists(())._replace(of=of), of >= 0)


@lru_cache(maxsize=16)
def _stop_lists(words_of: tuple[frozenset[str], ...]) -> Lists:
    tables = [_table(_hashes(sorted(words)) | np.uint64(1))[0] for words in words_of]
    longest = np.zeros((len(words_of), 2), np.int64)
    for index, words in enumerate(words_of):
        for word in filter(None, words):
            kind = not (word[0].isalnum() or word[0] == "_")
            longest[index, int(kind)] = max(longest[index, int(kind)], len(word.encode()))
    return Lists(
        np.zeros(0, np.int32), _begins(tables), longest, np.concatenate([*tables, _NO_KEYS]),
        np.zeros(0, np.uint8), np.zeros((0, 2), np.int32), np.zeros(1, np.int64), _NO_KEYS,
    )  # fmt: skip


@lru_cache(maxsize=16)
def _bad_lists(words_of: tuple[frozenset[str], ...]) -> Lists:
    tables: list[NDArray[np.uint64]] = []
    singles, rests = [np.zeros(0, np.uint8)], [np.zeros((0, 2), np.int32)]
    rest_at, rest_words = [0], list[str]()
    for words in words_of:
        # Ascending, so that those with the same first word stand together. They are not normalised, as published: one
        # that has a capital, a hyphen or an accented letter in one piece has a hash that no word of a text has.
        entries = sorted({tuple(word.strip().split(" ")) for word in words})
        table, slots = _table(_hashes([entry[0] for entry in entries]))
        single, rest = np.zeros(len(table), np.uint8), np.zeros((len(table), 2), np.int32)
        for slot, (_, *more) in zip(slots.tolist(), entries, strict=True):
            if not more:
                single[slot] = 1
                continue
            if rest[slot, 1] == 0:
                rest[slot] = len(rest_at) - 1
            rest_words += more
            rest_at.append(len(rest_words))
            rest[slot, 1] += 1
        tables.append(table)
        singles.append(single)
        rests.append(rest)
    return Lists(
        np.zeros(0, np.int32), _begins(tables), np.zeros((0, 2), np.int64), np.concatenate([*tables, _NO_KEYS]),
        np.concatenate(singles), np.concatenate(rests), np.array(rest_at, np.int64), _hashes(rest_words),
    )  # fmt: skip


_NO_KEYS = np.zeros(0, np.uint64)


def _begins(tables: list[NDArray[np.uint64]]) -> NDArray[np.int64]:
    return np.cumsum([0, *map(len, tables)], dtype=np.int64)


def _table(keys: NDArray[np.uint64]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Make a hash table, and say which slot each key has."""
    size = 1 << max(4, (2 * len(keys)).bit_length())
    while True:
        table = np.zeros(size + 3, np.uint64)
        slots = np.empty(len(keys), np.int64)
        if fill_slots(table, keys, slots):
            return table, slots
        size *= 2


def _hashes(words: list[str]) -> NDArray[np.uint64]:
    encoded = [word.encode("utf-8", "surrogatepass") for word in words]
    keys = np.empty(len(words), np.uint64)
    text = np.frombuffer(bytearray(b"".join([*encoded, bytes(PADDING)])), np.uint8)
    hash_words(text, np.cumsum([0, *map(len, encoded)], dtype=np.int64), keys)
    return keys
