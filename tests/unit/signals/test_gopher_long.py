"""Gopher's counts of a document that is read in pieces: those of one that is read at once, and in bounded memory."""

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from peak_memory import measured

from redpajama_pipe.signals import gopher_kernels as kernels
from redpajama_pipe.signals import gopher_long
from redpajama_pipe.text.buffers import Utf8, utf8
from redpajama_pipe.text.characters import properties

SMALL = [(16, 16), (40, 64), (100, 16), (1 << 12, 16)]  # bytes of a piece, slots of a table

PARTS = [
    " ",
    "\n",
    "\t",
    "\x1c",
    "\x85",
    "\u2028",
    "a",
    "é",
    "1",
    ".",
    "#",
    "日",
    "ก็",
    "a ",
    "b ",
    "\n\n",
    "\n \n",
    " \n\n\t\n",
]
PARTS += [
    "word" * 9,
    " " * 30,
    "日" * 20,
    "\u3000" * 9,
    "•x",
    "...",
    "…\n",
    ". . .\n",
    "the ",
    "of\n",
    "- x\n",
    "日本語。",
]
PARTS += ["a b c d e f g h i j k ", "a\n", "b\nc\n"]
pieces = st.sampled_from(PARTS)
parts = st.lists(pieces, max_size=30).map("".join)
texts = st.lists(parts, min_size=1, max_size=4).flatmap(lambda some: st.lists(st.sampled_from(some), max_size=9))


def documents(*found: str) -> Utf8:
    return utf8(pa.array(found, pa.large_string()))


def differences(found: Utf8, unspaced: bool, repetition: bool, limits: list[tuple[int, int]]) -> list[str]:
    wanted = kernels.tally(*found, properties(), repetition, unspaced)
    different: NDArray[np.bool_] = np.zeros(len(kernels.TALLIES), np.bool_)
    for piece, slots in limits:
        counts = gopher_long.tally(*found, properties(), repetition, unspaced, 0, piece, slots)
        different |= (counts != wanted).any(axis=0)
    return [name for name, other in zip(kernels.TALLIES, different, strict=True) if other]


@settings(max_examples=120, deadline=None)
@given(texts.map("".join), st.booleans(), st.sampled_from([True, True, True, False]), st.sampled_from(SMALL))
def test_pieces_and_rounds_change_no_value(
    text: str, unspaced: bool, repetition: bool, limits: tuple[int, int]
) -> None:
    assert differences(documents(text), unspaced, repetition, [limits]) == []


LINE = "one line of words that is longer than any piece, and of which no word is\u3000long " * 3
AWKWARD = [
    "",
    " ",
    "\n" * 300,
    "\n \n" * 100,
    "a" * 300,
    "日" * 300,
    "日本\u3000" * 90,
    f"{LINE}\n{LINE}\n\n {LINE} \n\n{LINE}",
    f"{' ' * 200}{LINE}\n{LINE}{' ' * 200}\n",
    f"a\n{' ' * 200}{LINE}\n\na\n{' ' * 200}{LINE}\n\na\n{' ' * 201}{LINE}",  # the gaps of paragraphs differ
    f"a{' ' * 200}\nb\n\na{' ' * 200}\nb\n\na{' ' * 199}\nb\n\n",
    f"a\n{' ' * 200}\nb\n\na\n{' ' * 200}\nb\n\na\n{' ' * 199}\nb",
    f"{'日' * 100}\n" * 3,
    f"• {LINE}...\n" * 2 + f"- {LINE} . . .  \n" + f"{LINE}…",
    "「" * 4 + "日" * 90,
    "「" * 12 + "日" * 90,  # these are no word without the first letter
    "a b " * 200,
    "the end of that and this the end of that and this " * 9 + "to be " + "the end of that and this " * 9,
    "w" + " w".join(map(str, range(150))),
    "\n".join(map(str, range(120))) + "\n\n" + "\n\n".join(map(str, range(120))),
    "x" * 40 + "\n" + "y" * 15 + "\n" + "z" * 16 + "\n" + "y" * 15,
]


@pytest.mark.parametrize("text", AWKWARD)
def test_awkward_texts_have_the_same_values(text: str) -> None:
    for unspaced in (False, True):
        for repetition in (False, True):
            assert differences(documents(text), unspaced, repetition, SMALL) == []


def test_only_long_documents_are_read_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []

    class Seen(gopher_long._Document):
        def __init__(self, text: NDArray[np.uint8], *others: object) -> None:
            read.append(len(text))
            super().__init__(text, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(gopher_long, "_Document", Seen)
    data, offsets, valid = documents("a b " * 30, "a b c " * 30, "", "c d " * 40, "a b " * 31)
    valid[3] = False
    counts = gopher_long.tally(data, offsets, valid, properties(), True, False, 120, 50, 16)
    assert read == [180, 124]
    assert (counts == kernels.tally(data, offsets, valid, properties(), True)).all()


def test_malformed_utf8_is_counted_somehow() -> None:
    generator = np.random.default_rng(5)
    alphabet = np.frombuffer(b"\xe3\x80\x80\xf4\xc2\x85\xa0\xff \n.ab", np.uint8)
    for size in (100, 300, 500):
        data = generator.choice(alphabet, size)
        for unspaced in (False, True):
            counts = gopher_long.tally(
                data, np.array([0, size]), np.array([True]), properties(), True, unspaced, 0, 32, 16
            )
            assert counts[0, 0] == size


def test_real_text_has_the_same_values(real_data: Path) -> None:
    sentences = (real_data / "langid" / "flores_sentences.tsv").read_text(encoding="utf-8").splitlines()
    text = "\n".join(line.partition("\t")[2] for line in sentences[:4000])
    for unspaced in (False, True):
        assert differences(documents(text + "\n\n" + text[::-1] + text), unspaced, True, [(1 << 14, 1 << 12)]) == []


MEMORY = """
import numpy as np, pyarrow as pa
from peak_memory import peak
from redpajama_pipe.signals import gopher_kernels, gopher_long
from redpajama_pipe.text.buffers import utf8
def taken(text):
    documents = utf8(pa.array([text], pa.large_string()))
    return peak(lambda: gopher_long.tally(*documents, flags, True, False, 1 << 10, 1 << 16, 1 << 14)) / len(text)
flags = np.zeros(1 << 21, np.uint8)
flags[[32, 10]] = 2
flags.flags.writeable = False
for size in (50_000, 5_000_000):  # the first compiles or loads what is called
    print(*(taken(text) for text in ("spam ham " * (size // 9), "a\\n" * (size // 2), "x" * size, "\\n" * size)))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_scratch_is_four_bytes_a_word_and_little_more() -> None:
    _, out = measured(MEMORY)
    spam, letters, one_word, newlines = map(float, out.split())
    assert spam < 4 * 2 / 9 + 0.7, out
    assert letters < 4 / 2 + 0.7, out
    assert one_word < 1 + 0.5, out
    assert newlines < 0.5, out
