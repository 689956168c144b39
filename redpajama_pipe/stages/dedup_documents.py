"""Dedup: decide which documents repeat one that stays, exactly and nearly, and say which one; cut repeated lines.

The kinds of duplicate are decided in order, each among what the ones before it left. A document whose twin turns out to
be a duplicate of a third, of a later kind, is shown with that third one: a receipt always names a document that stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from redpajama_pipe import decisions, manifest, schema, storage
from redpajama_pipe.arguments import Job, run_job
from redpajama_pipe.errors import GateError
from redpajama_pipe.manifest import Manifest
from redpajama_pipe.progress import Progress
from redpajama_pipe.recipe import Recipe
from redpajama_pipe.report.figures import plural
from redpajama_pipe.run_folder import RunFolder
from redpajama_pipe.settings.tree import to_tree
from redpajama_pipe.stages.filter_documents import (
    check_losses,
    count_cuts,
    count_decisions,
    read_annotated,
)
from redpajama_pipe.stages.pack_tokens import keep

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyspark.sql import DataFrame, SparkSession

    from redpajama_pipe.dedup.index import Index


@dataclass(frozen=True)
class Kind:
    """One way of being a duplicate.

    Attributes:
        rule: of its decisions.
        called: how the progress line counts them; empty for a kind that drops nothing.
        decide: from the annotations of the documents that are left, with source_rank, to decisions about them, each
            naming a document that stays as far as this kind is concerned.
    """

    rule: str
    called: str
    decide: Callable[[DataFrame], DataFrame]


def run(spark: Callable[[], SparkSession], recipe: Recipe, folder: RunFolder, *, quiet: bool = False) -> Manifest:
    """Write decisions/dedup/, with the counts of what was dropped for whom in _duplicates/.

    Returns:
        The manifest; counts as those of the filter stage.

    Raises:
        GateError: a source loses more than its limit, a bucket or a component is too large.
        RecipeError: dedup.keep_order does not fit the documents.
    """
    from redpajama_pipe.dedup import duplicate_counts, index

    where, annotated = folder.annotated()
    filtered = manifest.find(folder.decisions("filter"))
    against = index.open_indexes(recipe, folder)
    inputs = {"documents": annotated.hash, **({"filter": filtered.hash} if filtered else {})}
    inputs |= {f"index {place}": found.hash for place, found in enumerate(against)}
    section: dict[str, Any] = {**to_tree(recipe.dedup), "minhash": to_tree(recipe.annotate.minhash)}
    section["sources"] = [source.name for source in recipe.sources]
    del section["against"], section["write_index"]  # the indexes are inputs; writing one decides nothing
    target = folder.decisions("dedup")
    done = manifest.current(target, "dedup", inputs, section)
    if done:
        write_index(spark, recipe, folder, done, quiet=quiet)
        return done
    session = spark()
    storage.remove(target)
    storage.remove(folder.dedup_index)
    with Progress("dedup", session.sparkContext, quiet=quiet) as progress:
        documents = with_source_rank(read_annotated(session, where), recipe)
        left = keep(documents, decisions.read(session, [folder.decisions("filter")]) if filtered else None)
        total = sum(source["documents"] for source in annotated.counts["sources"].values())
        chosen = kinds(recipe, folder, against)
        with ExitStack() as held, _examples_shown(folder):
            files = decisions.write(decide(left, chosen, held), target, total)
        taken = decisions.read(session, [target])
        files += duplicate_counts.write(taken, target, total)
        counts = count_decisions(annotated, documents, taken)
        drops = [kind for kind in chosen if kind.called]
        dropped = [sum(rules.get(kind.rule, 0) for rules in counts["by_rule"].values()) for kind in drops]
        said = " and ".join(f"{count:,} {kind.called}" for count, kind in zip(dropped, drops, strict=True) if count)
        progress.note = f"{said or 'none'} of {plural(total, 'document')} dropped"
        if recipe.dedup.lines.mode != "none":
            counts["cuts"] = count_cuts(annotated, taken)
            spans = sum(cut["spans"] for rules in counts["cuts"].values() for cut in rules.values())
            progress.note += f", {plural(spans, 'span')} of repeated text cut"
        check_losses(counts, recipe.dedup.max_dropped_share, "dedup.max_dropped_share", recipe)
    made = manifest.write(target, "dedup", inputs, section, counts, files, progress.seconds)
    write_index(spark, recipe, folder, made, quiet=quiet)
    return made


@contextmanager
def _examples_shown(folder: RunFolder) -> Iterator[None]:
    """Show the documents that a limit names, with the beginning of their texts."""
    try:
        yield
    except GateError as error:
        from redpajama_pipe.report.clusters import excerpts

        shown = excerpts(folder, error.examples) if error.examples else ""
        raise GateError(f"{error}\n{shown}".rstrip(), error.examples) from None


def write_index(
    spark: Callable[[], SparkSession], recipe: Recipe, folder: RunFolder, decided: Manifest, *, quiet: bool = False
) -> None:
    """Write dedup_index/ where the recipe asks for it, unless it is that of these decisions already."""
    from redpajama_pipe.dedup import index

    inputs = {"decisions": decided.hash, **decided.inputs}
    if not recipe.dedup.write_index or index.current(recipe, folder, inputs):
        return
    session = spark()
    with Progress("dedup index", session.sparkContext, quiet=quiet) as progress:
        folders = [folder.decisions(stage) for stage in ("filter", "dedup") if manifest.find(folder.decisions(stage))]
        kept = keep(read_annotated(session, folder.annotated()[0]), decisions.read(session, folders))
        made = index.write(kept, recipe, folder, inputs, part_opener(folder))
        progress.note = f"{plural(made.counts['documents'], 'document')}, {made.counts['bytes']:,} bytes"


def kinds(recipe: Recipe, folder: RunFolder, against: Sequence[Index] = ()) -> list[Kind]:
    """Return the kinds of duplicate that the recipe asks for, in the order in which they are decided.

    Kinds of equality come before kinds of likeness: what is equal to a document is as like to a third as that one is.
    CCNet's lines come before all, as published, since they drop documents that others could be dropped for; other modes
    come after all, so that the copy of a line that is kept is in a document that stays.
    """
    from redpajama_pipe.dedup import component_decisions, exact, index_match, lines
    from redpajama_pipe.dedup.minhash import MinHashSpec
    from redpajama_pipe.dedup.near import near_duplicates

    settings, partitions = recipe.dedup, recipe.execution.partitions
    chosen = []
    of_lines = partial(
        lines.repeated_lines,
        open_part=part_opener(folder),
        lines=settings.lines,
        keep_order=settings.keep_order,
        num_partitions=partitions,
    )
    if settings.lines.mode == "ccnet":
        parts = [name for name, _, _ in folder.annotated()[1].counts["parts"]]
        groups = lines.file_groups(parts, settings.lines.group_files)
        chosen.append(Kind(lines.NOTHING_LEFT, "without a line left", partial(of_lines, groups=groups)))
    if "text" in settings.exact_keys and against:
        decide = partial(index_match.equal_to_index, indexes=against)
        chosen.append(Kind(index_match.EXACT_RULE, "equal to indexed ones", decide))
    for name in settings.exact_keys:
        equal = partial(exact.exact_duplicates, keep_order=settings.keep_order, key=name)
        chosen.append(Kind(exact.KEYS[name].rule, exact.KEYS[name].called, equal))
    if settings.near:
        spec, open_part = MinHashSpec.of(recipe.annotate.minhash), part_opener(folder)
        if against:
            decide = partial(
                index_match.like_index,
                indexes=against,
                open_part=open_part,
                spec=spec,
                dedup=settings,
                num_partitions=partitions,
            )
            chosen.append(Kind(component_decisions.RULE_OF_INDEX, "near-duplicates of indexed ones", decide))
        chosen.append(
            Kind(
                component_decisions.RULE,
                "near-duplicates",
                lambda left: near_duplicates(left, open_part, spec, settings, partitions),
            )
        )
    if settings.lines.mode in ("first", "c4"):
        chosen.append(Kind(lines.rule_of(settings.lines), "", of_lines))
    return chosen


def decide(left: DataFrame, chosen: Sequence[Kind], held: ExitStack) -> DataFrame:
    """Return the decisions about documents that are left after the filter.

    Args:
        left: their annotations, with source_rank.
        chosen: the kinds, in order.
        held: closed by the caller when the decisions are written; frees what Spark keeps of them until then.
    """
    taken: DataFrame | None = None
    for kind in chosen:
        found = kind.decide(left).persist()
        held.callback(found.unpersist)
        left = keep(left, found)
        taken = found if taken is None else naming_who_stays(taken, found).unionByName(found)
    if taken is None:
        return left.sparkSession.createDataFrame([], schema.spark_ddl(schema.DECISIONS))
    return taken


def naming_who_stays(earlier: DataFrame, later: DataFrame) -> DataFrame:
    """Let decisions name a document that stays, where the one that they name is dropped by a later kind.

    Equal texts have equal similarities, so the similarity of the later decision is exact for them too; for documents
    that are equal in something else there is none. The evidence is the later one's, with `equal_to`, or `through` where
    not the texts are equal, for the document that the earlier decision named, and what that said of the two.
    """
    from pyspark.sql import functions as F

    moved = decisions.counted(later).select(
        F.col(schema.DOC_ID).alias("equal"),
        F.col("kept_doc_id").alias("stays"),
        F.col("similarity").alias("later_similarity"),
        F.col("evidence").alias("later_evidence"),
    )
    # what repeats a document of an index names one that stays already
    here = F.get_json_object("evidence", "$.index").isNull()
    drops = F.col("action") == "drop"
    joined = earlier.join(moved, (earlier["kept_doc_id"] == moved["equal"]) & here & drops, "left")
    measures = ("jaccard", "containment", "estimate")  # null is left out
    said = ("normalized", "url", "digest")
    equal_texts = F.coalesce(F.col("similarity") == 1.0, F.lit(False))
    similarity = F.when(equal_texts, F.col("later_similarity"))
    evidence = F.to_json(
        F.struct(
            decisions.hexadecimal("stays").alias("kept"),
            F.when(equal_texts, decisions.hexadecimal("equal")).alias("equal_to"),
            F.when(~equal_texts, decisions.hexadecimal("equal")).alias("through"),
            *(
                F.when(F.get_json_object("later_evidence", f"$.{name}").isNotNull(), similarity).alias(name)
                for name in measures
            ),
            F.get_json_object("evidence", "$.bytes").cast("bigint").alias("bytes"),
            *(F.get_json_object("evidence", f"$.{name}").alias(name) for name in said),
            F.get_json_object("later_evidence", "$.index").alias("index"),
        )
    )
    redirected = {
        "evidence": F.when(F.col("stays").isNull(), F.col("evidence")).otherwise(evidence),
        "kept_doc_id": F.coalesce("stays", "kept_doc_id"),
        "similarity": F.when(F.col("stays").isNull(), F.col("similarity")).otherwise(similarity),
    }
    return joined.select(*(redirected.get(name, F.col(name)).alias(name) for name in schema.DECISIONS.names))


def with_source_rank(documents: DataFrame, recipe: Recipe) -> DataFrame:
    """Add `source_rank`: the position of a document's source in the recipe, from 0."""
    from pyspark.sql import functions as F

    names = F.array(*(F.lit(source.name) for source in recipe.sources))
    return documents.withColumn("source_rank", (F.array_position(names, F.col(schema.SOURCE)) - 1).cast("int"))


def part_opener(folder: RunFolder) -> Callable[[str], pq.ParquetFile]:
    """Return the function that opens a document part by its name, on any worker."""
    documents = folder.documents

    def open_part(part: str) -> pq.ParquetFile:
        return storage.open_parquet(storage.join(documents, f"{part}.parquet"))

    return open_part


def work(job: Job) -> None:
    """Do this stage for a parsed command line."""
    run(job.spark, job.recipe, job.folder, quiet=job.quiet)


def main(argv: Sequence[str] | None = None) -> int:
    """Run this stage from a command line."""
    return run_job(argv, __doc__, work)
