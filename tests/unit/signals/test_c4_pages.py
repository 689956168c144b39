"""C4's cleaning of long pages: in windows, in pieces and in rounds, with the values of one that is short."""

import sys
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from peak_memory import measured

from redpajama_pipe.signals import c4, c4_kernels, c4_pages, fineweb_kernels, score, sentence_kernels
from redpajama_pipe.text import classes
from redpajama_pipe.text.buffers import utf8
from redpajama_pipe.tokens.spans import apply_spans

PIECES = [
    "One is here. Two is here? Three!", "Mr. Smith came to the U.S. The end.", "a b c.", "[1]", " [2] [3] ", "[edit]",
    " ", "\n", "\r\n", "\x85", "\u2028", "\t", "\u3000", "é ü ö.", "javascript", "{", "語語語 語語 語。", "“So.” He",
    "use cookies", "lorem ipsum", "an ass. B", "x" * 70, "word " * 20, "...", "\n\n",
]  # fmt: skip
pages = st.lists(st.sampled_from(PIECES), max_size=30).map("".join)
NAMES = [signal.name for family in c4.FAMILIES for signal in family.signals if "bad_word" not in signal.name]
OF_LINES = ("punctuated_line_fraction", "short_line_fraction", "duplicate_line_char_fraction")


@settings(max_examples=50)
@given(
    st.lists(pages | st.none(), min_size=1, max_size=4),
    st.integers(1, 200),
    st.integers(1, 200),
    st.sampled_from([2, 4, 8]),
)
def test_windows_pieces_and_rounds_change_nothing(texts: list[str | None], window: int, piece: int, most: int) -> None:
    array = pa.array(texts, pa.string())
    expected = score(array, NAMES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(c4_kernels, "WINDOW", window)
        patch.setattr(c4_pages, "PIECE", piece)
        patch.setattr(fineweb_kernels, "ROOM", most)
        assert score(array, NAMES).equals(expected)


@settings(max_examples=100)
@given(st.lists(pages, min_size=1, max_size=4))
def test_finewebs_signals_are_those_of_the_cleaned_page(texts: list[str]) -> None:
    cuts = score(pa.array(texts), ["c4_fineweb_cuts"])[0].to_pylist()
    cleaned = [
        apply_spans(text.encode(), [(s["start"], s["end"], s["replacement"]) for s in spans]).decode()
        for text, spans in zip(texts, cuts, strict=True)
    ]
    expected = score(pa.array(cleaned), [*(f"fineweb_{n}" for n in OF_LINES), "datatrove_newline_word_ratio"])
    found = score(pa.array(texts), [f"c4_fineweb_{n}" for n in (*OF_LINES, "newline_word_ratio")])
    for index in range(3):
        assert found[index].to_pylist() == expected[index].to_pylist()
    blank = [value is None for value in found[0].to_pylist()]
    assert found[3].to_pylist() == [
        None if none else value for none, value in zip(blank, expected[3].to_pylist(), strict=True)
    ]


def test_a_line_is_known_in_the_pieces_after_its_own() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(c4_pages, "PIECE", 8)
        patch.setattr(fineweb_kernels, "ROOM", 2)
        texts = ["One is here.\nTwo is here.\nOne is here.", "\n".join(f"Line {n} is here." for n in range(8))]
        found = score(pa.array(texts), [f"c4_fineweb_{OF_LINES[2]}"])
    assert found[0].to_pylist() == [1 / 3, 0]


def pieces_of(texts: list[bytes], *, size: int, within_lines: bool) -> list[tuple[int, list[bytes]]]:
    offsets = np.cumsum([0, *map(len, texts)])
    nothing = np.empty((0, 3), np.int64), np.zeros(len(texts) + 1, np.int64)
    data = np.frombuffer(b"".join(texts), np.uint8)
    whole = c4_pages.Pages(data, offsets, np.ones(len(texts), np.bool_), *nothing)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(c4_pages, "PIECE", size)
        return [
            (piece.first, [piece.data[a:b].tobytes() for a, b in pairwise(piece.offsets)])
            for piece in whole.pieces(within_lines=within_lines)
        ]


@settings(max_examples=100)
@given(st.lists(st.text("ab \n", max_size=40).map(str.encode), max_size=5), st.integers(1, 30), st.booleans())
def test_pieces_hold_all_pages_and_end_where_they_may(texts: list[bytes], size: int, within_lines: bool) -> None:
    pieces = pieces_of(texts, size=size, within_lines=within_lines)
    joined = [b""] * len(texts)
    for first, parts in pieces:
        for index, part in enumerate(parts):
            joined[first + index] += part
    assert joined == texts
    for first, parts in pieces[:-1]:
        held = b"".join(parts)
        assert len(held) >= size
        page_ends = joined[first + len(parts) - 1].endswith(parts[-1])
        assert page_ends or held.endswith((b"\n", b" ") if within_lines else b"\n")
        # No byte more than it takes: without its last word, or line, a piece is too small.
        assert len(held[:-1].rpartition(b" " if within_lines and b" " in held[:-1] else b"\n")[0]) < size


def test_a_null_page_is_empty_whatever_lies_under_it() -> None:
    text = b"".join(b"%d a b c d e.\n" % number for number in range(200))
    buffers = [pa.py_buffer(b"\x02"), pa.py_buffer(np.array([0, len(text), len(text) + 6], np.int32)), None]
    buffers[2] = pa.py_buffer(text + b"a b c.")
    array = pa.Array.from_buffers(pa.string(), 2, buffers)
    assert array.to_pylist() == [None, "a b c."]
    data, offsets, valid = utf8(array)
    nothing = np.empty((0, 3), np.int64), np.zeros(3, np.int64)
    (piece,) = c4_pages.Pages(data, offsets, valid, *nothing).pieces()
    assert piece.offsets.tolist() == [0, 0, 6]
    names = [*NAMES, *(f"fineweb_{name}" for name in OF_LINES)]
    rows = score(array, names).to_pylist()
    assert set(rows[0].values()) == {None}
    assert rows[1] == score(pa.array(["a b c."]), names).to_pylist()[0]


# Prints how many bytes of memory another byte of text takes: the peak of 4.5 MB over that of 1.5 MB.
MEASURE = """
import pyarrow as pa
from peak_memory import peak
from redpajama_pipe.signals import score
from redpajama_pipe.signals.catalogue import FAMILIES
def taken(names, text):
    array = pa.array([text])
    return peak(lambda: score(array, names))
for family, lines in {
    "c4": ("a\\n", "spam ham "), "c4_fineweb": ("spam ham ", "Each line is kept.\\n"), "refinedweb": ("a\\n",)
}.items():
    names = [signal.name for signal in FAMILIES[family].signals if "bad_word" not in signal.name]
    for line in lines:
        _, small, large = (taken(names, (line * size)[:size]) for size in (1000, 1_500_000, 4_500_000))
        print(family, repr(line), (large - small) / 3_000_000)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_is_about_a_byte_for_a_byte_of_text() -> None:
    freed_at_once = {"MALLOC_MMAP_THRESHOLD_": "65536", "ARROW_DEFAULT_MEMORY_POOL": "system"}
    found = [line.rsplit(" ", 1) for line in measured(MEASURE, **freed_at_once)]
    assert len(found) == 5
    for name, taken in found:  # a line is copied whole; of lines of one letter nothing is left behind
        assert float(taken) < (0.5 if r"'a\n'" in name else 1.3), found


@pytest.mark.parametrize("lines", ["\n", " \n\t\n"])
def test_white_space_before_a_line_that_goes_is_cut_once(lines: str) -> None:
    spans = score(pa.array([f"{lines}  foo\n"]), ["c4_cuts"])[0].to_pylist()[0]
    size = len(lines)
    assert [(s["start"], s["end"], s["rule"]) for s in spans] == [
        (0, size, "white_space"),
        (size, size + 6, "no_end_mark"),
    ]


def test_a_line_of_closing_marks_is_one_sentence() -> None:
    def sentences(text: str) -> int:
        data = np.frombuffer(text.encode() + bytes(sentence_kernels.PADDING), np.uint8)
        found = np.zeros(1, np.int64)
        sentence_kernels.by_punkt(data, np.array([0, len(text.encode())]), classes.classes(), found)
        return int(found[0])

    assert sentences("") == sentences("\n\n \n") == sentences("One is here.\nTwo is.") == 0
    assert sentences("One is here. Two is.\nThree. Four? Five") == 3
    assert sentences('One is. ")') == 0


WORDS = st.sampled_from(
    ["one", "U.S.", "it.", "so?", '"', ")", "-", "+", "1.", "a.B", "\u3002", "\u00e9!", "\t", ".", ""]
)


@given(st.lists(st.lists(WORDS, min_size=4).map(" ".join), min_size=1), st.integers(1, 40))
@example(["one two it. \t) is", "one two it.", ") ( one two"], 10)
def test_sentences_of_pages_are_those_of_their_lines_however_pieces_part_them(lines: list[str], size: int) -> None:
    kept = [line for line in lines if len(line.split()) >= 3]
    names = ["c4_fineweb_sentence_count", "c4_fineweb_newline_word_ratio"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(c4_pages, "PIECE", size)
        pieces = score(pa.array(["\n".join(lines)]), names)
    assert pieces.to_pylist() == score(pa.array(["\n".join(lines)]), names).to_pylist()
    of_lines = score(pa.array(kept, pa.string()), names)[0].to_pylist()
    assert pieces[0].to_pylist() == [sum(of_lines)]


def test_sentence_kernels_read_the_flags_that_the_table_holds() -> None:
    for flag in ("SPACE", "UPPER", "LOWER"):
        assert getattr(sentence_kernels, flag) == getattr(classes, flag)


@pytest.mark.parametrize("word", ["MINN", "minn", "MiNn", "[INN", "@INN", "mIn\x0e", "minna"])
def test_abbreviations_are_known_in_any_case_of_letters_alone(word: str) -> None:
    found = score(pa.array([f"He was in {word}. since then it is so."]), ["c4_paper_sentence_count"])[0].to_pylist()
    assert found == [1 if word.lower() == "minn" else 2]
