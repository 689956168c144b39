"""A page that kills its parser costs one attempt of its file, and then that page alone."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from source_factory import http, members, source, warc

from redpajama_pipe.errors import InputError
from redpajama_pipe.sources import pages
from redpajama_pipe.sources.html import ExtractionError
from redpajama_pipe.sources.record import Split
from redpajama_pipe.sources.unit import Unit, find_receipt, ingest_unit

CRASHING = Path(__file__).resolve().parents[2] / "crashing_pages"
ATTEMPT = """
import pickle, sys
from redpajama_pipe.sources.unit import ingest_unit
ingest_unit(*pickle.loads(bytes.fromhex(sys.argv[1])), guarded=sys.argv[2] == "guarded")
"""


def page(number: int, *, kills: bool = False) -> bytes:
    word = "kills-the-parser" if kills else "words"
    record_id = f"<urn:uuid:{number:08d}-0000-0000-0000-000000000000>"
    body = f"<title>Page {number}</title><p>Some {word} of page {number}, long enough to be one.</p>"
    return warc(http(body.encode()), WARC_Record_ID=record_id)


def unit_of(folder: Path, *records: bytes) -> Unit:
    path = folder / "pages.warc.gz"
    path.write_bytes(members(*records))
    return Unit(Split("s", str(path), path.name), source(), None, "", 1 << 20, "state", path.stat().st_size)


def attempt(unit: Unit, folder: Path, how: str = "") -> int:
    """Ingest in a process of its own, whose parser dies of some pages; returns its status."""
    argument = pickle.dumps((unit, str(folder / "documents"), str(folder / "quarantine"))).hex()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(CRASHING), *filter(None, sys.path)])}
    return subprocess.run([sys.executable, "-c", ATTEMPT, argument, how], env=environment, check=False).returncode


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith(".tmp")  # the job removes what a dead process was writing
    }


def rows(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return found


def test_a_crash_costs_one_attempt_and_then_the_pages_that_crash(tmp_path: Path) -> None:
    records = [page(number, kills=number in (1, 3)) for number in range(5)]
    unit = unit_of(tmp_path, *records)
    run = tmp_path / "run"
    assert attempt(unit, run) == -signal.SIGSEGV
    assert find_receipt(str(run / "documents"), unit) is None
    assert attempt(unit, run) == 0  # however many pages crash, and whoever tries: a later run too
    receipt = find_receipt(str(run / "documents"), unit)
    assert receipt is not None
    assert (receipt.records, receipt.documents, receipt.quarantined) == (5, 3, {"extractor_crashed": 2})
    bad = rows(run / "quarantine" / f"{unit.name}.parquet")
    assert [row["record_id"][9:17] for row in bad] == ["00000001", "00000003"]
    assert [row["offset"] for row in bad] == [len(members(*records[:1])), len(members(*records[:3]))]
    assert {row["detail"] for row in bad} == {"resiliparse: its process ended with SIGSEGV"}

    # the same bytes when another attempt is the one that succeeds
    other = tmp_path / "other"
    assert attempt(unit, other, "guarded") == 0
    assert contents(other) == contents(run)
    assert not [name for name in contents(run) if name.endswith(".started")]


def test_guarded_or_not_sound_pages_give_the_same_bytes(tmp_path: Path) -> None:
    text = warc(http("<p>Grüße, Ελλάδα\0 und mehr".encode("cp1253", "ignore"), "Content-Type: text/html"))
    unit = unit_of(tmp_path, page(0), text, warc(http(b"plain words", "Content-Type: text/plain")), page(3))
    for how in (False, True):
        ingest_unit(unit, str(tmp_path / str(how)), str(tmp_path / str(how)), guarded=how)
    assert contents(tmp_path / "False") == contents(tmp_path / "True")


def test_only_a_unit_that_was_begun_and_never_ended_is_guarded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[object] = []
    monkeypatch.setattr(pages, "_Child", lambda extractor: started.append(extractor))
    unit = unit_of(tmp_path, page(0))
    ingest_unit(unit, str(tmp_path), str(tmp_path))
    Path(unit.split.uri).unlink()
    for _ in range(2):  # an error that Python reports is no crash
        with pytest.raises(InputError):
            ingest_unit(unit, str(tmp_path), str(tmp_path))
    assert not started


def test_what_a_page_raises_comes_back_from_the_child() -> None:
    with pages.open_pages("plain", guarded=True) as read:
        with pytest.raises(ExtractionError, match="nested more than") as caught:
            read(b"<div>" * 5000, None, "html")
        assert caught.value.reason == "too_complex"
        decoded, found = read("<title>T</title><p>après".encode("cp1252"), "latin1", "html")
        assert (decoded.charset, decoded.source, found.title, found.text.strip()) == (
            "windows-1252",
            "header",
            "T",
            "après",
        )


def test_a_child_that_something_else_ended_costs_no_page() -> None:
    with pages.open_pages("plain", guarded=True) as read:
        read(b"<p>first", None, "html")
        process = read.__self__._process  # type: ignore[attr-defined]
        process.kill()  # from outside, as a machine short of memory does
        process.wait()
        assert read(b"<p>second", None, "html")[1].text.strip() == "second"
