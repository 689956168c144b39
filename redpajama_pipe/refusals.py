"""A disk that refuses ends a job at the first task that meets it, not at the fourth attempt, and in one line.

Spark tries every failed task again: where the disk is full, minutes of reading that nothing can come of. So a thread
asks once a second whether a task has failed. It costs two calls of the JVM a second, and changes no bytes.
"""

from __future__ import annotations

import logging
import os
import re
import tempfile
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from redpajama_pipe import storage
from redpajama_pipe.errors import DISK_FULL, StorageError

if TYPE_CHECKING:
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

PAUSE = 1.0  # seconds
_THREAD = "redpajama_pipe.refusals"
_SHOWN = 20  # failed tasks of a Spark stage that are looked at
_OWN = re.compile(rf"{StorageError.__module__}\.{StorageError.__name__}: (.+)")
# of Java, whose message names no file; and of what Python writes outside the run, such as Spark's workers themselves
_FOREIGN = re.compile(
    r"(?:java\.(?:io|nio)\.[\w.]+: |OSError: \[Errno \d+\] ).*?"
    r"(No space left on device|Disk quota exceeded|Read-only file system)"
)


def check_scratch(named: str | None) -> None:
    """Refuse to start a Spark whose own files have no place, as its JVM would end with pages of traces.

    Args:
        named: spark.local.dir, which the environment's SPARK_LOCAL_DIRS wins over; None: Java's, /tmp.

    Raises:
        StorageError: no folder of them can be written to.
    """
    failed: OSError | None = None
    for folder in _scratch_folders(named):
        try:
            os.makedirs(folder, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                return
        except OSError as error:
            failed = failed or error
            first = folder
    assert failed is not None
    raise _told(storage.refusal(first, str(failed.strerror), full=failed.errno in DISK_FULL)) from failed


def watch(spark: SparkSession) -> None:
    """Look at a session's failed tasks, in a thread, until it is stopped; cancel what no attempt can mend."""
    logging.getLogger().addFilter(_of_others)
    threading.Thread(target=_watch, args=(spark.sparkContext,), name=_THREAD, daemon=True).start()


def _of_others(record: logging.LogRecord) -> bool:
    """Keep Py4J from logging a trace where the JVM has ended while the thread asked: the main one tells of it."""
    return record.threadName != _THREAD


def refused(context: SparkContext, text: str) -> StorageError | None:
    """Find, in the text of a failure, a disk that refuses; None: there is none, or another machine has another disk."""
    own = _OWN.search(text)
    if own:
        return StorageError(own.group(1))
    foreign = _FOREIGN.search(text) if str(context.master).startswith("local") else None
    if foreign is None:
        return None
    reason = foreign.group(1)
    return _told(storage.refusal(scratch_folder(context), reason, full=not reason.startswith("Read-only")))


def _told(refusal: StorageError) -> StorageError:
    return StorageError(f"{refusal}, or give Spark another place: --set 'execution.spark={{spark.local.dir: FOLDER}}'")


def scratch_folder(context: SparkContext) -> str:
    """Return the folder in which Spark keeps its own files on this machine, such as those of a shuffle."""
    return _scratch_folders(context.getConf().get("spark.local.dir"))[0]


def _scratch_folders(named: str | None) -> list[str]:
    return (os.environ.get("SPARK_LOCAL_DIRS") or named or "/tmp").split(",")  # /tmp is Java's java.io.tmpdir


def _watch(context: SparkContext) -> None:
    from py4j.protocol import Py4JError  # type: ignore[import-untyped]

    pause = threading.Event()
    seen: dict[int, int] = {}
    while not pause.wait(PAUSE):
        try:
            if context._jsc is None:  # stopped
                return
            for stage, text in _failures(context, seen):
                found = refused(context, text)
                if found is not None:
                    reason = f"{StorageError.__module__}.{StorageError.__name__}: {found}\n"
                    context._jsc.sc().cancelStage(stage, reason)
        except (Py4JError, OSError, AttributeError):  # the session was stopped meanwhile, or the JVM has ended
            return


def _failures(context: SparkContext, seen: dict[int, int]) -> Iterator[tuple[int, str]]:
    """Yield the Spark stages that run now and have tasks that failed since the last time, with what these say."""
    tracker = context.statusTracker()
    java: Any = context._jvm
    status = java.org.apache.spark.status.api.v1
    for stage in tracker.getActiveStageIds():
        info = tracker.getStageInfo(stage)
        if info is None or info.numFailedTasks <= seen.get(stage, 0):
            continue
        seen[stage] = info.numFailedTasks
        failed = java.java.util.List.of(status.TaskStatus.FAILED)
        tasks = (
            context._jsc.sc()
            .statusStore()
            .taskList(stage, info.currentAttemptId, 0, _SHOWN, status.TaskSorting.ID, failed)
        )
        texts = [tasks.apply(place).errorMessage() for place in range(tasks.size())]
        yield stage, "\n".join(str(text.get()) for text in texts if text.isDefined())
