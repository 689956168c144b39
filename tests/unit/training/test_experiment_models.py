"""An experiment with torch: exposures against a plain count, losses, and two steps from end to end."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'redpajama-pipe[train]'")
transformers = pytest.importorskip("transformers", reason="transformers is not installed")

from made_run import make_run  # noqa: E402
from training_factory import VOCABULARY, random_documents  # noqa: E402

from redpajama_pipe import recipe  # noqa: E402
from redpajama_pipe.errors import InputError  # noqa: E402
from redpajama_pipe.run_folder import RunFolder  # noqa: E402
from redpajama_pipe.stages import build_schedule  # noqa: E402
from redpajama_pipe.tokens.reader import open_run  # noqa: E402
from redpajama_pipe.training import checkpoint, experiment, experiment_corpus, experiment_plan, models  # noqa: E402
from redpajama_pipe.training.experiment_scores import document_losses, exposures  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

WIDTH = 8


def tiny() -> Any:
    shape = [f"architecture.vocab_size={VOCABULARY}", "architecture.d_model=32", "architecture.d_ff=64"]
    return models.build(models.load("tiny", shape).architecture, 1).eval()


def test_exposure_counts_every_copy_that_was_read_whole(tmp_path: Path) -> None:
    several, others = random_documents(2, 20, 1), random_documents(12, 23, 2)
    documents = [several[0]] * 5 + others + [several[1]] * 3
    run = make_run(tmp_path, [documents[:9], documents[9:]], seq_len=10, batch_size=2, epochs=(1.0,))
    reader = open_run(run)
    probes = np.array([ids[:WIDTH] for ids in (*several, *others, *random_documents(1, 20, 3))])
    kinds = set()
    for turns in (0, 7, len(reader)):
        times, only = exposures(reader, probes, turns)
        # by hand: every token of the first `turns` sequences, by document
        read: dict[int, set[int]] = {number: set() for number in range(len(documents))}
        seen: dict[int, set[int]] = {number: set() for number in range(len(documents))}
        for turn in range(turns):
            left = reader.seq_len
            for piece in reader.pieces(turn):
                some = range(piece.start, piece.start + min(piece.length, left))
                left -= len(some)
                read[piece.document] |= set(some)
                if some and some.start < WIDTH:
                    seen[piece.document].add(turn)
        for probe, count, turn in zip(probes, times, only, strict=True):
            same = [number for number, ids in enumerate(documents) if (ids[:WIDTH] == probe).all()]
            assert count == sum(set(range(WIDTH)) <= read[number] for number in same)
            reading = set().union(*(seen[number] for number in same))
            kinds.add((min(count, 2), min(len(reading), 2)))
            assert turn == (reading.pop() if len(reading) == count == 1 else None)
    assert {(0, 0), (0, 1), (1, 1), (1, 2), (2, 2)} <= kinds  # never, in part, whole, in two sequences, several copies
    assert times[0] >= 4  # the end of the last document is in no sequence
    assert times[-1] == 0


def test_loss_of_a_document_does_not_depend_on_its_neighbours_or_on_padding() -> None:
    model, documents = tiny(), random_documents(1, 9, 4) + random_documents(1, 30, 5) + random_documents(1, 1, 6)
    nats, counts = document_losses(model, documents, seq_len=8)
    assert counts.tolist() == [8, 29, 0]
    alone = [document_losses(model, [ids], seq_len=8)[0][0] for ids in documents[:2]]
    assert nats[:2] == pytest.approx(alone, rel=1e-6)
    assert nats[2] == 0
    with torch.no_grad():
        ids = torch.from_numpy(documents[0])[None]
        whole = torch.nn.functional.cross_entropy(model(ids[:, :-1]).logits[0], ids[0, 1:], reduction="sum")
    assert nats[0] == pytest.approx(float(whole), rel=1e-5)


TEXTS = [" ".join(f"word{(at * number) % 97} of{number}" for at in range(60)) for number in range(1, 51)]


@pytest.fixture
def prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An output folder whose pipelines are done: runs over ids that a stand-in for the tokenizer gives."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS), "utf-8")
    output = tmp_path / "out"

    class Encoder:
        vocab_size = VOCABULARY

        def encode_batch(self, texts: Any) -> tuple[Any, Any]:
            ids = [np.frombuffer(text.encode(), np.uint8).astype(np.uint32) for text in texts.to_pylist()]
            return np.concatenate(ids), np.cumsum([0, *map(len, ids)])

    def pipelines(plan: experiment_plan.Experiment, folder: Path, master: str | None, quiet: bool) -> None:
        lines = (folder / "corpus/train/corpus.jsonl").read_text("utf-8").splitlines()
        texts = [json.loads(line)["text"] for line in lines]
        for arm, kept in zip(experiment_plan.ARMS, (texts, list(dict.fromkeys(texts))), strict=True):
            if not (folder / arm).exists():
                documents = [np.frombuffer(text.encode(), np.uint8).astype(np.int64) for text in kept]
                make_run(folder / arm, [documents], epochs=())
                (folder / arm / "schedule/_manifest.json").unlink()
            build_schedule.run(load_recipe(plan, folder, arm), RunFolder.at(str(folder / arm)), quiet=True)

    original = experiment.load_recipe

    def load_recipe(plan: experiment_plan.Experiment, folder: Path, arm: experiment_plan.Arm) -> recipe.Recipe:
        """The arm's recipe, with the small schedule of these runs."""
        loaded = original(plan, folder, arm)
        if arm == "deduped":  # it takes the standard arm's
            return loaded
        return replace(loaded, schedule=replace(loaded.schedule, seq_len=32, batch_size=8, epochs=(0.02,)))

    monkeypatch.setattr(experiment, "_open_encoder", lambda folder: Encoder())
    monkeypatch.setattr(experiment, "_same_tokenizer", lambda folder: [])
    monkeypatch.setattr(experiment, "load_recipe", load_recipe)
    monkeypatch.setattr(experiment, "_run_pipelines", pipelines)
    return output


