"""Find the files of a source and name each by what does not change when the corpus moves.

Paths and glob patterns, on a local disk or anything fsspec lists. The result depends on which files there are alone:
not on the order of the patterns, nor on how often one names a file.
"""

from __future__ import annotations

import os
import re
from fnmatch import fnmatchcase
from posixpath import normpath
from typing import Any
from urllib.parse import urlsplit

from fsspec.implementations.local import LocalFileSystem

from redpajama_pipe import storage
from redpajama_pipe.errors import InputError
from redpajama_pipe.report.figures import plural
from redpajama_pipe.settings.source import Source
from redpajama_pipe.sources.record import Split
from redpajama_pipe.sources.remote import DEFAULT, Retry, hidden, is_http
from redpajama_pipe.sources.remote_store import client_errors, filesystem_of
from redpajama_pipe.sources.snapshots import listed_splits
from redpajama_pipe.sources.wiki_splits import cut_dumps, is_index

_MAGIC = re.compile(r"[*?\[]")
# One storage under the names that Hadoop and fsspec give it.
_SCHEMES = {"s3a": "s3", "s3n": "s3", "gcs": "gs"}


def plan_splits(source: Source, retry: Retry = DEFAULT) -> list[Split]:
    """List the files of a source, sorted by identity, each once.

    Returns:
        One split for each file, several for a multistream dump with its index (see wiki_splits). Its `uri` can be
        opened; its `identity` is the path relative to `source.root` when there is one, else the whole URI, in both
        cases without credentials and query; for a snapshot the path from crawl-data/ on.

    Raises:
        InputError: a pattern matches no file, a file lies outside the root, two files would have one identity, or a
            dump's index is not its own.
        SetupError: a URL needs a package that is not installed.
    """
    if source.snapshot:
        listed = listed_splits(source, retry)
        splits = [split for split in listed if not _excluded(split.identity, source.exclude)]
        if not splits:
            raise InputError(f"sources.{source.name}: exclude leaves none of the {plural(len(listed), 'file')} chosen")
        return splits
    root = _identity(storage.absolute(source.root)).rstrip("/") if source.root else None
    found: dict[str, Split] = {}
    for pattern in source.paths:
        matched = _expand(pattern, source.name)
        left = 0
        for uri in matched:
            identity = _identity(uri)
            if root is not None:
                if not identity.startswith(root + "/"):
                    raise InputError(
                        f"sources.{source.name}: {identity!r} is not below the root {hidden(source.root)!r}; set root "
                        "to a folder that holds every path, or leave it out"
                    )
                identity = identity[len(root) + 1 :]
            if _excluded(identity, source.exclude) or (source.kind == "wikipedia" and is_index(uri)):
                continue
            if not _is_unicode(identity):
                raise InputError(
                    f"sources.{source.name}: the name of {identity!a} is not UTF-8, so that its documents cannot "
                    f"be named after it; rename it, or leave it out with sources.{source.name}.exclude"
                )
            left += 1
            other = found.setdefault(identity, Split(source.name, uri, identity))
            if urlsplit(other.uri).query != urlsplit(uri).query and is_http(uri):
                raise InputError(
                    f"sources.{source.name}: two paths differ only in their query, so their documents would have the "
                    f"same ids: {identity!r}; give each file a name of its own"
                )
        if not left:
            why = f"exclude leaves none of {plural(len(matched), 'file')} of" if matched else "no file matches"
            raise InputError(
                f"sources.{source.name}: {why} {hidden(pattern)!r}; correct sources.{source.name}."
                f"{'exclude' if matched else 'paths'}, or see that the files are where this machine can read them"
            )
    splits = [found[identity] for identity in sorted(found)]
    return cut_dumps(splits, retry) if source.kind == "wikipedia" else splits


def _expand(pattern: str, name: str) -> list[str]:
    """List the files that a path or a pattern names, as URIs that can be opened."""
    uri = storage.absolute(pattern)
    shown = hidden(pattern)
    if is_http(uri):
        if re.search(r"[*\[]", shown):
            raise InputError(f"sources.{name}: {shown!r} is a pattern, and web servers list no files; name each file")
        return [uri]
    filesystem, path = filesystem_of(uri)
    try:
        return _find(filesystem, path, uri, name)
    except client_errors() as error:
        raise InputError(f"sources.{name}: {shown!r} cannot be listed: {error}") from error


def _find(filesystem: Any, path: str, uri: str, name: str) -> list[str]:
    """List the files that a path or a pattern names in a file system."""
    if filesystem.isfile(path):  # asked first: names may hold ? and [
        return [uri]
    if not _MAGIC.search(path):
        if filesystem.isdir(path):
            shown = hidden(uri)
            raise InputError(
                f"sources.{name}: {shown!r} is a folder; {shown.rstrip('/') + '/**'!r} is every file in it"
            )
        return []
    local = isinstance(filesystem, LocalFileSystem)
    # fsspec lists a link as "other"; one that leads nowhere is told by whoever opens it
    names = [
        item
        for item, info in filesystem.glob(path, detail=True).items()
        if info["type"] == "file" or (local and info.get("islink") and not os.path.isdir(item))
    ]
    return sorted(item if local else filesystem.unstrip_protocol(item) for item in names)


def _identity(uri: str) -> str:
    """Write a location in one way: local paths absolute and without file://, URLs without what may change."""
    if "://" not in uri or uri.startswith("file://"):
        return normpath(uri.removeprefix("file://"))
    scheme, _, rest = hidden(uri).partition("://")
    host, slash, path = rest.lstrip("/").partition("/")  # memory:///a is what fsspec lists for memory://a
    if is_http(uri):
        host = host.lower()
    scheme = scheme.lower()
    return f"{_SCHEMES.get(scheme, scheme)}://{host}{slash}{path}"


def _is_unicode(name: str) -> bool:
    """Say whether a name has no bytes that Python could not decode."""
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


def _excluded(identity: str, patterns: tuple[str, ...]) -> bool:
    name = identity.rsplit("/", 1)[-1]
    return any(fnmatchcase(name, pattern) or fnmatchcase(identity, pattern) for pattern in patterns)
