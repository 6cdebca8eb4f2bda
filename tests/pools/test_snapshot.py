"""``snapshot()``, ``holders()``, ``repr`` and the live part of ``get_pool_stats`` on every backend."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from pymongo.errors import WaitQueueTimeoutError

from async_mongo_pool import PoolExhaustedError, stats
from async_mongo_pool.testing import Mongod, User
from tests.timing import Moment, Took, now

from .subjects import Subject, ping, sleep_on_server

if TYPE_CHECKING:
    from collections.abc import Callable

    from async_mongo_pool.stats import PoolSnapshot

pytestmark = pytest.mark.core


def keys_of(value: Any) -> Any:
    """The shape of plain statistics: keys, without what has a name of its own."""
    if isinstance(value, dict):
        named = ("servers", "commands")
        return {key: None if key in named else keys_of(each) for key, each in value.items()}
    return None


TYPES = [each for each in vars(stats).values() if isinstance(each, type) and dataclasses.is_dataclass(each)]


@pytest.mark.parametrize("described", TYPES)
def test_each_statistic_has_a_sentence(described: type) -> None:
    # Python 3.13 takes the indentation off by itself.
    documented = "".join(inspect.cleandoc(base.__doc__ or "") for base in described.__mro__)
    for field in dataclasses.fields(described):
        assert f"    {field.name}: " in documented


async def test_every_key_is_always_there(subject: Subject, mongodb_uri: str) -> None:
    before = subject.pool.snapshot()
    assert (before.status, before.pool, before.servers) == ("not_initialized", subject.name, {})
    client = await subject.initialize(mongodb_uri)
    await subject.call(ping, client)
    during = subject.pool.snapshot()
    await subject.close()
    after = subject.pool.snapshot()

    assert (during.status, after.status) == ("open", "not_initialized")
    shape = keys_of(during.as_dict()) | {"executor": None}
    assert keys_of(before.as_dict()) == keys_of(after.as_dict()) == shape
    assert (during.executor is not None) == (subject.backend == "motor")
    json.dumps(during.as_dict())


async def test_the_live_part_of_the_statistics_is_the_snapshot(subject: Subject, mongodb_uri: str) -> None:
    client = await subject.initialize(mongodb_uri, maxPoolSize=7, minPoolSize=2)
    for _ in range(10):
        await subject.call(ping, client)
    told = await subject.stats()
    (address,) = told["servers"]
    server = told["servers"][address]
    assert address == mongodb_uri.removeprefix("mongodb://").split("/")[0]
    assert server["checkouts"] == server["checkout_wait"]["count"] >= 10
    assert server["max_size"] == told["totals"]["max_size"] == 7
    assert server["size"] == server["used"] + server["idle"] + server["connecting"]
    assert told["totals"]["waiting"] == 0
    assert (told["drift"], told["broken_laws"]) == (0, [])
    assert told["uptime_seconds"] > 0
    assert told["pool"] == subject.name
    json.dumps(told)


async def test_the_counts_of_an_interval(subject: Subject, mongodb_uri: str) -> None:
    client = await subject.initialize(mongodb_uri)
    await subject.call(ping, client)
    earlier: PoolSnapshot = subject.pool.snapshot()
    for _ in range(5):
        await subject.call(ping, client)
    between = subject.pool.snapshot().since(earlier)
    assert between.totals.checkouts == between.totals.checkout_wait.count == 5
    assert between.totals.size >= 1
    assert 0 < between.seconds < earlier.seconds + 60

    await subject.initialize(mongodb_uri, maxPoolSize=9)
    replaced = subject.pool.snapshot()
    assert replaced.since(earlier) == replaced
    assert replaced.replacements == 1
    await subject.initialize(mongodb_uri, maxPoolSize=8)
    assert subject.pool.snapshot().since(replaced).replacements == 1


async def test_the_server_counts_what_the_snapshot_counts(
    subject: Subject, mongod: Mongod, mongodb_uri: str, wait_until_async: Callable[..., Any]
) -> None:
    client = await subject.initialize(mongodb_uri, maxPoolSize=5, minPoolSize=3, warm_up=True)
    await asyncio.gather(*[subject.call(sleep_on_server, client, 0.1) for _ in range(5)])

    def agree() -> bool:
        size: int = subject.pool.snapshot().totals.size
        # The heartbeat and the measurement of round trips have connections of their own.
        return size >= 3 and size <= len(mongod.connections(subject.name)) <= size + 2

    await wait_until_async(agree, message="pool and server disagree")


@pytest.mark.serial
async def test_what_does_not_fit_fails_in_time_and_the_statistics_say_why(
    subject: Subject, mongodb_uri: str
) -> None:
    client = await subject.initialize(
        mongodb_uri, maxPoolSize=4, minPoolSize=4, warm_up=True, waitQueueTimeoutMS=200, appName=subject.name
    )
    # Where calls block, all of them at once and the question for the statistics.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(44, thread_name_prefix="asyncio_"))
    ended: list[tuple[Took, BaseException | None]] = []

    async def operation(began: Moment) -> None:
        try:
            await subject.call(sleep_on_server, client, 0.5)
            ended.append((now() - began, None))
        except WaitQueueTimeoutError as error:
            ended.append((now() - began, error))

    began = now()
    operations = [asyncio.ensure_future(operation(began)) for _ in range(40)]
    while (totals := subject.pool.snapshot().totals).used < 4 or totals.waiting < 36:
        assert now() - began < 0.2, f"{totals.used} in use, {totals.waiting} waiting"
        await asyncio.sleep(0.005)
    told = await subject.stats()
    assert (told["totals"]["used"], told["totals"]["waiting"]) == (4, 36)
    assert (told["status"], told["saturated"]) == ("connected", True)
    assert now() - began < 0.2
    await asyncio.gather(*operations)

    refused = [(seconds, error) for seconds, error in ended if error is not None]
    assert len(refused) == 36
    assert all(0.195 <= seconds <= 0.3 for seconds, _ in refused), [took for took, _ in refused]
    after = subject.pool.snapshot()
    assert after.totals.waiting == 0
    if subject.backend == "motor":
        error = refused[0][1]
        assert isinstance(error, PoolExhaustedError)
        for part in ("waitQueueTimeoutMS=200", "4 in use of maxPoolSize 4", "0 idle", "36 waiting", "oldest"):
            assert part in str(error)
        assert error.snapshot is not None
        assert error.snapshot.totals.waiting == 36
        assert after.executor.refused["timeout"] == 36
    else:
        assert after.totals.checkout_failures["timeout"] == 36
        assert after.totals.failure_rate > 0


@pytest.mark.serial
async def test_a_full_pool_answers_within_100_ms(
    subject: Subject, mongodb_uri: str, wait_until_async: Callable[..., Any]
) -> None:
    client = await subject.initialize(mongodb_uri, maxPoolSize=3)
    slow = [asyncio.ensure_future(subject.call(sleep_on_server, client, 1)) for _ in range(5)]
    await wait_until_async(lambda: subject.pool.snapshot().saturated, message="the pool is not full")
    began = now()
    told = await subject.stats()
    assert now() - began < 0.1
    assert (told["status"], told["saturated"], told["totals"]["utilization"]) == ("connected", True, 1.0)
    await asyncio.gather(*slow)


async def test_the_server_tells_its_own_count_when_asked(subject: Subject, mongodb_uri: str) -> None:
    await subject.initialize(mongodb_uri)
    told = await subject.call(subject.pool.get_pool_stats, server=True)
    asked = told["server_connections"]
    assert asked["error"] is None
    assert asked["current"] >= 1
    assert asked["available"] > 0
    assert asked["total_created"] >= asked["current"]
    assert "server_connections" not in await subject.stats()


async def test_a_server_that_may_not_tell_says_so(subject: Subject) -> None:
    user = User("reader", "a password", ("read",), "shop")
    with Mongod(auth=True, users=[user]) as server:
        await subject.initialize(server.uri_for(user))
        told = await subject.call(subject.pool.get_pool_stats, server=True)
        assert told["status"] == "connected"
        assert told["server_connections"]["current"] is None
        assert "not authorized" in told["server_connections"]["error"]
        await subject.close()


async def test_a_full_pool_does_not_ask_the_server(
    subject: Subject, mongodb_uri: str, wait_until_async: Callable[..., Any]
) -> None:
    client = await subject.initialize(mongodb_uri, maxPoolSize=1)
    slow = asyncio.ensure_future(subject.call(sleep_on_server, client, 1))
    await wait_until_async(lambda: subject.pool.snapshot().saturated, message="the pool is not full")
    told = await subject.call(subject.pool.get_pool_stats, server=True)
    assert told["server_connections"]["error"] == "every connection is in use"
    await slow


async def test_a_closing_pool_says_so_and_still_tells_what_it_does(
    subject: Subject, mongodb_uri: str, wait_until_async: Callable[..., Any]
) -> None:
    client = await subject.initialize(mongodb_uri)
    slow = asyncio.ensure_future(subject.call(sleep_on_server, client, 0.7))
    await wait_until_async(lambda: subject.pool.snapshot().totals.used == 1, message="nothing runs")
    closing = asyncio.ensure_future(subject.close())
    await wait_until_async(lambda: subject.pool.snapshot().status == "closing", message="it is not closing")
    assert subject.pool.snapshot().totals.used == 1
    await asyncio.gather(slow, closing)
    assert subject.pool.snapshot().status == "not_initialized"


async def test_holders_name_who_holds_a_connection(
    subject: Subject, mongodb_uri: str, wait_until_async: Callable[..., Any]
) -> None:
    client = await subject.initialize(mongodb_uri)
    assert subject.pool.holders() == []
    slow = asyncio.create_task(subject.call(sleep_on_server, client, 0.7), name="the report")
    await wait_until_async(lambda: len(subject.pool.holders()) == 1, message="nobody holds a connection")
    (holder,) = subject.pool.holders()
    assert 0 <= holder.seconds < 5
    assert holder.server in subject.pool.snapshot().servers
    named = {"pymongo": "the report", "motor": f"{subject.name}-worker", "sync": "asyncio"}[subject.backend]
    assert holder.name.startswith(named)
    await slow
    assert subject.pool.holders() == []


async def test_the_instance_is_one_line_of_state(subject: Subject, mongodb_uri: str) -> None:
    assert repr(subject.pool()) == f"<{subject.name} not initialized>"
    # Nothing but the ping: a warm-up may open one connection more than it has to.
    await subject.initialize(mongodb_uri, maxPoolSize=3, minPoolSize=0)
    line = repr(subject.pool())
    assert line.startswith(f"<{subject.name} open on mongodb://127.0.0.1:")
    assert line.endswith("0 used, 1 idle, 0 waiting, at most 3 per server>")
    assert "\n" not in line


async def test_commands_and_heartbeats_are_timed_when_asked(
    subject: Subject, mongodb_uri: str, wait_until_async: Callable[..., Any]
) -> None:
    client = await subject.initialize(mongodb_uri, command_stats=True, heartbeat_stats=True)
    for _ in range(4):
        await subject.call(ping, client)
    snapshot = subject.pool.snapshot()
    assert snapshot.commands["ping"].count >= 4
    assert snapshot.commands["ping"].duration.count == snapshot.commands["ping"].count
    await wait_until_async(
        lambda: subject.pool.snapshot().totals.heartbeat.count >= 1, message="no heartbeat was timed"
    )
