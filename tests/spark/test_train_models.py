"""Classifiers and language models trained on a run's documents."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest

from redpajama_pipe import recipe
from redpajama_pipe.errors import RecipeError, SetupError
from redpajama_pipe.recipe import Recipe
from redpajama_pipe.run_folder import RunFolder
from redpajama_pipe.settings.models import Perplexity
from redpajama_pipe.settings.tree import to_tree
from redpajama_pipe.signals import score
from redpajama_pipe.signals.redpajama_v2_models import count_features
from redpajama_pipe.signals.resources import Resources
from redpajama_pipe.stages import (
    ingest_documents,
    train_importance_bags,
    train_language_model,
    train_quality_classifier,
)

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

GOOD = "the old bridge over the river was built of stone and is described in every survey of the valley number"
BAD = "buy cheap watches now click here for the best price of the week and do not miss this offer number"


def write_recipe(folder: Path, **keys: object) -> Recipe:
    for name, text in (("wikipedia", GOOD), ("web", BAD)):
        lines = (json.dumps({"text": f"{text} {number}"}) + "\n" for number in range(60))
        (folder / f"{name}.jsonl").write_text("".join(lines))
    sources = [
        {"name": name, "kind": "jsonl", "paths": [str(folder / f"{name}.jsonl")], "root": str(folder), "language": "en"}
        for name in ("wikipedia", "web")
    ]
    quality = {"min_chars": 50, "held_out": 0.25, "documents": 50}
    return recipe.from_tree({"name": "small", "sources": sources, "quality": quality, **keys}, "small")


@pytest.fixture(scope="module")
def ingested(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> tuple[Recipe, RunFolder]:
    made = write_recipe(tmp_path_factory.mktemp("corpus"))
    folder = RunFolder.at(str(tmp_path_factory.mktemp("run")))
    ingest_documents.run(lambda: spark, made, folder, quiet=True)
    return made, folder


def test_classifier_and_its_card(spark: SparkSession, ingested: tuple[Recipe, RunFolder]) -> None:
    made, folder = ingested
    trained = train_quality_classifier.run(lambda: spark, made, folder, quiet=True)
    card = json.loads(Path(trained.card).read_text())
    counts = card["documents"]
    assert counts["__label__wiki in training"] + counts["__label__wiki held out"] == 50
    assert counts["__label__cc in training"] + counts["__label__cc held out"] == 50
    assert card["held_out"]["documents"] == counts["__label__wiki held out"] + counts["__label__cc held out"] > 10
    assert card["held_out"]["area_under_roc"] == 1.0
    again = train_quality_classifier.run(lambda: spark, made, folder, quiet=True)
    assert json.loads(Path(again.card).read_text())["sha256"] == card["sha256"]


def test_side_without_documents_is_refused(spark: SparkSession, ingested: tuple[Recipe, RunFolder]) -> None:
    made = recipe.from_tree(
        {**to_tree(ingested[0]), "quality": {"positive": "source = 'books'", "min_chars": 0}}, "small"
    )
    with pytest.raises(RecipeError, match=r"no document for __label__wiki .* quality\.min_chars=0 are true of 0 doc"):
        train_quality_classifier.run(lambda: spark, made, ingested[1], quiet=True)


def test_bags_of_words_are_those_of_the_chosen_documents(
    spark: SparkSession, ingested: tuple[Recipe, RunFolder]
) -> None:
    def run(**importance: object) -> list[str]:
        made = recipe.from_tree({**to_tree(ingested[0]), "importance": importance}, "small")
        return train_importance_bags.run(lambda: spark, made, ingested[1], quiet=True)

    written = run()
    artifacts = Path(ingested[1].path) / "artifacts"
    names = [
        "wikipedia.en.10000.counts.npy",
        "wikipedia.en.lambda.npy",
        "ccnet.en.10000.counts.npy",
        "ccnet.en.lambda.npy",
    ]
    assert written == [str(artifacts / "dsir/en" / name) for name in names]
    for text, (counts, mean) in zip((GOOD, BAD), (written[:2], written[2:]), strict=True):
        bag = count_features(f"{text} {number}" for number in range(60)).bag
        assert np.load(counts).tolist() == bag.counts.tolist()
        assert float(np.load(mean)) == bag.mean_words == len(text.split()) + 1
    # the signals that need them find them
    importance = ("rps_doc_wikipedia_importance", "rps_doc_wikipedia_importance_length_correction")
    values = score(pa.array([GOOD, BAD]), importance, resources=Resources(artifacts=str(artifacts)))[0].to_pylist()
    assert values[0] > 0 > values[1]
    # a document may be of two domains; of each as many as there are, or as many as are asked for
    both = run(domains={"books": "true", "openwebtext": "source = 'web'"}, documents=70)
    assert float(np.load(both[1])) == pytest.approx((len(GOOD.split()) + len(BAD.split())) / 2 + 1, abs=2)
    assert np.load(both[0]).sum() == 2 * 70 * float(np.load(both[1])) - 70  # words and bigrams
    assert np.load(both[2]).tolist() == np.load(written[2]).tolist()


@pytest.mark.parametrize(
    ("importance", "said"),
    [
        ({"domains": {"wiki": "true"}}, "no domain 'wiki'; there are: ccnet, wikipedia, openwebtext, books"),
        (
            {"domains": {"books": "source = 'books'"}},
            r"no document in 'en' where source = 'books': see importance\.domains",
        ),
        ({"language": "de"}, r"no document in 'de' where source = 'wikipedia': see importance\.domains\.wikipedia"),
        ({"domains": {"books": "nonsense"}}, r"importance\.domains\.books"),
    ],
)
def test_bags_of_nothing_are_refused(
    spark: SparkSession, ingested: tuple[Recipe, RunFolder], importance: dict[str, object], said: str
) -> None:
    made = recipe.from_tree({**to_tree(ingested[0]), "importance": importance}, "small")
    with pytest.raises(RecipeError, match=said):
        train_importance_bags.run(lambda: spark, made, ingested[1], quiet=True)


def test_language_model_goes_through_kenlm_s_programs(
    spark: SparkSession,
    ingested: tuple[Recipe, RunFolder],
    real_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The programs are stand-ins that keep what they were given: KenLM's own need a C++ build."""
    seen = tmp_path / "seen.txt"
    arpa = real_data / "kenlm" / "test.arpa"
    for name, script in (("lmplz", f"cat > {seen}; cat {arpa}"), ("build_binary", 'cp "$1" "$2"')):
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    made = recipe.from_tree({**to_tree(ingested[0]), "perplexity": {"vocab_size": 60, "documents": 20}}, "small")
    pieces, model = train_language_model.run(lambda: spark, made, ingested[1], quiet=True)
    assert Path(model).read_bytes() == arpa.read_bytes()
    assert Path(pieces).name == "en.sp.model"
    lines = seen.read_text().splitlines()
    assert len(lines) == 20
    assert all(line.startswith("▁") and "▁0" in line for line in lines)  # digits are 0


def test_missing_programs_are_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SetupError, match=r"lmplz and build_binary not found: build KenLM"):
        train_language_model.find_programs()
    assert Perplexity().order == 5
