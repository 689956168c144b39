"""Windows of long documents against a plain reading of their definition, and how a recipe asks for them."""

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redpajama_pipe import recipe
from redpajama_pipe.errors import RecipeError, SetupError
from redpajama_pipe.settings.annotate import Annotate
from redpajama_pipe.settings.tree import to_tree
from redpajama_pipe.signals import language
from redpajama_pipe.signals.annotation import annotate, annotation_schema
from redpajama_pipe.signals.language_sample import windows


def plain(text: str, limit: int) -> str:
    """The definition again, with Python's own idea of where characters begin."""
    data, third = text.encode(), limit // 3
    if len(data) <= limit:
        return text
    begins, at = [], 0
    for character in text:
        begins.append(at)
        at += len(character.encode())
    begins.append(at)
    parts = []
    for start in (0, (len(data) - third) // 2, len(data) - third):
        first, last = (min(place for place in begins if place >= wanted) for wanted in (start, start + third))
        parts.append(data[first:last].decode())
    return "\n".join(parts)


@settings(max_examples=200)
@given(
    texts=st.lists(st.none() | st.text("aé日𝒳\n ", max_size=60), max_size=6),
    limit=st.integers(3, 70),
    kind=st.sampled_from([pa.string(), pa.large_string()]),
    skip=st.integers(0, 2),
)
def test_windows_are_the_beginning_the_middle_and_the_end(
    texts: list[str | None], limit: int, kind: pa.DataType, skip: int
) -> None:
    found = windows(pa.array(texts, kind).slice(skip), limit)
    found.validate(full=True)
    assert found.to_pylist() == [None if text is None else plain(text, limit) for text in texts[skip:]]


def test_windows_of_a_text_by_hand() -> None:
    assert windows(pa.array(["0123456789abcdef"]), 9).to_pylist() == ["012\n678\ndef"]
    # é begins at byte 2: the first window ends after it, and the second has nothing but 4, 5 and 6.
    assert windows(pa.array(["01é45678ab"]), 9).to_pylist() == ["01é\n456\n8ab"]


def test_an_array_of_short_texts_is_not_copied() -> None:
    texts = pa.array(["0123456789", None])
    assert windows(texts, 10) is texts
    assert windows(texts.slice(0, 0), 10).to_pylist() == []


@pytest.mark.parametrize("size", [-1, 1, 299])
def test_a_recipe_cannot_ask_for_less_than_300_bytes(size: int) -> None:
    source = {"name": "a", "kind": "jsonl", "paths": ["a.jsonl"]}
    tree = {"name": "r", "sources": [source], "annotate": {"language_sample_bytes": size}}
    with pytest.raises(RecipeError) as refused:
        recipe.from_tree(tree, "r")
    assert str(refused.value) == (f"annotate.language_sample_bytes is {size}; give 300 or more, or 0 for all text")


def test_a_recipe_reads_documents_in_full_unless_it_says_otherwise_and_the_setting_is_recorded() -> None:
    try:
        model = str(language.find_model(language.NAME))
    except SetupError as error:
        pytest.skip(str(error))
    english, french = "this is a sentence in English and ", "ceci est une phrase en français et "
    # The three windows of 100 bytes fall on French, most of the text is English.
    side, gap = french * 4, english * 60
    texts = pa.array([side + gap + side + gap + side, english])
    nothing = pa.array([None, None], pa.string())
    labels = {}
    for size in (0, 300):
        asked = Annotate(language_sample_bytes=size)
        assert to_tree(asked)["language_sample_bytes"] == size
        columns = annotate(texts, nothing, nothing, asked, model)
        labels[size] = columns[annotation_schema(asked).get_field_index("identified_language")].to_pylist()
    assert labels == {0: ["en", "en"], 300: ["fr", "en"]}
