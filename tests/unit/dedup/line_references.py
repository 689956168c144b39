"""What each mode of dedup.lines means, in plain Python over whole texts: documents come in keep order."""

from __future__ import annotations

import hashlib
import re
import unicodedata

from redpajama_pipe.text.ccnet import normalize_for_dedup

_CLOSE = r"""["')\]»’”」』）]*"""
SENTENCE = re.compile(rf"[^\n]*?(?:[。！？｡]+{_CLOSE}|[.!?]+{_CLOSE}(?=[\t-\r\x1c-\x1f ]|\Z)|(?=\n|\Z))")
SPACE = "\t\n\v\f\r\x1c\x1d\x1e\x1f "


def normal(text: str) -> str:
    lowered = "".join("i" if letter == "İ" else letter.lower() for letter in unicodedata.normalize("NFC", text))
    return " ".join(lowered.split())


def sentences(text: str) -> list[str]:
    return [found for found in (match.strip(SPACE) for match in SENTENCE.findall(text)) if found]


def first_lines(texts: list[str], min_chars: int) -> list[str]:
    """Keep the first copy of each line that is long enough."""
    seen: set[str] = set()
    out = []
    for text in texts:
        left: list[str] = []
        lines = text.split("\n")
        for line in lines:
            key = normal(line)
            if len(key) >= max(1, min_chars):
                if key in seen:
                    continue
                seen.add(key)
            left.append(line)
        out.append("\n".join(left))
    return out


def first_paragraphs(texts: list[str], min_chars: int) -> list[list[str]]:
    """Return the paragraphs that stay, white space stripped."""
    seen: set[str] = set()
    out = []
    for text in texts:
        left = []
        for paragraph in paragraphs(text):
            key = normal(paragraph)
            if len(key) >= max(1, min_chars):
                if key in seen:
                    continue
                seen.add(key)
            left.append(paragraph.strip())
        out.append(left)
    return out


def paragraphs(text: str) -> list[str]:
    found: list[list[str]] = [[]]
    for line in text.split("\n"):
        if line.strip():
            found[-1].append(line)
        else:
            found.append([])
    return ["\n".join(lines) for lines in found if lines]


def ccnet(texts: list[str], groups: list[int]) -> list[str | None]:
    """Remove lines as cc_net does with the hashes of a group; None: the document goes.

    Source: facebookresearch/cc_net: cc_net/dedup.py and flat_hash_set.py.
    """

    def hashes(text: str) -> list[bytes]:
        return [hashlib.sha1(normalize_for_dedup(line).encode()).digest()[:8] for line in text.split("\n")]

    twice: dict[tuple[int, bytes], bool] = {}
    for group, text in zip(groups, texts, strict=True):
        if text:
            found = hashes(text)
            # all are looked up before any is added
            known = [(group, each) in twice for each in found]
            for each, was_there in zip(found, known, strict=True):
                twice[group, each] = was_there
    out: list[str | None] = []
    for group, text in zip(groups, texts, strict=True):
        seen: set[bytes] = set()
        left = []
        for line, each in zip(text.split("\n"), hashes(text), strict=True):
            if text and not twice[group, each] and each not in seen:
                left.append(line)
            seen.add(each)
        out.append("\n".join(left) if left else None)
    return out


def c4(texts: list[str]) -> list[list[str]]:
    """Return the sentences that are left: those of later copies of three sentences go, whoever's they are as well."""
    seen: set[tuple[str, ...]] = set()
    out = []
    for text in texts:
        found = sentences(text)
        goes: set[int] = set()
        for at in range(len(found) - 2):
            key = tuple(map(normal, found[at : at + 3]))
            if key in seen:
                goes |= {at, at + 1, at + 2}
            seen.add(key)
        out.append([sentence for at, sentence in enumerate(found) if at not in goes])
    return out
