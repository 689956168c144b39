import hashlib

import datasketch
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redpajama_pipe.dedup.minhash import (
    MinHashSpec,
    _lower_mersenne,
    permutations,
    read_signatures,
    sign,
    sign_batch,
    to_datasketch,
)
from redpajama_pipe.errors import RecipeError
from redpajama_pipe.settings.annotate import MinHash

DATASKETCH = ("legacy", "affine32", "affine64")
FOX = "the quick brown fox"
TEXTS = ["a b c d e f", None, "one two", "", "a b c d e g", "日本語のテキスト", "x " * 3000]


def spec(num_perm: int = 16, shingle: int = 1, normalization: str = "none", scheme: str = "affine32", seed: int = 1):
    return MinHashSpec(num_perm, shingle, normalization, scheme, seed, 1, num_perm)


def reference(text: str, spec: MinHashSpec) -> datasketch.MinHash:
    minhash = datasketch.MinHash(num_perm=spec.num_perm, seed=spec.seed, scheme=spec.scheme)
    words = text.split()
    for i in range(len(words) - spec.shingle + 1):
        minhash.update(" ".join(words[i : i + spec.shingle]).encode())
    return minhash


@pytest.mark.parametrize(
    ("scheme", "values"),
    [
        # datasketch 1.6.5 and 2.0.0: MinHash(num_perm=8, seed=1) of the four words
        ("legacy", "407326892 34383241 44059036 1893391287 136245013 1552394070 196634065 2069430456"),
        ("affine32", "529437859 342517004 6162948 48413517 673604544 1319524931 602105657 1437118808"),
        (
            "affine64",
            "939943788422810586 2482552236163993140 3258735815181164610 2539584326104369204 "
            "1126460329920722595 1475564337854628489 881342743402127990 459835550718126180",
        ),
    ],
)
def test_datasketch_golden(scheme: str, values: str) -> None:
    assert sign(pa.array([FOX]), spec(8, scheme=scheme)).tolist() == [[int(value) for value in values.split()]]


@pytest.mark.parametrize(
    ("scheme", "values"),
    [
        # datatrove 0.10.1, 14 buckets of 8: bucket 0 of the nine words
        (
            "datatrove_sha1",
            "585594454516184072 284080765670708113 594234408324153881 226360113463360020 "
            "42312182183823545 295150809832830541 316606424307206655 439255022718586444",
        ),
        (
            "datatrove",
            "85330943174081874 663359892825767826 302227827184868053 34440879854629237 "
            "1270900061947546662 117899488208280896 922286648869847700 204404170303891102",
        ),
    ],
)
def test_datatrove_golden(scheme: str, values: str) -> None:
    texts = pa.array(["the quick brown fox jumps over the lazy dog"])
    found = sign(texts, MinHashSpec(normalization="none", scheme=scheme))
    assert found[0, :8].tolist() == [int(value) for value in values.split()]


@pytest.mark.parametrize("total", [0, 1, 2**61 - 2, 2**61 - 1, 2**61, 2**62 - 2, 2**63, 2**64 - 8, 2**64 - 1])
def test_the_remainder_is_exact_at_its_edges(total: int) -> None:
    signatures = np.full((1, 1), 2**64 - 1, np.uint64)
    one, zero, scratch = np.ones(1, np.int64), np.zeros(1, np.int64), np.zeros(2048, np.uint64)
    factors, terms, least = np.zeros(8, np.uint64), np.full(8, total, np.uint64), np.zeros(8, np.uint64)
    _lower_mersenne(
        np.array([1], np.uint64), zero, one, factors, terms, np.uint64(2**64 - 1), signatures, least, scratch
    )
    assert int(signatures[0, 0]) == total % (2**61 - 1)


