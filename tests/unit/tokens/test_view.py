import hashlib
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_run import LANGUAGES, SOURCES, doc_id, make_run

from redpajama_pipe import manifest, recipe, schema
from redpajama_pipe.errors import InputError, ManifestError, SetupError
from redpajama_pipe.run_folder import RunFolder
from redpajama_pipe.settings.tokens import Schedule
from redpajama_pipe.settings.tree import to_tree
from redpajama_pipe.stages import build_schedule
from redpajama_pipe.storage import File
from redpajama_pipe.tables import TableWriter
from redpajama_pipe.tokens import view
from redpajama_pipe.tokens.encode import Encoder, open_encoder
from redpajama_pipe.tokens.reader import SequenceReader, open_run
from redpajama_pipe.tokens.spec import TokenizerFile, TokenizerSpec
from redpajama_pipe.tokens.view import find_rows, open_tokenizer, view_lines

TEXTS = [
    "the cat sat on the mat " * 6,
    "def f(x):\n\treturn  x + 1\n" * 5,
    "",
    "naïve café, 日本語の文 and Ελληνικά",
    "the mat \x1b[31msat\x1b[0m on \u202ethe cat",
    *(f"1234 the cat {number} sat on the mat" for number in range(9)),
]
SHARDS = [(0, 5), (5, 14)]
SETTINGS: dict[str, Any] = {"seq_len": 16, "batch_size": 3, "epochs": (1.0, 1.5), "rows_per_group": 2}


def write_documents(folder: Path) -> None:
    """Two parts, one a shard, with two rows in each row group."""
    files = []
    names = [schema.DOC_ID, "url", "title", schema.TEXT]
    for part, (begin, end) in enumerate(SHARDS):
        rows = [
            {
                "doc_id": doc_id(at),
                "url": f"https://example.org/{at}" if at % 2 else None,
                "title": f"Title {at}",
                "text": TEXTS[at],
            }
            for at in range(begin, end)
        ]
        only = pa.schema([schema.DOCUMENTS.field(name) for name in names])
        with TableWriter(str(folder / f"part-{part}.parquet"), only, 2) as writer:
            writer.append(pa.RecordBatch.from_pylist(rows, schema=only))
        assert writer.file is not None
        files.append(writer.file)
    manifest.write(str(folder), "ingest", {}, {}, {}, files)


def view_step(run: str | Path, step: int, row: int | None = None, epochs: float | None = None) -> str:
    return "".join(f"{line}\n" for line in view_lines(run, step, row, epochs))


def write_run(folder: Path, encoder: Encoder, spec: TokenizerSpec, model: Path | None, **more: Any) -> Path:
    ids = [np.append(encoder.encode_batch(pa.array([text]))[0], spec.eod_id) if text else [] for text in TEXTS]
    files = []
    if model:
        (folder / "tokens").mkdir(parents=True)
        shutil.copy(model, folder / "tokens" / "tokenizer.model")
        data = model.read_bytes()
        files = [File("tokenizer.model", len(data), hashlib.sha256(data).hexdigest())]
    shards = [[np.array(each, np.int64) for each in ids[begin:end]] for begin, end in SHARDS]
    make_run(folder, shards, spec=to_tree(spec), files=files, **SETTINGS, **more)
    write_documents(folder / "documents")
    return folder


@pytest.fixture(scope="module", params=[True, False], ids=["inverse", "scan"])
def run(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    sentencepiece_spec: TokenizerSpec,
    sentencepiece_model: Path,
) -> Path:
    encoder = open_encoder(sentencepiece_spec, sentencepiece_model)
    folder = tmp_path_factory.mktemp("view")
    return write_run(folder, encoder, sentencepiece_spec, sentencepiece_model, lookup=request.param)


def test_rows_hold_what_the_loader_reads(run: Path) -> None:
    check(run, open_run(run, 1.5))


