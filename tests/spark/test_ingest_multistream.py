"""A multistream dump read by several tasks."""

from __future__ import annotations

import bz2
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.dataset as ds
import pytest

from redpajama_pipe import recipe
from redpajama_pipe.manifest import Manifest
from redpajama_pipe.run_folder import RunFolder
from redpajama_pipe.sample import wiki
from redpajama_pipe.sample.articles import language
from redpajama_pipe.sources import wiki_splits
from redpajama_pipe.stages import ingest_documents

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

NAME = "dewiki-20260101-pages-articles-multistream.xml.bz2"
PAGES_IN_STREAM = 2


def write_dump(folder: Path, *, index: bool) -> None:
    german = language("de")
    pages = wiki.pages(german)
    streams = wiki.dump(german, pages, PAGES_IN_STREAM)
    starts = list(accumulate(map(len, streams)))
    lines = [f"{starts[place // PAGES_IN_STREAM]}:{page.page_id}:{page.title}\n" for place, page in enumerate(pages)]
    folder.mkdir()
    (folder / NAME).write_bytes(b"".join(streams))
    if index:
        (folder / str(wiki_splits.index_path(NAME))).write_bytes(bz2.compress("".join(lines).encode()))


def ingest(spark: SparkSession, folder: Path, run: Path, partitions: int) -> tuple[Manifest, list[dict[str, Any]]]:
    source = {"name": "wiki", "kind": "wikipedia", "paths": [f"{folder}/*"], "root": str(folder)}
    settings = recipe.from_tree({"name": "r", "sources": [source], "execution": {"partitions": partitions}}, "test")
    output = RunFolder.at(str(run))
    done = ingest_documents.run(lambda: spark, settings, output, annotate=False, quiet=True)
    names = [part[0] for part in done.counts["parts"]]
    tables = [ds.dataset(f"{output.documents}/{name}.parquet").to_table() for name in names]
    return done, [row for table in tables for row in table.drop_columns(["part", "row"]).to_pylist()]


def test_ranges_of_a_dump_give_the_documents_of_the_file(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_dump(tmp_path / "plain", index=False)
    write_dump(tmp_path / "cut", index=True)
    monkeypatch.setattr(wiki_splits, "SPLIT_BYTES", 500)
    whole, expected = ingest(spark, tmp_path / "plain", tmp_path / "1", 1)
    cut, found = ingest(spark, tmp_path / "cut", tmp_path / "2", 3)
    assert len(whole.counts["parts"]) == 1
    assert len(cut.inputs) > 3
    assert len(cut.counts["parts"]) > 2
    assert found == expected
    assert len({row["doc_id"] for row in found}) == len(found) == 5
    size = (tmp_path / "cut" / NAME).stat().st_size
    for done in (whole, cut):
        counts = done.counts["sources"]["wiki"]
        assert (counts["files"], counts["input_bytes"]) == (1, size)
        assert {**counts, "text_bytes": 0} == {**whole.counts["sources"]["wiki"], "text_bytes": 0}
    again, _ = ingest(spark, tmp_path / "cut", tmp_path / "3", 1)
    assert again.hash == cut.hash


def test_a_lost_range_is_read_again_alone(spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_dump(tmp_path / "cut", index=True)
    monkeypatch.setattr(wiki_splits, "SPLIT_BYTES", 500)
    first, _ = ingest(spark, tmp_path / "cut", tmp_path / "1", 2)
    files = [tmp_path / "1" / "documents" / file.path for file in first.files]
    written = [file.stat().st_mtime_ns for file in files]
    files[1].unlink()
    (tmp_path / "1" / "documents" / "_manifest.json").unlink()
    again, _ = ingest(spark, tmp_path / "cut", tmp_path / "1", 2)
    assert again.hash == first.hash
    assert [file.stat().st_mtime_ns == before for file, before in zip(files, written, strict=True)] == [
        place != 1 for place in range(len(files))
    ]
