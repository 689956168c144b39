"""A document as one line of JSON, and the file it goes to, in the layouts of published corpora.

`redpajama_v1`: text and meta, with the keys that each slice's own reader writes. `redpajama_v2`: the records of CCNet
by snapshot, shard, language and bucket. `jsonl`: text, and all that is known of the document in `meta`. Keys without a
value here are null, never made up. UTF-8, one line feed a record, the same bytes for the same document.

Source: togethercomputer/RedPajama-Data, branch rp_v1: README.md and data_prep/{c4,wiki,cc}; branch main:
app/src/core/data_types.py (InputSpec); facebookresearch/cc_net: cc_net/dedup.py, cc_net/perplexity.py.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from redpajama_pipe import schema
from redpajama_pipe.export import NAMES

Row = Mapping[str, Any]

# What a line is made from, beside the text.
COLUMNS = tuple(name for name in schema.PROVENANCE.names if name not in (schema.PART, schema.ROW))
PERPLEXITY = ("perplexity", "perplexity_bucket")  # signals that a run may or may not have
SCORES = (schema.LANGUAGE, schema.LANGUAGE_SCORE, *PERPLEXITY)

_DUMP_DATE = re.compile(r"wiki-(\d{8})-")
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


def redpajama_v1(row: Row, text: str, original: str, kind: str) -> dict[str, Any]:
    """Make RedPajama v1's envelope.

    Web pages have the keys that its README names: url, timestamp, source, language; `source` says the file and the
    record, as `cc/…` of the published slice does. Wikipedia has title, url, language and the dump's date. JSON lines
    have the `meta` that they came with, or their other keys where they had none (as C4's).

    Args:
        row: COLUMNS and SCORES of a document.
        text: with the decisions applied.
        original: as extracted.
        kind: of its source.
    """
    meta: Any
    if kind == "jsonl":
        known = json.loads(row["meta"]) if row["meta"] else {}
        meta = known.get("meta", known)
    elif kind == "wikipedia":
        date = _DUMP_DATE.search(row["uri"])
        meta = {
            "title": row["title"],
            "url": row["url"],
            "language": row[schema.LANGUAGE],
            "timestamp": date[1] if date else None,
        }
    else:
        meta = {
            "timestamp": row["timestamp"],
            "url": row["url"],
            "language": row[schema.LANGUAGE],
            "source": f"cc/{row['uri']}/{row['record_id']}",
        }
    return {"text": text, "meta": meta}


def redpajama_v2(row: Row, text: str, original: str, kind: str) -> dict[str, Any]:
    """Make a record of CCNet; arguments as `redpajama_v1`.

    Lengths are characters, lines are separated by line feeds; the original ones are those of the extracted text.
    `raw_content` is the whole text, where CCNet takes the first line of a WET record out as its title. `line_ids` is
    null, for no lines were chosen. Without the signals `perplexity` and `perplexity_bucket`, the one is null and the
    other is `all`, which is CCNet's bucket for a document that has no perplexity.
    """
    return {
        "url": row["url"],
        "date_download": row["timestamp"],
        "digest": row["content_digest"],
        "length": len(text),
        "nlines": text.count("\n") + 1,
        "source_domain": row["host"],
        "title": row["title"],
        "raw_content": text,
        "cc_segment": row["uri"],
        "original_nlines": original.count("\n") + 1,
        "original_length": len(original),
        "line_ids": None,
        "language": row[schema.LANGUAGE],
        "language_score": row[schema.LANGUAGE_SCORE],
        "perplexity": row[PERPLEXITY[0]],
        "bucket": _bucket(row),
    }


def jsonl(row: Row, text: str, original: str, kind: str) -> dict[str, Any]:
    """Make text, id (32 hex digits) and, under `meta`, everything else that is known; arguments as `redpajama_v1`."""
    meta = {name: row[name] for name in (*COLUMNS, *SCORES) if name not in (schema.DOC_ID, "meta")}
    meta["meta"] = orjson.Fragment(row["meta"]) if row["meta"] else None
    return {"text": text, "id": row[schema.DOC_ID].hex(), "meta": meta}


LAYOUTS: dict[str, Callable[[Row, str, str, str], dict[str, Any]]] = dict(
    zip(NAMES, (redpajama_v1, redpajama_v2, jsonl), strict=True)
)


def file_of(layout: str, row: Row, part: str, shard: int) -> str:
    """Name the file of a document, below the folder of the export.

    Args:
        layout: a key of LAYOUTS.
        row: its snapshot, source and language.
        part: its document part.
        shard: the part's place in the corpus.

    Returns:
        For redpajama_v2 documents/SNAPSHOT/SHARD/LANGUAGE_BUCKET.json.gz, where a snapshot is 2023-06 for
        CC-MAIN-2023-06, and the source's name for documents of no snapshot; otherwise SOURCE/PART.jsonl.gz.
    """
    if layout != "redpajama_v2":
        return f"{_safe(row[schema.SOURCE])}/{part}.jsonl.gz"
    snapshot = (row["snapshot"] or row[schema.SOURCE]).removeprefix("CC-MAIN-")
    language = _safe(row[schema.LANGUAGE] or "unknown")
    return f"documents/{_safe(snapshot)}/{shard:04d}/{language}_{_safe(_bucket(row))}.json.gz"


def line(record: Mapping[str, Any]) -> bytes:
    """Write a record as a line of JSON."""
    try:
        return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:  # a number beyond 64 bits
        return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _bucket(row: Row) -> str:
    return row[PERPLEXITY[1]] or "all"


def _safe(name: str) -> str:
    return _UNSAFE.sub("_", name)
