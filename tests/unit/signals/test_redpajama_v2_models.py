import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from redpajama_pipe.errors import SetupError
from redpajama_pipe.signals import redpajama_v2_features, redpajama_v2_models, score
from redpajama_pipe.signals.redpajama_v2_models import Bag, Counted, count_features, write_bag
from redpajama_pipe.signals.resources import Resources

WIKI = ["The cat sat on the mat, in a house of 3 rooms.", "Ein Haus. Η γάτα! 日本語 and more"]
CCNET = ["click here to buy now!!!", "sign up for our newsletter, the best deals", "cookies the policy"]
TEXTS = ["the cat sat on a mat", "buy now, the best cat", "", None, "日本語 ½ \U0001f600 é"]


def published(artifacts: str, texts: list[str]) -> list[list[float]]:
    """Count and weigh as the published utils/dsir.py and importance_weights.py do, with hash() itself."""
    code = """
import json, re, sys, numpy as np
def features(text):
    raw = re.findall(r"\\w+|[^\\w\\s]+", text)
    counts = np.zeros(10000, dtype=np.int64)
    for gram in [*raw, *zip(raw, raw[1:])]:
        counts[int(abs(hash(gram)) % 10000)] += 1
    return counts
t, s = (np.load(f"{sys.argv[1]}/dsir/en/{d}.en.10000.counts.npy") for d in ("wikipedia", "ccnet"))
diff = np.array(np.log(t / t.sum() + 1e-8) - np.log(s / s.sum() + 1e-8))
counts = [features(text) for text in json.loads(sys.argv[2])]
print(json.dumps([[round(float(np.inner(each, diff)), 8), each.tolist()] for each in counts]))
"""
    environment = {**os.environ, "PYTHONHASHSEED": "42"}
    arguments = [sys.executable, "-c", code, artifacts, json.dumps(texts)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True, env=environment)
    found: list[list[float]] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("artifacts")
    write_bag(count_features(WIKI).bag, str(folder), "en", "wikipedia")
    write_bag(count_features(CCNET).bag, str(folder), "en", "ccnet")
    (folder / "bad_urls").mkdir()
    (folder / "bad_urls/domain_to_category_id.json").write_text(json.dumps({"bad.example": 7, "worse.example": 0}))
    return folder


def hash_text(text: str) -> int:
    """hash(text), from the kernel's 64 bits without a sign."""
    codes = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    value = int(redpajama_v2_features._hash_text(codes, 0, len(codes)))
    return value - (value >> 63 << 64)


def test_hashes_are_those_of_cpython() -> None:
    assert [abs(hash_text(word)) % 10000 for word in ("the", "é", "日本語")] == [2820, 3245, 7137]
    assert hash_text("") == 0
    bag = count_features(["the cat"]).bag
    assert np.flatnonzero(bag.counts).tolist() == sorted({2820, 7419, abs(hash_text("cat")) % 10000})
    assert bag.mean_words == 2.0


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=30), min_size=20, max_size=20))
def test_any_string_has_its_hash_under_every_seed(texts: list[str]) -> None:
    assert len({hash_text(text) for text in texts}) == len(set(texts))
    assert all(-(2**63) <= hash_text(text) < 2**63 for text in texts)


def test_importance_is_the_published_sum_over_hash(artifacts: Path) -> None:
    texts = [text for text in TEXTS if text]
    names = ["rps_doc_wikipedia_importance", "rps_doc_wikipedia_importance_length_correction"]
    found = score(pa.array(TEXTS), names, resources=Resources(artifacts=str(artifacts)))
    wanted = published(str(artifacts), texts)
    assert [value for value in found[0].to_pylist() if value is not None] == [value for value, _ in wanted]
    assert [count_features([text]).counts.tolist() for text in texts] == [features for _, features in wanted]
    assert found[0].to_pylist()[2:4] == [None, None]
    # The length is in characters, though the means are of words: as published.
    lengths = [stats.poisson.pmf(len(texts[0]), count_features(bag).bag.mean_words) for bag in (WIKI, CCNET)]
    term = float(np.log(lengths[0] + 1e-8) - np.log(lengths[1] + 1e-8))
    assert found[1][0].as_py() == pytest.approx(wanted[0][0] + term, abs=2e-8)


def test_importance_is_null_for_a_language_or_domain_without_counts(artifacts: Path) -> None:
    resources = Resources(artifacts=str(artifacts))
    languages = pa.array(["en", "de", None])
    found = score(pa.array(["a b"] * 3), ["rps_doc_wikipedia_importance"], language=languages, resources=resources)
    assert found[0].is_valid().to_pylist() == [True, False, False]


