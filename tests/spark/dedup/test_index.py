"""Runs that are deduplicated against earlier ones, end to end: the same documents stay as in one run of all of them."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pytest

from redpajama_pipe import manifest, recipe
from redpajama_pipe.dedup.byte_columns import runs
from redpajama_pipe.dedup.edges import signature_keys
from redpajama_pipe.dedup.index import INDEX, open_indexes
from redpajama_pipe.dedup.minhash import MinHashSpec
from redpajama_pipe.dedup.shingles import shingle_hashes
from redpajama_pipe.errors import GateError, ManifestError, RecipeError
from redpajama_pipe.report.clusters import clusters_text
from redpajama_pipe.report.life import explain_document
from redpajama_pipe.run_folder import RunFolder
from redpajama_pipe.settings.tree import to_tree
from redpajama_pipe.stages import dedup_documents, ingest_documents

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

Row = dict[str, Any]
MINHASH = {"num_perm": 64, "shingle": 3, "bands": 16, "rows": 4}


def texts(seed: int) -> list[str]:
    """Texts of 40 words, in families that all seeds share: corpora have equal and similar documents in common."""
    chance, words = random.Random(seed), [f"w{n}" for n in range(2000)]
    made = ["too short"]
    for family in range(25):
        first = random.Random(family).choices(words, k=40)
        for _ in range(chance.randrange(4)):
            member = list(first)
            for _ in range(chance.choice([0, 0, 1, 2, 3, 5])):
                member[chance.randrange(40)] = chance.choice(words)
            made.append(" ".join(member))
    return made


@dataclass(frozen=True)
class Corpora:
    """A folder with a file of JSON lines for each corpus."""

    folder: Path

    def settings(self, names: str, **dedup: Any) -> recipe.Recipe:
        sources = [
            {
                "name": name,
                "kind": "jsonl",
                "paths": [f"{self.folder}/{name}.jsonl"],
                "root": str(self.folder),
                "language": "en",
            }
            for name in names
        ]
        tree = {
            "name": "index",
            "sources": sources,
            "annotate": {"minhash": dedup.pop("minhash", MINHASH)},
            "dedup": {"threshold": 0.7, "max_dropped_share": 1.0, **dedup},
        }
        return recipe.from_tree(tree, "test")

    def run(self, spark: SparkSession, folder: Path, names: str, **dedup: Any) -> RunFolder:
        settings, run = self.settings(names, **dedup), RunFolder.at(str(folder))
        ingest_documents.run(lambda: spark, settings, run, annotate=True, quiet=True)
        dedup_documents.run(lambda: spark, settings, run, quiet=True)
        return run


def read(folder: str) -> list[Row]:
    return sorted(ds.dataset(folder, format="parquet").to_table().to_pylist(), key=lambda row: row["doc_id"])


def receipts(run: RunFolder) -> list[Row]:
    return read(run.decisions("dedup"))


def stays(run: RunFolder) -> set[bytes]:
    return {row["doc_id"] for row in read(run.documents)} - {row["doc_id"] for row in receipts(run)}


def no_spark() -> SparkSession:
    raise AssertionError("nothing is left to do")


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Corpora:
    folder = tmp_path_factory.mktemp("index") / "corpora"
    folder.mkdir()
    for seed, name in enumerate("abc"):
        lines = [json.dumps({"text": text}) for text in texts(seed)]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    return Corpora(folder)


@pytest.fixture(scope="module")
def first(spark: SparkSession, corpora: Corpora) -> RunFolder:
    return corpora.run(spark, corpora.folder.parent / "a", "a", write_index=True)


@pytest.fixture(scope="module")
def second(spark: SparkSession, corpora: Corpora, first: RunFolder) -> RunFolder:
    return corpora.run(spark, corpora.folder.parent / "b", "b", write_index=True, against=[first.path])


def test_one_run_after_another_keeps_what_one_run_of_all_keeps(
    spark: SparkSession, corpora: Corpora, first: RunFolder, second: RunFolder, tmp_path: Path
) -> None:
    third = corpora.run(spark, tmp_path / "c", "c", against=[first.dedup_index, second.path])
    at_once = corpora.run(spark, tmp_path / "all", "abc")
    assert stays(first) | stays(second) | stays(third) == stays(at_once)
    assert {row["doc_id"] for row in read(second.dedup_index)} == stays(second), "new survivors alone"
    hashes = {run.dedup_index: manifest.read(run.dedup_index).hash for run in (first, second)}
    named = [json.loads(row["evidence"]).get("index") for row in receipts(third)]
    assert set(named) == {*hashes.values(), None}
    rules = {row["rule"] for run in (second, third) for row in receipts(run)}
    assert rules == {
        "exact_duplicate_of_index",
        "near_duplicate_of_index",
        "exact_duplicate",
        "near_duplicate",
    }
    for row in receipts(third):
        evidence = json.loads(row["evidence"])
        owners = [run for run, found in ((first, hashes[first.dedup_index]), (second, hashes[second.dedup_index]))
                  if found == evidence.get("index")]  # fmt: skip
        assert row["kept_doc_id"].hex() == evidence["kept"]
        assert row["kept_doc_id"] in stays(owners[0] if owners else third)
        if row["rule"].startswith("near"):
            assert evidence["jaccard"] == row["similarity"] >= 0.7


def chains(seed: int) -> Iterator[list[str]]:
    """Texts of which each is like its neighbours in a chain, and less like those farther off."""
    chance, words = random.Random(seed), [f"w{n}" for n in range(2000)]
    for _ in range(12):
        links = [chance.choices(words, k=40)]
        for _ in range(5):
            links.append(list(links[-1]))
            for place in chance.sample(range(40), 2):
                links[-1][place] = chance.choice(words)
        yield [" ".join(text) for text in links]


def test_components_one_after_another_keep_all_that_one_run_of_all_keeps(spark: SparkSession, tmp_path: Path) -> None:
    chance = random.Random(5)
    dealt: dict[str, list[str]] = {"a": [], "b": []}
    for text in chain.from_iterable(chains(5)):
        dealt[chance.choice("ab")].append(text)
    for name, members in dealt.items():
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in members))
    corpora, components = Corpora(tmp_path), {"survivors": "components"}
    older = corpora.run(spark, tmp_path / "older", "a", write_index=True, **components)
    newer = corpora.run(spark, tmp_path / "newer", "b", against=[older.path], **components)
    at_once = corpora.run(spark, tmp_path / "at_once", "ab", **components)
    assert stays(at_once) < stays(older) | stays(newer)


def test_explain_and_clusters_cope_with_documents_of_another_run(
    corpora: Corpora, first: RunFolder, second: RunFolder
) -> None:
    Path(second.recipe).write_text(recipe.to_yaml(corpora.settings("b", against=[first.path])))
    of_index = [row for row in receipts(second) if row["rule"].endswith("_of_index")]
    for row in (of_index[0], of_index[-1]):
        told = explain_document(second.path, row["doc_id"].hex())
        assert row["rule"] in told
        assert row["kept_doc_id"].hex() in told
    old = {row["kept_doc_id"].hex() for row in of_index}
    shown = clusters_text(second.path)
    assert not any(doc_id in shown for doc_id in old)


def test_an_index_holds_what_the_texts_hold(first: RunFolder) -> None:
    spec = MinHashSpec(num_perm=64, shingle=3, bands=16, rows=4)
    known = {row["doc_id"]: row for row in read(first.documents)}
    table = ds.dataset(first.dedup_index, format="parquet").to_table(columns=INDEX.names)
    assert {row["doc_id"] for row in table.to_pylist()} == stays(first)
    for row in table.to_pylist():
        document = known[row["doc_id"]]
        assert [row[name] for name in INDEX.names[:4]] == [document[name] for name in INDEX.names[:4]]
        if document["signature"] is None:
            assert row["keys"] is row["values"] is None
    held = table.filter(ds.field("keys").is_valid()).combine_chunks()
    texts_of = pa.array([known[i.as_py()]["text"] for i in held["doc_id"]])
    values, offsets = shingle_hashes(texts_of, spec)
    stored, at = runs(held["values"].chunk(0))
    assert (stored == values).all()
    assert (at == offsets).all()
    signatures = pa.array([known[i.as_py()]["signature"] for i in held["doc_id"]], pa.binary())
    keys, _ = runs(held["keys"].chunk(0))
    assert (keys == signature_keys(signatures, spec).reshape(-1).astype(np.uint64)).all()


def test_a_rerun_has_nothing_to_do_until_an_index_changes(
    spark: SparkSession, corpora: Corpora, first: RunFolder, second: RunFolder, tmp_path: Path
) -> None:
    settings = corpora.settings("b", write_index=True, against=[first.path])
    dedup_documents.run(no_spark, settings, second, quiet=True)
    moved = tmp_path / "elsewhere"  # an index is what it holds, not where it lies
    shutil.copytree(first.dedup_index, moved)
    dedup_documents.run(no_spark, corpora.settings("b", against=[str(moved)]), second, quiet=True)
    found = manifest.read(str(moved))
    manifest.write(str(moved), found.stage, found.inputs, found.recipe, {**found.counts, "documents": 0}, found.files)
    with pytest.raises(AssertionError, match="nothing is left to do"):
        dedup_documents.run(no_spark, corpora.settings("b", against=[str(moved)]), second, quiet=True)


def test_an_index_has_the_same_bytes_however_the_work_is_cut(
    spark: SparkSession, corpora: Corpora, first: RunFolder, tmp_path: Path
) -> None:
    again = RunFolder.at(str(tmp_path / "again"))
    shutil.copytree(first.path, again.path)
    shutil.rmtree(again.dedup_index)
    tree = to_tree(corpora.settings("a", write_index=True))
    tree["execution"]["partitions"] = 5
    dedup_documents.run(lambda: spark, recipe.from_tree(tree, "test"), again, quiet=True)
    assert manifest.read(again.dedup_index).hash == manifest.read(first.dedup_index).hash


def test_a_copy_of_an_indexed_corpus_goes_whole(
    spark: SparkSession, corpora: Corpora, first: RunFolder, tmp_path: Path
) -> None:
    """Without the exact kind as well: the ids are the same there and here, and signatures are compared."""
    copy = corpora.run(spark, tmp_path / "near", "a", exact=False, against=[first.path])
    short = {row["doc_id"] for row in read(copy.documents) if row["signature"] is None}
    assert stays(copy) == short, "a document shorter than a shingle is compared exactly only"
    estimate = corpora.run(spark, tmp_path / "one", "a", verify="estimate", write_index=True)
    other = corpora.run(spark, tmp_path / "other", "a", verify="estimate", exact=False, against=[estimate.path])
    assert stays(other) == short
    assert {row["similarity"] >= 0.7 for row in receipts(other)} == {True}


def test_what_does_not_fit_is_refused(corpora: Corpora, first: RunFolder, tmp_path: Path) -> None:
    def tried(folder: Path = tmp_path, **dedup: Any) -> None:
        run = RunFolder.at(str(folder))
        open_indexes(corpora.settings("b", **dedup), run)

    with pytest.raises(RecipeError, match=r"made by another MinHash: .*shingle is 3 there and 5 here; .*bands is 16"):
        tried(against=[first.path], minhash={"num_perm": 64, "shingle": 5, "bands": 8, "rows": 4})
    with pytest.raises(RecipeError, match=r"holds shingles, and dedup\.verify compares signatures; make the index"):
        tried(against=[first.path], verify="estimate")
    with pytest.raises(RecipeError, match=r"is the index of this very run, which would drop all of it"):
        tried(Path(first.path), against=[first.path])
    with pytest.raises(RecipeError, match=r"is given twice, or a copy of it is"):
        tried(against=[first.path, first.dedup_index])
    with pytest.raises(ManifestError, match=r"no finished output in .*; an index is made with dedup\.write_index=true"):
        tried(against=[str(tmp_path)])
    with pytest.raises(ManifestError, match=r"holds the output of 'ingest', not an index"):
        tried(against=[first.documents])


def test_limits_count_old_documents_too(
    spark: SparkSession, corpora: Corpora, first: RunFolder, tmp_path: Path
) -> None:
    copy = RunFolder.at(str(tmp_path / "limits"))
    for limit, message in (
        ("max_bucket", r"band \d+: \d+ documents share one key, more than dedup\.max_bucket=1"),
        ("max_component", r"documents hang together by shared bands, more than dedup\.max_component=1"),
    ):
        settings = corpora.settings("b", exact=False, against=[first.path], **{limit: 1})
        ingest_documents.run(lambda: spark, settings, copy, annotate=True, quiet=True)
        with pytest.raises(GateError, match=message):
            dedup_documents.run(lambda: spark, settings, copy, quiet=True)
