"""RedPajama-V2's quality signals, under their published names and equal to their published values, to all 8 decimals.

A document is what its code makes of it. Raw words: WordPunctTokenizer of nltk 3.8, runs of re's \\w or of [^\\w\\s];
that of nltk 3.10 takes \\w as module regex does, with combining marks, without superscripts. Normalised words: ASCII
punctuation deleted, lower case, NFD, str.split(), so lengths count combining marks. Lines: pieces that end with "\\n",
which belongs to them; blank ones too. A signal of lines is a list with one number a line.
About 120 MB/s on one core.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from redpajama_pipe.signals.signal import Documents, Family, Signal

PAPER = "RedPajama-V2 (Weber et al. 2024, arXiv:2411.12372)"
CODE = "RedPajama-Data, app/src/core/quality_signals"
NEVER_NULL = "the document is null"
NO_WORDS = "there are no normalised words"
NO_RAW_WORDS = "there are no raw words"

Values = NDArray[np.float64]


def _document(
    name: str, unit: str, counts: str, file: str, null: str = NEVER_NULL, most: float | None = 1.0, least: float = 0.0
) -> Signal:
    return Signal(f"rps_doc_{name}", unit, counts, f"{PAPER}; {CODE}/{file}", null, (least, most), pa.float64())


def _lines(name: str, unit: str, counts: str, most: float | None = 1.0, kind: pa.DataType | None = None) -> Signal:
    listed = pa.list_(kind or pa.float64())
    return Signal(f"rps_lines_{name}", unit, counts, f"{PAPER}; {CODE}/lines.py", NEVER_NULL, (0.0, most), listed)


def _top(n: int) -> Signal:
    counts = (
        f"times that the most frequent {n}-gram of normalised words occurs, the first of several, x characters of its"
        " words / characters of all normalised words; 0 unless it occurs twice. Overlapping occurrences count in full,"
        " so it may exceed 1"
    )
    return _document(f"frac_chars_top_{n}gram", "of characters in words", counts, "repetitions.py", most=None)


def _dupe(n: int) -> Signal:
    counts = (
        f"characters of the normalised words that any {n}-gram covers which occurs at least twice, every occurrence,"
        " each word once / characters of all normalised words"
    )
    return _document(f"frac_chars_dupe_{n}grams", "of characters in words", counts, "repetitions.py")


def _model_score(domain: str, what: str) -> Signal:
    return _document(
        f"ml_{domain}_score",
        "probability",
        f"fastText's probability that the document is {what}: of its best label, or 1 minus it where that is"
        " __label__cc. Line breaks become spaces first",
        "classifiers.py",
        "the document is empty, or there is no model for its language",
        None,
    )


def _importance(domain: str, correction: bool) -> Signal:
    counts = (
        f"log of the ratio of the document's likelihood under {domain} and under CCNet's text, as bags of raw words and"
        " bigrams in hashed buckets"
    )
    if correction:
        counts += (
            ", plus the log ratio of the Poisson probabilities of its length, in characters though fitted to words"
        )
    return _document(
        f"{domain}_importance" + ("_length_correction" if correction else ""),
        "nats",
        counts,
        "importance_weights.py",
        "the document is empty, or there are no counts for its language",
        None,
        float("-inf"),
    )


_NATURAL = "natural_language.py"
_CONTENT = "content.py"
_MODELS = (
    ("wikiref", "a Wikipedia reference"),
    ("palm", "Wikipedia, OpenWebText or a book"),
    ("wikipedia", "Wikipedia"),
)
IMPORTANCE_DOMAINS = ("wikipedia", "openwebtext", "books")

STOP_WORD_FRACTION = "rps_doc_stop_word_fraction"
BAD_WORD_COUNT = "rps_doc_ldnoobw_words"
BLACKLIST = "rps_doc_ut1_blacklist"

SIGNALS: tuple[Signal, ...] = (
    Signal(
        "rps_doc_word_count",
        "words",
        "normalised words",
        f"{PAPER}; {CODE}/{_NATURAL}",
        NEVER_NULL,
        (0.0, None),
        pa.int64(),
    ),
    _document("num_sentences", "sentences", r"matches of \b[^.!?]+[.!?]*", _NATURAL, most=None),
    _document("mean_word_length", "characters", "characters of all normalised words / these", _NATURAL, NO_WORDS, None),
    _document(
        "symbol_to_word_ratio",
        "symbols per word",
        "occurrences of # and ... and …, as str.count does / raw words",
        _NATURAL,
        NO_RAW_WORDS,
        None,
    ),
    _document(
        "frac_lines_end_with_ellipsis",
        "of lines",
        "lines that end with ... or … before white space / lines, blank ones too",
        _NATURAL,
        "the document is empty",
    ),
    _document(
        "frac_no_alph_words",
        "of raw words",
        "1 minus raw words with one of [a-zA-Z] / raw words: a Cyrillic word has none",
        _NATURAL,
        NO_RAW_WORDS,
    ),
    _document("frac_unique_words", "of words", "distinct normalised words / normalised words", _NATURAL, NO_WORDS),
    _document(
        "unigram_entropy",
        "nats",
        "entropy of the distribution of normalised words, natural logarithm",
        _NATURAL,
        NO_WORDS,
        None,
    ),
    _document(
        "frac_all_caps_words",
        "of raw words",
        "raw words for which str.isupper() holds / raw words",
        _NATURAL,
        NO_RAW_WORDS,
    ),
    _document("curly_bracket", "of characters", "{ and } / characters", _CONTENT),
    _document(
        "lorem_ipsum",
        "per character",
        "occurrences of lorem ipsum in the normalised text / its characters",
        _CONTENT,
    ),
    _document(
        "ldnoobw_words",
        "runs of words",
        "runs of normalised words that are entries of the language's List of Dirty, Naughty, Obscene, and Otherwise Bad"
        " Words, which stays as it is: an entry with a hyphen or an accented letter in one piece is never met. 0 for a"
        " language other than en, de, fr, es, it. The lists are artifacts/bad_words/LANGUAGE.txt, else those of npm's"
        " naughty-words, a copy of the published ones",
        _CONTENT,
        "the language is unknown, or no lists are installed",
        None,
    ),
    _document(
        "stop_word_fraction",
        "of raw words",
        "raw words on the language's list of stopwords-json, in this case and spelling / raw words; 0 without a"
        " normalised word",
        _CONTENT,
        "the language has no list, or none is installed",
    ),
    Signal(
        BLACKLIST,
        "category",
        "the UT1 blacklist's number for the combination of categories that the URL's host is in",
        f"{PAPER}; {CODE}/{_CONTENT}",
        "there is no URL, its host is not listed, or no list is installed",
        (0.0, None),
        pa.int64(),
    ),
    *(_top(n) for n in (2, 3, 4)),
    *(_dupe(n) for n in (5, 6, 7, 8, 9, 10)),
    _lines("javascript_counts", "words", "normalised words of the line that are javascript", None),
    _lines(
        "ending_with_terminal_punctution_mark",
        "yes or no",
        "1: the line ends with . or ! or ? or ” before white space; the name is misspelt as published",
    ),
    _lines("num_words", "words", "normalised words of the line", None, pa.int64()),
    _lines(
        "uppercase_letter_fraction",
        "of characters",
        "characters for which str.isupper() holds / characters of the line, its newline too",
    ),
    _lines(
        "numerical_chars_fraction",
        "of characters",
        "characters for which str.isnumeric() holds / characters of the normalised line; 0 where it has none",
    ),
    _lines(
        "start_with_bulletpoint",
        "yes or no",
        "1: the line begins, after white space, with one of • ‣ ▶ ◀ ◦ ■ □ ▪ ▫ –. An empty document has one null",
    ),
    *(_model_score(domain, what) for domain, what in _MODELS),
    *(_importance(domain, correction) for domain in IMPORTANCE_DOMAINS for correction in (False, True)),
)


def compute(documents: Documents, wanted: Sequence[str]) -> dict[str, pa.Array]:
    """Compute some of this family's signals; see signals.score."""
    from redpajama_pipe.signals import redpajama_v2_lists, redpajama_v2_models

    columns: dict[str, pa.Array] = {}
    if any("_ml_" in name or "_importance" in name for name in wanted):
        columns |= redpajama_v2_models.scores(documents, wanted)
    if BLACKLIST in wanted:
        columns[BLACKLIST] = redpajama_v2_lists.blacklist(documents)
    if counted := [name for name in wanted if name not in columns]:
        columns |= _count(documents, counted)
    return {name: columns[name] for name in wanted}


