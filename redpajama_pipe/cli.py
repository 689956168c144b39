"""The command `redpajama-pipe`; its --help teaches."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from redpajama_pipe import __version__, arguments, catalog
from redpajama_pipe.errors import RecipeError
from redpajama_pipe.stages import export_documents, pretrain

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
    "decontaminate": ("decontaminate_documents", "documents with text of evaluation sets to decisions"),
    "tokenize": ("pack_tokens", "kept text to .bin/.idx shards and a token map"),
    "train-tokenizer": ("train_tokenizer", "a tokenizer from kept text, for other runs too, in RUN/tokenizer"),
    "schedule": ("build_schedule", "the order in which training reads, for each number of epochs"),
    "train-quality-classifier": ("train_quality_classifier", "a fastText classifier of a run's text, in RUN/quality"),
    "train-language-model": ("train_language_model", "a KenLM model of a run's documents, in RUN/perplexity"),
    "train-importance-bags": ("train_importance_bags", "bags of words of a run's documents, for importance weights"),
    "report": ("write_report", "one HTML page about a run"),
}

# command → what one types, without `redpajama-pipe`; each is shown by the command's --help
_EXAMPLES = {
    "run": ("run my.yaml --output RUN --master 'local[8]' --set dedup.threshold=0.9",),
    "ingest": ("ingest my.yaml --output RUN",),
    "annotate": ("annotate --output RUN --set annotate.minhash.bands=20",),
    "filter": (
        "filter --output RUN --set 'filter.rule_sets=[language, gopher, ./mine.yaml]'",
        "filter --output RUN --what-if 'word_count >= 100'",
    ),
    "dedup": ("dedup --output RUN --set dedup.threshold=0.9 --set dedup.write_index=true",),
    "decontaminate": (
        "decontaminate --output RUN --set 'decontaminate.sets=[{name: gsm8k, paths: [evals/gsm8k.jsonl]}]'",
    ),
    "tokenize": ("tokenize --output RUN --set tokenize.tokenizer=gpt_neox_20b --set tokenize.path=20B_tokenizer.json",),
    "train-tokenizer": ("train-tokenizer --output RUN --set tokenize.tokenizer=sample_bpe",),
    "schedule": ("schedule --output RUN --set 'schedule.epochs=[1, 1.5]' --set schedule.batch_size=1024",),
    "train-quality-classifier": (
        """train-quality-classifier --output RUN --set "quality.positive=source = 'wikipedia'\"""",
    ),
    "train-language-model": ("train-language-model --output RUN --set perplexity.language=de",),
    "train-importance-bags": (
        "train-importance-bags --output RUN "
        """--set "importance.domains={books: source = 'books', ccnet: source = 'crawl'}\"""",
    ),
    "report": ("report --output RUN",),
    "explain": ("explain RUN 3f2a", "explain RUN https://example.org/page"),
    "clusters": ("clusters RUN --top 3 --text",),
    "exposure": ("exposure RUN --by language", "exposure RUN --epochs 1.5 --write exposures.parquet"),
    "view": ("view RUN --step 1000 --row 0 --epochs 1.5",),
    "pretrain": ("pretrain RUN --model pythia_14m --epochs 1.5 --output OUT",),
    "memorisation": ("memorisation RUN --checkpoint OUT/checkpoints/step00001000 --output memorisation.parquet",),
    "experiment": ("experiment pythia_mini --output EXPERIMENT --set 'seeds=[1]'",),
    "export": ("export RUN corpus", "export RUN corpus --layout preshuffled --epochs 1"),
    "export-documents": ("export-documents RUN FOLDER --layout redpajama_v1",),
    "make-sample": ("make-sample sample",),
    "signals": ("signals word_count", "signals gopher"),
    "fetch-word-lists": ("fetch-word-lists",),
    "catalog": ("catalog filters", "catalog conf sample > my.yaml"),
}


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command."""
    parser = arguments.Parser(
        prog="redpajama-pipe", description=_INTRO, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"redpajama-pipe {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, (module, line) in _STAGES.items():
        stage = commands.add_parser(name, help=line, description=line)
        arguments.add_job_arguments(stage, replaces=name in ("run", "ingest"))
        if name == "ingest":
            stage.add_argument(
                "--sink",
                choices=("redpajama", "redpajama_v2"),
                help="write the documents to RUN/sink too: redpajama is the public envelope (text, meta) as JSON lines",
            )
        if name == "filter":
            stage.add_argument(
                "--what-if",
                metavar="SQL",
                help="write nothing: say what keeping only documents where SQL is true, such as 'word_count >= 100', "
                "would drop of an annotated run",
            )
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
    clusters = commands.add_parser(
        "clusters",
        help="the largest groups of duplicates: who stays, who goes for it, how alike they are",
        description="Show the documents that most others were dropped for, with the least similar of those.",
    )
    clusters.add_argument("run", metavar="RUN", help="the run's folder")
    clusters.add_argument("--top", type=int, default=10, metavar="N", help="how many groups (default: 10)")
    clusters.add_argument("--text", action="store_true", help="how the texts begin, not their first lines alone")
    clusters.set_defaults(work=_clusters)
    seen = commands.add_parser(
        "exposure",
        help="how often training sees each source, language or subset",
        description="Count, for each schedule of a run, how many documents are never seen, once, or more often.",
    )
    seen.add_argument("run", metavar="RUN", help="the run's folder")
    seen.add_argument("--epochs", type=float, help="one schedule (default: all of them)")
    seen.add_argument(
        "--by", choices=("source", "language", "subset"), default="source", help="group (default: source)"
    )
    seen.add_argument("--write", metavar="FILE", help="write one row a document as Parquet; needs --epochs")
    seen.set_defaults(work=_exposure)
    view = commands.add_parser(
        "view",
        help="what the model saw at a step: text, documents, sources, earlier exposures",
        description="Show the sequences of one training step, and which documents they come from.",
    )
    view.add_argument("run", metavar="RUN", help="the run's folder")
    view.add_argument("--step", type=int, required=True, help="optimiser step, from 0")
    view.add_argument("--row", type=int, help="one sequence of the batch, from 0 (default: all of them)")
    view.add_argument("--epochs", type=float, help="which schedule (default: the recipe's first)")
    view.set_defaults(work=_view)
    training = commands.add_parser(
        "pretrain",
        help="train a GPT-NeoX model on a run's shards; under torchrun on several devices",
        description="Train a GPT-NeoX model on a run's shards, in the order of one of its schedules.",
    )
    pretrain.add_arguments(training)
    training.set_defaults(work=pretrain.work)
    memory = commands.add_parser(
        "memorisation",
        help="what a checkpoint says by heart, against how often training had read it",
        description="Score sequences of a run: the share of 32 ids that greedy decoding gives back after 32 others.",
    )
    memory.add_argument("run", metavar="RUN", help="the run's folder, on a local disk")
    memory.add_argument("--checkpoint", metavar="DIR", required=True, help="a checkpoint, or pretrain's output folder")
    memory.add_argument("--output", "-o", metavar="FILE", required=True, help="one row a sequence, as Parquet")
    memory.add_argument(
        "--sequences", type=int, default=4096, help="how many, spread over the schedule; 0: all (default: 4096)"
    )
    memory.add_argument("--prompt", type=int, default=32, help="ids given (default: 32)")
    memory.add_argument("--continuation", type=int, default=32, help="ids asked for (default: 32)")
    memory.add_argument("--batch", type=int, default=64, help="sequences decoded together (default: 64)")
    memory.add_argument(
        "--device", choices=("auto", "cuda", "cpu"), default="auto", help="default: auto, a GPU where there is one"
    )
    memory.add_argument(
        "--dtype",
        choices=("float32", "bfloat16", "float16"),
        default="float32",
        help="of the weights (default: float32; the published evaluation: float16)",
    )
    memory.add_argument("--quiet", "-q", action="store_true", help="no progress lines")
    memory.set_defaults(work=_memorisation)
    compared = commands.add_parser(
        "experiment",
        help="train models on a corpus with and without its duplicates, and compare what they know",
        description="Run both recipes of an experiment, train its models, and write results.md; goes on where it was.",
    )
    compared.add_argument("name", metavar="NAME", help="a folder of conf/experiments (pythia_mini) or a .yaml file")
    compared.add_argument("--output", "-o", metavar="DIR", required=True, help="folder, on a local disk")
    compared.add_argument("--master", help="Spark master: local[4] (default: local[*])")
    compared.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override a key of the experiment: data=FOLDER, model=pythia_14m, seeds=[1,2,3], vary=[order]",
    )
    compared.add_argument("--quiet", "-q", action="store_true", help="no progress lines")
    compared.set_defaults(work=_experiment)
    export = commands.add_parser(
        "export",
        help="shards as one .bin/.idx pair, as datatrove's .ds, pre-shuffled as Pythia's, or for another trainer",
        description="Write a run's token shards in another layout.",
    )
    export.add_argument("run", metavar="RUN", help="the run's folder")
    export.add_argument("target", metavar="TARGET", help="prefix of the files to write, without .bin, .idx or .ds")
    export.add_argument(
        "--layout",
        choices=("merged", "ds", "preshuffled", "jsonl", "neox_head", "neox_v1.0", "megatron"),
        default="merged",
        help="merged: one pair, documents in the corpus's order; ds: datatrove; preshuffled: in training order; "
        "jsonl: each document's ids and meta, compressed by the name of TARGET; neox_head, neox_v1.0, megatron: a pair "
        "for each source of a schedule and what that trainer needs to read its order, settings included",
    )
    export.add_argument("--epochs", type=float, help="preshuffled and trainers: which schedule")
    export.set_defaults(work=_export)
    corpus = commands.add_parser(
        "export-documents",
        help="kept documents as JSON lines, as RedPajama v1 or v2 publish them",
        description="Write a run's documents, with drops, cuts and replacements applied, as files of JSON lines.",
    )
    export_documents.add_arguments(corpus)
    corpus.set_defaults(work=export_documents.work)
    sample = commands.add_parser(
        "make-sample",
        help="write a sample corpus that needs no network",
        description="Write web pages, dumps in Wikipedia's format in 20 languages and Pile-style JSON.",
    )
    sample.add_argument("folder", metavar="FOLDER", help="where to write it")
    sample.set_defaults(work=_make_sample)
    described = commands.add_parser(
        "signals",
        help="list every signal, or describe some: unit, range, definition, source, what null means",
        description="List the signals by family; with names, say exactly what they count.",
    )
    described.add_argument("names", nargs="*", metavar="NAME", help="a signal or a family")
    described.set_defaults(work=_signals)
    words = commands.add_parser(
        "fetch-word-lists",
        help="stop words and bad words, which RedPajama-V2's and C4's signals need",
        description="Fetch stopwords-json and naughty-words from npm's registry and check them.",
    )
    words.add_argument("folder", nargs="?", metavar="FOLDER", help="where to (default: where they are looked for)")
    words.set_defaults(work=_fetch_word_lists)
    listing = commands.add_parser(
        "catalog",
        help="list recipes, rule sets and tokenizers, or print one",
        description="List the entries of conf/, filters/ and tokenize/; with a kind and a name, print that file.",
    )
    listing.add_argument(
        "kind", metavar="KIND", nargs="?", choices=catalog.KINDS, help="conf (recipes), filters or tokenize"
    )
    listing.add_argument("name", metavar="NAME", nargs="?", help="an entry, to print it")
    listing.set_defaults(work=_catalog)
    for name, command in commands.choices.items():
        shown = "".join(f"\n  redpajama-pipe {line}" for line in _EXAMPLES[name])
        command.formatter_class, command.epilog = argparse.RawDescriptionHelpFormatter, f"for example:{shown}"
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        The exit status: 0; 2 after a mistake or bad data, which is said in one line. A bug raises.
    """
    parser = build_parser()
    if not (sys.argv[1:] if argv is None else argv):
        parser.print_help(sys.stderr)
        return 2
    options = parser.parse_args(argv)
    return arguments.guarded(lambda: _work(options))


