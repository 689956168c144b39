"""The limits of filtering and deduplication: what they may not exceed without a line in the recipe.

A bucket, a component or a loss far out of proportion is a sign of boilerplate, of a broken extractor or of a wrong
setting, and the harm is silent: one source is gone. So each limit stops the run before anything is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from redpajama_pipe.errors import GateError, ReconcileError


@dataclass(frozen=True)
class Loss:
    """What a stage does to one source or language: `dropped` of `documents`."""

    name: str
    documents: int
    dropped: int

    @property
    def share(self) -> float:
        """Dropped documents of all, in [0, 1]; 0 when there are none."""
        return self.dropped / self.documents if self.documents else 0.0


def check_shares(losses: Iterable[Loss], limit: float, *, key: str, group: str = "source", hint: str = "") -> None:
    """Stop when a source, or a language, would lose more than its limit.

    Args:
        losses: one for each source, before and after the stage.
        limit: the largest share that may be dropped, inclusive; 0 means that nothing may.
        key: the recipe key that holds the limit, such as `dedup.max_dropped_share`.
        group: what `Loss.name` names: `source` or `language`.
        hint: what the reader should know besides, such as the rules that drop most.

    Raises:
        GateError: it lists those over the limit, the greatest share first.
        ReconcileError: more documents are dropped than there were.
    """
    rows = sorted(losses, key=lambda loss: (-loss.share, loss.name))
    for loss in rows:
        if not 0 <= loss.dropped <= loss.documents:
            raise ReconcileError(f"{group} {loss.name}: {loss.dropped:,} of {loss.documents:,} documents dropped")
    over = [loss for loss in rows if loss.share > limit]
    if not over:
        return
    listed = "; ".join(
        f"{group} {loss.name}: {loss.dropped:,} of {loss.documents:,} documents, {_percent(loss.share)}"
        for loss in over
    )
    raise GateError(
        f"too much would be dropped ({len(over)} over the limit of {_percent(limit)}, {len(rows)} in all): {listed}. "
        f"{hint}Read some of the decisions; if they are right, set {key}={_allowing(over[0].share)} or more"
    )


def check_bucket(band: int, documents: int, examples: Sequence[bytes], limit: int) -> None:
    """Stop when the largest LSH bucket holds more than `limit` documents; `examples` are a few of their ids."""
    if documents > limit:
        raise GateError(
            f"band {band}: {documents:,} documents share one key, more than dedup.max_bucket={limit:,}; "
            f"among them {_ids(examples)}. This is mostly boilerplate: look at these documents and filter them, "
            f"or set dedup.max_bucket={documents} to go on",
            examples,
        )


def check_component(documents: int, over: int, examples: Sequence[bytes], limit: int) -> None:
    """Stop when the largest component holds more than `limit` documents; `over` is how many components do."""
    if documents > limit:
        raise GateError(
            f"{documents:,} documents hang together by shared bands, more than dedup.max_component={limit:,} "
            f"({over:,} such component{'s' if over > 1 else ''}); among them {_ids(examples)}. Fewer rows in a band or "
            f"boilerplate make such chains: look at these documents, use more rows a band, "
            f"or set dedup.max_component={documents} to go on",
            examples,
        )


def _percent(share: float) -> str:
    # never rounded up: 859,090 of 859,092 must not read as everything
    return f"{int(share * 100_000 + 1e-6) / 1000:g} %"


def _allowing(share: float) -> str:
    return f"{min(1.0, (int(share * 1000) + 1) / 1000):g}"


def _ids(examples: Sequence[bytes]) -> str:
    return ", ".join(example.hex() for example in examples)
