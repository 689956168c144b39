"""Perplexity under a KenLM model of each language, as CCNet has it: how unlike Wikipedia a text is.

Normalised text, cut into SentencePiece pieces, is one line for a 5-gram model; about 1 MB/s on one core, in KenLM and
SentencePiece. Needs the kenlm package and, of each language, LANGUAGE.sp.model and LANGUAGE.arpa.bin (or .arpa).

Source: cc_net, cc_net/perplexity.py and data/cutoff.csv (Wenzek et al. 2019, arXiv:1911.00359).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from redpajama_pipe.errors import SetupError
from redpajama_pipe.signals.signal import Documents, Family, Signal

_SOURCE = "CCNet (Wenzek et al. 2019, arXiv:1911.00359), cc_net/perplexity.py"
_NULL = "nothing is left of the normalised document, or there is no model of its language"

SIGNALS = (
    Signal(
        "perplexity",
        "1",
        "10 ** (-log10 likelihood / (pieces + 1)) of the normalised text as one line, rounded to one decimal",
        _SOURCE,
        _NULL,
        (0.0, None),
        pa.float64(),
    ),
    Signal(
        "perplexity_bucket",
        "name",
        "head: below the 30th percentile of perplexity that CCNet publishes for the language; middle: below the 60th;"
        " tail; all: it publishes none",
        f"{_SOURCE} and data/cutoff.csv",
        _NULL,
        (0.0, None),
        pa.string(),
    ),
)

# language → (30th, 60th percentile), data/cutoff.csv
CUTOFFS: dict[str, tuple[int, int]] = {
    "af": (540, 770),
    "ar": (490, 790),
    "az": (600, 950),
    "be": (670, 910),
    "bg": (450, 680),
    "bn": (190, 300),
    "ca": (210, 330),
    "cs": (820, 1140),
    "da": (380, 600),
    "de": (370, 590),
    "el": (450, 670),
    "en": (340, 520),
    "es": (180, 290),
    "et": (1270, 1620),
    "fa": (370, 700),
    "fi": (1110, 1500),
    "fr": (180, 330),
    "gu": (1110, 1570),
    "he": (1280, 1710),
    "hi": (480, 790),
    "hr": (720, 910),
    "hu": (80, 140),
    "hy": (750, 1080),
    "id": (600, 970),
    "is": (850, 1190),
    "it": (220, 360),
    "ja": (1110, 1450),
    "ka": (910, 1310),
    "kk": (610, 930),
    "km": (1040, 2180),
    "kn": (2210, 2800),
    "ko": (920, 2130),
    "lt": (190, 270),
    "lv": (1130, 1480),
    "mk": (530, 740),
    "ml": (2430, 3220),
    "mn": (680, 1010),
    "mr": (1380, 1870),
    "my": (2530, 3040),
    "ne": (860, 1130),
    "nl": (430, 650),
    "no": (430, 680),
    "pl": (160, 260),
    "pt": (170, 270),
    "ro": (180, 270),
    "ru": (210, 310),
    "uk": (140, 220),
    "zh": (1460, 1950),
}


def bucket(perplexity: float, language: str) -> str:
    """Name the bucket of a document; both bounds are strict."""
    if language not in CUTOFFS:
        return "all"
    head, middle = CUTOFFS[language]
    return "head" if perplexity < head else "middle" if perplexity < middle else "tail"


def compute(documents: Documents, wanted: Sequence[str]) -> dict[str, pa.Array]:
    """Compute some of this family's signals; see signals.score.

    Raises:
        SetupError: no folder of models is named, there are none in it, or kenlm is not installed.
    """
    folder = documents.resources.perplexity_models
    perplexities: list[float | None] = [None] * len(documents.texts)
    buckets: list[str | None] = [None] * len(documents.texts)
    if folder or not documents.lenient:
        languages = _languages(folder)
        for index, text in enumerate(documents.texts.to_pylist()):
            language = documents.language if isinstance(documents.language, str) else documents.language[index].as_py()
            if text and language in languages:
                value = _load(folder, language).perplexity(text)
                if value is not None:
                    perplexities[index], buckets[index] = value, bucket(value, language)
    columns = {"perplexity": pa.array(perplexities, pa.float64()), "perplexity_bucket": pa.array(buckets, pa.string())}
    return {name: columns[name] for name in wanted}


class LanguageModel:
    """A SentencePiece and a KenLM model of one language.

    Raises:
        SetupError: kenlm is not installed, or a file is no such model.
    """

    def __init__(self, folder: Path, language: str) -> None:
        try:
            import kenlm
        except ImportError:
            raise SetupError("perplexity needs KenLM: pip install 'redpajama-pipe[perplexity]'") from None
        from sentencepiece import SentencePieceProcessor

        model = _model_file(folder, language)
        try:
            self._pieces = SentencePieceProcessor(model_file=str(folder / f"{language}.sp.model"))
            self._model: Any = kenlm.Model(str(model))
        except (OSError, RuntimeError) as error:
            raise SetupError(f"no language model of {language!r} in {folder}: {error}") from error

    def perplexity(self, text: str) -> float | None:
        """Return the perplexity of a document, rounded to one decimal as published; None: no piece is left of it."""
        from redpajama_pipe.text.ccnet import normalize

        line = " ".join(self._pieces.encode(normalize(text), out_type=str))
        if not line:
            return None
        value: float = 10.0 ** (-self._model.score(line) / (len(line.split()) + 1))
        return round(value, 1)


@lru_cache(maxsize=64)
def _load(folder: str, language: str) -> LanguageModel:
    return LanguageModel(Path(folder), language)


@lru_cache(maxsize=4)
def _languages(folder: str) -> frozenset[str]:
    found = frozenset(path.name.split(".")[0] for path in Path(folder).glob("*.sp.model")) if folder else frozenset()
    if not found:
        raise SetupError(
            f"no language models in {folder!r}: set annotate.perplexity_models to a folder with en.sp.model and "
            "en.arpa.bin (CCNet's are at https://dl.fbaipublicfiles.com/cc_net/lm/), or train them: "
            "redpajama-pipe train-language-model"
        )
    return found


def _model_file(folder: Path, language: str) -> Path:
    binary = folder / f"{language}.arpa.bin"
    return binary if binary.is_file() else folder / f"{language}.arpa"


FAMILY = Family("language_model", "perplexity under CCNet's language models, and its buckets", SIGNALS, compute)
