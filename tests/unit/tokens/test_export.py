import gzip
import json
import struct
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from made_run import doc_id, made_ids, make_run, sequence_of
from numpy.typing import NDArray

from redpajama_pipe import storage
from redpajama_pipe.errors import InputError
from redpajama_pipe.storage import File
from redpajama_pipe.tokens import export
from redpajama_pipe.tokens.export import merge_shards, write_ds, write_jsonl, write_preshuffled
from redpajama_pipe.tokens.indexed import HEADER, MAGIC, IndexedDataset, IndexedWriter, ShardedDataset
from redpajama_pipe.tokens.reader import open_run

U16 = np.dtype("uint16")
I32 = np.dtype("int32")
SIZES = (6, 0, 3, 9, 5, 4, 1, 12)


def write(prefix: Path, documents: list[list[int]], dtype: np.dtype[Any] = U16) -> str:
    with IndexedWriter(prefix, dtype) as writer:
        writer.append(np.array(list(chain(*documents)), np.int64), np.array([len(d) for d in documents], np.int64))
    return str(prefix)


def pair(prefix: Path) -> tuple[bytes, bytes]:
    return Path(f"{prefix}.bin").read_bytes(), Path(f"{prefix}.idx").read_bytes()


def set_borders(prefix: str, borders: list[int]) -> None:
    """Give a shard another doc_idx."""
    path = Path(prefix + ".idx")
    index = path.read_bytes()
    _, _, code, count, _ = HEADER.unpack_from(index)
    head = HEADER.pack(MAGIC, 1, code, count, len(borders))
    path.write_bytes(head + index[HEADER.size : HEADER.size + 12 * count] + struct.pack(f"<{len(borders)}q", *borders))


def described(folder: Path, files: list[File]) -> bool:
    found = [(storage.size(str(folder / file.path)), storage.sha256(str(folder / file.path))) for file in files]
    return found == [(file.bytes, file.sha256) for file in files]


@given(
    st.lists(st.lists(st.lists(st.integers(0, 65_535), min_size=1, max_size=9), max_size=6), min_size=1, max_size=4),
    st.integers(1, 20),
)
def test_merged_shards_are_what_one_writer_would_have_written(
    tmp_path_factory: pytest.TempPathFactory, shards: list[list[list[int]]], block: int
) -> None:
    folder = tmp_path_factory.mktemp("merge")
    write(folder / "one", list(chain(*shards)))
    prefixes = [write(folder / f"s{number}", documents) for number, documents in enumerate(shards)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "BLOCK", block)
        files = merge_shards(prefixes, str(folder / "merged"))
    assert pair(folder / "merged") == pair(folder / "one")
    assert [file.path for file in files] == ["merged.bin", "merged.idx"]
    assert described(folder, list(files))


def test_int32_shards_are_merged_with_offsets_in_bytes(tmp_path: Path) -> None:
    one = write(tmp_path / "a", [[70_000, 2], [3]], I32)
    two = write(tmp_path / "b", [[4], [5, 6]], I32)
    merge_shards([two + ".bin", one + ".idx"], str(tmp_path / "merged.bin"))
    write(tmp_path / "one", [[4], [5, 6], [70_000, 2], [3]], I32)
    assert pair(tmp_path / "merged") == pair(tmp_path / "one")


