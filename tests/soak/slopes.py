"""Whether a quantity that was measured again and again has grown: a robust slope, and a judgement."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["FEWEST", "Limit", "Slope", "Verdict", "judge", "theil_sen"]

FEWEST = 9
"""Samples below which nothing is judged: three for each third."""

CONFIDENCE = 2.576
"""Standard deviations on each side of 99 %: successive samples are not independent, which narrows the interval."""


@dataclass(frozen=True)
class Slope:
    """A slope per hour, and the interval that it lies in with 99 % confidence."""

    middle: float
    low: float
    high: float


@dataclass(frozen=True)
class Limit:
    """How much a quantity may grow before it counts as growing.

    Attributes:
        name: What is measured.
        unit: Its unit; empty for numbers of things.
        step: The last third's median may be above the first third's by so much.
        per_hour: The slope that is allowed.
    """

    name: str
    unit: str
    step: float
    per_hour: float = 0.0


@dataclass(frozen=True)
class Verdict:
    """What became of one quantity.

    Attributes:
        limit: What was allowed.
        first: The median of the first third of the samples.
        last: That of the last third.
        slope: None with too few samples to tell.
        flat: Whether it may pass for flat.
    """

    limit: Limit
    first: float
    last: float
    slope: Slope | None
    flat: bool


def theil_sen(points: Sequence[tuple[float, float]]) -> Slope:
    """The median of the slopes through each two points, with Sen's interval.

    A third of the points may be wild, and the slope is still true. The interval leaves ties out of account, which
    only widens it.

    Args:
        points: Hours and values, two or more with different hours.
    """
    slopes = sorted((y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in combinations(points, 2) if x1 != x2)
    number = len(points)
    spread = CONFIDENCE * math.sqrt(number * (number - 1) * (2 * number + 5) / 18)
    low = max(math.floor((len(slopes) - spread) / 2), 0)
    high = min(math.ceil((len(slopes) + spread) / 2), len(slopes) - 1)
    return Slope(median(slopes), slopes[low], slopes[high])


def judge(limit: Limit, points: Sequence[tuple[float, float]]) -> Verdict:
    """Whether these points, by hours, are flat.

    They grow if three things are true at once: the slope is surely above 0, it is above what is allowed, and the
    last third lies above the first by more than a step.
    """
    values = [value for _, value in sorted(points)]
    third = max(len(values) // 3, 1)
    first, last = median(values[:third] or [0.0]), median(values[-third:] or [0.0])
    if len(points) < FEWEST:
        return Verdict(limit, first, last, None, flat=True)
    slope = theil_sen(points)
    grows = slope.low > 0 and slope.middle > limit.per_hour and last - first > limit.step
    return Verdict(limit, first, last, slope, not grows)
