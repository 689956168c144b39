"""JSON lines to documents."""

from __future__ import annotations

import bz2
import gzip
import json
import random
import sys
from typing import Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from source_factory import documents, source, stream, tally

from redpajama_pipe.sources.decoders import STEP_BYTES
from redpajama_pipe.sources.jsonl import read_jsonl
from redpajama_pipe.sources.record import Document, Quarantined, Record


def read(data: bytes | str, **options: Any) -> list[Record]:
    raw = data.encode() if isinstance(data, str) else data
    return list(read_jsonl(stream(raw), source("jsonl", **options)))


def one(value: object, **options: Any) -> Record:
    (record,) = read(json.dumps(value), **options)
    return record


def document(value: object, **options: Any) -> Document:
    record = one(value, **options)
    assert isinstance(record, Document)
    return record


def test_line_becomes_a_document_named_by_its_number() -> None:
    data = b'{"text":"first"}\n\n  \r\n{"text":"second","z":1,"a":[true,null]}\r\n{"text":"third"}'
    found = documents(read(data))
    assert [(d.text, d.record_id, d.offset) for d in found] == [
        ("first", "0", 0),
        ("second", "3", data.index(b'{"text":"second"')),
        ("third", "4", data.index(b'{"text":"third"')),
    ]
    assert [d.meta for d in found] == [None, '{"a":[true,null],"z":1}', None]
    assert data[found[1].offset :][: found[1].length].rstrip() == b'{"text":"second","z":1,"a":[true,null]}'


def test_text_field_descends_and_the_rest_is_kept() -> None:
    found = document({"a": {"b": "words", "c": 1}, "text": "other"}, text_field="a.b")
    assert (found.text, found.meta) == ("words", '{"a":{"c":1},"text":"other"}')


def test_subset_and_descriptions_are_picked_up() -> None:
    value = {"text": "x", "url": "http://a", "meta": {"title": "T", "url": "http://b", "set": "Wiki"}}
    value["timestamp"] = "20230320"
    found = document(value, subset_field="meta.set")
    assert (found.subset, found.url, found.title, found.timestamp) == ("Wiki", "http://a", "T", "2023-03-20")
    assert json.loads(found.meta or "") == {key: value[key] for key in value if key != "text"}
    assert document({"text": "x", "set": 7}, subset_field="set").subset == "7"
    assert document({"text": "x"}, subset_field="set").subset is None
    assert document({"text": "x", "url": 7, "title": None, "metadata": {"title": "D"}}).title == "D"


def test_language_is_the_sources() -> None:
    assert document({"text": "x", "language": "de"}, language="cs").language == "cs"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"text":', "bad_json"),
        (b'{"text":"x"} {"text":"y"}', "bad_json"),
        (b"[1]", "bad_json"),
        (b'"text"', "bad_json"),
        (b'{"text":"x","n":NaN}', "bad_json"),
        (b'{"a":' * 5000 + b"1" + b"}" * 5000, "bad_json"),
        *((b'{"text":"x","m":' + b"[" * deep + b"]" * deep + b"}", "bad_json") for deep in (500, 990, 1030, 20_000)),
        (b'{"other":"x"}', "no_text"),
        (b'{"text":null}', "no_text"),
        (b'{"text":["x"]}', "no_text"),
        (b'{"text":"\xff"}', "bad_utf8"),
        (b'{"text":"' + b"x" * 200_001 + b'"}', "too_large"),
    ],
)
def test_bad_lines_are_quarantined_and_the_next_ones_read(line: bytes, reason: str) -> None:
    found = read(b'{"text":"before"}\n' + line + b'\n{"text":"after"}\n', max_document_bytes=200_000)
    assert [getattr(record, "reason", None) for record in found] == [None, reason, None]
    row = found[1]
    assert isinstance(row, Quarantined)
    assert (row.record_id, row.offset) == ("1", 18)
    assert "\n" not in row.detail
    assert [d.text for d in documents(found)] == ["before", "after"]


def test_absent_text_names_the_keys_there_are() -> None:
    record = one({"content": "x", "id": 1})
    assert isinstance(record, Quarantined)
    assert record.detail == "field 'text' is absent; the keys are: content, id"


def test_null_text_is_not_called_absent() -> None:
    record = one({"text": None, "id": 1})
    assert isinstance(record, Quarantined)
    assert record.detail == "field 'text' is null; the keys are: id, text"


