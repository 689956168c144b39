from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
import zstandard

from redpajama_pipe.decontamination.evaluation_sets import read_set
from redpajama_pipe.errors import InputError
from redpajama_pipe.settings.decontaminate import EvaluationSet

RECORDS = [
    {"key": 7, "question": "Which é?", "answer": {"text": "This."}, "choices": ["a", "b"], "gold": 1},
    {"key": 9, "question": "What?", "answer": {"text": "That."}, "choices": [], "gold": 0},
]
LINES = "".join(json.dumps(record) + "\n" for record in RECORDS).encode()


def texts(folder: Path, name: str, data: bytes, *fields: str, id_field: str = "") -> list[tuple[str, str]]:
    (folder / name).write_bytes(data)
    found = read_set(EvaluationSet("s", (str(folder / name),), fields, id_field))
    return [(example.id, example.text) for example in found.examples]


def test_every_format_gives_its_examples(tmp_path: Path) -> None:
    whole = [("0", "Which é?\nThis.\na\nb"), ("1", "What?\nThat.")]
    assert texts(tmp_path, "a.jsonl", LINES) == whole
    assert texts(tmp_path, "a.jsonl.gz", gzip.compress(LINES)) == whole
    assert texts(tmp_path, "a.JSONL.zst", zstandard.compress(LINES)) == whole
    assert texts(tmp_path, "a.json", json.dumps(RECORDS).encode()) == whole
    assert texts(tmp_path, "b.json", json.dumps(RECORDS[1]).encode()) == [("0", "What?\nThat.")]
    assert texts(tmp_path, "a.csv", '\ufeffq,a\n"one, ""two""\nthree",four\n'.encode()) == [
        ("0", 'one, "two"\nthree\nfour')
    ]
    assert texts(tmp_path, "a.tsv", b"q\ta\none\ttwo\n") == [("0", "one\ntwo")]
    assert texts(tmp_path, "a.txt", "first\n\nsecond\u2028line".encode()) == [("0", "first"), ("1", "second\u2028line")]


def test_fields_make_the_text_and_name_the_example(tmp_path: Path) -> None:
    assert texts(tmp_path, "a.jsonl", LINES, "answer.text", "choices", id_field="key") == [
        ("7", "This.\na\nb"),
        ("9", "That."),
    ]


def test_a_set_has_the_files_of_all_its_paths_and_a_checksum(tmp_path: Path) -> None:
    for name, text in (("b.txt", "two"), ("a.txt", "one")):
        (tmp_path / name).write_text(text)
    both = read_set(EvaluationSet("s", (str(tmp_path / "b.txt"), str(tmp_path / "*.txt"))))
    assert [(example.id, example.text) for example in both.examples] == [("0", "one"), ("1", "two")]
    (tmp_path / "b.txt").write_text("2")
    assert read_set(EvaluationSet("s", (str(tmp_path / "*.txt"),))).sha256 != both.sha256


@pytest.mark.parametrize(
    ("name", "data", "fields", "said"),
    [
        ("a.parquet", b"", (), "the name says no format; it may end in .jsonl"),
        ("a.jsonl", b'{"a": "b"}\n{"a', (), "is no valid jsonl"),
        ("a.jsonl", b'{"a": "\xff"}', (), "is no valid jsonl"),
        ("a.jsonl", LINES, ("answr",), "example 0 has no field 'answr'; it has: key, question, answer"),
        ("a.jsonl", LINES, ("gold",), "example 0: 'gold' holds 1, no string"),
        ("a.jsonl", b'{"a": 1}', (), "^decontaminate.sets.s: no text in 1 examples"),
        ("a.txt", b"\n", (), "^decontaminate.sets.s: no text in 0 examples"),
        ("a.jsonl.gz", gzip.compress(LINES)[:40], (), "truncated_gzip"),
    ],
)
def test_what_cannot_be_read_is_said(
    tmp_path: Path, name: str, data: bytes, fields: tuple[str, ...], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        texts(tmp_path, name, data, *fields)


def test_a_missing_file_is_said_of_the_set(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"^decontaminate\.sets\.s: no file matches .*correct decontaminate\.sets\.s\.paths"
    ):
        read_set(EvaluationSet("s", (str(tmp_path / "none.jsonl"),)))


def test_hostile_examples_are_read_or_named(tmp_path: Path) -> None:
    # a lone surrogate and a NUL, which no stored text holds
    assert texts(tmp_path, "a.jsonl", b'{"q":"a\\ud800b\\u0000","id":"\\udfff"}\n', "q", id_field="id") == [
        ("\ufffd", "a\ufffdb")
    ]
    long = "words " * 30_000
    assert texts(tmp_path, "a.csv", f"passage\n{long}\n".encode()) == [("0", long)]
    with pytest.raises(InputError, match="example 0 has no field 'c'; it has: a, b, None"):
        texts(tmp_path, "b.csv", b"a,b\n1,2,3\n", "c")
    with pytest.raises(InputError, match=r"deep\.jsonl is no valid jsonl: maximum recursion depth"):
        texts(tmp_path, "deep.jsonl", b"[" * 100_000 + b"]" * 100_000)
