"""Count the bags of words that RedPajama-V2's importance weights compare, on documents of a run.

Only chosen documents are read, by the tasks that count them; numbers alone come back. The same documents and recipe
give the same files, which are those of RedPajama-Data's app/src/artifacts/hash_dist.py. About 100 MB/s a core.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import reduce
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from redpajama_pipe import schema, storage
from redpajama_pipe.arguments import Job, run_job
from redpajama_pipe.errors import RecipeError
from redpajama_pipe.progress import Progress
from redpajama_pipe.recipe import Recipe
from redpajama_pipe.run_folder import RunFolder
from redpajama_pipe.settings.models import Importance
from redpajama_pipe.signals.redpajama_v2 import IMPORTANCE_DOMAINS
from redpajama_pipe.signals.redpajama_v2_models import SOURCE, Counted, count_features, write_bag
from redpajama_pipe.stages.filter_documents import first_documents, read_annotated
from redpajama_pipe.tokens.pack import read_rows

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

DOMAINS = (SOURCE, *IMPORTANCE_DOMAINS)
MAX_TASKS = 256  # a task gives 80 kB a domain to the driver
DOMAIN = "domain"
NAMES = (DOMAIN, "counts", "documents", "words")
COUNTED = "domain string, counts binary, documents bigint, words bigint"


def run(spark: Callable[[], SparkSession], recipe: Recipe, folder: RunFolder, *, quiet: bool = False) -> list[str]:
    """Write artifacts/dsir/LANGUAGE/DOMAIN.LANGUAGE.10000.counts.npy and DOMAIN.LANGUAGE.lambda.npy of each domain.

    Returns:
        Their paths.

    Raises:
        ManifestError: the run has no signals yet.
        RecipeError: importance.domains has a domain that no signal is for, a predicate that is no SQL over the
            documents' columns, or one that is true of no document in the language.
    """
    settings = recipe.importance
    for domain in settings.domains:
        if domain not in DOMAINS:
            raise RecipeError(f"importance.domains: no domain {domain!r}; there are: {', '.join(DOMAINS)}")
    where, annotated = folder.annotated()
    session = spark()
    with Progress("count", session.sparkContext, quiet=quiet) as progress:
        chosen = _choose(read_annotated(session, where), settings)
        tasks = min(MAX_TASKS, max(1, len(annotated.counts["parts"])))
        rows = chosen.repartition(tasks, schema.PART).sortWithinPartitions(DOMAIN, schema.PART, schema.ROW)
        counted = {domain: Counted.none() for domain in settings.domains}
        for row in rows.mapInArrow(_counter(folder.documents), COUNTED).collect():
            counts = np.frombuffer(row["counts"], np.int64)
            counted[row[DOMAIN]] += Counted(counts, row["documents"], row["words"])
        for domain, found in counted.items():
            if not found.documents:
                raise RecipeError(
                    f"no document in {settings.language!r} where {settings.domains[domain]}: "
                    f"see importance.domains.{domain}"
                )
        target = storage.join(folder.path, "artifacts")
        written = [
            path
            for domain, found in counted.items()
            for path in write_bag(found.bag, target, settings.language, domain)
        ]
        progress.note = ", ".join(f"{found.documents:,} of {domain}" for domain, found in counted.items())
    return written


def _choose(documents: DataFrame, settings: Importance) -> DataFrame:
    """Return domain, part, row and doc_id of the chosen documents: of each domain the first by id."""
    from pyspark.sql import functions as F

    spoken = documents.where(F.col(schema.LANGUAGE) == settings.language)
    chosen = []
    for domain, predicate in settings.domains.items():
        places = first_documents(spoken, predicate, f"importance.domains.{domain}", settings.documents)
        chosen.append(places.select(F.lit(domain).alias(DOMAIN), "*"))
    return reduce(lambda left, right: left.unionByName(right), chosen)


def _counter(documents: str) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def count(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        counted: dict[str, Counted] = {}
        for batch in batches:
            for domain in batch.column(DOMAIN).unique().to_pylist():
                some = batch.filter(pc.equal(batch.column(DOMAIN), domain))
                counted[domain] = counted.get(domain, Counted.none()) + count_features(read_rows(documents, some))
        for domain, found in counted.items():
            values = (domain, found.counts.tobytes(), found.documents, found.words)
            yield pa.RecordBatch.from_pydict({name: [value] for name, value in zip(NAMES, values, strict=True)})

    return count


def work(job: Job) -> None:
    """Do this stage for a parsed command line and say where the bags are."""
    print("\n".join(run(job.spark, job.recipe, job.folder, quiet=job.quiet)))


def main(argv: Sequence[str] | None = None) -> int:
    """Run this stage from a command line."""
    return run_job(argv, __doc__, work)
