"""Train CCNet's kind of language model on documents of a run: SentencePiece pieces, then a KenLM n-gram model.

Needs KenLM's programs lmplz and build_binary on the PATH; the text goes to them through a scratch file.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from redpajama_pipe import schema, storage
from redpajama_pipe.arguments import Job, run_job
from redpajama_pipe.errors import RecipeError, SetupError
from redpajama_pipe.progress import Progress
from redpajama_pipe.recipe import Recipe
from redpajama_pipe.report.figures import plural
from redpajama_pipe.run_folder import RunFolder
from redpajama_pipe.settings.models import Perplexity
from redpajama_pipe.stages.filter_documents import first_documents, read_annotated
from redpajama_pipe.text.ccnet import normalize
from redpajama_pipe.tokens.pack import read_rows

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import SparkSession

PROGRAMS = ("lmplz", "build_binary")


def run(
    spark: Callable[[], SparkSession], recipe: Recipe, folder: RunFolder, *, quiet: bool = False
) -> tuple[str, str]:
    """Write perplexity/LANGUAGE.sp.model and perplexity/LANGUAGE.arpa.bin.

    Raises:
        SetupError: KenLM's programs are not there; asked first.
        ManifestError: the run has no signals yet.
        RecipeError: perplexity.where is no SQL over the columns, or there is too little text.
    """
    programs = find_programs()
    settings = recipe.perplexity
    where, _ = folder.annotated()
    target = storage.join(folder.path, "perplexity")
    session = spark()
    with Progress("train", session.sparkContext, quiet=quiet) as progress, tempfile.TemporaryDirectory() as scratch:
        documents = read_annotated(session, where)
        spoken = documents.where(documents[schema.LANGUAGE] == settings.language)
        chosen = first_documents(spoken, settings.where, "perplexity.where", settings.documents)
        rows = chosen.orderBy(schema.PART, schema.ROW).toArrow()
        lines = Path(scratch) / "lines.txt"
        count = _write_lines(_texts(folder.documents, rows), lines)
        if not count:
            raise RecipeError(f"no document in {settings.language!r} where {settings.where}: see perplexity.where")
        pieces, model = train_models(lines, Path(scratch), settings, programs)
        written = []
        for source, name in ((pieces, "sp.model"), (model, "arpa.bin")):
            path = storage.join(target, f"{settings.language}.{name}")
            storage.write_bytes(path, source.read_bytes())
            written.append(path)
        progress.note = f"{plural(count, 'document')} in {settings.language}"
    return written[0], written[1]


def find_programs() -> tuple[str, str]:
    """Return the paths of lmplz and build_binary.

    Raises:
        SetupError: one is not on the PATH.
    """
    found = [shutil.which(program) for program in PROGRAMS]
    missing = [program for program, path in zip(PROGRAMS, found, strict=True) if path is None]
    if missing:
        raise SetupError(
            f"{' and '.join(missing)} not found: build KenLM (github.com/kpu/kenlm, cmake) and put its bin on the PATH,"
            " or use CCNet's models (annotate.perplexity_models)"
        )
    return str(found[0]), str(found[1])


def train_models(lines: Path, scratch: Path, settings: Perplexity, programs: tuple[str, str]) -> tuple[Path, Path]:
    """Train both models on normalised lines.

    Returns:
        The SentencePiece model and the binary KenLM model.

    Raises:
        RecipeError: there is too little text for so many pieces or so long n-grams.
    """
    import sentencepiece

    with lines.open("rb") as source_bytes:
        longest = max(map(len, source_bytes), default=0)
    pieces = scratch / "pieces.model"
    try:
        # Not from file to file: their paths would stand in the model, and no two runs would give the same.
        with lines.open(encoding="utf-8") as source, pieces.open("wb") as target_bytes:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=(line.rstrip("\n") for line in source),
                model_writer=target_bytes,
                model_type="unigram",
                vocab_size=settings.vocab_size,
                hard_vocab_limit=False,
                character_coverage=0.9995,
                max_sentence_length=max(longest, 4192),  # longer lines are left out without a word; 4192 unless told
                num_threads=1,  # more of them add up in another order
                minloglevel=2,
            )
    except RuntimeError as error:
        raise RecipeError(f"SentencePiece cannot train {settings.vocab_size} pieces: {error}") from error
    processor = sentencepiece.SentencePieceProcessor(model_file=str(pieces))
    tokenized, arpa, model = scratch / "pieces.txt", scratch / "model.arpa", scratch / "model.bin"
    with lines.open(encoding="utf-8") as source, tokenized.open("w", encoding="utf-8") as target:
        for line in source:
            target.write(" ".join(processor.encode(line.rstrip("\n"), out_type=str)) + "\n")
    lmplz, build_binary = programs
    with tokenized.open("rb") as source, arpa.open("wb") as target_bytes:
        # As cc_net's Makefile has it; the fallback is for counts from which no discount can be told: of little text.
        options = ["-o", str(settings.order), "-S", settings.memory, "-T", str(scratch)]
        options += ["--vocab_estimate", str(settings.vocab_size), "--discount_fallback"]
        _call([lmplz, *options], stdin=source, stdout=target_bytes)
    _call([build_binary, str(arpa), str(model)])
    return pieces, model


def _call(command: Sequence[str], stdin: object = None, stdout: object = subprocess.DEVNULL) -> None:
    done = subprocess.run(command, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE, check=False)  # type: ignore[call-overload]
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise RecipeError(f"{Path(command[0]).name} failed: {said[-1] if said else f'status {done.returncode}'}")


def _texts(documents: str, rows: pa.Table) -> Iterator[str]:
    for batch in rows.to_batches():
        yield from read_rows(documents, batch)


def _write_lines(texts: Iterable[str], target: Path) -> int:
    count = 0
    with target.open("w", encoding="utf-8") as lines:
        for text in texts:
            line = normalize(text)
            if line:
                lines.write(f"{line}\n")
                count += 1
    return count


def work(job: Job) -> None:
    """Do this stage for a parsed command line and say where the models are."""
    print("\n".join(run(job.spark, job.recipe, job.folder, quiet=job.quiet)))


def main(argv: Sequence[str] | None = None) -> int:
    """Run this stage from a command line."""
    return run_job(argv, __doc__, work)
