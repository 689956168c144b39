from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_run import made_ids, make_run

from redpajama_pipe.errors import ManifestError
from redpajama_pipe.tokens import lookup as module
from redpajama_pipe.tokens.lookup import Lookup, Visit, invert_documents, invert_turns, read_spans, write_lookup
from redpajama_pipe.tokens.order import Order, Part
from redpajama_pipe.tokens.reader import SequenceReader, open_run
from redpajama_pipe.tokens.schedule import build_index

SIZES = [5, 3, 9, 1, 7, 30, 2, 2, 1, 64, 8, 11, 4, 4, 20, 6]


@pytest.fixture(scope="module", params=[True, False], ids=["inverse", "scan"])
def reader(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> SequenceReader:
    ids = made_ids(SIZES)
    run = make_run(tmp_path_factory.mktemp("run"), [ids[:5], ids[5:]], epochs=(2.5,), lookup=request.param)
    return open_run(run)


def visits_by_hand(reader: SequenceReader) -> dict[int, list[Visit]]:
    found: dict[int, list[Visit]] = {document: [] for document in range(len(SIZES))}
    for turn in range(len(reader)):
        *whole, last = reader.pieces(turn)
        # the last id is no input
        for each in [*whole, last._replace(length=last.length - 1)]:
            if each.length:
                found[each.document].append(Visit(turn, each.start, each.start + each.length))
    return {document: sorted(visits) for document, visits in found.items()}


def test_visits_are_those_of_reading_every_turn(reader: SequenceReader) -> None:
    expected = visits_by_hand(reader)
    assert max(map(len, expected.values())) > 30
    assert Lookup(reader).visits(range(len(SIZES))) == expected
    for document in range(len(SIZES)):
        assert Lookup(reader).visits([document]) == {document: expected[document]}
    assert Lookup(reader).visits([7, 3, 7]) == {7: expected[7], 3: expected[3]}
    assert Lookup(reader).visits([]) == {}


def test_lookup_scans_only_without_the_inverse(reader: SequenceReader, monkeypatch: pytest.MonkeyPatch) -> None:
    scanned: list[int] = []
    find = module._find
    monkeypatch.setattr(module, "_find", lambda values, *rest: scanned.append(len(values)) or find(values, *rest))
    Lookup(reader).visits([3])
    inverse = any(Path(reader.schedule).glob("*turn_idx.npy"))
    index = reader.order.parts[0].stream
    assert scanned == ([] if inverse else [len(index.doc_idx), len(index.shuffle_idx)])


def test_a_document_without_tokens_is_never_read() -> None:
    sizes = np.array([5, 0, 4, 0, 9, 0], np.int32)  # IndexedWriter refuses these; other writers do not
    index = build_index(sizes, 4, 8, 1)
    for position, document in enumerate(index.doc_idx[:-6].tolist()):
        assert bool(list(read_spans(index, position, int(sizes[document])))) == (sizes[document] > 0)


def test_scan_tells_numbers_with_equal_low_bits_apart() -> None:
    values = np.array([1, 65537, 131073, 1, 196609], np.int32)
    which, places = module._find(values, [65537, 196609], 4)
    assert (which.tolist(), places.tolist()) == ([0, 1], [1, 4])


def test_inverse_arrays_undo_the_schedule() -> None:
    index = build_index(np.array(SIZES, np.int32), 4, 100, 3)
    turns, positions = invert_turns(index.shuffle_idx), invert_documents(index)
    assert index.shuffle_idx[turns].tolist() == list(range(len(turns)))
    assert turns.dtype == index.shuffle_idx.dtype
    assert positions.shape == (len(SIZES), index.epochs)
    assert positions.dtype == np.int32
    assert (index.doc_idx[positions] == np.arange(len(SIZES))[:, None]).all()
    assert (np.diff(positions, axis=1) > 0).all()


def test_inverse_is_written_beside_the_schedule_with_its_checksums(tmp_path: Path) -> None:
    index = build_index(np.array(SIZES, np.int32), 4, 100, 3)
    files = write_lookup(tmp_path, Order((Part(index),)))
    stem = "train_0_indexmap_100ns_4sl_3s"
    assert [file.path for file in files] == [f"{stem}_position_idx.npy", f"{stem}_turn_idx.npy"]
    assert [(tmp_path / file.path).stat().st_size for file in files] == [file.bytes for file in files]
    assert np.load(tmp_path / files[1].path).tolist() == invert_turns(index.shuffle_idx).tolist()


@pytest.mark.parametrize("right", ["shuffle_idx", "doc_idx"])
def test_inverse_of_another_schedule_is_refused(tmp_path: Path, right: str) -> None:
    reader = open_run(make_run(tmp_path, [made_ids(SIZES)], epochs=(1.5,), lookup=True))
    index = reader.order.parts[0].stream
    other = build_index(np.array(SIZES, np.int32), 4, index.num_samples, 77)
    write_lookup(reader.schedule, Order((Part(replace(other, seed=1234, **{right: getattr(index, right)})),)))
    with pytest.raises(ManifestError, match="belong to another schedule"):
        Lookup(reader).visits(range(len(SIZES)))
