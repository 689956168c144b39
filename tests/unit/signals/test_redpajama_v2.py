import bz2
import hashlib
import io
import json
import os
import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import redpajama_v2_reference as reference
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from redpajama_pipe.errors import SetupError
from redpajama_pipe.signals import SIGNALS, redpajama_v2, redpajama_v2_kernels, score
from redpajama_pipe.signals.redpajama_v2_rounding import round_8
from redpajama_pipe.signals.resources import Resources
from redpajama_pipe.text import normalise

GOLDEN = """Hello World! This is a TEST...

• the cat sat on the mat, the cat sat on the mat.
No 42 {x} javascript Café lorem ipsum #1
last line"""

COUNTED = [
    signal.name
    for signal in redpajama_v2.SIGNALS
    if signal.name != redpajama_v2.BLACKLIST and "_ml_" not in signal.name and "_importance" not in signal.name
]
STOP_WORDS = ["!", "a", "the", "The", "Σας", "don't", "no", "außer", "antidisestablishmentarianism", "日本", "ei,", "É"]
BAD_WORDS = [
    "bad",
    "very bad",
    "very bad word",
    "bad-word",
    "café",
    "cafe\u0301",
    "Bad",
    "ab ba",
    "日本",
    " x ",
    "a  b",
    " very bad",
]

# Characters on which readings differ: case rules, marks and their order, Hangul, white space, controls, all planes.
ODD = (
    "İIıiſsΣσςΑα'’\u00ad.·:^`_#{}…!?”•–\u0301\u0323\u0345\u0327\u0338ǅǆÅÅΩ가각힣\u1100\u1161\u11a8\u200d\u200f"
    "\x00\x01\x1c\x1f\x85\u2028\u2029\u00a0\u3000 \n\t\r①Ⅷⅷ½٣四Ⓐⓐﬁ\u1fef\u037e\u0340\u0344\U0001d15e\U00010400"
    "\U00010428\U0001f600ªºʰ𝐀𝐚"
)
characters = st.one_of(
    st.sampled_from(ODD), st.sampled_from("aA bB.\n'12\u0301Σ"), st.characters(exclude_categories=["Cs"])
)
WORDS = """lorem ipsum Lorem IPSUM ıpſum lo-rem (ipsum xlorem ipsumx lorem. the The a no javascript JavaScript,
java_script bad very word bad. BAD cafe\u0301 café ab ba ... … ABC a.b don't 42 • –x “yes” ΟΔΟΣ ΟΔΟΣ.Α 日本 außer É"""
words = st.sampled_from([*WORDS.split(), "\n", "\n\n"])
documents = st.one_of(st.text(characters, max_size=80), st.lists(words, max_size=60).map(" ".join))


def make_lists(folder: Path) -> Resources:
    for package, entries in (("stopwords-json/dist", STOP_WORDS), ("naughty-words", BAD_WORDS)):
        (folder / package).mkdir(parents=True)
        (folder / package / "en.json").write_text(json.dumps(entries))
    return Resources(word_lists=str(folder))


@pytest.fixture(scope="module")
def lists(tmp_path_factory: pytest.TempPathFactory) -> Resources:
    return make_lists(tmp_path_factory.mktemp("lists"))


def real_lists(real_data: Path) -> Resources:
    return Resources(word_lists=str(real_data / "wordlists"))


def expected(text: str) -> dict[str, object]:
    found = reference.signals(text, STOP_WORDS, (word.strip() for word in BAD_WORDS))
    return {name: found[name] for name in COUNTED}


def one(text: str, *names: str) -> list[object]:
    row: dict[str, object] = score(pa.array([text]), [f"rps_{name}" for name in names]).to_pylist()[0]
    return list(row.values())


