"""Connected components: which documents hang together.

A component is named by the least id in it, in byte order. Up to `driver_edges` edges, SciPy finds them on the driver
(measured: 5 million edges in 10 s and 0.8 GB). Above, alternating large-star and small-star rounds on DataFrames do,
with one shuffle a half-round and no list of neighbours anywhere, so a hub costs disk and not memory.

Source: Kiveris et al. 2014, Connected Components in MapReduce and Beyond (algorithm "Two-Phase", alternating).
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F
from pyspark.storagelevel import StorageLevel
from scipy.sparse import coo_array, csgraph

from redpajama_pipe.dedup.byte_columns import ID_BYTES, fixed_width, from_fixed_width
from redpajama_pipe.errors import GateError
from redpajama_pipe.schema import DOC_ID

SRC, DST, COMPONENT = "src", "dst", "component"
_SENT_TO_ALL = 1_000_000  # documents in components that each executor may hold at once, 100 bytes each
MAX_ROUNDS = 50  # a path of 1,024 documents takes about 10; the bound is O(log(n) ** 2)


def connected_components(edges: DataFrame, driver_edges: int, max_rounds: int = MAX_ROUNDS) -> DataFrame:
    """Find the component of every document that occurs in an edge.

    Args:
        edges: src, dst: ids in any direction, repeats allowed; an edge from a document to itself connects nothing and
            is ignored. It is read more than once: persist it if it is dear to compute. A second evaluation, by
            adaptive execution or after the loss of an executor, gives the same edges since ids come from provenance,
            so unlike with generated ids it cannot change the result.
        driver_edges: up to this many edges are gathered on the driver.
        max_rounds: the distributed rounds stop with an error after this many.

    Returns:
        doc_id, component: one row a document; the least id of a component is its name. The same rows by either way.
        The distributed result stays persisted (or checkpointed, see `_hold`).

    Raises:
        GateError: the distributed rounds did not converge.
    """
    links = edges.select(SRC, DST).where(F.col(SRC) != F.col(DST))
    if links.count() <= driver_edges:
        return _on_driver(links)
    return _distributed(links, max_rounds)


def least_members(src: NDArray[np.uint8], dst: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Find components in memory.

    Args:
        src: (edges, 16) ids.
        dst: (edges, 16) ids.

    Returns:
        ids: (vertices, 16), ascending; components: (vertices, 16), the least id of each one's component.
    """
    ends = np.ascontiguousarray(np.concatenate([src, dst]))
    words = ends.view(">u8").astype(np.uint64)  # words: (2 * edges, 2); compare as the bytes do
    order = np.lexsort((words[:, 1], words[:, 0]))
    new = np.ones(len(order), bool)
    new[1:] = (words[order[1:]] != words[order[:-1]]).any(axis=1)
    index = np.empty(len(order), np.int64)
    index[order] = np.cumsum(new) - 1
    ids = ends[order[new]]  # ids: (vertices, 16), ascending
    edges = len(src)
    matrix = coo_array((np.ones(edges, np.int8), (index[:edges], index[edges:])), shape=(len(ids), len(ids)))
    count, labels = csgraph.connected_components(matrix.tocsr(), directed=False)
    # Ids ascend, so the first vertex of a label is the least; written last of its label, it is the one that stays.
    least = np.empty(count, np.int64)
    least[labels[::-1]] = np.arange(len(ids))[::-1]
    return ids, ids[least[labels]]


def _on_driver(links: DataFrame) -> DataFrame:
    table = links.toArrow()
    src, dst = (
        np.concatenate(
            [np.empty((0, ID_BYTES), np.uint8), *(fixed_width(c, ID_BYTES, name) for c in table[name].chunks)]
        )
        for name in (SRC, DST)
    )
    ids, components = least_members(src, dst)
    found = links.sparkSession.createDataFrame(
        pa.table({DOC_ID: from_fixed_width(ids), COMPONENT: from_fixed_width(components)})
    )
    # Spark takes an id for 100 bytes, and would move all documents to join a list of 50,000.
    return F.broadcast(found) if len(ids) <= _SENT_TO_ALL else found


def _distributed(links: DataFrame, max_rounds: int) -> DataFrame:
    # Invariant of every round: u > v, and the edges connect what they connected before.
    edges = links.select(F.greatest(SRC, DST).alias("u"), F.least(SRC, DST).alias("v"))
    held: DataFrame | None = None
    for _ in range(max_rounds):
        stars = _hold(_two_stars(edges))
        moved = stars.where("moved").count()  # also computes and stores all of `stars`
        if held is not None:
            held.unpersist()
        if moved == 0:
            # No edge moved: each u has one v, and no v has a lesser neighbour. So these are stars around the least id.
            pair = F.explode(F.array(_pair("u", "v"), _pair("v", "v"))).alias("pair")
            return stars.select(pair).select("pair.*").distinct()
        held, edges = stars, stars.select("u", "v")
    raise GateError(
        f"components did not converge: after {max_rounds} rounds {moved:,} edges still move. "
        f"Set dedup.driver_edges above the number of edges, {links.count():,}, to find them on the driver"
    )


def _two_stars(edges: DataFrame) -> DataFrame:
    """One large-star and one small-star: (u, v) with u > v → (u, v, moved).

    Each half-round turns one edge into one edge, so the number never grows. `moved` says that an edge is not what it
    was before the round; when none is, the set of edges is stable.
    """
    # Exploded, not a union of the edges with themselves, which would double the plan every round.
    either = F.explode(F.array(_ends("u", "v"), _ends("v", "u"))).alias("edge")
    around = Window.partitionBy("u")
    # Large-star at u: every greater neighbour v moves to the least of u and its neighbours.
    large = (
        edges.select(either)
        .select("edge.*")
        .withColumn("least", F.least(F.col("u"), F.min("v").over(around)))
        .where("v > u")
        .select(F.col("v").alias("u"), F.col("least").alias("v"), (F.col("least") != F.col("u")).alias("moved"))
    )
    # Small-star at u, whose neighbours v here are all lesser: they move to the least of them, and so does u.
    is_least = F.col("v") == F.col("least")
    small = large.withColumn("least", F.min("v").over(around)).select(
        F.when(is_least, F.col("u")).otherwise(F.col("v")).alias("u"),
        F.col("least").alias("v"),
        (F.col("moved") | ~is_least).alias("moved"),
    )
    return small.groupBy("u", "v").agg(F.max("moved").alias("moved"))


def _ends(u: str, v: str) -> Column:
    return F.struct(F.col(u).alias("u"), F.col(v).alias("v"))


def _pair(document: str, component: str) -> Column:
    return F.struct(F.col(document).alias(DOC_ID), F.col(component).alias(COMPONENT))


def _hold(frame: DataFrame) -> DataFrame:
    """Store a round's result, so that the next does not compute it again.

    With a checkpoint directory (SparkContext.setCheckpointDir) it is written there and its lineage is cut; the
    files stay until the directory is removed. Without, it is persisted in memory and on disk and keeps its lineage:
    after the loss of an executor the lost part is computed again from the input, slowly but with the same result. A
    local checkpoint would fail the job instead.
    """
    if frame.sparkSession.sparkContext.getCheckpointDir() is not None:
        return frame.checkpoint()
    return frame.persist(StorageLevel.MEMORY_AND_DISK)
