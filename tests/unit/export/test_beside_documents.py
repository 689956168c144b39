"""The files beside RedPajama-V2's documents: whose signals and signatures they hold; they come whole or not at all."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from redpajama_pipe import schema
from redpajama_pipe.dedup.minhash import sign_batch
from redpajama_pipe.errors import ManifestError
from redpajama_pipe.export import redpajama_v2
from redpajama_pipe.export.parts import ExportSettings, exporter
from redpajama_pipe.export.redpajama_v2 import Beside, Exported, Known
from redpajama_pipe.settings.annotate import Annotate, MinHash
from redpajama_pipe.signals import score
from redpajama_pipe.signals.redpajama_v2_record import MINHASH, SPEC, Place, minhash_rows
from redpajama_pipe.storage import File

NAMES = ("rps_doc_word_count", "rps_doc_curly_bracket", "rps_lines_num_words", "rps_lines_start_with_bulletpoint")
TEXTS = [" ".join(f"w{number}" for number in range(5 * n, 9 * n)) + ("\n• {" * n) for n in range(1, 8)]
HEAD, TAIL = "documents/2023-06/0000/en_head.json.gz", "documents/2023-06/0000/en_tail.json.gz"


def exported(texts: Sequence[str], changed: Sequence[int] = (), duplicates: Sequence[int] = ()) -> list[Exported]:
    """Documents that lie in two files by turns."""
    found = []
    for index, text in enumerate(texts):
        keys = "url source_domain cc_segment length original_length nlines original_nlines language_score perplexity"
        record: dict[str, Any] = dict.fromkeys(keys.split()) | {"raw_content": text, "bucket": "head"}
        record |= {"language": "en", "digest": f"sha1:{index}"}
        place = (HEAD, TAIL)[index % 2]
        found.append(Exported(place, index // 2, record, index in changed, index in duplicates))
    return found


def stored(texts: Sequence[str], signals: Sequence[str] = NAMES) -> pa.RecordBatch:
    """What a run knows: ids, signals, signatures of RedPajama-V2's kind."""
    array = pa.array(texts)
    columns = [array.cast(pa.binary()), *score(array, signals).columns, sign_batch(array, SPEC)]
    return pa.RecordBatch.from_arrays(columns, names=[schema.DOC_ID, *signals, schema.SIGNATURE])


def known(preset: str = "redpajama_v2_0.9", signals: Sequence[str] = NAMES, *, deduplicated: bool = True) -> Known:
    return Known("", tuple(signals), Annotate(minhash=MinHash(preset=preset)), deduplicated)


def write(
    target: Path, of: Known, documents: Sequence[Exported], batch: pa.RecordBatch, step: int = 100
) -> list[tuple[File, int]]:
    with ExitStack() as files:
        beside = Beside(str(target), of, files)
        for start in range(0, len(documents), step):
            beside.write(documents[start : start + step], batch.slice(start, step))
        beside.end()
    return beside.written()


def contents(target: Path) -> dict[str, bytes]:
    return {str(path.relative_to(target)): path.read_bytes() for path in target.rglob("*") if path.is_file()}


def signals_of(target: Path, bucket: str) -> list[dict[str, Any]]:
    path = target / f"quality_signals/2023-06/0000/en_{bucket}.signals.json.gz"
    return [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]


def test_row_for_row_beside_the_documents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redpajama_v2, "ROWS_PER_GROUP", 2)
    documents = exported(TEXTS, duplicates=[2, 3, 4])
    files = write(tmp_path / "a", known(), documents, stored(TEXTS))
    assert {file.path: rows for file, rows in files} == {
        "quality_signals/2023-06/0000/en_head.signals.json.gz": 4,
        "quality_signals/2023-06/0000/en_tail.signals.json.gz": 3,
        "minhash/2023-06/0000/en_head.minhash.parquet": 4,
        "minhash/2023-06/0000/en_tail.minhash.parquet": 3,
        "duplicates/2023-06/0000/en_head.duplicates.parquet": 2,
        "duplicates/2023-06/0000/en_tail.duplicates.parquet": 1,
    }
    found = contents(tmp_path / "a")
    assert {file.path: file.bytes for file, _ in files} == {path: len(data) for path, data in found.items()}
    places = [Place("2023-06/0000/en_head.json.gz", row) for row in range(4)]
    assert [record["id"] for record in signals_of(tmp_path / "a", "head")] == [place.id for place in places]
    counts = [record["quality_signals"]["rps_doc_word_count"][0][2] for record in signals_of(tmp_path / "a", "head")]
    assert counts == score(pa.array(TEXTS[::2]), NAMES)[0].to_pylist()
    table = pq.read_table(tmp_path / "a/minhash/2023-06/0000/en_head.minhash.parquet")
    assert table.schema.equals(MINHASH)
    assert table.to_pylist() == minhash_rows(places, sign_batch(pa.array(TEXTS[::2]), SPEC)).to_pylist()
    listed = pq.read_table(tmp_path / "a/duplicates/2023-06/0000/en_head.duplicates.parquet").to_pylist()
    assert [(row["doc_id"], row["digest"]) for row in listed] == [(places[1].id, "2"), (places[2].id, "4")]
    # the same bytes whatever the batches, and whether the run has the signatures or not
    write(tmp_path / "b", known(), documents, stored(TEXTS), step=3)
    write(tmp_path / "c", known("default"), documents, stored(TEXTS))
    assert contents(tmp_path / "b") == contents(tmp_path / "c") == found


