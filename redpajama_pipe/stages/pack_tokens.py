"""Tokenize: kept documents to token shards (.bin/.idx) and a token map, with the decisions applied.

A shard takes whole document parts until it holds enough kept text, so which document is in which shard, and where,
depends on the corpus and the recipe alone. Tasks read the text of their parts themselves; Spark moves ids.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from redpajama_pipe import decisions, manifest, schema, storage
from redpajama_pipe.arguments import Job, run_job
from redpajama_pipe.errors import PipelineError, ReconcileError
from redpajama_pipe.manifest import Manifest
from redpajama_pipe.progress import Progress, human_bytes
from redpajama_pipe.recipe import Recipe
from redpajama_pipe.report.figures import plural
from redpajama_pipe.run_folder import RunFolder
from redpajama_pipe.settings.tree import to_tree
from redpajama_pipe.stages.filter_documents import read_annotated
from redpajama_pipe.storage import File
from redpajama_pipe.tokens.pack import PackSettings, packer, read_rows, shard_name
from redpajama_pipe.tokens.spec import find_file, load_spec
from redpajama_pipe.tokens.train import train_tokenizer

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


def run(spark: Callable[[], SparkSession], recipe: Recipe, folder: RunFolder, *, quiet: bool = False) -> Manifest:
    """Write tokens/.

    Returns:
        The manifest; its counts: `shards` in order (name, sequences, tokens, files), documents and tokens for each
        source and language (`groups`), documents left without tokens (`empty`), the tokenizer and its hash.

    Raises:
        ReconcileError: the documents packed are not documents in - dropped.
        SetupError: the tokenizer's file is missing or not the published one.
    """
    where, annotated = folder.annotated()
    taken = folder.decided()
    spec = load_spec(recipe.tokenize.tokenizer)
    if recipe.tokenize.special_tokens_in_text is not None:
        spec = replace(spec, special_tokens_in_text=recipe.tokenize.special_tokens_in_text)
    inputs = kept_inputs(annotated, taken.values())
    section: dict[str, Any] = {**to_tree(recipe.tokenize), "path": "", "spec": to_tree(spec)}
    model = ""
    if not spec.trained:
        model = str(find_file(spec, recipe.tokenize.path))
    done = manifest.current(folder.tokens, "tokenize", inputs, section)
    if done:
        return done
    session = spark()
    storage.remove(folder.tokens)
    written = _Written(folder.token_map)
    with Progress("tokenize", measure=written.measure, quiet=quiet) as progress:
        documents = read_annotated(session, where)
        kept = keep(documents, decisions.read(session, list(taken)) if taken else None)
        kept = kept.select(*_KEPT).cache()
        sizes = {row[schema.PART]: (row["documents"], row["bytes"]) for row in part_sizes(kept).collect()}
        total = sum(count for count, _ in sizes.values())
        _reconcile(annotated, list(taken.values()), total)
        if spec.trained:
            texts = training_texts(kept, recipe, folder, sum(size for _, size in sizes.values()))
            prefix = storage.join(folder.tokens, "tokenizer")
            model = train_tokenizer(spec, texts, prefix, recipe.tokenize.vocab_size)
        order = [name for name, _, _ in annotated.counts["parts"]]
        plan = plan_shards(order, sizes, recipe.tokenize.shard_bytes)
        settings = PackSettings(folder.documents, folder.tokens, spec, model, recipe.tokenize.append_eod)
        receipts: list[dict[str, Any]] = []
        if plan:
            shards = 1 + max(shard for _, shard, _ in plan)
            written.plan([(shard, sizes[part][1]) for part, shard, _ in plan])
            rows = _rows(session, kept, plan, taken).repartitionById(shards, "shard")
            rows = rows.sortWithinPartitions("shard", "order", schema.ROW)
            packed = rows.mapInArrow(packer(settings), "receipt string").collect()
            receipts = sorted((json.loads(row["receipt"]) for row in packed), key=lambda receipt: receipt["shard"])
        kept.unpersist()
        counts = _count(receipts)
        if counts["documents"] != total:
            raise ReconcileError(f"{total} documents are kept, but {counts['documents']} were packed")
        counts["tokenizer"] = {"name": spec.name, "sha256": storage.sha256(model) if model else ""}
        progress.note = (
            f"{plural(counts['tokens'], 'token')} of {plural(total, 'document')} "
            f"({human_bytes(sum(size for _, size in sizes.values()))}) in {plural(len(receipts), 'shard')}"
        )
    files = [File(*file) for receipt in receipts for file in receipt["files"]]
    files += [_trained_file(folder, model)] if spec.trained and model else []
    return manifest.write(folder.tokens, "tokenize", inputs, section, counts, files, progress.seconds)


_KEPT = (
    schema.PART,
    schema.ROW,
    schema.DOC_ID,
    schema.SOURCE,
    schema.SUBSET,
    schema.LANGUAGE,
    schema.BYTE_COUNT,
)


class _Written:
    """How much text has become shards: a shard's token map is published when it is complete."""

    def __init__(self, token_map: str) -> None:
        self._token_map = token_map
        self._sizes: dict[str, int] = {}

    def plan(self, sizes: Sequence[tuple[int, int]]) -> None:
        """Say which shard takes how many bytes of text."""
        for shard, size in sizes:
            name = f"{shard_name(shard)}.parquet"
            self._sizes[name] = self._sizes.get(name, 0) + size

    def measure(self) -> tuple[float, float]:
        done = sum(self._sizes.get(name, 0) for name in storage.list_names(self._token_map)) if self._sizes else 0
        return done, sum(self._sizes.values())


