"""Personal data in text, as spans with replacements: e-mail addresses, IP addresses, telephone numbers.

Only lines in which pii_kernels finds an @, a dotted number or enough digits become Python strings; what is found there
begins at each @ or digit, so time is linear in the text. A replacement is chosen by a hash of what it replaces, not by
how many came before: it depends on no partition, and what has been replaced is left alone the next time.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from redpajama_pipe.signals.cuts import SPAN, SPANS
from redpajama_pipe.signals.public_addresses import is_public
from redpajama_pipe.signals.signal import Documents, Family, Signal

DATATROVE = "datatrove 0.10, pipeline/formatters/pii.py (FineWeb, Penedo et al. 2024, arXiv:2406.17557)"
DOLMA = "Dolma (Soldaini et al. 2024, arXiv:2402.00159), python/dolma/taggers/pii.py, pii_regex_with_counts_fast_v2"

Place = tuple[int, int]  # characters

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]"
_OCTET = r"(?:25[0-5]|2[0-4][0-9]|[01]?[0-9][0-9]?)"
_LOCAL = re.compile(rf"\b{_ATOM}+(?:\.{_ATOM}+)*\Z")
_DOMAIN = re.compile(
    r"@(?:(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\.)+[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
    rf"|\[(?:{_OCTET}\.){{3}}(?:{_OCTET}|[A-Za-z0-9-]*[A-Za-z0-9]:)])"
)
_IPV4 = re.compile(rf"(?:{_OCTET}\.){{3}}{_OCTET}")
_IPV4_ALONE = re.compile(rf"(?<![\w.])(?:{_OCTET}\.){{3}}{_OCTET}(?!\w|\.\w)")
# Global unicast begins with the bits 001 (RFC 4291): std::vector and 12:30:45 are none.
_IPV6_ALONE = re.compile(r"(?<![\w:.])[23][0-9A-Fa-f]{3}(?::[0-9A-Fa-f]{0,4}){2,7}(?![\w:]|\.\w)")
_PHONE = re.compile(
    r"(?<![\w+.,/-])(?:\+[1-9]\d{0,2}(?:[ .-]?\(\d{1,4}\))?(?:[ .-]?\d{2,4}){2,5}"
    r"|(?:1[-. ])?(?:\([2-9]\d\d\) ?|[2-9]\d\d[-. ])\d{3}[-. ]\d{4})(?![\w-]|[.,]\d)"
)
_DOLMA_EMAIL = re.compile(r"[.\s@,?!;:)(]*([^\s@]+@[^\s@,?!;:)(]+?)[.\s@,?!;:)(]?[\s\n\r]")
_DOLMA_RUN = re.compile(r"[.\s@,?!;:)(]*")
_DOLMA_PHONE = re.compile(r"\s\(?\d{3}\)?[-\. ]*\d{3}[-. ]?\d{4}")
_DOLMA_MARKS = ".@,?!;:)("
_LINE = re.compile(r"[^\n]*\n|[^\n]+$")
_MOST_QUESTION_MARKS = 10_000  # in a text that Dolma searches
_LOOK_BACK = 320  # characters before an @ that are looked at: no address is longer (RFC 3696, erratum 1690)


def _emails(text: str) -> Iterator[Place]:
    last = 0
    for domain in _DOMAIN.finditer(text):
        at = domain.start()
        local = _LOCAL.search(text, max(last, at - _LOOK_BACK), at)
        if local:
            last = domain.end()
            yield local.start(), last


def _public_ips(text: str, patterns: Sequence[re.Pattern[str]]) -> Iterator[Place]:
    for pattern in patterns:
        for match in pattern.finditer(text):
            if is_public(match.group()):
                yield match.span()


def _phones(text: str) -> Iterator[Place]:
    for match in _PHONE.finditer(text):
        # E.164 has at most 15 digits; fewer than 8 with a country code are no number
        if not match.group().startswith("+") or 8 <= sum(map(str.isdigit, match.group())) <= 15:
            yield match.span()


def _dolma_lines(text: str) -> Iterator[tuple[int, str]]:
    for line in _LINE.finditer(text):
        if line.group().strip():
            yield line.start(), line.group()


def _dolma_emails(text: str) -> Iterator[Place]:
    for offset, line in _dolma_lines(text):
        last = 0
        at = line.find("@")
        while at >= 0:
            # The search begins where the pattern's would: before the marks that come before the word.
            begin = at
            while begin > max(last, at - _LOOK_BACK) and not line[begin - 1].isspace() and line[begin - 1] != "@":
                begin -= 1
            match = None
            if begin < at:
                floor = max(last, begin - _LOOK_BACK)
                while begin > floor and (line[begin - 1] in _DOLMA_MARKS or line[begin - 1].isspace()):
                    begin -= 1
                match = _DOLMA_EMAIL.match(line, begin)
                if not match:
                    # No later beginning among the same marks succeeds either.
                    marks = _DOLMA_RUN.match(line, begin)
                    at = max(at, marks.end() - 1 if marks else at)
            if match:
                last = match.end()
                addressee, domain = match.group(1).split("@", 1)
                if addressee.strip() != "(" and "." in domain:
                    yield offset + match.start(), offset + last
            at = line.find("@", max(last, at + 1))


def _dolma_phones(text: str) -> Iterator[Place]:
    for offset, line in _dolma_lines(text):
        last = 0
        for match in _DOLMA_PHONE.finditer(line):
            begin = match.start()
            while begin > last and line[begin - 1].isspace():
                begin -= 1
            last = match.end()
            yield offset + begin, offset + last


def _dolma_ips(text: str) -> Iterator[Place]:
    for offset, line in _dolma_lines(text):
        for match in _IPV4.finditer(line):
            yield offset + match.start(), offset + match.end()


@dataclass(frozen=True)
class Detector:
    """One kind of personal data.

    Attributes:
        rule: its name in receipts.
        kinds: of pii_kernels; only a part that may hold one of them is searched.
        find: text → places in it, ascending and disjoint.
        replacements: one of them takes the place of what is found, chosen by a hash of it; found text that is one of
            them stays as it is.
    """

    rule: str
    kinds: int
    find: Callable[[str], Iterable[Place]]
    replacements: tuple[str, ...]

    def replacement(self, found: str) -> str | None:
        """Return what takes the place of a text; None: nothing does."""
        if found in self.replacements:
            return None
        digest = hashlib.blake2b(found.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        return self.replacements[int.from_bytes(digest, "little") % len(self.replacements)]


_EMAIL_NAMES = ("email@example.com", "firstname.lastname@example.org")
# As pii_kernels names them, which is loaded where it is used; a test compares them.
_AT, _EMAIL, _DOTTED, _COLONS, _PHONE_NUMBER, _TEN_DIGITS = 1, 2, 4, 8, 16, 32

PLAIN = (
    Detector("email", _EMAIL, _emails, _EMAIL_NAMES),
    Detector(
        "ip",
        _DOTTED | _COLONS,
        lambda text: sorted(_public_ips(text, (_IPV4_ALONE, _IPV6_ALONE))),
        tuple(f"192.0.2.{last}" for last in range(1, 7)),  # RFC 5737: for documentation
    ),
    Detector(
        "phone",
        _PHONE_NUMBER,
        _phones,
        tuple(f"555-01{last:02}" for last in range(100)),  # never given to a subscriber
    ),
)
DATATROVE_DETECTORS = (
    Detector("email", _EMAIL, _emails, _EMAIL_NAMES),
    Detector(
        "ip",
        _DOTTED,
        lambda text: _public_ips(text, (_IPV4,)),
        (
            *("22.214.171.124", "126.96.36.199", "188.8.131.52"),
            *("184.108.40.206", "220.127.116.11", "18.104.22.168"),
        ),
    ),
)
DOLMA_DETECTORS = (
    Detector("email", _AT, _dolma_emails, (" |||EMAIL_ADDRESS||| ",)),
    Detector("phone", _TEN_DIGITS, _dolma_phones, (" |||PHONE_NUMBER||| ",)),
    Detector("ip", _DOTTED, _dolma_ips, (" |||IP_ADDRESS||| ",)),
)

_NULL = "the document is null"
_DETECTORS: dict[str, tuple[Detector, ...]] = {
    "pii_spans": PLAIN,
    "datatrove_pii_spans": DATATROVE_DETECTORS,
    "dolma_pii_spans": DOLMA_DETECTORS,
}
SIGNALS = (
    Signal(
        "pii_spans",
        "byte ranges",
        "e-mail addresses (datatrove's pattern), public IPv4 and IPv6 addresses that stand alone, telephone numbers"
        " (+ and 8 to 15 digits, or North American with separators), with replacements out of ranges kept for examples",
        "RFC 3696, RFC 5737, ITU-T E.164",
        _NULL,
        (0.0, None),
        SPANS,
    ),
    Signal(
        "datatrove_pii_spans",
        "byte ranges",
        "e-mail addresses and public IPv4 addresses, also inside longer words. datatrove takes its replacements in"
        " turn, across documents; here a hash of what is replaced chooses",
        DATATROVE,
        _NULL,
        (0.0, None),
        SPANS,
    ),
    Signal(
        "dolma_pii_spans",
        "byte ranges",
        "e-mail addresses before white space with the marks around them, telephone numbers after white space, IPv4"
        " addresses of every range; none in a document with more than 10,000 question marks",
        DOLMA,
        _NULL,
        (0.0, None),
        SPANS,
    ),
)


def find_spans(text: str, detectors: Sequence[Detector]) -> list[tuple[int, int, str, str]]:
    """Find personal data in one text.

    Args:
        text: any.
        detectors: where two find the same characters, the earlier detector has them.

    Returns:
        (start, end, rule, replacement) in order and disjoint; UTF-8 bytes.
    """
    taken: list[tuple[int, int, str, str]] = []
    for detector in detectors:
        before = sorted(taken)
        at = 0
        for start, end in detector.find(text):
            while at < len(before) and before[at][1] <= start:
                at += 1
            if at < len(before) and before[at][0] < end:
                continue
            replacement = detector.replacement(text[start:end])
            if replacement is not None:
                taken.append((start, end, detector.rule, replacement))
    return _in_bytes(text, sorted(taken))


def _in_bytes(text: str, spans: list[tuple[int, int, str, str]]) -> list[tuple[int, int, str, str]]:
    if text.isascii():
        return spans
    moved: list[tuple[int, int, str, str]] = []
    characters = size = 0
    for start, end, rule, replacement in spans:
        begin = size + len(text[characters:start].encode())
        size = begin + len(text[start:end].encode())
        characters = end
        moved.append((begin, size, rule, replacement))
    return moved


def compute(documents: Documents, wanted: Sequence[str]) -> dict[str, pa.Array]:
    """Compute some of this family's signals; see signals.score."""
    return {name: _column(documents, _DETECTORS[name]) for name in wanted}


