"""What `run` does with the functions that it is given: how long they count, and what they may return."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from pymongo.errors import AutoReconnect

from tests.pools.subjects import sleep_on_server
from tests.timing import now

from .subjects import Subject

if TYPE_CHECKING:
    from collections.abc import Callable


async def test_close_waits_for_a_function_between_two_of_its_calls(
    subject: Subject, mongodb_uri: str, wait_until_async: Callable[..., Any]
) -> None:
    await subject.initialize(mongodb_uri)
    between, done = threading.Event(), threading.Event()

    async def twice(client: Any) -> str:
        await subject.call(client.admin.command, "ping")
        between.set()
        await asyncio.sleep(0.5)
        await subject.call(client.admin.command, "ping")
        done.set()
        return "both"

    def twice_blocking(client: Any) -> str:
        client.admin.command("ping")
        between.set()
        time.sleep(0.5)
        client.admin.command("ping")
        done.set()
        return "both"

    running = asyncio.ensure_future(subject.run(twice if subject.is_async else twice_blocking))
    await wait_until_async(between.is_set)
    await subject.close(drain=10, timeout=15)
    assert done.is_set()
    assert await running == "both"


async def test_close_waits_for_what_a_cancelled_caller_left_behind(
    mongodb_uri: str, wait_until_async: Callable[..., Any]
) -> None:
    subject = Subject("pymongo")
    await subject.initialize(mongodb_uri)
    between, done = asyncio.Event(), asyncio.Event()

    async def twice(client: Any) -> None:
        await client.admin.command("ping")
        between.set()
        await asyncio.sleep(0.5)
        await client.admin.command("ping")
        done.set()

    running = asyncio.ensure_future(subject.run(twice))
    await between.wait()
    running.cancel()
    await asyncio.wait({running})
    await subject.close(drain=10, timeout=15)
    assert done.is_set()


async def test_a_replaced_client_lives_until_a_function_is_done_with_it(
    subject: Subject, mongodb_uri: str, wait_until_async: Callable[..., Any]
) -> None:
    await subject.initialize(mongodb_uri, retire_after=0.1)
    between = threading.Event()
    clients: list[Any] = []

    async def twice(client: Any) -> None:
        clients.append(client)
        between.set()
        await asyncio.sleep(1)
        await subject.call(client.admin.command, "ping")

    def twice_blocking(client: Any) -> None:
        clients.append(client)
        between.set()
        time.sleep(1)
        client.admin.command("ping")

    running = asyncio.ensure_future(subject.run(twice if subject.is_async else twice_blocking))
    await wait_until_async(between.is_set)
    await subject.initialize(mongodb_uri, retire_after=0.1, maxPoolSize=7)
    await running
    assert len(clients) == 1
    await wait_until_async(lambda: not subject.pool._lifecycle.retired)


async def test_an_error_of_the_functions_own_is_free_as_soon_as_the_caller_is_done_with_it(
    subject: Subject, mongodb_uri: str
) -> None:
    class Kept: ...

    kept: list[weakref.ref[Kept]] = []

    def fails(client: Any) -> None:
        mine = Kept()
        kept.append(weakref.ref(mine))
        raise ZeroDivisionError

    await subject.initialize(mongodb_uri, minPoolSize=0)
    gc.collect()
    gc.disable()
    try:
        for _ in range(5):
            # Without a thread between: its pool keeps the last error until the next call.
            with suppress(ZeroDivisionError):
                await (subject.run(subject.made(fails)) if subject.is_async else _blocking(subject, fails))
        assert [each() for each in kept] == [None] * 5
    finally:
        gc.enable()


async def test_what_is_only_begun_is_no_result(subject: Subject, mongodb_uri: str) -> None:
    await subject.initialize(mongodb_uri)
    await subject.run(lambda client: client.shop.things.insert_one({"n": 1}))
    with pytest.raises(TypeError, match="read it in the function"):
        await subject.run(subject.made(_Unread()))
    with pytest.raises(TypeError, match="generator"):
        await subject.run(subject.made(lambda client: (each for each in (1, 2))))
    started = await subject.run(_started if subject.is_async else _started_blocking)
    assert started is not None


async def _blocking(subject: Subject, function: Callable[[Any], None]) -> None:
    subject.pool.run(function)


class _Unread:
    """Returns a cursor that asked for nothing yet; not awaited by `made`, as a cursor cannot be."""

    def __call__(self, client: Any) -> Any:
        return client.shop.things.find()


async def _started(client: Any) -> Any:
    cursor = client.shop.things.find()
    await cursor.next()
    return cursor


def _started_blocking(client: Any) -> Any:
    cursor = client.shop.things.find()
    next(cursor)
    return cursor


async def test_who_holds_a_connection_within_run_has_the_callers_name(
    mongodb_uri: str, wait_until_async: Callable[..., Any]
) -> None:
    subject = Subject("pymongo")
    await subject.initialize(mongodb_uri)
    task = asyncio.create_task(subject.run(lambda client: sleep_on_server(client, 1)), name="monthly report")
    await wait_until_async(subject.pool.holders)
    assert [each.name for each in subject.pool.holders()] == ["monthly report"]
    await task
    await subject.close()


async def test_who_closes_the_pool_from_within_does_not_wait_for_itself(
    subject: Subject, mongodb_uri: str
) -> None:
    await subject.initialize(mongodb_uri)
    began = now()
    await subject.run(lambda client: subject.pool.close(drain=5, timeout=10))
    assert now() - began < 3


async def test_what_a_function_leaves_running_has_no_right_of_way_when_it_is_over(mongodb_uri: str) -> None:
    subject = Subject("motor")
    await subject.initialize(mongodb_uri)
    handle = subject.pool._lifecycle.handle()
    seen: list[bool] = []
    go_on = asyncio.Event()

    async def later() -> None:
        seen.append(handle.is_worked_with())
        await go_on.wait()
        seen.append(handle.is_worked_with())

    tasks: list[asyncio.Task[None]] = []

    async def leaves(client: Any) -> None:
        tasks.append(asyncio.create_task(later()))
        await asyncio.sleep(0)

    await subject.run(leaves)
    go_on.set()
    await tasks[0]
    assert seen == [True, False]
    await subject.close()


async def test_the_outer_one_of_two_pools_passes_too(mongodb_uri: str) -> None:
    outer, inner = Subject("motor"), Subject("motor")
    await outer.initialize(mongodb_uri)
    await inner.initialize(mongodb_uri)
    handles = [each.pool._lifecycle.handle() for each in (outer, inner)]

    async def look(client: Any) -> list[bool]:
        return [handle.is_worked_with() for handle in handles]

    assert await outer.run(lambda client: inner.run(look)) == [True, True]
    assert [handle.is_worked_with() for handle in handles] == [False, False]
    await outer.close()
    await inner.close()


def test_a_function_that_was_left_on_a_closed_loop_is_not_waited_for(mongodb_uri: str) -> None:
    subject = Subject("motor")
    loop = asyncio.new_event_loop()
    began = asyncio.Event()

    async def hangs(client: Any) -> None:
        began.set()
        await asyncio.Event().wait()

    async def leave() -> None:
        await subject.initialize(mongodb_uri)
        left.append(asyncio.ensure_future(subject.run(hangs)))
        await began.wait()

    left: list[Any] = []
    loop.run_until_complete(leave())
    loop.close()
    left[0]._log_destroy_pending = False
    left.clear()
    gc.collect()
    assert subject.pool._lifecycle.handle().in_progress() == 0
    subject.pool.close_sync()


@pytest.mark.parametrize("backend", ["motor", "pymongo"])
async def test_a_callback_that_waits_for_a_cancelled_task_hides_no_error(backend: str, mongodb_uri: str) -> None:
    subject = Subject(backend)
    await subject.initialize(mongodb_uri)

    async def on_give_up(error: Exception, attempts: int, seconds: float) -> None:
        other = asyncio.create_task(asyncio.sleep(60))
        other.cancel()
        await other

    def lost(client: Any) -> None:
        raise AutoReconnect("lost")

    with pytest.raises(AutoReconnect):
        await subject.run(subject.made(lost), on_give_up=on_give_up)
    await subject.close()
