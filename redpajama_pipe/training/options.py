"""How to train: the group `training` of an entry of conf/models, as frozen dataclasses.

The defaults are what all of Pythia's sizes share; what differs stands in each entry.

Source: EleutherAI/pythia, models/*/pythia-*.yml and README.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from redpajama_pipe.errors import RecipeError
from redpajama_pipe.training.learning_rate import Schedule

Attention = Literal["sequence", "document"]

# Steps of Pythia's checkpoints before the regular ones: `extra-save-iters`.
FIRST_STEPS = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


@dataclass(frozen=True)
class Validation:
    """Loss on documents that are not trained on.

    Attributes:
        documents: `unread`: those of the run that no turn of its schedule reads, such as schedule.split leaves out; or
            the folder of another run, refused when one of its documents is in the training run too; empty: no
            validation.
        epochs: which of the other run's schedules; null where there is one only.
        sequences: how many are read, from the first; rounded down to whole micro-steps.
        every: steps between two; the last step has one too.
    """

    documents: str = ""
    epochs: float | None = None
    sequences: int = 256
    every: int = 1000


@dataclass(frozen=True)
class Training:
    """How a model is trained.

    Attributes:
        learning_rate: peak; Pythia's of each size.
        min_learning_rate: Pythia: a tenth of the peak.
        schedule: `neox_v1.0` (Pythia) or `neox_head`; see `learning_rate`.
        warmup: share of the decay steps (Pythia: 0.01).
        decay_steps: steps of the learning rate's schedule; null: all steps of the run's schedule.
        betas, epsilon: Adam's (0.9, 0.95, 1e-8).
        weight_decay: decoupled, on all but biases and layer norms (0.1).
        clip: largest norm of the gradient over all parameters (1.0); 0: none.
        batch_size: sequences a step; null: the run's schedule's.
        steps: stop after so many, without a change of the learning rate's schedule; null: the run's schedule's.
        seed: of the initial weights (1234).
        attention: `sequence`: an id sees all that stands before it in its sequence, other documents too (Pythia);
            `document`: its own document alone, with positions from 0, and a document's first id is not predicted.
        precision: `bf16` under autocast with weights in fp32, `fp32`, or `auto`: bf16 on a GPU that has it.
        micro_batch: sequences a rank and forward pass; the gradients of a batch are summed up over several.
        compile: torch.compile the layers and the loss.
        activation_checkpointing: compute activations again in the backward pass, to save memory.
        strategy: `ddp` copies the model to each rank, `fsdp` cuts up weights, gradients and optimiser.
        device: `cuda`, `cpu`, or `auto`: a GPU where there is one.
        workers: processes that read ahead; 0: none.
        checkpoint_steps: steps with a checkpoint; step 0 is the model as it begins.
        checkpoint_every: steps between the regular ones (1,000); 0: none. The last step always has one.
        peak_tflops: dense peak of a device for MFU, in TFLOP/s; null: known GPUs only.
        validation: see Validation.
    """

    learning_rate: float
    min_learning_rate: float
    schedule: Schedule = "neox_v1.0"
    warmup: float = 0.01
    decay_steps: int | None = None
    betas: tuple[float, ...] = (0.9, 0.95)
    epsilon: float = 1e-8
    weight_decay: float = 0.1
    clip: float = 1.0
    batch_size: int | None = None
    steps: int | None = None
    seed: int = 1234
    attention: Attention = "sequence"
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    micro_batch: int = 8
    compile: bool = False
    activation_checkpointing: bool = False
    strategy: Literal["ddp", "fsdp"] = "ddp"
    device: Literal["auto", "cuda", "cpu"] = "auto"
    workers: int = 2
    checkpoint_steps: tuple[int, ...] = FIRST_STEPS
    checkpoint_every: int = 1000
    peak_tflops: float | None = None
    validation: Validation = field(default_factory=Validation)

    def check(self, where: str) -> None:
        """Refuse numbers that mean nothing.

        Raises:
            RecipeError: one is out of range.
        """
        positive = ("learning_rate", "micro_batch", "batch_size", "steps", "decay_steps", "peak_tflops")
        for name in positive:
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise RecipeError(f"{where}: training.{name} is {value}; give a number above 0")
        for name in ("min_learning_rate", "weight_decay", "clip", "workers", "checkpoint_every", "epsilon"):
            if not getattr(self, name) >= 0:
                raise RecipeError(f"{where}: training.{name} is {getattr(self, name)}; give 0 or more")
        if not 0 <= self.warmup < 1:
            raise RecipeError(f"{where}: training.warmup is {self.warmup}; give a share of the steps, 0 to below 1")
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise RecipeError(f"{where}: training.betas is {list(self.betas)}; give two numbers from 0 to below 1")
        if self.validation.sequences < 1 or self.validation.every < 1:
            raise RecipeError(f"{where}: training.validation.sequences and .every must be 1 or more")

    def saves_at(self, step: int) -> bool:
        """Say whether a step has a checkpoint."""
        return step in self.checkpoint_steps or bool(
            self.checkpoint_every and step and step % self.checkpoint_every == 0
        )


# Keys of Training that decide what is learned: a checkpoint goes on with the same ones only.
LEARNED = (
    "learning_rate",
    "min_learning_rate",
    "schedule",
    "warmup",
    "decay_steps",
    "betas",
    "epsilon",
    "weight_decay",
    "clip",
    "batch_size",
    "seed",
    "attention",
)
