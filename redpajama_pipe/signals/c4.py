"""C4's page cleaning, in three published readings: what it cuts from a page, and the counts its page rules ask for.

A reading decides line by line which lines stay; its signals are computed on those lines only, so that a page rule sees
what the published code sees. A text without the spans of its `cuts` column is the page that the published code writes.
About 400 MB/s on one core, 300 where bad words are looked for; FineWeb's signals of the cleaned page 70.
"""

from __future__ import annotations

import dataclasses
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from redpajama_pipe.signals import datatrove, fineweb
from redpajama_pipe.signals.cuts import SPANS, span_column
from redpajama_pipe.signals.resources import BAD_WORDS, Resources
from redpajama_pipe.signals.signal import Documents, Family, Signal
from redpajama_pipe.signals.tallied import tallied_columns

if TYPE_CHECKING:
    from redpajama_pipe.signals.c4_pages import Pages

C4 = "Raffel et al. 2020, arXiv:1910.10683, section 2.2"
TFDS = "tensorflow/datasets: tensorflow_datasets/text/c4_utils.py, clean_page"
DATATROVE = "datatrove 0.10: pipeline/filters/c4_filters.py, C4QualityFilter"
BAD_LIST = "LDNOOBW's List of Dirty, Naughty, Obscene, and Otherwise Bad Words, English"

NEVER_NULL = "the document is null"
NO_LIST = "the document is not English, or its language is not known, or the word list is not there"


@dataclass(frozen=True)
class Reading:
    """One published way to clean a page.

    Attributes:
        prefix: of its signals' names; also its family's name.
        title: one line, for lists.
        source: the implementation.
        min_words: a line with fewer words goes.
        end_marks: whether a line must end in . ? ! or " and not in three dots.
        words_first: whether a line's words are counted before its citations are removed.
        punkt: whether sentences end as NLTK's Punkt ends them, else as spaCy's sentencizer does.
        bad_words: whether lines with words of a list are counted.
        then_fineweb: whether FineWeb's signals of the cleaned page are among the family's.
    """

    prefix: str
    title: str
    source: str
    min_words: int
    end_marks: bool
    words_first: bool
    punkt: bool
    bad_words: bool
    then_fineweb: bool = False


READINGS = (
    Reading("c4", "C4's page cleaning as its published code does it", TFDS, 5, True, False, True, True),
    Reading("c4_paper", "C4's page cleaning with the numbers of the paper", C4, 3, True, False, True, True),
    Reading(
        "c4_fineweb",
        "C4's page cleaning as FineWeb applies it",
        f"{DATATROVE}(filter_no_terminal_punct=False)",
        3,
        False,
        True,
        False,
        False,
        True,
    ),
)

# Signal, apart from the reading's prefix → the column of c4_kernels.COUNTS that it is.
TALLIES = {
    "line_count": "lines",
    "kept_line_count": "kept_lines",
    "sentence_count": "kept_lines",  # and those that begin within a line
    "lorem_ipsum_line_count": "lorem_ipsum_lines",
    "curly_bracket_line_count": "curly_bracket_lines",
    "bad_word_line_count": "bad_word_lines",
}
_PUNKT = (
    "sentences of the kept lines: one ends at . ? or ! before white space or a closing mark, but not after an"
    " abbreviation or initial unless a word follows that usually begins a sentence (NLTK's Punkt with a short list of"
    " abbreviations in the place of its trained model)"
)
_MARKS = (
    "sentences of the kept lines: one begins at a token that is no punctuation, after one that is a . ? or !, or such a"
    " mark of another script (spaCy's sentencizer, with the tokens of datatrove_token_count)"
)
# Code points: default_punct_chars of spaCy's Sentencizer.
_SENTENCE_ENDS = (
    "21 2e 3f 589 61f 6d4 700-702 7f9 964-965 104a-104b 1362 1367-1368 166e 1735-1736 1803 1809 1944-1945 1aa8-1aab "
    "1b5a-1b5b 1b5e-1b5f 1c3b-1c3c 1c7e-1c7f 203c-203d 2047-2049 2e2e 2e3c 3002 a4ff a60e-a60f a6f3 a6f7 a876-a877 "
    "a8ce-a8cf a92f a9c8-a9c9 aa5d-aa5f aaf0-aaf1 abeb fe52 fe56-fe57 ff01 ff0e ff1f ff61 10a56-10a57 11047-11048 "
    "110be-110c1 11141-11143 111c5-111c6 111cd 111de-111df 11238-11239 1123b-1123c 112a9 1144b-1144c 115c2-115c3 "
    "115c9-115d7 11641-11642 1173c-1173e 11a42-11a43 11a9b-11a9c 11c41-11c42 16a6e-16a6f 16af5 16b37-16b38 16b44 "
    "1bc9f 1da88"
)
_PAGE = "lines that get as far as this test and hold {}; the published code drops the page at the first"


