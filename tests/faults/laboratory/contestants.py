"""Who writes: each backend with the preset, without it, and the plain driver beside them."""

from __future__ import annotations

import itertools
import os
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import AsyncMongoClient, MongoClient

from async_mongo_pool import AsyncMongoDBConnectionPool, MongoDBConnectionPool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

__all__ = ["BACKENDS", "KINDS", "OPERATION_LIMIT", "Access", "Contestant", "inserting", "inserting_async"]

BACKENDS = ("motor", "pymongo", "sync")
KINDS = ("plain", "ours", "fast_failover")
OPERATION_LIMIT = 10.0
"""Seconds that `operation(timeout=...)` gives each write with the preset: a failover fits into it."""
DATABASE = "laboratory"
COMMON: dict[str, Any] = {"w": "majority", "maxPoolSize": 100}
CLOSING: dict[str, Any] = {"drain": 0, "timeout": 5}

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Contestant:
    """A backend, and how it is used.

    Attributes:
        backend: One of `BACKENDS`.
        kind: "plain" for the driver alone, "ours" for a pool with the library's defaults, "fast_failover" for one
            with that preset whose writes stand in `operation(timeout=...)`.
    """

    backend: str
    kind: str

    def __str__(self) -> str:
        return f"{self.backend} {self.kind}"

    @property
    def options(self) -> dict[str, Any]:
        preset = {"preset": "fast_failover"} if self.kind == "fast_failover" else {}
        return {**COMMON, **preset}


@dataclass(frozen=True)
class Access:
    """What a writer gets.

    Attributes:
        insert: Inserts a document with this `_id`; to be awaited where the driver is asynchronous.
        clears: How often the driver has cleared its pools so far; 0 for plain drivers, which do not tell.
    """

    insert: Callable[[str], Any]
    clears: Callable[[], int] = lambda: 0


@asynccontextmanager
async def inserting_async(contestant: Contestant, uri: str, collection: str) -> AsyncIterator[Access]:
    """Open an asynchronous contestant."""
    if contestant.kind == "plain":
        # Motor is untyped, and both are used alike from here on.
        kind: Any = AsyncIOMotorClient if contestant.backend == "motor" else AsyncMongoClient
        plain = kind(uri, **COMMON)
        await plain.admin.command("ping")
        try:
            yield Access(lambda name: plain[DATABASE][collection].insert_one({"_id": name}))
        finally:
            closing = plain.close()
            if closing is not None:
                await closing
        return
    pool = AsyncMongoDBConnectionPool.named(_fresh_name())
    backend: Any = contestant.backend
    client: Any = await pool.initialize(uri, backend=backend, **contestant.options)
    target = client[DATABASE][collection]

    async def limited(name: str) -> object:
        with pool.operation(timeout=OPERATION_LIMIT):
            return await target.insert_one({"_id": name})

    async def unlimited(name: str) -> object:
        return await target.insert_one({"_id": name})

    try:
        insert = limited if contestant.kind == "fast_failover" else unlimited
        yield Access(insert, lambda: pool.snapshot().totals.clears)
    finally:
        await pool.close(**CLOSING)


@contextmanager
def inserting(contestant: Contestant, uri: str, collection: str) -> Iterator[Access]:
    """Open a synchronous contestant."""
    if contestant.kind == "plain":
        plain: MongoClient[dict[str, Any]] = MongoClient(uri, **COMMON)
        plain.admin.command("ping")
        with plain:
            yield Access(lambda name: plain[DATABASE][collection].insert_one({"_id": name}))
        return
    pool = MongoDBConnectionPool.named(_fresh_name())
    target = pool.initialize(uri, **contestant.options)[DATABASE][collection]

    def limited(name: str) -> object:
        with pool.operation(timeout=OPERATION_LIMIT):
            return target.insert_one({"_id": name})

    def unlimited(name: str) -> object:
        return target.insert_one({"_id": name})

    try:
        insert = limited if contestant.kind == "fast_failover" else unlimited
        yield Access(insert, lambda: pool.snapshot().totals.clears)
    finally:
        pool.close(**CLOSING)


def _fresh_name() -> str:
    return f"laboratory-{os.getpid()}-{next(_numbers)}"
