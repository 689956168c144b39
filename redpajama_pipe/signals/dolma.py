"""Gopher's signals as Dolma's first tagger counts them for Dolma 1.5: about 170 MB/s on one core.

A word is a piece of str.split(), a line a piece of split("\\n"), blank ones too. Where the tagger writes 0 for a text
without words or lines, so do these signals; an n-gram that a text is too short for has no value there, and none here.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from redpajama_pipe.signals.signal import Documents, Family
from redpajama_pipe.signals.tallied import Tallied, tallied_columns

SOURCE = "allenai/dolma: python/dolma/taggers/gopher.py, gopher_v1"

NEVER_NULL = "the document is null"


def _count(name: str, unit: str, counts: str, tally: str, null: str = NEVER_NULL) -> Tallied:
    return Tallied(f"dolma_{name}", unit, counts, SOURCE, null, (0.0, None), pa.int64(), tally)


def _ratio(
    name: str, unit: str, counts: str, tally: str, of: str, most: float | None = 1.0, null: str = "", least: int = 1
) -> Tallied:
    return Tallied(
        f"dolma_{name}", unit, counts, SOURCE, null or NEVER_NULL, (0.0, most), pa.float64(), tally, of, least
    )


MEDIAN = Tallied(
    "dolma_median_word_length",
    "characters",
    "median length of words; 0 without words",
    SOURCE,
    NEVER_NULL,
    (0.0, None),
    pa.float64(),
    "double_median",
)

SIGNALS: tuple[Tallied, ...] = (
    _count("word_count", "words", "pieces of str.split()", "words"),
    MEDIAN,
    _ratio("symbol_word_ratio", "of words", "words that hold # or … / words", "symbol_words", "words"),
    _ratio(
        "alphabetic_word_fraction",
        "of words",
        "words with a character for which str.isalpha() holds / words",
        "alphabetic_words",
        "words",
    ),
    _count(
        "stop_word_count",
        "words",
        "occurrences of the, be, to, of, and, that, have, with as words, in lower case exactly",
        "stop_words",
        "the document's language has no stop list: it is not English, or not known",
    ),
    _ratio("bullet_line_fraction", "of lines", "lines that begin with * or - / lines", "bullet_lines", "lines"),
    _ratio("ellipsis_line_fraction", "of lines", "lines that end with … / lines", "ellipsis_lines", "lines"),
    _ratio(
        "duplicate_line_fraction",
        "of lines",
        "lines that occur at least twice, every occurrence, blank ones too / lines",
        "duplicate_lines",
        "lines",
    ),
    _ratio(
        "duplicate_line_char_fraction",
        "characters per character in words",
        "characters of lines that occur at least twice, white space too / characters of words",
        "duplicate_line_chars",
        "word_chars",
        None,
    ),
    *(
        _ratio(
            f"top_{n}gram_char_fraction",
            "of characters in words",
            f"characters of the most frequent {n}-gram of words, the first of equals, times how often it occurs, once"
            " too / characters of all words",
            f"top_{n}gram_chars",
            "word_chars",
            None,
            f"the document has fewer than {n} words",
        )
        for n in (2, 3, 4)
    ),
    *(
        _ratio(
            f"duplicate_{n}gram_char_fraction",
            f"of characters in {n}-grams",
            f"characters of {n}-grams of words that occur at least twice, every occurrence / characters of all"
            f" {n}-grams, so that a word counts up to {n} times in both",
            f"duplicate_{n}gram_chars",
            f"all_{n}gram_chars",
            1.0,
            f"the document has fewer than {n} words",
            0,
        )
        for n in (5, 6, 7, 8, 9, 10)
    ),
)


def compute(documents: Documents, wanted: Sequence[str]) -> dict[str, pa.Array]:
    """Compute some of this family's signals; see signals.score."""
    from redpajama_pipe.signals import dolma_kernels, dolma_long
    from redpajama_pipe.text.characters import properties

    chosen = [signal for signal in SIGNALS if signal.name in wanted]
    data, offsets, valid = documents.utf8
    tallies = dolma_long.tally(data, offsets, valid, properties())
    words = tallies[:, dolma_kernels.TALLIES.index("words")]
    known = {"dolma_stop_word_count": valid & documents.speaks(("en",))}
    known |= {f"dolma_top_{n}gram_char_fraction": valid & (words >= n) for n in (2, 3, 4)}
    columns = tallied_columns(chosen, dolma_kernels.TALLIES, tallies, valid, known)
    if MEDIAN.name in columns:
        double = tallies[:, dolma_kernels.TALLIES.index("double_median")]
        columns[MEDIAN.name] = pa.array(np.asarray(double, np.float64) / 2, mask=~valid)
    return columns


FAMILY = Family("dolma", "Gopher's signals as Dolma's first tagger counts them", SIGNALS, compute)
