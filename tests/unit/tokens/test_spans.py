import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from redpajama_pipe.tokens.spans import apply_spans, merge_spans

TEXT = "aé日𝒳z".encode()  # bytes 0 | 1 2 | 3 4 5 | 6 7 8 9 | 10


def test_spans_are_cut_and_replaced_in_any_order() -> None:
    assert apply_spans(b"0123456789", [(7, 8, b"seven"), (0, 2, b""), (4, 5, b"")]) == b"2356seven89"


def test_text_and_missing_replacements_are_taken_too() -> None:
    assert apply_spans(b"0123456789", [(0, 1, None), (1, 2, "é"), (9, 10, "")]) == "é2345678".encode()


def test_no_span_gives_the_text_itself() -> None:
    assert apply_spans(TEXT, []) == TEXT


def test_an_arrow_buffer_is_a_text() -> None:
    assert apply_spans(pa.scalar("hello").as_buffer(), [(0, 1, b"j")]) == b"jello"


def test_cuts_that_overlap_or_touch_become_one() -> None:
    assert merge_spans([(5, 7, b""), (0, 3, b""), (2, 4, b""), (4, 5, b"")]) == [(0, 7, b"")]


def test_replacement_inside_a_cut_is_dropped() -> None:
    assert merge_spans([(2, 4, b"x"), (0, 5, b""), (0, 5, b"y")]) == [(0, 5, b"")]


def test_the_same_replacement_twice_is_one() -> None:
    assert apply_spans(b"0123", [(1, 2, b"x"), (1, 2, b"x")]) == b"0x23"


@pytest.mark.parametrize(
    ("spans", "merged"),
    [
        ([(3, 6, b"x"), (5, 8, b"")], (3, 8, b"x")),
        ([(3, 6, b""), (5, 8, b"x")], (3, 8, b"x")),
        ([(3, 6, b"y"), (3, 6, b"x")], (3, 6, b"x")),
        ([(3, 6, b"y"), (2, 4, b"z")], (2, 6, b"z")),
        ([(0, 9, b"x"), (3, 6, b"")], (0, 9, b"x")),
        ([(0, 4, b""), (3, 6, b"x"), (5, 9, b"")], (0, 9, b"x")),
    ],
)
def test_what_overlaps_in_part_becomes_one(spans: list[tuple[int, int, bytes]], merged: tuple[int, int, bytes]) -> None:
    assert merge_spans(spans) == merge_spans(spans[::-1]) == [merged]


@pytest.mark.parametrize(
    ("spans", "message"),
    [
        ([(3, 3, b"x")], "span 3:3 is not a range of bytes"),
        ([(-1, 3, b"")], "span -1:3 is not a range of bytes"),
        ([(0, 1, b""), (11, 12, b"")], "span 11:12 ends outside a text of 11 bytes"),
        ([(1, 2, b"")], "span 1:2 splits a UTF-8 character at byte 2"),
        ([(4, 10, b"")], "span 4:10 splits a UTF-8 character at byte 4"),
    ],
)
def test_bad_spans_are_refused(spans: list[tuple[int, int, bytes]], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        apply_spans(TEXT, spans)


def test_replacement_must_be_utf8() -> None:
    with pytest.raises(UnicodeDecodeError):
        apply_spans(TEXT, [(0, 1, b"\xff")])


@given(st.text(), st.data())
def test_cuts_remove_exactly_the_characters_they_name(text: str, data: st.DataObject) -> None:
    place = st.integers(0, len(text))
    ranges = [tuple(sorted(pair)) for pair in data.draw(st.lists(st.tuples(place, place)))]
    ranges = [(start, end) for start, end in ranges if start < end]
    spans = [(len(text[:start].encode()), len(text[:end].encode()), b"") for start, end in ranges]
    kept = [c for at, c in enumerate(text) if not any(start <= at < end for start, end in ranges)]
    assert apply_spans(text.encode(), spans).decode() == "".join(kept)
