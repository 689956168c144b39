"""A full disk ends a job at once, in a session of its own in which tasks are tried again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import yaml

FULL = Path(__file__).resolve().parent.parent / "full_disk"


def test_a_full_disk_is_met_once_a_task_and_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": "some words"}) + "\n")
    source = {"name": "web", "kind": "jsonl", "paths": [f"{tmp_path}/a.jsonl"]}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump({"name": "test", "sources": [source]}))
    command = [sys.executable, "-m", "redpajama_pipe.cli", "ingest", str(tmp_path / "recipe.yaml"), "--quiet"]
    attempts = tmp_path / "attempts"
    environment = {**os.environ, "PYTHONPATH": str(FULL), "ATTEMPTS": str(attempts), "PYSPARK_PYTHON": sys.executable}
    ended = subprocess.run(
        [*command, "--output", str(tmp_path / "run"), "--master", "local[1]"],  # local[1,4]: see session.with_retries
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    told = [line for line in ended.stderr.splitlines() if not line.startswith("WARNING: Using incubator")]
    assert ended.returncode == 2, ended.stderr[-3000:]
    assert len(told) == 1, ended.stderr[-3000:]
    assert told[0].startswith(f"redpajama-pipe: cannot write to {tmp_path}/run/documents: No space left on device (")
    assert told[0].endswith(" free); make room, and run the same command again: it goes on where it stopped")
    assert len(attempts.read_text().splitlines()) < 4  # as many as Spark would make