def test_what_decisions_changed_is_scored_and_signed_anew(tmp_path: Path) -> None:
    cut = [text if index not in (1, 4) else text[12:] for index, text in enumerate([*TEXTS, "gone"])]
    cut[-1] = ""
    documents = exported(cut, changed=[1, 4, 7])
    write(tmp_path / "new", known(), documents, stored([*TEXTS, "gone"]))
    write(tmp_path / "whole", known(), exported(cut), stored(cut))
    assert contents(tmp_path / "new") == contents(tmp_path / "whole")
    assert signals_of(tmp_path / "new", "tail")[-1]["quality_signals"] == {
        "ccnet_bucket": [[0, 0, 0.0]],
        "rps_doc_word_count": [[0, 0, 0]],
        "rps_doc_curly_bracket": [[0, 0, 0.0]],
        "rps_lines_num_words": [],
        "rps_lines_start_with_bulletpoint": [[0, 0, None]],
    }


def test_a_run_without_signals_or_dedup_has_what_is_known(tmp_path: Path) -> None:
    documents = exported(TEXTS, changed=[3])
    batch = stored(TEXTS, ()).select([schema.DOC_ID])
    write(tmp_path, known("default", (), deduplicated=False), documents, batch)
    assert {path.name for path in tmp_path.iterdir()} == {"quality_signals", "minhash"}
    assert all(set(record["quality_signals"]) == {"ccnet_bucket"} for record in signals_of(tmp_path, "head"))


@pytest.mark.parametrize(
    ("minhash", "same"),
    [
        (MinHash("redpajama_v2_1.0"), True),
        (MinHash("redpajama_v2_0.7", bands=5, rows=5), True),
        (MinHash("redpajama_v2_0.7", shingle=5), False),
        (MinHash("redpajama_v2_0.7", num_perm=126), False),
        (MinHash("slimpajama"), False),
    ],
)
def test_signatures_are_taken_over_only_when_they_are_the_published_ones(minhash: MinHash, same: bool) -> None:
    assert Known("", (), Annotate(minhash=minhash), deduplicated=False).signed is same


def part(folder: Path, rows: int, group: int) -> pa.Table:
    """Write a document part, and return its rows as an export is given them."""
    table = pa.Table.from_pylist([{"text": TEXTS[row], "doc_id": bytes([row] * 16)} for row in range(rows)])
    defaults = {"source": "s", "part": "p", "uri": "u", "record_id": "r", "offset": 0, "length": 0}
    columns = {name: table[name] for name in table.schema.names} | {"row": pa.array(range(rows))}
    for field in schema.DOCUMENTS:
        columns.setdefault(field.name, pa.array([defaults.get(field.name)] * rows, field.type))
    folder.mkdir()
    pq.write_table(pa.table(columns).select(schema.DOCUMENTS.names), folder / "p.parquet", row_group_size=group)
    known_of = {"language": ["en"] * rows, "language_score": [0.5] * rows, "order": [3] * rows}
    known_of |= {"perplexity": [None] * rows, "perplexity_bucket": ["head"] * rows}
    known_of |= {"duplicate": [row == 4 or None for row in range(rows)]}
    return pa.table({name: columns[name] for name in ("part", "row", "doc_id")} | known_of)


def test_an_export_that_fails_leaves_no_file(tmp_path: Path) -> None:
    rows = part(tmp_path / "documents", 6, 2)
    of = Known(str(tmp_path / "documents"), (), Annotate(), deduplicated=True)
    settings = ExportSettings(str(tmp_path / "documents"), str(tmp_path / "out"), "redpajama_v2", {"s": "jsonl"}, of)
    wrong = rows.set_column(2, "doc_id", pa.array([*rows["doc_id"].to_pylist()[:5], b"other"]))
    with pytest.raises(ManifestError, match="other ids than its annotations"):
        list(exporter(settings)(wrong.to_batches()))
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    [written] = exporter(settings)(rows.to_batches(max_chunksize=4))
    assert written["path"].to_pylist() == sorted(contents(tmp_path / "out"))
    assert written["rows"].to_pylist() == [6, 1, 6, 6]
    # annotations with other row groups belong to another run
    part(tmp_path / "annotations", 6, 3)
    other = ExportSettings(**{**vars(settings), "known": Known(str(tmp_path / "annotations"), (), Annotate(), True)})
    with pytest.raises(ManifestError, match="document part p has other row groups"):
        list(exporter(other)(rows.to_batches()))
