"""fastText inference over Arrow buffers: the library's own labels and probabilities, without a string a document.

A classifier is small: look up a row of numbers for every word and for every run of a few characters in it, average
them, and walk a binary tree of logistic regressions (hierarchical softmax). Sums are kept in float32 and in the order
in which the library adds, so results agree to the last bits.

Source: Joulin et al. 2016, arXiv:1607.01759 (the classifier) and arXiv:1612.03651 (the compressed format).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from redpajama_pipe.signals import fasttext_file
from redpajama_pipe.signals import fasttext_kernels as kernels
from redpajama_pipe.signals.fasttext_kernels import Lookup
from redpajama_pipe.text.buffers import Utf8
from redpajama_pipe.text.characters import properties

Number = TypeVar("Number", bound=np.generic)


class Model(NamedTuple):
    """A supervised model with hierarchical softmax.

    Attributes:
        labels: without `__label__`.
        lookup: text to rows of `inputs`.
        inputs: (rows, dimension).
        outputs: (labels - 1 used, dimension), one for each inner node of the tree.
        children: (labels - 1, 2) of inner nodes from the first made to the root; below len(labels) it is a label.
    """

    labels: tuple[str, ...]
    lookup: Lookup
    inputs: NDArray[np.float32]
    outputs: NDArray[np.float32]
    children: NDArray[np.int32]


def predict(model: Model, documents: Utf8) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return the index of each document's best label, -1 for a document without a word, and its probability."""
    data, offsets, valid = documents
    lookup = model.lookup
    recent = _on_cache_lines((1 << kernels.RECENT_BITS, 8), np.uint64)
    most = max(lookup.longest * kernels.WINDOW, int(np.diff(lookup.places[:, 1]).max(initial=0)))
    return kernels.predict(
        data, offsets, valid, properties(), lookup, model.inputs, model.outputs, model.children, recent, most
    )


def read(path: Path) -> Model | None:
    """Read a model file, compressed (.ftz) or not (.bin); None: one of a kind that only the library can read.

    Raises:
        SetupError: the file ends too early.
    """
    contents = fasttext_file.read(path)
    if contents is None:
        return None
    words = len(contents.words)
    run_rows = words + np.arange(contents.buckets, dtype=np.int32)
    if contents.kept is not None:
        run_rows[:] = -1
        run_rows[contents.kept[:, 0]] = words + contents.kept[:, 1]
    inputs = _on_cache_lines(contents.inputs.shape, np.float32)
    inputs[:] = contents.inputs
    return Model(
        labels=tuple(label.removeprefix(kernels.LABEL).decode() for label in contents.labels),
        lookup=_lookup(contents.words, run_rows, contents.shortest, contents.longest),
        inputs=inputs,
        outputs=contents.outputs,
        children=_huffman(contents.label_counts),
    )


def _huffman(counts: list[int]) -> NDArray[np.int32]:
    """Join the two rarest of labels (descending by count) and joints, again and again, ties as the library does."""
    labels = len(counts)
    weight = [*counts, *[10**15] * (labels - 1)]
    children = np.empty((labels - 1, 2), np.int32)
    leaf, joint = labels - 1, labels
    for made in range(labels - 1):
        for side in range(2):
            if leaf >= 0 and weight[leaf] < weight[joint]:
                children[made, side] = leaf
                leaf -= 1
            else:
                children[made, side] = joint
                joint += 1
        weight[labels + made] = weight[children[made, 0]] + weight[children[made, 1]]
    return children


def _lookup(words: list[bytes], run_rows: NDArray[np.int32], shortest: int, longest: int) -> Lookup:
    data = np.frombuffer(b"".join(words), np.uint8)
    at = np.concatenate([[0], np.cumsum([len(word) for word in words])]).astype(np.int64)
    places = np.zeros((len(words) + 1, 2), np.int64)
    places[:, 0] = at
    run_known = np.packbits(run_rows >= 0, bitorder="little")
    slots = np.zeros(1 << (2 * len(words)).bit_length(), np.uint64)
    kernels.fill(slots, data, places)
    rows: list[NDArray[np.int32]] = []
    room = np.empty(1 + longest * (max(map(len, words), default=0) + 2), np.int32)
    for index, word in enumerate(words):
        room[0], count = index, 1
        if word != kernels.END_OF_LINE:
            start, end = at[index], at[index + 1]
            count = kernels.run_rows_of(
                data, start, end, start - 1, end + 1, run_rows, run_known, shortest, longest, room, count
            )
        rows.append(room[:count].copy())
    places[1:, 1] = np.cumsum([len(found) for found in rows])
    known_rows = np.concatenate(rows) if rows else np.zeros(0, np.int32)
    return Lookup(slots, data, places, known_rows, run_rows, run_known, shortest, longest)


def _on_cache_lines(shape: tuple[int, ...], kind: type[Number]) -> NDArray[Number]:
    """Make zeros that begin on a cache line: rows of 64 bytes then lie in one line, not in two."""
    count = math.prod(shape)
    room = np.zeros(count * np.dtype(kind).itemsize + 64, np.uint8)
    return room[-room.ctypes.data % 64 :][: room.nbytes - 64].view(kind).reshape(shape)
