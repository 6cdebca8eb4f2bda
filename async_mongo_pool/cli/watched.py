"""A pool of one of the three backends behind one asynchronous face."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from async_mongo_pool.async_pool import AsyncMongoDBConnectionPool
from async_mongo_pool.daemon import in_daemon_thread, wait_in_loop
from async_mongo_pool.sync_pool import MongoDBConnectionPool

if TYPE_CHECKING:
    from collections.abc import Callable

    from async_mongo_pool.stats import Holder, PoolSnapshot

__all__ = ["CLIENTS", "Choice", "Watched"]

Choice: TypeAlias = Literal["motor", "pymongo", "sync"]

CLIENTS = {"motor": "Motor", "pymongo": "AsyncMongoClient", "sync": "MongoClient"}
"""Whose client that is."""


class Watched:
    """A pool that is watched; the synchronous one's calls run on daemon threads.

    Args:
        choice: "motor", "pymongo" or "sync".
        name: The pool's name.
    """

    def __init__(self, choice: Choice, name: str) -> None:
        self.choice = choice
        twin: Any = MongoDBConnectionPool if choice == "sync" else AsyncMongoDBConnectionPool
        self.pool = twin.named(name)
        self._backend = "pymongo" if choice == "sync" else choice

    async def open(self, uri: str, **options: Any) -> None:
        """Open the pool.

        Raises:
            PyMongoError: As ``initialize`` does.
        """
        await self._call("open", lambda: self.pool.initialize(uri, backend=self._backend, **options))

    async def run(self, name: str, operation: Callable[[Any], Any]) -> Any:
        """Run an operation on the client.

        Args:
            name: The name of the thread, where there is one.
            operation: Gets the client; returns a result or an awaitable of one.
        """
        client = self.pool.get_client()
        return await self._call(name, lambda: operation(client))

    async def stats(self) -> dict[str, Any]:
        """``get_pool_stats``, with the server's own count of connections."""
        answer: dict[str, Any] = await self._call("stats", lambda: self.pool.get_pool_stats(server=True))
        return answer

    def snapshot(self) -> PoolSnapshot:
        """The pool now."""
        snapshot: PoolSnapshot = self.pool.snapshot()
        return snapshot

    def holders(self) -> list[Holder]:
        """Who holds its connections."""
        holders: list[Holder] = self.pool.holders()
        return holders

    async def close(self) -> None:
        """Close the pool, at once."""
        await self._call("close", lambda: self.pool.close(drain=0, timeout=0.5))

    async def _call(self, name: str, call: Callable[[], Any]) -> Any:
        if self.choice == "sync":
            return await wait_in_loop(in_daemon_thread(name, call))
        result = call()
        return await result if inspect.isawaitable(result) else result
