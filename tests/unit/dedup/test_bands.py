import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from redpajama_pipe.dedup.bands import band_keys, lsh_probability


@given(st.lists(st.lists(st.integers(0, 2), min_size=6, max_size=6), max_size=12))
def test_keys_are_equal_exactly_when_the_rows_of_the_band_are(rows: list[list[int]]) -> None:
    signatures = np.array(rows, np.uint32).reshape(-1, 6)
    keys = band_keys(signatures, 3, 2)
    assert keys.shape == (len(rows), 3)
    bands = [(band, tuple(row[2 * band : 2 * band + 2])) for row in rows for band in range(3)]
    flat = keys.reshape(-1).tolist()
    assert len(set(flat)) == len(set(bands))
    assert len(set(zip(flat, bands, strict=True))) == len(set(bands))


def test_keys_never_change() -> None:
    # The formula in plain integers.
    def mix(x: int) -> int:
        x = (x + 0x9E3779B97F4A7C15) % 2**64
        x = (x ^ x >> 33) * 0xFF51AFD7ED558CCD % 2**64
        x = (x ^ x >> 33) * 0xC4CEB9FE1A85EC53 % 2**64
        return x ^ x >> 33

    keys = [mix(mix(mix(0) ^ 1) ^ 2), mix(mix(mix(1) ^ 3) ^ 4)]
    assert keys == [14138152839730323153, 18294134105183211387]
    for kind in (np.uint32, np.uint64):
        assert band_keys(np.array([[1, 2, 3, 4, 5]], kind), 2, 2).tolist() == [keys]


def test_every_value_of_64_bits_counts() -> None:
    signatures = np.array([[1 << 63, 0], [0, 0]], np.uint64)
    assert len(set(band_keys(signatures, 1, 2).reshape(-1).tolist())) == 2


def test_narrow_signatures_are_refused() -> None:
    with pytest.raises(ValueError, match=r"14 bands of 8 rows need 112 values; the signatures have shape \(3, 100\)"):
        band_keys(np.zeros((3, 100), np.uint32), 14, 8)


def test_a_column_slice_is_folded_as_its_copy() -> None:
    wide = np.arange(40, dtype=np.uint32).reshape(4, 10)
    assert (band_keys(wide[:, 2:8], 3, 2) == band_keys(wide[:, 2:8].copy(), 3, 2)).all()


@pytest.mark.parametrize(
    ("bands", "rows", "similarity", "probability"),
    [(14, 8, 0.8, 0.924), (14, 8, 0.5, 0.053), (450, 20, 0.75, 0.761), (9, 13, 0.8, 0.399), (93, 15, 0.7, 0.358)],
)
def test_s_curve(bands: int, rows: int, similarity: float, probability: float) -> None:
    assert lsh_probability(similarity, bands, rows) == pytest.approx(probability, abs=5e-4)
