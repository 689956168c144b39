import hashlib

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from redpajama_pipe.dedup.content import content_hash


def expected(text: str | None) -> bytes | None:
    return None if text is None else hashlib.blake2b(text.encode(), digest_size=16).digest()


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
@given(texts=st.lists(st.none() | st.text(st.characters(codec="utf-8"), max_size=20)), begin=st.integers(0, 4))
def test_hashes_are_those_of_the_bytes(texts: list[str | None], begin: int, kind: pa.DataType) -> None:
    hashes = content_hash(pa.array(texts, kind)[begin:])
    hashes.validate(full=True)
    assert hashes.type == pa.binary()
    assert hashes.to_pylist() == [expected(text) for text in texts[begin:]]


def test_golden() -> None:
    # RFC 7693's function with a digest of 16 bytes, as `b2sum -l 128` prints it
    found = content_hash(pa.array(["abc", ""])).to_pylist()
    assert [each.hex() for each in found] == ["cf4ab791c62b8d2b2109c90275287816", "cae66941d9efbd404e4d88758ea67670"]
