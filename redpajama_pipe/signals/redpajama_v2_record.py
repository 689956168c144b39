"""RedPajama-V2's published files from columns: one JSON record a document, and the table of MinHash signatures.

A score stands as a triple [start, end, score] in characters: of the whole document, or one for each line. This
makes Python strings, so it is for export, not for filtering.

Source: RedPajama-Data, app/src/core/worker.py and app/src/dedupe/minhash.py.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from redpajama_pipe.signals.redpajama_v2 import SIGNALS

Triple = tuple[int, int, float | None]

# (similarity, bands, rows) of the 128 values that are published.
SIMILARITIES = ((0.7, 14, 9), (0.8, 9, 13), (0.9, 5, 25), (1.0, 1, 128))
CCNET_SIGNALS = ("length", "original_length", "nlines", "original_nlines", "language_score", "perplexity")
_BUCKETS = {"head": 0.0, "middle": 1.0, "tail": 2.0}


@dataclass(frozen=True)
class Place:
    """Where a document stands in CCNet's output.

    Attributes:
        file: from the snapshot on: 2023-06/0000/en_head.json.gz.
        row: its line in the file, from 0.
        segment: the WET file, which CCNet calls cc_segment.
        url: of the page.
        domain: source_domain, the URL's host.
        language: ISO 639-1.
    """

    file: str
    row: int
    segment: str
    url: str
    domain: str
    language: str

    @property
    def id(self) -> str:
        """The published id."""
        return f"{self.file}/{self.row}"

    @property
    def id_int(self) -> int:
        """The published number: the id's SHA-1, its first 8 bytes, little-endian, without a sign."""
        return int.from_bytes(hashlib.sha1(self.id.encode()).digest()[:8], "little")


def records(
    texts: pa.Array,
    signals: pa.RecordBatch,
    places: Sequence[Place],
    ccnet: Sequence[Mapping[str, Any]] | None = None,
) -> Iterator[dict[str, Any]]:
    """Make the published records, each to be written as one line of JSON.

    Args:
        texts: (documents,) strings, none null.
        signals: columns of the family redpajama_v2, all of them or some; as signals.score gives them.
        places: (documents,).
        ccnet: (documents,) the fields of CCNet's own record that have a signal: CCNET_SIGNALS and `bucket`. One that is
            not there is left out.

    Raises:
        ValueError: these differ in length.
    """
    count = len(texts)
    if not count == signals.num_rows == len(places) == len(ccnet if ccnet is not None else places):
        raise ValueError(f"{count} texts, {signals.num_rows} rows of signals, {len(places)} places: they must agree")
    names = [signal.name for signal in SIGNALS if signal.name in signals.schema.names]
    columns = {name: signals.column(name) for name in names}
    for index, place in enumerate(places):
        text = texts[index].as_py()
        spans = line_spans(text)
        scores: dict[str, list[Triple]] = _ccnet(ccnet[index], len(text)) if ccnet is not None else {}
        for name, column in columns.items():
            value = column[index].as_py()
            scores[name] = _by_line(spans, value) if name.startswith("rps_lines_") else [(0, len(text), value)]
        yield {"id": place.id, "id_int": place.id_int, "metadata": _metadata(place), "quality_signals": scores}


def line_spans(text: str) -> list[tuple[int, int]]:
    """Return where each line begins and ends, in characters, its newline included."""
    spans: list[tuple[int, int]] = []
    start = 0
    while start < len(text):
        end = text.find("\n", start) + 1 or len(text)
        spans.append((start, end))
        start = end
    return spans


def signature_columns(texts: pa.Array, places: Sequence[Place]) -> pa.RecordBatch:
    """Make the published table of MinHash signatures: shard_id, id, id_int and one column of bands a similarity.

    Returns:
        signature_sim0.7 and so on: list<binary>, a string for each band, its values big-endian; null for a document of
        fewer than 13 words.
    """
    from redpajama_pipe.dedup.minhash import MinHashSpec, sign_batch

    spec = MinHashSpec(num_perm=128, shingle=13, normalization="redpajama_v2", scheme="redpajama_v2", seed=42)
    signed = sign_batch(texts, spec).to_pylist()
    columns: dict[str, pa.Array] = {
        "shard_id": pa.array([place.file for place in places], pa.string()),
        "id": pa.array([place.id for place in places], pa.string()),
        "id_int": pa.array([place.id_int for place in places], pa.uint64()),
    }
    for similarity, bands, rows in SIMILARITIES:
        listed = [None if signature is None else _bands(signature, bands, rows) for signature in signed]
        columns[f"signature_sim{similarity}"] = pa.array(listed, pa.list_(pa.binary()))
    return pa.record_batch(columns)


def _bands(signature: bytes, bands: int, rows: int) -> list[bytes]:
    # Each value is four bytes; they are published the other way round than they are stored.
    turned = b"".join(signature[at : at + 4][::-1] for at in range(0, 4 * bands * rows, 4))
    return [turned[4 * rows * band : 4 * rows * (band + 1)] for band in range(bands)]


def _by_line(spans: Sequence[tuple[int, int]], scores: Sequence[float | None] | None) -> list[Triple]:
    if scores is None:
        return []
    # Only in an empty text: one null, for a line that is not there.
    return [(start, end, score) for (start, end), score in zip(spans or [(0, 0)] * len(scores), scores, strict=True)]


def _ccnet(fields: Mapping[str, Any], chars: int) -> dict[str, list[Triple]]:
    scores: dict[str, list[Triple]] = {
        f"ccnet_{name}": [(0, chars, float(fields[name]))] for name in CCNET_SIGNALS if fields.get(name) is not None
    }
    if "bucket" in fields:
        scores["ccnet_bucket"] = [(0, chars, _BUCKETS.get(fields["bucket"]))]
    return scores


def _metadata(place: Place) -> dict[str, str]:
    return {
        "cc_segment": place.segment,
        "cc_net_source": place.file,
        "url": place.url,
        "source_domain": place.domain,
        "language": place.language,
        "snapshot_id": place.file.partition("/")[0],
    }
