"""One page's bytes to text: all of ingest that hands a page to native code, here or in a process of its own.

A native parser that dies takes the worker with it, and the next attempt would meet the same page. So whoever reads a
file again that a worker may have died in reads its pages through a child: it dies alone, the page is tried once more in
a new one, and goes to quarantine if that dies too. The child runs the same code, so its pages are the same; it costs
0.3 s to start and one copy of each page each way. A first attempt runs without it and writes nothing a page.
"""

from __future__ import annotations

import os
import pickle
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import IO

from redpajama_pipe.sources.charset import Decoded, decode
from redpajama_pipe.sources.html import ExtractionError, Page, find_extractor
from redpajama_pipe.sources.sanitise import clean

ATTEMPTS = 2
_SIZE = struct.Struct("<Q")

PageReader = Callable[[bytes, str | None, str], tuple[Decoded, Page]]


def page_reader(extractor: str) -> PageReader:
    """Return what turns a body into text: body, declared charset and kind (`html` or `text`) in, the page out.

    It raises ExtractionError for a page that cannot be read.

    Raises:
        SetupError: the extractor is not installed.
    """
    extract = find_extractor(extractor)

    def read(body: bytes, charset: str | None, kind: str) -> tuple[Decoded, Page]:
        decoded = decode(body, charset, markup=kind == "html")
        return decoded, Page(decoded.text, None) if kind == "text" else extract(clean(decoded.text))

    return read


@contextmanager
def open_pages(extractor: str, *, guarded: bool = False) -> Iterator[PageReader]:
    """Give a `page_reader`; guarded: one whose pages are read in a child process, and which outlives them.

    A page that ends the child twice raises ExtractionError, `extractor_crashed`.
    """
    reader = page_reader(extractor)  # here too: a missing extractor is told by its own error
    if not guarded:
        yield reader
        return
    child = _Child(extractor)
    try:
        yield child.read
    finally:
        child.close()


class _Child:
    """A process that reads pages; started when the first one comes, and again when one has ended it."""

    def __init__(self, extractor: str) -> None:
        self._extractor = extractor
        self._process: subprocess.Popen[bytes] | None = None

    def read(self, body: bytes, charset: str | None, kind: str) -> tuple[Decoded, Page]:
        request = pickle.dumps((body, charset, kind))
        for _ in range(ATTEMPTS):  # once more: what killed it may have come from outside
            answer = self._ask(request)
            if answer is not None:
                found = pickle.loads(answer)
                if isinstance(found, ExtractionError):
                    raise found
                page: tuple[Decoded, Page] = found
                return page
            ended = self._reap()
        raise ExtractionError("extractor_crashed", f"{self._extractor}: its process ended with {ended}")

    def _ask(self, request: bytes) -> bytes | None:
        """Send a page; returns the answer, or None when the child died of it."""
        if self._process is None:
            # as this process imports: Spark ships the package as a zip on sys.path
            environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
            command = [sys.executable, "-c", f"from {__name__} import serve; serve()", self._extractor]
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, cwd="/"
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            _send(self._process.stdin, request)
        except BrokenPipeError:
            return None
        return _receive(self._process.stdout)

    def _reap(self) -> str:
        """Wait for a child that died and say how."""
        assert self._process is not None
        self.close()
        code = self._process.returncode
        self._process = None
        return signal.Signals(-code).name if code < 0 else f"status {code}"

    def close(self) -> None:
        """End the child, which reads to the end of its input."""
        if self._process is None:
            return
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()


def serve() -> None:
    """Read pages for a parent, from standard input to standard output, until it closes them."""
    requests = sys.stdin.buffer
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)  # what a library prints must not fall among the answers
        read = page_reader(sys.argv[1])
        while (request := _receive(requests)) is not None:
            found: tuple[Decoded, Page] | ExtractionError
            try:
                found = read(*pickle.loads(request))
            except ExtractionError as error:
                found = error
            _send(answers, pickle.dumps(found))


def _send(pipe: IO[bytes], data: bytes) -> None:
    pipe.write(_SIZE.pack(len(data)))
    pipe.write(data)
    pipe.flush()


def _receive(pipe: IO[bytes]) -> bytes | None:
    """Take one message; None: the other side is gone."""
    head = pipe.read(_SIZE.size)
    if len(head) < _SIZE.size:
        return None
    size: int = _SIZE.unpack(head)[0]
    data = pipe.read(size)
    return data if len(data) == size else None
