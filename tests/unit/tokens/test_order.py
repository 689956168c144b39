import json
import shutil
import tempfile
from math import comb
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_run import made_ids, make_run

from redpajama_pipe import manifest, recipe
from redpajama_pipe.errors import InputError, ManifestError, RecipeError
from redpajama_pipe.recipe import Recipe
from redpajama_pipe.run_folder import RunFolder
from redpajama_pipe.settings.tokens import Schedule as Settings
from redpajama_pipe.stages import build_schedule
from redpajama_pipe.tokens.blend import blending_indices, normalize
from redpajama_pipe.tokens.exposures import Exposures, exposure_text
from redpajama_pipe.tokens.lookup import Lookup, Visit
from redpajama_pipe.tokens.order import build_order, count_exposure, read_order, split_documents, write_order
from redpajama_pipe.tokens.reader import SequenceReader, open_run
from redpajama_pipe.tokens.schedule import build_index

SIZES = [5, 3, 0, 9, 1, 7, 30, 2, 0, 2, 1, 64, 8, 11, 4, 4, 20, 6, 12, 3, 5, 17]
SHARDS = [(0, 3), (3, 9), (9, 22)]
FULL = [number for number, size in enumerate(SIZES) if size]
BLEND = {"wiki": 3.0, "crawl": 1.0}  # sources are crawl, pile, wiki, again and again


def schedule(folder: Path, lookup: bool = True, **more: Any) -> Path:
    """A run with interleaved sources, and its schedule as the stage writes it."""
    ids = made_ids(SIZES)
    run = make_run(folder, [ids[begin:end] for begin, end in SHARDS], epochs=(1.0,))
    wanted = Recipe("made", (), schedule=Settings(**{"seq_len": 4, "batch_size": 4, **more}))
    build_schedule.run(wanted, RunFolder.at(str(run)), quiet=True)
    if not lookup:
        for path in (run / "schedule").glob("*/*turn_idx.npy"):
            path.unlink()
    return run


@pytest.fixture(scope="module")
def blended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return schedule(tmp_path_factory.mktemp("run"), steps=20, blend=BLEND)


@pytest.fixture(scope="module")
def scanned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return schedule(tmp_path_factory.mktemp("run"), lookup=False, steps=20, blend=BLEND)


def open_order(run: Path) -> SequenceReader:
    """Open a run's only schedule, whether its stage's manifest is whole or not."""
    (order,) = run.glob("schedule/*/schedule.json")
    return SequenceReader(str(run / "tokens"), str(order.parent))


# Golden: megatron-core 0.16.1, GPTDataset: less than 0.8 of the second epoch's 6 sequences is used, or not.
def test_the_last_epoch_apart_is_megatron_cores() -> None:
    sizes = np.array([5, 3, 9, 1, 7], np.int32)
    index = build_index(sizes, 4, 9, 1234, "megatron")
    assert index.separated
    assert index.doc_idx.tolist() == [4, 0, 1, 2, 3, 3, 2, 1, 0, 4]
    assert index.sample_idx.tolist() == [
        [0, 0], [0, 4], [1, 1], [2, 0], [3, 1], [3, 5], [4, 0], [6, 2], [6, 6], [7, 1], [8, 2], [9, 1], [9, 5]
    ]  # fmt: skip
    assert index.shuffle_idx.tolist() == [0, 4, 3, 2, 5, 1, 7, 6, 9, 8, 11, 10]
    assert len(index) == 12  # none is lost
    for num_samples in (10, 11, 12):
        index = build_index(sizes, 4, num_samples, 1234, "megatron")
        assert not index.separated
        assert index.doc_idx.tolist() == [2, 2, 4, 1, 0, 3, 4, 0, 1, 3]
        assert index.shuffle_idx.tolist() == [3, 11, 2, 1, 7, 5, 4, 0, 8, 6, 10, 9]
    # 0.95 of Megatron-DeepSpeed: int(5.7) = 5
    assert build_index(sizes, 4, 10, 1234, "megatron", 0.95).separated
    assert not build_index(sizes, 4, 11, 1234, "megatron", 0.95).separated


