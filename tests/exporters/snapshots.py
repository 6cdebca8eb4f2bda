"""Pools that say what they are told to: for the mapping, which needs no server."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from async_mongo_pool import MongoDBConnectionPool
from async_mongo_pool.distribution import Recorder
from async_mongo_pool.retry_stats import RetryStats
from async_mongo_pool.stats import (
    CommandSeries,
    CommandStats,
    ExecutorStats,
    PoolSnapshot,
    ServerStats,
    TotalStats,
)

if TYPE_CHECKING:
    from async_mongo_pool.distribution import Distribution

ADDRESS = "db.example:27017"
_openings = itertools.count(1)


def distribution(*durations: float) -> Distribution:
    recorder = Recorder()
    for seconds in durations:
        recorder.record(seconds)
    return recorder.distribution()


def server(address: str = ADDRESS, **changes: Any) -> ServerStats:
    numbers: dict[str, Any] = {
        "state": "ready",
        "size": 6,
        "used": 3,
        "idle": 2,
        "connecting": 1,
        "pending_requests": 4,
        "oldest_use_seconds": 1.5,
        "max_size": 10,
        "min_size": 2,
        "checkouts_abandoned": 5,
        "checkout_failures": {"timeout": 7, "connection_error": 1, "pool_closed": 0},
        "connections_created": 9,
        "connections_closed": {"idle": 1, "stale": 1, "error": 1, "pool_closed": 0, "unreported": 0},
        "clears": 1,
        "slow_checkouts": 2,
        "events_missed": 3,
        "checkout_wait": distribution(0.00005, 0.0007, 0.0007, 20.0),
        "connection_use": distribution(0.002, 0.003),
        "connection_create": distribution(0.02),
        "heartbeat": distribution(0.0006),
    }
    return ServerStats(address=address, **{**numbers, **changes})


def snapshot(pool: str = "orders", *servers: ServerStats, **changes: Any) -> PoolSnapshot:
    """Every row of the table has a series here."""
    commands = {
        "find": CommandStats(
            count=3,
            failures=1,
            series=(
                CommandSeries(server=ADDRESS, database="shop", error=None, duration=distribution(0.0002)),
                CommandSeries(server=ADDRESS, database="log", error=None, duration=distribution(0.02)),
                CommandSeries(server=ADDRESS, database="shop", error="50", duration=distribution(0.2)),
            ),
        )
    }
    executor = ExecutorStats(
        workers=10,
        max_workers=10,
        busy=8,
        streaming=1,
        queued=6,
        abandoned=2,
        refused={"timeout": 1, "full": 2, "closing": 0},
        wait=distribution(0.3),
    )
    parts: dict[str, Any] = {
        "backend": "motor",
        "status": "open",
        "seconds": 60.0,
        "opened_at": float(next(_openings)),
        "replacements": 1,
        "servers": {each.address: each for each in servers or (server(),)},
        "totals": TotalStats(wait=distribution(0.3, 0.4)),
        "executor": executor,
        "commands": commands,
        "retries": RetryStats(
            operations=8, retries=3, recovered=1, given_up={"deadline": 2}, abandoned=4, budget=9.5
        ),
        "drift": 0,
    }
    return PoolSnapshot(pool=pool, **{**parts, **changes})


def pool_of(first: PoolSnapshot) -> Any:
    """A pool whose `snapshot()` is its attribute `now`."""

    def told(cls: Any) -> PoolSnapshot:
        if isinstance(cls.now, Exception):
            raise cls.now
        now: PoolSnapshot = cls.now
        return now

    return type(first.pool, (MongoDBConnectionPool,), {"now": first, "snapshot": classmethod(told)})
