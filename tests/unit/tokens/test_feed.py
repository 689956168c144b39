import hashlib
import struct
from collections.abc import Mapping
from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from made_run import made_ids, make_run
from numpy.typing import NDArray

from redpajama_pipe import manifest, storage
from redpajama_pipe.cli import main
from redpajama_pipe.errors import InputError
from redpajama_pipe.settings.tokens import Schedule as Settings
from redpajama_pipe.tokens.blend import label_documents
from redpajama_pipe.tokens.feed import Release, write_megatron, write_neox
from redpajama_pipe.tokens.indexed import IndexedDataset, ShardedDataset
from redpajama_pipe.tokens.order import build_order, write_order
from redpajama_pipe.tokens.reader import SequenceReader, open_folders

# what stands before doc_idx.npy: in the head packing implementation and allow_chopped, as gpt2_dataset.py writes them
INFIX: dict[Release, str] = {"neox_head": "_packedpi_ac", "neox_v1.0": ""}
SHARDS = ["shard-00000", "shard-00001", "shard-00002"]
BLEND = {"wiki": 0.1, "crawl": 0.6, "pile": 0.3}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sizes = np.random.RandomState(1).randint(0, 40, 300).tolist()
    ids = made_ids(sizes)
    return make_run(tmp_path_factory.mktemp("run"), [ids[:90], ids[90:91], ids[91:]], epochs=(1.0,))


def scheduled(run: Path, folder: Path, settings: Settings, epochs: float | None = None) -> SequenceReader:
    """Give a run's shards another schedule."""
    tokens = str(run / "tokens")
    sizes = ShardedDataset([run / "tokens" / name for name in SHARDS]).sizes
    labels = label_documents(tokens, SHARDS, list(settings.blend)) if settings.blend else None
    order, plan = build_order(sizes, settings, epochs, labels)
    counts = {"epochs": epochs or 1.0, "steps": plan.steps, "samples": plan.samples, "batch_size": settings.batch_size}
    write_order(folder / "made", order, {**counts, "shards": SHARDS})
    return open_folders(tokens, folder / "made")


class Pair:
    """A .bin and .idx, as GPT-NeoX's MMapIndexedDataset reads them."""

    def __init__(self, prefix: str) -> None:
        index = Path(prefix + ".idx").read_bytes()
        magic, version, code, count, _ = struct.unpack_from("<9sQBQQ", index)
        assert (magic, version, code) == (b"MMIDIDX\x00\x00", 1, 8)
        self.sizes = np.frombuffer(index, "<i4", count, 34)
        self.pointers = np.frombuffer(index, "<i8", count, 34 + 4 * count)
        self.data = Path(prefix + ".bin").read_bytes()

    def get(self, document: int, offset: int = 0, length: int | None = None) -> NDArray[Any]:
        count = int(self.sizes[document]) - offset if length is None else length
        return np.frombuffer(self.data, "<u2", count, int(self.pointers[document]) + 2 * offset)


