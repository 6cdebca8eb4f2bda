"""A line for each event, for those who listen."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import pytest
from pymongo.errors import AutoReconnect, WaitQueueTimeoutError

from async_mongo_pool.config import PoolOptions
from async_mongo_pool.events import ConnectionEvents
from async_mongo_pool.observers import Observers
from async_mongo_pool.observers.event_log import EventLog

if TYPE_CHECKING:
    from collections.abc import Callable

    from .clients import Observed


async def test_every_event_is_a_line_when_somebody_listens(
    observe: Callable[..., Observed],
    mongod: Any,
    caplog: pytest.LogCaptureFixture,
    wait_until_async: Callable[..., Any],
) -> None:
    caplog.set_level(logging.DEBUG, logger="async_mongo_pool.events")
    observed = observe(client={"maxPoolSize": 1, "waitQueueTimeoutMS": 100, "retryReads": False})
    await observed.call(observed.client.admin.command, "ping")
    await _meet_every_event(observed, mongod, wait_until_async)
    await observed.close()
    server = f"{observed.name} {mongod.host}:{mongod.port}: "
    lines = [record.getMessage() for record in caplog.records if record.name == "async_mongo_pool.events"]
    assert all(line.startswith(server) for line in lines)
    told = [line.removeprefix(server) for line in lines]
    for beginning in (
        "pool created (maxPoolSize=1, waitQueueTimeoutMS=100.0)",
        "pool ready",
        "checkout started",
        "connection 1 created",
        "connection 1 ready after 0.",
        "connection 1 checked out after 0.",
        "connection 1 checked in",
        "checkout failed after 0.1",
        "pool cleared",
        "connection 1 closed: error",
        "pool closed",
    ):
        assert any(line.startswith(beginning) for line in told), beginning
    assert any(line.startswith("checkout failed") and line.endswith("s: timeout") for line in told)
    assert {record.levelname for record in caplog.records if record.name.endswith("events")} == {"DEBUG"}


async def _meet_every_event(observed: Observed, mongod: Any, wait_until_async: Callable[..., Any]) -> None:
    operation = asyncio.create_task(observed.sleep_on_server(0.6))
    await wait_until_async(observed.events.holdings, 5, "the checkout")
    with pytest.raises(WaitQueueTimeoutError):
        await observed.call(observed.client.admin.command, "ping")
    await operation
    broken = {"failCommands": ["ping"], "closeConnection": True, "appName": observed.name}
    with mongod.fail_point("failCommand", {"times": 1}, broken), pytest.raises(AutoReconnect):
        await observed.call(observed.client.admin.command, "ping")


def test_the_listener_is_there_only_while_somebody_listens(caplog: pytest.LogCaptureFixture) -> None:
    assert Observers("Pool", PoolOptions(), ConnectionEvents()).listeners() == []
    caplog.set_level(logging.DEBUG, logger="async_mongo_pool.events")
    (listener,) = Observers("Pool", PoolOptions(), ConnectionEvents()).listeners()
    assert isinstance(listener, EventLog)
