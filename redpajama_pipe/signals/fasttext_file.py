"""Read a fastText model file, compressed (.ftz) or not (.bin).

Source: Joulin et al. 2016, arXiv:1612.03651, product quantisation; the layout is that of version 12, which is all that
is published.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from redpajama_pipe.errors import SetupError

_MAGIC, _VERSION = 793712314, 12
_HIERARCHICAL_SOFTMAX, _SUPERVISED = 1, 3


class Contents(NamedTuple):
    """A supervised model with hierarchical softmax and no word n-grams.

    Attributes:
        words: the vocabulary; word i has row i of `inputs`.
        labels: with their prefix `__label__`, the most frequent first.
        label_counts: how often each was seen in training.
        buckets: how many hashes of runs of characters there are.
        kept: (runs, 2) a hash and which row after the words' it has; None: hash h has row h after the words'.
        shortest: the length of the shortest run, in characters.
        longest: of the longest.
        inputs: (rows, dimension).
        outputs: (labels, dimension).
    """

    words: list[bytes]
    labels: list[bytes]
    label_counts: list[int]
    buckets: int
    kept: NDArray[np.int32] | None
    shortest: int
    longest: int
    inputs: NDArray[np.float32]
    outputs: NDArray[np.float32]


def read(path: Path) -> Contents | None:
    """Read a model file; None: it is no model, or of another kind.

    Raises:
        SetupError: the file ends too early.
    """
    reader = _Reader(path.read_bytes())
    if reader.data[:8] != struct.pack("<ii", _MAGIC, _VERSION):
        return None
    try:
        return _read(reader)
    except (struct.error, ValueError) as error:
        raise SetupError(f"{path} is not a whole fastText model: {error}") from error


def _read(reader: _Reader) -> Contents | None:
    reader.take("ii")
    # Left out is what only training needs: window, epochs, counts, rates.
    _, _, _, _, _, word_ngrams, loss, kind, buckets, shortest, longest, _, _ = reader.take("12id")
    if (word_ngrams, loss, kind) != (1, _HIERARCHICAL_SOFTMAX, _SUPERVISED) or buckets < 1:
        return None
    size, words, _, _, kept = reader.take("3iqq")
    spelling: list[bytes] = []
    counts: list[int] = []
    for _ in range(size):
        spelling.append(reader.text())
        counts.append(reader.take("qb")[0])
    pairs = reader.array(np.int32, 2 * max(kept, 0)).astype(np.int32).reshape(-1, 2)
    (compressed,) = reader.take("?")
    inputs = reader.compressed_matrix() if compressed else reader.matrix()
    (outputs_compressed,) = reader.take("?")
    if compressed and outputs_compressed:
        return None
    outputs = reader.matrix()
    return Contents(
        spelling[:words],
        spelling[words:],
        counts[words:],
        buckets,
        pairs if kept >= 0 else None,
        shortest,
        longest,
        inputs,
        outputs,
    )


class _Reader:
    """Takes little-endian values off the front of a file's bytes."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, kinds: str) -> tuple[int, ...]:
        values = struct.unpack_from("<" + kinds, self.data, self.at)
        self.at += struct.calcsize("<" + kinds)
        return values

    def text(self) -> bytes:
        end = self.data.index(b"\0", self.at)
        found, self.at = self.data[self.at : end], end + 1
        return found

    def array(self, kind: type[np.generic], count: int) -> NDArray[np.generic]:
        found = np.frombuffer(self.data, kind, count, self.at)
        self.at += found.nbytes
        return found

    def matrix(self) -> NDArray[np.float32]:
        rows, columns = self.take("qq")
        return self.array(np.float32, rows * columns).astype(np.float32).reshape(rows, columns)

    def compressed_matrix(self) -> NDArray[np.float32]:
        """Undo product quantisation: each few columns are one of 256 centroids, a row's length perhaps another."""
        has_lengths, rows, columns, size = self.take("?qqi")
        codes = self.array(np.uint8, size).reshape(rows, -1)
        found = self._centroids(codes)[:, :columns]
        if has_lengths:
            found = self._centroids(self.array(np.uint8, rows).reshape(rows, 1)) * found
        return np.ascontiguousarray(found)

    def _centroids(self, codes: NDArray[np.generic]) -> NDArray[np.float32]:
        dimension, parts, width, last_width = self.take("4i")
        values = self.array(np.float32, dimension * 256).astype(np.float32)
        found = np.empty((len(codes), dimension), np.float32)
        for part in range(parts):
            wide = last_width if part == parts - 1 else width
            table = values[part * 256 * width :][: 256 * wide].reshape(256, wide)
            found[:, part * width : part * width + wide] = table[codes[:, part].astype(np.intp)]
        return found
