"""What counting costs: CPU per operation with our listener against the same driver without it.

    python -m benchmarks.listener_cost [--pairs 15] [--operations 3000]

Both clients are open in one process, on one server, and take turns: with, without, with, without. Each pair gives
one ratio; printed are the median and a 95 % interval for it (bootstrap). Beside it: what a snapshot takes, and by
how much a million counted checkouts let memory grow.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import random
import statistics
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import AsyncMongoClient, MongoClient
from pymongo.monitoring import (
    ConnectionCheckedInEvent,
    ConnectionCheckedOutEvent,
    ConnectionCheckOutStartedEvent,
    ConnectionCreatedEvent,
    ConnectionReadyEvent,
)

from async_mongo_pool import AsyncMongoDBConnectionPool
from async_mongo_pool.backends.admission import MotorAdmission, RunningLoop
from async_mongo_pool.events import ConnectionEvents, TaskConnectionEvents
from async_mongo_pool.testing import Mongod

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

Run = Any
"""A callable that does so many operations in so many tasks, and may have to be awaited."""


def motor(uri: str, listeners: list[Any]) -> Run:
    """With our workers both times: only the listener differs."""
    admission = MotorAdmission("benchmark", lambda: 100)
    client: AsyncIOMotorClient[Any] = AsyncIOMotorClient(
        uri,
        maxPoolSize=100,
        event_listeners=listeners,
        io_loop=RunningLoop(admission),  # type: ignore[abstract]
    )
    return _in_tasks(client["benchmark"]["listener"].find_one)


def pymongo(uri: str, listeners: list[Any]) -> Run:
    client: AsyncMongoClient[Any] = AsyncMongoClient(uri, maxPoolSize=100, event_listeners=listeners)
    return _in_tasks(client["benchmark"]["listener"].find_one)


def sync(uri: str, listeners: list[Any]) -> Run:
    client: MongoClient[Any] = MongoClient(uri, maxPoolSize=100, event_listeners=listeners)
    find_one = client["benchmark"]["listener"].find_one
    threads = ThreadPoolExecutor(100)

    def work(operations: int) -> None:
        for _ in range(operations):
            find_one()

    def run(tasks: int, operations: int) -> None:
        list(threads.map(work, [operations // tasks] * tasks))

    return run


def _in_tasks(find_one: Callable[[], Awaitable[Any]]) -> Run:
    async def work(operations: int) -> None:
        for _ in range(operations):
            await find_one()

    async def run(tasks: int, operations: int) -> None:
        await asyncio.gather(*[work(operations // tasks) for _ in range(tasks)])

    return run


async def cpu_per_operation(run: Run, tasks: int, operations: int) -> float:
    began = time.process_time()
    running = run(tasks, operations)
    if running is not None:
        await running
    return (time.process_time() - began) / operations


async def compare(make: Callable[..., Run], uri: str, tasks: int, pairs: int, operations: int) -> str:
    events: ConnectionEvents = TaskConnectionEvents(100) if make is pymongo else ConnectionEvents(100)
    counted, bare = make(uri, [events]), make(uri, [])
    for run in (counted, bare):
        await cpu_per_operation(run, tasks, operations)
    ratios, without = [], []
    for number in range(pairs):
        first, second = (counted, bare) if number % 2 else (bare, counted)
        costs = {run: await cpu_per_operation(run, tasks, operations) for run in (first, second)}
        ratios.append(costs[counted] / costs[bare])
        without.append(costs[bare])
    middles = sorted(statistics.median(random.choices(ratios, k=pairs)) for _ in range(2000))
    low, high = middles[50], middles[-50]
    more, least, most = (100 * (ratio - 1) for ratio in (statistics.median(ratios), low, high))
    return (
        f"{make.__name__:8} {tasks:>4} task(s): {statistics.median(without) * 1e6:6.0f} us an operation without, "
        f"{more:+.1f} % with ({least:+.1f} to {most:+.1f} %)"
    )


async def snapshot_cost(uri: str) -> Iterator[str]:
    """In the pools themselves, with one server and a hundred open connections."""
    lines = []
    for backend in ("motor", "pymongo"):
        pool = AsyncMongoDBConnectionPool.named(f"snapshot {backend}")
        client: Any = await pool.initialize(uri, backend=backend, minPoolSize=100, warm_up=True, timeout=20)
        await client.admin.command("ping")
        rounds = []
        for _ in range(20):
            began = time.perf_counter()
            for _ in range(500):
                pool.snapshot()
            rounds.append((time.perf_counter() - began) / 500)
        lines.append(f"{backend:8} snapshot(): {statistics.median(rounds) * 1e6:.1f} us")
        await pool.close()
    return iter(lines)


def growth(checkouts: int = 1_000_000) -> str:
    """Counting alone, without a server: whatever grows here grows in every service."""
    address = ("localhost", 27017)
    events = ConnectionEvents(100)
    events.connection_created(ConnectionCreatedEvent(address, 1))
    events.connection_ready(ConnectionReadyEvent(address, 1, 0.001))

    def work(times: int) -> None:
        for _ in range(times):
            events.connection_check_out_started(ConnectionCheckOutStartedEvent(address))
            events.connection_checked_out(ConnectionCheckedOutEvent(address, 1, 0.00005))
            events.connection_checked_in(ConnectionCheckedInEvent(address, 1))

    work(1000)
    tracemalloc.start()
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    work(checkouts)
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return f"memory after {checkouts:,} checkouts: {grown / 1024:+.1f} KiB"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--operations", type=int, default=3000)
    arguments = parser.parse_args()
    print(growth(), flush=True)
    with Mongod() as server:
        for line in asyncio.run(snapshot_cost(server.uri)):
            print(line, flush=True)
        for make in (motor, pymongo, sync):
            for tasks in (1, 100):
                comparing = compare(make, server.uri, tasks, arguments.pairs, arguments.operations)
                print(asyncio.run(comparing), flush=True)


if __name__ == "__main__":
    main()
