"""A small run with every kind of exact duplicate and repeated lines: decisions, receipts, the text in the shards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.dataset as ds
import pytest
import yaml

from redpajama_pipe import manifest, recipe
from redpajama_pipe.run_folder import RunFolder
from redpajama_pipe.stages import dedup_documents, run_recipe
from redpajama_pipe.tokens.encode import open_encoder
from redpajama_pipe.tokens.indexed import IndexedDataset
from redpajama_pipe.tokens.spec import load_spec

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

FOOTER = "All rights reserved by the river company."
PAGES: list[tuple[str, str | None]] = [
    (f"The river runs past the old house.\n{FOOTER}", "https://a.org/1"),  # equal but for case to the third
    (f"A longer page that comes first in keep order.\n{FOOTER}\n", "https://a.org/0"),
    (f"the river runs past the OLD house.\n{FOOTER}  ", "https://a.org/2"),
    (f"Small harbour with spring floods.\nShort\n{FOOTER}", "https://b.org/"),
    ("Boats carry grain and wool.", "http://www.b.org"),  # of the address before
    (f"{FOOTER}\nNobody remembers a dry year.", None),
]
LEFT = {
    1: PAGES[1][0],
    2: "the river runs past the OLD house.",
    3: "Small harbour with spring floods.\nShort",
    5: "Nobody remembers a dry year.",
}


def rows(path: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ds.dataset(path, format="parquet").to_table().to_pylist()
    return found


@pytest.mark.slow
def test_lines_are_cut_and_receipts_name_who_stays(spark: SparkSession, tmp_path: Path) -> None:
    lines = [json.dumps({"text": text, "url": url}) for text, url in PAGES]
    filler = [json.dumps({"text": f"Page {n} of a book, {n * 7} words about {n * 13} towns."}) for n in range(12)]
    (tmp_path / "a.jsonl").write_text("\n".join([*lines, *filler]))
    settings = {
        "name": "lines",
        "sources": [{"name": "web", "kind": "jsonl", "paths": [f"{tmp_path}/a.jsonl"], "language": "en"}],
        "filter": {"rule_sets": []},
        "dedup": {
            "exact": ["text", "normalized_text", "url", "digest"],
            "near": False,
            "keep_order": "char_count desc",
            "lines": {"mode": "first"},
        },
        "tokenize": {"tokenizer": "sample_spm", "vocab_size": 330, "train_bytes": 50_000},
        "schedule": {"seq_len": 16, "batch_size": 1, "epochs": [1]},
    }
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(settings))
    run, made = RunFolder.at(str(tmp_path / "run")), recipe.load(str(path))
    summary = run_recipe.run(lambda: spark, made, run, quiet=True)

    documents = {row["text"]: row for row in rows(run.documents)}
    numbers = {documents[text]["doc_id"]: number for number, (text, _) in enumerate(PAGES)}
    dropped = {
        numbers[row["doc_id"]]: (row["rule"], numbers[row["kept_doc_id"]], row["similarity"])
        for row in rows(run.decisions("dedup"))
        if row["action"] == "drop"
    }
    assert dropped == {0: ("normalized_duplicate", 2, None), 4: ("url_duplicate", 3, None)}
    counted = manifest.read(run.decisions("dedup")).counts["cuts"]
    assert counted["web"]["duplicate_line"]["documents"] == 3

    encoder = open_encoder(load_spec("sample_spm"), f"{run.tokens}/tokenizer.model", engine="reference")
    shard = IndexedDataset(f"{run.tokens}/{summary['shards'][0]['name']}")
    decoded = {
        numbers[place["doc_id"]]: encoder.decode(shard[place["sequence"]][:-1])
        for place in rows(run.token_map)
        if place["doc_id"] in numbers
    }
    assert decoded == LEFT

    # CCNet's way: what two pages have goes from both, and pages that have nothing else go as a whole
    again = recipe.load(
        str(path), ["dedup.lines={mode: ccnet, group_files: 1}", "dedup.exact=true", "dedup.max_dropped_share=1"]
    )
    dedup_documents.run(lambda: spark, again, run, quiet=True)
    decided = {
        numbers[row["doc_id"]]: (row["action"], row["rule"])
        for row in rows(run.decisions("dedup"))
        if row["doc_id"] in numbers
    }
    gone, cut = ("drop", "ccnet_no_text_left"), ("cut", "ccnet_paragraph")
    assert decided == {0: gone, 1: cut, 2: gone, 3: cut, 5: cut}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("dedup.exact=[text, text]", "dedup.exact: a key is given twice in text, text"),
        ("dedup.exact=[txt]", r"'txt' is not one of text, normalized_text, url, digest"),
        ("dedup.exact=yes please", r"exact: expected a list, found 'yes please'"),
        ("dedup.lines={mode: all}", r"'all' is not one of none, first, ccnet, c4"),
        ("dedup.lines={mode: ccnet, group_files: 0}", "dedup.lines.group_files is 0; give 1 or more"),
    ],
)
def test_a_wrong_recipe_is_an_error(change: str, message: str) -> None:
    from redpajama_pipe.errors import RecipeError

    with pytest.raises(RecipeError, match=message):
        recipe.load("sample", [change])


def test_exact_is_a_list_or_yes_or_no() -> None:
    keys = [recipe.load("sample", [f"dedup.exact={value}"]).dedup.exact_keys for value in ("true", "false", "[url]")]
    assert keys == [("text",), (), ("url",)]
