"""Ingest of a snapshot of Common Crawl from a mirror and from a web server, and of files that cannot be read."""

from __future__ import annotations

import gzip
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.dataset as ds
import pytest

from redpajama_pipe import manifest, recipe
from redpajama_pipe.errors import GateError
from redpajama_pipe.recipe import Recipe
from redpajama_pipe.run_folder import RunFolder
from redpajama_pipe.sources.snapshots import place_of
from redpajama_pipe.stages import ingest_documents

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

NAME = "CC-MAIN-2023-06"
FOLDER = f"crawl-data/{NAME}/segments/1674764494800.98/warc"
PATHS = [f"{FOLDER}/CC-MAIN-20230126210844-20230127000844-{number:05d}.warc.gz" for number in range(6)]
BY_PLACE = sorted(PATHS, key=lambda path: place_of(NAME, path))


def archive(number: int) -> bytes:
    """Two pages, each in a gzip member of its own."""
    records = []
    for page in range(2):
        text = f"<p>Words of page {page} in archive {number}, long enough to be a page of its own.".encode()
        block = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\r\n" + text
        header = (
            "WARC/1.0\r\nWARC-Type: response\r\nWARC-Date: 2023-01-26T21:08:44Z\r\n"
            f"WARC-Record-ID: <urn:uuid:{number:08d}-0000-0000-0000-{page:012d}>\r\n"
            f"WARC-Target-URI: https://user@Host{number}.Example.org:8443/{page}\r\n"
            f"WARC-Payload-Digest: sha1:{number:032d}\r\n"
            f"Content-Type: application/http; msgtype=response\r\nContent-Length: {len(block)}\r\n\r\n"
        )
        records.append(gzip.compress(header.encode() + block + b"\r\n\r\n", mtime=0))
    return b"".join(records)


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("mirror")
    (root / FOLDER).mkdir(parents=True)
    listing = "".join(f"{path}\n" for path in PATHS)
    (root / f"crawl-data/{NAME}/warc.paths.gz").write_bytes(gzip.compress(listing.encode()))
    for number, path in enumerate(PATHS):
        (root / path).write_bytes(archive(number))
    return root


def chosen(count: int) -> float:
    """The fraction that chooses so many of the files."""
    return 1.0 if count == len(PATHS) else place_of(NAME, BY_PLACE[count])


def settings(base: object, count: int, **options: Any) -> Recipe:
    source = {"name": "cc", "kind": "warc", "snapshot": NAME, "base": str(base), "fraction": chosen(count), **options}
    execution = {"read_attempts": 2, "read_backoff": 0.0}
    return recipe.from_tree({"name": "test", "sources": [source], "execution": execution}, "test")


def ingest(spark: SparkSession, loaded: Recipe, run: RunFolder) -> dict[str, Any]:
    done = ingest_documents.run(lambda: spark, loaded, run, annotate=False, quiet=True)
    counts: dict[str, Any] = done.counts["sources"]["cc"]
    return counts


def rows(folder: str) -> list[dict[str, Any]]:
    found = ds.dataset(folder, format="parquet").to_table().to_pylist()
    return sorted(found, key=lambda row: (row["uri"], row["offset"]))


@contextmanager
def web_server(folder: Path) -> Iterator[str]:
    """Serve a folder without support for ranges, and log nothing."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_fraction_of_a_snapshot_is_ingested_and_grows(spark: SparkSession, mirror: Path, tmp_path: Path) -> None:
    run = RunFolder.at(str(tmp_path / "run"))
    counts = ingest(spark, settings(mirror, 2), run)
    assert (counts["files"], counts["failed_files"], counts["documents"], counts["records"]) == (2, 0, 4, 4)
    first = rows(run.documents)
    assert {row["uri"] for row in first} == set(BY_PLACE[:2])
    number = PATHS.index(first[0]["uri"])
    assert {row["snapshot"] for row in first} == {NAME}
    assert first[0]["host"] == f"host{number}.example.org"
    assert first[0]["content_digest"] == f"sha1:{number:032d}"
    parts = {path.name: path.stat().st_mtime_ns for path in Path(run.documents).glob("*.parquet")}

    assert ingest(spark, settings(mirror, 5), run)["files"] == 5
    grown = rows(run.documents)
    assert [row for row in grown if row["uri"] in BY_PLACE[:2]] == first
    assert {name: (Path(run.documents) / name).stat().st_mtime_ns for name in parts} == parts  # not read again

    # over http the sizes are not known before, and the server knows no ranges: the same rows all the same
    other = RunFolder.at(str(tmp_path / "other"))
    with web_server(mirror) as base:
        counts = ingest(spark, settings(base, 5), other)
    assert rows(other.documents) == grown
    assert counts["input_bytes"] == sum((mirror / path).stat().st_size for path in BY_PLACE[:5])


def test_files_that_cannot_be_read_stop_the_run_after_the_others(
    spark: SparkSession, mirror: Path, tmp_path: Path
) -> None:
    run = RunFolder.at(str(tmp_path / "run"))
    copy = tmp_path / "copy"
    shutil.copytree(mirror, copy)
    gone = copy / PATHS[3]
    gone.unlink()

    with web_server(copy) as base:
        with pytest.raises(GateError) as caught:
            ingest(spark, settings(base, 6), run)
        reason = f"cannot read '{base}/{PATHS[3]}': no such file (the server answers 404)"
        assert str(caught.value) == (
            f"source 'cc': 1 of 6 files could not be read (16.7%): {reason}. "
            "Run again to try these alone, for the others are done; or go on without them: "
            "--set sources.cc.allow_failed_files=true --set sources.cc.max_quarantined_share=0.17"
        )
        assert manifest.find(run.documents) is None
        receipts = {path.name: path.stat().st_mtime_ns for path in (Path(run.documents) / "_units").iterdir()}
        assert len(receipts) == 5

        # more than the allowed share of the files still stops it
        with pytest.raises(GateError, match="1 of 6 files"):
            ingest(spark, settings(base, 6, allow_failed_files=True, max_quarantined_share=0.16), run)

        going_on = settings(base, 6, allow_failed_files=True, max_quarantined_share=0.17)
        counts = ingest(spark, going_on, run)
        assert (counts["files"], counts["failed_files"], counts["documents"]) == (6, 1, 10)
        assert counts["records"] == counts["documents"] + counts["quarantined"]["unreadable_file"]
        (row,) = rows(run.quarantine)
        assert (row["uri"], row["offset"], row["reason"]) == (PATHS[3], -1, "unreadable_file")
        assert row["detail"] == reason

        # it is tried again, it alone, and when it is there nothing tells that it was not
        shutil.copy2(mirror / PATHS[3], gone)
        counts = ingest(spark, going_on, run)
        assert (counts["failed_files"], counts["documents"], counts["quarantined"]) == (0, 12, {})
        after = {path.name: path.stat().st_mtime_ns for path in (Path(run.documents) / "_units").iterdir()}
        assert {name: after[name] for name in receipts} == receipts
        assert not list(Path(run.quarantine).glob("*.parquet"))
        fresh = RunFolder.at(str(tmp_path / "fresh"))
        ingest(spark, settings(base, 6), fresh)
        assert rows(run.documents) == rows(fresh.documents)
