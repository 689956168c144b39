"""The files of a snapshot of Common Crawl: its listing is the plan, and no file is asked for before it is read.

A snapshot has some 90,000 WARC files of 1 GB, and as many WET files; `crawl-data/NAME/warc.paths.gz` names them, one
path a line, relative to what crawl-data/ lies in. Cost: one request, 5 MB of text.

Source: https://commoncrawl.org/get-started; https://data.commoncrawl.org/crawl-data/CC-MAIN-2023-06/index.html.
"""

from __future__ import annotations

import hashlib
import math
import re
import zlib

from redpajama_pipe import storage
from redpajama_pipe.errors import InputError
from redpajama_pipe.report.figures import plural
from redpajama_pipe.settings.source import Source
from redpajama_pipe.sources.record import Split
from redpajama_pipe.sources.remote import Retry, fetch, hidden

WHERE_LISTED = "https://index.commoncrawl.org/collinfo.json lists the snapshots"
LISTING_BYTES = 1 << 28


def listed_splits(source: Source, retry: Retry) -> list[Split]:
    """List the chosen files of a source's snapshot, each once, sorted.

    Returns:
        Splits whose identity is the path from crawl-data/ on, wherever the file is read from.

    Raises:
        InputError: the listing cannot be read, is damaged or names other files; or the fraction chooses none.
    """
    paths = _listing(source, retry)
    places = {path: place_of(source.snapshot, path) for path in paths}
    chosen = sorted(path for path, place in places.items() if place < source.fraction)
    if not chosen:
        raise InputError(
            f"sources.{source.name}: fraction {source.fraction:g} chooses none of {plural(len(places), 'file')} of "
            f"{source.snapshot}; the smallest that chooses one is {math.ceil(min(places.values()) * 1e6) / 1e6:g}"
        )
    base = storage.absolute(source.base)
    return [Split(source.name, storage.join(base, path), path) for path in chosen]


def place_of(snapshot: str, path: str) -> float:
    """Place a file in [0, 1) by its snapshot and its path; a WET file where its WARC file is.

    A fraction takes the files whose place is below it: so the choice depends on nothing else, and a larger fraction
    holds a smaller one.
    """
    archive = path.replace("/wet/", "/warc/").replace(".warc.wet.gz", ".warc.gz")
    hashed = hashlib.blake2b(f"{snapshot}\0{archive}".encode(), digest_size=8).digest()
    return (int.from_bytes(hashed, "big") >> 11) / (1 << 53)  # 53 bits: exact in a double


def _listing(source: Source, retry: Retry) -> list[str]:
    uri = storage.join(source.base, "crawl-data", source.snapshot, f"{source.kind}.paths.gz")
    shown = f"sources.{source.name}: the listing {hidden(uri)!r}"
    try:
        data = fetch(uri, retry=retry)
    except InputError as error:
        raise InputError(
            f"sources.{source.name}: no listing of {source.snapshot}: {error}. {WHERE_LISTED}; sources."
            f"{source.name}.base says where crawl-data/ lies"
        ) from error
    text = _unzip(data, shown)
    paths = [line.strip() for line in text.decode("utf-8", "replace").splitlines() if line.strip()]
    if not paths:
        raise InputError(f"{shown} is empty; fetch it again")
    suffix = r"\.warc\.wet\.gz" if source.kind == "wet" else r"\.warc\.gz"
    name = re.compile(rf"crawl-data/{re.escape(source.snapshot)}/(?:[^/\s]+/)*[^/\s]+{suffix}")
    wrong = next((path for path in paths if not name.fullmatch(path) or "/../" in path), None)
    if wrong is not None:
        raise InputError(
            f"{shown} names {wrong[:100]!r}, which is no {source.kind} file of {source.snapshot}; fetch it again"
        )
    return paths


def _unzip(data: bytes, shown: str) -> bytes:
    """Decompress a listing, all of it or none."""
    if not data:
        raise InputError(f"{shown} is an empty file; fetch it again")
    text = b""
    try:
        while data:
            decoder = zlib.decompressobj(16 + zlib.MAX_WBITS)
            text += decoder.decompress(data, LISTING_BYTES - len(text) + 1)
            if len(text) > LISTING_BYTES:
                raise InputError(f"{shown} has more than {LISTING_BYTES} bytes; that is no listing")
            if not decoder.eof:
                raise InputError(f"{shown} is cut off after {len(text)} bytes of text; fetch it again")
            data = decoder.unused_data
    except zlib.error as error:
        why = "is no gzip file" if data[:2] != b"\x1f\x8b" else "is damaged"
        raise InputError(f"{shown} {why} ({error}); fetch it again") from error
    return text
