from __future__ import annotations

import math

import pytest

from redpajama_pipe.report import figures


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "–"),
        (0, "0"),
        (999, "999"),
        (999.6, "1.00 k"),
        (1_204_332, "1.20 M"),
        (12_345, "12.3 k"),
        (99_990, "100 k"),
        (999_949, "1.00 M"),
        (770_272_953, "770 M"),
        (10**18, "1,000,000 T"),
        (-1_500, "-1.50 k"),
        (0.25, "0.25"),
    ],
)
def test_compact_has_three_figures(value: float | None, shown: str) -> None:
    assert figures.compact(value) == shown


@pytest.mark.parametrize(
    ("part", "whole", "shown"),
    [
        (0, 0, "–"),
        (0, 7, "0 %"),
        (7, 7, "100 %"),
        (1, 10**6, "< 0.1 %"),
        (10**6 - 1, 10**6, "> 99.9 %"),
        (10**18 - 1, 10**18, "> 99.9 %"),
        (1, 3, "33.3 %"),
    ],
)
def test_only_all_is_a_hundred_percent_and_only_none_is_zero(part: int, whole: int, shown: str) -> None:
    assert figures.share(part, whole) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "–"),
        (3, "3"),
        (3.0, "3"),
        (0.8123456, "0.8123"),
        (100_000.0, "100,000"),
        (12_345.6, "12,346"),
        (math.inf, "∞"),
        (-math.inf, "−∞"),
        (math.nan, "NaN"),
        (1e-9, "1e-09"),
        (1e300, "1e+300"),
    ],
)
def test_numbers_have_up_to_four_figures(value: float | None, shown: str) -> None:
    assert figures.number(value) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, "–"),
        (0.0, "0.00 s"),
        (0.424, "0.42 s"),
        (12.34, "12.3 s"),
        (59.96, "1 min 00 s"),
        (247.2, "4 min 07 s"),
        (3599.6, "1 h 00 min"),
        (7_500.0, "2 h 05 min"),
        (10.0**9, "277,777 h 47 min"),
    ],
)
def test_durations(seconds: float | None, shown: str) -> None:
    assert figures.duration(seconds) == shown


def test_sizes_and_rates_are_decimal() -> None:
    assert figures.size(0) == "0 B"
    assert figures.size(999) == "999 B"
    assert figures.size(2_930_000_000) == "2.93 GB"
    assert figures.rate(148_000_000) == "148 MB/s"
    assert figures.size(None) == figures.rate(None) == figures.count(None) == "–"


def test_nouns_agree_with_their_number() -> None:
    assert figures.plural(1, "record") == "1 record"
    assert figures.plural(0, "record") == "0 records"
    assert figures.plural(2_000, "entry", "entries") == "2,000 entries"
