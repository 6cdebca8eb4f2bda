"""Cancelled at every suspension point, once and twice: nothing is left and the pool still opens."""

from __future__ import annotations

import asyncio
import threading
import types
from typing import TYPE_CHECKING, Any

import pytest

from .subjects import Subject, ping

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator

    from async_mongo_pool.testing import Server

MOST_POINTS = 200


class Cancelling:
    """Drives a coroutine and cancels its task at the n-th suspension, and at the next ``again`` ones."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], at: int, again: int) -> None:
        self._coroutine = coroutine
        self._points = range(at, at + again + 1)
        self.suspensions = 0

    @types.coroutine
    def run(self) -> Generator[Any, Any, Any]:
        error: BaseException | None = None
        while True:
            try:
                waiting_for = self._coroutine.send(None) if error is None else self._coroutine.throw(error)
            except StopIteration as stop:
                return stop.value
            self.suspensions += 1
            if self.suspensions in self._points:
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
            try:
                error = None
                yield waiting_for
            except BaseException as thrown:
                # Handed on to the coroutine, whatever it is.
                error = thrown


async def cancel_everywhere(
    make: Callable[[], Coroutine[Any, Any, Any]],
    again: int,
    before: Callable[[], Coroutine[Any, Any, None]],
    check: Callable[[], Coroutine[Any, Any, None]],
) -> int:
    """Cancel at point 1, 2, 3 ... until the coroutine has no such point; return how many there were."""
    for point in range(1, MOST_POINTS):
        await before()
        cancelling = Cancelling(make(), point, again)
        await asyncio.gather(asyncio.ensure_future(_as_task(cancelling)), return_exceptions=True)
        await check()
        if cancelling.suspensions < point:
            return point - 1
    raise AssertionError(f"more than {MOST_POINTS} suspension points")


async def _as_task(cancelling: Cancelling) -> Any:
    return await cancelling.run()


class Witness:
    """Checks that nothing is left: no task, no thread of ours, no connection that the server sees."""

    def __init__(self, subject: Subject, mongod: Server, wait_until_async: Callable[..., Any]) -> None:
        self._subject = subject
        self._mongod = mongod
        self._wait = wait_until_async

    async def nothing_left(self) -> None:
        mine = asyncio.current_task()
        await self._wait(lambda: not self._left(mine), timeout=5, message=lambda: f"{self._left(mine)} to end")
        await self._wait(
            lambda: not self._mongod.connections(appname=self._subject.name), message="connections are left"
        )

    def _left(self, mine: asyncio.Task[Any] | None) -> list[str]:
        tasks = [repr(task) for task in asyncio.all_tasks() if task is not mine and not is_a_fixture(task)]
        threads = [thread.name for thread in threading.enumerate() if thread.name.startswith(self._subject.name)]
        return tasks + threads


@pytest.fixture
async def witness(async_subject: Subject, mongod: Server, wait_until_async: Callable[..., Any]) -> Witness:
    return Witness(async_subject, mongod, wait_until_async)


def is_a_fixture(task: asyncio.Task[Any]) -> bool:
    """Pytest's asynchronous fixtures live in tasks of the same loop."""
    return "fixture" in repr(task.get_coro()) or "nothing_left" in repr(task.get_coro())


async def nothing() -> None:
    """No preparation."""


@pytest.mark.parametrize("again", [0, 1], ids=["once", "twice"])
async def test_initialize(async_subject: Subject, witness: Witness, mongodb_uri: str, again: int) -> None:
    async def check() -> None:
        if async_subject.pool.get_client() is not None:
            # It got to its end, or was cancelled after the client was published.
            await async_subject.close()
        await witness.nothing_left()
        client = await async_subject.initialize(mongodb_uri)
        assert (await ping(client))["ok"] == 1
        await async_subject.close()

    points = await cancel_everywhere(lambda: async_subject.initialize(mongodb_uri), again, nothing, check)
    assert points >= 1


@pytest.mark.parametrize("again", [0, 1], ids=["once", "twice"])
async def test_initialize_that_replaces(
    async_subject: Subject, witness: Witness, mongodb_uri: str, again: int
) -> None:
    async def before() -> None:
        await async_subject.initialize(mongodb_uri)

    async def check() -> None:
        # Replaced or not: some client serves.
        assert (await ping(async_subject.pool.get_client()))["ok"] == 1
        await async_subject.close()
        await witness.nothing_left()

    points = await cancel_everywhere(
        lambda: async_subject.initialize(mongodb_uri, maxPoolSize=11), again, before, check
    )
    assert points >= 1


@pytest.mark.parametrize("again", [0, 1], ids=["once", "twice"])
async def test_close(async_subject: Subject, witness: Witness, mongodb_uri: str, again: int) -> None:
    async def before() -> None:
        client = await async_subject.initialize(mongodb_uri)
        await asyncio.gather(*(ping(client) for _ in range(5)))

    async def check() -> None:
        assert async_subject.pool.get_client() is None
        await witness.nothing_left()

    points = await cancel_everywhere(lambda: async_subject.close(), again, before, check)
    assert points >= 1


@pytest.mark.parametrize("again", [0, 1], ids=["once", "twice"])
async def test_scope(async_subject: Subject, witness: Witness, mongodb_uri: str, again: int) -> None:
    async def use() -> None:
        async with async_subject.scope(mongodb_uri) as client:
            await ping(client)

    async def check() -> None:
        await witness.nothing_left()
        assert async_subject.pool.get_client() is None
        async with async_subject.scope(mongodb_uri) as client:
            assert (await ping(client))["ok"] == 1
        await witness.nothing_left()

    points = await cancel_everywhere(use, again, nothing, check)
    assert points >= 3
