"""The loader's classes for PyTorch; all of them are skipped together where torch is not installed."""

import json
import pickle
from itertools import islice
from typing import Any

import pytest
from made_run import made_ids, make_run

from redpajama_pipe.tokens import loader as module
from redpajama_pipe.tokens.loader import TokenDataset, TokenLoader, iterable_dataset, rank_batches
from redpajama_pipe.tokens.reader import SequenceReader, open_run

torch = pytest.importorskip("torch", reason="torch is not installed: pip install torch")
DataLoader = torch.utils.data.DataLoader

# more workers than cores, and fork beside torch's threads: both are what is tested
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create", "ignore:This process.*multi-threaded")

SIZES = [5, 3, 9, 1, 7, 30, 2, 2, 1, 64, 8, 11, 4, 4, 20, 6]


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> SequenceReader:
    ids = made_ids(SIZES)
    module._iterable_class.cache_clear()
    return open_run(make_run(tmp_path_factory.mktemp("run"), [ids[:6], ids[6:]], epochs=(1.5,)))


def batches_of(reader: SequenceReader, **settings: Any) -> list[list[list[int]]]:
    return [batch["input_ids"].tolist() for batch in TokenLoader(reader, **settings)]


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_loader_gives_the_slices_of_each_rank_in_order(reader: SequenceReader, workers: int) -> None:
    assert batches_of(reader, batch_size=6, workers=workers) == [
        reader.read(turns).tolist() for turns in rank_batches(len(reader), 6)
    ]
    ranks = [batches_of(reader, batch_size=6, rank=rank, world_size=3, workers=workers) for rank in range(3)]
    joined = [first + second + third for first, second, third in zip(*ranks, strict=True)]
    assert joined == [reader.read(turns).tolist() for turns in rank_batches(len(reader), 6)]
    assert next(iter(TokenLoader(reader)))["input_ids"].dtype == torch.int64


def test_loader_resumes_exactly_whatever_was_read_ahead(reader: SequenceReader) -> None:
    whole = reader.read(range(len(reader))).tolist()
    loader = TokenLoader(reader, batch_size=4, workers=2, prefetch=4)
    assert len(loader) == len(reader) // 4
    seen = [row for batch in islice(loader, 3) for row in batch["input_ids"].tolist()]
    assert seen == whole[:12]
    assert loader.state_dict()["cursor"] == 12
    state = json.loads(json.dumps(loader.state_dict()))

    seen += [row for batch in islice(loader, 2) for row in batch["input_ids"].tolist()]  # a second loop goes on
    assert seen == whole[:20]

    for batch_size, world_size, workers in ((4, 2, 0), (5, 1, 1), (6, 3, 2)):
        ranks = []
        for rank in range(world_size):
            other = TokenLoader(reader, batch_size, rank, world_size, workers)
            other.load_state_dict(state)
            assert len(other) == (len(reader) - 12) // batch_size
            ranks.append([batch["input_ids"].tolist() for batch in other])
            assert len(other) == 0
            assert list(other) == []  # the end is the end
        rows = [row for batches in zip(*ranks, strict=True) for batch in batches for row in batch]
        assert rows == whole[12 : 12 + len(rows)]
        assert len(whole) - 12 - len(rows) < batch_size


def test_datasets_work_with_a_plain_data_loader(reader: SequenceReader) -> None:
    rows = [row for batch in DataLoader(TokenDataset(reader), 5, num_workers=2) for row in batch["input_ids"].tolist()]
    assert rows == reader.read(range(len(reader))).tolist()
    sampler = list(rank_batches(len(reader), 4, 1, 2))
    batches = [batch["input_ids"].tolist() for batch in DataLoader(TokenDataset(reader), batch_sampler=sampler)]
    assert batches == [reader.read(turns).tolist() for turns in sampler]


def test_iterable_dataset_crosses_to_started_processes(reader: SequenceReader) -> None:
    dataset = pickle.loads(pickle.dumps(iterable_dataset(reader, 4, 1, 2, 8)))
    loader = DataLoader(dataset, batch_size=None, num_workers=1, multiprocessing_context="spawn")
    expected = [reader.read(turns).tolist() for turns in rank_batches(len(reader), 4, 1, 2, 8)]
    assert [batch["input_ids"].tolist() for batch in loader] == expected
