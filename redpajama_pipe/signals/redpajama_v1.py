"""RedPajama-V1's signals of source code, those that need no tokenizer: about 400 MB/s on one core."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from redpajama_pipe.signals.signal import Documents, Family
from redpajama_pipe.signals.tallied import Tallied, tallied_columns

SOURCE = "togethercomputer/RedPajama-Data, rp_v1: data_prep/github/github_run_filter.py"
NO_TEXT = "the document is empty"

SIGNALS: tuple[Tallied, ...] = (
    Tallied(
        "redpajama_v1_max_line_length",
        "characters",
        "the longest line of str.splitlines()",
        SOURCE,
        "the document is null",
        (0.0, None),
        pa.int64(),
        "longest_line",
    ),
    Tallied(
        "redpajama_v1_mean_line_length",
        "characters",
        "characters of the text, line breaks too / lines of str.splitlines()",
        SOURCE,
        NO_TEXT,
        (0.0, None),
        pa.float64(),
        "chars",
        "lines",
    ),
    Tallied(
        "redpajama_v1_alphanumeric_char_fraction",
        "of characters",
        "characters for which str.isalnum() holds / characters",
        SOURCE,
        NO_TEXT,
        (0.0, 1.0),
        pa.float64(),
        "alphanumeric_chars",
        "chars",
    ),
)


def compute(documents: Documents, wanted: Sequence[str]) -> dict[str, pa.Array]:
    """Compute some of this family's signals; see signals.score."""
    from redpajama_pipe.signals import redpajama_v1_kernels
    from redpajama_pipe.text.classes import classes

    chosen = [signal for signal in SIGNALS if signal.name in wanted]
    data, offsets, valid = documents.utf8
    tallies = redpajama_v1_kernels.tally(data, offsets, valid, classes())
    return tallied_columns(chosen, redpajama_v1_kernels.TALLIES, tallies, valid)


FAMILY = Family("redpajama_v1", "RedPajama-V1's signals of source code", SIGNALS, compute)
