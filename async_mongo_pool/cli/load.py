"""The demo's load: which operations are run, by how many tasks, over which clients, and what was measured."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections import Counter
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pymongo
from pymongo.errors import PyMongoError

from async_mongo_pool.async_pool import AsyncMongoDBConnectionPool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from async_mongo_pool.async_pool import Backend

__all__ = [
    "COMMANDS",
    "MIX",
    "Contender",
    "Figures",
    "Serving",
    "Target",
    "contenders",
    "one_client",
    "percentile",
    "run_load",
    "seed",
]

COMMANDS = ("find", "update", "aggregate")
"""The server's names of what the load does."""

MIX = "14 reads, 5 writes and 1 aggregate in 20"
DOCUMENTS = 500

ANSWER_LIMIT = 15.0
"""Seconds that operations may still take once no new ones are begun."""

_RECENT = 2000
_GROUPS = [{"$match": {"group": 3}}, {"$group": {"_id": "$group", "sum": {"$sum": "$visits"}}}]


@dataclass(frozen=True, slots=True)
class Target:
    """What the load runs against.

    Attributes:
        uri: The connection string; it may hold a password.
        database: The name of the demo's own database.
        backend: Whose client: "motor" or "pymongo".
    """

    uri: str = field(repr=False)
    database: str
    backend: Backend


@dataclass(slots=True)
class Figures:
    """What one contender did, over all of its rounds.

    Attributes:
        seconds: The time measured, until the last answer.
        connections: The connections that the server accepted; None where it does not tell.
        errors: How many operations failed, by the name of the exception.
    """

    seconds: float = 0.0
    connections: int | None = 0
    errors: Counter[str] = field(default_factory=Counter)
    samples: list[float] = field(default_factory=list)

    @property
    def operations(self) -> int:
        """The operations that succeeded."""
        return len(self.samples)

    @property
    def rate(self) -> float:
        """Succeeded operations per second."""
        return self.operations / self.seconds if self.seconds else 0.0

    @property
    def failed(self) -> int:
        """The operations that failed."""
        return self.errors.total()

    def latency(self, share: float, *, recent: bool = False) -> float | None:
        """A percentile of the latencies in seconds; None without any.

        Args:
            share: 0.99 for p99.
            recent: Only of the last 2000 operations: cheap enough to show while the load runs.
        """
        return percentile(sorted(self.samples[-_RECENT:] if recent else self.samples), share)


