"""Decontamination as a stage of a run: receipts, counts, cuts in the tokens, and bytes that do not depend on tasks."""

from __future__ import annotations

import dataclasses
import json
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.dataset as ds
import pytest
import yaml

from redpajama_pipe import manifest, recipe, storage
from redpajama_pipe.errors import GateError
from redpajama_pipe.recipe import Recipe
from redpajama_pipe.report.life import explain_document
from redpajama_pipe.run_folder import RunFolder
from redpajama_pipe.stages import decontaminate_documents, pack_tokens, run_recipe
from redpajama_pipe.tokens.encode import open_encoder
from redpajama_pipe.tokens.indexed import IndexedDataset
from redpajama_pipe.tokens.spec import load_spec

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

WORDS = (
    "the river that runs past our old house begins in hills to north and ends at small harbour with spring floods low "
    "fields so farmers have built walls of stone children fish there every summer nobody remembers any dry year yet"
)
QUESTION = "Which of these things would a careful reader of the long report about the harbour notice first of all"
ANSWER = "The walls of stone that the farmers have built along the low fields against every spring flood"
COMMON = "This page uses small files on your device so that it can remember what you have chosen before"


def prose(seed: int, length: int) -> str:
    source, words = random.Random(seed), WORDS.split()
    return " ".join(source.choice(words) for _ in range(length))


