"""CCNet's two normalisations of text: for its language models, and for finding repeated paragraphs.

Each is lower-casing and one table of single characters, so a pass is one str.translate. The published table maps the
full-width digit １ to a quotation mark, but digits have become 0 before it is looked up.

Source: cc_net, cc_net/text_normalizer.py (Wenzek et al. 2019, arXiv:1911.00359).
"""

from __future__ import annotations

import sys
import unicodedata
from functools import cache

_PUNCTUATION = dict(
    zip("，。、„”“«»」「《》´∶：？！（）；–．～’━〈〉【】％►", ',.,"""""""""\'::?!();-.~\'-<>[]%-', strict=True)
) | {"—": " - ", "．": ". ", "…": "..."}
_REMOVED = (*_PUNCTUATION, "１")  # what the other normalisation takes out
_CONTROLS = (*range(32), *range(127, 160))


def normalize(text: str) -> str:
    """Normalise text for a language model: lower case, no accents, digits are 0, ASCII punctuation, no controls.

    Line breaks are controls too, so a document becomes one line, and the words at a line's end and the next one's
    beginning become one word.
    """
    return unicodedata.normalize("NFD", text.strip().lower()).translate(_model_table())


def normalize_for_dedup(line: str) -> str:
    """Normalise a line to compare it with others: lower case, digits are 0, without punctuation marks and controls.

    Only punctuation outside ASCII goes, and accents stay.
    """
    return line.strip().lower().translate(_dedup_table())


@cache
def _digits() -> dict[int, str]:
    # What the regular expression \d matches.
    return {code: "0" for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code)) == "Nd"}


@cache
def _model_table() -> dict[int, str | None]:
    marks = {code: None for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code)) == "Mn"}
    punctuation = {ord(mark): ascii_mark for mark, ascii_mark in _PUNCTUATION.items()}
    return {**marks, **punctuation, **dict.fromkeys(_CONTROLS), **_digits()}


@cache
def _dedup_table() -> dict[int, str | None]:
    return {**dict.fromkeys(map(ord, _REMOVED)), **dict.fromkeys(_CONTROLS), **_digits()}
