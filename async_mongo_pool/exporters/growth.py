"""Counts that start at zero with each client, as counts that only ever grow.

A count may go down a little: what the driver did not publish is inferred, and an inference may be corrected. What
has been reported stays reported then, and the count goes on from there once it is greater.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from async_mongo_pool.distribution import Distribution

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

    from .metric import Value

__all__ = ["Growth", "total"]


class Growth:
    """What was reported of each count. It has no lock: its owner has one."""

    def __init__(self) -> None:
        self._reported: dict[Hashable, tuple[float, Any]] = {}

    def of(self, series: Hashable, opened_at: float, value: Value) -> Value:
        """What was added since this was last called for the same series; never less than nothing.

        Args:
            series: What tells this count from all others.
            opened_at: Tells one client from the next: the counts of another client start at zero.
            value: What the count is now.
        """
        known_since, reported = self._reported.get(series, (opened_at, None))
        if known_since != opened_at:
            reported = None
        gained: Value
        if isinstance(value, Distribution):
            before = reported or Distribution()
            gained = _gained(value, before)
            self._reported[series] = opened_at, _level(value, before, gained)
        else:
            gained = max(value - (reported or 0), 0)
            self._reported[series] = opened_at, max(value, reported or 0)
        return gained

    def level(self, series: Hashable, opened_at: float, value: Value) -> Value:
        """The count, or what was reported of it before where that is more.

        Args:
            series: As for ``of``.
            opened_at: As for ``of``.
            value: As for ``of``.
        """
        self.of(series, opened_at, value)
        level: Value = self._reported[series][1]
        return level

    def keep_only(self, series: Iterable[Hashable]) -> None:
        """Forget all others."""
        wanted = set(series)
        self._reported = {each: reported for each, reported in self._reported.items() if each in wanted}


def _gained(value: Distribution, before: Distribution) -> Distribution:
    """What to add, in no bucket less than nothing, and no more in all than there is.

    A duration that moved to another bucket stays where it was reported.
    """
    left = max(value.count - before.count, 0)
    buckets = []
    for now, reported in zip(value.buckets, before.buckets, strict=True):
        added = min(max(now - reported, 0), left)
        left -= added
        buckets.append(added)
    seconds = max(value.sum_seconds - before.sum_seconds, 0.0)
    return Distribution(seconds, value.max_seconds, tuple(buckets))


def _level(value: Distribution, before: Distribution, gained: Distribution) -> Distribution:
    # Not the sums of before and gained, so that roundings do not pile up.
    seconds = max(value.sum_seconds, before.sum_seconds)
    buckets = tuple(reported + added for reported, added in zip(before.buckets, gained.buckets, strict=True))
    return Distribution(seconds, max(value.max_seconds, before.max_seconds), buckets)


def total(values: list[Any]) -> Value:
    """Several series of one family as one."""
    added: Value = Distribution.total(values) if isinstance(values[0], Distribution) else sum(values)
    return added
