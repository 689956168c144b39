"""Files of object stores: S3 as moto serves it, and a store in memory that fails as it is told."""

from __future__ import annotations

import gzip
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from redpajama_pipe.errors import InputError, SetupError
from redpajama_pipe.settings.source import Source
from redpajama_pipe.sources import remote, remote_store
from redpajama_pipe.sources.plan import plan_splits
from redpajama_pipe.sources.read import read_split
from redpajama_pipe.sources.record import Document
from redpajama_pipe.sources.remote import Retry, fetch, open_remote, stat

DATA = random.Random(2).randbytes(300_000)
NAME = "CC-MAIN-2023-06"
PATH = f"crawl-data/{NAME}/segments/1674764494800.98/warc/CC-MAIN-20230126210844-20230127000844-00000.warc.gz"
QUICK = Retry(attempts=4)


@pytest.fixture(scope="module")
def bucket() -> Iterator[Any]:
    """A writable view of s3://commoncrawl, which others read without credentials."""
    from moto.server import ThreadedMotoServer

    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
            patch.delenv(name, raising=False)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setenv("AWS_CONFIG_FILE", "/dev/null")
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
        server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        server.start()
        host, port = server.get_host_and_port()
        patch.setitem(fsspec.config.conf, "s3", {"endpoint_url": f"http://{host}:{port}"})
        remote_store._has_credentials.cache_clear()
        writer = fsspec.filesystem("s3", key="key", secret="secret")
        writer.mkdir("commoncrawl", acl="public-read")
        yield writer
        server.stop()
        remote_store._has_credentials.cache_clear()


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    found: list[float] = []
    monkeypatch.setattr(remote, "pause", found.append)
    return found


def put(bucket: Any, path: str, data: bytes, acl: str = "public-read") -> str:
    bucket.pipe_file(f"commoncrawl/{path}", data, ACL=acl)
    return f"s3://commoncrawl/{path}"


@pytest.mark.parametrize("block", [70_000, 1 << 24])
@pytest.mark.parametrize(("start", "end"), [(0, None), (0, 5), (100_000, 200_001), (299_999, None), (300_000, None)])
def test_public_files_are_read_without_credentials(
    bucket: Any, monkeypatch: pytest.MonkeyPatch, block: int, start: int, end: int | None
) -> None:
    monkeypatch.setattr(remote_store, "BLOCK_BYTES", block)
    with open_remote(put(bucket, "a", DATA), start=start, end=end, retry=QUICK) as file:
        assert file.read() == DATA[start:end]


def test_empty_and_missing_files(bucket: Any, waits: list[float]) -> None:
    assert fetch(put(bucket, "empty", b"")) == b""
    with pytest.raises(InputError, match=r"cannot read 's3://commoncrawl/none': no such file"):
        fetch("s3://commoncrawl/none")
    assert waits == []


def test_a_private_file_says_that_nothing_was_signed(bucket: Any, waits: list[float]) -> None:
    uri = put(bucket, "private", DATA, acl="private")
    with pytest.raises(InputError) as caught:
        fetch(uri)
    assert str(caught.value) == (
        "cannot read 's3://commoncrawl/private': permission denied (the request was not signed: no credentials were "
        "found)"
    )
    assert waits == []


