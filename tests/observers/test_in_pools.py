"""The observers as an option of a pool, on each backend."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest
from pymongo.errors import ServerSelectionTimeoutError

from tests.pools.conftest import subject
from tests.pools.subjects import NO_SERVER, Subject, ping, sleep_on_server

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["subject"]


def log_threads(subject: Subject) -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == f"{subject.name}-log"]


async def test_a_pool_tells_of_slow_checkouts_and_who_holds_them(
    subject: Subject, mongodb_uri: str, log: Callable[..., list[str]], wait_until_async: Callable[..., Any]
) -> None:
    client = await subject.initialize(mongodb_uri, slow_checkout_ms=150, slow_checkout_stack=True)

    async def the_users_function() -> None:
        await subject.call(sleep_on_server, client, 0.8)

    operation = asyncio.create_task(the_users_function(), name="order-7")
    await wait_until_async(lambda: log("last command, sleep"), 5, "the warning")
    (told,) = log("last command, sleep", "WARNING")
    (holder,) = subject.pool.holders()
    assert subject.pool.snapshot().totals.slow_checkouts == 1
    await operation
    assert holder.command == "sleep"
    if subject.is_async:
        assert holder.name == "order-7"
        assert 'task "order-7"' in told
        assert "the_users_function" in holder.stack
    await wait_until_async(lambda: log("returned after", "INFO"), 5, "the return")
    await subject.close()
    await wait_until_async(lambda: not log_threads(subject), 5, "the thread to end")
    assert subject.pool.holders() == []


async def test_a_pool_counts_commands_and_heartbeats_when_asked(
    subject: Subject, mongodb_uri: str, wait_until_async: Callable[..., Any]
) -> None:
    client = await subject.initialize(mongodb_uri, command_stats=True, heartbeat_stats=True)
    before = subject.pool.snapshot()
    for _ in range(5):
        await subject.call(ping, client)
    now = subject.pool.snapshot()
    assert now.since(before).commands["ping"].count == 5
    assert now.commands["ping"].series[0].server in now.servers

    def heartbeats() -> int:
        return sum(server.heartbeat.count for server in subject.pool.snapshot().servers.values())

    await wait_until_async(heartbeats, 5, "a heartbeat")


async def test_a_client_that_cannot_be_opened_leaves_no_thread(subject: Subject) -> None:
    with pytest.raises(ServerSelectionTimeoutError):
        await subject.initialize(NO_SERVER, slow_checkout_ms=1, slow_command_ms=1)
    assert log_threads(subject) == []


async def test_a_pool_watches_nothing_by_default(subject: Subject, mongodb_uri: str) -> None:
    client = await subject.initialize(mongodb_uri)
    await subject.call(ping, client)
    snapshot = subject.pool.snapshot()
    assert snapshot.commands == {}
    assert all(server.heartbeat.count == 0 for server in snapshot.servers.values())
    assert log_threads(subject) == []
