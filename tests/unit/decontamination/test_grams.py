from __future__ import annotations

import io
import json
import unicodedata
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from redpajama_pipe.decontamination.evaluation_sets import Example, Examples, read_set
from redpajama_pipe.decontamination.index import Index, build_index, load, save
from redpajama_pipe.settings.decontaminate import Decontaminate, EvaluationSet
from redpajama_pipe.text.scripts import SCRIPTS_WITHOUT_SPACES

TEXT = "Janet's ducks lay 16 eggs per day, and she eats three of them for her breakfast every morning"  # 19 words


def examples(*texts: str, name: str = "set") -> Examples:
    return Examples(name, [Example(str(number), text) for number, text in enumerate(texts)], "")


def found(index: Index, documents: Sequence[str | None]) -> set[tuple[int, str]]:
    """Find (document, n-gram), and check that each stands where it is said to stand."""
    hits = index.find(pa.array(documents, pa.string())).tolist()
    for document, run, start, end in hits:
        text = str(documents[document]).encode()[start:end].decode()
        assert index.text_of(run) == " ".join(REFERENCE[index.units](text))
    return {(document, index.text_of(run)) for document, run, _, _ in hits}


def alone(character: str) -> bool:
    return any(first <= ord(character) <= last for first, last in SCRIPTS_WITHOUT_SPACES)


def plain_words(text: str) -> list[str]:
    """Cut a text into words as `letters.lower_case_words` says, one character after the other."""
    words: list[str] = []
    inside = False
    for character in text:
        mark, letter = unicodedata.category(character).startswith("M"), character.isalnum()
        if letter and (not inside or alone(character) or alone(words[-1][0])):
            words.append("")
        inside = letter or (mark and inside)
        if inside:
            words[-1] += character.lower()
    return words


def plain_grams(text: str) -> list[str]:
    """Cut a text at white space and take out what is no letter, digit or mark of a word."""
    words = []
    for piece in text.split():
        left = "".join(c.lower() for c in piece if c.isalnum() or unicodedata.category(c).startswith("M"))
        while left and not left[0].isalnum():
            left = left[1:]
        words += [left] if left else []
    return words


REFERENCE: dict[str, Callable[[str], list[str]]] = {
    "words": plain_words,
    "grams": plain_grams,
    "lines": lambda text: text.split("\n"),
}


def plain_runs(text: str, units: str, n: int, least: int) -> set[str]:
    words = REFERENCE[units](text)
    if len(words) < n:
        return {" ".join(words)} if len(words) >= least else set()
    return {" ".join(words[at : at + n]) for at in range(len(words) - n + 1)}


@pytest.mark.parametrize("before", ["", "Words before it. "])
@pytest.mark.parametrize("after", ["", ". Words after it."])
def test_a_planted_example_is_found_at_the_start_in_the_middle_and_at_the_end(before: str, after: str) -> None:
    index = build_index([examples(TEXT)], Decontaminate())
    changed = TEXT.upper().replace(" ", " --\n“").replace("'", "’")
    hits = index.find(pa.array(["nothing of it " * 9, before + TEXT + after, None, "", before + changed + after]))
    assert [hits[hits[:, 0] == document, 1].tolist() for document in range(5)] == [
        [],
        list(range(7)),
        [],
        [],
        list(range(7)),
    ]
    first = hits[0].tolist()
    assert (before + TEXT + after).encode()[first[2] : first[3]].decode() == " ".join(TEXT.split()[:12])


def test_thirteen_words_are_found_and_twelve_are_not() -> None:
    index = build_index([examples(TEXT)], Decontaminate())
    words = TEXT.split()
    # "Janet's" is two words
    for at in range(1, len(words) - 12):
        assert len(index.find(pa.array([" ".join(["other", *words[at : at + 13], "words"])]))) == 1
        assert (
            len(index.find(pa.array([" ".join(["other", *words[at : at + 12], "words", *words[at + 13 :][:3]])]))) == 0
        )


def test_short_examples_are_looked_for_as_a_whole_or_not_at_all() -> None:
    texts = ("one two three four five six seven", "one two three four five six seven eight", TEXT)
    index = build_index([examples(*texts)], Decontaminate())
    assert index.counts() == {"set": {"examples": 3, "too_short": 1, "n": 13, "ngrams": 8}}
    assert index.example_runs.tolist() == [0, 1, 7]
    assert found(index, [f"so {texts[1]} nine", texts[0]]) == {(0, texts[1])}


def test_words_are_compared_and_not_only_their_hashes() -> None:
    index = build_index([examples(TEXT)], Decontaminate())
    table = index.table._replace(texts=index.table.texts.copy())
    table.texts[TEXT.index("she")] = ord("S")
    table.texts.flags.writeable = False
    same = Index(**{**index.__dict__, "table": table})
    assert len(same.find(pa.array([TEXT]))) == 7
    table.texts.flags.writeable = True
    table.texts[TEXT.index("she")] = ord("t")
    table.texts.flags.writeable = False
    assert len(same.find(pa.array([TEXT]))) == 0


ALPHABET = st.sampled_from(
    [*"aB1éÉ'-, \n\t_", "日", "本", "ก", "\u0301", "ß", "\u00a0", "\U0001f600", "\U00020000", "ж"]
)
TEXTS = st.text(ALPHABET, max_size=60)