def write_corpus(folder: Path) -> Recipe:
    """Write 120 documents, of which four hold examples and twelve a common phrase, and two evaluation sets."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = [prose(seed, 150) for seed in range(120)]
    texts[3] = f"{texts[3]} {QUESTION.upper()}? {texts[4]}"
    texts[50] = f"{ANSWER}. {texts[50]}"
    texts[51] = f"{prose(201, 200)} — {QUESTION}, {ANSWER} — {prose(202, 200)}"
    texts[119] = f"{texts[119]} {QUESTION}"
    for at in range(60, 72):
        texts[at] = f"{texts[at]} {COMMON} {prose(300 + at, 90)}"
    lines = [json.dumps({"text": text}) for text in texts]
    for number in range(4):
        (folder / f"{number}.jsonl").write_text("\n".join(lines[number * 30 : number * 30 + 30]) + "\n")
    examples = [{"id": "q1", "q": QUESTION, "a": "none"}, {"id": "q2", "q": "Too short?", "a": "yes"}]
    (folder / "asked.json").write_text(json.dumps(examples))
    (folder / "answered.txt").write_text(
        f"{ANSWER}\n{COMMON}\nnothing of this is to be found in any of the documents\n"
    )
    settings = {
        "name": "small",
        "sources": [
            {"name": "all", "kind": "jsonl", "paths": [f"{folder}/*.jsonl"], "root": str(folder), "language": "en"}
        ],
        "part_bytes": 20_000,
        "filter": {"rule_sets": []},
        "dedup": {"near": False},
        "decontaminate": {
            "sets": [
                {"name": "asked", "paths": [f"{folder}/asked.json"], "fields": ["q", "a"], "id_field": "id"},
                {"name": "answered", "paths": [f"{folder}/answered.txt"]},
            ],
            "max_dropped_share": 0.2,
        },
        "tokenize": {"tokenizer": "sample_spm", "vocab_size": 300, "train_bytes": 20_000},
        "schedule": {"seq_len": 64, "batch_size": 4, "epochs": [1]},
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(settings))
    return recipe.load(str(folder / "recipe.yaml"))


Finished = tuple[Recipe, RunFolder, dict[str, Any]]


@pytest.fixture(scope="module")
def finished(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """One run that the tests of this module look at, and whose last stages they repeat."""
    folder = tmp_path_factory.mktemp("decontamination")
    settings = write_corpus(folder / "corpus")
    run = RunFolder.at(str(folder / "run"))
    return settings, run, run_recipe.run(lambda: spark, settings, run, quiet=True)


def rows(path: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ds.dataset(path, format="parquet").to_table().to_pylist()
    return found


def changed(settings: Recipe, **values: Any) -> Recipe:
    return dataclasses.replace(settings, decontaminate=dataclasses.replace(settings.decontaminate, **values))


def test_contaminated_documents_are_dropped_counted_and_explained(finished: Finished) -> None:
    _, run, summary = finished
    assert summary["sources"]["all"]["dropped"] == {"contaminated.answered": 13, "contaminated.asked": 3}
    assert summary["sources"]["all"]["kept"] == 104
    counts = manifest.read(run.decisions("decontaminate")).counts
    assert counts["by_task"] == {
        "asked": {"examples": 2, "too_short": 1, "n": 13, "ngrams": 8, "documents_hit": 3, "examples_hit": 1},
        "answered": {"examples": 3, "too_short": 0, "n": 13, "ngrams": 12, "documents_hit": 14, "examples_hit": 2},
    }
    documents = {row["doc_id"]: row["text"] for row in rows(run.documents)}
    taken = rows(run.decisions("decontaminate"))
    assert len(taken) == 17
    both = sorted(
        (row for row in taken if ANSWER in documents[row["doc_id"]]), key=lambda row: (row["doc_id"], row["rank"])
    )
    assert {(row["rule"], row["rank"]) for row in both if QUESTION in documents[row["doc_id"]]} == {
        ("contaminated.asked", 0),
        ("contaminated.answered", 1),
    }
    for row in taken:
        evidence = json.loads(row["evidence"])
        text = documents[row["doc_id"]].encode()[evidence["byte"] :].decode()
        assert " ".join(text.lower().replace("—", "").replace(",", "").split()).startswith(evidence["ngram"])
        assert evidence["example"] in ("q1", "0", "1")
    wanted = next(row for row in taken if row["rule"] == "contaminated.asked")
    said = explain_document(run.path, wanted["doc_id"].hex())
    assert "dropped by contaminated.asked" in said
    assert "example = q1" in said
    assert "which of these things would a careful reader" in said
    page = Path(run.report).read_text()
    assert "Evaluation sets" in page
    assert not [name for name in storage.list_names(run.decisions("decontaminate")) if name.endswith(".npz")]


def test_bytes_do_not_depend_on_tasks_and_too_many_drops_stop_the_run(finished: Finished, spark: SparkSession) -> None:
    settings, run, _ = finished

    def no_spark() -> SparkSession:
        raise AssertionError("nothing is to be done")

    target = run.decisions("decontaminate")
    before = manifest.read(target)
    assert decontaminate_documents.run(no_spark, settings, run, quiet=True) == before
    strict = changed(settings, max_dropped_share=0.1)
    wide = dataclasses.replace(strict, execution=dataclasses.replace(settings.execution, partitions=7))
    with pytest.raises(GateError, match=r"set decontaminate\.max_dropped_share=0\.134 or more"):
        decontaminate_documents.run(lambda: spark, wide, run, quiet=True)
    assert [file.sha256 for file in before.files] == [storage.sha256(f"{target}/{file.path}") for file in before.files]
    assert manifest.find(target) is None


def test_the_published_cut_passes_over_common_phrases_and_reaches_the_tokens(
    finished: Finished, spark: SparkSession
) -> None:
    settings, run, _ = finished
    cutting = changed(settings, mode="gpt3", action="cut", max_documents=10)
    done = decontaminate_documents.run(lambda: spark, cutting, run, quiet=True)
    assert done is not None
    assert done.counts["by_task"]["answered"]["common"] == 6
    assert done.counts["by_task"]["answered"]["documents_hit"] == 1
    assert {row["action"] for row in rows(run.decisions("decontaminate"))} == {"cut"}
    pack_tokens.run(lambda: spark, cutting, run, quiet=True)
    encoder = open_encoder(load_spec("sample_spm"), storage.join(run.tokens, "tokenizer.model"))
    shard = IndexedDataset(storage.join(run.tokens, "shard-00000"))
    text = " ".join(encoder.decode(shard[number].tolist()) for number in range(len(shard)))
    assert "careful reader" not in text
    assert "built along the low" not in text
    assert text.count("This page uses small files") == 12
    assert len(rows(run.token_map)) == 120


def test_without_sets_nothing_is_done_and_nothing_is_left(finished: Finished) -> None:
    settings, run, _ = finished

    def no_spark() -> SparkSession:
        raise AssertionError("nothing is to be done")

    assert decontaminate_documents.run(no_spark, changed(settings, sets=()), run, quiet=True) is None
    assert not storage.exists(run.decisions("decontaminate"))
