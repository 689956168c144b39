"""Pretrain: a GPT-NeoX model on a run's shards, in the order of one of its schedules.

Needs the extra `train`, neither Spark nor Java. Under torchrun every rank runs it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from redpajama_pipe.arguments import Parser, guarded


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add RUN, --model, --epochs, --output, --set and --quiet."""
    parser.add_argument("run", metavar="RUN", help="the run's folder, on a local disk")
    parser.add_argument("--model", required=True, help="an entry of conf/models (pythia_14m, tiny) or a .yaml file")
    parser.add_argument("--epochs", type=float, help="which schedule, such as 1 or 1.5 (default: the only one)")
    parser.add_argument("--output", "-o", metavar="DIR", required=True, help="folder for checkpoints and metrics")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override a key of the model: training.micro_batch=4, training.steps=100, architecture.vocab_size=4096",
    )
    parser.add_argument("--quiet", "-q", action="store_true", help="no progress lines")


def work(options: argparse.Namespace) -> None:
    """Train as a parsed command line says."""
    from redpajama_pipe.training import models

    model = models.load(options.model, options.set)
    models.require_torch()
    from redpajama_pipe.training.loop import Settings, train

    train(Settings(options.run, options.output, model, options.epochs, options.quiet))


def main(argv: Sequence[str] | None = None) -> int:
    """Run this stage from a command line."""
    parser = Parser(description=__doc__)
    add_arguments(parser)
    options = parser.parse_args(argv)
    return guarded(lambda: work(options))
