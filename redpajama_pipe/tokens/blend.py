"""Weighted sources: which of several data sets each turn reads, as GPT-NeoX and Megatron-LM choose.

Each turn takes the data set that lags most behind its weight, and from it the next sequence of its own order. 2
nanoseconds a turn and data set; 9 bytes a turn.

Source: EleutherAI/gpt-neox, megatron/data/helpers.cpp (build_blending_indices), blendable_dataset.py and data_utils.py
(get_normalized_weights_and_num_samples); mode megatron: NVIDIA/Megatron-LM, megatron/core/datasets/blended_dataset.py
and blended_megatron_dataset_builder.py (_get_size_per_split_per_dataset).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from redpajama_pipe import schema, storage
from redpajama_pipe.errors import RecipeError
from redpajama_pipe.tokens.schedule import Mode

SURPLUS = 0.005  # asked for over what is read, so that no data set ends too early
MOST = 254  # data sets in a blend: GPT-NeoX counts them in 8 bits
NOWHERE = 255  # the label of a document that no entry of a blend takes


def check_weights(weights: Mapping[str, float]) -> None:
    """Refuse weights that no blend can follow.

    Raises:
        RecipeError: there are more than 254, or one is not a positive number.
    """
    if len(weights) > MOST:
        raise RecipeError(f"schedule.blend has {len(weights)} entries; at most {MOST} fit")
    for name, weight in weights.items():
        if not weight > 0 or not math.isfinite(weight):
            raise RecipeError(f"schedule.blend: {name} is {weight}; give a weight above 0, or leave it out")


def normalize(weights: Sequence[float], mode: Mode) -> list[float]:
    """Divide weights by their sum, added up as the published tool does: the last bit decides between two data sets."""
    # GPT-NeoX adds one after the other: cumsum does so everywhere, sum() rounds otherwise from Python 3.12 on
    total = float(np.sum(weights) if mode == "megatron" else np.cumsum(weights)[-1])
    return [weight / total for weight in weights]


def requests(weights: Sequence[float], samples: int, mode: Mode) -> list[int]:
    """Return how many sequences each data set is asked for: its share of the samples and 0.5 % more.

    Args:
        weights: what `normalize` gave.
        samples: that training reads of all together.
        mode: Megatron-LM rounds up twice.
    """
    if mode == "megatron":
        return [math.ceil(math.ceil(samples * weight) * (1 + SURPLUS)) for weight in weights]
    return [math.ceil(samples * weight * 1.005) for weight in weights]


def blending_indices(weights: Sequence[float], samples: int, mode: Mode) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Choose the data set of each turn.

    The published arrays go on for as many turns as all data sets have; a turn's choice depends on those before it only,
    so these are the beginning of them.

    Args:
        weights: what `normalize` gave; normalised once more, as published.
        samples: how many turns.
        mode: Megatron-LM's dataset_index is int16, GPT-NeoX's uint8.

    Returns:
        dataset_index (samples,) and dataset_sample_index (samples,): which of its own turns the data set gives.
    """
    from redpajama_pipe.tokens.index_kernels import choose_data_sets

    shares = np.array(weights, np.float64)
    shares /= np.sum(shares)
    dataset_index: NDArray[Any] = np.zeros(samples, np.int16 if mode == "megatron" else np.uint8)
    dataset_sample_index = np.zeros(samples, np.int64)
    choose_data_sets(shares, np.zeros(len(shares), np.int64), dataset_index, dataset_sample_index)
    return dataset_index, dataset_sample_index


def label_documents(tokens: str, shards: Sequence[str], names: Sequence[str]) -> NDArray[np.uint8]:
    """Say to which entry of a blend each document belongs, by its source or its subset.

    Args:
        tokens: folder of the shards and their token maps.
        shards: in order.
        names: of sources or subsets.

    Returns:
        (documents,) the place of its name in `names`, 255 where none is its; in the order of the shards.

    Raises:
        RecipeError: a name is no document's, or two names are one document's.
    """
    import pyarrow.compute as pc

    found: set[str] = set()
    known: set[str] = set()
    pieces = [np.zeros(0, np.uint8)]
    for shard in shards:
        with storage.open_parquet(storage.join(tokens, "token_map", f"{shard}.parquet")) as parquet:
            for group in range(parquet.num_row_groups):
                rows = parquet.read_row_group(group, columns=["sequence", schema.SOURCE, schema.SUBSET])
                labels = np.full(len(rows), NOWHERE, np.uint8)
                for column in (schema.SOURCE, schema.SUBSET):
                    values = pc.dictionary_encode(rows.column(column).combine_chunks())
                    said = values.dictionary.to_pylist()
                    known.update(name for name in said if name is not None)
                    found.update(name for name in said if name in names)
                    places = np.array([names.index(name) if name in names else NOWHERE for name in said], np.uint8)
                    own = np.append(places, NOWHERE).astype(np.uint8)[values.indices.fill_null(len(places)).to_numpy()]
                    twice = np.flatnonzero((own != NOWHERE) & (labels != NOWHERE) & (own != labels))
                    if len(twice):
                        first, second = names[labels[twice[0]]], names[own[twice[0]]]
                        raise RecipeError(
                            f"schedule.blend: documents of the source {first!r} are in the subset {second!r} too; "
                            "name either the source or its subsets"
                        )
                    labels[own != NOWHERE] = own[own != NOWHERE]
                pieces.append(labels[rows.column("sequence").to_numpy() >= 0])
    for name in names:
        if name not in found:
            raise RecipeError(
                f"schedule.blend: no document has the source or subset {name!r}; there are: {', '.join(sorted(known))}"
            )
    return np.concatenate(pieces)
