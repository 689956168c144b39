"""Defects of other deduplicators, each with the test that shows that it is not here."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pyarrow as pa
import pytest

from redpajama_pipe.dedup.bands import lsh_probability
from redpajama_pipe.dedup.edges import signature_keys
from redpajama_pipe.dedup.minhash import MinHashSpec, sign_batch
from redpajama_pipe.dedup.shingles import shingle_hashes
from redpajama_pipe.dedup.walk import join_components, walk
from redpajama_pipe.settings.annotate import MinHash

SHORT = ["four words are here", "and four are there", "", "!!!", "一二三四", "x"]


def components_of(texts: list[str], spec: MinHashSpec, threshold: float) -> list[int]:
    column = sign_batch(pa.array(texts, pa.string()), spec)
    values, offsets = shingle_hashes(pa.array(texts, pa.string()), spec)
    twins, _ = join_components(signature_keys(column, spec), values, offsets, threshold)
    return [int(twin) for twin in twins]


@pytest.mark.parametrize("preset", MinHash.PRESETS)
def test_bands_have_rows_enough_that_unlike_documents_rarely_meet(preset: str) -> None:
    # data-juicer's spark_dedup.py: 10 bands of 1 row make an edge of 89 % of the pairs at Jaccard 0.2
    made = MinHash(preset=preset)
    assert lsh_probability(0.2, made.bands, made.rows) < 0.001
    assert lsh_probability(0.2, 10, 1) == pytest.approx(0.893, abs=5e-4)


@pytest.mark.parametrize("preset", ["default", "fineweb", "redpajama_v2_0.8", "slimpajama"])
def test_short_documents_are_neither_joined_nor_an_error(preset: str) -> None:
    # data-juicer gives all short documents one empty signature, or raises; bigcode-dataset joined them all
    spec = MinHashSpec.of(MinHash(preset=preset))
    short = ["a few", "", "!!!", "x"] if preset == "slimpajama" else SHORT
    assert sign_batch(pa.array(short), spec).null_count == len(short)
    assert components_of(short, spec, 0.01) == [-1] * len(short)


def test_equal_short_documents_are_not_joined_by_their_empty_signature() -> None:
    assert components_of(["hello world"] * 3, MinHashSpec(), 0.01) == [-1] * 3  # they are exact duplicates instead


def test_pairs_are_verified_before_they_are_joined() -> None:
    # text-dedup verifies inside clusters: two true pairs that a false edge joined stay one cluster
    a, b = list(range(10)), list(range(100, 110))
    keys = np.array([[1, 9], [1, 8], [2, 8], [2, 7]], np.uint64)  # 1 and 2 share a key and nothing else
    values = np.array([*a, *a, *b, *b], np.uint64)
    twins, _ = join_components(keys, values, np.arange(5) * 10, 0.8)
    assert twins.tolist() == [-1, 0, -1, 2]


def test_one_false_edge_does_not_drop_a_cluster() -> None:
    # marin: character shingles, every shared band an edge, transitive closure: 51,160 unrelated books in one cluster
    count = 300
    keys = np.stack([np.arange(count), np.arange(count) + 1], axis=1).astype(np.uint64)
    keys[1::2] = keys[1::2, ::-1]  # each shares a key with its neighbour only: a chain
    values = np.arange(count * 20, dtype=np.uint64)
    for way in (walk, join_components):
        assert (way(keys, values, np.arange(count + 1) * 20, 0.5)[0] == -1).all()


def test_a_long_document_needs_no_matrix_of_shingles_and_permutations() -> None:
    # data-juicer: 131,072 shingles times 256 permutations, 256 MiB and more a document
    text = pa.array([" ".join(map(str, range(140_000)))])
    spec = MinHashSpec(num_perm=256, bands=32, rows=8)
    sign_batch(text[:0], spec)
    tracemalloc.start()
    sign_batch(text, spec)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20


def test_wrap_around_does_not_bias_the_estimate() -> None:
    # a * h + b wraps at 2**64 before the remainder is taken in RedPajama-V2, datatrove and datasketch 1.x
    words = [f"w{n}" for n in range(3000)]
    texts = pa.array([" ".join(words[:2000]), " ".join(words[500:2500])])  # Jaccard of single words: 1500 / 2500
    for scheme in ("legacy", "datatrove_sha1", "affine32", "affine64"):
        spec = MinHashSpec(2000, 1, "none", scheme, 1, 10, 8)
        rows = np.array([np.frombuffer(cell.as_py(), spec.dtype) for cell in sign_batch(texts, spec)])
        assert (rows[0] == rows[1]).mean() == pytest.approx(0.6, abs=0.04)  # 3.6 standard deviations


def test_the_survivor_is_chosen_by_the_keep_order_alone() -> None:
    # dolma, RedPajama-V2: whichever worker comes first decides; datatrove: the root of a union by size
    sets = [[1, 2, 3, 4], [1, 2, 3, 4], [5, 6], [1, 2, 3, 4]]
    values = np.array([value for each in sets for value in each], np.uint64)
    offsets = np.cumsum([0, *map(len, sets)])
    for way in (walk, join_components):
        assert way(np.zeros((4, 1), np.uint64), values, offsets, 0.9)[0].tolist() == [-1, 0, -1, 0]