@pytest.mark.parametrize("block", [1, 100])
def test_merging_keeps_the_borders_of_documents_of_several_sequences(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(export, "BLOCK", block)
    one = write(tmp_path / "a", [[1], [2], [3]])
    two = write(tmp_path / "b", [[4], [5, 6]])
    three = write(tmp_path / "c", [[7], [8], [9]])
    set_borders(one, [0, 2, 3])
    set_borders(two, [0])  # what GPT-NeoX's merge leaves
    set_borders(three, [0, 3])
    merge_shards([one, two, three], str(tmp_path / "merged"))
    merged = IndexedDataset(tmp_path / "merged")
    assert merged.doc_idx.tolist() == [0, 2, 3, 4, 5, 8]
    assert [merged[i].tolist() for i in range(len(merged))] == [[1], [2], [3], [4], [5, 6], [7], [8], [9]]


def test_merging_follows_the_index_wherever_sequences_lie(tmp_path: Path) -> None:
    shard = write(tmp_path / "a", [[1, 2], [3, 4]])
    index = bytearray((tmp_path / "a.idx").read_bytes())
    index[34 + 8 : 34 + 24] = struct.pack("<2q", 4, 0)  # the second lies first
    (tmp_path / "a.idx").write_bytes(index)
    merge_shards([shard], str(tmp_path / "merged"))
    write(tmp_path / "one", [[3, 4], [1, 2]])
    assert pair(tmp_path / "merged") == pair(tmp_path / "one")


def test_what_cannot_be_merged_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    small, large = write(tmp_path / "a", [[1]]), write(tmp_path / "b", [[1]], I32)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(InputError, match=r"b stores tokens as int32, .*a as uint16"):
        merge_shards([small, large], str(tmp_path / "merged"))
    with pytest.raises(InputError, match="no shards given"):
        merge_shards([], str(tmp_path / "merged"))
    with pytest.raises(InputError, match="is both a shard to merge and the target; give another target"):
        merge_shards([small], f"{tmp_path}/../{tmp_path.name}/a.bin")
    assert sorted(tmp_path.iterdir()) == before


def test_ds_has_datatroves_bytes(tmp_path: Path) -> None:
    # As datatrove 0.10.1's TokenizedFile writes these documents.
    shard = IndexedDataset(write(tmp_path / "s", [[1, 2, 3], [258, 65_535]]))
    files = write_ds(shard, str(tmp_path / "out"), "org/name")
    assert (tmp_path / "out.ds").read_bytes() == bytes.fromhex("0100 0200 0300 0201 ffff")
    assert (tmp_path / "out.ds.index").read_bytes() == bytes.fromhex("0300000000000000 0500000000000000")
    assert (tmp_path / "out.ds.metadata").read_bytes() == b"org/name|2\n5\n5.00 T"
    assert [file.path for file in files] == ["out.ds", "out.ds.index", "out.ds.metadata"]
    assert described(tmp_path, files)


def test_ds_token_size_follows_the_shards_or_the_argument(tmp_path: Path) -> None:
    shard = IndexedDataset(write(tmp_path / "s", [[70_000], [2]], I32))
    write_ds(shard, str(tmp_path / "wide.ds"), "t")
    assert (tmp_path / "wide.ds").read_bytes() == struct.pack("<2I", 70_000, 2)
    assert (tmp_path / "wide.ds.metadata").read_text() == "t|4\n2\n2.00 T"
    with pytest.raises(InputError, match="ids 2 to 70000 do not fit uint16"):
        write_ds(shard, str(tmp_path / "narrow"), "t", token_size=2)
    assert not list(tmp_path.glob("narrow*"))
    negative = IndexedDataset(write(tmp_path / "n", [[3, -1]], I32))
    with pytest.raises(InputError, match="ids -1 to 3 do not fit uint32"):
        write_ds(negative, str(tmp_path / "narrow"), "t")
    write_ds(IndexedDataset(write(tmp_path / "u", [[7]])), str(tmp_path / "u"), "t", token_size=4)
    assert (tmp_path / "u.ds").read_bytes() == struct.pack("<I", 7)


@given(st.lists(st.integers(1, 9), max_size=20), st.integers(1, 12))
def test_ds_index_says_where_each_document_ends(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], block: int
) -> None:
    folder = tmp_path_factory.mktemp("ds")
    documents = [ids.tolist() for ids in made_ids(sizes)]
    half = len(documents) // 2
    prefixes = [write(folder / "a", documents[:half]), write(folder / "b", documents[half:])]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "BLOCK", block)
        write_ds(ShardedDataset(prefixes), str(folder / "x.ds"), "t")
    ids = np.fromfile(folder / "x.ds", "<u2")
    ends = np.fromfile(folder / "x.ds.index", "<u8").astype(np.int64)
    assert len(ends) == len(documents)
    assert [part.tolist() for part in np.split(ids, ends)[:-1]] == documents
    assert (folder / "x.ds.metadata").read_text().splitlines()[1] == str(sum(sizes))


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        (0, "0.00 T"),
        (42, "42.0 T"),
        (999, "999 T"),
        (1_000, "1.00 kT"),
        (1_015, "1.01 kT"),  # the nearest double lies below; half to even on the decimal number gives 1.02
        (9_996, "10.0 kT"),
        (999_950, "1.00 MT"),
        (123_456_789, "123 MT"),
        (1_361_845_000_000, "1.36 TT"),
    ],
)
def test_metadata_counts_as_humanize_does(tokens: int, text: str) -> None:
    assert export._metric(tokens) == text


@pytest.mark.parametrize("name", ["", "a|b", "a\nb", "a\n"])
def test_ds_refuses_a_name_that_datatrove_cannot_read_back(tmp_path: Path, name: str) -> None:
    shard = IndexedDataset(write(tmp_path / "s", [[1]]))
    with pytest.raises(InputError, match="give one line without"):
        write_ds(shard, str(tmp_path / "out"), name)
    assert not (tmp_path / "out.ds").exists()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    documents: list[NDArray[Any]] = list(made_ids(SIZES * 8))
    return make_run(tmp_path_factory.mktemp("run"), [documents[:30], documents[30:]], seq_len=5, batch_size=8)


