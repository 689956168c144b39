from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import pairwise

import line_references as reference
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from redpajama_pipe.dedup.lines_spans import Cut, Repeated, merge_cuts
from redpajama_pipe.dedup.lines_units import Unit, find_units, rows_of, runs_of, split_sentences
from redpajama_pipe.dedup.xxh64 import xxh64_spans
from redpajama_pipe.text.buffers import utf8
from redpajama_pipe.text.ccnet import normalize_for_dedup
from redpajama_pipe.tokens.spans import apply_spans

# few lines, so that they repeat; blank ones, ends without a line break, white space, capitals, other scripts
LINES = [
    "",
    " ",
    "a b",
    "A  B ",
    "aa",
    "Été 3",
    "été 4",
    "E\u0301te\u0301 3",
    "x\r",
    "12",
    "99",
    "Σ。",
    "\x01",
    "，a b",
]
TEXTS = st.lists(st.lists(st.sampled_from(LINES), max_size=6).map("\n".join), max_size=6)
PROSE = st.lists(
    st.lists(
        st.sampled_from(["A b.", "C d?", 'E "f."', "g", " ", "\n", " \n\n", "好。", "好！』", "x.y", "...", "\t"]),
        max_size=12,
    ).map("".join),
    max_size=5,
)


def cut_but_first(texts: list[str], unit: Unit, min_chars: int = 0) -> Iterator[tuple[str, list[Cut]]]:
    """What Spark does with the rows, one document after the other."""
    seen: dict[tuple[int, ...], int] = {}
    document, keys, spans = rows_of(find_units(pa.array(texts, pa.string()), unit, min_chars))
    repeated: dict[int, list[Repeated]] = {}
    for index, key, of in zip(document.tolist(), keys.tolist(), spans.to_pylist(), strict=True):
        kept = seen.setdefault(tuple(key), index)
        places = np.frombuffer(of, "<i4").reshape(-1, 4)[int(kept == index) :]
        repeated.setdefault(index, []).extend(Repeated(a, b, c, d, bytes([kept]), 0) for a, b, c, d in places.tolist())
    for index, text in enumerate(texts):
        cuts, _ = merge_cuts(repeated.get(index, []))
        yield applied(text, cuts), cuts


def cut_in_groups(texts: list[str], groups: list[int]) -> list[str | None]:
    document, keys, spans = rows_of(find_units(pa.array(texts, pa.string()), "ccnet_line"))
    rows = list(zip(document.tolist(), keys[:, 0].tolist(), spans.to_pylist(), strict=True))
    counts: dict[tuple[int, int], int] = {}
    for index, key, _ in rows:
        counts[groups[index], key] = counts.get((groups[index], key), 0) + 1
    repeated: dict[int, list[Repeated]] = {}
    for index, key, of in rows:
        everywhere = counts[groups[index], key] > 1
        places = np.frombuffer(of, "<i4").reshape(-1, 4)[0 if everywhere else 1 :]
        kept = None if everywhere else b"self"
        repeated.setdefault(index, []).extend(Repeated(a, b, c, d, kept, 0) for a, b, c, d in places.tolist())
    out: list[str | None] = []
    for index, text in enumerate(texts):
        cuts, whole = merge_cuts(repeated.get(index, []))
        out.append(None if whole or not text else applied(text, cuts))
    return out


def applied(text: str, cuts: list[Cut]) -> str:
    assert all(one.end <= other.start for one, other in pairwise(cuts)), "overlap"
    return apply_spans(text.encode(), [(cut.start, cut.end, None) for cut in cuts]).decode()


@given(TEXTS, st.integers(0, 4))
def test_first_copy_of_a_line_stays(texts: list[str], min_chars: int) -> None:
    found = [text for text, _ in cut_but_first(texts, "line", min_chars)]
    expected = reference.first_lines(texts, min_chars)
    # A line that goes takes its own line break along; the one before a last line that goes, too.
    assert found == expected


@given(TEXTS, st.integers(0, 4))
def test_first_copy_of_a_paragraph_stays(texts: list[str], min_chars: int) -> None:
    found = [text for text, _ in cut_but_first(texts, "paragraph", min_chars)]
    expected = reference.first_paragraphs(texts, min_chars)
    assert [[each.strip() for each in reference.paragraphs(text)] for text in found] == expected


@given(TEXTS, st.data())
def test_lines_go_as_in_ccnet(texts: list[str], data: st.DataObject) -> None:
    groups = data.draw(st.lists(st.integers(0, 1), min_size=len(texts), max_size=len(texts)))
    assert cut_in_groups(texts, groups) == reference.ccnet(texts, groups)


@example(["好。好。 好。好。"])  # what stands between sentences is not theirs
@given(PROSE)
def test_three_sentences_go_but_once(texts: list[str]) -> None:
    found = [text for text, _ in cut_but_first(texts, "three_sentences")]
    left = reference.c4(texts)
    # Where a sentence is cut out between two, these may become one sentence of the text that is left.
    assert ["".join("".join(text.split())) for text in found] == ["".join("".join(each).split()) for each in left]


