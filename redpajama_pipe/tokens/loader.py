"""Batches of training data for PyTorch: which turns each rank and each loader process reads, and where training stands.

`TokenDataset` and `TokenLoader` give what `reader.SequenceReader` reads to PyTorch. Where training stands is one
number, the sequences consumed by all ranks together, so a run goes on exactly with another number of ranks or workers
or another batch size.

Source: EleutherAI/gpt-neox, megatron/data/samplers.py, DistributedBatchSampler (slices of a batch), and
megatron/data/data_utils.py, make_data_loader (sequential, an incomplete last batch is left out).
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from redpajama_pipe.errors import SetupError
from redpajama_pipe.tokens.reader import SequenceReader, open_run

# the reader too: what a training script needs, from one module
__all__ = ["SequenceReader", "TokenDataset", "TokenLoader", "iterable_dataset", "open_run", "rank_batches"]


def rank_batches(
    samples: int,
    batch_size: int,
    rank: int = 0,
    world_size: int = 1,
    cursor: int = 0,
    worker: int = 0,
    workers: int = 1,
) -> Iterator[range]:
    """Cut a schedule into the batches of one rank, as GPT-NeoX's sampler does.

    Rank r of w takes turns r * batch_size // w to (r + 1) * batch_size // w of each global batch, so the ranks' slices
    are disjoint and make up the batch in order. Loader process k of n prepares every n-th of them: taken round robin,
    as torch does, they are in order. The end is the end: an incomplete last batch is left out, and nothing comes twice.

    Args:
        samples: how many sequences there are.
        batch_size: sequences that all ranks together take at a time. With gradient accumulation it is one micro-step's.
        cursor: sequences consumed before, by all ranks together.

    Yields:
        Turns of one batch.

    Raises:
        ValueError: there is no such rank, or fewer sequences a batch than ranks.

    Source: EleutherAI/gpt-neox, megatron/data/samplers.py, DistributedBatchSampler.
    """
    if not 0 <= rank < world_size:
        raise ValueError(f"rank {rank} of {world_size} ranks")
    if batch_size < world_size:
        raise ValueError(f"a batch of {batch_size} for {world_size} ranks: each needs at least one sequence")
    begin, end = rank * batch_size // world_size, (rank + 1) * batch_size // world_size
    for first in range(cursor + worker * batch_size, samples - batch_size + 1, workers * batch_size):
        yield range(first + begin, first + end)


class TokenDataset:
    """A map-style dataset for torch.utils.data.DataLoader: `dataset[turn]` is a dict with `input_ids`.

    `input_ids` holds seq_len + 1 ids, int64; of a packed schedule there is `loss_mask` (seq_len,) too. Read it with
    shuffle=False (the schedule is the order), or with a batch sampler made of `rank_batches`. `TokenLoader` does both
    and knows where it is.
    """

    def __init__(self, reader: SequenceReader) -> None:
        self.reader = reader

    def __len__(self) -> int:
        return len(self.reader)

    def __getitem__(self, turn: int) -> dict[str, NDArray[np.int64]]:
        return {name: values[0] for name, values in self.reader.batch([turn]).items()}


def iterable_dataset(
    reader: SequenceReader,
    batch_size: int,
    rank: int = 0,
    world_size: int = 1,
    cursor: int = 0,
    borders: bool = False,
) -> Any:
    """Make a torch.utils.data.IterableDataset of one rank's batches.

    Give it to a DataLoader with batch_size=None: each item is a whole batch already, a dict with `input_ids` of shape
    (batch_size / world_size, seq_len + 1), int64, and what else `SequenceReader.batch` gives. Any number of workers
    keeps the order. Arguments: see `rank_batches`.

    Raises:
        SetupError: torch is not installed.
    """
    return _iterable_class()(reader, (batch_size, rank, world_size, cursor), borders)


class TokenLoader:
    """The batches of one rank, as tensors, and where training stands.

    Iterating consumes: a second loop goes on where the first one stopped. A batch counts as consumed from the moment it
    is handed out, so a state saved after a training step continues with the next batch; what loader processes prepared
    ahead does not count. The state of every rank is the same.

        loader = TokenLoader(open_run("RUN", epochs=1.5), rank=rank, world_size=world_size, workers=2)
        loader.load_state_dict(checkpoint["data"])
        for batch in loader:
            ids = batch["input_ids"]
            train(ids[:, :-1], ids[:, 1:])
            checkpoint["data"] = loader.state_dict()
    """

    def __init__(
        self,
        reader: SequenceReader,
        batch_size: int | None = None,
        rank: int = 0,
        world_size: int = 1,
        workers: int = 0,
        pin_memory: bool = False,
        prefetch: int = 2,
        borders: bool = False,
    ) -> None:
        """Plan the reading; files are opened and processes started when it is iterated.

        Args:
            reader: what `open_run` gave.
            batch_size: sequences that all ranks together take at a time; None: the recipe's.
            rank: of this process.
            world_size: how many ranks read.
            workers: processes that read ahead; 0 reads in this one.
            pin_memory: a thread copies each batch into page-locked memory, from which
                `tensor.to(device, non_blocking=True)` runs while the device computes. Needs an accelerator.
            prefetch: batches that each worker has ready.
            borders: batches say where documents begin, see `SequenceReader.batch`.

        Raises:
            ValueError: as `rank_batches`.
        """
        self.reader = reader
        self.batch_size = reader.batch_size if batch_size is None else batch_size
        next(rank_batches(0, self.batch_size, rank, world_size), None)  # refuse wrong numbers now
        self.rank, self.world_size = rank, world_size
        self._workers, self._pin_memory, self._prefetch = workers, pin_memory, prefetch
        self._borders = borders
        self._cursor = 0

    def __len__(self) -> int:
        """How many batches are left."""
        return (len(self.reader) - self._cursor) // self.batch_size

    def __iter__(self) -> Iterator[dict[str, Any]]:
        place = (self.batch_size, self.rank, self.world_size, self._cursor)
        dataset = iterable_dataset(self.reader, *place, borders=self._borders)
        ahead = {"prefetch_factor": self._prefetch} if self._workers else {}
        loader = _torch_data().DataLoader(
            dataset, batch_size=None, num_workers=self._workers, pin_memory=self._pin_memory, **ahead
        )
        for batch in loader:
            self._cursor += self.batch_size
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """Return where training stands: small, JSON values, for a checkpoint."""
        return self.reader.state(self._cursor)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where a state stands, saved with any number of ranks and workers and any batch size.

        Raises:
            InputError: as `SequenceReader.cursor`.
        """
        self._cursor = self.reader.cursor(state)


def _torch_data() -> Any:
    try:
        return importlib.import_module("torch.utils.data")
    except ImportError as error:
        raise SetupError(
            "torch is not installed: pip install torch; SequenceReader reads the same without it"
        ) from error


@cache
def _iterable_class() -> Any:
    data = _torch_data()
    base: Any = data.IterableDataset

    class TokenIterableDataset(base):  # type: ignore[misc]
        def __init__(self, reader: SequenceReader, batches: tuple[int, int, int, int], borders: bool) -> None:
            self._reader, self._batches, self._borders = reader, batches, borders

        def __iter__(self) -> Iterator[dict[str, NDArray[Any]]]:
            info = data.get_worker_info()
            worker, workers = (info.id, info.num_workers) if info else (0, 1)
            for turns in rank_batches(len(self._reader), *self._batches, worker, workers):
                yield self._reader.batch(turns, self._borders)

        def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
            # The class has no name to import it by.
            return iterable_dataset, (self._reader, *self._batches, self._borders)

    return TokenIterableDataset
