"""Charts as inline SVG that stretches with its box; labels that must stay legible are HTML beside it.

Colours are the CSS classes of style.py, one a stage throughout. Coordinates are rounded to two decimals, so equal data
gives equal bytes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from redpajama_pipe.report import figures
from redpajama_pipe.report.markup import Html, escape, identifier, join, tag
from redpajama_pipe.report.model import Histogram, Threshold

FLOW_BAND = 150.0  # thickness of the whole stream, out of FLOW_DEPTH
FLOW_DEPTH = 200.0
FLOW_STEP = 100.0  # length of one column
FLOW_HAIRLINE = 1.2  # what is not zero is never thinner

PLOT = (360.0, 118.0)  # width and height of a histogram's plot
PLOT_LEFT = 6.0
TICK_ROOM = 20.0  # labels of the axis are at least so far apart
LANE = 15.0  # height of one line of threshold labels
CHARACTER = 6.3  # width of a label's character, an upper guess


@dataclass(frozen=True)
class Slice:
    """A part of a whole: its CSS class, its name and its size."""

    css: str
    name: str
    value: float


def segments(slices: Sequence[Slice], whole: float, label: str) -> Html:
    """Draw one bar of parts laid end to end; `whole` fills the width."""
    rects: list[Html] = []
    start = 0.0
    for part in slices:
        if part.value > 0 and whole > 0:
            width = 100 * part.value / whole
            text = f"{part.name}: {figures.count(round(part.value))} ({figures.share(part.value, whole)})"
            rects.append(_rect(part.css, _percent(start), _percent(width), text))
            start += width
    return tag("svg", *rects, class_="bar", role="img", aria_label=label)


def nested(slices: Sequence[Slice], whole: float, label: str) -> Html:
    """Draw one bar of parts that contain each other, the largest first, all from the left."""
    rects = [
        _rect(part.css, "0%", _percent(100 * part.value / whole), f"{part.name}: {figures.count(round(part.value))}")
        for part in slices
        if part.value > 0 and whole > 0
    ]
    return tag("svg", *rects, class_="bar", role="img", aria_label=label)


def amount(css: str, value: float, most: float, label: str) -> Html:
    """Draw one bar of one value; `most` fills the width."""
    return nested([Slice(css, label, value)], most, label)


def flow(kept: Slice, exits: Sequence[Slice], label: str, upright: bool = False) -> Html:
    """Draw the stream of documents: it enters whole, loses a slice in each column, and the kept part arrives.

    Args:
        exits: what leaves, first to last; column 0 is the whole, column i + 1 is where exits[i] leaves.
        upright: run from top to bottom (a narrow screen) instead of from left to right.
    """
    whole = kept.value + sum(part.value for part in exits)
    length = FLOW_STEP * (len(exits) + 2)
    shapes: list[Html] = []
    if whole > 0:
        kept_thick = _thickness(kept.value, whole)
        shapes.append(_ribbon([(0.0, 0.0, kept_thick), (length, 0.0, kept_thick)], kept.css, kept.name, upright))
        # The last to leave lies next to the kept part; each slice is stacked on those that leave after it.
        inner = kept_thick
        for index in range(len(exits) - 1, -1, -1):
            part = exits[index]
            thick = _thickness(part.value, whole)
            if not thick:
                continue
            turn = FLOW_STEP * (index + 1)
            outer = inner + thick
            drop = min(inner + 26.0, FLOW_DEPTH - thick)
            path = [(0.0, inner, outer), (turn, inner, outer)]
            away = [(turn, inner, outer), (turn + 0.82 * FLOW_STEP, drop, drop + thick)]
            shapes.append(_ribbon(path, f"{part.css} waiting", part.name, upright))
            shapes.append(_ribbon(away, part.css, part.name, upright))
            inner = outer
    box = (FLOW_DEPTH, length) if upright else (length, FLOW_DEPTH)
    return tag(
        "svg",
        *shapes,
        class_="upright" if upright else "level",
        viewBox=f"0 0 {box[0]:g} {box[1]:g}",
        preserveAspectRatio="none",
        role="img",
        aria_label=label,
    )


def histogram(data: Histogram) -> Html:
    """Draw kept and dropped documents a bin, stacked, with every threshold as a line and its losing side shaded."""
    width, height = PLOT
    scale = _Scale(data)
    # two rules with the same bound share one line; the list below the chart names both
    lines = {(threshold.side, threshold.value): threshold for threshold in reversed(data.thresholds)}
    labels = [_ThresholdLabel.place(scale, threshold) for threshold in sorted(lines.values(), key=_order)]
    lanes = _lanes([(label.start, label.end) for label in labels])
    top = LANE * (max(lanes, default=0) + 1) + 4
    base = top + height
    most = max((k + d for k, d in zip(data.kept, data.dropped, strict=True)), default=0)

    # the scale of y is written where the bars leave room
    peak = max(range(len(data.kept)), key=lambda index: data.kept[index] + data.dropped[index], default=0)
    peak_left = bool(data.kept) and scale.place(scale.edges[peak]) < PLOT_LEFT + width / 2

    parts: list[Html] = []
    for label in labels:
        left, right = (PLOT_LEFT, label.x) if label.threshold.side == "min" else (label.x, PLOT_LEFT + width)
        if right > left:
            parts.append(_shape("rect", "shade", x=left, y=top, width=right - left, height=height))
    parts.append(_shape("line", "grid", x1=PLOT_LEFT, x2=PLOT_LEFT + width, y1=top, y2=top))
    for index, (kept, dropped) in enumerate(zip(data.kept, data.dropped, strict=True)):
        parts += _bin(scale, index, kept, dropped, most, base, height)
    parts.append(_shape("line", "axis", x1=PLOT_LEFT, x2=PLOT_LEFT + width, y1=base, y2=base))
    for value, place in scale.ticks():
        anchor = "start" if place < PLOT_LEFT + 14 else "end" if place > PLOT_LEFT + width - 14 else "middle"
        parts.append(_shape("line", "axis", x1=place, x2=place, y1=base, y2=base + 4))
        parts.append(_text("tick", place, base + 16, anchor, _tick(value)))
    for label, lane in zip(labels, lanes, strict=True):
        y = 11 + LANE * lane
        css = "bound" if label.inside else "bound outside"
        parts.append(_shape("line", css, x1=label.x, x2=label.x, y1=y + 3, y2=base))
        parts.append(_text("bound", label.x + (3 if label.anchor == "start" else -3), y, label.anchor, label.text))
    if most:
        x, anchor = (PLOT_LEFT + width - 3, "end") if peak_left else (PLOT_LEFT + 3, "start")
        parts.append(_text("tick", x, top + 12, anchor, figures.compact(most).replace(" ", "")))
    total = sum(data.kept) + sum(data.dropped)
    bounds = ", ".join(f"{t.rule} {bound(t)}" for t in data.thresholds) or "none"
    label_text = f"{data.signal}: {total:,} documents, {sum(data.dropped):,} of them dropped; thresholds: {bounds}"
    view = f"0 0 {width + 2 * PLOT_LEFT:g} {base + 20:g}"
    return tag("svg", *parts, class_="histogram", viewBox=view, role="img", aria_label=label_text)


def figure(data: Histogram) -> Html:
    """Draw a histogram with its name, its unit and the rules of its bounds."""
    total = sum(data.kept) + sum(data.dropped)
    nulls = figures.plural(data.nulls, "document") + " without a value" if data.nulls else ""
    unit = " · ".join(part for part in (data.unit, "log scale" if data.log else "") if part)
    caption = tag("figcaption", tag("b", identifier(data.signal)), tag("span", unit, class_="muted"))
    drawn = histogram(data) if total or data.thresholds else tag("p", "No values.", class_="note")
    bounds = [
        join([tag("dt", bound(item)), tag("dd", identifier(item.rule))])
        for item in sorted(data.thresholds, key=_bound_order)
    ]
    listed = tag("dl", *bounds, class_="bounds") if bounds else None
    return tag("figure", caption, drawn, listed, tag("p", nulls, class_="note") if nulls else None)


def legend(slices: Sequence[tuple[str, str]]) -> Html:
    """Draw the key of a chart: (CSS class, name) pairs."""
    return tag("ul", *(tag("li", join([tag("i", class_=css), escape(name)])) for css, name in slices), class_="legend")


def bound(threshold: Threshold) -> str:
    """Write a threshold as what it keeps: ≥ 50."""
    return f"{'≥' if threshold.side == 'min' else '≤'} {figures.number(threshold.value)}"


class _Scale:
    """Where a value lies on the x axis of a histogram."""

    def __init__(self, data: Histogram) -> None:
        self.edges = [float(edge) for edge in data.edges]
        positive = [edge for edge in self.edges if edge > 0]
        self.log = data.log and len(positive) >= 2 and math.log10(positive[-1]) - math.log10(positive[0]) > 1e-9
        self.floor = positive[0] if positive else 1.0
        if self.log:
            bins_up = len(positive) - 1
            # values at or below zero get one bin's width, left of the smallest positive edge
            stub = (
                (math.log10(positive[-1]) - math.log10(self.floor)) / bins_up if len(positive) < len(self.edges) else 0
            )
            self.low, self.high = math.log10(self.floor) - stub, math.log10(positive[-1])
        else:
            self.low, self.high = (self.edges[0], self.edges[-1]) if self.edges else (0.0, 1.0)
            if self.high - self.low < 1e-290:  # one value only (or as good as): put it in the middle
                self.low, self.high = self.low - 0.5, self.low + 0.5

    def place(self, value: float) -> float:
        """Return x; values outside the edges are put on the side they lie on."""
        if math.isnan(value):
            return PLOT_LEFT
        at = value if not self.log else math.log10(value) if value >= self.floor else self.low
        return PLOT_LEFT + PLOT[0] * min(max((at - self.low) / (self.high - self.low), 0.0), 1.0)

    def covers(self, value: float) -> bool:
        return bool(self.edges) and self.edges[0] <= value <= self.edges[-1]

    def ticks(self) -> list[tuple[float, float]]:
        """Return round values and where they lie, at most seven."""
        if not self.edges:
            return []
        if self.log:
            low, high = math.ceil(math.log10(self.floor) - 1e-9), math.floor(self.high + 1e-9)
            step = max(1, math.ceil((high - low + 1) / 6))
            values = [10.0**power for power in range(low, high + 1, step)]
            if self.edges[0] <= 0:
                values.insert(0, 0.0)
        else:
            step_size = _round_step((self.high - self.low) / 5)
            first, last = math.ceil(self.low / step_size - 1e-9), math.floor(self.high / step_size + 1e-9)
            values = [index * step_size for index in range(first, last + 1)]
        placed: list[tuple[float, float]] = []
        for value in values:
            if not placed or self.place(value) - placed[-1][1] >= TICK_ROOM:
                placed.append((value, self.place(value)))
        return placed


@dataclass(frozen=True)
class _ThresholdLabel:
    threshold: Threshold
    x: float
    text: str
    anchor: str
    start: float
    end: float
    inside: bool

    @staticmethod
    def place(scale: _Scale, threshold: Threshold) -> _ThresholdLabel:
        x = scale.place(threshold.value)
        text = bound(threshold)
        inside = scale.covers(threshold.value)
        if not inside:
            text += " (outside)"
        width = CHARACTER * len(text) + 4
        # beside the side that is kept, unless the plot ends there
        anchor = "start" if threshold.side == "min" else "end"
        if anchor == "start" and x + width > PLOT_LEFT + PLOT[0]:
            anchor = "end"
        elif anchor == "end" and x - width < 0:
            anchor = "start"
        start, end = (x, x + width) if anchor == "start" else (x - width, x)
        return _ThresholdLabel(threshold, x, text, anchor, start, end, inside)


def _lanes(spans: Sequence[tuple[float, float]]) -> list[int]:
    """Give each span the first line in which it overlaps no earlier one."""
    taken: list[list[tuple[float, float]]] = []
    lanes: list[int] = []
    for start, end in spans:
        for lane, others in enumerate(taken):
            if all(end < other[0] or start > other[1] for other in others):
                others.append((start, end))
                lanes.append(lane)
                break
        else:
            taken.append([(start, end)])
            lanes.append(len(taken) - 1)
    return lanes


def _bin(scale: _Scale, index: int, kept: int, dropped: int, most: int, base: float, height: float) -> list[Html]:
    left, right = scale.place(scale.edges[index]), scale.place(scale.edges[index + 1])
    if right <= left:
        left, right = left - 5, left + 5
    wide = max(right - left - (1.0 if right - left > 3 else 0.0), 0.5)
    said = f"{figures.number(scale.edges[index])} to {figures.number(scale.edges[index + 1])}: "
    said += f"{kept:,} kept, {dropped:,} dropped"
    shapes: list[Html] = []
    y = base
    for css, value in (("kept", kept), ("dropped", dropped)):
        if value:
            tall = max(height * value / most, 1.0)
            y -= tall
            shapes.append(_shape("rect", css, said, x=left, y=y, width=wide, height=tall))
    return shapes


def _ribbon(points: Sequence[tuple[float, float, float]], css: str, title: str, upright: bool) -> Html:
    """Draw a band between two ends (along, inner, outer): straight when level, an S curve otherwise."""
    (a0, i0, o0), (a1, i1, o1) = points
    middle = (a0 + a1) / 2

    def at(along: float, across: float) -> str:
        x, y = (across, along) if upright else (along, across)
        return f"{x:.2f} {y:.2f}"

    path = (
        f"M{at(a0, i0)}C{at(middle, i0)} {at(middle, i1)} {at(a1, i1)}"
        f"L{at(a1, o1)}C{at(middle, o1)} {at(middle, o0)} {at(a0, o0)}Z"
    )
    return tag("path", tag("title", title), class_=css, d=path)


def _thickness(value: float, whole: float) -> float:
    return max(FLOW_BAND * value / whole, FLOW_HAIRLINE) if value > 0 else 0.0


def _rect(css: str, x: str, width: str, title: str) -> Html:
    return tag("rect", tag("title", title), class_=css, x=x, width=width, height="100%")


def _shape(name: str, css: str, title: str = "", **coordinates: float) -> Html:
    made = {key: f"{value:.2f}" for key, value in coordinates.items()}
    return tag(name, tag("title", title) if title else None, class_=css, **made)


def _text(css: str, x: float, y: float, anchor: str, text: str) -> Html:
    return tag("text", text, class_=css, x=f"{x:.2f}", y=f"{y:.2f}", text_anchor=anchor)


def _percent(value: float) -> str:
    return f"{max(0.0, min(value, 100.0)):.3f}%"


def _order(threshold: Threshold) -> tuple[float, str]:
    return (threshold.value, threshold.side)


def _bound_order(threshold: Threshold) -> tuple[float, str, str]:
    return (threshold.value, threshold.side, threshold.rule)


def _tick(value: float) -> str:
    for step, suffix in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= step:
            return f"{value / step:.4g}{suffix}"
    return f"{value:.4g}"


def _round_step(rough: float) -> float:
    """Return the smallest of 1, 2, 5 times a power of ten that is not below `rough`."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * (1 - 1e-9))
