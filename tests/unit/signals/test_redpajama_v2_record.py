import hashlib
import json

import pyarrow as pa
import pytest
import redpajama_v2_reference as reference
from hypothesis import given
from hypothesis import strategies as st

from redpajama_pipe.signals import redpajama_v2, score
from redpajama_pipe.signals.redpajama_v2_record import Place, line_spans, records, signature_columns

TEXT = """Hello World! This is a TEST...

• the cat sat on the mat, the cat sat on the mat.
No 42 {x} javascript Café lorem ipsum #1
last line"""
PLACE = Place("2023-06/0000/en_head.json.gz", 5, "crawl/x.wet.gz", "http://a.example/b", "a.example", "en")
NAMES = [
    signal.name
    for signal in redpajama_v2.SIGNALS
    if not any(part in signal.name for part in ("_ml_", "_importance", "ut1", "stop_word", "ldnoobw"))
]


def test_record_has_the_published_shape() -> None:
    ccnet = {"length": 130, "nlines": 5, "perplexity": 241.3, "bucket": "middle", "title": "no signal"}
    (record,) = records(pa.array([TEXT]), score(pa.array([TEXT]), NAMES), [PLACE], [ccnet])
    assert list(record) == ["id", "id_int", "metadata", "quality_signals"]
    assert record["id"] == "2023-06/0000/en_head.json.gz/5"
    assert record["id_int"] == int.from_bytes(hashlib.sha1(record["id"].encode()).digest()[:8], "little")
    assert record["metadata"] == {
        "cc_segment": "crawl/x.wet.gz",
        "cc_net_source": "2023-06/0000/en_head.json.gz",
        "url": "http://a.example/b",
        "source_domain": "a.example",
        "language": "en",
        "snapshot_id": "2023-06",
    }
    scores = json.loads(json.dumps(record["quality_signals"]))
    assert scores["ccnet_length"] == [[0, 132, 130.0]]
    assert scores["ccnet_bucket"] == [[0, 132, 1.0]]
    assert "ccnet_language_score" not in scores
    assert scores["rps_doc_word_count"] == [[0, 132, 29]]
    assert json.dumps(scores["rps_doc_word_count"]) == "[[0, 132, 29]]"  # the one integer among document signals
    assert scores["rps_doc_unigram_entropy"] == [[0, 132, 2.9848698]]
    assert scores["rps_lines_num_words"] == [[0, 31, 6], [31, 32, 0], [32, 82, 13], [82, 123, 8], [123, 132, 2]]


@given(st.lists(st.text(st.sampled_from("aB1 .\n•\r\u2028é”"), max_size=30), max_size=4))
def test_triples_are_those_of_the_published_code(texts: list[str]) -> None:
    array = pa.array(texts, pa.string())
    for text, record in zip(texts, records(array, score(array, NAMES), [PLACE] * len(texts)), strict=True):
        lines = {f"rps_lines_{name}": triples for name, triples in reference.line_signals(text).items()}
        whole = {f"rps_doc_{name}": [(0, len(text), v)] for name, v in reference.document_signals(text).items()}
        assert record["quality_signals"] == {name: (lines | whole)[name] for name in NAMES}


def test_only_newlines_end_lines() -> None:
    assert line_spans("a\r\n\nb\u2028c") == [(0, 3), (3, 4), (4, 7)]
    assert line_spans("") == []


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match="1 texts, 1 rows of signals, 2 places"):
        next(records(pa.array([TEXT]), score(pa.array([TEXT]), NAMES), [PLACE, PLACE]))


def test_signatures_are_the_published_bands() -> None:
    table = signature_columns(pa.array(["A b, c d e f g h i j k l m n o", "too few words", None]), [PLACE] * 3)
    assert table.schema.names == ["shard_id", "id", "id_int", *(f"signature_sim{s}" for s in (0.7, 0.8, 0.9, 1.0))]
    assert table.schema.field("signature_sim0.7").type == pa.list_(pa.binary())
    assert table["id_int"].type == pa.uint64()
    shapes = {"0.7": (14, 9), "0.8": (9, 13), "0.9": (5, 25), "1.0": (1, 128)}
    for similarity, (bands, rows) in shapes.items():
        signed, short, null = table[f"signature_sim{similarity}"].to_pylist()
        assert (len(signed), {len(band) for band in signed}) == (bands, {4 * rows})
        assert signed[0].hex().startswith("05d5098f1a49b995b837fbba60810b870913597e")
        assert short is null is None