def test_text_without_words_is_skipped() -> None:
    assert tally(read('{"text":""}\n{"text":" \\n"}\n{"text":"\\u0000"}')) == {"empty_text": 3}


def test_a_document_is_not_held_by_its_reader() -> None:
    lines = read_jsonl(stream(b'{"text": "giant"}\n{"text": "next"}\n'), source("jsonl"))
    found = next(lines)
    assert sys.getrefcount(found) <= 2  # of this function and of the call
    assert [record.text for record in lines if isinstance(record, Document)] == ["next"]


def test_escapes_of_lone_surrogates_are_read_and_replaced_everywhere() -> None:
    (found,) = documents(read(rb'{"text":"a\ud800b","title":"\udfff","meta":{"k\ud801":"\ud802\u0000"},"n":1}'))
    assert (found.text, found.title) == ("a\ufffdb", "\ufffd")
    for value in (found.text, found.title, found.meta):
        assert value is not None
        value.encode("utf-8")


def test_pairs_of_surrogates_are_one_character() -> None:
    assert documents(read(rb'{"text":"\ud83c\udf89 \ud800"}'))[0].text == "🎉 \ufffd"


def test_byte_order_mark_is_no_part_of_the_first_line() -> None:
    assert documents(read(b'\xef\xbb\xbf{"text":"x"}\n'))[0].text == "x"


ROWS = [{"text": f"document {number} " + "words " * (number % 50)} for number in range(3000)]
LINES = b"".join(json.dumps(row).encode() + b"\n" for row in ROWS)


def zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(data)


@pytest.mark.parametrize("compress", [bytes, gzip.compress, bz2.compress, zstd])
def test_compressed_files_read_alike(compress: Any) -> None:
    assert len(LINES) > STEP_BYTES
    for data in (compress(LINES), compress(LINES[:1000]) + compress(LINES[1000:])):
        found = documents(read(data))
        assert [d.text for d in found] == [row["text"] for row in ROWS]
        assert all(LINES[d.offset : d.offset + d.length + 1].endswith(b"}\n") for d in found)


@pytest.mark.parametrize(("compress", "name"), [(gzip.compress, "gzip"), (bz2.compress, "bzip2"), (zstd, "zstd")])
def test_clipped_files_keep_whole_lines_and_say_where_they_end(compress: Any, name: str) -> None:
    data = compress(LINES[:50_000]) + compress(LINES[50_000:])
    found = read(data[: int(len(data) * 0.6)])
    kept = documents(found)
    assert [d.text for d in kept] == [row["text"] for row in ROWS[: len(kept)]]
    assert len(kept) > 100
    assert tally(found) == {"document": len(kept), f"!truncated_{name}": 1}
    row = found[-1]
    assert isinstance(row, Quarantined)
    assert row.record_id in (str(len(kept)), "")
    assert row.offset == kept[-1].offset + kept[-1].length + 1


def test_a_long_line_is_never_held() -> None:
    import tracemalloc

    noise = random.Random(1).randbytes(8 << 20).hex().encode()
    data = zstd(b'{"text":"' + noise + b'"}\n{"text":"after"}\n')
    tracemalloc.start()
    found = read(data, max_document_bytes=1 << 20)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert tally(found) == {"!too_large": 1, "document": 1}
    assert peak < 6 << 20


@given(st.lists(st.dictionaries(st.text(max_size=5), st.none() | st.booleans() | st.integers() | st.text(max_size=9))))
def test_whatever_python_writes_is_read(values: list[dict[str, Any]]) -> None:
    lines = "".join(json.dumps({**value, "text": "x"}) + "\n" for value in values)
    found = documents(read(lines))
    assert len(found) == len(values)
    for value, one_document in zip(values, found, strict=True):
        if all(abs(item) < 2**63 for item in value.values() if isinstance(item, int)):
            rest = {key.replace("\0", ""): item for key, item in value.items() if key != "text"}
            assert {key.replace("\0", "") for key in json.loads(one_document.meta or "{}")} == set(rest)


@given(st.binary(max_size=300), st.sampled_from([1, 10, 1000]))
def test_any_bytes_give_one_row_a_line(data: bytes, limit: int) -> None:
    found = read(b"{" + data, max_document_bytes=limit)
    lines = (b"{" + data).split(b"\n")
    assert len(found) == sum(1 for line in lines if line.strip() or len(line) > limit)
