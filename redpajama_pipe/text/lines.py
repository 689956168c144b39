"""Lines between newlines in kernels, 64 bytes at once.

The kernels that call it are cached with it: delete their caches after a change of this file.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from redpajama_pipe.text.blocks import BLOCK, first_one, within
from redpajama_pipe.text.lean import lean


@lean
def line_end(text: NDArray[np.uint8], at: int, end: int) -> Any:
    """Return where the next newline of text[at:end] stands, or the end; BLOCK bytes after it may be read."""
    place: Any = at
    while place < end:
        newlines = within(text, np.uint64(place), 0x0A, 0x0A)
        if newlines:
            return min(place + first_one(newlines), end)
        place += BLOCK
    return end
