"""Cuts in rule-set files: what is read, what is refused, which columns they need."""

from pathlib import Path

import pytest

from redpajama_pipe.errors import RecipeError
from redpajama_pipe.rules import ruleset
from redpajama_pipe.rules.ruleset import Cut
from redpajama_pipe.signals import SIGNALS


def write(folder: Path, cuts: str) -> str:
    path = folder / "mine.yaml"
    path.write_text(f"name: mine\nrules:\n  - {{name: a, keep: word_count > 1, on_null: drop}}\ncuts:\n{cuts}")
    return str(path)


def test_a_cut_names_its_spans_and_may_choose_among_them(tmp_path: Path) -> None:
    path = write(tmp_path, "  - {name: tidy, spans: c4_cuts, rules: [policy], when: char_count > 9, source: me}\n")
    rules = ruleset.load(path)
    assert rules.cuts == (Cut("tidy", "c4_cuts", ("policy",), "char_count > 9", "me"),)
    assert rules.columns(SIGNALS) == ["char_count", "word_count", "c4_cuts"]


def test_a_rule_set_may_only_cut(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\ncuts:\n  - {name: tidy, spans: c4_cuts}\n")
    assert ruleset.load(str(path)).cuts == (Cut("tidy", "c4_cuts"),)


@pytest.mark.parametrize(
    ("cuts", "message"),
    [
        ("  - {name: tidy}\n", "cut 'tidy': missing key 'spans'"),
        ("  - {spans: c4_cuts}\n", "cut 0: missing key 'name'"),
        (
            "  - {name: tidy, spans: c4_cuts, where: x}\n",
            "unknown key 'where'; known: name, spans, rules, when, source",
        ),
        ("  - {name: tidy, spans: c4_cuts, rules: policy}\n", "rules is 'policy'; it must be a list"),
        ("  - {name: tidy, spans: a}\n  - {name: tidy, spans: b}\n", "there are two cuts of this name"),
    ],
)
def test_a_broken_cut_is_refused(tmp_path: Path, cuts: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        ruleset.load(write(tmp_path, cuts))


@pytest.mark.parametrize("name", ["c4", "fineweb", "refinedweb"])
def test_published_cuts_name_signals_that_hold_spans(name: str) -> None:
    from redpajama_pipe.signals.cuts import SPANS

    rules = ruleset.load(name)
    assert rules.cuts
    assert all(SIGNALS[cut.spans].type == SPANS for cut in rules.cuts)


def test_included_rules_come_first_and_are_called_after_the_set_that_includes_them(tmp_path: Path) -> None:
    massivetext, gopher = ruleset.load("massivetext"), ruleset.load("gopher")
    assert massivetext.rules == gopher.rules
    assert massivetext.name == "massivetext"
    own = tmp_path / "own.yaml"
    own.write_text("name: own\ninclude: [pii, gopher]\nrules:\n  - {name: x, keep: 'word_count > 1', on_null: drop}\n")
    loaded = ruleset.load(str(own))
    assert [rule.name for rule in loaded.rules] == [*(rule.name for rule in gopher.rules), "x"]
    assert [cut.name for cut in loaded.cuts] == ["pii"]
    own.write_text(f"name: own\ninclude: ['{own}']\n")
    with pytest.raises(RecipeError, match="includes itself"):
        ruleset.load(str(own))
