"""The last pass of the plain wikitext cleaning: lines to paragraphs, lists and headings.

By now templates, links and tags are gone, each dropped thing leaving the mark DROPPED in its place, so that only the
punctuation around a dropped thing is mended and whatever an author wrote stays as it is. Every expression here is
linear: a run is entered only at its first character.
"""

from __future__ import annotations

import re
from html.entities import html5

DROPPED = "\x01"  # where something was left out
BREAK = "\x02"  # <br>
# XML allows neither character, so no page holds them; what calls this directly may
_CONTROLS = str.maketrans(dict.fromkeys(map(chr, (0, 1, 2)), ""))

_HEADING = re.compile(r"(={1,6})(.*?)(={1,6})\Z", re.DOTALL)
_LIST = re.compile(r"[*#:;]+")
_QUOTES = re.compile("'{2,}")
_SPACES = re.compile(r"[ \t\u00a0]{2,}|[\t\u00a0]")
_WORD = re.compile(r"\w")
# brackets in which nothing is left but punctuation, with something dropped among it
_EMPTY = re.compile(rf"[(（\[](?=[^\w()（）\[\]{DROPPED}]*{DROPPED})[^\w()（）\[\]]*[)）\]]")
_SEPARATORS = " ,;:，、；"
_ENTITY = re.compile(r"&(?:#(\d{1,7})|#[xX]([0-9a-fA-F]{1,6})|([A-Za-z][A-Za-z0-9]{1,31}));")
_RULER = re.compile("-{4,}")
# white space that no later step may touch, and mark-up that is text: written as entities until the end
_ESCAPED = str.maketrans({mark: f"&#{ord(mark)};" for mark in "[]{}|=*#:;'<>_!-~&"})
_ESCAPED_CODE = {**_ESCAPED, **{ord(mark): f"&#{ord(mark)};" for mark in " \t\n()"}}


def strip_controls(text: str) -> str:
    """Remove the characters that serve as marks here."""
    return text.translate(_CONTROLS) if DROPPED in text or BREAK in text or "\0" in text else text


def escape(text: str, code: bool = False) -> str:
    """Write mark-up as entities, so that it comes out as it is; `code`: white space too."""
    return text.translate(_ESCAPED_CODE if code else _ESCAPED)


def decode(text: str) -> str:
    """Replace the entities that HTML 5 names and those given by number; `&` without a semicolon is text."""
    return _ENTITY.sub(_character, text) if "&" in text else text


def _character(found: re.Match[str]) -> str:
    decimal, hexadecimal, name = found.groups()
    if name:
        return html5.get(f"{name};", found[0])
    number = int(decimal) if decimal else int(hexadecimal, 16)
    if number > 0x10FFFF or 0xD800 <= number < 0xE000 or (number < 32 and number not in (9, 10)):
        return found[0]
    return chr(number)


def layout(text: str) -> str:
    """Turn lines of wikitext into plain text.

    A heading stands on a line of its own after a blank one; it is left out when nothing stands below it or its
    subheadings. `* x` becomes `- x`, `# x` becomes `1. x` and so on, two spaces deeper for each level; `; term : x`
    becomes `term: x`, and `: x` the line x. Runs of spaces become one, runs of blank lines one.
    """
    lines: list[str] = []
    headings: list[tuple[int, str]] = []  # those under which nothing stands yet, outermost first
    numbers: dict[str, int] = {}  # the last number given under each list prefix
    blank = False
    for raw in text.split("\n"):
        line = raw.strip(" \t\u00a0")
        if not line:
            blank = True
            continue
        first = line[0]
        if first == "=" and (found := _HEADING.match(line.rstrip(f"{DROPPED}{BREAK} "))):
            level = min(len(found[1]), len(found[3]))
            title = inline(f"{found[1][level:]}{found[2]}{found[3][level:]}".replace(BREAK, " "))
            while headings and headings[-1][0] >= level:
                headings.pop()
            headings.append((level, title))
            numbers.clear()
            continue
        indent = ""
        if first in "*#:;":
            prefix = _LIST.match(line)
            assert prefix is not None
            line, indent = _item(prefix[0], line[prefix.end() :], numbers)
        else:
            if numbers:
                numbers.clear()
            if first == "-":
                line = _RULER.sub("", line, count=1) if line.startswith("----") else line
            elif first == "|" or (first == "!" and ("|" in line or "!!" in line)):
                continue  # what a table or template that never ends has left
            line = inline(line)
        if not line:
            continue
        for _, title in headings:
            if title:
                lines += ("", title)
                blank = False
        headings.clear()
        if blank and lines:
            lines.append("")
        blank = False
        lines.append(indent + line)
    return "\n".join(lines).strip("\n")


