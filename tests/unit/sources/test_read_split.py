"""Reading one split by the kind of its source."""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path

import pytest
from source_factory import documents, http, source, warc

from redpajama_pipe.errors import InputError
from redpajama_pipe.sources.plan import plan_splits
from redpajama_pipe.sources.read import read_split
from redpajama_pipe.sources.record import Split

PAGE = "<page><title>T</title><ns>0</ns><id>1</id><revision><text>Wiki words</text></revision></page>"
XML = f"<mediawiki>{PAGE}</mediawiki>"


@pytest.mark.parametrize(
    ("kind", "name", "data", "text"),
    [
        ("jsonl", "a.jsonl.gz", gzip.compress(b'{"text":"Json words"}'), "Json words"),
        ("jsonl", "misnamed.zst", b'{"text":"Json words"}', "Json words"),
        ("wikipedia", "dewiki-x.xml", XML.encode(), "Wiki words"),
        ("warc", "a.warc", warc(http(b"<p>Page words")), "Page words"),
        ("wet", "a.wet.gz", gzip.compress(warc(b"Wet words", "conversion")), "Wet words"),
        ("warc", "a.wet", warc(b"Wet words", "conversion"), "Wet words"),
    ],
)
def test_each_kind_has_its_reader(tmp_path: Path, kind: str, name: str, data: bytes, text: str) -> None:
    (tmp_path / name).write_bytes(data)
    options = source(kind, root=str(tmp_path))
    (found,) = documents(list(read_split(Split("s", str(tmp_path / name), name), options)))
    assert found.text == text


def test_planned_splits_are_read(tmp_path: Path) -> None:
    from dataclasses import replace

    (tmp_path / "a.jsonl").write_text('{"text":"x"}\n')
    options = replace(source("jsonl"), paths=(f"file://{tmp_path}/*.jsonl",))
    (split,) = plan_splits(options)
    assert [d.text for d in documents(list(read_split(split, options)))] == ["x"]


def test_urls_are_read() -> None:
    import fsspec

    fsspec.filesystem("memory").pipe("/read/a.jsonl", b'{"text":"x"}')
    split = Split("s", "memory:///read/a.jsonl", "a.jsonl")
    assert [d.text for d in documents(list(read_split(split, source("jsonl"))))] == ["x"]
    with pytest.raises(InputError, match="no such file"):
        list(read_split(Split("s", "memory:///read/b.jsonl", "b"), source("jsonl")))


def test_missing_file_and_part_of_a_file_are_errors(tmp_path: Path) -> None:
    missing = str(tmp_path / "x.jsonl")
    with pytest.raises(InputError, match="no such file"):
        list(read_split(Split("s", missing, "x"), source("jsonl")))
    with pytest.raises(InputError, match="a split is a whole file"):
        list(read_split(Split("s", missing, "x", 5, 9), source("jsonl")))


def test_reading_json_imports_no_other_parser() -> None:
    code = (
        "import sys; from redpajama_pipe.sources import jsonl, plan, read; "
        "print([name for name in ('resiliparse', 'warcio', 'mwparserfromhell', 'pyspark') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
