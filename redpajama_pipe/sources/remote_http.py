"""Files over http and https, through urllib3: one request for all that is left of a file, resumed by Range.

Every request asks for a range, the first too: then the length stands in two fields, Content-Length and Content-Range,
and a server that is wrong about one of them is caught. What is stored is read, whatever its Content-Encoding.

Source: RFC 9110, sections 8.6 (Content-Length), 10.2.3 (Retry-After), 14 (range requests); RFC 9112, section 6.3.
"""

from __future__ import annotations

import re
import ssl
import urllib.request
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from urllib.parse import unquote, urlsplit

import urllib3
from urllib3.exceptions import HTTPError, LocationValueError, MaxRetryError, ResponseError, SSLError

from redpajama_pipe import __version__
from redpajama_pipe.errors import InputError
from redpajama_pipe.sources.remote import Answer, Retry, State, Trouble, changed, hidden

# 403 too: it is how CloudFront, before Common Crawl's bucket, turns away who asks too often.
PATIENCE = frozenset({403, 408, 425, 429, 500, 502, 503, 504})
MISSING = frozenset({404, 410})
_REDIRECTS = urllib3.Retry(
    total=None, connect=0, read=0, status=0, other=0, redirect=5, respect_retry_after_header=False
)
_CONTENT_RANGE = re.compile(r"bytes\s+(?:(\d+)-(\d+)|\*)/(\d+|\*)")


class Http:
    """Asks for the bytes of one URL; user and password in it are sent as Basic authentication."""

    def __init__(self, uri: str) -> None:
        self._shown = hidden(uri)
        try:
            parts = urlsplit(uri)
        except ValueError as error:
            raise InputError(f"cannot read {self._shown!r}: {error}") from error
        user, at, host = parts.netloc.rpartition("@")
        self._headers = {"User-Agent": f"redpajama-pipe/{__version__}", "Accept-Encoding": "identity"}
        if at:
            self._headers |= urllib3.make_headers(basic_auth=unquote(user))
        self._url = parts._replace(netloc=host, fragment="").geturl()
        self._pool = _pool(_proxy(parts.scheme.lower(), host))

    def ask(self, position: int, end: int | None, retry: Retry) -> Answer:
        answer = self._request(position, f"bytes={position}-{'' if end is None else end - 1}", retry)
        if answer is None:  # 416 at the start: an empty file has no first byte
            answer = self._request(position, None, retry)
        assert answer is not None
        return answer

    def check(self, state: State) -> None:
        """Nothing is left to ask: each answer said what state it belongs to."""

    def _request(self, position: int, asked: str | None, retry: Retry) -> Answer | None:
        headers = self._headers | ({"Range": asked} if asked else {})
        try:
            response = self._pool.request(
                "GET",
                self._url,
                headers=headers,
                timeout=urllib3.Timeout(connect=retry.timeout, read=retry.timeout),
                retries=_REDIRECTS,
                preload_content=False,
                decode_content=False,
            )
        except HTTPError as error:
            raise self._failure(error) from error
        try:
            return self._judge(response, position, asked)
        except BaseException:
            response.close()
            raise

    def _judge(self, response: urllib3.BaseHTTPResponse, position: int, asked: str | None) -> Answer | None:
        status = response.status
        if status == 206 and asked:
            return self._part(response, position)
        if status == 200:
            return self._whole(response)
        if status == 416 and asked:
            if position == 0:
                response.close()
                return None
            found = _CONTENT_RANGE.match(response.headers.get("Content-Range", ""))
            if found and found[3] == str(position):  # the end of a file whose length nobody had said
                response.close()
                return Answer(_Body(response, 0), position, _state(response, position))
            raise InputError(f"{changed(self._shown)}: the server has no byte {position} of it any more")
        if status in PATIENCE:
            raise Trouble(f"the server answers {status} {response.reason or ''}".rstrip(), _retry_after(response))
        if status in MISSING:
            raise InputError(f"cannot read {self._shown!r}: no such file (the server answers {status})")
        raise InputError(f"cannot read {self._shown!r}: the server answers {status} {response.reason or ''}".rstrip())

    def _part(self, response: urllib3.BaseHTTPResponse, position: int) -> Answer:
        text = response.headers.get("Content-Range", "")
        found = _CONTENT_RANGE.match(text)
        if found is None or found[1] is None or int(found[1]) != position or int(found[2]) < position:
            raise Trouble(f"the server was asked for byte {position} and sends {text or 'no Content-Range'!r}")
        count = int(found[2]) + 1 - position
        declared = response.headers.get("Content-Length")
        if declared is not None and declared.strip() != str(count):
            raise Trouble(f"the server sends {text!r} with a Content-Length of {declared}")
        size = None if found[3] == "*" else int(found[3])
        # a server may send less than it was asked for: the rest is asked for then
        return Answer(_Body(response, count), position, _state(response, size), last=False)

    def _whole(self, response: urllib3.BaseHTTPResponse) -> Answer:
        declared = response.headers.get("Content-Length", "").strip()
        chunked = "chunked" in response.headers.get("Transfer-Encoding", "").lower()
        if chunked:
            return Answer(_Body(response, None), 0, _state(response, None))
        if not declared.isdigit():
            raise InputError(
                f"cannot read {self._shown!r}: the server does not say how long it is, so a cut could not be told from "
                "the end; download the file and give its path"
            )
        return Answer(_Body(response, int(declared)), 0, _state(response, int(declared)))

    def _failure(self, error: HTTPError) -> Exception:
        """Tell what may pass from what will not."""
        cause = error.reason if isinstance(error, MaxRetryError) and error.reason else error
        if isinstance(cause, (ResponseError, LocationValueError)):
            return InputError(f"cannot read {self._shown!r}: {cause}")
        if isinstance(cause, SSLError) and any(isinstance(item, ssl.SSLCertVerificationError) for item in cause.args):
            return InputError(f"cannot read {self._shown!r}: {cause}")
        return Trouble(_words(cause))


