"""Counting and timing commands, and the log of the slow ones, which shows no value of any."""

from __future__ import annotations

import asyncio
import logging
import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from pymongo import CursorType
from pymongo.errors import AutoReconnect, OperationFailure
from pymongo.monitoring import CommandFailedEvent, CommandStartedEvent, CommandSucceededEvent

from async_mongo_pool.observers.commands import DATABASES, SERIES, CommandTimes, error_text
from async_mongo_pool.observers.log_thread import LogThread
from async_mongo_pool.observers.slow_commands import _MOST_RUNNING, SlowCommands

from .clients import Observed

if TYPE_CHECKING:
    from collections.abc import Callable

    from async_mongo_pool.testing import ReplicaSet

ADDRESS = ("127.0.0.1", 27017)
SENTINEL = "Xq7-not-for-the-log"


def succeeded(command: str = "find", database: str = "db", port: int = 27017, micros: int = 1500) -> Any:
    return CommandSucceededEvent(
        timedelta(microseconds=micros), {"ok": 1}, command, 1, ("h", port), 1, database_name=database
    )


async def test_commands_are_counted_by_database_and_outcome(
    observe: Callable[..., Observed], mongod: Any, mongodb_database: str
) -> None:
    observed = observe(command_stats=True)
    database = observed.client[mongodb_database]
    for n in range(7):
        await observed.call(database.things.insert_one, {"n": n})
    with pytest.raises(OperationFailure):
        await observed.call(database.command, "find", 5)
    stats = observed.observers.commands()
    (inserts,) = stats["insert"].series
    assert inserts.server == f"{mongod.host}:{mongod.port}"
    assert inserts.database == mongodb_database
    assert inserts.error is None
    assert stats["insert"].count == inserts.duration.count == 7
    assert stats["insert"].failures == 0
    assert 0 < inserts.duration.sum_seconds < 7
    (finds,) = stats["find"].series
    assert (stats["find"].count, stats["find"].failures) == (1, 1)
    assert finds.error is not None
    assert finds.error.isdecimal()


async def test_durations_are_in_seconds(observe: Callable[..., Observed]) -> None:
    observed = observe(command_stats=True)
    await observed.sleep_on_server(0.3)
    duration = observed.observers.commands()["sleep"].duration
    assert 0.29 <= duration.sum_seconds < 3
    assert duration.sum_seconds == duration.max_seconds


async def test_a_broken_connection_is_counted_by_the_class_of_its_error(
    observe: Callable[..., Observed], mongod: Any
) -> None:
    observed = observe(command_stats=True, client={"retryReads": False})
    await observed.call(observed.client.admin.command, "ping")
    broken = {"failCommands": ["ping"], "closeConnection": True, "appName": observed.name}
    with mongod.fail_point("failCommand", {"times": 1}, broken), pytest.raises(AutoReconnect):
        await observed.call(observed.client.admin.command, "ping")
    series = {each.error: each.duration.count for each in observed.observers.commands()["ping"].series}
    # Older drivers tell of the socket's error itself.
    assert series in ({None: 1, "AutoReconnect": 1}, {None: 1, "OSError": 1})


