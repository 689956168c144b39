"""What README.md shows works: its recipe, its rule set, its commands."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from textwrap import dedent

import pytest

from redpajama_pipe import cli, recipe
from redpajama_pipe.rules import ruleset

README = (Path(__file__).resolve().parent.parent.parent / "README.md").read_text(encoding="utf-8")


def blocks() -> list[str]:
    """The indented blocks of README.md, in order."""
    found = re.findall(r"(?:^(?: {4}.*)?\n)*^ {4}.*\n(?:(?: {4}.*)?\n)*", README, re.MULTILINE)
    return [dedent(block).strip() + "\n" for block in found]


def test_recipe_of_the_readme_loads(tmp_path: Path) -> None:
    [shown] = [block for block in blocks() if "sources:" in block]
    path = tmp_path / "mine.yaml"
    path.write_text(shown)
    loaded = recipe.load(str(path))
    assert [source.kind for source in loaded.sources] == ["warc", "wikipedia", "jsonl"]
    assert loaded.schedule.epochs == (1.0, 1.5)


def test_rule_set_of_the_readme_loads(tmp_path: Path) -> None:
    [shown] = [block for block in blocks() if "rules:" in block]
    path = tmp_path / "mine.yaml"
    path.write_text(shown)
    loaded = ruleset.load(str(path))
    assert loaded.rules[0].keep == "word_count >= 100"
    assert loaded.cases[0]["drops"] == [loaded.rules[0].name]


def test_commands_of_the_readme_exist() -> None:
    shown = re.findall(r"^ {4}(redpajama-pipe [a-z].*?)(?:\s+#.*)?$", README, re.MULTILINE)
    assert len(shown) >= 8
    for line in shown:
        words = shlex.split(re.sub(r" > \S+$", "", line))[1:]
        try:
            cli.build_parser().parse_args(words)
        except SystemExit:
            pytest.fail(f"README shows {line!r}, which the command refuses")


def test_the_two_commands_are_named_first() -> None:
    assert README.index("make demo") < README.index("make test") < README.index("pip install")
