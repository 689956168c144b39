from __future__ import annotations

import io

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
