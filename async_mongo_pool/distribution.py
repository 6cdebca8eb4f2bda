"""Durations in fixed buckets: cheap to record, exact to add up, good enough for percentiles.

The bounds are those of OpenTelemetry's ``db.client.operation.duration`` (semantic conventions, database metrics)
and two below a millisecond, because a checkout that finds a free connection takes microseconds.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["BOUNDS", "Distribution", "Recorder"]

BOUNDS = (0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0)
"""Upper bounds of the buckets in seconds, each included in its bucket; one more bucket takes what is longer."""


@dataclass(frozen=True, slots=True)
class Distribution:
    """How long something took, over all its occurrences.

    Attributes:
        sum_seconds: All durations added up.
        max_seconds: The longest one; 0.0 when there was none.
        buckets: How many fell into each bucket of ``BOUNDS``, not cumulative, the one above all bounds last.
    """

    sum_seconds: float = 0.0
    max_seconds: float = 0.0
    buckets: tuple[int, ...] = (0,) * (len(BOUNDS) + 1)

    @property
    def count(self) -> int:
        """How many there were."""
        return sum(self.buckets)

    def is_empty(self) -> bool:
        """Whether nothing was recorded, or moved."""
        return not (self.sum_seconds or any(self.buckets))

    @property
    def mean_seconds(self) -> float:
        """The arithmetic mean; 0.0 when there was none."""
        count = self.count
        return self.sum_seconds / count if count else 0.0

    @property
    def p50_seconds(self) -> float:
        """Half took no longer (see ``quantile`` for how exact that is)."""
        return self.quantile(0.5)

    @property
    def p95_seconds(self) -> float:
        """95 of 100 took no longer."""
        return self.quantile(0.95)

    @property
    def p99_seconds(self) -> float:
        """99 of 100 took no longer."""
        return self.quantile(0.99)

    def quantile(self, share: float) -> float:
        """The duration that this share of all did not exceed.

        Args:
            share: Between 0 and 1.

        Returns:
            Seconds, interpolated within one bucket, so off by at most that bucket's width, and never more than
            the longest duration; 0.0 when there was none.
        """
        rank = share * self.count
        below = 0
        for index, number in enumerate(self.buckets):
            if number and below + number >= rank:
                lower = BOUNDS[index - 1] if index else 0.0
                upper = min(BOUNDS[index], self.max_seconds) if index < len(BOUNDS) else self.max_seconds
                return min(lower + max(upper - lower, 0.0) * (rank - below) / number, upper)
            below += number
        return 0.0

    def since(self, previous: Distribution) -> Distribution:
        """What was added after ``previous`` was taken.

        ``max_seconds`` stays the longest of all: which of them is the longest of the newer ones is not known.
        """
        return Distribution(
            self.sum_seconds - previous.sum_seconds,
            self.max_seconds,
            tuple(now - before for now, before in zip(self.buckets, previous.buckets, strict=True)),
        )

    @classmethod
    def total(cls, parts: Iterable[Distribution]) -> Distribution:
        """Several of them as one."""
        parts = list(parts)
        if len(parts) == 1:
            return parts[0]
        return cls(
            sum(part.sum_seconds for part in parts),
            max((part.max_seconds for part in parts), default=0.0),
            tuple(map(sum, zip(*(part.buckets for part in parts), strict=True))) or cls().buckets,
        )

    def as_dict(self) -> dict[str, Any]:
        """For ``get_pool_stats``: plain numbers, the buckets by their upper bound."""
        return {
            "count": self.count,
            "sum_seconds": self.sum_seconds,
            "mean_seconds": self.mean_seconds,
            "max_seconds": self.max_seconds,
            "p50_seconds": self.p50_seconds,
            "p95_seconds": self.p95_seconds,
            "p99_seconds": self.p99_seconds,
            "buckets": dict(zip((*map(str, BOUNDS), "+Inf"), self.buckets, strict=True)),
        }


class Recorder:
    """A distribution in the making. It has no lock: its owner has one.

    Hot paths write to the attributes themselves, with the bucket found before they take their lock.
    """

    __slots__ = ("buckets", "longest", "seconds")

    def __init__(self) -> None:
        self.seconds = 0.0
        self.longest = 0.0
        self.buckets = [0] * (len(BOUNDS) + 1)

    def record(self, seconds: float) -> None:
        """Count one duration."""
        self.buckets[bisect_left(BOUNDS, seconds)] += 1
        self.seconds += seconds
        if seconds > self.longest:
            self.longest = seconds

    def move(self, counted: float, real: float) -> None:
        """Correct, from outside, a duration that another recorder counted: the two added up are right."""
        self.buckets[bisect_left(BOUNDS, counted)] -= 1
        self.record(real)
        self.seconds -= counted

    def distribution(self) -> Distribution:
        """What was recorded so far."""
        return Distribution(self.seconds, self.longest, tuple(self.buckets))
