import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_run import LANGUAGES, SOURCES, doc_id, made_ids, make_run

from redpajama_pipe.errors import InputError, ManifestError
from redpajama_pipe.tokens.exposures import (
    EXPOSURES,
    Exposures,
    _count_readings,
    document_steps,
    exposure_text,
    write_exposures,
)
from redpajama_pipe.tokens.reader import SequenceReader, open_run

SIZES = [5, 3, 0, 9, 1, 7, 30, 2, 0, 2, 1, 64, 8, 11, 4, 4, 20, 6]
SHARDS = [(0, 3), (3, 9), (9, 18)]


def write_run(folder: Path, sizes: list[int] = SIZES, shards: Any = SHARDS, **more: Any) -> Path:
    ids = made_ids(sizes)
    return make_run(folder, [ids[begin:end] for begin, end in shards], **more)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def reader(run: Path) -> SequenceReader:
    return open_run(run, 1.5)


def read_by_hand(reader: SequenceReader) -> dict[int, list[tuple[int, int]]]:
    """What each document's tokens are read at, one by one: document → (turn, token)."""
    read = defaultdict(list)
    for turn in range(len(reader)):
        inputs = [(each.document, each.start + at) for each in reader.pieces(turn) for at in range(each.length)][:-1]
        for document, token in inputs:
            read[document].append((turn, token))
    return read


