from __future__ import annotations

import pytest

from redpajama_pipe.report.collect_signals import BINS, _edges


@pytest.mark.parametrize(
    ("low", "high", "bounds", "first", "last"),
    [
        (0.0, 0.5, [0.2], 0.0, 0.51),
        (3.0, 8.0, [3.0, 10.0], 3.0, 10.14),
        (0.0, 0.001, [0.3], 0.0, 0.00102),  # a bound far above would leave one bar of them all
        (0.0, 0.0, [0.1], 0.0, 0.102),  # zero everywhere: up to the bound
        (0.0, 0.0, [0.0], 0.0, 1.02),
    ],
)
def test_edges_hold_the_values_and_the_bounds_that_are_near(
    low: float, high: float, bounds: list[float], first: float, last: float
) -> None:
    edges, log = _edges(low, high, bounds)
    assert (len(edges), log, edges[0]) == (BINS + 1, False, first)
    assert edges[-1] == pytest.approx(last)
