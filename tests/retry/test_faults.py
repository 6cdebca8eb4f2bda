"""Retries and deadlines on real fail points, unreachable and silent servers."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from pymongo.errors import AutoReconnect, OperationFailure, PyMongoError

from async_mongo_pool.retry.state import state_of
from tests.faults.proxy import FaultProxy
from tests.timing import Took, now

from .subjects import Commands, Subject

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from async_mongo_pool.testing import ReplicaSet, Server

TOLERANCE = 0.25
"""Seconds beyond a deadline that a shared machine may take."""


def broken(subject: Subject, *commands: str, **how: Any) -> dict[str, Any]:
    return {"failCommands": list(commands), "appName": subject.name, **(how or {"closeConnection": True})}


class Counted:
    """A function for `run` that counts its calls."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.calls = 0
        self.function = function

    def __call__(self, client: Any) -> Any:
        self.calls += 1
        return self.function(client)


async def test_an_insert_that_is_broken_twice_is_attempted_twice_by_the_driver_alone(
    subject: Subject, mongodb_replica_set: ReplicaSet
) -> None:
    commands = Commands()
    await subject.initialize(mongodb_replica_set.uri, event_listeners=[commands])
    insert = Counted(lambda client: client[subject.name].things.insert_one({"_id": 1}))
    twice = mongodb_replica_set.primary.fail_point("failCommand", {"times": 2}, broken(subject, "insert"))
    with twice, pytest.raises(AutoReconnect) as raised:
        await subject.run(insert)
    assert commands.count("insert") == 2
    assert insert.calls == 1
    assert "it was not said to be idempotent" in raised.value.__notes__[0]
    await subject.run(lambda client: client.drop_database(subject.name))


async def test_within_a_deadline_the_driver_attempts_it_as_often_as_it_takes(
    subject: Subject, mongodb_replica_set: ReplicaSet
) -> None:
    commands = Commands()
    await subject.initialize(mongodb_replica_set.uri, event_listeners=[commands])
    insert = Counted(lambda client: client[subject.name].things.insert_one({"_id": 1}))
    with mongodb_replica_set.primary.fail_point("failCommand", {"times": 2}, broken(subject, "insert")):
        await subject.run(insert, deadline=20)
    # One retryable write, known to the server by its number: that is safe, and the driver's rule for deadlines.
    assert commands.count("insert") == 3
    assert insert.calls == 1
    await subject.run(lambda client: client.drop_database(subject.name))


async def test_an_idempotent_find_that_is_broken_three_times_succeeds(subject: Subject, mongod: Server) -> None:
    commands = Commands()
    await subject.initialize(mongod.uri, event_listeners=[commands])
    find = Counted(lambda client: client.db.things.find_one({}))
    with mongod.fail_point("failCommand", {"times": 3}, broken(subject, "find")):
        assert await subject.run(find, idempotent=True) is None
    assert commands.count("find") == 4
    assert find.calls == 2
    stats = subject.stats()
    assert (stats.operations, stats.retries, stats.recovered) == (1, 1, 1)


async def test_a_command_that_an_overloaded_server_rejects_is_left_to_the_driver(
    subject: Subject, mongod: Server
) -> None:
    commands = Commands()
    await subject.initialize(mongod.uri, event_listeners=[commands])
    find = Counted(lambda client: client.db.things.find_one({}))
    rejected = broken(subject, "find", errorCode=462, errorLabels=["SystemOverloadedError", "RetryableError"])
    with mongod.fail_point("failCommand", "alwaysOn", rejected), pytest.raises(OperationFailure) as raised:
        await subject.run(find, idempotent=True)
    assert raised.value.has_error_label("SystemOverloadedError")
    assert find.calls == 1
    assert subject.stats().given_up["overloaded"] == 1


@pytest.mark.parametrize("how", [{"errorCode": 262}, {"closeConnection": True}], ids=str)
async def test_a_hundred_failures_at_once_stay_within_the_budget(
    subject: Subject, mongod: Server, how: dict[str, Any]
) -> None:
    commands = Commands()
    client = await subject.initialize(mongod.uri, event_listeners=[commands])
    await subject.call(client.admin.command, "ping")
    find = Counted(lambda given: given.db.things.find_one({}))
    began = time.monotonic()
    with mongod.fail_point("failCommand", "alwaysOn", broken(subject, "find", **how)):
        outcomes = await together(subject, find, 100)
    seconds = time.monotonic() - began
    assert all(isinstance(outcome, PyMongoError) for outcome in outcomes)
    stats = subject.stats()
    # The reserve, a fifth of the operations, and one a second.
    assert stats.retries <= 10 + 20 + seconds
    assert find.calls == 100 + stats.retries
    assert commands.count("find") <= 2 * find.calls
    assert stats.given_up["budget"] >= 100 - 30 - seconds
    assert sum(stats.given_up.values()) == 100


