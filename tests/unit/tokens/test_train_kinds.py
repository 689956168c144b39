import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from redpajama_pipe import storage
from redpajama_pipe.errors import RecipeError, SetupError
from redpajama_pipe.recipe import load
from redpajama_pipe.run_folder import RunFolder
from redpajama_pipe.stages import train_tokenizer as stage
from redpajama_pipe.tokens.encode import Encoder, open_encoder
from redpajama_pipe.tokens.spec import find_file, load_spec
from redpajama_pipe.tokens.train import train_byte_level_bpe, train_tokenizer

TEXTS = [f"line {n}\n\n\tindented  twice   {n * n}\r\nthe end of the text, naïve 日本 {n}" for n in range(200)]
KINDS = {"sample_spm": 340, "sample_bpe": 340, "sample_unigram": 290}  # and how many pieces the text gives
odd_texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="▁"), max_size=60)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("kinds")
    made: dict[str, Path] = {}

    def train(name: str) -> Path:
        if name not in made:
            prefix = str(folder / name / "tokenizer")
            made[name] = Path(train_tokenizer(load_spec(name), TEXTS, prefix, KINDS[name]))
        return made[name]

    return train


def both(name: str, path: Path) -> tuple[Encoder, Encoder]:
    spec = load_spec(name)
    return open_encoder(spec, path), open_encoder(spec, path, "reference")


@pytest.mark.parametrize("name", list(KINDS))
def test_engines_agree_and_text_comes_back(trained: Callable[[str], Path], name: str) -> None:
    fast, reference = both(name, trained(name))
    # gigatoken cannot read a unigram model
    assert fast.engine == ("reference" if name == "sample_unigram" else "gigatoken")
    assert fast.vocab_size == reference.vocab_size == KINDS[name]

    @given(st.lists(odd_texts | st.sampled_from(TEXTS), max_size=5))
    def check(texts: list[str]) -> None:
        array = pa.array(texts, pa.string())
        ids, offsets = fast.encode_batch(array)
        expected, borders = reference.encode_batch(array)
        assert (ids.tolist(), offsets.tolist()) == (expected.tolist(), borders.tolist())
        for text, begin, end in zip(texts, offsets[:-1], offsets[1:], strict=True):
            if "<" not in text:  # where a special token begins
                assert fast.decode(ids[begin:end]) == text

    check()


@pytest.mark.parametrize("name", list(KINDS))
def test_special_tokens_have_the_ids_of_the_catalogue(trained: Callable[[str], Path], name: str) -> None:
    spec = load_spec(name)
    encoder = open_encoder(spec, trained(name))
    assert encoder.decode([spec.eod_id]) == spec.eod


AGAIN = """
import sys
from redpajama_pipe.tokens.spec import load_spec
from redpajama_pipe.tokens.train import train_tokenizer
texts = [f"line {n}\\n\\n\\tindented  twice   {n * n}\\r\\nthe end of the text, naïve 日本 {n}" for n in range(200)]
train_tokenizer(load_spec(sys.argv[1]), texts, sys.argv[2], int(sys.argv[3]))
"""


@pytest.mark.parametrize("name", ["sample_bpe", "sample_unigram"])
def test_equal_text_gives_equal_bytes(trained: Callable[[str], Path], name: str, tmp_path: Path) -> None:
    # another process: another seed of every hash table
    subprocess.run([sys.executable, "-c", AGAIN, name, str(tmp_path / "again"), str(KINDS[name])], check=True)
    again = tmp_path / f"again{load_spec(name).model_suffix}"
    assert again.read_bytes() == trained(name).read_bytes()


def test_bpe_that_cannot_be_trained_is_one_line(tmp_path: Path) -> None:
    for texts, size, message in (
        (["the cat"] * 3, 32_000, r"vocab_size is 32000, but 21 characters of text give at most \d+ pieces; lower it"),
        (TEXTS, 257, "vocab_size is 257, but special tokens and bytes alone take 258"),
        ([], 300, "no text to train a tokenizer on"),
    ):
        with pytest.raises(RecipeError, match=message):
            train_byte_level_bpe(texts, str(tmp_path / "no"), size)
    with pytest.raises(RecipeError, match="special_ids of a trained tokenizer must be 0, 1"):
        train_byte_level_bpe(TEXTS, str(tmp_path / "no"), 300, {"</s>": 2})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", list(KINDS))
def test_spec_beside_the_file_names_it_byte_for_byte(trained: Callable[[str], Path], name: str, tmp_path: Path) -> None:
    model = tmp_path / trained(name).name
    model.write_bytes(trained(name).read_bytes())
    counts = stage.write_spec(load_spec(name), str(model), "made")
    path = tmp_path / f"{name}.yaml"
    first = path.read_bytes()
    stage.write_spec(load_spec(name), str(model), "made")
    assert path.read_bytes() == first
    spec = load_spec(str(path))
    assert (spec.trained, spec.vocab_size) == (False, KINDS[name])
    assert spec.sha256 == storage.sha256(str(model)) == counts["sha256"]
    assert len(spec.cases) == len(stage.GOLDEN)
    assert open_encoder(spec, find_file(spec, str(tmp_path))).vocab_size == KINDS[name]
    model.write_bytes(model.read_bytes() + b"\n")
    with pytest.raises(SetupError, match="no file in"):
        find_file(spec, str(tmp_path))


def test_published_tokenizer_is_not_trained(tmp_path: Path) -> None:
    recipe = load("sample")
    recipe = replace(recipe, tokenize=replace(recipe.tokenize, tokenizer="gpt_neox_20b"))
    with pytest.raises(RecipeError, match="gpt_neox_20b, which is published and not trained; choose sample_spm"):
        stage.run(lambda: pytest.fail("Spark"), recipe, RunFolder.at(str(tmp_path)), quiet=True)


def test_unigram_is_sentencepieces_alone(tmp_path: Path) -> None:
    path = tmp_path / "odd.yaml"
    path.write_text("kind: hf_json\nsource: x\neod: e\neod_id: 0\ntrained: true\nalgorithm: unigram\n")
    with pytest.raises(RecipeError, match="algorithm is unigram, which kind sentencepiece alone has"):
        load_spec(str(path))
