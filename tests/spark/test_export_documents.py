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
from redpajama_pipe.settings.annotate import Annotate
from redpajama_pipe.settings.source import Source
from redpajama_pipe.settings.tree import to_tree
from redpajama_pipe.signals import score
from redpajama_pipe.sources.read import read_split
from redpajama_pipe.sources.record import Document, Split
from redpajama_pipe.sources.unit import ingest_unit
from redpajama_pipe.stages import export_documents
from redpajama_pipe.stages.ingest_documents import _count, plan_units

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

TEXTS = [f"Document {number} says é and more.\nIts second line." for number in range(40)]
DROPPED, CUT, REPLACED, EQUAL, ALIKE = 3, 17, 31, 8, 22
SIGNALS = ("rps_doc_word_count", "rps_lines_num_words")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run of two files in several parts, with three drops, one cut and one replacement; made without Spark."""
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
    section = {"sources": to_tree(loaded.sources), "annotate": to_tree(Annotate(signals=SIGNALS))}
    # the signals that an export reads
    for file in files:
        path = Path(folder.documents) / file.path
        table = pq.read_table(path)
        table = table.append_column("language", table["declared_language"])
        table = table.append_column("language_score", pa.array([0.5] * len(table)))
        for name, column in zip(SIGNALS, score(table["text"].combine_chunks(), SIGNALS).columns, strict=True):
            table = table.append_column(name, column)
        pq.write_table(table, path)
    files = [type(file)(file.path, (Path(folder.documents) / file.path).stat().st_size, "") for file in files]
    manifest.write(folder.documents, "ingest", {}, section, counts, files)
    decide(folder, files)
    return folder


def decide(folder: RunFolder, files: list[Any]) -> None:
    ids = {}
    for file in files:
        for row in pq.read_table(Path(folder.documents) / file.path).to_pylist():
            ids[row["text"]] = row["doc_id"]
    common = {"source": "pile", "language": "en", "rank": 0, "evidence": "{}"}
    line_end = TEXTS[CUT].encode().index(b"\n") + 1
    taken: dict[str, dict[int, dict[str, Any]]] = {
        "filter": {
            DROPPED: {"action": "drop", "rule": "short"},
            CUT: {"action": "cut", "rule": "line", "span_start": 0, "span_end": line_end},
            REPLACED: {"action": "replace", "rule": "pii", "span_start": 0, "span_end": 8, "replacement": "Dökument"},
        },
        "dedup": {
            EQUAL: {"action": "drop", "rule": "digest_duplicate"},
            ALIKE: {"action": "drop", "rule": "near_duplicate"},
        },
    }
    for stage, spans in taken.items():
        rows = [{"doc_id": ids[TEXTS[number]], "stage": stage, **common, **span} for number, span in spans.items()]
        where = Path(folder.decisions(stage))
        where.mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(rows, schema=schema.DECISIONS), where / "part-00000.parquet")
        dropped = {row["rule"]: 1 for row in rows if row["action"] == "drop"}
        inputs = {"documents": manifest.read(folder.documents).hash}
        manifest.write(str(where), stage, inputs, {}, {"by_rule": {"pile": dropped}}, [])


def expected() -> list[str]:
    texts = list(TEXTS)
    texts[CUT] = "Its second line."
    texts[REPLACED] = texts[REPLACED].replace("Document", "Dökument", 1)
    return [text for number, text in enumerate(texts) if number not in (DROPPED, EQUAL, ALIKE)]


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
    assert done.counts == {"documents": 37}
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
    assert sorted(texts_of(target / "documents", "raw_content")) == sorted(TEXTS)  # --all: as extracted
    parts = manifest.read(run.documents).counts["parts"]
    names = [f"pile/{order:04d}/en_all" for order in range(len(parts))]
    assert sorted(file.path for file in done.files) == sorted(
        f"{folder}/{name}.{suffix}" for folder, suffix in SUFFIXES.items() for name in names
    )
    for (_, rows, _), name in zip(parts, names, strict=True):
        assert gzip.decompress((target / f"documents/{name}.json.gz").read_bytes()).count(b"\n") == rows
    # as published: the documents whole, and a list of the equal ones; near-duplicates are for whoever reads minhash/
    assert done.counts == {"documents": 40, "signals": 2, "duplicates": 1}
    [(name, listed)] = [(name, rows) for name in names if (rows := duplicates(target, name))]
    [row] = [row for row in beside(target, name) if row[0]["raw_content"] == TEXTS[EQUAL]]
    assert listed == [{"shard_id": f"{name}.json.gz", "doc_id": row[1]["id"], "digest": None}]
    # nothing to do: no session is asked for, nothing is written
    again = export_documents.run(lambda: 1 // 0, run, str(target), "redpajama_v2", everything=True)  # type: ignore[arg-type,return-value]
    assert again == done
    # another layout takes its place
    export(spark, run, target, "jsonl", everything=True)
    assert not list(target.rglob("*_all.*"))
    assert sorted(texts_of(target)) == sorted(TEXTS)


SUFFIXES = {
    "documents": "json.gz",
    "quality_signals": "signals.json.gz",
    "minhash": "minhash.parquet",
    "duplicates": "duplicates.parquet",
}


def duplicates(target: Path, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(target / f"duplicates/{name}.duplicates.parquet").to_pylist()
    return found


def beside(target: Path, name: str) -> list[tuple[Any, ...]]:
    """Each document of a file with its signals and its signatures, by row as the published loader joins them."""
    lines = [
        [json.loads(line) for line in gzip.decompress((target / path).read_bytes()).splitlines()]
        for path in (f"documents/{name}.json.gz", f"quality_signals/{name}.signals.json.gz")
    ]
    signed = pq.read_table(target / f"minhash/{name}.minhash.parquet").to_pylist()
    return list(zip(*lines, signed, strict=True))


def test_signals_of_version_2_are_of_the_text_beside_them(
    spark: SparkSession, run: RunFolder, tmp_path: Path, configure: Callable[..., None]
) -> None:
    target = tmp_path / "v2"
    done = export(spark, run, target, "redpajama_v2")
    assert done.counts == {"documents": 37, "signals": 2, "duplicates": 0}
    texts = []
    for path in (target / "documents").rglob("*.json.gz"):
        name = str(path.relative_to(target / "documents")).removesuffix(".json.gz")
        assert duplicates(target, name) == []
        for row, (document, signals, signed) in enumerate(beside(target, name)):
            text = document["raw_content"]
            texts.append(text)
            assert signals["id"] == signed["id"] == f"{name}.json.gz/{row}"
            assert signals["id_int"] == signed["id_int"]
            lines = text.splitlines(keepends=True)
            starts = [sum(map(len, lines[:index])) for index in range(len(lines))]
            assert signals["quality_signals"] == {
                "ccnet_length": [[0, len(text), len(text)]],
                "ccnet_original_length": [[0, len(text), document["original_length"]]],
                "ccnet_nlines": [[0, len(text), len(lines)]],
                "ccnet_original_nlines": [[0, len(text), 2]],
                "ccnet_language_score": [[0, len(text), 0.5]],
                "ccnet_bucket": [[0, len(text), None]],
                "rps_doc_word_count": [[0, len(text), len(text.split())]],
                "rps_lines_num_words": [
                    [start, start + len(line), len(line.split())] for start, line in zip(starts, lines, strict=True)
                ],
            }
    assert sorted(texts) == sorted(expected())

    # the same bytes however Spark cuts the work
    configure(adaptive_enabled="false", shuffle_partitions="5", execution_arrow_maxRecordsPerBatch="2")
    before = export_documents.MAX_TASKS
    export_documents.MAX_TASKS = 2
    try:
        export(spark, run, tmp_path / "again", "redpajama_v2")
    finally:
        export_documents.MAX_TASKS = before
    assert contents(tmp_path / "again") == contents(target)


def test_what_a_published_corpus_has_and_this_has_not_is_said(run: RunFolder) -> None:
    def said(layout: str, **counts: int | None) -> list[str]:
        section = {"layout": layout, "everything": False}
        return export_documents.missing(manifest.Manifest("export", "", "", {}, section, counts, ()))

    assert said("redpajama_v1", documents=3) == []
    assert said("redpajama_v2", documents=3, signals=0, duplicates=None) == [
        "quality_signals has CCNet's and none of RedPajama-V2's 38: annotate the run with "
        "--set 'annotate.signals=[redpajama_v2]' for all of them",
        "there is no duplicates/: none were looked for; dedup does, with --set 'dedup.exact=[digest]' as published",
    ]
    assert said("redpajama_v2", documents=3, signals=38, duplicates=0) == [
        "duplicates/ lists none, for they are dropped: --all keeps all documents and lists the equal ones"
    ]


def test_documents_that_are_lost_stop_it(spark: SparkSession, run: RunFolder, tmp_path: Path) -> None:
    where = Path(run.decisions("filter"))
    stored = (where / manifest.NAME).read_bytes()
    manifest.write(str(where), "filter", {}, {}, {"by_rule": {"pile": {"short": 2}}}, [])
    with pytest.raises(ReconcileError, match="40 documents in and 4 dropped, but 37 were written"):
        export(spark, run, tmp_path, "jsonl")
    (where / manifest.NAME).write_bytes(stored)
    assert manifest.find(str(tmp_path)) is None
