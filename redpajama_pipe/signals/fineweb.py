"""FineWeb's own line signals, as datatrove 0.10 counts them: about 2 GB/s on one core.

A line is a piece between "\\n" that is not blank, not stripped. FineWeb's fourth signal, newlines per token, is
datatrove_newline_word_ratio: it counts tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from redpajama_pipe.signals.datatrove import FINEWEB, TERMINAL_PUNCTUATION
from redpajama_pipe.signals.signal import Documents, Family
from redpajama_pipe.signals.tallied import Tallied, tallied_columns

PAPER = "FineWeb (Penedo et al. 2024, arXiv:2406.17557)"
NO_LINES = "the document has no line that is not blank"


@cache
def flags() -> NDArray[np.uint8]:
    """Return the flags of every code point, as fineweb_kernels names them: (2**21,), read-only."""
    from redpajama_pipe.signals import fineweb_kernels as kernels
    from redpajama_pipe.text import classes

    table = np.where(classes.classes() & classes.SPACE, kernels.SPACE, 0).astype(np.uint8)
    table[[ord(character) for character in TERMINAL_PUNCTUATION]] |= kernels.TERMINAL
    table.flags.writeable = False
    return table


def _fraction(name: str, unit: str, counts: str, tally: str, of: str) -> Tallied:
    source = f"{PAPER}; {FINEWEB}"
    return Tallied(f"fineweb_{name}", unit, counts, source, NO_LINES, (0.0, 1.0), pa.float64(), tally, of)


SIGNALS: tuple[Tallied, ...] = (
    _fraction(
        "punctuated_line_fraction",
        "of lines",
        "lines whose last character is one of datatrove's TERMINAL_PUNCTUATION; white space after it counts"
        " / lines (line_punct_ratio)",
        "punctuated_lines",
        "lines",
    ),
    _fraction(
        "short_line_fraction",
        "of lines",
        "lines of at most 30 characters / lines (short_line_ratio)",
        "short_lines",
        "lines",
    ),
    _fraction(
        "duplicate_line_char_fraction",
        "of characters",
        'characters of lines that equal an earlier one / characters of the text but "\\n" (char_dup_ratio)',
        "duplicate_chars",
        "chars",
    ),
)


def compute(documents: Documents, wanted: Sequence[str]) -> dict[str, pa.Array]:
    """Compute some of this family's signals; see signals.score."""
    from redpajama_pipe.signals import fineweb_kernels as kernels

    chosen = [signal for signal in SIGNALS if signal.name in wanted]
    data, offsets, valid = documents.utf8
    lines = np.zeros(len(valid), np.int64)
    kernels.newlines(data, offsets, valid, lines)
    tallies = kernels.tally(lambda: [(data, offsets, 0)], lines, np.diff(offsets), flags())
    some = valid & (tallies[:, kernels.TALLIES.index("lines")] > 0)
    return tallied_columns(chosen, kernels.TALLIES, tallies, some)


FAMILY = Family("fineweb", "FineWeb's line signals", SIGNALS, compute)