@given(PROSE)
def test_sentences_are_cut_as_stated(texts: list[str]) -> None:
    data, offsets, _ = utf8(pa.array(texts, pa.string()))
    units = split_sentences(data, offsets)
    found: list[list[str]] = [[] for _ in texts]
    for index, (_, start, stop, _) in zip(units.document.tolist(), units.places.tolist(), strict=True):
        found[index].append(texts[index].encode()[start:stop].decode().strip(reference.SPACE))
    assert found == [reference.sentences(text) for text in texts]


def test_sentences_of_a_text() -> None:
    text = 'Dr. Who said "Stop." Then (he left!) at 3.14 p.m. Why?!\nNo end\n好。是「吗？」对'
    assert reference.sentences(text) == [
        "Dr.",
        'Who said "Stop."',
        "Then (he left!)",
        "at 3.14 p.m.",
        "Why?!",
        "No end",
        "好。",
        "是「吗？」",
        "对",
    ]
    data, offsets, _ = utf8(pa.array([text]))
    units = runs_of(split_sentences(data, offsets), 3)
    first, *_, last = [text.encode()[start:stop].decode() for _, start, stop, _ in units.places.tolist()]
    assert first == 'Dr. Who said "Stop." Then (he left!)'
    assert last == "好。是「吗？」对"


@pytest.mark.parametrize("unit", ["line", "paragraph", "three_sentences", "ccnet_line"])
@given(texts=TEXTS, begin=st.integers(0, 3))
def test_units_of_a_slice_are_those_of_its_texts(unit: Unit, texts: list[str], begin: int) -> None:
    sliced = find_units(pa.array(texts, pa.string())[begin:], unit)
    alone = find_units(pa.array(texts[begin:], pa.string()), unit)
    for one, other in zip(sliced, alone, strict=True):
        np.testing.assert_array_equal(one, other)


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\n"), max_size=8), min_size=1))
def test_ccnet_keys_are_the_published_hashes(lines: list[str]) -> None:
    text = "\n".join(lines)
    expected = [
        int.from_bytes(hashlib.sha1(normalize_for_dedup(line).encode()).digest()[:8], "little") for line in lines
    ]
    assert find_units(pa.array([text]), "ccnet_line").keys[:, 0].tolist() == (expected if text else [])


def test_ccnet_key_of_an_empty_line() -> None:
    # sha1 of nothing begins with da39a3ee5e6b4b0d
    assert find_units(pa.array(["\na"]), "ccnet_line").keys[0].tolist() == [0x0D4B6B5EEEA339DA, 0]


def test_a_line_that_goes_leaves_no_line_break_behind() -> None:
    texts = ["one\ntwo\nthree", "four\ntwo", "two\nfive", "two\nthree\n", "one\nsix\nthree\n"]
    assert [text for text, _ in cut_but_first(texts, "line")] == ["one\ntwo\nthree", "four", "five", "", "six\n"]


def test_a_last_paragraph_goes_with_the_blank_lines_before_it() -> None:
    texts = ["A\nb\n\nC", "D\n\na b\n", "C\n\n\nE"]
    assert [text for text, _ in cut_but_first(texts, "paragraph")] == ["A\nb\n\nC", "D", "E"]


def test_lines_that_touch_are_one_span_where_one_document_has_them() -> None:
    texts = ["one\ntwo", "three", "one\ntwo\nthree\nfour\nfour"]
    (_, _, (text, cuts)) = cut_but_first(texts, "line")
    assert text == "four"
    assert cuts == [Cut(0, 8, b"\0", 2, 0), Cut(8, 14, b"\1", 1, 0), Cut(18, 23, b"\2", 1, 0)]


def test_one_row_for_each_distinct_line_of_a_document() -> None:
    document, _, spans = rows_of(find_units(pa.array(["a\na\nb", "a"]), "line"))
    assert document.tolist() == [0, 0, 1]
    assert sorted(len(each) // 16 for each in spans.to_pylist()) == [1, 1, 2]


def test_short_lines_stay() -> None:
    texts = ["{\nreturn result;\n}", "{\nreturn result;\n}"]
    assert [text for text, _ in cut_but_first(texts, "line", 5)] == [texts[0], "{\n}"]


def test_keys_are_128_bits_of_two_hashes() -> None:
    # sha1sum, and xxhsum -H1, of the normalised line
    first = int.from_bytes(hashlib.sha1(b"some line").digest()[:8], "little")
    keys = find_units(pa.array(["Some  line"]), "line").keys.tolist()
    assert keys == [[first, xxh64_of(b"some line")]]


def xxh64_of(data: bytes) -> int:
    out = np.zeros(1, np.uint64)
    xxh64_spans(np.frombuffer(data + bytes(8), np.uint8), np.zeros(1, np.int64), np.full(1, len(data)), 1, out)
    return int(out[0])
