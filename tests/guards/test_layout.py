"""The layout that an editable install, a wheel and a zip on --py-files all need."""

from __future__ import annotations

import configparser
import sys
from pathlib import Path

import pytest

from redpajama_pipe import catalog

ROOT = Path(__file__).resolve().parent.parent.parent


def test_no_module_shadows_the_standard_library() -> None:
    importable = [path.stem for path in ROOT.glob("*.py")] + [path.stem for path in (ROOT / "jobs").glob("*.py")]
    importable += [path.name for path in ROOT.iterdir() if (path / "__init__.py").is_file()]
    assert not set(importable) & sys.stdlib_module_names
    # a package of this name on sys.path breaks every traceback, in Spark's workers too
    assert not (ROOT / "redpajama_pipe" / "tokenize").exists()
    assert not (ROOT / "redpajama_pipe" / "tokenize.py").exists()


@pytest.mark.parametrize("folder", ["filters", "tokenize", "conf", "jobs"])
def test_catalogue_folders_are_no_packages(folder: str) -> None:
    assert not list((ROOT / folder).rglob("__init__.py"))


def test_packages_in_setup_cfg_are_those_on_disk() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    listed = set(config["options"]["packages"].split())
    on_disk = {".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "redpajama_pipe").rglob("__init__.py")}
    assert {name for name in listed if "_catalog" not in name} == on_disk
    assert {name for name in listed if "_catalog" in name} == {
        f"redpajama_pipe._catalog.{kind}" for kind in catalog.KINDS
    }


def test_every_stage_has_a_job_and_every_job_a_stage() -> None:
    jobs = {path.stem for path in (ROOT / "jobs").glob("*.py")}
    stages = {path.stem for path in (ROOT / "redpajama_pipe" / "stages").glob("*.py")} - {"__init__"}
    assert jobs == stages


def test_top_level_has_what_users_look_for() -> None:
    for name in ("redpajama_pipe", "jobs", "filters", "tokenize", "tests", "conf", "setup.cfg", "README.md", "LICENSE"):
        assert (ROOT / name).exists(), name
