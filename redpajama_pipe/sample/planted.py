"""Documents that break one Gopher rule each, so that a report over the sample shows every rule at work.

They are made of the words of the English articles, drawn at random with a fixed seed: no accidental repetition,
ordinary stop words and word lengths. No other rule drops them, but where one implies another: a long line or paragraph
that repeats also repeats its n-grams, and the paragraph its lines.

Source of the rules: Rae et al. 2021 (arXiv:2112.11446), table A1 and section A.1.1.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from functools import cache

from redpajama_pipe.sample.articles import language, plain_text

STOP_WORDS = frozenset(("the", "be", "to", "of", "and", "that", "have", "with"))
_SHORT_WORDS = (
    "a an am as at be by do go he if in is it me my no of on or so to up us we and ant the but ox has had his its our"
    " out see sea she sky sun ten two was way who why you all any are ask can cat dog eat egg for get"
)
_LONG_WORDS = (
    "administration agricultural archaeological architecture astronomical circumference communication comprehensive"
    " concentration congratulations consequently conservation consideration constellation construction conversation"
    " demonstration differentiation documentation encyclopaedia entertainment environmental establishment evaporation"
    " experimental extraordinary geographical hydroelectric identification illumination imagination independence"
    " international investigation laboratories manufacturing mathematical measurements meteorological multiplication"
    " neighbourhood observatories organisation particularly photographers preservation professional pronunciation"
    " representative responsibility revolutionary schoolteachers significantly straightforward temperatures"
    " transportation understanding unfortunately universities"
)


@cache
def _words() -> tuple[str, ...]:
    """Return the running words of the English articles, lower case, letters only."""
    text = " ".join(plain_text(article.wikitext) for article in language("en").articles)
    return tuple(re.findall(r"[a-z]+", text.lower()))


class _Writer:
    """A seeded source of random English words and lines."""

    def __init__(self, seed: str) -> None:
        self.rng = random.Random(f"planted {seed}")

    def words(self, count: int) -> list[str]:
        return self.rng.choices(_words(), k=count)

    def line(self, count: int) -> str:
        return " ".join(self.words(count)).capitalize() + "."

    def lines(self, count: int, words: int) -> list[str]:
        return [self.line(words) for _ in range(count)]


def _too_few_words(writer: _Writer) -> str:
    return f"This is the end of the page. {writer.line(30)}"


def _too_many_words(writer: _Writer) -> str:
    return "\n".join(writer.line(20) for _ in range(5100))


def _short_words(writer: _Writer) -> str:
    return "\n".join(" ".join(writer.rng.choices(_SHORT_WORDS.split(), k=12)) + "." for _ in range(12))


def _long_words(writer: _Writer) -> str:
    lines = []
    for _ in range(12):
        words = writer.rng.sample(_LONG_WORDS.split(), 9)
        lines.append(f"In the {' '.join(words[:4])} of {' '.join(words[4:])}.")
    return "\n".join(lines)


def _hash_symbols(writer: _Writer) -> str:
    return "\n".join(
        " ".join(f"#{word}" if place % 4 == 1 else word for place, word in enumerate(line.split()))
        for line in writer.lines(12, 12)
    )


def _ellipses(writer: _Writer) -> str:
    return "\n".join(
        " ".join(f"{word}..." if place % 4 == 2 else word for place, word in enumerate(line.split()))
        for line in writer.lines(12, 12)
    )


def _bullet_lines(writer: _Writer) -> str:
    bullet = writer.rng.choice("•-")
    return "\n".join(f"{bullet} {line}" for line in writer.lines(16, 8))


def _ellipsis_lines(writer: _Writer) -> str:
    return "\n".join(line[:-1] + "..." if place % 2 else line for place, line in enumerate(writer.lines(14, 13)))


def _non_alphabetic_words(writer: _Writer) -> str:
    def mixed(line: str) -> str:
        words = line.split()
        return " ".join(
            str(writer.rng.randrange(1000, 99999)) if place % 3 == 1 else w for place, w in enumerate(words)
        )

    return "\n".join(mixed(line) for line in writer.lines(12, 12))


def _no_stop_words(writer: _Writer) -> str:
    rows = ([word for word in writer.words(24) if word not in STOP_WORDS][:12] for _ in range(14))
    return "\n".join(" ".join(row).capitalize() + "." for row in rows)


def _duplicate_lines(writer: _Writer) -> str:
    # short lines repeat: many of the lines, few of the characters
    return "\n".join(f"{line}\nReply" if place % 5 < 3 else line for place, line in enumerate(writer.lines(25, 14)))


def _duplicate_paragraphs(writer: _Writer) -> str:
    # the paragraph that repeats has one line, the others four, so that few lines repeat
    blocks = ("\n".join(writer.lines(4, 11)) + "\n\nRead on" for _ in range(9))
    return "\n\n".join(blocks)


def _duplicate_line_chars(writer: _Writer) -> str:
    long = writer.line(50)
    return "\n".join(f"{line}\n{long}" if place % 8 == 4 else line for place, line in enumerate(writer.lines(24, 6)))


def _duplicate_paragraph_chars(writer: _Writer) -> str:
    long = "\n".join(writer.lines(3, 26))
    blocks = ("\n".join(writer.lines(2, 8)) for _ in range(9))
    return "\n\n".join(f"{block}\n\n{long}" if place % 4 == 2 else block for place, block in enumerate(blocks))


def _top_ngram(n: int, share: float) -> Callable[[_Writer], str]:
    """Repeat one phrase of n words until it takes `share` of the characters in words."""

    def write(writer: _Writer) -> str:
        phrase = writer.rng.sample(_LONG_WORDS.split(), n)
        words: list[str] = []
        for count in range(1, 26):
            words += phrase
            while count * _chars(phrase) > share * _chars(words):
                words += writer.words(1)
        return " ".join(words) + "."

    return write


def _duplicate_ngrams(n: int, share: float) -> Callable[[_Writer], str]:
    """Repeat phrases of n words, at least three words apart, so that they take `share` of the characters in words."""

    def write(writer: _Writer) -> str:
        phrases = [writer.words(n) for _ in range(12)]
        words: list[str] = []
        repeated = 0
        for _ in range(3):
            for phrase in phrases:
                repeated += _chars(phrase)
                words += phrase + writer.words(3)
                while repeated > share * _chars(words):
                    words += writer.words(1)
        return " ".join(words) + "."

    return write


def _chars(words: list[str]) -> int:
    return sum(map(len, words))


# What makes the document, by the rule of the rule set `gopher` that drops it. A phrase of n words that repeats is also
# a repeated phrase of n - 1 words, so each share lies between the bound for n and the bound for n - 1.
RULES: dict[str, Callable[[_Writer], str]] = {
    "min_word_count": _too_few_words,
    "max_word_count": _too_many_words,
    "min_mean_word_length": _short_words,
    "max_mean_word_length": _long_words,
    "max_hash_word_ratio": _hash_symbols,
    "max_ellipsis_word_ratio": _ellipses,
    "max_bullet_line_fraction": _bullet_lines,
    "max_ellipsis_line_fraction": _ellipsis_lines,
    "min_alphabetic_word_fraction": _non_alphabetic_words,
    "min_stop_word_count": _no_stop_words,
    "max_duplicate_line_fraction": _duplicate_lines,
    "max_duplicate_paragraph_fraction": _duplicate_paragraphs,
    "max_duplicate_line_char_fraction": _duplicate_line_chars,
    "max_duplicate_paragraph_char_fraction": _duplicate_paragraph_chars,
    "max_top_2gram_char_fraction": _top_ngram(2, 0.25),
    "max_top_3gram_char_fraction": _top_ngram(3, 0.19),
    "max_top_4gram_char_fraction": _top_ngram(4, 0.17),
    "max_duplicate_5gram_char_fraction": _duplicate_ngrams(5, 0.16),
    "max_duplicate_6gram_char_fraction": _duplicate_ngrams(6, 0.145),
    "max_duplicate_7gram_char_fraction": _duplicate_ngrams(7, 0.135),
    "max_duplicate_8gram_char_fraction": _duplicate_ngrams(8, 0.125),
    "max_duplicate_9gram_char_fraction": _duplicate_ngrams(9, 0.115),
    "max_duplicate_10gram_char_fraction": _duplicate_ngrams(10, 0.105),
}


def documents() -> Iterator[tuple[str, str]]:
    """Yield (rule, text) twice for each rule, once for `max_word_count`, whose document is the largest."""
    for rule, write in RULES.items():
        for copy in range(1 if rule == "max_word_count" else 2):
            yield rule, write(_Writer(f"{rule} {copy}"))
