"""Rule-set files with mistakes: one line that names them, never a traceback."""

from pathlib import Path

import pytest

from redpajama_pipe import catalog
from redpajama_pipe.errors import CatalogError, RecipeError
from redpajama_pipe.rules import ruleset

RULE = "rules:\n  - {name: a, keep: word_count > 1, on_null: drop}\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (RULE, "name is None; it must be text"),
        (f"name: [x]\n{RULE}", r"name is \['x'\]; it must be text"),
        ("name: x\nrules: word_count > 1", "rules is 'word_count > 1'; it must be a list"),
        ("name: x\nrules: {a: b}", "rules is {'a': 'b'}; it must be a list"),
        ("name: x\nrules: 5", "rules is 5; it must be a list"),
        ("name: x\nrules:\n  - word_count > 5", "rules, entry 0 is 'word_count > 5'; it must be a mapping"),
        ("name: x\ninclude: gopher", "include is 'gopher'; it must be a list"),
        (f"name: x\n{RULE}cuts: pii", "cuts is 'pii'; it must be a list"),
        (f"name: x\n{RULE}cuts: [5]", "cuts, entry 0 is 5; it must be a mapping"),
        (f"name: x\n{RULE}cases: 5", "cases is 5; it must be a list"),
        ("name: x\nrules:\n  - {name: a, keep: null, on_null: drop}", "rule 'a': keep is None; it must be text"),
        ("name: x\nrules:\n  - {name: a, keep: ' ', on_null: drop}", "rule 'a': keep is empty"),
        (
            "name: x\nrules:\n  - {name: a, keep: {b: c}, on_null: drop}",
            "rule 'a': keep is {'b': 'c'}; it must be text",
        ),
        ("name: x\nrules:\n  - {name: null, keep: 'true', on_null: drop}", "name is None; it must be text"),
        (
            "name: x\nrules:\n  - {name: '5', keep: 'true', on_null: keep}\n  - {name: 5, keep: 'true', on_null: keep}",
            "there are two rules of this name",
        ),
    ],
)
def test_mistake_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=message):
        ruleset.load(str(path))


def test_booleans_and_numbers_are_texts(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("name: 7\nrules:\n  - {name: 5, keep: true, on_null: keep}")
    (rule,) = ruleset.load(str(path)).rules
    assert (rule.name, rule.keep) == ("5", "True")


def test_a_key_that_stands_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "twice.yaml"
    path.write_text("name: twice\nrules:\n  - {name: a, keep: word_count > 1, keep: word_count > 2, drop: why}\n")
    with pytest.raises(CatalogError, match=r"twice\.yaml, line 3, column \d+ is not valid YAML: 'keep' stands twice"):
        catalog.load("filters", str(path))