def _count(documents: Documents, wanted: Sequence[str]) -> dict[str, pa.Array]:
    from redpajama_pipe.signals import redpajama_v2_kernels as kernels
    from redpajama_pipe.signals import redpajama_v2_lists
    from redpajama_pipe.signals.redpajama_v2_rounding import round_8
    from redpajama_pipe.text.normalise import characters

    data, offsets, valid = documents.utf8
    stop_words = redpajama_v2_lists.stop_words(documents, STOP_WORD_FRACTION in wanted)
    bad_words = redpajama_v2_lists.bad_words(documents, BAD_WORD_COUNT in wanted)
    begins = np.empty(len(valid) + 1, np.int64)
    longest, longest_window = kernels.survey(data, offsets, valid, kernels.WINDOW, begins)
    scratch = kernels.make_scratch(longest, longest_window, kernels.CELLS, bad_words.lists)
    listed = int(begins[-1]) if any(name.startswith("rps_lines_") for name in wanted) else 0
    lines, line_words = np.empty((len(kernels.LINES), listed)), np.empty(listed, np.int64)
    tallies, entropy = np.zeros((len(valid), len(kernels.TALLIES)), np.int64), np.zeros(len(valid))
    repetition = any("_chars_" in n or n in ("rps_doc_frac_unique_words", "rps_doc_unigram_entropy") for n in wanted)
    kernels.measure(
        data, offsets, valid, characters(), stop_words.lists, bad_words.lists,
        repetition, kernels.WINDOW, scratch, begins, lines, line_words, tallies, entropy,
    )  # fmt: skip
    del scratch
    of = {name: tallies[:, column] for column, name in enumerate(kernels.TALLIES)}
    words, raw_words, word_chars = of["words"], of["raw_words"], of["word_chars"]
    spoken, tokens = words > 0, raw_words > 0
    normalised_chars = word_chars + words - 1

    def over(numerator: NDArray[np.int64], denominator: NDArray[np.int64], where: NDArray[np.bool_]) -> Values:
        return np.divide(numerator, denominator, out=np.zeros(len(valid)), where=where)

    # Each: the value, 0 where it is not defined, and where it is not null.
    scores: dict[str, tuple[Values, NDArray[np.bool_]]] = {
        "num_sentences": (of["sentences"].astype(np.float64), valid),
        "mean_word_length": (over(word_chars, words, spoken), spoken),
        "symbol_to_word_ratio": (over(of["symbols"], raw_words, tokens), tokens),
        "frac_lines_end_with_ellipsis": (over(of["ellipsis_lines"], of["lines"], of["lines"] > 0), of["lines"] > 0),
        "frac_no_alph_words": (1.0 - over(of["alphabetic_words"], raw_words, tokens), tokens),
        "frac_unique_words": (over(of["unique_words"], words, spoken), spoken),
        "unigram_entropy": (entropy, spoken),
        "frac_all_caps_words": (over(of["caps_words"], raw_words, tokens), tokens),
        "curly_bracket": (over(of["braces"], of["chars"], of["chars"] > 0), valid),
        "lorem_ipsum": (over(of["lorem_ipsums"], normalised_chars, spoken), valid),
        "ldnoobw_words": (of["bad_words"].astype(np.float64), bad_words.known),
        "stop_word_fraction": (over(of["stop_words"], raw_words, spoken), stop_words.known),
    }
    for n in (2, 3, 4):
        scores[f"frac_chars_top_{n}gram"] = over(of[f"top_{n}gram_chars"], word_chars, spoken), valid
    for n in (5, 6, 7, 8, 9, 10):
        scores[f"frac_chars_dupe_{n}grams"] = over(of[f"dupe_{n}gram_chars"], word_chars, spoken), valid
    columns: dict[str, pa.Array] = {}
    for name in wanted:
        if name == "rps_doc_word_count":
            columns[name] = pa.array(words, mask=~valid)
        elif name.startswith("rps_doc_"):
            values, known = scores[name.removeprefix("rps_doc_")]
            round_8(values)
            columns[name] = pa.array(values, mask=~(known & valid))
    javascript, terminal, uppercase, numerical, bullets = lines
    round_8(uppercase)
    round_8(numerical)
    in_order = javascript, terminal, line_words, uppercase, numerical, bullets
    return columns | _line_columns(wanted, in_order, begins, valid)


