from __future__ import annotations

from pathlib import Path

import pytest

from redpajama_pipe import recipe
from redpajama_pipe.errors import CatalogError, RecipeError
from redpajama_pipe.settings.tree import digest

SMALL = """
name: small
vars: {data: /corpus}
sources:
  - {name: web, kind: warc, paths: ["${data}/*.warc.gz"], root: "${data}"}
  - {name: pile, kind: jsonl, paths: [pile.jsonl]}
"""


@pytest.fixture
def small(tmp_path: Path) -> str:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return str(path)


def test_variables_are_replaced_and_can_be_set(small: str) -> None:
    assert recipe.load(small).sources[0].paths == ("/corpus/*.warc.gz",)
    assert recipe.load(small, ["vars.data=/other"]).sources[0].root == "/other"


def test_overrides_reach_groups_and_sources_by_name(small: str) -> None:
    loaded = recipe.load(small, ["dedup.threshold=0.9", "sources.pile.subset_field=meta.set", "schedule.epochs=[1, 2]"])
    assert loaded.dedup.threshold == 0.9
    assert loaded.source("pile").subset_field == "meta.set"
    assert loaded.schedule.epochs == (1.0, 2.0)


def test_resolved_recipe_reads_back_equal(small: str, tmp_path: Path) -> None:
    loaded = recipe.load(small)
    again = tmp_path / "resolved.yaml"
    again.write_text(recipe.to_yaml(loaded))
    assert recipe.load(str(again)) == loaded
    assert digest(recipe.load(str(again))) == digest(loaded)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("dedup.treshold=0.9", r"dedup: unknown key 'treshold' \(did you mean 'threshold'\?\); known: exact, near"),
        ("dedup.threshold=high", "dedup: threshold: expected float, found 'high'"),
        ("dedup.near=1", "dedup: near: expected bool, found 1"),
        ("sources.books.language=en", "no source 'books'; there are: web, pile"),
        ("sources.web.kind=warcs", "kind: 'warcs' is not one of warc, wet, wikipedia, jsonl"),
        ("name.first=x", "name is a value, not a group of keys"),
        ("dedup", "write key=value"),
        ("sources.web.paths=a.gz", "paths: expected a list, found 'a.gz'"),
        ("sources.web.root=${nowhere}", r"\$\{nowhere\} is not defined; vars defines: data"),
        ("sources.web.root=${vars.data}", r"\$\{vars.data\} is not defined; vars defines: data"),
        ("sources.pile.name=web", "two sources are called 'web'"),
        ("sources.web=5", r"sources\.web is a group of keys; say which of them, sources\.web\.KEY=VALUE"),
        ("sources.web.paths.0=a.gz", r"sources\.web\.paths is a list of values; give all of it, sources\.web\.paths="),
        ("schedule.epochs=[1, 0]", r"schedule\.epochs has 0; give numbers above 0"),
        ("schedule.epochs=[-1]", r"schedule\.epochs has -1; give numbers above 0"),
        ("schedule.epochs=[.nan]", r"schedule\.epochs has nan; give numbers above 0"),
        ("schedule.epochs=[.inf]", r"schedule\.epochs has inf; give numbers above 0"),
        ("sources.pile.name=a/b", "a source is called 'a/b'; files are named after it"),
        ("sources.pile.name=../b", "a source is called '../b'; files are named after it"),
        ("sources.pile.name=a:b", "a source is called 'a:b'; files are named after it"),
        ("sources.pile.name=_hidden", "a source is called '_hidden'"),
        ("sources.pile.name=''", "a source is called ''"),
        ("name=2024-01-01", r"name: expected str, found datetime\.date\(2024, 1, 1\)"),
    ],
)
def test_a_mistake_is_named_with_the_way_out(small: str, override: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        recipe.load(small, [override])


def test_a_value_that_only_yaml_knows_is_named(tmp_path: Path) -> None:
    path = tmp_path / "dated.yaml"
    path.write_text("name: 2024-01-01\nsources: []\n")
    with pytest.raises(RecipeError, match=r"name: expected str, found datetime\.date"):
        recipe.load(str(path))


def test_a_source_may_have_a_name_in_any_script(small: str) -> None:
    assert recipe.load(small, ["sources.pile.name=شبكة ü.1"]).sources[1].name == "شبكة ü.1"
    with pytest.raises(RecipeError, match="give 1 to 100 bytes"):
        recipe.load(small, [f"sources.pile.name={'ü' * 51}"])


def test_an_unknown_recipe_lists_the_known_ones() -> None:
    with pytest.raises(CatalogError, match=r"no conf entry 'sampel' \(did you mean 'sample'\?\); there are: .*sample"):
        recipe.load("sampel")


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text("name: x\n")
    with pytest.raises(RecipeError, match="missing key 'sources'"):
        recipe.load(str(path))
