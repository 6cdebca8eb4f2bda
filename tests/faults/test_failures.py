"""What a user of a pool sees when something fails: rows of docs/failure.md that no other test shows."""

from __future__ import annotations

import asyncio
import gc
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from pymongo.errors import (
    AutoReconnect,
    NetworkTimeout,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
)

from async_mongo_pool.testing import Mongod, User
from tests.pools.subjects import Subject, ping, sleep_on_server
from tests.timing import Took, now

from .proxy import FaultProxy
from .replica_set import ProxiedReplicaSet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from async_mongo_pool import PoolSnapshot

USER = User("writer", "the first password", ("readWrite",), "shop")


@pytest_asyncio.fixture(params=["motor", "pymongo", "sync"])
async def subject(request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    made = Subject(request.param)
    yield made
    await made.close(drain=0, timeout=3)


@pytest.fixture
def proxy(mongod: Any) -> Iterator[FaultProxy]:
    with FaultProxy((mongod.host, mongod.port)) as running:
        yield running


@pytest.fixture(scope="module")
def replica_set() -> Iterator[ProxiedReplicaSet]:
    with ProxiedReplicaSet(1) as running:
        yield running


def insert(client: Any) -> Any:
    return client.failures.documents.insert_one({})


def find(client: Any) -> Any:
    return client.failures.documents.find_one({})


async def timed(call: Any) -> tuple[Took, Exception]:
    began = now()
    try:
        outcome = await call
    except Exception as error:
        return now() - began, error
    raise AssertionError(f"it succeeded: {outcome!r}")


def snapshot(subject: Subject) -> PoolSnapshot:
    taken: PoolSnapshot = subject.pool.snapshot()
    return taken


@pytest.mark.parametrize("operation", [insert, find])
async def test_a_reset_is_repeated_by_the_driver_and_counted(
    subject: Subject, replica_set: ProxiedReplicaSet, operation: Any
) -> None:
    client = await subject.initialize(replica_set.client_uri, minPoolSize=1, maxPoolSize=1)
    await subject.call(operation, client)
    before = snapshot(subject)
    assert replica_set.proxies[0].reset() >= 1
    began = now()
    await subject.call(operation, client)
    assert now() - began < 5
    since = snapshot(subject).since(before).totals
    assert since.clears >= 1
    assert since.connections_closed["error"] + since.connections_closed["stale"] >= 1
    assert since.connections_created >= 1
    assert (await subject.call(subject.pool.readiness, max_age=0)).ready


async def test_a_write_that_the_driver_may_not_repeat_shows_the_broken_connection(
    subject: Subject, mongod: Any, mongodb_uri: str
) -> None:
    # A standalone server knows no retryable writes; update_many and the like are repeated nowhere.
    client = await subject.initialize(mongodb_uri)
    await subject.call(insert, client)
    broken = {"failCommands": ["insert"], "appName": subject.name, "closeConnection": True}
    with mongod.fail_point("failCommand", {"times": 1}, broken):
        _, error = await timed(subject.call(insert, client))
    assert type(error) is AutoReconnect
    assert snapshot(subject).totals.used == 0
    await subject.call(insert, client)


async def test_an_unreachable_server_is_an_error_after_the_selection_timeout(
    subject: Subject, proxy: FaultProxy, wait_until_async: Callable[..., Any]
) -> None:
    client = await subject.initialize(proxy.uri, serverSelectionTimeoutMS=700)
    await subject.call(ping, client)
    proxy.cut()
    # The first may still meet the connection that was reset, and be repeated.
    await timed(subject.call(find, client))
    before = snapshot(subject)
    seconds, error = await timed(subject.call(find, client))
    assert type(error) is ServerSelectionTimeoutError
    assert f"127.0.0.1:{proxy.port}" in str(error)
    assert 0.6 < seconds < 2.5
    # Nobody waited for a connection: what shows is the state of the server.
    assert snapshot(subject).since(before).totals.checkouts == 0
    assert [each.state for each in snapshot(subject).servers.values()] == ["paused"]
    assert (await subject.stats())["status"] == "error"
    proxy.heal()

    async def serves() -> bool:
        try:
            await subject.call(find, client)
        except PyMongoError:
            return False
        return True

    await wait_until_async(serves, 5)
    assert (await subject.stats())["status"] == "connected"


@pytest.mark.parametrize(("operation", "attempts"), [(insert, 1), (find, 2)])
async def test_a_silent_server_is_a_network_timeout_after_the_socket_timeout(
    subject: Subject, proxy: FaultProxy, operation: Any, attempts: int
) -> None:
    client = await subject.initialize(proxy.uri, socketTimeoutMS=500, minPoolSize=1)
    await subject.call(insert, client)
    proxy.blackhole()
    seconds, error = await timed(subject.call(operation, client))
    assert type(error) is NetworkTimeout
    assert 0.4 * attempts < seconds < 0.5 * attempts + 1.5
    totals = snapshot(subject).totals
    assert totals.used == 0
    assert totals.connections_closed["error"] >= 1


async def test_a_password_changed_on_the_server_fails_with_the_next_connection(subject: Subject) -> None:
    with Mongod(auth=True, users=[USER]) as server:
        limits = {"minPoolSize": 0, "maxPoolSize": 2, "serverSelectionTimeoutMS": 700}
        client = await subject.initialize(server.uri_for(USER), **limits)
        shop = client.shop.orders
        await subject.call(shop.insert_one, {})
        changed = User(USER.username, "the second password", USER.roles, USER.database)
        with server.client() as root:
            root["shop"].command("updateUser", USER.username, pwd=changed.password)
        # The connection that exists goes on.
        await subject.call(shop.insert_one, {})
        with server.fail_point("failCommand", {"times": 2}, {"failCommands": ["find"], "closeConnection": True}):
            await timed(subject.call(shop.find_one, {}))
        _, error = await timed(subject.call(shop.find_one, {}))
        # The second of its attempts may find the server given up for the moment.
        assert isinstance(error, (OperationFailure, ServerSelectionTimeoutError))
        assert "Authentication failed" in str(error)
        assert snapshot(subject).totals.checkout_failures["connection_error"] >= 1
        for _ in range(2):
            answer = await subject.call(subject.pool.readiness, max_age=0)
        assert (answer.state, answer.ready, answer.live) == ("down", False, True)
        # The cure: the right password, from a callable that `rotate` asks, or given anew.
        client = await subject.initialize(server.uri_for(changed), retire_after=0.1)
        await subject.call(client.shop.orders.find_one, {})
        assert (await subject.call(subject.pool.readiness, max_age=0)).ready
        await subject.close()


@pytest.mark.parametrize(("connect_timeout", "timeout"), [(1000, 4), (2500, 1)])
async def test_a_name_server_that_never_answers_is_bounded_and_named(
    subject: Subject, monkeypatch: pytest.MonkeyPatch, connect_timeout: int, timeout: float
) -> None:
    import dns.asyncresolver
    import dns.resolver

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        for module in (dns.resolver, dns.asyncresolver):
            resolver = module.Resolver(configure=False)
            resolver.nameservers, resolver.port = ["127.0.0.1"], silent.getsockname()[1]
            monkeypatch.setattr(module, "default_resolver", resolver)
        longest, last = 0.0, time.monotonic()
        uri = f"mongodb+srv://cluster.example.org/?connectTimeoutMS={connect_timeout}"
        waiting = asyncio.ensure_future(timed(subject.initialize(uri, timeout=timeout)))
        while not waiting.done():
            await asyncio.sleep(0.01)
            longest, last = max(longest, time.monotonic() - last), time.monotonic()
        seconds, error = await waiting
    assert isinstance(error, PyMongoError)
    assert "in the stage DNS" in str(error)
    assert 0.9 < seconds < 3
    # The event loop was free meanwhile.
    assert longest < 0.5


async def test_a_cancelled_call_made_directly_throws_its_connection_away(
    mongodb_uri: str, wait_until_async: Callable[..., Any]
) -> None:
    subject = Subject("pymongo")
    client = await subject.initialize(mongodb_uri, minPoolSize=1, maxPoolSize=1)
    await ping(client)
    before = snapshot(subject)
    task = asyncio.ensure_future(sleep_on_server(client, 1))
    await wait_until_async(lambda: snapshot(subject).totals.used == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await wait_until_async(lambda: snapshot(subject).totals.used == 0)
    since = snapshot(subject).since(before).totals
    assert since.connections_closed["error"] == 1
    # The place in the pool is free, and a new connection takes it.
    await ping(client)
    assert snapshot(subject).totals.size == 1
    await subject.close()


async def test_a_call_cancelled_while_it_connects_frees_its_place(
    proxy: FaultProxy, wait_until_async: Callable[..., Any]
) -> None:
    subject = Subject("pymongo")
    client = await subject.initialize(proxy.uri, minPoolSize=0, maxPoolSize=2)
    busy = asyncio.ensure_future(sleep_on_server(client, 0.5))
    await wait_until_async(lambda: snapshot(subject).totals.used == 1)
    accepted = proxy.counts().accepted
    proxy.deafen()
    task = asyncio.ensure_future(ping(client))
    await wait_until_async(lambda: snapshot(subject).totals.connecting == 1 and proxy.counts().accepted > accepted)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    # The place in the pool is free; the socket goes when it is collected.
    await wait_until_async(lambda: snapshot(subject).totals.connecting == 0)
    proxy.heal()
    await busy
    gc.collect()
    await asyncio.gather(*(sleep_on_server(client, 0.05) for _ in range(4)))
    totals = snapshot(subject).totals
    assert (totals.size, totals.used, totals.waiting) == (2, 0, 0)
    await subject.close()
