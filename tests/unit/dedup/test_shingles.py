import hashlib
import tracemalloc
import unicodedata
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redpajama_pipe.dedup import shingles
from redpajama_pipe.dedup.minhash import MinHashSpec
from redpajama_pipe.dedup.normalizations import normalize_datatrove, normalize_redpajama_v2, normalize_slimpajama
from redpajama_pipe.dedup.shingles import shared_values, shingle_hashes
from redpajama_pipe.text.scripts import SCRIPTS_WITHOUT_SPACES

# Every kind of character there is, of all widths in UTF-8, and those whose lower case is wider or narrower.
CHARACTERS = (
    " \t\n\x00\x1c\u00a0\u3000.,_-'’aBz09éÉßẞİΣςǅⱥȺKЖ٣½ⅷ한हिन्दी\u0301日本々のカーｶﾞ・。กี่ລາខ្មែမြ𝒳𠀀😀\u200d\ufe0f"
)
TEXTS = st.text(st.sampled_from(CHARACTERS), max_size=120)
# Runs of ASCII long enough to be read 64 bytes at a time, broken by few other characters.
MOSTLY_ASCII = st.text(st.sampled_from("abcdefgXYZ0129  ,.\n\t_\x1c\x7f" * 4 + "é日\u0301"), min_size=60, max_size=500)
LONG_TEXTS = st.text(st.sampled_from(CHARACTERS), max_size=900)


def words(text: str, normalization: str) -> list[str]:
    """The words, by the rules as they are stated."""
    if normalization == "none":
        return text.split()
    if normalization == "redpajama_v2":
        return normalize_redpajama_v2(text).split()
    if normalization == "datatrove":
        return normalize_datatrove(text).split()
    if normalization == "slimpajama":
        return list(normalize_slimpajama(text))
    found: list[str] = []
    continues = False  # a letter would belong to the last word
    inside = False  # a mark would
    for character in text:
        lower = "i" if character == "İ" else character.lower()
        alone = any(first <= ord(character) <= last for first, last in SCRIPTS_WITHOUT_SPACES)
        if character.isalnum():
            if continues and not alone:
                found[-1] += lower
            else:
                found.append(lower)
            inside, continues = True, not alone
        elif unicodedata.category(character).startswith("M") and inside:
            found[-1] += lower
        else:
            inside = continues = False
    return found


def expected(text: str | None, size: int, normalization: str) -> list[int]:
    found = words(text or "", normalization)
    between = "" if normalization == "slimpajama" else " "
    pieces = {between.join(found[i : i + size]).encode() for i in range(len(found) - size + 1)}
    return sorted(int.from_bytes(hashlib.sha1(piece).digest()[:8], "little") for piece in pieces)


def sets(texts: pa.Array, size: int, normalization: str) -> list[list[int]]:
    spec = MinHashSpec(shingle=size, normalization=normalization)
    values, offsets = shingle_hashes(texts, spec)
    assert values.dtype == np.uint64
    assert offsets.dtype == np.int64
    assert len(offsets) == len(texts) + 1
    return [values[a:b].tolist() for a, b in pairwise(offsets)]


@pytest.mark.parametrize("normalization", shingles.NORMALIZATIONS)
@given(texts=st.lists(st.none() | TEXTS, max_size=6), size=st.integers(1, 6))
def test_sets_are_those_of_the_definition(texts: list[str | None], size: int, normalization: str) -> None:
    found = sets(pa.array(texts, pa.string()), size, normalization)
    assert found == [expected(text, size, normalization) for text in texts]


@given(texts=st.lists(st.none() | LONG_TEXTS, max_size=4), size=st.integers(1, 9))
def test_documents_longer_than_the_buffer_give_the_same(texts: list[str | None], size: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shingles, "_BUFFER", 2 * shingles._MARGIN)
        for normalization in ("words", "none", "slimpajama"):
            found = sets(pa.array(texts, pa.string()), size, normalization)
            assert found == [expected(text, size, normalization) for text in texts]