class _Body:
    """The bytes of one answer, counted against what it announced (None: chunked, which says itself when it is cut)."""

    def __init__(self, response: urllib3.BaseHTTPResponse, count: int | None) -> None:
        self._response = response
        self._left = count

    def read(self, size: int) -> bytes:
        if self._left == 0:
            return b""
        try:
            data = self._response.read(size if self._left is None else min(size, self._left), decode_content=False)
        except HTTPError as error:
            raise Trouble(_words(error)) from error
        if self._left is not None:
            if not data:
                raise Trouble(f"the connection ended {self._left} bytes early")
            self._left -= len(data)
        return data

    def close(self) -> None:
        if self._left == 0:
            self._response.release_conn()  # nothing of the body is left in it
        else:
            self._response.close()


def _state(response: urllib3.BaseHTTPResponse, size: int | None) -> State:
    etag = response.headers.get("ETag", "").strip().removeprefix("W/")
    return State(size, etag, response.headers.get("Last-Modified", "").strip())


def _retry_after(response: urllib3.BaseHTTPResponse) -> float:
    """Return the seconds that a server asks for, 0.0 when it does not."""
    text = response.headers.get("Retry-After", "").strip()
    if text.isdigit():
        return float(text)
    try:
        until = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    return max(0.0, (until.replace(tzinfo=until.tzinfo or UTC) - datetime.now(UTC)).total_seconds())


def _words(error: Exception) -> str:
    """Describe a failure without the objects that urllib3 puts before it."""
    return re.sub(r"^<[^>]*>:\s*|^\w+\(host=[^)]*\):\s*", "", str(error)) or type(error).__name__


def _proxy(scheme: str, host: str) -> str:
    """Find the proxy that the environment names for a host, "" for none: https_proxy, http_proxy, no_proxy."""
    return "" if urllib.request.proxy_bypass(host) else urllib.request.getproxies().get(scheme, "")


@lru_cache(maxsize=8)
def _pool(proxy: str) -> urllib3.PoolManager:
    """Keep connections open between the files of a task."""
    return urllib3.ProxyManager(proxy) if proxy else urllib3.PoolManager()
