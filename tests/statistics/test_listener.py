"""The listener: threads, tasks, forks, and what it keeps alive."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import threading
import weakref
from typing import TYPE_CHECKING

import pytest
from pymongo.monitoring import (
    ConnectionCheckedInEvent,
    ConnectionCheckedOutEvent,
    ConnectionCheckOutFailedEvent,
    ConnectionCheckOutStartedEvent,
    ConnectionClosedEvent,
    ConnectionCreatedEvent,
    ConnectionReadyEvent,
    PoolClearedEvent,
    PoolClosedEvent,
    PoolCreatedEvent,
    PoolReadyEvent,
)

from async_mongo_pool.events import ConnectionEvents, TaskConnectionEvents
from async_mongo_pool.totals import is_full, total

if TYPE_CHECKING:
    from collections.abc import Iterator

    from async_mongo_pool.stats import ServerStats

pytestmark = pytest.mark.core

ADDRESS = ("a.example", 27017)


def only(events: ConnectionEvents) -> ServerStats:
    servers, broken, _ = events.stats()
    assert broken == []
    (server,) = servers
    return server


def open_connection(events: ConnectionEvents, number: int) -> None:
    events.connection_created(ConnectionCreatedEvent(ADDRESS, number))
    events.connection_ready(ConnectionReadyEvent(ADDRESS, number, 0.001))


def cycle(events: ConnectionEvents, number: int, waited: float = 0.0002) -> None:
    events.connection_check_out_started(ConnectionCheckOutStartedEvent(ADDRESS))
    events.connection_checked_out(ConnectionCheckedOutEvent(ADDRESS, number, waited))
    events.connection_checked_in(ConnectionCheckedInEvent(ADDRESS, number))


@pytest.fixture
def eager_switching() -> Iterator[None]:
    """Threads change at nearly every opportunity."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_eight_threads_lose_no_count(eager_switching: None) -> None:
    threads, cycles = 8, 4000
    events = ConnectionEvents(threads)

    def work(number: int) -> None:
        for turn in range(cycles):
            if turn % 100 == 0:
                events.connection_created(ConnectionCreatedEvent(ADDRESS, number))
                events.connection_ready(ConnectionReadyEvent(ADDRESS, number, 0.001))
            cycle(events, number)
            if turn % 10 == 0:
                events.connection_check_out_started(ConnectionCheckOutStartedEvent(ADDRESS))
                events.connection_check_out_failed(ConnectionCheckOutFailedEvent(ADDRESS, "timeout", 0.1))
                events.pool_cleared(PoolClearedEvent(ADDRESS))
            if turn % 100 == 99:
                events.connection_closed(ConnectionClosedEvent(ADDRESS, number, "idle"))
            if turn % 50 == 0:
                only(events)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(1, threads + 1)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)

    server = only(events)
    done = threads * cycles
    assert server.checkouts == server.checkout_wait.count == server.connection_use.count == done
    assert server.checkouts_started == done + done // 10
    assert server.checkout_failures == {"timeout": done // 10, "connection_error": 0, "pool_closed": 0}
    assert server.connections_created == server.connections_closed["idle"] == server.connection_create.count
    assert (server.size, server.used, server.pending_requests, server.checkouts_abandoned) == (0, 0, 0, 0)
    assert server.clears == done // 10
    assert server.checkout_wait.sum_seconds == pytest.approx(done * 0.0002)
    assert server.events_missed == 0


def test_a_second_wait_of_the_same_thread_means_that_the_first_was_given_up() -> None:
    events = ConnectionEvents()
    events.connection_check_out_started(ConnectionCheckOutStartedEvent(ADDRESS))
    assert only(events).pending_requests == 1
    events.connection_check_out_started(ConnectionCheckOutStartedEvent(("b.example", 27017)))

    servers, broken, _ = events.stats()
    assert broken == []
    assert [(each.pending_requests, each.checkouts_abandoned) for each in servers] == [(0, 1), (1, 0)]


async def test_a_task_that_was_cancelled_while_it_waited_counts_as_abandoned() -> None:
    events = TaskConnectionEvents()

    async def wait() -> None:
        events.connection_check_out_started(ConnectionCheckOutStartedEvent(ADDRESS))
        await asyncio.Event().wait()

    tasks = [asyncio.create_task(wait()) for _ in range(5)]
    await asyncio.sleep(0)
    assert only(events).pending_requests == 5

    for task in tasks[:3]:
        task.cancel()
    await asyncio.wait(tasks[:3])
    assert (only(events).pending_requests, only(events).checkouts_abandoned) == (2, 3)

    for task in tasks[3:]:
        task.cancel()
    await asyncio.wait(tasks[3:])
    assert (only(events).pending_requests, only(events).checkouts_abandoned) == (0, 5)


async def test_counting_keeps_no_task_alive_and_forgets_it_without_being_asked() -> None:
    events = TaskConnectionEvents()
    gone = []

    async def wait_a_little() -> None:
        events.connection_check_out_started(ConnectionCheckOutStartedEvent(ADDRESS))

    for _ in range(2000):
        task = asyncio.create_task(wait_a_little())
        gone.append(weakref.ref(task))
        await task
        del task
        assert len(events._waiters) <= 64
    await asyncio.sleep(0)
    gc.collect()
    assert not any(reference() for reference in gone)
    assert only(events).checkouts_abandoned == 2000


def test_a_wait_given_up_for_lost_that_ends_well_is_no_abandoned_one() -> None:
    events = ConnectionEvents()
    open_connection(events, 1)
    events.connection_check_out_started(ConnectionCheckOutStartedEvent(ADDRESS))
    waiters = events._waiters
    for key in list(waiters):
        waiters.pop(key).abandoned += 1
    assert only(events).checkouts_abandoned == 1

    events.connection_checked_out(ConnectionCheckedOutEvent(ADDRESS, 1, 0.1))
    assert (only(events).checkouts_abandoned, only(events).checkouts_started) == (0, 1)


def test_the_wait_for_a_thread_and_the_wait_for_a_connection_add_up() -> None:
    events = ConnectionEvents()
    open_connection(events, 1)
    cycle(events, 1, waited=0.0002)
    events.queue_waits[threading.get_ident()] = 0.7
    cycle(events, 1, waited=0.0002)

    wait = total(events.stats().servers, queued=events.stats().queued).wait
    assert wait.count == 2
    assert wait.buckets[1] == 1  # 0.2 ms
    assert wait.buckets[8] == 1  # 0.7002 s
    assert wait.sum_seconds == pytest.approx(0.7004)
    assert wait.max_seconds == pytest.approx(0.7002)
    assert events.queue_waits == {}


def test_waits_never_shrink_while_threads_move_them(eager_switching: None) -> None:
    events = ConnectionEvents(8)
    for number in range(1, 9):
        open_connection(events, number)
    ended = threading.Event()

    def work(number: int) -> None:
        for _ in range(3000):
            events.queue_waits[threading.get_ident()] = 0.02
            cycle(events, number)
        if number == 1:
            ended.set()

    workers = [threading.Thread(target=work, args=(number,)) for number in range(1, 9)]
    for worker in workers:
        worker.start()
    before = total(()).wait
    while not ended.is_set():
        servers, _, queued = events.stats()
        now = total(servers, queued=queued).wait
        assert all(0 <= old <= new for old, new in zip(before.buckets, now.buckets, strict=True))
        before = now
    for worker in workers:
        worker.join(60)


def test_servers_may_come_while_others_look(eager_switching: None) -> None:
    events = ConnectionEvents(8)
    ended = threading.Event()

    def meet() -> None:
        for number in range(20_000):
            events.pool_created(PoolCreatedEvent(("h", number % 3000), {}))
        ended.set()

    meeting = threading.Thread(target=meet)
    meeting.start()
    while not ended.is_set():
        events.used(), events.ready(), events.holdings(), events.stats()
    meeting.join(60)


def test_a_server_that_has_left_does_not_make_the_pool_full() -> None:
    events = ConnectionEvents(1)
    open_connection(events, 1)
    events.connection_check_out_started(ConnectionCheckOutStartedEvent(ADDRESS))
    events.connection_checked_out(ConnectionCheckedOutEvent(ADDRESS, 1, 0.0))
    assert is_full(events.stats().servers)
    events.pool_closed(PoolClosedEvent(ADDRESS))
    assert not is_full(events.stats().servers)


def test_the_oldest_checkout_is_known_by_its_age() -> None:
    events = ConnectionEvents()
    for number in (1, 2):
        open_connection(events, number)
        events.connection_check_out_started(ConnectionCheckOutStartedEvent(ADDRESS))
        events.connection_checked_out(ConnectionCheckedOutEvent(ADDRESS, number, 0.0))
    (_, _, first, _), (_, _, second, _) = events.holdings()
    assert first <= second
    age_of_first = only(events).oldest_use_seconds
    events.connection_checked_in(ConnectionCheckedInEvent(ADDRESS, 1))
    assert 0 < only(events).oldest_use_seconds <= age_of_first + second


def test_states_follow_the_pool_and_a_load_balanced_clear_does_not_pause() -> None:
    events = ConnectionEvents()
    events.pool_created(PoolCreatedEvent(ADDRESS, {}))
    assert only(events).state == "paused"
    events.pool_ready(PoolReadyEvent(ADDRESS))
    events.pool_cleared(PoolClearedEvent(ADDRESS, service_id="one of several"))  # type: ignore[arg-type]
    assert (only(events).state, only(events).clears) == ("ready", 1)
    events.pool_cleared(PoolClearedEvent(ADDRESS))
    assert (only(events).state, only(events).clears) == ("paused", 2)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_in_a_forked_child_everything_is_zero_even_if_the_lock_was_held() -> None:
    events = ConnectionEvents()
    open_connection(events, 1)
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with events._lock:
            held.set()
            release.wait(30)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(30)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            zero = events.stats()[:2] == ([], [])
            cycle(events, 1)
            code = 0 if zero and events.used() == 0 else 2
        finally:
            os._exit(code)
    release.set()
    holder.join(30)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert only(events).size == 1