def check(reader: SequenceReader) -> None:
    read, exposures = read_by_hand(reader), Exposures(reader)
    ends, steps = exposures.steps
    assert len(ends) == len(exposures.sizes) + 1
    assert len(steps) == ends[-1]
    for document in range(len(exposures.sizes)):
        own = read[document]
        assert exposures.tokens_seen[document] == len(own)
        assert exposures.times_seen[document] == sum(token == 0 for _, token in own)
        expected = sorted({turn // reader.batch_size for turn, _ in own})
        assert steps[ends[document] : ends[document + 1]].tolist() == expected


@pytest.mark.parametrize("epochs", [1.0, 1.5])
def test_exposures_are_those_of_reading_every_turn(run: Path, epochs: float) -> None:
    check(open_run(run, epochs))


@settings(max_examples=30)
@given(
    st.lists(st.integers(1, 40), min_size=2, max_size=12),
    st.integers(1, 9),
    st.integers(1, 3),
    st.sampled_from([0.5, 1.0, 1.5, 2.0, 2.5]),
    st.sampled_from(["joint_shuffle", "sequential_epochs"]),
)
def test_exposures_of_any_run(sizes: list[int], seq_len: int, batch_size: int, epochs: float, mode: Any) -> None:
    sizes = [*sizes, 3 * seq_len]  # enough for a schedule
    half = len(sizes) // 2
    with tempfile.TemporaryDirectory() as folder:
        more = {"seq_len": seq_len, "batch_size": batch_size, "epochs": (epochs,), "mode": mode}
        check(open_run(write_run(Path(folder), sizes, [(0, half), (half, len(sizes))], **more)))


def test_a_document_without_tokens_is_never_read() -> None:
    counts = np.zeros(3, np.int64)
    sizes, stream, turns = np.array([5, 0, 4], np.int32), np.array([0, 1, 2], np.int32), np.array([0, 1], np.uint32)
    _count_readings(sizes, stream, 4, turns, 2, counts)
    assert counts.tolist() == [2, 0, 1]


def test_one_row_a_document_is_written(run: Path, reader: SequenceReader, tmp_path: Path) -> None:
    file = write_exposures(run, str(tmp_path / "exposures.parquet"), 1.5)
    assert file.path == "exposures.parquet"
    table = pq.read_table(tmp_path / "exposures.parquet")
    assert table.schema.names == EXPOSURES.names
    rows = table.to_pylist()
    assert [row["doc_id"] for row in rows] == [doc_id(number) for number in range(len(SIZES))]
    assert [row["length"] for row in rows] == SIZES
    read, full = read_by_hand(reader), 0
    for number, (row, size) in enumerate(zip(rows, SIZES, strict=True)):
        assert (row["source"], row["language"], row["subset"]) == (SOURCES[number % 3], LANGUAGES[number % 4], None)
        if not size:
            assert (row["times_seen"], row["tokens_seen"], row["exposure"], row["steps"]) == (0, 0, None, [])
            continue
        own, full = read[full], full + 1
        assert row["tokens_seen"] == len(own)
        assert row["times_seen"] == sum(token == 0 for _, token in own)
        assert row["exposure"] == len(own) / size
        assert row["steps"] == sorted({turn // 4 for turn, _ in own})
        assert row["steps"] == document_steps(reader, row["doc_id"])
        assert row["steps"] == document_steps(reader, row["doc_id"].hex())
    assert any(len(row["steps"]) > 1 for row in rows)


def test_groups_add_up(run: Path, reader: SequenceReader, tmp_path: Path) -> None:
    write_exposures(run, str(tmp_path / "exposures.parquet"), 1.5)
    rows = pq.read_table(tmp_path / "exposures.parquet").to_pylist()
    for by in ("source", "language", "subset"):
        groups = Exposures(reader).groups(by)
        assert [group.name for group in groups] == sorted({row[by] or "" for row in rows})
        for group in groups:
            own = [row for row in rows if (row[by] or "") == group.name]
            full = [row for row in own if row["length"]]
            assert (group.documents, group.empty) == (len(full), len(own) - len(full))
            times = [row["times_seen"] for row in full]
            assert (group.never, group.once) == (times.count(0), times.count(1))
            assert group.more == len(times) - group.never - group.once
            assert group.tokens == sum(row["length"] for row in own)
            assert group.tokens_seen == sum(row["tokens_seen"] for row in own)
            assert group.mean == group.tokens_seen / group.tokens
            assert group.first_step == min(step for row in own for step in row["steps"])
            assert group.last_step == max(step for row in own for step in row["steps"])


def test_a_group_that_is_never_read_says_so(tmp_path: Path) -> None:
    # one step of two sequences, out of ten documents: some source is left out
    write_run(tmp_path, [4] * 10, [(0, 10)], epochs=(0.2,), seq_len=4, batch_size=1)
    exposures = Exposures(open_run(tmp_path))
    groups = {group.name: group for group in exposures.groups()}
    unread = [group for group in groups.values() if not group.tokens_seen]
    assert unread
    assert all((group.first_step, group.last_step, group.mean) == (-1, -1, 0) for group in unread)
    assert all(group.never == group.documents for group in unread)
    assert "–" in exposure_text(tmp_path)


# Golden: f**2, 2 f (1 - f) and (1 - f)**2 for the share f of two jointly shuffled epochs that is read. Pythia's
# deduplicated models read 299.9 of 2 * 207 billion tokens, f = 0.7244.
def test_joint_shuffle_of_one_and_a_half_epochs_leaves_documents_unread(tmp_path: Path) -> None:
    ids = [np.full(10, number % 60_000) for number in range(40_000)]
    make_run(tmp_path, [ids], seq_len=100, batch_size=1, epochs=(2 * 0.7244,))
    exposures = Exposures(open_run(tmp_path))
    assert exposures.reader.order.parts[0].schedule.epochs == 2
    times, documents = np.unique(exposures.times_seen, return_counts=True)
    assert times.tolist() == [0, 1, 2]
    assert documents / 40_000 == pytest.approx([0.076, 0.399, 0.525], abs=0.01)
    assert sum(group.tokens_seen for group in exposures.groups()) / 400_000 == pytest.approx(1.4488, abs=0.001)


def test_sequential_epochs_leave_none_unread(tmp_path: Path) -> None:
    ids = [np.full(10, number % 60_000) for number in range(4000)]
    make_run(tmp_path, [ids], seq_len=100, batch_size=1, epochs=(2 * 0.7244,), mode="sequential_epochs")
    exposures = Exposures(open_run(tmp_path))
    times, documents = np.unique(exposures.times_seen, return_counts=True)
    assert times.tolist() == [0, 1, 2]
    assert documents[0] <= 10  # those of the sequence on the border, which is shuffled with the last epoch
    twice = len(exposures.reader) * 100 / 40_000 - 1
    assert twice == pytest.approx(0.449, abs=0.01)
    assert documents[2] / 4000 == pytest.approx(twice, abs=0.005)


GOLDEN = """\
epochs 1, joint_shuffle of 1: 3 steps of 2 sequences of 4 tokens
┌────────┬───────────┬───────┬──────┬────────────┬─────────────┬──────────┬────────┐
│ source │ documents │ never │ once │ more often │ tokens seen │ exposure │  steps │
├────────┼───────────┼───────┼──────┼────────────┼─────────────┼──────────┼────────┤
│ crawl  │         2 │     1 │    1 │          0 │          13 │    0.765 │ 0 to 2 │
│ pile   │         2 │     0 │    2 │          0 │          11 │    0.688 │ 0 to 1 │
│ wiki   │         0 │     0 │    0 │          0 │           0 │        – │      – │
├────────┼───────────┼───────┼──────┼────────────┼─────────────┼──────────┼────────┤
│ total  │         4 │     1 │    3 │          0 │          24 │    0.727 │ 0 to 2 │
└────────┴───────────┴───────┴──────┴────────────┴─────────────┴──────────┴────────┘
seen: its first token is an input. Documents never seen: 25.0 %; once: 75.0 %; more often: 0 %.
1 document without tokens: in no shard, and not counted above.

epochs 2, joint_shuffle of 2: 7 steps of 2 sequences of 4 tokens
┌────────┬───────────┬───────┬──────┬────────────┬─────────────┬──────────┬────────┐
│ source │ documents │ never │ once │ more often │ tokens seen │ exposure │  steps │
├────────┼───────────┼───────┼──────┼────────────┼─────────────┼──────────┼────────┤
│ crawl  │         2 │     0 │    0 │          2 │          30 │    1.765 │ 1 to 6 │
│ pile   │         2 │     0 │    0 │          2 │          26 │    1.625 │ 0 to 5 │
│ wiki   │         0 │     0 │    0 │          0 │           0 │        – │      – │
├────────┼───────────┼───────┼──────┼────────────┼─────────────┼──────────┼────────┤
│ total  │         4 │     0 │    0 │          4 │          56 │    1.697 │ 0 to 6 │
└────────┴───────────┴───────┴──────┴────────────┴─────────────┴──────────┴────────┘
seen: its first token is an input. Documents never seen: 0 %; once: 0 %; more often: 100 %.
1 document without tokens: in no shard, and not counted above.
"""


def test_text_says_every_schedule(tmp_path: Path) -> None:
    run = write_run(tmp_path, [8, 8, 0, 9, 8], [(0, 5)], epochs=(1.0, 2.0), seq_len=4, batch_size=2)
    assert exposure_text(run) == GOLDEN
    assert exposure_text(run, 2.0) == GOLDEN[GOLDEN.index("epochs 2") :]
    assert "│ en       │         2 │     0 │    0 │          2 │" in exposure_text(run, 2.0, "language")


def test_unknown_documents_are_refused(reader: SequenceReader) -> None:
    empty = doc_id(SIZES.index(0)).hex()
    for unknown in (empty, "00" * 16):
        with pytest.raises(InputError, match=f"has no tokens of a document {unknown}"):
            document_steps(reader, unknown)
    with pytest.raises(InputError, match="'xyz' is not a document's id"):
        document_steps(reader, "xyz")


def test_token_map_of_other_shards_is_refused(run: Path, tmp_path: Path) -> None:
    other = write_run(tmp_path, [*SIZES[:-1], 5, 1], [(0, 3), (3, 9), (9, 19)])
    exposures = Exposures(open_run(run, 1.5))
    exposures.reader.tokens = str(other / "tokens")
    with pytest.raises(ManifestError, match="does not list the documents of its shard"):
        exposures.groups()
