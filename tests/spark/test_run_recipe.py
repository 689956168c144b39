"""The whole pipeline on a small corpus: what it promises, checked against the files that it wrote."""

from __future__ import annotations

import json
import random
import shutil
import unittest.mock
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.dataset as ds
import pytest
import yaml

from redpajama_pipe import cli, manifest, recipe
from redpajama_pipe.errors import GateError, ManifestError, RecipeError, ReconcileError
from redpajama_pipe.recipe import Recipe
from redpajama_pipe.report.life import explain_document
from redpajama_pipe.run_folder import RunFolder
from redpajama_pipe.settings.tree import to_tree
from redpajama_pipe.stages import (
    build_schedule,
    dedup_documents,
    filter_documents,
    ingest_documents,
    pack_tokens,
    run_recipe,
)
from redpajama_pipe.summary import build_summary
from redpajama_pipe.tokens.encode import open_encoder
from redpajama_pipe.tokens.indexed import IndexedDataset
from redpajama_pipe.tokens.spec import load_spec

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

WORDS = (
    "the river that runs past our old house begins in hills to north and ends at small harbour with spring floods low "
    "fields so farmers have built walls of stone children fish there every summer nobody remembers any dry year yet "
    "boats carry grain wool salt iron timber across water toward market town where bells ring before dawn"
)


def sentence(seed: int, length: int) -> list[str]:
    """Words that the filter keeps: mixed, with stop words in them."""
    source, words = random.Random(seed), WORDS.split()
    return [source.choice(words) + (f"{source.randrange(50)}" if place % 9 == 0 else "") for place in range(length)]