@pytest.mark.parametrize("normalization", ["words", "none"])
@settings(max_examples=50)
@given(texts=st.lists(MOSTLY_ASCII, min_size=1, max_size=3), size=st.integers(1, 6), small=st.booleans())
def test_ascii_read_in_blocks_gives_the_same(texts: list[str], size: int, small: bool, normalization: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        if small:
            patch.setattr(shingles, "_BUFFER", 3 * shingles._MARGIN)
        found = sets(pa.array(texts, pa.string()), size, normalization)
    assert found == [expected(text, size, normalization) for text in texts]


@pytest.mark.parametrize(
    "text",
    [
        "x" * 100_000,
        "x" * 100_000 + " y z",
        "a b c " + "x" * 100_000 + " d e f",
        " " * 200_000 + "a b" + "," * 200_000 + "c d",
        "日" * 60_000,
        "Ⱥ" * 40_000,
        "é" * 40_000 + " a " * 40_000,
        "a" + "\u0301" * 60_000 + " b c",
        " ".join(map(str, range(30_000))),
    ],
    ids=lambda text: f"{text[:8]}…{len(text)}",
)
def test_long_words_and_long_gaps(text: str) -> None:
    for normalization in ("words", "none", "slimpajama"):
        assert sets(pa.array(["one two three", text, "a b c"]), 3, normalization) == [
            expected(each, 3, normalization) for each in ("one two three", text, "a b c")
        ]


def test_punctuation_and_case_do_not_matter_to_words() -> None:
    plain, marked = sets(pa.array(["the cat sat on the mat", "“The CAT; sat — on_the (mat)!”"]), 2, "words")
    assert plain == marked
    assert len(plain) == 5


def test_characters_of_scripts_without_spaces_are_words() -> None:
    assert words("日本語です、OK", "words") == ["日", "本", "語", "で", "す", "ok"]
    assert words("กี่ครั้ง", "words") == ["กี่", "ค", "รั้", "ง"]
    together, apart = sets(pa.array(["日本語です、OK", "日 本 語 で す ok"]), 5, "words")
    assert together == apart
    assert len(together) == 2


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("我爱北京天安门。", 7),
        ("これはペンです。", 7),
        ("ฉันรักเธอ", 7),  # two vowel signs belong to the letter before them
        ("ຂ້ອຍຮັກເຈົ້າ", 8),
        ("ខ្ញុំស្រលាញ់អ្នក", 9),
        ("ငါမင်းကိုချစ်တယ်", 8),
        ("ᦂᦱᦉᦱᦟᦹᧉ", 7),  # New Tai Lue
        ("ᥖᥭᥰ", 3),  # Tai Le
        ("ᨣᩴᩣᨾᩮᩬᩥᨦ", 3),  # Tai Tham
        ("ꪼꪕ", 2),  # Tai Viet
        ("𑜒𑜑𑜪", 2),  # Ahom
        ("한국어 단어", 2),  # Korean has spaces
        ("बच्चे खेलते हैं", 3),  # as has Hindi
        ("བོད་སྐད", 2),  # Tibetan has a mark between syllables
    ],
)
def test_words_of_a_script_without_spaces_are_its_characters_with_their_marks(text: str, count: int) -> None:
    assert len(words(text, "words")) == count
    (found,) = sets(pa.array([text]), 1, "words")
    assert len(found) == len(set(words(text, "words")))


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_slices_nulls_and_empty_arrays(kind: pa.DataType) -> None:
    texts = ["no no no", None, "a b c", "", "a b c d", None, "only two", "zzz yyy xxx"]
    array = pa.array(texts, kind)
    assert sets(array[2:7], 3, "words") == [expected(text, 3, "words") for text in texts[2:7]]
    assert sets(array[2:2], 3, "words") == []
    assert sets(pa.nulls(2, kind), 3, "words") == [[], []]


