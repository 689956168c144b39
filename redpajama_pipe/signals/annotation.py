"""The one pass over the text: language, signals, content hash and MinHash signature of a batch of documents.

Ingest calls it on what it has just extracted; the annotate stage calls it on stored documents. Both give the same
columns.
"""

from __future__ import annotations

import dataclasses

import pyarrow as pa
import pyarrow.compute as pc

from redpajama_pipe import schema
from redpajama_pipe.recipe import Recipe
from redpajama_pipe.rules import ruleset
from redpajama_pipe.settings.annotate import Annotate
from redpajama_pipe.signals.catalogue import SIGNALS, select
from redpajama_pipe.signals.resources import Resources

ALWAYS = ("gopher",)  # what the report and the keep order speak of


def settings_of(recipe: Recipe) -> Annotate:
    """Return the recipe's settings with every signal to store spelt out: the rule sets' too.

    Raises:
        RecipeError: annotate.signals names no signal.
        CatalogError: there is no such rule set.
    """
    read = [column for name in recipe.filter.rule_sets for column in ruleset.load(name).columns(SIGNALS)]
    signals = select([*ALWAYS, *recipe.annotate.signals, *read])
    return dataclasses.replace(recipe.annotate, signals=tuple(signals))


def annotation_schema(settings: Annotate) -> pa.Schema:
    """Return the columns that `annotate` adds, in order."""
    return pa.schema(
        [
            pa.field(schema.LANGUAGE, pa.string()),
            pa.field(schema.IDENTIFIED_LANGUAGE, pa.string()),
            pa.field(schema.LANGUAGE_SCORE, pa.float64()),
            pa.field(schema.CONTENT_HASH, pa.binary(), nullable=False),
            pa.field(schema.NORMALIZED_HASH, pa.binary()),
            pa.field(schema.SIGNATURE, pa.binary()),
            *(pa.field(name, SIGNALS[name].type) for name in settings.signals),
        ]
    )


def annotate(texts: pa.Array, declared: pa.Array, urls: pa.Array, settings: Annotate, model: str) -> list[pa.Array]:
    """Compute every annotation of a batch.

    Args:
        texts: strings, none null.
        declared: the language that the source declares, or null; it wins over the identified one.
        urls: where each document comes from, or null.
        settings: as `settings_of` gives them.
        model: path of the language model.

    Returns:
        One array for each field of `annotation_schema`.
    """
    identified, probability = tell_language(texts, settings, model)
    language = pc.coalesce(declared.cast(pa.string()), identified)
    signals = scores(texts, language, urls, settings)
    return [language, identified, probability, *hashes(texts, settings), *signals.columns]


def tell_language(texts: pa.Array, settings: Annotate, model: str) -> tuple[pa.Array, pa.Array]:
    """Return the language of each text and how sure the model is of it."""
    from redpajama_pipe.signals.language import identify

    return identify(texts, model, settings.language_sample_bytes)


def hashes(texts: pa.Array, settings: Annotate) -> tuple[pa.Array, pa.Array, pa.Array]:
    """Return the content hash, the normalised hash and the MinHash signature of each text."""
    from redpajama_pipe.dedup.content import content_hash
    from redpajama_pipe.dedup.minhash import MinHashSpec, sign_batch
    from redpajama_pipe.dedup.normalized import normalized_hash

    return content_hash(texts), normalized_hash(texts), sign_batch(texts, MinHashSpec.of(settings.minhash))


def scores(texts: pa.Array, language: pa.Array, urls: pa.Array, settings: Annotate) -> pa.RecordBatch:
    """Return the signals that the settings name."""
    from redpajama_pipe.signals import score

    resources = Resources(
        settings.word_lists,
        settings.artifacts,
        settings.url_lists,
        settings.perplexity_models,
        settings.quality_model,
    )
    return score(texts, settings.signals, language=language, urls=urls, resources=resources)