def write_corpus(folder: Path) -> Recipe:
    """Write three files of JSON lines with planted duplicates, short documents and broken lines."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, first in (("a", 0), ("b", 100), ("c", 200)):
        lines: list[str] = []
        for seed in range(first, first + 40):
            words = sentence(seed, 120 + seed % 50)
            text = " ".join(words)
            lines.append(json.dumps({"text": text, "meta": {"set": f"set {seed % 3}"}}))
            if seed % 8 == 0:  # the same again
                lines.append(json.dumps({"text": text, "meta": {"set": "copy"}}))
            if seed % 10 == 0:  # one word more: a Jaccard similarity of about 0.92
                changed = [*words[:40], "otherwise", *words[40:]]
                lines.append(json.dumps({"text": " ".join(changed), "meta": {"set": "near"}}))
        lines.append(json.dumps({"text": "Too short to keep.", "meta": {}}))
        lines.append('{"text": "cut off')
        lines.append(json.dumps({"body": "no text"}))
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    settings = {
        "name": "small",
        "sources": [
            {
                "name": source,
                "kind": "jsonl",
                "paths": [f"{folder}/{pattern}.jsonl"],
                "root": str(folder),
                "subset_field": "meta.set",
                "language": "en",
                "max_quarantined_share": 0.2,
            }
            for source, pattern in (("first", "[ab]"), ("second", "c"))
        ],
        "part_bytes": 20_000,
        "filter": {"rule_sets": ["gopher"]},
        "tokenize": {"tokenizer": "sample_spm", "vocab_size": 420, "train_bytes": 50_000, "shard_bytes": 25_000},
        "schedule": {"seq_len": 64, "batch_size": 4, "epochs": [1, 1.5]},
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(settings))
    return recipe.load(str(path))


@pytest.fixture(scope="module")
def finished(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> tuple[Recipe, RunFolder, dict[str, Any]]:
    """One run that the tests of this module look at."""
    folder = tmp_path_factory.mktemp("pipeline")
    settings = write_corpus(folder / "corpus")
    run = RunFolder.at(str(folder / "run"))
    return settings, run, run_recipe.run(lambda: spark, settings, run, quiet=True)


Finished = tuple[Recipe, RunFolder, dict[str, Any]]


def rows(path: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ds.dataset(path, format="parquet").to_table().to_pylist()
    return found


def test_documents_in_are_kept_dropped_or_quarantined(finished: Finished) -> None:
    _, run, summary = finished
    for source, files in (("first", 2), ("second", 1)):
        entry = summary["sources"][source]
        assert entry["documents_in"] == files * (40 + 5 + 4 + 1 + 2)
        assert entry["quarantined_by_reason"] == {"bad_json": files, "no_text": files}
        assert entry["dropped"]["gopher.min_word_count"] == files
        assert entry["dropped"]["exact_duplicate"] == files * 5
        assert entry["dropped"]["near_duplicate"] == files * 4
        assert entry["kept"] == files * 40
    assert len(rows(run.quarantine)) == 6
    assert json.loads(Path(run.summary).read_text()) == json.loads(json.dumps(summary))


def test_every_dropped_document_has_a_receipt(finished: Finished) -> None:
    _, run, _ = finished
    documents = {row["doc_id"]: row for row in rows(run.documents)}
    kept = {row["doc_id"] for row in rows(run.token_map)}
    receipts = [row for step in ("filter", "dedup") for row in rows(run.decisions(step))]
    counted = [row["doc_id"] for row in receipts if row["action"] == "drop" and row["rank"] == 0]
    assert len(counted) == len(set(counted))
    assert set(documents) == kept | set(counted)
    assert not kept & set(counted)
    for row in receipts:
        evidence = json.loads(row["evidence"])
        if row["rule"] == "gopher.min_word_count":
            assert evidence == {"word_count": 4}
        if row["rule"] == "exact_duplicate":
            equal = documents[bytes.fromhex(evidence.get("equal_to", evidence["kept"]))]
            assert equal["text"] == documents[row["doc_id"]]["text"]
            # the equal document may itself be a near-duplicate of a longer one, which then is the one that stays
            assert ("equal_to" in evidence) == (row["similarity"] < 1.0)
        if row["stage"] == "dedup":
            assert row["kept_doc_id"] in kept
            assert evidence["kept"] == row["kept_doc_id"].hex()


def test_similarity_in_a_receipt_is_the_exact_jaccard(finished: Finished) -> None:
    _, run, _ = finished
    texts = {row["doc_id"]: row["text"] for row in rows(run.documents)}

    def shingles(text: str) -> set[tuple[str, ...]]:
        words = text.lower().split()
        return {tuple(words[at : at + 5]) for at in range(len(words) - 4)}

    taken = [row for row in rows(run.decisions("dedup")) if row["similarity"] < 1.0]
    assert len(taken) > 12, "near-duplicates, and equal copies of near-duplicates"
    for row in taken:
        one, other = shingles(texts[row["doc_id"]]), shingles(texts[row["kept_doc_id"]])
        assert row["similarity"] == pytest.approx(len(one & other) / len(one | other), abs=1e-12)
        assert row["similarity"] >= 0.8


def test_ids_in_the_shards_decode_to_the_kept_texts(finished: Finished) -> None:
    _, run, summary = finished
    texts = {row["doc_id"]: row["text"] for row in rows(run.documents)}
    encoder = open_encoder(load_spec("sample_spm"), f"{run.tokens}/tokenizer.model", engine="reference")
    eod = load_spec("sample_spm").eod_id
    shards = [IndexedDataset(f"{run.tokens}/{shard['name']}") for shard in summary["shards"]]
    assert len(shards) > 1
    places = rows(run.token_map)
    assert sum(len(shard) for shard in shards) == len(places)
    for place in places:
        shard = shards[place["shard"]]
        ids = shard[place["sequence"]]
        assert len(ids) == place["length"]
        assert int(shard.sizes[: place["sequence"]].sum()) == place["offset"]
        assert ids[-1] == eod
        assert encoder.decode(ids[:-1]) == texts[place["doc_id"]]
        assert place["subset"] in ("set 0", "set 1", "set 2", "near", "copy")
    assert sum(entry["tokens"] for entry in summary["sources"].values()) == sum(shard.tokens for shard in shards)


def outcome(run: RunFolder) -> dict[str, Any]:
    """Checksums of everything that must not depend on how the work was cut up."""
    folders = [run.documents, *run.decided(), run.tokens, run.schedule]
    return {folder[len(run.path) :]: [(f.path, f.sha256) for f in manifest.read(folder).files] for folder in folders}


@pytest.mark.parametrize(
    ("partitions", "adaptive", "shuffle"), [(7, "true", "5"), (2, "false", "3")], ids=["seven", "two_not_adaptive"]
)
def test_partitions_and_input_order_change_no_byte(
    finished: Finished,
    spark: SparkSession,
    configure: Callable[..., None],
    tmp_path: Path,
    partitions: int,
    adaptive: str,
    shuffle: str,
) -> None:
    settings, run, _ = finished
    configure(adaptive_enabled=adaptive, shuffle_partitions=shuffle)
    tree = to_tree(settings)
    tree["execution"]["partitions"] = partitions
    for source in tree["sources"]:
        folder = Path(source["root"])
        names = sorted(folder.glob("[ab].jsonl" if source["name"] == "first" else "c.jsonl"), reverse=True)
        source["paths"] = [str(name) for name in (*names, names[0])]
    again = RunFolder.at(str(tmp_path / "again"))
    run_recipe.run(lambda: spark, recipe.from_tree(tree, "test"), again, quiet=True)
    assert outcome(again) == outcome(run)


def no_spark() -> SparkSession:
    raise AssertionError("Spark was started although nothing had to be done")


def test_a_second_run_does_nothing(finished: Finished) -> None:
    settings, run, summary = finished
    assert run_recipe.run(no_spark, settings, run, quiet=True) == summary


def test_what_was_killed_continues_and_gives_the_same_bytes(
    finished: Finished, spark: SparkSession, tmp_path: Path
) -> None:
    settings, run, _ = finished
    again = RunFolder.at(str(tmp_path / "again"))
    ingest_documents.run(lambda: spark, settings, again, quiet=True)
    # as a kill leaves it: no manifest, one unit without its receipt and with half a part
    Path(again.documents, manifest.NAME).unlink()
    receipts = sorted(Path(again.documents, "_units").iterdir())
    lost = json.loads(receipts[0].read_text())
    receipts[0].unlink()
    part = Path(again.documents, lost["parts"][0]["file"]["path"])
    part.write_bytes(part.read_bytes()[:100])
    untouched = {path: path.stat().st_mtime_ns for path in receipts[1:]}
    with pytest.raises(ManifestError, match="no finished output"):
        filter_documents.run(no_spark, settings, again, quiet=True)
    run_recipe.run(lambda: spark, settings, again, quiet=True)
    assert outcome(again) == outcome(run)
    assert {path: path.stat().st_mtime_ns for path in untouched} == untouched


def test_a_changed_threshold_redoes_the_decisions_and_no_more(
    finished: Finished, spark: SparkSession, tmp_path: Path
) -> None:
    settings, _, _ = finished
    run = RunFolder.at(str(tmp_path / "run"))
    run_recipe.run(lambda: spark, settings, run, quiet=True)
    parts = {path: path.stat().st_mtime_ns for path in Path(run.documents).glob("*.parquet")}
    tree = to_tree(settings)
    tree["dedup"]["threshold"] = 0.99
    summary = run_recipe.run(lambda: spark, recipe.from_tree(tree, "test"), run, quiet=True)
    assert {path: path.stat().st_mtime_ns for path in parts} == parts
    assert "near_duplicate" not in summary["sources"]["first"]["dropped"]


def test_separate_ingest_and_annotate_decide_the_same(finished: Finished, spark: SparkSession, tmp_path: Path) -> None:
    from redpajama_pipe.stages import annotate_documents

    settings, run, _ = finished
    apart = RunFolder.at(str(tmp_path / "apart"))
    ingest_documents.run(lambda: spark, settings, apart, annotate=False, quiet=True)
    with pytest.raises(ManifestError, match="have no signals yet; run annotate first"):
        filter_documents.run(no_spark, settings, apart, quiet=True)
    annotate_documents.run(lambda: spark, settings, apart, quiet=True)
    filter_documents.run(lambda: spark, settings, apart, quiet=True)
    dedup_documents.run(lambda: spark, settings, apart, quiet=True)
    pack_tokens.run(lambda: spark, settings, apart, quiet=True)
    build_schedule.run(settings, apart, quiet=True)
    one, other = outcome(run), outcome(apart)
    del one["/documents"], other["/documents"]
    assert one == other


def test_new_signals_are_written_beside_the_text_and_old_ones_come_back(
    finished: Finished, spark: SparkSession, tmp_path: Path
) -> None:
    settings, run, _ = finished
    copy = RunFolder.at(str(shutil.copytree(run.path, tmp_path / "run")))
    parts = {path.name: path.stat().st_mtime_ns for path in Path(copy.documents).glob("*.parquet")}
    more = recipe.from_tree(
        {**to_tree(settings), "annotate": {"signals": ["rps_doc_word_count", "pii_spans"]}}, "small"
    )
    run_recipe.annotated_documents(lambda: spark, more, copy, quiet=True)
    where, _ = copy.annotated()
    assert where == copy.annotations
    assert {"rps_doc_word_count", "pii_spans", "word_count"} <= set(rows(where)[0])
    filter_documents.run(lambda: spark, more, copy, quiet=True)
    assert rows(copy.decisions("filter")) == rows(run.decisions("filter"))
    run_recipe.annotated_documents(lambda: spark, settings, copy, quiet=True)
    assert copy.annotated()[0] == copy.documents
    assert {path.name: path.stat().st_mtime_ns for path in Path(copy.documents).glob("*.parquet")} == parts


@pytest.mark.parametrize(
    ("rule", "order", "message"),
    [
        ("words_count > 3", "doc_id", "rule mine.r.* reads an unknown signal 'words_count'; nearest: word_count"),
        ("word_count", "doc_id", "is of type bigint"),
        ("word_count > 3", "char_cuont desc", "keep_order: 'char_cuont' names a column that documents do not have"),
    ],
)
def test_sql_is_checked_before_anything_is_read(
    spark: SparkSession, tmp_path: Path, rule: str, order: str, message: str
) -> None:
    tree = to_tree(write_corpus(tmp_path / "corpus"))
    rules = {"name": "mine", "rules": [{"name": "r", "keep": rule, "on_null": "drop"}]}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(rules))
    tree["filter"]["rule_sets"] = [str(tmp_path / "mine.yaml")]
    tree["dedup"]["keep_order"] = order
    folder = RunFolder.at(str(tmp_path / "run"))
    with pytest.raises(RecipeError, match=message):
        run_recipe.run(lambda: spark, recipe.from_tree(tree, "small"), folder, quiet=True)
    assert not Path(folder.documents, "_units").exists()


def test_sql_is_checked_against_the_columns_that_documents_get(finished: Finished, spark: SparkSession) -> None:
    settings, run, _ = finished
    with unittest.mock.patch.object(dedup_documents, "with_source_rank", side_effect=KeyboardInterrupt) as ranked:
        with pytest.raises(KeyboardInterrupt):
            run_recipe.check_expressions(spark, settings)
        checked = ranked.call_args.args[0]
    assert checked.dtypes == filter_documents.read_annotated(spark, run.documents).dtypes


def test_a_document_that_vanishes_stops_the_run(finished: Finished, spark: SparkSession, tmp_path: Path) -> None:
    settings, run, _ = finished
    copy = RunFolder.at(str(tmp_path / "copy"))
    shutil.copytree(run.path, copy.path)
    # as if the near-duplicates of a source were dropped without a count
    taken = manifest.read(copy.decisions("dedup"))
    counts = json.loads(json.dumps(taken.counts))
    del counts["by_rule"]["first"]["near_duplicate"]
    manifest.write(copy.decisions("dedup"), "dedup", taken.inputs, taken.recipe, counts, taken.files)
    with pytest.raises(ReconcileError, match=r"documents in, but 120 kept and \d+ dropped"):
        pack_tokens.run(lambda: spark, settings, copy, quiet=True)
    with pytest.raises(ReconcileError, match=r"source 'first': 104 documents in, but 80 kept"):
        build_summary(settings, copy_with_tokens(run, copy))


def copy_with_tokens(run: RunFolder, copy: RunFolder) -> RunFolder:
    shutil.copytree(run.tokens, copy.tokens, dirs_exist_ok=True)
    return copy


def test_a_part_that_vanishes_stops_the_filter(finished: Finished, spark: SparkSession, tmp_path: Path) -> None:
    settings, run, _ = finished
    copy = RunFolder.at(str(tmp_path / "copy"))
    shutil.copytree(run.documents, copy.documents)
    found = manifest.read(copy.documents)
    lost = found.files[0]
    Path(copy.documents, lost.path).unlink()
    with pytest.raises(ManifestError, match=r"is missing although _manifest.json names it"):
        filter_documents.run(lambda: spark, settings, copy, quiet=True)
    manifest.write(copy.documents, found.stage, found.inputs, found.recipe, found.counts, found.files[1:])
    with pytest.raises(ReconcileError, match=r"ingest wrote \d+ documents, \d+ were read"):
        filter_documents.run(lambda: spark, settings, copy, quiet=True)


def test_too_many_unreadable_records_stop_the_run(finished: Finished, spark: SparkSession, tmp_path: Path) -> None:
    settings, _, _ = finished
    tree = to_tree(settings)
    tree["sources"][0]["max_quarantined_share"] = 0.01
    message = (
        r"source 'first': 4 of 104 records could not be read .*bad_json 2, no_text 2.*--set sources\.first\.max_quar"
    )
    with pytest.raises(GateError, match=message):
        ingest_documents.run(lambda: spark, recipe.from_tree(tree, "t"), RunFolder.at(str(tmp_path / "r")), quiet=True)


def test_a_filter_that_drops_nearly_everything_stops(finished: Finished, spark: SparkSession, tmp_path: Path) -> None:
    settings, _, _ = finished
    strict = tmp_path / "strict.yaml"
    strict.write_text("name: strict\nrules:\n  - {name: long, keep: word_count >= 100000, on_null: drop}\n")
    tree = to_tree(settings)
    tree["filter"]["rule_sets"] = [str(strict)]
    other = RunFolder.at(str(tmp_path / "r"))
    ingest_documents.run(lambda: spark, settings, other, quiet=True)
    with pytest.raises(GateError, match=r"source first: 100 of 100 documents, 100 %.*strict\.long \(150\)"):
        filter_documents.run(lambda: spark, recipe.from_tree(tree, "t"), other, quiet=True)
    assert manifest.find(other.decisions("filter")) is None


def test_a_bucket_over_its_limit_stops_and_shows_documents(
    finished: Finished, spark: SparkSession, tmp_path: Path
) -> None:
    settings, _, _ = finished
    tree = to_tree(settings)
    tree["dedup"]["max_bucket"] = 1
    other = RunFolder.at(str(tmp_path / "r"))
    ingest_documents.run(lambda: spark, settings, other, quiet=True)
    with pytest.raises(GateError, match=r"documents share one key, more than dedup\.max_bucket=1; among") as stopped:
        dedup_documents.run(lambda: spark, recipe.from_tree(tree, "t"), other, quiet=True)
    _, *shown = str(stopped.value).splitlines()
    ids = [line.split()[1] for line in shown if line.startswith("   document")]
    assert ids == [doc_id.hex() for doc_id in stopped.value.examples] != []
    assert any(line.startswith("     │ ") for line in shown)


def test_explain_tells_the_life_of_a_duplicate_and_of_a_kept_document(finished: Finished) -> None:
    _, run, _ = finished
    near = next(row for row in rows(run.decisions("dedup")) if row["rule"] == "near_duplicate")
    told = explain_document(run.path, near["doc_id"].hex())
    assert "dropped by near_duplicate" in told
    assert near["kept_doc_id"].hex() in told
    assert "otherwise" in told
    kept = explain_document(run.path, near["kept_doc_id"].hex()[:20])
    assert "kept" in kept
    assert "shard-0" in kept
    assert "gopher.min_word_count" in kept


def test_export_merges_the_shards_in_order(
    finished: Finished, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, run, summary = finished
    assert cli.main(["export", run.path, str(tmp_path / "all")]) == 0
    assert "all.bin" in capsys.readouterr().out
    merged = IndexedDataset(tmp_path / "all")
    shards = [IndexedDataset(f"{run.tokens}/{shard['name']}") for shard in summary["shards"]]
    assert (tmp_path / "all.bin").read_bytes() == b"".join(
        Path(run.tokens, s["bin"]).read_bytes() for s in summary["shards"]
    )
    assert merged.sizes.tolist() == [size for shard in shards for size in shard.sizes.tolist()]
    assert cli.main(["export", run.path, str(tmp_path / "steps"), "--layout", "preshuffled", "--epochs", "1.5"]) == 0
    assert cli.main(["export", run.path, str(tmp_path / "ds"), "--layout", "ds"]) == 0
    assert cli.main(["exposure", run.path]) == 0
    assert cli.main(["view", run.path, "--step", "0", "--row", "0", "--epochs", "1"]) == 0


def test_report_is_written_and_holds_the_figures(finished: Finished) -> None:
    _, run, summary = finished
    page = Path(run.report).read_text()
    assert "<!doctype html>" in page.lower()
    data = json.loads(Path(run.path, "report", "data.json").read_text())
    assert data["totals"]["documents_in"] == sum(entry["documents_in"] for entry in summary["sources"].values())
    assert data["totals"]["kept"] == 120
    assert {row["name"] for row in data["funnel"]} == {"first", "second", "en"}
    assert data["clusters"]
    assert any(histogram["signal"] == "word_count" for histogram in data["histograms"])