def _column(documents: Documents, detectors: Sequence[Detector]) -> pa.Array:
    from redpajama_pipe.signals import pii_kernels
    from redpajama_pipe.text.classes import classes

    data, offsets, valid = documents.utf8
    kinds = sum(detector.kinds for detector in detectors)
    counts = np.zeros(len(valid), np.int32)
    starts: list[int] = []
    ends: list[int] = []
    rules: list[str] = []
    replacements: list[str] = []
    last, refused = -1, False
    for document, start, end, held in map(np.ndarray.tolist, pii_kernels.parts(data, offsets, valid, classes(), kinds)):
        begin = int(offsets[document])
        if document != last and detectors is DOLMA_DETECTORS:
            of = data[begin : offsets[document + 1]]
            refused = bool(np.count_nonzero(of == 0x3F) > _MOST_QUESTION_MARKS)
        last = document
        if refused:
            continue
        searched = [detector for detector in detectors if detector.kinds & held]
        for first, after, rule, replacement in find_spans(data[start:end].tobytes().decode(), searched):
            starts.append(start - begin + first)
            ends.append(start - begin + after)
            rules.append(rule)
            replacements.append(replacement)
            counts[document] += 1
    values = pa.StructArray.from_arrays(
        [
            pa.array(starts, pa.int64()),
            pa.array(ends, pa.int64()),
            pa.array(rules, pa.string()),
            pa.array(replacements, pa.string()),
        ],
        fields=list(SPAN),
    )
    first_spans = np.append(np.int32(0), np.cumsum(counts, dtype=np.int32))
    return pa.ListArray.from_arrays(pa.array(first_spans), values, mask=pa.array(~valid)).cast(SPANS)


FAMILY = Family("pii", "personal data: e-mail addresses, IP addresses, telephone numbers", SIGNALS, compute)
