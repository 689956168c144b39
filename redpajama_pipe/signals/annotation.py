"""The one pass over the text: language, signals, content hash and MinHash signature of a batch of documents.

Ingest calls it on what it has just extracted; the annotate stage calls it on stored documents. Both give the same
columns.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from redpajama_pipe import schema
from redpajama_pipe.recipe import Annotate


def annotation_schema() -> pa.Schema:
    """Return the columns that `annotate` adds, in order."""
    from redpajama_pipe.signals import SIGNALS

    return pa.schema(
        [
            pa.field(schema.LANGUAGE, pa.string()),
            pa.field(schema.IDENTIFIED_LANGUAGE, pa.string()),
            pa.field(schema.LANGUAGE_SCORE, pa.float64()),
            pa.field(schema.CONTENT_HASH, pa.binary(), nullable=False),
            pa.field(schema.SIGNATURE, pa.binary()),
            *(pa.field(name, signal.type) for name, signal in SIGNALS.items()),
        ]
    )


def annotate(texts: pa.Array, declared: pa.Array, settings: Annotate, model: str) -> list[pa.Array]:
    """Compute every annotation of a batch.

    Args:
        texts: strings, none null.
        declared: the language that the source declares, or null; it wins over the identified one.
        settings: the recipe's.
        model: path of the language model.

    Returns:
        One array for each field of `annotation_schema`.
    """
    from redpajama_pipe.dedup.content import content_hash
    from redpajama_pipe.dedup.minhash import MinHashSpec, sign_batch
    from redpajama_pipe.signals import score
    from redpajama_pipe.signals.language import identify

    identified, probability = identify(texts, model)
    language = pc.coalesce(declared.cast(pa.string()), identified)
    signals = score(texts, language=language)
    return [
        language,
        identified,
        probability,
        content_hash(texts),
        sign_batch(texts, MinHashSpec.of(settings.minhash)),
        *signals.columns,
    ]


def warm_up(settings: Annotate, model: str) -> None:
    """Compile every kernel of `annotate`, or load them from Numba's cache, so that workers find them there."""
    annotate(pa.array(["a few words that are enough for one shingle"]), pa.array([None], pa.string()), settings, model)
