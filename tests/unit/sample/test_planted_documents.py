from typing import Any

import pyarrow as pa
import pytest
import yaml

from redpajama_pipe import catalog
from redpajama_pipe.sample import planted
from redpajama_pipe.signals.batch import score

# A text with a long line that repeats has repeated n-grams too, and a repeated paragraph repeats its lines.
NGRAMS = {f"max_duplicate_{n}gram_char_fraction" for n in range(5, 11)}
IMPLIED = {
    "max_duplicate_line_char_fraction": NGRAMS,
    "max_duplicate_paragraph_char_fraction": NGRAMS | {"max_duplicate_line_char_fraction"},
}


def fired(text: str) -> set[str]:
    """Name the rules of the rule set `gopher` that drop an English text, worked out without Spark."""
    values: dict[str, Any] = score(pa.array([text])).to_pylist()[0]
    dropped = set()
    for rule in yaml.safe_load(catalog.read_text("filters", "gopher"))["rules"]:
        signal, comparison, bound = rule["keep"].removeprefix("language != 'en' OR ").split()
        keeps = {">=": values[signal] >= float(bound), "<=": values[signal] <= float(bound)}
        if not keeps[comparison]:
            dropped.add(rule["name"])
    return dropped


DOCUMENTS = list(planted.documents())


@pytest.mark.parametrize(("rule", "text"), DOCUMENTS, ids=[rule for rule, _ in DOCUMENTS])
def test_document_breaks_its_rule_and_no_other(rule: str, text: str) -> None:
    assert fired(text) == {rule} | IMPLIED.get(rule, set())


def test_every_gopher_rule_has_a_document() -> None:
    rules = yaml.safe_load(catalog.read_text("filters", "gopher"))["rules"]
    assert {rule for rule, _ in DOCUMENTS} == {rule["name"] for rule in rules}
    assert len({text for _, text in DOCUMENTS}) == len(DOCUMENTS)


def test_the_largest_document_has_just_over_100_000_words() -> None:
    [text] = [text for rule, text in DOCUMENTS if rule == "max_word_count"]
    assert 100_000 < len(text.split()) <= 110_000


def test_documents_are_the_same_in_every_call() -> None:
    assert list(planted.documents()) == DOCUMENTS
