"""Driver clients of each backend with the observers and the counts alone: what a pool adds is left out."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import AsyncMongoClient, MongoClient

from async_mongo_pool.backends import driver_state
from async_mongo_pool.config.pool_options import PoolOptions
from async_mongo_pool.events import ConnectionEvents, TaskConnectionEvents
from async_mongo_pool.observers import Observers

if TYPE_CHECKING:
    from collections.abc import Callable

_numbers = itertools.count(1)


class _SubmittingLoop:
    """The running loop, with the observers told of each operation that goes to a thread, as the pool does it."""

    def __init__(self, observers: Observers, workers: ThreadPoolExecutor) -> None:
        self._observers = observers
        self._workers = workers

    def run_in_executor(self, executor: Any, call: Any) -> asyncio.Future[Any]:
        if self._observers.on_submit is not None:
            self._observers.on_submit(call)
        return asyncio.get_running_loop().run_in_executor(self._workers, call)

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio.get_running_loop(), name)


class Observed:
    """A client of its own on one backend; the twin's blocking calls run in threads."""

    def __init__(self, backend: str, uri: str, *, client: Any = None, **options: Any) -> None:
        self.backend = backend
        self.name = f"Observed{os.getpid()}x{next(_numbers)}"
        self.events = TaskConnectionEvents() if backend == "pymongo" else ConnectionEvents()
        self.observers = Observers(
            self.name,
            PoolOptions(**options),
            self.events,
            by_task=backend == "pymongo",
            submitted=backend == "motor",
            refresh=self._refresh if backend == "pymongo" else None,
        )
        kind: Any = {"motor": AsyncIOMotorClient, "pymongo": AsyncMongoClient, "sync": MongoClient}[backend]
        listeners = [self.events, *self.observers.listeners()]
        self.client: Any = kind(uri, event_listeners=listeners, appname=self.name, **(client or {}))
        self._workers = ThreadPoolExecutor(8)
        if backend == "pymongo":
            self._loop = asyncio.get_running_loop()
        if backend == "motor":
            loop = _SubmittingLoop(self.observers, self._workers)
            self.client.get_io_loop = lambda: loop

    def _refresh(self, done: Callable[[], None]) -> None:
        assert isinstance(self.events, TaskConnectionEvents)
        events = self.events

        def compare() -> None:
            events.reconcile(driver_state.pools_now(self.client))
            done()

        self._loop.call_soon_threadsafe(compare)

    async def call(self, function: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
        """Await an asynchronous call, or run a blocking one in a thread."""
        if self.backend != "sync":
            result = function(*arguments, **keywords)
            return await result if inspect.isawaitable(result) else result
        return await asyncio.to_thread(function, *arguments, **keywords)

    async def sleep_on_server(self, seconds: float) -> Any:
        return await self.call(self.client.admin.command, "sleep", millis=int(seconds * 1000), lock="none")

    async def close(self) -> None:
        closing = self.client.close()
        if inspect.isawaitable(closing):
            await closing
        self._workers.shutdown()
        self.observers.stop()

    async def __aenter__(self) -> Observed:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def log_threads(observed: Observed) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == f"{observed.name}-log"]
