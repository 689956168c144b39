"""Dedup that is killed, wherever it is, and dedup that is cut differently: in the end the same bytes."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from py4j.protocol import Py4JJavaError  # type: ignore[import-untyped]

from redpajama_pipe import decisions, manifest, recipe
from redpajama_pipe.dedup import duplicate_counts, index, near
from redpajama_pipe.recipe import Recipe
from redpajama_pipe.run_folder import RunFolder
from redpajama_pipe.schema import DECISIONS
from redpajama_pipe.stages import dedup_documents, ingest_documents

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


class Killed(BaseException):
    """Stands for SIGKILL in the driver: nothing catches it, and what is on disk stays as it is."""


def stop(*_: Any, **__: Any) -> Any:
    raise Killed


def settings(folder: Path, names: Iterable[str] = "ab", partitions: int = 0) -> Recipe:
    """Two files of texts of 40 words in families, so that some are equal, some alike and some neither."""
    for seed, name in enumerate("ab"):
        chance, words = random.Random(seed), [f"w{n}" for n in range(2000)]
        lines = []
        for family in range(20):
            member = random.Random(family).choices(words, k=40)
            for _ in range(chance.randrange(4)):
                lines.append(json.dumps({"text": " ".join(member)}))
                member = [*member[:-1], chance.choice(words)] if chance.random() < 0.6 else member
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    source = {"name": "web", "kind": "jsonl", "root": str(folder), "language": "en"}
    tree = {
        "name": "killed",
        "sources": [{**source, "paths": [f"{folder}/{name}.jsonl" for name in names]}],
        "annotate": {"minhash": {"num_perm": 64, "shingle": 3, "bands": 16, "rows": 4}},
        "dedup": {"threshold": 0.7, "max_dropped_share": 1.0, "write_index": True},
        "execution": {"partitions": partitions},
    }
    return recipe.from_tree(tree, "test")


def outcome(run: RunFolder) -> dict[str, bytes]:
    """What dedup left: every file but the manifests, which hold times."""
    folders = [Path(run.decisions("dedup")), Path(run.dedup_index)]
    paths = [path for folder in folders for path in folder.rglob("*") if path.is_file() and path.name != manifest.NAME]
    return {str(path.relative_to(run.path)): path.read_bytes() for path in paths}


@pytest.fixture(scope="module")
def ingested(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunFolder]:
    folder = tmp_path_factory.mktemp("killed")
    run = RunFolder.at(str(folder / "ingested"))
    ingest_documents.run(lambda: spark, settings(folder), run, annotate=True, quiet=True)
    return folder, run


@pytest.fixture(scope="module")
def expected(spark: SparkSession, ingested: tuple[Path, RunFolder]) -> dict[str, bytes]:
    folder, run = ingested
    done = RunFolder.at(str(shutil.copytree(run.path, folder / "done")))
    dedup_documents.run(lambda: spark, settings(folder), done, quiet=True)
    files = outcome(done)
    assert [Path(name).parent.name for name in sorted(files)] == ["_duplicates", "dedup", "dedup_index"]
    rules = {row["rule"] for row in decisions.read(spark, [done.decisions("dedup")]).collect()}
    assert rules == {"exact_duplicate", "near_duplicate"}
    return files


def dying(real: Callable[..., Any], table: pa.Schema | None, *, half: bool) -> Callable[..., Any]:
    """A writer of files whose worker dies: with half a file, or with a whole one that nobody has heard of.

    Args:
        real: makes the pass that writes a file, of a folder and mostly a table.
        table: which one is meant; None: any.
        half: whether the file is left unfinished.
    """

    def make(*arguments: Any) -> Any:
        write = real(*arguments)
        if table is not None and arguments[1] != table:
            return write

        def write_and_die(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            def first() -> Iterator[pa.RecordBatch]:
                for batch in batches:
                    yield batch
                    if batch.num_rows:
                        os._exit(9)

            for _ in write(first() if half else batches):
                os._exit(9)
            yield from ()

        return write_and_die

    return make


Phase = tuple[Any, str, Callable[..., Any]]  # in which module what is replaced, by what


def phases() -> dict[str, Phase]:
    """Each phase of the stage, in order; the first ones leave no output, the last ones find finished decisions."""
    files, index_files, write = decisions._file_writer, index._file_writer, manifest.write

    def unless(stage: str) -> Callable[..., Any]:
        return lambda target, *rest, **more: stop() if rest[0] == stage else write(target, *rest, **more)

    counts = duplicate_counts.DUPLICATES
    return {
        "exact duplicates are decided": (near, "band_edges", stop),
        "edges are known": (near, "connected_components", stop),
        "components are known": (near, "with_values", stop),
        "half a file of decisions": (decisions, "_file_writer", dying(files, DECISIONS, half=True)),
        "a file of decisions": (decisions, "_file_writer", dying(files, DECISIONS, half=False)),
        "all decisions": (duplicate_counts, "write", stop),
        "half a file of counts": (decisions, "_file_writer", dying(files, counts, half=True)),
        "all but the manifest": (manifest, "write", unless("dedup")),
        "the manifest": (dedup_documents, "write_index", stop),
        "half a file of the index": (index, "_file_writer", dying(index_files, None, half=True)),
        "all but the index's manifest": (manifest, "write", unless(index.STAGE)),
    }


def test_a_run_killed_in_every_phase_ends_as_one_that_was_not(
    spark: SparkSession, ingested: tuple[Path, RunFolder], expected: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each attempt finds what the one before left when it was killed."""
    folder, source = ingested
    run, made = RunFolder.at(str(shutil.copytree(source.path, folder / "again"))), settings(folder)
    left: dict[str, int] = {}
    for name, (module, attribute, instead) in phases().items():
        with monkeypatch.context() as patched:
            patched.setattr(module, attribute, instead)
            with pytest.raises((Killed, Py4JJavaError)):
                dedup_documents.run(lambda: spark, made, run, quiet=True)
        left[name] = sum(1 for path in Path(run.path).rglob("*") if path.is_file())
        decided = manifest.find(run.decisions("dedup")) is not None
        assert decided == (list(phases()).index(name) >= list(phases()).index("the manifest")), name
        assert manifest.find(run.dedup_index) is None, name
    assert left["half a file of decisions"] > left["components are known"], "the kill left something behind"
    assert left["half a file of counts"] > left["all decisions"]
    assert left["half a file of the index"] > left["the manifest"]
    dedup_documents.run(lambda: spark, made, run, quiet=True)
    assert outcome(run) == expected


@pytest.mark.parametrize(("partitions", "adaptive"), [(7, "false"), (50, "true")])
def test_partitions_and_the_order_of_files_change_no_byte(
    spark: SparkSession,
    configure: Callable[..., None],
    ingested: tuple[Path, RunFolder],
    expected: dict[str, bytes],
    tmp_path: Path,
    partitions: int,
    adaptive: str,
) -> None:
    configure(adaptive_enabled=adaptive)
    made, run = settings(ingested[0], "ba", partitions), RunFolder.at(str(tmp_path / "run"))
    ingest_documents.run(lambda: spark, made, run, annotate=True, quiet=True)
    dedup_documents.run(lambda: spark, made, run, quiet=True)
    assert outcome(run) == expected
