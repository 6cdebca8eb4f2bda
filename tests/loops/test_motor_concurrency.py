"""Motor's workers in front of real connections: how many, what is refused, and what travels along."""

from __future__ import annotations

import asyncio
import logging
import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from pymongo.errors import OperationFailure
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent

from async_mongo_pool import PoolClosingError
from tests.pools.subjects import Subject, ping, sleep_on_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from async_mongo_pool.testing import ReplicaSet, Server


@pytest_asyncio.fixture
async def motor() -> AsyncIterator[Subject]:
    made = Subject("motor")
    yield made
    await made.close(drain=0, timeout=3)


def workers_of(subject: Subject) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith(f"{subject.name}-worker")]


def running_on(server: Server, subject: Subject) -> list[int]:
    """The pool's operations that the server is running now."""
    found = server.connections(appname=subject.name)
    return [operation["opid"] for operation in found if "sleep" in operation.get("command", {})]


def kill(server: Server, operations: list[int]) -> None:
    with server.client() as client:
        for operation in operations:
            client.admin.command("killOp", op=operation)


@pytest.mark.core
async def test_a_hundred_operations_run_at_once(
    motor: Subject, mongod: Server, mongodb_uri: str, wait_until_async: Callable[..., Any]
) -> None:
    client = await motor.initialize(mongodb_uri, maxPoolSize=100, minPoolSize=0)
    operations = [asyncio.ensure_future(sleep_on_server(client, 10)) for _ in range(100)]

    async def all_run() -> bool:
        return len(await asyncio.to_thread(running_on, mongod, motor)) == 100

    await wait_until_async(all_run, 9, "100 operations on the server at the same time")
    await asyncio.to_thread(kill, mongod, await asyncio.to_thread(running_on, mongod, motor))
    outcomes = await asyncio.gather(*operations, return_exceptions=True)
    assert all(isinstance(outcome, OperationFailure) for outcome in outcomes)


@pytest.mark.core
async def test_the_workers_are_as_many_as_the_connections(motor: Subject, mongodb_uri: str) -> None:
    client = await motor.initialize(mongodb_uri, maxPoolSize=7)
    await asyncio.gather(*(ping(client) for _ in range(60)))
    assert 1 <= len(workers_of(motor)) <= 7
    assert motor.pool._lifecycle.handle()._worker_limit() == 7


async def test_each_data_bearing_server_counts(motor: Subject, mongodb_replica_set: ReplicaSet) -> None:
    await motor.initialize(mongodb_replica_set.uri, maxPoolSize=7, readPreference="secondaryPreferred")
    handle = motor.pool._lifecycle.handle()
    assert handle.data_bearing_servers() == 3
    assert handle._worker_limit() == 21


@pytest.mark.core
async def test_max_threads_binds_with_one_warning(
    motor: Subject, mongodb_uri: str, caplog: pytest.LogCaptureFixture
) -> None:
    client = await motor.initialize(mongodb_uri, maxPoolSize=50, max_threads=3)
    await asyncio.gather(*(ping(client) for _ in range(60)))
    assert len(workers_of(motor)) == 3
    told = [record for record in caplog.records if "max_threads=3" in record.getMessage()]
    assert [record.levelno for record in told] == [logging.WARNING]


@pytest.mark.core
async def test_the_workers_are_gone_after_a_close(
    motor: Subject, mongodb_uri: str, wait_until_async: Callable[..., Any]
) -> None:
    client = await motor.initialize(mongodb_uri)
    await asyncio.gather(*(ping(client) for _ in range(20)))
    assert all(worker.daemon for worker in workers_of(motor))
    await motor.close()
    await wait_until_async(lambda: not workers_of(motor), message="the end of the workers")


async def iterate(cursor: Any) -> list[Any]:
    return [document async for document in cursor]


async def in_session(client: Any) -> Any:
    async with await client.start_session():
        pass


async def watch(client: Any) -> Any:
    async with client.db.c.watch() as stream:
        return await stream.try_next()