@pytest.mark.parametrize(
    ("num_samples", "doc_idx", "sample_idx", "shuffle_idx"),
    [
        (8000, "89ee8f2df8ebacdb", "dbf0819df4cee04e", "f31a54fb3e7e6e80"),
        (16_877, "0bd3f1b831c2f6a1", "6c9a88bde6dbac92", "306f0c48ee946165"),
        (16_878, "7313354e48b4457d", "1f37bc7655a38d81", "778cfb11657c1fbd"),
        (20_000, "3a63bd209fabda72", "47e15912f70c9450", "174cea813bafa433"),
    ],
)
def test_three_thousand_documents_are_megatron_cores(
    num_samples: int, doc_idx: str, sample_idx: str, shuffle_idx: str
) -> None:
    from test_blend import sha

    sizes = np.random.RandomState(7).randint(1, 400, 3000).astype(np.int32)
    index = build_index(sizes, 64, num_samples, 1234, "megatron")
    assert (sha(index.doc_idx), sha(index.sample_idx), sha(index.shuffle_idx)) == (doc_idx, sample_idx, shuffle_idx)


def test_megatron_is_one_of_the_other_two_modes() -> None:
    sizes = np.full(400, 10, np.int32)  # 199 sequences of 20 an epoch; int(0.8 * 199) = 159
    for num_samples, mode in ((199, "joint_shuffle"), (199 + 158, "sequential_epochs"), (199 + 159, "joint_shuffle")):
        index, same = build_index(sizes, 20, num_samples, 1, "megatron"), build_index(sizes, 20, num_samples, 1, mode)  # type: ignore[arg-type]
        for part in ("doc_idx", "sample_idx", "shuffle_idx"):
            assert np.array_equal(getattr(index, part), getattr(same, part))


# Golden: worked out by get_train_valid_test_split_ of GPT-NeoX.
@pytest.mark.parametrize(
    ("split", "documents", "borders"),
    [
        ("969,30,1", 1000, (0, 969, 999, 1000)),
        ("969, 30, 1", 5, (0, 5, 5, 5)),
        ("969/30/1", 17, (0, 16, 17, 17)),
        ("1", 7, (0, 7, 7, 7)),
        ("1,1", 5, (0, 3, 5, 5)),  # round(2.5) is 2, twice: one is missing, and every border moves up by one
        ("1,1,1", 5, (0, 1, 3, 5)),  # 2 and 2 and 2 are one too many: every border moves down
        ("0,1", 3, (0, 0, 3, 3)),
        ("95,5,0,7", 100, (0, 95, 100, 100)),
    ],
)
def test_documents_are_split_as_gpt_neox_does(split: str, documents: int, borders: tuple[int, ...]) -> None:
    assert split_documents(split, documents) == borders


@pytest.mark.parametrize("split", ["", "a,b", "0,0", "1;2", "2,-1", "nan"])
def test_weights_of_a_split_must_be_numbers(split: str) -> None:
    with pytest.raises(RecipeError, match=r"schedule\.split is"):
        split_documents(split, 10)


def test_steps_ask_what_gpt_neox_asks() -> None:
    sizes = np.full(1000, 50, np.int32)

    def asked(**more: Any) -> tuple[int, int, str]:
        order, plan = build_order(sizes, Settings(seq_len=10, batch_size=10, steps=60, **more), None)
        assert (plan.steps, plan.samples) == (60, 600)
        return order.parts[0].schedule.num_samples, order.parts[0].schedule.documents, order.parts[0].prefix

    assert asked() == (603, 1000, "train_0")  # train_data_paths: 0.5 % more
    assert asked(split="969,30,1") == (600, 969, "train")  # data_path
    assert asked(mode="megatron") == (600, 1000, "train_0")


