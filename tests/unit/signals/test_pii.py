from __future__ import annotations

import re
import time
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from redpajama_pipe.signals import pii, pii_kernels
from redpajama_pipe.signals.pii import DATATROVE_DETECTORS, DOLMA_DETECTORS, PLAIN, Detector, find_spans
from redpajama_pipe.signals.signal import Documents
from redpajama_pipe.text.buffers import utf8
from redpajama_pipe.text.classes import classes
from redpajama_pipe.tokens.spans import apply_spans

# datatrove 0.10 and dolma 1.0, as published, for comparison
DATATROVE_EMAIL = re.compile(
    r"\b[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*@(?:(?:[A-Za-z0-9](?:[A-Za-z0-9-]*"
    r"[A-Za-z0-9])?\.)+[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?|\[(?:(?:25[0-5]|2[0-4][0-9]|[01]?[0-9][0-9]?)\.){3}"
    r"(?:25[0-5]|2[0-4][0-9]|[01]?[0-9][0-9]?|[A-Za-z0-9-]*[A-Za-z0-9]:)])"
)
DOLMA_EMAIL = re.compile("[.\\s@,?!;:)(]*([^\\s@]+@[^\\s@,?!;:)(]+?)[.\\s@,?!;:)(]?[\\s\n\r]")
DOLMA_PHONE = re.compile("\\s+\\(?(\\d{3})\\)?[-\\. ]*(\\d{3})[-. ]?(\\d{4})")

texts = st.lists(
    st.sampled_from(
        [*"ab.@ ,(\n-+:09é\u3000", "a@b.co", "1.2.3.4", "10.0.0.1", "8.8.8.8", "(555) 123-4567", "@x", "..", "\u0661"]
    ),
    max_size=30,
).map("".join)


def replaced(text: str, detectors: tuple[Detector, ...] = PLAIN) -> str:
    spans = [(start, end, put) for start, end, _, put in find_spans(text, detectors)]
    return apply_spans(text.encode(), spans).decode()


def found(text: str, detectors: tuple[Detector, ...] = PLAIN) -> list[str]:
    data = text.encode()
    return [data[start:end].decode() for start, end, _, _ in find_spans(text, detectors)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("write to jane.doe@mail.example.net.", ["jane.doe@mail.example.net"]),
        ("(Jane@Example.Net)", ["Jane@Example.Net"]),
        ("a..b@c.de", ["b@c.de"]),
        ("user@host and user@ and @handle", []),
        ("x@[1.2.3.4]", ["x@[1.2.3.4]"]),
        ("ping 8.8.8.8, then 10.0.0.1 and 127.0.0.1", ["8.8.8.8"]),
        ("version 1.2.3.4.5 and 1.2.3.400 and v8.8.8.8", []),
        ("at 8.8.4.4.", ["8.8.4.4"]),
        ("dns 2001:4860:4860::8888 but not fe80::1, ::1 or 12:30:45", ["2001:4860:4860::8888"]),
        ("std::vector a::b", []),
        ("call +44 20 7946 0958 or (415) 555-2671", ["+44 20 7946 0958", "(415) 555-2671"]),
        ("415-555-2671, 415.555.2671 and 415 555 2671", ["415-555-2671", "415.555.2671", "415 555 2671"]),
        ("ISBN 978-3-16-148410-0, +1 2, 2024-01-02 12:00", []),
        ("1-234-567-8901, 12345-234-567-8901", ["1-234-567-8901"]),
        ("é jane@mail.net é 8.8.8.8", ["jane@mail.net", "8.8.8.8"]),
    ],
)
def test_plain_finds(text: str, expected: list[str]) -> None:
    assert found(text) == expected


