"""An experiment: two recipes over one corpus, models of equal token budgets, and what they know of it.

    corpus/ -> standard/ deduped/ (Spark) -> orders/ -> trainings/ (torch) -> scores/ -> results.json results.md *.svg

A seed draws a model's initial weights and the order in which it reads, as GPT-NeoX's one `seed` does. Every step leaves
what the next call of the same command finds and skips. conf/experiments/pythia_mini takes minutes on two cores.

Source of the questions: Biderman et al. 2023, Pythia (arXiv:2304.01373), sections 2.1 and 3; of what a seed is: van der
Wal et al. 2025, PolyPythias (arXiv:2503.09543).
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from redpajama_pipe import manifest, recipe, storage
from redpajama_pipe.errors import InputError
from redpajama_pipe.progress import Progress, human_seconds
from redpajama_pipe.run_folder import RunFolder
from redpajama_pipe.settings.tree import build, digest, to_tree
from redpajama_pipe.training import experiment_corpus as corpora
from redpajama_pipe.training import experiment_measures as measures
from redpajama_pipe.training import experiment_report, models
from redpajama_pipe.training.experiment_plan import ARMS, Arm, Experiment, Trial, Varied, trials

if TYPE_CHECKING:
    from redpajama_pipe.training.experiment_scores import Probes

_ROWS = 2  # of what a score holds: older ones are made again


def run(experiment: Experiment, output: str, master: str | None = None, *, quiet: bool = False) -> dict[str, Any]:
    """Do what is left of an experiment and write its results.

    Args:
        output: folder, on a local disk.
        master: of Spark.

    Returns:
        What results.json holds; see experiment_report.

    Raises:
        SetupError: torch or Java is missing; asked before anything is done.
        InputError: the corpus is too small, or the models' budgets differ.
        RecipeError: settings that do not fit each other, or other ones than those of a model that is here already.
    """
    models.require_torch()
    models.load(experiment.model, experiment.overrides)  # a mistake shows before the pipelines run
    folder = Path(storage.absolute(output))
    began = time.monotonic()
    data = experiment.data or _make_sample(folder, quiet)
    with Progress("corpus", quiet=quiet, doing="drawing documents") as progress:
        counts = corpora.write(data, experiment.subset_field, experiment.corpus, folder / "corpus")
        progress.note = ", ".join(f"{value:,} {name.replace('_', ' ')}" for name, value in counts.items())
    _run_pipelines(experiment, folder, master, quiet)
    _write_orders(experiment, folder, quiet)
    tokens = _train(experiment, folder, quiet)
    scored = _score_all(experiment, folder, quiet)
    results = {
        "title": experiment.title,
        "settings": to_tree(replace(experiment, data="")),
        "machine": _machine(experiment),
        "seconds": round(time.monotonic() - began, 1),
        "corpus": counts,
        "tokens": measures.same_budget(tokens),
        "schedules": {arm: _schedule(folder / arm) for arm in ARMS},
        **experiment_report.aggregate(scored, experiment.corpus.threshold),
    }
    names = experiment_report.write(results, folder)
    _say(f"-- {', '.join(names)} in {folder}  ({human_seconds(time.monotonic() - began)})", quiet)
    return results


def _make_sample(folder: Path, quiet: bool) -> str:
    from redpajama_pipe.sample.make import make_sample

    target = folder / "sample"
    if not (target / "expected.json").is_file():  # written last
        with Progress("sample", quiet=quiet, doing="writing") as progress:
            made = make_sample(target)
            progress.note = f"{made['JSON lines']:,} JSON lines"
    return str(target / "pile")


def _run_pipelines(experiment: Experiment, folder: Path, master: str | None, quiet: bool) -> None:
    """Run both recipes; Spark starts when the first of them has something to do, and ends before training."""
    from redpajama_pipe.driver import Driver
    from redpajama_pipe.stages import run_recipe

    conf = load_recipe(experiment, folder, "standard").execution.spark
    with Driver(f"redpajama-pipe {experiment.title}", master, conf) as driver:
        for arm in ARMS:
            _say(f"-- recipe of the arm {arm}", quiet)
            run_recipe.run(
                driver.spark, load_recipe(experiment, folder, arm), RunFolder.at(str(folder / arm)), quiet=quiet
            )


def load_recipe(experiment: Experiment, folder: Path, arm: Arm) -> recipe.Recipe:
    """Read the recipe of an arm: on the experiment's corpus, the deduplicated one with the standard's budget.

    The deduplicated arm takes as many steps as the standard one has, of as many sequences, and its tokenizer.
    """
    overrides = [f"vars.data={folder / 'corpus'}"]
    if arm == "deduped":
        schedule = _schedule(folder / "standard")
        settings = load_recipe(experiment, folder, "standard").schedule
        overrides += [
            f"schedule.steps={schedule['steps']}",
            "schedule.epochs=null",
            f"schedule.seq_len={settings.seq_len}",
            f"schedule.batch_size={settings.batch_size}",
        ]
        overrides += _same_tokenizer(folder)
    return recipe.load(getattr(experiment, arm), overrides)


def _same_tokenizer(folder: Path) -> list[str]:
    """Name the standard arm's tokenizer, as an entry of its own where its recipe trained it."""
    section = manifest.read(str(folder / "standard" / "tokens")).recipe
    if not section["spec"]["trained"]:
        return [f"tokenize.tokenizer={section['tokenizer']}"]
    spec, path = _tokenizer(folder)
    entry = folder / "tokenizer.yaml"
    tree = to_tree(spec)
    tree |= {
        "trained": False,
        "source": "trained by the arm standard",
        "vocab_size": _open_encoder(folder).vocab_size,
        "files": [{"sha256": storage.sha256(path), "size": storage.size(path), "source": "the arm standard"}],
    }
    storage.write_bytes(str(entry), json.dumps(tree, indent=1).encode())  # JSON is YAML
    return [f"tokenize.tokenizer={entry}", f"tokenize.path={path}"]


