import hashlib
import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest
import redpajama_v2_reference as reference
from hypothesis import given
from hypothesis import strategies as st

from redpajama_pipe.dedup.minhash import sign_batch
from redpajama_pipe.signals import redpajama_v2, redpajama_v2_record, score
from redpajama_pipe.signals.redpajama_v2_record import SPEC, Place, duplicate_rows, line_ends, minhash_rows, records

TEXT = """Hello World! This is a TEST...

• the cat sat on the mat, the cat sat on the mat.
No 42 {x} javascript Café lorem ipsum #1
last line"""
PLACE = Place("2023-06/0000/en_head.json.gz", 5)
NAMES = [
    signal.name
    for signal in redpajama_v2.SIGNALS
    if not any(part in signal.name for part in ("_ml_", "_importance", "ut1", "stop_word", "ldnoobw"))
]


def ccnet(text: str, **known: object) -> dict[str, object]:
    """A record of CCNet, with what has no value null."""
    keys = (
        "url source_domain cc_segment language length original_length nlines original_nlines language_score perplexity"
    )
    return dict.fromkeys(keys.split()) | {"raw_content": text, "bucket": "all"} | known


def read(texts: Sequence[str], names: Sequence[str] = NAMES, **known: object) -> list[dict[str, Any]]:
    signals = score(pa.array(texts, pa.string()), names)
    lines = records([PLACE] * len(texts), [ccnet(text, **known) for text in texts], signals)
    whole = [b"".join(pieces) for pieces in lines]
    assert all(line.endswith(b"}}\n") and line.count(b"\n") == 1 for line in whole)
    return [json.loads(line) for line in whole]


def test_record_has_the_published_shape() -> None:
    known = {
        "url": "http://a.example/b",
        "source_domain": "a.example",
        "cc_segment": "crawl/x.wet.gz",
        "language": "en",
    }
    [record] = read([TEXT], length=130, nlines=5, perplexity=241.3, bucket="middle", title="no signal", **known)
    assert list(record) == ["id", "id_int", "metadata", "quality_signals"]
    assert record["id"] == "2023-06/0000/en_head.json.gz/5"
    assert record["id_int"] == int.from_bytes(hashlib.sha1(record["id"].encode()).digest()[:8], "little")
    assert record["metadata"] == known | {"cc_net_source": "2023-06/0000/en_head.json.gz", "snapshot_id": "2023-06"}
    scores = record["quality_signals"]
    assert json.dumps(scores["ccnet_length"]) == "[[0, 132, 130.0]]"
    assert scores["ccnet_bucket"] == [[0, 132, 1.0]]
    assert "ccnet_language_score" not in scores
    assert json.dumps(scores["rps_doc_word_count"]) == "[[0, 132, 29]]"  # the one integer among document signals
    assert scores["rps_doc_unigram_entropy"] == [[0, 132, 2.9848698]]
    assert scores["rps_lines_num_words"] == [[0, 31, 6], [31, 32, 0], [32, 82, 13], [82, 123, 8], [123, 132, 2]]


@given(st.lists(st.text(st.sampled_from("aB1 .\n•\r\u2028é”"), max_size=30), max_size=4))
def test_triples_are_those_of_the_published_code(texts: list[str]) -> None:
    for text, record in zip(texts, read(texts), strict=True):
        lines = {f"rps_lines_{name}": triples for name, triples in reference.line_signals(text).items()}
        whole = {f"rps_doc_{name}": [(0, len(text), v)] for name, v in reference.document_signals(text).items()}
        bucket = {"ccnet_bucket": [[0, len(text), None]]}
        wanted = json.loads(json.dumps({name: (lines | whole)[name] for name in NAMES}))
        assert record["quality_signals"] == wanted | bucket


def test_a_long_document_is_written_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "one two.\n\n• three" * 50
    [whole] = read([text])
    monkeypatch.setattr(redpajama_v2_record, "_LINES_AT_ONCE", 7)
    assert read([text]) == [whole]
    [pieces] = records([PLACE], [ccnet(text)], score(pa.array([text]), NAMES))
    assert max(map(len, pieces)) < 2000  # the head; of lines at most 7 triples


def test_what_has_no_signals_has_ccnet_s() -> None:
    [record] = read(["a b"], [], length=3)
    assert record["quality_signals"] == {"ccnet_length": [[0, 3, 3.0]], "ccnet_bucket": [[0, 3, None]]}


def test_only_newlines_end_lines() -> None:
    assert line_ends("a\r\n\nb\u2028c").tolist() == [3, 4, 7]
    assert line_ends("").tolist() == []


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match="2 places, 1 records, 1 rows of signals"):
        next(records([PLACE, PLACE], [ccnet(TEXT)], score(pa.array([TEXT]), NAMES)))


def test_signatures_are_the_published_bands() -> None:
    texts = pa.array(["A b, c d e f g h i j k l m n o", "too few words", None])
    table = minhash_rows([PLACE] * 3, sign_batch(texts, SPEC))
    # configs/rp_v2.0.conf has MINHASH_SIMILARITIES in this order
    assert table.schema.names == [
        "shard_id",
        "id",
        "id_int",
        *(f"signature_sim{s}" for s in ("1.0", "0.9", "0.8", "0.7")),
    ]
    assert table.schema.field("signature_sim0.7").type == pa.list_(pa.binary())
    assert table["id_int"].type == pa.uint64()
    assert table.slice(0, 1).to_pylist()[0] | dict.fromkeys(table.schema.names[3:]) == {
        "shard_id": "2023-06/0000/en_head.json.gz",
        "id": "2023-06/0000/en_head.json.gz/5",
        "id_int": PLACE.id_int,
        **dict.fromkeys(table.schema.names[3:]),
    }
    shapes = {"0.7": (14, 9), "0.8": (9, 13), "0.9": (5, 25), "1.0": (1, 128)}
    for similarity, (bands, rows) in shapes.items():
        signed, short, null = table[f"signature_sim{similarity}"].to_pylist()
        assert (len(signed), {len(band) for band in signed}) == (bands, {4 * rows})
        assert signed[0].hex().startswith("05d5098f1a49b995b837fbba60810b870913597e")
        assert short is null is None


def test_duplicates_are_named_as_published() -> None:
    table = duplicate_rows([PLACE, PLACE], ["sha1:ABC", None])
    row = {"shard_id": "2023-06/0000/en_head.json.gz", "doc_id": "2023-06/0000/en_head.json.gz/5"}
    assert table.to_pylist() == [row | {"digest": "ABC"}, row | {"digest": None}]
