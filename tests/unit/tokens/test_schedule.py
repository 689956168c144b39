import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_run import sequence_of
from numpy.typing import NDArray

from redpajama_pipe.errors import InputError, RecipeError
from redpajama_pipe.tokens import schedule as module
from redpajama_pipe.tokens.indexed import IndexedWriter, ShardedDataset
from redpajama_pipe.tokens.order import Order, Part, read_order, write_order
from redpajama_pipe.tokens.reading_counts import exposure
from redpajama_pipe.tokens.schedule import (
    Mode,
    Schedule,
    build_index,
    plan_steps,
)

SIZES = np.array([5, 3, 9, 1, 7], np.int32)


class Documents:
    """Token value = 100 * (document + 1) + position."""

    def __init__(self, sizes: NDArray[np.int32]) -> None:
        self.sizes = sizes

    def get(self, sequence: int, offset: int = 0, length: int | None = None) -> NDArray[Any]:
        ids = 100 * (sequence + 1) + np.arange(self.sizes[sequence])
        if length is not None and offset + length > len(ids):
            raise IndexError(f"tokens {offset} to {offset + length} of sequence {sequence}")
        return ids[offset : None if length is None else offset + length]


def samples(schedule: Schedule, sizes: NDArray[np.int32] = SIZES) -> list[list[int]]:
    return [sequence_of(schedule, Documents(sizes), turn).tolist() for turn in range(len(schedule))]


# Golden: worked out with a Mersenne Twister in plain Python, by the published algorithm.
@pytest.mark.parametrize("num_samples", [3, 6])
def test_one_epoch_is_gpt_neoxs(num_samples: int) -> None:
    schedule = build_index(SIZES, 4, num_samples, 1234)
    assert schedule.epochs == 1
    assert schedule.doc_idx.tolist() == [4, 0, 1, 2, 3]
    assert schedule.sample_idx.tolist() == [[0, 0], [0, 4], [1, 1], [2, 0], [3, 1], [3, 5], [4, 0]]
    assert schedule.shuffle_idx.tolist() == [5, 2, 3, 1, 0, 4]
    assert len(schedule) == 5
    assert samples(schedule) == [
        [305, 306, 307, 308, 400],
        [101, 102, 103, 104, 200],
        [200, 201, 202, 300, 301],
        [504, 505, 506, 100, 101],
        [500, 501, 502, 503, 504],
    ]


def test_two_epochs_are_gpt_neoxs() -> None:
    schedule = build_index(SIZES, 4, 9, 1234)
    assert schedule.epochs == 2
    assert schedule.doc_idx.tolist() == [2, 2, 4, 1, 0, 3, 4, 0, 1, 3]
    assert schedule.sample_idx.tolist() == [
        [0, 0], [0, 4], [0, 8], [1, 3], [1, 7], [2, 2], [2, 6], [4, 0], [4, 4], [6, 2], [6, 6], [7, 3], [8, 2]
    ]  # fmt: skip
    assert schedule.shuffle_idx.tolist() == [3, 11, 2, 1, 7, 5, 4, 0, 8, 6, 10, 9]
    assert samples(schedule) == [
        [303, 304, 305, 306, 307],
        [103, 104, 200, 201, 202],
        [308, 300, 301, 302, 303],
        [304, 305, 306, 307, 308],
        [100, 101, 102, 103, 104],
        [502, 503, 504, 505, 506],
        [307, 308, 500, 501, 502],
        [300, 301, 302, 303, 304],
        [104, 400, 500, 501, 502],
        [506, 200, 201, 202, 100],
        [506, 100, 101, 102, 103],
    ]


