"""Addresses that are one page: the normalisation by which C4 found them, as a Spark expression."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import Column

_UPPER, _LOWER = "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz"


def normalized_url(url: Column) -> Column:
    """Normalise addresses as TensorFlow Datasets does for C4, after scheme and host are put into lower case.

    "http://" and "https://" go wherever they stand, with a "www." behind them; then a query that begins with utm_, ref
    or feed, to the end of the line; then every "/" at the end. So one page over http and https, or with and without
    such a query, is one address; other queries and fragments tell pages apart. Lower case is this project's addition
    (RFC 3986, section 6.2.2.1: scheme and host are case-insensitive); where both are in lower case, as crawlers write
    them, the result is C4's.

    Returns:
        Null for null, and where nothing is left.

    Source: tensorflow/datasets: tensorflow_datasets/text/c4_utils.py, normalize_url.
    """
    from pyspark.sql import functions as F

    origin = F.regexp_extract(url, r"^[A-Za-z][A-Za-z0-9+.\-]*://[^/?#]*", 0)
    lowered = F.concat(F.translate(origin, _UPPER, _LOWER), F.substring(url, F.length(origin) + 1, F.length(url)))
    bare = F.regexp_replace(lowered, r"https?://(www\.)?", "")
    # (?d): a dot is anything but U+000A, as in Python
    shown = F.regexp_replace(F.regexp_replace(bare, r"(?d)\?(utm_|ref|feed).*", ""), r"/+\z", "")
    return F.when(shown != "", shown)
