"""Gopher's signals as datatrove 0.10 counts them for FineWeb: about 50 MB/s on one core.

A token is what spaCy's blank English tokenizer gives; its rules for prefixes, suffixes, infixes, contractions and
units are followed, its list of exceptions and its URL pattern are approximated. A word is a token with a character that
is no punctuation. Ratios are of the text's characters, white space included.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import cache

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from redpajama_pipe.signals.signal import Documents, Family
from redpajama_pipe.signals.tallied import Tallied, tallied_columns

QUALITY = "datatrove 0.10: pipeline/filters/gopher_quality_filter.py"
REPETITION = "datatrove 0.10: pipeline/filters/gopher_repetition_filter.py"
FINEWEB = "datatrove 0.10: pipeline/filters/fineweb_quality_filter.py"

NEVER_NULL = "the document is null"
NO_TOKENS = "the document has no tokens"
NO_WORDS = "the document has no words"
NO_TEXT = "the document is empty"

# datatrove 0.10: utils/text.py, TERMINAL_PUNCTUATION and PUNCTUATION.
TERMINAL_PUNCTUATION = "".join(
    chr(int(code, 16))
    for code in [
        "21",
        "2e",
        "3f",
        "589",
        "61d",
        "61e",
        "61f",
        "6d4",
        "700",
        "701",
        "702",
        "7f9",
        "837",
        "839",
        "83d",
        "83e",
        "964",
        "965",
        "104a",
        "104b",
        "1362",
        "1367",
        "1368",
        "166e",
        "1735",
        "1736",
        "17d4",
        "17d5",
        "17d6",
        "17d9",
        "17da",
        "1803",
        "1809",
        "1944",
        "1945",
        "1aa8",
        "1aa9",
        "1aaa",
        "1aab",
        "1b5a",
        "1b5b",
        "1b5e",
        "1b5f",
        "1b7d",
        "1b7e",
        "1c3b",
        "1c3c",
        "1c7e",
        "1c7f",
        "203c",
        "203d",
        "2047",
        "2048",
        "2049",
        "2e2e",
        "2e3c",
        "2e53",
        "2e54",
        "3002",
        "a4ff",
        "a60e",
        "a60f",
        "a6f3",
        "a6f7",
        "a876",
        "a877",
        "a8ce",
        "a8cf",
        "a92f",
        "a9c8",
        "a9c9",
        "aa5d",
        "aa5e",
        "aa5f",
        "aaf0",
        "aaf1",
        "abeb",
        "fe52",
        "fe56",
        "fe57",
        "ff01",
        "ff0e",
        "ff1f",
        "ff61",
        "10a56",
        "10a57",
        "10f55",
        "10f56",
        "10f57",
        "10f58",
        "10f59",
        "10f86",
        "10f87",
        "10f88",
        "10f89",
        "11047",
        "11048",
        "110be",
        "110bf",
        "110c0",
        "110c1",
        "11141",
        "11142",
        "11143",
        "111c5",
        "111c6",
        "111cd",
        "111de",
        "111df",
        "11238",
        "11239",
        "1123b",
        "1123c",
        "112a9",
        "1144b",
        "1144c",
        "115c2",
        "115c3",
        "115c9",
        "115ca",
        "115cb",
        "115cc",
        "115cd",
        "115ce",
        "115cf",
        "115d0",
        "115d1",
        "115d2",
        "115d3",
        "115d4",
        "115d5",
        "115d6",
        "115d7",
        "11641",
        "11642",
        "1173c",
        "1173d",
        "1173e",
        "11944",
        "11946",
        "11a42",
        "11a43",
        "11a9b",
        "11a9c",
        "11c41",
        "11c42",
        "11ef7",
        "11ef8",
        "11f43",
        "11f44",
        "16a6e",
        "16a6f",
        "16af5",
        "16b37",
        "16b38",
        "16b44",
        "16e98",
        "1bc9f",
        "1da88",
    ]
)
PUNCTUATION = (
    "!/—”:％１〈&(、━\\【#%「」，】；+^]~“《„';’{|∶´[=-`*．（–？！：$～«〉,><》)?）。…@_.\"}►»"
    + "".join(map(chr, (*range(9), *range(11, 32), *range(127, 160))))
    + TERMINAL_PUNCTUATION
)
# spaCy 3.8: lang/char_classes.py, LIST_PUNCT, LIST_QUOTES, LIST_ELLIPSES; lang/punctuation.py, dashes; currency.
_EDGE = "…,:;!?¿؟¡()[]{}<>_#*&。？！，、；：～·।،۔؛٪'\"”“`‘´’‚„»«「」『』（）〔〕【】《》〈〉\u2329\u232a⟦⟧—–"
# LIST_ICONS is the category So of Unicode 11; these ranges came later.
_LATER = (
    "166d 2b97 2bc9 2bff 2e50-2e51 32ff fd40-fd4f fdcf fdfe-fdff 1019c 11fd5-11fdc 11fe1-11ff1 1cf50-1cfc3 1d1e9-1d1ea "
    "1e14f 1ed2e 1f10d-1f10f 1f16c-1f16f 1f1ad 1f6d5-1f6df 1f6fa-1f6ff 1f774-1f77f 1f7d9-1f7ff 1f8b0-1f8ff 1f90c-1f90f "
    "1f93f 1f971-1f972 1f977-1f979 1f97b 1f9a3-1f9af 1f9ba-1f9bf 1f9c3-1f9cf 1fa00-1fa53 1fa70-1fbff"
)
_CURRENCY = "$£€¥฿₽﷼₴₠₡₢₣₤₥₦₧₨₩₪₫₭₮₯₰₱₲₳₵₶₷₸₹₺₻₼₾₿"


@cache
def flags() -> NDArray[np.uint8]:
    """Return the flags of every code point, as datatrove_token_kernels names them: (2**21,), read-only."""
    from redpajama_pipe.signals import datatrove_token_kernels as kernels
    from redpajama_pipe.text import classes

    base = classes.classes()
    characters = [chr(code) for code in range(0x110000)]
    table = np.zeros(len(base), np.uint8)
    for flag, known in (
        (kernels.SPACE, classes.SPACE),
        (kernels.LINE_BREAK, classes.LINE_BREAK),
        (kernels.UPPER, classes.UPPER),
        (kernels.ALPHANUMERIC, classes.ALPHANUMERIC),
    ):
        table[(base & known) != 0] |= flag
    letters = np.fromiter(map(str.isalpha, characters), np.bool_, len(characters))
    table[: len(characters)][letters] |= kernels.ALPHABETIC
    later = {code for span in _LATER.split() for code in _codes(span)}
    icons = [c for c, character in enumerate(characters) if unicodedata.category(character) == "So" and c not in later]
    for flag, codes in (
        (kernels.PUNCTUATION, map(ord, PUNCTUATION)),
        (kernels.EDGE, (*map(ord, _EDGE), *icons)),
        (kernels.CURRENCY, (*map(ord, _CURRENCY), *icons)),
    ):
        table[np.fromiter(codes, np.int64)] |= flag
    table.flags.writeable = False
    return table


def _codes(span: str) -> range:
    first, _, last = span.partition("-")
    return range(int(first, 16), int(last or first, 16) + 1)


def _count(name: str, unit: str, counts: str, tally: str, null: str = NEVER_NULL) -> Tallied:
    return Tallied(f"datatrove_{name}", unit, counts, QUALITY, null, (0.0, None), pa.int64(), tally)


def _ratio(
    name: str, unit: str, counts: str, source: str, tally: str, of: str, null: str, most: float | None = 1.0
) -> Tallied:
    return Tallied(f"datatrove_{name}", unit, counts, source, null, (0.0, most), pa.float64(), tally, of)


def _repeated(kind: str, tally: str, split: str) -> tuple[Tallied, Tallied]:
    counts = f"{split} that equal an earlier one, the first not counted"
    return (
        _ratio(
            f"duplicate_{kind}_fraction",
            f"of {kind}s",
            f"{counts} / all",
            REPETITION,
            f"duplicate_{tally}s",
            f"{tally}s",
            NEVER_NULL,
        ),
        _ratio(
            f"duplicate_{kind}_char_fraction",
            "of characters",
            f"characters of {counts} / characters of the text",
            REPETITION,
            f"duplicate_{tally}_chars",
            "chars",
            NO_TEXT,
        ),
    )


NEWLINES = _ratio(
    "newline_word_ratio",
    "newlines per token",
    '"\\n" / tokens; FineWeb calls it list_ratio',
    FINEWEB,
    "newlines",
    "tokens",
    NO_TOKENS,
    None,
)

SIGNALS: tuple[Tallied, ...] = (
    _count("token_count", "tokens", "tokens of spaCy's blank English tokenizer", "tokens"),
    _count("word_count", "words", "tokens with a character outside datatrove's PUNCTUATION_SET", "words"),
    _ratio(
        "mean_word_length", "characters", "characters of words / words", QUALITY, "word_chars", "words", NO_WORDS, None
    ),
    _ratio("hash_word_ratio", "symbols per token", "# / tokens", QUALITY, "hash_marks", "tokens", NO_TOKENS, None),
    _ratio(
        "ellipsis_word_ratio",
        "symbols per token",
        "... (as str.count does) and … / tokens",
        QUALITY,
        "ellipses",
        "tokens",
        NO_TOKENS,
        None,
    ),
    _ratio(
        "bullet_line_fraction",
        "of lines",
        "lines of str.splitlines(), blank ones too, that begin with • or - after white space / all",
        QUALITY,
        "bullet_lines",
        "lines",
        NO_TEXT,
    ),
    _ratio(
        "ellipsis_line_fraction",
        "of lines",
        "lines of str.splitlines(), blank ones too, that end with ... or … before white space / all",
        QUALITY,
        "ellipsis_lines",
        "lines",
        NO_TEXT,
    ),
    _ratio(
        "alphabetic_word_fraction",
        "of tokens",
        "tokens with a character for which str.isalpha() holds / tokens",
        QUALITY,
        "alphabetic_tokens",
        "tokens",
        NO_TOKENS,
    ),
    _count(
        "stop_word_count",
        "distinct words",
        "how many of the, be, to, of, and, that, have, with occur as tokens, in lower case exactly",
        "stop_words",
        "the document's language has no stop list: it is not English, or not known",
    ),
    NEWLINES,
    *_repeated("line", "break", 'pieces between runs of "\\n", an empty first and last one too,'),
    *_repeated("paragraph", "paragraph", 'pieces of the stripped text between runs of two or more "\\n"'),
    *(
        _ratio(
            f"top_{n}gram_char_fraction",
            "of characters",
            f"length of the most frequent {n}-gram of tokens, a space between each, times how often it occurs, once too"
            " / characters of the text; of several equally frequent ones the first",
            REPETITION,
            f"top_{n}gram_chars",
            "chars",
            NO_TEXT,
            None,
        )
        for n in (2, 3, 4)
    ),
    *(
        _ratio(
            f"duplicate_{n}gram_char_fraction",
            "of characters",
            f"characters of {n}-grams of tokens, joined by nothing, that were met before, from left to right: past one"
            " that was, else one token on / characters of the text",
            REPETITION,
            f"duplicate_{n}gram_chars",
            "chars",
            NO_TEXT,
        )
        for n in (5, 6, 7, 8, 9, 10)
    ),
)


def compute(documents: Documents, wanted: Sequence[str]) -> dict[str, pa.Array]:
    """Compute some of this family's signals; see signals.score."""
    from redpajama_pipe.signals import datatrove_kernels

    chosen = [signal for signal in SIGNALS if signal.name in wanted]
    data, offsets, valid = documents.utf8
    repetition = any(signal.numerator.startswith(("duplicate_", "top_")) for signal in chosen)
    tallies = datatrove_kernels.tally(data, offsets, valid, flags(), repetition)
    english = valid & documents.speaks(("en",))
    return tallied_columns(chosen, datatrove_kernels.TALLIES, tallies, valid, {"datatrove_stop_word_count": english})


FAMILY = Family("datatrove", "Gopher's signals as datatrove counts them for FineWeb", SIGNALS, compute)
