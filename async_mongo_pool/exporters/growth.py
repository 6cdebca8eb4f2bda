"""Counts that start at zero with each client, as counts that only ever grow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from async_mongo_pool.distribution import Distribution

if TYPE_CHECKING:
    from collections.abc import Hashable

    from .metric import Value

__all__ = ["Growth", "total"]


class Growth:
    """What each count gained since the last look at it."""

    def __init__(self) -> None:
        self._last: dict[Hashable, tuple[float, Value]] = {}

    def of(self, series: Hashable, opened_at: float, value: Value) -> Value:
        """What was added since this was last called for the same series.

        Args:
            series: What tells this count from all others.
            opened_at: Tells one client from the next: the counts of another client start at zero.
            value: What the count is now.
        """
        before_opened_at, before = self._last.get(series, (None, 0))
        self._last[series] = opened_at, value
        if before_opened_at != opened_at:
            return value
        if isinstance(value, Distribution):
            return value.since(before) if isinstance(before, Distribution) else value
        return value if isinstance(before, Distribution) else value - before


def total(values: list[Value]) -> Value:
    """Several series as one."""
    if len(values) == 1:
        return values[0]
    distributions = [value for value in values if isinstance(value, Distribution)]
    if distributions:
        return Distribution.total(distributions)
    return sum(value for value in values if not isinstance(value, Distribution))
