"""What may come in between: signal handlers, a slow limit, other loops, new servers, an arbiter."""

from __future__ import annotations

import asyncio
import contextvars
import signal
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import pymongo
import pytest

from async_mongo_pool import PoolExhaustedError, PoolSnapshot
from async_mongo_pool.backends.admission.limits import WaitLimits
from async_mongo_pool.stats import ServerStats, TotalStats

if TYPE_CHECKING:
    from collections.abc import Callable

    from .desk import Desk

    MakeDesk = Callable[..., Desk]

pytestmark = pytest.mark.core


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no interval timers")
async def test_a_signal_handler_may_look_at_the_pool_at_any_moment(make_desk: MakeDesk) -> None:
    desk = make_desk(4)
    desk.open_all()
    looked = 0

    def look(*_: Any) -> None:
        nonlocal looked
        desk.admission.stats()
        looked += 1

    before = signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, 0.0003, 0.0003)
    try:
        deadline = time.monotonic() + 20
        while looked < 300 and time.monotonic() < deadline:
            await asyncio.wait_for(asyncio.gather(*(desk.submit(number) for number in range(20))), 10)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert looked >= 300


async def test_whoever_comes_while_the_limit_is_asked_for_the_first_time_does_not_go_by_zero(
    make_desk: MakeDesk, wait_until_async: Callable[..., Any]
) -> None:
    asked, told = threading.Event(), threading.Event()

    def limit() -> int:
        asked.set()
        assert told.wait(20)
        return 2

    desk = make_desk(2)
    desk.admission._limit = limit
    desk.open_all()
    looking = threading.Thread(target=desk.admission.stats)
    looking.start()
    assert asked.wait(20)
    threading.Timer(0.1, told.set).start()
    assert await asyncio.wait_for(desk.submit("first"), 5) == "first"
    looking.join(20)


@pytest.mark.parametrize("timeout", [None, 0.2])
async def test_the_limit_that_ended_a_wait_in_the_drivers_queue_is_named(timeout: float | None) -> None:
    limits = WaitLimits(5000.0, None)

    def context() -> contextvars.Context:
        if timeout is None:
            return contextvars.copy_context()
        with pymongo.timeout(timeout):
            return contextvars.copy_context()

    named = limits.in_driver(partial(context().run, print))
    assert named == ("waitQueueTimeoutMS=5000" if timeout is None else "pymongo.timeout")
    assert WaitLimits(5000.0, 700.0).in_driver(partial(contextvars.copy_context().run, print)) == ("timeoutMS=700")


def test_of_several_servers_the_fullest_is_named() -> None:
    def server(address: str, used: int, pending: int = 0) -> ServerStats:
        return ServerStats(address=address, used=used, size=used, max_size=4, pending_requests=pending)

    snapshot = PoolSnapshot(
        pool="Orders",
        backend="motor",
        servers={each.address: each for each in (server("a:1", 1), server("b:2", 4, 9), server("c:3", 0))},
        totals=TotalStats(used=5, max_size=12, waiting=11),
    )
    text = str(PoolExhaustedError.waited(snapshot, 0.2, "waitQueueTimeoutMS=200"))
    assert "4 in use of maxPoolSize 4 on b:2" in text
    assert "11 waiting for all servers" in text
