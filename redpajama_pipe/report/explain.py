"""The life of one document, for the terminal: where it came from, what was measured, what was decided, where it is now.

At most WIDTH columns. Differences from the twin are written as git writes them, [-only here-] {+only there+}, and
coloured if asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from redpajama_pipe.report import figures, terminal, worddiff
from redpajama_pipe.report.terminal import clean, paint

WIDTH = 100
LABEL = 12  # columns of the labels on the left
EXCERPT_LINES = 8
DIFF_LINES = 24

Value = str | int | float | bool | None


@dataclass(frozen=True)
class RuleTest:
    """One rule on one signal. `passed`: None when the rule could not be decided because the signal has no value."""

    rule: str
    keep: str
    passed: bool | None


@dataclass(frozen=True)
class SignalValue:
    """One signal of the document and the rules that test it."""

    name: str
    value: Value
    unit: str = ""
    rules: Sequence[RuleTest] = ()


@dataclass(frozen=True)
class DecisionRow:
    """One row of the decisions table. `rank` 0 is the one that the document is counted under."""

    stage: str
    rule: str
    action: str
    rank: int
    evidence: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Twin:
    """The kept document that this one duplicates, or for a kept document one that was dropped for it."""

    doc_id: str
    source: str
    url: str | None
    similarity: float | None
    excerpt: str


@dataclass(frozen=True)
class TokenPlace:
    """Where the document's tokens are: counted in tokens from the shard's start."""

    shard: str
    offset: int
    length: int


@dataclass(frozen=True)
class Explanation:
    """Everything that is known of one document.

    Attributes:
        provenance: what ingest knows, in the order in which it should be shown.
        excerpt: the beginning of the text; EXCERPT_LINES of it are shown, worddiff.LIMIT characters are compared.
        fate: `kept`, or `dropped by` and the rule.
    """

    doc_id: str
    fate: str
    provenance: Mapping[str, Value] = field(default_factory=dict)
    excerpt: str = ""
    signals: Sequence[SignalValue] = ()
    decisions: Sequence[DecisionRow] = ()
    twin: Twin | None = None
    tokens: TokenPlace | None = None


def render_explanation(data: Explanation, color: bool = False) -> str:
    """Write the explanation as text.

    Returns:
        Lines of at most WIDTH columns, with a newline at the end. The same data gives the same text.
    """
    lines = [*_head(data, color)]
    for heading, section in (
        ("where it came from", list(_provenance(data))),
        ("how it begins", list(_excerpt(data.excerpt))),
        ("what was measured", list(_signals(data, color))),
        ("what was decided", list(_decisions(data, color))),
        ("its twin", list(_twin(data, color))),
        ("where it is now", list(_place(data))),
    ):
        if section:
            lines += ["", paint(heading, "bold", color), *section]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _head(data: Explanation, color: bool) -> Iterator[str]:
    identity = f"document {clean(data.doc_id)}"
    fate = clean(data.fate)
    style = "green" if fate.startswith("kept") else "red"
    room = WIDTH - terminal.width(identity) - 2
    if terminal.width(fate) <= room:
        yield identity + " " * (room + 2 - terminal.width(fate)) + paint(fate, style, color)
    else:
        yield from terminal.wrap(identity, WIDTH)
        yield from (paint(line, style, color) for line in terminal.wrap(fate, WIDTH))
    yield "─" * WIDTH


def _provenance(data: Explanation) -> Iterator[str]:
    for key, value in data.provenance.items():
        yield from _field(key, _say(value))


def _excerpt(text: str) -> Iterator[str]:
    lines: list[str] = []
    for paragraph in text.splitlines():
        lines += terminal.wrap(clean(paragraph), WIDTH - 4)
        if len(lines) > EXCERPT_LINES:
            lines = [*lines[:EXCERPT_LINES], terminal.ELLIPSIS]
            break
    yield from (f"  │ {line}" for line in lines)


def _signals(data: Explanation, color: bool) -> Iterator[str]:
    if not data.signals:
        return
    # names up to 36 columns are shown in full; the values stand in one column
    names = min(max(terminal.width(clean(signal.name)) for signal in data.signals), 36)
    values = min(max(terminal.width(_say(signal.value)) for signal in data.signals), 20)
    for signal in data.signals:
        shown = f"  {terminal.pad(clean(signal.name), names)}  {terminal.pad(_say(signal.value), values, 'r')}"
        yield terminal.truncate(f"{shown}  {clean(signal.unit)}", WIDTH)
        for test in signal.rules:
            mark, style = {True: ("✓", "green"), False: ("✗", "red"), None: ("?", "yellow")}[test.passed]
            said = f"{clean(test.rule)}  keeps  {clean(test.keep)}"
            if test.passed is None:
                said += "  (no value: not decided)"
            for index, line in enumerate(terminal.wrap(said, WIDTH - 6)):
                yield f"    {paint(mark, style, color) if index == 0 else ' '} {line}"


def _decisions(data: Explanation, color: bool) -> Iterator[str]:
    if not data.decisions:
        yield "  nothing: no rule drops it"
        return
    for row in sorted(data.decisions, key=lambda row: row.rank):
        counted = row.rank == 0
        note = "" if counted else "  (as well; not counted here)"
        said = f"{clean(row.action)} by {clean(row.stage)}: {clean(row.rule)}{note}"
        for index, line in enumerate(terminal.wrap(said, WIDTH - 6)):
            mark = "●" if counted else "○"
            yield f"  {paint(mark, 'red' if counted else 'dim', color) if index == 0 else ' '} {line}"
        evidence = ", ".join(f"{clean(str(key))} = {_say_any(value)}" for key, value in row.evidence.items())
        yield from (f"    {line}" for line in terminal.wrap(evidence, WIDTH - 4))


def _twin(data: Explanation, color: bool) -> Iterator[str]:
    twin = data.twin
    if twin is None:
        return
    yield from _field("document", clean(twin.doc_id))
    yield from _field("source", clean(twin.source))
    if twin.url:
        yield from _field("url", clean(twin.url))
    if twin.similarity is not None:
        yield from _field("similarity", f"{twin.similarity:.3f}")
    if not data.excerpt or not twin.excerpt:
        return
    runs = worddiff.compare(data.excerpt, twin.excerpt)
    if all(run.kind != "differ" for run in runs):
        yield from _field("difference", f"none in the first {worddiff.LIMIT:,} characters")
        return
    yield from _field("difference", "[-only in this document-] {+only in its twin+}")
    lines = list(_difference(runs, color))
    yield from (f"  │ {line}" for line in lines[:DIFF_LINES])
    if len(lines) > DIFF_LINES:
        yield f"  │ {terminal.ELLIPSIS}"


def _difference(runs: Sequence[worddiff.Run], color: bool) -> Iterator[str]:
    """Lay the runs out in lines, so that colour codes never count as columns and never cross a line's end."""
    pieces: list[tuple[str, str]] = []
    for run in runs:
        if run.kind == "gap":
            pieces.append((f"⋯{run.words:,} equal words⋯".replace(" ", "\u00a0"), "dim"))
            continue
        if run.kind == "same":
            pieces += [(word, "") for word in clean(run.left).split(" ") if word]
            continue
        for text, opening, closing, style in ((run.left, "[-", "-]", "red"), (run.right, "{+", "+}", "green")):
            words = clean(text).split(" ") if clean(text) else []
            marked = [
                (opening if at == 0 else "") + word + (closing if at + 1 == len(words) else "")
                for at, word in enumerate(words)
            ]
            pieces += [(word, style) for word in marked]
    room = WIDTH - 4
    line, used = "", 0
    for text, style in pieces:
        for part in terminal.wrap(text, room):
            columns = terminal.width(part)
            if used and used + 1 + columns > room:
                yield line
                line, used = "", 0
            line += (" " if used else "") + (paint(part, style, color) if style else part)
            used += columns + (1 if used else 0)
    if line:
        yield line


def _place(data: Explanation) -> Iterator[str]:
    if data.tokens is None:
        return
    place = data.tokens
    yield from _field("shard", clean(place.shard))
    if place.length:
        last = place.offset + place.length - 1
        yield from _field("tokens", f"{place.offset:,} to {last:,} ({figures.plural(place.length, 'token')})")
    else:
        yield from _field("tokens", "none")


def _field(label: str, text: str) -> Iterator[str]:
    """Write a label and its text, continued under itself."""
    head = terminal.pad(clean(label), max(LABEL, min(terminal.width(clean(label)), 24)))
    indent = terminal.width(head) + 4
    for index, line in enumerate(terminal.wrap(text or figures.DASH, WIDTH - indent)):
        yield f"  {head}  {line}" if index == 0 else " " * indent + line


def _say(value: Value) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return clean(value) if isinstance(value, str) else figures.number(value)


def _say_any(value: object) -> str:
    return _say(value) if value is None or isinstance(value, str | int | float) else clean(str(value))
