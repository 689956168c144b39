"""Labels and positions of sequences, against plain loops and against what the loader says; without torch."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_run import make_run
from training_factory import mixed_documents, packed_run

from redpajama_pipe.tokens.packing import Packing
from redpajama_pipe.tokens.reader import Piece
from redpajama_pipe.training.options import Attention
from redpajama_pipe.training.rows import LABELS, NO_LABEL, POSITIONS, MarkedReader, mark, open_rows, owners

WIDTH = 9


@given(st.lists(st.lists(st.integers(0, 4), max_size=8).filter(lambda sizes: sum(sizes) <= WIDTH), max_size=4))
def test_marks_are_those_of_a_walk_over_the_documents(rows: list[list[int]]) -> None:
    pieces = [[Piece(7, 0, 7, 0, size) for size in sizes] for sizes in rows]  # one document again and again
    ids = np.arange(100, 100 + len(rows) * WIDTH).reshape(len(rows), WIDTH)
    owner = owners(pieces, WIDTH)
    whole, inside = mark(ids, owner, "sequence"), mark(ids, owner, "document")
    assert set(whole) == {LABELS}
    assert inside[POSITIONS].shape == inside[LABELS].shape == whole[LABELS].shape == (len(rows), WIDTH - 1)
    for at, sizes in enumerate(rows):
        own = ids[at].tolist()
        filled = sum(sizes)
        assert whole[LABELS][at].tolist() == own[1:filled] + [NO_LABEL] * (WIDTH - max(filled, 1))
        labels, places, start = [NO_LABEL] * WIDTH, [0] * WIDTH, 0
        for size in [*sizes, WIDTH - filled]:
            for place in range(size):
                places[start + place] = place
                if place + 1 < size and start < filled:
                    labels[start + place] = own[start + place + 1]
            start += size
        assert inside[LABELS][at].tolist() == labels[:-1]
        assert inside[POSITIONS][at].tolist() == places[:-1]


@pytest.mark.parametrize("packing", ["concat", "best_fit", "document"])
def test_marks_agree_with_the_borders_of_the_loader(tmp_path: Path, packing: Packing) -> None:
    documents = mixed_documents(40, 3)
    if packing == "concat":
        run = make_run(tmp_path, [documents], seq_len=32, batch_size=4, epochs=(1.0,))
    else:
        run = packed_run(tmp_path, documents, packing)
    reader = open_rows(str(run), None, "document")
    assert reader.packing == packing
    turns = range(len(reader))
    found, told = reader.batch(turns), open_rows(str(run), None, "sequence").batch(turns)
    for turn in turns:
        borders = reader.borders(turn)
        assert found[POSITIONS][turn].tolist() == borders.position_ids.tolist()
        if packing != "concat":
            assert ((told[LABELS][turn] != NO_LABEL) == borders.loss_mask).all()
        same = borders.document_ids[1:] == borders.document_ids[:-1]
        predicted = found[LABELS][turn, :-1] != NO_LABEL
        assert (predicted == (same & borders.loss_mask[:-1] & (borders.position_ids[1:] > 0))).all()
    if packing == "concat":
        assert set(told) == {"input_ids"}  # as Pythia: every id but the first is a label


@pytest.mark.parametrize("attention", ["sequence", "document"])
def test_a_loader_process_marks_as_this_one_does(tmp_path: Path, attention: Attention) -> None:
    reader = open_rows(str(packed_run(tmp_path, mixed_documents(30, 4), "best_fit")), None, attention)
    assert isinstance(reader, MarkedReader)
    again = pickle.loads(pickle.dumps(reader))
    for name, values in reader.batch([0, 3]).items():
        assert (again.batch([0, 3])[name] == values).all()


def test_last_label_counts_where_its_document_began_before_it(tmp_path: Path) -> None:
    # two documents in one bin of 33 ids: the second has the last two of them, or the last alone
    for size, labels in ((31, [True] * 30 + [False, True]), (32, [True] * 31 + [False])):
        run = packed_run(tmp_path / str(size), [np.full(size, 5), np.full(33 - size, 6)], "best_fit", batch_size=1)
        batch = open_rows(str(run), None, "document").batch([0])
        assert (batch[LABELS][0] != NO_LABEL).tolist() == labels
