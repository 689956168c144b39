import hashlib
import itertools
import sys
import types
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import yaml

from redpajama_pipe import catalog
from redpajama_pipe.errors import CatalogError, RecipeError, SetupError
from redpajama_pipe.tokens.encode import Engine, open_encoder
from redpajama_pipe.tokens.spec import TokenizerFile, TokenizerSpec, find_file, load_spec, token_dtype

DATA = b'{"made": "up"}'
HASH = hashlib.sha256(DATA).hexdigest()
SPEC = TokenizerSpec(
    "made",
    "hf_json",
    "this test",
    "<e>",
    0,
    files=(TokenizerFile(HASH, len(DATA), "https://example.org/made.json", "someone/made", "tokenizer.json"),),
)
TRAINED = TokenizerSpec("own", "sentencepiece", "this test", "</s>", 2, trained=True)


@pytest.fixture(autouse=True)
def empty_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Hugging Face cache with nothing in it, and no package to fetch with."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    return tmp_path / "hub"


@pytest.mark.parametrize("name", catalog.entries("tokenize"))
def test_every_entry_is_whole(name: str) -> None:
    spec = load_spec(name)
    assert spec.name == name
    assert spec.special_ids[spec.eod] == spec.eod_id
    if not spec.trained:
        assert all(len(bytes.fromhex(file.sha256)) == 32 and file.size > 0 for file in spec.files)
        assert all(0 <= token < spec.vocab_size for case in spec.cases for token in case.ids)
        assert all(size >= spec.vocab_size for size in spec.padded_sizes.values())
        assert len(spec.cases) >= 5


def test_sizes_of_gpt_neox_20b() -> None:
    spec = load_spec("gpt_neox_20b")
    assert (spec.vocab_size, spec.eod_id) == (50_277, 0)
    assert spec.special_ids == {"<|endoftext|>": 0, "<|padding|>": 1}
    assert list(spec.padded_sizes.values()) == [50_304, 50_432, 50_688]


@pytest.mark.parametrize("engine", ["gigatoken", "reference"])
@pytest.mark.parametrize("name", [name for name in catalog.entries("tokenize") if not load_spec(name).trained])
def test_golden_cases_of_every_entry(name: str, engine: Engine, real_data: Path) -> None:
    spec = load_spec(name)
    sizes = {file.size for file in spec.files}
    folder = real_data / "tokenizers"
    if not any(path.stat().st_size in sizes for path in folder.iterdir()):
        pytest.skip(f"no file of {name} in {folder}")
    encoder = open_encoder(spec, find_file(spec, str(folder)), engine)
    assert encoder.engine == engine
    assert encoder.vocab_size == spec.vocab_size
    ids, offsets = encoder.encode_batch(pa.array([case.text for case in spec.cases]))
    got = [tuple(ids[start:stop].tolist()) for start, stop in itertools.pairwise(offsets)]
    assert got == [case.ids for case in spec.cases]


def written(tmp_path: Path, **changes: Any) -> str:
    tree = {**catalog.load("tokenize", "gpt2"), **changes}
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({key: value for key, value in tree.items() if value is not None}))
    return str(path)


def test_entry_can_be_a_file(tmp_path: Path) -> None:
    assert load_spec(written(tmp_path)).name == "mine"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vocab": 5}, r"unknown key 'vocab' \(did you mean 'vocab_size'\?\); known: name, kind, source, eod, "),
        ({"kind": "tiktoken"}, "kind: 'tiktoken' is not one of hf_json, sentencepiece"),
        ({"eod": None}, "missing key 'eod'"),
        ({"eod_id": 1}, "eod_id is 1, special_ids say 50256"),
        ({"files": None}, "files and vocab_size are needed, or trained: true"),
        ({"trained": True}, "a trained tokenizer has no files and no cases"),
    ],
)
def test_wrong_entries_are_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        load_spec(written(tmp_path, **changes))


def test_unknown_entry_lists_the_known() -> None:
    with pytest.raises(
        CatalogError, match="there are: gpt2, gpt_neox_20b, llama, mistral_v1, sample_bpe, sample_spm, sample_unigram"
    ):
        load_spec("nope")