def _work(options: argparse.Namespace) -> None:
    if "run" in options:  # of a command that reads a run; the stages make theirs
        arguments.check_run(options.run)
    options.work(options)


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


def _clusters(options: argparse.Namespace) -> None:
    from redpajama_pipe.report.clusters import clusters_text

    print(clusters_text(options.run, options.top, text=options.text), end="")


def _exposure(options: argparse.Namespace) -> None:
    from redpajama_pipe.tokens.exposures import exposure_text, write_exposures

    if options.write:
        if options.epochs is None:
            raise RecipeError("exposure --write: say which schedule with --epochs")
        file = write_exposures(options.run, options.write, options.epochs)
        print(f"{options.write}  {file.bytes:,} bytes")
        return
    print(exposure_text(options.run, options.epochs, options.by), end="")


def _view(options: argparse.Namespace) -> None:
    from redpajama_pipe.tokens.view import view_lines

    for line in view_lines(options.run, options.step, options.row, options.epochs):
        print(line)


def _memorisation(options: argparse.Namespace) -> None:
    from redpajama_pipe.training.models import require_torch

    require_torch()
    from redpajama_pipe.progress import Progress
    from redpajama_pipe.report import figures
    from redpajama_pipe.training import memorisation

    memorisation.check_output(options.output)
    sizes = (options.sequences, options.prompt, options.continuation, options.batch)
    state = 0, 0

    def told(done: int, total: int) -> None:
        nonlocal state
        state = (done, total) if done < total else (0, 0)
        if done == total:
            progress.doing = "looking up exposures and copies"

    with Progress(
        "score",
        measure=lambda: state,
        quiet=options.quiet,
        doing="opening the checkpoint",
        counted="sequences",
        rate=True,
    ) as progress:
        where = (options.device, options.dtype)
        found = memorisation.measure(options.run, options.checkpoint, *sizes, *where, told=told)
        progress.note = f"{figures.plural(len(found.rows), 'sequence')} with the checkpoint of step {found.step:,}"
    file = found.write(options.output)
    print(memorisation.render(found))
    print(f"{options.output}  {file.bytes:,} bytes")