EVERY_ENTRY: dict[str, Callable[[Any], Any]] = {
    "find_one": lambda client: client.db.c.find_one(),
    "insert_one": lambda client: client.db.c.insert_one({}),
    "to_list": lambda client: client.db.c.find().to_list(None),
    "async_for": lambda client: iterate(client.db.c.find()),
    "aggregate": lambda client: client.db.c.aggregate([]).to_list(None),
    "aggregate_async_for": lambda client: iterate(client.db.c.aggregate([])),
    "list_indexes": lambda client: client.db.c.list_indexes().to_list(None),
    "command": ping,
    "session": in_session,
    "change_stream": watch,
}
every_entry = pytest.mark.parametrize("entry", EVERY_ENTRY)


@pytest.mark.core
@every_entry
async def test_a_closed_pool_refuses_every_kind_of_operation_and_none_hangs(
    motor: Subject, mongodb_uri: str, entry: str
) -> None:
    client = await motor.initialize(mongodb_uri)
    await motor.close()
    async with asyncio.timeout(5):
        with pytest.raises(PoolClosingError):
            await EVERY_ENTRY[entry](client)


@pytest.mark.core
@every_entry
async def test_a_queued_operation_is_refused_when_the_pool_closes_and_does_not_hang(
    motor: Subject, mongodb_uri: str, entry: str, wait_until_async: Callable[..., Any]
) -> None:
    client = await motor.initialize(mongodb_uri, maxPoolSize=1)
    handle = motor.pool._lifecycle.handle()
    running = asyncio.ensure_future(sleep_on_server(client, 0.6))
    await wait_until_async(lambda: handle.in_use() == 1)
    queued = asyncio.ensure_future(EVERY_ENTRY[entry](client))
    await wait_until_async(lambda: handle.in_progress() == 2)
    async with asyncio.timeout(5):
        await motor.close(drain=0, timeout=2)
        with pytest.raises(PoolClosingError):
            await queued
        await asyncio.wait([running])
    running.exception()


@pytest.mark.core
async def test_a_cancelled_queued_operation_never_reaches_the_server(
    motor: Subject, mongodb_uri: str, wait_until_async: Callable[..., Any]
) -> None:
    client = await motor.initialize(mongodb_uri, maxPoolSize=1)
    handle = motor.pool._lifecycle.handle()
    running = asyncio.ensure_future(sleep_on_server(client, 0.3))
    await wait_until_async(lambda: handle.in_use() == 1)
    insert = asyncio.ensure_future(client[motor.name].c.insert_one({"n": 1}))
    await wait_until_async(lambda: handle.in_progress() == 2)
    insert.cancel()
    await running
    assert await client[motor.name].c.count_documents({}) == 0


request_id: ContextVar[str] = ContextVar("request_id", default="none")


class SeenIn(CommandListener):
    """Notes in which context a command ran."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def started(self, event: CommandStartedEvent) -> None:
        if event.command_name in {"find", "getMore", "aggregate"}:
            self.seen.append(request_id.get())

    def succeeded(self, event: CommandSucceededEvent) -> None:
        pass

    def failed(self, event: CommandFailedEvent) -> None:
        pass


@pytest.mark.core
async def test_the_context_of_the_caller_travels_with_the_call(
    motor: Subject, mongodb_uri: str, mongodb_database: str
) -> None:
    listener = SeenIn()
    client = await motor.initialize(mongodb_uri, event_listeners=[listener])
    numbers = client[mongodb_database].numbers
    await numbers.insert_many([{"n": n} for n in range(20)])

    async def request(name: str) -> None:
        request_id.set(name)
        await numbers.find_one()
        await numbers.find().batch_size(5).to_list(None)
        await numbers.aggregate([]).to_list(None)

    await asyncio.gather(*(asyncio.create_task(request(f"request {number}")) for number in range(5)))
    assert set(listener.seen) == {f"request {number}" for number in range(5)}