def test_published_readings_differ_as_published() -> None:
    assert found("mail me at a@b.co", DATATROVE_DETECTORS) == ["a@b.co"]
    assert found("mail me at a@b.co", DOLMA_DETECTORS) == []  # no white space after it
    assert found("10.0.0.1", DATATROVE_DETECTORS) == []
    assert replaced("x 10.0.0.1 y", DOLMA_DETECTORS) == "x  |||IP_ADDRESS|||  y"
    assert replaced("to (a@b.co) now\n", DOLMA_DETECTORS) == "to |||EMAIL_ADDRESS||| now\n"
    assert found("to (a@b.co), now\n", DOLMA_DETECTORS) == []  # two marks before the white space
    assert found("v8.8.8.8x", DATATROVE_DETECTORS) == ["8.8.8.8"]


@given(texts)
def test_datatrove_s_addresses_are_those_of_its_pattern(text: str) -> None:
    assert [text[a:b] for a, b in pii._emails(text)] == [match.group() for match in DATATROVE_EMAIL.finditer(text)]


@given(texts)
def test_dolma_s_spans_are_those_of_its_patterns(text: str) -> None:
    emails: list[tuple[int, int]] = []
    phones: list[tuple[int, int]] = []
    for line in re.finditer(r"[^\n]*\n|[^\n]+$", text):
        if not line.group().strip():
            continue
        for match in DOLMA_EMAIL.finditer(line.group()):
            addressee, domain = match.group(1).split("@", 1)
            if addressee.strip() != "(" and "." in domain:
                emails.append((line.start() + match.start(), line.start() + match.end()))
        phones += [(line.start() + m.start(), line.start() + m.end()) for m in DOLMA_PHONE.finditer(line.group())]
    assert list(pii._dolma_emails(text)) == emails
    assert list(pii._dolma_phones(text)) == phones


@given(texts)
@pytest.mark.parametrize(
    "detectors", [PLAIN, DATATROVE_DETECTORS, DOLMA_DETECTORS], ids=["plain", "datatrove", "dolma"]
)
def test_spans_are_disjoint_and_column_equals_the_function(detectors: tuple[Detector, ...], text: str) -> None:
    spans = find_spans(text, detectors)
    assert all(before[1] <= after[0] for before, after in pairwise(spans))
    name = next(name for name, known in pii._DETECTORS.items() if known is detectors)
    column = pa.array([None, text, "nothing"], pa.string())
    rows = pii.compute(Documents(column, utf8(column)), [name])[name].to_pylist()
    assert rows[0] is None
    assert [tuple(span.values()) for span in rows[1]] == spans
    assert rows[2] == []


@given(texts)
def test_what_was_replaced_is_left_alone(text: str) -> None:
    for detectors in (PLAIN, DATATROVE_DETECTORS):
        for detector in detectors:
            for replacement in detector.replacements:
                assert find_spans(f"x {replacement} y", detectors) == []
    once = replaced("see jane@mail.net, 8.8.8.8 or +44 20 7946 0958 " + text.replace("@", " ").replace(".", " "))
    assert "jane" not in once
    assert "8.8.8.8" not in once


def test_replacement_depends_on_what_it_replaces_alone() -> None:
    many = [f"user{number}@mail.net" for number in range(50)]
    alone = {name: replaced(name) for name in many}
    assert set(alone.values()) == {"email@example.com", "firstname.lastname@example.org"}
    assert replaced(" ".join(reversed(many))) == " ".join(alone[name] for name in reversed(many))


@pytest.mark.parametrize(
    "text",
    [
        "a+" * 50_000,
        "a@" * 50_000,
        ".@" * 50_000,
        " " * 50_000 + "1",
        "1." * 50_000,
        ":1" * 50_000,
        "+1 " * 50_000,
        "12 " * 50_000,
        "x" * 50_000 + "@b.co ",
    ],
)
def test_no_text_takes_more_than_linear_time(text: str) -> None:
    began = time.process_time()
    for detectors in (PLAIN, DATATROVE_DETECTORS, DOLMA_DETECTORS):
        find_spans(text, detectors)
    assert time.process_time() - began < 30  # quadratic would be hours


