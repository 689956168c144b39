"""Labelled near-duplicates: clusters and drops of this package, datasketch, text-dedup and datatrove, by one measure.

    python benchmarks/bench_dedup_labelled.py FOLDER [--peer-python PATH]

Here the whole stage is run, of datatrove and text-dedup the whole tool (bench_dedup.py has them), of datasketch MinHash
and MinHashLSH: all with 14 bands of 8 rows over 5 words, each with its own words, and text-dedup once more as it comes
(25 bands of 10). FOLDER has articles/ and NDD-Collection.zip. Takes three minutes, most of them the tools' start.
"""

from __future__ import annotations

import argparse
import re
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import combinations, pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from bench_dedup import PEERS, SPEC, TEXT_DEDUP, Corpus, dedup, run_peer, store
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from redpajama_pipe import session
from redpajama_pipe.dedup.bands import lsh_probability
from redpajama_pipe.settings.dedup import Dedup

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

DEFAULT = Dedup(keep_order="substr(doc_id, 9)", max_dropped_share=1.0)  # the first of the file stays
COMPONENTS = replace(DEFAULT, survivors="components")
OURS = {
    "here, `walk`, 0.8": DEFAULT,
    "here, `components`, 0.8": COMPONENTS,
    "here, `components`, 0.5": replace(COMPONENTS, threshold=0.5),
    "here, `components`, `verify: none`": replace(COMPONENTS, verify="none"),
}
THEIRS = {**PEERS, "text-dedup, 25 × 10": (TEXT_DEDUP, [])}

NDD_GROUPS = (0, 11, 21, 31, 41, 50)  # where the groups of files 00 to 49 begin, and where the last ends
PLAIN, TEXT_DEDUPS = "runs of letters and digits", "text-dedup's"
WORDS: dict[str, Callable[[str], list[str]]] = {
    PLAIN: re.compile(r"\w+").findall,
    TEXT_DEDUPS: re.compile(r"\W").split,
}


@dataclass(frozen=True)
class Found:
    """What a tool did: (documents,) the cluster of each, equal ones together, and whether it is dropped."""

    clusters: NDArray[np.int64]
    dropped: NDArray[np.bool_]
    seconds: float


@dataclass(frozen=True)
class Measures:
    """Agreement with labels; pairs are those of documents in one cluster."""

    precision: float
    recall: float
    f1: float
    rand: float  # adjusted for chance
    drop_precision: float
    drop_recall: float


def labelled_sets(folder: Path) -> Iterator[tuple[str, list[str], NDArray[np.int64]]]:
    """Read the labelled sets: name, texts, (documents,) the cluster of each.

    Of the articles pairs are labelled. Of R8 and WebKB it is said which 50 files are near-duplicates, not of which: the
    groups are read from the texts, five runs of the numbering; `show_set` prints how far apart they are.
    """
    for size in (100, 1000, 2500):
        lines = (folder / "articles" / f"articles_{size}.train").read_text().splitlines()
        places = {line.split(" ", 1)[0]: place for place, line in enumerate(lines)}
        clusters = np.arange(len(lines))
        for pair in (folder / "articles" / f"articles_{size}.truth").read_text().splitlines():
            first, second = pair.split()
            clusters[places[second]] = places[first]
        yield f"articles {size}", [line.split(" ", 1)[1] for line in lines], clusters
    with zipfile.ZipFile(folder / "NDD-Collection.zip") as archive:
        for name in ("R8", "webkb"):
            files = [f"{name}/file{number:02d}.txt" for number in range(1000)]
            clusters = np.arange(len(files))
            for begin, end in pairwise(NDD_GROUPS):
                clusters[begin:end] = begin
            yield name, [archive.read(each).decode("latin-1") for each in files], clusters