def test_models_by_name_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REDPAJAMA_PIPE_RPV2_ARTIFACTS", raising=False)
    needed = {
        "rps_doc_ml_palm_score": "classifiers/LANGUAGE/palm",
        "rps_doc_books_importance": "dsir/LANGUAGE/books",
        "rps_doc_ut1_blacklist": "bad_urls/domain_to_category_id.json",
    }
    for name, file in needed.items():
        with pytest.raises(SetupError, match=file):
            score(pa.array(["a"]), [name])
    with pytest.raises(SetupError, match=r"set annotate\.artifacts .*\(train-importance-bags makes one\)"):
        score(pa.array(["a"]), ["rps_doc_books_importance"])


def test_counts_of_two_sizes_are_refused(tmp_path: Path) -> None:
    write_bag(Bag(np.ones(10, np.int64), 3.0), str(tmp_path), "en", "books")
    write_bag(Bag(np.ones(20, np.int64), 3.0), str(tmp_path), "en", "ccnet")
    with pytest.raises(SetupError, match="books has 10 buckets, ccnet 20"):
        score(pa.array(["a"]), ["rps_doc_books_importance"], resources=Resources(artifacts=str(tmp_path)))


def test_counts_of_two_halves_are_those_of_the_whole() -> None:
    whole = count_features([*WIKI, *CCNET, ""])
    halves = Counted.none() + count_features(WIKI) + count_features([*CCNET, ""])
    assert halves.counts.tolist() == whole.counts.tolist()
    words = sum(len(re.findall(r"\w+|[^\w\s]+", text)) for text in [*WIKI, *CCNET])
    assert (halves.documents, halves.words) == (whole.documents, whole.words) == (6, words)
    assert whole.bag.mean_words == words / 6


def test_a_bag_lies_in_the_published_files(tmp_path: Path) -> None:
    # app/src/artifacts/hash_dist.py: np.save of the counts, and of words / documents
    bag = count_features(WIKI).bag
    paths = [Path(path) for path in write_bag(bag, str(tmp_path), "de", "books")]
    assert paths == [tmp_path / "dsir/de" / name for name in ("books.de.10000.counts.npy", "books.de.lambda.npy")]
    np.save(tmp_path / "counts.npy", bag.counts)
    np.save(tmp_path / "mean.npy", np.asanyarray(bag.mean_words))
    assert [path.read_bytes() for path in paths] == [(tmp_path / n).read_bytes() for n in ("counts.npy", "mean.npy")]


def test_blacklist_knows_the_exact_host(artifacts: Path) -> None:
    addresses = ["http://bad.example/x", "https://www.bad.example", "http://worse.example:80/", "http://[x", None]
    urls = pa.array([*addresses, "https://worse.example/?q"])
    resources = Resources(artifacts=str(artifacts))
    found = score(pa.array(["a"] * 6), ["rps_doc_ut1_blacklist"], urls=urls, resources=resources)
    assert found[0].to_pylist() == [7, None, None, None, None, 0]
    assert score(pa.array(["a"]), ["rps_doc_ut1_blacklist"], resources=resources)[0].to_pylist() == [None]


def test_classifier_scores_are_the_librarys(tmp_path: Path, real_data: Path) -> None:
    import fasttext

    folder = tmp_path / "classifiers/en"
    folder.mkdir(parents=True)
    shutil.copy(real_data / "langid/lid.176.ftz", folder / "palm.en.bin")
    texts = ["rome is a\ntown\u2028in the north", "buy cheap\r\nbags ", "", None]
    found = score(pa.array(texts), ["rps_doc_ml_palm_score"], resources=Resources(artifacts=str(tmp_path)))
    model = fasttext.FastText._FastText(str(folder / "palm.en.bin"))
    lines = ("rome is a town in the north", "buy cheap bags")
    wanted = [round(model.f.predict(line + "\n", 1, 0.0, "strict")[0][0], 8) for line in lines]
    assert found[0].to_pylist() == [*wanted, None, None]


def test_a_score_says_how_likely_the_text_is_not_of_ccnet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Stub:
        def predict(self, line: str, *_: object) -> list[tuple[float, str]]:
            return {"good\n": [(0.75, "__label__wiki")], "poor\n": [(0.75, "__label__cc")]}.get(line, [])

    (tmp_path / "classifiers/en").mkdir(parents=True)
    (tmp_path / "classifiers/en/wikipedia.en.bin").write_bytes(b"")
    monkeypatch.setattr(redpajama_v2_models, "load_model", lambda _: SimpleNamespace(f=Stub()))
    resources = Resources(artifacts=str(tmp_path))
    found = score(pa.array(["good", "poor\n", " "]), ["rps_doc_ml_wikipedia_score"], resources=resources)
    assert found[0].to_pylist() == [0.75, 0.25, None]


def test_a_broken_classifier_is_named(tmp_path: Path) -> None:
    (tmp_path / "classifiers/en").mkdir(parents=True)
    (tmp_path / "classifiers/en/wikiref.en.bin").write_bytes(b"no model")
    with pytest.raises(SetupError, match=r"wikiref.en.bin is not a fastText model"):
        score(pa.array(["a"]), ["rps_doc_ml_wikiref_score"], resources=Resources(artifacts=str(tmp_path)))
