from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from redpajama_pipe.errors import SetupError
from redpajama_pipe.settings.models import Quality
from redpajama_pipe.signals import score
from redpajama_pipe.signals.fasttext_library import load_model
from redpajama_pipe.signals.quality import line_of, quality
from redpajama_pipe.signals.resources import Resources
from redpajama_pipe.stages.train_quality_classifier import measure, summarise, train_model

SETTINGS = Quality(dimension=8, epochs=20, learning_rate=0.5)
GOOD, BAD = "the river was first described in a survey of 1901", "buy cheap watches now click here best price"


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("quality") / "lines.txt"
    texts = [f"__label__wiki {GOOD} {number}\n__label__cc {BAD} {number}\n" for number in range(100)]
    path.write_text("".join(texts))
    return path


@pytest.fixture(scope="module")
def model(lines: Path) -> Path:
    return train_model(lines, lines.with_name("model.bin"), SETTINGS)


def test_model_tells_what_it_was_trained_on(model: Path) -> None:
    texts = pa.array([GOOD.replace(" ", "\n"), BAD, None, "", " \n "])
    values = score(texts, ["quality_score"], resources=Resources(quality_model=str(model)))[0].to_pylist()
    assert values[0] > 0.9
    assert values[1] < 0.1
    assert values[2:] == [None] * 3


def test_score_is_the_library_s_probability_of_the_positive_label(model: Path) -> None:
    classifier = load_model(str(model))
    for text in (GOOD, BAD):
        of = {label: value for value, label in classifier.f.predict(f"{text}\n", 2, 0.0, "strict")}
        assert quality(classifier, text) == pytest.approx(of["__label__wiki"], abs=1e-4)


def test_same_lines_give_the_same_model(lines: Path, model: Path, tmp_path: Path) -> None:
    assert train_model(lines, tmp_path / "again.bin", SETTINGS).read_bytes() == model.read_bytes()


def test_figures_are_precision_recall_and_area() -> None:
    scores = np.array([0.95, 0.6, 0.3, 0.3, 0.05])
    positive = np.array([True, True, False, True, False])
    figures = summarise(scores, positive)
    assert figures["thresholds"]["0.25"] == {"precision": 3 / 4, "recall": 1.0, "kept": 4 / 5}
    assert figures["thresholds"]["0.5"] == {"precision": 1.0, "recall": 2 / 3, "kept": 2 / 5}
    assert figures["area_under_roc"] == pytest.approx((2 + 2 + 1.5) / 6)
    assert summarise(scores[:0], positive[:0])["thresholds"]["0.5"]["precision"] is None


def test_held_out_lines_are_measured(model: Path, lines: Path) -> None:
    figures = measure(model, lines)
    assert figures["documents"] == 200
    assert figures["area_under_roc"] == 1.0


def test_document_becomes_one_line() -> None:
    assert line_of(" a\nb\r\nc\u2028d ") == "a b c d"


def test_no_model_is_said_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"annotate\.quality_model"):
        score(pa.array(["a"]), ["quality_score"])
    (tmp_path / "not.bin").write_bytes(b"nothing")
    with pytest.raises(SetupError, match=r"not\.bin is not a fastText model"):
        load_model(str(tmp_path / "not.bin"))
