"""A rule set that cuts, end to end: the tokens are those of the cleaned text, the documents stay as they were."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.dataset as ds
import pytest
import yaml

from redpajama_pipe import recipe
from redpajama_pipe.report import collect
from redpajama_pipe.report.html import render
from redpajama_pipe.report.life import explain_document
from redpajama_pipe.run_folder import RunFolder
from redpajama_pipe.stages import run_recipe
from redpajama_pipe.tokens.encode import open_encoder
from redpajama_pipe.tokens.indexed import IndexedDataset
from redpajama_pipe.tokens.spec import load_spec

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

WHOLE = "The river runs past the house. It ends at a small harbour. Boats lie there in winter."
# text → what its tokens decode to; None: dropped
TEXTS = {
    WHOLE: WHOLE,
    f"  Menu\n{WHOLE}[1]\r\nRead more\n\nIt was true in the end. \n": f"{WHOLE}\nIt was true in the end.",
    f"{WHOLE}\rA second line of the page.\nWe use cookies on this page.": f"{WHOLE}\nA second line of the page.",
    f"{WHOLE}\nA page with {{ in it is dropped.": None,
    "Read more\nMenu": None,
}

Finished = tuple[RunFolder, dict[str, Any], recipe.Recipe]


@pytest.fixture(scope="module")
def finished(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder = tmp_path_factory.mktemp("cuts")
    (folder / "a.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    settings = {
        "name": "cuts",
        "sources": [
            {"name": "web", "kind": "jsonl", "paths": [f"{folder}/a.jsonl"], "root": str(folder), "language": "en"}
        ],
        "filter": {"rule_sets": ["c4"]},
        "dedup": {"near": False},
        "tokenize": {"tokenizer": "sample_spm", "vocab_size": 300, "train_bytes": 50_000},
        "schedule": {"seq_len": 16, "batch_size": 1, "epochs": [1]},
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(settings))
    resolved = recipe.load(str(folder / "recipe.yaml"))
    run = RunFolder.at(str(folder / "run"))
    return run, run_recipe.run(lambda: spark, resolved, run, quiet=True), resolved


def rows(path: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ds.dataset(path, format="parquet").to_table().to_pylist()
    return found


def test_tokens_decode_to_the_cleaned_texts(finished: Finished) -> None:
    run, summary, _ = finished
    texts = {row["doc_id"]: row["text"] for row in rows(run.documents)}
    assert set(texts.values()) == set(TEXTS)
    encoder = open_encoder(load_spec("sample_spm"), f"{run.tokens}/tokenizer.model", engine="reference")
    shard = IndexedDataset(f"{run.tokens}/{summary['shards'][0]['name']}")
    decoded = {texts[place["doc_id"]]: encoder.decode(shard[place["sequence"]][:-1]) for place in rows(run.token_map)}
    assert decoded == {text: cleaned for text, cleaned in TEXTS.items() if cleaned is not None}


def test_every_cut_has_a_receipt_and_is_counted_apart_from_drops(finished: Finished) -> None:
    run, summary, _ = finished
    counts = json.loads((Path(run.decisions("filter")) / "_manifest.json").read_text())["counts"]
    assert counts["by_rule"] == {"web": {"c4.no_curly_bracket": 1, "c4.min_sentence_count": 1}}
    assert counts["only"] == counts["by_rule"]
    # the page that a curly bracket drops is not cut
    assert counts["cuts"]["web"] == {
        "c4.clean_page.citation": {"documents": 1, "spans": 1, "bytes": 3},
        "c4.clean_page.line_break": {"documents": 1, "spans": 1, "bytes": 1},
        "c4.clean_page.no_end_mark": {"documents": 1, "spans": 2, "bytes": 17},
        "c4.clean_page.policy": {"documents": 1, "spans": 1, "bytes": 28},
        "c4.clean_page.white_space": {"documents": 2, "spans": 4, "bytes": 5},
    }
    assert summary["sources"]["web"]["kept"] == 3
    changes = [row for row in rows(run.decisions("filter")) if row["action"] != "drop"]
    assert {row["action"] for row in changes} == {"cut", "replace"}
    assert [row["replacement"] for row in changes if row["action"] == "replace"] == ["\n"]


def test_report_and_explanation_show_cuts(finished: Finished, spark: SparkSession) -> None:
    run, _, resolved = finished
    data = collect.collect(spark, resolved, run, "today")
    assert {row.rule for row in data.cuts} >= {"c4.clean_page.policy", "c4.clean_page.no_end_mark"}
    assert data.totals.kept == 3
    assert {row.rule: row.dropped_only for row in data.rules if row.dropped_only} == {
        "c4.no_curly_bracket": 1,
        "c4.min_sentence_count": 1,
    }
    assert "c4.clean_page.policy" in render(data)
    cut = next(row for row in rows(run.decisions("filter")) if row["action"] == "replace")
    explained = explain_document(run.path, cut["doc_id"].hex())
    assert "replace by filter: c4.clean_page.line_break" in explained
