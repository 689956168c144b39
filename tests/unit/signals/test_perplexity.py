from __future__ import annotations

import io
from pathlib import Path

import pyarrow as pa
import pytest

from redpajama_pipe.errors import SetupError
from redpajama_pipe.signals import perplexity, score
from redpajama_pipe.signals.resources import Resources

NAMES = ["perplexity", "perplexity_bucket"]


@pytest.fixture(scope="module")
def models(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """KenLM's toy model, with pieces that are its words."""
    pytest.importorskip("kenlm", reason="KenLM is not installed: pip install 'redpajama-pipe[perplexity]'")
    from sentencepiece import SentencePieceTrainer

    folder = tmp_path_factory.mktemp("models")
    (folder / "en.arpa").write_bytes((real_data / "kenlm" / "test.arpa").read_bytes())
    model = io.BytesIO()
    lines = ["looking on a little more loin also would consider higher to look good the screening foo"] * 50
    SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=model, model_type="word", vocab_size=19, minloglevel=2
    )
    (folder / "en.sp.model").write_bytes(model.getvalue())
    return folder


def test_perplexity_is_kenlm_s_of_the_pieces(models: Path) -> None:
    import kenlm
    from sentencepiece import SentencePieceProcessor

    text = "Looking on\na  LITTLE more, 12 loin"
    pieces = SentencePieceProcessor(model_file=str(models / "en.sp.model")).encode(
        "looking ona  little more, 00 loin", out_type=str
    )
    expected = 10 ** (-kenlm.Model(str(models / "en.arpa")).score(" ".join(pieces)) / (len(pieces) + 1))
    values = score(pa.array([text]), NAMES, resources=Resources(perplexity_models=str(models))).to_pylist()
    assert values == [{"perplexity": round(expected, 1), "perplexity_bucket": perplexity.bucket(expected, "en")}]


def test_other_languages_and_empty_texts_are_null(models: Path) -> None:
    texts = pa.array([None, "", " \n", "\x00", "looking"])
    resources = Resources(perplexity_models=str(models))
    assert score(texts, NAMES, language="de", resources=resources)[0].null_count == 5
    assert score(texts, NAMES, resources=resources)[0].is_valid().to_pylist() == [False] * 4 + [True]
    languages = pa.array([None, "en", "en", "en", "fr"])
    assert score(texts, NAMES, language=languages, resources=resources)[1].null_count == 5


def test_buckets_are_below_the_published_percentiles(real_data: Path) -> None:
    assert [perplexity.bucket(value, "en") for value in (339.9, 340.0, 519.9, 520.0)] == [
        *("head", "middle", "middle", "tail"),
    ]
    assert perplexity.bucket(1.0, "sl") == "all"
    rows = [line.split(",") for line in (real_data / "kenlm" / "ccnet_perplexity_cutoffs.csv").read_text().splitlines()]
    of = {row[0]: row for row in rows}
    table = {name: (int(of["30"][at]), int(of["60"][at])) for at, name in enumerate(rows[0]) if name}
    assert table == perplexity.CUTOFFS


def test_no_models_is_said_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"no language models in .*train-language-model"):
        score(pa.array(["a"]), NAMES, resources=Resources(perplexity_models=str(tmp_path)))
