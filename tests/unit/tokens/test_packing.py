import itertools
import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_run import doc_id, made_ids, make_run

from redpajama_pipe import manifest
from redpajama_pipe.errors import InputError, RecipeError
from redpajama_pipe.recipe import load
from redpajama_pipe.run_folder import RunFolder
from redpajama_pipe.settings.tokens import Schedule
from redpajama_pipe.settings.tree import to_tree
from redpajama_pipe.stages import build_schedule
from redpajama_pipe.tokens import packing as module
from redpajama_pipe.tokens import view
from redpajama_pipe.tokens.exposures import Exposures, document_steps, exposure_text
from redpajama_pipe.tokens.loader import TokenDataset
from redpajama_pipe.tokens.lookup import Lookup, find_document
from redpajama_pipe.tokens.order import build_order, count_exposure, read_order, write_order
from redpajama_pipe.tokens.packing import PackedSchedule, Packing, build_packed, count_packing, pack_documents
from redpajama_pipe.tokens.reader import SequenceReader, open_run
from redpajama_pipe.tokens.schedule import Mode, Plan, build_index
from redpajama_pipe.tokens.spec import load_spec

SIZES = [5, 3, 9, 1, 7, 30, 2, 2, 1, 64, 8, 11, 4, 4, 20, 6]
SHARDS = [(0, 3), (3, 9), (9, 16)]
PACKED: tuple[Packing, ...] = ("best_fit", "document")
corpora = st.lists(st.integers(0, 40), min_size=1, max_size=60).filter(any)


def int32(sizes: list[int]) -> Any:
    return np.array(sizes, np.int32)


def naive_best_fit(lengths: list[int], capacity: int) -> list[list[int]]:
    """Best-fit decreasing by looking at every bin, the one filled last first; returns the lengths in each."""
    bins: list[list[int]] = []  # the one filled last at the end
    for length in sorted(lengths, reverse=True):
        room = [capacity - sum(each) for each in bins]
        fitting = [at for at, left in enumerate(room) if left >= length]
        if fitting:
            chosen = bins.pop(min(fitting, key=lambda at: (room[at], -at)))
            bins.append([*chosen, length])
        else:
            bins.append([length])
    return bins


def first_fit(lengths: list[int], capacity: int) -> int:
    room: list[int] = []
    for length in lengths:
        at = next((at for at, left in enumerate(room) if left >= length), None)
        if at is None:
            room.append(capacity - length)
        else:
            room[at] -= length
    return len(room)