def test_one_more_is_asked_for_where_gpt_neox_would_begin_again() -> None:
    # 25 tokens are 6 sequences of 4, of which 5 can be read: GPT-NeoX's dataset gives turn 0 for turn 5
    sizes = np.array([5, 3, 9, 1, 7], np.int32)
    order, plan = build_order(sizes, Settings(seq_len=4, batch_size=6, steps=1, split="1"), None)
    assert (order.parts[0].schedule.num_samples, order.parts[0].schedule.epochs, plan.samples) == (7, 2, 6)
    order, _ = build_order(sizes, Settings(seq_len=4, batch_size=5, steps=1, split="1"), None)
    assert (order.parts[0].schedule.num_samples, order.parts[0].schedule.epochs) == (5, 1)
    order, _ = build_order(sizes, Settings(seq_len=4, batch_size=6, steps=1, mode="megatron"), None)
    assert (order.parts[0].schedule.num_samples, order.parts[0].schedule.epochs) == (6, 1)


def test_the_train_part_is_the_first_documents(tmp_path: Path) -> None:
    run = schedule(tmp_path, steps=6, split="2,1,1")
    reader = open_run(run)
    assert reader.order.parts[0].schedule.documents == 10
    read = {piece.document for turn in range(len(reader)) for piece in reader.pieces(turn)}
    assert read <= set(range(10))
    exposures = Exposures(reader)
    assert exposures.tokens_seen[10:].sum() == 0
    assert exposures.tokens_seen.sum() == 6 * 4 * 4
    (row,) = manifest.read(str(run / "schedule")).counts["schedules"]
    assert (row["folder"], row["steps"], row["samples"], row["left_out"]) == ("6_steps", 6, 24, 10)
    assert sum(row["seen"].values()) == 10
    assert row["epochs"] == reader.epochs == pytest.approx(96 / sum(SIZES[:12]), rel=1e-3)
    expected = build_index(np.array([SIZES[number] for number in FULL[:10]], np.int32), 4, 24, 1234)
    assert reader.order.parts[0].schedule.shuffle_idx.tolist() == expected.shuffle_idx.tolist()
    assert Lookup(reader).visits([11, 3])[11] == []


def test_a_blended_turn_is_the_next_one_of_its_source(blended: Path) -> None:
    reader = open_order(blended)
    ids = made_ids(SIZES)
    which, where = blending_indices(normalize([3, 1], "joint_shuffle"), 80, "joint_shuffle")
    assert len(reader) == 80
    sources = {name: [number for number in FULL if number % 3 == at] for at, name in ((2, "wiki"), (0, "crawl"))}
    asked = {"wiki": 61, "crawl": 21}  # ceil(80 * 3 / 4 * 1.005)
    streams = {}
    for name, numbers in sources.items():
        index = build_index(np.array([SIZES[number] for number in numbers], np.int32), 4, asked[name], 1234)
        stream = np.concatenate([ids[numbers[own]] for own in index.doc_idx])
        streams[name] = [stream[row * 4 : row * 4 + 5].tolist() for row in index.shuffle_idx.tolist()]
    expected = [streams[list(BLEND)[part]][turn] for part, turn in zip(which, where, strict=True)]
    assert reader.read(range(80)).tolist() == expected
    for turn in range(80):
        pieces = reader.pieces(turn)
        joined = [ids[FULL[each.document]][each.start : each.start + each.length] for each in pieces]
        assert np.concatenate(joined).tolist() == expected[turn]