def test_redpajama_v2_golden() -> None:
    published = MinHashSpec(128, 13, "redpajama_v2", "redpajama_v2", 42, 9, 13)
    found = sign(pa.array(["A b, c d e f g h i j k l m n o!"]), published)
    assert found.dtype == np.uint32
    assert found[0, :5].tolist() == [97847695, 441039253, 3090676666, 1619069831, 152263038]
    # bands are stored as big-endian bytes
    assert found[0, :5].astype(">u4").tobytes().hex() == "05d5098f1a49b995b837fbba60810b870913597e"
    pairs = np.array(permutations(published), "<u8").tobytes()
    assert hashlib.sha256(pairs).hexdigest() == "6a5665743fa1884640a8eb3543348255a90b4dbd55b093f39e3d61ac90eac9e1"


@pytest.mark.parametrize("scheme", DATASKETCH)
@settings(max_examples=40)
@given(
    texts=st.lists(st.text(st.characters(codec="utf-8"), max_size=80), max_size=4),
    shingle=st.integers(1, 4),
    num_perm=st.integers(1, 70),
    seed=st.integers(0, 2**32 - 1),
)
def test_signatures_are_those_of_datasketch(
    texts: list[str], shingle: int, num_perm: int, seed: int, scheme: str
) -> None:
    made = spec(num_perm, shingle, scheme=scheme, seed=seed)
    found = sign(pa.array(texts, pa.string()), made)
    assert found.shape == (len(texts), num_perm)
    assert found.tolist() == [reference(text, made).hashvalues.tolist() for text in texts]


@pytest.mark.parametrize("scheme", DATASKETCH)
def test_long_documents_are_signed_as_datasketch_does(scheme: str) -> None:
    text = " ".join(str(i * i) for i in range(20_000))
    made = spec(20, 3, scheme=scheme)
    assert sign(pa.array(["a b c", text, "d e f"]), made)[1].tolist() == reference(text, made).hashvalues.tolist()


@pytest.mark.parametrize("scheme", DATASKETCH)
def test_a_stored_column_becomes_datasketch_s_objects(scheme: str) -> None:
    made = spec(16, 2, scheme=scheme, seed=3)
    for text, found in zip(TEXTS, to_datasketch(sign_batch(pa.array(TEXTS), made), made), strict=True):
        expected = reference(text or "", made)
        assert found == expected
        for each in (found, expected):
            each.update(b"one more")  # which its permutations decide
        assert found == expected


def test_a_scheme_that_datasketch_has_not_is_named() -> None:
    with pytest.raises(ValueError, match="no scheme 'datatrove'; it has: affine32, affine64, legacy"):
        to_datasketch(pa.array([], pa.binary()), spec(scheme="datatrove"))


def test_datasketch_reads_the_signatures_and_its_index_answers_the_same() -> None:
    words = [f"w{i}" for i in range(400)]
    texts = [" ".join(words[i : i + 300]) for i in range(0, 100, 7)]
    made = MinHashSpec(normalization="none")
    ours = sign(pa.array(texts), made)
    lsh_of_ours = datasketch.MinHashLSH(params=(14, 8), num_perm=112)
    lsh = datasketch.MinHashLSH(params=(14, 8), num_perm=112)
    lean = [datasketch.LeanMinHash(seed=1, hashvalues=row, scheme="affine32") for row in ours]
    for i, text in enumerate(texts):
        lsh_of_ours.insert(i, lean[i])
        lsh.insert(i, reference(text, made))
    answers = [sorted(lsh_of_ours.query(each)) for each in lean]
    assert answers == [sorted(lsh.query(reference(text, made))) for text in texts]
    assert any(len(answer) > 1 for answer in answers)
    assert lean[0].jaccard(reference(texts[1], made)) == reference(texts[0], made).jaccard(reference(texts[1], made))


@pytest.mark.parametrize("scheme", ["affine32", "affine64", "legacy", "datatrove_sha1"])
def test_a_document_shorter_than_a_shingle_has_no_signature(scheme: str) -> None:
    made = MinHashSpec(normalization="words", scheme=scheme)
    texts = pa.array(["one two three four", "one two three four five", None, "", "!!!"])
    rows, column = sign(texts, made), sign_batch(texts, made)
    assert column.is_valid().to_pylist() == [False, True, False, False, False]
    greatest = np.iinfo(made.dtype).max
    assert (rows[[0, 2, 3, 4]] == greatest).all()
    assert (rows[1] < greatest).all()