async def together(subject: Subject, function: Callable[[Any], Any], number: int) -> list[Any]:
    """Run it so many times at once, in the twin in as many threads."""
    if subject.is_async:
        calls = [subject.pool.run(function, idempotent=True) for _ in range(number)]
        return await asyncio.gather(*calls, return_exceptions=True)
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(number) as threads:
        waits = [
            loop.run_in_executor(threads, lambda: subject.pool.run(function, idempotent=True))
            for _ in range(number)
        ]
        return await asyncio.gather(*waits, return_exceptions=True)


async def elapsed(call: Any) -> tuple[Took, Any]:
    began = now()
    outcomes = await asyncio.gather(call, return_exceptions=True)
    return now() - began, outcomes[0]


@pytest.mark.parametrize("idempotent", [True, False])
async def test_a_deadline_of_a_second_on_a_command_that_blocks(
    subject: Subject, mongod: Server, wait_until_async: Callable[..., Any], idempotent: bool
) -> None:
    await subject.initialize(mongod.uri)
    blocked = broken(subject, "find", blockConnection=True, blockTimeMS=2000)
    with mongod.fail_point("failCommand", "alwaysOn", blocked):
        seconds, error = await elapsed(
            subject.run(lambda client: client.db.things.find_one({}), idempotent=idempotent, deadline=1)
        )
        assert isinstance(error, PyMongoError)
        assert error.timeout
        assert 0.85 < seconds < 1 + TOLERANCE
        # The thread and the connection are free although the server still sleeps.
        await wait_until_async(lambda: subject.pool.snapshot().totals.used == 0, timeout=0.2)
    assert "the deadline leaves no time" in error.__notes__[0]
    assert subject.stats().given_up["deadline"] == 1


async def test_a_deadline_of_a_second_on_failures_with_pauses_between(subject: Subject, mongod: Server) -> None:
    await subject.initialize(mongod.uri)

    def lose(client: Any) -> None:
        raise AutoReconnect("lost")

    budget = state_of(subject.pool._lifecycle).budget
    # As after five hundred operations: it is the deadline that is to end this.
    for _ in range(500):
        budget.deposit()
    seconds, error = await elapsed(subject.run(subject.made(lose), idempotent=True, deadline=1, attempts=99))
    assert isinstance(error, AutoReconnect)
    # It may end before: a pause that does not fit is not begun.
    assert seconds < 1 + TOLERANCE
    assert subject.stats().given_up["deadline"] == 1


@pytest.fixture
def proxy(mongod: Server) -> Iterator[FaultProxy]:
    with FaultProxy((mongod.host, mongod.port)) as running:
        yield running


@pytest.mark.parametrize(
    ("fault", "deadline"), [(FaultProxy.cut, 1), (FaultProxy.cut, 0.7), (FaultProxy.deafen, 1)]
)
async def test_a_deadline_on_a_server_that_is_gone(
    subject: Subject, proxy: FaultProxy, fault: Any, deadline: float
) -> None:
    # Left alone, the driver looks at its clock every half a second while it searches: 0.7 s would be 1 s.
    await subject.initialize(proxy.uri)
    fault(proxy)

    def find(client: Any) -> Any:
        return client.db.things.find_one({})

    seconds, error = await elapsed(subject.run(find, idempotent=True, deadline=deadline, attempts=99))
    assert isinstance(error, AutoReconnect)
    assert 0.85 * deadline < seconds < deadline + TOLERANCE
    assert subject.stats().given_up["deadline"] == 1


async def test_operation_ends_the_search_for_a_server_in_time(subject: Subject, proxy: FaultProxy) -> None:
    client = await subject.initialize(proxy.uri)
    proxy.cut()
    began = now()
    with pytest.raises(AutoReconnect), subject.pool.operation(timeout=0.7):
        await subject.call(client.db.things.find_one, {})
    assert now() - began < 0.7 + TOLERANCE


async def test_operation_ends_a_call_that_blocks_and_frees_its_connection(
    subject: Subject, mongod: Server, wait_until_async: Callable[..., Any]
) -> None:
    client = await subject.initialize(mongod.uri)
    blocked = broken(subject, "find", blockConnection=True, blockTimeMS=1500)
    with mongod.fail_point("failCommand", "alwaysOn", blocked):
        began = now()
        with pytest.raises(PyMongoError) as raised, subject.pool.operation(timeout=0.5):
            await subject.call(client.db.things.find_one, {})
        assert raised.value.timeout
        assert 0.4 < now() - began < 0.5 + TOLERANCE
        await wait_until_async(lambda: subject.pool.snapshot().totals.used == 0, timeout=0.2)
    # Outside the block there is no limit.
    assert await subject.call(client.db.things.find_one, {}) is None
