"""Training on packed sequences is training on their documents, each by itself; skipped where torch is not installed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'redpajama-pipe[train]'")
transformers = pytest.importorskip("transformers", reason="transformers is not installed")

from made_run import make_run  # noqa: E402
from torch.nn.functional import cross_entropy  # noqa: E402
from training_factory import SEQ_LEN, VOCABULARY, mixed_documents, packed_run, settings  # noqa: E402

from redpajama_pipe.errors import InputError, PipelineError, RecipeError  # noqa: E402
from redpajama_pipe.tokens.packing import Packing  # noqa: E402
from redpajama_pipe.training import checkpoint, memorisation, metrics, models  # noqa: E402
from redpajama_pipe.training.learning_rate import learning_rate  # noqa: E402
from redpajama_pipe.training.loop import train  # noqa: E402
from redpajama_pipe.training.rows import LABELS, POSITIONS, attention_mask, open_rows  # noqa: E402
from redpajama_pipe.training.validation import count_labels, token_loss, unread_sequences  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

DOCUMENT = "training.attention=document"


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module", params=["best_fit", "document"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packed_run(tmp_path_factory.mktemp("packed"), mixed_documents(60, 1), request.param)


def tiny() -> Any:
    shape = [f"architecture.vocab_size={VOCABULARY}", "architecture.d_model=32", "architecture.d_ff=64"]
    return models.build(models.load("tiny", shape).architecture, 1)


def batch_of(reader: Any, turns: Any) -> dict[str, Any]:
    return {name: torch.from_numpy(values) for name, values in reader.batch(turns).items()}


def nats_alone(model: Any, reader: Any, turn: int) -> list[Any]:
    """The summed loss of each piece of a turn, given to the model by itself."""
    ids, start, found = torch.from_numpy(reader[turn]), 0, []
    for piece in reader.pieces(turn):
        own = ids[start : start + piece.length]
        start += piece.length
        if len(own) > 1:
            logits = model(input_ids=own[None, :-1]).logits[0]
            found.append((cross_entropy(logits, own[1:], reduction="sum"), len(own) - 1))
    return found


def test_loss_of_packed_rows_is_that_of_their_documents_alone(run: Path) -> None:
    reader, model = open_rows(str(run), None, "document"), tiny().double()
    turns = range(min(12, len(reader)))
    batch = batch_of(reader, turns)
    loss = token_loss(model, batch)
    loss.backward()
    packed = [value.grad.clone() for value in model.parameters()]
    model.zero_grad()
    alone = [each for turn in turns for each in nats_alone(model, reader, turn)]
    assert len(alone) > 12 or reader.packing == "document"
    assert sum(count for _, count in alone) == count_labels(batch)
    expected = sum(nats for nats, _ in alone)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    expected.backward()
    for value, gradient in zip(model.parameters(), packed, strict=True):
        assert torch.allclose(value.grad, gradient, rtol=1e-4, atol=1e-4), value.shape


def test_other_documents_and_padding_change_nothing_inside_a_document(run: Path) -> None:
    reader, model = open_rows(str(run), None, "document"), tiny().double().eval()
    turn = next(turn for turn in range(len(reader)) if 8 < reader.pieces(turn)[0].length < 24)
    batch, first = batch_of(reader, [turn]), reader.pieces(turn)[0].length
    mask = attention_mask(batch[POSITIONS])
    assert mask.shape == (1, 1, SEQ_LEN, SEQ_LEN)
    assert mask.sum(dim=-1)[0, 0].tolist() == (batch[POSITIONS][0] + 1).tolist()

    def logits(ids: Any) -> Any:
        with torch.no_grad():
            return model(ids[:, :-1], position_ids=batch[POSITIONS], attention_mask=mask).logits[0]

    other = batch["input_ids"].clone()
    other[:, :first] = (other[:, :first] + 1) % VOCABULARY
    before, after = logits(batch["input_ids"]), logits(other)
    assert torch.equal(before[first:], after[first:])
    assert not torch.allclose(before[:first], after[:first])


def test_padding_is_no_label_where_attention_is_over_the_sequence(run: Path) -> None:
    reader, model = open_rows(str(run), None, "sequence"), tiny()
    turn = next(turn for turn in range(len(reader)) if 8 < sum(each.length for each in reader.pieces(turn)) < SEQ_LEN)
    filled = sum(each.length for each in reader.pieces(turn))
    batch = batch_of(reader, [turn])
    with torch.no_grad():
        loss = token_loss(model, batch).item()
        short = token_loss(model, {"input_ids": batch["input_ids"][:, :filled]}).item()
    assert count_labels(batch) == filled - 1
    assert loss == pytest.approx(short, rel=1e-5)
    assert POSITIONS not in batch


def test_training_is_a_plain_loop_over_single_documents(run: Path, tmp_path: Path) -> None:
    steps, rate = 4, 0.01
    train(settings(run, tmp_path, [DOCUMENT, f"training.steps={steps}", "training.micro_batch=1"]))
    reader, model = open_rows(str(run), None, "document"), tiny_of(tmp_path)
    optimiser = torch.optim.AdamW(models.decay_groups(model, 0.1), betas=(0.9, 0.95), eps=1e-8)
    expected = []
    for step in range(steps):
        found = [each for turn in range(step * 4, step * 4 + 4) for each in nats_alone(model, reader, turn)]
        loss = sum(nats for nats, _ in found) / sum(count for _, count in found)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, rate, rate / 10, 0.01 * reader.steps, reader.steps)
        optimiser.step()
        optimiser.zero_grad()
        expected.append((loss.item(), sum(count for _, count in found)))
    rows = metrics.read(str(tmp_path))
    assert [row["labels"] for row in rows] == [count for _, count in expected]
    assert [row["loss"] for row in rows] == pytest.approx([loss for loss, _ in expected], abs=2e-5)


def tiny_of(output: Path) -> Any:
    """The model that `settings` trains, as it begins."""
    return models.build(settings(output, output).model.architecture, 1234)


@pytest.mark.parametrize("attention", ["sequence", "document"])
def test_micro_batches_of_unequal_padding_add_up(run: Path, tmp_path: Path, attention: str) -> None:
    found = []
    for micro in (1, 4):
        some = [f"training.attention={attention}", "training.steps=4", f"training.micro_batch={micro}"]
        train(settings(run, tmp_path / str(micro), some))
        rows = metrics.read(str(tmp_path / str(micro)))
        found.append([row[key] for row in rows for key in ("loss", "grad_norm", "labels")])
    assert found[0] == pytest.approx(found[1], rel=1e-4)
    assert all(row["labels"] < 4 * SEQ_LEN for row in rows) or attention == "sequence"  # best_fit leaves little room


def test_packed_training_goes_on_to_the_bit_and_not_with_other_attention(run: Path, tmp_path: Path) -> None:
    train(settings(run, tmp_path / "whole", [DOCUMENT, "training.steps=4"]))
    for steps in (2, 4):
        train(settings(run, tmp_path / "broken", [DOCUMENT, f"training.steps={steps}", "training.workers=1"]))
    whole, broken = ([row["loss"] for row in metrics.read(str(tmp_path / name))] for name in ("whole", "broken"))
    assert whole == broken
    with pytest.raises(RecipeError, match=r"settings: training.attention was document, is sequence; use"):
        train(settings(run, tmp_path / "whole", ["training.steps=5"]))


def test_concatenated_documents_can_be_kept_apart_too(tmp_path: Path) -> None:
    documents = mixed_documents(60, 2)
    run = make_run(tmp_path / "run", [documents], seq_len=SEQ_LEN, batch_size=4, epochs=(1.0,))
    reader, model = open_rows(str(run), None, "document"), tiny()
    with torch.no_grad():
        alone = [each for turn in range(8) for each in nats_alone(model, reader, turn)]
        loss = token_loss(model, batch_of(reader, range(8)))
    assert loss.item() == pytest.approx(sum(nats.item() for nats, _ in alone), rel=1e-5)
    train(settings(run, tmp_path / "out", [DOCUMENT, "training.steps=1"]))
    [row] = metrics.read(str(tmp_path / "out"))
    assert 0 < row["labels"] < 4 * SEQ_LEN


def test_validation_keeps_documents_apart_as_training_does(tmp_path: Path) -> None:
    documents = mixed_documents(400, 5)
    run = make_run(tmp_path / "run", [documents], seq_len=SEQ_LEN, batch_size=4, epochs=(1.5,))
    some = [DOCUMENT, "training.steps=1", "training.micro_batch=1", "training.validation.documents=unread"]
    done = train(settings(run, tmp_path / "out", [*some, "training.validation.sequences=8"], epochs=1.5))
    ids, owner = unread_sequences(open_rows(str(run), None, "sequence"), 8)
    model = checkpoint.open_model(checkpoint.read(done.checkpoint)).eval()
    nats, labels = 0.0, 0
    with torch.no_grad():
        for row, own in zip(torch.from_numpy(ids), owner, strict=True):
            for start, stop in zip(*borders(own), strict=True):
                if stop - start > 1:
                    logits = model(input_ids=row[None, start : stop - 1]).logits[0]
                    nats += cross_entropy(logits, row[start + 1 : stop], reduction="sum").item()
                    labels += stop - start - 1
    assert done.validation_loss == pytest.approx(nats / labels, rel=1e-5)


def borders(owner: Any) -> tuple[list[int], list[int]]:
    change = (np.flatnonzero(owner[1:] != owner[:-1]) + 1).tolist()
    return [0, *change], [*change, len(owner)]


@pytest.mark.parametrize("packing", ["best_fit", "document"])
def test_windows_that_hold_padding_are_not_asked_for(tmp_path: Path, packing: Packing) -> None:
    run = packed_run(tmp_path / "run", mixed_documents(60, 6), packing)
    train(settings(run, tmp_path / "out", [DOCUMENT, "training.steps=2"]))
    found = memorisation.measure(str(run), str(tmp_path / "out"), sequences=0, prompt=8, continuation=8)
    reader = open_rows(str(run), None, "sequence")
    full = [turn for turn in range(len(reader)) if sum(each.length for each in reader.pieces(turn)) >= 16]
    assert 0 < len(full) < len(reader) or packing == "best_fit"
    assert found.rows.column("turn").to_pylist() == full
    times = found.rows.column("times_seen").to_numpy()
    assert times.tolist() == [int(turn < 8) for turn in full]


def test_no_window_without_padding_is_an_error(tmp_path: Path) -> None:
    run = packed_run(tmp_path / "run", [np.full(9, 5)] * 40, "document")
    train(settings(run, tmp_path / "out", ["training.steps=1"]))
    with pytest.raises(InputError, match=r"none of 40 sequences of .* begins with 16 ids that are no padding"):
        memorisation.measure(str(run), str(tmp_path / "out"), sequences=0, prompt=8, continuation=8)


def test_documents_of_one_id_predict_nothing(tmp_path: Path) -> None:
    run = packed_run(tmp_path / "run", [np.full(1, 5)] * 40, "document")
    with pytest.raises(PipelineError, match="step 1 has no id to predict: each of its documents has one; make the"):
        train(settings(run, tmp_path / "out"))


def test_labels_reach_the_loss_from_a_loader_process(run: Path) -> None:
    from redpajama_pipe.tokens.loader import TokenLoader

    reader = open_rows(str(run), None, "document")
    batch = next(iter(TokenLoader(reader, 4, workers=1)))
    assert torch.equal(batch[LABELS], torch.from_numpy(reader.batch(range(4))[LABELS]))
