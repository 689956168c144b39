import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from redpajama_pipe.text.buffers import Utf8, utf8

TEXTS = st.lists(st.none() | st.text(max_size=8), max_size=8)


def read_back(documents: Utf8) -> list[str | None]:
    data, offsets, valid = documents
    return [
        bytes(data[start:end]).decode() if known else None
        for start, end, known in zip(offsets[:-1], offsets[1:], valid, strict=True)
    ]


@given(TEXTS, st.sampled_from([pa.string(), pa.large_string()]), st.data())
def test_documents_read_back_from_any_slice(texts: list[str | None], kind: pa.DataType, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(texts)))
    length = data.draw(st.integers(0, len(texts) - start))
    array = pa.array(texts, kind).slice(start, length)
    assert read_back(utf8(array)) == texts[start : start + length]


def test_text_is_not_copied() -> None:
    array = pa.array(["some text", "more"])
    assert utf8(array).data.ctypes.data == array.buffers()[2].address


@pytest.mark.parametrize(
    ("wrong", "found"),
    [
        (pa.array([1]), "int64"),
        (pa.array(["a"]).dictionary_encode(), "dictionary<values=string, indices=int32, ordered=0>"),
        (pa.chunked_array([["a"]]), "a ChunkedArray"),
        (["a"], "a list"),
    ],
)
def test_anything_but_a_string_array_is_refused(wrong: object, found: str) -> None:
    with pytest.raises(TypeError) as refused:
        utf8(wrong)
    assert str(refused.value) == f"expected an Arrow array of string or large_string, found {found}"
