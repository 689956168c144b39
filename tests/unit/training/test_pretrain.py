"""The training loop on a CPU; all of it is skipped where torch or transformers is not installed."""

import importlib.util
import json
import math
import shutil
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'redpajama-pipe[train]'")
transformers = pytest.importorskip("transformers", reason="transformers is not installed")

from made_run import make_run  # noqa: E402
from training_factory import (  # noqa: E402
    BATCH,
    SEQ_LEN,
    VOCABULARY,
    pattern_documents,
    random_documents,
    settings,
    weights,
)

from redpajama_pipe.errors import InputError, PipelineError, RecipeError, SetupError  # noqa: E402
from redpajama_pipe.tokens.reader import open_run  # noqa: E402
from redpajama_pipe.training import checkpoint, metrics, models  # noqa: E402
from redpajama_pipe.training.learning_rate import learning_rate  # noqa: E402
from redpajama_pipe.training.loop import train  # noqa: E402
from redpajama_pipe.training.validation import unread_sequences  # noqa: E402

# tensorboard, where it is installed, imports protobuf; transformers' own warnings are not ours
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)  # the order of sums, and with it the last bits, depends on it


def losses(output: Path) -> list[float]:
    return [row["loss"] for row in metrics.read(str(output))]


def test_a_tiny_model_learns_a_planted_pattern(pattern_run: Path, tmp_path: Path) -> None:
    done = train(settings(pattern_run, tmp_path, ["training.checkpoint_every=50"]))
    found = metrics.read(str(tmp_path))
    assert [row["step"] for row in found] == list(range(1, done.step + 1))
    assert found[0]["loss"] == pytest.approx(math.log(VOCABULARY), abs=0.5)
    assert done.loss == found[-1]["loss"] < 0.1
    assert done.tokens == done.step * BATCH * SEQ_LEN
    assert [path.name for path in sorted((tmp_path / "checkpoints").iterdir())] == ["step00000050", "step00000059"]
    assert done.checkpoint.endswith("step00000059")
    assert {row["labels"] for row in found} == {BATCH * SEQ_LEN}
    for row in found:
        assert set(row) == {
            *("step", "loss", "lr", "grad_norm", "labels", "seconds", "tokens_per_second"),
            *("mfu", "data_wait", "memory_bytes"),
        }
        assert 0 <= row["data_wait"] <= 1
        assert row["mfu"] is None  # the peak of a CPU is not known
        assert row["memory_bytes"] > 10_000_000
    assert found[0]["lr"] == 0.0


