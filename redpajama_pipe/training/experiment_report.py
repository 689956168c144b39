"""The results of an experiment as results.json, results.md and SVG plots; every number with its error and its n."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from redpajama_pipe import storage
from redpajama_pipe.report import figures
from redpajama_pipe.report.markup import Html, tag
from redpajama_pipe.training import experiment_measures as measures
from redpajama_pipe.training.experiment_measures import PARTS, Mean

COLOURS = ("#1b6ca8", "#c8553d", "#4f772d", "#7b5ea7")
_VALUES = ("memorised", "score", "loss")
_STYLE = "text{font:12px sans-serif;fill:#333}.title{font-weight:bold}line.axis{stroke:#777}line.grid{stroke:#ddd}"
_DRAWN = {"weights": "the initial weights", "order": "the order of the documents"}
_CAUTIONS = (
    "The texts that stand in the corpus most often are planted: their number and their copies were chosen, and "
    "they differ from other texts in their length. Two groups of exposure differ in their texts too.",
    "The model is so small, and is trained so shortly, that no size of Pythia can be compared: whether larger models "
    "gain or lose by deduplication, or from a larger batch, is not answered.",
    "Deduplication here drops whole documents. Passages that several documents share stay, so a held-out document that "
    "is not contaminated may still share passages with training.",
    "With the batch doubled, the updates are half as many at the same peak of the learning rate; a rate tuned for each "
    "batch may turn a difference around.",
)


def aggregate(scored: Sequence[Mapping[str, Any]], threshold: float) -> dict[str, Any]:
    """Average the answers of all models.

    Args:
        scored: one entry a model: setting, arm, seed, contaminated, nats, predicted, probes.
        threshold: of contamination, to be told.

    Returns:
        held_out: setting → documents → Mean; dedup_gain: the same of deduped minus standard, seed by seed;
        by_exposure, by_copies, by_part: setting → group → texts and Mean of memorised, score and loss; elsewhere:
        setting → part → Mean of the loss against the same texts, read elsewhere by other seeds.
    """
    settings = list(dict.fromkeys(entry["setting"] for entry in scored))
    losses = {name: {"all": dict[int, float](), "decontaminated": dict[int, float]()} for name in settings}
    for entry in scored:
        for kind in ("all", "decontaminated"):
            inside = [kind == "all" or not dirty for dirty in entry["contaminated"]]
            losses[entry["setting"]][kind][entry["seed"]] = token_mean(entry["nats"], entry["predicted"], inside)
    found: dict[str, Any] = {
        "threshold": threshold,
        "seeds": sorted({entry["seed"] for entry in scored}),
        "held_out": {
            name: {kind: vars(measures.mean(list(values.values()))) for kind, values in kinds.items()}
            for name, kinds in losses.items()
        },
    }
    if {"standard", "deduped"} <= losses.keys():
        found["dedup_gain"] = {
            kind: vars(measures.difference(losses["deduped"][kind], losses["standard"][kind]))
            for kind in ("all", "decontaminated")
        }
    keys: dict[str, Callable[[Mapping[str, Any]], str | None]] = {
        "by_exposure": by_exposure,
        "by_copies": by_copies,
        "by_part": by_part,
    }
    for name, key in keys.items():
        found[name] = {setting: _groups(scored, setting, key) for setting in settings}
    found["elsewhere"] = {setting: _elsewhere(scored, setting) for setting in settings}
    return found


def token_mean(nats: Sequence[float], predicted: Sequence[int], inside: Sequence[bool]) -> float:
    """Divide the loss of some documents by their predicted ids, so that each id weighs the same.

    Raises:
        ValueError: no id is predicted.
    """
    total = sum(count for count, take in zip(predicted, inside, strict=True) if take)
    if not total:
        raise ValueError("no held-out id to take the loss of; hold more documents out")
    return sum(loss for loss, take in zip(nats, inside, strict=True) if take) / total


def by_exposure(row: Mapping[str, Any]) -> str | None:
    """Group a probe by how often its model read it; never: held-out texts only, as near-duplicates may be read."""
    if row["exposure"] == 0 and not row["held_out"]:
        return None
    return measures.exposure_group(row["exposure"])


def by_copies(row: Mapping[str, Any]) -> str | None:
    """Group a probe by how often it stands in the corpus, before deduplication."""
    return None if row["held_out"] and row["copies"] else measures.exposure_group(row["copies"])


def by_part(row: Mapping[str, Any]) -> str | None:
    """Group a probe that was read once, in one sequence, by when that was."""
    return row["part"] if row["once"] else None


def _groups(
    scored: Sequence[Mapping[str, Any]], setting: str, key: Callable[[Mapping[str, Any]], str | None]
) -> dict[str, Any]:
    mine = [entry for entry in scored if entry["setting"] == setting]
    values = {
        value: measures.over_seeds({entry["seed"]: measures.grouped(entry["probes"], key, value) for entry in mine})
        for value in _VALUES
    }
    return {
        name: {"texts": texts, **{value: vars(found[name][0]) for value, found in values.items()}}
        for name, (_, texts) in values["score"].items()
    }


def _elsewhere(scored: Sequence[Mapping[str, Any]], setting: str) -> dict[str, Any]:
    mine = {entry["seed"]: entry["probes"] for entry in scored if entry["setting"] == setting}
    rows = {
        seed: [{"part": probe["part"], "by": by} for probe, by in zip(mine[seed], found, strict=True) if by is not None]
        for seed, found in measures.against_elsewhere(mine).items()
    }
    grouped = {seed: measures.grouped(some, lambda row: row["part"], "by") for seed, some in rows.items()}
    return {part: vars(mean) for part, (mean, _) in measures.over_seeds(grouped).items()}


def write(results: Mapping[str, Any], folder: Path) -> list[str]:
    """Write results.md with its plots, and results.json; returns the names, what is to be read first at the front."""
    exposure = sorted({name for rows in results["by_exposure"].values() for name in rows}, key=measures.group_order)
    copies = sorted({name for rows in results["by_copies"].values() for name in rows}, key=measures.group_order)
    plots = {
        "exposure.svg": ("by_exposure", exposure, "loss", "Loss of the continuation in nats, by times read"),
        "copies.svg": ("by_copies", copies, "loss", "Loss of the continuation in nats, by copies in the corpus"),
        "order.svg": ("by_part", list(PARTS), "loss", "Loss of the continuation of texts read once, in nats"),
    }
    for name, (table, groups, value, title) in plots.items():
        series = {
            setting: [Mean(**rows[group][value]) if group in rows else None for group in groups]
            for setting, rows in results[table].items()
        }
        storage.write_bytes(str(folder / name), draw(title, groups, series).encode())
    text = json.dumps(results, indent=1, ensure_ascii=False) + "\n"
    storage.write_bytes(str(folder / "results.json"), text.encode())
    storage.write_bytes(str(folder / "results.md"), render(results).encode())
    return ["results.md", *plots, "results.json"]


def render(results: Mapping[str, Any]) -> str:
    """Write the results as Markdown."""
    corpus, machine, seeds = results["corpus"], results["machine"], len(results["seeds"])
    device = machine["gpu"] or f"{machine['cores']}-core CPU machine"
    lines = [
        f"# {results['title']}",
        "",
        f"{device}, torch {machine['torch']}. {results['tokens']:,} tokens for every model, "
        f"{figures.plural(seeds, 'seed')} of {_drawn(results)}; mean ± standard error over seeds.",
        "",
        f"Corpus: {corpus['training']:,} training documents, {corpus['planted_copies']:,} of them further copies of "
        f"{corpus['planted_texts']:,} planted texts; {corpus['held_out']:,} held out, {corpus['contaminated']:,} of "
        f"them with a training document of Jaccard similarity {results['threshold']:g} or more.",
        "",
        *_table(
            ("arm", "steps", "epochs"),
            [(arm, f"{each['steps']:,}", f"{each['epochs']:g}") for arm, each in results["schedules"].items()],
        ),
        "",
        "## Held-out loss, in nats an id",
        "",
        *_table(
            ("models", "n", "all documents", "decontaminated"),
            [
                (name, kinds["all"]["n"], Mean(**kinds["all"]), Mean(**kinds["decontaminated"]))
                for name, kinds in results["held_out"].items()
            ],
        ),
    ]
    if "dedup_gain" in results:
        gain = {kind: Mean(**value) for kind, value in results["dedup_gain"].items()}
        lines += [
            "",
            f"Deduped minus standard, seed by seed: {gain['all']} on all, {gain['decontaminated']} on the "
            "decontaminated ones. Below 0: deduplication helps.",
        ]
    length = f"{results['settings']['prompt']} ids given, {results['settings']['continuation']} decoded greedily"
    recency = (
        "Texts that a sequence's end cut are left out. An effect of recency shows as a lower loss later. The groups "
        "are other texts; `against elsewhere` is free of that: the loss minus that of the same texts in models of "
        "other seeds, which read them once in another place."
    )
    sections = (
        (
            "by_exposure",
            "Memorisation by exposure",
            f"How often the model itself read it; {length}.",
            "read",
            "exposure",
        ),
        ("by_copies", "Memorisation by copies in the corpus", "Before deduplication.", "copies", "copies"),
        ("by_part", "Order: texts read once, by when", recency, "when", "order"),
    )
    for key, title, note, first, plot in sections:
        rows = [
            (setting, group, f"{row['texts']:g}", row["score"]["n"], *(Mean(**row[value]) for value in _VALUES))
            for setting, groups in results[key].items()
            for group, row in sorted(groups.items(), key=lambda item: _place(item[0]))
        ]
        header = ["models", first, "texts", "n", "memorised", "ids given back", "loss"]
        if key == "by_part":
            header.append("against elsewhere")
            rows = [(*row, _signed(results["elsewhere"][row[0]].get(row[1]))) for row in rows]
        lines += ["", f"## {title}", "", note, "", *_table(header, rows), "", f"![{title}, the loss]({plot}.svg)"]
    lines += ["", "## What cannot be concluded", "", *(f"- {caution}" for caution in _cautions(results))]
    if seeds < 3:
        lines.append(f"- {figures.plural(seeds, 'seed')}: the errors say next to nothing.")
    return "\n".join(lines) + "\n"


def _drawn(results: Mapping[str, Any]) -> str:
    return " and ".join(_DRAWN[each] for each in _DRAWN if each in results["settings"]["vary"])


def _signed(value: Mapping[str, Any] | None) -> str:
    return "–" if value is None else f"{'+' if value['mean'] > 0 else ''}{Mean(**value)}"


def _cautions(results: Mapping[str, Any]) -> list[str]:
    fixed = [_DRAWN[each] for each in _DRAWN if each not in results["settings"]["vary"]]
    same = ["the corpus", "the draw of held-out documents", "the choice of planted texts", *fixed]
    spread = (
        f"Each ± is the standard error over seeds of {_drawn(results)}. {', '.join(same[:-1]).capitalize()} and "
        f"{same[-1]} are the same for all, so it says nothing of others."
    )
    return [spread, *_CAUTIONS]


def _place(group: str) -> int:
    return list(PARTS).index(group) if group in PARTS else measures.group_order(group)


def _table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    return [
        f"| {' | '.join(header)} |",
        f"|{'|'.join('---' if at == 0 else '---:' for at in range(len(header)))}|",
        *(f"| {' | '.join(map(str, row))} |" for row in rows),
    ]


def draw(title: str, groups: Sequence[str], series: Mapping[str, Sequence[Mean | None]]) -> Html:
    """Draw means with error bars over named groups, one line a series, as an SVG file of its own."""
    left, right, top, height, width = 50.0, 20.0, 34.0, 220.0, 560.0
    found = [value for values in series.values() for value in values if value]
    high = max((value.mean + (value.error or 0) for value in found), default=1.0)
    low = min((value.mean - (value.error or 0) for value in found), default=0.0)
    low = min(0.0, low) if low < 0.4 * high else low - 0.1 * (high - low)
    span = (high - low) or 1.0
    step = (width - left - right) / max(len(groups), 1)

    def x(at: int, shift: float) -> str:
        return f"{left + step * (at + 0.5) + shift:.2f}"

    def y(value: float) -> str:
        return f"{top + height * (1 - (value - low) / span):.2f}"

    parts = [tag("style", Html(_STYLE)), tag("text", title, x=left, y=18, class_="title")]
    for tick in range(5):
        level = low + span * tick / 4
        parts.append(tag("line", class_="grid", x1=left, x2=width - right, y1=y(level), y2=y(level)))
        parts.append(tag("text", f"{level:.2f}", x=left - 6, y=y(level), text_anchor="end", dy=4))
    for at, group in enumerate(groups):
        parts.append(tag("text", group, x=x(at, 0), y=top + height + 18, text_anchor="middle"))
    for number, (name, values) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        shift = 5.0 * (number - (len(series) - 1) / 2)
        points = [(x(at, shift), value) for at, value in enumerate(values) if value]
        line = " ".join(f"{place},{y(value.mean)}" for place, value in points)
        parts.append(tag("polyline", points=line, fill="none", stroke=colour))
        for place, value in points:
            error = value.error or 0.0
            ends = {"y1": y(value.mean - error), "y2": y(value.mean + error)}
            parts.append(tag("line", x1=place, x2=place, **ends, stroke=colour))
            parts.append(tag("circle", tag("title", f"{name}: {value}"), cx=place, cy=y(value.mean), r=3, fill=colour))
        below = top + height + 40 + 16 * number
        parts.append(tag("rect", x=left, y=below - 9, width=10, height=10, fill=colour))
        parts.append(tag("text", name, x=left + 16, y=below))
    box = f"0 0 {width:g} {top + height + 44 + 16 * len(series):g}"
    return tag("svg", *parts, xmlns="http://www.w3.org/2000/svg", viewBox=box, role="img", aria_label=title)
