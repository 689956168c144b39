from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from redpajama_pipe import recipe
from redpajama_pipe.errors import RecipeError
from redpajama_pipe.settings.annotate import Annotate, MinHash
from redpajama_pipe.settings.dedup import Dedup, Lines
from redpajama_pipe.settings.source import Source
from redpajama_pipe.stages.run_recipe import check_settings

# of every number of a recipe: the least and the most that will do
NUMBERS: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("part_bytes", "sources.web.max_document_bytes"), (1, math.inf)),
    **dict.fromkeys(("gate_documents", "annotate.language_sample_bytes"), (0, math.inf)),
    "sources.web.fraction": (1e-9, 1),
    **dict.fromkeys(("sources.web.max_quarantined_share", "filter.max_dropped_share"), (0, 1)),
    **{f"annotate.minhash.{key}": (0, math.inf) for key in ("bands", "rows", "shingle", "num_perm")},  # 0: the preset's
    "annotate.minhash.seed": (-1, 2**32 - 1),  # -1: the preset's
    **{f"dedup.{key}": (1, math.inf) for key in ("max_component", "max_bucket", "lines.group_files")},
    **{f"dedup.{key}": (0, math.inf) for key in ("driver_edges", "component_bytes", "lines.min_chars")},
    "dedup.threshold": (1e-9, 1),
    "dedup.max_dropped_share": (0, 1),
    "decontaminate.n": (1, 63),
    **{f"decontaminate.{key}": (1, math.inf) for key in ("min_words", "min_overlap")},
    **{f"decontaminate.{key}": (0, math.inf) for key in ("window", "min_piece", "max_pieces", "max_documents")},
    "decontaminate.max_dropped_share": (0, 1),
    **{f"tokenize.{key}": (1, math.inf) for key in ("shard_bytes", "train_bytes", "vocab_size")},
    **{f"schedule.{key}": (1, math.inf) for key in ("seq_len", "batch_size", "steps")},
    "schedule.separate_below": (0, 1),
    "schedule.seed": (0, 2**32 - 1),
    **{f"quality.{key}": (1, math.inf) for key in ("documents", "dimension", "epochs", "word_ngrams", "threads")},
    "quality.min_chars": (0, math.inf),
    "quality.held_out": (0, 1),
    "quality.learning_rate": (1e-9, math.inf),
    "quality.seed": (0, 2**31 - 1),
    **{f"perplexity.{key}": (1, math.inf) for key in ("documents", "vocab_size", "order")},
    "importance.documents": (1, math.inf),
    "execution.read_attempts": (1, math.inf),
    "execution.read_timeout": (0.001, math.inf),
    **{f"execution.{key}": (0, math.inf) for key in ("partitions", "read_backoff", "read_backoff_limit")},
}


def numbers(kind: Any, prefix: str = "") -> Iterator[tuple[str, type]]:
    """Yield the key and type of every number of a section and those inside."""
    for key, hint in typing.get_type_hints(kind).items():
        inside = [each for each in (hint, *typing.get_args(hint)) if dataclasses.is_dataclass(each)]
        if inside:
            name = f"{prefix}{key}." + ("web." if inside[0] is Source else "")
            yield from numbers(inside[0], name) if key != "sets" else ()
        for number in (int, float):
            if hint is number or hint == number | None:
                yield f"{prefix}{key}", number


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> str:
    path: Path = tmp_path_factory.mktemp("recipe") / "own.yaml"
    path.write_text(yaml.safe_dump({"name": "own", "sources": [{"name": "web", "kind": "jsonl", "paths": ["a"]}]}))
    return str(path)


def test_every_number_of_a_recipe_is_in_the_table() -> None:
    assert {key for key, _ in numbers(recipe.Recipe)} == set(NUMBERS)


@pytest.mark.parametrize("key", NUMBERS)
def test_a_number_outside_its_limits_is_one_line(key: str, own: str) -> None:
    least, most = NUMBERS[key]
    whole = dict(numbers(recipe.Recipe))[key] is int
    wrong = ["0" if 0 < least < 1 else str(int(least) - 1)]
    wrong += [str(int(most) + 1)] if most < math.inf else []
    wrong += [] if whole else [".nan", ".inf", "-.inf"]
    for value in wrong:
        with pytest.raises(RecipeError) as refused:
            recipe.load(own, [f"{key}={value}"])
        told = str(refused.value)
        assert key.rpartition(".")[2] in told
        assert "\n" not in told
    for bound in (least, most):
        if math.isfinite(bound) and not (key == "sources.web.fraction" and bound < 1):  # which is of a snapshot
            recipe.load(own, [f"{key}={bound:.9f}" if 0 < bound < 1 else f"{key}={bound}"])


@pytest.mark.parametrize(
    ("override", "told"),
    [
        (
            "schedule.epochs=[]",
            r"schedule\.epochs is empty; give numbers above 0, such as \[1, 1\.5\], or sch",
        ),
        ("part_bytes=0", r"^part_bytes is 0; give 1 or more"),
        ("filter.max_dropped_share=95", r"filter\.max_dropped_share is 95; give 0 to 1"),
        ("decontaminate.sets=[{name: a, paths: []}]", "the set 'a' needs a name and paths"),
        ("decontaminate.sets=[{name: '', paths: [b]}]", "the set '' needs a name and paths"),
        ("name=''", "name is empty"),
        ("annotate.minhash.bands=-3", r"annotate\.minhash\.bands is -3; give 1 or more"),
    ],
)
def test_what_is_wrong_and_what_will_do(override: str, told: str, own: str) -> None:
    with pytest.raises(RecipeError, match=told):
        recipe.load(own, [override])


def test_steps_need_no_epochs(own: str) -> None:
    loaded = recipe.load(own, ["schedule.epochs=[]", "schedule.steps=7"]).schedule
    assert (loaded.epochs, loaded.steps) == ((), 7)


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("annotate.minhash.scheme=sha0", "minhash: no scheme 'sha0'; there are"),
        ("annotate.minhash.num_perm=5", "14 bands of 8 rows need 112 values"),
        ("schedule.blend={web: .nan}", r"schedule\.blend: web is nan"),
        ("schedule.blend={web: 0}", r"schedule\.blend: web is 0"),
        ("schedule={packing: best_fit, mode: megatron}", r"schedule\.packing is best_fit, schedule\.mode megatron"),
        ("schedule.split=x", r"schedule\.split is 'x'; give weights"),
        ("schedule.split='0,1,inf'", r"schedule\.split is '0,1,inf'"),
    ],
)
def test_what_a_later_stage_would_refuse_is_said_before_the_first(override: str, told: str, own: str) -> None:
    with pytest.raises(RecipeError, match=told):
        check_settings(recipe.load(own, [override]))


def test_the_defaults_pass() -> None:
    for section in (Annotate, MinHash, Dedup, Lines):
        section()
    for preset in MinHash.PRESETS:
        MinHash(preset)
