"""Find everything a run knows of one document: no Spark, a look at the id columns of the run's Parquet files.

Row groups are skipped by the statistics of their ids where a table is sorted by id (decisions); documents and the token
map are read in one column only until the row is found.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from redpajama_pipe import manifest, recipe, schema, storage
from redpajama_pipe.errors import InputError, ManifestError
from redpajama_pipe.recipe import Recipe
from redpajama_pipe.report.explain import (
    DecisionRow,
    Explanation,
    RuleTest,
    SignalValue,
    TokenPlace,
    Twin,
    render_explanation,
)
from redpajama_pipe.rules import ruleset
from redpajama_pipe.run_folder import DECIDING, RunFolder

EXCERPT = 20_000  # characters of each text
_SHOWN = ("source", "subset", "uri", "record_id", "offset", "length", "url", "title", "timestamp", "mime", "charset")
_HEX = re.compile(r"[0-9a-fA-F]{4,32}")


def explain_document(run: str, wanted: str, color: bool = False) -> str:
    """Print the life of one document of a run.

    Args:
        run: the run's folder.
        wanted: the document's id in hex digits, or at least four of its first ones; or its URL.
        color: use terminal colours.

    Raises:
        InputError: there is no such document, or the beginning fits several.
        ManifestError: the run has no finished documents.
    """
    return render_explanation(find_life(RunFolder.at(run), wanted), color)


def find_life(folder: RunFolder, wanted: str) -> Explanation:
    """Gather the explanation of one document; arguments and errors as `explain_document`."""
    where, _ = folder.annotated()
    settings = recipe.load(folder.recipe) if storage.exists(folder.recipe) else None
    place = _find(folder, wanted)
    doc_id: bytes = place[schema.DOC_ID]
    document = _row(folder.documents, doc_id, place[schema.PART])
    signals = document if where == folder.documents else _row(where, doc_id, place[schema.PART])
    decided = list(folder.decided())
    taken = [row for path in decided for row in _rows(path, pc.field(schema.DOC_ID) == doc_id)]
    taken.sort(key=lambda row: (DECIDING.index(row["stage"]), row["rank"]))
    first = next((row for row in taken if row["action"] == "drop" and row["rank"] == 0), None)
    fate = f"dropped by {first['rule']}" if first else "kept" if decided else "not decided yet"
    failed = {row["rule"] for row in taken}
    return Explanation(
        doc_id=doc_id.hex(),
        fate=fate,
        provenance={name: document[name] for name in _SHOWN if document[name] is not None},
        excerpt=document[schema.TEXT][:EXCERPT],
        signals=_signals(signals, settings, failed),
        decisions=[
            DecisionRow(row["stage"], row["rule"], row["action"], row["rank"], json.loads(row["evidence"]))
            for row in taken
        ],
        twin=_twin(folder, decided, doc_id, taken),
        tokens=_tokens(folder, doc_id),
    )


def _find(folder: RunFolder, wanted: str) -> dict[str, Any]:
    if _HEX.fullmatch(wanted):
        low = bytes.fromhex(wanted.ljust(32, "0"))
        high = bytes.fromhex(wanted.ljust(32, "f"))
        column = pc.field(schema.DOC_ID)
        found = _rows(folder.documents, (column >= low) & (column <= high), [schema.DOC_ID, schema.PART, "url"])
    else:
        found = _rows(folder.documents, pc.field("url") == wanted, [schema.DOC_ID, schema.PART, "url"])
    if not found:
        raise InputError(
            f"no document {wanted!r} in {folder.path}: give a doc_id, at least 4 of its first hex digits, or a URL"
        )
    if len(found) > 1:
        some = ", ".join(row[schema.DOC_ID].hex() for row in found[:4])
        raise InputError(
            f"{len(found)} documents fit {wanted!r}: {some}{', …' if len(found) > 4 else ''}; say which one"
        )
    return found[0]


def _rows(path: str, condition: ds.Expression, columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
    names = [name for name in storage.list_names(path) if name.endswith(".parquet")]
    if not names:
        return []
    filesystem, target = fsspec.core.url_to_fs(path)
    files = [storage.join(target, name) for name in names]
    table = ds.dataset(files, format="parquet", filesystem=filesystem).to_table(columns, filter=condition)
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def _row(path: str, doc_id: bytes, part: str) -> dict[str, Any]:
    with storage.open_parquet(storage.join(path, f"{part}.parquet")) as parquet:
        for group in range(parquet.num_row_groups):
            ids = parquet.read_row_group(group, columns=[schema.DOC_ID]).column(0)
            at = pc.index(ids, pa.scalar(doc_id, ids.type)).as_py()
            if at >= 0:
                row: dict[str, Any] = parquet.read_row_group(group).slice(at, 1).to_pylist()[0]
                return row
    raise ManifestError(f"{part} in {path} has no document {doc_id.hex()}; run the stage again")


def _signals(row: dict[str, Any], settings: Recipe | None, failed: set[str]) -> list[SignalValue]:
    from redpajama_pipe.signals import SIGNALS

    names = [schema.LANGUAGE, schema.IDENTIFIED_LANGUAGE, schema.LANGUAGE_SCORE, schema.DECLARED_LANGUAGE, *SIGNALS]
    tests: dict[str, list[RuleTest]] = {}
    for rules in map(ruleset.load, settings.filter.rule_sets if settings else ()):
        for rule in rules.rules:
            for name in ruleset.columns_of(rule.keep, names):
                passed = f"{rules.name}.{rule.name}" not in failed
                tests.setdefault(name, []).append(RuleTest(f"{rules.name}.{rule.name}", rule.keep, passed))
    return [
        # of a list, such as spans, how many there are
        SignalValue(
            name,
            len(row[name]) if isinstance(row[name], list) else row[name],
            SIGNALS[name].unit if name in SIGNALS else "",
            tests.get(name, ()),
        )
        for name in names
        if name in row
    ]


def _twin(folder: RunFolder, decided: Sequence[str], doc_id: bytes, taken: Sequence[dict[str, Any]]) -> Twin | None:
    """Show the document that stayed for this one; for one that stayed, the first that was dropped for it."""
    other, similarity = None, None
    for row in taken:
        if row["kept_doc_id"] is not None:
            other, similarity = row["kept_doc_id"], row["similarity"]
    if other is None:
        if any(row["action"] == "drop" for row in taken):
            return None
        for path in decided:
            rows = _rows(path, pc.field("kept_doc_id") == doc_id, [schema.DOC_ID, "similarity"])
            if other is None and rows:  # the least alike; one that is equal by its URL alone has no similarity
                row = min(rows, key=lambda row: (row["similarity"] is None, row["similarity"], row[schema.DOC_ID]))
                other, similarity = row[schema.DOC_ID], row["similarity"]
    if other is None:
        return None
    places = _rows(folder.documents, pc.field(schema.DOC_ID) == other, [schema.PART])
    if not places:  # the document of an earlier run, which the decision names with its index
        return None
    document = _row(folder.documents, other, places[0][schema.PART])
    return Twin(other.hex(), document[schema.SOURCE], document["url"], similarity, document[schema.TEXT][:EXCERPT])


def _tokens(folder: RunFolder, doc_id: bytes) -> TokenPlace | None:
    if manifest.find(folder.tokens) is None:
        return None
    rows = _rows(folder.token_map, pc.field(schema.DOC_ID) == doc_id, ["shard", "offset", "length"])
    if not rows:
        return None
    from redpajama_pipe.tokens.pack import shard_name

    return TokenPlace(shard_name(rows[0]["shard"]), rows[0]["offset"], rows[0]["length"])
