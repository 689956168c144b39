"""The index of the evaluation sets: their n-grams (or lines) by hash, and which examples have each.

Built on the driver, once, and read by every task from a file. About 50 bytes an n-gram, and the text of the sets.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from redpajama_pipe import storage
from redpajama_pipe.decontamination import grams
from redpajama_pipe.decontamination.evaluation_sets import Examples
from redpajama_pipe.decontamination.grams import Table, Units, letters_of
from redpajama_pipe.settings.decontaminate import Decontaminate
from redpajama_pipe.text.buffers import utf8

LEAST, MOST, PERCENTILE = 8, 13, 5  # of n where it is chosen for each set: Brown et al. 2020, appendix C
SHOWN = 400  # characters of an n-gram in a receipt

# The tokens of Unicode Standard Annex 29 that are not white space, but for scripts whose rules need a dictionary.
_TOKEN = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u309f\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]"
    r"|\w+(?:(?:(?<=[^\W\d_])[:·.'’](?=[^\W\d_])|(?<=\d)[,;.'’](?=\d))\w+)*"
    r"|[^\w\s]"
)


@dataclass(frozen=True)
class Index:
    """What is looked for.

    Attributes:
        table: the runs.
        units: of what they are.
        sets: names, in the recipe's order.
        lengths: (sets,) n of each; of lines 1.
        example_ids: of each example, as its set gives it.
        example_set: (examples,) the number of its set; examples stand in the order of the sets.
        example_runs: (examples,) how many different runs it has; 0: it is too short to be looked for.
        posting_offsets: (runs + 1,); run r is in the examples postings[posting_offsets[r]:posting_offsets[r + 1]].
        postings: examples, ascending for each run.
    """

    table: Table
    units: Units
    sets: tuple[str, ...]
    lengths: tuple[int, ...]
    example_ids: tuple[str, ...]
    example_set: NDArray[np.int32]
    example_runs: NDArray[np.int32]
    posting_offsets: NDArray[np.int64]
    postings: NDArray[np.int32]

    def find(self, texts: pa.Array) -> NDArray[np.int64]:
        """Find every run in documents; see `grams.find_runs`."""
        return grams.find_runs(*utf8(texts), self.table, letters_of(self.units))

    def examples_of(self, run: int) -> NDArray[np.int32]:
        """Return the examples that have a run, ascending."""
        return self.postings[self.posting_offsets[run] : self.posting_offsets[run + 1]]

    def text_of(self, run: int) -> str:
        """Return a run's words as they are compared, the first SHOWN characters of them."""
        text = grams.written(self.table.texts[self.table.begins[run] : self.table.ends[run]], self.units)
        return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"

    def counts(self) -> dict[str, dict[str, int]]:
        """Count for each set its examples, those too short to be looked for, and its different runs."""
        run_of = np.repeat(np.arange(len(self.posting_offsets) - 1), np.diff(self.posting_offsets))
        found: dict[str, dict[str, int]] = {}
        for number, name in enumerate(self.sets):
            own = self.example_set == number
            found[name] = {
                "examples": int(own.sum()),
                "too_short": int((self.example_runs[own] == 0).sum()),
                "n": self.lengths[number],
                "ngrams": len(np.unique(run_of[own[self.postings]])),
            }
        return found


def build_index(sets: Sequence[Examples], settings: Decontaminate) -> Index:
    """Index the examples of evaluation sets.

    Mode `ngram`: runs of n words; of an example that is shorter, but has `min_words`, all of its words as one run.
    Mode `gpt3`: runs of n words without punctuation; with n 0 the 5th percentile of the lengths of the set's examples
    (NumPy's `lower`: the length of an example), at least 8 and at most 13. Mode `dolma`: lines
    of at least n tokens, with a letter or digit.
    """
    units: Units = {"ngram": "words", "gpt3": "grams", "dolma": "lines"}[settings.mode]  # type: ignore[assignment]
    letters = letters_of(units)
    texts: list[str] = []
    owners: list[int] = []
    example_ids: list[str] = []
    example_set: list[int] = []
    for number, examples in enumerate(sets):
        for example in examples.examples:
            pieces = example.text.split("\n") if units == "lines" else [example.text]
            texts += pieces
            owners += [len(example_ids)] * len(pieces)
            example_ids.append(example.id)
            example_set.append(number)
    data, offsets = _joined(texts)
    set_of = np.array(example_set, np.int32)
    owner = np.array(owners, np.int64)
    if units == "lines":
        long = np.array([_is_looked_for(text, settings.n) for text in texts], np.int64)
        lengths, runs_of = [1] * len(sets), long
        windows = long
    else:
        words = grams.count_words(data, offsets, letters)
        lengths = [settings.n or _percentile(words[set_of[owner] == number]) for number in range(len(sets))]
        n = np.array(lengths, np.int64)[set_of[owner]]
        least = settings.min_words if settings.mode == "ngram" else MOST_WORDS
        runs_of = np.where(words >= n, n, np.where(words >= least, words, 0))
        windows = np.where(runs_of > 0, words - runs_of + 1, 0)
    table = _empty_table(data, runs_of, windows, units == "lines")
    found = np.empty((int(windows.sum()), 2), np.int64)
    known, used = grams.fill_table(offsets, runs_of, table, letters, found)
    table = table._replace(begins=table.begins[:known].copy(), ends=table.ends[:known].copy())
    pairs = np.unique(found[:used, 0] * max(1, len(example_ids)) + owner[found[:used, 1]])
    run, example_of = np.divmod(pairs, max(1, len(example_ids)))
    return Index(
        table,
        units,
        tuple(examples.name for examples in sets),
        tuple(int(length) for length in lengths),
        tuple(example_ids),
        set_of,
        np.bincount(example_of, minlength=len(example_ids)).astype(np.int32),
        np.concatenate([[0], np.cumsum(np.bincount(run, minlength=known))]).astype(np.int64),
        example_of.astype(np.int32),
    )


