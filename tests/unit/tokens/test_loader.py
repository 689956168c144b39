import json
import pickle
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_run import made_ids, make_run, sequence_of

from redpajama_pipe.errors import InputError, ManifestError, SetupError
from redpajama_pipe.tokens import loader as module
from redpajama_pipe.tokens.indexed import ShardedDataset
from redpajama_pipe.tokens.loader import TokenDataset, TokenLoader, iterable_dataset, rank_batches
from redpajama_pipe.tokens.order import Order, Part, read_order, write_order
from redpajama_pipe.tokens.reader import SequenceReader, open_folders, open_run

SIZES = [5, 3, 9, 1, 7, 30, 2, 2, 1, 64, 8, 11, 4, 4, 20, 6]
SHARDS = [(0, 3), (3, 9), (9, 16)]


def write_run(folder: Path, salt: int = 0, **settings: Any) -> Path:
    ids = made_ids(SIZES, salt)
    return make_run(folder, [ids[begin:end] for begin, end in SHARDS], **settings)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def reader(run: Path) -> SequenceReader:
    return open_run(run, 1.5)


def test_reader_reads_the_schedule_in_order(run: Path) -> None:
    for epochs in (1.0, 1.5):
        reader = open_run(run, epochs)
        shards = ShardedDataset([run / "tokens" / name for name in reader.shards])
        schedule = read_order(run / "schedule" / f"{epochs:g}_epochs")[0].parts[0].stream
        expected = [sequence_of(schedule, shards, turn).tolist() for turn in range(len(reader))]
        assert [ids.tolist() for ids in reader] == expected
        assert reader.read(range(len(reader))).tolist() == expected
        assert reader[0].dtype == np.int64
        assert len(reader) == reader.steps * 4 == schedule.num_samples - 1  # one more was asked for
        assert reader.epochs == epochs


def test_pieces_name_the_documents_of_a_sequence(reader: SequenceReader) -> None:
    ids = made_ids(SIZES)
    for turn in range(len(reader)):
        pieces = reader.pieces(turn)
        joined = [ids[each.document][each.start : each.start + each.length] for each in pieces]
        assert np.concatenate(joined).tolist() == reader[turn].tolist()
        assert [reader.place(each.document) for each in pieces] == [(each.shard, each.sequence) for each in pieces]


def test_the_end_is_the_end(reader: SequenceReader) -> None:
    for turn in (-1, len(reader), len(reader) + 1):
        with pytest.raises(IndexError, match=rf"turn {turn} of a schedule of {len(reader)}"):
            reader[turn]
    with pytest.raises(IndexError):
        TokenDataset(reader)[len(reader)]


def test_map_style_dataset_gives_input_ids(reader: SequenceReader) -> None:
    dataset = TokenDataset(reader)
    assert len(dataset) == len(reader)
    item = dataset[np.int64(3)]
    assert list(item) == ["input_ids"]
    assert item["input_ids"].tolist() == reader[3].tolist()
    assert item["input_ids"].flags.writeable


def test_ranks_take_contiguous_slices_as_gpt_neoxs_sampler() -> None:
    # the example in the docstring of DistributedBatchSampler, without interleaving
    assert list(rank_batches(16, 8, 0, 2)) == [range(4), range(8, 12)]
    assert list(rank_batches(16, 8, 1, 2)) == [range(4, 8), range(12, 16)]
    # rank * batch_size // world_size, for a batch that the ranks do not divide
    assert [next(rank_batches(7, 7, rank, 3)) for rank in range(3)] == [range(2), range(2, 4), range(4, 7)]
    assert list(rank_batches(15, 8)) == [range(8)]
    assert list(rank_batches(7, 8)) == []
    for rank, world_size in ((-1, 2), (2, 2), (0, 0)):
        with pytest.raises(ValueError, match=f"rank {rank} of {world_size} ranks"):
            next(rank_batches(16, 8, rank, world_size))
    with pytest.raises(ValueError, match="a batch of 2 for 3 ranks"):
        next(rank_batches(16, 2, 0, 3))


def in_turn(iterators: list[Iterator[range]]) -> Iterator[range]:
    """Take from each in turn, as a DataLoader takes from its workers."""
    for batches in zip_longest(*iterators):
        yield from (batch for batch in batches if batch is not None)


def consume(samples: int, cursor: int, batch_size: int, world_size: int, workers: int) -> list[list[int]]:
    """All ranks with all their workers: the turns of each global batch."""
    ranks = [
        in_turn(
            [rank_batches(samples, batch_size, rank, world_size, cursor, worker, workers) for worker in range(workers)]
        )
        for rank in range(world_size)
    ]
    return [[turn for batch in batches for turn in batch] for batches in zip(*ranks, strict=True)]


layouts = st.tuples(st.integers(1, 12), st.integers(1, 5), st.integers(1, 4)).filter(lambda made: made[0] >= made[1])


@given(before=layouts, after=layouts, cut=st.integers(0, 30))
def test_a_cut_run_reads_on_exactly_with_other_ranks_batches_and_workers(
    reader: SequenceReader, before: tuple[int, int, int], after: tuple[int, int, int], cut: int
) -> None:
    batches = consume(len(reader), 0, *before)[:cut]
    state = json.loads(json.dumps(reader.state(len(batches) * before[0])))
    cursor = reader.cursor(state)
    batches += consume(len(reader), cursor, *after)
    turns = [turn for batch in batches for turn in batch]
    assert turns == list(range(len(turns)))
    assert 0 <= len(reader) - len(turns) < after[0]
    assert reader.read(turns).tolist() == reader.read(range(len(turns))).tolist()


