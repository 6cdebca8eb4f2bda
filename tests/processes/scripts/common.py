"""What the scripts share: one text for three backends, forks with a bound, and a protocol of one JSON line."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import os
import select
import signal
import sys
import threading
import time
import traceback
import warnings
from typing import TYPE_CHECKING, Any

from async_mongo_pool import AsyncMongoDBConnectionPool, MongoDBConnectionPool
from async_mongo_pool.testing import waiting
from async_mongo_pool.testing.server import ExistingServer

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

# What the library tells is not what a test of silence is about; nor that a script blocks its loop on purpose.
logging.getLogger("async_mongo_pool").addHandler(logging.NullHandler())
logging.getLogger("asyncio").addFilter(lambda record: not str(record.msg).startswith("Executing"))

BOUND = 20.0
"""Seconds that anything in a script may take."""


def say(**facts: Any) -> None:
    """One line of the protocol between a script and its test."""
    sys.stdout.write(json.dumps(facts, default=str) + "\n")
    sys.stdout.flush()


class Service:
    """An application with a pool of its own on one backend."""

    def __init__(self, backend: str, uri: str) -> None:
        self.backend = backend
        self.uri = uri
        self.name = f"forked{os.getpid()}"
        base: Any = MongoDBConnectionPool if backend == "sync" else AsyncMongoDBConnectionPool
        self.pool: Any = base.named(self.name)
        self.options: dict[str, Any] = {"appName": self.name, "minPoolSize": 0}
        if backend != "sync":
            self.options["backend"] = backend
        self._loop: asyncio.AbstractEventLoop | None = None

    async def call(self, function: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
        outcome = function(*arguments, **keywords)
        return await outcome if inspect.isawaitable(outcome) else outcome

    async def initialize(self, *arguments: Any, **options: Any) -> Any:
        """As the application does it: the first time with arguments, in a worker without."""
        return await self.call(self.pool.initialize, *arguments, **options)

    async def open(self) -> Any:
        return await self.initialize(self.uri, **self.options)

    async def use(self, client: Any) -> None:
        numbers = client.get_database("processes")[self.name]
        await self.call(numbers.insert_one, {"pid": os.getpid()})
        assert await self.call(numbers.find_one, {"pid": os.getpid()})

    async def close(self) -> None:
        await self.call(self.pool.close)

    async def stats(self) -> dict[str, Any]:
        stats: dict[str, Any] = await self.call(self.pool.get_pool_stats)
        return stats

    def connections(self) -> set[int]:
        """What the server sees of this application, in all its processes."""
        return {found["connectionId"] for found in ExistingServer(self.uri).connections(appname=self.name)}

    # The event loop of the parent runs in a thread, like a server's; children have none before they make one.

    def serve(self) -> None:
        """Run an event loop in another thread from now on."""
        loop = self._loop = asyncio.new_event_loop()
        threading.Thread(target=loop.run_forever, daemon=True).start()

    def run(self, call: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """Run a coroutine function in the loop of ``serve``, or in a loop of its own."""
        if self._loop is None:
            return asyncio.run(_bounded(call))
        return asyncio.run_coroutine_threadsafe(_bounded(call), self._loop).result(BOUND)

    def forget_loop(self) -> None:
        """In a child: the thread that ran it does not exist here."""
        self._loop = None

    def stop(self) -> None:
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.call_soon_threadsafe(loop.stop)
            waiting.wait_until(lambda: not loop.is_running())
            loop.close()


async def _bounded(call: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    async with asyncio.timeout(BOUND):
        return await call()


def fork_quietly() -> int:
    with warnings.catch_warnings():
        # Python 3.12 and newer warn of every fork in a process with threads, which is the case tested here.
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def in_child(work: Callable[[], Any], meanwhile: Callable[[], Any] = lambda: None) -> Any:
    """Fork, let the child do ``work`` and return what it returned (JSON), within the bound.

    ``meanwhile`` is what the parent does before the child ends.
    """
    reading, writing = os.pipe()
    child = fork_quietly()
    if child == 0:
        _be_child(work, writing)
    os.close(writing)
    try:
        answer = json.loads(_read_all(reading, BOUND + 2) or '{"failed": "the child said nothing"}')
        meanwhile()
        return answer
    finally:
        os.close(reading)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def _be_child(work: Callable[[], Any], writing: int) -> None:
    signal.alarm(int(BOUND))
    try:
        answer = work()
    except BaseException:
        answer = {"failed": traceback.format_exc()}
    os.write(writing, json.dumps(answer, default=str).encode())
    os.close(writing)
    # Until the parent ends this process: the test is about what a live child does to its parent.
    signal.pause()


def _read_all(reading: int, seconds: float) -> bytes:
    deadline = time.monotonic() + seconds
    parts: list[bytes] = []
    while select.select([reading], [], [], max(deadline - time.monotonic(), 0))[0]:
        part = os.read(reading, 65536)
        if not part:
            break
        parts.append(part)
    return b"".join(parts)
