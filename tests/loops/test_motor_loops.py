"""Motor's client belongs to no event loop: it serves each one that runs, one after another and at once."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest

from async_mongo_pool import PoolLoopError
from tests.pools.subjects import Subject, ping

from .operations import LOOP_KINDS, every_kind, run_at_once, run_on

if TYPE_CHECKING:
    from collections.abc import Iterator

    from async_mongo_pool.testing import ReplicaSet


@pytest.fixture
def motor() -> Iterator[Subject]:
    """A fresh pool on Motor, for tests that make their event loops themselves."""
    made = Subject("motor")
    yield made
    made.pool.close_sync(drain=0, timeout=3)


async def use(motor: Subject, uri: str, database: str = "loops") -> Any:
    client = await motor.initialize(uri)
    await every_kind(client, f"{database}_{motor.name}")
    return client


@pytest.mark.core
@pytest.mark.parametrize(("first", "second"), [*product(LOOP_KINDS, repeat=2)])
def test_one_client_serves_two_runs_one_after_another(
    motor: Subject, mongodb_replica_set: ReplicaSet, first: str, second: str
) -> None:
    clients = [run_on(kind, lambda: use(motor, mongodb_replica_set.uri)) for kind in (first, second)]
    assert clients[0] is clients[1]


@pytest.mark.core
def test_six_loops_in_six_threads_share_one_client(motor: Subject, mongodb_replica_set: ReplicaSet) -> None:
    clients: list[Any] = []

    async def main(number: int) -> None:
        clients.append(await use(motor, mongodb_replica_set.uri, f"six_{number}"))

    run_at_once([(LOOP_KINDS[number % 2], partial(main, number)) for number in range(6)])
    assert len({id(client) for client in clients}) == 1


@pytest.mark.parametrize("kind", LOOP_KINDS)
def test_what_one_loop_made_works_in_the_next(motor: Subject, mongodb_uri: str, kind: str) -> None:
    """Handles are kept at import time or in globals: collections, and cursors that are not exhausted."""

    async def begin() -> tuple[Any, Any, Any]:
        collection = (await motor.initialize(mongodb_uri))[motor.name].numbers
        await collection.insert_many([{"n": n} for n in range(30)])
        cursor = collection.find().batch_size(5)
        await cursor.next()
        return collection, cursor, await collection.database.client.start_session()

    async def go_on(collection: Any, cursor: Any, session: Any) -> None:
        assert len(await cursor.to_list(None)) == 29
        assert await collection.count_documents({}, session=session) == 30
        await session.end_session()
        await collection.database.client.drop_database(motor.name)

    handles = run_on(kind, begin)
    run_on(kind, lambda: go_on(*handles))


@pytest.mark.core
def test_an_operation_outside_every_loop_is_refused(motor: Subject, mongodb_uri: str) -> None:
    client = asyncio.run(motor.initialize(mongodb_uri))
    with pytest.raises(PoolLoopError, match="no event loop is running"):
        client.admin.command("ping")
    with pytest.raises(PoolLoopError, match="no event loop is running"):
        client.db.collection.find_one()
    with pytest.raises(PoolLoopError, match="no event loop is running"):
        client.db.collection.find().to_list(None)


@pytest.mark.core
def test_close_works_from_a_loop_that_did_not_open(motor: Subject, mongodb_uri: str) -> None:
    asyncio.run(motor.initialize(mongodb_uri))
    asyncio.run(motor.close())
    assert motor.pool.get_client() is None


@pytest.mark.core
async def test_close_sync_refuses_to_block_a_running_loop(async_subject: Subject, mongodb_uri: str) -> None:
    client = await async_subject.initialize(mongodb_uri)
    with pytest.raises(PoolLoopError, match=r"await .*close"):
        async_subject.pool.close_sync()
    assert async_subject.pool.get_client() is client


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelno == logging.WARNING and "get_io_loop" in record.getMessage()
    ]


@pytest.mark.core
@pytest.mark.leaves(reason="the threads of Motor's own executor stay for the whole process")
def test_an_overwritten_get_io_loop_works_and_is_told_once(
    motor: Subject, mongodb_replica_set: ReplicaSet, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        client = await motor.initialize(mongodb_replica_set.uri)
        client.get_io_loop = asyncio.get_running_loop
        await every_kind(client, f"overwritten_{motor.name}")
        assert (await motor.stats())["status"] == "connected"
        assert (await motor.stats())["status"] == "connected"

    asyncio.run(main())
    asyncio.run(main())
    asyncio.run(motor.close())
    assert len(warnings_of(caplog)) == 1
    assert "own executor" in warnings_of(caplog)[0]


@pytest.mark.leaves(reason="the threads of Motor's own executor stay for the whole process")
async def test_an_overwritten_get_io_loop_is_told_with_a_new_connection(
    mongodb_uri: str, caplog: pytest.LogCaptureFixture, wait_until_async: Any
) -> None:
    subject = Subject("motor")
    client = await subject.initialize(mongodb_uri, minPoolSize=0)
    client.get_io_loop = asyncio.get_running_loop
    await asyncio.gather(*(ping(client) for _ in range(8)))
    await wait_until_async(lambda: warnings_of(caplog), message="the warning")
    await subject.close()
    assert len(warnings_of(caplog)) == 1


@pytest.mark.leaves(reason="the threads of Motor's own executor stay for the whole process")
async def test_an_overwritten_get_io_loop_is_told_at_the_latest_when_the_pool_closes(
    mongodb_uri: str, caplog: pytest.LogCaptureFixture
) -> None:
    subject = Subject("motor")
    client = await subject.initialize(mongodb_uri, minPoolSize=0)
    client.get_io_loop = asyncio.get_running_loop
    await ping(client)
    await subject.close()
    assert len(warnings_of(caplog)) == 1


async def test_nothing_is_told_of_a_client_that_was_left_alone(
    mongodb_uri: str, caplog: pytest.LogCaptureFixture
) -> None:
    subject = Subject("motor")
    client = await subject.initialize(mongodb_uri)
    await asyncio.gather(*(ping(client) for _ in range(8)))
    await subject.stats()
    await subject.close()
    assert warnings_of(caplog) == []