def _line_columns(
    wanted: Sequence[str],
    lines: Sequence[Values | NDArray[np.int64]],
    begins: NDArray[np.int64],
    valid: NDArray[np.bool_],
) -> dict[str, pa.Array]:
    kinds = [signal.name for signal in SIGNALS if signal.name.startswith("rps_lines_")]
    columns: dict[str, pa.Array] = {}
    nulls = pa.array(~valid)
    for name, values in zip(kinds, lines, strict=True):
        if name not in wanted:
            continue
        listed, starts = pa.array(values), begins
        empty = np.flatnonzero(valid & (np.diff(begins) == 0))
        if name == "rps_lines_start_with_bulletpoint" and len(empty):
            listed = pa.array(np.insert(values, begins[empty], 0.0), mask=_at(len(values), begins[empty]))
            starts = begins + np.searchsorted(empty, np.arange(len(begins)))
        offsets = pa.array(starts.astype(np.int32), mask=np.append(~valid, False)) if nulls.true_count else starts
        if not isinstance(offsets, pa.Array):
            offsets = pa.array(starts.astype(np.int32))
        columns[name] = pa.ListArray.from_arrays(offsets, listed)
    return columns


def _at(size: int, places: NDArray[np.int64]) -> NDArray[np.bool_]:
    return np.insert(np.zeros(size, np.bool_), places, True)


FAMILY = Family("redpajama_v2", "RedPajama-V2's quality signals, value for value", SIGNALS, compute, lenient=True)
