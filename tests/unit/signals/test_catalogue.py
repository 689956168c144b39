import dataclasses

import pyarrow as pa
import pytest

from redpajama_pipe.errors import RecipeError
from redpajama_pipe.signals import SIGNALS, Signal, gopher, gopher_kernels
from redpajama_pipe.signals.catalogue import FAMILIES, select
from redpajama_pipe.signals.tallied import Tallied


def test_every_gopher_signal_is_made_of_tallies_that_are_counted() -> None:
    used = {signal.numerator for signal in gopher.SIGNALS} | {
        signal.denominator for signal in gopher.SIGNALS if signal.denominator
    }
    assert used == set(gopher_kernels.TALLIES)


@pytest.mark.parametrize("signal", [*gopher.SIGNALS, *gopher.UNSPACED], ids=lambda signal: signal.name)
def test_gopher_ratios_are_floats_and_counts_are_not(signal: Tallied) -> None:
    assert (signal.type == pa.float64()) == (signal.denominator is not None)
    if signal.name.endswith("_fraction"):
        assert signal.range == (0.0, 1.0)
        assert signal.unit.startswith("of ")


def test_families_do_not_share_names() -> None:
    names = [signal.name for family in FAMILIES.values() for signal in family.signals]
    assert len(names) == len(set(names)) == len(SIGNALS)
    assert not set(names) & set(FAMILIES)


def test_family_stands_for_its_signals_and_order_is_the_catalogue_s() -> None:
    assert select(["word_count", "char_count"]) == ["char_count", "word_count"]
    assert select(["gopher", "word_count"]) == [signal.name for signal in gopher.SIGNALS]


def test_unknown_signal_names_its_nearest() -> None:
    with pytest.raises(RecipeError, match="no signal 'word_cout'; nearest: word_count"):
        select(["word_cout"])


@pytest.mark.parametrize("signal", SIGNALS.values(), ids=SIGNALS)
def test_every_signal_says_what_it_is(signal: Signal) -> None:
    assert all((signal.unit, signal.counts, signal.source, signal.null))
    with pytest.raises(dataclasses.FrozenInstanceError):
        signal.name = "other"  # type: ignore[misc]


def test_names_are_the_published_rules_in_their_order() -> None:
    assert list(SIGNALS)[:11] == [
        "char_count",
        "byte_count",
        "line_count",
        "word_count",
        "mean_word_length",
        "hash_word_ratio",
        "ellipsis_word_ratio",
        "bullet_line_fraction",
        "ellipsis_line_fraction",
        "alphabetic_word_fraction",
        "stop_word_count",
    ]
    assert len(gopher.SIGNALS) == 24