# FineWeb's own filter comes after C4's and sees the cleaned page.
CLEANED = tuple(
    dataclasses.replace(
        signal, name=f"c4_fineweb_{signal.name.partition('_')[2]}", counts=f"of the cleaned page: {signal.counts}"
    )
    for signal in (*fineweb.SIGNALS, datatrove.NEWLINES)
)


def _cleaned(
    pages: Pages, kept_lines: NDArray[np.int64], tokens: NDArray[np.int64], wanted: Sequence[str]
) -> dict[str, pa.Array]:
    """Compute some of FineWeb's signals of cleaned pages, each of which has so many lines, tokens and newlines."""
    from redpajama_pipe.signals import fineweb_kernels

    lines = fineweb_kernels.tally(pages.pieces, kept_lines, np.diff(pages.offsets), fineweb.flags())
    some = pages.valid & (lines[:, fineweb_kernels.TALLIES.index("lines")] > 0)
    of_lines = [signal for signal in CLEANED[:-1] if signal.name in wanted]
    columns = tallied_columns(of_lines, fineweb_kernels.TALLIES, lines, some)
    if CLEANED[-1].name in wanted:
        columns |= tallied_columns(CLEANED[-1:], _OF_TOKENS, tokens, some)
    return columns


_OF_TOKENS = ("tokens", "newlines", "begun")  # the last: sentences that begin within a line, by spaCy's marks


def _tokens(pages: Pages) -> NDArray[np.int64]:
    """Count what is made of spaCy's tokens of cleaned pages: (documents, _OF_TOKENS)."""
    from redpajama_pipe.signals import datatrove_token_kernels as kernels
    from redpajama_pipe.signals.sentence_kernels import by_marks

    counts = np.zeros((len(pages.valid), len(_OF_TOKENS)), np.int64)
    ended = np.zeros(1, np.bool_)
    for piece in pages.pieces(within_lines=True):
        of = slice(piece.first, piece.first + len(piece.offsets) - 1)
        longest = int(np.max(np.diff(piece.offsets)))
        tokens, starts, lasts = kernels.count_tokens(
            piece.data, piece.offsets, pages.valid[of], datatrove.flags(), longest
        )
        begun = np.zeros(len(tokens), np.int64)
        by_marks(piece.data, piece.offsets, starts, lasts, _marks(), ended, begun)
        newlines = np.searchsorted(np.flatnonzero(piece.data[: piece.offsets[-1]] == 0x0A), piece.offsets)
        counts[of] += np.stack([tokens[:, kernels.TALLIES.index("tokens")], np.diff(newlines), begun], axis=1)
    return counts


def _begun(pages: Pages) -> NDArray[np.int64]:
    """Count the sentences of cleaned pages that begin within a line, as Punkt has it: (documents,)."""
    from redpajama_pipe.signals.sentence_kernels import by_punkt
    from redpajama_pipe.text.classes import classes

    counts = np.zeros(len(pages.valid), np.int64)
    for piece in pages.pieces():
        by_punkt(piece.data, piece.offsets, classes(), counts[piece.first : piece.first + len(piece.offsets) - 1])
    return counts


@cache
def _marks() -> NDArray[np.uint8]:
    """Return the kinds of every code point, as sentence_kernels names them: (2**21,), read-only."""
    from redpajama_pipe.signals import sentence_kernels as kernels
    from redpajama_pipe.text.characters import SIZE

    kinds = np.zeros(SIZE, np.uint8)
    characters = map(chr, range(0x110000))
    kinds[:0x110000][np.fromiter((unicodedata.category(c)[0] == "P" for c in characters), np.bool_)] = (
        kernels.PUNCTUATION
    )
    for span in _SENTENCE_ENDS.split():
        first, _, last = span.partition("-")
        kinds[int(first, 16) : int(last or first, 16) + 1] |= kernels.PUNCTUATION | kernels.ENDS
    kinds.flags.writeable = False
    return kinds


def _signals(reading: Reading) -> tuple[Signal, ...]:
    def count(name: str, unit: str, counts: str, null: str = NEVER_NULL) -> Signal:
        return Signal(f"{reading.prefix}_{name}", unit, counts, reading.source, null, (0.0, None), pa.int64())

    drops = "a word of more than 1,000 characters; "
    drops += 'no . ? ! or " at its end, or three dots; ' if reading.end_marks else ""
    drops += f"fewer than {reading.min_words} words{'' if reading.words_first else ' without its citations'}; "
    drops += "javascript; a phrase of a cookie or privacy policy"
    cuts = Signal(
        f"{reading.prefix}_cuts",
        "spans of UTF-8 bytes",
        f"what the cleaned page leaves out: lines of str.splitlines() without a word, or with {drops}; citations like"
        " [1], [edit], [citation needed]; white space around lines; a line break that is no \\n is replaced by one",
        reading.source,
        NEVER_NULL,
        (0.0, None),
        SPANS,
    )
    signals = [
        count("line_count", "lines", "lines of str.splitlines()"),
        count("kept_line_count", "lines", "lines that stay"),
        count("sentence_count", "sentences", _PUNKT if reading.punkt else _MARKS),
        count("lorem_ipsum_line_count", "lines", _PAGE.format("lorem ipsum in any case")),
        count("curly_bracket_line_count", "lines", _PAGE.format("{")),
    ]
    if reading.then_fineweb:
        signals += CLEANED
    if reading.bad_words:
        held = f"[^a-z](word)[^a-z] for a word of {BAD_LIST}, in lower case: never at a line's ends"
        signals.append(count("bad_word_line_count", "lines", _PAGE.format(held), NO_LIST))
    return (*signals, cuts)


