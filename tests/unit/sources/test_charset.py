"""Which evidence decides an encoding."""

from __future__ import annotations

import pytest

from redpajama_pipe.sources.charset import content_type_charset, decode

RUSSIAN = "Привет, это обычный русский текст, который надо прочитать."
JAPANESE = "日本語のテキストです。これは文章です。"


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("iso-8859-1", "windows-1252"),
        ("latin1", "windows-1252"),
        ("us-ascii", "windows-1252"),
        (" UTF-8 ", "utf-8"),
        ("gb2312", "gbk"),
        ("x-sjis", "shift_jis"),
        ("ks_c_5601-1987", "euc-kr"),
        ("iso-8859-2", "iso-8859-2"),
        ("iso-8859-9", "windows-1254"),
        ("cp1251", "windows-1251"),
        ("koi8-r", "koi8-r"),
        ("tis-620", "windows-874"),
        ("x-mac-cyrillic", "x-mac-cyrillic"),
        ("iso-2022-jp", "iso-2022-jp"),
        ("utf-16", "utf-16le"),
        ("utf-16be", "utf-16be"),
        ("none", None),
        ("utf-7", None),
        ("", None),
    ],
)
def test_labels_mean_what_whatwg_says(label: str, expected: str | None) -> None:
    decoded = decode(b"x", label)
    assert (decoded.charset if decoded.source == "header" else None) == expected


def test_byte_order_mark_beats_the_header() -> None:
    decoded = decode(b"\xef\xbb\xbf" + RUSSIAN.encode(), "windows-1251")
    assert (decoded.text, decoded.charset, decoded.source) == (RUSSIAN, "utf-8", "bom")
    decoded = decode(RUSSIAN.encode("utf-16"), "windows-1251")
    assert (decoded.text, decoded.charset, decoded.source) == (RUSSIAN, "utf-16le", "bom")


def test_header_beats_the_meta_tag() -> None:
    page = b'<meta charset="utf-8">' + RUSSIAN.encode("cp1251")
    decoded = decode(page, "cp1251", markup=True)
    assert (decoded.text[22:], decoded.charset, decoded.source) == (RUSSIAN, "windows-1251", "header")


@pytest.mark.parametrize(
    "tag",
    [
        '<meta charset="windows-1251">',
        "<META CHARSET=windows-1251 />",
        '<meta http-equiv="Content-Type" content="text/html; charset=windows-1251">',
        '<?xml version="1.0" encoding="windows-1251"?>',
        '<!-- <meta charset="utf-8"> --><meta charset="windows-1251">',
    ],
)
def test_meta_tag_beats_detection(tag: str) -> None:
    decoded = decode(tag.encode() + "é".encode("latin-1"), None, markup=True)
    assert (decoded.text[len(tag) :], decoded.charset, decoded.source) == ("й", "windows-1251", "meta")


def test_meta_tag_counts_only_in_the_first_1024_bytes_of_markup() -> None:
    tag = b'<meta charset="windows-1251">'
    assert decode(b" " * 1024 + tag, None, markup=True).source == "utf-8"
    assert decode(tag, None, markup=False).source == "utf-8"


def test_meta_tag_that_says_utf_16_means_utf_8() -> None:
    decoded = decode('<meta charset="utf-16">é'.encode(), None, markup=True)
    assert (decoded.text[-1], decoded.charset) == ("é", "utf-8")


def test_unknown_label_is_passed_over() -> None:
    assert decode(RUSSIAN.encode(), "no-such-charset").source == "utf-8"


def test_utf_8_cut_inside_a_character_is_still_utf_8() -> None:
    decoded = decode(RUSSIAN.encode()[:-2])
    assert (decoded.charset, decoded.source) == ("utf-8", "utf-8")
    assert decoded.text.startswith(RUSSIAN[:-2])


@pytest.mark.parametrize(
    ("text", "codec", "charset"),
    [
        (RUSSIAN, "cp1251", "windows-1251"),
        (JAPANESE, "cp932", "shift_jis"),
        (JAPANESE, "euc_jp", "euc-jp"),
        (JAPANESE, "iso2022_jp", "iso-2022-jp"),
    ],
)
def test_undeclared_text_is_detected(text: str, codec: str, charset: str) -> None:
    decoded = decode(text.encode(codec) * 3)
    assert decode(b"\x1b$ is no Japanese here: \x1b$B\x1b(B \x1b$B~~").charset == "utf-8"
    assert (decoded.text, decoded.charset, decoded.source) == (text * 3, charset, "detected")


def test_windows_1252_reads_every_byte() -> None:
    decoded = decode(bytes(range(256)), "latin1")
    assert decoded.text[0x80] == "€"
    assert decoded.text[0x81] == "\x81"
    assert decoded.text[0xE9] == "é"
    assert len(decoded.text) == 256


def test_bad_bytes_of_a_declared_encoding_become_replacement_characters() -> None:
    assert decode(b"a\xffb", "utf-8").text == "a\ufffdb"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("text/html; charset=UTF-8", "UTF-8"),
        ('text/html; Charset="utf-8"; x=y', "utf-8"),
        ("text/html;charset='koi8-r'", "koi8-r"),
        ("text/html", None),
        (None, None),
    ],
)
def test_charset_of_a_content_type(value: str | None, expected: str | None) -> None:
    assert content_type_charset(value) == expected
