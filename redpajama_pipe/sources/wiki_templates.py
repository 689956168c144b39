"""Templates whose content is text, and how that text reads; every other template is dropped.

What is listed stands inside sentences, where dropping it leaves a hole: marks of language, no-break text, measures and
numbers, quotations, links to an article of another Wikipedia, ordinals and centuries. The names were taken from what
stands inside lines of real articles. Notes, boxes, icons, sounds, citations and pronunciations are not text. A name
means one thing in every Wikipedia unless it is listed under a language ({{citation}} is a reference in English and a
quotation in French); values are not computed.
"""

from __future__ import annotations

import re
from collections.abc import Callable

Arguments = dict[str, str]  # by position, "1", "2", …, or by name

_FIELD = re.compile(r"\{([^{}]+)\}")
# {{5e}}, {{XXe siècle}} and the like: the name is the text
_ORDINAL = re.compile(r"(?:\d+|[ivxlc]+)(?:er|ère|re|ers|e|es|ème)(?: siècle)?(?: av\. j\.-c\.)?", re.IGNORECASE)
SUPERSCRIPTS = str.maketrans("0123456789+-−–", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻⁻")
_UNITS = {
    "C": "°C",
    "F": "°F",
    "sqmi": "sq mi",
    "sqkm": "km²",
    "sqft": "sq ft",
    "sqm": "m²",
    "cuft": "cu ft",
    "cumi": "cu mi",
    "nmi": "nautical miles",
}
_POWER = re.compile(r"(?<=m)([23])(?![0-9])")
_NUMBER = re.compile(r"[-+−–]?[0-9][0-9., ]*(?:[eE/][-+−–]?[0-9]+)?")
_BETWEEN = {"-": "–", "–": "–", "to": "to", "to(-)": "to", "and": "and", "and(-)": "and", "or": "or", "by": "by"}
_BETWEEN |= {"x": "×", "×": "×", "*": "×", "+/-": "±", "±": "±", "+": "+"}


def _measure(given: Arguments) -> str:
    """Write {{convert|5|to|10|km|mi}} as 5 to 10 km: what was measured, not what it converts to."""
    words: list[str] = []
    place = 1
    while (value := given.get(str(place), "").strip()) and _NUMBER.fullmatch(value):
        unit = given.get(str(place + 1), "").strip()
        words.append(value)
        if unit in _BETWEEN:
            words.append(_BETWEEN[unit])
        elif unit and not _NUMBER.fullmatch(unit):
            words.append(_UNITS.get(unit, _POWER.sub(lambda power: power[1].translate(SUPERSCRIPTS), unit)))
        place += 2
    return " ".join(words).replace(" – ", "–")


def _value(given: Arguments) -> str:
    """Write {{val|1.5|e=6|u=m}} as 1.5×10⁶ m."""
    power = given.get("e", "").strip()
    unit = given.get("u", given.get("ul", ""))
    return given.get("1", "") + (f"×10{power.translate(SUPERSCRIPTS)}" if power else "") + (f" {unit}" if unit else "")


def _date_of(given: Arguments) -> str:
    """Write {{as of|2019}}."""
    if alternative := given.get("alt"):
        return alternative
    return ("as of " if given.get("lc") else "As of ") + given.get("1", "")


def _joined(separator: str) -> Callable[[Arguments], str]:
    """Make a rule that joins what is given by position."""

    def rule(given: Arguments) -> str:
        return separator.join(value for key, value in given.items() if key.isdigit() and value.strip())

    return rule


def _fraction(given: Arguments) -> str:
    """Write {{frac|1|2}} as 1/2 and {{frac|3|1|2}} as 3 1/2."""
    parts = [given[key].strip() for key in ("1", "2", "3") if key in given]
    if len(parts) == 3:
        return f"{parts[0]} {parts[1]}/{parts[2]}"
    return "/".join(parts if len(parts) == 2 else ["1", *parts])


Rule = str | Callable[[Arguments], str]


def _named(names: str, rule: Rule) -> dict[str, Rule]:
    return dict.fromkeys((name.strip() for name in names.split(",")), rule)


_FIRST, _SECOND = "{1}", "{2}"
EVERYWHERE: dict[str, Rule] = {
    # text in another language or script: {{lang|de|Wien}}
    **_named("lang, langue, language, transl, transliteration, rtl-lang, langx", _SECOND),
    **_named("nihongo, nihongo2, nihongo3", "{1} {2}"),
    # text that is only set in another way
    **_named(
        "nowrap, nobr, nobreak, nobold, nowraplinks, small, smaller, large, larger, big, resize, sic, abbr", _FIRST
    ),
    **_named(
        "em, strong, mvar, math, var, angbr, angle bracket, smallcaps, sc, small caps, tooltip, hover title", _FIRST
    ),
    **_named("vr, grapheme, not a typo, as written, proper name, linktext, sub", _FIRST),
    **_named("color, colour, font color, text color", _SECOND),
    # numbers and measures
    **_named("convert, cvt", _measure),
    **_named("formatnum, nts, num, number", _FIRST),
    "val": _value,
    **_named("frac, fraction, sfrac, vfrac", _fraction),
    **_named("chem, chem2", _joined("")),
    "sup": lambda given: given.get("1", "").translate(SUPERSCRIPTS),
    **_named("c., circa, ca.", "c. {1}"),
    **_named("as of, asof", _date_of),
    "isbn": "ISBN {1}",
    **_named("us$", "US${1}"),
    **_named("gbp, £", "£{1}"),
    **_named("euro, €", "€{1}"),
    # links to an article that another Wikipedia has
    **_named("ill, interlanguage link, interlanguage link multi, link-interwiki, red link", _FIRST),
    # quotations; {{quote}} with an author gives the quotation alone
    **_named("quote, blockquote, cquote, rquote, quotation, quote box, bquote", "{text}{quote}{1}"),
    # countries in lists: {{flag|France}}
    **_named("flag, flagu, flagcountry", _FIRST),
    # characters
    **_named("ndash, en dash", "–"),
    **_named("mdash, em dash, —", "—"),
    **_named("snd, spaced ndash, spnd, spaced en dash", " – "),
    **_named("nbsp, space, thinsp, esd, thin space", " "),
    **_named("=", "&#61;"),
    **_named("!", "&#124;"),
    **_named("', apostrophe", "’"),
    **_named("·, •, dot, bull", " · "),
}
IN_LANGUAGE: dict[str, dict[str, Rule]] = {
    "ca": {"segle": "segle {1}"},
    "cs": {"cizojazyčně": _SECOND, "vjazyce2": _SECOND, "citát": _FIRST, "partnerské město": _FIRST},
    "da": {"citat": _FIRST},
    "de": {
        '"': "„{1}“",
        "zitat": "{1}{text}",
        "höhe": "{1} m",
        "formatnum": _FIRST,
        "dts": _FIRST,
        "nnbsp": " ",
    },
    "es": {"cita": _FIRST, "siglo": "siglo {1}", "unidad": _joined(" ")},
    "fr": {
        **_named("unité, unite, nombre, tmp, nb", _joined(" ")),
        **_named("s, s-, siècle", "{1}e siècle"),
        **_named("date, date-", _joined(" ")),
        **_named("citation, citation étrangère, cita", "« {1} »"),
        **_named("citation bloc, début citation", _FIRST),
        **_named("latin, grec ancien, japonais, exp, ind, petit", _FIRST),
        **_named("en langue, lang-rom", _SECOND),
        **_named("lien", "{texte|fr|1}"),
        "euro": "{1} €",
        "heure": _joined(" h "),
        "incise": "– {1} –",
        "'": "’",
    },
    "hr": {"citat": _FIRST},
    "hu": {"szám": _FIRST, "idézet": _FIRST},
    "it": {"ta": _FIRST, "citazione": _FIRST, "tutto attaccato": _FIRST, "gemellaggio": "{2}, {1}"},
    "ja": {"仮リンク": _FIRST, "読み仮名": "{1}（{2}）", "ruby": _FIRST},
    "nl": {"citaat": _FIRST, "aut": _FIRST},
    "pl": {"j": _SECOND, "lang": "", "cytat": _FIRST, "liczba": _FIRST},
    "pt": {"séc": "século {1}", "fmtn": _FIRST, "link": "{3}", "lknb": _FIRST, "quote": _FIRST},
    "ro": {"conversie": _measure, "citat": _FIRST},
    "ru": {
        **_named("нп, нп2, нп3, нп4, нп5, не переведено, не переведено 5, iw", "{2|1}"),
        **_named("s, nobr, число, formatnum, comment, подсказка", _FIRST),
        **_named("цитата, начало цитаты", _FIRST),
    },
    "sl": {"navedek": _FIRST},
    "sr": {"цитат": _FIRST, "нп": _FIRST, "јез": _SECOND},
    "sv": {"citat": _FIRST},
    "uk": {**_named("не перекладено, нп, нп5, іншомовно", "{2|1}"), "цитата": _FIRST},
    "zh": {"link-en": _FIRST, "link-de": _FIRST, "link-fr": _FIRST, "link-ja": _FIRST, "tsl": "{3|2}", "le": _FIRST},
}
_FUNCTIONS = ("formatnum", "lc", "uc", "lcfirst", "ucfirst")
_PREFIXES = ("lang-", "script/", "јез-")  # {{lang-de|Wien}}


def expand(content: str, language: str) -> str | None:
    """Return the text of a template, or None for one that is dropped.

    Args:
        content: what stands between the braces; templates, links and tags inside it are already text.
        language: the Wikipedia's code.
    """
    head, _, rest = content.partition("|")
    name = head.strip().replace("_", " ")
    lower = name.lower()
    rule = IN_LANGUAGE.get(language, {}).get(lower)
    if rule is None:
        rule = EVERYWHERE.get(lower)
    if rule is None:
        if lower.startswith(_PREFIXES):
            rule = _FIRST
        elif ":" in lower and lower.partition(":")[0] in _FUNCTIONS:
            return name.partition(":")[2].strip()
        elif language == "fr" and not rest and _ORDINAL.fullmatch(name):
            return name
        else:
            return None
    given = _arguments(rest) if rest else {}
    if callable(rule):
        return rule(given)
    if "{" in rule and not any(_first_of(field, given) for field in _FIELD.findall(rule)):
        return None
    return _FIELD.sub(lambda field: _first_of(field[1], given), rule)


def _first_of(names: str, given: Arguments) -> str:
    return next((given[name].strip() for name in names.split("|") if given.get(name, "").strip()), "")


def _arguments(text: str) -> Arguments:
    """Read a|b=c|d as {"1": "a", "b": "c", "2": "d"}."""
    given: Arguments = {}
    place = 0
    for part in text.split("|"):
        key, equals, value = part.partition("=")
        if equals:
            given[key.strip()] = value.strip()
        else:
            place += 1
            given[str(place)] = part
    return given
