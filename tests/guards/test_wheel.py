"""The wheel carries the same catalogue as the checkout, installed and as a zip on sys.path."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from redpajama_pipe import catalog

ROOT = Path(__file__).resolve().parent.parent.parent
LIST = "from redpajama_pipe import catalog; print([catalog.entries(kind) for kind in catalog.KINDS])"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a copy of what the repository holds."""
    folder = tmp_path_factory.mktemp("wheel")
    ignored = shutil.ignore_patterns(".git", ".venv", "build", "dist", "demo", "*.egg-info", ".*_cache", "__pycache__")
    shutil.copytree(ROOT, folder / "source", ignore=ignored)
    command = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        str(folder),
        str(folder / "source"),
    ]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout[-2000:] + built.stderr[-2000:]
    return next(folder.glob("*.whl"))


def entries_seen_by(command: list[str], cwd: Path) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=cwd).stdout.strip()


@pytest.mark.slow
def test_installed_wheel_lists_the_same_catalogue(wheel: Path, tmp_path: Path) -> None:
    environment = tmp_path / "environment"
    # the dependencies come from this environment, the package from the wheel alone
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    python = environment / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", "--no-deps", "pyyaml", str(wheel)], check=True, cwd=tmp_path)
    expected = str([catalog.entries(kind) for kind in catalog.KINDS])
    assert entries_seen_by([str(python), "-c", LIST], tmp_path) == expected
    version = entries_seen_by([str(environment / "bin" / "redpajama-pipe"), "--version"], tmp_path)
    assert version.startswith("redpajama-pipe ")


@pytest.mark.slow
def test_wheel_used_as_a_zip_lists_the_same_catalogue(wheel: Path, tmp_path: Path) -> None:
    archive = tmp_path / "redpajama_pipe.zip"
    shutil.copy(wheel, archive)
    program = f"import sys; sys.path[:0] = [{str(archive)!r}]; {LIST}; assert '.zip' in catalog.__file__"
    expected = str([catalog.entries(kind) for kind in catalog.KINDS])
    assert entries_seen_by([sys.executable, "-P", "-c", program], tmp_path) == expected