def test_eight_threads_lose_no_count() -> None:
    times = CommandTimes()
    events = [succeeded(command, micros=micros) for command in ("find", "insert") for micros in (50, 70_000)]
    together = threading.Barrier(8)

    def hammer() -> None:
        together.wait(5)
        for _ in range(2000):
            for event in events:
                times.succeeded(event)

    threads = [threading.Thread(target=hammer) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    stats = times.stats()
    assert {name: each.count for name, each in stats.items()} == {"find": 32_000, "insert": 32_000}
    assert stats["find"].duration.sum_seconds == pytest.approx(16_000 * 0.07005)
    assert stats["find"].duration.max_seconds == 0.07


def test_databases_beyond_the_first_hundred_are_counted_together() -> None:
    times = CommandTimes()
    for number in range(DATABASES + 30):
        times.succeeded(succeeded(database=f"tenant{number}"))
        times.succeeded(succeeded(database="tenant0"))
    stats = times.stats()["find"]
    by_database = {each.database: each.duration.count for each in stats.series}
    assert stats.count == 2 * (DATABASES + 30)
    assert len(by_database) == DATABASES + 1
    assert by_database["other"] == 30


def test_the_number_of_series_is_bounded_and_nothing_is_lost() -> None:
    times = CommandTimes()
    for number in range(SERIES + 40):
        times.succeeded(succeeded(command=f"command{number}"))
    times.failed(CommandFailedEvent(timedelta(seconds=1), {"code": 7}, "late", 1, ADDRESS, 1, database_name="db"))
    stats = times.stats()
    assert sum(len(each.series) for each in stats.values()) == SERIES + 2
    assert stats["other"].count == 41
    assert stats["other"].failures == 1
    assert {(each.server, each.database) for each in stats["other"].series} == {("other", "other")}


@pytest.mark.parametrize(
    ("failure", "text"),
    [
        ({"code": 11600, "errmsg": "..."}, "11600"),
        ({"errtype": "NetworkTimeout", "errmsg": "..."}, "NetworkTimeout"),
        ({"code": 0, "errtype": "ClientBulkWriteException"}, "0"),
        ({}, "unknown"),
        (None, "unknown"),
    ],
)
def test_an_error_is_its_code_or_the_class_of_the_exception(failure: Any, text: str) -> None:
    assert error_text(failure) == text


async def test_a_slow_command_is_told_once_with_its_collection(
    observe: Callable[..., Observed],
    mongod: Any,
    mongodb_database: str,
    log: Callable[..., list[str]],
    wait_until_async: Callable[..., Any],
) -> None:
    observed = observe(slow_command_ms=150)
    things = observed.client[mongodb_database].things
    await observed.call(things.insert_one, {"secret": SENTINEL})
    slow = {
        "failCommands": ["find", "update", "getMore", "aggregate", "delete", "findAndModify"],
        "blockConnection": True,
        "blockTimeMS": 200,
        "appName": observed.name,
    }
    with mongod.fail_point("failCommand", "alwaysOn", slow):
        await observed.call(things.find_one, {"secret": SENTINEL})
        await observed.call(things.update_one, {"secret": SENTINEL}, {"$set": {"other": SENTINEL}})
    await wait_until_async(lambda: log("slow command update", "WARNING"), 5, "the warning")
    (find,), (update,) = log("slow command find", "WARNING"), log("slow command update")
    server = f"{mongod.host}:{mongod.port}"
    assert find.startswith(
        f"{observed.name}: slow command find on {mongodb_database}.things at {server} succeeded after 0."
    )
    assert f"slow command update on {mongodb_database}.things" in update
    assert observed.observers._slow_commands is not None
    assert observed.observers._slow_commands._collections == {}


async def test_a_slow_command_that_fails_is_told_with_its_code(
    observe: Callable[..., Observed],
    mongod: Any,
    log: Callable[..., list[str]],
    wait_until_async: Callable[..., Any],
) -> None:
    observed = observe(slow_command_ms=100)
    refused = {
        "failCommands": ["ping"],
        "errorCode": 11,
        "blockConnection": True,
        "blockTimeMS": 200,
        "appName": observed.name,
    }
    with mongod.fail_point("failCommand", {"times": 1}, refused), pytest.raises(OperationFailure):
        await observed.call(observed.client.admin.command, "ping")
    await wait_until_async(lambda: log("slow command"), 5, "the warning")
    (told,) = log("slow command")
    assert "slow command ping on admin at" in told
    assert "failed with 11 after 0." in told


async def test_no_value_of_a_command_or_document_is_logged(
    observe: Callable[..., Observed],
    mongodb_database: str,
    caplog: pytest.LogCaptureFixture,
    wait_until_async: Callable[..., Any],
) -> None:
    caplog.set_level(logging.DEBUG, logger="async_mongo_pool")
    observed = observe(slow_command_ms=0.001, slow_checkout_ms=0.001, slow_checkout_stack=True)
    database = observed.client[mongodb_database]
    things = database.things
    await observed.call(things.insert_one, {"_id": SENTINEL, "v": SENTINEL})
    await observed.call(things.find_one, {"v": SENTINEL}, {SENTINEL: 1})
    await observed.call(things.update_one, {"v": SENTINEL}, {"$set": {SENTINEL: SENTINEL}}, comment=SENTINEL)
    await observed.call(things.delete_many, {"v": {"$in": [SENTINEL, 5]}})
    await observed.call(things.distinct, "v", {"v": SENTINEL})
    await observed.call(database.command, "createUser", SENTINEL, pwd=SENTINEL, roles=[])
    await observed.call(database.command, "dropUser", SENTINEL)
    with pytest.raises(OperationFailure):
        await observed.call(database.command, "aggregate", "things", pipeline=[{f"${SENTINEL}": 1}], cursor={})
    with pytest.raises(OperationFailure):
        await observed.call(database.command, SENTINEL, "x")
    observed.observers.stop()
    await wait_until_async(lambda: not log_thread_lives(observed), 5, "the thread to end")
    told = [record.getMessage() for record in caplog.records if record.name == "async_mongo_pool"]
    assert sum("slow command" in each for each in told) >= 9
    values = [each for each in told if SENTINEL in each]
    # A user may call the server with any word, and the name of a command is told.
    assert all(
        f"slow command {SENTINEL} on {mongodb_database} at" in each or "connection" in each for each in values
    )
    assert not any(
        SENTINEL in each.replace(f"command {SENTINEL}", "").replace(f"command, {SENTINEL},", "") for each in told
    )


def log_thread_lives(observed: Observed) -> bool:
    return any(thread.name == f"{observed.name}-log" for thread in threading.enumerate())


async def test_waiting_for_news_is_not_slow(
    mongodb_uri: str,
    mongodb_database: str,
    log: Callable[..., list[str]],
    wait_until_async: Callable[..., Any],
) -> None:
    async with Observed("pymongo", mongodb_uri, slow_command_ms=100, command_stats=True) as observed:
        database = observed.client[mongodb_database]
        queue = await database.create_collection("queue", capped=True, size=4096)
        await queue.insert_one({"job": 1})
        cursor = queue.find(cursor_type=CursorType.TAILABLE_AWAIT).max_await_time_ms(300)
        assert [document["job"] async for document in cursor] == [1]
        assert cursor.alive
        await cursor.close()
        assert observed.observers.commands()["getMore"].duration.max_seconds >= 0.2
        await observed.sleep_on_server(0.3)
        await wait_until_async(lambda: log("slow command sleep"), 5, "the warning")
    assert not log("getMore")


async def test_a_change_stream_that_brings_news_is_not_slow(
    mongodb_replica_set: ReplicaSet,
    mongodb_database: str,
    log: Callable[..., list[str]],
    wait_until_async: Callable[..., Any],
) -> None:
    uri = mongodb_replica_set.uri
    async with Observed("pymongo", uri, slow_command_ms=100, command_stats=True) as observed:
        things = observed.client[mongodb_database].things
        await things.insert_one({})
        async with await things.watch() as stream:
            news = asyncio.create_task(stream.next())
            await observed.sleep_on_server(0.3)
            await things.insert_one({"news": True})
            assert (await news)["fullDocument"]["news"]
        assert observed.observers.commands()["getMore"].duration.max_seconds >= 0.1
        await wait_until_async(lambda: log("slow command sleep"), 5, "the warning")
    assert not log("getMore")


def test_commands_that_never_end_are_forgotten() -> None:
    thread = LogThread("Pool")
    slow = SlowCommands("Pool", 1.0, thread)
    for number in range(_MOST_RUNNING + 50):
        slow.started(CommandStartedEvent({"find": "things"}, "db", number, ADDRESS, number))
    assert len(slow._collections) == _MOST_RUNNING
    assert _MOST_RUNNING + 49 in slow._collections
    assert 0 not in slow._collections


async def test_both_listeners_together_time_concurrent_operations(observe: Callable[..., Observed]) -> None:
    observed = observe(command_stats=True, slow_command_ms=5000, slow_checkout_ms=5000)
    await asyncio.gather(*(observed.call(observed.client.admin.command, "ping") for _ in range(200)))
    assert observed.observers.commands()["ping"].count == 200
    assert observed.observers.holders() == []
