"""A distribution as single durations, for histograms that take no other input."""

from __future__ import annotations

from math import inf, nextafter
from typing import TYPE_CHECKING

from async_mongo_pool.distribution import BOUNDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from async_mongo_pool.distribution import Distribution

__all__ = ["durations"]


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
