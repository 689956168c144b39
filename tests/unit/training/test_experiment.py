"""An experiment's plan, corpus and arithmetic, without torch and Spark."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from redpajama_pipe import recipe
from redpajama_pipe.errors import CatalogError, InputError, RecipeError, SetupError
from redpajama_pipe.training import experiment, experiment_corpus, experiment_measures, experiment_plan
from redpajama_pipe.training import experiment_report as report
from redpajama_pipe.training.experiment_measures import Mean
from redpajama_pipe.training.experiment_plan import Corpus, Trial

WORDS = ("river", "stone", "lantern", "meadow", "copper", "harbour", "winter")


def prose(number: int, words: int = 40) -> str:
    """A text whose words come once, and in no text of another number."""
    return " ".join(f"{WORDS[at % len(WORDS)]}{number}n{at}" for at in range(words))


def test_experiment_and_its_recipes_load() -> None:
    assert experiment_plan.names() == ["pythia_mini"]
    found = experiment_plan.load("pythia_mini", ["seeds=[7]", "corpus.documents=10"])
    assert (found.seeds, found.corpus.documents) == ((7,), 10)
    arms = [recipe.load(name) for name in (found.standard, found.deduped)]
    assert [(arm.dedup.exact, arm.dedup.near) for arm in arms] == [(False, False), (True, True)]
    first, second = (arm.schedule for arm in arms)
    assert (first.seq_len, first.batch_size, first.seed) == (second.seq_len, second.batch_size, second.seed)
    assert arms[0].sources == arms[1].sources


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("seeds=[1, 1]", "seeds is"),
        ("seeds=[]", "seeds is"),
        ("vary=[]", "vary is"),
        ("vary=[order, order]", "vary is"),
        ("vary=[data]", "vary"),
        ("steps=1", "steps is 1"),
        ("prompt=0", "prompt is 0"),
        ("corpus.held_out=1", "corpus.held_out is 1"),
        ("corpus.planted_copies=[1]", "give numbers of 2 or more"),
        ("corpus.threshold=0", "corpus.threshold is 0"),
        ("sedes=[1]", "did you mean 'seeds'"),
        ("doubled=[standart]", "doubled"),
    ],
)
def test_settings_that_mean_nothing_are_refused(override: str, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        experiment_plan.load("pythia_mini", [override])


def test_unknown_experiment_names_the_known_ones() -> None:
    with pytest.raises(CatalogError, match="no experiment 'pythia'; there are: pythia_mini"):
        experiment_plan.load("pythia")


def test_without_torch_nothing_is_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SetupError, match=r"not installed: torch.*redpajama-pipe\[train\]"):
        experiment.run(experiment_plan.load("pythia_mini"), str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_trials_pair_the_arms_seed_by_seed() -> None:
    found = experiment_plan.trials(experiment_plan.load("pythia_mini", ["seeds=[1, 2]"]))
    assert [trial.folder for trial in found] == [
        "standard_seed1", "deduped_seed1", "standard_seed2", "deduped_seed2",
        "standard_doubled_seed1", "standard_doubled_seed2",
    ]  # fmt: skip
    # twice the batch of the very same order
    assert [trial.order for trial in found] == [
        *(trial.folder for trial in found[:4]),
        *("standard_seed1", "standard_seed2"),
    ]


def test_a_seed_varies_what_is_asked_for() -> None:
    both = experiment_plan.load("pythia_mini")
    assert both.vary == ("weights", "order")
    trial = Trial("deduped", True, 7)
    place = Path("out")
    assert experiment.run_of(both, place, trial) == place / "orders/deduped_seed7"
    assert "training.seed=7" in experiment.trial_overrides(trial, 4, 10, None, both.vary)
    weights, order = (experiment_plan.load("pythia_mini", [f"vary=[{name}]"]) for name in ("weights", "order"))
    assert experiment.run_of(weights, place, trial) == place / "deduped"
    assert "training.seed=7" in experiment.trial_overrides(trial, 4, 10, None, weights.vary)
    assert experiment.run_of(order, place, trial) == place / "orders/deduped_seed7"
    assert not any("seed" in each for each in experiment.trial_overrides(trial, 4, 10, None, order.vary))


@given(st.integers(1, 64), st.integers(2, 500), st.one_of(st.none(), st.integers(2, 600)))
def test_every_trial_has_the_same_token_budget(batch_size: int, available: int, steps: int | None) -> None:
    sequences = set()
    for doubled in (False, True):
        overrides = experiment.trial_overrides(Trial("standard", doubled, 1), batch_size, available, steps)
        values = dict(item.split("=") for item in overrides)
        assert values["training.decay_steps"] == values["training.steps"]
        sequences.add(int(values["training.batch_size"]) * int(values["training.steps"]))
    assert len(sequences) == 1
    assert sequences.pop() <= batch_size * min(available, steps or available)


def test_other_budgets_are_refused() -> None:
    assert experiment_measures.same_budget({"a": 10, "b": 10}) == 10
    with pytest.raises(InputError, match=r"same number of tokens \(a: 10, b: 1,020\)"):
        experiment_measures.same_budget({"a": 10, "b": 1020})


def test_standard_error_is_of_the_mean_with_n_minus_one() -> None:
    # 2, 4, 4, 6: variance 8/3, standard deviation 1.63299, divided by sqrt(4)
    found = experiment_measures.mean([2, 4, 4, 6])
    assert (found.mean, found.n) == (4, 4)
    assert found.error == pytest.approx(0.8164966)
    assert str(found) == "4.000 ± 0.816"
    assert experiment_measures.mean([5]) == Mean(5, None, 1)
    assert str(Mean(5, None, 1)) == "5.000"
    with pytest.raises(ValueError, match="no value"):
        experiment_measures.mean([])


def test_differences_are_taken_seed_by_seed() -> None:
    found = experiment_measures.difference({1: 1.0, 2: 2.0, 3: 9.0}, {2: 1.5, 1: 0.5})
    assert (found.mean, found.error, found.n) == (0.5, 0.0, 2)


def test_exposures_double_from_group_to_group() -> None:
    names = [experiment_measures.exposure_group(times) for times in (0, 1, 2, 3, 4, 5, 8, 9, 16, 17, 64, 65)]
    assert names == ["0", "1", "2", "3-4", "3-4", "5-8", "5-8", "9-16", "9-16", "17-32", "33-64", "65-128"]
    assert sorted({*names}, key=experiment_measures.group_order)[-2:] == ["33-64", "65-128"]


def test_tenths_of_training_count_each_step_once() -> None:
    parts = [experiment_measures.part_of(step, 200) for step in range(200)]
    assert [parts.count(name) for name in experiment_measures.PARTS] == [20, 20, 20]
    assert (parts[0], parts[19], parts[20]) == ("first tenth", "first tenth", None)
    assert (parts[89], parts[90], parts[109], parts[110]) == (None, "middle tenth", "middle tenth", None)
    assert (parts[179], parts[180], parts[199]) == (None, "last tenth", "last tenth")


def test_a_text_is_compared_with_itself_where_other_seeds_read_it_elsewhere() -> None:
    first, last = "first tenth", "last tenth"
    by_seed = {
        1: [probe(part=first, loss=5.0), probe(part=first, loss=2.0), probe(part=None, loss=9.0)],
        2: [probe(part=last, loss=3.0), probe(part=first, loss=1.0), probe(part=last, loss=4.0)],
        3: [probe(part=None, loss=4.0), probe(part=last, loss=7.0, once=False), probe(part=last, loss=6.0)],
    }
    found = experiment_measures.against_elsewhere(by_seed)
    assert found[1] == [5.0 - (3.0 + 4.0) / 2, None, None]  # nobody read the second one once and elsewhere
    assert found[2] == [
        3.0 - (5.0 + 4.0) / 2,
        None,
        4.0 - 9.0,
    ]  # seed 3 read the third late too
    assert found[3] == [None, None, 6.0 - 9.0]
    scored = [entry("standard", seed, 4.0) | {"probes": rows} for seed, rows in by_seed.items()]
    elsewhere = report.aggregate(scored, 0.8)["elsewhere"]["standard"]
    assert elsewhere[first] == {"mean": 1.5, "error": None, "n": 1}
    assert elsewhere[last]["mean"] == ((-1.5 - 5.0) / 2 - 3.0) / 2  # within a seed first


def test_probes_are_joined_to_every_document_that_begins_with_them() -> None:
    documents = np.array([[1, 2], [3, 4], [1, 2], [2, 1]])
    probes = np.array([[1, 2], [9, 9], [3, 4]], np.uint16)
    assert experiment_measures.match(probes, documents) == [[0, 2], [], [1]]
    with pytest.raises(ValueError, match="probes have 1 ids"):
        experiment_measures.match(probes[:, :1], documents)


def test_groups_are_averaged_within_a_seed_first() -> None:
    found = experiment_measures.over_seeds({1: {"0": [0.0, 1.0], "1": [1.0]}, 2: {"0": [1.0]}})
    assert found["0"][0].mean == 0.75  # of 0.5 and 1.0, not of three texts
    assert found["0"][1] == 1.5
    assert found["1"][0] == Mean(1.0, None, 1)


def test_long_texts_are_cut_at_line_ends() -> None:
    text = "aaaa\nbbbb\ncc\n" + "d" * 30 + "\nee"
    pieces = experiment_corpus.cut(text, 10)
    assert pieces == ["aaaa\nbbbb\n", "cc\n", "d" * 30 + "\n", "ee"]
    assert "".join(pieces) == text
    assert experiment_corpus.cut(text, 0) == [text]


def test_similarity_is_the_largest_jaccard_of_five_word_shingles() -> None:
    words = prose(1).split()
    changed = " ".join([*words[:-1], "other"])  # 36 shingles each, one of them differs: 35 / 37
    found = experiment_corpus.similarities(
        [prose(1), changed, prose(2), "too short", "also short"], [prose(3), prose(1), "too short"]
    )
    assert found.tolist() == [1.0, 35 / 37, 0.0, 1.0, 0.0]


def write_data(folder: Path, texts: list[str]) -> None:
    folder.mkdir(parents=True)
    lines = [
        json.dumps({"text": text, "meta": {"pile_set_name": "Odd" if at % 10 == 9 else "Even"}})
        for at, text in enumerate(texts)
    ]
    (folder / "a.jsonl").write_text("\n".join([*lines, "no json"]) + "\n", "utf-8")


SETTINGS = Corpus(
    exclude_subsets=("Odd",), held_out=0.3, planted_copies=(2, 5), planted_documents=2, planted_longest=1000
)


def test_corpus_is_split_planted_and_counted(tmp_path: Path) -> None:
    texts = [prose(at, 80) for at in range(100)] + [prose(0, 80)] * 40
    write_data(tmp_path / "data", texts)
    counts = experiment_corpus.write(str(tmp_path / "data"), "meta.pile_set_name", SETTINGS, tmp_path / "corpus")
    rows = [json.loads(line) for line in (tmp_path / "corpus/train/corpus.jsonl").read_text("utf-8").splitlines()]
    held_out = experiment_corpus.read_held_out(tmp_path / "corpus")
    assert counts["read"] == 126 == len(held_out) + len(rows) - counts["planted_copies"]
    assert (counts["planted_texts"], counts["planted_copies"]) == (4, 2 * 1 + 2 * 4)
    often = [row["text"] for row in rows]
    assert sorted(often.count(text) for text in set(often) if text != prose(0, 80))[-5:] == [1, 2, 2, 5, 5]
    assert all(row["meta"]["pile_set_name"] == "Even" for row in rows)
    dirty = [text.text for text in held_out if text.similarity >= 0.8]
    assert dirty
    assert set(dirty) == {prose(0, 80)}
    assert counts["contaminated"] == len(dirty)
    # again: the same bytes, and what is up to date stays
    before = (tmp_path / "corpus/train/corpus.jsonl").stat().st_mtime_ns
    assert (
        experiment_corpus.write(str(tmp_path / "data"), "meta.pile_set_name", SETTINGS, tmp_path / "corpus") == counts
    )
    assert (tmp_path / "corpus/train/corpus.jsonl").stat().st_mtime_ns == before


def test_corpus_without_lines_or_with_too_few_texts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no \.jsonl.*give data=FOLDER"):
        experiment_corpus.write(str(tmp_path), "", SETTINGS, tmp_path / "corpus")
    write_data(tmp_path / "data", [prose(at, 4) for at in range(40)])
    with pytest.raises(InputError, match="4 texts are to be planted, but 0 have 333 to 1000 characters"):
        experiment_corpus.write(str(tmp_path / "data"), "", SETTINGS, tmp_path / "corpus")


def test_probes_that_repeat_come_first_and_held_out_ones_get_a_third_of_the_rest() -> None:
    held_out = np.array([False] * 50 + [True] * 50)
    repeated = np.array([False] * 40 + [True] * 10 + [False] * 50)
    chosen = experiment_measures.choose_probes(held_out, repeated, 40)
    assert len(chosen) == 40 == len(set(chosen.tolist()))
    assert set(range(40, 50)) <= set(chosen.tolist())
    assert held_out[chosen].sum() == 10
    assert experiment_measures.choose_probes(held_out, repeated, 1000).tolist() == list(range(100))


def probe(**changes: object) -> dict[str, object]:
    row = {"held_out": False, "copies": 1, "exposure": 1, "part": None, "score": 0.5, "memorised": False, "loss": 2.0}
    return {"once": changes.get("exposure", 1) == 1} | row | changes


def entry(setting: str, seed: int, loss: float) -> dict[str, object]:
    rows = [
        probe(held_out=True, copies=0, exposure=0, score=0.1),
        probe(part="first tenth"),
        probe(part="last tenth", loss=1.0),
        probe(part="last tenth", loss=9.0, once=False),  # in two sequences
        probe(exposure=0),  # its model never read it, but perhaps a near-duplicate of it
        probe(copies=64, exposure=64 if setting == "standard" else 2, part="first tenth", score=1.0, memorised=True),
    ]
    return {
        "setting": setting, "arm": setting, "seed": seed, "probes": rows,
        "contaminated": [False, True], "nats": [loss * 10, 30.0], "predicted": [10, 30],
    }  # fmt: skip


def test_answers_are_aggregated_over_seeds() -> None:
    scored = [
        entry(name, seed, loss) for seed in (1, 2) for name, loss in (("standard", 4.0), ("deduped", 3.0 + seed / 2))
    ]
    found = report.aggregate(scored, 0.8)
    assert found["held_out"]["standard"]["decontaminated"] == {"mean": 4.0, "error": 0.0, "n": 2}
    assert found["held_out"]["standard"]["all"]["mean"] == (40 + 30) / 40  # each id weighs the same
    assert found["dedup_gain"]["decontaminated"] == {"mean": -0.25, "error": 0.25, "n": 2}
    assert list(found["by_exposure"]["standard"]) == ["0", "1", "33-64"]
    assert list(found["by_exposure"]["deduped"]) == ["0", "1", "2"]
    assert found["by_exposure"]["standard"]["0"]["texts"] == 1  # the held-out one alone
    assert list(found["by_copies"]["deduped"]) == ["0", "1", "33-64"]
    assert found["by_part"]["standard"]["first tenth"]["texts"] == 1  # what was read once alone
    assert found["by_part"]["standard"]["last tenth"]["loss"]["mean"] == 1.0


def test_results_are_written_as_json_markdown_and_svg(tmp_path: Path) -> None:
    results = {
        "title": "A title <b>",
        "settings": {"prompt": 32, "continuation": 32, "vary": ["weights"]},
        "machine": {"cores": 2, "gpu": None, "torch": "2"},
        "corpus": {"training": 9, "planted_copies": 1, "planted_texts": 1, "held_out": 2, "contaminated": 1},
        "tokens": 2048,
        "schedules": {"standard": {"steps": 8, "epochs": 1.0}, "deduped": {"steps": 8, "epochs": 1.25}},
        **report.aggregate([entry("standard", 1, 4.0), entry("deduped", 1, 3.5)], 0.8),
    }
    names = report.write(results, tmp_path)
    assert sorted(names) == sorted(path.name for path in tmp_path.iterdir())
    assert json.loads((tmp_path / "results.json").read_text("utf-8")) == results
    text = (tmp_path / "results.md").read_text("utf-8")
    assert "| deduped | 8 | 1.25 |" in text
    assert "| standard | 1 | 1.750 | 4.000 |" in text
    assert "-0.500 on the decontaminated ones" in text
    assert "| standard | 33-64 | 1 | 1 | 1.000 | 1.000 | 2.000 |" in text
    assert "| standard | last tenth | 1 | 1 | 0.000 | 0.500 | 1.000 | – |" in text
    assert "1 seed of the initial weights; mean ± standard error" in text
    assert "and the order of the documents are the same for all, so it says nothing of others" in text
    assert "What cannot be concluded" in text
    assert "1 seed: the errors say next to nothing." in text
    for name in ("exposure.svg", "copies.svg", "order.svg"):
        assert f"({name})" in text
        root = ElementTree.fromstring((tmp_path / name).read_text("utf-8"))
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert len(root.findall("{*}polyline")) == 2