def test_golden_document_has_the_published_values(real_data: Path) -> None:
    row = score(pa.array([GOLDEN]), COUNTED, resources=real_lists(real_data)).to_pylist()[0]
    short = {name.removeprefix("rps_").removeprefix("doc_"): value for name, value in row.items()}
    assert short == {
        "word_count": 29,
        "num_sentences": 4.0,
        "mean_word_length": 3.27586207,
        "symbol_to_word_ratio": 0.05555556,
        "frac_lines_end_with_ellipsis": 0.2,
        "frac_no_alph_words": 0.27777778,
        "frac_unique_words": 0.75862069,
        "unigram_entropy": 2.9848698,
        "frac_all_caps_words": 0.02777778,
        "curly_bracket": 0.01515152,
        "lorem_ipsum": 0.00813008,
        "ldnoobw_words": 0.0,
        "stop_word_fraction": 0.27777778,
        "frac_chars_top_2gram": 0.12631579,
        "frac_chars_top_3gram": 0.18947368,
        "frac_chars_top_4gram": 0.23157895,
        "frac_chars_dupe_5grams": 0.35789474,
        "frac_chars_dupe_6grams": 0.35789474,
        **{f"frac_chars_dupe_{n}grams": 0.0 for n in (7, 8, 9, 10)},
        "lines_javascript_counts": [0.0, 0.0, 0.0, 1.0, 0.0],
        "lines_ending_with_terminal_punctution_mark": [1.0, 0.0, 1.0, 0.0, 0.0],
        "lines_num_words": [6, 0, 13, 8, 2],
        "lines_uppercase_letter_fraction": [0.22580645, 0.0, 0.0, 0.04878049, 0.0],
        "lines_numerical_chars_fraction": [0.0, 0.0, 0.0, 0.07894737, 0.0],
        "lines_start_with_bulletpoint": [0.0, 0.0, 1.0, 0.0, 0.0],
    }
    assert reference.signals(GOLDEN)["rps_doc_frac_unique_words"] == 0.75862069


@settings(max_examples=400)
@given(st.lists(documents, min_size=1, max_size=12))
def test_every_value_is_that_of_the_published_formulas(lists: Resources, texts: list[str]) -> None:
    found = score(pa.array(texts), COUNTED, resources=lists).to_pylist()
    assert found == [expected(text) for text in texts]


