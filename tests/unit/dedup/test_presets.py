"""The presets, what docs/dedup.md says of them, and what a recipe makes of them."""

from __future__ import annotations

import re
from pathlib import Path

import datasketch
import pytest

from redpajama_pipe import recipe
from redpajama_pipe.dedup.bands import lsh_probability
from redpajama_pipe.dedup.minhash import MinHashSpec
from redpajama_pipe.errors import RecipeError
from redpajama_pipe.settings.annotate import MinHash
from redpajama_pipe.settings.dedup import Dedup
from redpajama_pipe.settings.tree import to_tree

DOCS = Path(__file__).resolve().parents[3] / "docs" / "dedup.md"
SIMILARITIES = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)


@pytest.mark.parametrize(
    ("preset", "spec"),
    [
        ("default", MinHashSpec()),
        ("fineweb", MinHashSpec(112, 5, "datatrove", "datatrove_sha1", 1, 14, 8)),
        ("redpajama_v2_1.0", MinHashSpec(128, 13, "redpajama_v2", "redpajama_v2", 42, 1, 128)),
        ("redpajama_v2_0.9", MinHashSpec(128, 13, "redpajama_v2", "redpajama_v2", 42, 5, 25)),
        ("redpajama_v2_0.8", MinHashSpec(128, 13, "redpajama_v2", "redpajama_v2", 42, 9, 13)),
        ("redpajama_v2_0.7", MinHashSpec(128, 13, "redpajama_v2", "redpajama_v2", 42, 14, 9)),
        ("lee_2021", MinHashSpec(9000, 5, "words", "affine32", 1, 450, 20)),
        ("slimpajama", MinHashSpec(128, 13, "slimpajama", "legacy", 1, 9, 13)),
        ("pile_0.87", MinHashSpec(128, 5, "words", "affine32", 1, 7, 18)),
        ("thorough", MinHashSpec(140, 5, "words", "affine32", 1, 20, 7)),
    ],
)
def test_presets_are_the_published_settings(preset: str, spec: MinHashSpec) -> None:
    assert MinHashSpec.of(MinHash(preset=preset)) == spec


def test_each_preset_is_tested_here() -> None:
    marks = test_presets_are_the_published_settings.pytestmark  # type: ignore[attr-defined]
    assert {preset for preset, _ in marks[0].args[1]} == set(MinHash.PRESETS)


@pytest.mark.parametrize(
    ("preset", "similarity"),
    [
        *((f"redpajama_v2_{similarity}", similarity) for similarity in (1.0, 0.9, 0.8, 0.7)),
        ("slimpajama", 0.8),
        ("pile_0.87", 0.87),
    ],
)
def test_bands_are_the_optimum_that_datasketch_computes(preset: str, similarity: float) -> None:
    made = MinHash(preset=preset)
    assert (made.bands, made.rows) == datasketch.lsh._optimal_param(similarity, 128, 0.5, 0.5)


def test_given_keys_win_over_the_preset() -> None:
    tree = {"name": "x", "sources": [], "annotate": {"minhash": {"preset": "fineweb", "bands": 20, "seed": 0}}}
    made = recipe.from_tree(tree, "x").annotate.minhash
    assert (made.bands, made.rows, made.seed, made.num_perm) == (20, 8, 0, 160)
    assert made.normalization == "datatrove"


def test_more_bands_than_the_preset_s_values_draw_more() -> None:
    assert MinHash(preset="slimpajama", bands=10).num_perm == 130
    assert MinHash(preset="slimpajama", bands=3).num_perm == 128
    with pytest.raises(RecipeError, match="10 bands of 13 rows need 130 values; num_perm is 128"):
        MinHashSpec.of(MinHash(preset="slimpajama", bands=10, num_perm=128))


@pytest.mark.parametrize("preset", MinHash.PRESETS)
def test_a_resolved_recipe_reads_back_equal(preset: str) -> None:
    made = MinHash(preset=preset)
    tree = to_tree(made)
    assert tree["bands"] == made.bands > 0
    assert MinHash(**tree) == made


def test_an_unknown_preset_lists_the_known_ones() -> None:
    with pytest.raises(RecipeError, match="no preset 'fineweb2'; there are: default, thorough, fineweb, "):
        MinHash(preset="fineweb2")


@pytest.mark.parametrize("threshold", [0.0, -0.1, 1.01, float("nan")])
def test_a_threshold_outside_its_range_is_refused_with_the_recipe(threshold: float) -> None:
    with pytest.raises(RecipeError, match=r"dedup\.threshold is \S+; it must be above 0 and at most 1"):
        Dedup(threshold=threshold)


def test_a_negative_budget_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"dedup\.component_bytes is -1; 0 puts all shingles into files"):
        Dedup(component_bytes=-1)


def test_docs_have_the_s_curve_of_each_preset() -> None:
    rows = re.findall(
        r"^\| `([\w.]+)` \| (\d+) × (\d+) \|.*?\| ([\d,]+) \| ([\d. |]+) \|$", DOCS.read_text(), re.MULTILINE
    )
    assert [name for name, *_ in rows] == list(MinHash.PRESETS)
    for name, bands, rows_, size, values in rows:
        made = MinHash(preset=name)
        assert (made.bands, made.rows) == (int(bands), int(rows_))
        expected = [f"{lsh_probability(at, made.bands, made.rows):.3f}" for at in SIMILARITIES]
        assert values.split(" | ") == expected
        assert int(size.replace(",", "")) == made.num_perm * MinHashSpec.of(made).dtype.itemsize
