from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from redpajama_pipe.errors import SetupError
from redpajama_pipe.settings.annotate import Annotate
from redpajama_pipe.signals import warm_up as module
from redpajama_pipe.signals.catalogue import FAMILIES, SIGNALS, select
from redpajama_pipe.signals.language import find_model
from redpajama_pipe.signals.warm_up import Part, parts_of, warm_up

ALL = replace(Annotate(), signals=tuple(SIGNALS))


@pytest.fixture(scope="module")
def model() -> str:
    return str(find_model(Annotate().language_model))


def test_every_signal_is_in_one_part() -> None:
    named = [name for part in parts_of(ALL) for name in part.signals]
    assert sorted(named) == sorted(SIGNALS)


def test_families_with_the_same_kernels_are_one_part() -> None:
    parts = {name: part.name for part in parts_of(ALL) for name in part.signals}
    for one, other in (("gopher", "gopher_unspaced"), ("c4", "c4_fineweb")):
        assert parts[FAMILIES[one].signals[0].name] == parts[FAMILIES[other].signals[0].name]


def test_the_longest_come_first() -> None:
    settings = replace(Annotate(), signals=tuple(select(["gopher", "c4", "redpajama_v2"])))
    assert [part.name for part in parts_of(settings)] == ["redpajama_v2", "c4", "language and hashes", "gopher"]


def test_kernels_are_left_in_the_cache(model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    parts = [Part(name, tuple(select([name]))) for name in ("redpajama_v1", "fineweb")]
    monkeypatch.setattr(module, "parts_of", lambda settings: parts)
    told: list[tuple[int, int]] = []
    first = warm_up(Annotate(), model, 2, lambda done, count: told.append((done, count)))
    assert told == [(1, 2), (2, 2)]
    kept = {path.name.split(".")[0] for path in tmp_path.rglob("*.nbi")}
    assert {"redpajama_v1_kernels", "fineweb_kernels"} <= kept
    again = warm_up(Annotate(), model, 2)
    assert (first.compiled, again.compiled) == (True, False)
    files = {path.parent for path in tmp_path.rglob("*.nbi")}
    assert set(map(Path, again.folders)) == files


def test_what_a_family_lacks_is_said_as_it_would_be(model: str) -> None:
    settings = replace(Annotate(), signals=tuple(select(["classifier"])), quality_model="/nowhere/at/all.bin")
    with pytest.raises(SetupError, match=r"/nowhere/at/all\.bin"):
        warm_up(settings, model, 1)


def test_a_process_that_dies_is_said(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_COMMAND", "import os; os._exit(7)")
    with pytest.raises(SetupError, match="language and hashes ended with status 7"):
        warm_up(Annotate(), model, 1)