def test_every_code_point_is_normalised_as_python_does_it() -> None:
    # Between letters, so that each meets the rules for what is before and after it.
    letters = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    texts = ["".join(f"{x}a{x}Σ{x} A{x}" for x in letters[at : at + 64]) for at in range(0, len(letters), 64)]
    texts = texts[: 0x32000 // 64] + texts[0xE0000 // 64 : 0xE1000 // 64]
    names = ["rps_doc_mean_word_length", "rps_doc_frac_all_caps_words", "rps_doc_num_sentences", "rps_doc_word_count"]
    names += ["rps_doc_frac_unique_words", "rps_lines_numerical_chars_fraction", "rps_lines_uppercase_letter_fraction"]
    found = score(pa.array(texts), names).to_pylist()
    for text, row in zip(texts, found, strict=True):
        wanted = reference.signals(text)
        assert row == {name: wanted[name] for name in names}, ascii(text[:1])


def real_texts(real_data: Path) -> dict[str, list[str]]:
    by_language: dict[str, list[str]] = {}
    for line in (real_data / "langid/flores_sentences.tsv").read_text(encoding="utf-8").splitlines():
        language, _, sentence = line.partition("\t")
        by_language.setdefault(language, []).append(sentence)
    texts = {language: ["\n".join(s[at : at + 12]) for at in range(0, 120, 12)] for language, s in by_language.items()}
    with zstandard.open(real_data / "corpora/pile_sample.jsonl.zst", "rb") as stream:
        lines = io.TextIOWrapper(stream, encoding="utf-8")
        texts["en"] += [json.loads(line)["text"] for line, _ in zip(lines, range(150), strict=False)]
    for path in sorted((real_data / "wiki/minidumps").glob("*.bz2")):
        pages = bz2.decompress(path.read_bytes()).decode().split("<page>")
        texts["en"].append(pages[1][:20_000])
    return texts


def test_real_text_in_25_languages_has_the_values_of_the_published_formulas(real_data: Path) -> None:
    resources = real_lists(real_data)
    texts = real_texts(real_data)
    assert len(texts) == 25
    for language, of_language in texts.items():
        path = real_data / f"wordlists/stopwords_json/{language}.json"
        stop = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
        bad: list[str] = []
        if language in ("en", "fr", "it", "es", "de"):
            bad = json.loads((real_data / f"wordlists/ldnoobw/{language}.json").read_text(encoding="utf-8"))
        found = score(pa.array(of_language), COUNTED, language=language, resources=resources).to_pylist()
        for text, row in zip(of_language, found, strict=True):
            wanted = reference.signals(text, stop or (), bad)
            if stop is None:
                wanted["rps_doc_stop_word_fraction"] = None
            assert row == {name: wanted[name] for name in COUNTED}, (language, text[:80])


def test_stop_lists_are_those_of_the_published_code(real_data: Path) -> None:
    from redpajama_pipe.signals.resources import STOP_WORDS as PACKAGE

    published = {
        "en": (570, "8b22cdb3811112c4"),
        "de": (596, "becbb8dd0255f262"),
        "fr": (606, "6ecf4c7cf6fa57b3"),
        "es": (577, "fb457069dbc93db0"),
        "it": (619, "c45c671bafef71d2"),
    }
    for language, found in published.items():
        listed = real_lists(real_data).words(PACKAGE, language)
        assert listed is not None
        assert (len(listed), hashlib.sha256("\n".join(sorted(listed)).encode()).hexdigest()[:16]) == found


def test_empty_and_null_documents_have_the_published_nulls_and_zeros(lists: Resources) -> None:
    empty, null, blank = score(pa.array(["", None, " \n"]), COUNTED, resources=lists).to_pylist()
    assert set(map(str, null.values())) == {"None"}
    assert empty == expected("")
    assert empty["rps_lines_start_with_bulletpoint"] == [None]
    assert empty["rps_lines_num_words"] == []
    assert blank == expected(" \n")
    assert {name for name, value in empty.items() if value is None} == {
        f"rps_doc_{name}"
        for name in (
            "mean_word_length",
            "symbol_to_word_ratio",
            "frac_lines_end_with_ellipsis",
            "frac_no_alph_words",
            "frac_unique_words",
            "unigram_entropy",
            "frac_all_caps_words",
        )
    }


@given(st.lists(st.none() | documents, max_size=5), st.sampled_from([pa.string(), pa.large_string()]), st.data())
def test_values_do_not_depend_on_the_batch(
    lists: Resources, texts: list[str | None], kind: pa.DataType, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, len(texts)))
    alone = [score(pa.array([text], kind), COUNTED, resources=lists).to_pylist()[0] for text in texts]
    found = score(pa.array(texts, kind).slice(start), COUNTED, resources=lists)
    assert found.to_pylist() == alone[start:]
    assert found.schema == pa.schema([(name, SIGNALS[name].type) for name in COUNTED])


@pytest.mark.parametrize("name", COUNTED)
def test_a_signal_alone_has_the_value_it_has_among_all(name: str, lists: Resources) -> None:
    text = GOLDEN + " very bad word"
    assert score(pa.array([text]), [name], resources=lists).to_pylist() == [{name: expected(text)[name]}]


@given(documents)
def test_every_value_lies_in_its_range(text: str) -> None:
    names = [name for name in COUNTED if name not in (redpajama_v2.STOP_WORD_FRACTION, redpajama_v2.BAD_WORD_COUNT)]
    for name, value in score(pa.array([text]), names).to_pylist()[0].items():
        least, most = SIGNALS[name].range
        for number in value if isinstance(value, list) else [value]:
            assert number is None or (least <= number and (most is None or number <= most)), name


def test_languages_of_one_batch_have_their_own_lists(real_data: Path) -> None:
    text = "der the die a und of mit"
    languages = pa.array(["en", "de", "ru", "xx", None, "en"])
    names = [redpajama_v2.STOP_WORD_FRACTION, redpajama_v2.BAD_WORD_COUNT]
    found = score(pa.array([text] * 6), names, language=languages, resources=real_lists(real_data)).to_pydict()
    assert found[names[0]] == [0.42857143, 0.71428571, 0.0, None, None, 0.42857143]
    assert found[names[1]] == [0.0, 0.0, 0.0, 0.0, None, 0.0]


