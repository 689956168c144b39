"""Bytes to text: which evidence decides the encoding, in the order browsers use.

Byte order mark, HTTP header, meta tag or XML declaration, strict UTF-8, statistics (uchardet in Resiliparse),
windows-1252. Declared encodings are taken at their word, as browsers do, with bad bytes as U+FFFD.

Source: WHATWG Encoding Standard (labels: iso-8859-1 means windows-1252); HTML Standard, 13.2.3.2 Determining the
character encoding.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

from resiliparse.parse.encoding import detect_encoding, map_encoding_to_html5

META_BYTES = 1024
DETECT_BYTES = 1 << 17

_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16le"), (codecs.BOM_UTF16_BE, "utf-16be"))
_META = re.compile(rb"""<meta\s[^>]*?charset\s*=\s*["']?\s*([^\s"'/>;]+)""", re.IGNORECASE)
_XML = re.compile(rb"""\A<\?xml[^>]*?encoding\s*=\s*["']([^"'>]+)["']""")
_COMMENT = re.compile(rb"<!--.*?(?:-->|\Z)", re.DOTALL)
_PARAMETER = re.compile(r"""charset\s*=\s*["']?\s*([^\s"';,]+)""", re.IGNORECASE)

# What Resiliparse calls an encoding, what WHATWG calls it, and the Python codec that reads it as WHATWG says: mostly
# the superset that browsers use.
_NAMES = {
    "cp1252": ("windows-1252", "cp1252"),
    "gbk": ("gbk", "gb18030"),
    "gb18030": ("gb18030", "gb18030"),
    "euc_kr": ("euc-kr", "cp949"),
    "shift_jis": ("shift_jis", "cp932"),
    "euc_jp": ("euc-jp", "euc_jp"),
    "iso2022_jp": ("iso-2022-jp", "iso2022_jp"),
    "big5": ("big5", "big5hkscs"),
    "iso8859-11": ("windows-874", "cp874"),
    "mac-roman": ("macintosh", "mac_roman"),
    "utf-16-le": ("utf-16le", "utf-16-le"),
    "utf-16-be": ("utf-16be", "utf-16-be"),
}
_MAC_CYRILLIC = {"x-mac-cyrillic", "x-mac-ukrainian"}  # labels that Resiliparse does not know

# windows-1252 as WHATWG has it: the five bytes that Microsoft left out are C1 controls.
_CP1252 = "".join(bytes([byte]).decode("cp1252", "ignore") or chr(byte) for byte in range(256))


@dataclass(frozen=True, slots=True)
class Decoded:
    """Text, the WHATWG name of its encoding in lower case, and the evidence: see `record.Document.charset_source`."""

    text: str
    charset: str
    source: str


def content_type_charset(value: str | None) -> str | None:
    """Return the charset parameter of a Content-Type."""
    found = _PARAMETER.search(value) if value else None
    return found.group(1) if found else None


def decode(data: bytes, declared: str | None = None, *, markup: bool = False) -> Decoded:
    """Decide the encoding and decode; never fails.

    Args:
        data: the body of a page, with transfer and content codings removed.
        declared: the label that the protocol gives, if it does.
        markup: look for a meta tag or an XML declaration too.
    """
    for mark, name in _MARKS:
        if data.startswith(mark):
            return Decoded(_decode(data[len(mark) :], name), name, "bom")
    found = _lookup(declared) if declared else None
    if found:
        return Decoded(_decode(data, found[1]), found[0], "header")
    if markup and (found := _declared_inside(data[:META_BYTES])):
        return Decoded(_decode(data, found[1]), found[0], "meta")
    text = _strict_utf8(data)
    if text is not None:
        if "\x1b$" in text and text.isascii() and "\ufffd" not in (japanese := _decode(data, "iso2022_jp")):
            return Decoded(japanese, "iso-2022-jp", "detected")
        return Decoded(text, "utf-8", "utf-8")
    guess = detect_encoding(data, max_len=DETECT_BYTES, html5_compatible=True)
    found = _lookup(guess) if guess else None
    if found:
        return Decoded(_decode(data, found[1]), found[0], "detected")
    return Decoded(_decode(data, "cp1252"), "windows-1252", "fallback")


def _declared_inside(head: bytes) -> tuple[str, str] | None:
    found = _XML.search(head) or _META.search(_COMMENT.sub(b"", head))
    if not found:
        return None
    encoding = _lookup(found.group(1).decode("latin-1"))
    if encoding and encoding[0].startswith("utf-16"):
        return "utf-8", "utf-8"  # it was read as ASCII, so it cannot be UTF-16: HTML Standard, 13.2.3.2, step 14
    return encoding


def _lookup(label: str) -> tuple[str, str] | None:
    label = label.strip().lower()
    if label in _MAC_CYRILLIC:
        return "x-mac-cyrillic", "mac_cyrillic"
    if label in ("utf-16be", "utf-16-be"):
        return "utf-16be", "utf-16-be"
    name = map_encoding_to_html5(label, fallback_utf8=False)
    if name is None:
        return None
    found = _NAMES.get(name)
    if found is None:
        whatwg = name.replace("iso8859-", "iso-8859-")
        found = (f"windows-{whatwg[2:]}" if whatwg.startswith("cp125") else whatwg.replace("_", "-"), name)
    try:
        codecs.lookup(found[1])
    except LookupError:
        return None
    return found


def _strict_utf8(data: bytes) -> str | None:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.reason == "unexpected end of data":  # cut inside its last character, as length limits do
            return data.decode("utf-8", "replace")
    return None


def _decode(data: bytes, codec: str) -> str:
    if codec == "cp1252":
        return codecs.charmap_decode(data, "strict", _CP1252)[0]
    return data.decode(codec, "replace")
