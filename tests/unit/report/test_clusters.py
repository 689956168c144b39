from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from redpajama_pipe import manifest, schema
from redpajama_pipe.cli import main
from redpajama_pipe.dedup.duplicate_counts import COUNT, DUPLICATES, FOLDER, SOURCES
from redpajama_pipe.errors import InputError, ManifestError
from redpajama_pipe.report import terminal
from redpajama_pipe.report.clusters import WIDTH, Group, Member, clusters_text, render
from redpajama_pipe.schema import DECISIONS, DOCUMENTS
from redpajama_pipe.tables import TableWriter


def doc_id(number: int) -> bytes:
    return bytes([number]) * 16


def write(path: Path, rows: list[dict[str, Any]], columns: pa.Schema) -> None:
    with TableWriter(str(path), columns) as writer:
        for row in rows:
            writer.append(pa.RecordBatch.from_pylist([row], schema=columns))


@pytest.fixture
def run(tmp_path: Path) -> str:
    """Ten documents in two parts: 7 went for document 0, among them 1 equal; 9 went for 8."""
    documents = []
    for number in range(10):
        provenance = dict.fromkeys(DOCUMENTS.names) | {
            "doc_id": doc_id(number),
            "source": "web" if number % 2 else "wikipedia",
            "part": f"p{number % 2}",
            "row": number // 2,
            "uri": "u",
            "record_id": str(number),
            "offset": 0,
            "length": 0,
            "url": f"https://example.org/{number}" if number != 3 else None,
            "text": f"First line of {number}\nand a second one\n",
        }
        documents.append(provenance)
    for part in ("p0", "p1"):
        write(tmp_path / f"documents/{part}.parquet", [row for row in documents if row["part"] == part], DOCUMENTS)
    base = dict.fromkeys(DECISIONS.names) | {"action": "drop", "stage": "dedup", "rank": 0, "evidence": "{}"}
    drops = [
        base
        | {
            "doc_id": doc_id(number),
            "source": "web" if number % 2 else "wikipedia",
            "rule": "exact_duplicate" if number == 1 else "near_duplicate",
            "kept_doc_id": doc_id(8 if number == 9 else 0),
            "similarity": 1.0 if number == 1 else 0.8 + number / 100,
        }
        for number in (1, 2, 3, 4, 5, 6, 7, 9)
    ]
    folder = tmp_path / "decisions/dedup"
    write(folder / "part-00000.parquet", drops, DECISIONS)
    counts = [
        {"doc_id": doc_id(0), COUNT: 7, SOURCES: ["web", "wikipedia"]},
        {"doc_id": doc_id(8), COUNT: 1, SOURCES: ["web"]},
    ]
    write(folder / FOLDER / "part-00000.parquet", counts, DUPLICATES)
    totals = {"documents": {"web": 5, "wikipedia": 5}, "by_rule": {"web": {"near_duplicate": 8}, "wikipedia": {}}}
    manifest.write(str(folder), "dedup", {}, {}, totals, [])
    return str(tmp_path)


GOLDEN = f"""\
8 duplicates dropped of 10 documents; the largest 2 groups:

1. 7 documents dropped for {doc_id(0).hex()}, similarity 0.820 to 1.000
   rules          near_duplicate 6, exact_duplicate 1
   sources        web 4, wikipedia 3
   stays          {doc_id(0).hex()}  wikipedia  https://example.org/0
     │ First line of 0
   dropped 0.820  {doc_id(2).hex()}  wikipedia  https://example.org/2
     │ First line of 2
   dropped 0.830  {doc_id(3).hex()}  web
     │ First line of 3
   dropped 0.840  {doc_id(4).hex()}  wikipedia  https://example.org/4
     │ First line of 4
   dropped 0.850  {doc_id(5).hex()}  web  https://example.org/5
     │ First line of 5
   dropped 0.860  {doc_id(6).hex()}  wikipedia  https://example.org/6
     │ First line of 6
   and 2 more

2. 1 document dropped for {doc_id(8).hex()}, similarity 0.890
   rules          near_duplicate 1
   sources        web 1
   stays          {doc_id(8).hex()}  wikipedia  https://example.org/8
     │ First line of 8
   dropped 0.890  {doc_id(9).hex()}  web  https://example.org/9
     │ First line of 9
"""


def test_the_largest_groups(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["clusters", run]) == 0
    assert capsys.readouterr().out == GOLDEN


def test_top_and_text(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["clusters", run, "--top", "1", "--text"]) == 0
    shown = capsys.readouterr().out
    assert "the largest 1 group:" in shown
    assert shown.count("     │ and a second one") == 6
    assert doc_id(8).hex() not in shown


def test_what_is_missing_or_wrong_is_said(run: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="clusters --top 0: show at least one group"):
        clusters_text(run, 0)
    with pytest.raises(ManifestError, match="no finished output"):
        clusters_text(str(tmp_path / "nothing"))


def test_a_run_without_duplicates_has_no_groups() -> None:
    assert render([], 12, 0) == "0 duplicates dropped of 12 documents\n"


texts = st.text(max_size=200)


@given(texts, texts, st.none() | texts, st.none() | st.floats(0, 1))
def test_no_line_is_wider_than_the_page_and_no_text_commands_the_terminal(
    source: str, text: str, url: str | None, similarity: float | None
) -> None:
    member = Member(doc_id(1), source, url, url, text + "\x1b[2J\u202e", source, similarity)
    both = None if similarity is None else (similarity, similarity)
    made = render([Group(member, 10**9, {source: 10**9}, {source: 1}, both, [member])], 10**12, 10**9, lines=8)
    assert "\x1b" not in made
    assert "\u202e" not in made
    assert all(terminal.width(line) <= WIDTH for line in made.split("\n"))


def test_places_are_those_of_the_documents(run: str) -> None:
    assert schema.ROW in DOCUMENTS.names  # the fixture writes what ingest does
    assert "First line of 9" in clusters_text(run, 2)