def test_bad_words_are_matched_as_they_are_spelt(lists: Resources) -> None:
    texts = ["very bad word", "bad-word", "Very BAD, very bad", "cafe\u0301 café", "ab ba ab ba", "x", "very"]
    found = score(pa.array(texts), [redpajama_v2.BAD_WORD_COUNT], resources=lists)[0].to_pylist()
    # In the first: bad, very bad, very bad word. Normalised text is decomposed, so only that spelling of café is met.
    assert found == [3.0, 0.0, 4.0, 2.0, 2.0, 1.0, 0.0]


def test_lists_by_name_must_be_installed_but_all_signals_go_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REDPAJAMA_PIPE_WORD_LISTS", raising=False)
    nowhere = Resources(word_lists=str(tmp_path))
    for name in (redpajama_v2.STOP_WORD_FRACTION, redpajama_v2.BAD_WORD_COUNT):
        with pytest.raises(SetupError, match=r"no word lists of .* in .*: redpajama-pipe fetch-word-lists"):
            score(pa.array(["a"]), [name], resources=nowhere)
    row = redpajama_v2.compute(documents_of("a"), [signal.name for signal in redpajama_v2.SIGNALS])
    assert row[redpajama_v2.STOP_WORD_FRACTION].null_count == row[redpajama_v2.BAD_WORD_COUNT].null_count == 1
    assert list(row) == [signal.name for signal in redpajama_v2.SIGNALS]
    whole = score(pa.array(["a"]), list(row), resources=nowhere)
    assert whole[redpajama_v2.STOP_WORD_FRACTION].null_count == 1
    with pytest.raises(SetupError):
        score(pa.array(["a"]), list(row)[:-1], resources=nowhere)


def documents_of(text: str):  # type: ignore[no-untyped-def]
    from redpajama_pipe.signals.signal import Documents
    from redpajama_pipe.text.buffers import utf8

    texts = pa.array([text])
    return Documents(texts, utf8(texts), "en", None, Resources(word_lists=os.devnull), lenient=True)


def test_of_equally_frequent_bigrams_the_first_counts() -> None:
    assert one("bbb ccc x bbb ccc y a b z a b", "doc_frac_chars_top_2gram") == [round(12 / 19, 8)]
    assert one("a b x a b y bbb ccc z bbb ccc", "doc_frac_chars_top_2gram") == [round(4 / 19, 8)]
    assert one("a a a a", "doc_frac_chars_top_2gram") == [1.5]  # overlapping ones count in full


def test_lorem_ipsum_is_counted_in_either_case_rule_only_where_it_stands_exactly() -> None:
    assert one("lorem ıpſum", "doc_lorem_ipsum") == [0.0]
    assert one("lorem ipsum lorem ıpſum", "doc_lorem_ipsum") == [round(2 / 23, 8)]
    assert one("LO-REM\n\n(ipsum)", "doc_lorem_ipsum") == [round(1 / 11, 8)]
    assert one("xlorem ipsumx", "doc_lorem_ipsum") == [round(1 / 13, 8)]
    assert one("lorem\u0301 ipsum", "doc_lorem_ipsum") == [0.0]


def test_marks_in_another_order_make_the_same_word() -> None:
    assert one("a\u0301\u0323 a\u0323\u0301 ạ\u0301 á\u0323", "doc_frac_unique_words") == [0.25]
    assert one("a\u0301\u0302 a\u0302\u0301", "doc_frac_unique_words") == [1.0]  # of one class: order matters
    run = "\u0301\u0323\u0327" * 300
    assert one(f"x{run} x{''.join(sorted(run))}", "doc_frac_unique_words") == [
        reference.signals(f"x{run} x{''.join(sorted(run))}")["rps_doc_frac_unique_words"]
    ]


def test_final_sigma_looks_across_deleted_punctuation_and_ignorable_characters() -> None:
    for text in (
        "ΟΔΟΣ οδος",
        "ΟΔΟΣ οδοσ",
        "Α'Σ ας",
        "Σ ς",
        "Σ σ",
        "ΑΣ'Α ασα",
        "ΑΣ\u00ad.Α ασ\u00adα",
        "ΑΣ1 ας1",
        "1Σ 1σ",
    ):
        wanted = reference.signals(text)["rps_doc_frac_unique_words"]
        assert one(text, "doc_frac_unique_words") == [wanted], text


