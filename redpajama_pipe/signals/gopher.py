"""Gopher's quality and repetition signals, and the counts that every report shows: about 290 MB/s on one core.

One reading for all: a word is a piece of str.split(); a line is a piece between "\\n" characters, stripped, that is not
blank; a paragraph is the same between runs of two or more "\\n"; a length is in characters (code points), white space
around a line or paragraph excluded and white space inside it included. This is how DataComp-LM reads the rules of
Gopher, except where an entry says otherwise. Another published reading is another signal, in another family.

Chinese, Japanese or Thai have no white space between words: for them `gopher_unspaced` has the signals of words again,
with each character of such a script as a word. No publication counts so; each that counts has a dictionary.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa

from redpajama_pipe.signals.signal import Documents, Family
from redpajama_pipe.signals.tallied import Tallied, tallied_columns

GOPHER = "Rae et al. 2021, arXiv:2112.11446"
DCLM = "DataComp-LM (Li et al. 2024, arXiv:2406.11794)"
DATATROVE = "datatrove (FineWeb, Penedo et al. 2024, arXiv:2406.17557)"
DOLMA = "Dolma (Soldaini et al. 2024, arXiv:2402.00159)"

NEVER_NULL = "the document is null"
NO_WORDS = "the document has no words"
NO_LINES = "the document has no line that is not blank"


def _count(
    name: str, unit: str, counts: str, source: str, tally: str, null: str = NEVER_NULL, most: float | None = None
) -> Tallied:
    return Tallied(name, unit, counts, source, null, (0.0, most), pa.int64(), tally)


def _ratio(
    name: str, unit: str, counts: str, source: str, tally: str, of: str, null: str, most: float | None = 1.0
) -> Tallied:
    return Tallied(name, unit, counts, source, null, (0.0, most), pa.float64(), tally, of)


def _repeated(kind: str) -> tuple[Tallied, Tallied]:
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


def _top(n: int) -> Tallied:
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


def _duplicate(n: int) -> Tallied:
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


SIGNALS: tuple[Tallied, ...] = (
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

# The signals that count words of a stop list, which only some languages have.
STOP_LIST_LANGUAGES = ("en",)
STOP_LIST_SIGNALS = ("stop_word_count",)


# What is counted in words, in the reading for scripts that are written without spaces.
_PARTED = (
    "; each letter or digit of a script that is written without spaces (Han, Hiragana, Katakana, Thai, Lao, Khmer,"
    " Myanmar and others of line breaking class SA) is a word of its own, with the marks and punctuation after it"
)
UNSPACED: tuple[Tallied, ...] = tuple(
    dataclasses.replace(
        signal,
        name=f"unspaced_{signal.name}",
        counts=signal.counts + _PARTED,
        source=f"no publication: {GOPHER}, with the words of this package's near-duplicates",
    )
    for signal in SIGNALS
    if "words" in (signal.numerator, signal.denominator) or "gram_" in signal.name
)


def _compute(unspaced: bool) -> Callable[[Documents, Sequence[str]], dict[str, pa.Array]]:
    signals = UNSPACED if unspaced else SIGNALS

    def compute(documents: Documents, wanted: Sequence[str]) -> dict[str, pa.Array]:
        """Compute some of this family's signals; see signals.score."""
        # Numba takes half a second to import, and a driver that only reads SIGNALS never needs it.
        from redpajama_pipe.signals import gopher_kernels, gopher_long
        from redpajama_pipe.text.characters import properties

        chosen = [signal for signal in signals if signal.name in wanted]
        data, offsets, valid = documents.utf8
        longest = int(np.diff(offsets).max(initial=0))
        if longest >= 1 << 32:
            raise ValueError(f"a document has {longest:,} bytes; Gopher's signals are counted up to 4 GiB")
        repetition = any(signal.numerator.startswith(("duplicate_", "top_")) for signal in chosen)
        tallies = gopher_long.tally(data, offsets, valid, properties(), repetition, unspaced)
        known = dict.fromkeys(STOP_LIST_SIGNALS, valid & documents.speaks(STOP_LIST_LANGUAGES))
        return tallied_columns(chosen, gopher_kernels.TALLIES, tallies, valid, known)

    return compute


FAMILY = Family(
    "gopher", "Gopher's quality and repetition signals, as DataComp-LM reads them", SIGNALS, _compute(False)
)
UNSPACED_FAMILY = Family(
    "gopher_unspaced",
    "Gopher's signals of words where a character of Chinese, Japanese, Thai ... is a word",
    UNSPACED,
    _compute(True),
)
