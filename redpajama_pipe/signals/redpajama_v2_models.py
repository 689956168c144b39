"""RedPajama-V2's classifier scores and importance weights, from the files its own preparation scripts write.

Artifacts folder: classifiers/LANGUAGE/DOMAIN.*.bin are fastText models; dsir/LANGUAGE/DOMAIN.*.counts.npy, (buckets,)
int64, and DOMAIN.*.lambda.npy, the mean number of raw words, make a bag of words; DOMAIN is ccnet for the source. About
10 MB/s: the published sums are repeated as they are, one document at a time.

Source: RedPajama-Data, app/src/core/quality_signals/classifiers.py and importance_weights.py; importance is that of
DSIR, Xie et al. 2023, arXiv:2302.03169.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from redpajama_pipe import storage
from redpajama_pipe.errors import SetupError
from redpajama_pipe.signals.fasttext_library import load_model
from redpajama_pipe.signals.resources import ARTIFACTS_ENVIRONMENT, Resources
from redpajama_pipe.signals.signal import Documents

SOURCE = "ccnet"
BUCKETS = 10_000
_CCNET_LABEL = "__label__cc"

Scorer = Callable[[str], float | None]


class Bag(NamedTuple):
    """How often each hashed word and bigram occurs in a domain.

    Attributes:
        counts: (buckets,).
        mean_words: raw words of a document.
    """

    counts: NDArray[np.int64]
    mean_words: float


@dataclass(frozen=True)
class Counted:
    """What is counted of some documents of a domain; the sum of two is that of both.

    Attributes:
        counts: (buckets,).
        documents: how many.
        words: raw words of all of them.
    """

    counts: NDArray[np.int64]
    documents: int
    words: int

    def __add__(self, other: Counted) -> Counted:
        return Counted(self.counts + other.counts, self.documents + other.documents, self.words + other.words)

    @classmethod
    def none(cls) -> Counted:
        """Return what is counted of no documents."""
        return cls(np.zeros(BUCKETS, np.int64), 0, 0)

    @property
    def bag(self) -> Bag:
        """The domain's bag; there is at least one document."""
        return Bag(self.counts, self.words / self.documents)


def scores(documents: Documents, wanted: Sequence[str]) -> dict[str, pa.Array]:
    """Compute the signals among these that need a model, each null where its language has none.

    Raises:
        SetupError: one is wanted by name, and its model is there for no language.
    """
    languages = [documents.language] if isinstance(documents.language, str) else documents.language.unique().to_pylist()
    scorers: dict[str, dict[str | None, Scorer]] = {}
    for name in wanted:
        kind = _kind(name)
        if kind is None:
            continue
        pattern, make = kind
        if not documents.lenient and documents.resources.artifact(pattern.format("*")) is None:
            made_by = " (train-importance-bags makes one)" if "_importance" in name else ""
            raise SetupError(
                f"{name} needs {pattern.format('LANGUAGE')} in RedPajama-V2's artifacts: set annotate.artifacts or "
                f"{ARTIFACTS_ENVIRONMENT} to a folder with it{made_by}"
            )
        made = {language: make(documents.resources, language) for language in languages if language is not None}
        scorers[name] = {language: scorer for language, scorer in made.items() if scorer is not None}
    values: dict[str, list[float | None]] = {name: [None] * len(documents.texts) for name in scorers}
    if any(scorers.values()):
        for index, text in enumerate(documents.texts):
            if not text.is_valid or not (string := text.as_py()):
                continue
            spoken = documents.language if isinstance(documents.language, str) else documents.language[index].as_py()
            for name, of_language in scorers.items():
                if spoken in of_language:
                    values[name][index] = of_language[spoken](string)
    return {name: pa.array(column, pa.float64()) for name, column in values.items()}


def count_features(texts: Iterable[str], buckets: int = BUCKETS) -> Counted:
    """Count the hashed words and bigrams of texts, as the published app/src/artifacts/hash_dist.py does."""
    from redpajama_pipe.signals.redpajama_v2_features import add_features

    counts = np.zeros(buckets, np.int64)
    documents = words = 0
    for text in texts:
        words += add_features(text, counts)
        documents += 1
    return Counted(counts, documents, words)


