"""Memorisation: planted strings are given back, others are not; skipped where torch is not installed."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'redpajama-pipe[train]'")
transformers = pytest.importorskip("transformers", reason="transformers is not installed")

from made_run import doc_id, make_run  # noqa: E402
from training_factory import VOCABULARY, random_documents, settings  # noqa: E402

from redpajama_pipe import cli, manifest, schema  # noqa: E402
from redpajama_pipe.errors import InputError, ManifestError, RecipeError, SetupError  # noqa: E402
from redpajama_pipe.storage import File  # noqa: E402
from redpajama_pipe.tokens.lookup import Visit  # noqa: E402
from redpajama_pipe.tokens.reader import Piece, open_run  # noqa: E402
from redpajama_pipe.training import checkpoint, memorisation  # noqa: E402
from redpajama_pipe.training.loop import train  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

PLANTED, COPIES, OTHERS = 4, 80, 100
SIZE = 64  # of a document, and of a sequence: most sequences begin where a document does


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Four strings planted eighty times among documents that come once, and a model trained on them."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("memory")
    planted, others = random_documents(PLANTED, SIZE, 1), random_documents(OTHERS, SIZE, 2)
    documents = [ids for ids in planted for _ in range(COPIES)] + others
    order = np.random.default_rng(3).permutation(len(documents))
    shuffled = [documents[at] for at in order]
    run = make_run(folder / "run", [shuffled[:150], shuffled[150:]], seq_len=SIZE, batch_size=4, epochs=(1.0, 1.5))
    some = ["architecture.d_model=64", "architecture.d_ff=256", "training.checkpoint_steps=[40]"]
    train(settings(run, folder / "out", [*some, "training.learning_rate=0.004"]))
    return run, folder / "out"


def test_planted_strings_are_given_back_and_others_are_not(trained: tuple[Path, Path], tmp_path: Path) -> None:
    run, output = trained
    found = memorisation.measure(str(run), str(output), sequences=0)
    rows = found.rows
    assert len(rows) == len(open_run(run, 1.0))
    copies, scores = rows.column("copies").to_numpy(), rows.column("score").to_numpy()
    memorised = rows.column("memorised").to_numpy()
    assert set(copies.tolist()) == {1, COPIES}
    assert (copies == COPIES).sum() > 250
    assert memorised[copies == COPIES].mean() > 0.98
    assert scores[copies == COPIES].mean() > 0.99
    assert memorised[copies == 1].mean() == 0.0
    assert scores[copies == 1].mean() < 0.1
    assert set(rows.column("times_seen").to_pylist()) == {1}  # every document is read once before the end
    assert rows.column("steps_seen").to_pylist() == [[step] for step in rows.column("step").to_pylist()]
    file = found.write(str(tmp_path / "x.parquet"))
    assert pq.read_table(tmp_path / "x.parquet").schema.names == memorisation.MEMORISATION.names
    assert file.bytes == (tmp_path / "x.parquet").stat().st_size
    told = memorisation.render(found)
    assert "32 ids given, 32 decoded greedily" in told
    assert f"│ 65 to 128            │       {(copies == COPIES).sum():>3} │" in told


def test_scores_are_those_of_decoding_step_by_step(trained: tuple[Path, Path]) -> None:
    run, output = trained
    found = memorisation.find_checkpoint(str(output))
    model = checkpoint.open_model(found).eval()
    windows = open_run(run, 1.0).read(range(40))[:, :48]
    windows[3, 36:] = 0  # the end-of-document token is an id as any other
    expected = []
    with torch.no_grad():
        for row in windows:
            given = row[:32].tolist()
            while len(given) < 48:
                given.append(int(model(torch.tensor([given])).logits[0, -1].argmax()))
            expected.append(np.mean(np.array(given[32:]) == row[32:]))
    assert memorisation.extractible(model, windows, 32) == pytest.approx(np.array(expected, np.float32))


def test_the_end_of_document_token_is_decoded_as_any_other(trained: tuple[Path, Path]) -> None:
    model = checkpoint.open_model(memorisation.find_checkpoint(str(trained[1]))).eval()
    with torch.no_grad():  # a model that says 0, whatever it is given
        model.gpt_neox.final_layer_norm.weight.zero_()
        model.gpt_neox.final_layer_norm.bias.fill_(1.0)
        model.get_output_embeddings().weight.zero_()
        model.get_output_embeddings().weight[0] = 1.0
    windows = np.ones((3, 64), np.int64)
    windows[1, 32:] = 0
    windows[2, 32:48] = 0
    assert memorisation.extractible(model, windows, 32).tolist() == [0.0, 1.0, 0.5]


def test_an_earlier_checkpoint_has_seen_less(trained: tuple[Path, Path]) -> None:
    run, output = trained
    found = memorisation.measure(str(run), checkpoint.folder_of(str(output), 40), sequences=50)
    turns = found.rows.column("turn").to_numpy()
    assert len(turns) == 50
    assert (turns[0], turns[-1]) == (0, len(open_run(run, 1.0)) - 1)
    times = found.rows.column("times_seen").to_numpy()
    assert found.step == 40
    assert times[turns < 160].tolist() == [1] * int((turns < 160).sum())
    assert times[turns >= 160].sum() == 0
    assert found.rows.column("steps_seen").to_pylist()[-1] == []


def test_exposure_counts_each_id_of_the_window() -> None:
    pieces = [Piece(5, 0, 5, 10, 6), Piece(9, 0, 9, 0, 4)]
    visits = {
        # read whole at turn 0; at turns 8 and 9 in two halves; cut off at turn 20; after the checkpoint at turn 40
        5: [Visit(0, 10, 16), Visit(8, 0, 13), Visit(9, 13, 30), Visit(20, 12, 30), Visit(40, 10, 30)],
        9: [Visit(0, 0, 4), Visit(9, 0, 9), Visit(21, 0, 2), Visit(22, 4, 9), Visit(41, 0, 4)],
    }
    assert memorisation.times_seen(pieces, visits, 40) == 2
    assert memorisation.times_seen(pieces[1:], visits, 40) == 2
    assert memorisation.times_seen(pieces, visits, 42) == 3
    assert memorisation.times_seen(pieces, visits, 1) == 1
    assert memorisation.times_seen(pieces, visits, 0) == 0
    assert memorisation.steps_seen(pieces, visits, 40, 4) == [0, 2, 5]
    assert memorisation.steps_seen(pieces, visits, 42, 4) == [0, 2, 5, 10]
    window = list(memorisation.clip_pieces([Piece(1, 0, 1, 3, 5), Piece(2, 0, 2, 0, 9)], 8))
    assert window == [Piece(1, 0, 1, 3, 5), Piece(2, 0, 2, 0, 3)]


def test_dropped_duplicates_come_from_the_decisions(trained: tuple[Path, Path]) -> None:
    run, output = trained
    before = memorisation.measure(str(run), str(output), sequences=5)
    assert before.rows.column("dropped_duplicates").null_count == 5
    kept = before.rows.column("doc_id").to_pylist()
    rows: list[dict[str, Any]] = [
        {"doc_id": doc_id(900), "kept_doc_id": kept[0], "rank": 0},
        {"doc_id": doc_id(901), "kept_doc_id": kept[0], "rank": 0},
        {"doc_id": doc_id(901), "kept_doc_id": kept[1], "rank": 1},  # a second receipt of the same document
        {"doc_id": doc_id(902), "kept_doc_id": doc_id(903), "rank": 0},
    ]
    common = {"source": "x", "action": "drop", "stage": "dedup", "rule": "near", "evidence": "{}"}
    folder = run / "decisions" / "dedup"
    folder.mkdir(parents=True)
    table = pa.Table.from_pylist([{**common, **row} for row in rows], schema=schema.DECISIONS)
    pq.write_table(table, folder / "part-00000.parquet")
    size = (folder / "part-00000.parquet").stat().st_size
    manifest.write(str(folder), "dedup", {}, {}, {}, [File("part-00000.parquet", size, "")])
    try:
        joined = memorisation.measure(str(run), str(output), sequences=5)
    finally:
        (folder / "_manifest.json").unlink()
    after = joined.rows.column("dropped_duplicates").to_pylist()
    assert "│ duplicates dropped " in memorisation.render(joined)
    assert "duplicates dropped" not in memorisation.render(before)
    assert after[0] == 2
    assert sum(after) in (2, 2 * after.count(2))


def test_what_does_not_belong_together_is_refused(trained: tuple[Path, Path], tmp_path: Path) -> None:
    run, output = trained
    other = make_run(tmp_path, [random_documents(40, SIZE, 7)], seq_len=SIZE, batch_size=4)
    with pytest.raises(InputError, match="training would read something else"):
        memorisation.measure(str(other), str(output))
    with pytest.raises(InputError, match=r"a window of 40 \+ 40 ids, but sequences have 64 tokens"):
        memorisation.measure(str(run), str(output), prompt=40, continuation=40)
    (tmp_path / "broken/checkpoints/step00000040").mkdir(parents=True)
    for nothing in ("nothing", "broken"):
        with pytest.raises(
            ManifestError, match=rf"no finished checkpoint in .*{nothing}; give the output folder of pret"
        ):
            memorisation.measure(str(run), str(tmp_path / nothing))
    with pytest.raises(RecipeError, match="-1 sequences, 64 at a time; give 0"):
        memorisation.measure(str(run), str(output), sequences=-1)
    with pytest.raises(RecipeError, match="9 sequences, 0 at a time"):
        memorisation.measure(str(run), str(output), sequences=9, batch_size=0)
    if not torch.cuda.is_available():
        with pytest.raises(SetupError, match="torch sees no GPU; use --device cpu"):
            memorisation.measure(str(run), str(output), device="cuda")
    with pytest.raises(InputError, match="is no checkpoint but the output of tokenize; give a folder like step"):
        memorisation.measure(str(run), str(run / "tokens"))


def test_what_is_scored_is_told_from_none_to_all(trained: tuple[Path, Path]) -> None:
    told: list[tuple[int, int]] = []
    run, output = map(str, trained)
    memorisation.measure(run, output, sequences=5, batch_size=2, told=lambda *some: told.append(some))
    assert told == [(0, 5), (2, 5), (4, 5), (5, 5)]


def test_an_output_that_cannot_be_written_is_refused_before_scoring(
    trained: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("it was scored")

    monkeypatch.setattr(memorisation, "measure", never)
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    for name, why in (
        (tmp_path / "folder", "that is a folder"),
        (tmp_path / "file/x.parquet", "(Not a directory|File exists)"),
        (tmp_path / "file/y/x.parquet", "Not a directory"),
        ("nowhere://x.parquet", "Protocol not known: nowhere"),
    ):
        assert cli.main(["memorisation", str(trained[0]), "--checkpoint", str(trained[1]), "-o", str(name)]) == 2
        said = capsys.readouterr().err
        assert re.fullmatch(
            rf"redpajama-pipe: --output {re.escape(str(name))} cannot be written: {why}; name.*\n", said
        )
    before = (tmp_path / "old.parquet", tmp_path / "new/new.parquet")
    before[0].write_text("stays")
    for path in before:
        memorisation.check_output(str(path))
    assert before[0].read_text() == "stays"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder", "new", "old.parquet"]


WITHOUT_SPARK = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("pyspark", "py4j"):
            raise AssertionError(f"{name} was imported")

sys.meta_path.insert(0, Refuse())
from redpajama_pipe import cli
run, output = sys.argv[1:]
sets = ["training.steps=2", "training.device=cpu", "architecture.vocab_size=128", "training.micro_batch=4"]
arguments = [part for each in sets for part in ("--set", each)]
print(cli.main(["pretrain", run, "--model", "tiny", "--epochs", "1", "-o", output, *arguments]))
file = f"{output}/memorisation.parquet"
print(cli.main(["memorisation", run, "--checkpoint", output, "-o", file, "--sequences", "8", "--device", "cpu"]))
"""


@pytest.mark.slow
def test_both_commands_work_without_spark_and_java(trained: tuple[Path, Path], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_SPARK, str(trained[0]), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "", "PYTHONPATH": ":".join(filter(None, sys.path)), "HOME": str(tmp_path)},
    )
    told = done.stdout.splitlines()
    assert (told[0], told[-1]) == ("0", "0"), done.stderr[-2000:]
    assert told[1] == "checkpoint of step 2: 8 sequences, 32 ids given, 32 decoded greedily"
    assert "score      8 sequences with the checkpoint of step 2  (" in done.stderr
    assert "pretrain   2 steps, 512 tokens, loss" in done.stderr
    assert "begins: 2 steps of 4 × 64 tokens, 1 micro-steps each" in done.stderr
    assert json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[-1])["step"] == 2
    assert VOCABULARY == 128
