"""Whether a document's URL is in a block list: about 10 µs a document, no text read."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from redpajama_pipe.errors import SetupError
from redpajama_pipe.signals.signal import Documents, Family, Signal

_SOURCE = "UT1 blacklists; datatrove, pipeline/filters/url_filter.py (Penedo et al. 2024, arXiv:2406.17557)"
_NULL = "the document has no URL"

SIGNALS = (
    Signal(
        "url_block_category",
        "category",
        "the first list that the URL is in: by its host or a domain above it, by the page or a folder above it, by a"
        " word in it, by two soft words in it; empty: it is in none",
        _SOURCE,
        _NULL,
        (0.0, None),
        pa.string(),
    ),
    Signal(
        "url_block_match",
        "list entry",
        "the entry that matched, after its kind: domain, url, word or soft_words; empty: none did",
        _SOURCE,
        _NULL,
        (0.0, None),
        pa.string(),
    ),
)


def compute(documents: Documents, wanted: Sequence[str]) -> dict[str, pa.Array]:
    """Compute some of this family's signals; see signals.score.

    Raises:
        SetupError: no folder of lists is named, or there are none in it.
    """
    from redpajama_pipe.signals.url_lists import read_lists

    folder = documents.resources.url_lists
    if not folder and documents.lenient:
        return {name: pa.nulls(len(documents.texts), pa.string()) for name in wanted}
    if not folder:
        raise SetupError(
            f"{wanted[0]} needs URL lists: unpack UT1's (dsi.ut-capitole.fr/blacklists) and set annotate.url_lists to "
            "the folder with adult/domains in it"
        )
    lists = read_lists(folder)
    urls = documents.urls.to_pylist() if documents.urls is not None else [None] * len(documents.texts)
    categories: list[str | None] = []
    entries: list[str | None] = []
    for url, valid in zip(urls, documents.utf8.valid, strict=True):
        match = lists.match(url) if url is not None and valid else None
        none = None if url is None or not valid else ""
        categories.append(match.category if match else none)
        entries.append(str(match) if match else none)
    values = {"url_block_category": categories, "url_block_match": entries}
    return {name: pa.array(values[name], pa.string()) for name in wanted}


FAMILY = Family("url_lists", "block lists of URLs, in UT1's layout", SIGNALS, compute)
