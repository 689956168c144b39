"""A run to train on, made as those of tests/unit/tokens are."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent.parent / "tokens"))  # made_run


@pytest.fixture(scope="session")
def pattern_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two shards of documents that repeat four patterns: 60 steps in one epoch."""
    from made_run import make_run
    from training_factory import BATCH, SEQ_LEN, pattern_documents

    documents = pattern_documents(80)
    folder = tmp_path_factory.mktemp("pattern")
    return make_run(folder, [documents[:30], documents[30:]], seq_len=SEQ_LEN, batch_size=BATCH)
