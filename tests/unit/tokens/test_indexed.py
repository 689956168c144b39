import pickle
import struct
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from redpajama_pipe import storage
from redpajama_pipe.errors import InputError
from redpajama_pipe.tokens.indexed import IndexedDataset, IndexedWriter, ShardedDataset

U16 = np.dtype("uint16")
GOLDEN_BIN = bytes.fromhex("0100 0200 0300 0400 0500")
GOLDEN_IDX = bytes.fromhex(
    "4d4d49444944580000 0100000000000000 08 0200000000000000 0300000000000000"
    "03000000 02000000 0000000000000000 0600000000000000"
    "0000000000000000 0100000000000000 0200000000000000"
)


def write(prefix: Path, documents: list[list[int]], dtype: np.dtype[Any] = U16) -> Path:
    with IndexedWriter(prefix, dtype) as writer:
        writer.append(np.array(list(chain(*documents)), np.uint32), np.array([len(d) for d in documents], np.int64))
    return prefix


def test_two_documents_have_the_published_bytes(tmp_path: Path) -> None:
    write(tmp_path / "s", [[1, 2, 3], [4, 5]])
    assert (tmp_path / "s.bin").read_bytes() == GOLDEN_BIN
    assert (tmp_path / "s.idx").read_bytes() == GOLDEN_IDX
    assert len(GOLDEN_IDX) == 34 + 12 * 2 + 8 * 3


def test_int32_shards_say_code_4_and_count_bytes(tmp_path: Path) -> None:
    write(tmp_path / "s", [[70_000, 2], [4]], np.dtype("int32"))
    assert (tmp_path / "s.idx").read_bytes()[17] == 4
    assert struct.unpack_from("<qq", (tmp_path / "s.idx").read_bytes(), 34 + 8) == (0, 8)
    assert IndexedDataset(tmp_path / "s")[0].tolist() == [70_000, 2]


@given(st.lists(st.lists(st.integers(0, 65_535), min_size=1), max_size=20), st.integers(1, 5))
def test_what_is_written_is_read_and_calls_do_not_show(
    tmp_path_factory: pytest.TempPathFactory, documents: list[list[int]], step: int
) -> None:
    folder = tmp_path_factory.mktemp("shard")
    write(folder / "one", documents)
    with IndexedWriter(folder / "many", U16) as writer:
        for at in range(0, len(documents), step):
            some = documents[at : at + step]
            writer.append(np.array(list(chain(*some)), np.uint32), np.array([len(d) for d in some]))
    for suffix in (".bin", ".idx"):
        assert (folder / f"one{suffix}").read_bytes() == (folder / f"many{suffix}").read_bytes()
    dataset = IndexedDataset(folder / "one.idx")
    assert [dataset[i].tolist() for i in range(len(dataset))] == documents
    assert dataset.tokens == sum(map(len, documents))
    assert dataset.doc_idx.tolist() == list(range(len(documents) + 1))


def test_close_describes_both_files(tmp_path: Path) -> None:
    writer = IndexedWriter(tmp_path / "s", U16)
    writer.append(np.array([1, 2], np.uint32), np.array([2]))
    files = writer.close()
    assert [file.path for file in files] == ["s.bin", "s.idx"]
    for file in files:
        assert (file.bytes, file.sha256) == (
            storage.size(str(tmp_path / file.path)),
            storage.sha256(str(tmp_path / file.path)),
        )


def test_nothing_appears_before_close_and_nothing_stays_after_a_failure(tmp_path: Path) -> None:
    def fail() -> None:
        with IndexedWriter(tmp_path / "s", U16) as writer:
            writer.append(np.array([1], np.uint32), np.array([1]))
            assert not (tmp_path / "s.bin").exists()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("ids", "lengths", "message"),
    [
        ([1, 2], [1], "2 ids, but the lengths add up to 1"),
        ([1], [1, 0], "an empty sequence"),
        ([65_536], [1], "ids 65536 to 65536 do not fit uint16"),
    ],
)
def test_bad_sequences_are_refused(tmp_path: Path, ids: list[int], lengths: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message), IndexedWriter(tmp_path / "s", U16) as writer:
        writer.append(np.array(ids, np.uint32), np.array(lengths))


