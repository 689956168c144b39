from __future__ import annotations

import os
from pathlib import Path

import pytest

from redpajama_pipe import session
from redpajama_pipe.errors import SetupError, StorageError


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


def test_a_user_without_a_name_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    session.check_user()
    monkeypatch.setattr("os.getuid", lambda: 4_000_000_001)
    with pytest.raises(SetupError, match=r"user 4000000001 has no entry in /etc/passwd.*me:x:4000000001:\d+::/tmp"):
        session.check_user()


def test_a_jvm_that_does_not_start_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from pyspark.sql import SparkSession

    def refuse(builder: object) -> None:
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setenv("JAVA_HOME", fake_java(tmp_path, 'openjdk version "17.0.15"'))
    monkeypatch.delenv("SPARK_LOCAL_DIRS", raising=False)
    for name in ("PYSPARK_PYTHON", "PYSPARK_DRIVER_PYTHON", "OMP_NUM_THREADS", "SPARK_LOCAL_IP"):
        monkeypatch.setenv(name, os.environ.get(name, "1"))  # which would else stay set
    monkeypatch.setattr(SparkSession.Builder, "getOrCreate", refuse)
    with pytest.raises(SetupError, match="Spark could not start, and Java says why above"):
        session.build("test", "local[1]")
    with pytest.raises(StorageError, match="cannot write to /proc/nowhere"):
        session.build("test", "local[1]", {"spark.local.dir": "/proc/nowhere"})


def test_a_java_that_says_something_else_is_quoted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("JAVA_HOME", fake_java(tmp_path, "Error occurred during initialization of VM"))
    with pytest.raises(SetupError, match="-version says 'Error occurred during initialization of VM'; Spark needs Jav"):
        session.java_major()
