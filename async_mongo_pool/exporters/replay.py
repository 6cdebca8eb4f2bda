"""A distribution as single durations, for histograms that take no other input."""

from __future__ import annotations

from math import inf, nextafter
from typing import TYPE_CHECKING

from async_mongo_pool.distribution import BOUNDS, Distribution

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

    Record = Callable[[float], None]

__all__ = ["Backlog", "durations"]


class Backlog:
    """Durations that are to be recorded, some now and the rest later. It has no lock: its owner has one."""

    def __init__(self) -> None:
        self._waiting: dict[Hashable, tuple[Record, Distribution]] = {}

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, series: Hashable, record: Record, gained: Distribution) -> None:
        """Let these be recorded too.

        Args:
            series: What they belong to.
            record: Records one of them.
            gained: How many, and how long they are.
        """
        if gained.count:
            _, before = self._waiting.get(series, (record, Distribution()))
            self._waiting[series] = record, Distribution.total((before, gained))

    def take(self, most: int) -> Iterator[tuple[Record, float]]:
        """Durations to record now, and how; the series that has waited longest comes first.

        Args:
            most: How many at most.
        """
        for series in list(self._waiting):
            if most <= 0:
                return
            record, waiting = self._waiting.pop(series)
            now = list(_first(waiting, most))
            most -= sum(times for _, times in now)
            rest = _without(waiting, now)
            if rest.count:
                # Behind the others, so that one that never ends does not keep them waiting.
                self._waiting[series] = record, rest
            for seconds, times in now:
                for _ in range(times):
                    yield record, seconds


def _first(waiting: Distribution, most: int) -> Iterator[tuple[float, int]]:
    for seconds, times in durations(waiting):
        if most > 0:
            yield seconds, min(times, most)
        most -= times


def _without(waiting: Distribution, taken: list[tuple[float, int]]) -> Distribution:
    buckets = list(waiting.buckets)
    filled = [index for index, number in enumerate(buckets) if number > 0]
    # As `durations` tells them: one for each bucket that has any, in their order.
    for index, (_, times) in zip(filled, taken, strict=False):
        buckets[index] -= times
    seconds = waiting.sum_seconds - sum(seconds * times for seconds, times in taken)
    return Distribution(max(seconds, 0.0), waiting.max_seconds, tuple(buckets))


def durations(added: Distribution) -> Iterator[tuple[float, int]]:
    """Durations that make the same distribution: as many in each bucket, with the same sum.

    In each bucket all lie at the same share of its width, the one share that makes the sum right.

    Args:
        added: What was added since the last time.

    Yields:
        A duration in seconds, and how often to record it.
    """
    edges = [
        (lower, _upper(index, lower, added.max_seconds), number)
        for index, (lower, number) in enumerate(zip((0.0, *BOUNDS), added.buckets, strict=True))
        if number > 0
    ]
    floor = sum(lower * number for lower, _, number in edges)
    width = sum((upper - lower) * number for lower, upper, number in edges)
    share = min(max((added.sum_seconds - floor) / width, 0.0), 1.0) if width > 0 else 0.0
    for lower, upper, number in edges:
        value = lower + share * (upper - lower)
        # A bucket has its upper bound but not its lower one; the first one also has zero.
        yield (max(value, nextafter(lower, inf)) if lower else value), number


def _upper(index: int, lower: float, longest: float) -> float:
    bound = BOUNDS[index] if index < len(BOUNDS) else inf
    return min(bound, longest) if longest > lower else min(bound, nextafter(lower, inf))
