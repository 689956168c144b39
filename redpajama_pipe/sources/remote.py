"""Read a file over https, from an object store or from a disk, so that trouble on the way never looks like its end.

    open_remote(uri: str, *, start: int = 0, end: int | None = None, retry: Retry = Retry()) -> BinaryIO
    fetch(uri: str, *, retry: Retry = Retry()) -> bytes
    stat(uri: str, *, retry: Retry = Retry()) -> State

A file is read in as few requests as can be: Common Crawl throttles requests, not bytes, and asks to wait and try again
(https://status.commoncrawl.org). A cut, a short body, a time-out or a status that asks for patience is met with waiting
and with a request for exactly the bytes that are missing; a file that changed meanwhile, and one that does not come
after the last attempt, is an InputError. Memory: 1 MiB over http, one block of 16 MiB from an object store.
"""

from __future__ import annotations

import io
import random
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, Protocol, cast

from redpajama_pipe.errors import InputError

READ_BYTES = 1 << 16  # what a reset connection may cost: bytes that came and were not handed on yet
BUFFER_BYTES = 1 << 20
# After so many bytes without trouble the attempts count anew, so that a long file may meet more of it than a short one.
FRESH_BYTES = 1 << 20
# A server may ask for hours; a task that waits longer than this had better fail and be run again.
RETRY_AFTER_SECONDS = 300.0

_CREDENTIALS = re.compile(r"(?<=://)[^/@]*@")

pause = time.sleep


@dataclass(frozen=True)
class Retry:
    """How long to try. Nothing here changes a byte of what is read.

    Attributes:
        attempts: requests for one place in a file before it is given up.
        timeout: seconds to wait for a connection, and for the next bytes of one.
        backoff: seconds before the second attempt; doubled each time. One second is what Common Crawl calls polite.
        backoff_limit: seconds, the longest wait, unless a server asks for a longer one (at most 300 s are granted).
    """

    attempts: int = 12
    timeout: float = 60.0
    backoff: float = 1.0
    backoff_limit: float = 60.0


DEFAULT = Retry()


@dataclass(frozen=True, slots=True)
class State:
    """What a server says of a file: its size in bytes (None: it does not say), and marks that change with the file."""

    size: int | None
    etag: str = ""
    modified: str = ""

    def differs(self, other: State) -> bool:
        """Say whether the two are certainly states of different contents."""
        if None not in (self.size, other.size) and self.size != other.size:
            return True
        if self.etag and other.etag:
            return self.etag != other.etag
        return bool(self.modified and other.modified and self.modified != other.modified)


class Trouble(OSError):
    """Something that may be over when asked again; `wait`: seconds that the server asked for."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


class Body(Protocol):
    """The bytes that answer one request."""

    def read(self, size: int) -> bytes:
        """Return one byte to `size`, or b"" when all that was announced has come.

        Raises:
            Trouble: no more comes, although more was announced.
        """

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Answer:
    """A request's answer: bytes from `position` on, of a file in this state; `last`: to the end of what was asked."""

    body: Body
    position: int
    state: State
    last: bool = True


class Transport(Protocol):
    """How the bytes of one file are asked for."""

    def ask(self, position: int, end: int | None, retry: Retry) -> Answer:
        """Ask for the bytes from position to end (None: of the file), or for more than these.

        Raises:
            Trouble: asking again may help.
            InputError: it will not.
        """

    def check(self, state: State) -> None:
        """Look once more at a file that was read whole.

        Raises:
            Trouble: asking again may help.
            InputError: it is no longer in this state.
        """


