"""Several servers' numbers as one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .distribution import Distribution
from .stats import ConnectionStats, TotalStats

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from .stats import ServerStats

__all__ = ["is_full", "total"]

_ADDED = (
    "size",
    "used",
    "idle",
    "connecting",
    "pending_requests",
    "checkouts_started",
    "checkouts",
    "checkouts_abandoned",
    "connections_created",
    "clears",
    "slow_checkouts",
    "events_missed",
)
_ADDED_BY_REASON = ("checkout_failures", "connections_closed")
_DURATIONS = ("checkout_wait", "connection_use", "connection_create", "heartbeat")


def total(servers: Sequence[ServerStats]) -> TotalStats:
    """All servers together; nobody waits in front of the workers and no wait is theirs, as far as this tells.

    Args:
        servers: Each server's numbers. The sizes of servers whose pool is closed are left out.
    """
    of_all: dict[str, Any] = {name: sum(getattr(each, name) for each in servers) for name in _ADDED}
    for name in _ADDED_BY_REASON:
        of_all[name] = _by_reason(name, servers)
    for name in _DURATIONS:
        of_all[name] = Distribution.total(getattr(each, name) for each in servers)
    alive = [each for each in servers if each.state != "closed"]
    sizes = [each.max_size for each in alive]
    return TotalStats(
        **of_all,
        oldest_use_seconds=max((each.oldest_use_seconds for each in servers), default=0.0),
        max_size=None if None in sizes else sum(filter(None, sizes)),
        min_size=sum(each.min_size for each in alive),
        waiting=of_all["pending_requests"],
        wait=of_all["checkout_wait"],
    )


def is_full(servers: Iterable[ServerStats]) -> bool:
    """Whether some server has every connection in use."""
    return any(each.max_size is not None and each.used >= each.max_size for each in servers)


def _by_reason(name: str, servers: Iterable[ServerStats]) -> dict[str, int]:
    numbers: dict[str, int] = dict(getattr(ConnectionStats(), name))
    for each in servers:
        counts: Mapping[str, int] = getattr(each, name)
        for reason, number in counts.items():
            numbers[reason] = numbers.get(reason, 0) + number
    return numbers
