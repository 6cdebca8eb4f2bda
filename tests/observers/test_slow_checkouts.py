"""Connections that are held for too long: told once, counted, named, and told again when they come back."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

from pymongo.monitoring import ConnectionCheckedInEvent, ConnectionCheckedOutEvent

from async_mongo_pool.events import ConnectionEvents
from async_mongo_pool.observers.log_thread import LogThread
from async_mongo_pool.observers.slow_checkouts import SlowCheckouts
from async_mongo_pool.testing import waiting
from tests.timing import now

from .clients import Observed, log_threads

if TYPE_CHECKING:
    from collections.abc import Callable

    from pymongo import AsyncMongoClient

ADDRESS = ("127.0.0.1", 27017)


def slow_count(observed: Observed) -> int:
    return slow(observed.events)


async def test_a_slow_checkout_is_told_once_while_it_lasts_and_again_when_it_is_over(
    observe: Callable[..., Observed], log: Callable[..., list[str]], wait_until_async: Callable[..., Any]
) -> None:
    observed = observe(slow_checkout_ms=100)
    operation = asyncio.create_task(observed.sleep_on_server(1.2), name="order-7")
    await wait_until_async(lambda: log("has been held for"), 5, "the warning")
    assert not operation.done(), "it was told only when it was over"
    (told,) = log("has been held for", "WARNING")
    holder = observed.observers.holders()[0]
    assert f"connection {holder.connection_id} to {holder.server} " in told
    assert "slow_checkout_ms=100" in told
    assert "its last command, sleep, began 0." in told
    assert observed.name in told
    assert "leaked" not in told
    await operation
    await wait_until_async(lambda: log("returned after", "INFO"), 5, "the return")
    assert len(log("held for")) == 1
    assert len(log("returned after")) == 1
    assert slow_count(observed) == 1


async def test_the_holder_is_named_as_its_user_knows_it(
    observe: Callable[..., Observed], log: Callable[..., list[str]], wait_until_async: Callable[..., Any]
) -> None:
    observed = observe(slow_checkout_ms=100, slow_checkout_stack=True)

    async def the_users_function() -> None:
        await observed.sleep_on_server(0.8)

    operation = asyncio.create_task(the_users_function(), name="order-7")
    await wait_until_async(lambda: log("has been held for"), 5, "the warning")
    (told,) = log("has been held for")
    (holder,) = observed.observers.holders()
    await operation
    if observed.backend == "sync":
        assert 'by thread "asyncio_' in told
        assert holder.name.startswith("asyncio_")
    else:
        assert 'by task "order-7"' in told
        assert holder.name == "order-7"
        assert f"in {the_users_function.__qualname__}" in told
        assert holder.stack is not None
        assert "the_users_function" in holder.stack
        assert "It was checked out at:" in told
    assert holder.command == "sleep"
    assert 0.1 <= holder.seconds < 5
    for package in ("/pymongo/", "/motor/", "/async_mongo_pool/observers/", "/asyncio/"):
        assert package not in told.replace(__file__, "")


async def test_the_stack_of_a_thread_shows_the_users_function(
    mongodb_uri: str, log: Callable[..., list[str]], wait_until_async: Callable[..., Any]
) -> None:
    async with Observed("sync", mongodb_uri, slow_checkout_ms=50, slow_checkout_stack=True) as observed:

        def the_users_function() -> None:
            observed.client.admin.command("sleep", millis=400, lock="none")

        thread = threading.Thread(target=the_users_function, name="invoices")
        thread.start()
        await wait_until_async(lambda: log("has been held for"), 5, "the warning")
        (told,) = log("has been held for")
        await asyncio.to_thread(thread.join, 5)
    assert 'by thread "invoices"' in told
    assert the_users_function.__qualname__ in told


async def test_without_stacks_none_is_shown(
    observe: Callable[..., Observed], log: Callable[..., list[str]], wait_until_async: Callable[..., Any]
) -> None:
    observed = observe(slow_checkout_ms=50)
    operation = asyncio.create_task(observed.sleep_on_server(0.4))
    await wait_until_async(lambda: log("has been held for"), 5, "the warning")
    assert observed.observers.holders()[0].stack is None
    await operation
    assert not log("checked out at")


async def test_further_batches_of_to_list_are_named_after_its_task(
    mongodb_uri: str, mongodb_database: str, mongod: Any, log: Callable[..., list[str]]
) -> None:
    async with Observed("motor", mongodb_uri, slow_checkout_ms=50) as observed:
        collection = observed.client[mongodb_database].things
        await collection.insert_many([{"n": n} for n in range(5)])
        block = {
            "failCommands": ["getMore"],
            "blockConnection": True,
            "blockTimeMS": 300,
            "appName": observed.name,
        }
        with mongod.fail_point("failCommand", {"times": 1}, block):

            async def report() -> int:
                return len(await collection.find(batch_size=2).to_list(None))

            reading = asyncio.create_task(report(), name="report-3")
            await waiting.wait_until_async(lambda: log("last command, getMore,"), 5, "the warning")
            assert await reading == 5
    (told,) = log("last command, getMore,")
    assert 'by task "report-3"' in told


async def test_a_motor_operation_outlives_its_task_and_is_not_called_a_leak(
    mongodb_uri: str, log: Callable[..., list[str]], wait_until_async: Callable[..., Any]
) -> None:
    async with Observed("motor", mongodb_uri, slow_checkout_ms=150) as observed:
        operation = asyncio.create_task(observed.sleep_on_server(0.8), name="given-up")
        await wait_until_async(observed.events.holdings, 5, "the checkout")
        operation.cancel()
        await asyncio.wait({operation})
        await wait_until_async(lambda: log("has been held for"), 5, "the warning")
    (told,) = log("has been held for")
    assert 'by task "given-up"' in told
    assert "its operation goes on in a worker thread" in told
    assert "leaked" not in told


async def test_a_connection_whose_task_has_ended_is_said_to_be_leaked(
    mongodb_uri: str, log: Callable[..., list[str]], wait_until_async: Callable[..., Any]
) -> None:
    async with Observed("pymongo", mongodb_uri, slow_checkout_ms=200) as observed:
        kept: list[Any] = []

        async def leak() -> None:
            manager = await hold(observed.client)
            kept.append(manager)

        task = asyncio.create_task(leak(), name="careless")
        await task
        ended = weakref.ref(task)
        del task
        # The event loop lets go of it when it calls the next callback.
        await asyncio.sleep(0)
        gc.collect()
        assert ended() is None, "watching keeps the task alive, and all that it refers to"
        (holder,) = observed.observers.holders()
        assert holder.name == "careless, a task that has ended"
        await wait_until_async(lambda: log('by task "careless"'), 5, "the warning")
        (told,) = log('by task "careless"', "WARNING")
        assert "has been held for" in told
        assert "it may be leaked" in told
        assert "no command was sent on it" in told
        await kept[0].__aexit__(None, None, None)
        await wait_until_async(lambda: log("returned after", "INFO"), 5, "the return")
        assert observed.observers.holders() == []


async def hold(client: AsyncMongoClient[Any]) -> Any:
    """Check a connection out of the driver's pool and keep it, as a fault of the driver would."""
    await client.admin.command("ping")
    server = next(iter(client._topology._servers.values()))
    manager = server.pool.checkout()
    await manager.__aenter__()
    return manager


