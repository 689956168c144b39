"""The stored index of a run: what later corpora are deduplicated against, without this run's texts.

A row for each document that stays: its id, content hash and length, the keys of its bands and its set of shingles (or
its signature, where `dedup.verify` compares those). Files hold ranges of ids, in order, so a later run reads the keys
of all and the rest of the few that share a band. Size: 8 bytes a band and a distinct shingle, and about 60 more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from redpajama_pipe import manifest, storage
from redpajama_pipe.decisions import id_place
from redpajama_pipe.dedup.component_decisions import KEYS, VALUES
from redpajama_pipe.dedup.minhash import MinHashSpec
from redpajama_pipe.errors import ManifestError, RecipeError
from redpajama_pipe.manifest import Manifest
from redpajama_pipe.recipe import Recipe
from redpajama_pipe.run_folder import RunFolder
from redpajama_pipe.schema import BYTE_COUNT, CONTENT_HASH, DOC_ID, SIGNATURE, SOURCE, spark_ddl
from redpajama_pipe.settings.tree import digest
from redpajama_pipe.tables import FILES, TableWriter, file_row

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from redpajama_pipe.dedup.near import OpenPart

STAGE = "dedup_index"
VERSION = 1
FILE_NAME = "part-%05d.parquet"  # of a range of ids
INDEX = pa.schema(
    [
        pa.field(DOC_ID, pa.binary(), nullable=False),
        pa.field(SOURCE, pa.string(), nullable=False),
        pa.field(CONTENT_HASH, pa.binary()),
        pa.field(BYTE_COUNT, pa.int64()),
        pa.field(KEYS, pa.binary()),  # of the bands, little-endian uint64; null for a document shorter than a shingle
        pa.field(VALUES, pa.binary()),  # little-endian uint64: the set of shingles, ascending, or the signature
    ]
)

_DOCUMENTS_PER_FILE = 250_000
_ROWS_PER_GROUP = 4_096  # some 20 MB, read for one document that is wanted of it


@dataclass(frozen=True)
class Index:
    """A finished index.

    Attributes:
        folder: where.
        hash: of its manifest: what receipts call it.
        files: how many ranges of ids there are; one without a document has no file.
    """

    folder: str
    hash: str
    files: int


def values_of(verify: str) -> str:
    """Say what `dedup.verify` compares: `shingles` or `signatures`."""
    return "signatures" if verify in ("estimate", "none") else "shingles"


def open_indexes(recipe: Recipe, folder: RunFolder) -> tuple[Index, ...]:
    """Open the indexes that `dedup.against` names, in its order; each is a run's folder or an index's own.

    Raises:
        ManifestError: one is missing or unfinished.
        RecipeError: one was made by another MinHash, or holds what `dedup.verify` does not compare, or is this run's.
    """
    found = []
    for path in recipe.dedup.against:
        where = RunFolder.at(path).dedup_index
        if not storage.exists(storage.join(where, manifest.NAME)):
            where = storage.absolute(path)
        if where == folder.dedup_index:
            raise RecipeError(f"dedup.against: {path} is the index of this very run, which would drop all of it")
        try:
            made = manifest.read(where)
        except ManifestError as error:
            raise ManifestError(f"dedup.against: {error}; an index is made with dedup.write_index=true") from None
        if made.stage != STAGE:
            raise ManifestError(f"dedup.against: {path} holds the output of {made.stage!r}, not an index")
        _check(path, made.recipe, _settings(recipe))
        found.append(Index(where, made.hash, made.counts["ranges"]))
    hashes = [index.hash for index in found]
    for index in found:
        if hashes.count(index.hash) > 1:
            raise RecipeError(f"dedup.against: {index.folder} is given twice, or a copy of it is")
    return tuple(found)


def write(kept: DataFrame, recipe: Recipe, folder: RunFolder, inputs: dict[str, str], open_part: OpenPart) -> Manifest:
    """Write RUN/dedup_index/ of the documents that stay, unless it is there already.

    Args:
        kept: their annotations. Their texts are read once more, unless `dedup.verify` compares signatures.
        recipe: the run's.
        folder: the run's.
        inputs: hashes of what decided that they stay.
        open_part: opens a document part by its name, on any worker.
    """
    target, settings = folder.dedup_index, _settings(recipe)
    storage.remove(target)
    rows = _rows(kept, recipe, open_part)
    documents = kept.count()
    ranges = max(1, -(-documents // _DOCUMENTS_PER_FILE))
    ranged = (
        rows.withColumn("file", (id_place() * ranges / (1 << 32)).cast("int"))
        .repartitionById(ranges, "file")
        .sortWithinPartitions(DOC_ID)
    )
    written = ranged.mapInArrow(_file_writer(target), spark_ddl(FILES)).collect()
    files = [storage.File(**row.asDict()) for row in written]
    counts = {
        "documents": documents,
        "ranges": ranges,
        "bytes": sum(file.bytes for file in files),
        "settings": digest(settings),
    }
    return manifest.write(target, STAGE, inputs, settings, counts, files)


def current(recipe: Recipe, folder: RunFolder, inputs: dict[str, str]) -> Manifest | None:
    """Return the manifest of the run's index if it is what would be written now."""
    return manifest.current(folder.dedup_index, STAGE, inputs, _settings(recipe))


