"""Models that are trained here against KenLM's own reading of them; KenLM's programs are asked for, where they are."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pyarrow as pa
import pytest

from redpajama_pipe.errors import RecipeError
from redpajama_pipe.settings.models import Perplexity
from redpajama_pipe.signals import perplexity, score
from redpajama_pipe.signals.resources import Resources
from redpajama_pipe.stages.train_language_model import PROGRAMS, train_models
from redpajama_pipe.text.ccnet import normalize

TEXT = "the old stone bridge over a river was built in every valley of this town and its market stands near"
SETTINGS = Perplexity(vocab_size=60, memory="100M")


def corpus(count: int) -> list[str]:
    choose = random.Random(0)
    return [normalize(" ".join(choose.choices(TEXT.split(), k=12)) + f" {number}.") for number in range(count)]


def programs() -> tuple[str, str]:
    pytest.importorskip("kenlm", reason="KenLM is not installed: pip install 'redpajama-pipe[perplexity]'")
    found = [shutil.which(program) for program in PROGRAMS]
    if None in found:
        pytest.skip("KenLM's lmplz and build_binary are not on the PATH: build github.com/kpu/kenlm with cmake")
    return str(found[0]), str(found[1])


def train(folder: Path, lines: list[str], settings: Perplexity = SETTINGS) -> tuple[Path, Path]:
    folder.mkdir(exist_ok=True)
    (folder / "lines.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return train_models(folder / "lines.txt", folder, settings, programs())


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of models as the signals want it, and beside them the ARPA file."""
    folder = tmp_path_factory.mktemp("trained")
    pieces, model = train(folder, corpus(400))
    pieces.rename(folder / "en.sp.model")
    model.rename(folder / "en.arpa.bin")
    return folder


def test_kenlm_reads_both_forms_alike(trained: Path) -> None:
    import kenlm

    binary, arpa = kenlm.Model(str(trained / "en.arpa.bin")), kenlm.Model(str(trained / "model.arpa"))
    assert binary.order == arpa.order == 5
    for line in (trained / "pieces.txt").read_text(encoding="utf-8").splitlines()[:20]:
        assert binary.score(line) == arpa.score(line) < 0


def test_perplexity_is_cc_net_s_reading_of_a_trained_model(trained: Path) -> None:
    """cc_net/perplexity.py, DocLM.do: 10 ** (-score / (pieces + 1)) of the document's one line, to one decimal."""
    import kenlm
    from sentencepiece import SentencePieceProcessor

    pieces = SentencePieceProcessor(model_file=str(trained / "en.sp.model"))
    model = kenlm.Model(str(trained / "en.arpa.bin"))
    texts = [
        "The old\nstone bridge, built in 1850.",
        "Zebras quibble xylophonically",
        "river " * 300,
        "é日本 <s> </s> <unk>",
    ]
    expected = []
    for text in texts:
        line = " ".join(pieces.encode(normalize(text), out_type=str))
        expected.append(round(10.0 ** (-model.score(line) / (len(line.split()) + 1)), 1))
    found = score(
        pa.array(texts), ["perplexity", "perplexity_bucket"], resources=Resources(perplexity_models=str(trained))
    )
    assert found[0].to_pylist() == expected
    assert found[1].to_pylist() == [perplexity.bucket(value, "en") for value in expected]
    assert expected[0] < expected[1]  # what it was trained on is likelier


def test_equal_lines_give_equal_models(trained: Path, tmp_path: Path) -> None:
    pieces, model = train(tmp_path / "again", corpus(400), Perplexity(vocab_size=60, memory="200M"))
    assert pieces.read_bytes() == (trained / "en.sp.model").read_bytes()
    assert model.read_bytes() == (trained / "en.arpa.bin").read_bytes()


def test_little_text_is_enough_as_it_is_in_cc_net(tmp_path: Path) -> None:
    _, model = train(tmp_path / "little", corpus(3), Perplexity(vocab_size=40, memory="100M"))
    import kenlm

    assert kenlm.Model(str(model)).order == 5


def test_what_lmplz_says_is_passed_on(tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as refused:
        train(tmp_path / "memory", corpus(3), Perplexity(vocab_size=40, memory="1K"))
    assert str(refused.value).startswith("lmplz failed: Sort block size ")


def stand_ins(folder: Path) -> tuple[str, str]:
    for name, script in (("lmplz", f"cat > /dev/null; echo $@ > {folder}/given"), ("build_binary", 'cp "$1" "$2"')):
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    return str(folder / "lmplz"), str(folder / "build_binary")


def test_lmplz_is_called_as_cc_net_calls_it(tmp_path: Path) -> None:
    (tmp_path / "lines.txt").write_text("".join(f"{line}\n" for line in corpus(50)))
    train_models(tmp_path / "lines.txt", tmp_path, SETTINGS, stand_ins(tmp_path))
    assert (tmp_path / "given").read_text().split() == [
        *("-o", "5", "-S", "100M", "-T", str(tmp_path), "--vocab_estimate", "60", "--discount_fallback"),
    ]


def test_pieces_are_learnt_from_long_documents_too(tmp_path: Path) -> None:
    from sentencepiece import SentencePieceProcessor

    lines = [*corpus(50), "qwpz " * 2000]
    (tmp_path / "lines.txt").write_text("".join(f"{line}\n" for line in lines))
    pieces, _ = train_models(tmp_path / "lines.txt", tmp_path, SETTINGS, stand_ins(tmp_path))
    assert SentencePieceProcessor(model_file=str(pieces)).encode("qwpz", out_type=str) == ["▁qwpz"]
