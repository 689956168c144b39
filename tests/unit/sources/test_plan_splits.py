"""Finding files and naming them."""

from __future__ import annotations

import random
from pathlib import Path

import fsspec
import pytest

from redpajama_pipe.errors import InputError
from redpajama_pipe.settings.source import Source
from redpajama_pipe.sources.plan import plan_splits


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    for name in ("a/1.jsonl", "a/2.jsonl.zst", "a/deep/er/3.jsonl", "b/4.jsonl", "b/notes.txt", "b/odd[1]?.jsonl"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    return tmp_path


def plan(*paths: str, **options: object) -> list[str]:
    source = Source("pile", "jsonl", paths, **options)  # type: ignore[arg-type]
    return [split.identity for split in plan_splits(source)]


def test_identities_are_relative_to_the_root(corpus: Path) -> None:
    expected = ["a/1.jsonl", "a/deep/er/3.jsonl", "b/4.jsonl", "b/odd[1]?.jsonl"]
    for root in (str(corpus), f"{corpus}/", f"file://{corpus}"):
        assert plan(f"{corpus}/**/*.jsonl", root=root) == expected


def test_identities_are_whole_paths_without_a_root(corpus: Path) -> None:
    assert plan(f"{corpus}/a/1.jsonl") == [f"{corpus}/a/1.jsonl"]
    assert plan(f"file://{corpus}/a/../a/1.jsonl") == [f"{corpus}/a/1.jsonl"]


def test_order_and_repeats_of_paths_change_nothing(corpus: Path) -> None:
    paths = [f"{corpus}/a/*", f"{corpus}/**/*.jsonl", f"{corpus}/b/4.jsonl", f"file://{corpus}/a/1.jsonl"]
    expected = plan(*paths, root=str(corpus))
    assert expected == sorted(set(expected))
    for seed in range(5):
        shuffled = random.Random(seed).choices(paths, k=3) + paths
        random.Random(seed).shuffle(shuffled)
        assert plan(*shuffled, root=str(corpus)) == expected


def test_uri_opens_the_file(corpus: Path) -> None:
    (split,) = plan_splits(Source("pile", "jsonl", (f"{corpus}/a/1.jsonl",), root=str(corpus)))
    assert Path(split.uri).read_text() == "{}"
    assert (split.source, split.start, split.end) == ("pile", 0, -1)


def test_links_are_files_and_one_that_leads_nowhere_is_not_passed_over(corpus: Path) -> None:
    (corpus / "b" / "link.jsonl").symlink_to("4.jsonl")
    (corpus / "b" / "lost.jsonl").symlink_to("nowhere")
    (corpus / "b" / "loop.jsonl").symlink_to(corpus / "a")
    assert plan(f"{corpus}/b/l*.jsonl", root=str(corpus)) == ["b/link.jsonl", "b/lost.jsonl"]


def test_name_that_is_not_unicode_is_an_error_or_excluded(corpus: Path) -> None:
    (corpus / "a" / "bad\udcff.jsonl").write_text("{}")
    with pytest.raises(InputError, match=r"the name of 'a/bad\\udcff\.jsonl' is not UTF-8"):
        plan(f"{corpus}/a/*.jsonl", root=str(corpus))
    assert plan(f"{corpus}/a/*.jsonl", root=str(corpus), exclude=("a/bad*",)) == ["a/1.jsonl"]


def test_exclude_takes_names_and_relative_paths(corpus: Path) -> None:
    assert plan(f"{corpus}/**", root=str(corpus), exclude=("*.txt", "a/*", "odd*")) == ["b/4.jsonl"]


def test_a_name_with_brackets_is_itself_before_it_is_a_pattern(corpus: Path) -> None:
    assert plan(f"{corpus}/b/odd[1]?.jsonl", root=str(corpus)) == ["b/odd[1]?.jsonl"]


def test_no_match_names_the_pattern_and_the_way_out(corpus: Path) -> None:
    with pytest.raises(InputError) as caught:
        plan(f"{corpus}/a/1.jsonl", f"{corpus}/*.parquet")
    assert str(caught.value) == (
        f"sources.pile: no file matches '{corpus}/*.parquet'; correct sources.pile.paths, "
        "or see that the files are where this machine can read them"
    )


def test_exclude_that_leaves_nothing_is_an_error(corpus: Path) -> None:
    with pytest.raises(InputError, match=r"exclude leaves none of 2 files of .*correct sources\.pile\.exclude"):
        plan(f"{corpus}/a/*", exclude=("*.jsonl*",))


def test_folder_is_an_error_that_says_what_to_write(corpus: Path) -> None:
    with pytest.raises(InputError, match=r"is a folder; '.*/a/\*\*' is every file in it"):
        plan(f"{corpus}/a/")


def test_file_outside_the_root_is_an_error(corpus: Path) -> None:
    with pytest.raises(InputError, match="is not below the root"):
        plan(f"{corpus}/b/4.jsonl", root=f"{corpus}/a")


def test_urls_are_listed_and_credentials_stay_out_of_identities() -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe({"/plan/x/1.jsonl": b"{}", "/plan/x/2.jsonl": b"{}"})
    try:
        assert plan("memory://plan/x/*.jsonl", root="memory://plan") == ["x/1.jsonl", "x/2.jsonl"]
        assert plan("memory://plan/x/1.jsonl") == ["memory://plan/x/1.jsonl"]
    finally:
        memory.rm("/plan", recursive=True)


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("https://User:pw@Data.Example.org/a/B.warc.gz?X-Amz-Signature=1#f", "https://data.example.org/a/B.warc.gz"),
        ("s3a://bucket/key?with#letters", "s3://bucket/key?with#letters"),
        ("file:///data/./x.warc", "/data/x.warc"),
    ],
)
def test_identity_of_a_url(uri: str, expected: str) -> None:
    from redpajama_pipe.sources.plan import _identity

    assert _identity(uri) == expected


def test_urls_that_differ_only_in_their_query_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from redpajama_pipe.sources import plan as module

    monkeypatch.setattr(module, "_expand", lambda pattern, name: [pattern])
    with pytest.raises(InputError, match="differ only in their query"):
        plan("https://example.org/get?id=1", "https://example.org/get?id=2")
    assert plan("https://example.org/get?id=1", "https://example.org/get?id=1") == ["https://example.org/get"]