def write_bag(bag: Bag, artifacts: str, language: str, domain: str) -> tuple[str, str]:
    """Write a bag where `scores` finds it, in the published files.

    Args:
        bag: of the domain.
        artifacts: a path or a URL.
        language: of its documents.
        domain: wikipedia, openwebtext or books; ccnet for the source they are compared with.

    Returns:
        The paths of the counts and of the mean.
    """
    folder = storage.join(artifacts, "dsir", language)
    counts = storage.join(folder, f"{domain}.{language}.{len(bag.counts)}.counts.npy")
    mean = storage.join(folder, f"{domain}.{language}.lambda.npy")
    for path, values in ((counts, bag.counts), (mean, np.float64(bag.mean_words))):
        written = BytesIO()
        np.save(written, values)
        storage.write_bytes(path, written.getvalue())
    return counts, mean


def _kind(name: str) -> tuple[str, Callable[[Resources, str], Scorer | None]] | None:
    """Return the pattern of the file that a signal needs, and what makes its scorer for a language."""
    short = name.removeprefix("rps_doc_")
    if short.startswith("ml_"):
        domain = short.removeprefix("ml_").removesuffix("_score")
        return f"classifiers/{{}}/{domain}.*bin", partial(_classifier, domain)
    domain, importance, correction = short.partition("_importance")
    if not importance:
        return None
    return f"dsir/{{}}/{domain}.*counts.npy", partial(_importance, domain, bool(correction))


def _classifier(domain: str, resources: Resources, language: str) -> Scorer | None:
    path = resources.artifact(f"classifiers/{language}/{domain}.*bin")
    return None if path is None else partial(_classify, load_model(str(path)))


def _classify(model: Any, text: str) -> float | None:
    line = " ".join(text.splitlines()).strip()
    # What the library's predict() calls, which fails with NumPy 2.
    found = model.f.predict(line + "\n", 1, 0.0, "strict")
    if not found:
        return None
    probability, label = found[0]
    return round(float(1 - probability if label == _CCNET_LABEL else probability), 8)


def _importance(domain: str, correction: bool, resources: Resources, language: str) -> Scorer | None:
    target, source = _bag(resources, language, domain), _bag(resources, language, SOURCE)
    if target is None or source is None:
        return None
    if len(target.counts) != len(source.counts):
        raise SetupError(
            f"dsir/{language}: {domain} has {len(target.counts)} buckets, {SOURCE} {len(source.counts)}; "
            "count both anew"
        )
    to, of = target.counts / target.counts.sum(), source.counts / source.counts.sum()
    weights = np.array(np.log(to + 1e-8) - np.log(of + 1e-8))
    if not correction:
        return lambda text: round(_weigh(text, weights), 8)
    return lambda text: round(_weigh(text, weights) + _length_term(len(text), target.mean_words, source.mean_words), 8)


def _weigh(text: str, weights: NDArray[np.float64]) -> float:
    from redpajama_pipe.signals.redpajama_v2_features import add_features

    counts = np.zeros(len(weights), np.int64)
    add_features(text, counts)
    return float(np.inner(counts, weights))


def _length_term(chars: int, target: float, source: float) -> float:
    from scipy import stats

    likely, usual = stats.poisson.pmf(chars, target), stats.poisson.pmf(chars, source)
    return float(np.log(likely + 1e-8) - np.log(usual + 1e-8))


def _bag(resources: Resources, language: str, domain: str) -> Bag | None:
    counts = resources.artifact(f"dsir/{language}/{domain}.*counts.npy")
    mean = resources.artifact(f"dsir/{language}/{domain}.*lambda.npy")
    if counts is None:
        return None
    if mean is None:
        raise SetupError(f"{counts} is there, but no {domain}.{language}.lambda.npy beside it")
    return Bag(np.load(counts), float(np.load(mean)))
