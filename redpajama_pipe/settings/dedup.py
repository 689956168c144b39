"""The section `dedup`: which copies go, of documents and of lines."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from redpajama_pipe.errors import RecipeError
from redpajama_pipe.settings.limits import NATURAL, SHARE, WHOLE, check_limits


@dataclass(frozen=True)
class Lines:
    """Repeated text inside documents that stay, cut out of them. docs/dedup.md says what each mode keeps.

    Attributes:
        mode: `none`; `first`: of each unit the first copy in keep order stays, in the whole corpus; `ccnet`: a line
            that two documents of a group of files have goes from both, as CCNet does (arXiv:1911.00359); `c4`: all but
            the first copy of any three sentences in a row go, as C4 (arXiv:1910.10683).
        unit: mode first: `line`, or `paragraph`: lines up to a blank one.
        min_chars: mode first: a unit whose normalised text has fewer characters stays: a heading, a brace. No source.
        group_files: mode ccnet: input files of a group, in the order of the corpus; cc_net's default is 50 shards,
            RedPajama-v1 took 1.
    """

    mode: Literal["none", "first", "ccnet", "c4"] = "none"
    unit: Literal["line", "paragraph"] = "line"
    min_chars: int = 20
    group_files: int = 50

    def __post_init__(self) -> None:
        check_limits(self, "dedup.lines", min_chars=WHOLE, group_files=NATURAL)


@dataclass(frozen=True)
class Dedup:
    """Exact, then near-duplicates. docs/dedup.md says what each choice means and costs.

    Attributes:
        exact: drop documents that are equal to a kept one in their text (`text`, or true), their text but for case and
            white space (`normalized_text`), their address (`url`), or the archive's digest of them (`digest`), decided
            in the order of this list.
        near: drop near-duplicates of a kept document, as `verify` and `survivors` define them.
        verify: what two documents that share a band must have at least `threshold` of: `jaccard`, of their shingle
            sets; `containment`, the share of the later one's shingles that the earlier one has; `estimate`, the share
            of equal values in their signatures, for which no text is read; `none`: nothing, a shared band will do.
        threshold: 0.8 as Lee et al. 2021 (arXiv:2107.06499).
        survivors: `walk`: a document is dropped when, and only when, it is a verified near-duplicate of an earlier
            document that stays. `components`: the first document of each connected component stays, as in published
            pipelines; others go although they may resemble it only through a chain.
        keep_order: SQL over the documents' columns; the first document in this order is the one that stays.
            `source_rank` is the position of the source in the recipe. doc_id always breaks ties.
        driver_edges: up to this many edges, components are found on the driver by SciPy.
        component_bytes: a component whose shingles take more is decided from a temporary file. Changes no decision.
        max_component: the run stops when more documents than this hang together.
        max_bucket: the run stops when more documents than this share one band.
        max_dropped_share: the run stops when a source loses more of its documents to deduplication.
        lines: repeated lines and paragraphs inside documents that stay.
        against: earlier runs, or their dedup_index/: a document that equals one of theirs, or is a verified
            near-duplicate of it, is dropped, and theirs stays. They are only read.
        write_index: write dedup_index/ of the documents that stay, for later runs. With `against`, of the new ones.
    """

    exact: bool | tuple[Literal["text", "normalized_text", "url", "digest"], ...] = True
    near: bool = True
    verify: Literal["jaccard", "containment", "estimate", "none"] = "jaccard"
    threshold: float = 0.8
    survivors: Literal["walk", "components"] = "walk"
    keep_order: str = "source_rank, char_count desc"
    driver_edges: int = 5_000_000
    component_bytes: int = 256 << 20
    max_component: int = 100_000
    max_bucket: int = 1_000_000
    max_dropped_share: float = 0.9
    lines: Lines = field(default_factory=Lines)
    against: tuple[str, ...] = ()
    write_index: bool = False

    def __post_init__(self) -> None:
        if len(set(self.exact_keys)) < len(self.exact_keys):
            raise RecipeError(f"dedup.exact: a key is given twice in {', '.join(self.exact_keys)}")
        if not 0.0 < self.threshold <= 1.0:
            raise RecipeError(f"dedup.threshold is {self.threshold:g}; it must be above 0 and at most 1")
        if self.component_bytes < 0:
            raise RecipeError(f"dedup.component_bytes is {self.component_bytes}; 0 puts all shingles into files")
        limits = {"driver_edges": WHOLE, "max_component": NATURAL, "max_bucket": NATURAL, "max_dropped_share": SHARE}
        check_limits(self, "dedup", **limits)

    @property
    def exact_keys(self) -> tuple[str, ...]:
        """What documents are compared by, in order; () for nothing."""
        if isinstance(self.exact, bool):
            return ("text",) if self.exact else ()
        return self.exact