MOST_WORDS = 1 << 62  # no example is so long: shorter ones than n are not looked for


def save(index: Index, path: str) -> str:
    """Write an index; returns its sha256, which `load` asks for."""
    arrays: dict[str, Any] = {f"table.{name}": value for name, value in index.table._asdict().items()}
    arrays |= {
        field.name: value for field in fields(index) if isinstance(value := getattr(index, field.name), np.ndarray)
    }
    said = {"units": index.units, "sets": index.sets, "lengths": index.lengths, "example_ids": index.example_ids}
    arrays["said"] = np.frombuffer(json.dumps(said).encode(), np.uint8)
    target = io.BytesIO()
    np.savez(target, **arrays)
    return storage.write_bytes(path, target.getvalue()).sha256


@lru_cache(maxsize=1)
def load(path: str, sha256: str) -> Index:
    """Read an index, once a process; `sha256` tells it from one that was there before."""
    with np.load(io.BytesIO(storage.read_bytes(path))) as stored:
        arrays = {name: stored[name] for name in stored.files}
    said = json.loads(arrays.pop("said").tobytes())
    table = {name: arrays.pop(f"table.{name}") for name in Table._fields}
    table["texts"].flags.writeable = False
    return Index(
        Table(**{**table, "lines": bool(table["lines"])}),
        said["units"],
        tuple(said["sets"]),
        tuple(said["lengths"]),
        tuple(said["example_ids"]),
        **arrays,
    )


def _is_looked_for(line: str, tokens: int) -> bool:
    return any(map(str.isalnum, line)) and len(_TOKEN.findall(line)) >= tokens


def _joined(texts: Sequence[str]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    pieces = [text.encode("utf-8", "replace") for text in texts]  # JSON may spell half a surrogate pair
    offsets = np.concatenate([[0], np.cumsum([len(piece) for piece in pieces])]).astype(np.int64)
    return np.frombuffer(b"".join(pieces), np.uint8), offsets


def _percentile(words: NDArray[np.int64]) -> int:
    if not len(words):
        return MOST
    return int(np.clip(np.percentile(words, PERCENTILE, method="lower"), LEAST, MOST))


def _empty_table(
    texts: NDArray[np.uint8], runs_of: NDArray[np.int64], windows: NDArray[np.int64], lines: bool
) -> Table:
    """Make room for so many windows of each text, of so many units."""
    lengths, which = np.unique(runs_of, return_inverse=True)
    each = np.bincount(which.reshape(-1), weights=windows, minlength=len(lengths)).astype(np.int64)[lengths > 0]
    lengths = lengths[lengths > 0]
    total = int(windows.sum())
    slots = 1 << max(4, (2 * total).bit_length())
    words = [
        1 << max(6, (int(count) // 8).bit_length()) for count in each
    ]  # 8 to 16 bits a window: they stay in the cache
    return Table(
        texts=texts,
        begins=np.zeros(total, np.int64),
        ends=np.zeros(total, np.int64),
        keys=np.zeros(slots, np.uint64),
        numbers=np.full(slots, -1, np.int32),
        lengths=lengths.astype(np.int64),
        powers=np.array([grams.power_of(int(length)) for length in lengths], np.uint64),
        bits=np.zeros(sum(words), np.uint64),
        first_bits=np.concatenate([[0], np.cumsum(words)]).astype(np.int64),
        lines=lines,
    )
