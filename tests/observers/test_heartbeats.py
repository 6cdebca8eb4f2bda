"""Timing heartbeats."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from async_mongo_pool.testing import Mongod
from tests.timing import now

from .clients import Observed

if TYPE_CHECKING:
    from collections.abc import Callable


async def test_heartbeats_that_are_answered_at_once_are_timed_in_seconds(
    observe: Callable[..., Observed], mongod: Any, wait_until_async: Callable[..., Any]
) -> None:
    fast = {"serverMonitoringMode": "poll", "heartbeatFrequencyMS": 500}
    observed = observe(heartbeat_stats=True, client=fast)
    await observed.call(observed.client.admin.command, "ping")
    server = f"{mongod.host}:{mongod.port}"

    def count() -> int:
        found = observed.observers.heartbeats().get(server)
        return found.count if found is not None else 0

    await wait_until_async(lambda: count() >= 2, 8, "two heartbeats")
    distribution = observed.observers.heartbeats()[server]
    assert 0 < distribution.max_seconds < 5
    assert set(observed.observers.heartbeats()) == {server}


async def test_heartbeats_that_the_server_delays_are_not_timed(
    observe: Callable[..., Observed], mongod: Any, wait_until_async: Callable[..., Any]
) -> None:
    awaited = {"serverMonitoringMode": "stream", "heartbeatFrequencyMS": 500}
    with Mongod() as server:
        # A server of its own: one that is busy or meets a fail point ends the stream.
        observed = Observed("pymongo", server.uri, heartbeat_stats=True, client=awaited)
        async with observed:
            began = now()
            await observed.client.admin.command("ping")
            await wait_until_async(lambda: now() - began > 2, 5, "some delayed heartbeats")
            (distribution,) = observed.observers.heartbeats().values()
    assert distribution.max_seconds < 0.5
    assert distribution.count <= 2
