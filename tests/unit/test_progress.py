from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from redpajama_pipe.progress import Progress, human_bytes, human_seconds


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (87_150_000, "87.2 MB"), (3e12, "3.0 TB"), (1500, "1.5 kB")]
)
def test_bytes_for_people(count: float, text: str) -> None:
    assert human_bytes(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(4.2, "4 s"), (200, "3 min 20 s"), (7500, "2 h 05 min"), (119.7, "2 min 00 s"), (59.6, "1 min 00 s")],
)
def test_durations_for_people(seconds: float, text: str) -> None:
    assert human_seconds(seconds) == text


def test_a_stage_ends_with_its_note_and_its_time() -> None:
    stream = io.StringIO()
    with Progress("filter", stream=stream) as progress:
        progress.note = "3 of 9 documents dropped"
    assert stream.getvalue() == "filter     3 of 9 documents dropped  (0 s)\n"


def fail_in(stream: io.StringIO) -> None:
    with Progress("filter", stream=stream):
        raise ValueError


def test_a_failed_stage_says_so() -> None:
    stream = io.StringIO()
    with pytest.raises(ValueError, match=r"^$"):
        fail_in(stream)
    assert stream.getvalue() == "filter     failed  (0 s)\n"


def test_rate_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    progress = Progress("ingest", measure=lambda: (30e6, 120e6), quiet=True)
    monkeypatch.setattr("redpajama_pipe.progress.time.monotonic", lambda: 10.0)
    assert progress._state() == "30.0 MB of 120.0 MB, 3.0 MB/s, 10 s, about 30 s left"


def test_pace_of_what_is_counted_begins_when_there_is_something(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, measured = [0.0], (0, 0)
    monkeypatch.setattr("redpajama_pipe.progress.time.monotonic", lambda: clock[0])
    measure: Callable[[], tuple[float, float]] = lambda: measured  # noqa: E731
    progress = Progress("score", measure=measure, quiet=True, doing="opening", counted="sequences", rate=True)
    said = []
    for now, measured in ((100.0, (0, 0)), (101.0, (0, 4096)), (104.0, (1024, 4096)), (3600.0, (4096, 4096))):  # noqa: B007
        clock[0] = now
        said.append(progress._state())
    progress.doing, measured = "looking up copies", (0, 0)
    said.append(progress._state())
    assert said == [
        "opening, 1 min 40 s",
        "0 of 4,096 sequences, 1 min 41 s",
        "1,024 of 4,096 sequences, 256 a second, 1 min 44 s, about 12 s left",
        "4,096 of 4,096 sequences, 1.17 a second, 1 h 00 min",
        "looking up copies, 1 h 00 min",
    ]


@dataclass
class Spark:
    """A context whose running stages are set: id → (tasks done, tasks)."""

    stages: dict[int, tuple[int, int]] = field(default_factory=dict)

    def statusTracker(self) -> Spark:
        return self

    def getActiveStageIds(self) -> list[int]:
        return list(self.stages)

    def getStageInfo(self, stage: int) -> Any:
        done, tasks = self.stages[stage]
        return type("Info", (), {"numCompletedTasks": done, "numTasks": tasks})


def test_time_left_is_that_of_the_step_which_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, spark = [0.0], Spark()
    monkeypatch.setattr("redpajama_pipe.progress.time.monotonic", lambda: clock[0])
    progress = Progress("dedup", spark, quiet=True)  # type: ignore[arg-type]
    said = []
    for now, stages in (
        (10.0, {}),
        (300.0, {4: (10, 40)}),  # an hour would be left if the time before counted
        (310.0, {4: (20, 40)}),
        (320.0, {}),
        (330.0, {5: (1, 3)}),
        (340.0, {5: (2, 3)}),
        (350.0, {6: (10, 40)}),  # another step has its own pace
        (360.0, {6: (25, 40)}),
    ):
        clock[0], spark.stages = now, stages
        said.append(progress._state())
    assert said == [
        "starting, 10 s",
        "10 of 40 tasks, 5 min 00 s",
        "20 of 40 tasks, 5 min 10 s, about 20 s left of this step",
        "planning the next step, 5 min 20 s",
        "1 of 3 tasks, 5 min 30 s",
        "2 of 3 tasks, 5 min 40 s",
        "10 of 40 tasks, 5 min 50 s",
        "25 of 40 tasks, 6 min 00 s, about 10 s left of this step",
    ]
