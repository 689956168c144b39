"""conf/models/*.yaml: shapes and settings of Pythia's models, built as transformers' GPTNeoXForCausalLM.

`load` needs no torch. `build` makes the model with GPT-NeoX's initial weights, on torch's meta device too, where it
costs no memory.

Source: EleutherAI/gpt-neox, megatron/model/init_functions.py (small_init, wang_init) and megatron/model/utils.py
(get_params_for_weight_decay_optimization).
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from redpajama_pipe import catalog
from redpajama_pipe.errors import CatalogError, SetupError
from redpajama_pipe.settings.tree import apply_override
from redpajama_pipe.settings.tree import build as build_dataclass
from redpajama_pipe.training.options import Training


@dataclass(frozen=True)
class Architecture:
    """The shape of a GPT-NeoX model: rotary positions, attention and MLP in parallel, untied embeddings.

    Attributes:
        layers, d_model, heads: of the transformer.
        d_ff: width of the MLP; null: 4 * d_model.
        vocab_size: rows of the embeddings: the tokenizer's vocabulary, padded to a multiple of 128 * model parallelism.
        max_positions: longest sequence.
        rotary_fraction: of each head's dimensions (Pythia: 0.25).
        rotary_base: (10,000).
        parallel_residual: attention and MLP read the same input; GPT-NeoX calls it gpt-j-residual (true).
        activation: of the MLP, as the published models' config.json names it (gelu).
        layer_norm_epsilon: (1e-5).
        init: `neox`: normal with variance 2 / (5 d_model), and standard deviation 2 / layers / sqrt(d_model) for what
            is added to the residual stream; `normal`: standard deviation 0.02, and 0.02 / sqrt(2 layers) for those.
    """

    layers: int
    d_model: int
    heads: int
    vocab_size: int
    d_ff: int | None = None
    max_positions: int = 2048
    rotary_fraction: float = 0.25
    rotary_base: int = 10_000
    parallel_residual: bool = True
    activation: str = "gelu"
    layer_norm_epsilon: float = 1e-5
    init: Literal["neox", "normal"] = "neox"


@dataclass(frozen=True)
class Published:
    """What the authors state of a model, and how they ran it.

    Attributes:
        parameters: all of them.
        non_embedding_parameters: without both embeddings.
        batch_size: sequences a step.
        seq_len: predicted tokens a sequence.
        steps: optimiser steps.
        gpus, micro_batch, accumulation, model_parallel, zero_stage: of their runs.
        precision: of their runs.
    """

    parameters: int
    non_embedding_parameters: int
    gpus: int
    micro_batch: int
    zero_stage: int
    accumulation: int = 1
    model_parallel: int = 1
    precision: str = "fp16"
    batch_size: int = 1024
    seq_len: int = 2048
    steps: int = 143_000


@dataclass(frozen=True)
class Model:
    """An entry of conf/models."""

    title: str
    source: str
    architecture: Architecture
    training: Training
    published: Published | None = None


def names() -> list[str]:
    """Name the entries of conf/models, sorted."""
    return [entry.removeprefix("models/") for entry in catalog.entries("conf") if entry.startswith("models/")]


def load(name: str, overrides: Sequence[str] = ()) -> Model:
    """Read an entry of conf/models or a file, with `key=value` overrides.

    Args:
        name: pythia_14m, tiny …, or a path ending in .yaml.
        overrides: dotted keys: `training.micro_batch=4`, `architecture.layers=2`. Values are YAML.

    Raises:
        CatalogError: no such model; the message lists the ones there are.
        RecipeError: an unknown key, or a value of the wrong type or out of range.
    """
    known = names()
    if name not in known and not name.endswith((".yaml", ".yml")):
        raise CatalogError(f"no model {name!r}; there are: {', '.join(known)}")
    entry = catalog.load("conf", f"models/{name}" if name in known else name)
    tree = json.loads(json.dumps(entry))  # a deep copy of plain values
    for override in overrides:
        apply_override(tree, override)
    model = build_dataclass(Model, tree, name)
    model.training.check(name)
    return model


def require_torch() -> None:
    """Say in one line what is missing.

    Raises:
        SetupError: torch or transformers is not installed.
    """
    from importlib.util import find_spec

    missing = [name for name in ("torch", "transformers", "safetensors") if find_spec(name) is None]
    if missing:
        raise SetupError(f"not installed: {', '.join(missing)}; pip install 'redpajama-pipe[train]'")


def config_of(architecture: Architecture) -> Any:
    """Return the transformers.GPTNeoXConfig of a shape."""
    from transformers import GPTNeoXConfig

    return GPTNeoXConfig(
        vocab_size=architecture.vocab_size,
        hidden_size=architecture.d_model,
        num_hidden_layers=architecture.layers,
        num_attention_heads=architecture.heads,
        intermediate_size=architecture.d_ff or 4 * architecture.d_model,
        max_position_embeddings=architecture.max_positions,
        rotary_pct=architecture.rotary_fraction,
        rotary_emb_base=architecture.rotary_base,
        use_parallel_residual=architecture.parallel_residual,
        hidden_act=architecture.activation,
        layer_norm_eps=architecture.layer_norm_epsilon,
        tie_word_embeddings=False,
        bos_token_id=0,  # <|endoftext|>, as in the published config.json
        eos_token_id=0,
        attn_implementation=_causal_attention(),
    )


def _causal_attention() -> str:
    """Name an attention for which transformers makes no mask of its own: scaled_dot_product_attention, causal.

    Its own `sdpa` looks at the position ids of each forward pass for packed documents, for which a GPU's queue must run
    empty; and under torch.compile, where it cannot look, it makes a mask of all pairs, which no flash kernel takes. A
    mask that is given is used as it is.
    """
    from transformers import AttentionInterface
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    AttentionInterface.register("causal_sdpa", sdpa_attention_forward)
    return "causal_sdpa"


def build(architecture: Architecture, seed: int | None = None) -> Any:
    """Build the model on torch's current default device.

    Args:
        seed: of the initial weights, which are then the same in every process; None: transformers' own, for weights
            that are loaded later or for the meta device.

    Returns:
        A transformers.GPTNeoXForCausalLM with weights in float32.
    """
    import torch
    from transformers import GPTNeoXForCausalLM

    model = GPTNeoXForCausalLM(config_of(architecture))
    if seed is None:
        return model
    small, output = init_deviations(architecture)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, module in model.named_modules():
            if isinstance(module, torch.nn.Linear | torch.nn.Embedding):
                # what writes to the residual stream: attention's and the MLP's last layer
                deviation = output if name.endswith((".dense", ".dense_4h_to_h")) else small
                module.weight.normal_(0.0, deviation, generator=generator)
                if getattr(module, "bias", None) is not None:
                    module.bias.zero_()
    return model


def init_deviations(architecture: Architecture) -> tuple[float, float]:
    """Return the standard deviations of the initial weights: of most, and of what writes to the residual stream."""
    if architecture.init == "normal":
        return 0.02, 0.02 / math.sqrt(2 * architecture.layers)
    return math.sqrt(2 / (5 * architecture.d_model)), 2 / architecture.layers / math.sqrt(architecture.d_model)


def decay_groups(model: Any, weight_decay: float) -> list[dict[str, Any]]:
    """Divide parameters as GPT-NeoX does: no decay on biases and layer norms."""
    from torch.nn import LayerNorm

    decay: list[Any] = []
    plain: list[Any] = []
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            (plain if name == "bias" or isinstance(module, LayerNorm) else decay).append(parameter)
    return [{"params": decay, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]


def count_parameters(model: Any) -> tuple[int, int]:
    """Return how many parameters a model has, and how many without both embeddings."""
    total = sum(parameter.numel() for parameter in model.parameters())
    embeddings = (model.get_input_embeddings(), model.get_output_embeddings())
    return total, total - sum(embedding.weight.numel() for embedding in embeddings)


def flops_per_token(architecture: Architecture, seq_len: int) -> float:
    """Return the floating-point operations of one trained token: 6 N + 12 layers * d_model * seq_len.

    N are the parameters that multiply: all but the input embedding, which is looked up. The second part is attention's
    scores and weighted sums, forward and backward, without regard to the causal mask. Recomputed activations do not
    count. So this is model FLOPs utilisation of Chowdhery et al. 2022 (PaLM), appendix B.
    """
    d, width, layers = architecture.d_model, architecture.d_ff or 4 * architecture.d_model, architecture.layers
    layer = 4 * d * d + 4 * d + 2 * d * width + width + d + 4 * d  # attention, MLP, two layer norms; biases too
    multiplying = layers * layer + 2 * d + d * architecture.vocab_size
    return 6.0 * multiplying + 12.0 * layers * d * seq_len