KINDS = {
    "AT": "@",
    "EMAIL": r"@(\w|\[)",
    "DOTTED": r"\d\.\d+\.\d+\.\d",
    "COLONS": "[23][0-9A-Fa-f]{3}:[0-9A-Fa-f]*:",
    "PHONE": r"\+[1-9]|[2-9]\d\d(\) ?|[-. ])\d{3}[-. ]\d{4}",
    "TEN_DIGITS": r"\d{3}\)?[-. ]*\d{3}[-. ]?\d{4}",
}


def parts(texts: list[str | None], kinds: int = 63) -> list[list[int]]:
    documents = utf8(pa.array(texts, pa.string()))
    found: list[list[int]] = pii_kernels.parts(*documents, classes(), kinds).tolist()
    return found


def test_detectors_name_the_kinds_of_the_kernel() -> None:
    for kind in KINDS:
        named = getattr(pii, "_PHONE_NUMBER" if kind == "PHONE" else f"_{kind}")
        assert named == getattr(pii_kernels, kind)


fragments = st.sampled_from(
    [*"ab.@ ,(+-:09[\n", "\n" * 3, "x" * 70, "2001:a:", "3FFF::", "1.2.3.4", "123-", "(234) ", "234-567 8901", "\u00e9"]
)


@example(["+0 +", "(234) 567-8901", None, "234)567 8901", "134-567-8901 234--567-8901", "2a:2aaa:g", "1.2..3.4"])
@given(st.lists(st.lists(fragments, max_size=20).map("".join) | st.none(), max_size=4))
@pytest.mark.parametrize("kind", KINDS)
def test_parts_are_the_lines_that_match_and_those_between_them(kind: str, texts: list[str | None]) -> None:
    pattern = re.compile(KINDS[kind].encode(), re.ASCII)
    expected: list[list[int]] = []
    at = 0
    for document, text in enumerate(texts):
        for line in (text or "").encode().splitlines(keepends=True):
            if pattern.search(line):
                if expected and expected[-1][0] == document and at - expected[-1][2] <= pii_kernels.CLOSE:
                    expected[-1][2] = at + len(line)
                else:
                    expected.append([document, at, at + len(line), getattr(pii_kernels, kind)])
            at += len(line)
    assert parts(texts, getattr(pii_kernels, kind)) == expected


def test_a_document_with_digits_of_another_script_is_one_part() -> None:
    text = "a@b.co\n" + "x\n" * 100 + "\u0661\n+1"
    size = len(text.encode())
    every = pii_kernels.AT | pii_kernels.EMAIL | pii_kernels.PHONE | pii_kernels.TEN_DIGITS
    assert parts(["", text, "\u0661"]) == [[1, 0, size, every], [2, size, size + 2, pii_kernels.TEN_DIGITS]]
    assert parts([text, "\u0661"], pii_kernels.AT) == [[0, 0, size, pii_kernels.AT]]


@pytest.mark.parametrize(("marks", "spans"), [(10_000, 1), (10_001, 0)])
def test_question_marks_are_counted_in_the_whole_document(marks: int, spans: int) -> None:
    column = pa.array(["?" * marks + "\n" + "x" * 100 + "\na@b.co \n", "a@b.co \n"])
    rows = pii.compute(Documents(column, utf8(column)), ["dolma_pii_spans"])["dolma_pii_spans"].to_pylist()
    assert [len(row) for row in rows] == [spans, 1]


@pytest.mark.parametrize("unit", ["@", "@\n", "1.", "2aaa:a", "234-567-8901", "123 ", "1", " ", "+", "\u00e9"])
def test_finding_parts_takes_linear_time_and_little_memory(unit: str) -> None:
    text = "123" + unit * 500_000 + "123"
    began = time.process_time()
    found = pii_kernels.parts(*utf8(pa.array([text])), classes(), 63)
    assert len(found) <= 1
    assert time.process_time() - began < 2  # quadratic would be minutes
    apart = (unit + "x" * 70 + "\n") * 1000
    assert np.asarray(pii_kernels.parts(*utf8(pa.array([apart])), classes(), 63)).nbytes <= len(apart.encode())
