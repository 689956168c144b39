import numpy as np
import pytest

from redpajama_pipe.dedup.xxh64 import xxh64_spans


@pytest.mark.parametrize(
    ("text", "digest"),
    [
        # xxHash's own sanity values and the examples of python-xxhash
        (b"", 0xEF46DB3751D8E999),
        (b"a", 0xD24EC4F1A98C6E5B),
        (b"abc", 0x44BC2CF5AD770999),
        (b"Nobody inspects the spammish repetition", 0xFBCEA83C8A378BF1),
    ],
)
def test_published_digests(text: bytes, digest: int) -> None:
    data = np.frombuffer(b"##" + text + b"##", np.uint8)
    out = np.zeros(1, np.uint64)
    xxh64_spans(data, np.array([2]), np.array([2 + len(text)]), 1, out)
    assert int(out[0]) == digest
