import pytest

from redpajama_pipe.errors import RecipeError
from redpajama_pipe.signals import SIGNALS
from redpajama_pipe.signals.catalogue import FAMILIES
from redpajama_pipe.signals.listing import describe_signals, list_signals


def test_list_names_every_family_and_signal() -> None:
    words = list_signals().split()
    assert {*SIGNALS, *(f"{name}:" for name in FAMILIES)} <= set(words)


@pytest.mark.parametrize("name", SIGNALS)
def test_description_says_unit_range_source_and_null(name: str) -> None:
    told = describe_signals([name])
    assert told.splitlines()[0] == name
    assert [line.split()[0] for line in told.splitlines() if line[2:3].strip()][1:] == [
        "unit",
        "type",
        "range",
        "counts",
        "source",
        "null",
    ]


def test_family_stands_for_its_signals() -> None:
    assert describe_signals(["gopher"]).count("  unit    ") == len(FAMILIES["gopher"].signals)


def test_unknown_signal_is_refused() -> None:
    with pytest.raises(RecipeError, match="nearest: word_count"):
        describe_signals(["word_cout"])
