"""Several servers' numbers as one."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING

from .distribution import Distribution
from .stats import CHECKOUT_FAILURES, CLOSE_REASONS, TotalStats

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
_added = attrgetter(*_ADDED)
_durations = attrgetter("checkout_wait", "connection_use", "connection_create", "heartbeat")


_NOTHING = Distribution()


def total(
    servers: Sequence[ServerStats],
    waiting_in_front: int = 0,
    queued: Distribution = _NOTHING,
) -> TotalStats:
    """All servers together.

    Args:
        servers: Each server's numbers. The sizes of servers whose pool is closed are left out.
        waiting_in_front: Operations that wait in front of the connections.
        queued: What their waits add to the waits for connections.
    """
    numbers = [_added(each) for each in servers]
    # Of a single server nothing has to be added up.
    sums = numbers[0] if len(numbers) == 1 else map(sum, zip(*numbers, strict=True))
    added = dict(zip(_ADDED, sums, strict=False))
    durations = [_durations(each) for each in servers] or [(_NOTHING,) * 4]
    wait, use, create, heartbeat = (
        durations[0] if len(durations) == 1 else map(Distribution.total, zip(*durations, strict=True))
    )
    alive = [each for each in servers if each.state != "closed"]
    sizes = [each.max_size for each in alive]
    return TotalStats(
        **added,
        checkout_failures=_by_reason(CHECKOUT_FAILURES, [each.checkout_failures for each in servers]),
        connections_closed=_by_reason(CLOSE_REASONS, [each.connections_closed for each in servers]),
        checkout_wait=wait,
        connection_use=use,
        connection_create=create,
        heartbeat=heartbeat,
        oldest_use_seconds=max((each.oldest_use_seconds for each in servers), default=0.0),
        max_size=None if None in sizes else sum(filter(None, sizes)),
        min_size=sum(each.min_size for each in alive),
        waiting=added.get("pending_requests", 0) + waiting_in_front,
        wait=wait if queued.is_empty() else Distribution.total((wait, queued)),
    )


def is_full(servers: Iterable[ServerStats]) -> bool:
    """Whether some server has every connection in use."""
    alive = (each for each in servers if each.state != "closed" and each.max_size is not None)
    return any(each.used >= (each.max_size or 0) for each in alive)


def _by_reason(reasons: Iterable[str], counts: Sequence[Mapping[str, int]]) -> Mapping[str, int]:
    if len(counts) == 1:
        return counts[0]
    numbers = dict.fromkeys(reasons, 0)
    for each in counts:
        for reason, number in each.items():
            numbers[reason] = numbers.get(reason, 0) + number
    return numbers