def small_plan(output: Path, *overrides: str) -> experiment_plan.Experiment:
    return experiment_plan.load(
        "pythia_mini",
        [
            f"data={output.parent / 'data'}", "subset_field=''", "steps=2", "seeds=[1, 2]", "probes=12", "threads=1",
            "prompt=8", "continuation=8", "corpus.planted_copies=[3]", "corpus.planted_documents=2",
            f"overrides=[architecture.vocab_size={VOCABULARY}, architecture.d_model=32, architecture.d_ff=64, "
            "training.device=cpu, training.micro_batch=4]", *overrides,
        ],
    )  # fmt: skip


def test_two_steps_from_end_to_end_and_again(prepared: Path) -> None:
    plan = small_plan(prepared)
    results = experiment.run(plan, str(prepared), quiet=True)
    assert results["settings"]["vary"] == ["weights", "order"]
    assert results["tokens"] == 2 * 8 * 32
    assert set(results["held_out"]) == {"standard", "deduped", "standard, batch doubled"}
    assert results["held_out"]["standard"]["all"]["n"] == 2
    assert results["dedup_gain"]["all"]["n"] == 2
    assert 3 < results["held_out"]["standard"]["all"]["mean"] < 6  # of 128 ids; the first step's rate is 0
    assert all(0 <= row["score"]["mean"] <= 1 for row in results["by_exposure"]["standard"].values())
    assert "3-4" in results["by_copies"]["deduped"]
    assert {"results.json", "results.md", "exposure.svg", "copies.svg", "order.svg"} <= {
        path.name for path in prepared.iterdir()
    }
    made = {
        path: path.stat().st_mtime_ns for folder in ("trainings", "scores") for path in (prepared / folder).rglob("*")
    }
    assert len(list((prepared / "scores").iterdir())) == 6
    again = experiment.run(plan, str(prepared), quiet=True)
    assert {**again, "seconds": 0} == {**results, "seconds": 0}
    assert made == {path: path.stat().st_mtime_ns for path in made}
    # a model that is lost is trained again, to the same answers
    gone = prepared / "trainings/deduped_seed2/checkpoints"
    gone.rename(prepared / "gone")
    (prepared / "scores/deduped_seed2.json").unlink()
    assert {**experiment.run(plan, str(prepared), quiet=True), "seconds": 0} == {**results, "seconds": 0}


def test_contaminated_documents_are_no_probes(prepared: Path) -> None:
    data = prepared.parent / "data/a.jsonl"
    data.write_text(data.read_text("utf-8") * 2, "utf-8")
    plan = experiment_plan.load("pythia_mini", [f"data={data.parent}", "corpus.planted_copies=[]"])
    experiment_corpus.write(plan.data, "", plan.corpus, prepared / "corpus")
    experiment._run_pipelines(plan, prepared, None, True)
    probes, documents, contaminated = experiment._questions(plan, prepared)
    assert 0 < sum(contaminated) < len(documents)
    clean = {tuple(ids[: plan.width]) for ids, dirty in zip(documents, contaminated, strict=True) if not dirty}
    assert {tuple(ids) for ids in probes.ids[probes.held_out]} == clean


def test_each_seed_has_its_own_order_and_weights_and_its_answers_are_joined_to_them(prepared: Path) -> None:
    starts, seen = {}, {}
    for vary in ("weights", "order", "weights,order"):
        plan = small_plan(prepared, f"vary=[{vary}]", "doubled=[]")
        for done in ("trainings", "scores"):
            shutil.rmtree(prepared / done, ignore_errors=True)
        experiment.run(plan, str(prepared), quiet=True)
        for trial in experiment_plan.trials(plan):
            reader = open_run(experiment.run_of(plan, prepared, trial))
            found = checkpoint.latest(str(prepared / "trainings" / trial.folder))
            assert found is not None
            state = found.manifest.counts["loader"]
            assert reader.cursor(state) == 16  # refuses another order
            answers = json.loads((prepared / "scores" / f"{trial.folder}.json").read_text("utf-8"))["probes"]
            probes, _, _ = experiment._questions(plan, prepared)
            times, turns = exposures(reader, probes.ids, 16)
            assert [row["exposure"] for row in answers] == times
            assert [row["once"] for row in answers] == [turn is not None for turn in turns]
            key = (vary, trial.folder)
            seen[key] = reader.schedule_hash
            starts[key] = found.manifest.recipe["training"]["seed"]
    names = ("standard_seed1", "standard_seed2")
    assert [starts["weights", name] for name in names] == [1, 2] == [starts["weights,order", name] for name in names]
    assert [starts["order", name] for name in names] == [1234, 1234]
    assert seen["weights", names[0]] == seen["weights", names[1]]
    for vary in ("order", "weights,order"):
        assert seen[vary, names[0]] != seen[vary, names[1]]
    assert seen["order", names[0]] == seen["weights,order", names[0]]
    other = experiment.run_of(plan, prepared, experiment_plan.Trial("standard", False, 2))
    with pytest.raises(InputError, match="training would read something else"):
        open_run(other).cursor(checkpoint.latest(str(prepared / "trainings/standard_seed1")).manifest.counts["loader"])  # type: ignore[union-attr]
    # the shards lie once
    assert (other / "tokens").is_symlink()
    assert (other / "tokens").resolve() == (prepared / "standard/tokens").resolve()