def _rows(kept: DataFrame, recipe: Recipe, open_part: OpenPart) -> DataFrame:
    from pyspark.sql import functions as F

    from redpajama_pipe.dedup.near import with_values

    named = kept.withColumn(BYTE_COUNT, F.col(BYTE_COUNT).cast("bigint"))
    nothing = F.lit(None).cast("binary")
    short = named.where(F.col(SIGNATURE).isNull()).withColumn(KEYS, nothing).withColumn(VALUES, nothing)
    tasks = recipe.execution.partitions or int(kept.sparkSession.conf.get("spark.sql.shuffle.partitions") or 200)
    spec = MinHashSpec.of(recipe.annotate.minhash)
    signed = with_values(named.where(F.col(SIGNATURE).isNotNull()), open_part, spec, recipe.dedup.verify, tasks, INDEX)
    return signed.unionByName(short.select(*INDEX.names))


def _settings(recipe: Recipe) -> dict[str, Any]:
    return {
        "version": VERSION,
        "values": values_of(recipe.dedup.verify),
        "minhash": asdict(MinHashSpec.of(recipe.annotate.minhash)),
    }


def _check(path: str, theirs: Any, ours: dict[str, Any]) -> None:
    if theirs["version"] != VERSION:
        raise RecipeError(
            f"dedup.against: {path} is an index of format {theirs['version']}; this version reads {VERSION}"
        )
    differing = [
        f"annotate.minhash.{key} is {theirs['minhash'].get(key)!r} there and {value!r} here"
        for key, value in ours["minhash"].items()
        if theirs["minhash"].get(key) != value
    ]
    if differing:
        raise RecipeError(f"dedup.against: {path} was made by another MinHash: {'; '.join(differing)}")
    if theirs["values"] != ours["values"]:
        raise RecipeError(
            f"dedup.against: {path} holds {theirs['values']}, and dedup.verify compares {ours['values']}; "
            "make the index again with this dedup.verify, or use the one that it was made with"
        )


def _file_writer(folder: str) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    plain: Sequence[str] = (CONTENT_HASH, KEYS, VALUES)

    def write_file(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        rows = (batch for batch in batches if batch.num_rows)
        first = next(rows, None)
        if first is None:  # no id falls into this range
            return
        path = storage.join(folder, FILE_NAME % first.column("file")[0].as_py())
        with TableWriter(path, INDEX, _ROWS_PER_GROUP, plain) as writer:
            writer.append(first.select(INDEX.names))
            for batch in rows:
                writer.append(batch.select(INDEX.names))
        yield file_row(writer)

    return write_file
