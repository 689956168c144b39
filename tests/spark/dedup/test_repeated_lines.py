from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from line_references import c4, ccnet, first_lines, first_paragraphs, paragraphs

from redpajama_pipe.dedup.lines import file_groups, repeated_lines, rule_of
from redpajama_pipe.settings.dedup import Lines
from redpajama_pipe.tokens.spans import apply_spans

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

PARTS = ["web-a-0000", "web-a-0001", "web-b-0000", "web-c-0000"]
ROWS = 20
Row = dict[str, Any]


def corpus() -> list[Row]:
    chance = random.Random(11)
    lines = ["", " ", "Home", "All rights reserved.", "all  RIGHTS reserved.", "Été 2020", "x."]
    rows: list[Row] = []
    for part in PARTS:
        for row in range(ROWS):
            own = [f"Only {'abcd'[PARTS.index(part)]} {chr(97 + row)}." for _ in range(chance.randrange(3))]
            text = "\n".join(chance.sample([*lines, *own, *own[:1]], chance.randrange(1, 4)))
            name = f"{part}/{row}"
            doc_id = hashlib.blake2b(name.encode(), digest_size=16).digest()
            known = {"doc_id": doc_id, "source": "web", "language": "en", "part": part, "row": row}
            rows.append({**known, "byte_count": len(text.encode()), "stars": chance.choice([None, 1, 2]), "text": text})
    rows[3] |= {"text": "", "byte_count": 0}
    return rows


def write(rows: list[Row], folder: Path) -> Callable[[str], pq.ParquetFile]:
    for part in PARTS:
        of_part = [{"doc_id": row["doc_id"], "text": row["text"]} for row in rows if row["part"] == part]
        pq.write_table(pa.Table.from_pylist(of_part), folder / f"{part}.parquet", row_group_size=7)

    def open_part(part: str) -> pq.ParquetFile:
        return pq.ParquetFile(folder / f"{part}.parquet")

    return open_part


def frame(spark: SparkSession, rows: list[Row], partitions: int) -> DataFrame:
    known = [{name: value for name, value in row.items() if name != "text"} for row in rows]
    random.Random(partitions).shuffle(known)
    return spark.createDataFrame(pa.Table.from_pylist(known)).repartition(partitions)


def decided(found: DataFrame) -> list[Row]:
    return sorted(found.toArrow().to_pylist(), key=lambda row: (row["doc_id"], row["span_start"] or 0))


def left(rows: list[Row], decisions: list[Row]) -> list[str | None]:
    dropped = {row["doc_id"] for row in decisions if row["action"] == "drop"}
    spans: dict[bytes, list[tuple[int, int, None]]] = {}
    for row in decisions:
        spans.setdefault(row["doc_id"], []).append((row["span_start"], row["span_end"], None))
    return [
        None if row["doc_id"] in dropped else apply_spans(row["text"].encode(), spans.get(row["doc_id"], [])).decode()
        for row in rows
    ]


@pytest.mark.parametrize(
    "lines",
    [Lines("first", min_chars=4), Lines("first", "paragraph", 4), Lines("ccnet", group_files=2), Lines("c4")],
    ids=["line", "paragraph", "ccnet", "c4"],
)
def test_decisions_are_the_definition_and_do_not_depend_on_partitions(
    spark: SparkSession, configure: Callable[..., None], tmp_path: Path, lines: Lines
) -> None:
    # in keep order: stars downwards, unknown ones last, then the id
    rows = sorted(corpus(), key=lambda row: (row["stars"] is None, -(row["stars"] or 0), row["doc_id"]))
    open_part = write(sorted(rows, key=lambda row: (row["part"], row["row"])), tmp_path)
    groups = file_groups(PARTS, lines.group_files)
    found = decided(repeated_lines(frame(spark, rows, 2), open_part, lines, "stars desc", groups, 3))
    texts = [row["text"] for row in rows]
    after = left(rows, found)
    if lines.mode == "ccnet":
        assert after == ccnet(texts, [groups[row["part"]] for row in rows])
        assert {row["rule"] for row in found} == {"ccnet_paragraph", "ccnet_no_text_left"}
        assert None in after
    else:
        assert {(row["action"], row["rule"]) for row in found} == {("cut", rule_of(lines))}
        kept = [text for text in after if text is not None]
        if lines.mode == "c4":
            assert ["".join(text.split()) for text in kept] == ["".join("".join(each).split()) for each in c4(texts)]
        elif lines.unit == "line":
            assert kept == first_lines(texts, 4)
        else:
            assert [[each.strip() for each in paragraphs(text)] for text in kept] == first_paragraphs(texts, 4)
        for row in found:
            assert json.loads(row["evidence"])["kept"] == row["kept_doc_id"].hex()
    assert {row["rank"] for row in found} == {0}
    configure(adaptive_enabled="false", execution_arrow_maxRecordsPerBatch="5")
    assert decided(repeated_lines(frame(spark, rows, 5), open_part, lines, "stars desc", groups, 7)) == found


def test_files_are_grouped_in_the_order_of_the_corpus() -> None:
    assert file_groups(PARTS, 1) == dict(zip(PARTS, [0, 0, 1, 2], strict=True))
    assert file_groups(PARTS, 2) == dict(zip(PARTS, [0, 0, 0, 1], strict=True))
