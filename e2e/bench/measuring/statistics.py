"""From many numbers to the few that are printed. Pure.

Percentiles are of what was seen, never interpolated between two values. A comparison is paired: two subjects that were
measured right after one another saw the same machine, so their ratio in each round says more than the ratio of their
medians.
"""

import random
from collections.abc import Sequence
from typing import NamedTuple

RESAMPLES = 4000


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest seen value that at least this share (0..1) does not exceed."""
    if not values:
        raise ValueError("there is nothing to take a percentile of")
    ordered = sorted(values)
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]


def median(values: Sequence[float]) -> float:
    """The value in the middle, or the mean of the two."""
    ordered, half = sorted(values), len(values) // 2
    if not ordered:
        raise ValueError("there is nothing to take a median of")
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


class Paired(NamedTuple):
    """The median of the rounds' ratios, and the range that 95 % of resamplings of the rounds give."""

    ratio: float
    low: float
    high: float

    def sentence(self, ours: str, theirs: str) -> str:
        """Say it in words."""
        said = (
            f"{ours} takes {self.ratio:.2f} times as long as {theirs} (95 % interval {self.low:.2f} to {self.high:.2f})"
        )
        return said if not self.low <= 1 <= self.high else f"{said}: no difference is shown"


def paired(ours: Sequence[float], theirs: Sequence[float], *, seed: int = 1) -> Paired:
    """Compare round by round: `ours[i]` and `theirs[i]` are of the same round."""
    ratios = [mine / other for mine, other in zip(ours, theirs, strict=True)]
    draw = random.Random(seed)
    medians = sorted(median(draw.choices(ratios, k=len(ratios))) for _ in range(RESAMPLES))
    return Paired(median(ratios), percentile(medians, 0.025), percentile(medians, 0.975))
