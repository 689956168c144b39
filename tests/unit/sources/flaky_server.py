"""A web server on the loopback that fails as it is told: one fault for each request, then it behaves."""

from __future__ import annotations

import re
import socket
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Fault:
    """What is wrong with one answer.

    Attributes:
        status: answer with this instead.
        headers: send these too; a value of None leaves a header out.
        cut: close the connection after so many bytes of the body; `reset`: not in good order.
        declare: add this to Content-Length.
        before: called before the file is read, to change it.
        stall: send nothing more for so many seconds.
        at_most: send no more bytes than this, and say so in Content-Range.
        content_range: what to say instead.
    """

    status: int = 0
    headers: dict[str, str | None] = field(default_factory=dict)
    cut: int | None = None
    reset: bool = False
    declare: int = 0
    before: Callable[[], None] = lambda: None
    stall: float = 0.0
    at_most: int | None = None
    content_range: str | None = None


@dataclass
class Site:
    """Files by path, the faults to come, and the requests that came: (path, Range, status)."""

    files: dict[str, bytes] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    always: Fault | None = None
    ranges: bool = True
    validators: bool = True
    chunked: bool = False
    lengths: bool = True
    moved: dict[str, str] = field(default_factory=dict)
    requests: list[tuple[str, str | None, int]] = field(default_factory=list)
    seen: list[dict[str, str]] = field(default_factory=list)
    url: str = ""

    @property
    def asked(self) -> list[str | None]:
        return [asked for _, asked, _ in self.requests]

    @property
    def statuses(self) -> list[int]:
        return [status for _, _, status in self.requests]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        site = self.server.site
        fault = site.faults.pop(0) if site.faults else (site.always or Fault())
        fault.before()
        path, asked = self.path, self.headers.get("Range")
        site.seen.append(dict(self.headers.items()))
        data = site.files.get(path.partition("?")[0])
        headers: dict[str, str | None] = {}
        status, body = 200, data or b""
        if path in site.moved:
            status, headers["Location"] = 302, site.moved[path]
        elif fault.status or data is None:
            status, body = fault.status or 404, b"<h1>no</h1>"
        else:
            if site.validators:
                headers["ETag"] = f'"{hash(data):x}"'
            match = re.fullmatch(r"bytes=(\d+)-(\d*)", asked or "") if site.ranges else None
            if match:
                first = int(match[1])
                stop = min(len(data), int(match[2]) + 1 if match[2] else len(data))
                if fault.at_most is not None:
                    stop = min(stop, first + fault.at_most)
                body = data[first:stop]
                status = 206 if body else 416
                said = f"bytes {first}-{stop - 1}/{len(data)}" if body else f"bytes */{len(data)}"
                headers["Content-Range"] = fault.content_range or said
        site.requests.append((path, asked, status))
        headers |= fault.headers
        if site.chunked:
            headers["Transfer-Encoding"] = "chunked"
        elif site.lengths:
            headers["Content-Length"] = str(len(body) + fault.declare)
        self.send_response(status)
        for name, value in headers.items():
            if value is not None:
                self.send_header(name, value)
        self.end_headers()
        cut = len(body) if fault.cut is None else fault.cut
        with suppress(OSError):
            self.wfile.write((b"%x\r\n%b\r\n" % (len(body), body[:cut])) if site.chunked else body[:cut])
            if fault.stall:
                self.server.released.wait(fault.stall)
            if site.chunked and fault.cut is None:
                self.wfile.write(b"0\r\n\r\n")
        if fault.cut is not None or fault.declare or fault.stall or not (site.chunked or site.lengths):
            self.close_connection = True
            if fault.reset:  # linger 0: the other side gets RST
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, site: Site) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.site = site
        self.released = threading.Event()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: cut connections are what this server is for."""


@contextmanager
def serve(site: Site) -> Iterator[Site]:
    """Serve a site for the time of the block."""
    server = _Server(site)
    site.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield site
    finally:
        server.released.set()
        server.shutdown()
        server.server_close()
        thread.join()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
