"""A job survives pages that kill their parser, in a session of its own in which tasks are tried again."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import yaml

from redpajama_pipe import manifest, recipe
from redpajama_pipe.run_folder import RunFolder
from redpajama_pipe.sources.unit import ingest_unit
from redpajama_pipe.stages.ingest_documents import plan_units

CRASHING = Path(__file__).resolve().parent.parent / "crashing_pages"
KILLING = {(0, 1), (0, 3), (2, 0), (3, 2), (4, 0), (5, 5)}  # file, page: more files than a task has attempts


def archive(file: int) -> bytes:
    records = []
    for page in range(6):
        word = "kills-the-parser" if (file, page) in KILLING else "words"
        text = f"<title>{page}</title><p>Some {word} of page {page} in file {file}, long enough to be a page.".encode()
        block = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\r\n" + text
        header = (
            "WARC/1.0\r\nWARC-Type: response\r\nWARC-Date: 2023-01-26T21:08:44Z\r\n"
            f"WARC-Record-ID: <{file}-{page}>\r\nWARC-Target-URI: http://example.org/{file}/{page}\r\n"
            f"Content-Type: application/http; msgtype=response\r\nContent-Length: {len(block)}\r\n\r\n"
        )
        records.append(gzip.compress(header.encode() + block + b"\r\n\r\n", mtime=0))
    return b"".join(records)


def rows(folder: str | Path) -> list[dict[str, Any]]:
    found = ds.dataset(folder, format="parquet").to_table().to_pylist()
    return sorted(found, key=lambda row: (row["uri"], row["offset"]))


def test_a_job_loses_the_pages_that_crash_and_no_other(tmp_path: Path) -> None:
    for file in range(6):
        (tmp_path / f"{file}.warc.gz").write_bytes(archive(file))
    source = {"name": "cc", "kind": "warc", "paths": [f"{tmp_path}/*.warc.gz"], "max_quarantined_share": 0.5}
    settings = {"name": "test", "sources": [source | {"root": str(tmp_path)}], "execution": {"partitions": 1}}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(settings))
    command = [sys.executable, "-m", "redpajama_pipe.cli", "ingest", str(tmp_path / "recipe.yaml"), "--quiet"]
    environment = {**os.environ, "PYTHONPATH": str(CRASHING), "PYSPARK_PYTHON": sys.executable}
    ended = subprocess.run(
        [*command, "--output", str(tmp_path / "run"), "--master", "local[2]"],  # local[2,4]: see session.with_retries
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    run = RunFolder.at(str(tmp_path / "run"))
    counts = manifest.read(run.documents).counts["sources"]["cc"]
    assert (counts["records"], counts["documents"]) == (36, 30)
    assert counts["quarantined"] == {"extractor_crashed": 6}
    assert {tuple(map(int, row["record_id"].split("-"))) for row in rows(run.quarantine)} == KILLING

    # nothing else differs from a run in which no page kills
    for unit in plan_units(recipe.load(str(tmp_path / "recipe.yaml"), []), None):
        ingest_unit(unit, str(tmp_path / "sound"), str(tmp_path / "sound"))
    lost = {row["record_id"] for row in rows(run.quarantine)}
    sound = [row for row in rows(tmp_path / "sound") if row["record_id"] not in lost]
    assert [row | {"row": 0} for row in rows(run.documents)] == [row | {"row": 0} for row in sound]
    left = [path.name for path in (tmp_path / "run").rglob("*") if path.suffix in (".tmp", ".started")]
    assert not left
