import hashlib

import numpy as np
import pytest

from redpajama_pipe.dedup.sha1 import LANES, SPARE, make_lanes, sha1_spans


def hashes(data: bytes, spans: list[tuple[int, int]]) -> list[int]:
    padded = np.frombuffer(data + b"\xff" * SPARE, np.uint8)
    starts, ends = np.array(spans, np.int64).reshape(-1, 2).T.copy()
    out = np.zeros(len(spans), np.uint64)
    sha1_spans(padded, starts, ends, len(spans), out, make_lanes())
    return [int(value) for value in out]


def expected(data: bytes, spans: list[tuple[int, int]]) -> list[int]:
    return [int.from_bytes(hashlib.sha1(data[a:b]).digest()[:8], "little") for a, b in spans]


NOISE = np.random.default_rng(7).bytes(100_000)


def test_published_vectors() -> None:
    # FIPS 180-1 appendix A and B: a9993e36 4706816a..., 84983e44 1c3bd26e...
    two_blocks = b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"
    assert hashes(b"abc", [(0, 3)]) == [int.from_bytes(bytes.fromhex("a9993e364706816a"), "little")]
    assert hashes(two_blocks, [(0, 56)]) == [int.from_bytes(bytes.fromhex("84983e441c3bd26e"), "little")]


def test_every_length_up_to_300_equals_hashlib() -> None:
    spans = [(3 * length, 4 * length) for length in range(301)]
    assert hashes(NOISE, spans) == expected(NOISE, spans)


@pytest.mark.parametrize(
    "count", [0, 1, LANES - 1, LANES, LANES + 1, 2 * LANES, 2 * LANES + 1, 3 * LANES, 3 * LANES + 1]
)
def test_any_number_of_messages_shares_the_lanes(count: int) -> None:
    spans = [(i, i + 20) for i in range(count)]
    assert hashes(NOISE, spans) == expected(NOISE, spans)


def test_long_and_short_messages_mix_and_overlap() -> None:
    starts_and_lengths = np.random.default_rng(1).integers((0, 0), (9000, 200), (500, 2)).tolist()
    spans = [(start, start + length) for start, length in starts_and_lengths]
    spans[3:3] = [(0, len(NOISE)), (1, 65_537)]
    assert hashes(NOISE, spans) == expected(NOISE, spans)


@pytest.mark.parametrize("long_share", [0.0, 0.05, 0.9, 1.0])
def test_more_spans_than_are_sorted_at_a_time(long_share: float) -> None:
    random = np.random.default_rng(3)
    starts = random.integers(0, 9000, 5000)
    lengths = np.where(random.random(5000) < long_share, random.integers(56, 200, 5000), random.integers(0, 56, 5000))
    spans = np.stack([starts, starts + lengths], axis=1).tolist()
    assert hashes(NOISE, spans) == expected(NOISE, spans)


def test_scratch_carries_nothing_over() -> None:
    lanes = make_lanes()
    data = np.frombuffer(NOISE, np.uint8)
    for spans in ([(0, 5000)] * 3, [(0, 1)], [(5, 5)] * 20):
        starts, ends = np.array(spans, np.int64).T.copy()
        out = np.zeros(len(spans), np.uint64)
        sha1_spans(data, starts, ends, len(spans), out, lanes)
        assert out.tolist() == expected(NOISE, spans)
