from __future__ import annotations

import os
from argparse import Namespace
from pathlib import Path

import pytest

from redpajama_pipe import arguments, session
from redpajama_pipe.errors import InputError
from redpajama_pipe.run_folder import RunFolder


def test_a_folder_has_one_writer_at_a_time(tmp_path: Path) -> None:
    folder = RunFolder.at(str(tmp_path / "run"))
    held = folder.claim()
    with pytest.raises(InputError, match=r"another command is at work in .*/run; wait until it has ended, or give ano"):
        folder.claim()
    assert RunFolder.at(str(tmp_path / "other")).claim() >= 0
    os.close(held)
    os.close(folder.claim())
    assert list((tmp_path / "run").iterdir()) == []


def test_a_folder_in_an_object_store_is_not_locked() -> None:
    assert RunFolder.at("s3://bucket/run").claim() == -1


def test_a_job_claims_its_folder_until_spark_has_stopped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    events: list[str] = []

    class Spark:
        def stop(self) -> None:
            with pytest.raises(InputError):
                RunFolder.at(str(tmp_path)).claim()
            events.append("stopped")

    monkeypatch.setattr(session, "build", lambda *settings: Spark())
    monkeypatch.setattr("signal.signal", lambda *handler: None)
    options = {"output": str(tmp_path), "recipe": "sample", "set": [], "quiet": True, "master": None}
    job = arguments.Job(Namespace(**options))
    job.spark()
    other = arguments.Job(Namespace(**options))
    with pytest.raises(InputError, match="another command is at work"):
        other.spark()
    arguments.Job(Namespace(**options, what_if="word_count > 1")).spark()
    job.close()
    assert events == ["stopped"]
    os.close(RunFolder.at(str(tmp_path)).claim())
