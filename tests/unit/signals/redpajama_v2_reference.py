"""RedPajama-V2's document model and signals in plain Python: the formulas of its code, one after the other.

Source: RedPajama-Data, app/src/core/document.py, app/src/core/quality_signals and app/src/utilities/text.
"""

from __future__ import annotations

import math
import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable

Triple = tuple[int, int, float | None]

PRECISION = 8
NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
WORD_PUNCT = re.compile(r"\w+|[^\w\s]+", re.UNICODE | re.MULTILINE | re.DOTALL)  # nltk's WordPunctTokenizer
SENTENCE = re.compile(r"\b[^.!?]+[.!?]*", flags=re.UNICODE)
LETTER = re.compile(r"[a-zA-Z]")
LOREM = re.compile(r"lorem ipsum", re.IGNORECASE)
BULLETS = ("\u2022", "\u2023", "\u25b6", "\u25c0", "\u25e6", "\u25a0", "\u25a1", "\u25aa", "\u25ab", "\u2013")


def normalize(text: str) -> str:
    text = text.translate(NO_PUNCTUATION).lower().strip()
    return unicodedata.normalize("NFD", re.sub(r"\s+", " ", text))


def ngrams(words: list[str], n: int) -> list[tuple[str, ...]]:
    return [tuple(words[at : at + n]) for at in range(len(words) - n + 1)]


def document_signals(
    text: str, stop_words: Iterable[str] = (), bad_words: Iterable[str] = ()
) -> dict[str, float | None]:
    """Return the scores of a document, by published name without its prefix."""
    normalized = normalize(text)
    words = normalized.split()
    raw = WORD_PUNCT.findall(text)
    lines = [match.group() for match in re.finditer(r"([^\n]*\n|[^\n]+$)", text)]
    stop, bad = set(stop_words), set(bad_words)
    score: dict[str, float | None] = {
        "num_sentences": float(len(SENTENCE.findall(text))),
        "word_count": len(words),
        "mean_word_length": None,
        "symbol_to_word_ratio": None,
        "frac_lines_end_with_ellipsis": None,
        "frac_no_alph_words": None,
        "frac_unique_words": None,
        "unigram_entropy": None,
        "frac_all_caps_words": None,
        "curly_bracket": 0.0,
        "lorem_ipsum": 0.0,
        "ldnoobw_words": 0.0,
        "stop_word_fraction": 0.0,
    }
    if words:
        score["mean_word_length"] = round(float(sum(map(len, words))) / len(words), PRECISION)
        score["frac_unique_words"] = round(float(len(set(words))) / len(words), PRECISION)
        counter = Counter(words)
        total = sum(counter.values())
        entropy = 0.0
        for x in counter.values():  # not sum(), which from Python 3.12 on adds more exactly than the published one
            entropy += -x / total * math.log(x / total)
        score["unigram_entropy"] = round(entropy, PRECISION)
        score["stop_word_fraction"] = round(float(sum(word in stop for word in raw)) / len(raw), PRECISION)
        found = 0
        for n in {1 + entry.count(" ") for entry in bad}:
            found += sum(" ".join(gram) in bad for gram in ngrams(words, n))
        score["ldnoobw_words"] = float(found)
    if raw:
        symbols = float(sum(text.count(symbol) for symbol in ("#", "...", "…")))
        score["symbol_to_word_ratio"] = round(symbols / len(raw), PRECISION)
        letters = float(sum(LETTER.search(word) is not None for word in raw))
        score["frac_no_alph_words"] = round(1.0 - letters / len(raw), PRECISION)
        score["frac_all_caps_words"] = round(float(sum(map(str.isupper, raw))) / len(raw), PRECISION)
    if lines:
        ellipses = float(sum(line.rstrip().endswith(("...", "…")) for line in lines))
        score["frac_lines_end_with_ellipsis"] = round(ellipses / len(lines), PRECISION)
    if text:
        score["curly_bracket"] = round(float(text.count("{") + text.count("}")) / len(text), PRECISION)
    if "lorem ipsum" in normalized:
        score["lorem_ipsum"] = round(float(len(LOREM.findall(normalized))) / len(normalized), PRECISION)
    for n in (2, 3, 4):
        score[f"frac_chars_top_{n}gram"] = _top(words, n)
    for n in (5, 6, 7, 8, 9, 10):
        score[f"frac_chars_dupe_{n}grams"] = _dupe(words, n)
    return score


def _top(words: list[str], n: int) -> float:
    grams = ngrams(words, n)
    if not grams:
        return 0.0
    gram, count = Counter(grams).most_common(1)[0]
    if count <= 1:
        return 0.0
    return round(sum(map(len, gram)) * count / sum(map(len, words)), PRECISION)


def _dupe(words: list[str], n: int) -> float:
    grams = ngrams(words, n)
    counts = Counter(grams)
    marked = [0] * len(words)
    for at, gram in enumerate(grams):
        if counts[gram] > 1:
            marked[at : at + n] = [1] * n
    total = sum(map(len, words))
    covered = sum(len(word) * mark for word, mark in zip(words, marked, strict=True))
    return round(covered / total, PRECISION) if total else 0.0


def line_signals(text: str) -> dict[str, list[Triple]]:
    """Return the triples of a document's lines, by published name without its prefix."""
    spans = [match.span() for match in re.finditer(r"([^\n]*\n|[^\n]+$)", text)]

    def each(measure: Callable[[str], float], normalized: bool = False) -> list[Triple]:
        slices = [(normalize(text[start:end]) if normalized else text[start:end], start, end) for start, end in spans]
        return [(start, end, measure(line)) for line, start, end in slices]

    def share(predicate: Callable[[str], bool]) -> Callable[[str], float]:
        return lambda line: round(sum(map(predicate, line)) / len(line), PRECISION) if line else 0.0

    return {
        "javascript_counts": each(lambda line: float(line.split().count("javascript")), True),
        "ending_with_terminal_punctution_mark": each(lambda line: float(line.rstrip().endswith((".", "!", "?", "”")))),
        "num_words": each(lambda line: len(line.split()), True),
        "uppercase_letter_fraction": each(share(str.isupper)),
        "numerical_chars_fraction": each(share(str.isnumeric), True),
        "start_with_bulletpoint": each(lambda line: float(line.lstrip().startswith(BULLETS))) or [(0, 0, None)],
    }


def signals(text: str, stop_words: Iterable[str] = (), bad_words: Iterable[str] = ()) -> dict[str, object]:
    """Return what a column holds for a document, by its name."""
    found: dict[str, object] = {f"rps_doc_{k}": v for k, v in document_signals(text, stop_words, bad_words).items()}
    return found | {f"rps_lines_{k}": [score for _, _, score in v] for k, v in line_signals(text).items()}