def test_arrays_have_gpt_neoxs_types() -> None:
    schedule = build_index(SIZES, 4, 9, 1234)
    assert [schedule.doc_idx.dtype, schedule.sample_idx.dtype, schedule.shuffle_idx.dtype] == ["<i4", "<i4", "<u4"]
    limit = 2**30 - 2  # 2 * (sequences + 1) < 2**31 - 1
    assert module._sample_dtype(limit, 1, "joint_shuffle") == "<i4"
    assert module._sample_dtype(limit + 1, 1, "joint_shuffle") == "<i8"
    assert module._sample_dtype(limit + 1, 1, "megatron") == "<i4"
    for mode in ("joint_shuffle", "megatron"):  # short documents: few sequences, many positions
        assert module._sample_dtype(1000, 2**31 - 1, mode) == "<i4"
        assert module._sample_dtype(1000, 2**31, mode) == "<i8"
    assert module._shuffle_dtype(2**32 - 3) == "<u4"
    assert module._shuffle_dtype(2**32 - 2) == "<i8"


class Twister:
    """NumPy's legacy generator in plain Python: MT19937 and RandomState.shuffle."""

    def __init__(self, seed: int) -> None:
        state = [seed]
        for i in range(1, 624):
            state.append((1812433253 * (state[-1] ^ state[-1] >> 30) + i) & 0xFFFFFFFF)
        self.state, self.at = state, 624

    def draw(self) -> int:
        if self.at == 624:
            mt = self.state
            for i in range(624):
                y = mt[i] & 0x80000000 | mt[(i + 1) % 624] & 0x7FFFFFFF
                mt[i] = mt[(i + 397) % 624] ^ y >> 1 ^ (0x9908B0DF if y & 1 else 0)
            self.at = 0
        y = self.state[self.at]
        self.at += 1
        y ^= y >> 11
        y ^= y << 7 & 0x9D2C5680
        y ^= y << 15 & 0xEFC60000
        return y ^ y >> 18

    def shuffle(self, items: list[int]) -> list[int]:
        for i in range(len(items) - 1, 0, -1):
            mask = (1 << i.bit_length()) - 1
            while (j := self.draw() & mask) > i:
                pass
            items[i], items[j] = items[j], items[i]
        return items


def test_the_generator_is_the_legacy_mersenne_twister() -> None:
    first = Twister(1)
    assert [first.draw() for _ in range(4)] == [1791095845, 4282876139, 3093770124, 4005303368]
    assert Twister(1234).shuffle(list(range(10))) == [7, 2, 9, 1, 0, 8, 4, 5, 6, 3]
    sizes = np.full(3000, 3, np.int32)
    schedule, twister = build_index(sizes, 10, 899, 99), Twister(99)
    assert schedule.doc_idx.tolist() == twister.shuffle(list(range(3000)))
    assert schedule.shuffle_idx.tolist() == twister.shuffle(list(range(899)))


