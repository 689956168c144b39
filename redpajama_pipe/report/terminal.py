"""Text in columns of a terminal: width, truncation, wrapping, colour, and making crawled text harmless.

Wide East Asian characters take two columns, combining marks and format characters none. Nothing here asks the terminal
anything: widths and colour are the caller's decision.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

ELLIPSIS = "…"

_CODES = {"red": "31", "green": "32", "yellow": "33", "cyan": "36", "dim": "2", "bold": "1"}
_BIDI = frozenset("\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def clean(text: str) -> str:
    """Put text on one line and take its power over the terminal.

    White space becomes single spaces; escape sequences, other controls, text-direction marks and lone surrogates
    become U+FFFD, so that a crawled text can neither colour, move nor reorder what is printed around it.
    """
    return " ".join("".join(_harmless(character) for character in text).split())


def width(text: str) -> int:
    """Return how many columns a cleaned text takes."""
    return sum(map(_columns, text))


def truncate(text: str, columns: int) -> str:
    """Cut a text that is wider than `columns`; the last column then holds an ellipsis."""
    if width(text) <= columns:
        return text
    if columns <= 0:
        return ""
    return _prefix(text, columns - 1) + ELLIPSIS


def pad(text: str, columns: int, align: str = "l") -> str:
    """Truncate or fill a text to exactly `columns`; align `l`, `r` or `c`."""
    text = truncate(text, columns)
    room = columns - width(text)
    left = {"l": 0, "r": room, "c": room // 2}[align]
    return " " * left + text + " " * (room - left)


def wrap(text: str, columns: int) -> Iterator[str]:
    """Break a cleaned text into lines of at most `columns`, between words where it can be, inside a word otherwise.

    An empty text gives no line.
    """
    line, used = "", 0
    for word in text.split(" "):
        wide = width(word)
        if line and used + 1 + wide <= columns:
            line, used = f"{line} {word}", used + 1 + wide
            continue
        if line:
            yield line
        *full, line = _pieces(word, columns) if wide > columns else [word]
        used = width(line)
        yield from full
    if line:
        yield line


def paint(text: str, style: str, color: bool) -> str:
    """Colour a text with ANSI codes, or return it as it is."""
    return f"\x1b[{_CODES[style]}m{text}\x1b[0m" if color and text else text


def _harmless(character: str) -> str:
    if character.isspace():
        return " "
    if character in _BIDI or unicodedata.category(character) in ("Cc", "Cs"):
        return "\ufffd"
    return character


def _columns(character: str) -> int:
    if character.isascii():
        return 1
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _pieces(word: str, columns: int) -> list[str]:
    """Cut a word into pieces of at most `columns`; the last one has room, and may be empty."""
    pieces = []
    begin = used = 0
    for index, character in enumerate(word):
        wide = _columns(character)
        if used + wide > columns:
            if begin < index:
                pieces.append(word[begin:index])
            begin, used = index, 0
            if wide > columns:  # or it would never fit
                pieces.append(character)
                begin, wide = index + 1, 0
        used += wide
    return [*pieces, word[begin:]]


def _prefix(text: str, columns: int) -> str:
    used = 0
    for index, character in enumerate(text):
        used += _columns(character)
        if used > columns:
            return text[:index]
    return text
