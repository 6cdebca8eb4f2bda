"""Opening: once for all, cheap to repeat, remembered, and honest about failure."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING, Any

import pytest
from pymongo.errors import ServerSelectionTimeoutError

from async_mongo_pool import (
    AsyncMongoDBConnectionPool,
    MongoDBConnectionPool,
    PoolConfig,
    PoolConfigurationError,
    PoolError,
)
from async_mongo_pool.events import ConnectionEvents
from tests.timing import now

from .subjects import NO_SERVER, Subject, ping

if TYPE_CHECKING:
    from collections.abc import Callable

    from async_mongo_pool.testing import Server


@pytest.mark.core
async def test_a_pool_opens_serves_and_closes(subject: Subject, mongodb_uri: str) -> None:
    assert subject.pool.get_client() is None
    client = await subject.initialize(mongodb_uri)
    assert subject.pool.get_client() is client
    assert (await subject.call(ping, client))["ok"] == 1
    await subject.close()
    assert subject.pool.get_client() is None


@pytest.mark.core
async def test_an_equal_configuration_returns_the_same_client(subject: Subject, mongodb_uri: str) -> None:
    client = await subject.initialize(mongodb_uri, maxPoolSize=20)
    assert await subject.initialize(mongodb_uri, maxPoolSize=20) is client
    assert await subject.initialize(mongodb_uri, max_pool_size="20") is client
    assert await subject.call(subject.pool.initialize) is client


@pytest.mark.core
async def test_a_different_configuration_replaces_the_client(
    subject: Subject, mongodb_uri: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "async_mongo_pool")
    first = await subject.initialize(mongodb_uri, maxPoolSize=20)
    second = await subject.initialize(mongodb_uri, maxPoolSize=30)
    assert second is not first
    assert subject.pool.get_client() is second
    assert "these differ: maxPoolSize" in caplog.text
    assert (await subject.stats())["replacements"] == 1


async def test_a_new_listener_in_every_call_is_told(
    subject: Subject, mongodb_uri: str, caplog: pytest.LogCaptureFixture
) -> None:
    await subject.initialize(mongodb_uri, event_listeners=[ConnectionEvents()])
    await subject.initialize(mongodb_uri, event_listeners=[ConnectionEvents()])
    assert "only event_listeners differ, and these compare by identity" in caplog.text


async def test_options_without_a_connection_keep_the_address(subject: Subject, mongodb_uri: str) -> None:
    await subject.initialize(mongodb_uri, maxPoolSize=20)
    await subject.initialize(maxPoolSize=30)
    assert (await subject.stats())["pool_config"]["maxPoolSize"] == 30


async def test_a_list_changed_in_place_is_seen(subject: Subject, mongodb_uri: str) -> None:
    listeners: list[Any] = [ConnectionEvents()]
    first = await subject.initialize(mongodb_uri, event_listeners=listeners)
    assert await subject.initialize(mongodb_uri, event_listeners=listeners) is first
    listeners.append(ConnectionEvents())
    assert await subject.initialize(mongodb_uri, event_listeners=listeners) is not first


@pytest.mark.core
async def test_nothing_given_and_nothing_remembered_names_the_ways(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MONGODB_URI", raising=False)
    with pytest.raises(PoolConfigurationError, match="MONGODB_URI"):
        await subject.call(subject.pool.initialize)


async def test_the_environment_names_the_server(
    subject: Subject, mongodb_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MONGODB_URI", mongodb_uri)
    client = await subject.initialize()
    assert (await subject.call(ping, client))["ok"] == 1


async def test_configure_is_for_later(subject: Subject, mongodb_uri: str) -> None:
    subject.pool.configure(mongodb_uri, **subject.choice, maxPoolSize=7)
    assert subject.pool.get_client() is None
    await subject.call(subject.pool.initialize)
    assert (await subject.stats())["pool_config"]["maxPoolSize"] == 7
    await subject.close()
    # What was configured outlives a close: an application may start again.
    assert await subject.call(subject.pool.initialize) is not None


async def test_configure_refuses_what_initialize_would(subject: Subject) -> None:
    with pytest.raises(PoolConfigurationError, match="maxPoolSize"):
        subject.pool.configure("mongodb://127.0.0.1/", maxPoolSizes=7)


async def test_close_forgets_what_initialize_remembered(
    subject: Subject, mongodb_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MONGODB_URI", raising=False)
    await subject.initialize(mongodb_uri)
    await subject.close()
    with pytest.raises(PoolConfigurationError):
        await subject.call(subject.pool.initialize)


async def test_a_pool_config_opens(subject: Subject, mongodb_uri: str) -> None:
    config = PoolConfig(mongo_uri=mongodb_uri, max_pool_size=9, database_name="of_the_config")
    await subject.initialize(config)
    assert subject.pool.get_database().name == "of_the_config"
    assert (await subject.stats())["pool_config"]["maxPoolSize"] == 9


async def test_a_callable_is_asked_only_when_a_connection_is_made(subject: Subject, mongodb_uri: str) -> None:
    asked = 0

    def connection() -> str:
        nonlocal asked
        asked += 1
        return mongodb_uri

    client = await subject.initialize(connection)
    assert await subject.initialize(connection) is client
    assert asked == 1
    # Another callable with the same answer is no reason to replace the client.
    assert await subject.initialize(lambda: mongodb_uri) is client


async def test_an_asynchronous_callable(async_subject: Subject, mongodb_uri: str) -> None:
    async def connection() -> str:
        await asyncio.sleep(0)
        return mongodb_uri

    assert await async_subject.initialize(connection) is async_subject.pool.get_client()


def test_the_twin_refuses_an_asynchronous_callable() -> None:
    async def connection() -> str:
        return "mongodb://127.0.0.1/"

    with pytest.raises(PoolConfigurationError, match="coroutine function"):
        MongoDBConnectionPool.named("refusing").initialize(connection)  # type: ignore[arg-type]


async def test_a_callable_that_hangs_is_bounded(subject: Subject, wait_until_async: Callable[..., Any]) -> None:
    release = threading.Event()

    def connection() -> str:
        release.wait(10)
        return NO_SERVER

    began = now()
    with pytest.raises(PoolError, match="connection callable"):
        await subject.initialize(connection, timeout=0.3)
    assert now() - began < 1
    release.set()


@pytest.mark.core
@pytest.mark.parametrize("callers", [1000])
async def test_concurrent_calls_make_one_client(
    async_subject: Subject, mongod: Server, mongodb_uri: str, callers: int
) -> None:
    clients = await asyncio.gather(*(async_subject.initialize(mongodb_uri, minPoolSize=0) for _ in range(callers)))
    assert len({id(client) for client in clients}) == 1
    # One connection for the ping; a monitor's carry the name too.
    assert len(mongod.connections(appname=async_subject.name)) <= 4


@pytest.mark.core
def test_four_loops_in_four_threads_share_one_client(mongod: Server, mongodb_uri: str) -> None:
    subject = Subject("motor")
    clients: list[Any] = []
    ready = threading.Barrier(4)

    async def many() -> None:
        clients.extend(await asyncio.gather(*(subject.initialize(mongodb_uri, minPoolSize=0) for _ in range(250))))

    def run() -> None:
        ready.wait(10)
        asyncio.run(many())

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(clients) == 1000
    assert len({id(client) for client in clients}) == 1
    assert len(mongod.connections(appname=subject.name)) <= 4
    subject.pool.close_sync()


@pytest.mark.core
def test_fifty_threads_share_one_client_of_the_twin(mongod: Server, mongodb_uri: str) -> None:
    subject = Subject("sync")
    clients: list[Any] = []
    ready = threading.Barrier(50)

    def run() -> None:
        ready.wait(10)
        clients.extend(
            subject.pool.initialize(mongodb_uri, minPoolSize=0, appName=subject.name) for _ in range(20)
        )

    threads = [threading.Thread(target=run) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(clients) == 1000
    assert len({id(client) for client in clients}) == 1
    assert len(mongod.connections(appname=subject.name)) <= 4
    subject.pool.close()


async def test_concurrent_callers_share_one_failure(subject: Subject) -> None:
    began = now()
    outcomes = await asyncio.gather(*(subject.initialize(NO_SERVER) for _ in range(6)), return_exceptions=True)
    assert all(isinstance(outcome, ServerSelectionTimeoutError) for outcome in outcomes)
    # One after another they would need 6 x 0.3 s.
    assert now() - began < 1.5


async def test_a_failure_of_before_is_not_shared(subject: Subject, mongodb_uri: str) -> None:
    with pytest.raises(ServerSelectionTimeoutError):
        await subject.initialize(NO_SERVER)
    with pytest.raises(ServerSelectionTimeoutError):
        await subject.initialize(NO_SERVER)
    assert await subject.initialize(mongodb_uri) is not None


@pytest.mark.core
async def test_a_bad_server_leaves_the_old_client_serving(subject: Subject, mongodb_uri: str) -> None:
    client = await subject.initialize(mongodb_uri)
    with pytest.raises(ServerSelectionTimeoutError):
        await subject.initialize(NO_SERVER)
    assert subject.pool.get_client() is client
    assert (await subject.call(ping, client))["ok"] == 1
    assert await subject.call(subject.pool.initialize) is client


async def test_warm_up_opens_min_pool_size(subject: Subject, mongod: Server, mongodb_uri: str) -> None:
    await subject.initialize(mongodb_uri, minPoolSize=6, warm_up=True)
    assert len(mongod.connections(appname=subject.name)) >= 6


@pytest.mark.core
def test_a_subclass_and_a_named_pool_have_state_of_their_own(mongodb_uri: str) -> None:
    first = MongoDBConnectionPool.named("one")
    assert MongoDBConnectionPool.named("one") is first
    second = MongoDBConnectionPool.named("two")
    client = first.initialize(mongodb_uri)
    assert second.get_client() is None
    assert MongoDBConnectionPool.get_client() is None
    assert first.initialize(mongodb_uri) is client
    first.close()


def test_the_class_returns_its_one_instance() -> None:
    pool = AsyncMongoDBConnectionPool.named("single")
    assert pool() is pool()
    assert repr(pool()) == "<single not initialized>"
    assert pool() is not AsyncMongoDBConnectionPool()


async def test_the_backend_of_a_subclass() -> None:
    class Keyword(AsyncMongoDBConnectionPool, backend="pymongo"): ...

    class Inheriting(Keyword): ...

    assert Keyword._lifecycle.backend == Inheriting._lifecycle.backend == "pymongo"
    assert AsyncMongoDBConnectionPool._lifecycle.backend == "motor"


async def test_an_unknown_backend_names_the_known() -> None:
    with pytest.raises(PoolConfigurationError, match="'motor' or 'pymongo'"):
        await AsyncMongoDBConnectionPool.named("x").initialize("mongodb://h/", backend="tornado")  # type: ignore[call-overload]


async def test_on_replace_gets_both_clients(subject: Subject, mongodb_uri: str) -> None:
    told: list[tuple[Any, Any]] = []

    def on_replace(old: Any, new: Any) -> None:
        told.append((old, new))

    first = await subject.initialize(mongodb_uri)
    second = await subject.initialize(mongodb_uri, on_replace=on_replace, maxPoolSize=11)
    assert told == [(first, second)]


async def test_an_asynchronous_on_replace_is_awaited(async_subject: Subject, mongodb_uri: str) -> None:
    told: list[Any] = []

    async def on_replace(old: Any, new: Any) -> None:
        await asyncio.sleep(0)
        # The pool may be asked from here: its lock is free again.
        told.append(await async_subject.initialize(mongodb_uri, on_replace=on_replace, maxPoolSize=11))

    await async_subject.initialize(mongodb_uri)
    second = await async_subject.initialize(mongodb_uri, on_replace=on_replace, maxPoolSize=11)
    assert told == [second]


async def test_close_during_initialize_wins(async_subject: Subject, mongodb_uri: str) -> None:
    started = asyncio.Event()

    async def connection() -> str:
        started.set()
        await asyncio.sleep(0.05)
        return mongodb_uri

    opening = asyncio.ensure_future(async_subject.initialize(connection))
    await started.wait()
    await async_subject.close()
    with pytest.raises(PoolError, match="closing"):
        await opening
    assert async_subject.pool.get_client() is None