@given(
    st.lists(st.integers(0, 12), min_size=1, max_size=12),
    st.integers(1, 9),
    st.integers(1, 40),
    st.integers(0, 2**32 - 1),
    st.sampled_from(["joint_shuffle", "sequential_epochs"]),
)
def test_sequences_are_consecutive_pieces_of_the_stream(
    lengths: list[int], seq_len: int, num_samples: int, seed: int, mode: Mode
) -> None:
    sizes = np.array(lengths, np.int32)
    tokens = int(sizes.sum())
    if tokens <= seq_len:
        with pytest.raises(InputError, match="do not make"):
            build_index(sizes, seq_len, num_samples, seed, mode)
        return
    schedule = build_index(sizes, seq_len, num_samples, seed, mode)
    stream = [100 * (d + 1) + i for d in schedule.doc_idx.tolist() for i in range(lengths[d])]
    sequences = len(schedule) + 1
    assert sequences == (schedule.epochs * tokens - 1) // seq_len >= num_samples
    assert schedule.epochs == 1 or ((schedule.epochs - 1) * tokens - 1) // seq_len < num_samples
    assert sorted(schedule.shuffle_idx.tolist()) == list(range(sequences))
    assert sorted(schedule.doc_idx.tolist()) == sorted(list(range(len(lengths))) * schedule.epochs)
    expected = [stream[j * seq_len : (j + 1) * seq_len + 1] for j in schedule.shuffle_idx.tolist()[:-1]]
    assert samples(schedule, sizes) == expected

    turns = len(schedule) // 2
    counted = exposure(schedule, sizes, turns)
    seen: list[int] = [token for ids in expected[:turns] for token in ids[:-1]]
    assert counted.tokens.tolist() == [sum(token // 100 == d + 1 for token in seen) for d in range(len(lengths))]
    assert counted.first_token.tolist() == [seen.count(100 * (d + 1)) for d in range(len(lengths))]
    assert counted.tokens.sum() == turns * seq_len


def test_exposure_is_tokens_over_size() -> None:
    counted = exposure(build_index(SIZES, 4, 6, 1234), SIZES, 2)
    # turns 0 and 1 read 305..308 and 101..104
    assert counted.tokens.tolist() == [4, 0, 4, 0, 0]
    assert counted.first_token.tolist() == [0, 0, 0, 0, 0]
    assert counted.times.tolist() == [4 / 5, 0, 4 / 9, 0, 0]
    assert np.isnan(exposure(build_index(np.array([9, 0], np.int32), 4, 1, 0), np.array([9, 0], np.int32), 0).times[1])


def test_sequential_epochs_read_every_document_before_one_comes_back() -> None:
    sizes = np.full(400, 10, np.int32)
    joint = build_index(sizes, 20, 300, 1234, "joint_shuffle")
    sequential = build_index(sizes, 20, 300, 1234, "sequential_epochs")
    assert joint.epochs == sequential.epochs == 2
    assert sorted(sequential.doc_idx[:400].tolist()) == list(range(400))
    assert sorted(joint.doc_idx[:400].tolist()) != list(range(400))
    border = (400 * 10 - 1) // 20
    assert sorted(sequential.shuffle_idx[:border].tolist()) == list(range(border))
    # 20 tokens of the first epoch are in the sequence on the border, which counts as the last epoch's.
    assert np.count_nonzero(exposure(sequential, sizes, border).times != 1) == 2
    assert exposure(sequential, sizes, border).times.max() == 1
    assert exposure(joint, sizes, border).times.max() == 2
    assert np.count_nonzero(exposure(joint, sizes, border).times == 0) > 50


def test_sequential_epochs_draw_from_one_generator_as_megatron_does() -> None:
    sizes = np.full(30, 7, np.int32)
    schedule, twister = build_index(sizes, 10, 40, 5, "sequential_epochs"), Twister(5)
    assert schedule.epochs == 2
    assert schedule.doc_idx.tolist() == twister.shuffle(list(range(30))) + twister.shuffle(list(range(30)))
    border, total = (30 * 7 - 1) // 10, (2 * 30 * 7 - 1) // 10
    first, last = twister.shuffle(list(range(border))), twister.shuffle(list(range(border, total)))
    assert schedule.shuffle_idx.tolist() == first + last


def test_one_epoch_is_the_same_in_both_modes() -> None:
    joint, sequential = build_index(SIZES, 4, 6, 7), build_index(SIZES, 4, 6, 7, "sequential_epochs")
    for part in ("doc_idx", "sample_idx", "shuffle_idx"):
        assert np.array_equal(getattr(joint, part), getattr(sequential, part))


def test_turns_outside_raise_and_never_wrap() -> None:
    schedule = build_index(SIZES, 4, 6, 1234)
    for turns in (-1, 6):
        with pytest.raises(IndexError, match="turns of a schedule of 5"):
            exposure(schedule, SIZES, turns)


@given(
    st.integers(10, 10**12),
    st.integers(1, 4096),
    st.integers(1, 2048),
    st.sampled_from([0.1, 0.5, 1.0, 1.1, 1.5, 2.0, 3.0]),
)
def test_steps_fit_their_epochs(tokens: int, seq_len: int, batch_size: int, epochs: float) -> None:
    per_epoch = (tokens - 1) // seq_len - 1
    if per_epoch < 1:
        with pytest.raises(RecipeError, match="make no schedule"):
            plan_steps(epochs, tokens, seq_len, batch_size)
        return
    plan = plan_steps(epochs, tokens, seq_len, batch_size)
    assert plan.samples == plan.steps * batch_size == plan.num_samples - 1
    needed = -(-(plan.num_samples * seq_len + 1) // tokens)  # whole epochs, as build_index counts them
    if plan.steps > 1:
        assert plan.samples <= round(epochs * 10) * per_epoch / 10
        assert needed <= -(-round(epochs * 10) // 10)  # one epoch never begins a second


def test_steps_are_decimal_and_at_least_one() -> None:
    assert plan_steps(1.1, 10 * 101 + 1, 10, 10).steps == 11  # 1.1 * 100 / 10; the float is a little more
    assert plan_steps(0.7, 10 * 101 + 1, 10, 10).steps == 7
    assert plan_steps(1, 10 * 101 + 1, 10, 1024).steps == 1
    with pytest.raises(RecipeError, match=r"schedule\.epochs is 0"):
        plan_steps(0, 1000, 10, 10)


def test_pythias_numbers() -> None:
    plan = plan_steps(1.0, 2048 * (1024 * 143_000 + 1) + 1, 2048, 1024)
    assert (plan.steps, plan.samples) == (143_000, 146_432_000)


@pytest.mark.parametrize("mode", ["joint_shuffle", "sequential_epochs"])
def test_a_planned_run_reads_only_turns_there_are(mode: Literal["joint_shuffle", "sequential_epochs"]) -> None:
    for tokens in range(9, 60):
        for epochs in (0.3, 1.0, 1.5, 2.0):
            for batch_size in (1, 4):
                plan = plan_steps(epochs, tokens, 4, batch_size)
                assert len(build_index(np.array([tokens], np.int32), 4, plan.num_samples, 1, mode)) >= plan.samples


def test_schedule_is_written_under_gpt_neoxs_names_and_read_back(tmp_path: Path) -> None:
    schedule = build_index(SIZES, 4, 9, 1234)
    files = write_order(tmp_path / "s", Order((Part(schedule),)), {"steps": 2, "batch_size": 4})
    assert [file.path for file in files] == [
        "train_0_indexmap_9ns_4sl_1234s_doc_idx.npy",
        "train_0_indexmap_9ns_4sl_1234s_sample_idx.npy",
        "train_0_indexmap_9ns_4sl_1234s_shuffle_idx.npy",
        "schedule.json",
    ]
    np.save(tmp_path / "numpy.npy", schedule.sample_idx)
    assert (tmp_path / "s" / files[1].path).read_bytes() == (tmp_path / "numpy.npy").read_bytes()
    described = json.loads((tmp_path / "s" / "schedule.json").read_text())
    assert described["steps"] == 2
    assert described["turns"] == 11
    again = read_order(tmp_path / "s")[0].parts[0].stream
    assert samples(again) == samples(schedule)
    assert (again.mode, again.seed, again.epochs, again.num_samples) == ("joint_shuffle", 1234, 2, 9)


def test_damaged_schedule_is_refused(tmp_path: Path) -> None:
    files = write_order(tmp_path, Order((Part(build_index(SIZES, 4, 9, 1234)),)))
    (tmp_path / files[0].path).write_bytes(b"")
    with pytest.raises(InputError, match="no usable schedule in"):
        read_order(tmp_path)
    with pytest.raises(InputError, match="no usable schedule in"):
        read_order(tmp_path / "nowhere")


def test_samples_come_from_shards(tmp_path: Path) -> None:
    for name, documents in (("a", range(2)), ("b", range(2, 5))):
        with IndexedWriter(tmp_path / name, np.dtype("uint16")) as writer:
            ids = np.concatenate([Documents(SIZES).get(d) for d in documents])
            writer.append(ids, SIZES[documents.start : documents.stop])
    dataset = ShardedDataset([tmp_path / "a", tmp_path / "b"])
    schedule = build_index(dataset.sizes, 4, 9, 1234)
    assert [sequence_of(schedule, dataset, turn).tolist() for turn in range(len(schedule))] == samples(schedule)