@pytest.mark.parametrize("shard_bytes", [7, 12, 100, 10_000])
@pytest.mark.parametrize("block", [1, 13, 1 << 18])
def test_preshuffled_pieces_are_the_training_order(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int, shard_bytes: int
) -> None:
    monkeypatch.setattr(export, "BLOCK", block)
    reader = open_run(run, 1.5)
    files = write_preshuffled(reader, str(tmp_path / "document"), shard_bytes=shard_bytes)
    assert described(tmp_path, files)
    total = len(reader) * 6 * 2
    last = (total - 1) // shard_bytes
    names = [f"document-{number:05d}-of-{last:05d}.bin" for number in range(last + 1)]
    assert [file.path for file in files] == [*names, "document.idx"]
    assert [file.bytes for file in files[:-2]] == [shard_bytes] * last
    assert sum(file.bytes for file in files[:-1]) == total
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(file.path for file in files)

    (tmp_path / "document.bin").write_bytes(b"".join((tmp_path / name).read_bytes() for name in names))
    whole = IndexedDataset(tmp_path / "document")
    assert (whole.dtype, whole.sizes.tolist()) == (U16, [6] * len(reader))
    shards = ShardedDataset([run / "tokens" / name for name in ("shard-00000", "shard-00001")])
    for step in range(reader.steps):
        for j in range(reader.batch_size):
            turn = reader.batch_size * step + j
            assert whole[turn].tolist() == sequence_of(reader.order.parts[0].stream, shards, turn).tolist()
    write(tmp_path / "one", [whole[turn].tolist() for turn in range(len(whole))])
    assert pair(tmp_path / "document") == pair(tmp_path / "one")


def test_preshuffled_stops_after_the_samples_asked_for(run: Path, tmp_path: Path) -> None:
    reader = open_run(run, 1.0)
    pieces = write_preshuffled(reader, str(tmp_path / "document"), samples=4, shard_bytes=24)
    # 48 bytes: two full pieces and no empty third
    assert [file.path for file in pieces[:-1]] == ["document-00000-of-00001.bin", "document-00001-of-00001.bin"]
    ids = np.concatenate([np.fromfile(tmp_path / file.path, "<u2") for file in pieces[:-1]])
    assert ids.tolist() == reader.read(range(4)).reshape(-1).tolist()


def test_preshuffled_refuses_what_training_does_not_read(run: Path, tmp_path: Path) -> None:
    reader = open_run(run, 1.0)
    for samples in (0, len(reader) + 1):
        with pytest.raises(InputError, match=f"samples is {samples}; the schedule has 1 to {len(reader)}"):
            write_preshuffled(reader, str(tmp_path / "document"), samples)
    with pytest.raises(InputError, match="shard_bytes is 0; give 1 or more"):
        write_preshuffled(reader, str(tmp_path / "document"), shard_bytes=0)
    assert list(tmp_path.iterdir()) == []


def test_long_documents_are_held_in_blocks(tmp_path: Path) -> None:
    ids = np.arange(3 * export.BLOCK, dtype=np.int64) % 50_000
    with IndexedWriter(tmp_path / "s", U16) as writer:
        writer.append(ids, np.array([1, len(ids) - 2, 1]))
    blocks = [len(block) for block in export._blocks(IndexedDataset(tmp_path / "s"))]
    assert sum(blocks) == len(ids)
    assert max(blocks) < 2 * export.BLOCK


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_json_lines_have_the_ids_of_every_document(tmp_path: Path, suffix: str) -> None:
    ids = made_ids(SIZES)
    run = make_run(tmp_path / "run", [ids[:3], ids[3:]])
    path = tmp_path / f"tokens.jsonl{suffix}"
    shards = ["shard-00000", "shard-00001"]
    written = write_jsonl(str(run / "tokens"), shards, str(path))
    raw = path.read_bytes()
    assert (written.bytes, written.path) == (len(raw), path.name)
    if suffix:
        stream = zstandard.ZstdDecompressor().stream_reader(raw)
        raw = gzip.decompress(raw) if suffix == ".gz" else stream.read()
    lines = [json.loads(line) for line in raw.splitlines()]
    assert [line["tokens"] for line in lines] == [each.tolist() for each in ids]
    assert lines[0]["meta"] == {"id": doc_id(0).hex(), "source": "crawl", "subset": None, "language": "en"}
    assert write_jsonl(str(run / "tokens"), shards, str(path)) == written  # again the same bytes
