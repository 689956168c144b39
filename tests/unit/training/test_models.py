"""conf/models: what loads without torch, and the published sizes on torch's meta device."""

import math
import subprocess
import sys
from dataclasses import replace

import pytest

from redpajama_pipe.errors import CatalogError, RecipeError
from redpajama_pipe.training import models

PYTHIA = [name for name in models.names() if name.startswith("pythia")]

# Non-embedding parameters as the table of the published model cards has them, and the layers, width, heads, peak rates.
CARDS = {
    "pythia_14m": (1_189_888, 6, 128, 4, 1e-3),
    "pythia_31m": (4_739_072, 6, 256, 8, 1e-3),
    "pythia_70m": (18_915_328, 6, 512, 8, 1e-3),
    "pythia_160m": (85_056_000, 12, 768, 12, 6e-4),
    "pythia_410m": (302_311_424, 24, 1024, 16, 3e-4),
    "pythia_1b": (805_736_448, 16, 2048, 8, 2.5e-4),
    "pythia_1.4b": (1_208_602_624, 24, 2048, 16, 2e-4),
    "pythia_2.8b": (2_517_652_480, 32, 2560, 32, 1.6e-4),
    "pythia_6.9b": (6_444_163_072, 32, 4096, 32, 1.2e-4),
    "pythia_12b": (11_327_027_200, 36, 5120, 40, 1.2e-4),
}


@pytest.mark.parametrize("name", PYTHIA)
def test_pythia_is_as_published(name: str) -> None:
    model = models.load(name)
    shape, training, published = model.architecture, model.training, model.published
    assert published is not None
    assert CARDS[name] == (
        published.non_embedding_parameters,
        shape.layers,
        shape.d_model,
        shape.heads,
        training.learning_rate,
    )
    assert training.min_learning_rate == pytest.approx(training.learning_rate / 10)
    assert (training.betas, training.epsilon, training.weight_decay, training.clip) == ((0.9, 0.95), 1e-8, 0.1, 1.0)
    assert (training.schedule, training.warmup, training.seed) == ("neox_v1.0", 0.01, 1234)
    assert (shape.rotary_fraction, shape.parallel_residual, shape.d_ff) == (0.25, True, 4 * shape.d_model)
    # padded as GPT-NeoX pads: to a multiple of 128 for each model-parallel rank
    assert shape.vocab_size == math.ceil(50_277 / (128 * published.model_parallel)) * 128 * published.model_parallel
    data_parallel = published.gpus // published.model_parallel
    assert data_parallel * published.micro_batch * published.accumulation == published.batch_size == 1024
    assert published.batch_size * published.seq_len * published.steps == 299_892_736_000
    steps = [step for step in range(published.steps + 1) if training.saves_at(step)]
    assert len(steps) == 154
    assert steps[:12] == [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000]


def test_every_published_size_is_here() -> None:
    assert set(PYTHIA) == set(CARDS)


def test_a_model_that_is_not_there_lists_those_that_are() -> None:
    with pytest.raises(CatalogError, match=r"^no model 'pythia_15m'; there are: pythia_1.4b, .*, tiny$"):
        models.load("pythia_15m")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.micro_batch=0", r"tiny: training.micro_batch is 0; give a number above 0"),
        ("training.warmup=1", r"tiny: training.warmup is 1.0; give a share"),
        ("training.betas=[0.9]", r"tiny: training.betas is \[0.9\]; give two numbers"),
        ("training.lr=1", r"tiny: training: unknown key 'lr'"),
        ("training.schedule=cosine", r"tiny: training: schedule: 'cosine' is not one of neox_v1.0, neox_head"),
        ("training.weight_decay=-1", r"tiny: training.weight_decay is -1.0; give 0 or more"),
        ("training.validation.every=0", r"tiny: training.validation.sequences and .every must be 1 or more"),
    ],
)
def test_wrong_settings_are_refused(override: str, message: str) -> None:
    with pytest.raises(RecipeError, match=f"^{message}"):
        models.load("tiny", [override])


def test_overrides_reach_both_groups() -> None:
    model = models.load("tiny", ["training.clip=0", "architecture.init=normal", "training.steps=7"])
    assert (model.training.clip, model.architecture.init, model.training.steps) == (0.0, "normal", 7)


def test_initial_deviations_are_the_published_ones() -> None:
    # issue 135 of EleutherAI/pythia computes the first pair for 6.9B, and measures the second on its step0
    shape = models.load("pythia_6.9b").architecture
    assert models.init_deviations(replace(shape, init="neox")) == pytest.approx((0.009882117688026186, 0.0009765625))
    assert models.init_deviations(shape) == (0.02, 0.0025)


CODE = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("pyspark", "py4j", *sys.argv[1:]):
            raise ImportError(f"{name} is refused")

sys.meta_path.insert(0, Refuse())
"""


def run_python(code: str, *refused: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", CODE + code, *refused],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "", "PYTHONPATH": ":".join(filter(None, sys.path))},  # no java to be found either
    )
    return done.stdout + done.stderr


def test_settings_load_without_torch_and_spark() -> None:
    code = "from redpajama_pipe.training import models\nprint(models.load('pythia_12b').architecture.vocab_size)"
    assert run_python(code, "torch", "transformers") == "50688\n"


@pytest.mark.parametrize("command", ["pretrain . --model tiny -o x", "memorisation . --checkpoint x -o y"])
def test_commands_say_in_one_line_that_torch_is_missing(command: str) -> None:
    code = (
        "import importlib.util as util\n"
        "find = util.find_spec\n"
        "util.find_spec = lambda name: None if name in ('torch', 'transformers', 'safetensors') else find(name)\n"
        f"from redpajama_pipe import cli\nprint(cli.main({command.split()!r}))"
    )
    told = run_python(code, "torch", "transformers").splitlines()
    assert sorted(told) == [
        "2",
        "redpajama-pipe: not installed: torch, transformers, safetensors; pip install 'redpajama-pipe[train]'",
    ]