def test_credentials_are_used_where_there_are_some(bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = put(bucket, "private", DATA, acl="private")
    assert remote_store.filesystem_of(uri)[0].anon is True
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    remote_store._has_credentials.cache_clear()
    try:
        assert fetch(uri) == DATA
    finally:
        remote_store._has_credentials.cache_clear()


def test_a_file_that_is_replaced_while_it_is_read_is_an_error(bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_store, "BLOCK_BYTES", 100_000)
    uri = put(bucket, "b", DATA)
    before = stat(uri)
    monkeypatch.setattr(remote, "BUFFER_BYTES", 1000)
    with open_remote(uri, retry=QUICK) as file:
        assert file.read(1000) == DATA[:1000]
        put(bucket, "b", DATA[::-1])
        with pytest.raises(InputError, match=r"'s3://commoncrawl/b' changed while it was read"):
            file.read()
    assert before.differs(stat(uri))


def test_a_snapshot_is_the_same_on_s3_and_in_a_mirror(bucket: Any, real_data: Path, tmp_path: Path) -> None:
    listing = gzip.compress(f"{PATH}\n".encode())
    data = (real_data / "warc/commoncrawl_2020_34/warcfile.warc.gz").read_bytes()
    for path, content in ((f"crawl-data/{NAME}/warc.paths.gz", listing), (PATH, data)):
        put(bucket, path, content)
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(content)
    found = []
    for source in (
        Source("cc", "warc", snapshot=NAME, base="s3://commoncrawl"),
        Source("cc", "warc", snapshot=NAME, base="s3a://commoncrawl/"),
        Source("cc", "warc", snapshot=NAME, base=str(tmp_path)),
        Source("cc", "warc", ("s3://commoncrawl/crawl-data/*/segments/**/*.warc.gz",), root="s3://commoncrawl"),
    ):
        (split,) = plan_splits(source)
        assert split.identity == PATH
        found.append([record for record in read_split(split, source) if isinstance(record, Document)])
    assert found[0]
    assert all(other == found[0] for other in found)


def test_without_the_extra_the_way_to_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.setitem(sys.modules, "botocore.session", None)
    monkeypatch.setattr(sys.modules["fsspec.registry"], "_registry", {})
    remote_store._has_credentials.cache_clear()
    for read in (fetch, lambda uri: plan_splits(Source("cc", "warc", (uri,)))):
        with pytest.raises(
            SetupError, match=r"'s3://commoncrawl/a' cannot be opened: .*pip install 'redpajama-pipe\[s3\]'"
        ):
            read("s3://commoncrawl/a")


class Flaky:
    """A file of a store whose next reads fail: each failure raises, gives other bytes, or None and lets it pass."""

    failures: ClassVar[list[Callable[[], bytes | None]]] = []

    def __init__(self, file: Any) -> None:
        self.seek, self.close, self._read = file.seek, file.close, file.read

    def read(self, size: int) -> bytes:
        failed = self.failures.pop(0)() if self.failures else None
        return bytes(self._read(size)) if failed is None else failed


def raises(error: Exception) -> Callable[[], bytes]:
    def fail() -> bytes:
        raise error

    return fail


@pytest.fixture
def flaky(monkeypatch: pytest.MonkeyPatch, waits: list[float]) -> Iterator[type[Flaky]]:
    memory = fsspec.filesystem("memory")
    whole = MemoryFileSystem.open
    monkeypatch.setattr(MemoryFileSystem, "open", lambda *items, **options: Flaky(whole(*items, **options)))
    monkeypatch.setattr(remote_store, "BLOCK_BYTES", 100_000)
    monkeypatch.setattr(Flaky, "failures", [])
    memory.pipe_file("/flaky/a", DATA)
    yield Flaky
    memory.rm("/flaky", recursive=True)


def test_trouble_of_a_store_is_waited_out(flaky: type[Flaky], waits: list[float]) -> None:
    import aiohttp

    read_timeout = pytest.importorskip("botocore.exceptions").ReadTimeoutError
    flaky.failures += [
        raises(ConnectionResetError("reset")),
        raises(TimeoutError()),
        lambda: None,
        raises(aiohttp.ClientPayloadError("not complete")),
        raises(read_timeout(endpoint_url="http://")),
        lambda: b"",
        lambda: DATA[100_000:100_010],
    ]
    assert fetch("memory://flaky/a", retry=Retry(attempts=7)) == DATA
    assert len(waits) == 6


def test_patience_with_a_store_ends(flaky: type[Flaky], waits: list[float]) -> None:
    flaky.failures += [raises(OSError("SlowDown"))] * 9
    with pytest.raises(InputError, match=r"cannot read 'memory://flaky/a': SlowDown \(byte 0, attempt 4 of 4\)"):
        fetch("memory://flaky/a", retry=QUICK)
    assert len(waits) == 3


def test_a_short_block_is_never_the_end_of_a_file(flaky: type[Flaky]) -> None:
    flaky.failures += [lambda: None, *[lambda: DATA[100_000:150_000]] * 4]
    with pytest.raises(InputError, match="50000 bytes came of a block of 100000"):
        fetch("memory://flaky/a", retry=QUICK)


def test_a_store_that_cannot_refuse_a_changed_file_is_asked_at_the_end(flaky: type[Flaky]) -> None:
    def replace() -> None:
        fsspec.filesystem("memory").pipe_file("/flaky/a", DATA + b"more")

    flaky.failures += [lambda: None, replace]
    with pytest.raises(InputError, match="changed while it was read"):
        fetch("memory://flaky/a", retry=QUICK)


def test_permission_is_no_matter_of_patience(flaky: type[Flaky], waits: list[float]) -> None:
    flaky.failures += [raises(PermissionError("no"))]
    with pytest.raises(InputError, match=r"cannot read 'memory://flaky/a': permission denied$"):
        fetch("memory://flaky/a", retry=QUICK)
    assert waits == []


def test_a_folder_and_an_unknown_kind_of_url(flaky: type[Flaky]) -> None:
    with pytest.raises(InputError, match="it is a folder"):
        fetch("memory://flaky")
    with pytest.raises(InputError, match="cannot be opened: Protocol not known: nonsense"):
        fetch("nonsense://a")


def test_ranges_of_local_files(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(DATA)
    for uri in (str(tmp_path / "a"), f"file://{tmp_path}/a"):
        for start, end in ((0, None), (0, 7), (1000, 2000), (299_999, None), (0, 400_000)):
            with open_remote(uri, start=start, end=end) as file:
                assert file.read() == DATA[start:end]
    for start in (0, 5):
        with pytest.raises(InputError, match="no such file"):
            open_remote(str(tmp_path / "b"), start=start)
        with pytest.raises(InputError, match="it is a folder"):
            open_remote(str(tmp_path), start=start)
