"""A run's documents as RedPajama publishes them: what is written, that it reads back, and that its bytes are stable."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from redpajama_pipe import manifest, recipe, schema
from redpajama_pipe.errors import ReconcileError
from redpajama_pipe.run_folder import RunFolder
from redpajama_pipe.settings.source import Source
from redpajama_pipe.settings.tree import to_tree
from redpajama_pipe.sources.read import read_split
from redpajama_pipe.sources.record import Document, Split
from redpajama_pipe.sources.unit import ingest_unit
from redpajama_pipe.stages import export_documents
from redpajama_pipe.stages.ingest_documents import _count, plan_units

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

TEXTS = [f"Document {number} says é and more.\nIts second line." for number in range(40)]
DROPPED, CUT, REPLACED = 3, 17, 31


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run of two files in several parts, with one drop, one cut and one replacement; made without Spark."""
    root = tmp_path_factory.mktemp("run")
    lines = [json.dumps({"text": text, "meta": {"set": "a", "number": n}}) for n, text in enumerate(TEXTS)]
    for name, some in (("a", lines[:25]), ("b", lines[25:])):
        (root / f"{name}.jsonl").write_text("\n".join(some) + "\n")
    source = {"name": "pile", "kind": "jsonl", "paths": [f"{root}/*.jsonl"], "root": str(root), "language": "en"}
    loaded = recipe.from_tree({"name": "test", "sources": [source], "part_bytes": 300}, "test")
    folder = RunFolder.at(str(root / "run"))
    receipts = [ingest_unit(unit, folder.documents, folder.quarantine) for unit in plan_units(loaded, None)]
    counts = _count(loaded, receipts, set()) | {"annotated": True}
    files = [part.file for receipt in receipts for part in receipt.parts]
    section = {"sources": to_tree(loaded.sources)}
    # the signals that an export reads
    for file in files:
        path = Path(folder.documents) / file.path
        table = pq.read_table(path)
        table = table.append_column("language", table["declared_language"])
        pq.write_table(table.append_column("language_score", pa.array([0.5] * len(table))), path)
    files = [type(file)(file.path, (Path(folder.documents) / file.path).stat().st_size, "") for file in files]
    manifest.write(folder.documents, "ingest", {}, section, counts, files)
    decide(folder, files)
    return folder


def decide(folder: RunFolder, files: list[Any]) -> None:
    ids = {}
    for file in files:
        for row in pq.read_table(Path(folder.documents) / file.path).to_pylist():
            ids[row["text"]] = row["doc_id"]
    common = {"source": "pile", "language": "en", "stage": "filter", "rank": 0, "evidence": "{}"}
    spans: dict[int, dict[str, Any]] = {
        DROPPED: {"action": "drop", "rule": "short"},
        CUT: {"action": "cut", "rule": "line", "span_start": 0, "span_end": TEXTS[CUT].encode().index(b"\n") + 1},
        REPLACED: {"action": "replace", "rule": "pii", "span_start": 0, "span_end": 8, "replacement": "Dökument"},
    }
    rows = [{"doc_id": ids[TEXTS[number]], **common, **span} for number, span in spans.items()]
    where = Path(folder.decisions("filter"))
    where.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=schema.DECISIONS), where / "part-00000.parquet")
    manifest.write(str(where), "filter", {}, {}, {"by_rule": {"pile": {"short": 1}}}, [])


def expected() -> list[str]:
    texts = list(TEXTS)
    texts[CUT] = "Its second line."
    texts[REPLACED] = texts[REPLACED].replace("Document", "Dökument", 1)
    del texts[DROPPED]
    return texts


def export(spark: SparkSession, run: RunFolder, target: Path, layout: str, **options: Any) -> manifest.Manifest:
    return export_documents.run(lambda: spark, run, str(target), layout, quiet=True, **options)


def texts_of(target: Path, text_field: str = "text") -> list[str]:
    source = Source("back", "jsonl", ("unused",), text_field=text_field)
    found = []
    for path in sorted(target.rglob("*.json*.gz")):
        for record in read_split(Split("back", str(path), path.name), source):
            assert isinstance(record, Document)
            found.append(record.text)
    return found


def contents(target: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(target)): path.read_bytes()
        for path in target.rglob("*")
        if path.is_file() and path.name != manifest.NAME
    }


def test_kept_documents_read_back_with_the_decisions_applied(
    spark: SparkSession, run: RunFolder, tmp_path: Path, configure: Callable[..., None]
) -> None:
    done = export(spark, run, tmp_path / "v1", "redpajama_v1")
    assert done.counts == {"documents": 39}
    assert len(done.files) > 4  # one a part
    assert sorted(texts_of(tmp_path / "v1")) == sorted(expected())
    first = min((tmp_path / "v1" / "pile").iterdir())
    assert first.read_bytes()[:10] == b"\x1f\x8b\x08\0\0\0\0\0\0\xff"  # no name, no time
    line = gzip.decompress(first.read_bytes()).decode().splitlines()[0]
    number = int(line.split()[1])
    text = json.dumps(TEXTS[number], ensure_ascii=False)
    assert line == f'{{"text":{text},"meta":{{"number":{number},"set":"a"}}}}'

    # the same bytes however Spark cuts the work
    configure(adaptive_enabled="false", shuffle_partitions="5")
    before = export_documents.MAX_TASKS
    export_documents.MAX_TASKS = 2
    try:
        export(spark, run, tmp_path / "again", "redpajama_v1")
    finally:
        export_documents.MAX_TASKS = before
    assert contents(tmp_path / "again") == contents(tmp_path / "v1")


def test_version_2_lies_by_snapshot_shard_and_language(spark: SparkSession, run: RunFolder, tmp_path: Path) -> None:
    target = tmp_path / "v2"
    done = export(spark, run, target, "redpajama_v2", everything=True)
    assert sorted(texts_of(target, "raw_content")) == sorted(TEXTS)  # --all: as extracted
    parts = manifest.read(run.documents).counts["parts"]
    names = [f"documents/pile/{order:04d}/en_all.json.gz" for order in range(len(parts))]
    assert [file.path for file in done.files] == names
    for (_, rows, _), name in zip(parts, names, strict=True):
        assert gzip.decompress((target / name).read_bytes()).count(b"\n") == rows
    # nothing to do: no session is asked for, nothing is written
    again = export_documents.run(lambda: 1 // 0, run, str(target), "redpajama_v2", everything=True)  # type: ignore[arg-type,return-value]
    assert again == done
    # another layout takes its place
    export(spark, run, target, "jsonl", everything=True)
    assert not list(target.rglob("*_all.json.gz"))
    assert sorted(texts_of(target)) == sorted(TEXTS)


def test_documents_that_are_lost_stop_it(spark: SparkSession, run: RunFolder, tmp_path: Path) -> None:
    where = Path(run.decisions("filter"))
    stored = (where / manifest.NAME).read_bytes()
    manifest.write(str(where), "filter", {}, {}, {"by_rule": {"pile": {"short": 2}}}, [])
    with pytest.raises(ReconcileError, match="40 documents in and 2 dropped, but 39 were written"):
        export(spark, run, tmp_path, "jsonl")
    (where / manifest.NAME).write_bytes(stored)
    assert manifest.find(str(tmp_path)) is None