@pytest.mark.parametrize("scheme", ["affine32", "affine64", "legacy"])
@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_the_column_holds_little_endian_values_and_is_read_back(scheme: str, kind: pa.DataType) -> None:
    made = MinHashSpec(16, 3, "words", scheme, 1, 4, 4)
    texts = pa.array(TEXTS, kind)
    column = sign_batch(texts, made)
    column.validate(full=True)
    assert column.type == pa.binary()
    assert column.null_count == 3
    rows = sign(texts, made)
    width = 8 if scheme == "affine64" else 4
    assert rows.dtype.itemsize == width
    assert column[0].as_py() == b"".join(int(value).to_bytes(width, "little") for value in rows[0])
    assert (read_signatures(column, made) == rows).all()
    assert (read_signatures(column[1:5], made) == rows[1:5]).all()
    assert (read_signatures(column[:0], made) == rows[:0]).all()
    parquet_like = pa.array(column.to_pylist(), pa.large_binary())
    assert (read_signatures(parquet_like, made) == rows).all()


def test_slices_are_signed_as_their_documents() -> None:
    made = MinHashSpec(shingle=2)
    texts = pa.array(TEXTS)
    assert sign_batch(texts[2:6], made).equals(sign_batch(texts, made)[2:6])
    assert len(sign_batch(texts[:0], made)) == 0
    assert sign(texts[:0], made).shape == (0, 112)


def test_reading_with_another_spec_is_refused() -> None:
    column = sign_batch(pa.array(["a b c d e"]), MinHashSpec())
    with pytest.raises(ValueError, match="a signature has 448 bytes; 112 values of affine64 are 896"):
        read_signatures(column, MinHashSpec(scheme="affine64"))


def test_documents_of_a_batch_do_not_influence_each_other() -> None:
    made = MinHashSpec(shingle=2)
    texts = [f"{i} {i + 1} {i % 7} " * (i % 50 + 1) for i in range(2000)]
    together = sign(pa.array(texts), made)
    for i in (0, 1, 777, 1999):
        assert (sign(pa.array([texts[i]]), made)[0] == together[i]).all()


def test_a_recipe_s_settings_become_the_spec() -> None:
    assert MinHashSpec.of(MinHash()) == MinHashSpec()
    made = MinHashSpec.of(MinHash(bands=9, rows=13, scheme="legacy"))
    assert (made.num_perm, made.bands, made.rows, made.scheme) == (117, 9, 13, "legacy")


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"bands": 20}, "minhash: 20 bands of 8 rows need 160 values; num_perm is 112"),
        ({"shingle": 0}, "minhash: shingle is 0; it must be at least 1"),
        ({"normalization": "nfc"}, "minhash: no normalization 'nfc'; there are: words, none, redpajama_v2"),
        ({"scheme": "affine"}, "minhash: no scheme 'affine'; there are: affine32, affine64, legacy, "),
        ({"seed": -1}, "minhash: seed is -1; it must be in 0 to 4294967295"),
        ({"scheme": "redpajama_v2"}, "minhash: seed is 1; the scheme redpajama_v2 is defined with seed 42"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, object], text: str) -> None:
    with pytest.raises(RecipeError) as error:
        MinHashSpec(**settings)  # type: ignore[arg-type]
    assert str(error.value).startswith(text)


@pytest.mark.parametrize(("num_perm", "bands", "rows"), [(112, 14, 8), (128, 14, 8), (8, 1, 8), (20, 2, 8), (3, 1, 3)])
def test_bands_and_rows_left_out_fit_the_signature(num_perm: int, bands: int, rows: int) -> None:
    made = MinHashSpec(num_perm)
    assert (made.bands, made.rows) == (bands, rows)
    assert made == MinHashSpec(num_perm, bands=bands, rows=rows)
