"""Run a recipe: every stage in order; what is up to date is skipped, what was interrupted continues."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from redpajama_pipe import recipe as recipes
from redpajama_pipe import schema, storage
from redpajama_pipe.arguments import Job, run_job
from redpajama_pipe.recipe import Recipe
from redpajama_pipe.rules import ruleset
from redpajama_pipe.run_folder import RunFolder
from redpajama_pipe.signals.annotation import settings_of
from redpajama_pipe.sources.unit import documents_schema
from redpajama_pipe.stages import (
    annotate_documents,
    build_schedule,
    decontaminate_documents,
    dedup_documents,
    filter_documents,
    ingest_documents,
    pack_tokens,
    write_report,
)
from redpajama_pipe.summary import format_summary, write_summary

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def run(spark: Callable[[], SparkSession], recipe: Recipe, folder: RunFolder, *, quiet: bool = False) -> dict[str, Any]:
    """Run every stage and write recipe.yaml and summary.json.

    Args:
        spark: gives the session; called only when a stage has something to do.
        recipe: what to run.
        folder: where.
        quiet: no progress lines.

    Returns:
        The summary, see summary.build_summary.
    """
    check_settings(recipe)
    check_files(recipe, folder)
    spark = _checked(spark, recipe)
    storage.write_bytes(folder.recipe, recipes.to_yaml(recipe).encode("utf-8"))
    annotated_documents(spark, recipe, folder, quiet=quiet)
    filter_documents.run(spark, recipe, folder, quiet=quiet)
    dedup_documents.run(spark, recipe, folder, quiet=quiet)
    decontaminate_documents.run(spark, recipe, folder, quiet=quiet)
    pack_tokens.run(spark, recipe, folder, quiet=quiet)
    build_schedule.run(recipe, folder, quiet=quiet)
    write_report.run(spark, recipe, folder, quiet=quiet)
    return write_summary(recipe, folder)


def check_settings(recipe: Recipe) -> None:
    """Look at settings whose meaning only a later stage knows.

    Raises:
        RecipeError: one of the signature, or of the schedule, has none.
    """
    from redpajama_pipe.dedup.minhash import MinHashSpec

    MinHashSpec.of(recipe.annotate.minhash)
    build_schedule.check_settings(recipe.schedule)


def check_files(recipe: Recipe, folder: RunFolder) -> None:
    """Look for the files of later stages now, not after hours of ingest: evaluation sets, indexes, the tokenizer's.

    Raises:
        InputError: an evaluation set is missing.
        ManifestError: an index that `dedup.against` names is missing or unfinished.
        RecipeError: an index cannot be compared with.
        SetupError: the tokenizer's file is missing or not the published one.
    """
    from redpajama_pipe.decontamination.evaluation_sets import files_of
    from redpajama_pipe.dedup.index import open_indexes
    from redpajama_pipe.tokens.spec import find_file, load_spec

    for chosen in recipe.decontaminate.sets:
        files_of(chosen)
    open_indexes(recipe, folder)
    spec = load_spec(recipe.tokenize.tokenizer)
    if not spec.trained:
        find_file(spec, recipe.tokenize.path)


def _checked(spark: Callable[[], SparkSession], recipe: Recipe) -> Callable[[], SparkSession]:
    """Check the recipe's SQL as soon as some stage asks for the session."""

    @cache
    def session() -> SparkSession:
        found = spark()
        check_expressions(found, recipe)
        return found

    return session


def check_expressions(spark: SparkSession, recipe: Recipe) -> None:
    """Check the SQL of rules, cuts and keep order against the columns that documents will have, before any is read.

    Raises:
        RecipeError: one of them is not valid, or reads an unknown column.
    """
    from pyspark.sql.pandas.types import from_arrow_schema

    from redpajama_pipe.dedup import keep_order
    from redpajama_pipe.rules.compile import compile_cuts, compile_rules

    columns = documents_schema(settings_of(recipe))
    documents = spark.createDataFrame([], from_arrow_schema(columns)).drop(schema.TEXT)
    sets = [ruleset.load(name) for name in recipe.filter.rule_sets]
    compile_rules(sets, documents)
    compile_cuts(sets, documents)
    keep_order.check(dedup_documents.with_source_rank(documents, recipe), keep_order.parse(recipe.dedup.keep_order))


def annotated_documents(
    spark: Callable[[], SparkSession], recipe: Recipe, folder: RunFolder, *, quiet: bool = False
) -> None:
    """Write documents/ with the recipe's annotations; where only these are new, they are written beside the text."""
    if ingest_documents.only_annotations_differ(recipe, folder, quiet=quiet):
        annotate_documents.run(spark, recipe, folder, quiet=quiet)
        return
    ingest_documents.run(spark, recipe, folder, annotate=True, quiet=quiet)
    storage.remove(folder.annotations)  # those of other settings would be read before the documents' own


def work(job: Job) -> None:
    """Run every stage for a parsed command line and print what came of it."""
    began = time.monotonic()
    job.own()
    summary = run(job.spark, job.recipe, job.folder, quiet=job.quiet)
    print(format_summary(summary, job.folder, time.monotonic() - began))


def main(argv: Sequence[str] | None = None) -> int:
    """Run every stage from a command line."""
    return run_job(argv, __doc__, work, replaces=True)