def published_arrays(sizes: NDArray[Any], num_samples: int, seq_length: int, seed: int) -> list[NDArray[Any]]:
    """GPT-NeoX's _build_index_mappings, packed, in plain Python."""
    tokens, epochs = int(sizes.sum()), 1
    while (epochs * tokens - 1) // seq_length < num_samples:
        epochs += 1
    generator = np.random.RandomState(seed)
    doc_idx = np.tile(np.arange(len(sizes)), epochs).astype(np.int32)
    generator.shuffle(doc_idx)
    rows, place, offset = [(0, 0)], 0, 0
    for _ in range((epochs * tokens - 1) // seq_length):
        remaining = seq_length + 1
        while remaining:
            length = int(sizes[doc_idx[place]]) - offset
            remaining -= length
            if remaining <= 0:
                offset += remaining + length - 1
                remaining = 0
            else:
                place, offset = place + 1, 0
        rows.append((place, offset))
    shuffle_idx = np.arange(len(rows) - 1, dtype=np.uint32)
    generator.shuffle(shuffle_idx)
    return [doc_idx, np.array(rows, np.int32), shuffle_idx]


class Published:
    """GPT-NeoX's GPT2Dataset and what build_weighted_datasets names it by."""

    def __init__(self, number: int, samples: int, settings: Mapping[str, Any], infix: str) -> None:
        self.prefix = settings["train-data-paths"][number]
        self.asked = samples
        self.pair = Pair(self.prefix)
        stem = (
            f"{self.prefix}_train_{number}_indexmap_{samples}ns_{settings['seq-length']}sl_{settings['seed']}s{infix}"
        )
        self.files = [f"{stem}_{name}.npy" for name in ("doc_idx", "sample_idx", "shuffle_idx")]
        self.doc_idx, self.sample_idx, self.shuffle_idx = (np.load(file, mmap_mode="r") for file in self.files)

    def __len__(self) -> int:
        return min(len(self.shuffle_idx) - 1, len(self.sample_idx) - 1)

    def __getitem__(self, turn: int) -> NDArray[Any]:
        assert turn < len(self), "GPT-NeoX would begin again"
        row = self.shuffle_idx[turn]
        (first, begin), (last, end) = self.sample_idx[row].tolist(), self.sample_idx[row + 1].tolist()
        if first == last:
            return self.pair.get(self.doc_idx[first], begin, end - begin + 1)
        pieces = [self.pair.get(self.doc_idx[first], begin)]
        pieces += [self.pair.get(self.doc_idx[place]) for place in range(first + 1, last)]
        return np.concatenate([*pieces, self.pair.get(self.doc_idx[last], length=end + 1)])


def published_blend(path: Path, release: Release) -> tuple[list[Published], list[NDArray[Any]]]:
    """What GPT-NeoX trains on: build_train_valid_test_data_loaders, BlendableDataset and build_blending_indices."""
    settings = yaml.safe_load(path.read_text("utf-8"))
    assert settings["weight-by-num-documents"] is False
    samples = settings["train-iters"] * settings["train-batch-size"]
    total = 0.0
    for weight in settings["train-data-weights"]:
        total += weight
    weights = [weight / total for weight in settings["train-data-weights"]]
    asked = [ceil(samples * weight * 1.005) for weight in weights]
    datasets = [Published(number, each, settings, INFIX[release]) for number, each in enumerate(asked)]
    shares = np.array(weights)
    shares /= np.sum(shares)
    counts, found = [0] * len(datasets), []
    for turn in range(samples):
        lags = [share * max(turn, 1.0) - count for share, count in zip(shares, counts, strict=True)]
        chosen = lags.index(max(lags))
        found.append(datasets[chosen][counts[chosen]])
        counts[chosen] += 1
    return datasets, found


SCHEDULES = {
    "steps": Settings(seq_len=16, batch_size=8, steps=70),
    "steps of a blend": Settings(seq_len=16, batch_size=8, steps=70, blend=BLEND),
    "a blend with a split": Settings(seq_len=16, batch_size=8, steps=50, blend=BLEND, split="8,1,1"),
    "steps of a split": Settings(seq_len=16, batch_size=8, steps=50, split="8,1,1"),
    "sequential epochs": Settings(seq_len=16, batch_size=8, steps=70, mode="sequential_epochs"),
    "megatron": Settings(seq_len=16, batch_size=8, steps=70, mode="megatron"),
    "a blend of megatron": Settings(seq_len=16, batch_size=8, steps=70, mode="megatron", blend={"wiki": 1, "pile": 1}),
    "one epoch": Settings(seq_len=16, batch_size=8, epochs=(1.0,)),
    "epochs": Settings(seq_len=16, batch_size=8, epochs=(1.5,)),
    "epochs of a blend": Settings(seq_len=16, batch_size=8, epochs=(1.5,), blend=BLEND),
}


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("release", list(INFIX))
def test_gpt_neox_reads_the_same_batches(run: Path, tmp_path: Path, name: str, release: Release) -> None:
    settings = SCHEDULES[name]
    reader = scheduled(run, tmp_path, settings, settings.epochs[0] if settings.epochs else None)
    files = write_neox(reader, str(tmp_path / "data" / "mix"), release)
    _, read = published_blend(tmp_path / "data" / "mix.yml", release)
    assert np.array_equal(np.stack(read), reader.read(range(len(reader))))
    written = [(storage.size(str(tmp_path / "data" / file.path)), file.path) for file in files]
    assert [(file.bytes, file.path) for file in files] == written
    assert len(files) == 5 * max(1, len(settings.blend)) + 1 == len(list((tmp_path / "data").iterdir()))


@pytest.mark.parametrize("name", ["steps", "steps of a split", "steps of a blend", "a blend with a split"])
def test_the_arrays_are_those_that_gpt_neox_builds_itself(run: Path, tmp_path: Path, name: str) -> None:
    write_neox(scheduled(run, tmp_path, SCHEDULES[name]), str(tmp_path / "mix"))
    settings = yaml.safe_load((tmp_path / "mix.yml").read_text("utf-8"))
    for dataset in published_blend(tmp_path / "mix.yml", "neox_head")[0]:
        arrays = published_arrays(dataset.pair.sizes, dataset.asked, settings["seq-length"], settings["seed"])
        for file, array in zip(dataset.files, arrays, strict=True):
            np.save(tmp_path / "own.npy", array)
            assert Path(file).read_bytes() == (tmp_path / "own.npy").read_bytes()


def test_the_last_sequence_of_megatrons_order_is_read_too(run: Path, tmp_path: Path) -> None:
    # every sequence that there is: GPT-NeoX would leave out the last
    tokens = manifest.read(str(run / "tokens")).counts["tokens"]
    reader = scheduled(run, tmp_path, Settings(seq_len=16, batch_size=1, steps=(tokens - 1) // 16, mode="megatron"))
    assert len(reader) == len(reader.order.parts[0].stream.shuffle_idx)
    write_neox(reader, str(tmp_path / "mix"))
    _, read = published_blend(tmp_path / "mix.yml", "neox_head")
    assert np.array_equal(np.stack(read), reader.read(range(len(reader))))


def test_pairs_hold_each_source_alone(run: Path, tmp_path: Path) -> None:
    reader = scheduled(run, tmp_path, replace(SCHEDULES["steps of a blend"], blend={"wiki": 1, "crawl": 2.5}))
    write_neox(reader, str(tmp_path / "mix"))
    settings = yaml.safe_load((tmp_path / "mix.yml").read_text("utf-8"))
    assert settings["train-data-paths"] == [f"{tmp_path}/mix_0_wiki", f"{tmp_path}/mix_1_crawl"]
    assert settings["train-data-weights"] == [1, 2.5]
    shards = ShardedDataset([run / "tokens" / name for name in SHARDS])
    for part, prefix in zip(reader.order.parts, settings["train-data-paths"], strict=True):
        pair = IndexedDataset(prefix)
        assert part.documents is not None
        assert [pair[at].tolist() for at in range(len(pair))] == [shards[at].tolist() for at in part.documents]
        assert pair.doc_idx.tolist() == list(range(len(pair) + 1))


def test_settings_say_all_that_decides_the_order(run: Path, tmp_path: Path) -> None:
    write_neox(scheduled(run, tmp_path, SCHEDULES["steps"]), str(tmp_path / "mix"), "neox_v1.0")
    assert (tmp_path / "mix.yml").read_text("utf-8") == (
        "# 70 steps of 8 sequences for GPT-NeoX (neox_v1.0); the last file of settings:\n"
        f"#   python deepy.py train.py MODEL.yml {tmp_path}/mix.yml\n"
        "# valid and test name documents that are trained on: put held-out ones there, or set eval-iters to 0.\n"
        f"train-data-paths:\n- {tmp_path}/mix\ntrain-data-weights:\n- 1.0\n"
        f"valid-data-paths:\n- {tmp_path}/mix\nvalid-data-weights:\n- 1.0\n"
        f"test-data-paths:\n- {tmp_path}/mix\ntest-data-weights:\n- 1.0\n"
        "data-impl: mmap\nweight-by-num-documents: false\n"
        "seq-length: 16\ntrain-iters: 70\ntrain-batch-size: 8\nseed: 1234\n"
    )


def test_an_odd_name_of_a_source_is_no_odd_file(run: Path, tmp_path: Path) -> None:
    reader = scheduled(run, tmp_path, SCHEDULES["steps of a blend"])
    parts = (replace(reader.order.parts[0], name="wikipedia/en 2023; x"), *reader.order.parts[1:])
    reader.order = replace(reader.order, parts=parts)
    write_neox(reader, str(tmp_path / "mix"))
    assert (tmp_path / "mix_0_wikipedia_en_2023_x.bin").exists()


@pytest.mark.parametrize(("weights", "said"), [((0.6, 0.3, 0.1), True), ((6, 3, 1), False)])
def test_weights_that_python_312_adds_up_otherwise_are_said(
    run: Path, tmp_path: Path, weights: tuple[float, ...], said: bool
) -> None:
    # one after the other the tenths add up to 0.9999999999999999, and with that the third turn reads another source
    blend = dict(zip(("wiki", "crawl", "pile"), weights, strict=True))
    write_neox(scheduled(run, tmp_path, replace(SCHEDULES["steps"], blend=blend)), str(tmp_path / "mix"))
    assert ("Python 3.11 or older" in (tmp_path / "mix.yml").read_text("utf-8")) is said


def test_megatron_gets_pairs_and_arguments(run: Path, tmp_path: Path) -> None:
    files = write_megatron(scheduled(run, tmp_path, SCHEDULES["a blend of megatron"]), str(tmp_path / "mix"))
    names = ["mix_0_wiki.bin", "mix_0_wiki.idx", "mix_1_pile.bin", "mix_1_pile.idx", "mix.args"]
    assert [file.path for file in files] == names
    assert (tmp_path / "mix.args").read_text("utf-8") == (
        f"--data-path 1 {tmp_path}/mix_0_wiki 1 {tmp_path}/mix_1_pile\n"
        "--split 1,0,0\n--seq-length 16\n--train-iters 70\n--global-batch-size 8\n--seed 1234\n"
    )
    write_megatron(scheduled(run, tmp_path / "one", SCHEDULES["megatron"]), str(tmp_path / "one"))
    assert (tmp_path / "one.args").read_text("utf-8").startswith(f"--data-path {tmp_path}/one\n")


# Golden: megatron-core 0.16.1, BlendedMegatronDatasetBuilder of GPTDataset with these arguments on these pairs, which
# gives the reader's own batches.
@pytest.mark.parametrize(
    ("settings", "golden"),
    [
        (Settings(seq_len=64, batch_size=32, steps=430, mode="megatron"), "1b8d1c49eac501b3"),
        (Settings(seq_len=64, batch_size=32, steps=330, mode="megatron", split="969,30,1"), "f10d373d3dfba020"),
        (
            Settings(
                seq_len=64, batch_size=32, steps=430, mode="megatron", blend={"wiki": 0.6, "crawl": 0.3, "pile": 0.1}
            ),
            "ea7c8088fe0dbe43",
        ),
    ],
)
def test_batches_are_those_that_megatron_core_reads(tmp_path: Path, settings: Settings, golden: str) -> None:
    ids = made_ids(np.random.RandomState(5).randint(0, 400, 3000).tolist())
    run = make_run(tmp_path / "run", [ids[:900], ids[900:901], ids[901:]], epochs=(1.0,))
    reader = scheduled(run, tmp_path, settings)
    write_megatron(reader, str(tmp_path / "mix"))
    assert hashlib.sha256(reader.read(range(len(reader))).tobytes()).hexdigest()[:16] == golden


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        (
            SCHEDULES["steps"],
            "of the corpus it asks for 560 sequences, and that was made for 563 in mode joint_shuffle",
        ),
        (SCHEDULES["one epoch"], r"sequences, and that was made for \d+ in mode joint_shuffle"),
        (replace(SCHEDULES["sequential epochs"], split="1,0,0", steps=82), "656 in mode sequential_epochs"),
        (replace(SCHEDULES["megatron"], separate_below=0.5), "560 in mode megatron"),
        (SCHEDULES["steps of a blend"], "of crawl it asks for 338 sequences, and that was made for 338"),
    ],
)
def test_an_order_that_megatron_does_not_build_is_refused(
    run: Path, tmp_path: Path, settings: Settings, why: str
) -> None:
    reader = scheduled(run, tmp_path, settings, settings.epochs[0] if settings.epochs else None)
    with pytest.raises(InputError, match=f"Megatron-LM would build another order .*{why}.*give schedule.steps and"):
        write_megatron(reader, str(tmp_path / "mix"))
    assert not list(tmp_path.glob("mix*"))


def test_packed_sequences_are_refused(run: Path, tmp_path: Path) -> None:
    reader = scheduled(run, tmp_path, replace(SCHEDULES["steps"], steps=5, packing="best_fit"))
    for write in (write_neox, write_megatron):
        with pytest.raises(InputError, match=r"packs documents \(best_fit\).*export --layout preshuffled"):
            write(reader, str(tmp_path / "mix"))


def test_a_blend_that_a_trainer_chooses_otherwise_is_refused(run: Path, tmp_path: Path) -> None:
    reader = scheduled(run, tmp_path, SCHEDULES["a blend of megatron"])
    assert reader.order.dataset_index is not None
    reader.order = replace(reader.order, dataset_index=1 - reader.order.dataset_index)
    with pytest.raises(InputError, match=r"other data sets than .*; give schedule\.mode: joint_shuffle"):
        write_neox(reader, str(tmp_path / "mix"))
    with pytest.raises(InputError, match=r"other data sets than .*; give schedule\.mode: megatron"):
        write_megatron(reader, str(tmp_path / "mix"))


@pytest.mark.parametrize("layout", ["neox_head", "neox_v1.0"])
def test_the_command_prints_the_settings(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], layout: str
) -> None:
    assert main(["export", str(run), str(tmp_path / "mix"), "--layout", layout]) == 0
    printed, settings = capsys.readouterr().out, (tmp_path / "mix.yml").read_text("utf-8")
    assert printed.endswith("  mix.yml\n\n" + settings)
    assert f"GPT-NeoX ({layout})" in settings
    assert main(["export", str(run), str(tmp_path / "no"), "--layout", "megatron"]) == 2  # by epochs
    assert "give schedule.steps and schedule.mode: megatron" in capsys.readouterr().err
