"""The section `sources`: where documents come from."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from redpajama_pipe.errors import RecipeError
from redpajama_pipe.settings.limits import NATURAL, SHARE, check_limits

_NAME = re.compile(r"[^/:\x00-\x1f\x7f._][^/:\x00-\x1f\x7f]*")
MOST_NAME_BYTES = 100  # of the 255 of a file name: a hash, numbers and a suffix follow


@dataclass(frozen=True)
class Source:
    """One input: files of one kind, counted and reported under one name.

    Attributes:
        name: RedPajama calls it a slice.
        kind: `warc` (WARC and ARC with HTTP responses, also any WET records in them), `wet`, `wikipedia`, `jsonl`.
        paths: files or glob patterns (`**` too), local or any URL fsspec opens; over http single files.
        snapshot: instead of paths: a crawl of Common Crawl, such as CC-MAIN-2023-06; `kind` says which of its files.
        fraction: of the snapshot's files, above 0 and up to 1; chosen by a hash of snapshot and path, so that a larger
            fraction holds a smaller one, and a `wet` source has the pages of the `warc` files of the same fraction.
        base: what crawl-data/ lies in: https://data.commoncrawl.org, s3://commoncrawl, or a folder that mirrors them.
            Document ids do not depend on it.
        root: document ids are made from paths relative to it, so that they do not change when the corpus moves;
            empty: from the whole path. Those of a snapshot are made from crawl-data/… without it.
        exclude: patterns of file names to leave out.
        extractor: HTML to text: `resiliparse`, `trafilatura` or `plain`.
        text_field: jsonl: where the text is; dots descend.
        subset_field: jsonl: a label to keep as `subset`, such as meta.pile_set_name.
        language: declared for every document of the source; a Wikipedia dump declares its own by its file name.
        wikitext: `plain`, clean text for pretraining (docs/wikipedia.md); or `rpv1`, the cleaning of the published
            RedPajama and Hugging Face sets.
        math: wikitext plain: formulas are kept as $TeX$, or dropped.
        max_document_bytes: a larger record goes to quarantine, `too_large`.
        max_quarantined_share: the run stops when more of the source's records cannot be read.
        allow_failed_files: go on without files that cannot be read as a whole, each one a row in quarantine, up to
            max_quarantined_share of the files; the next run tries them again. Else they stop the run, after the others.
        wiki_date: wikipedia: download the dumps of this date, such as 20240101, before anything is read, or those that
            were finished last, `latest`; `paths` is then the one local folder to keep them in. Empty: download none.
        languages: wikipedia: of which Wikipedias, by the codes of their languages.
        dump_mirror: wikipedia: the server to download from.
    """

    name: str
    kind: Literal["warc", "wet", "wikipedia", "jsonl"]
    paths: tuple[str, ...] = ()
    snapshot: str = ""
    fraction: float = 1.0
    base: str = "https://data.commoncrawl.org"
    root: str = ""
    exclude: tuple[str, ...] = ()
    extractor: Literal["resiliparse", "trafilatura", "plain"] = "resiliparse"
    text_field: str = "text"
    subset_field: str | None = None
    language: str | None = None
    wikitext: Literal["plain", "rpv1"] = "plain"
    math: Literal["keep", "drop"] = "keep"
    max_document_bytes: int = 256 << 20
    max_quarantined_share: float = 0.05
    allow_failed_files: bool = False
    wiki_date: str = ""
    languages: tuple[str, ...] = ()
    dump_mirror: str = "https://dumps.wikimedia.org"

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name) or len(self.name.encode("utf-8")) > MOST_NAME_BYTES:
            raise RecipeError(
                f"a source is called {self.name!r}; files are named after it: give 1 to {MOST_NAME_BYTES} bytes "
                "without /, : and control characters that do not begin with _ or ."  # Spark reads no such files
            )
        where = f"sources.{self.name}"
        check_limits(self, where, max_document_bytes=NATURAL, max_quarantined_share=SHARE)
        if bool(self.paths) == bool(self.snapshot):
            found = "both paths and a snapshot; leave one out" if self.paths else "no paths and no snapshot; give one"
            raise RecipeError(f"{where} has {found}")
        if not 0 < self.fraction <= 1:
            raise RecipeError(f"{where}.fraction is {self.fraction:g}; give a number above 0 and up to 1")
        if not self.snapshot:
            for key in ("fraction", "base"):
                if getattr(self, key) != getattr(type(self), key):
                    raise RecipeError(f"{where}.{key} is for a snapshot; give a snapshot, or leave {key} out")
            return
        if self.kind not in ("warc", "wet"):
            raise RecipeError(f"{where}.kind is {self.kind!r}; a snapshot of Common Crawl has warc and wet files")
        if self.root:
            raise RecipeError(f"{where}.root is for paths; with a snapshot, base says where crawl-data/ lies")
        if not re.fullmatch(r"CC-[A-Z]+[A-Z0-9-]*(/\d+)*", self.snapshot):
            raise RecipeError(f"{where}.snapshot is {self.snapshot!r}; write it as CC-MAIN-2023-06 (year and week)")
