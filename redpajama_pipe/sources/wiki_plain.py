"""Wikitext to plain text for pretraining: three linear passes, without a tree.

Tags first (wiki_tags), then braces and brackets with a stack (here), then lines (wiki_lines). Templates and tables go,
but for the templates whose content is text (wiki_templates); of a link its label stays; files, categories and links to
other languages go.

What is not closed costs little: at a heading, at the end of the page and where an outer mark closes, whatever is still
open counts as unclosed. An unclosed template or table then loses the rest of its line and the lines after it that
begin with |, an unclosed file link the rest of its line, another link its brackets and its target; their other text
stays. About 15 MB of wikitext/s on one core, ten times mwparserfromhell.

Source: mediawiki/core, Preprocessor_Hash (which braces match) and Parser (links, tables, quotes).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from redpajama_pipe.sources.wiki_aliases import (
    CATEGORY,
    CATEGORY_ALIASES,
    INTERLANGUAGE,
    MEDIA,
    MEDIA_ALIASES,
    name_set,
)
from redpajama_pipe.sources.wiki_lines import DROPPED, decode, layout, strip_controls
from redpajama_pipe.sources.wiki_tags import Math, drop_tags
from redpajama_pipe.sources.wiki_templates import expand
from redpajama_pipe.sources.wikitext import MAX_DEPTH, WikitextError, check_size

_MARK = re.compile(
    r"\[\[|\]\]|\{\{+|\}\}+"
    r"|(?:\n[ \t:*#;]*|(?<=\}\}))\{\|"
    r"|\n[ \t]*\|\}+"
    rf"|\n(?==[^\n]*=[ \t{DROPPED}]*\n)"
)
# most links by far: nothing inside, no namespace
_SIMPLE_LINK = re.compile(r"\[\[(?:[^\[\]{}|\n:]+\|)?([^\[\]{}|\n:]+)\]\]")
_EXTERNAL = re.compile(
    r"\[(?:(?:https?|ftps?|sftp|irc|ircs|news|nntp|gopher|svn|git|mms|ssh|telnet|worldwind)://|mailto:|news:|geo:|"
    r"tel:|sms:|urn:|magnet:|xmpp:|sip:|//)[^\s\[\]]*(?:[ \t]([^\[\]\n]*(?:\[[^\[\]\n]*\][^\[\]\n]*)*))?\]",
    re.IGNORECASE,
)
# __TOC__ and its like in any language: no lower-case letter, or one of the English words in any case
_MAGIC_WORD = re.compile(r"__((?:[^\W\d_]|_(?!_)){2,40})__")
_MAGIC_WORDS = name_set(
    "notoc forcetoc toc noeditsection newsectionlink nonewsectionlink nogallery hiddencat index noindex "
    "expectunusedcategory expectunusedtemplate notitleconvert notc nocontentconvert nocc staticredirect disambig "
    "nosectionlink noglobal archivedtalk"
)
# Wikis that write words in two scripts or more; mediawiki/core, LanguageConverter
_CONVERTED = name_set("zh sr sh kk ku tg iu gan shi uz crh wuu zh-yue zh-classical ban tly mni")
_VARIANTS = re.compile(r"-\{(?:([A-Za-z;+-]{0,40})\|)?([^{}]*)\}-")
_SAID_FIRST = re.compile(r"\s*[a-z]{2,3}(?:-[a-z]+)*\s*:\s*([^;]*)")
_LINE = re.compile(r"[^\n}]*(?:\}|(?=\n)|\Z)")

_LINK, _BRACES, _TABLE = "[", "{", "|"


def clean_plain(
    wikitext: str, language: str, media: Sequence[str] = (), category: Sequence[str] = (), math: Math = "keep"
) -> str:
    """Clean one page.

    Args:
        wikitext: the source of the page.
        language: the Wikipedia's code, such as `de`, `simple`, `zh-yue`: it chooses names of namespaces and templates.
        media: what files are called in the dump, beside the names that are known.
        category: what categories are called, likewise.
        math: formulas as `$TeX$`, or none.

    Returns:
        Paragraphs with a blank line between them, headings and list items on lines of their own (see
        wiki_lines.layout); "" when the page has no text.

    Raises:
        WikitextError: `too_complex`: more than MAX_BYTES, or more than MAX_DEPTH marks open at once.
    """
    check_size(wikitext)
    text = strip_controls(wikitext).replace("\r\n", "\n").replace("&nbsp;", " ").replace("&#160;", " ")
    text = text.replace("&shy;", "")
    if "<" in text:
        text = drop_tags(text, math)
    text = _SIMPLE_LINK.sub(r"\1", text)
    text = _Marks(language, _names(language, tuple(media), tuple(category))).read(text)
    if "[" in text:
        text = _EXTERNAL.sub(_label_or_nothing, text)
    if "__" in text:
        text = _MAGIC_WORD.sub(_magic_word, text)
    if language in _CONVERTED and "-{" in text:
        text = _VARIANTS.sub(_variant, text)
    return decode(layout(text))


class _Frame:
    """A mark that is open, and the text inside it so far; the outermost is the page."""

    __slots__ = ("count", "depth", "kind", "out")

    def __init__(self, kind: str, count: int, depth: int) -> None:
        self.kind = kind
        self.count = count  # braces that are not closed yet
        self.depth = depth  # marks open here, this one included
        self.out: list[str] = []


class _Marks:
    """Matches braces and brackets and puts their text in their place."""

    def __init__(self, language: str, dropped: frozenset[str]) -> None:
        self._language = language
        self._dropped = dropped
        self._stack = [_Frame("", 0, 0)]
        self._open = {_LINK: 0, _BRACES: 0, _TABLE: 0}

    def read(self, text: str) -> str:
        """Return the text without them."""
        text = f"\n{text}\n"
        end = 0
        stack = self._stack
        out = stack[-1].out
        for found in _MARK.finditer(text):
            begin, mark = found.start(), found[0]
            if begin > end:
                out.append(text[end:begin])
            end = found.end()
            if mark == "\n":  # a heading
                self._give_up(1)
                stack[-1].out.append(mark)
            elif mark == "[[":
                self._push(_LINK, 1)
            elif mark == "]]":
                if stack[-1].kind == _LINK:
                    content = "".join(self._pop().out)
                    if text[end] == "]" != text[end + 1 : end + 2] and content.count("[") > content.count("]"):
                        content += "]"  # [[a|[http://b c]]]
                        end += 1
                    stack[-1].out.append(self._link(content))
            elif mark[0] == "{" and mark[1] == "{":
                self._push(_BRACES, len(mark))
            elif mark[0] == "}":
                self._close_braces(len(mark))
            elif mark[-1] == "|":
                out.append("\n")
                self._push(_TABLE, 1)
            else:
                out.append("\n")
                self._close_table(mark.count("}"))
            out = stack[-1].out
        out.append(text[end:])
        self._give_up(1)
        return "".join(stack[0].out)

    def _push(self, kind: str, count: int) -> None:
        depth = self._stack[-1].depth + max(1, count // 2)
        if depth > MAX_DEPTH:
            raise WikitextError("too_complex", f"mark-up is nested more than {MAX_DEPTH} deep")
        self._stack.append(_Frame(kind, count, depth))
        self._open[kind] += 1

    def _pop(self) -> _Frame:
        frame = self._stack.pop()
        self._open[frame.kind] -= 1
        return frame

    def _close_braces(self, count: int) -> None:
        """Close as many braces as there are, two or three at a time; what is left over is dropped."""
        while count >= 2 and self._open[_BRACES]:
            self._give_up_above(_BRACES)
            frame = self._stack[-1]
            used = min(frame.count, count, 3)
            content = "".join(frame.out)
            text = (expand(content, self._language) if used == 2 else None) or DROPPED
            frame.count -= used
            count -= used
            if frame.count < 2:
                self._pop()
                self._stack[-1].out.append(text)
            else:
                frame.out = [text]

    def _close_table(self, count: int) -> None:
        """Close the table; or, inside a template, take |}} for an empty last argument and its end."""
        braces_inside = next((frame.kind for frame in reversed(self._stack) if frame.kind != _LINK), "") == _BRACES
        if braces_inside and count >= 2:
            self._close_braces(count)
        elif self._open[_TABLE]:
            self._give_up_above(_TABLE)
            self._pop()
            self._stack[-1].out.append(DROPPED)
            if count > 2:
                self._close_braces(count - 1)
        else:
            self._stack[-1].out.append(DROPPED)

    def _give_up_above(self, kind: str) -> None:
        """Take everything that was opened after the last mark of a kind for unclosed."""
        height = len(self._stack)
        while self._stack[height - 1].kind != kind:
            height -= 1
        self._give_up(height)

    def _give_up(self, height: int) -> None:
        """Take whatever is open from `height` on for unclosed."""
        while len(self._stack) > height:
            frame = self._pop()
            content = "".join(frame.out)
            if frame.kind == _LINK:
                target, pipe, label = content.partition("|")
                if self._is_dropped(target):
                    content = DROPPED + content[len(_LINE.match(content)[0]) :]  # type: ignore[index]
                elif pipe and "\n" not in target:
                    content = label
            elif frame.kind == _BRACES:
                content = DROPPED + content[len(_LINE.match(content)[0]) :]  # type: ignore[index]
            else:
                content = content.partition("\n")[2] or DROPPED
            self._stack[-1].out.append(content)

    def _is_dropped(self, target: str) -> bool:
        prefix, colon, _ = target.partition(":")
        return bool(colon) and prefix.strip().replace("_", " ").lower() in self._dropped

    def _link(self, content: str) -> str:
        """Return what is read of [[content]]."""
        target, pipe, label = content.partition("|")
        if ":" in target and self._is_dropped(target):
            return DROPPED
        if pipe:
            label = label.rpartition("|")[2] if "|" in label else label
            if label.strip():
                return label
            if label and target:
                return label
            # the pipe trick, which saving should have resolved
            return re.sub(r"^:?[^:]*:|\s*\([^()]*\)$", "", target.strip())
        if not target.lstrip().startswith(":"):
            return target
        shown = target.lstrip().removeprefix(":")
        return shown.partition(":")[2] if self._is_dropped(shown) else shown


def _label_or_nothing(found: re.Match[str]) -> str:
    label = found[1]
    return label.strip() if label and label.strip() else DROPPED


def _magic_word(found: re.Match[str]) -> str:
    word = found[1]
    return DROPPED if word == word.upper() or word.lower() in _MAGIC_WORDS else found[0]


def _variant(found: re.Match[str]) -> str:
    """Take the first of the variants of a word: -{zh-hans:计算机; zh-hant:電腦}- reads 计算机."""
    flags, content = found[1] or "", found[2]
    if any(flag.strip() in ("H", "T", "-") for flag in flags.split(";")) and flags:
        return DROPPED
    said = _SAID_FIRST.match(content)
    return said[1].strip() if said else content


@lru_cache(maxsize=64)
def _names(language: str, media: tuple[str, ...], category: tuple[str, ...]) -> frozenset[str]:
    """Return the prefixes, in lower case, of links that are no text."""
    files = (*MEDIA, *MEDIA_ALIASES.get(language, ()), *media)
    categories = (*CATEGORY, *CATEGORY_ALIASES.get(language, ()), *category)
    return frozenset(name.replace("_", " ").lower() for name in (*files, *categories)) | INTERLANGUAGE
