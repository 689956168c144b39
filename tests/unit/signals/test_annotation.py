import pytest

from redpajama_pipe import recipe
from redpajama_pipe.errors import RecipeError
from redpajama_pipe.recipe import Recipe
from redpajama_pipe.signals import gopher
from redpajama_pipe.signals.annotation import annotation_schema, settings_of


def made(**keys: object) -> Recipe:
    source = {"name": "a", "kind": "jsonl", "paths": ["a.jsonl"]}
    return recipe.from_tree({"name": "r", "sources": [source], **keys}, "r")


def test_signals_of_gopher_are_always_stored() -> None:
    settings = settings_of(made(filter={"rule_sets": []}))
    assert list(settings.signals) == [signal.name for signal in gopher.SIGNALS]
    assert annotation_schema(settings).names[-24:] == list(settings.signals)


def test_recipe_that_asks_for_no_such_signal_is_refused() -> None:
    with pytest.raises(RecipeError, match="no signal 'word_cont'; nearest: word_count"):
        settings_of(made(annotate={"signals": ["word_cont"]}))
