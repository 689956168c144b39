"""The whole of near-duplicate removal against its definition: one document after another, in keep order."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from redpajama_pipe.dedup.minhash import MinHashSpec, sign_batch
from redpajama_pipe.dedup.near import near_duplicates
from redpajama_pipe.errors import GateError
from redpajama_pipe.schema import DECISIONS, spark_ddl
from redpajama_pipe.settings.dedup import Dedup

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

SHINGLE = 3
SPEC = MinHashSpec(num_perm=64, shingle=SHINGLE, bands=16, rows=4)
DEDUP = Dedup(threshold=0.7)
PARTS = 4

Row = dict[str, Any]


@dataclass(frozen=True)
class Corpus:
    """Documents on disk as ingest leaves them, and what annotation knows of them."""

    folder: Path
    texts: dict[bytes, str]
    rows: list[Row]

    def frame(self, spark: SparkSession, partitions: int = 2, seed: int = 0) -> DataFrame:
        shuffled = random.Random(seed).sample(self.rows, len(self.rows))
        return spark.createDataFrame(pa.Table.from_pylist(shuffled, schema=ANNOTATED)).repartition(partitions)

    def open_part(self) -> Callable[[str], pq.ParquetFile]:
        folder = self.folder
        # a lambda: Spark ships it as it is, while workers cannot import a test module
        return lambda part: pq.ParquetFile(folder / f"{part}.parquet")


ANNOTATED = pa.schema(
    {
        "doc_id": pa.binary(),
        "source": pa.string(),
        "language": pa.string(),
        "part": pa.string(),
        "row": pa.int64(),
        "source_rank": pa.int32(),
        "char_count": pa.int64(),
        "signature": pa.binary(),
    }
)


def write(folder: Path, texts: list[str]) -> Corpus:
    """Spread texts over parts; the first two thirds of them come from the source `books`, rank 0."""
    signatures = sign_batch(pa.array(texts, pa.string()), SPEC).to_pylist()
    rows: list[Row] = []
    parts: dict[str, list[tuple[bytes, str]]] = {f"p{n}": [] for n in range(PARTS)}
    for number, text in enumerate(texts):
        doc_id = hashlib.blake2b(str(number).encode(), digest_size=16).digest()
        part = f"p{number * 7 % PARTS}"
        books = number < 2 * len(texts) // 3
        rows.append(
            {
                "doc_id": doc_id,
                "source": "books" if books else "web",
                "language": None if number % 5 == 0 else "en",
                "part": part,
                "row": len(parts[part]),
                "source_rank": 0 if books else 1,
                "char_count": len(text),
                "signature": signatures[number],
            }
        )
        parts[part].append((doc_id, text))
    folder.mkdir()
    for part, held in parts.items():
        columns = {"doc_id": pa.array([i for i, _ in held], pa.binary()), "text": [text for _, text in held]}
        pq.write_table(pa.table(columns), folder / f"{part}.parquet", row_group_size=20)
    return Corpus(folder, {i: text for held in parts.values() for i, text in held}, rows)


def families(seed: int, count: int) -> list[str]:
    """Texts of 40 words in families: members differ from the first by 0 to 6 words, so some pairs pass, some do not."""
    chance = random.Random(seed)
    words = [f"w{n}" for n in range(3000)]
    texts = []
    while len(texts) < count:
        first = chance.choices(words, k=40)
        texts.append(" ".join(first))
        for _ in range(chance.choice([0, 0, 1, 2, 8])):
            member = list(first)
            for _ in range(chance.randrange(7)):
                member[chance.randrange(40)] = chance.choice(words)
            texts.append(" ".join(member))
    texts[10] = texts[20] = "two words"
    texts[30] = ""
    chance.shuffle(texts)
    return texts[:count]


def shingles(text: str) -> set[tuple[str, ...]]:
    words = text.split()
    return {tuple(words[i : i + SHINGLE]) for i in range(len(words) - SHINGLE + 1)}


def bands(row: Row) -> set[tuple[int, bytes]]:
    if row["signature"] is None:
        return set()
    width = SPEC.rows * SPEC.dtype.itemsize
    return {(band, row["signature"][band * width : (band + 1) * width]) for band in range(SPEC.bands)}


def one_by_one(corpus: Corpus, threshold: float) -> dict[bytes, tuple[bytes, float]]:
    """The definition: each document, in keep order, against every kept one that shares a band with it.

    Returns:
        Of each dropped document, the kept one it is most similar to (the first of them in keep order) and how similar.
    """
    kept: list[Row] = []
    dropped: dict[bytes, tuple[bytes, float]] = {}
    for row in sorted(corpus.rows, key=lambda row: (row["source_rank"], -row["char_count"], row["doc_id"])):
        mine = shingles(corpus.texts[row["doc_id"]])
        found = []
        for place, other in enumerate(kept):
            if bands(row) & bands(other):
                theirs = shingles(corpus.texts[other["doc_id"]])
                similarity = len(mine & theirs) / len(mine | theirs)
                if similarity >= threshold:
                    found.append((-similarity, place))
        if found:
            similarity, place = min(found)
            dropped[row["doc_id"]] = kept[place]["doc_id"], -similarity
        else:
            kept.append(row)
    return dropped


def decided(decisions: DataFrame) -> list[Row]:
    rows: list[Row] = decisions.toArrow().to_pylist()
    assert len({row["doc_id"] for row in rows}) == len(rows), "a document is dropped once"
    return sorted(rows, key=lambda row: row["doc_id"])


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return write(tmp_path_factory.mktemp("near") / "documents", families(5, 400))


@pytest.fixture(scope="module")
def expected(spark: SparkSession, corpus: Corpus) -> list[Row]:
    """Decisions by the plainest settings; one test ties them to the definition, the others tie the rest to them."""
    return decided(near_duplicates(corpus.frame(spark), corpus.open_part(), SPEC, DEDUP))


def test_decisions_are_those_of_going_one_by_one(corpus: Corpus, expected: list[Row]) -> None:
    definition = one_by_one(corpus, DEDUP.threshold)
    assert 50 < len(definition) < 200
    assert {row["doc_id"]: (row["kept_doc_id"], row["similarity"]) for row in expected} == definition


@pytest.mark.parametrize(
    ("partitions", "adaptive", "driver_edges"),
    [
        (1, "true", 10**6),
        (2, "false", 10**6),
        (7, "true", 10**6),
        (7, "false", 0),
        (50, "true", 10**6),
        (50, "false", 10**6),
    ],
)
def test_decisions_do_not_depend_on_how_the_work_is_cut(
    spark: SparkSession,
    configure: Callable[..., None],
    corpus: Corpus,
    expected: list[Row],
    partitions: int,
    adaptive: str,
    driver_edges: int,
) -> None:
    # Batches of 3 rows: components, parts and buckets all run over the ends of batches.
    configure(adaptive_enabled=adaptive, execution_arrow_maxRecordsPerBatch="3")
    documents = corpus.frame(spark, partitions, seed=partitions)
    dedup = replace(DEDUP, driver_edges=driver_edges)
    assert decided(near_duplicates(documents, corpus.open_part(), SPEC, dedup, partitions)) == expected


def test_a_decision_is_a_full_receipt(spark: SparkSession, corpus: Corpus, expected: list[Row]) -> None:
    from pyspark.sql.types import StructType

    decisions = near_duplicates(corpus.frame(spark), corpus.open_part(), SPEC, DEDUP)
    declared = StructType.fromDDL(spark_ddl(DECISIONS))
    assert [(f.name, f.dataType) for f in decisions.schema] == [(f.name, f.dataType) for f in declared]
    annotated = {row["doc_id"]: row for row in corpus.rows}
    for row in expected:
        evidence = json.loads(row["evidence"])
        assert list(evidence) == ["kept", "jaccard", "threshold", "component", "component_size"]
        assert evidence["kept"] == row["kept_doc_id"].hex()
        assert evidence["jaccard"] == row["similarity"] >= evidence["threshold"] == DEDUP.threshold
        assert evidence["component"] <= min(row["doc_id"], row["kept_doc_id"]).hex()
        assert evidence["component_size"] >= 2
        assert row["source"] == annotated[row["doc_id"]]["source"]
        assert row["language"] == annotated[row["doc_id"]]["language"]
        assert (row["action"], row["stage"], row["rule"], row["rank"]) == ("drop", "dedup", "near_duplicate", 0)
        assert row["span_start"] is row["span_end"] is row["replacement"] is None


def test_nothing_is_dropped_through_a_chain(spark: SparkSession, tmp_path: Path) -> None:
    words = [f"c{n}" for n in range(60)]
    # Each step replaces the next 8 words, so neighbours are alike and the ends are not; lengths set the keep order.
    a = words
    b = [f"x{n}" for n in range(8)] + words[8:]
    c = [f"x{n}" for n in range(8)] + words[8:52] + [f"y{n}" for n in range(8)]
    corpus = write(tmp_path / "documents", [" ".join([*a, "long", "tail"]), " ".join([*b, "tail"]), " ".join(c)])
    dedup = replace(DEDUP, threshold=0.6)
    ids = [row["doc_id"] for row in corpus.rows]
    sets = [shingles(corpus.texts[doc_id]) for doc_id in ids]

    def alike(i: int, j: int) -> bool:
        return len(sets[i] & sets[j]) / len(sets[i] | sets[j]) >= dedup.threshold

    assert alike(0, 1)
    assert alike(1, 2)
    assert not alike(0, 2)
    (row,) = decided(near_duplicates(corpus.frame(spark), corpus.open_part(), SPEC, dedup))
    assert (row["doc_id"], row["kept_doc_id"]) == (ids[1], ids[0])
    assert json.loads(row["evidence"])["component_size"] == 3, "the chain did hang together"


def test_short_documents_stay(corpus: Corpus, expected: list[Row]) -> None:
    short = {row["doc_id"] for row in corpus.rows if row["signature"] is None}
    assert len(short) == 3
    assert short.isdisjoint(row["doc_id"] for row in expected)


def test_keep_order_says_which_one_stays(spark: SparkSession, corpus: Corpus) -> None:
    rank = {row["doc_id"]: row["source_rank"] for row in corpus.rows}
    dedup = replace(DEDUP, keep_order="source_rank desc")
    rows = decided(near_duplicates(corpus.frame(spark), corpus.open_part(), SPEC, dedup))
    assert {(rank[row["doc_id"]], rank[row["kept_doc_id"]]) for row in rows} == {(0, 0), (0, 1), (1, 1)}


def test_a_component_over_the_limit_stops_before_any_text_is_read(spark: SparkSession, corpus: Corpus) -> None:
    def never(part: str) -> pq.ParquetFile:
        raise AssertionError(part)

    with pytest.raises(GateError, match=r"documents hang together by shared bands, more than dedup\.max_component=2 "):
        near_duplicates(corpus.frame(spark), never, SPEC, replace(DEDUP, max_component=2))


def test_a_part_of_another_run_is_an_error(spark: SparkSession, corpus: Corpus) -> None:
    from pyspark.errors import PythonException

    open_part = corpus.open_part()
    decisions = near_duplicates(corpus.frame(spark), lambda part: open_part("p3"), SPEC, DEDUP)
    with pytest.raises(
        PythonException, match=r"document part p[012] has other ids than its annotations at rows \d+ to"
    ):
        decisions.collect()


def test_a_corpus_without_candidates_gives_no_decisions(spark: SparkSession, tmp_path: Path) -> None:
    corpus = write(tmp_path / "documents", ["one two three four", "five six seven eight", "nine"])
    assert decided(near_duplicates(corpus.frame(spark), corpus.open_part(), SPEC, DEDUP)) == []
