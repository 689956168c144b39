"""RedPajama-V2's published tables from columns: a line of JSON a document, MinHash signatures, duplicates.

A score stands as a triple [start, end, score] in characters: of the whole document, or one for each line. This
makes Python strings, so it is for export, not for filtering; the lines of a long document are written in pieces.

Source: RedPajama-Data, app/src/core/worker.py, app/src/dedupe/minhash.py, app/src/bloomfilter.py; the similarities in
their order from configs/rp_v2.0.conf.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from redpajama_pipe.dedup.minhash import MinHashSpec
from redpajama_pipe.signals.redpajama_v2 import SIGNALS

Triple = tuple[int, int, float | None]

SPEC = MinHashSpec(num_perm=128, shingle=13, normalization="redpajama_v2", scheme="redpajama_v2", seed=42)
# (similarity, bands, rows) of the 128 values that are published.
SIMILARITIES = ((1.0, 1, 128), (0.9, 5, 25), (0.8, 9, 13), (0.7, 14, 9))
MINHASH = pa.schema(
    [
        pa.field("shard_id", pa.string()),
        pa.field("id", pa.string()),
        pa.field("id_int", pa.uint64()),
        *(pa.field(f"signature_sim{similarity}", pa.list_(pa.binary())) for similarity, _, _ in SIMILARITIES),
    ]
)
DUPLICATES = pa.schema(
    [pa.field("shard_id", pa.string()), pa.field("doc_id", pa.string()), pa.field("digest", pa.string())]
)
CCNET_SIGNALS = ("length", "original_length", "nlines", "original_nlines", "language_score", "perplexity")
_BUCKETS = {"head": 0.0, "middle": 1.0, "tail": 2.0}
_LINES_AT_ONCE = 4096


@dataclass(frozen=True)
class Place:
    """Where a document stands in CCNet's output.

    Attributes:
        file: from the snapshot on: 2023-06/0000/en_head.json.gz.
        row: its line in the file, from 0.
    """

    file: str
    row: int

    @property
    def id(self) -> str:
        """The published id."""
        return f"{self.file}/{self.row}"

    @property
    def id_int(self) -> int:
        """The published number: the id's SHA-1, its first 8 bytes, little-endian, without a sign."""
        return int.from_bytes(hashlib.sha1(self.id.encode()).digest()[:8], "little")


def records(
    places: Sequence[Place], ccnet: Sequence[Mapping[str, Any]], signals: pa.RecordBatch
) -> Iterator[Iterator[bytes]]:
    """Make the published records: for each document the pieces of its line of JSON.

    Args:
        places: (documents,).
        ccnet: (documents,) CCNet's own records; one of CCNET_SIGNALS that is null has no signal.
        signals: columns of the family redpajama_v2, all of them or some, of `raw_content`; as signals.score gives them.

    Raises:
        ValueError: these differ in length.
    """
    rows = signals.num_rows if signals.num_columns else len(places)
    if not len(places) == len(ccnet) == rows:
        raise ValueError(f"{len(places)} places, {len(ccnet)} records, {rows} rows of signals: they differ")
    names = [signal.name for signal in SIGNALS if signal.name in signals.schema.names]
    whole = {name: signals.column(name).to_pylist() for name in names if not name.startswith("rps_lines_")}
    by_line = {name: signals.column(name) for name in names if name.startswith("rps_lines_")}
    for index, (place, record) in enumerate(zip(places, ccnet, strict=True)):
        scores = {name: column[index] for name, column in whole.items()}
        lines = {name: column[index].values for name, column in by_line.items()}
        yield _pieces(place, record, scores, lines)


def line_ends(text: str) -> NDArray[np.int64]:
    """Return where each line ends, in characters, its newline included: also where the next one begins."""

    def ends() -> Iterator[int]:
        end = 0
        while end < len(text):
            end = text.find("\n", end) + 1 or len(text)
            yield end

    return np.fromiter(ends(), np.int64)


def minhash_rows(places: Sequence[Place], signatures: pa.Array) -> pa.RecordBatch:
    """Make rows of the published table MINHASH.

    Args:
        places: (documents,).
        signatures: (documents,) as sign_batch(…, SPEC) gives them, null for a document of fewer than 13 words.

    Returns:
        Of each signature the bands for every similarity, a band's values big-endian.
    """
    signed = [None if each is None else np.frombuffer(each, "<u4").astype(">u4") for each in signatures.to_pylist()]
    listed = (
        [None if each is None else _bands(each, bands, rows) for each in signed] for _, bands, rows in SIMILARITIES
    )
    files, ids = [place.file for place in places], [place.id for place in places]
    columns = [files, ids, [place.id_int for place in places], *listed]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, MINHASH, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=MINHASH)


def duplicate_rows(places: Sequence[Place], digests: Sequence[str | None]) -> pa.RecordBatch:
    """Make rows of the published table DUPLICATES: of the documents to drop.

    Args:
        places: (documents,).
        digests: (documents,) of CCNet's records, such as sha1:BASE32.
    """
    rows = [
        {"shard_id": place.file, "doc_id": place.id, "digest": digest and digest.replace("sha1:", "")}
        for place, digest in zip(places, digests, strict=True)
    ]
    return pa.RecordBatch.from_pylist(rows, schema=DUPLICATES)


def _bands(signature: NDArray[np.uint32], bands: int, rows: int) -> list[bytes]:
    return [signature[rows * band : rows * (band + 1)].tobytes() for band in range(bands)]


def _pieces(
    place: Place, record: Mapping[str, Any], whole: Mapping[str, Any], lines: Mapping[str, pa.Array | None]
) -> Iterator[bytes]:
    text = record["raw_content"]
    metadata = {
        "cc_segment": record["cc_segment"],
        "cc_net_source": place.file,
        "url": record["url"],
        "source_domain": record["source_domain"],
        "language": record["language"],
        "snapshot_id": place.file.partition("/")[0],
    }
    scores = _ccnet(record) | {name: [(0, len(text), value)] for name, value in whole.items()}
    head = {"id": place.id, "id_int": place.id_int, "metadata": metadata, "quality_signals": scores}
    yield orjson.dumps(head)[:-2]  # without the two braces that end it
    ends = line_ends(text) if lines else np.empty(0, np.int64)
    starts = np.append(0, ends[:-1]) if len(ends) else ends
    for name, values in lines.items():
        yield b',"%s":[' % name.encode()
        if values is not None:
            yield from _triples(starts, ends, values)
        yield b"]"
    yield b"}}\n"


def _triples(starts: NDArray[np.int64], ends: NDArray[np.int64], values: pa.Array) -> Iterator[bytes]:
    if not len(ends):  # an empty text: at most one null, for a line that is not there
        starts = ends = np.zeros(len(values), np.int64)
    for at in range(0, len(values), _LINES_AT_ONCE):
        until = at + _LINES_AT_ONCE
        some = zip(starts[at:until].tolist(), ends[at:until].tolist(), values[at:until].to_pylist(), strict=True)
        yield (b"," if at else b"") + orjson.dumps(list(some))[1:-1]


def _ccnet(record: Mapping[str, Any]) -> dict[str, list[Triple]]:
    chars = len(record["raw_content"])
    scores: dict[str, list[Triple]] = {
        f"ccnet_{name}": [(0, chars, float(record[name]))] for name in CCNET_SIGNALS if record[name] is not None
    }
    return scores | {"ccnet_bucket": [(0, chars, _BUCKETS.get(record["bucket"]))]}
