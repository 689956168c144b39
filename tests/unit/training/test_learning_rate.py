"""The two published learning rates, by their published values, and against a transcript of each published function."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redpajama_pipe.training.learning_rate import learning_rate

STEPS, WARMUP = 143_000, 1430.0


def pythia(iteration: int, schedule: str) -> float:
    """As a share of the peak."""
    return learning_rate(iteration, 1.0, 0.1, WARMUP, STEPS, schedule)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("iteration", "share"),
    [
        (0, 0.0),  # the first update changes nothing: step0 and step1 of every Pythia model are equal
        (1, 0.000699),
        (715, 0.5),
        (1430, 1.0),
        (71_500, 0.51571),
        (100_000, 0.21987),
        (115_138, 0.100006),
        (115_139, 0.1),
        (143_000, 0.1),
    ],
)
def test_version_1_0_has_the_published_values(iteration: int, share: float) -> None:
    assert pythia(iteration, "neox_v1.0") == pytest.approx(share, abs=5e-6)


def test_version_1_0_is_flat_from_step_115139() -> None:
    assert pythia(115_138, "neox_v1.0") > 0.1
    assert {pythia(iteration, "neox_v1.0") for iteration in range(115_139, STEPS + 1)} == {0.1}


@pytest.mark.parametrize(
    ("iteration", "share"),
    [(0, 1 / 1430), (1, 1 / 1430), (2, 2 / 1430), (1430, 1.0), (72_215, 0.55), (107_607, 0.231810), (143_000, 0.1)],
)
def test_head_has_its_values(iteration: int, share: float) -> None:
    # half of the decay is half-way between peak and minimum; three quarters: 0.1 + 0.45 * (1 - sqrt(1/2))
    assert pythia(iteration, "neox_head") == pytest.approx(share, abs=5e-6)


def test_the_two_differ_where_they_should() -> None:
    assert pythia(1000, "neox_v1.0") == pythia(1000, "neox_head")
    assert pythia(71_500, "neox_v1.0") < pythia(71_500, "neox_head")


class AnnealingLR:
    """What the published class computes, in its own order of operations and with its own names."""

    def __init__(self, start_lr: float, min_lr: float, warmup_iter: float, end_iter: int) -> None:
        self.start_lr, self.min_lr, self.warmup_iter, self.end_iter = start_lr, min_lr, warmup_iter, end_iter

    def at_1_0(self, num_iters: int) -> float:
        n = min(num_iters, self.end_iter - self.warmup_iter)
        if self.warmup_iter > 0 and num_iters <= self.warmup_iter:
            return float(self.start_lr) * n / self.warmup_iter
        n = n - self.warmup_iter
        return max(self.start_lr / 2.0 * (math.cos(math.pi * n / self.end_iter) + 1), self.min_lr)

    def at_head(self, num_iters: int) -> float:
        n = float(num_iters)
        if self.warmup_iter > 0 and num_iters <= self.warmup_iter:
            return float(self.start_lr) * max(1, n) / self.warmup_iter
        n = n - self.warmup_iter
        end = self.end_iter - self.warmup_iter
        lr = self.min_lr + ((self.start_lr - self.min_lr) / 2.0 * (math.cos(math.pi * n / end) + 1))
        return max(lr, self.min_lr)


@given(
    iteration=st.integers(0, 2_000),
    steps=st.integers(2, 2_000),
    share=st.floats(0, 0.5),
    peak=st.floats(1e-5, 1e-2),
)
def test_both_are_the_published_functions(iteration: int, steps: int, share: float, peak: float) -> None:
    published = AnnealingLR(peak, peak / 10, share * steps, steps)
    ours = [
        learning_rate(iteration, peak, peak / 10, share * steps, steps, schedule)
        for schedule in ("neox_v1.0", "neox_head")
    ]
    assert ours == pytest.approx([published.at_1_0(iteration), published.at_head(iteration)], rel=1e-12)