def test_rows_of_a_blend_hold_what_the_loader_reads(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    asked = Schedule(seq_len=16, batch_size=3, steps=12, blend={"wiki": 2.0, "crawl": 1.0})
    folder = RunFolder.at(str(tmp_path / "run"))
    build_schedule.run(recipe.Recipe("made", (), schedule=asked), folder, quiet=True)
    check(tmp_path / "run", open_run(tmp_path / "run"))
    assert "joint_shuffle" in view_step(tmp_path / "run", 11).splitlines()[0]


def check(run: Path, reader: SequenceReader) -> None:
    folder = RunFolder.at(str(run))
    encoder = open_tokenizer(folder)
    full = [number for number, text in enumerate(TEXTS) if text]
    read: dict[int, list[tuple[int, int, int]]] = {}  # document → step, start, end of its inputs
    for step in range(reader.steps):
        rows = list(find_rows(reader, folder, step, None, encoder))
        assert [(row.row, row.turn) for row in rows] == [(at, 3 * step + at) for at in range(3)]
        for row in rows:
            pieces = reader.pieces(row.turn)
            assert [(each.start, each.length) for each in row.passages] == [(p.start, p.length) for p in pieces]
            assert sum(each.length for each in row.passages) == 17
            at = 0
            for piece, each in zip(pieces, row.passages, strict=True):
                number = full[piece.document]
                assert each.doc_id == doc_id(number).hex()
                assert (each.source, each.language) == (SOURCES[number % 3], LANGUAGES[number % 4])
                assert each.url == (f"https://example.org/{number}" if number % 2 else None)
                assert each.title == f"Title {number}"
                assert each.size == reader.shard(piece.shard).sizes[piece.sequence]
                assert each.text == encoder.decode(reader[row.turn][at : at + piece.length])
                at += piece.length
                earlier = [place for place in read.get(piece.document, []) if place[0] < step]
                end = piece.start + piece.length
                same = {place[0] for place in earlier if place[1] < end and piece.start < place[2]}
                assert each.before == sorted(same)
                assert each.elsewhere == sorted({place[0] for place in earlier} - same)
            assert list(find_rows(reader, folder, step, row.row, encoder)) == [row]
        for row in rows:
            *whole, last = reader.pieces(row.turn)
            for piece in [*whole, last._replace(length=last.length - 1)]:  # the last id is no input
                if piece.length:
                    read.setdefault(piece.document, []).append((step, piece.start, piece.start + piece.length))
    assert any(len({step for step, _, _ in places}) > 2 for places in read.values())


def test_text_shows_documents_and_is_harmless(run: Path) -> None:
    steps = open_run(run, 1.0).steps
    whole = [view_step(run, step, epochs=1.0) for step in range(steps)]
    text = "".join(whole)
    assert whole[1].startswith(
        f"step 1 of 0 to {steps - 1} · 3 sequences of 16 tokens · epochs 1, joint_shuffle\n\nrow 0 · turn 3 · "
    )
    assert whole[0] == view_step(run, 0)  # the recipe's first schedule
    assert view_step(run, 0, 1).count("\nrow ") == 1
    assert "  url          https://example.org/1\n" in text
    assert "  seen before  never\n" in text
    assert "  │     return  x + 1\n" in text
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "  seen before  step" in view_step(run, open_run(run, 1.5).steps - 1, epochs=1.5)


def test_the_first_row_comes_at_once_and_more_and_more_together(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, folder, found = open_run(run, 1.0), RunFolder.at(str(run)), view._find_rows
    asked: list[list[int]] = []

    def spy(*arguments: Any) -> Any:
        asked.append(list(arguments[3]))
        return found(*arguments)

    monkeypatch.setattr(view, "_find_rows", spy)
    rows = find_rows(reader, folder, 1, None, open_tokenizer(folder))
    scans = not list((run / "schedule").glob("*/*turn_idx.npy"))
    assert next(rows).row == 0
    assert asked == ([[0, 1, 2]] if scans else [[0]])  # without the inverse arrays each call is a scan
    assert [row.row for row in rows] == [1, 2]
    assert asked == ([[0, 1, 2]] if scans else [[0], [1, 2]])


CODE = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name in ("numba", "pandas", "scipy", "pyspark", "torch"):
            raise AssertionError(f"{name} was imported")

sys.meta_path.insert(0, Refuse())
from redpajama_pipe.cli import main
sys.exit(main(["view", sys.argv[1], "--step", "1"]))
"""


def test_looking_imports_nothing_that_takes_longer_than_looking(
    tmp_path: Path, sentencepiece_spec: TokenizerSpec, sentencepiece_model: Path
) -> None:
    encoder = open_encoder(sentencepiece_spec, sentencepiece_model)
    run = write_run(tmp_path / "run", encoder, sentencepiece_spec, sentencepiece_model, lookup=True)
    command = [sys.executable, "-X", "utf8", "-c", CODE, str(run)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, encoding="utf-8")
    assert (done.stdout, done.stderr) == (view_step(run, 1), "")


def test_wrong_steps_and_rows_are_refused(run: Path) -> None:
    steps = open_run(run, 1.0).steps
    for step in (-1, steps):
        with pytest.raises(InputError, match=rf"step {step} of a schedule of {steps} steps: give 0 to {steps - 1}"):
            view_step(run, step)
    for row in (-1, 3):
        with pytest.raises(InputError, match=rf"row {row} of a batch of 3: give 0 to 2"):
            view_step(run, 0, row)
    with pytest.raises(InputError, match=r"has no schedule of 3 epochs; there are: 1, 1\.5"):
        view_step(run, 0, epochs=3)


class Watched(pq.ParquetFile):
    """Notes the row groups that are read of each file."""

    read_groups: ClassVar[list[tuple[str, int]]] = []

    def __init__(self, source: str, **more: Any) -> None:
        super().__init__(source, **more)
        self.name = Path(source).stem

    def read_row_group(self, group: int, *args: Any, **more: Any) -> pa.Table:
        self.read_groups.append((self.name, group))
        return super().read_row_group(group, *args, **more)

    def _refuse(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("more than a row group is read")

    read = iter_batches = read_row_groups = _refuse


def test_only_row_groups_that_hold_a_document_are_read(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, folder = open_run(run, 1.5), RunFolder.at(str(run))
    encoder = open_tokenizer(folder)
    full = [number for number, text in enumerate(TEXTS) if text]
    monkeypatch.setattr(pq, "ParquetFile", Watched)
    for turn in range(len(reader)):
        Watched.read_groups.clear()
        list(find_rows(reader, folder, turn // 3, turn % 3, encoder))
        numbers = {full[piece.document] for piece in reader.pieces(turn)}
        places = {(part, (number - begin) // 2) for number in numbers for part, (begin, end) in enumerate(SHARDS)
                  if begin <= number < end}  # fmt: skip
        expected = [(name.format(part), group) for part, group in places for name in ("shard-{:05d}", "part-{}")]
        assert sorted(Watched.read_groups) == sorted(expected)


def test_view_works_where_the_documents_are_not(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "documents")
    with_documents, without = view_step(run, 0), view_step(tmp_path / "run", 0)
    assert "  title " in with_documents
    kept = [line for line in with_documents.splitlines() if not line.startswith(("  url ", "  title "))]
    assert without.splitlines() == kept


def test_documents_of_another_run_are_refused(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    parts = tmp_path / "run" / "documents"
    table = pq.read_table(parts / "part-1.parquet")
    pq.write_table(table.take(list(range(table.num_rows))[::-1]), parts / "part-1.parquet")
    reader = open_run(tmp_path / "run", 1.0)
    turn = next(turn for turn in range(len(reader)) if reader.pieces(turn)[0].shard == 1)
    with pytest.raises(ManifestError, match="is not the one that the shards were made from"):
        view_step(tmp_path / "run", *divmod(turn, 3))


def test_published_tokenizer_is_found_where_the_recipe_says(
    tmp_path: Path, json_spec: TokenizerSpec, json_model: Path
) -> None:
    data = json_model.read_bytes()
    encoder = open_encoder(json_spec, json_model)
    file = TokenizerFile(hashlib.sha256(data).hexdigest(), len(data), "this test")
    spec = replace(json_spec, vocab_size=encoder.vocab_size, files=(file,))
    run = write_run(tmp_path / "run", encoder, spec, None)
    settings = recipe.load("sample")
    for path in (json_model, tmp_path / "moved.json"):
        tokenize = replace(settings.tokenize, path=str(path))
        (run / "recipe.yaml").write_text(recipe.to_yaml(replace(settings, tokenize=tokenize)))
        if path == json_model:
            assert "<|endoftext|>" in view_step(run, 0)
        else:
            with pytest.raises(SetupError, match=r"no tokenizer file .*moved\.json"):
                view_step(run, 0)
