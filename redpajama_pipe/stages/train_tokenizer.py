"""Train a tokenizer on a run's kept documents, alone, and write its file and a spec that names it byte for byte.

The file goes to RUN/tokenizer/, so that other runs can share it:
`--set tokenize.tokenizer=RUN/tokenizer/NAME.yaml --set tokenize.path=RUN/tokenizer`. Spark chooses the documents; one
process reads and trains.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import yaml

from redpajama_pipe import decisions, manifest, schema, storage
from redpajama_pipe.arguments import Job, run_job
from redpajama_pipe.errors import RecipeError
from redpajama_pipe.manifest import Manifest
from redpajama_pipe.progress import Progress
from redpajama_pipe.recipe import Recipe
from redpajama_pipe.report.figures import plural
from redpajama_pipe.run_folder import RunFolder
from redpajama_pipe.settings.tree import to_tree
from redpajama_pipe.stages.filter_documents import read_annotated
from redpajama_pipe.stages.pack_tokens import keep, kept_inputs, part_sizes, training_texts
from redpajama_pipe.storage import File
from redpajama_pipe.tokens.encode import open_encoder
from redpajama_pipe.tokens.spec import TokenizerSpec, load_spec
from redpajama_pipe.tokens.train import train_tokenizer

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# Golden ids are kept of these.
GOLDEN = (
    "Hello world",
    "",
    " two  spaces\n\n\tand a tab",
    "na\u00efve cafe\u0301 \u65e5\u672c\u8a9e \U0001f600",
    "1234.5 don't",
)


def run(spark: Callable[[], SparkSession], recipe: Recipe, folder: RunFolder, *, quiet: bool = False) -> Manifest:
    """Write tokenizer/: tokenizer.json or tokenizer.model, and the spec NAME.yaml.

    Returns:
        The manifest; its counts: the tokenizer's name, sha256 and vocab_size.

    Raises:
        RecipeError: the recipe's tokenizer is a published one, or the text is too small for so many pieces.
        PipelineError: nothing is kept.
    """
    spec = load_spec(recipe.tokenize.tokenizer)
    if not spec.trained:
        raise RecipeError(
            f"tokenize.tokenizer is {spec.name}, which is published and not trained; "
            "choose sample_spm, sample_bpe, sample_unigram, or an entry with trained: true"
        )
    where, annotated = folder.annotated()
    taken = folder.decided()
    inputs = kept_inputs(annotated, taken.values())
    settings = to_tree(recipe.tokenize)
    section = {"spec": to_tree(spec), **{key: settings[key] for key in ("train_bytes", "vocab_size")}}
    target = storage.join(folder.path, "tokenizer")
    done = manifest.current(target, "train_tokenizer", inputs, section)
    if done:
        return done
    session = spark()
    storage.remove(target)
    with Progress("train tokenizer", quiet=quiet) as progress:
        dropped = decisions.read(session, list(taken)) if taken else None
        kept = keep(read_annotated(session, where), dropped).select(
            schema.PART, schema.ROW, schema.DOC_ID, schema.BYTE_COUNT
        )
        total = sum(row["bytes"] for row in part_sizes(kept).collect())
        texts = training_texts(kept, recipe, folder, total)
        model = train_tokenizer(spec, texts, storage.join(target, "tokenizer"), recipe.tokenize.vocab_size)
        written = write_spec(spec, model, recipe.name)
        progress.note = f"{plural(written['vocab_size'], 'token')}: {model}"
    names = [model.rsplit("/", 1)[-1], f"{spec.name}.yaml"]
    files = [File(name, storage.size(path), storage.sha256(path)) for name in names for path in [f"{target}/{name}"]]
    return manifest.write(target, "train_tokenizer", inputs, section, written, files, progress.seconds)


def write_spec(spec: TokenizerSpec, model: str, made_by: str) -> dict[str, Any]:
    """Write the spec of a trained tokenizer beside its file, with its sha256 and golden ids.

    Args:
        spec: the entry that asked for it.
        model: its file.
        made_by: the recipe's name.

    Returns:
        name, sha256 and vocab_size.
    """
    reference = open_encoder(spec, model, "reference")
    texts = pa.array(GOLDEN, pa.string())
    ids, offsets = reference.encode_batch(texts)
    source = f"trained by redpajama-pipe train-tokenizer, recipe {made_by}, entry {spec.name}"
    digest = storage.sha256(model)
    tree = {
        "kind": spec.kind,
        "source": source,
        "algorithm": spec.algorithm,
        "eod": spec.eod,
        "eod_id": spec.eod_id,
        "vocab_size": reference.vocab_size,
        "special_ids": dict(spec.special_ids),
        "files": [{"sha256": digest, "size": storage.size(model), "source": source}],
        "cases": [
            {"text": text, "ids": ids[begin:end].tolist()}
            for text, begin, end in zip(GOLDEN, offsets[:-1], offsets[1:], strict=True)
        ],
    }
    if spec.special_tokens_in_text is not None:
        tree["special_tokens_in_text"] = spec.special_tokens_in_text
    text = yaml.safe_dump(tree, sort_keys=False, allow_unicode=False, default_flow_style=None, width=120)
    storage.write_bytes(f"{model.rsplit('/', 1)[0]}/{spec.name}.yaml", text.encode())
    return {"name": spec.name, "sha256": digest, "vocab_size": reference.vocab_size}


def work(job: Job) -> None:
    """Do this stage for a parsed command line."""
    run(job.spark, job.recipe, job.folder, quiet=job.quiet)


def main(argv: Sequence[str] | None = None) -> int:
    """Run this stage from a command line."""
    return run_job(argv, __doc__, work)
