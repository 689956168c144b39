import dataclasses
import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

from redpajama_pipe.errors import SetupError
from redpajama_pipe.signals import resources
from redpajama_pipe.signals.resources import BAD_WORDS, STOP_WORDS, Resources


def archive(files: dict[str, str]) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    return target.getvalue()


def test_archive_is_checked_and_its_lists_are_found(tmp_path: Path) -> None:
    data = archive(
        {
            "package/dist/en.json": '["the", "a"]',
            "package/dist/de.json": '["der"]',
            "package/stopwords-all.json": "{}",
            "package/package.json": "{}",
            "package/dist/../../../evil.json": "[]",
        }
    )
    package = dataclasses.replace(STOP_WORDS, sha256=hashlib.sha256(data).hexdigest())
    folder = resources.unpack(package, data, tmp_path / "lists")
    assert sorted(path.name for path in folder.iterdir()) == ["de.json", "en.json"]
    assert not list(tmp_path.rglob("evil.json"))
    found = Resources(word_lists=str(tmp_path / "lists"))
    assert found.has(STOP_WORDS)
    assert not found.has(BAD_WORDS)
    assert found.words(STOP_WORDS, "en") == frozenset({"the", "a"})
    assert found.words(STOP_WORDS, "xx") is None
    with pytest.raises(SetupError, match=r"stopwords-json-1\.2\.0\.tgz has sha256 .*, expected 37acf866"):
        resources.unpack(STOP_WORDS, data, tmp_path)


@pytest.mark.parametrize(
    "inside", ["stopwords-json/dist", "stopwords-json/package/dist", "stopwords_json", "stopwords-json"]
)
def test_layouts_of_the_package_are_known(tmp_path: Path, inside: str) -> None:
    (tmp_path / inside).mkdir(parents=True)
    (tmp_path / inside / "en.json").write_text('["the"]')
    assert Resources(word_lists=str(tmp_path)).words(STOP_WORDS, "en") == frozenset({"the"})


def test_folder_may_come_from_the_environment_or_be_the_usual_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for base in (tmp_path / "given", tmp_path / "cache/redpajama_pipe/word_lists"):
        (base / "naughty-words").mkdir(parents=True)
        (base / "naughty-words/en.json").write_text(json.dumps([base.name]))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("REDPAJAMA_PIPE_WORD_LISTS", raising=False)
    assert Resources().words(BAD_WORDS, "en") == frozenset({"word_lists"})
    monkeypatch.setenv("REDPAJAMA_PIPE_WORD_LISTS", str(tmp_path / "given"))
    assert Resources().words(BAD_WORDS, "en") == frozenset({"given"})


@pytest.mark.parametrize("text", ["{", '{"a": 1}', "[1]"])
def test_a_file_that_is_no_list_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "naughty-words").mkdir()
    (tmp_path / "naughty-words/en.json").write_text(text)
    with pytest.raises(SetupError, match=r"en\.json is not a word list"):
        Resources(word_lists=str(tmp_path)).words(BAD_WORDS, "en")


def test_missing_lists_say_how_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(SetupError) as refused:
        Resources(word_lists=str(tmp_path)).words(BAD_WORDS, "en")
    assert str(refused.value) == (
        f"no word lists of naughty-words in {tmp_path}: redpajama-pipe fetch-word-lists fetches them; or "
        "unpack https://registry.npmjs.org/naughty-words/-/naughty-words-1.2.0.tgz to "
        f"{tmp_path / 'naughty-words'}, or set annotate.word_lists or REDPAJAMA_PIPE_WORD_LISTS"
    )


def test_bad_words_of_the_artifacts_folder_come_first(tmp_path: Path) -> None:
    import pyarrow as pa

    from redpajama_pipe.signals import score

    (tmp_path / "bad_words").mkdir()
    (tmp_path / "bad_words/en.txt").write_text("rude\nvery rude\n")
    (tmp_path / "lists/naughty-words").mkdir(parents=True)
    (tmp_path / "lists/naughty-words/en.json").write_text('["polite"]')
    found = Resources(word_lists=str(tmp_path / "lists"), artifacts=str(tmp_path))
    texts = pa.array(["a very rude, polite word"])
    assert score(texts, ["rps_doc_ldnoobw_words"], resources=found)[0].to_pylist() == [2.0]