def _compute(reading: Reading) -> Callable[[Documents, Sequence[str]], dict[str, pa.Array]]:
    def compute(documents: Documents, wanted: Sequence[str]) -> dict[str, pa.Array]:
        from redpajama_pipe.signals import c4_kernels
        from redpajama_pipe.signals.c4_pages import Pages
        from redpajama_pipe.text.classes import classes

        data, offsets, valid = documents.utf8
        wants_bad = f"{reading.prefix}_bad_word_line_count" in wanted
        words = bad_words(documents.resources) if wants_bad else ()
        counts = np.zeros((len(valid), len(c4_kernels.COUNTS)), np.int64)
        first = np.zeros(len(valid) + 1, np.int64)
        spans = c4_kernels.clean(
            data,
            offsets,
            valid,
            classes(),
            *trie(tuple(words)),
            beginnings(tuple(words)),
            reading.min_words,
            reading.end_marks,
            reading.words_first,
            c4_kernels.WINDOW,
            counts,
            first,
        )
        pages = Pages(data, offsets, valid, spans, first)
        columns: dict[str, pa.Array] = {}
        of_tokens = (CLEANED[-1].name, f"{reading.prefix}_sentence_count")
        tokens = np.zeros((0, len(_OF_TOKENS)), np.int64)
        if not reading.punkt and any(name in wanted for name in of_tokens):
            tokens = _tokens(pages)
        for name, tally in TALLIES.items():
            if f"{reading.prefix}_{name}" in wanted:
                known = valid
                if tally == "bad_word_lines":
                    known = valid & documents.speaks(("en",)) if words else np.zeros(len(valid), np.bool_)
                values = counts[:, c4_kernels.COUNTS.index(tally)]
                if name == "sentence_count":  # each line begins one, and others begin within it
                    values = values + (_begun(pages) if reading.punkt else tokens[:, _OF_TOKENS.index("begun")])
                columns[f"{reading.prefix}_{name}"] = pa.array(values, mask=~known)
        if reading.then_fineweb and any(signal.name in wanted for signal in CLEANED):
            columns |= _cleaned(pages, counts[:, c4_kernels.COUNTS.index("kept_lines")], tokens, wanted)
        if f"{reading.prefix}_cuts" in wanted:
            columns[f"{reading.prefix}_cuts"] = span_column(
                spans, first, valid, c4_kernels.REASONS, {"line_break": "\n"}
            )
        return columns

    return compute


def bad_words(resources: Resources) -> Sequence[str]:
    """Read the English list; empty where it is not there."""
    return sorted(resources.words(BAD_WORDS, "en") or ()) if resources.has(BAD_WORDS) else ()


@cache
def trie(words: tuple[str, ...]) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """Build the table that c4_kernels looks words up in; see `clean`."""
    encoded = [word.lower().encode() for word in words if word]
    used = sorted({byte for word in encoded for byte in word})
    symbols = np.zeros(256, np.uint8)
    for column, byte in enumerate(used, 1):
        symbols[byte] = column
    nodes: list[dict[int, int]] = [{}]
    ends: set[int] = set()
    for word in encoded:
        node = 0
        for byte in word:
            if byte not in nodes[node]:
                nodes[node][byte] = len(nodes)
                nodes.append({})
            node = nodes[node][byte]
        ends.add(node)
    table = np.zeros((len(nodes) if encoded else 0, len(used) + 1), np.int32)
    for node, following in enumerate(nodes if encoded else ()):
        table[node, 0] = node in ends
        for byte, other in following.items():
            table[node, symbols[byte]] = other
    return table, symbols


@cache
def beginnings(words: tuple[str, ...]) -> NDArray[np.uint8]:
    """Build the table that tells c4_kernels after four bytes that none of the words begins; see `clean`."""
    from redpajama_pipe.signals import c4_kernels as kernels

    table = np.zeros(kernels.BEGINNINGS, np.uint8)
    for word in words:
        known = word.lower().encode()[:4]
        more = np.arange(128 ** (4 - len(known)), dtype=np.uint64)  # what may follow a short word
        four: Any = np.full(len(more), int.from_bytes(known, "little"), np.uint64)
        for place in range(len(known), 4):
            four |= (more & np.uint64(127)) << np.uint64(8 * place)
            more >>= np.uint64(7)
        table[kernels.beginning.py_func(four)] = 1
    return table


FAMILIES = tuple(Family(reading.prefix, reading.title, _signals(reading), _compute(reading)) for reading in READINGS)
