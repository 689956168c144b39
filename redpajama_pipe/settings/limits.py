"""What numbers of a recipe may be: one check for every section, so that NaN and infinity are thought of once."""

from __future__ import annotations

import math
from typing import Any

from redpajama_pipe.errors import RecipeError

# the least and the most, both allowed
Limits = tuple[float, float]
NATURAL: Limits = (1, math.inf)
WHOLE: Limits = (0, math.inf)
SHARE: Limits = (0, 1)
SEED: Limits = (0, 2**32 - 1)  # of NumPy's RandomState


def check_limits(settings: Any, where: str, **limits: Limits) -> None:
    """Check numbers of a section.

    Args:
        settings: the section.
        where: its name, which errors begin with; empty: of the recipe itself.
        limits: of each number, by its key.

    Raises:
        RecipeError: one is outside, NaN or infinite.
    """
    for key, (least, most) in limits.items():
        value = getattr(settings, key)
        if not (least <= value <= most and math.isfinite(value)):
            wanted = f"{least} or more" if most == math.inf else f"{least} to {most}"
            found = f"{value:g}" if isinstance(value, float) else value
            raise RecipeError(f"{f'{where}.' if where else ''}{key} is {found}; give {wanted}")
