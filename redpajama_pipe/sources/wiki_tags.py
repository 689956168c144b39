"""The first pass of the plain wikitext cleaning: comments and tags.

One expression finds every tag. References, galleries and the like go with what they hold; code and <nowiki> stay as
they are written; formulas stay as TeX between dollar signs, or go; of HTML only the text stays. A tag that is dropped
with its content must end before the next heading and before the next tag of its name, else it counts as unclosed and
only the tag itself goes.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal

from redpajama_pipe.sources.wiki_aliases import name_set
from redpajama_pipe.sources.wiki_lines import BREAK, DROPPED, decode, escape
from redpajama_pipe.sources.wiki_templates import SUPERSCRIPTS

Math = Literal["keep", "drop"]

_TAG = re.compile(r"<(?:!--|(/?)([a-zA-Z][a-zA-Z0-9]*)((?:[\s/][^<>]*)?)>)")
_EXPONENT = re.compile(r"\s{0,3}([-+−–]?[0-9]{1,9})\s{0,3}</sup\s{0,3}>", re.IGNORECASE)
# what these hold is no text of the article: notes, pictures and their captions, charts, music, maps, transclusions
_WITH_CONTENT = name_set(
    "ref references gallery timeline score graph chart mapframe maplink templatedata templatestyles imagemap hiero "
    "inputbox categorytree indicator includeonly dynamicpagelist charinsert phonos ruleset"
)
# what these hold is text and no mark-up: an article on a programming language speaks of what the code shows
_AS_WRITTEN = name_set("nowiki pre source syntaxhighlight")
_FORMULAS = name_set("math chem ce")
# of these only the tag goes; mediawiki/core, Sanitizer.php, and MediaWiki's own that hold wikitext
_TAGS_ONLY = name_set(
    "abbr b bdi bdo big cite code data del dfn em font i ins kbd mark q rb rbc rp rt rtc ruby s samp small span strike "
    "strong sub sup time tt u var wbr link meta noinclude onlyinclude section translate tvar languages "
    "caption td th tr tbody thead tfoot colgroup col"
)
# of these too, and the line ends
_BLOCKS = name_set("blockquote center dd div dl dt h1 h2 h3 h4 h5 h6 hr ol p poem ul")


def drop_tags(text: str, math: Math = "keep") -> str:
    """Remove comments and tags; tables in HTML become tables in wikitext, list items lines with *.

    An unclosed comment ends with its line. <br> becomes BREAK.
    """
    out: list[str] = []
    end = 0
    unclosed: set[str] = set()  # names that no tag further on closes: not searched for again
    for found in _TAG.finditer(text):
        begin = found.start()
        if begin < end:
            continue
        name = found[2]
        if name is None:
            out.append(text[end:begin])
            end = _end_of_comment(text, found.end(), unclosed)
            if end < len(text) and text[end] == "\n" and (begin == 0 or text[begin - 1] == "\n"):
                end += 1
            continue
        name = name.lower()
        if name in _TAGS_ONLY:
            out.append(text[end:begin])
            end = found.end()
            if name == "sup" and not found[1] and (power := _EXPONENT.match(text, end)):
                out.append(power[1].translate(SUPERSCRIPTS))
                end = power.end()
        elif name == "br":
            out += (text[end:begin], BREAK)
            end = found.end()
        elif name in _WITH_CONTENT:
            out += (text[end:begin], DROPPED)
            end = found.end()
            if not found[1] and not found[3].endswith("/"):
                end = _end_of_content(text, name, end)
        elif name in _BLOCKS:
            out += (text[end:begin], "\n")
            end = found.end()
        elif name in _AS_WRITTEN or name in _FORMULAS:
            out.append(text[end:begin])
            begin = end = found.end()
            if found[1] or found[3].endswith("/") or name in unclosed:
                out.append(DROPPED)  # '<nowiki/>' is two apostrophes and no mark of italics
                continue
            closing = _closing(name).search(text, begin)
            if closing is None:
                unclosed.add(name)
                continue
            out.append(_as_written(name, found[3], text[begin : closing.start()], math))
            end = closing.end()
        elif name == "li":
            out += (text[end:begin], "" if found[1] else "\n* ")
            end = found.end()
        elif name == "table":
            out += (text[end:begin], "\n|}\n" if found[1] else "\n{|\n")
            end = found.end()
    if not end:
        return text
    out.append(text[end:])
    return "".join(out)


def _end_of_comment(text: str, begin: int, unclosed: set[str]) -> int:
    if "!--" not in unclosed:
        end = text.find("-->", begin)
        if end >= 0:
            return end + 3
        unclosed.add("!--")
    end = text.find("\n", begin)
    return end if end >= 0 else len(text)


def _end_of_content(text: str, name: str, begin: int) -> int:
    """Return where the element that is open at `begin` ends: there, if it is unclosed."""
    stop = _stop(name).search(text, begin)
    return stop.end() if stop and stop[0].startswith("</") else begin


@lru_cache(maxsize=64)
def _closing(name: str) -> re.Pattern[str]:
    return re.compile(rf"</{name}\s{{0,9}}>", re.IGNORECASE)


@lru_cache(maxsize=64)
def _stop(name: str) -> re.Pattern[str]:
    return re.compile(rf"</{name}\s{{0,9}}>|<{name}(?:\s[^<>]*)?(?<!/)>|\n==", re.IGNORECASE)


def _as_written(name: str, attributes: str, content: str, math: Math) -> str:
    if name in _FORMULAS:
        tex = " ".join(decode(content).split())
        if math == "drop" or not tex:
            return DROPPED
        return escape(f"${tex}$" if name == "math" else f"$\\ce{{{tex}}}$")
    if name == "nowiki":
        return escape(decode(content)) or DROPPED
    if name == "pre":
        content = decode(content)
    code = escape(content.strip("\n").rstrip(), code=True)
    return code if "inline" in attributes else f"\n{code}\n"