def _tokenizer(folder: Path) -> tuple[Any, str]:
    """Return the specification and the file of the standard arm's tokenizer."""
    from redpajama_pipe.tokens.spec import TokenizerSpec, find_file

    run_folder = RunFolder.at(str(folder / "standard"))
    section = manifest.read(run_folder.tokens).recipe
    spec = build(TokenizerSpec, section["spec"], "tokenizer of the arm standard")
    if spec.trained:
        return spec, str(Path(run_folder.tokens, f"tokenizer{spec.model_suffix}"))
    return spec, str(find_file(spec, recipe.load(run_folder.recipe).tokenize.path))


def _open_encoder(folder: Path) -> Any:
    from redpajama_pipe.tokens.encode import open_encoder

    return open_encoder(*_tokenizer(folder))


def _schedule(run: Path) -> dict[str, Any]:
    schedules = manifest.read(RunFolder.at(str(run)).schedule).counts["schedules"]
    if len(schedules) != 1:
        raise InputError(f"the recipe of {run} has {len(schedules)} schedules; an experiment takes one")
    return dict(schedules[0])


def run_of(experiment: Experiment, folder: Path, trial: Trial) -> Path:
    """Name the run that a trial reads: its arm's, or the one with the order of its seed."""
    return folder / "orders" / trial.order if "order" in experiment.vary else folder / trial.arm


def _write_orders(experiment: Experiment, folder: Path, quiet: bool) -> None:
    """Make a run of each arm and seed: the arm's folders by link, and a schedule that differs in its seed alone."""
    from redpajama_pipe.stages import build_schedule

    if "order" not in experiment.vary:
        return
    recipes = {arm: load_recipe(experiment, folder, arm) for arm in ARMS}
    todo = {trial.order: trial for trial in trials(experiment)}
    with Progress("orders", quiet=quiet) as progress:
        for trial in todo.values():
            place = run_of(experiment, folder, trial)
            place.mkdir(parents=True, exist_ok=True)
            for path in sorted((folder / trial.arm).iterdir()):
                link = place / path.name
                if path.is_dir() and path.name != "schedule" and not link.is_symlink():
                    link.symlink_to(Path("..", "..", trial.arm, path.name), target_is_directory=True)
            loaded = recipes[trial.arm]
            seeded = replace(loaded, schedule=replace(loaded.schedule, seed=trial.seed))
            build_schedule.run(seeded, RunFolder.at(str(place)), quiet=True)
        progress.note = f"{len(todo)} schedules: {len(ARMS)} arms, seeds {', '.join(map(str, experiment.seeds))}"