def test_state_of_another_schedule_or_other_shards_is_refused(
    run: Path, reader: SequenceReader, tmp_path: Path
) -> None:
    other = open_run(run, 1.0)
    assert other.schedule_hash != reader.schedule_hash
    with pytest.raises(InputError, match=r"the state was saved with schedule .* but .*1_epochs is"):
        other.cursor(reader.state(4))
    salted = open_run(write_run(tmp_path / "salted", salt=1), 1.5)
    assert salted.schedule_hash == reader.schedule_hash
    with pytest.raises(InputError, match=r"the state was saved with tokens .* but .*tokens is"):
        salted.cursor(reader.state(4))
    seeded = open_run(write_run(tmp_path / "seeded", seed=1), 1.5)
    with pytest.raises(InputError, match="the state was saved with schedule"):
        seeded.cursor(reader.state(4))
    again = open_run(write_run(tmp_path / "again", epochs=(1.5,)))
    assert again.cursor(reader.state(4)) == 4
    loader = TokenLoader(other)
    with pytest.raises(InputError, match="the state was saved with schedule"):
        loader.load_state_dict(reader.state(4))


def test_state_outside_the_schedule_is_refused(reader: SequenceReader) -> None:
    assert reader.cursor(reader.state(len(reader))) == len(reader)
    for cursor in (-1, len(reader) + 1):
        with pytest.raises(InputError, match="the state stands at sequence"):
            reader.cursor(reader.state(cursor))
    with pytest.raises(InputError, match="not the state of a loader: its keys are step"):
        reader.cursor({"step": 3})


def test_schedule_is_named_where_there_are_several(run: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has schedules of 1, 1\.5 epochs; say which"):
        open_run(run)
    with pytest.raises(InputError, match=r"has no schedule of 2 epochs; there are: 1, 1\.5"):
        open_run(run, 2)
    assert open_run(write_run(tmp_path, epochs=(0.5,))).epochs == 0.5
    with pytest.raises(ManifestError, match="no finished output"):
        open_run(tmp_path / "nowhere", 1)


def test_folders_may_lie_apart(run: Path, reader: SequenceReader, tmp_path: Path) -> None:
    shutil.copytree(run / "tokens", tmp_path / "shards")
    shutil.copytree(run / "schedule" / "1.5_epochs", tmp_path / "order")
    apart = open_folders(tmp_path / "shards", tmp_path / "order")
    assert apart.cursor(reader.state(8)) == 8
    assert apart[8].tolist() == reader[8].tolist()


def test_schedule_of_other_shards_is_refused(run: Path, tmp_path: Path) -> None:
    salted = write_run(tmp_path / "salted", salt=1)
    with pytest.raises(ManifestError, match="was made for other shards than"):
        open_folders(salted / "tokens", run / "schedule", 1.0)  # equal lengths, other ids: the manifest knows
    shutil.copytree(run / "schedule" / "1_epochs", tmp_path / "order")  # without the stage's manifest
    assert len(open_folders(salted / "tokens", tmp_path / "order")) == open_run(run, 1.0).samples
    ids = made_ids(SIZES)
    others = {
        "names": [ids],
        "documents": [ids[:3], ids[3:9], [*ids[9:-2], np.concatenate(ids[-2:])]],
        "tokens": [ids[:3], ids[3:9], [*ids[9:-1], np.tile(ids[-1], 2)]],
    }
    for name, shards in others.items():
        other = make_run(tmp_path / name, shards)
        with pytest.raises(ManifestError, match="was made for other shards than"):
            open_folders(other / "tokens", tmp_path / "order")


def test_damaged_order_is_refused_and_not_read_as_the_end(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    folder = tmp_path / "run" / "schedule" / "1_epochs"
    schedule = read_order(folder)[0].parts[0].stream
    described = json.loads((folder / "schedule.json").read_text())
    extra = {name: described[name] for name in ("samples", "batch_size", "epochs", "shards")}
    for wrong in (schedule.doc_idx[::-1], np.full_like(schedule.doc_idx, 99), np.full_like(schedule.doc_idx, -1)):
        write_order(tmp_path / "wrong", Order((Part(replace(schedule, doc_idx=wrong.copy())),)), extra)
        reader = open_folders(run / "tokens", tmp_path / "wrong")
        with pytest.raises(InputError, match=r"was built for other shards: turn .* is not a sequence"):
            reader.read(range(len(reader)))
    extra["samples"] = len(schedule) + 1
    write_order(tmp_path / "long", Order((Part(schedule),)), extra)
    with pytest.raises(ManifestError, match="turns but says"):
        open_folders(run / "tokens", tmp_path / "long")


def test_reader_crosses_processes_as_its_folders(reader: SequenceReader) -> None:
    data = pickle.dumps(reader)
    assert len(data) < 1000
    again = pickle.loads(data)
    assert again[5].tolist() == reader[5].tolist()
    assert again.state(5) == reader.state(5)


def test_without_torch_the_error_says_what_to_install(reader: SequenceReader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.data", None)
    module._iterable_class.cache_clear()
    with pytest.raises(SetupError, match="pip install torch"):
        next(iter(TokenLoader(reader)))
    with pytest.raises(SetupError, match="pip install torch"):
        iterable_dataset(reader, 4)
    assert len(TokenLoader(reader)) == reader.steps  # planning needs none


REFUSE = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("pyspark", "py4j", "torch"):
            raise AssertionError(f"{name} was imported")

sys.meta_path.insert(0, Refuse())
from redpajama_pipe.tokens import exposures, loader, lookup, view
reader = loader.open_run(sys.argv[1], 1.0)
print(reader[0].shape, len(exposures.Exposures(reader).groups()))
"""


def test_reading_works_without_spark_and_torch(run: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", REFUSE, str(run)],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "", "PYTHONPATH": ":".join(filter(None, sys.path))},
    )
    assert (done.stdout, done.stderr) == ("(5,) 3\n", "")
