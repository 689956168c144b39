"""Files of an object store, or of anything else that fsspec opens, in blocks that are asked for again after trouble.

A store's own client tries again too (botocore some four times); here it is made sure that what came is all that was
asked for, and that the file is still the one whose size was taken.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib import import_module
from typing import Any, BinaryIO

import fsspec

from redpajama_pipe.errors import InputError, SetupError
from redpajama_pipe.sources.remote import Answer, Retry, State, Trouble, changed, hidden, reading

BLOCK_BYTES = 16 << 20
S3 = ("s3://", "s3a://")


def filesystem_of(uri: str) -> tuple[Any, str]:
    """Return fsspec's file system for a URI, and the path in it.

    S3 is asked with the credentials that there are, and without any where there are none, for public buckets. Options
    for a store come from fsspec's configuration (FSSPEC_S3_ENDPOINT_URL and the like).

    Raises:
        SetupError: the package for it is not installed.
        InputError: no such kind of URL.
    """
    options: dict[str, Any] = {}
    try:
        if uri.startswith(S3) and not _s3_is_configured() and not _has_credentials():
            options["anon"] = True
        filesystem, path = fsspec.core.url_to_fs(uri, **options)
    except ImportError as error:
        extra = "; pip install 'redpajama-pipe[s3]'" if uri.startswith(S3) else ""
        raise SetupError(f"{hidden(uri)!r} cannot be opened: {error}{extra}") from error
    except ValueError as error:
        raise InputError(f"{hidden(uri)!r} cannot be opened: {error}") from error
    return filesystem, path


class Store:
    """Asks for the bytes of one file of a store."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._shown = hidden(uri)
        self._filesystem, self._path = filesystem_of(uri)

    def ask(self, position: int, end: int | None, retry: Retry) -> Answer:
        with self._judged():
            state = self._look()
            assert state.size is not None
            file = self._filesystem.open(self._path, "rb", block_size=BLOCK_BYTES, cache_type="none")
            file.seek(min(position, state.size))
        stop = state.size if end is None else min(end, state.size)
        return Answer(_Blocks(self, file, position, stop), position, state)

    def check(self, state: State) -> None:
        """Take the state of the file again: not every store refuses a block of a file that was replaced."""
        with self._judged():
            now = self._look()
        if state.differs(now):
            raise InputError(changed(self._shown))

    def block(self, file: BinaryIO, size: int) -> bytes:
        """Read the next block of a file, whole."""
        with self._judged():
            data = file.read(size)
        if len(data) < size:
            raise Trouble(f"{len(data)} bytes came of a block of {size}")
        return data

    def _look(self) -> State:
        self._filesystem.invalidate_cache(self._path)  # a listing may be older than the file
        info = self._filesystem.info(self._path)
        if info["type"] == "directory":
            raise IsADirectoryError(self._path)
        modified = next((info[key] for key in ("LastModified", "last_modified", "mtime", "updated") if key in info), "")
        return State(int(info["size"]), str(info.get("ETag") or info.get("etag") or ""), str(modified))

    @contextmanager
    def _judged(self) -> Iterator[None]:
        """Tell what may pass from what will not."""
        try:
            yield
        except PermissionError as error:
            unsigned = getattr(self._filesystem, "anon", False)
            why = " (the request was not signed: no credentials were found)" if unsigned else ""
            raise InputError(f"cannot read {self._shown!r}: permission denied{why}") from error
        except (FileNotFoundError, IsADirectoryError) as error:
            with reading(self._uri):
                raise error
        except client_errors() as error:
            raise Trouble(str(error) or type(error).__name__) from error


class _Blocks:
    """What is left of a file, fetched in blocks."""

    def __init__(self, store: Store, file: BinaryIO, position: int, stop: int) -> None:
        self._store = store
        self._file = file
        self._left = max(0, stop - position)
        self._block = memoryview(b"")

    def read(self, size: int) -> bytes:
        if not self._block and self._left:
            self._block = memoryview(self._store.block(self._file, min(self._left, BLOCK_BYTES)))
            self._left -= len(self._block)
        data = bytes(self._block[:size])
        self._block = self._block[size:]
        return data

    def close(self) -> None:
        self._file.close()


def client_errors() -> tuple[type[Exception], ...]:
    """List how a store's client fails: OSError, and what is none, of the clients that are in use."""
    names = {"botocore.exceptions": "BotoCoreError", "aiohttp": "ClientError", "requests": "RequestException"}
    used = (getattr(sys.modules[module], name) for module, name in names.items() if module in sys.modules)
    return OSError, EOFError, *used


def _s3_is_configured() -> bool:
    chosen = fsspec.config.conf.get("s3", {})
    return any(key in chosen for key in ("anon", "key", "profile", "session"))


@lru_cache(maxsize=1)
def _has_credentials() -> bool:
    """Say whether botocore finds credentials for AWS: in the environment, a profile, or the machine's role."""
    return import_module("botocore.session").Session().get_credentials() is not None
