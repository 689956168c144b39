"""The Spark of one command: it starts when first asked for, and what ends it in the middle is one line, no trace.

Ctrl-C waits until Spark has started; a disk that refuses is told while Spark can still say which folder it uses.
"""

from __future__ import annotations

import logging
import re
import signal
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, NoReturn

from redpajama_pipe.errors import PipelineError, RecipeError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

MASTERS = "give local[4], yarn, spark://host:7077 or k8s://https://host:6443, or leave it out to work on this machine"
_MASTER = re.compile(r"local(\[(\d+|\*)( *, *\d+)?\])?|local-cluster\[ *\d+ *, *\d+ *, *\d+ *\]|yarn|(spark|k8s)://.+")


class Driver:
    """Spark for one command; a context manager, which stops it."""

    def __init__(self, name: str, master: str | None, conf: Mapping[str, str] | None = None) -> None:
        """Take what `session.build` takes.

        Raises:
            RecipeError: `master` is no Spark master.
        """
        if master and not _MASTER.fullmatch(master):
            raise RecipeError(f"--master {master!r} is no Spark master; {MASTERS}")
        self._settings = name, master, conf
        self._interrupted = False
        self._spark: SparkSession | None = None

    def spark(self) -> SparkSession:
        """Return the session; Spark starts on the first call."""
        if self._spark is None:
            from redpajama_pipe import session

            # in a thread: in the main one PySpark takes Ctrl-C over long before it has started
            with self._interrupted_after(), ThreadPoolExecutor(1) as starting:
                self._spark = starting.submit(session.build, *self._settings).result()
        return self._spark

    def __enter__(self) -> Driver:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is not None and self._interrupted:  # whatever the call that was cut short made of it
                raise KeyboardInterrupt from error
            if isinstance(error, Exception):
                self._check_disk(error)
        finally:
            self._stop()

    @contextmanager
    def _interrupted_after(self) -> Iterator[None]:
        """Keep Ctrl-C until Spark has started, since a JVM that starts without its driver stays; then heed it."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        asked: list[int] = []
        before = signal.signal(signal.SIGINT, lambda number, frame: asked.append(number))
        try:
            yield
        except BaseException:
            signal.signal(signal.SIGINT, before)
            raise
        # PySpark's own handler calls Java within a call, which fails with pages of traces
        signal.signal(signal.SIGINT, self._interrupt)
        if asked:
            self._interrupt()

    def _interrupt(self, number: int = 0, frame: FrameType | None = None) -> NoReturn:
        """End the work that runs; Py4J, whose call is cut short, would log pages of traces."""
        self._interrupted = True
        logging.disable()
        raise KeyboardInterrupt

    def _check_disk(self, error: Exception) -> None:
        """Raise StorageError where a failure is one of the disk, while Spark can say which folder it uses."""
        from redpajama_pipe import refusals

        if self._spark is not None and not isinstance(error, PipelineError):
            found = refusals.refused(self._spark.sparkContext, text_of(error))
            if found is not None:
                raise found from error

    def _stop(self) -> None:
        if self._spark is None:
            return
        from py4j.protocol import Py4JError  # type: ignore[import-untyped]

        if self._interrupted:
            self._silence()
        with suppress(Py4JError, OSError):  # of a JVM that has ended: why is said by what it was asked before
            self._spark.stop()

    def _silence(self) -> None:
        """Keep the JVM from telling of what dies as it stops."""
        from py4j.protocol import Py4JError

        assert self._spark is not None
        # each by itself: the connection that was cut short may be of no use any more
        with suppress(Py4JError, OSError):
            self._spark.sparkContext.setLogLevel("OFF")
        with suppress(Py4JError, OSError):  # Scala prints the traces of futures itself
            java: Any = self._spark.sparkContext._jvm
            java.System.setErr(java.java.io.PrintStream(java.java.io.OutputStream.nullOutputStream()))


def text_of(error: Exception) -> str:
    """Return what an error says; of Java's it is asked of the JVM, which may have ended."""
    at: BaseException | None = error
    while at is not None and isinstance(error, ConnectionError):  # the last of several attempts to ask the JVM
        if type(at).__name__ == "Py4JNetworkError":
            return f"Py4JNetworkError, {error!r}"
        at = at.__context__
    try:
        return str(error)
    except Exception as failure:  # noqa: BLE001  # whatever Py4J makes of it
        return f"{type(error).__name__}, {failure!r}"
