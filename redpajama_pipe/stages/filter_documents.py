"""Filter: evaluate every rule of the recipe's rule sets on the signals, and write a decision for each that fails.

The text is not read. Changing a threshold costs this stage and the ones after it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from redpajama_pipe import decisions, manifest, schema, storage
from redpajama_pipe.arguments import Job, run_job
from redpajama_pipe.errors import ReconcileError
from redpajama_pipe.gate import Loss, check_shares
from redpajama_pipe.manifest import Manifest
from redpajama_pipe.progress import Progress
from redpajama_pipe.recipe import Recipe
from redpajama_pipe.report.figures import plural
from redpajama_pipe.rules import ruleset
from redpajama_pipe.run_folder import RunFolder
from redpajama_pipe.settings.tree import digest, to_tree

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


def run(spark: Callable[[], SparkSession], recipe: Recipe, folder: RunFolder, *, quiet: bool = False) -> Manifest:
    """Write decisions/filter/.

    Returns:
        The manifest; its counts: documents and dropped for each source, by source the number of documents counted
        under each rule (`by_rule`) and of those that no other rule drops (`only`), and by source what is taken out of
        documents that stay (`cuts`: rule → documents, spans, bytes).

    Raises:
        RecipeError: a rule reads an unknown signal or is no valid SQL.
        GateError: a source loses a larger share of its documents than the recipe allows.
        ReconcileError: the documents read are not the documents that ingest wrote.
    """
    from redpajama_pipe.rules.compile import compile_cuts, compile_rules, decide, failures_of_rules

    where, annotated = folder.annotated()
    sets = [ruleset.load(name) for name in recipe.filter.rule_sets]
    inputs = {"documents": annotated.hash, "rules": digest([to_tree(rules) for rules in sets])}
    section = to_tree(recipe.filter)
    target = folder.decisions("filter")
    done = manifest.current(target, "filter", inputs, section)
    if done:
        return done
    session = spark()
    storage.remove(target)
    with Progress("filter", session.sparkContext, quiet=quiet) as progress:
        documents = read_annotated(session, where)
        rules = compile_rules(sets, documents)
        total = sum(source["documents"] for source in annotated.counts["sources"].values())
        decided = decide(documents, rules, compile_cuts(sets, documents))
        with failures_of_rules():
            files = decisions.write(decided, target, total)
        taken = decisions.read(session, [target])
        counts = count_decisions(annotated, documents, taken)
        counts |= {"only": count_only(annotated, taken), "cuts": count_cuts(annotated, taken)}
        dropped = sum(sum(rules.values()) for rules in counts["by_rule"].values())
        progress.note = f"{dropped:,} of {plural(total, 'document')} dropped by {plural(len(rules), 'rule')}"
        check_losses(counts, recipe.filter.max_dropped_share, "filter.max_dropped_share", recipe)
    return manifest.write(target, "filter", inputs, section, counts, files, progress.seconds)


def read_annotated(spark: SparkSession, folder: str) -> DataFrame:
    """Read the signals of a run without the text."""
    frame = spark.read.parquet(storage.for_spark(folder))
    return frame.drop(schema.TEXT)


def first_documents(documents: DataFrame, predicate: str, where: str, most: int) -> DataFrame:
    """Return part, row and doc_id of documents to train on: the first `most` by id, as ids are evenly spread.

    Args:
        documents: to choose from.
        predicate: SQL over their columns that is true of those wanted.
        where: the recipe's key of it, which errors begin with.
        most: documents.

    Raises:
        RecipeError: the predicate is none.
    """
    from redpajama_pipe.rules.compile import check_predicate

    check_predicate(documents, predicate, where)
    chosen = documents.where(predicate).select(schema.PART, schema.ROW, schema.DOC_ID)
    return chosen.orderBy(schema.DOC_ID).limit(most)


def count_decisions(annotated: Manifest, documents: DataFrame, taken: DataFrame) -> dict[str, Any]:
    """Count documents and drops by source and rule, and by language.

    Raises:
        ReconcileError: the number of documents in a source is not what ingest counted.
    """
    sizes = _counted(documents, schema.LANGUAGE, schema.SOURCE)
    read: dict[str, int] = {}
    languages: dict[str, dict[str, Any]] = {}
    for (language, source), count in sizes:
        read[source] = read.get(source, 0) + count
        languages.setdefault(language, {"documents": 0, "dropped": {}})["documents"] += count
    for name, ingested in annotated.counts["sources"].items():
        if read.get(name, 0) != ingested["documents"]:
            raise ReconcileError(
                f"source {name!r}: ingest wrote {ingested['documents']} documents, {read.get(name, 0)} were read"
            )
    by_rule: dict[str, dict[str, int]] = {name: {} for name in annotated.counts["sources"]}
    for (rule, language, source), count in _counted(decisions.counted(taken), "rule", schema.LANGUAGE, schema.SOURCE):
        for rules in (by_rule[source], languages[language]["dropped"]):
            rules[rule] = rules.get(rule, 0) + count
    return {"documents": {name: read.get(name, 0) for name in by_rule}, "by_rule": by_rule, "languages": languages}


def _counted(rows: DataFrame, *columns: str) -> list[tuple[tuple[str, ...], int]]:
    """Count rows by some columns in one pass, in ascending order of these; a null counts as an empty string."""
    counts = rows.groupBy(*columns).count().collect()
    return sorted((tuple(row[name] or "" for name in columns), row["count"]) for row in counts)


def count_only(annotated: Manifest, taken: DataFrame) -> dict[str, dict[str, int]]:
    """Count by source and rule the documents that one rule alone drops."""
    from pyspark.sql import functions as F

    only: dict[str, dict[str, int]] = {name: {} for name in annotated.counts["sources"]}
    alone = (
        taken.where("action = 'drop'")
        .groupBy(schema.SOURCE, schema.DOC_ID)
        .agg(F.count("*").alias("rules"), F.first("rule").alias("rule"))
        .where("rules = 1")
    )
    for row in alone.groupBy(schema.SOURCE, "rule").count().orderBy(schema.SOURCE, "rule").collect():
        only[row[schema.SOURCE]][row["rule"]] = row["count"]
    return only


def count_cuts(annotated: Manifest, taken: DataFrame) -> dict[str, dict[str, dict[str, int]]]:
    """Count by source and rule what is taken out of documents that stay: documents, spans, bytes.

    Cuts are counted as they stand in the table: one in a document that a later stage drops is among them.
    """
    from pyspark.sql import functions as F

    cuts: dict[str, dict[str, dict[str, int]]] = {name: {} for name in annotated.counts["sources"]}
    counted = (
        taken.where(decisions.CHANGES)
        .groupBy(schema.SOURCE, "rule")
        .agg(
            F.countDistinct(schema.DOC_ID).alias("documents"),
            F.count("*").alias("spans"),
            F.sum(F.col("span_end") - F.col("span_start")).alias("bytes"),
        )
    )
    for row in counted.orderBy(schema.SOURCE, "rule").collect():
        cuts[row[schema.SOURCE]][row["rule"]] = {key: row[key] for key in ("documents", "spans", "bytes")}
    return cuts


def check_losses(counts: Mapping[str, Any], limit: float, key: str, recipe: Recipe) -> None:
    """Stop when a source or a language of at least `recipe.gate_documents` documents loses more than its limit.

    Raises:
        GateError: with the shares, the limit, the rules that drop most, and the key of the recipe that raises it.
    """
    totals: dict[str, int] = {}
    for rules in counts["by_rule"].values():
        for rule, count in rules.items():
            totals[rule] = totals.get(rule, 0) + count
    most = sorted(totals.items(), key=lambda item: (-item[1], item[0]))[:3]
    hint = f"Most go by {', '.join(f'{rule} ({count:,})' for rule, count in most)}. " if most else ""
    sources = [
        Loss(name, documents, sum(counts["by_rule"][name].values())) for name, documents in counts["documents"].items()
    ]
    languages = [
        Loss(name, counted["documents"], sum(counted["dropped"].values()))
        for name, counted in counts["languages"].items()
    ]
    for group, losses in (("source", sources), ("language", languages)):
        large = [loss for loss in losses if loss.documents >= recipe.gate_documents]
        check_shares(large, limit, key=key, group=group, hint=hint)


def what_if(spark: Callable[[], SparkSession], folder: RunFolder, predicate: str) -> str:
    """Say what a predicate would drop of an annotated run, in a table; writes nothing.

    Raises:
        ManifestError: the run has no signals yet.
        RecipeError: the predicate is no valid SQL over the stored columns.
    """
    from redpajama_pipe.rules.compile import failures_of_rules
    from redpajama_pipe.rules.what_if import format_effects, what_if

    where, _ = folder.annotated()
    session = spark()
    taken = list(folder.decided())
    with failures_of_rules():
        effects = what_if(read_annotated(session, where), decisions.read(session, taken) if taken else None, predicate)
    return format_effects(effects, predicate)


def work(job: Job) -> None:
    """Do this stage for a parsed command line."""
    predicate = getattr(job.options, "what_if", None)  # jobs/ scripts have no such option
    if predicate:
        print(what_if(job.spark, job.folder, predicate))
        return
    run(job.spark, job.recipe, job.folder, quiet=job.quiet)


def main(argv: Sequence[str] | None = None) -> int:
    """Run this stage from a command line."""
    return run_job(argv, __doc__, work)
