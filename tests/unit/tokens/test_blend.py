import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_run import SOURCES, made_ids, make_run
from numpy.typing import NDArray

from redpajama_pipe.errors import RecipeError
from redpajama_pipe.tokens.blend import (
    NOWHERE,
    blending_indices,
    check_weights,
    label_documents,
    normalize,
    requests,
)
from redpajama_pipe.tokens.schedule import build_index

WEIGHTS = [0.0938, 0.1402, 0.3311, 0.07, 0.3, 0.011, 0.25, 0.125, 0.0625]


def sha(array: NDArray[Any]) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]


def by_hand(weights: list[float], samples: int) -> tuple[list[int], list[int]]:
    """GPT-NeoX's build_blending_indices in plain Python."""
    counts, which, where = [0] * len(weights), [], []
    for turn in range(samples):
        lags = [weight * max(turn, 1.0) - count for weight, count in zip(weights, counts, strict=True)]
        chosen = lags.index(max(lags))
        which.append(chosen)
        where.append(counts[chosen])
        counts[chosen] += 1
    return which, where


@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=30), st.integers(1, 300))
def test_the_data_set_that_lags_most_is_read(weights: list[float], samples: int) -> None:
    for mode in ("joint_shuffle", "megatron"):
        shares = normalize(weights, mode)
        which, where = blending_indices(shares, samples, mode)
        expected = np.array(shares) / np.sum(shares)
        assert (which.tolist(), where.tolist()) == by_hand(expected.tolist(), samples)
        longer, _ = blending_indices(shares, samples + 50, mode)
        assert longer[:samples].tolist() == which.tolist()  # the beginning does not depend on the end
        counts = np.bincount(which, minlength=len(weights))
        assert np.abs(counts - expected * samples).max() <= len(weights)


def test_the_first_of_equals_is_read() -> None:
    which, where = blending_indices(normalize([1, 1, 2], "joint_shuffle"), 8, "joint_shuffle")
    assert which.tolist() == [2, 0, 1, 2, 0, 2, 1, 2]  # at turn 4 none lags
    assert where.tolist() == [0, 0, 0, 1, 1, 2, 1, 3]


def test_arrays_have_the_published_types() -> None:
    which, where = blending_indices([1.0], 3, "joint_shuffle")
    assert (which.dtype.str, where.dtype.str) == ("|u1", "<i8")
    which, where = blending_indices([1.0], 3, "megatron")
    assert (which.dtype.str, where.dtype.str) == ("<i2", "<i8")


# Golden: megatron-core 0.16.1, BlendedDataset over GPTDatasets.
def test_a_blend_is_megatron_cores() -> None:
    shares = normalize([0.5, 0.2, 0.3], "megatron")
    assert requests(shares, 12, "megatron") == [7, 4, 5]
    which, where = blending_indices(shares, 13, "megatron")
    assert which.tolist() == [0, 2, 1, 0, 2, 0, 1, 0, 2, 0, 0, 2, 1]
    assert where.tolist() == [0, 0, 0, 1, 1, 2, 1, 3, 2, 4, 5, 3, 2]


GOLDEN = """
260ef2a1c6e20598 4faff3bb8a0bdece c968acc9c37a9b59
415180ed1cca11e0 11c7c61c13148070 0d797eafb4853c4c
289e3db2372fc10c 79c938e771cd97f7 7e7b2f5b3ee0cc71
53b2b9706a8ed7e1 5292dcc85d63b139 d6579cff39877d1d
4f36327c8aa6524a 89696c6bc8a5db0f 55f21510508c828d
ae1a9dc06067ec49 bfcae69c2feaea9a 36da51d92c9f19cc
918e0515f6ec5bbc 5e591b1042119f0a 2b39bf78d9d1926b
77328d33103df71d 1ca126f51fd23592 6d1f194ee50a9ddd
2b56fe8c679a5f5e fd025e500d417015 f10b8d0634e4a3d7
"""


def test_nine_data_sets_are_megatron_cores() -> None:
    shares = normalize(WEIGHTS, "megatron")
    asked = requests(shares, 30_000, "megatron")
    assert asked == [2045, 3056, 7216, 1526, 6538, 241, 5449, 2725, 1363]
    which, where = blending_indices(shares, 30_000, "megatron")
    assert (sha(which), sha(where)) == ("df1c03422be483e4", "384b95a5f0bf6e72")
    for number, line in enumerate(GOLDEN.split("\n")[1:-1]):
        sizes = np.random.RandomState(100 + number).randint(1, 300, 400 + 37 * number).astype(np.int32)
        index = build_index(sizes, 32, asked[number], 99, "megatron")
        assert " ".join(map(sha, (index.doc_idx, index.sample_idx, index.shuffle_idx))) == line


def test_half_a_per_cent_more_is_asked_for() -> None:
    # Golden: Pythia's index files are named 147164160ns
    assert requests([1.0], 143_000 * 1024, "joint_shuffle") == [147_164_160]
    assert requests(normalize([1, 3], "joint_shuffle"), 1000, "joint_shuffle") == [252, 754]
    assert requests(normalize([1, 2], "megatron"), 100, "megatron") == [35, 68]


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), float("inf")])
def test_weights_that_cannot_be_followed_are_refused(weight: float) -> None:
    with pytest.raises(RecipeError, match=r"schedule\.blend: b is .*; give a weight above 0"):
        check_weights({"a": 1.0, "b": weight})
    with pytest.raises(RecipeError, match="255 entries; at most 254 fit"):
        check_weights({str(number): 1.0 for number in range(255)})


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    ids = made_ids([5, 3, 0, 9, 1, 7, 4, 0, 2, 6])
    subsets = [None, "books", None, "web", "books", None, "web", "web", None, "books"]
    run = make_run(
        tmp_path_factory.mktemp("run"), [ids[:3], ids[3:4], ids[4:]], subsets=subsets, rows_per_group=2, epochs=(1.0,)
    )
    return run / "tokens"


SHARDS = ["shard-00000", "shard-00001", "shard-00002"]


def test_documents_are_found_by_source_and_by_subset(tokens: Path) -> None:
    # sources: crawl pile wiki, again and again; documents 2 and 7 have no tokens
    assert SOURCES == ("crawl", "pile", "wiki")
    n = NOWHERE
    assert label_documents(str(tokens), SHARDS, ["wiki", "crawl"]).tolist() == [1, n, 1, n, 0, 1, 0, 1]
    assert label_documents(str(tokens), SHARDS, ["books"]).tolist() == [n, 0, n, 0, n, n, n, 0]
    assert label_documents(str(tokens), SHARDS, ["wiki", "web"]).tolist() == [n, n, 1, n, 0, 1, 0, n]


def test_names_that_are_none_or_two_are_refused(tokens: Path) -> None:
    known = "books, crawl, pile, web, wiki"
    with pytest.raises(RecipeError, match=f"no document has the source or subset 'weki'; there are: {known}"):
        label_documents(str(tokens), SHARDS, ["wiki", "weki"])
    with pytest.raises(RecipeError, match="documents of the source 'pile' are in the subset 'books' too"):
        label_documents(str(tokens), SHARDS, ["books", "pile"])


def test_weights_are_added_one_after_the_other() -> None:
    # each 1 is lost in rounding; Python's own sum keeps them from 3.12 on
    assert normalize([1e16] + [1.0] * 8, "joint_shuffle")[0] == 1.0
    assert normalize([1.0] * 8 + [1e16], "joint_shuffle")[-1] < 1.0
