"""One text for three backends: each of them behind the same awaitable calls."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from async_mongo_pool import AsyncMongoDBConnectionPool, MongoDBConnectionPool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

_numbers = itertools.count(1)

NO_SERVER = "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=300"
"""Port 1 is never listened on here."""


class Subject:
    """A pool of its own on one backend; the twin's blocking calls run in threads."""

    def __init__(self, backend: str) -> None:
        self.backend = backend
        self.is_async = backend != "sync"
        name = f"Pool{os.getpid()}x{next(_numbers)}"
        base: Any = AsyncMongoDBConnectionPool if self.is_async else MongoDBConnectionPool
        self.pool: Any = base.named(name)
        self.name = name
        self.choice: dict[str, Any] = {"backend": backend} if self.is_async else {}

    def another(self) -> Subject:
        return Subject(self.backend)

    async def call(self, function: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
        """Await an asynchronous call, or run a blocking one in a thread."""
        if self.is_async:
            result = function(*arguments, **keywords)
            return await result if inspect.isawaitable(result) else result
        return await asyncio.to_thread(function, *arguments, **keywords)

    async def initialize(self, *arguments: Any, **options: Any) -> Any:
        # A unique appName lets the server be the witness of this pool's connections.
        options.setdefault("appName", self.name)
        return await self.call(self.pool.initialize, *arguments, **self.choice, **options)

    async def close(self, **options: Any) -> None:
        await self.call(self.pool.close, **options)

    async def stats(self) -> dict[str, Any]:
        stats: dict[str, Any] = await self.call(self.pool.get_pool_stats)
        return stats

    @asynccontextmanager
    async def scope(self, *arguments: Any, **options: Any) -> AsyncIterator[Any]:
        options.setdefault("appName", self.name)
        manager = self.pool.scope(*arguments, **self.choice, **options)
        if self.is_async:
            async with manager as client:
                yield client
        else:
            client = await asyncio.to_thread(manager.__enter__)
            try:
                yield client
            finally:
                await asyncio.to_thread(manager.__exit__, None, None, None)

    async def documents(self, cursor: Any) -> AsyncIterator[Any]:
        """Iterate over a cursor, one document at a time."""
        if self.is_async:
            async for document in cursor:
                yield document
        else:
            end = object()
            while (document := await asyncio.to_thread(next, cursor, end)) is not end:
                yield document

    async def session(self, client: Any) -> Any:
        return await self.call(client.start_session)

    async def end(self, session: Any) -> None:
        await self.call(session.end_session)


def ping(client: Any) -> Any:
    return client.admin.command("ping")


def sleep_on_server(client: Any, seconds: float) -> Any:
    """An operation that holds a connection for some time (a test command of mongod)."""
    return client.admin.command("sleep", millis=int(seconds * 1000), lock="none")