def test_floats_have_no_code(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no dtype code for float32"):
        IndexedWriter(tmp_path / "s", np.dtype("float32"))


def test_reading_outside_raises_and_never_wraps(tmp_path: Path) -> None:
    dataset = IndexedDataset(write(tmp_path / "s", [[1, 2, 3], [4, 5]]))
    assert dataset.get(0, 1, 2).tolist() == [2, 3]
    assert dataset.get(1, 2).tolist() == []
    for sequence, offset, length in ((2, 0, None), (-1, 0, None), (0, 2, 2), (0, 4, None), (0, -1, 1)):
        with pytest.raises(IndexError):
            dataset.get(sequence, offset, length)
    with pytest.raises(ValueError, match="read-only"):
        dataset[0][0] = 9


def test_merged_files_and_trailing_bytes_are_read(tmp_path: Path) -> None:
    write(tmp_path / "s", [[1, 2, 3], [4, 5]])
    # GPT-NeoX's merge_file_ keeps only the first entry of doc_idx; Megatron-core adds a byte a sequence.
    merged = bytearray(GOLDEN_IDX[: 34 + 12 * 2 + 8] + b"\0\0")
    merged[26:34] = struct.pack("<Q", 1)
    (tmp_path / "s.idx").write_bytes(merged)
    dataset = IndexedDataset(tmp_path / "s")
    assert [dataset[i].tolist() for i in range(2)] == [[1, 2, 3], [4, 5]]
    assert dataset.doc_idx.tolist() == [0]


def damaged(at: int, value: bytes) -> bytes:
    return GOLDEN_IDX[:at] + value + GOLDEN_IDX[at + len(value) :]


@pytest.mark.parametrize(
    ("index", "data", "message"),
    [
        (b"TNTIDX\x00\x00" + GOLDEN_IDX[8:], GOLDEN_BIN, "is in the old TNTIDX format"),
        (b"PK\x03\x04" + GOLDEN_IDX, GOLDEN_BIN, "is not a Megatron index"),
        (b"", GOLDEN_BIN, "is not a Megatron index"),
        (damaged(9, b"\x02"), GOLDEN_BIN, "has version 2"),
        (damaged(17, b"\x06"), GOLDEN_BIN, "has dtype code 6; known: 1, 2, 3, 4, 5, 8"),
        (GOLDEN_IDX[:-1], GOLDEN_BIN, "has 81 bytes, its header asks for 82"),
        (GOLDEN_IDX, GOLDEN_BIN[:-1], "has 9 bytes, its index asks for 10"),
    ],
)
def test_damaged_shards_are_refused(tmp_path: Path, index: bytes, data: bytes, message: str) -> None:
    (tmp_path / "s.idx").write_bytes(index)
    (tmp_path / "s.bin").write_bytes(data)
    with pytest.raises(InputError, match=message):
        IndexedDataset(tmp_path / "s")


def test_missing_shard_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^cannot read .*/s.idx: No such file or directory$"):
        IndexedDataset(tmp_path / "s")


def test_shards_are_one_dataset_in_the_order_given(tmp_path: Path) -> None:
    write(tmp_path / "a", [[1, 2, 3], [4, 5]])
    write(tmp_path / "none", [])
    write(tmp_path / "b", [[6], [7, 8]])
    dataset = ShardedDataset([tmp_path / "b", tmp_path / "none", tmp_path / "a"])
    assert [dataset[i].tolist() for i in range(len(dataset))] == [[6], [7, 8], [1, 2, 3], [4, 5]]
    assert dataset.sizes.tolist() == [1, 2, 3, 2]
    assert dataset.locate(2) == (2, 0)
    assert dataset.get(2, 1, 1).tolist() == [2]
    assert dataset.tokens == 8
    for sequence in (-1, 4):
        with pytest.raises(IndexError):
            dataset[sequence]
    again = pickle.loads(pickle.dumps(dataset))
    assert again[3].tolist() == [4, 5]


def test_shards_must_agree_on_how_tokens_are_stored(tmp_path: Path) -> None:
    write(tmp_path / "a", [[1]])
    write(tmp_path / "b", [[1]], np.dtype("int32"))
    with pytest.raises(InputError, match=r"b stores tokens as int32, .*a as uint16"):
        ShardedDataset([tmp_path / "a", tmp_path / "b"])
    with pytest.raises(InputError, match="no shards given"):
        ShardedDataset([])


@pytest.mark.parametrize(
    ("name", "dtype", "sequences", "tokens"),
    [
        ("meg-gpt2-openwebtext_text_document", "uint16", 1000, 1_361_845),
        ("ag_news_prompt_inputs_document", "int32", 100, 5945),
    ],
)
def test_megatrons_own_files_are_read_and_rewritten_byte_for_byte(
    real_data: Path, tmp_path: Path, name: str, dtype: str, sequences: int, tokens: int
) -> None:
    prefix = real_data / "megatron" / name
    dataset = IndexedDataset(prefix)
    assert (dataset.dtype, len(dataset), dataset.tokens) == (np.dtype(dtype), sequences, tokens)
    assert dataset.doc_idx.tolist() == list(range(sequences + 1))
    ids: NDArray[Any] = np.concatenate([dataset[i] for i in range(len(dataset))])
    with IndexedWriter(tmp_path / name, dataset.dtype) as writer:
        writer.append(ids, dataset.sizes)
    for suffix in (".bin", ".idx"):
        assert (tmp_path / f"{name}{suffix}").read_bytes() == Path(f"{prefix}{suffix}").read_bytes()
