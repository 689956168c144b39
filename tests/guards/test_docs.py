"""What README.md and docs/ point at is there: linked files and headings, commands, their options, keys of --set."""

from __future__ import annotations

import argparse
import re
import shlex
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

from redpajama_pipe import cli, recipe
from redpajama_pipe.errors import PipelineError

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        linked = (page.parent / name).resolve() if name else page
        assert linked.exists(), f"{page.name} links to {target}"
        assert not anchor or anchor in anchors(linked), f"{page.name} links to {target}, and there is no such heading"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_are_named_exist(page: Path) -> None:
    named = re.findall(
        r"`((?:redpajama_pipe|benchmarks|tests|jobs|conf|filters|tokenize|docs)/[\w/.]+)`", page.read_text()
    )
    for name in named:
        assert (ROOT / name).exists() or (ROOT / f"{name}.yaml").exists(), f"{page.name} names {name}"


@cache
def parsers() -> dict[str, argparse.ArgumentParser]:
    actions = cli.build_parser()._actions
    return next(dict(action.choices) for action in actions if isinstance(action.choices, dict))


def commands(page: Path) -> list[str]:
    """The commands that a page shows: in blocks to the end of the line, in running text to the end of the code span."""
    text = page.read_text("utf-8").replace("\\\n", " ")
    found = re.findall(r"^\s*(?:[A-Z_]+=\S+ )*redpajama-pipe ([a-z].*?)(?:\s+#.*)?$", text, re.MULTILINE)
    spans = [" ".join(span.split()) for span in re.findall(r"`redpajama-pipe\s+([a-z][^`]*)`", text)]
    return [line for line in found if "`" not in line] + spans


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_their_options_exist(page: Path) -> None:
    for line in commands(page):
        words = shlex.split(re.split(r" [|>] ", line)[0])
        assert words[0] in parsers(), f"{page.name} shows redpajama-pipe {line}"
        known = [option for action in parsers()[words[0]]._actions for option in action.option_strings]
        for word in words[1:]:
            if re.match(r"--?[a-z]", word):
                assert word.partition("=")[0] in known, f"{page.name} shows redpajama-pipe {line}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_keys_that_are_set_exist(page: Path) -> None:
    for line in commands(page):
        words = shlex.split(re.split(r" [|>] ", line)[0])
        if words[0] not in cli._STAGES:
            continue
        for flag, override in pairwise(words):
            if flag != "--set" or "…" in override:
                continue
            try:
                recipe.load("sample", [override])
            except PipelineError as error:
                pytest.fail(f"{page.name} shows redpajama-pipe {line}: {error}")


def test_the_commands_are_found() -> None:
    assert sum(len(commands(page)) for page in PAGES) >= 30
