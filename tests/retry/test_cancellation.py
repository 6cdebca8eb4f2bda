"""A thousand cancelled callers of `run` on AsyncMongoClient: no connection and no cursor is lost."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

import pytest

from async_mongo_pool.retry import shield
from tests.statistics.witness import Witness

from .subjects import Subject

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from async_mongo_pool.testing import Server

CANCELS = 1000
CALLERS = 25


async def read_some(client: Any) -> list[dict[str, Any]]:
    """Several batches of one cursor, and then its end."""
    documents: list[dict[str, Any]] = await client.cancelled.things.find({}, batch_size=5).to_list(None)
    return documents


def open_cursors(mongod: Server) -> int:
    with mongod.client() as client:
        return int(client.admin.command("serverStatus")["metrics"]["cursor"]["open"]["total"])


async def cancel_many(call: Callable[[], Awaitable[Any]], chance: random.Random) -> int:
    """Cancel callers at any moment of their call, until there were as many as wanted."""
    cancelled = 0

    async def caller() -> None:
        nonlocal cancelled
        while cancelled < CANCELS:
            try:
                async with asyncio.timeout(chance.uniform(0, 0.08)):
                    await call()
            except TimeoutError:
                cancelled += 1

    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    return cancelled


async def test_a_thousand_cancelled_callers(mongod: Server, wait_until_async: Callable[..., Any]) -> None:
    subject, witness = Subject("pymongo"), Witness()
    # More connections than callers: a cancellation meets an operation under way, and not one that waits.
    client = await subject.initialize(mongod.uri, maxPoolSize=4 * CALLERS, event_listeners=[witness])
    await client.cancelled.things.insert_many([{"number": number} for number in range(20)])
    before = open_cursors(mongod)
    slow = {
        "failCommands": ["find", "getMore"],
        "appName": subject.name,
        "blockConnection": True,
        "blockTimeMS": 15,
    }
    with mongod.fail_point("failCommand", "alwaysOn", slow):
        assert await cancel_many(lambda: subject.run(read_some, deadline=60), random.Random(20)) >= CANCELS
        # Each of them is finished, none is given up.
        await wait_until_async(lambda: subject.stats().abandoned_running == 0, timeout=60)
    await wait_until_async(lambda: subject.pool.snapshot().totals.used == 0)
    assert witness.counted()["closed", f"{mongod.host}:{mongod.port}", "error"] == 0
    assert subject.stats().abandoned >= CANCELS
    assert open_cursors(mongod) == before
    # The watch over every test looks at all tasks once the driver's own have ended.
    assert not shield._abandoned
    totals = subject.pool.snapshot().totals
    assert (totals.used, totals.waiting, totals.checkouts_abandoned) == (0, 0, 0)
    # Every slot of the pool works.
    await asyncio.gather(*(subject.run(read_some, deadline=10) for _ in range(8 * CALLERS)))
    await client.drop_database("cancelled")
    await subject.close()


async def test_a_pool_that_closes_waits_for_the_abandoned(
    mongod: Server, wait_until_async: Callable[..., Any]
) -> None:
    subject = Subject("pymongo")
    await subject.initialize(mongod.uri)
    ended: list[Any] = []

    async def work(client: Any) -> None:
        ended.append(await client.admin.command("sleep", millis=500, lock="none"))

    task = asyncio.ensure_future(subject.run(work))
    await wait_until_async(lambda: subject.pool.snapshot().totals.used == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == []
    await subject.close(drain=5)
    await wait_until_async(lambda: subject.stats().abandoned_running == 0)
    assert ended[0]["ok"] == 1