async def test_fast_operations_are_not_told(
    observe: Callable[..., Observed], log: Callable[..., list[str]]
) -> None:
    observed = observe(slow_checkout_ms=3000)
    for _ in range(30):
        await observed.call(observed.client.admin.command, "ping")
    assert observed.observers.holders() == []
    await observed.close()
    assert log() == []
    assert slow_count(observed) == 0


async def test_none_that_ends_between_two_looks_is_missed(
    observe: Callable[..., Observed], log: Callable[..., list[str]], wait_until_async: Callable[..., Any]
) -> None:
    observed = observe(slow_checkout_ms=40)
    await asyncio.gather(*(observed.sleep_on_server(0.042) for _ in range(40)))
    await wait_until_async(lambda: len(log("returned after", "INFO")) == 40, 5, "40 returns")
    assert len(log("held for", "WARNING")) == 40
    assert slow_count(observed) == 40


def checkouts(limit: float) -> tuple[SlowCheckouts, ConnectionEvents, LogThread]:
    events = ConnectionEvents()
    made = SlowCheckouts("Pool", limit, events, stack=False, by_task=False, submitted=False)
    thread = LogThread("Pool", made.look)
    made.attach(thread)
    return made, events, thread


def in_thread(call: Callable[[], object]) -> None:
    thread = threading.Thread(target=call)
    thread.start()
    thread.join(5)
    assert not thread.is_alive()


