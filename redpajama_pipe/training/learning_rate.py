"""GPT-NeoX's learning rates: warm-up, then a cosine. Two published readings, which no run may mix.

`neox_v1.0` is the tag that Pythia was trained with. Its cosine runs towards zero over *all* of the decay steps, counted
from the end of the warm-up, and is cut off at the minimum: the published 143,000 steps reach it at step 115,139 and
stay there. `neox_head` runs from the peak to the minimum in exactly the steps that are left after the warm-up.

The optimiser's update u (the first is 1) uses iteration u - 1: GPT-NeoX moves its scheduler after the update. So under
neox_v1.0 the first update has rate 0 and changes nothing, as Pythia's step0 and step1 show; neox_head takes at least 1.

Source: EleutherAI/gpt-neox, megatron/learning_rates.py, AnnealingLR.get_lr, at v1.0, and at HEAD with the pull request
1379; issue 1373 there and issue 83 of EleutherAI/pythia for the first update.
"""

from __future__ import annotations

import math
from typing import Literal

Schedule = Literal["neox_v1.0", "neox_head"]


def learning_rate(
    iteration: int, peak: float, minimum: float, warmup: float, decay_steps: int, schedule: Schedule = "neox_v1.0"
) -> float:
    """Return the rate at an iteration.

    Args:
        iteration: updates done before this one, from 0.
        peak: rate at the end of the warm-up.
        minimum: rate that is never undercut after the warm-up.
        warmup: iterations of the warm-up; need not be whole: GPT-NeoX takes a share of the steps as it is.
        decay_steps: iterations of warm-up and decay together.
        schedule: which reading.
    """
    if schedule == "neox_v1.0":
        capped = min(iteration, decay_steps - warmup)
        if warmup > 0 and iteration <= warmup:
            return peak * capped / warmup
        return max(peak / 2 * (math.cos(math.pi * (capped - warmup) / decay_steps) + 1), minimum)
    if warmup > 0 and iteration <= warmup:
        return peak * max(1, iteration) / warmup
    cosine = math.cos(math.pi * (iteration - warmup) / (decay_steps - warmup)) + 1
    return max(minimum + (peak - minimum) / 2 * cosine, minimum)