def test_other_types_are_refused() -> None:
    with pytest.raises(TypeError, match="expected an Arrow array of string or large_string, found int64"):
        shingle_hashes(pa.array([1]), MinHashSpec())


def test_text_beneath_a_null_is_not_read() -> None:
    texts = pa.array(["a b c", "d e f", "g h i"])
    _, offsets, data = texts.buffers()
    hidden = pa.Array.from_buffers(pa.string(), 3, [pa.py_buffer(b"\x05"), offsets, data])
    assert hidden.to_pylist() == ["a b c", None, "g h i"]
    assert sets(hidden, 2, "none") == [expected(text, 2, "none") for text in ("a b c", None, "g h i")]


def test_malformed_utf8_neither_crashes_nor_reads_the_next_document() -> None:
    broken = [b"a b \xd0", b"\x96\xff\xfe", b"a \xed\xa0\x80 b", b"\xc0\x80" * 50, b"\xf7\xbf\xbf\xbf x", b"a b \xf0"]
    data = pa.array(broken, pa.binary())
    texts = pa.Array.from_buffers(pa.string(), len(data), data.buffers())
    for normalization in ("words", "none"):
        found = sets(texts, 1, normalization)
        assert found[0] == found[-1] == expected("a b", 1, normalization)


def test_memory_does_not_grow_with_the_document() -> None:
    texts = pa.array(["lorem ipsum dolor sit amet " * 300_000])  # 8 MB
    list(shingles.hash_runs(texts[:0], 5, "words"))
    tracemalloc.start()
    total = sum(len(runs.hashes) for runs in shingles.hash_runs(texts, 5, "words"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == 5 * 300_000 - 4
    assert peak < 2 << 20


def test_repeated_shingles_count_once() -> None:
    assert [len(found) for found in sets(pa.array(["a b " * 50]), 2, "words")] == [2]


SETS = st.lists(st.integers(0, 30), unique=True).map(sorted)


@given(SETS, SETS)
def test_shared_values_are_those_of_the_intersection(a: list[int], b: list[int]) -> None:
    assert shared_values(np.array(a, np.uint64), np.array(b, np.uint64)) == len(set(a) & set(b))


def test_normalize_redpajama_v2() -> None:
    assert normalize_redpajama_v2("  Don't  STOP,\n“Café”_1  ") == "dont stop “cafe\u0301”1"


def test_normalize_slimpajama() -> None:
    assert normalize_slimpajama("  Don't  STOP,\n“Café”_1 ! ") == "dont stop “café”1"
    assert normalize_slimpajama("\x1c a\u00a0\u3000b \x85") == "a b"
    # nltk's ngrams of a string: the characters of "ab c", three at a time
    assert sets(pa.array(["A'B  c"]), 3, "slimpajama") == [expected("ab c", 3, "slimpajama")]
    assert len(expected("ab c", 3, "slimpajama")) == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        # datatrove 0.10.1, simplify_text, then nltk 3.9, NLTKWordTokenizer
        ("The U.S. GDP grew 3.5% in 1,000 days!", "the u s gdp grew 0 in 0 days"),
        ("I cannot; you're gonna Wanna go", "i can not you re gon na wan na go"),
        ("wanna", "wan na"),
        ("gotta gimme lemme scannotx got ta", "got ta gim me lem me scannotx got ta"),
        ("Crème brûlée №5 — naïve…", "creme brulee №0 naive"),
        ("a‘b ‒ c;d \u037e ≮e", "a ‘ b ‒ c d ; < e"),
        ("١٢٫٥ و ३,४", "0 و 0"),
        ("东京 １２，３", "东京 0 0"),
        ("\x1c\u00a0 \u200b_", "\u200b"),
    ],
)
def test_normalize_datatrove(text: str, words: str) -> None:
    assert normalize_datatrove(text) == words
