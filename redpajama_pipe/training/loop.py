"""The training loop: a run's sequences in schedule order into a GPT-NeoX model, resumed to the bit.

One step reads the next `batch_size` turns, each rank its slice of every micro-step, and makes one update, in which each
predicted id weighs the same. A checkpoint of step N has seen exactly turns 0 to N * batch_size - 1. The same command
goes on from the last checkpoint; on one CPU the losses are those of a run that was never interrupted, bit for bit.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from redpajama_pipe import storage
from redpajama_pipe.errors import InputError, PipelineError, RecipeError
from redpajama_pipe.report import figures
from redpajama_pipe.settings.tree import to_tree
from redpajama_pipe.tokens.loader import TokenLoader
from redpajama_pipe.tokens.reader import INPUT_IDS
from redpajama_pipe.training import checkpoint, metrics
from redpajama_pipe.training.checkpoint import Checkpoint
from redpajama_pipe.training.devices import (
    World,
    accumulating,
    autocast,
    clip_gradients,
    computes_in_bf16,
    distribute,
    less_memory,
    machine,
    open_world,
    peak_flops,
    scale_gradients,
    within_memory,
)
from redpajama_pipe.training.learning_rate import learning_rate
from redpajama_pipe.training.models import Model, build, config_of, count_parameters, decay_groups, flops_per_token
from redpajama_pipe.training.options import LEARNED
from redpajama_pipe.training.rows import open_rows
from redpajama_pipe.training.validation import HeldOut, count_labels, token_loss


@dataclass(frozen=True)
class Settings:
    """What to train.

    Attributes:
        run: folder of the run whose shards and schedule are read, on a local disk.
        output: folder for checkpoints, metrics and settings.yaml, on a local disk.
        model: what `models.load` gave.
        epochs: which schedule; None where the run has one only.
        quiet: say nothing.
    """

    run: str
    output: str
    model: Model
    epochs: float | None = None
    quiet: bool = False


@dataclass(frozen=True)
class Result:
    """How training ended.

    Attributes:
        step: updates done, those before a resume too.
        tokens: of all of them, padding counted.
        loss: of the last step, before its update; None: there was nothing to do.
        validation_loss: after it; None: there is no validation.
        checkpoint: folder of the last one.
        seconds: of this call.
        data_wait: share of the steps of this call that waited for the loader.
    """

    step: int
    tokens: int
    loss: float | None
    validation_loss: float | None
    checkpoint: str
    seconds: float
    data_wait: float


def train(settings: Settings) -> Result:
    """Train, or go on where the output folder's last checkpoint stands.

    Raises:
        InputError: the run is not there, or is not the one of the checkpoint; ids outside the vocabulary.
        ManifestError: tokenize or schedule did not finish.
        RecipeError: settings that cannot be, or other ones than the checkpoint's.
        SetupError: a GPU is asked for and there is none, or none with bf16.
        PipelineError: the loss is no number any more, or a GPU's memory is not enough.
    """
    if "://" in settings.output:
        raise RecipeError(f"--output {settings.output}: checkpoints are written to a local or mounted folder")
    training = settings.model.training
    with open_world(training.device) as world, within_memory(world.device, less_memory(training)):
        return _Run(settings, world).train()


def recompute_activations(model: Any) -> None:
    """Keep of each layer its input alone, and compute the rest again in the backward pass."""
    # transformers 5 renamed it on the way
    name = "activation_checkpointing_enable"
    getattr(model, name if hasattr(model, name) else "gradient_checkpointing_enable")({"use_reentrant": False})


def compile_layers(model: Any) -> None:
    """Compile a model's layers, which share what is compiled, before it is shared out.

    What moves gradients and weights between ranks stays outside. DistributedDataParallel takes a layer as it is: torch
    need not cut it up, which not every release can where activations are computed again (pytorch, issue 104674).
    """
    from torch._dynamo import config

    config.optimize_ddp = False
    for layer in model.gpt_neox.layers:
        layer.forward = torch.compile(layer.forward)


class _Run:
    """The state of one call of `train`."""

    def __init__(self, settings: Settings, world: World) -> None:
        self.world, self.settings = world, settings
        self.output = storage.absolute(settings.output)
        self.model_settings, self.training = settings.model, settings.model.training
        self.reader = open_rows(settings.run, settings.epochs, self.training.attention)
        self.batch_size = self.training.batch_size or self.reader.batch_size
        available = len(self.reader) // self.batch_size
        self.total = self.training.steps or available
        self.decay_steps = self.training.decay_steps or available
        self._check(available)
        self.tree = {
            "architecture": to_tree(settings.model.architecture),
            "training": to_tree(self.training) | {"batch_size": self.batch_size, "decay_steps": self.decay_steps},
        }
        torch.manual_seed(self.training.seed)
        saved = checkpoint.latest(self.output)
        self.micro_step = self.training.micro_batch * world.size
        self.loader = TokenLoader(
            self.reader, self.micro_step, world.rank, world.size, self.training.workers, pin_memory=world.is_gpu
        )
        self.step = 0
        if saved:
            self.loader.load_state_dict(saved.manifest.counts["loader"])  # refuses other shards, another schedule
            self._same(saved)
            self.step = saved.step
            self.model = checkpoint.open_model(saved, config=config_of(settings.model.architecture))
        else:
            self.model = build(settings.model.architecture, self.training.seed)
        if self.training.activation_checkpointing:
            recompute_activations(self.model)
        if self.training.compile:
            compile_layers(self.model)
        self.parameters = count_parameters(self.model)
        self.model.train()
        self.forward = distribute(self.model, self.training, world)
        self.optimiser = torch.optim.AdamW(
            decay_groups(self.model, self.training.weight_decay),
            lr=self.training.learning_rate,
            betas=(self.training.betas[0], self.training.betas[1]),
            eps=self.training.epsilon,
            fused=world.is_gpu,
        )
        if saved:
            checkpoint.load_optimiser(saved, self.model, self.optimiser, world)
        self.held_out = HeldOut(self.training, self.reader, world) if self.training.validation.documents else None
        self.saved = saved

    def _check(self, available: int) -> None:
        computes_in_bf16(self.training.precision, self.world)  # refuses a GPU that has none
        shape, micro = self.model_settings.architecture, self.training.micro_batch * self.world.size
        if self.reader.seq_len > shape.max_positions:
            raise RecipeError(
                f"sequences of {self.reader.seq_len} tokens, but architecture.max_positions is {shape.max_positions}"
            )
        if self.batch_size % micro:
            raise RecipeError(
                f"a batch of {self.batch_size} sequences does not divide into micro-steps of {micro} "
                f"({self.world.size} ranks × training.micro_batch {self.training.micro_batch}); "
                "set training.micro_batch or training.batch_size"
            )
        if not 0 < self.total <= available:
            raise RecipeError(
                f"{self.total:,} steps, but the schedule has {available:,} of {self.batch_size} sequences; "
                "lower training.steps or give more epochs"
            )

    def _same(self, saved: Checkpoint) -> None:
        """Refuse a checkpoint of other settings."""
        before = saved.manifest.recipe
        training = {"attention": "sequence", **before["training"]}  # what it was before it could be said
        pairs = [
            (f"architecture.{key}", before["architecture"].get(key), value)
            for key, value in self.tree["architecture"].items()
        ]
        pairs += [(f"training.{key}", training.get(key), self.tree["training"][key]) for key in LEARNED]
        changed = [f"{name} was {old}, is {new}" for name, old, new in pairs if old != new]
        if changed:
            raise RecipeError(f"{saved.folder} has other settings: {'; '.join(changed)}; use another --output")

    def train(self) -> Result:
        """Do the steps that are left."""
        world, began, first = self.world, time.monotonic(), self.step
        waited = busy = 0.0
        row: dict[str, Any] = {}
        main = world.rank == 0
        if main:
            self._describe()
        with ExitStack() as stack:
            log = stack.enter_context(metrics.Metrics(self.output, first)) if main else None
            quiet = self.settings.quiet or not main
            progress = metrics.TrainingProgress(first, self.total, quiet)
            stack.enter_context(progress)
            written = self.saved.folder if self.saved else ""
            if not self.saved and self.training.saves_at(0):
                written = self._save(None)
            for row in self._steps():
                waited += row["data_wait"] * row["seconds"]
                busy += row["seconds"]
                if self.held_out and (self.step % self.training.validation.every == 0 or self.step == self.total):
                    row["validation_loss"] = self.held_out.loss(self.model, self.forward)
                if log:
                    log.write(row)
                progress.show(row)
                if self.training.saves_at(self.step) or self.step == self.total:
                    written = self._save(row["loss"])
            tokens = self.step * self.batch_size * self.reader.seq_len
            progress.note = f"{figures.plural(self.step, 'step')}, {figures.compact(tokens)} tokens"
            if row:
                progress.note += f", loss {row['loss']:.4f}"
        return Result(
            self.step,
            tokens,
            row.get("loss"),
            row.get("validation_loss"),
            written,
            time.monotonic() - began,
            waited / max(busy, 1e-9),
        )

    def _steps(self) -> Iterator[dict[str, Any]]:
        """Yield what is known of each step, after its update."""
        training, world, shape = self.training, self.world, self.model_settings.architecture
        peak = peak_flops(training.peak_tflops, world)
        tokens = self.batch_size * self.reader.seq_len
        flops = flops_per_token(shape, self.reader.seq_len) * tokens
        warmup = training.warmup * self.decay_steps
        micro_steps = self.batch_size // self.micro_step
        batches = self._batches()
        while self.step < self.total:
            began, waited = time.perf_counter(), 0.0
            rate = learning_rate(
                self.step,
                training.learning_rate,
                training.min_learning_rate,
                warmup,
                self.decay_steps,
                training.schedule,
            )
            for group in self.optimiser.param_groups:
                group["lr"] = rate
            nats, predicted = torch.zeros((), dtype=torch.float64, device=world.device), 0
            for micro in range(micro_steps):
                asked = time.perf_counter()
                batch = next(batches)
                waited += time.perf_counter() - asked
                self._check_ids(batch[INPUT_IDS])
                predicted += count_labels(batch)
                batch = {name: values.to(world.device, non_blocking=True) for name, values in batch.items()}
                with accumulating(self.forward, micro == micro_steps - 1):
                    with autocast(training.precision, world):
                        loss = token_loss(self.forward, batch, training.compile)
                    (loss * (world.size / tokens)).backward()  # the ranks' mean is taken
                nats += loss.detach()
            whole, labels = world.sum(nats.item(), predicted)
            labels = int(labels)
            if not labels:
                raise PipelineError(
                    f"step {self.step + 1:,} has no id to predict: each of its documents has one; make the batch "
                    "larger, or leave such documents out"
                )
            if labels < tokens:  # padding: how much is known at the end only
                scale_gradients(self.model, tokens / labels)
            norm = clip_gradients(self.model, training.clip)
            loss_value = whole / labels
            if not math.isfinite(loss_value) or not math.isfinite(norm):
                raise PipelineError(
                    f"step {self.step + 1:,}: loss {loss_value}, norm of the gradient {norm}: training has diverged; "
                    "lower training.learning_rate, or go on from an earlier checkpoint"
                )
            self.optimiser.step()
            # DistributedDataParallel's are views of its buckets, which stay: others beside them are memory twice
            self.optimiser.zero_grad(set_to_none=self.forward is self.model)
            if world.is_gpu:
                torch.cuda.synchronize(world.device)  # the update is part of the step's time
            self.step += 1
            seconds = time.perf_counter() - began
            yield {
                "step": self.step,
                "loss": loss_value,
                "lr": rate,
                "grad_norm": norm,
                "labels": labels,
                "seconds": round(seconds, 6),
                "tokens_per_second": round(tokens / seconds, 1),
                "mfu": round(flops / seconds / (peak * world.size), 5) if peak else None,
                "data_wait": round(waited / seconds, 5),
                "memory_bytes": world.peak_memory(),
            }

    def _batches(self) -> Iterator[Any]:
        """Yield the batch of each micro-step."""
        random = torch.get_rng_state()
        for number, batch in enumerate(self.loader):
            if number == 0:
                torch.set_rng_state(random)  # starting a DataLoader draws a number; a resumed run would draw one more
            yield batch

    def _check_ids(self, ids: Any) -> None:
        size = self.model_settings.architecture.vocab_size
        largest = int(ids.max())
        if largest >= size:
            raise InputError(
                f"{self.reader.tokens} has the id {largest:,}, but the model's vocabulary is {size:,}; "
                "set architecture.vocab_size to the tokenizer's, padded to a multiple of 128"
            )

    def _save(self, loss: float | None) -> str:
        folder = checkpoint.folder_of(self.output, self.step)
        inputs = {"tokens": self.reader.tokens_hash, "schedule": self.reader.schedule_hash}
        counts = {
            "step": self.step,
            "loss": loss,
            "epochs": self.reader.epochs,
            "batch_size": self.batch_size,
            "ranks": self.world.size,
            "loader": self.reader.state(self.step * self.batch_size),
        }
        checkpoint.save(folder, self.model, self.optimiser, self.world, inputs, self.tree, counts)
        return folder

    def _describe(self) -> None:
        """Write settings.yaml, and say what will be done."""
        told = {"run": storage.absolute(self.settings.run), "epochs": self.reader.epochs, **self.tree}
        text = yaml.safe_dump(told, sort_keys=False)
        storage.write_bytes(str(Path(self.output, "settings.yaml")), text.encode())
        if self.settings.quiet:
            return
        whole, inner = self.parameters
        begin = f"goes on after step {self.step:,}" if self.step else "begins"
        print(
            f"{self.model_settings.title}: {whole:,} parameters, {inner:,} without embeddings\n"
            f"on {machine(self.world)}\n"
            f"{begin}: {self.total:,} steps of {self.batch_size} × {self.reader.seq_len:,} tokens, "
            f"{self.batch_size // self.micro_step} micro-steps each",
            file=sys.stderr,
        )