def test_training_is_a_plain_transformers_loop(pattern_run: Path, tmp_path: Path) -> None:
    steps, rate = 6, 0.01
    some = [f"training.steps={steps}", "training.checkpoint_steps=[0]", f"training.micro_batch={BATCH}"]
    train(settings(pattern_run, tmp_path, some))
    start = checkpoint.folder_of(str(tmp_path), 0)
    model = transformers.AutoModelForCausalLM.from_pretrained(start, dtype=torch.float32)
    named = dict(model.named_parameters())
    plain = [name for name in named if name.endswith("bias") or "norm" in name]
    groups = [
        {"params": [value for name, value in named.items() if name not in plain], "weight_decay": 0.1},
        {"params": [named[name] for name in plain], "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, betas=(0.9, 0.95), eps=1e-8)
    reader = open_run(pattern_run, 1.0)
    expected = []
    for step in range(steps):
        ids = torch.from_numpy(reader.read(range(step * BATCH, (step + 1) * BATCH)))
        loss = model(input_ids=ids, labels=ids).loss  # the whole batch at once, shifted by transformers
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, rate, rate / 10, 0.01 * reader.steps, reader.steps)
        optimiser.step()
        optimiser.zero_grad()
        expected.append(loss.item())
    found = losses(tmp_path)
    assert found[0] == pytest.approx(expected[0], abs=1e-6)
    assert found == pytest.approx(expected, abs=1e-5)
    trained = weights(checkpoint.folder_of(str(tmp_path), steps))
    for name, value in _published_names(model, tmp_path):
        # the keys' biases cancel in the softmax: Adam makes steps of their gradients' rounding errors
        if "query_key_value.bias" not in name:
            assert torch.allclose(value, trained[name], atol=1e-6), name


def _published_names(model, folder: Path):  # type: ignore[no-untyped-def]
    model.save_pretrained(folder / "plain")
    return weights(str(folder / "plain")).items()


def test_resume_gives_the_same_bits(pattern_run: Path, tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    done = train(settings(pattern_run, whole, ["training.steps=12"]))
    # step 0 and odd steps saved on the way must change nothing either
    some = ["training.checkpoint_steps=[0, 1, 3]"]
    for steps in (3, 7, 12):
        again = train(settings(pattern_run, broken, [*some, f"training.steps={steps}", "training.workers=0"]))
        assert again.step == steps
    assert losses(broken) == losses(whole)
    assert [row["lr"] for row in metrics.read(str(broken))] == [row["lr"] for row in metrics.read(str(whole))]
    first, second = weights(done.checkpoint), weights(again.checkpoint)
    assert all(torch.equal(first[name], second[name]) for name in first)
    states = [torch.load(f"{each.checkpoint}/random.pt") for each in (done, again)]
    assert torch.equal(states[0][0]["cpu"], states[1][0]["cpu"])
    finished = train(settings(pattern_run, broken, [*some, "training.steps=12"]))
    assert (finished.step, finished.loss, finished.checkpoint) == (12, None, again.checkpoint)
    assert len(losses(broken)) == 12


def test_a_checkpoint_that_was_cut_off_is_none(pattern_run: Path, tmp_path: Path) -> None:
    train(settings(pattern_run, tmp_path, ["training.steps=6", "training.checkpoint_every=2"]))
    before = losses(tmp_path)
    Path(checkpoint.folder_of(str(tmp_path), 6), "_manifest.json").unlink()
    with (tmp_path / metrics.NAME).open("a") as file:
        file.write('{"step": 7, "lo')
    found = checkpoint.latest(str(tmp_path))
    assert found is not None
    assert found.step == 4
    shutil.rmtree(checkpoint.folder_of(str(tmp_path), 2))
    train(settings(pattern_run, tmp_path, ["training.steps=6", "training.checkpoint_every=2"]))
    assert losses(tmp_path) == before
    assert checkpoint.latest(str(tmp_path)).step == 6  # type: ignore[union-attr]


def test_a_checkpoint_is_what_transformers_loads(pattern_run: Path, tmp_path: Path) -> None:
    done = train(settings(pattern_run, tmp_path, ["training.steps=3"]))
    model = transformers.AutoModelForCausalLM.from_pretrained(done.checkpoint)
    assert type(model).__name__ == "GPTNeoXForCausalLM"
    assert (model.config.bos_token_id, model.config.eos_token_id) == (0, 0)
    assert "embed_out.weight" in weights(done.checkpoint)  # the published name
    ids = torch.from_numpy(open_run(pattern_run, 1.0).read(range(3 * BATCH, 4 * BATCH)))
    with torch.no_grad():
        loss = model(input_ids=ids, labels=ids).loss.item()
    train(settings(pattern_run, tmp_path, ["training.steps=4"]))
    assert losses(tmp_path)[3] == pytest.approx(loss, abs=1e-6)


def test_other_data_or_settings_are_refused(pattern_run: Path, tmp_path: Path) -> None:
    train(settings(pattern_run, tmp_path, ["training.steps=2"]))
    with pytest.raises(InputError, match=r"the state was saved with schedule .* training would read something else"):
        train(settings(pattern_run, tmp_path, ["training.steps=4"], epochs=1.5))
    other = make_run(tmp_path / "other", [pattern_documents(80, salt=1)], seq_len=SEQ_LEN, batch_size=BATCH)
    with pytest.raises(InputError, match=r"the state was saved with (tokens|schedule)"):
        train(settings(other, tmp_path, ["training.steps=4"]))
    with pytest.raises(RecipeError, match=r"has other settings: training.learning_rate was 0.01, is 0.1; use another"):
        train(settings(pattern_run, tmp_path, ["training.learning_rate=0.1"]))
    with pytest.raises(RecipeError, match=r"architecture.d_ff was 64, is 128"):
        train(settings(pattern_run, tmp_path, ["architecture.d_ff=128"]))
    assert len(losses(tmp_path)) == 2


@pytest.mark.parametrize(
    ("override", "error", "message"),
    [
        ("training.micro_batch=3", RecipeError, r"a batch of 8 sequences does not divide into micro-steps of 3"),
        ("training.steps=60", RecipeError, r"60 steps, but the schedule has 59 of 8 sequences; lower training.steps"),
        ("architecture.max_positions=16", RecipeError, r"sequences of 32 tokens, but architecture.max_positions is 16"),
        ("architecture.vocab_size=32", InputError, r"tokens has the id 64, but the model's vocabulary is 32"),
        ("training.learning_rate=1.0e+30", PipelineError, r"step \d+: loss .*: training has diverged; lower"),
    ],
)
def test_a_mistake_is_said_in_one_line(
    pattern_run: Path, tmp_path: Path, override: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        train(settings(pattern_run, tmp_path, [override]))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused(pattern_run: Path, tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="torch sees no GPU"):
        train(settings(pattern_run, tmp_path, ["training.device=cuda"]))


def test_micro_batches_add_up_to_the_batch(pattern_run: Path, tmp_path: Path) -> None:
    found = []
    for micro in (1, 4, 8):
        train(settings(pattern_run, tmp_path / str(micro), ["training.steps=4", f"training.micro_batch={micro}"]))
        found.append(losses(tmp_path / str(micro)))
    assert found[0] == pytest.approx(found[2], abs=1e-5)
    assert found[1] == pytest.approx(found[2], abs=1e-5)


def test_bf16_and_recomputed_activations_stay_close(pattern_run: Path, tmp_path: Path) -> None:
    train(settings(pattern_run, tmp_path / "plain", ["training.steps=4"]))
    half = ["training.steps=4", "training.precision=bf16", "training.activation_checkpointing=true"]
    done = train(settings(pattern_run, tmp_path / "half", half))
    assert losses(tmp_path / "half") == pytest.approx(losses(tmp_path / "plain"), abs=0.05)
    assert losses(tmp_path / "half") != losses(tmp_path / "plain")
    assert {value.dtype for value in weights(done.checkpoint).values()} == {torch.float32}


def test_validation_reads_what_is_not_trained_on(pattern_run: Path, tmp_path: Path) -> None:
    other = make_run(
        tmp_path / "other", [random_documents(6, 200, 5)], seq_len=SEQ_LEN, batch_size=BATCH, epochs=(1.0,)
    )
    with pytest.raises(InputError, match=r"6 documents of .*other are in the training run too, so they are not held"):
        # documents are named by their numbers here, so those of both runs have the same ids
        train(settings(pattern_run, tmp_path / "x", [f"training.validation.documents={other}", "training.steps=1"]))
    with pytest.raises(InputError, match="the schedule reads all but 0 documents"):
        unread_sequences(open_run(pattern_run, 1.0), 4)
    short = random_documents(1200, 10, 1)
    run = make_run(tmp_path / "short", [short[:150], short[150:]], seq_len=SEQ_LEN, batch_size=BATCH)
    reader = open_run(run, 1.5)
    ids, owner = unread_sequences(reader, 1000)
    assert (ids[1:, 0] == ids[:-1, -1]).all()
    # the last id of a sequence is no input, so a last piece of one id does not read its document
    read = set()
    for turn in range(len(reader)):
        *inner, last = reader.pieces(turn)
        read |= {piece.document for piece in inner if piece.length} | ({last.document} if last.length > 1 else set())
    stream = [token for document, own in enumerate(short) if document not in read for token in own.tolist()]
    documents = [document for document, own in enumerate(short) if document not in read for _ in own]
    assert owner[:, :-1].reshape(-1).tolist() == documents[: owner[:, :-1].size]
    assert ids[:, :-1].reshape(-1).tolist() == stream[: ids[:, :-1].size]
    assert len(ids) == (len(stream) - 1) // SEQ_LEN
    few = ["training.validation.documents=unread", "training.validation.every=5", "training.validation.sequences=9"]
    done = train(settings(run, tmp_path / "y", [*few, "training.steps=7"], epochs=1.5))
    rows = metrics.read(str(tmp_path / "y"))
    assert [row["step"] for row in rows if "validation_loss" in row] == [5, 7]
    model = transformers.AutoModelForCausalLM.from_pretrained(done.checkpoint).eval()
    tokens = torch.from_numpy(ids[:8])
    with torch.no_grad():
        assert done.validation_loss == pytest.approx(model(input_ids=tokens, labels=tokens).loss.item(), abs=1e-6)


@pytest.mark.parametrize("name", [name for name in models.names() if name.startswith("pythia")])
def test_published_parameters_on_the_meta_device(name: str) -> None:
    model = models.load(name)
    with torch.device("meta"):
        built = models.build(model.architecture)
    assert model.published is not None
    total, inner = models.count_parameters(built)
    assert (total, inner) == (model.published.parameters, model.published.non_embedding_parameters)
    embedding = model.architecture.vocab_size * model.architecture.d_model
    attention = 12 * model.architecture.layers * model.architecture.d_model * 2048
    assert models.flops_per_token(model.architecture, 2048) == 6 * (total - embedding) + attention


def test_initial_weights_are_normal_with_the_published_deviations() -> None:
    shape = models.load("pythia_70m", ["architecture.layers=2", "architecture.vocab_size=4096"]).architecture
    model = models.build(shape, seed=1)
    again = models.build(shape, seed=1)
    small, output = models.init_deviations(shape)
    assert output != pytest.approx(small, rel=0.2)
    for (name, value), other in zip(model.named_parameters(), again.parameters(), strict=True):
        assert torch.equal(value, other)
        if value.ndim == 1:
            assert (value == (1 if "norm.weight" in name or "layernorm.weight" in name else 0)).all(), name
        else:
            written = name.endswith(("attention.dense.weight", "dense_4h_to_h.weight"))
            assert value.std().item() == pytest.approx(output if written else small, rel=0.02), name
            assert abs(value.mean().item()) < 0.01 * small * 10


def test_weights_decay_and_biases_and_norms_do_not() -> None:
    model = models.build(models.load("tiny", ["architecture.vocab_size=64"]).architecture, seed=1)
    decay, plain = models.decay_groups(model, 0.1)
    names = {id(value): name for name, value in model.named_parameters()}
    found = {names[id(value)] for value in decay["params"]}
    assert found == {name for name in names.values() if name.endswith("weight") and "norm" not in name}
    assert {names[id(value)] for value in plain["params"]} == set(names.values()) - found
    assert (decay["weight_decay"], plain["weight_decay"]) == (0.1, 0.0)


def test_metrics_and_settings_are_written(pattern_run: Path, tmp_path: Path) -> None:
    train(settings(pattern_run, tmp_path, ["training.steps=1", "training.peak_tflops=0.001"]))
    [row] = [json.loads(line) for line in (tmp_path / metrics.NAME).read_text().splitlines()]
    flops = models.flops_per_token(settings(pattern_run, tmp_path).model.architecture, SEQ_LEN) * BATCH * SEQ_LEN
    assert row["mfu"] == pytest.approx(flops / row["seconds"] / 1e9, rel=0.01)
    assert "learning_rate: 0.01" in (tmp_path / "settings.yaml").read_text()
    if importlib.util.find_spec("tensorboard"):
        assert [path.name.startswith("events.") for path in (tmp_path / "tensorboard").iterdir()] == [True]