class RemoteFile(io.RawIOBase):
    """A raw stream over requests that are repeated until every byte has come.

    Args:
        uri: for messages.
        transport: how to ask.
        start: first byte.
        end: one past the last byte; None: the end of the file.
        retry: how long to try.
    """

    def __init__(self, uri: str, transport: Transport, start: int, end: int | None, retry: Retry) -> None:
        super().__init__()
        self._uri = uri
        self._transport = transport
        self._retry = retry
        self._end = end
        self._at = start  # of the next byte to come from the network
        self._answer: Answer | None = None
        self._state: State | None = None
        self._ready = memoryview(b"")  # has come, and is to be handed on
        self._failures = 0
        self._failed_at = start
        self._ended = end is not None and start >= end

    @property
    def size(self) -> int | None:
        """Size of the whole file in bytes, as far as it is known by now."""
        return self._state.size if self._state else None

    def open(self) -> State:
        """Ask for the first bytes, so that a missing file is found now; returns what the server says of the file."""
        while self._answer is None and not self._ended:
            try:
                self._ask()
            except Trouble as trouble:
                self._meet(trouble)
        return self._state or State(None)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at - len(self._ready)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_CUR:
            offset += self.tell()
        elif whence == io.SEEK_END:
            self.open()
            if self.size is None:
                raise io.UnsupportedOperation(f"{self._uri}: the server does not say how long the file is")
            offset += self.size
        if offset < 0:
            raise ValueError(f"negative position {offset}")
        if offset != self.tell():
            self._drop()
            self._ready = memoryview(b"")
            self._at = offset
            self._ended = self._past_end()
        return offset

    def readinto(self, target: object) -> int:
        into = memoryview(target).cast("B")  # type: ignore[arg-type]
        if not self._ready and len(into):
            self._ready = memoryview(self._next())
        count = min(len(into), len(self._ready))
        into[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count

    def close(self) -> None:
        self._drop()
        super().close()

    def _past_end(self) -> bool:
        ends = [at for at in (self._end, self.size) if at is not None]
        return bool(ends) and self._at >= min(ends)

    def _next(self) -> bytes:
        """Return the next bytes, or b"" at the end."""
        while not self._ended:
            try:
                if self._answer is None:
                    self._ask()
                assert self._answer is not None
                data = self._answer.body.read(READ_BYTES)
                if data:
                    if self._end is not None:
                        data = data[: self._end - self._at]
                    self._at += len(data)
                    self._ended = self._end is not None and self._at >= self._end
                    return data
                self._finish(self._answer)
            except Trouble as trouble:
                self._meet(trouble)
        self._drop()
        return b""

    def _ask(self) -> None:
        answer = self._transport.ask(self._at, self._end, self._retry)
        self._answer = answer
        if self._state is None:
            self._state = answer.state
        elif self._state.differs(answer.state):
            raise InputError(changed(self._uri))
        if self._past_end():
            self._ended = True
            return
        left = self._at - answer.position
        while left > 0:  # a server that cannot begin in the middle sends everything again
            data = answer.body.read(min(left, READ_BYTES))
            if not data:
                raise Trouble(f"the body ends {left} bytes before byte {self._at}")
            left -= len(data)

    def _finish(self, answer: Answer) -> None:
        """Decide what the end of a body means."""
        assert self._state is not None
        size = self._state.size
        whole = answer.last if size is None else self._at >= size
        if whole:
            self._transport.check(self._state)
            self._ended = True
        elif answer.last:
            raise Trouble(f"the body ends at byte {self._at} of {size}")
        self._drop()  # part of what was asked for: ask for the rest

    def _meet(self, trouble: Trouble) -> None:
        """Wait before the next attempt, or give up."""
        self._drop()
        if self._at - self._failed_at >= FRESH_BYTES:
            self._failures = 0
        self._failed_at = self._at
        self._failures += 1
        if self._failures >= self._retry.attempts:
            raise InputError(
                f"cannot read {self._uri!r}: {trouble} (byte {self._at}, attempt {self._failures} of "
                f"{self._retry.attempts}); run again later, or raise execution.read_attempts"
            ) from trouble
        longest = min(self._retry.backoff * 2.0 ** min(self._failures - 1, 32), self._retry.backoff_limit)
        # jitter: tasks that were turned away together must not come back together; it touches no output
        wait = longest * random.uniform(0.5, 1.0)
        pause(max(wait, min(trouble.wait, RETRY_AFTER_SECONDS)))

    def _drop(self) -> None:
        if self._answer is not None:
            self._answer.body.close()
            self._answer = None


def changed(uri: str) -> str:
    """Say that a file is no longer what it was when reading began."""
    return f"{uri!r} changed while it was read; run again to read it anew"


def is_local(uri: str) -> bool:
    """Say whether a URI is a path of this machine."""
    return "://" not in uri or uri.startswith("file://")


def is_http(uri: str) -> bool:
    """Say whether a URI is read over http or https."""
    return uri.lower().startswith(("http://", "https://"))


def open_remote(uri: str, *, start: int = 0, end: int | None = None, retry: Retry = DEFAULT) -> BinaryIO:
    """Open a local file or a URL for reading; seeking, and positions count from the start of the file.

    Args:
        uri: a path, http(s)://, s3:// or anything else that fsspec knows.
        start: first byte.
        end: one past the last byte; None: the end of the file.
        retry: how long to try.

    Raises:
        InputError: there is no such file, it may not be read, or it does not come after the last attempt; reading
            raises it too, never an end of file that is not one.
        SetupError: a package is missing.
    """
    if is_local(uri) and (start, end) == (0, None):
        with reading(uri):
            return open(uri.removeprefix("file://"), "rb")
    raw = RemoteFile(hidden(uri), transport_of(uri), start, end, retry)
    try:
        raw.open()
    except BaseException:
        raw.close()
        raise
    return cast(BinaryIO, io.BufferedReader(raw, BUFFER_BYTES))


def fetch(uri: str, *, retry: Retry = DEFAULT, most: int = 1 << 28) -> bytes:
    """Read a small file whole.

    Args:
        uri: as `open_remote` takes it.
        retry: how long to try.
        most: bytes; a larger file is not taken into memory.

    Raises:
        InputError: as `open_remote`; the file has more than `most` bytes.
    """
    with open_remote(uri, retry=retry) as file, reading(uri):
        data = file.read(most + 1)
    if len(data) > most:
        raise InputError(f"{hidden(uri)!r} has more than {most} bytes, too many for a file that is read whole")
    return data


def stat(uri: str, *, retry: Retry = DEFAULT) -> State:
    """Ask for the size of a file and for what changes with it, without reading it.

    Raises:
        InputError, SetupError: as `open_remote`.
    """
    with RemoteFile(hidden(uri), transport_of(uri), 0, 1, retry) as raw:
        return raw.open()


def transport_of(uri: str) -> Transport:
    """Choose how a file is asked for; a transport's packages are imported only where it is used."""
    if is_http(uri):
        from redpajama_pipe.sources.remote_http import Http

        return Http(uri)
    from redpajama_pipe.sources.remote_store import Store

    return Store(uri)


@contextmanager
def reading(uri: str) -> Iterator[None]:
    """Turn what a disk or a store says of a file that cannot be read into an InputError."""
    try:
        yield
    except Trouble:
        raise
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        reasons = {FileNotFoundError: "no such file", IsADirectoryError: "it is a folder"}
        raise InputError(f"cannot read {hidden(uri)!r}: {reasons.get(type(error), 'permission denied')}") from error
    except OSError as error:
        raise InputError(f"cannot read {hidden(uri)!r}: {error}") from error


def hidden(uri: str) -> str:
    """Write a URI without what is secret in it: user and password; over http also the query, which may be signed."""
    shown = _CREDENTIALS.sub("", uri)
    # elsewhere, ? and # are letters of a name
    return re.split(r"[?#]", shown, maxsplit=1)[0] if is_http(uri) else shown
