"""Fixtures for every test. `real_data` is a folder of real sample data that is not part of the project."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# Kernels compile on first use, which no deadline should count.
settings.register_profile("default", deadline=None)
settings.load_profile("default")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Real crawl slices, dumps and tokenizers; tests that need them are skipped where they are absent."""
    folder = Path(os.environ.get("REDPAJAMA_PIPE_REAL_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real sample data at {folder}; set REDPAJAMA_PIPE_REAL_DATA")
    return folder
