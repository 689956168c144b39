from __future__ import annotations

from pathlib import Path

import pytest

from redpajama_pipe import manifest, storage
from redpajama_pipe.errors import ManifestError


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return str(tmp_path / "stage")


def commit(folder: str, data: bytes = b"rows", seconds: float = 1.0) -> manifest.Manifest:
    file = storage.write_bytes(storage.join(folder, "part.parquet"), data)
    return manifest.write(folder, "filter", {"documents": "abc"}, {"threshold": 1}, {"n": 4}, [file], seconds)


def test_an_output_without_a_manifest_does_not_exist(folder: str) -> None:
    storage.write_bytes(storage.join(folder, "part.parquet"), b"rows")
    assert manifest.find(folder) is None
    with pytest.raises(ManifestError, match=r"no finished output in .*run that stage first"):
        manifest.read(folder)


def test_what_was_written_is_read_back(folder: str) -> None:
    written = commit(folder)
    assert manifest.read(folder) == written


def test_same_request_is_current_and_another_is_not(folder: str) -> None:
    commit(folder)
    assert manifest.current(folder, "filter", {"documents": "abc"}, {"threshold": 1})
    assert manifest.current(folder, "filter", {"documents": "abd"}, {"threshold": 1}) is None
    assert manifest.current(folder, "filter", {"documents": "abc"}, {"threshold": 2}) is None


def test_hash_is_of_what_came_out_not_of_how_long_it_took(folder: str) -> None:
    first = commit(folder)
    assert commit(folder, seconds=9.0).hash == first.hash
    assert commit(folder, b"others").hash != first.hash


def test_a_missing_or_cut_file_is_no_output(folder: str) -> None:
    commit(folder)
    Path(folder, "part.parquet").write_bytes(b"ro")
    with pytest.raises(ManifestError, match=r"part.parquet has 2 bytes, _manifest.json says 4"):
        manifest.read(folder)
    Path(folder, "part.parquet").unlink()
    assert manifest.find(folder) is None


def test_an_edited_manifest_is_refused(folder: str) -> None:
    commit(folder)
    path = Path(folder, manifest.NAME)
    path.write_text(path.read_text().replace('"n": 4', '"n": 5'))
    with pytest.raises(ManifestError, match="was edited"):
        manifest.read(folder)


@pytest.mark.parametrize("text", ["{}", "[]", "null", '{"hash": "", "files": 5}', '{"hash": "", "files": [{"x": 1}]}'])
def test_json_that_is_no_manifest_is_refused(folder: str, text: str) -> None:
    commit(folder)
    Path(folder, manifest.NAME).write_text(text)
    with pytest.raises(ManifestError, match=r"_manifest\.json is no manifest .*; run the stage again"):
        manifest.read(folder)
    assert manifest.find(folder) is None


def test_a_file_is_whole_or_absent(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"

    def write_half() -> None:
        with storage.create(str(path)) as file:
            file.write(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()
    assert list(tmp_path.iterdir()) == []
