"""RefinedWeb's line corrections as DataComp-LM restates them: what they cut, and the share of words that goes with it.

Lines are pieces between "\\n". The removal of URLs from text, which the published recipe does first, is not done.
About 140 MB/s on one core, 90 where lines are short.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from redpajama_pipe.signals.cuts import SPANS, span_column
from redpajama_pipe.signals.signal import Documents, Family, Signal

SOURCE = (
    "RefinedWeb (Penedo et al. 2023, arXiv:2306.01116), as mlfoundations/dclm:"
    " baselines/baselines_configs/refinedweb.yaml and baselines/mappers/modifiers.py"
)

REMOVED = Signal(
    "refinedweb_removed_word_fraction",
    "of words",
    "words in what refinedweb_cuts takes out / words; a word is a piece between ASCII white space that begins with a"
    " letter or digit",
    SOURCE,
    "the document has no words",
    (0.0, 1.0),
    pa.float64(),
)
STOP_WORDS = Signal(
    "refinedweb_stop_word_count",
    "words",
    "occurrences of the, be, to, of, and, that, have, with as pieces of str.split(), in any case",
    SOURCE,
    "the document's language has no stop list: it is not English, or not known",
    (0.0, None),
    pa.int64(),
)
CUTS = Signal(
    "refinedweb_cuts",
    "spans of UTF-8 bytes",
    "the third and further newlines of a run; then lines with more than half of their characters in upper case, of"
    " digits only, like '3 likes', of one word; in lines of at most ten words: items in cart, Read more... at the end,"
    " Sign-in at the start; then white space around the text",
    SOURCE,
    "the document is null",
    (0.0, None),
    SPANS,
)


def compute(documents: Documents, wanted: Sequence[str]) -> dict[str, pa.Array]:
    """Compute some of this family's signals; see signals.score."""
    from redpajama_pipe.signals import refinedweb_kernels
    from redpajama_pipe.text.classes import classes

    data, offsets, valid = documents.utf8
    counts = np.zeros((len(valid), len(refinedweb_kernels.COUNTS)), np.int64)
    first = np.zeros(len(valid) + 1, np.int64)
    spans = refinedweb_kernels.correct(data, offsets, valid, classes(), counts, first)
    words, kept = counts[:, 0], counts[:, 1]
    some = valid & (words > 0)
    fraction = np.divide(words - kept, words, out=np.zeros(len(words)), where=some)
    columns = {
        REMOVED.name: pa.array(fraction, mask=~some),
        STOP_WORDS.name: pa.array(counts[:, 2], mask=~(valid & documents.speaks(("en",)))),
        CUTS.name: span_column(spans, first, valid, refinedweb_kernels.REASONS, {}),
    }
    return {name: column for name, column in columns.items() if name in wanted}


FAMILY = Family("refinedweb", "RefinedWeb's line corrections", (REMOVED, STOP_WORDS, CUTS), compute)
