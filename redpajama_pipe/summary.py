"""summary.json: for each source documents in, kept, dropped by rule, quarantined, tokens; and every shard's sha256."""

from __future__ import annotations

import json
from typing import Any

from redpajama_pipe import manifest, storage
from redpajama_pipe.errors import ReconcileError
from redpajama_pipe.recipe import Recipe
from redpajama_pipe.report.figures import plural
from redpajama_pipe.run_folder import RunFolder


def build_summary(recipe: Recipe, folder: RunFolder) -> dict[str, Any]:
    """Add up the stages' manifests.

    `documents_in` counts every record that should have become a document, so quarantined ones too;
    skipped records (requests, redirects, images) are none. `language_sample_bytes` is there when it was set.

    Raises:
        ManifestError: a stage did not finish.
        ReconcileError: documents in differ from kept + dropped + quarantined.
    """
    documents = manifest.read(folder.documents)
    taken = folder.decided().values()
    tokens = manifest.read(folder.tokens)
    sources: dict[str, Any] = {}
    for name, counted in documents.counts["sources"].items():
        dropped: dict[str, int] = {}
        for stage in taken:
            for rule, count in stage.counts["by_rule"][name].items():
                dropped[rule] = dropped.get(rule, 0) + count
        packed = [(docs, toks) for source, _, docs, toks in tokens.counts["groups"] if source == name]
        quarantined = sum(counted["quarantined"].values())
        sources[name] = {
            "documents_in": counted["documents"] + quarantined,
            "kept": sum(docs for docs, _ in packed),
            "dropped": dropped,
            "quarantined": quarantined,
            "quarantined_by_reason": counted["quarantined"],
            "skipped": counted["skipped"],
            "records": counted["records"],
            "tokens": sum(toks for _, toks in packed),
            "text_bytes": counted["text_bytes"],
        }
        entry = sources[name]
        if entry["documents_in"] != entry["kept"] + sum(dropped.values()) + quarantined:
            raise ReconcileError(
                f"source {name!r}: {entry['documents_in']} documents in, but {entry['kept']} kept, "
                f"{sum(dropped.values())} dropped and {quarantined} quarantined"
            )
    languages: dict[str, dict[str, int]] = {}
    for _, language, docs, toks in tokens.counts["groups"]:
        counted = languages.setdefault(language, {"kept": 0, "tokens": 0})
        counted["kept"] += docs
        counted["tokens"] += toks
    shards = [
        {
            "name": shard["name"],
            "sequences": shard["sequences"],
            "tokens": shard["tokens"],
            "bin": shard["files"][0][0],
            "sha256": shard["files"][0][2],
            "idx_sha256": shard["files"][1][2],
        }
        for shard in tokens.counts["shards"]
    ]
    sampled = folder.annotate_settings().get("language_sample_bytes", 0)
    return {
        "recipe": recipe.name,
        "sources": sources,
        "languages": dict(sorted(languages.items(), key=lambda item: (-item[1]["tokens"], item[0]))),
        **({"language_sample_bytes": sampled} if sampled else {}),
        "tokenizer": tokens.counts["tokenizer"],
        "tokens": tokens.counts["tokens"],
        "shards": shards,
    }


def write_summary(recipe: Recipe, folder: RunFolder) -> dict[str, Any]:
    """Write summary.json and return what it holds."""
    summary = build_summary(recipe, folder)
    storage.write_bytes(folder.summary, json.dumps(summary, indent=1, ensure_ascii=False).encode("utf-8"))
    return summary


def format_summary(summary: dict[str, Any], folder: RunFolder, seconds: float) -> str:
    """Write the tables that end a run: what went in, what was dropped by which rule, what was kept, tokens, places."""
    from redpajama_pipe.progress import human_bytes, human_seconds
    from redpajama_pipe.report.table import format_table

    sources = summary["sources"]
    rows = [
        [
            name,
            f"{entry['documents_in']:,}",
            f"{entry['quarantined']:,}",
            f"{sum(entry['dropped'].values()):,}",
            f"{entry['kept']:,}",
            f"{entry['tokens']:,}",
        ]
        for name, entry in sources.items()
    ]
    total = ["total", *(f"{sum(int(row[column].replace(',', '')) for row in rows):,}" for column in range(1, 6))]
    rules: dict[str, int] = {}
    for entry in sources.values():
        for rule, count in entry["dropped"].items():
            rules[rule] = rules.get(rule, 0) + count
        for reason, count in entry["quarantined_by_reason"].items():
            rules[f"quarantined: {reason}"] = rules.get(f"quarantined: {reason}", 0) + count
    by_rule = [[rule, f"{count:,}"] for rule, count in sorted(rules.items(), key=lambda item: (-item[1], item[0]))]
    languages = [
        [language or "unknown", f"{entry['kept']:,}", f"{entry['tokens']:,}"]
        for language, entry in summary["languages"].items()
    ]
    text = sum(entry["text_bytes"] for entry in sources.values())
    return "\n".join(
        [
            "",
            format_table([*rows, total], ["source", "in", "quarantined", "dropped", "kept", "tokens"], "lrrrrr"),
            "",
            format_table(by_rule, ["why documents were dropped", "documents"], "lr"),
            "",
            format_table(languages, ["language", "kept", "tokens"], "lrr"),
            "",
            f"{human_bytes(text)} of text in {human_seconds(seconds)}. "
            "Documents in = kept + dropped + quarantined for every source.",
            f"report   {folder.report}",
            f"shards   {folder.tokens} ({plural(len(summary['shards']), 'pair')} of .bin and .idx)",
            f"summary  {folder.summary}",
        ]
    )