def test_malformed_utf8_is_never_read_past_its_end() -> None:
    pieces = [
        b"\xf4",
        b"a\xe2\x80",
        b"\xff\xff\xff\xff",
        b"\x80\x80",
        b"\xce",
        b"ok the\xce\xa3",
        b"!!!!!",
        b"\x01" * 6,
    ]
    offsets = np.cumsum([0, *map(len, pieces)]).astype(np.int32)
    array = pa.StringArray.from_buffers(len(pieces), pa.py_buffer(offsets), pa.py_buffer(b"".join(pieces)))
    names = ["rps_doc_word_count", "rps_doc_frac_unique_words", "rps_lines_num_words"]
    assert score(array, names)[0].to_pylist() == [1, 1, 1, 1, 1, 2, 0, 1]


@settings(max_examples=500)
@given(
    st.lists(
        st.floats(0, 1e9)
        | st.builds(lambda a, b: a / 2**b, st.integers(0, 10**9), st.integers(9, 40))
        | st.builds(lambda a, b: a / b, st.integers(0, 10**6), st.integers(1, 10**6))
        | st.builds(lambda a: (a + 0.5) / 1e8, st.integers(0, 10**9)),
        min_size=1,
    )
)
def test_rounding_is_pythons(values: list[float]) -> None:
    array = np.array(values)
    round_8(array)
    assert array.tolist() == [round(value, 8) for value in values]


def test_ties_go_to_the_even_digit() -> None:
    array = np.array([1 / 512, 3 / 512])
    round_8(array)
    assert array.tolist() == [0.00195312, 0.00585938]


def test_a_40_megabyte_document_is_scored() -> None:
    sentence = "Nothing of this repeats within a sentence, but the whole of it does.\n"
    text = sentence * (40_000_000 // len(sentence))
    row = score(pa.array([text]), ["rps_doc_num_sentences", "rps_doc_frac_chars_dupe_10grams"]).to_pylist()[0]
    assert row == {"rps_doc_num_sentences": float(len(text) // len(sentence)), "rps_doc_frac_chars_dupe_10grams": 1.0}


def test_one_word_of_900_000_characters_takes_linear_time() -> None:
    text = "Σ'" * 300_000 + "\u0301\u0323" * 300_000
    row = score(pa.array([text]), ["rps_doc_word_count", "rps_doc_mean_word_length"]).to_pylist()[0]
    assert row == {"rps_doc_word_count": 1, "rps_doc_mean_word_length": 900_000.0}


def test_more_distinct_words_than_the_first_table_holds() -> None:
    text = " ".join([f"w{i}" for i in range(9000)] * 2)
    assert one(text, "doc_frac_unique_words", "doc_frac_chars_dupe_10grams") == [0.5, 1.0]


def test_threads_give_the_same_values(lists: Resources) -> None:
    texts = pa.array([GOLDEN, "ΟΔΟΣ á very bad word " * 300] * 20)
    wanted = score(texts, COUNTED, resources=lists).to_pylist()
    found: list[list[dict[str, object]]] = []
    threads = [
        threading.Thread(target=lambda: found.append(score(texts, COUNTED, resources=lists).to_pylist()))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [wanted] * 4


def test_kernels_know_the_flags_of_the_tables() -> None:
    for name in ("SPACE", "WORD", "UPPER", "NOT_UPPER", "LETTER", "STOP", "MARK", "KEPT", "CASED", "IGNORABLE", "LONG"):
        assert getattr(redpajama_v2_kernels, name) == getattr(normalise, name)


def test_every_published_name_is_there() -> None:
    importance = [
        f"{d}_importance{c}" for d in ("wikipedia", "openwebtext", "books") for c in ("", "_length_correction")
    ]
    models = [f"ml_{domain}_score" for domain in ("wikiref", "palm", "wikipedia")]
    wanted = {f"rps_doc_{name}" for name in [*importance, *models, "ut1_blacklist"]} | set(reference.signals(""))
    assert {signal.name for signal in redpajama_v2.SIGNALS} == wanted
