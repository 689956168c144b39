"""What `verify`, `survivors`, the presets and the byte budget make of a corpus, against plain references."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from test_near import SHINGLE, SPEC, Corpus, bands, decided, families, shingles, write

from redpajama_pipe.dedup.minhash import MinHashSpec, sign_batch
from redpajama_pipe.dedup.near import near_duplicates
from redpajama_pipe.dedup.normalizations import normalize_datatrove, normalize_redpajama_v2, normalize_slimpajama
from redpajama_pipe.settings.annotate import MinHash
from redpajama_pipe.settings.dedup import Dedup

if TYPE_CHECKING:
    import pyarrow.parquet as pq
    from pyspark.sql import SparkSession

Row = dict[str, Any]
Measure = Callable[[Row, Row], float]
M61 = (1 << 61) - 1


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return write(tmp_path_factory.mktemp("ways") / "documents", families(8, 160))


def in_order(rows: list[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: (row["source_rank"], -row["char_count"], row["doc_id"]))


def measure_of(corpus: Corpus, verify: str) -> Measure:
    sets = {doc_id: shingles(text) for doc_id, text in corpus.texts.items()}

    def equal_values(later: Row, earlier: Row) -> float:
        a, b = (np.frombuffer(row["signature"], SPEC.dtype) for row in (later, earlier))
        return float((a == b).mean())

    def of_sets(later: Row, earlier: Row) -> float:
        a, b = sets[later["doc_id"]], sets[earlier["doc_id"]]
        return len(a & b) / len(a if verify == "containment" else a | b)

    return equal_values if verify in ("estimate", "none") else of_sets


def walked(corpus: Corpus, measure: Measure, threshold: float) -> dict[bytes, tuple[bytes, float]]:
    kept: list[Row] = []
    dropped: dict[bytes, tuple[bytes, float]] = {}
    for row in in_order(corpus.rows):
        found = [(-measure(row, other), at) for at, other in enumerate(kept) if bands(row) & bands(other)]
        best = min([pair for pair in found if -pair[0] >= threshold], default=None)
        if best:
            dropped[row["doc_id"]] = kept[best[1]]["doc_id"], -best[0]
        else:
            kept.append(row)
    return dropped


def union_find(rows: list[Row], joined: Callable[[Row, Row], bool]) -> dict[bytes, bytes]:
    """Every pair, one after another: each document that is not the first of its component → the first."""
    ordered = in_order(rows)
    parent = list(range(len(ordered)))

    def root(at: int) -> int:
        while parent[at] != at:
            at = parent[at]
        return at

    for later in range(len(ordered)):
        for earlier in range(later):
            if joined(ordered[later], ordered[earlier]):
                low, high = sorted((root(later), root(earlier)))
                parent[high] = low
    return {ordered[at]["doc_id"]: ordered[root(at)]["doc_id"] for at in range(len(ordered)) if root(at) != at}


@pytest.mark.parametrize(
    ("verify", "survivors"),
    [
        ("containment", "walk"),
        ("estimate", "walk"),
        ("jaccard", "components"),
        ("none", "components"),
    ],
)
def test_every_way_is_its_definition(spark: SparkSession, corpus: Corpus, verify: Any, survivors: Any) -> None:
    def never(part: str) -> pq.ParquetFile:
        raise AssertionError(part)

    dedup = Dedup(threshold=0.7, verify=verify, survivors=survivors)
    reads = verify in ("jaccard", "containment")
    found = decided(near_duplicates(corpus.frame(spark), corpus.open_part() if reads else never, SPEC, dedup))
    measure, threshold = measure_of(corpus, verify), 0.0 if verify == "none" else 0.7
    if survivors == "walk":
        expected = walked(corpus, measure, threshold)
    else:
        by_id = {row["doc_id"]: row for row in corpus.rows}
        twins = union_find(corpus.rows, lambda a, b: bool(bands(a) & bands(b)) and measure(a, b) >= threshold)
        expected = {a: (b, measure(by_id[a], by_id[b])) for a, b in twins.items()}
    assert 10 < len(expected) < 100
    assert {row["doc_id"]: (row["kept_doc_id"], row["similarity"]) for row in found} == expected
    assert {row["kept_doc_id"] for row in found}.isdisjoint(expected), "who is named stays"
    name = verify if reads else "estimate"
    keys = ["kept", name, *(["threshold"] if verify != "none" else []), "component", "component_size"]
    keys += ["survivors"] if survivors == "components" else []
    for row in found:
        evidence = json.loads(row["evidence"])
        assert list(evidence) == keys
        assert evidence[name] == row["similarity"]


def test_the_byte_budget_changes_no_decision(
    spark: SparkSession, configure: Callable[..., None], corpus: Corpus
) -> None:
    dedup = Dedup(threshold=0.7)
    expected = decided(near_duplicates(corpus.frame(spark), corpus.open_part(), SPEC, dedup))
    configure(execution_arrow_maxRecordsPerBatch="4")
    in_files = replace(dedup, component_bytes=0)
    assert decided(near_duplicates(corpus.frame(spark, 3, 1), corpus.open_part(), SPEC, in_files, 3)) == expected


def of_redpajama(text: str, a: list[int], b: list[int]) -> list[int] | None:
    """generate_signature of RedPajama-V2, number by number."""
    words = normalize_redpajama_v2(text).split()
    if len(words) < 13:
        return None
    hashes = [
        int.from_bytes(hashlib.sha1(" ".join(words[i : i + 13]).encode()).digest()[:4], "little")
        for i in range(len(words) - 12)
    ]
    return [min((x * h + y) % 2**64 % M61 & 0xFFFFFFFF for h in hashes) for x, y in zip(a, b, strict=True)]


def of_fineweb(text: str, a: list[int], b: list[int]) -> list[int] | None:
    """get_signature of datatrove, with 64 bits of SHA-1."""
    words = normalize_datatrove(text).split()
    if len(words) < 5:
        return None
    hashes = [
        int.from_bytes(hashlib.sha1(" ".join(words[i : i + 5]).encode()).digest()[:8], "little")
        for i in range(len(words) - 4)
    ]
    return [min((x * h + y) % 2**64 % M61 for h in hashes) for x, y in zip(a, b, strict=True)]


def of_slimpajama(text: str, a: list[int], b: list[int]) -> list[int] | None:
    plain = normalize_slimpajama(text)
    hashes = [
        int.from_bytes(hashlib.sha1(plain[i : i + 13].encode()).digest()[:4], "little") for i in range(len(plain) - 12)
    ]
    return (
        [min((x * h + y) % 2**64 % M61 & 0xFFFFFFFF for h in hashes) for x, y in zip(a, b, strict=True)]
        if hashes
        else None
    )


def drawn(seed: int, count: int, *, interleaved: bool) -> tuple[list[int], list[int]]:
    generator = np.random.RandomState(seed)

    def draw(low: int) -> int:
        return int(generator.randint(low, M61, dtype=np.uint64))

    if interleaved:
        pairs = [(draw(1), draw(0)) for _ in range(count)]
        return [a for a, _ in pairs], [b for _, b in pairs]
    return [draw(1) for _ in range(count)], [draw(0) for _ in range(count)]


PUBLISHED: dict[str, tuple[Callable[..., list[int] | None], tuple[list[int], list[int]]]] = {
    "redpajama_v2_0.8": (of_redpajama, drawn(42, 128, interleaved=True)),
    "fineweb": (of_fineweb, drawn(1, 112, interleaved=False)),
    "slimpajama": (of_slimpajama, drawn(1, 128, interleaved=True)),
}


@pytest.mark.parametrize("preset", PUBLISHED)
def test_clusters_of_published_pipelines(spark: SparkSession, corpus: Corpus, preset: str) -> None:
    """`verify: none` with `survivors: components` gives their clusters: any equal band joins, the first one stays."""
    settings = MinHash(preset=preset)
    spec = MinHashSpec.of(settings)
    sign, (a, b) = PUBLISHED[preset]
    texts = pa.array([corpus.texts[row["doc_id"]] for row in corpus.rows], pa.string())
    column = sign_batch(texts, spec).to_pylist()
    expected = [sign(text, a, b) for text in texts.to_pylist()]
    rows = [{**row, "signature": signature} for row, signature in zip(corpus.rows, column, strict=True)]
    signed = replace(corpus, rows=rows)
    for row, values in zip(rows, expected, strict=True):
        assert row["signature"] == (None if values is None else np.array(values, spec.dtype).tobytes())

    buckets: dict[bytes, set[tuple[int, bytes]]] = defaultdict(set)
    for row, values in zip(rows, expected, strict=True):
        for band in range(settings.bands if values else 0):
            piece = np.array(values[band * settings.rows : (band + 1) * settings.rows], ">u8").tobytes()  # type: ignore[index]
            buckets[row["doc_id"]].add((band, piece))
    clusters = union_find(rows, lambda x, y: bool(buckets[x["doc_id"]] & buckets[y["doc_id"]]))
    dedup = Dedup(verify="none", survivors="components")
    found = decided(near_duplicates(signed.frame(spark), corpus.open_part(), spec, dedup))
    assert {row["doc_id"]: row["kept_doc_id"] for row in found} == clusters
    assert len(clusters) > 10


def test_short_documents_stay_by_every_way(corpus: Corpus) -> None:
    assert sum(len(text.split()) < SHINGLE for text in corpus.texts.values()) == 3  # in the tests above
    assert not any(bands(row) for row in corpus.rows if len(corpus.texts[row["doc_id"]].split()) < SHINGLE)


def test_counts_of_duplicates_are_the_same_bytes_however_they_are_cut(spark: SparkSession, tmp_path: Path) -> None:
    from redpajama_pipe import decisions, manifest
    from redpajama_pipe.dedup import duplicate_counts
    from redpajama_pipe.run_folder import RunFolder
    from redpajama_pipe.schema import DECISIONS

    kept = [bytes([n]) * 16 for n in range(3)]
    base = dict.fromkeys(DECISIONS.names) | {"action": "drop", "stage": "dedup", "rank": 0, "evidence": "{}"}
    drops = [
        (kept[0], "web", "near_duplicate", 0),
        (kept[0], "books", "exact_duplicate", 0),
        (kept[0], "web", "exact_duplicate", 0),
        (kept[0], "arxiv", "near_duplicate", 1),  # not the decision that counts
        (kept[2], "web", "near_duplicate", 0),
        (None, "web", "other", 0),
    ]
    rows = [
        base | {"doc_id": bytes([100 + n]) * 16, "source": source, "rule": rule, "rank": rank, "kept_doc_id": to}
        for n, (to, source, rule, rank) in enumerate(drops)
    ]
    table = pa.Table.from_pylist(rows, schema=DECISIONS)
    written = []
    for partitions in (1, 5):
        run = RunFolder.at(str(tmp_path / str(partitions)))
        taken = spark.createDataFrame(table).repartition(partitions)
        folder = run.decisions("dedup")
        files = decisions.write(taken, folder, 9_000_000) + duplicate_counts.write(taken, folder, 9_000_000)
        written.append([(file.path, file.sha256) for file in files])
        manifest.write(folder, "dedup", {}, {}, {}, files)
        manifest.read(folder)  # it finds all files
        assert decisions.read(spark, [folder]).count() == len(rows), "the counts are no decisions"
        counts = duplicate_counts.read(spark, run).orderBy("doc_id").toArrow().to_pylist()
        assert counts == [
            {"doc_id": kept[0], "duplicate_count": 3, "duplicate_sources": ["books", "web"]},
            {"doc_id": kept[2], "duplicate_count": 1, "duplicate_sources": ["web"]},
        ]
    assert written[0] == written[1]
    assert duplicate_counts.read(spark, RunFolder.at(str(tmp_path / "none"))).count() == 0


def test_receipts_name_who_stays_after_every_kind(spark: SparkSession) -> None:
    """a equals b, b has the words of c, and c is like d: all three name d."""
    from contextlib import ExitStack

    from redpajama_pipe.schema import DECISIONS
    from redpajama_pipe.stages.dedup_documents import Kind, decide

    a, b, c, d = (bytes([n]) * 16 for n in range(4))
    base = dict.fromkeys(DECISIONS.names) | {"action": "drop", "source": "web", "stage": "dedup", "rank": 0}

    def kind(rule: str, dropped: bytes, kept: bytes, similarity: float, evidence: dict[str, object]) -> Kind:
        row = base | {"doc_id": dropped, "rule": rule, "kept_doc_id": kept, "similarity": similarity}
        table = pa.Table.from_pylist([row | {"evidence": json.dumps(evidence)}], schema=DECISIONS)
        frame = spark.createDataFrame(table)
        return Kind(rule, rule, lambda left: seen.append({bytes(row[0]) for row in left.collect()}) or frame)  # type: ignore[func-returns-value]

    seen: list[set[bytes]] = []
    chosen = [
        kind("exact_duplicate", a, b, 1.0, {"kept": b.hex(), "bytes": 7}),
        kind("same_words", b, c, 1.0, {"kept": c.hex()}),
        kind("near_duplicate", c, d, 0.85, {"kept": d.hex(), "containment": 0.85}),
    ]
    documents = spark.createDataFrame(pa.table({"doc_id": pa.array([a, b, c, d], pa.binary())}))
    with ExitStack() as held:
        rows = decided(decide(documents, chosen, held))
    assert seen == [{a, b, c, d}, {b, c, d}, {c, d}], "each kind sees what is left"
    assert [(row["doc_id"], row["kept_doc_id"], row["similarity"]) for row in rows] == [
        (a, d, 0.85),
        (b, d, 0.85),
        (c, d, 0.85),
    ]
    assert [json.loads(row["evidence"]) for row in rows] == [
        {"kept": d.hex(), "equal_to": c.hex(), "containment": 0.85, "bytes": 7},
        {"kept": d.hex(), "equal_to": c.hex(), "containment": 0.85},
        {"kept": d.hex(), "containment": 0.85},
    ]
