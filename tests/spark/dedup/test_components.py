from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from redpajama_pipe.dedup.components import connected_components, least_members
from redpajama_pipe.errors import GateError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

Edges = list[tuple[bytes, bytes]]
DRIVER, DISTRIBUTED = 10**6, 0


def vertex(number: int) -> bytes:
    """Ids in no order of their numbers; some begin with zero bytes, some end with them, some have the top bit set."""
    digest = hashlib.blake2b(number.to_bytes(8, "big"), digest_size=16).digest()
    return {0: bytes(4) + digest[4:], 1: digest[:12] + bytes(4)}.get(number % 5, digest)


def union_find(edges: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """The definition, one edge after another: each vertex of an edge → the least vertex it can reach."""
    parent: dict[bytes, bytes] = {}

    def root(at: bytes) -> bytes:
        while parent[at] != at:
            at = parent[at]
        return at

    for a, b in edges:
        if a == b:
            continue
        for end in (a, b):
            parent.setdefault(end, end)
        low, high = sorted((root(a), root(b)))
        parent[high] = low
    return {at: root(at) for at in parent}


def path(length: int) -> Edges:
    return [(vertex(i), vertex(i + 1)) for i in range(length - 1)]


def random_graph(seed: int, vertices: int, edges: int) -> Edges:
    chance = random.Random(seed)
    return [(vertex(chance.randrange(vertices)), vertex(chance.randrange(vertices))) for _ in range(edges)]


GRAPHS: dict[str, Edges] = {
    "one edge": [(vertex(1), vertex(2))],
    "path of 64": path(64),
    "path in the order of its ids": list(zip(ids := sorted(map(vertex, range(40))), ids[1:], strict=False)),
    "star": [(vertex(0), vertex(i)) for i in range(1, 60)],
    "two stars sharing a leaf": [(vertex(0), vertex(i)) for i in range(1, 9)]
    + [(vertex(99), vertex(i)) for i in range(8, 20)],
    "repeats, both directions, loops": [(vertex(a), vertex(b)) for a in range(4) for b in range(4)],
    "sparse": random_graph(1, 200, 120),
    "critical": random_graph(2, 200, 220),
}


def side_by_side(graphs: Iterable[Edges]) -> Edges:
    """All graphs as one, with no vertex in common; the distributed rounds cost the same for one or for all."""

    def moved(graph: int, at: bytes) -> bytes:
        return at[:8] + bytes([at[8] ^ graph]) + at[9:]

    return [(moved(i, a), moved(i, b)) for i, edges in enumerate(graphs) for a, b in edges]


def frame(spark: SparkSession, edges: Edges, partitions: int) -> DataFrame:
    table = pa.table(
        {
            "src": pa.array([a for a, _ in edges], pa.binary()),
            "dst": pa.array([b for _, b in edges], pa.binary()),
        }
    )
    return spark.createDataFrame(table).repartition(partitions)


def found(components: DataFrame) -> dict[bytes, bytes]:
    rows = [(bytes(row.doc_id), bytes(row.component)) for row in components.collect()]
    assert len(dict(rows)) == len(rows), "a document has one component"
    return dict(rows)


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=1))
def test_least_members_are_those_of_union_find(pairs: list[tuple[int, int]]) -> None:
    edges = [(vertex(a), vertex(b)) for a, b in pairs if a != b] or [(vertex(0), vertex(1))]
    src, dst = (np.frombuffer(b"".join(ends), np.uint8).reshape(-1, 16) for ends in zip(*edges, strict=True))
    ids, components = least_members(src, dst)
    assert {i.tobytes(): c.tobytes() for i, c in zip(ids, components, strict=True)} == union_find(edges)


@pytest.mark.parametrize("name", GRAPHS)
def test_driver_finds_the_components_of_union_find(spark: SparkSession, name: str) -> None:
    assert found(connected_components(frame(spark, GRAPHS[name], 2), DRIVER)) == union_find(GRAPHS[name])


@pytest.mark.parametrize(("partitions", "adaptive"), [(2, "true"), (7, "false")])
def test_both_ways_find_the_components_of_union_find(
    spark: SparkSession, configure: Callable[..., None], partitions: int, adaptive: str
) -> None:
    configure(adaptive_enabled=adaptive, shuffle_partitions=str(partitions))
    edges = side_by_side(GRAPHS.values())
    random.Random(partitions).shuffle(edges)
    expected = union_find(edges)
    assert len(set(expected.values())) > len(GRAPHS)
    assert found(connected_components(frame(spark, edges, partitions), DISTRIBUTED)) == expected
    assert found(connected_components(frame(spark, edges, partitions), DRIVER)) == expected


def test_rounds_go_on_while_only_a_small_star_moves(spark: SparkSession) -> None:
    # Both centres are less than all their leaves, so the first large-star moves nothing.
    ids = sorted(map(vertex, range(20)))
    edges = [(ids[0], leaf) for leaf in ids[2:9]] + [(ids[1], leaf) for leaf in ids[8:]]
    assert found(connected_components(frame(spark, edges, 2), DISTRIBUTED)) == dict.fromkeys(ids, ids[0])


@pytest.mark.parametrize("driver_edges", [DRIVER, DISTRIBUTED])
def test_no_edges_give_no_components(spark: SparkSession, driver_edges: int) -> None:
    loop = [(vertex(1), vertex(1))]
    assert found(connected_components(frame(spark, loop, 2), driver_edges)) == {}


def test_driver_takes_up_to_its_limit(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    from redpajama_pipe.dedup import components

    taken: list[str] = []
    monkeypatch.setattr(components, "_on_driver", lambda links: taken.append("driver"))
    monkeypatch.setattr(components, "_distributed", lambda links, rounds: taken.append("distributed"))
    edges = frame(spark, path(5), 1)  # four edges
    connected_components(edges, 4)
    connected_components(edges, 3)
    assert taken == ["driver", "distributed"]


def test_rounds_that_do_not_converge_are_an_error_not_a_result(spark: SparkSession) -> None:
    with pytest.raises(GateError) as caught:
        connected_components(frame(spark, path(64), 2), DISTRIBUTED, max_rounds=2)
    text = str(caught.value)
    assert "components did not converge: after 2 rounds" in text
    assert "Set dedup.driver_edges above the number of edges, 63," in text


def test_rounds_work_with_a_checkpoint_directory(spark: SparkSession, tmp_path: Path) -> None:
    context = spark.sparkContext
    context.setCheckpointDir(str(tmp_path))
    try:
        assert found(connected_components(frame(spark, path(16), 2), DISTRIBUTED)) == union_find(path(16))
        assert any(tmp_path.rglob("part-*")), "the rounds were written to the directory"
    finally:
        # PySpark cannot unset it
        getattr(context._jsc.sc(), "checkpointDir_$eq")(context._jvm.scala.Option.empty())
