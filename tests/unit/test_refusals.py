from __future__ import annotations

import errno
import logging
import os
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa
import pytest

from redpajama_pipe import arguments, refusals, storage
from redpajama_pipe.errors import StorageError
from redpajama_pipe.stages import ingest_documents
from redpajama_pipe.tables import TableWriter

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

FULL = r"No space left on device \(.* of .* free\); make room, and run the same command again"


@pytest.mark.parametrize("first", [0, 4])  # while the file is opened; at the first rows
@pytest.mark.parametrize(
    ("number", "told"),
    [
        (errno.ENOSPC, FULL),
        (errno.EDQUOT, r"Disk quota exceeded \(.* free\); make room"),
        (errno.EROFS, "Read-only file system; give access, or name another place, and run the same"),
    ],
)
def test_a_disk_that_refuses_bytes_is_named(
    number: int, told: str, first: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = storage.HashingFile.write

    def refuse(file: storage.HashingFile, data: Any) -> int:
        if file.size >= first:
            raise OSError(number, os.strerror(number))
        return write(file, data)

    monkeypatch.setattr(storage.HashingFile, "write", refuse)
    schema = pa.schema([("number", pa.int64())])
    with (
        pytest.raises(StorageError, match=f"cannot write to {tmp_path}/run: {told}"),
        TableWriter(f"{tmp_path}/run/a.parquet", schema) as writer,  # through Arrow's C++
    ):
        writer.append(pa.record_batch([[1]], schema=schema))
    assert list((tmp_path / "run").iterdir()) == []


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC])
def test_a_disk_that_refuses_a_folder_is_named(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str, *, exist_ok: bool) -> None:
        raise OSError(number, os.strerror(number), path)

    with monkeypatch.context() as patched:
        patched.setattr(os, "makedirs", refuse)
        with pytest.raises(StorageError, match=f"cannot write to {tmp_path}/a/b: {os.strerror(number)}"):
            storage.write_bytes(f"{tmp_path}/a/b/c", b"")


def test_no_access_to_what_is_read_meanwhile_is_not_blamed_on_the_output(tmp_path: Path) -> None:
    with pytest.raises(PermissionError, match="input"), storage.create(f"{tmp_path}/out"):
        raise PermissionError(errno.EACCES, "Permission denied", "input")
    assert list(tmp_path.iterdir()) == []


def test_a_disk_without_inodes_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(f_files=5000, f_favail=0))
    told = str(storage.refusal(str(tmp_path), "No space left on device", full=True))
    assert "No space left on device (no more files: all 5,000 inodes are taken); make room" in told


def context(master: str, scratch: str = "/scratch") -> Any:
    return SimpleNamespace(master=master, getConf=lambda: {"spark.local.dir": scratch}, _jvm=None)


WORKER = "Traceback\nredpajama_pipe.errors.StorageError: cannot write to /run: full; make room\n\tat org.apache"
SHUFFLE = "java.io.IOException: No space left on device\n\tat java.base/sun.nio.ch.FileDispatcherImpl.write0"
NAMED = "java.nio.file.FileSystemException: /scratch/blockmgr-1/0e: Read-only file system\n\tat"
DAEMON = "Traceback\n  File pyspark/daemon.py\nOSError: [Errno 28] No space left on device\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (WORKER, "cannot write to /run: full; make room"),
        (SHUFFLE, "cannot write to /scratch: No space left on device"),
        (NAMED, "cannot write to /scratch: Read-only file system; give access"),
        (DAEMON, "cannot write to /scratch: No space left on device"),
    ],
)
def test_a_failed_task_tells_which_disk_refused(
    text: str, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("SPARK_LOCAL_DIRS", raising=False)
    found = refusals.refused(context("local[2,4]"), text)
    assert str(found).startswith(told)
    assert "\n" not in str(found)
    cancelled = f"Job 3 cancelled because redpajama_pipe.errors.StorageError: {found}\n\tat org.apache"
    assert arguments.from_worker(cancelled) == str(found)  # the reason that Spark hands back


def test_another_machine_may_have_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPARK_LOCAL_DIRS", raising=False)
    for text in (SHUFFLE, NAMED, DAEMON):
        assert refusals.refused(context("yarn"), text) is None
    assert refusals.refused(context("yarn"), WORKER)  # of the run's folder, which is the same everywhere


@pytest.mark.parametrize(
    "text", ["java.io.IOException: Connection reset by peer", "[Errno 104] Connection reset", "Python worker exited"]
)
def test_what_another_attempt_may_mend_is_left_to_spark(text: str) -> None:
    assert refusals.refused(context("local[2,4]"), text) is None


def test_spark_is_not_started_without_a_place_for_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPARK_LOCAL_DIRS", raising=False)
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=rf"cannot write to {tmp_path}/file: .*execution.spark={{spark.local.dir: F"):
        refusals.check_scratch(f"{tmp_path}/file")
    refusals.check_scratch(f"{tmp_path}/file,{tmp_path}/made")
    monkeypatch.setenv("SPARK_LOCAL_DIRS", f"{tmp_path}/file/x")
    with pytest.raises(StorageError, match=f"cannot write to {tmp_path}/file/x: Not a directory"):
        refusals.check_scratch(f"{tmp_path}/made")


def test_what_killed_tasks_had_begun_goes_and_nothing_else(tmp_path: Path) -> None:
    for name in (".a.parquet.12.tmp", "a.parquet"):
        (tmp_path / name).touch()
    ingest_documents._remove_stale(str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["a.parquet"]


def test_the_thread_that_watches_logs_nothing_of_a_jvm_that_ended(caplog: pytest.LogCaptureFixture) -> None:
    class Context:
        _jsc = 1

        def statusTracker(self) -> Any:
            logging.error("Exception while sending command.")  # as Py4J does
            raise OSError("the JVM has ended")

    before = set(threading.enumerate())
    refusals.watch(cast("SparkSession", SimpleNamespace(sparkContext=Context())))
    for thread in set(threading.enumerate()) - before:
        thread.join()
    logging.error("of the main thread")
    assert [record.message for record in caplog.records] == ["of the main thread"]
