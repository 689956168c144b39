"""Files of a run, on a local disk or anything fsspec opens; every file is written whole or not at all.

On a local disk a file is written under a temporary name, flushed to the disk and renamed. Object stores show an
object only when its upload is complete, so there it is written in place. A disk that refuses is a StorageError.
"""

from __future__ import annotations

import errno
import hashlib
import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

import fsspec
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem

from redpajama_pipe.errors import DISK_CLOSED, DISK_FULL, GIVE_ACCESS, MAKE_ROOM, InputError, StorageError


@dataclass(frozen=True, slots=True)
class File:
    """One written file: its path relative to the stage's folder, its size in bytes, its sha256."""

    path: str
    bytes: int
    sha256: str


class HashingFile:
    """A writable binary file that hashes what goes through it, so that no file is read again for its checksum."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw = raw
        self._hash = hashlib.sha256()
        self.size = 0
        self.closed = False

    def write(self, data: Any) -> int:
        view = memoryview(data)
        self._hash.update(view)
        self.size += view.nbytes
        self._raw.write(view)
        return view.nbytes

    def tell(self) -> int:
        return self.size

    def flush(self) -> None:
        self._raw.flush()

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False

    def close(self) -> None:  # the context manager of `create` closes the file beneath
        self.closed = True

    def hexdigest(self) -> str:
        return self._hash.hexdigest()


def absolute(path: str) -> str:
    """Make a local path absolute (workers have other working directories); URLs stay as they are.

    Raises:
        InputError: it is relative, and the present folder was removed.
    """
    try:
        return path if "://" in path else os.path.abspath(os.path.expanduser(path))
    except FileNotFoundError:
        raise InputError(f"{path}: the present folder is gone; change to one that is there") from None


def join(folder: str, *steps: str) -> str:
    """Join path steps with slashes."""
    return "/".join([folder.rstrip("/"), *steps])


def for_spark(path: str) -> str:
    """Write a path as Hadoop reads it: s3:// becomes s3a://, local paths become file:// URLs."""
    if "://" not in path:
        return "file://" + absolute(path)
    return "s3a://" + path[len("s3://") :] if path.startswith("s3://") else path


def refusal(folder: str, reason: str, *, full: bool) -> StorageError:
    """Return the error for a folder that cannot be written to: which, why, what is free, and the way out."""
    if not full:
        return StorageError(f"cannot write to {folder}: {reason}; {GIVE_ACCESS}")
    return StorageError(f"cannot write to {folder}: {reason}{_free(folder)}; {MAKE_ROOM}")


def _free(folder: str) -> str:
    """Say what the disk of a folder has left, in brackets; nothing where it does not tell."""
    from redpajama_pipe.progress import human_bytes

    while not os.path.exists(folder) and os.path.dirname(folder) != folder:
        folder = os.path.dirname(folder)
    try:
        disk = os.statvfs(folder)
    except OSError:
        return ""
    if disk.f_files and not disk.f_favail:
        return f" (no more files: all {disk.f_files:,} inodes are taken)"
    free, size = disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize
    return f" ({human_bytes(free)} of {human_bytes(size)} free)"


@contextmanager
def _refused(folder: str, kinds: Sequence[int]) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in kinds:
            raise
        raise refusal(folder, str(error.strerror), full=error.errno in DISK_FULL) from error


@contextmanager
def create(path: str) -> Iterator[HashingFile]:
    """Write a file atomically: it exists under its name only after the block ended without an error.

    Raises:
        StorageError: the disk is full, over its quota, read-only, or closed to the user.
    """
    filesystem, target = fsspec.core.url_to_fs(path)
    if not isinstance(filesystem, LocalFileSystem):
        with filesystem.open(target, "wb") as raw:
            yield HashingFile(raw)
        return
    folder = os.path.dirname(target)
    temporary = os.path.join(folder, f".{os.path.basename(target)}.{uuid.uuid4().hex}.tmp")
    with _refused(folder, (*DISK_FULL, *DISK_CLOSED)):
        os.makedirs(folder, exist_ok=True)
        raw = open(temporary, "wb")  # noqa: SIM115  closed below
    try:
        # no EACCES: it would be of what the block reads
        with _refused(folder, (*DISK_FULL, errno.EROFS)):
            with raw:
                yield HashingFile(raw)
                raw.flush()
                os.fsync(raw.fileno())
            os.replace(temporary, target)
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)


def write_bytes(path: str, data: bytes) -> File:
    """Write a small file atomically."""
    with create(path) as file:
        file.write(data)
    return File(path.rsplit("/", 1)[-1], file.size, file.hexdigest())


def read_bytes(path: str) -> bytes:
    """Read a whole file.

    Raises:
        FileNotFoundError: there is none.
    """
    with fsspec.open(path, "rb") as file:
        data: bytes = file.read()
    return data


def open_parquet(path: str) -> pq.ParquetFile:
    """Open a Parquet file of a run; a context manager, as pyarrow's own.

    Raises:
        FileNotFoundError: there is none.
    """
    filesystem, target = fsspec.core.url_to_fs(path)
    return pq.ParquetFile(target, filesystem=filesystem)


def exists(path: str) -> bool:
    """Say whether a file or folder is there."""
    filesystem, target = fsspec.core.url_to_fs(path)
    return bool(filesystem.exists(target))


def size(path: str) -> int:
    """Return a file's size in bytes.

    Raises:
        FileNotFoundError: there is none.
    """
    filesystem, target = fsspec.core.url_to_fs(path)
    return int(filesystem.info(target)["size"])


def fingerprint(path: str) -> tuple[int, str]:
    """Return a file's size, and a description of its state that changes when the file does."""
    filesystem, target = fsspec.core.url_to_fs(path)
    info = filesystem.info(target)
    tag = next(
        (str(info[key]) for key in ("ETag", "etag", "mtime", "LastModified", "last_modified") if info.get(key)), ""
    )
    return int(info["size"]), f"{info['size']}:{tag}"


def sha256(path: str) -> str:
    """Hash a whole file, in pieces."""
    digest = hashlib.sha256()
    with fsspec.open(path, "rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def list_names(folder: str) -> list[str]:
    """Name the files directly inside a folder, sorted; a folder that is not there has none."""
    return sorted(list_sizes(folder))


def list_sizes(folder: str) -> dict[str, int]:
    """Return name → bytes of the files directly inside a folder, by one listing; none where it is not there."""
    filesystem, target = fsspec.core.url_to_fs(folder)
    if not filesystem.exists(target):
        return {}
    filesystem.invalidate_cache(target)
    return {
        str(item["name"]).rsplit("/", 1)[-1]: int(item["size"])
        for item in filesystem.ls(target, detail=True)
        if item["type"] == "file"
    }


def remove(path: str) -> None:
    """Remove a file, or a folder with all that is in it; nothing happens when it is not there."""
    filesystem, target = fsspec.core.url_to_fs(path)
    if filesystem.exists(target):
        filesystem.rm(target, recursive=True)