@pytest.mark.parametrize("made", ["blended", "scanned"])
def test_exposure_and_visits_of_a_blend_are_those_of_reading_every_turn(
    made: str, request: pytest.FixtureRequest
) -> None:
    reader = open_order(request.getfixturevalue(made))
    visits: dict[int, list[Visit]] = {document: [] for document in range(len(FULL))}
    for turn in range(len(reader)):
        *whole, last = reader.pieces(turn)
        for each in [*whole, last._replace(length=last.length - 1)]:
            if each.length:
                visits[each.document].append(Visit(turn, each.start, each.start + each.length))
    visits = {document: sorted(own) for document, own in visits.items()}
    assert Lookup(reader).visits(range(len(FULL))) == visits
    exposures = Exposures(reader)
    ends, steps = exposures.steps
    for document, own in visits.items():
        assert exposures.tokens_seen[document] == sum(visit.end - visit.start for visit in own)
        assert exposures.times_seen[document] == sum(visit.start == 0 for visit in own)
        assert steps[ends[document] : ends[document + 1]].tolist() == sorted({visit.turn // 4 for visit in own})
        assert bool(own) == (FULL[document] % 3 != 1)


def test_text_names_the_sources_of_a_blend(tmp_path: Path) -> None:
    text = exposure_text(schedule(tmp_path, steps=20, blend=BLEND))
    assert "joint_shuffle, blend of 75.0 % wiki (3 epochs), 25.0 % crawl (1 epoch): 20 steps" in text
    assert "│ pile   │         7 │     7 │    0 │" in text


def test_the_order_of_a_blend_is_part_of_what_is_asked(tmp_path: Path) -> None:
    run = schedule(tmp_path, steps=20, blend={"wiki": 1.0, "crawl": 1.0})
    first = manifest.read(str(run / "schedule"))
    wanted = Recipe("made", (), schedule=Settings(seq_len=4, batch_size=4, steps=20, blend={"crawl": 1.0, "wiki": 1.0}))
    second = build_schedule.run(wanted, RunFolder.at(str(run)), quiet=True)
    assert second.key != first.key
    assert second.hash != first.hash
    assert build_schedule.run(wanted, RunFolder.at(str(run)), quiet=True) == second


def test_the_same_bytes_come_out_however_documents_are_sharded(tmp_path: Path) -> None:
    ids = made_ids(SIZES)
    for more in ({"blend": BLEND}, {"blend": BLEND, "mode": "megatron", "split": "8,2"}, {"mode": "megatron"}):
        written = []
        for number, shards in enumerate((SHARDS, [(0, 10), (10, 22)], [(0, 22)])):
            run = make_run(tmp_path / f"{number}", [ids[begin:end] for begin, end in shards], epochs=(1.0,))
            wanted = Recipe("made", (), schedule=Settings(seq_len=4, batch_size=4, steps=20, **more))
            done = build_schedule.run(wanted, RunFolder.at(str(run)), quiet=True)
            written.append({file.path: file.sha256 for file in done.files if file.path.endswith(".npy")})
        assert written[0] == written[1] == written[2]
        assert len(written[0]) in (5, 14)


def test_a_state_goes_on_in_its_own_order_only(blended: Path, tmp_path: Path) -> None:
    reader = open_order(blended)
    state = json.loads(json.dumps(reader.state(12)))
    assert reader.cursor(state) == 12
    again = open_run(schedule(tmp_path / "again", steps=20, blend=BLEND))
    assert again.cursor(state) == 12
    assert again[12].tolist() == reader[12].tolist()
    others: list[dict[str, Any]] = [
        {"blend": {"wiki": 2.0, "crawl": 1.0}},
        {"blend": {"crawl": 1.0, "wiki": 3.0}},
        {"blend": {"wiki": 3.0, "pile": 1.0}},
        {"blend": BLEND, "seed": 7},
        {"blend": BLEND, "split": "9,1"},
        {"blend": BLEND, "mode": "megatron"},
        {},
        {"mode": "megatron"},
        {"split": "9,1"},
    ]
    seen = {reader.schedule_hash}
    for number, more in enumerate(others):
        other = open_run(schedule(tmp_path / str(number), **{"steps": 20, **more}))
        with pytest.raises(InputError, match="the state was saved with schedule"):
            other.cursor(state)
        seen.add(other.schedule_hash)
    assert len(seen) == len(others) + 1


def test_a_blend_of_other_shards_is_refused(blended: Path, tmp_path: Path) -> None:
    reader = open_order(blended)
    fewer = make_run(tmp_path, [made_ids(SIZES[:3]), made_ids(SIZES[3:9]), made_ids(SIZES[9:20])])
    shutil.copytree(reader.schedule, tmp_path / "order")  # without the manifest of its stage, which knows the shards
    with pytest.raises(ManifestError, match="was made for other shards than"):
        SequenceReader(str(fewer / "tokens"), str(tmp_path / "order"))
    shutil.copytree(fewer / "schedule" / "1_epochs", tmp_path / "whole")
    with pytest.raises(ManifestError, match="was made for other shards than"):
        SequenceReader(reader.tokens, str(tmp_path / "whole"))  # these have more documents, and there is no split
    train = schedule(tmp_path / "train", steps=2, split="1,1")
    shutil.copytree(train / "schedule" / "2_steps", tmp_path / "split")
    assert len(SequenceReader(str(fewer / "tokens"), str(tmp_path / "split"))) == 8  # its documents are there
    tiny = make_run(tmp_path / "tiny", [made_ids(SIZES[:3]), made_ids(SIZES[3:6]), made_ids(SIZES[6:8])])
    with pytest.raises(ManifestError, match="was made for other shards than"):
        SequenceReader(str(tiny / "tokens"), str(tmp_path / "split"))


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    sizes = np.array([SIZES[number] for number in FULL], np.int32)
    labels = np.array([number % 3 for number in FULL], np.uint8)
    asked = Settings(seq_len=4, batch_size=4, steps=9, mode="megatron", blend={"a": 1, "b": 2, "c": 0.5})
    order, plan = build_order(sizes, asked, None, labels)
    files = write_order(tmp_path, order, {"steps": plan.steps})
    again, described = read_order(tmp_path)
    assert len(files) == 3 * 4 + 2 + 1
    assert [each["turns_read"] for each in described["blend"]] == again.count_turns(36) == order.count_turns(36)
    assert (described["steps"], described["turns"], again.mode) == (9, 36, "megatron")
    for turn in range(36):
        (part, own), (same, same_own) = order.locate(turn), again.locate(turn)
        assert (part.name, part.weight, own) == (same.name, same.weight, same_own)
        assert part.schedule.shuffle_idx[own] == same.schedule.shuffle_idx[own]
    counted, expected = count_exposure(again, sizes, 20), count_exposure(order, sizes, 20)
    assert counted.tokens.tolist() == expected.tokens.tolist()
    assert counted.tokens.sum() == 20 * 4
    assert order.dataset_index is not None
    assert order.count_turns(20) == [(order.dataset_index[:20] == number).sum() for number in range(3)]
    with pytest.raises(IndexError, match="37 turns of a schedule of 36"):
        count_exposure(again, sizes, 37)
    (tmp_path / "dataset_index.npy").unlink()
    with pytest.raises(InputError, match="no usable schedule in"):
        read_order(tmp_path)


def test_a_source_too_small_for_a_sequence_is_refused() -> None:
    sizes, labels = np.array([9, 30, 40], np.int32), np.array([0, 1, 1], np.uint8)
    asked = Settings(seq_len=10, batch_size=2, steps=2, blend={"tiny": 1, "large": 1})
    with pytest.raises(RecipeError, match="tiny has 9 tokens: too few for one sequence of 10"):
        build_order(sizes, asked, None, labels)


@settings(max_examples=15)
@given(
    st.lists(st.tuples(st.integers(1, 30), st.integers(0, 2)), min_size=3, max_size=20),
    st.sampled_from(["joint_shuffle", "megatron", "sequential_epochs"]),
    st.integers(1, 6),
    st.sampled_from(["", "7,2,1"]),
    st.sampled_from([None, 0.5, 1.0, 2.5]),
    st.lists(st.floats(0.05, 20), min_size=2, max_size=3),
)
def test_any_blend_can_be_read_to_its_end(
    documents: list[tuple[int, int]], mode: Any, seq_len: int, split: str, epochs: float | None, weights: list[float]
) -> None:
    documents += [(3 * seq_len + 1, number) for number in range(3)] * 3
    sizes = [size for size, _ in documents]
    labels = np.array([label for _, label in documents], np.uint8)
    blend = {str(number): weight for number, weight in enumerate(weights)}
    length: dict[str, Any] = {"steps": 4} if epochs is None else {"epochs": (epochs,)}
    asked = Settings(seq_len=seq_len, batch_size=3, mode=mode, split=split, blend=blend, **length)
    order, plan = build_order(np.array(sizes, np.int32), asked, epochs, labels)
    for number, part in enumerate(order.parts):
        own = np.flatnonzero(labels == number)
        train = split_documents(split, len(own))[1] if split else len(own)
        assert part.documents is not None
        assert part.documents.tolist() == own[:train].tolist()
    with tempfile.TemporaryDirectory() as name:
        run = make_run(Path(name), [made_ids(sizes)], epochs=(1.0,))
        write_order(run / "order", order, {"samples": plan.samples, "batch_size": 3})
        reader = SequenceReader(str(run / "tokens"), str(run / "order"))
        assert reader.read(range(len(reader))).shape == (plan.samples, seq_len + 1)
        counted = Exposures(reader)
        assert counted.tokens_seen.sum() == plan.samples * seq_len
        for number, count in enumerate(order.count_turns(plan.samples)):
            assert counted.tokens_seen[labels == number].sum() == count * seq_len
        assert counted.tokens_seen[labels >= len(weights)].sum() == 0
        assert len(counted.steps[0]) == len(sizes) + 1


def test_epochs_and_steps_exclude_each_other() -> None:
    assert Settings().epochs == (1.0, 1.5)
    assert Settings(steps=3).epochs is None
    with pytest.raises(RecipeError, match="epochs and steps are both given"):
        Settings(steps=3, epochs=(1.0,))
    with pytest.raises(RecipeError, match=r"schedule\.steps is 0"):
        Settings(steps=0)
    with pytest.raises(RecipeError, match=r"schedule\.batch_size is 0"):
        Settings(batch_size=0)


def table() -> list[list[str]]:
    """The rows of the table of exposures in docs/schedules.md."""
    text = (Path(__file__).parents[3] / "docs" / "schedules.md").read_text(encoding="utf-8")
    rows = text.partition("| epochs | mode | expected")[2].partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def test_the_table_of_exposures_is_what_is_measured() -> None:
    random = np.random.RandomState(1)
    sizes = np.maximum(1, random.lognormal(np.log(300) - 1.2**2 / 2, 1.2, 40_000)).astype(np.int32)
    assert len(table()) == 15
    for epochs, mode, expected, measured in table():
        asked = Settings(seq_len=256, batch_size=16, epochs=(float(epochs),), mode=mode)  # type: ignore[arg-type]
        order, plan = build_order(sizes, asked, float(epochs))
        times = count_exposure(order, sizes, plan.samples).first_token
        shares = 100 * np.bincount(times, minlength=4) / len(sizes)
        assert measured == ", ".join(f"{share:.1f}" for share in shares)
        copies, separate = order.parts[0].stream.epochs, order.parts[0].stream.separated
        f = float(epochs) / copies
        if separate:
            rest = float(epochs) - (copies - 1)
            whole = [100 * (1 - rest) if k == copies - 1 else 100 * rest if k == copies else 0 for k in range(4)]
        else:
            whole = [100 * comb(copies, k) * f**k * (1 - f) ** max(0, copies - k) for k in range(4)]
        assert expected == ", ".join(f"{share:.1f}" for share in whole)
        assert shares == pytest.approx(whole, abs=0.5)


@pytest.mark.parametrize("name", ["pythia", "pythia_deduped"])
def test_pythias_recipes_are_its_numbers(name: str) -> None:
    asked = recipe.load(name, ["vars.pile=/corpora/pile"])
    schedule = asked.schedule
    assert (schedule.steps, schedule.batch_size, schedule.seq_len, schedule.seed) == (143_000, 1024, 2048, 1234)
    assert schedule.mode == "joint_shuffle"
    assert asked.tokenize.tokenizer == "gpt_neox_20b"
    assert asked.filter.rule_sets == ()
    assert asked.dedup.near == (name == "pythia_deduped")
    if asked.dedup.near:
        minhash = asked.annotate.minhash
        assert (asked.dedup.threshold, minhash.bands, minhash.rows) == (0.87, 7, 18)
    assert asked.sources[0].paths == ("/corpora/pile/**/*.jsonl.zst",)
