"""What a person sees while a job works: one line that moves, with the rate and the time left.

On a terminal the line is rewritten in place; in a log a new line appears every ten seconds.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

from redpajama_pipe.report import figures

if TYPE_CHECKING:
    from pyspark import SparkContext

MANY_TASKS = 20
LONGEST_PAUSE = 60.0  # seconds

# (done, total), in bytes if nothing else is said
Measure = Callable[[], tuple[float, float]]


def human_bytes(count: float) -> str:
    """Write a number of bytes with a decimal unit: 87.2 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def human_seconds(seconds: float) -> str:
    """Write a duration: 12 s, 3 min 20 s, 2 h 05 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


class Progress:
    """Show how far a stage is; a context manager around the Spark actions of that stage.

    Args:
        label: the stage's name.
        context: its Spark context, whose running tasks are counted when there is no `measure`; None: nothing to count.
        measure: returns (done, total).
        stream: where to; standard error by default.
        quiet: show nothing while it works.
        doing: what to say while nothing can be counted; an attribute too, as it may change.
        counted: what `measure` counts, such as "files"; bytes by default.
        rate: say how many of them a second; of bytes it is always said.
    """

    def __init__(
        self,
        label: str,
        context: SparkContext | None = None,
        measure: Measure | None = None,
        stream: TextIO | None = None,
        quiet: bool = False,
        doing: str = "starting",
        counted: str = "",
        rate: bool = False,
    ) -> None:
        self._label = label
        self._context = context
        self._measure = measure
        self._stream = stream or sys.stderr
        self._quiet = quiet or self._stream is None  # of a process that has no standard error
        self.doing = doing
        self._counted = counted
        self._says_rate = rate
        self._stop = threading.Event()
        self._began = 0.0
        self._waited = 0.0  # seconds, until there was something to count
        # the first of the Spark stages that run now, since when it was seen, and the tasks done by then
        self._step: tuple[int, float, int] | None = None
        self._shown = False
        self.seconds = 0.0
        self.note = ""

    def __enter__(self) -> Progress:
        self._began = time.monotonic()
        if not self._quiet:
            self._thread = threading.Thread(target=self._watch, daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.seconds = time.monotonic() - self._began
        self._stop.set()
        if self._quiet:
            return
        self._thread.join()
        if self._shown and self._stream.isatty():
            self._stream.write("\r\x1b[K")
        outcome = self.note if kind is None else "failed"
        self._stream.write(f"{self._label:<10} {outcome}  ({human_seconds(self.seconds)})\n")
        self._stream.flush()

    def _watch(self) -> None:
        terminal = self._stream.isatty()
        pause = shortest = 0.5 if terminal else 10.0
        while not self._stop.wait(pause):
            asked = time.monotonic()
            line = f"{self._label:<10} {self._state()}"
            # listing a folder of many receipts takes its time: at most one part in twenty of it goes to looking
            pause = min(max(shortest, 20 * (time.monotonic() - asked)), LONGEST_PAUSE)
            self._stream.write(f"\r\x1b[K{line}" if terminal else f"{line}\n")
            self._stream.flush()
            self._shown = True

    def _state(self) -> str:
        elapsed = time.monotonic() - self._began
        if self._measure is not None:
            done, total = self._measure()
            if not total:
                self._waited = elapsed
            worked = elapsed - self._waited
            text = self._amount(worked, done, total) if total else self.doing
            left = _left(worked, done, total)
        else:
            done, total, left = self._tasks()
            # between two Spark actions nothing runs, as when a plan is made
            waiting = self.doing if self._step is None else "planning the next step"
            text = f"{done:.0f} of {figures.plural(round(total), 'task')}" if total else waiting
        return f"{text}, {human_seconds(elapsed)}{left}"

    def _amount(self, seconds: float, done: float, total: float) -> str:
        pace = done / max(seconds, 1e-9)
        if self._counted:
            rate = f", {figures.compact(pace)} a second" if self._says_rate and done else ""
            return f"{done:,.0f} of {total:,.0f} {self._counted}{rate}"
        rate = f", {human_bytes(pace)}/s" if done else ""
        return f"{human_bytes(done)} of {human_bytes(total)}{rate}"

    def _tasks(self) -> tuple[float, float, str]:
        """Count the tasks of the Spark stages that run now: done, all, and what is left of these."""
        if self._context is None:
            return 0, 0, ""
        tracker = self._context.statusTracker()
        active = sorted(tracker.getActiveStageIds())
        known = [info for stage in active if (info := tracker.getStageInfo(stage)) is not None]
        done, total = sum(info.numCompletedTasks for info in known), sum(info.numTasks for info in known)
        now = time.monotonic()
        if active and (self._step is None or self._step[0] != active[0]):
            self._step = active[0], now, done
        # a few tasks say nothing of the Spark stages to come
        if self._step is None or total < MANY_TASKS:
            return done, total, ""
        _, since, before = self._step
        left = _left(now - since, done - before, total - before)
        return done, total, f"{left} of this step" if left else ""


def _left(seconds: float, done: float, total: float) -> str:
    """Say how long what is left takes at the pace so far; nothing before there is one."""
    return f", about {human_seconds(seconds * (total - done) / done)} left" if 0 < done < total else ""