def percentile(ordered: Sequence[float], share: float) -> float | None:
    """The nearest-rank percentile of values in ascending order; None without any.

    Args:
        ordered: The values.
        share: From 0 to 1.
    """
    if not ordered:
        return None
    # Hundredths of a percent in whole numbers: 0.07 * 100 is 7.000000000000001, whose ceiling is 8.
    rank = -(-round(share * 10_000) * len(ordered) // 10_000)
    return ordered[max(rank, 1) - 1]


async def _read(items: Any, number: int) -> None:
    await items.find_one({"_id": number % DOCUMENTS})


async def _write(items: Any, number: int) -> None:
    await items.update_one({"_id": number % DOCUMENTS}, {"$inc": {"visits": 1}})


async def _aggregate(items: Any, number: int) -> None:
    cursor = items.aggregate(_GROUPS)
    # Motor returns the cursor itself, AsyncMongoClient a coroutine of it.
    if inspect.isawaitable(cursor):
        cursor = await cursor
    await cursor.to_list(None)


# The heavier operations spread out, so that each task meets them at its own time.
_HALF = (_read, _write, _read, _read, _read, _write, _read, _read, _read)
_MIX = (*_HALF, _write, *_HALF, _aggregate)


async def seed(items: Any) -> None:
    """Put the documents in that the load works with."""
    await items.insert_many([{"_id": each, "group": each % 10, "visits": 0} for each in range(DOCUMENTS)])


@dataclass(frozen=True, slots=True)
class Serving:
    """A contender that is open.

    Attributes:
        collection: Gives an operation its collection, and takes care of the client around it.
        pool: The pool whose client all operations use; None if they use none of ours.
    """

    collection: Callable[[], Any]
    pool: type[AsyncMongoDBConnectionPool[Any]] | None = None

    def in_use(self) -> int | None:
        """The connections that carry an operation now; None where nobody knows."""
        return self.pool.snapshot().totals.used if self.pool is not None else None


@dataclass(frozen=True, slots=True)
class Contender:
    """One way of using a client, and what it did."""

    name: str
    opened: Callable[[Target], Any]
    figures: Figures = field(default_factory=Figures)


@asynccontextmanager
async def shared_pool(target: Target) -> AsyncIterator[Serving]:
    """All operations on the client of a pool of ours, with the pool's defaults."""
    pool = AsyncMongoDBConnectionPool.named("the pool compared")
    client = await pool.initialize(target.uri, backend=target.backend)
    try:
        yield one_client(client, target, pool)
    finally:
        await pool.close(drain=0.2, timeout=0.5)


@asynccontextmanager
async def plain_client(target: Target) -> AsyncIterator[Serving]:
    """All operations on one client of the driver, with the driver's defaults."""
    client = _client_class(target.backend)(target.uri)
    try:
        yield one_client(client, target)
    finally:
        await _closed(client)


@asynccontextmanager
async def client_per_request(target: Target) -> AsyncIterator[Serving]:
    """A new client of the driver for each operation."""
    client_class = _client_class(target.backend)

    @asynccontextmanager
    async def collection() -> AsyncIterator[Any]:
        client = client_class(target.uri)
        try:
            yield client[target.database].items
        finally:
            await _closed(client)

    yield Serving(collection)


def contenders(backend: str) -> tuple[Contender, ...]:
    """The three that are compared, each with empty figures."""
    plain = {"motor": "plain Motor client", "pymongo": "plain AsyncMongoClient"}[backend]
    return (
        Contender("pool", shared_pool),
        Contender(plain, plain_client),
        Contender("client per request", client_per_request),
    )


def one_client(client: Any, target: Target, pool: type[AsyncMongoDBConnectionPool[Any]] | None = None) -> Serving:
    """All operations on this client.

    Args:
        client: The client.
        target: Where its database is.
        pool: The pool that the client is from, if it is from one.
    """
    items = client[target.database].items

    @asynccontextmanager
    async def collection() -> AsyncIterator[Any]:
        yield items

    return Serving(collection, pool)


def _client_class(backend: str) -> Any:
    if backend == "motor":
        from motor.motor_asyncio import AsyncIOMotorClient

        return AsyncIOMotorClient
    from pymongo import AsyncMongoClient

    return AsyncMongoClient


async def _closed(client: Any) -> None:
    # In a task of its own: AsyncMongoClient.close() swallows a cancellation of the task that awaits it.
    await asyncio.wait({asyncio.create_task(_close(client))}, timeout=1)


async def _close(client: Any) -> None:
    with suppress(PyMongoError), pymongo.timeout(0.5):
        closing = client.close()
        if inspect.isawaitable(closing):
            await closing


async def run_load(serving: Serving, tasks: int, seconds: float, figures: Figures) -> None:
    """Run the mix from many tasks at once, each beginning its next operation when the last one ended.

    No operation is begun after ``seconds``; those begun are waited for, and count, as does the time they take.

    Args:
        serving: The contender.
        tasks: How many at once.
        seconds: How long.
        figures: What is measured goes here, while it happens.
    """
    began = time.perf_counter()
    before = figures.seconds
    workers = {
        asyncio.create_task(_work(serving, number, began + seconds, before - began, figures))
        for number in range(tasks)
    }
    try:
        _, late = await asyncio.wait(workers, timeout=seconds + ANSWER_LIMIT)
        figures.errors["NoAnswer"] += len(late)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.wait(workers, timeout=0.5)
    figures.errors += Counter()


async def _work(serving: Serving, number: int, deadline: float, offset: float, figures: Figures) -> None:
    turn = number
    while (began := time.perf_counter()) < deadline:
        try:
            async with serving.collection() as items:
                await _MIX[turn % len(_MIX)](items, turn * 7 + number)
        except (PyMongoError, OSError) as error:
            figures.errors[type(error).__name__] += 1
        else:
            figures.samples.append(time.perf_counter() - began)
        figures.seconds = time.perf_counter() + offset
        turn += 1