def test_a_return_that_is_published_late_ends_the_right_checkout(
    log: Callable[..., list[str]], wait_until: Callable[..., None]
) -> None:
    made, events, thread = checkouts(0.05)
    taken = ConnectionCheckedOutEvent(ADDRESS, 1, 0.0)
    events.connection_checked_out(taken)
    # The watch is kept from telling, so that the return has to.
    made._asleep = False
    made.connection_checked_out(taken)
    began = now()
    while now() - began < 0.06:
        time.sleep(0.01)
    others: list[Any] = []

    def next_one() -> None:
        made.connection_checked_out(taken)
        others.extend(made.current().values())

    in_thread(next_one)
    made.connection_checked_in(ConnectionCheckedInEvent(ADDRESS, 1))
    assert list(made.current().values()) == others
    wait_until(lambda: log("returned after"))
    thread.stop()


def slow(events: ConnectionEvents) -> int:
    return sum(server.slow_checkouts for server in events.stats().servers)


async def test_a_return_without_an_event_leaves_nothing_behind() -> None:
    events = ConnectionEvents()
    events.connection_checked_out(ConnectionCheckedOutEvent(ADDRESS, 1, 0.0))
    made = SlowCheckouts("Pool", 5.0, events, stack=False, by_task=True, submitted=False)

    async def take(*, give_back: bool) -> None:
        for missed in made.current().values():
            missed.since -= 10
        made.connection_checked_out(ConnectionCheckedOutEvent(ADDRESS, 1, 0.0))
        if give_back:
            made.connection_checked_in(ConnectionCheckedInEvent(ADDRESS, 1))

    # Both tasks live at the same time, so that they differ in their ids.
    await asyncio.gather(take(give_back=False), take(give_back=True))
    assert made.current() == {}
    assert made._by_key == {}
    assert slow(events) == 0, "when the first one was returned is not known"


async def test_the_thread_ends_after_stop_and_there_is_one_for_a_client(
    observe: Callable[..., Observed], wait_until_async: Callable[..., Any]
) -> None:
    observed = observe(slow_checkout_ms=50, slow_command_ms=50)
    assert log_threads(observed) == []
    await asyncio.gather(*(observed.sleep_on_server(0.1) for _ in range(3)))
    assert len(log_threads(observed)) == 1
    observed.observers.stop()
    observed.observers.stop()
    await wait_until_async(lambda: not log_threads(observed), 5, "the thread to end")
    await observed.sleep_on_server(0.1)
    assert log_threads(observed) == []


async def test_the_watch_sleeps_while_nothing_is_checked_out(
    observe: Callable[..., Observed], wait_until_async: Callable[..., Any]
) -> None:
    observed = observe(slow_checkout_ms=20)
    await observed.call(observed.client.admin.command, "ping")
    checkouts = observed.observers._checkouts
    assert checkouts is not None
    await wait_until_async(lambda: checkouts._asleep, 5, "the watch to sleep")
    assert checkouts.look() is None


async def test_nothing_of_this_runs_when_it_is_off(observe: Callable[..., Observed]) -> None:
    observed = observe()
    await observed.sleep_on_server(0.05)
    assert observed.observers.listeners() == []
    assert observed.observers.on_submit is None
    assert log_threads(observed) == []
    assert observed.observers.commands() == {}
    assert observed.observers.heartbeats() == {}


async def test_holders_are_known_without_any_option_the_longest_first(
    observe: Callable[..., Observed], mongod: Any, wait_until_async: Callable[..., Any]
) -> None:
    observed = observe()
    first = asyncio.create_task(observed.sleep_on_server(0.7), name="first")
    await wait_until_async(lambda: len(observed.events.holdings()) == 1, 5)
    second = asyncio.create_task(observed.sleep_on_server(0.7), name="second")
    await wait_until_async(lambda: len(observed.events.holdings()) == 2, 5)
    holders = observed.observers.holders()
    assert [holder.seconds for holder in holders] == sorted((h.seconds for h in holders), reverse=True)
    assert holders[0].seconds > holders[1].seconds
    assert {holder.command for holder in holders} == {None}
    assert {holder.server for holder in holders} == {f"{mongod.host}:{mongod.port}"}
    if observed.backend == "pymongo":
        assert [holder.name for holder in holders] == ["first", "second"]
    else:
        names = {thread.name for thread in threading.enumerate()}
        assert {holder.name for holder in holders} <= names
    await asyncio.gather(first, second)
    assert observed.observers.holders() == []
