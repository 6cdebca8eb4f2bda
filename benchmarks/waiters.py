"""What each operation that waits costs in memory: ours on Motor, plain Motor, plain AsyncMongoClient.

    python -m benchmarks.waiters [--waiters 10000] [--turns 3] [--json FILE]

A pool of 100 is filled with operations that the server holds until they are let go, then so many more come, each
in a task of its own. Counted is what Python's allocator has handed out more than before (``tracemalloc``), for
each of those who wait. A task that only waits for an event is the least that a waiter costs, and the first line.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import statistics
import tracemalloc
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import AsyncMongoClient

from async_mongo_pool import AsyncMongoDBConnectionPool
from async_mongo_pool.testing import Mongod

from .table import show, surroundings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

CONNECTIONS = 100
LIMIT_MS = 600_000
NAMESPACE = "benchmark.waiters"


async def bytes_per_waiter(wait: Callable[[], Coroutine[Any, Any, Any]], waiters: int) -> float:
    """Let so many more wait, and see by how much memory grows."""
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tasks = [asyncio.ensure_future(wait()) for _ in range(waiters)]
        grown = await settled() - before
    finally:
        tracemalloc.stop()
    if any(task.done() for task in tasks):
        raise RuntimeError("not all of them waited")
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    return grown / waiters


async def settled() -> int:
    """The memory in use once it grows no more: some waiters take many turns of the loop to get to their place."""
    last = 0
    for _ in range(120):
        await asyncio.sleep(0.5)
        gc.collect()
        now = tracemalloc.get_traced_memory()[0]
        if abs(now - last) < now / 1000:
            return now
        last = now
    raise RuntimeError("memory does not come to rest")


@asynccontextmanager
async def filled(client: Any, mongod: Mongod) -> AsyncIterator[Callable[[], Coroutine[Any, Any, Any]]]:
    """A client whose every connection, or thread, is held by an operation; yields one more operation."""
    documents = client.get_database("benchmark").waiters

    async def find() -> Any:
        return await documents.find_one({})

    hold = mongod.fail_point("waitInFindBeforeMakingBatch", "alwaysOn", {"nss": NAMESPACE})
    await asyncio.to_thread(hold.__enter__)
    held = [asyncio.ensure_future(find()) for _ in range(CONNECTIONS)]
    await connected(mongod)
    try:
        yield find
    finally:
        await asyncio.to_thread(hold.__exit__, None, None, None)
        await asyncio.gather(*held)


async def connected(mongod: Mongod) -> None:
    """Until no more connections are made."""
    count = -1
    for _ in range(120):
        before, count = count, await asyncio.to_thread(mongod.connection_count)
        if before == count:
            return
        await asyncio.sleep(0.25)


async def of_task(mongod: Mongod, waiters: int) -> float:
    event = asyncio.Event()
    return await bytes_per_waiter(event.wait, waiters)


async def of_ours(mongod: Mongod, waiters: int) -> float:
    pool = AsyncMongoDBConnectionPool.named("waiters")
    client = await pool.initialize(mongod.uri, maxPoolSize=CONNECTIONS, waitQueueTimeoutMS=LIMIT_MS)
    try:
        async with filled(client, mongod) as find:
            return await bytes_per_waiter(find, waiters)
    finally:
        await pool.close(drain=0, timeout=5)


async def of_motor(mongod: Mongod, waiters: int) -> float:
    client: Any = AsyncIOMotorClient(mongod.uri, maxPoolSize=CONNECTIONS)
    try:
        async with filled(client, mongod) as find:
            return await bytes_per_waiter(find, waiters)
    finally:
        client.close()


async def of_pymongo(mongod: Mongod, waiters: int) -> float:
    client: Any = AsyncMongoClient(mongod.uri, maxPoolSize=CONNECTIONS, waitQueueTimeoutMS=LIMIT_MS)
    try:
        async with filled(client, mongod) as find:
            return await bytes_per_waiter(find, waiters)
    finally:
        await client.close()


CONTESTANTS = {
    "a task that waits for an event": of_task,
    "ours on Motor": of_ours,
    "plain Motor, its executor's queue": of_motor,
    "plain AsyncMongoClient": of_pymongo,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--waiters", type=int, default=10_000, help="default: 10000")
    parser.add_argument("--turns", type=int, default=3, help="of each, one after another (default: 3)")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    cases = []
    with Mongod() as mongod:
        with mongod.client() as client:
            client["benchmark"]["waiters"].insert_one({})
        for name, measure in CONTESTANTS.items():
            found = [asyncio.run(measure(mongod, arguments.waiters)) for _ in range(max(arguments.turns, 1))]
            cases.append({"name": name, "median_bytes": statistics.median(found), "all": found})
    rows = [(str(case["name"]), f"{case['median_bytes']:,.0f}") for case in cases]
    show(f"Bytes for each of {arguments.waiters:,} waiters", ("", "median"), rows)
    if arguments.json:
        arguments.json.write_text(json.dumps({"surroundings": surroundings(), "cases": cases}, indent=2))


if __name__ == "__main__":
    main()
