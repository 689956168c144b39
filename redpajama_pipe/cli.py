"""The command `redpajama-pipe`; its --help teaches."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from redpajama_pipe import __version__, arguments, catalog

_INTRO = """\
Raw text to training tokens on Spark: ingest, annotate, filter, deduplicate, tokenize, schedule.

A first run, which needs no network:
  redpajama-pipe make-sample sample          write a sample: web pages, 20 Wikipedias, Pile-style JSON
  redpajama-pipe run sample --output demo    all stages; then open demo/report.html
  redpajama-pipe explain demo DOC_ID         why one document was kept or dropped

Your own corpus: copy a recipe (redpajama-pipe catalog conf sample > my.yaml), edit it, and
  redpajama-pipe run my.yaml --output RUN --master 'local[8]' --set dedup.threshold=0.9
A run that was interrupted, or whose recipe changed, continues with the same command: what is up to date is skipped.
"""

# command → (module of stages/, one line)
_STAGES = {
    "run": ("run_recipe", "all stages of a recipe, then a summary"),
    "ingest": ("ingest_documents", "sources to documents; what cannot be read goes to quarantine"),
    "annotate": ("annotate_documents", "language, signals, hashes and MinHash signatures of stored documents"),
    "filter": ("filter_documents", "rule sets to decisions; the text is not read"),
    "dedup": ("dedup_documents", "exact and verified near-duplicates to decisions"),
    "tokenize": ("pack_tokens", "kept text to .bin/.idx shards and a token map"),
    "schedule": ("build_schedule", "the order in which training reads, for 1 and 1.5 epochs"),
    "report": ("write_report", "one HTML page about a run"),
}


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command."""
    parser = argparse.ArgumentParser(
        prog="redpajama-pipe", description=_INTRO, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"redpajama-pipe {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, (module, line) in _STAGES.items():
        stage = commands.add_parser(name, help=line, description=line)
        arguments.add_job_arguments(stage)
        stage.set_defaults(work=_stage(module))
    explain = commands.add_parser(
        "explain",
        help="the life of one document: source, signals against thresholds, decisions, twin",
        description="Print where a document came from, its signals against the thresholds, and each decision about it.",
    )
    explain.add_argument("run", metavar="RUN", help="the run's folder")
    explain.add_argument("doc_id", metavar="DOC_ID", help="32 hex digits, or the first ones of them; or a URL")
    explain.add_argument(
        "--color", action=argparse.BooleanOptionalAction, default=None, help="colours (default: on a terminal)"
    )
    explain.set_defaults(work=_explain)
    sample = commands.add_parser(
        "make-sample",
        help="write a sample corpus that needs no network",
        description="Write web pages, dumps in Wikipedia's format in 20 languages and Pile-style JSON.",
    )
    sample.add_argument("folder", metavar="FOLDER", help="where to write it")
    sample.set_defaults(work=_make_sample)
    listing = commands.add_parser(
        "catalog",
        help="list recipes, rule sets and tokenizers, or print one",
        description="List the entries of conf/, filters/ and tokenize/; with a kind and a name, print that file.",
    )
    listing.add_argument("kind", nargs="?", choices=catalog.KINDS, help="conf (recipes), filters or tokenize")
    listing.add_argument("name", nargs="?", help="an entry, to print it")
    listing.set_defaults(work=_catalog)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        The exit status: 0; 2 after a mistake or bad data, which is said in one line. A bug raises.
    """
    options = build_parser().parse_args(argv)
    return arguments.guarded(lambda: options.work(options))


def entry() -> None:
    """Console script."""
    sys.exit(main())


def _stage(module: str) -> Callable[[argparse.Namespace], None]:
    def work(options: argparse.Namespace) -> None:
        stage: Any = import_module(f"redpajama_pipe.stages.{module}")
        arguments.work_with(options, stage.work)

    return work


def _explain(options: argparse.Namespace) -> None:
    from redpajama_pipe.report.life import explain_document

    color = sys.stdout.isatty() if options.color is None else options.color
    print(explain_document(options.run, options.doc_id, color=color))


def _make_sample(options: argparse.Namespace) -> None:
    from redpajama_pipe.sample.make import make_sample

    for name, count in make_sample(Path(options.folder)).items():
        print(f"{count:>8,}  {name}")


def _catalog(options: argparse.Namespace) -> None:
    if options.name:
        print(catalog.read_text(options.kind, options.name), end="")
        return
    for kind in [options.kind] if options.kind else catalog.KINDS:
        for name in catalog.entries(kind):
            title = catalog.load(kind, name).get("title", "")
            print(f"{kind}/{name:<24} {title}".rstrip())


if __name__ == "__main__":
    entry()
