"""The pipeline over real archives and dumps, malformed ones among them, with the GPT-NeoX tokenizer."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.dataset as ds
import pytest

from redpajama_pipe import recipe
from redpajama_pipe.recipe import Recipe
from redpajama_pipe.run_folder import RunFolder
from redpajama_pipe.settings.tree import to_tree
from redpajama_pipe.stages import run_recipe
from redpajama_pipe.tokens.encode import open_encoder
from redpajama_pipe.tokens.indexed import IndexedDataset
from redpajama_pipe.tokens.spec import find_file, load_spec

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

Finished = tuple[Recipe, RunFolder, dict[str, Any]]


@pytest.fixture(scope="module")
def finished(spark: SparkSession, real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A part of conf/real_files: every small archive, the malformed ones among them, all WET and dumps, C4."""
    tree = to_tree(recipe.load("real_files", [f"vars.data={real_data}"]))
    tree["sources"] = [source for source in tree["sources"] if source["name"] != "pile"]
    archives = [path for path in real_data.glob("warc/**/*") if path.name.endswith((".warc", ".arc", "arc.gz"))]
    tree["sources"][0]["paths"] = [str(path) for path in archives if path.stat().st_size < 300_000]
    tree["part_bytes"] = 1_000_000
    tree["tokenize"]["shard_bytes"] = 3_000_000
    tree["schedule"]["batch_size"] = 8
    settings = recipe.from_tree(tree, "test")
    run = RunFolder.at(str(tmp_path_factory.mktemp("real") / "run"))
    return settings, run, run_recipe.run(lambda: spark, settings, run, quiet=True)


TWENTY = [
    "bg",
    "ca",
    "cs",
    "da",
    "de",
    "en",
    "es",
    "fr",
    "hr",
    "hu",
    "it",
    "nl",
    "pl",
    "pt",
    "ro",
    "ru",
    "sl",
    "sr",
    "sv",
]
TWENTY += ["uk"]


def rows(path: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ds.dataset(path, format="parquet").to_table().to_pylist()
    return found


def test_counts_reconcile_and_malformed_files_are_in_quarantine(finished: Finished) -> None:
    _, run, summary = finished
    for source, entry in summary["sources"].items():
        assert entry["documents_in"] == entry["kept"] + sum(entry["dropped"].values()) + entry["quarantined"], source
        assert entry["kept"] > 0, source
    bad = {(row["uri"].rsplit("/", 1)[-1], row["reason"]) for row in rows(run.quarantine)}
    assert ("clipped.warc.gz", "truncated_gzip") in bad
    assert ("example-space-in-url.arc", "truncated_warc") in bad
    assert all(row["detail"] for row in rows(run.quarantine))


def test_every_wikipedia_keeps_its_language(finished: Finished) -> None:
    _, run, _ = finished
    documents = [row for row in rows(run.documents) if row["source"] == "wikipedia"]
    found = {row["language"] for row in documents}
    assert found >= set(TWENTY)
    assert all(row["language"] == row["declared_language"] for row in documents)


def test_ids_read_back_through_the_index_are_the_kept_texts(finished: Finished) -> None:
    settings, run, summary = finished
    texts = {row["doc_id"]: row["text"] for row in rows(run.documents)}
    spec = load_spec("gpt_neox_20b")
    encoder = open_encoder(spec, find_file(spec, settings.tokenize.path), engine="reference")
    shards = [IndexedDataset(f"{run.tokens}/{shard['name']}") for shard in summary["shards"]]
    places = rows(run.token_map)
    assert len(places) == sum(len(shard) for shard in shards) > 300
    for place in places:
        ids = shards[place["shard"]][place["sequence"]]
        assert ids[-1] == spec.eod_id
        # the tokenizer normalises: what comes back is the text in NFC
        assert encoder.decode(ids[:-1]) == unicodedata.normalize("NFC", texts[place["doc_id"]]), place
    assert sum(entry["tokens"] for entry in summary["languages"].values()) == sum(shard.tokens for shard in shards)
