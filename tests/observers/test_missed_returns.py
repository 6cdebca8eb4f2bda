"""Connections whose return nobody published, or another than their holder: no slow checkouts are made of them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from pymongo.monitoring import ConnectionCheckedInEvent, ConnectionCheckedOutEvent, ConnectionClosedEvent

from async_mongo_pool.events import TaskConnectionEvents
from async_mongo_pool.observers.log_thread import LogThread
from async_mongo_pool.observers.slow_checkouts import SlowCheckouts

from .clients import Observed
from .test_slow_checkouts import ADDRESS, checkouts, hold, in_thread, slow, slow_count

if TYPE_CHECKING:
    from collections.abc import Callable


def test_a_return_by_another_thread_is_found_by_the_next_look_and_not_told(log: Callable[..., list[str]]) -> None:
    made, events, thread = checkouts(5.0)
    thread.stop()
    events.connection_checked_out(ConnectionCheckedOutEvent(ADDRESS, 1, 0.0))
    made.connection_checked_out(ConnectionCheckedOutEvent(ADDRESS, 1, 0.0))
    (checkout,) = made.current().values()
    returned = ConnectionCheckedInEvent(ADDRESS, 1)

    def give_back() -> None:
        events.connection_checked_in(returned)
        made.connection_checked_in(returned)

    in_thread(give_back)
    assert len(made.current()) == 1
    checkout.since -= 10
    assert made.look() is None
    assert made.current() == {}
    assert (slow(events), log()) == (0, [])


async def test_a_return_that_the_driver_does_not_publish_is_no_slow_checkout(
    mongodb_uri: str,
    log: Callable[..., list[str]],
    wait_until_async: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with Observed("pymongo", mongodb_uri, slow_checkout_ms=150) as observed:

        async def cut_off() -> None:
            manager = await hold(observed.client)
            with monkeypatch.context() as patched:
                # As when a task is cancelled at a bad moment.
                for listener in (observed.events, checkouts):
                    patched.setattr(listener, "connection_checked_in", lambda event: None)
                await manager.__aexit__(None, None, None)

        checkouts = observed.observers._checkouts
        assert checkouts is not None
        await asyncio.create_task(cut_off(), name="cut off")
        assert len(checkouts.current()) == 1
        await wait_until_async(lambda: not checkouts.current(), 5, "the watch to find the return")
        assert (slow_count(observed), log("cut off")) == (0, [])
        await observed.sleep_on_server(0.3)
        await wait_until_async(lambda: log("returned after"), 5, "the next one, which is slow")
        assert slow_count(observed) == 1


@pytest.mark.parametrize("leaves", [True, False])
async def test_nothing_is_told_before_the_loop_has_compared(
    leaves: bool, log: Callable[..., list[str]], wait_until_async: Callable[..., Any]
) -> None:
    events = TaskConnectionEvents()
    asked: list[Callable[[], None]] = []
    made = SlowCheckouts("Pool", 5.0, events, stack=False, by_task=True, submitted=False, refresh=asked.append)
    thread = LogThread("Pool", made.look)

    async def take() -> None:
        for listener in (events, made):
            listener.connection_checked_out(ConnectionCheckedOutEvent(ADDRESS, 1, 0.0))

    await asyncio.create_task(take(), name="short")
    made.attach(thread)
    (checkout,) = made.current().values()
    checkout.since -= 10
    assert [made.look(), made.look()] == [None, None]
    assert len(asked) == 1, "once is enough"
    assert (log(), slow(events)) == ([], 0)
    if leaves:
        events.connection_checked_in(ConnectionCheckedInEvent(ADDRESS, 1))
    asked[0]()
    await wait_until_async(lambda: not made.current() if leaves else log("it may be leaked"), 5, "the look")
    thread.stop()
    assert len(log("has been held for")) == slow(events) == (0 if leaves else 1)


async def test_without_a_comparison_a_task_that_has_ended_is_told_of_at_the_second_look() -> None:
    events = TaskConnectionEvents()
    made = SlowCheckouts("Pool", 5.0, events, stack=False, by_task=True, submitted=False)

    async def take() -> None:
        for listener in (events, made):
            listener.connection_checked_out(ConnectionCheckedOutEvent(ADDRESS, 1, 0.0))

    await asyncio.create_task(take())
    (checkout,) = made.current().values()
    checkout.since -= 10
    assert made.look() is not None
    assert slow(events) == 0
    assert made.look() is None
    assert slow(events) == 1


def test_a_connection_that_somebody_else_closes_is_still_held(log: Callable[..., list[str]]) -> None:
    made, events, thread = checkouts(5.0)
    thread.stop()
    for listener in (events, made):
        listener.connection_checked_out(ConnectionCheckedOutEvent(ADDRESS, 1, 0.0))
    (checkout,) = made.current().values()
    checkout.since -= 10
    in_thread(lambda: made.connection_closed(ConnectionClosedEvent(ADDRESS, 1, "stale")))
    assert (list(made.current().values()), slow(events)) == ([checkout], 0)
    made.connection_closed(ConnectionClosedEvent(ADDRESS, 1, "error"))
    assert (made.current(), slow(events)) == ({}, 1)