@settings(max_examples=200)
@given(
    mode=st.sampled_from(["ngram", "gpt3"]),
    n=st.integers(1, 6),
    least=st.integers(1, 4),
    sets=st.lists(TEXTS, min_size=1, max_size=4),
    documents=st.lists(st.one_of(st.none(), TEXTS), max_size=5),
)
def test_finds_what_plain_python_finds(
    mode: str, n: int, least: int, sets: list[str], documents: list[str | None]
) -> None:
    chosen = Decontaminate(mode=mode, n=n, min_words=least)  # type: ignore[arg-type]
    index = build_index([examples(*sets)], chosen)
    units = index.units
    # parts of the examples are in the documents
    whole = [*documents, *(f"{sets[0][3:]} {text}" for text in sets)]
    wanted: set[str] = set()
    for text in sets:
        wanted |= plain_runs(text, units, n, least if mode == "ngram" else n)
    expected = set()
    for number, document in enumerate(whole):
        words = REFERENCE[units](document or "")
        for length in range(1, n + 1):
            inside = {" ".join(words[at : at + length]) for at in range(len(words) - length + 1)}
            expected |= {(number, run) for run in inside & wanted if len(run.split(" ")) == length}
    assert found(index, whole) == expected


def test_long_documents_are_found_in_across_pieces_of_the_scratch() -> None:
    index = build_index([examples(TEXT)], Decontaminate())
    for words in (1000, 1005, 1011, 1012, 1023, 1024, 2040):
        document = " ".join(["x"] * words) + " " + TEXT + " y" * 1500
        assert len(index.find(pa.array([document, document]))) == 14


def test_the_length_of_ngrams_follows_the_lengths_of_examples() -> None:
    long = examples(*([" ".join("abcdefghijklmnopqrst")] * 19), " ".join("abcdefghi"), name="long")
    short = examples("a b c", "a b c d", name="short")
    middle = examples(*([" ".join("abcdefghijk")] * 30), name="middle")
    index = build_index([long, short, middle], Decontaminate(mode="gpt3", n=0))
    # the 5th percentile is 9 words, 3, raised to 8, and 11
    assert index.lengths == (9, 8, 11)
    assert index.counts()["short"] == {"examples": 2, "too_short": 2, "n": 8, "ngrams": 0}
    assert build_index([long], Decontaminate(mode="gpt3")).lengths == (13,)


def test_lines_are_found_when_they_are_equal_and_long_enough() -> None:
    long = "It's one, two; three four five six seven eight nine!"  # 13 tokens, of which 3 are punctuation
    short = "It's one, two; three four five six seven eight nine"
    index = build_index([examples(f"{long}\n{short}\n\n")], Decontaminate(mode="dolma"))
    assert index.counts()["set"]["ngrams"] == 1
    documents = [f"a\n{long}\nb", long, f"{long} ", f"{short}\n{long.upper()}", f"\n\n{long}\n"]
    hits = index.find(pa.array(documents))
    assert hits[:, [0, 2]].tolist() == [[0, 2], [1, 0], [4, 2]]
    assert [documents[d][a:b] for d, _, a, b in hits.tolist()] == [long] * 3


def test_an_index_is_read_back(tmp_path: Path) -> None:
    index = build_index([examples(TEXT, "é" * 3), examples(TEXT, name="other")], Decontaminate(min_words=1))
    path = str(tmp_path / "index.npz")
    again = load(path, save(index, path))
    assert again.find(pa.array([TEXT])).tolist() == index.find(pa.array([TEXT])).tolist() != []
    assert again.counts() == index.counts()
    assert (again.example_ids, again.sets, again.lengths) == (index.example_ids, index.sets, index.lengths)
    assert again.examples_of(0).tolist() == [0, 2]


REAL = ("arc_challenge", "arc_easy", "boolq", "gsm8k_test", "lambada_openai", "piqa")


def test_real_sets_are_found_in_themselves_and_once_in_the_pile_sample(real_data: Path) -> None:
    sets = [read_set(EvaluationSet(name, (str(real_data / "evalsets" / f"{name}.jsonl"),))) for name in REAL]
    index = build_index(sets, Decontaminate())
    assert index.counts()["gsm8k_test"] == {"examples": 1319, "too_short": 0, "n": 13, "ngrams": 127455}
    piqa = index.find(pa.array([example.text for example in sets[-1].examples]))
    own = index.example_runs[index.example_set == len(sets) - 1]
    assert sorted(set(piqa[:, 0].tolist())) == np.flatnonzero(own).tolist()
    with open(real_data / "corpora" / "pile_sample.jsonl.zst", "rb") as file:
        lines = io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(file), "utf-8")
        texts = [json.loads(line)["text"] for line in islice(lines, 8338, 8438)]
    hits = index.find(pa.array(texts, pa.string()))
    # a page of OpenWebText2 quotes what a passage of BoolQ quotes; it is the only hit in all 24,197 documents
    assert hits[:, 0].tolist() == [0] * 4
    assert index.text_of(int(hits[0, 1])) == "a well regulated militia being necessary to the security of a free state"
    assert {index.sets[index.example_set[example]] for example in index.examples_of(int(hits[0, 1]))} == {"boolq"}