def _item(prefix: str, content: str, numbers: dict[str, int]) -> tuple[str, str]:
    """Return a list item and what stands before it; "" for an item without text."""
    if prefix[-1] == ";" and " : " in content:
        term, _, definition = content.partition(" : ")
        content = f"{term.rstrip()}: {definition}"
    line = inline(content)
    for other in [known for known in numbers if not prefix.startswith(known)]:
        del numbers[other]
    if not line:
        return "", ""
    depth = prefix.count("*") + prefix.count("#")
    if prefix[-1] == "*":
        return line, "  " * (depth - 1) + "- "
    if prefix[-1] == "#":
        numbers[prefix] = numbers.get(prefix, 0) + 1
        return line, "  " * (depth - 1) + f"{numbers[prefix]}. "
    return line, "  " * depth


def inline(line: str) -> str:
    """Tidy one line: quotes, what dropped things have left, spaces, breaks; "" when no word is left of it."""
    if "''" in line:
        line = unquote(line)
    if DROPPED in line:
        line = _mend(_EMPTY.sub(DROPPED, line))
        if not _WORD.search(line):
            return ""
    if "  " in line or "\t" in line or "\u00a0" in line:
        line = _SPACES.sub(" ", line)
    if BREAK in line:
        line = "\n".join(filter(None, (part.strip() for part in line.split(BREAK))))
    return line.strip()


def _mend(line: str) -> str:
    """Decide around what was dropped, one thing or several, which of the separators stay."""
    first, *rest = line.split(DROPPED)
    out = [first.rstrip(_SEPARATORS)]
    between = [first[len(out[0]) :]]  # separators since the last text
    for part in rest:
        begins = part.lstrip(_SEPARATORS)
        between.append(part[: len(part) - len(begins)])
        if begins:
            text = begins.rstrip(_SEPARATORS)
            out += (_separator(out[-1][-1:], between, begins[0]), text)
            between = [begins[len(text) :]]
    out.append(_separator(out[-1][-1:], between, "") if len(between) > 1 else between[0])
    return "".join(out).strip()


def _separator(before: str, between: list[str], after: str) -> str:
    """Return the separators that stand before the dropped things, else those after them.

    Args:
        before: the character before; "" for the begin of the line.
        between: what stands before, between and after the things that were dropped.
        after: the character after; "" for the end of the line.
    """
    right = between[-1]
    left = next((separator for separator in between[:-1] if separator.strip()), between[0])
    if before in "([（" or after in ")]）":  # "" too
        return left.rstrip() if not after else ""
    if right.strip() and not left.strip():
        return right
    if not right and after in ".!?":
        return ""
    return left.rstrip() + (" " if any(" " in separator for separator in between) else "")


def unquote(line: str) -> str:
    """Remove the marks of bold and italics.

    As MediaWiki reads a line in which both are odd, one mark of bold is an apostrophe and a mark of italics:
    l'''Iliade'' is l'Iliade. Source: mediawiki/core, Parser::doQuotes.
    """
    runs = [(found.start(), found.end() - found.start()) for found in _QUOTES.finditer(line)]
    bold = sum(size >= 3 for _, size in runs)
    italics = sum(size == 2 or size >= 5 for _, size in runs)
    kept = -1
    if bold % 2 and italics % 2:
        # after a word of one letter, else after a longer word, else after a space
        places: dict[str, int] = {}
        end = 0
        for start, size in runs:
            if size in (3, 4):
                word = line[end:start]
                kind = "space" if word.endswith(" ") else "letter" if word[-2:-1] == " " else "word"
                places.setdefault(kind, start)
            end = start + size
        kept = next((places[kind] for kind in ("letter", "word", "space") if kind in places), -1)
    parts, end = [], 0
    for start, size in runs:
        parts.append(line[end:start])
        if start == kept or size == 4:
            parts.append("'")
        end = start + size
    parts.append(line[end:])
    return "".join(parts)