@pytest.mark.parametrize(
    ("vocab_size", "dtype"), [(1, "uint16"), (50_277, "uint16"), (65_499, "uint16"), (65_500, "int32")]
)
def test_tokens_take_two_bytes_below_65500(vocab_size: int, dtype: str) -> None:
    assert token_dtype(vocab_size) == np.dtype(dtype)


def test_file_is_known_by_its_hash_whatever_its_name(tmp_path: Path) -> None:
    (tmp_path / "b.json").write_bytes(DATA)
    (tmp_path / "a.json").write_bytes(DATA[::-1])
    assert find_file(SPEC, str(tmp_path)) == find_file(SPEC, str(tmp_path / "b.json")) == tmp_path / "b.json"


def test_wrong_file_is_refused_with_both_hashes(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(DATA[::-1])
    other = hashlib.sha256(DATA[::-1]).hexdigest()
    with pytest.raises(SetupError, match=f"^made: .*a.json has sha256 {other}; expected {HASH}$"):
        find_file(SPEC, str(tmp_path / "a.json"))
    with pytest.raises(SetupError, match=f"^made: no file in .* is this tokenizer; expected {HASH}$"):
        find_file(SPEC, str(tmp_path))


def test_missing_file_is_one_line_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"^made: no tokenizer file .*nowhere; set tokenize\.path, or leave"):
        find_file(SPEC, str(tmp_path / "nowhere"))
    with pytest.raises(SetupError, match=r"^made: .* get it from https://example\.org/made\.json and set tokenize"):
        find_file(SPEC)


def test_hugging_face_cache_is_searched_for_the_right_revision(empty_hub: Path) -> None:
    for revision, data in (("1111", DATA[::-1]), ("2222", DATA)):
        file = empty_hub / "models--someone--made" / "snapshots" / revision / "tokenizer.json"
        file.parent.mkdir(parents=True)
        file.write_bytes(data)
    assert find_file(SPEC) == file


def hub(monkeypatch: pytest.MonkeyPatch, download: Any) -> None:
    module = types.ModuleType("huggingface_hub")
    module.hf_hub_download = download  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)


def test_file_is_fetched_from_the_hub_and_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def download(repo: str, file: str) -> str:
        asked.append((repo, file))
        return str(tmp_path / "fetched")

    hub(monkeypatch, download)
    (tmp_path / "fetched").write_bytes(DATA)
    assert find_file(SPEC) == tmp_path / "fetched"
    assert asked == [("someone/made", "tokenizer.json")]
    (tmp_path / "fetched").write_bytes(DATA[::-1])
    with pytest.raises(SetupError, match="fetched has sha256"):
        find_file(SPEC)


@pytest.mark.parametrize(
    ("error", "asked", "said"),
    [
        (ConnectionError("no network"), 1, "the Hub cannot be reached; get it from"),
        (FileNotFoundError("nor in the cache"), 1, "the Hub cannot be reached; get it from"),
        (OSError("401 of a gated repository"), 2, "the Hub has none that may be read; get it from"),
    ],
)
def test_hub_that_gives_nothing_is_a_missing_file(
    monkeypatch: pytest.MonkeyPatch, error: OSError, asked: int, said: str
) -> None:
    calls = []

    def download(repo: str, file: str) -> str:
        calls.append(repo)
        raise error

    hub(monkeypatch, download)
    two = replace(SPEC, files=(SPEC.files[0], replace(SPEC.files[0], repo="someone/else")))
    with pytest.raises(SetupError, match=f"made: no tokenizer file in .*, and {said}"):
        find_file(two)
    assert len(calls) == asked


@pytest.mark.usefixtures("empty_hub")
def test_without_the_hubs_package_the_error_says_so() -> None:
    with pytest.raises(SetupError, match="and huggingface_hub, which could fetch one, is not installed"):
        find_file(SPEC)


def test_trained_tokenizer_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_bytes(b"")
    with pytest.raises(SetupError, match=r"expected a \.model file"):
        find_file(TRAINED, str(tmp_path))
    (tmp_path / "own.model").write_bytes(b"anything")
    assert find_file(TRAINED, str(tmp_path)) == tmp_path / "own.model"
    with pytest.raises(SetupError, match="own: this tokenizer is trained by the recipe"):
        find_file(TRAINED)
