"""A run looks for the files of its later stages before it starts."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import pytest

from redpajama_pipe import recipe
from redpajama_pipe.errors import PipelineError
from redpajama_pipe.run_folder import RunFolder
from redpajama_pipe.stages import run_recipe

SETS = "decontaminate.sets=[{name: task, paths: [/nowhere/task.jsonl], fields: [question]}]"


def no_session() -> NoReturn:
    raise AssertionError("Spark was started")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (SETS, r"decontaminate\.sets\.task.*/nowhere/task\.jsonl"),
        ("dedup.against=[/nowhere/run]", r"dedup\.against: no finished output in /nowhere/run"),
        ("tokenize={tokenizer: gpt_neox_20b, path: /nowhere/tokenizer.json}", "/nowhere/tokenizer.json"),
    ],
    ids=["evaluation set", "index", "tokenizer"],
)
def test_a_missing_file_of_a_later_stage_is_said_at_once(tmp_path: Path, override: str, message: str) -> None:
    with pytest.raises(PipelineError, match=message):
        run_recipe.run(no_session, recipe.load("sample", [override]), RunFolder.at(str(tmp_path / "run")), quiet=True)
    assert not (tmp_path / "run").exists()
