from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from redpajama_pipe import manifest, recipe
from redpajama_pipe.report.collect import facts_of
from redpajama_pipe.run_folder import RunFolder
from redpajama_pipe.settings.annotate import Annotate
from redpajama_pipe.settings.tree import to_tree
from redpajama_pipe.summary import build_summary

COUNTED = {"documents": 3, "quarantined": {"too_large": 1}, "skipped": {}, "records": 4, "text_bytes": 12}


def write_run(path: Path, settings: Annotate, afterwards: Annotate | None = None) -> RunFolder:
    """The manifests of a run of one source; `afterwards`: what its annotate stage was told later."""
    folder = RunFolder.at(str(path))
    section = {"annotate": to_tree(settings)}
    counts: dict[str, Any] = {"sources": {"web": COUNTED}, "annotated": True}
    documents = manifest.write(folder.documents, "ingest", {}, section, counts, [])
    if afterwards:
        inputs = {"documents": documents.hash}
        manifest.write(folder.annotations, "annotate", inputs, to_tree(afterwards), counts, [])
    dropped = {"by_rule": {"web": {"c4.min_words": 1}}}
    manifest.write(folder.decisions("filter"), "filter", {}, {}, dropped, [])
    tokens = {"groups": [["web", "en", 2, 7]], "tokenizer": {"name": "made"}, "tokens": 7, "shards": []}
    manifest.write(folder.tokens, "tokenize", {}, {}, tokens, [])
    return folder


@pytest.mark.parametrize(
    ("first", "afterwards", "size"), [(0, None, 0), (3000, None, 3000), (0, 1500, 1500), (3000, 0, 0)]
)
def test_a_sample_that_languages_are_told_from_is_stated(
    tmp_path: Path, first: int, afterwards: int | None, size: int
) -> None:
    later = None if afterwards is None else Annotate(language_sample_bytes=afterwards)
    folder = write_run(tmp_path, Annotate(language_sample_bytes=first), later)
    asked = recipe.load("sample")
    summary, facts = build_summary(asked, folder), facts_of(asked, folder)
    assert summary["sources"]["web"]["documents_in"] == 4
    assert summary["languages"] == {"en": {"kept": 2, "tokens": 7}}
    stated = (summary.get("language_sample_bytes"), facts.get("annotate.language_sample_bytes"))
    assert stated == ((size, f"{size:,}") if size else (None, None))
