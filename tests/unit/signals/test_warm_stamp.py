from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import redpajama_pipe
from redpajama_pipe.settings.annotate import Annotate
from redpajama_pipe.signals import warm_stamp, warm_up
from redpajama_pipe.signals.resources import ARTIFACTS_ENVIRONMENT, WORD_LISTS_ENVIRONMENT
from redpajama_pipe.signals.warm_stamp import Loaded, Stamp

Machine = Callable[[], Stamp]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """An installation with its cache, word lists and model; gives the stamp of its state."""
    for name in ("code/signals/kernels.py", "numba/kernels.one-1.nbi", "numba/kernels.one-1.1.nbc", "words/en.json"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (tmp_path / "model").write_text("model")
    monkeypatch.setattr(redpajama_pipe, "__file__", str(tmp_path / "code" / "__init__.py"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv(WORD_LISTS_ENVIRONMENT, str(tmp_path / "words"))
    monkeypatch.delenv(ARTIFACTS_ENVIRONMENT, raising=False)
    return lambda: Stamp(Annotate(), str(tmp_path / "model"))


@pytest.fixture
def warm(tmp_path: Path) -> Loaded:
    return Loaded(compiled=False, folders=frozenset([str(tmp_path / "numba")]))


def test_it_holds_until_something_changes(machine: Machine, warm: Loaded) -> None:
    assert not machine().holds()
    machine().leave(warm)
    assert machine().holds()


def test_what_was_compiled_leaves_none(machine: Machine, warm: Loaded) -> None:
    machine().leave(replace(warm, compiled=True))
    assert not machine().holds()
    assert (Loaded() | replace(warm, compiled=True) | warm).compiled


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "numba/kernels.one-1.1.nbc").unlink(),
        lambda folder: (folder / "numba/kernels.one-1.nbi").write_text("longer than it was before"),
        lambda folder: os.utime(folder / "numba/kernels.one-1.1.nbc", (1, 1)),
        lambda folder: (folder / "code/signals/kernels.py").write_text("changed"),
        lambda folder: (folder / "code/signals/more.py").write_text(""),
        lambda folder: (folder / "words/de.json").write_text("[]"),
        lambda folder: (folder / "words/en.json").unlink(),
        lambda folder: (folder / "model").unlink(),
        lambda folder: os.environ.update(NUMBA_OPT="1"),
    ],
)
def test_it_does_not_outlive_what_it_is_about(
    machine: Machine,
    warm: Loaded,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Path], object],
) -> None:
    monkeypatch.delenv("NUMBA_OPT", raising=False)
    machine().leave(warm)
    change(tmp_path)
    assert not machine().holds()


@pytest.mark.parametrize(
    ("name", "value"), [("_processor", lambda: ["older", ""]), ("_version", lambda package: "0.1")]
)
def test_another_processor_or_version_needs_its_own(
    machine: Machine, warm: Loaded, monkeypatch: pytest.MonkeyPatch, name: str, value: Callable[..., Any]
) -> None:
    machine().leave(warm)
    monkeypatch.setattr(warm_stamp, name, value)
    assert not machine().holds()


def test_what_changes_during_a_warm_up_is_not_vouched_for(machine: Machine, warm: Loaded, tmp_path: Path) -> None:
    before = machine()
    (tmp_path / "code/signals/kernels.py").write_text("edited meanwhile")
    before.leave(warm)
    assert not machine().holds()


def test_a_cache_that_may_not_be_written_is_not_used_by_numba(
    machine: Machine, warm: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine().leave(warm)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert not machine().holds()


@pytest.mark.parametrize("damage", ["", "{}", "[]", "7", '{"state": 1, "cache": {}, "folders": 3}', '{"sta'])
def test_a_damaged_one_is_none(machine: Machine, warm: Loaded, tmp_path: Path, damage: str) -> None:
    machine().leave(warm)
    (stamp,) = (tmp_path / "cache").rglob("*.json")
    stamp.write_text(damage)
    assert not machine().holds()


def test_each_settings_have_their_own(machine: Machine, warm: Loaded, tmp_path: Path) -> None:
    machine().leave(warm)
    model = str(tmp_path / "model")
    assert not Stamp(replace(Annotate(), signals=("word_count",)), model).holds()


def test_models_of_signals_are_looked_at_each_time(warm: Loaded, machine: Machine, tmp_path: Path) -> None:
    settings = replace(Annotate(), quality_model=str(tmp_path / "model"))
    Stamp(settings, str(tmp_path / "model")).leave(warm)
    assert not Stamp(settings, str(tmp_path / "model")).holds()


def test_no_place_for_it_is_no_failure(machine: Machine, warm: Loaded, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    machine().leave(warm)
    assert not machine().holds()


def test_workers_wait_for_no_warm_up_where_it_holds(
    machine: Machine, warm: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def fake(*arguments: object) -> Loaded:
        asked.append(arguments)
        return replace(warm, compiled=len(asked) == 1)

    monkeypatch.setattr(warm_up, "warm_up", fake)
    spark: Any = SimpleNamespace(sparkContext=SimpleNamespace(master="local[2]", defaultParallelism=2))
    for times in (1, 2, 2):  # compiled, then loaded, then known
        warm_up.warm_up_for_workers(spark, Annotate(), str(tmp_path / "model"), quiet=True)
        assert len(asked) == times
    (tmp_path / "numba/kernels.one-1.nbi").unlink()
    warm_up.warm_up_for_workers(spark, Annotate(), str(tmp_path / "model"), quiet=True)
    assert len(asked) == 3
