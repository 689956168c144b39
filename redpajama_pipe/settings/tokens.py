"""The sections `tokenize` and `schedule`: from kept text to shards, and the order in which they are read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from redpajama_pipe.errors import RecipeError
from redpajama_pipe.settings.limits import NATURAL, SEED, SHARE, check_limits


@dataclass(frozen=True)
class Tokenize:
    """Kept text to token shards.

    Attributes:
        tokenizer: an entry of tokenize/, or a path ending in .yaml.
        path: where the tokenizer's file is; empty: look in the Hugging Face cache, then fetch it.
        append_eod: one end-of-document id after each document, as `--append-eod` of GPT-NeoX's preprocess_data.
        shard_bytes: a shard takes whole document parts until it holds this much text, in bytes of UTF-8.
        train_bytes: for a tokenizer trained by the recipe: how much kept text it is trained on.
        vocab_size: for a tokenizer trained by the recipe.
        special_tokens_in_text: a text that spells a special token: `as_special`, `as_text` or `error`; nothing: what
            the tokenizer's entry says, see tokens/spec.py.
    """

    tokenizer: str = "gpt_neox_20b"
    path: str = ""
    append_eod: bool = True
    shard_bytes: int = 2 << 30
    train_bytes: int = 64 << 20
    vocab_size: int = 32_000
    special_tokens_in_text: Literal["as_text", "as_special", "error"] | None = None

    def __post_init__(self) -> None:
        check_limits(self, "tokenize", shard_bytes=NATURAL, train_bytes=NATURAL, vocab_size=NATURAL)


@dataclass(frozen=True)
class Schedule:
    """The order in which training reads the shards.

    Attributes:
        seq_len: predicted tokens a sequence; each holds one id more.
        batch_size: sequences a step.
        epochs: one schedule is written for each number; 1.5 reads every document once and half of them twice
            (sequential_epochs), or as GPT-NeoX does with two jointly shuffled epochs cut short (joint_shuffle).
            1 and 1.5 where neither this nor `steps` is given.
        steps: instead of epochs: optimiser steps, for which as many epochs are shuffled as GPT-NeoX would.
        mode: `joint_shuffle` (GPT-NeoX, Pythia), `megatron` (Megatron-LM: the last epoch by itself when little of it is
            used) or `sequential_epochs` (the last epoch always by itself).
        packing: `concat` (GPT-NeoX: documents one after the other, cut where a sequence ends), `best_fit` (no document
            that fits is cut; padding) or `document` (one document a sequence; padding); see tokens/packing.py.
        separate_below: mode megatron: how much of the last epoch must be used for it to be shuffled with the others;
            0.8 in NVIDIA/Megatron-LM, 0.95 in bigscience-workshop/Megatron-DeepSpeed.
        split: weights of train, valid and test, such as `969,30,1`: the first documents are scheduled, the others
            held out. Empty: all are scheduled.
        blend: weights of sources or subsets, by name; each is shuffled by itself, and each turn reads the one that lags
            most behind its weight. Documents of others are left out. Empty: all documents as one.
        seed: Pythia's main runs used 1234.
    """

    seq_len: int = 2048
    batch_size: int = 1024
    epochs: tuple[float, ...] | None = None
    steps: int | None = None
    mode: Literal["joint_shuffle", "megatron", "sequential_epochs"] = "joint_shuffle"
    packing: Literal["concat", "best_fit", "document"] = "concat"
    separate_below: float = 0.8
    split: str = ""
    blend: Mapping[str, float] = field(default_factory=dict)
    seed: int = 1234

    def __post_init__(self) -> None:
        if self.steps is None and self.epochs is None:
            object.__setattr__(self, "epochs", (1.0, 1.5))
        if self.steps is not None and self.epochs:
            raise RecipeError("schedule: epochs and steps are both given; one of them says how long training is")
        if self.steps is None and not self.epochs:
            raise RecipeError("schedule.epochs is empty; give numbers above 0, such as [1, 1.5], or schedule.steps")
        for epochs in self.epochs or ():
            if not (epochs > 0 and math.isfinite(epochs)):
                raise RecipeError(f"schedule.epochs has {epochs:g}; give numbers above 0, such as [1, 1.5]")
        if self.steps is not None:
            check_limits(self, "schedule", steps=NATURAL)
        check_limits(self, "schedule", seq_len=NATURAL, batch_size=NATURAL, separate_below=SHARE, seed=SEED)
