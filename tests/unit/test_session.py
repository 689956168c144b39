from __future__ import annotations

from pathlib import Path

import pytest

from redpajama_pipe import session
from redpajama_pipe.errors import SetupError


def fake_java(folder: Path, version: str) -> str:
    program = folder / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\necho '{version}' >&2\n")
    program.chmod(0o755)
    return str(folder)


@pytest.mark.parametrize(
    ("line", "major"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('java version "21" 2023-09-19', 21),
        ('openjdk version "25-ea"', 25),
    ],
)
def test_java_17_and_newer_will_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, line: str, major: int) -> None:
    monkeypatch.setenv("JAVA_HOME", fake_java(tmp_path, line))
    assert session.java_major() == major


@pytest.mark.parametrize(
    ("line", "found"), [('java version "1.8.0_402"', "is Java 8"), ('openjdk version "11.0.2"', "is Java 11")]
)
def test_an_old_java_gets_one_line_with_the_way_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, line: str, found: str
) -> None:
    monkeypatch.setenv("JAVA_HOME", fake_java(tmp_path, line))
    with pytest.raises(SetupError) as caught:
        session.java_major()
    message = str(caught.value)
    assert found in message
    assert "\n" not in message
    for way in ("apt-get install openjdk-17-jre-headless", "brew install openjdk@17", "conda install -c conda-forge"):
        assert way in message


def test_a_missing_java_says_where_it_was_looked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SetupError, match="no `java` on PATH"):
        session.java_major()
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(SetupError, match="which has no bin/java"):
        session.java_major()


def test_a_java_that_cannot_be_run_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "java"
    program.write_bytes(b"no program")
    program.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(SetupError, match=r"bin/java cannot be run \(Exec format error\); Spark needs Java 17"):
        session.java_major()


@pytest.mark.parametrize(
    ("master", "retried"),
    [
        ("local[*]", "local[*,4]"),
        ("local[2]", "local[2,4]"),
        ("local", "local[1,4]"),
        ("local[2,1]", "local[2,1]"),
        ("local-cluster[2,1,1024]", "local-cluster[2,1,1024]"),
        ("yarn", "yarn"),
    ],
)
def test_a_lost_worker_is_tried_again_on_one_machine_too(master: str, retried: str) -> None:
    assert session.with_retries(master) == retried
