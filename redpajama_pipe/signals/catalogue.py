"""Every signal, once: what it counts, in which unit and range, whose definition it follows, and what null means.

One reading for all: a word is a piece of str.split(); a line is a piece between "\\n" characters, stripped, that is not
blank; a paragraph is the same between runs of two or more "\\n"; a length is in characters (code points), white space
around a line or paragraph excluded and white space inside it included. This is how DataComp-LM reads the rules of
Gopher, except where an entry says otherwise. Another published reading becomes another signal, whose name says so.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

GOPHER = "Rae et al. 2021, arXiv:2112.11446"
DCLM = "DataComp-LM (Li et al. 2024, arXiv:2406.11794)"
DATATROVE = "datatrove (FineWeb, Penedo et al. 2024, arXiv:2406.17557)"
DOLMA = "Dolma (Soldaini et al. 2024, arXiv:2402.00159)"

NEVER_NULL = "the document is null"
NO_WORDS = "the document has no words"
NO_LINES = "the document has no line that is not blank"


@dataclass(frozen=True)
class Signal:
    """A number that every document gets.

    Attributes:
        name: the column's name.
        unit: what one of it is.
        counts: exactly what is counted, and of what.
        source: the paper, and the published implementation whose reading this is.
        null: when the value is null; a null document is null always.
        range: least and greatest value; None: no limit.
        type: the column's type.
        numerator: what is tallied, a column of kernels.TALLIES.
        denominator: what it is divided by; None for a count.
    """

    name: str
    unit: str
    counts: str
    source: str
    null: str
    range: tuple[float, float | None]
    type: pa.DataType
    numerator: str
    denominator: str | None = None


def _count(
    name: str, unit: str, counts: str, source: str, tally: str, null: str = NEVER_NULL, most: float | None = None
) -> Signal:
    return Signal(name, unit, counts, source, null, (0.0, most), pa.int64(), tally)


def _ratio(
    name: str, unit: str, counts: str, source: str, tally: str, of: str, null: str, most: float | None = 1.0
) -> Signal:
    return Signal(name, unit, counts, source, null, (0.0, most), pa.float64(), tally, of)


def _repeated(kind: str) -> tuple[Signal, Signal]:
    return (
        _ratio(
            f"duplicate_{kind}_fraction",
            f"of {kind}s",
            f"{kind}s whose text occurs at least twice, every occurrence, the first too / {kind}s",
            f"{GOPHER}, Table A1, as {DCLM}",
            f"duplicate_{kind}s",
            f"{kind}s",
            NO_LINES,
        ),
        _ratio(
            f"duplicate_{kind}_char_fraction",
            f"of characters in {kind}s",
            f"characters of {kind}s whose text occurs at least twice, every occurrence / characters of all {kind}s",
            f"{GOPHER}, Table A1, as {DCLM}",
            f"duplicate_{kind}_chars",
            f"{kind}_chars",
            NO_LINES,
        ),
    )


def _top(n: int) -> Signal:
    return _ratio(
        f"top_{n}gram_char_fraction",
        "of characters in words",
        f"characters of the words that the most frequent {n}-gram of words covers, each word once even where"
        " occurrences overlap / characters of all words. It must occur at least twice, else 0; of several equally"
        " frequent ones, the one with most characters, then the earliest",
        f"{GOPHER}, Table A1, as {DCLM}, which counts overlapping occurrences twice and so can exceed 1",
        f"top_{n}gram_chars",
        "word_chars",
        NO_WORDS,
    )


def _duplicate(n: int) -> Signal:
    return _ratio(
        f"duplicate_{n}gram_char_fraction",
        "of characters in words",
        f"characters of the words covered by any {n}-gram of words that occurs at least twice, every occurrence, each"
        " word once / characters of all words",
        f"{GOPHER}, Table A1, as {DCLM} and RedPajama-V2 (Weber et al. 2024, arXiv:2411.12372)",
        f"duplicate_{n}gram_chars",
        "word_chars",
        NO_WORDS,
    )


SIGNALS: dict[str, Signal] = {
    signal.name: signal
    for signal in (
        _count("char_count", "characters", "code points, white space too", "len(text)", "chars"),
        _count("byte_count", "bytes", "bytes of UTF-8", "len(text.encode())", "bytes"),
        _count("line_count", "lines", 'pieces between "\\n" that are not blank', DCLM, "lines"),
        _count("word_count", "words", "pieces of str.split()", f"{GOPHER}, A.1.1, as {DOLMA}", "words"),
        _ratio(
            "mean_word_length",
            "characters",
            "characters of all words / words",
            f"{GOPHER}, A.1.1, as {DCLM}",
            "word_chars",
            "words",
            NO_WORDS,
            None,
        ),
        _ratio(
            "hash_word_ratio",
            "symbols per word",
            "occurrences of # / words",
            f"{GOPHER}, A.1.1, as {DATATROVE}",
            "hash_marks",
            "words",
            NO_WORDS,
            None,
        ),
        _ratio(
            "ellipsis_word_ratio",
            "symbols per word",
            "occurrences of ... (as str.count does, so ...... is two) and of … / words",
            f"{GOPHER}, A.1.1, as {DATATROVE}",
            "ellipses",
            "words",
            NO_WORDS,
            None,
        ),
        _ratio(
            "bullet_line_fraction",
            "of lines",
            "lines that begin with ● • * or - / lines",
            f"{GOPHER}, A.1.1, as {DCLM}",
            "bullet_lines",
            "lines",
            NO_LINES,
        ),
        _ratio(
            "ellipsis_line_fraction",
            "of lines",
            "lines that end with ... or . . . or … / lines",
            f"{GOPHER}, A.1.1, as {DCLM}",
            "ellipsis_lines",
            "lines",
            NO_LINES,
        ),
        _ratio(
            "alphabetic_word_fraction",
            "of words",
            "words with a character for which str.isalpha() holds, in any script / words",
            f"{GOPHER}, A.1.1, as {DCLM} and {DOLMA}",
            "alphabetic_words",
            "words",
            NO_WORDS,
        ),
        _count(
            "stop_word_count",
            "distinct words",
            "how many of the, be, to, of, and, that, have, with occur as words, in lower case exactly",
            f"{GOPHER}, A.1.1, as {DATATROVE}",
            "stop_words",
            "the document's language has no stop list: it is not English, or not known",
            8.0,
        ),
        *_repeated("line"),
        *_repeated("paragraph"),
        *(_top(n) for n in (2, 3, 4)),
        *(_duplicate(n) for n in (5, 6, 7, 8, 9, 10)),
    )
}

# The signals that count words of a stop list, which only some languages have.
STOP_LIST_LANGUAGES = ("en",)
STOP_LIST_SIGNALS = ("stop_word_count",)
