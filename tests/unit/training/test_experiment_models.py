"""An experiment with torch: exposures against a plain count, losses, and two steps from end to end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'redpajama-pipe[train]'")
transformers = pytest.importorskip("transformers", reason="transformers is not installed")

from made_run import make_run  # noqa: E402
from training_factory import VOCABULARY, random_documents  # noqa: E402

from redpajama_pipe.tokens.loader import open_run  # noqa: E402
from redpajama_pipe.training import experiment, experiment_corpus, experiment_plan, models  # noqa: E402
from redpajama_pipe.training.experiment_scores import document_losses, exposures  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

WIDTH = 8


def tiny() -> Any:
    shape = [f"architecture.vocab_size={VOCABULARY}", "architecture.d_model=32", "architecture.d_ff=64"]
    return models.build(models.load("tiny", shape).architecture, 1).eval()


def test_exposure_counts_every_copy_that_was_read_whole(tmp_path: Path) -> None:
    several, others = random_documents(2, 20, 1), random_documents(12, 20, 2)
    documents = [several[0]] * 5 + others + [several[1]] * 3
    run = make_run(tmp_path, [documents[:9], documents[9:]], seq_len=10, batch_size=2, epochs=(1.0,))
    reader = open_run(run)
    probes = np.array([ids[:WIDTH] for ids in (several[0], several[1], others[0], random_documents(1, 20, 3)[0])])
    for turns in (0, 7, len(reader)):
        times, first = exposures(reader, probes, turns)
        # by hand: every token of the first `turns` sequences, by document
        read: dict[int, set[int]] = {number: set() for number in range(len(documents))}
        seen: dict[int, int] = {}
        for turn in range(turns):
            left = reader.seq_len
            for piece in reader.pieces(turn):
                some = range(piece.start, piece.start + min(piece.length, left))
                left -= len(some)
                read[piece.document] |= set(some)
                if some and some.start < WIDTH:
                    seen.setdefault(piece.document, turn)
        for probe, count, turn in zip(probes, times, first, strict=True):
            same = [number for number, ids in enumerate(documents) if (ids[:WIDTH] == probe).all()]
            assert count == sum(set(range(WIDTH)) <= read[number] for number in same)
            assert turn == min((seen[number] for number in same if number in seen), default=-1)
    assert times[0] >= 4  # the end of the last document is in no sequence
    assert times[3] == 0


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
        for arm, kept, epochs in (("standard", texts, 0.02), ("deduped", list(dict.fromkeys(texts)), 0.02)):
            documents = [np.frombuffer(text.encode(), np.uint8).astype(np.int64) for text in kept]
            if not (folder / arm).exists():
                make_run(folder / arm, [documents], seq_len=32, batch_size=8, epochs=(epochs,))

    original = experiment._schedule

    def schedule(folder: Path, arm: experiment_plan.Arm) -> dict[str, Any]:
        reader = open_run(folder / arm)
        tokens = len(reader) * reader.seq_len
        return {**original(folder, arm), "samples": len(reader), "steps": reader.steps, "tokens": tokens}

    monkeypatch.setattr(experiment, "_open_encoder", lambda folder: Encoder())
    monkeypatch.setattr(experiment, "_run_pipelines", pipelines)
    monkeypatch.setattr(experiment, "_schedule", schedule)
    return output


def test_two_steps_from_end_to_end_and_again(prepared: Path) -> None:
    plan = experiment_plan.load(
        "pythia_mini",
        [
            f"data={prepared.parent / 'data'}", "subset_field=''", "steps=2", "seeds=[1, 2]", "probes=12", "threads=1",
            "prompt=8", "continuation=8", "corpus.planted_copies=[3]", "corpus.planted_documents=2",
            f"overrides=[architecture.vocab_size={VOCABULARY}, architecture.d_model=32, architecture.d_ff=64, "
            "training.device=cpu, training.micro_batch=4]",
        ],
    )  # fmt: skip
    results = experiment.run(plan, str(prepared), quiet=True)
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


def test_contaminated_documents_are_no_probes(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = prepared.parent / "data/a.jsonl"
    data.write_text(data.read_text("utf-8") * 2, "utf-8")
    plan = experiment_plan.load("pythia_mini", [f"data={data.parent}", "corpus.planted_copies=[]"])
    experiment_corpus.write(plan.data, "", plan.corpus, prepared / "corpus")
    experiment._run_pipelines(plan, prepared, None, True)
    probes, documents, contaminated = experiment._questions(plan, prepared)
    assert 0 < sum(contaminated) < len(documents)
    clean = {tuple(ids[: plan.width]) for ids, dirty in zip(documents, contaminated, strict=True) if not dirty}
    assert {tuple(ids) for ids in probes.ids[probes.held_out]} == clean