def trial_overrides(
    trial: Trial, batch_size: int, available: int, steps: int | None, vary: Sequence[Varied] = ("weights", "order")
) -> list[str]:
    """Say how a trial's training differs from its model's entry.

    Args:
        batch_size: sequences a step of the schedule.
        available: steps of the schedule; an odd last one is left out by all trials.
        steps: fewer; None: all.
        vary: what the seed decides.

    Returns:
        Overrides that give every trial batch_size * steps sequences.
    """
    whole = min(steps or available, available) // 2 * 2
    factor = 2 if trial.doubled else 1
    return [
        f"training.batch_size={factor * batch_size}",
        f"training.steps={whole // factor}",
        f"training.decay_steps={whole // factor}",
        *([f"training.seed={trial.seed}"] if "weights" in vary else []),
        "training.checkpoint_steps=[]",
        "training.checkpoint_every=0",
    ]


def _train(experiment: Experiment, folder: Path, quiet: bool) -> dict[str, int]:
    """Train what is not trained yet; returns the tokens of every trial."""
    import torch

    from redpajama_pipe.training import checkpoint
    from redpajama_pipe.training.loop import Settings, train

    tokens = {}
    todo = trials(experiment)
    with _threads(torch, experiment.threads):
        for number, trial in enumerate(todo, 1):
            read = run_of(experiment, folder, trial)
            schedule = _schedule(read)
            batch_size = schedule["samples"] // schedule["steps"]
            overrides = trial_overrides(trial, batch_size, schedule["steps"], experiment.steps, experiment.vary)
            settings = models.load(experiment.model, [*experiment.overrides, *overrides])
            place = str(folder / "trainings" / trial.folder)
            seq_len = schedule["tokens"] // schedule["samples"]
            found = checkpoint.latest(place)
            if found is None or found.step < (settings.training.steps or 0):
                _say(f"-- model {number} of {len(todo)}: {trial.setting}, seed {trial.seed}", quiet)
                train(Settings(str(read), place, settings, quiet=quiet))
                found = checkpoint.latest(place)
            assert found is not None
            tokens[trial.folder] = found.step * int(found.manifest.counts["batch_size"]) * seq_len
    return tokens


def _score_all(experiment: Experiment, folder: Path, quiet: bool) -> list[dict[str, Any]]:
    """Score what is not scored yet; returns one entry a trial."""
    import torch

    from redpajama_pipe.training import checkpoint

    probes, documents, contaminated = _questions(experiment, folder)
    found: list[dict[str, Any]] = []
    todo = trials(experiment)
    with (
        Progress("score", measure=lambda: (len(found), len(todo)), quiet=quiet, counted="models") as progress,
        _threads(torch, experiment.threads),
    ):
        for trial in todo:
            trained = checkpoint.latest(str(folder / "trainings" / trial.folder))
            assert trained is not None
            asked = digest(
                {
                    "rows": _ROWS,
                    "checkpoint": trained.manifest.hash,
                    "probes": storage_hash(probes.ids),
                    "documents": [storage_hash(ids) for ids in documents],
                    "contaminated": contaminated,
                }
            )
            path = folder / "scores" / f"{trial.folder}.json"
            if path.is_file() and (done := json.loads(path.read_text("utf-8")))["asked"] == asked:
                found.append(done)
                continue
            entry = {
                "asked": asked,
                "setting": trial.setting,
                "arm": trial.arm,
                "seed": trial.seed,
                "contaminated": contaminated,
                **_score(experiment, folder, trial, trained, probes, documents),
            }
            storage.write_bytes(str(path), json.dumps(entry).encode())
            found.append(entry)
        progress.note = f"{len(found)} models, {len(probes.ids):,} probes, {len(documents):,} held-out documents"
    return found


