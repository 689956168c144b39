import dataclasses

import pyarrow as pa
import pytest

from redpajama_pipe.signals import SIGNALS, Signal, kernels


def test_every_signal_is_made_of_tallies_that_are_counted() -> None:
    used = {signal.numerator for signal in SIGNALS.values()} | {
        signal.denominator for signal in SIGNALS.values() if signal.denominator
    }
    assert used == set(kernels.TALLIES)


@pytest.mark.parametrize("signal", SIGNALS.values(), ids=SIGNALS)
def test_every_signal_says_what_it_is(signal: Signal) -> None:
    assert all((signal.unit, signal.counts, signal.source, signal.null))
    assert (signal.type == pa.float64()) == (signal.denominator is not None)
    if signal.name.endswith("_fraction"):
        assert signal.range == (0.0, 1.0)
        assert signal.unit.startswith("of ")
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
    assert len(SIGNALS) == 24
