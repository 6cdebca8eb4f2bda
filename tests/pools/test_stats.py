"""``get_pool_stats``: seed keys, a status that does not lie, and a bound."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from async_mongo_pool.testing import Mongod
from tests.timing import now

from .subjects import Subject, ping, sleep_on_server

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.core
async def test_a_pool_that_is_not_open_says_just_that(subject: Subject) -> None:
    assert await subject.stats() == {"status": "not_initialized"}


@pytest.mark.core
async def test_an_open_pool_tells_what_it_is(subject: Subject, mongodb_uri: str) -> None:
    client = await subject.initialize(mongodb_uri, maxPoolSize=12, minPoolSize=3)
    stats = await subject.stats()
    version = (await subject.call(client.server_info))["version"]
    assert stats["status"] == "connected"
    assert stats["connection_string"].startswith("mongodb://127.0.0.1:")
    assert stats["server_version"] == version
    assert stats["pool_config"]["maxPoolSize"] == 12
    assert stats["pool_config"]["minPoolSize"] == 3
    assert stats["replacements"] == 0
    assert stats["saturated"] is False
    assert "error" not in stats


async def test_a_full_pool_is_connected_and_saturated(
    subject: Subject, mongodb_uri: str, wait_until_async: Callable[..., Any]
) -> None:
    client = await subject.initialize(mongodb_uri, maxPoolSize=3)
    await subject.stats()
    slow = [asyncio.ensure_future(subject.call(sleep_on_server, client, 1)) for _ in range(5)]
    await wait_until_async(subject.pool._lifecycle.handle().saturated, message="the pool is not full")
    began = now()
    stats = await subject.stats()
    assert now() - began < 0.5
    assert stats["status"] == "connected"
    assert stats["saturated"] is True
    await asyncio.gather(*slow)


@pytest.mark.serial
async def test_a_server_that_is_gone_is_an_error_within_the_bound(subject: Subject) -> None:
    with Mongod() as server:
        client = await subject.initialize(server.uri)
        await subject.call(ping, client)
        server.suspend()
        began = now()
        stats = await subject.stats()
        assert now() - began < 2.5
        assert stats["status"] == "error"
        assert stats["error"]
        server.kill()
        assert (await subject.stats())["status"] == "error"
        await subject.close(timeout=1)


async def test_the_pool_is_known_to_the_server_by_name(subject: Subject, mongod: Any, mongodb_uri: str) -> None:
    client = await subject.initialize(mongodb_uri)
    assert (await subject.call(ping, client))["ok"] == 1
    drivers = {
        connection["clientMetadata"]["driver"]["name"] for connection in mongod.connections(appname=subject.name)
    }
    assert any("async_mongo_pool" in name for name in drivers)


async def test_the_users_own_driver_info_is_honoured(subject: Subject, mongod: Any, mongodb_uri: str) -> None:
    from pymongo.driver_info import DriverInfo

    client = await subject.initialize(mongodb_uri, driver=DriverInfo("the_users", "7.7"))
    assert (await subject.call(ping, client))["ok"] == 1
    drivers = [
        connection["clientMetadata"]["driver"]["name"] for connection in mongod.connections(appname=subject.name)
    ]
    assert any("the_users" in name and "async_mongo_pool" in name for name in drivers)


async def test_options_of_databases_and_collections_pass_through(subject: Subject, mongodb_uri: str) -> None:
    from pymongo import ReadPreference, WriteConcern
    from pymongo.read_concern import ReadConcern

    await subject.initialize(mongodb_uri + "from_the_uri")
    options = {
        "read_preference": ReadPreference.SECONDARY,
        "write_concern": WriteConcern(w=1, j=True),
        "read_concern": ReadConcern("local"),
    }
    for made in (
        subject.pool.get_database("named", **options),
        subject.pool.get_collection("collection", **options),
    ):
        assert made.read_preference == ReadPreference.SECONDARY
        assert made.write_concern == WriteConcern(w=1, j=True)
        assert made.read_concern == ReadConcern("local")
    assert subject.pool.get_database().name == "from_the_uri"
    assert subject.pool.get_collection("c", database="other").database.name == "other"


async def test_the_users_listeners_are_kept_beside_ours(subject: Subject, mongodb_uri: str) -> None:
    from async_mongo_pool.events import ConnectionEvents

    theirs = ConnectionEvents()
    client = await subject.initialize(mongodb_uri, event_listeners=[theirs])
    assert (await subject.call(ping, client))["ok"] == 1
    assert theirs.ready() >= 1
    assert subject.pool._lifecycle.handle().events.ready() >= 1


async def test_a_server_that_does_not_tell_its_version_is_connected(subject: Subject, mongodb_uri: str) -> None:
    from pymongo.server_api import ServerApi

    await subject.initialize(mongodb_uri, server_api=ServerApi("1", strict=True))
    for _ in range(2):
        stats = await subject.stats()
        assert stats["status"] == "connected"
        assert stats["server_version"] is None


@pytest.mark.serial
async def test_a_pool_closed_meanwhile_is_not_an_error(subject: Subject) -> None:
    with Mongod() as server:
        await subject.initialize(server.uri)
        server.suspend()
        asking = asyncio.ensure_future(subject.stats())
        await asyncio.sleep(0.2)
        await subject.close(drain=0, timeout=0.5)
        assert await asking == {"status": "not_initialized"}
        server.resume()


@pytest.mark.serial
def test_the_end_of_the_owners_loop_cancels_nobody_else() -> None:
    subject = Subject("pymongo")
    opened, watching = threading.Event(), threading.Event()

    async def owner() -> None:
        await subject.initialize(server.uri)
        server.suspend()
        opened.set()
        await asyncio.to_thread(watching.wait, 5)
        await asyncio.sleep(0.2)

    async def watcher() -> Any:
        asking = asyncio.ensure_future(subject.stats())
        await asyncio.sleep(0)
        watching.set()
        return await asking

    with Mongod() as server:
        thread = threading.Thread(target=lambda: asyncio.run(owner()))
        thread.start()
        assert opened.wait(10)
        stats = asyncio.run(watcher())
        thread.join(10)
        server.resume()
    assert stats["status"] in ("error", "not_initialized")
    subject.pool.close_sync(timeout=1)
