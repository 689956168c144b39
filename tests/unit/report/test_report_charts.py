from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_factory import rich_report

from redpajama_pipe.report import charts
from redpajama_pipe.report.charts import Slice
from redpajama_pipe.report.model import Histogram, Threshold


def numbers(source: str, name: str, attribute: str, css: str) -> list[float]:
    """Return an attribute of every element of one name and class."""
    found = re.findall(rf'<{name} class="{css}"([^>]*)>', source)
    return [float(re.search(rf' {attribute}="([-\d.]+)%?"', attributes)[1]) for attributes in found]  # type: ignore[index]


def test_bar_parts_lie_end_to_end_and_fill_the_width() -> None:
    bar = charts.segments([Slice("kept", "kept", 1), Slice("near", "near", 0), Slice("filter", "filter", 3)], 4, "x")
    assert re.findall(r'class="(\w+)" x="([\d.]+)%" width="([\d.]+)%"', bar) == [
        ("kept", "0.000", "25.000"),
        ("filter", "25.000", "75.000"),
    ]


def test_bars_of_nothing_are_empty() -> None:
    assert "<rect" not in charts.segments([Slice("kept", "kept", 0)], 0, "x")
    assert "<rect" not in charts.nested([Slice("kept", "kept", 0)], 0, "x")


def test_flow_draws_a_band_for_each_stage_that_loses_something() -> None:
    exits = [Slice("quarantine", "quarantined", 1), Slice("filter", "filter", 40), Slice("exact", "exact", 0)]
    for upright in (False, True):
        drawn = charts.flow(Slice("kept", "kept", 59), exits, "label", upright)
        assert re.findall(r'<path class="([\w ]+)"', drawn) == [
            "kept",
            "filter waiting",
            "filter",
            "quarantine waiting",
            "quarantine",
        ]


def test_flow_keeps_what_is_tiny_visible() -> None:
    drawn = charts.flow(Slice("kept", "kept", 10**12), [Slice("filter", "filter", 1)], "label")
    path = re.search(r'class="filter waiting" d="M0.00 ([\d.]+)C.*?L100.00 ([\d.]+)C', drawn)
    assert path is not None
    assert float(path[2]) - float(path[1]) == pytest.approx(charts.FLOW_HAIRLINE)


def test_bars_of_a_histogram_stand_on_each_other_at_the_scale_of_the_fullest_bin() -> None:
    drawn = charts.histogram(Histogram("s", "", [0, 1, 2], [3, 0], [1, 2]))
    height = charts.PLOT[1]
    assert numbers(drawn, "rect", "height", "kept") == [pytest.approx(height * 3 / 4, abs=0.01)]
    assert numbers(drawn, "rect", "height", "dropped") == [
        pytest.approx(height / 4, abs=0.01),
        pytest.approx(height / 2, abs=0.01),
    ]
    assert numbers(drawn, "rect", "y", "dropped")[0] < numbers(drawn, "rect", "y", "kept")[0]


def test_threshold_lies_at_its_value_and_shades_the_side_it_refuses() -> None:
    drawn = charts.histogram(
        Histogram("s", "", [0, 10], [1], [1], [Threshold("r", 2.5, "min"), Threshold("r", 7.5, "max")])
    )
    left, width = charts.PLOT_LEFT, charts.PLOT[0]
    assert numbers(drawn, "line", "x1", "bound") == [left + width / 4, left + 3 * width / 4]
    assert numbers(drawn, "rect", "x", "shade") == [left, left + 3 * width / 4]
    assert numbers(drawn, "rect", "width", "shade") == [width / 4, width / 4]
    assert ">≥ 2.5<" in drawn
    assert ">≤ 7.5<" in drawn


def test_threshold_on_a_log_scale_lies_at_its_logarithm() -> None:
    drawn = charts.histogram(Histogram("s", "", [1, 10, 100], [1, 1], [0, 0], [Threshold("r", 10, "min")], log=True))
    assert numbers(drawn, "line", "x1", "bound") == [charts.PLOT_LEFT + charts.PLOT[0] / 2]


@pytest.mark.parametrize(("value", "at"), [(-5.0, 0.0), (11.0, 1.0), (float("inf"), 1.0), (float("-inf"), 0.0)])
def test_threshold_outside_the_edges_is_drawn_at_the_side_it_lies_on_and_says_so(value: float, at: float) -> None:
    drawn = charts.histogram(Histogram("s", "", [0, 10], [1], [1], [Threshold("r", value, "min")]))
    assert numbers(drawn, "line", "x1", "bound outside") == [charts.PLOT_LEFT + at * charts.PLOT[0]]
    assert "(outside)" in drawn


def test_labels_of_near_thresholds_do_not_overlap() -> None:
    bounds = [Threshold(f"r{index}", 5 + index / 20, "min") for index in range(6)]
    drawn = charts.histogram(Histogram("s", "", [0, 10], [1], [1], bounds))
    places = re.findall(r'<text class="bound" x="([\d.]+)" y="([\d.]+)"', drawn)
    assert len({y for _, y in places}) == 6


def test_zero_has_its_own_place_left_of_a_log_scale() -> None:
    drawn = charts.histogram(Histogram("s", "", [0, 1, 10, 100], [4, 2, 1], [0, 0, 0], log=True))
    widths = numbers(drawn, "rect", "width", "kept")
    assert widths == [pytest.approx(widths[0], abs=0.02)] * 3


@given(
    st.lists(st.floats(-1e12, 1e12), min_size=1, max_size=20, unique=True).map(sorted),
    st.lists(st.tuples(st.floats(), st.sampled_from(["min", "max"])), max_size=5),
    st.booleans(),
    st.integers(0, 10**15),
)
def test_any_histogram_draws_inside_its_plot(
    edges: list[float], bounds: list[tuple[float, str]], log: bool, count: int
) -> None:
    bins = len(edges) - 1
    thresholds = [Threshold("r", value, side) for value, side in bounds]  # type: ignore[arg-type]
    drawn = charts.histogram(Histogram("s", "", edges, [count] * bins, [7] * bins, thresholds, log=log))
    assert "nan" not in drawn.lower().replace("≥ nan", "").replace("≤ nan", "").replace("r ≥", "").replace(
        "nan (outside)", ""
    )
    right = charts.PLOT_LEFT + charts.PLOT[0]
    for css in ("kept", "dropped", "shade"):
        for x, width in zip(numbers(drawn, "rect", "x", css), numbers(drawn, "rect", "width", css), strict=True):
            assert x >= charts.PLOT_LEFT - 6
            assert x + width <= right + 6


def test_every_sample_histogram_names_its_thresholds_in_its_label() -> None:
    for item in rich_report().histograms:
        label = re.search(r'aria-label="([^"]*)"', charts.histogram(item))
        assert label is not None
        assert all(bound.rule in label[1] for bound in item.thresholds)
