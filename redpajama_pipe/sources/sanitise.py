"""Make any string safe for Parquet and UTF-8: no lone surrogates, no NUL.

Text that needs no change costs one scan and comes back as the same object.
"""

from __future__ import annotations

import re

_SURROGATE = re.compile("[\ud800-\udfff]")


def clean(text: str) -> str:
    """Replace each lone surrogate by U+FFFD and remove each NUL; anything else stays as it is."""
    if "\0" in text:
        text = text.replace("\0", "")
    if text.isascii():
        return text
    try:
        text.encode("utf-8")  # faster than a search
    except UnicodeEncodeError:
        return _SURROGATE.sub("\ufffd", text)
    return text


def clean_optional(text: str | None) -> str | None:
    """Clean a string that may be absent."""
    return None if text is None else clean(text)