def measure(found: Found, truth: NDArray[np.int64]) -> Measures:
    """Compare clusters and drops with labelled clusters.

    The adjusted Rand index is that of Hubert and Arabie 1985. A drop is right while a document of its labelled cluster
    is left: of a cluster of n at most n - 1 drops are, whichever they are, and the drop of an unlabelled one never is.
    """
    both = pairs(np.stack([found.clusters, truth]))
    mine, labelled, possible = pairs(found.clusters[None]), pairs(truth[None]), len(truth) * (len(truth) - 1) / 2
    by_chance = mine * labelled / possible
    _, cluster, sizes = np.unique(truth, return_inverse=True, return_counts=True)
    right = np.minimum(np.bincount(cluster, found.dropped), sizes - 1).sum()
    return Measures(
        both / max(1, mine),
        both / labelled,
        2 * both / (mine + labelled),
        (both - by_chance) / ((mine + labelled) / 2 - by_chance),
        right / max(1, found.dropped.sum()),
        right / (sizes - 1).sum(),
    )


def pairs(labels: NDArray[np.int64]) -> float:
    """Count the pairs of documents that are equal in all rows of (rows, documents) labels."""
    sizes = np.unique(labels, axis=1, return_counts=True)[1]
    return float((sizes * (sizes - 1) // 2).sum())


def check_measure() -> None:
    """Compare with the values that scikit-learn's documentation of adjusted_rand_score gives, 0.57 and -0.5."""
    nothing = np.zeros(4, bool)
    unequal = measure(Found(np.array([0, 0, 1, 2]), nothing, 0), np.array([0, 0, 1, 1])).rand
    crossed = measure(Found(np.array([0, 1, 0, 1]), nothing, 0), np.array([0, 0, 1, 1])).rand
    if not np.allclose([unequal, crossed], [4 / 7, -0.5]):
        raise ValueError(
            f"the adjusted Rand index of two known partitions is {unequal} and {crossed}, not 4/7 and -0.5"
        )


def shingle_sets(texts: list[str], words: str) -> list[set[str]]:
    """Cut lower-case texts into words, one of WORDS, and give each document's shingles."""
    cut = [WORDS[words](text.lower()) for text in texts]
    return [{" ".join(each[at : at + SPEC.shingle]) for at in range(len(each) - SPEC.shingle + 1)} for each in cut]


def jaccards(sets: list[set[str]]) -> dict[tuple[int, int], float]:
    """Give the similarity of every pair of documents that shares a shingle; the lower number is first."""
    holders: dict[str, list[int]] = {}
    for number, shingles in enumerate(sets):
        for shingle in shingles:
            holders.setdefault(shingle, []).append(number)
    shared = Counter(pair for numbers in holders.values() for pair in combinations(numbers, 2))
    return {(a, b): same / (len(sets[a]) + len(sets[b]) - same) for (a, b), same in shared.items()}


def datasketch_lsh(texts: list[str]) -> Found:
    """Join what shares a band in datasketch's LSH; of what hangs together the first stays."""
    import datasketch

    begin = time.monotonic()
    lsh = datasketch.MinHashLSH(params=(SPEC.bands, SPEC.rows), num_perm=SPEC.num_perm)
    edges = []
    for number, shingles in enumerate(shingle_sets(texts, PLAIN)):
        if shingles:
            signature = datasketch.MinHash(num_perm=SPEC.num_perm)
            signature.update_batch([shingle.encode() for shingle in shingles])
            edges += [(number, other) for other in lsh.query(signature)]
            lsh.insert(number, signature)
    left, right = np.array(edges, np.int64).reshape(-1, 2).T
    graph = coo_array((np.ones(len(left)), (left, right)), shape=(len(texts), len(texts)))
    clusters = connected_components(graph, directed=False)[1].astype(np.int64)
    dropped = np.ones(len(texts), bool)
    dropped[np.unique(clusters, return_index=True)[1]] = False
    return Found(clusters, dropped, time.monotonic() - begin)


def found_here(spark: SparkSession, corpus: Corpus, settings: Dedup) -> Found:
    """Run the stage; a cluster is what was dropped for one document, and that one."""
    outcome = dedup(spark, corpus, settings)
    clusters, dropped = np.arange(corpus.documents), np.zeros(corpus.documents, bool)
    for document, (kept, _) in outcome.dropped.items():
        clusters[document], dropped[document] = kept, True
    return Found(clusters, dropped, outcome.seconds + corpus.sign_seconds)


def found_there(python: str, script: str, settings: list[str], texts: list[str]) -> Found:
    """Run datatrove or text-dedup; what is not in the output is dropped, for whatever reason."""
    peer = run_peer(python, script, settings, texts)
    clusters, dropped = np.arange(len(texts)), np.ones(len(texts), bool)
    for document, cluster in peer.clusters.items():
        clusters[document] = len(texts) + cluster
    dropped[list(peer.kept)] = False
    return Found(clusters, dropped, sum(peer.seconds))


def show_set(name: str, texts: list[str], truth: NDArray[np.int64]) -> dict[tuple[int, int], float]:
    """Print how alike labelled pairs and others are, and what the bands join by their curve; returns similarities."""
    size, several = len(texts), np.bincount(truth)[truth] > 1
    print(f"\n{name}: {size:,} documents, {several.sum()} labelled, {pairs(truth[None]):.0f} pairs")
    every = {words: jaccards(shingle_sets(texts, words)) for words in WORDS}
    for words, similar in every.items():
        labelled = [jaccard for (a, b), jaccard in similar.items() if truth[a] == truth[b]]
        between = [jaccard for (a, b), jaccard in similar.items() if truth[a] != truth[b] and several[a] and several[b]]
        others = [jaccard for (a, b), jaccard in similar.items() if truth[a] != truth[b]]
        joined = sum(lsh_probability(jaccard, SPEC.bands, SPEC.rows) for jaccard in others)
        print(
            f"  words are {words}: Jaccard of labelled pairs from {min(labelled):.3f}, between labelled clusters to "
            f"{max(between, default=0):.3f}, of unlabelled pairs to {max(others):.3f}; of these bands join {joined:.2f}"
        )
    return every[PLAIN]


def show_found(name: str, found: Found, truth: NDArray[np.int64], similar: dict[tuple[int, int], float]) -> None:
    """Print a row of the table, and the pairs it has against the labels."""
    got = measure(found, truth)
    print(
        f"| {name} | {got.precision:.3f} | {got.recall:.3f} | {got.f1:.3f} | {got.rand:.3f} | {got.drop_precision:.3f} "
        f"| {got.drop_recall:.3f} | {found.seconds:.1f} |"
    )
    for what, some, other in (("missed", truth, found.clusters), ("not labelled", found.clusters, truth)):
        wrong = [pair for pair in together(some) if other[pair[0]] != other[pair[1]]]
        if wrong:
            each = ", ".join(f"{a} {b} ({similar.get((a, b), 0):.2f})" for a, b in wrong[:20])
            print(f"  {what}: {len(wrong)} pairs, with their Jaccard similarity: {each}")


def together(clusters: NDArray[np.int64]) -> list[tuple[int, int]]:
    """List the pairs of documents in one cluster."""
    order = np.argsort(clusters, kind="stable")
    runs = np.split(order, np.flatnonzero(np.diff(clusters[order])) + 1)
    return [pair for run in runs for pair in combinations(run.tolist(), 2)]


def main() -> None:
    """Print a table a set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="with articles/ and NDD-Collection.zip")
    parser.add_argument("--peer-python", help="a Python that has datatrove[processing] and text-dedup")
    parser.add_argument("--master", default="local[2]")
    options = parser.parse_args()
    check_measure()
    spark = session.build("bench_dedup_labelled", options.master, {"spark.driver.memory": "2g"})
    with tempfile.TemporaryDirectory() as scratch:
        dedup(spark, store(Path(scratch) / "warm", ["one two three four five six"] * 2), DEFAULT)
        for name, texts, truth in labelled_sets(options.folder):
            similar = show_set(name, texts, truth)
            print("| | precision | recall | F1 | ARI | drops: precision | recall | seconds |\n|---|" + "---|" * 7)
            corpus = store(Path(scratch) / name, texts)
            for ours, settings in OURS.items():
                show_found(ours, found_here(spark, corpus, settings), truth, similar)
            show_found("datasketch", datasketch_lsh(texts), truth, similar)
            for theirs, (script, arguments) in THEIRS.items() if options.peer_python else ():
                try:
                    show_found(theirs, found_there(options.peer_python, script, arguments, texts), truth, similar)
                except RuntimeError as error:
                    print(f"{theirs}: {error}")
    spark.stop()


if __name__ == "__main__":
    main()