def _questions(experiment: Experiment, folder: Path) -> tuple[Probes, list[NDArray[np.int64]], list[bool]]:
    """Return the probes, and the held-out documents with which of them are contaminated."""
    from redpajama_pipe.tokens.reader import open_run
    from redpajama_pipe.training.experiment_scores import Probes, beginnings

    held_out = corpora.read_held_out(folder / "corpus")
    ids, offsets = _open_encoder(folder).encode_batch(pa.array([text.text for text in held_out], pa.large_string()))
    documents = [part.astype(np.int64) for part in np.split(ids, offsets[1:-1])]
    contaminated = [text.similarity >= experiment.corpus.threshold for text in held_out]
    clean = [
        each[: experiment.width]
        for each, dirty in zip(documents, contaminated, strict=True)
        if len(each) >= experiment.width and not dirty
    ]
    reader = open_run(folder / "standard")
    trained, _ = beginnings(reader, experiment.width)
    outside = np.array(clean, np.int64).reshape(-1, experiment.width)
    everything = np.concatenate([trained, outside])
    probes, first, often = np.unique(everything, axis=0, return_index=True, return_counts=True)
    order = np.argsort(first, kind="stable")
    probes, first, often = probes[order], first[order], often[order]
    chosen = measures.choose_probes(first >= len(trained), often > 1, experiment.probes)
    return Probes(probes[chosen], first[chosen] >= len(trained), experiment.prompt), documents, contaminated


def _score(
    experiment: Experiment,
    folder: Path,
    trial: Trial,
    trained: Any,
    probes: Probes,
    documents: Sequence[NDArray[np.int64]],
) -> dict[str, Any]:

    from redpajama_pipe.tokens.reader import open_run
    from redpajama_pipe.training import checkpoint
    from redpajama_pipe.training.experiment_scores import beginnings, document_losses, exposures, score

    reader = open_run(run_of(experiment, folder, trial))  # its own order: cursor() refuses a checkpoint of another
    turns = reader.cursor(trained.manifest.counts["loader"])
    model = checkpoint.open_model(trained).to("cuda" if _on_gpu(experiment) else "cpu").eval()
    corpus, _ = beginnings(open_run(folder / "standard"), probes.ids.shape[1])
    copies = [len(same) for same in measures.match(probes.ids, corpus)]
    times, only = exposures(reader, probes.ids, turns)
    shares, losses = score(model, probes)
    nats, counts = document_losses(model, documents, reader.seq_len)
    rows = [
        {
            "held_out": bool(probes.held_out[at]),
            "copies": copies[at],
            "exposure": times[at],
            "once": only[at] is not None,
            "part": None if (turn := only[at]) is None else measures.part_of(turn, turns),
            "score": float(shares[at]),
            "memorised": bool(shares[at] == 1.0),
            "loss": float(losses[at]),
        }
        for at in range(len(probes.ids))
    ]
    return {"probes": rows, "nats": nats.tolist(), "predicted": counts.tolist()}


def storage_hash(ids: NDArray[np.int64]) -> str:
    """Hash some ids."""
    import hashlib

    return hashlib.sha256(np.ascontiguousarray(ids).tobytes()).hexdigest()


@contextmanager
def _threads(torch: Any, count: int) -> Iterator[None]:
    """Set torch's threads: Spark's session leaves one to every library, and their number decides the last bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _on_gpu(experiment: Experiment) -> bool:
    import torch

    device = models.load(experiment.model, experiment.overrides).training.device
    return device != "cpu" and torch.cuda.is_available()


def _machine(experiment: Experiment) -> Mapping[str, Any]:
    import torch

    return {
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if _on_gpu(experiment) else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def _say(line: str, quiet: bool) -> None:
    if not quiet:
        print(line, file=sys.stderr)