@given(sizes=corpora, seq_len=st.integers(1, 33), packing=st.sampled_from(PACKED))
def test_every_token_is_in_one_bin_and_what_fits_is_not_cut(sizes: list[int], seq_len: int, packing: Packing) -> None:
    pieces, bins = pack_documents(int32(sizes), seq_len, packing)
    tokens = [(document, start + at) for document, start, length in pieces.tolist() for at in range(length)]
    assert sorted(tokens) == [(document, at) for document, size in enumerate(sizes) for at in range(size)]
    counts = np.bincount(pieces[:, 0], minlength=len(sizes)).tolist()
    assert counts == [-(-size // (seq_len + 1)) for size in sizes]  # one for every document that fits
    assert (bins[0], bins[-1]) == (0, len(pieces))
    held = [pieces[begin:end, 2].sum() for begin, end in itertools.pairwise(bins.tolist())]
    assert all(0 < length <= seq_len + 1 for length in held)
    if packing == "document":
        assert np.diff(bins).tolist() == [1] * len(pieces)


@given(sizes=corpora, seq_len=st.integers(1, 33))
def test_best_fit_is_best_fit_decreasing(sizes: list[int], seq_len: int) -> None:
    pieces, bins = pack_documents(int32(sizes), seq_len, "best_fit")
    lengths = pieces[:, 2].tolist()
    found = [sorted(lengths[begin:end]) for begin, end in itertools.pairwise(bins.tolist())]
    assert sorted(found) == sorted(sorted(each) for each in naive_best_fit(lengths, seq_len + 1))


def test_best_fit_by_hand() -> None:
    # capacity 10; of 12 a full bin and 2, which goes to the one with exactly 2 left that was filled last
    pieces, bins = pack_documents(int32([5, 12, 3, 9, 8, 6, 4]), 9, "best_fit")
    assert [pieces[begin:end].tolist() for begin, end in itertools.pairwise(bins.tolist())] == [
        [[1, 0, 10]],
        [[3, 0, 9]],
        [[4, 0, 8]],
        [[5, 0, 6], [6, 0, 4]],
        [[0, 0, 5], [1, 10, 2], [2, 0, 3]],
    ]


def test_best_fit_pads_no_more_than_first_fit() -> None:
    # 20,000 documents of lognormal lengths, mean 600, in sequences of 2,048
    sizes = np.maximum(1, np.random.default_rng(1).lognormal(np.log(600) - 0.5, 1, 20_000)).astype(np.int32)
    counts = count_packing(build_packed(sizes, 2048, Plan(1, 1, 1), 1, "joint_shuffle", "best_fit")[0], sizes)
    pieces, _ = pack_documents(sizes, 2048, "document")
    peer = first_fit(pieces[:2000, 2].tolist(), 2049)
    own = len(pack_documents(sizes[: pieces[1999, 0] + 1], 2048, "best_fit")[1]) - 1
    assert own <= peer
    assert counts.padding_share < 0.002
    assert counts.documents_cut == (sizes > 2049).sum()
    alone = count_packing(build_packed(sizes, 2048, Plan(1, 1, 1), 1, "joint_shuffle", "document")[0], sizes)
    assert alone.padding_share > 0.5


@pytest.mark.parametrize("packing", PACKED)
@pytest.mark.parametrize("mode", ["joint_shuffle", "sequential_epochs"])
def test_each_epoch_is_a_permutation_of_the_bins(packing: Packing, mode: Mode) -> None:
    sizes = int32(SIZES)
    schedule, plan = build_packed(sizes, 9, (2.5, 4), 7, mode, packing)
    count = len(schedule.bins) - 1
    assert (plan.samples, schedule.epochs) == (int(2.5 * count) // 4 * 4, 3)
    epochs = schedule.shuffle_idx.reshape(3, count)
    if mode == "sequential_epochs":
        assert [sorted(epoch) for epoch in epochs.tolist()] == [list(range(count))] * 3
        assert epochs[0].tolist() != epochs[1].tolist()
    else:
        assert sorted(schedule.shuffle_idx.tolist()) == sorted([*range(count)] * 3)
        random = np.random.RandomState(7)
        expected = np.tile(np.arange(count), 3)
        random.shuffle(expected)
        assert schedule.shuffle_idx.tolist() == expected.tolist()
    again, _ = build_packed(sizes, 9, (2.5, 4), 7, mode, packing)
    assert all((getattr(again, part) == getattr(schedule, part)).all() for part in module.PACKED_PARTS)
    other, _ = build_packed(sizes, 9, (2.5, 4), 8, mode, packing)
    assert other.shuffle_idx.tolist() != schedule.shuffle_idx.tolist()
    read = count_exposure(build_order(sizes, settings(packing, mode), 1.0)[0], sizes, count // 4 * 4)
    assert (read.first_token <= 1).all() or mode == "joint_shuffle"


def settings(packing: Packing, mode: Mode = "sequential_epochs", **more: Any) -> Schedule:
    return Schedule(seq_len=9, batch_size=4, packing=packing, mode=mode, seed=7, **more)


def test_counts_are_exact() -> None:
    sizes = int32([5, 12, 3, 9, 8, 6, 4])
    schedule, _ = build_packed(sizes, 9, (1, 1), 7, "joint_shuffle", "best_fit")
    assert asdict(count_packing(schedule, sizes)) == {
        "documents": 7, "documents_cut": 1, "pieces": 8, "sequences": 5, "padding": 3, "padding_share": 0.06,
        "cut_share": 1 / 7,
    }  # fmt: skip
    alone, _ = build_packed(sizes, 9, (1, 1), 7, "joint_shuffle", "document")
    assert (count_packing(alone, sizes).padding, count_packing(alone, sizes).sequences) == (33, 8)
    stream = build_index(sizes, 9, 2, 7)
    # the stream by hand: which sequence each input is of
    owner = np.repeat(np.arange(len(stream.doc_idx)), sizes[stream.doc_idx])[: 9 * len(stream.shuffle_idx)]
    parts = len({(document, at // 9) for at, document in enumerate(owner.tolist())})
    counts = count_packing(stream, sizes)
    assert (counts.pieces, counts.documents, counts.padding) == (parts, len(set(owner.tolist())), 0)
    assert counts.documents_cut == sum(len(set(np.flatnonzero(owner == at) // 9)) > 1 for at in set(owner.tolist()))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"mode": "megatron"}, "schedule.packing is best_fit, schedule.mode megatron: .* choose joint_shuffle"),
        ({"blend": {"wiki": 1.0}}, "schedule.packing is best_fit, and there is a schedule.blend: .* leave out"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, more: dict[str, Any], message: str) -> None:
    recipe = replace(load("sample"), schedule=Schedule(packing="best_fit", **more))
    with pytest.raises(RecipeError, match=message):
        build_schedule.run(recipe, RunFolder.at(str(tmp_path)), quiet=True)
    with pytest.raises(RecipeError, match=r"schedule\.epochs is 0"):
        build_packed(int32([3]), 4, (0.0, 1), 1, "joint_shuffle", "document")
    with pytest.raises(InputError, match="nothing to pack"):
        build_packed(int32([]), 4, (1.0, 1), 1, "joint_shuffle", "document")


def make_packed(folder: Path, packing: Packing, mode: Mode = "sequential_epochs", **more: Any) -> Path:
    ids = made_ids(SIZES)
    spec = to_tree(load_spec("gpt_neox_20b"))
    make_run(folder, [ids[begin:end] for begin, end in SHARDS], epochs=(), spec=spec)
    shutil.rmtree(folder / "schedule")
    recipe = replace(load("sample"), schedule=settings(packing, mode, **more))
    build_schedule.run(recipe, RunFolder.at(str(folder)), quiet=True)
    return folder


@pytest.fixture(scope="module", params=PACKED)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_packed(tmp_path_factory.mktemp("packed"), request.param)


def test_stage_writes_what_the_loader_reads(run: Path) -> None:
    described = manifest.read(str(run / "schedule")).counts["schedules"]
    assert [each["epochs"] for each in described] == [1.0, 1.5]
    reader = open_run(run, 1.5)
    assert reader.packing == described[1]["packing"]
    schedule = reader.order.parts[0].schedule
    assert isinstance(schedule, PackedSchedule)
    assert described[1]["packed"] == asdict(count_packing(schedule, int32(SIZES)))
    assert reader.pad_id == 1  # <|padding|> of GPT-NeoX's tokenizer
    ids = made_ids(SIZES)
    for turn in range(len(reader)):
        pieces = reader.pieces(turn)
        joined = np.concatenate([ids[each.document][each.start : each.start + each.length] for each in pieces])
        row = reader[turn]
        assert row.tolist() == [*joined.tolist(), *[1] * (10 - len(joined))]
    seen = [(each.document, each.start) for turn in range(len(schedule.bins) - 1) for each in pieces_at(reader, turn)]
    assert len(seen) == len(set(seen)) == len(schedule.pieces)  # the first epoch, whole


def pieces_at(reader: SequenceReader, turn: int) -> Any:
    return reader.pieces(turn) if turn < len(reader) else []


def test_borders_say_where_documents_begin(run: Path) -> None:
    reader = open_run(run, 1.5)
    for turn in range(len(reader)):
        found, pieces = reader.borders(turn), reader.pieces(turn)
        documents = [each.document for each in pieces for _ in range(each.length)]
        places = [at for each in pieces for at in range(each.length)]
        padding = 10 - len(documents)
        assert found.document_ids.tolist() == [*documents, *[-1] * padding][:9]
        assert found.position_ids.tolist() == [*places, *range(padding)][:9]
        assert found.loss_mask.tolist() == ([True] * len(documents) + [False] * padding)[1:]
        starts = [0, *np.flatnonzero(found.position_ids[1:] == 0) + 1, 9]
        assert found.cu_seqlens.tolist() == starts
        assert found.cu_seqlens.dtype == np.int32
    batch = reader.batch([0, 1], borders=True)
    assert batch["loss_mask"].tolist() == [reader.borders(turn).loss_mask.tolist() for turn in (0, 1)]
    second = reader.borders(1).cu_seqlens + 9
    assert batch["cu_seqlens"].tolist() == [*reader.borders(0).cu_seqlens[:-1], *second]
    assert list(TokenDataset(reader)[0]) == ["input_ids", "loss_mask"]


def test_concatenated_sequences_have_borders_too(tmp_path: Path) -> None:
    ids = made_ids(SIZES)
    reader = open_run(make_run(tmp_path, [ids]), 1.5)
    for turn in range(len(reader)):
        found = reader.borders(turn)
        pieces = reader.pieces(turn)
        documents = [each.document for each in pieces for _ in range(each.length)]
        assert found.document_ids.tolist() == documents[:-1]
        assert found.loss_mask.all()
        assert found.cu_seqlens[-1] == reader.seq_len
    assert list(reader.batch([0])) == ["input_ids"]


def test_a_cut_run_reads_on(run: Path) -> None:
    reader = open_run(run, 1.5)
    state = json.loads(json.dumps(reader.state(8)))
    again = open_run(run, 1.5)
    cursor = again.cursor(state)
    assert again.read(range(cursor, len(again))).tolist() == reader.read(range(8, len(reader))).tolist()
    with pytest.raises(InputError, match="the state was saved with schedule"):
        open_run(run, 1.0).cursor(state)


def test_exposure_lookup_and_view_agree_with_reading_all(run: Path) -> None:
    reader = open_run(run, 1.5)
    turns = [(turn, each) for turn in range(len(reader)) for each in reader.pieces(turn)]
    counted = Exposures(reader)
    visits = Lookup(reader).visits(range(len(SIZES)))
    ends, steps = counted.steps
    for document in range(len(SIZES)):
        own = [(turn, each) for turn, each in turns if each.document == document]
        assert counted.tokens_seen[document] == sum(each.length for _, each in own)
        assert counted.times_seen[document] == sum(each.start == 0 for _, each in own)
        assert [tuple(visit) for visit in visits[document]] == [
            (turn, each.start, each.start + each.length) for turn, each in own
        ]
        expected = sorted({turn // 4 for turn, _ in own})
        assert steps[ends[document] : ends[document + 1]].tolist() == expected
        assert document_steps(reader, doc_id(document)) == expected
        assert find_document(reader, doc_id(document)) == document
    assert f"sequential_epochs of 2, {reader.packing}" in exposure_text(run)


def test_schedule_crosses_the_disk(tmp_path: Path) -> None:
    order, plan = build_order(int32(SIZES), settings("best_fit", steps=7, epochs=None), None)
    write_order(tmp_path, order)
    again, described = read_order(tmp_path)
    assert plan.samples == 28 == described["num_samples"]
    written, read = (each.parts[0].schedule for each in (order, again))
    for part in ("pieces", "bins", "shuffle_idx"):
        assert getattr(written, part).tolist() == getattr(read, part).tolist()
    for key in ("seq_len", "mode", "seed", "epochs", "packing", "documents", "tokens", "cut"):
        assert getattr(written, key) == getattr(read, key)


def test_split_is_packed_alone(tmp_path: Path) -> None:
    reader = open_run(make_packed(tmp_path, "best_fit", split="3,1"), 1.0)
    assert {each.document for turn in range(len(reader)) for each in reader.pieces(turn)} <= set(range(12))


@pytest.mark.parametrize("packing", ["concat", "best_fit"])
def test_remote_run_is_read_by_range(tmp_path: Path, packing: Packing) -> None:
    local = make_packed(tmp_path / "run", packing)
    url = f"memory://packed-{packing}"
    memory = fsspec.filesystem("memory")
    memory.put(str(local), url, recursive=True)
    reader, expected = open_run(url, 1.5), open_run(local, 1.5)
    assert reader.read(range(len(reader))).tolist() == expected.read(range(len(expected))).tolist()
    assert reader[1].tolist() == expected[1].tolist()
    assert reader.shard(0).get(2, 1, 3).tolist() == expected.shard(0).get(2, 1, 3).tolist()
    assert Lookup(reader).visits([9]) == Lookup(expected).visits([9])
    assert Exposures(reader).groups() == Exposures(expected).groups()
    assert reader.state(3) == expected.state(3)
    mapped = view._token_map(reader, reader.pieces(0))
    assert {row["doc_id"] for row in mapped.values()} == {doc_id(each.document) for each in reader.pieces(0)}
    fresh = open_run(url, 1.5)
    assert fresh[0].tolist() == expected[0].tolist()
    for shard in fresh.shards:
        memory.rm(f"{url}/tokens/{shard}.bin")
    with pytest.raises(InputError, match=r"cannot read .*shard-0000\d\.bin"):
        fresh[0]
