"""Find the files of a source and name each by what does not change when the corpus moves.

Paths and glob patterns, on a local disk or anything fsspec lists. The result depends on which files there are alone:
not on the order of the patterns, nor on how often one names a file.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from posixpath import normpath
from urllib.parse import urlsplit

import fsspec
from fsspec.implementations.local import LocalFileSystem

from redpajama_pipe import storage
from redpajama_pipe.errors import InputError, SetupError
from redpajama_pipe.recipe import Source
from redpajama_pipe.sources.record import Split

_MAGIC = re.compile(r"[*?\[]")
_CREDENTIALS = re.compile(r"(?<=://)[^/@]*@")
# One storage under the names that Hadoop and fsspec give it.
_SCHEMES = {"s3a": "s3", "s3n": "s3", "gcs": "gs"}


def plan_splits(source: Source) -> list[Split]:
    """List the files of a source, sorted by identity, each once.

    Returns:
        One split for each file. Its `uri` can be opened; its `identity` is the path relative to `source.root` when
        there is one, else the whole URI, in both cases without credentials and query.

    Raises:
        InputError: a pattern matches no file, a file lies outside the root, or two files would have one identity.
        SetupError: a URL needs a package that is not installed.
    """
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
                        f"sources.{source.name}: {identity!r} is not below the root {_shown(source.root)!r}; set root "
                        "to a folder that holds every path, or leave it out"
                    )
                identity = identity[len(root) + 1 :]
            if _excluded(identity, source.exclude):
                continue
            left += 1
            other = found.setdefault(identity, Split(source.name, uri, identity))
            if urlsplit(other.uri).query != urlsplit(uri).query and _is_http(uri):
                raise InputError(
                    f"sources.{source.name}: two paths differ only in their query, so their documents would have the "
                    f"same ids: {identity!r}; give each file a name of its own"
                )
        if not left:
            why = f"exclude leaves none of the {len(matched)} files of" if matched else "no file matches"
            raise InputError(
                f"sources.{source.name}: {why} {_shown(pattern)!r}; correct sources.{source.name}."
                f"{'exclude' if matched else 'paths'}, or see that the files are where this machine can read them"
            )
    return [found[identity] for identity in sorted(found)]


def _expand(pattern: str, name: str) -> list[str]:
    """List the files that a path or a pattern names, as URIs that can be opened."""
    uri = storage.absolute(pattern)
    shown = _shown(pattern)
    try:
        filesystem, path = fsspec.core.url_to_fs(uri)
    except ImportError as error:
        raise SetupError(f"sources.{name}: {shown!r} cannot be opened: {error}") from error
    except ValueError as error:
        raise InputError(f"sources.{name}: {shown!r} cannot be opened: {error}") from error
    if filesystem.isfile(path):  # asked first: names may hold ? and [
        return [uri]
    if not _MAGIC.search(path):
        if filesystem.isdir(path):
            raise InputError(
                f"sources.{name}: {shown!r} is a folder; {shown.rstrip('/') + '/**'!r} is every file in it"
            )
        return []
    names = [item for item, info in filesystem.glob(path, detail=True).items() if info["type"] == "file"]
    local = isinstance(filesystem, LocalFileSystem)
    return sorted(item if local else filesystem.unstrip_protocol(item) for item in names)


def _identity(uri: str) -> str:
    """Write a location in one way: local paths absolute and without file://, URLs without what may change."""
    if "://" not in uri or uri.startswith("file://"):
        return normpath(uri.removeprefix("file://"))
    scheme, _, rest = _shown(uri).partition("://")
    host, slash, path = rest.lstrip("/").partition("/")  # memory:///a is what fsspec lists for memory://a
    if _is_http(uri):  # elsewhere, ? and # are letters of a name
        host, path = host.lower(), re.split(r"[?#]", path, maxsplit=1)[0]
    scheme = scheme.lower()
    return f"{_SCHEMES.get(scheme, scheme)}://{host}{slash}{path}"


def _excluded(identity: str, patterns: tuple[str, ...]) -> bool:
    name = identity.rsplit("/", 1)[-1]
    return any(fnmatchcase(name, pattern) or fnmatchcase(identity, pattern) for pattern in patterns)


def _is_http(uri: str) -> bool:
    return uri.lower().startswith(("http://", "https://"))


def _shown(uri: str) -> str:
    """Write a URI without its credentials, for people and for ids."""
    return _CREDENTIALS.sub("", uri)