def _experiment(options: argparse.Namespace) -> None:
    from redpajama_pipe.training import experiment, experiment_plan

    experiment.run(experiment_plan.load(options.name, options.set), options.output, options.master, quiet=options.quiet)
    print((Path(options.output) / "results.md").read_text("utf-8"), end="")


def _export(options: argparse.Namespace) -> None:
    from redpajama_pipe import manifest, storage
    from redpajama_pipe.run_folder import RunFolder
    from redpajama_pipe.tokens import export, feed
    from redpajama_pipe.tokens.indexed import ShardedDataset
    from redpajama_pipe.tokens.reader import open_run

    if not options.target.rpartition("/")[2].strip("."):
        raise RecipeError(
            f"export: TARGET {options.target!r} is a folder; give the files a name: {options.target.rstrip('/')}/corpus"
        )
    folder = RunFolder.at(options.run)
    tokens = manifest.read(folder.tokens)
    names = [storage.join(folder.tokens, shard["name"]) for shard in tokens.counts["shards"]]
    if options.layout == "merged":
        files = list(export.merge_shards(names, options.target))
    elif options.layout == "ds":
        files = export.write_ds(ShardedDataset(names), options.target, tokens.counts["tokenizer"]["name"])
    elif options.layout == "jsonl":
        shards = [shard["name"] for shard in tokens.counts["shards"]]
        files = [export.write_jsonl(folder.tokens, shards, options.target)]
    elif options.layout == "preshuffled":
        files = export.write_preshuffled(open_run(options.run, options.epochs), options.target)
    elif options.layout == "megatron":
        files = feed.write_megatron(open_run(options.run, options.epochs), options.target)
    else:
        files = feed.write_neox(open_run(options.run, options.epochs), options.target, options.layout)
    for file in files:
        print(f"{file.bytes:>14,} bytes  {file.sha256[:16]}  {file.path}")
    if options.layout in ("neox_head", "neox_v1.0", "megatron"):
        suffix = ".args" if options.layout == "megatron" else ".yml"
        print("\n" + storage.read_bytes(storage.absolute(options.target) + suffix).decode(), end="")


def _make_sample(options: argparse.Namespace) -> None:
    from redpajama_pipe.sample.make import make_sample

    for name, count in make_sample(Path(options.folder)).items():
        print(f"{count:>8,}  {name}")


def _signals(options: argparse.Namespace) -> None:
    from redpajama_pipe.signals.listing import describe_signals, list_signals

    print(describe_signals(options.names) if options.names else list_signals())


def _fetch_word_lists(options: argparse.Namespace) -> None:
    from redpajama_pipe.signals.resources import fetch_word_lists

    for folder in fetch_word_lists(Path(options.folder) if options.folder else None):
        print(folder)


def _catalog(options: argparse.Namespace) -> None:
    if options.name:
        print(catalog.read_text(options.kind, options.name), end="")
        return
    for kind in [options.kind] if options.kind else catalog.KINDS:
        names = catalog.entries(kind)
        width = max(len(name) for name in names)
        for name in names:
            title = catalog.load(kind, name).get("title", "")
            print(f"{kind}/{name:<{width}}  {title}".rstrip())


if __name__ == "__main__":
    entry()
