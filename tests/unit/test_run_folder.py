from __future__ import annotations

import os
from argparse import Namespace
from pathlib import Path

import pytest
import yaml

from redpajama_pipe import arguments, cli, recipe, session, storage
from redpajama_pipe.errors import InputError, RecipeError
from redpajama_pipe.run_folder import RunFolder
from redpajama_pipe.stages import ingest_documents, run_recipe


def test_a_folder_has_one_writer_at_a_time(tmp_path: Path) -> None:
    folder = RunFolder.at(str(tmp_path / "run"))
    held = folder.claim()
    with pytest.raises(InputError, match=r"another command is at work in .*/run; wait until it has ended, or give ano"):
        folder.claim()
    assert RunFolder.at(str(tmp_path / "other")).claim() >= 0
    os.close(held)
    os.close(folder.claim())
    assert list((tmp_path / "run").iterdir()) == []


def test_a_folder_in_an_object_store_is_not_locked() -> None:
    assert RunFolder.at("s3://bucket/run").claim() == -1


def test_a_job_claims_its_folder_until_spark_has_stopped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    events: list[str] = []

    class Spark:
        def stop(self) -> None:
            with pytest.raises(InputError):
                RunFolder.at(str(tmp_path)).claim()
            events.append("stopped")

    monkeypatch.setattr(session, "build", lambda *settings: Spark())
    monkeypatch.setattr("signal.signal", lambda *handler: None)
    options = {"output": str(tmp_path), "recipe": "sample", "set": [], "quiet": True, "master": None}
    with arguments.Job(Namespace(**options)) as job:
        job.spark()
        other = arguments.Job(Namespace(**options))
        with pytest.raises(InputError, match="another command is at work"):
            other.spark()
        arguments.Job(Namespace(**options, what_if="word_count > 1")).spark()
    assert events == ["stopped"]
    os.close(RunFolder.at(str(tmp_path)).claim())


def recipe_file(folder: Path, name: str, **paths: str) -> str:
    sources = [{"name": source, "kind": "jsonl", "paths": [path]} for source, path in paths.items()]
    file = folder / f"{name}-{'-'.join(paths)}.yaml"
    settings = {"name": name, "sources": sources, "tokenize": {"tokenizer": "sample_spm"}}
    file.write_text(yaml.safe_dump(settings))
    return str(file)


@pytest.fixture
def held(tmp_path: Path) -> RunFolder:
    """Return a run that recipe `books` (sources fiction, essays) has begun."""
    folder = RunFolder.at(str(tmp_path / "run"))
    begun = recipe.load(recipe_file(tmp_path, "books", fiction="/f/*.jsonl", essays="/e/*.jsonl"))
    storage.write_bytes(folder.recipe, recipe.to_yaml(begun).encode())
    storage.write_bytes(f"{folder.documents}/_units/fiction-0123456789ab.json", b"{}")
    return folder


@pytest.mark.parametrize(
    ("name", "sources"),
    [
        ("books", {"fiction": "/f/*.jsonl", "essays": "/e/*.jsonl"}),
        ("books", {"fiction": "/moved/*.jsonl"}),  # files added, or a source left out: as the recipe now says
        ("books", {"fiction": "/f/*.jsonl", "essays": "/e/*.jsonl", "poems": "/p/*.jsonl"}),
        ("letters", {"fiction": "/f/*.jsonl", "essays": "/e/*.jsonl"}),  # two recipes share one corpus
    ],
)
def test_a_recipe_goes_on_with_its_documents(name: str, sources: dict[str, str], held: RunFolder) -> None:
    held.check_owner(recipe.load(recipe_file(Path(held.path), name, **sources)))
    held.check_owner(
        recipe.load(recipe_file(Path(held.path), name, **sources), ["dedup.threshold=0.9", "part_bytes=9"])
    )


@pytest.mark.parametrize(
    ("name", "sources", "told"),
    [
        ("web", {"fiction": "/w/*.jsonl"}, "'web' (source fiction) would"),
        ("books", {"crawl": "/w/*.jsonl"}, "'books' (source crawl) would"),
        ("web", dict.fromkeys("abcdef", "/w/*"), "'web' (sources a, b, c, d, …) would"),
    ],
)
@pytest.mark.parametrize("command", ["run", "ingest"])
def test_the_documents_of_another_recipe_are_not_replaced_unasked(
    name: str,
    sources: dict[str, str],
    told: str,
    command: str,
    held: RunFolder,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = storage.read_bytes(held.recipe)
    argv = [command, recipe_file(Path(held.path), name, **sources), "-o", held.path, "-q"]
    assert cli.main(argv) == 2
    assert capsys.readouterr().err == (
        f"redpajama-pipe: {held.path} holds the documents of recipe 'books' (sources fiction, essays), which recipe "
        f"{told} replace; give another --output, or add --replace if it may\n"
    )
    assert storage.read_bytes(held.recipe) == before
    assert cli.main([*argv, "--replace"]) == 2  # goes on, and finds no file
    assert "no file matches" in capsys.readouterr().err
    assert recipe.load(held.recipe).name == name
    job = {"run": run_recipe, "ingest": ingest_documents}[command]
    storage.write_bytes(held.recipe, before)
    assert job.main(argv[1:]) == 2  # jobs/ scripts alike
    assert "add --replace" in capsys.readouterr().err


def test_a_folder_without_documents_is_anybodys(held: RunFolder) -> None:
    other = recipe.load(recipe_file(Path(held.path), "web", crawl="/w/*.jsonl"))
    storage.remove(held.documents)
    held.check_owner(other)
    storage.write_bytes(f"{held.documents}/_units/fiction-0123456789ab.json", b"{}")
    storage.write_bytes(held.recipe, b"a: [")
    with pytest.raises(RecipeError, match=r"of recipe 'None' \(sources none\)"):
        held.check_owner(other)


def test_a_present_folder_that_is_gone_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert storage.absolute("/run") == "/run"
    with pytest.raises(InputError, match="run: the present folder is gone; change to one that is there"):
        RunFolder.at("run")
