"""Malformed files of real crawls: what is kept, what is quarantined and why, and that no record goes uncounted."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from source_factory import source

from redpajama_pipe.sources.record import Split
from redpajama_pipe.sources.unit import Unit, ingest_unit

LZ4 = "the file is compressed with lz4; gzip, bzip2, zstd and plain files are read"
# file → records read, documents kept, how many of these had a wrong length; quarantine: where, why, in which words
CASES: dict[str, tuple[int, int, int, list[tuple[int, str, str]]]] = {
    # carriage returns stripped, so that every length is too long
    "commoncrawl_2016_50/as_published/sample.warc": (
        18,
        5,
        5,
        [(81794, "truncated_warc", "the file ends 10 bytes before the record does")],
    ),
    "commoncrawl_2016_50/as_published/sample.warc.gz": (
        18,
        5,
        5,
        [(81794, "truncated_warc", "the file ends 10 bytes before the record does")],
    ),
    "commoncrawl_2016_50/as_published/sample.warc.paths": (
        1,
        0,
        0,
        [(0, "not_a_warc", "the file starts with b's3n://commoncrawl/crawl-data/CC-MAIN-2016-50/segments/148069'")],
    ),
    "commoncrawl_2020_34/clipped.warc.gz": (
        1,
        0,
        0,
        [(0, "truncated_gzip", "member at byte 0: the file ends inside a member; nothing after it can be read")],
    ),
    "commoncrawl_2020_34/clueweb-quirk.warc.gz": (30, 29, 0, []),  # WARC/0.18, dates with a day of three digits
    "commoncrawl_2020_34/warcfile.warc.lz4": (1, 0, 0, [(0, "unsupported_compression", LZ4)]),
    "commoncrawl_2020_34/block-sized-records.warc.lz4": (1, 0, 0, [(0, "unsupported_compression", LZ4)]),
    "cc_net_2018.wet.txt": (4, 3, 3, []),  # one record id twice, lengths of other texts
    "heritrix/badexample.arc.gz": (
        6,
        1,
        0,
        [(2882, "truncated_warc", "the file ends 479 bytes before the record does")],
    ),
    "warcio_cases/bad.arc": (4, 0, 0, []),  # negative and missing lengths
    "warcio_cases/example-bad-non-chunked.warc.gz": (6, 1, 0, []),  # one gzip member for all records
    "warcio_cases/example-bad.warc.gz.bad": (6, 1, 0, []),  # plain, whatever its name says
    "warcio_cases/example-space-in-url.arc": (
        2,
        0,
        0,
        [(151, "truncated_warc", "the file ends 12 bytes before the record does")],
    ),
    "warcio_cases/example-trunc.warc": (4, 1, 1, []),
    "warcio_cases/example-wget-bad-target-uri.warc.gz": (6, 3, 0, []),  # addresses in brackets
    "warcio_cases/example-wrong-chunks.warc.gz": (2, 1, 0, []),  # said to be chunked, and is not
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_kept_and_what_is_quarantined(real_data: Path, tmp_path: Path, name: str) -> None:
    path = real_data / "warc" / name
    unit = Unit(Split("s", str(path), name), source(), None, "", 1 << 30, "state", path.stat().st_size)
    receipt = ingest_unit(unit, str(tmp_path / "documents"), str(tmp_path / "quarantine"))
    records, documents, mended, bad = CASES[name]
    assert (receipt.records, receipt.documents) == (records, documents)
    assert receipt.records == receipt.documents + sum(receipt.skipped.values()) + sum(receipt.quarantined.values())

    kept = [row for part in receipt.parts for row in pq.read_table(tmp_path / "documents" / part.file.path).to_pylist()]
    assert len(kept) == len({row["doc_id"] for row in kept}) == documents
    assert sum("declared_length" in (row["meta"] or "") for row in kept) == mended
    for row in kept:
        assert row["text"].strip()
        assert " " not in (row["url"] or "")
        assert not (row["url"] or "").startswith("<")

    rows = pq.read_table(tmp_path / "quarantine" / receipt.quarantine.path).to_pylist() if receipt.quarantine else []
    assert [(row["offset"], row["reason"], row["detail"]) for row in rows] == bad
    assert {row["uri"] for row in rows} <= {name}
