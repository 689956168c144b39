"""The normalisations of published sets, as they were published: Python strings, document by document.

7 to 18 MB/s on one core, where the default signs 290. Each follows the running Python's
Unicode database, as its original did. What is cut into shingles afterwards is in shingles.
"""

from __future__ import annotations

import re
import string
import unicodedata
from functools import cache

# huggingface/datatrove: utils/text.py, PUNCTUATION
_DATATROVE_PUNCTUATION = (
    "!/—”:％１〈&(、━\\【#%「」，】；+^]~“《„';’{|∶´[=-`*．（–？！：$～«〉,><》)?）。…@_.\"}►»"
    + "".join(map(chr, (*range(9), 11, 12, *range(13, 32), *range(127, 160))))
)
_TO_SPACES = str.maketrans(_DATATROVE_PUNCTUATION, " " * len(_DATATROVE_PUNCTUATION))
_NUMBERS = re.compile(r"\d+(?:[.,،٫⎖⎗⎘]\d+)?")  # \d is the category Nd
_SPACES = re.compile(r"\s+")
# nltk/tokenize/destructive.py: what is left of NLTKWordTokenizer's rules after the punctuation is gone
_NLTK_ALONE = re.compile("([‘\u2012\u2015;<>?!]|`+)")
_NLTK_CONTRACTIONS = tuple(
    (first + second, re.compile(rf"\b({first})({second}){end}"))
    for first, second, end in (
        ("can", "not", r"\b"),
        ("gim", "me", r"\b"),
        ("gon", "na", r"\b"),
        ("got", "ta", r"\b"),
        ("lem", "me", r"\b"),
        ("wan", "na", r"(?=\s)"),
    )
)
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalize_redpajama_v2(text: str) -> str:
    """Normalise as RedPajama-V2 does: no ASCII punctuation, lower case, single spaces, then NFD.

    Source: togethercomputer/RedPajama-Data: app/src/utilities/text/normalization.py.
    """
    bare = text.translate(_NO_PUNCTUATION).lower()
    return unicodedata.normalize("NFD", " ".join(bare.split()))


def normalize_slimpajama(text: str) -> str:
    """Normalise as SlimPajama does before it takes runs of 13 characters: lower case, no ASCII punctuation.

    White space, of any length, is one space; none is left at the ends.

    Source: Cerebras/modelzoo: data_preparation/nlp/slimpajama/dedup/to_hash.py, get_features.
    """
    return _SPACES.sub(" ", text.lower().translate(_NO_PUNCTUATION).strip())


def normalize_datatrove(text: str) -> str:
    """Normalise as datatrove does before MinHash, and cut words as NLTK does in English text, one space between them.

    FineWeb was made so. For other languages datatrove has a tokenizer each; here words are what stands between spaces.

    Source: huggingface/datatrove: utils/text.py, simplify_text; nltk/nltk: tokenize/destructive.py, NLTKWordTokenizer.
    """
    text = _NUMBERS.sub("0", text.lower()).translate(_TO_SPACES)
    if not text.isascii():
        text = _NLTK_ALONE.sub(r" \1 ", unicodedata.normalize("NFD", text).translate(_nonspacing_marks()))
    for word, contraction in _NLTK_CONTRACTIONS:
        if word in text:  # a quick look saves most of the time
            text = contraction.sub(r" \1 \2 ", f"{text} ")
    return " ".join(text.split())  # what white space there was plays no part before


@cache
def _nonspacing_marks() -> dict[int, None]:
    return dict.fromkeys(code for code in range(0x110000) if unicodedata.category(chr(code)) == "Mn")


# Of MinHashSpec.normalization; `words` and `none` are tables of the kernel instead.
PUBLISHED = {
    "redpajama_v2": normalize_redpajama_v2,
    "datatrove": normalize_datatrove,
    "slimpajama": normalize_slimpajama,
}
