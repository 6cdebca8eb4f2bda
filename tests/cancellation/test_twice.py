"""Cancelled twice in quick succession: on Python 3.11 the plain driver locks its own pool for good.

There, ``asyncio.wait_for`` runs what it is given in a task of its own. A task of AsyncMongoClient that waits for a
connection and is cancelled waits until that inner task has got the pool's lock back, to release it. Cancelled once
more it leaves at once, releases a lock that it does not have, and the inner task takes one that nobody releases.
Cancelled once, as in the storm, it leaves nothing behind. When a release of PyMongo mends that, this test fails,
and the README has to say so.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

import pytest
from pymongo import AsyncMongoClient

from async_mongo_pool.backends import driver_state
from tests.pools.conftest import settle
from tests.pools.subjects import ping, sleep_on_server

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize("times", [1, 2])
async def test_the_plain_drivers_pool_stays_locked_on_python_3_11(
    mongodb_uri: str, wait_until_async: Callable[..., Any], times: int
) -> None:
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(
        mongodb_uri, maxPoolSize=1, waitQueueTimeoutMS=20_000
    )
    await ping(client)
    (pool,) = driver_state._pools(client)
    busy = asyncio.ensure_future(sleep_on_server(client, 1))
    await wait_until_async(lambda: pool.active_sockets == 1)
    waiting = asyncio.ensure_future(ping(client))
    await wait_until_async(lambda: pool.size_cond._waiters)
    # Somebody is in the pool, as its lock is needed for each checkout and each check-in.
    await pool.lock.acquire()
    waiting.cancel()
    await settle()
    if times == 2:
        waiting.cancel()
    pool.lock.release()
    await asyncio.wait({waiting}, timeout=0.5)
    # Whoever uses the pool has left it again by the end of this turn.
    await settle()
    locked = pool.lock.locked()
    if locked:
        pool.lock.release()
    await asyncio.wait({waiting}, timeout=10)
    assert waiting.done()
    await busy
    assert (await asyncio.wait_for(ping(client), 10))["ok"] == 1
    await client.close()
    assert locked == (times == 2 and sys.version_info < (3, 12))