def keep(documents: DataFrame, taken: DataFrame | None) -> DataFrame:
    """Return the documents that no decision drops."""
    if taken is None:
        return documents
    return documents.join(decisions.counted(taken).select(schema.DOC_ID), schema.DOC_ID, "left_anti")


def plan_shards(
    parts: Sequence[str], sizes: Mapping[str, tuple[int, int]], shard_bytes: int
) -> list[tuple[str, int, int]]:
    """Give each part that holds kept text to a shard.

    Args:
        parts: in the order of the corpus.
        sizes: part → (kept documents, bytes of their text).
        shard_bytes: a shard takes parts until it holds this much.

    Returns:
        (part, shard, order) in order; shards are numbered from 0 without gaps.
    """
    plan: list[tuple[str, int, int]] = []
    shard = held = 0
    for order, part in enumerate(parts):
        documents, size = sizes.get(part, (0, 0))
        if not documents:
            continue
        if held >= shard_bytes:
            shard, held = shard + 1, 0
        plan.append((part, shard, order))
        held += size
    return plan


def kept_inputs(annotated: Manifest, taken: Iterable[Manifest]) -> dict[str, str]:
    """Return the hashes of what decides which text is kept."""
    return {"documents": annotated.hash, **{f"decisions {found.stage}": found.hash for found in taken}}


def part_sizes(kept: DataFrame) -> DataFrame:
    """Return for each part how many documents are kept, and the bytes of their text."""
    from pyspark.sql import functions as F

    return kept.groupBy(schema.PART).agg(F.count("*").alias("documents"), F.sum(schema.BYTE_COUNT).alias("bytes"))


def _rows(
    session: SparkSession, kept: DataFrame, plan: Sequence[tuple[str, int, int]], taken: Mapping[str, Manifest]
) -> DataFrame:
    from pyspark.sql import functions as F

    shards = session.createDataFrame(list(plan), f"`{schema.PART}` string, shard int, `order` int")
    rows = kept.drop(schema.BYTE_COUNT).join(F.broadcast(shards), schema.PART)
    cutting = [where for where, found in taken.items() if any(found.counts.get("cuts", {}).values())]
    if cutting:
        rows = rows.join(decisions.spans(decisions.read(session, cutting)), schema.DOC_ID, "left")
    return rows


def _reconcile(annotated: Manifest, taken: Sequence[Manifest], kept: int) -> None:
    documents = sum(source["documents"] for source in annotated.counts["sources"].values())
    dropped = sum(sum(rules.values()) for stage in taken for rules in stage.counts["by_rule"].values())
    if documents != kept + dropped:
        raise ReconcileError(f"{documents} documents in, but {kept} kept and {dropped} dropped")


def training_texts(kept: DataFrame, recipe: Recipe, folder: RunFolder, total: int) -> Iterator[str]:
    """Read the share of the kept text on which a tokenizer is trained: chosen by document id, sorted by part and row.

    Args:
        kept: documents, with at least part, row and doc_id.
        recipe: its tokenize.train_bytes says how much.
        folder: of the run.
        total: bytes of all the kept text.

    Raises:
        PipelineError: nothing is kept.
    """
    from pyspark.sql import functions as F

    if not total:
        raise PipelineError(
            "no document is kept, so there is no text to train a tokenizer on; "
            f"`redpajama-pipe report --output {folder.path}` shows why"
        )
    share = min(1.0, recipe.tokenize.train_bytes / total)
    # ids are evenly spread, so this is a sample that only the corpus decides
    chosen = kept.where(decisions.id_place() <= F.lit(int(share * 0xFFFFFFFF))).select(
        schema.PART, schema.ROW, schema.DOC_ID
    )
    rows = chosen.orderBy(schema.PART, schema.ROW).toArrow()
    return (text for batch in rows.to_batches() for text in read_rows(folder.documents, batch))


def _trained_file(folder: RunFolder, model: str) -> File:
    return File(model.rsplit("/", 1)[-1], storage.size(model), storage.sha256(model))


def _count(receipts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    groups: dict[tuple[str, str], list[int]] = {}
    for receipt in receipts:
        for source, language, documents, tokens in receipt["groups"]:
            counted = groups.setdefault((source, language), [0, 0])
            counted[0] += documents
            counted[1] += tokens
    return {
        "shards": [
            {key: receipt[key] for key in ("name", "sequences", "tokens", "empty", "files")} for receipt in receipts
        ],
        "groups": [[source, language, *counted] for (source, language), counted in sorted(groups.items())],
        "documents": sum(documents for documents, _ in groups.values()),
        "tokens": sum(tokens for _, tokens in groups.values()),
        "empty": sum(receipt["empty"] for receipt in receipts),
    }


def work(job: Job) -> None:
    """Do this stage for a parsed command line."""
    run(job.spark, job.recipe, job.folder, quiet=job.quiet)


def main(argv: Sequence[str] | None = None) -> int:
    """Run this stage from a command line."""
    return run_job(argv, __doc__, work)
