"""Everything the HTML report shows, as plain values.

Stages fill these from Spark aggregates; `html.render` draws them. Nothing here computes, reads files or knows Spark, so
a report can be made from any source of the same figures. None always means "not known" and is shown as a dash, never 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

# The order in which a document meets the stages that can drop it. Other keys of `FunnelRow.dropped` come after these.
DROP_STAGES = ("filter", "exact_dedup", "near_dedup")


@dataclass(frozen=True)
class FunnelRow:
    """What became of the documents of one source, of one language, or of the whole run.

    documents_in = quarantined + sum(dropped.values()) + kept; the report says so when it does not hold.

    Attributes:
        kind: what `name` names. Quarantined records have no language, so they are in the totals and sources only.
        name: the source, the language code, or for `total` the recipe.
        documents_in: records that should have become documents, the quarantined ones included.
        dropped: stage → documents, counted under the first rule that drops them.
        tokens: None before tokenising.
        bytes_in: UTF-8 bytes of text of the documents that could be read.
        bytes_kept: the same of those that stay.
    """

    kind: Literal["total", "source", "language"]
    name: str
    documents_in: int
    quarantined: int
    dropped: Mapping[str, int]
    kept: int
    tokens: int | None = None
    bytes_in: int | None = None
    bytes_kept: int | None = None


@dataclass(frozen=True)
class RuleRow:
    """How much one rule drops. dropped_only <= dropped_first <= dropped_any.

    Attributes:
        stage: filter, exact_dedup, near_dedup, repeated_lines or decontaminate.
        keep: the SQL predicate that a kept document satisfies, or words that say the same.
        dropped_first: documents counted under this rule.
        dropped_any: documents that it drops or would have dropped; None: not counted.
        dropped_only: documents that no other rule drops; None: not counted.
        citation: where the rule was published.
    """

    stage: str
    rule: str
    keep: str
    dropped_first: int
    dropped_any: int | None = None
    dropped_only: int | None = None
    citation: str = ""


@dataclass(frozen=True)
class CutRow:
    """What one rule takes out of documents, or replaces in them, as it stands in the decisions.

    Attributes:
        rule: rule set, cut and the reason of the spans; of dedup or decontaminate their own names.
        documents: how many it changes; one that a later stage drops is among them.
        spans: how many pieces it takes out or replaces.
        bytes: of UTF-8 in them.
        stage: filter, dedup or decontaminate.
        read: documents, of `documents`, whose texts were read for `ReportData.cut_texts`.
    """

    rule: str
    documents: int
    spans: int
    bytes: int
    stage: str = "filter"
    read: int = 0


@dataclass(frozen=True)
class CutText:
    """A text that one rule takes out often, counted in the documents that were read for it (`CutRow.read`).

    Attributes:
        text: white space joined; what is replaced is shown by its shape, as it may be somebody's address.
        copies: how often it was taken out, in how many `documents`.
        replacement: what stands there now; None: nothing.
        doc_id: a document that lost it; kept_doc_id: the one that has the copy that stays, if one does.
    """

    rule: str
    text: str
    copies: int
    documents: int
    doc_id: str
    replacement: str | None = None
    kept_doc_id: str | None = None


@dataclass(frozen=True)
class TaskRow:
    """What of one evaluation set was found in the documents that filter and dedup left.

    Attributes:
        name: the set.
        examples: in it.
        too_short: of these, not looked for.
        ngrams: different ones that were looked for.
        documents: dropped or cut because of it.
        examples_hit: of which a document had enough.
        common: n-grams passed over because they are in too many documents; None: none are.
        sources: source → documents dropped or cut.
        example: a document, the example it holds, and the first words of it that matched; None: nothing was found.
    """

    name: str
    examples: int
    too_short: int
    ngrams: int
    documents: int
    examples_hit: int
    common: int | None = None
    sources: Mapping[str, int] = field(default_factory=dict)
    example: tuple[str, str, str] | None = None


@dataclass(frozen=True)
class QuarantineRow:
    """Records of one source that could not be read for one reason, with one example."""

    source: str
    reason: str
    count: int
    example_location: str = ""
    example_detail: str = ""


@dataclass(frozen=True)
class SkippedRow:
    """Records that are not documents by their kind (a request, a redirect page): neither in nor quarantined."""

    source: str
    kind: str
    count: int


@dataclass(frozen=True)
class Threshold:
    """One bound that one rule puts on a signal: `min` keeps values >= value, `max` keeps values <= value."""

    rule: str
    value: float
    side: Literal["min", "max"]


@dataclass(frozen=True)
class Histogram:
    """The distribution of one signal over the documents that reached the filter.

    Attributes:
        signal: its column name.
        unit: words, characters, fraction …; empty: a bare number.
        edges: bin edges, finite and increasing, one more than there are bins. Values outside belong to the outer bins.
        kept: documents a bin that the filter keeps.
        dropped: documents a bin that it drops, for whatever rule.
        thresholds: drawn in; a bound outside the edges is drawn at the side it lies on.
        nulls: documents for which the signal has no value.
        log: draw x on a log scale; bins at or below zero take one place left of the scale.
    """

    signal: str
    unit: str
    edges: Sequence[float]
    kept: Sequence[int]
    dropped: Sequence[int]
    thresholds: Sequence[Threshold] = ()
    nulls: int = 0
    log: bool = False


@dataclass(frozen=True)
class DocCard:
    """One document as people meet it; `text` is an excerpt (worddiff.LIMIT characters of it are compared)."""

    doc_id: str
    source: str
    text: str
    url: str | None = None
    title: str | None = None


@dataclass(frozen=True)
class Cluster:
    """Documents that near-duplicate one kept document, with one of the dropped ones as the example.

    Attributes:
        size: documents, the kept one included.
        similarity_min: exact Jaccard of the dropped documents with the kept one; likewise mean and max.
        example_similarity: that of the example.
    """

    size: int
    similarity_min: float
    similarity_mean: float
    similarity_max: float
    kept: DocCard
    example: DocCard
    example_similarity: float | None = None


@dataclass(frozen=True)
class DuplicateRow:
    """One kind of duplicate.

    Attributes:
        rule: of its decisions.
        part: the funnel's name of what it belongs to: exact_dedup, near_dedup or repeated_lines.
        sources: source → documents dropped.
        similarity: least, mean and greatest of its decisions; None: it has none, or nothing was dropped.
    """

    rule: str
    part: str
    sources: Mapping[str, int]
    similarity: tuple[float, float, float] | None = None

    @property
    def documents(self) -> int:
        return sum(self.sources.values())


@dataclass(frozen=True)
class SizeRow:
    """Groups of `low` to `high` documents: how many there are, and how many documents are in them all."""

    low: int
    high: int
    groups: int
    documents: int


@dataclass(frozen=True)
class PairRow:
    """How many documents of `source` were dropped for one of `kept`, which is a source of this run."""

    source: str
    kept: str
    exact: int
    near: int


@dataclass(frozen=True)
class IndexRow:
    """What was dropped because an earlier corpus has it: `name` is where its index was, `hash` that of its manifest."""

    name: str
    hash: str
    equal: int
    near: int


@dataclass(frozen=True)
class Duplicates:
    """What deduplication dropped, and for what.

    Attributes:
        kinds: every kind that the recipe asks for, those without a document too.
        threshold: the similarity from which a document is dropped; None: a shared band will do.
        similarity: of near-duplicates with the document that is named as kept; `dropped` counts them, the unit is what
            was measured.
        groups: by how many documents were dropped for one: the class is of `duplicate_count`.
        components: by how many documents hung together when they were compared; those with a dropped one only.
        pairs: whose documents were dropped for whose; none without a document.
        indexes: in the order of the recipe.
    """

    kinds: Sequence[DuplicateRow] = ()
    threshold: float | None = None
    similarity: Histogram | None = None
    groups: Sequence[SizeRow] = ()
    components: Sequence[SizeRow] = ()
    pairs: Sequence[PairRow] = ()
    indexes: Sequence[IndexRow] = ()


@dataclass(frozen=True)
class TokenRow:
    """Kept documents and their tokens for one language of one source."""

    language: str
    source: str
    documents: int
    tokens: int


@dataclass(frozen=True)
class ScheduleRow:
    """One training schedule. `seen`: how many times → how many documents are seen that often, 0 included."""

    epochs: float
    mode: str
    steps: int
    samples: int
    tokens: int
    seen: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class ShardRow:
    """One token shard, as its manifest has it; `bytes` and `sha256` are those of the .bin file."""

    name: str
    sequences: int
    tokens: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class StageRow:
    """How long one stage took. `rate` is bytes of text a second; None: not measured, or the stage was skipped."""

    name: str
    seconds: float
    documents: int | None = None
    bytes: int | None = None
    rate: float | None = None


@dataclass(frozen=True)
class ReportData:
    """The whole report. An empty list leaves its section out, and the last line of the page says so.

    Sources, histograms, clusters, tasks, schedules, shards and stages are drawn in the order given; languages, rules,
    cuts, quarantine and tokens with the largest first.

    Attributes:
        created: when the run was made, as it should be shown; the report never asks the clock.
        totals: the whole run; a FunnelRow of kind `total`.
        funnel: rows of kind `source` and `language`.
        facts: whatever else identifies the run (recipe hash, code version), shown under the title.
    """

    recipe_name: str
    title: str
    created: str
    totals: FunnelRow
    funnel: Sequence[FunnelRow] = ()
    rules: Sequence[RuleRow] = ()
    cuts: Sequence[CutRow] = ()
    cut_texts: Sequence[CutText] = ()
    tasks: Sequence[TaskRow] = ()
    quarantine: Sequence[QuarantineRow] = ()
    skipped: Sequence[SkippedRow] = ()
    histograms: Sequence[Histogram] = ()
    duplicates: Duplicates | None = None
    clusters: Sequence[Cluster] = ()
    tokens: Sequence[TokenRow] = ()
    schedules: Sequence[ScheduleRow] = ()
    shards: Sequence[ShardRow] = ()
    stages: Sequence[StageRow] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
