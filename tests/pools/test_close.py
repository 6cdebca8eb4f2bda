"""Closing: bounded, shared, never blocking, and nothing is left."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
import threading
import time
import warnings
from typing import TYPE_CHECKING, Any

import pytest
from pymongo.errors import InvalidOperation

from async_mongo_pool import (
    AsyncMongoDBConnectionPool,
    MongoDBConnectionPool,
    PoolClosingError,
    PoolConfigurationError,
    PoolNotInitializedError,
)
from async_mongo_pool.testing import Mongod
from tests.timing import Took, now

from .subjects import Subject, ping, sleep_on_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from async_mongo_pool.testing import Server


@pytest.fixture
def frozen_server() -> Iterator[Mongod]:
    """A server of the test's own, because it will be stopped with SIGSTOP."""
    with Mongod() as server:
        yield server
        server.resume()


class Heartbeat:
    """Ticks in the event loop and remembers the longest gap between two ticks, in seconds."""

    def __init__(self) -> None:
        self.longest_gap = 0.0

    async def __aenter__(self) -> Heartbeat:
        self._task = asyncio.create_task(self._beat())
        return self

    async def __aexit__(self, *error: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _beat(self) -> None:
        last = time.monotonic()
        while True:
            await asyncio.sleep(0.01)
            now = time.monotonic()
            self.longest_gap = max(self.longest_gap, now - last)
            last = now


async def busy(subject: Subject, client: Any, operations: int, seconds: float) -> list[asyncio.Future[Any]]:
    """Start operations that hold a connection each, and wait until they do."""
    running: list[asyncio.Future[Any]] = [
        asyncio.ensure_future(subject.call(sleep_on_server, client, seconds)) for _ in range(operations)
    ]
    deadline = time.monotonic() + 5
    while subject.pool._lifecycle.handle().in_use() < operations:
        assert time.monotonic() < deadline, "the operations did not start"
        await asyncio.sleep(0.01)
    return running


@pytest.mark.core
async def test_closing_twice_is_closing_once(subject: Subject, mongodb_uri: str) -> None:
    await subject.close()
    await subject.initialize(mongodb_uri)
    await subject.close()
    await subject.close()
    assert await subject.stats() == {"status": "not_initialized"}


@pytest.mark.core
async def test_the_server_sees_no_connection_afterwards(
    subject: Subject, mongod: Server, mongodb_uri: str, wait_until_async: Callable[..., Any]
) -> None:
    client = await subject.initialize(mongodb_uri)
    await asyncio.gather(*(subject.call(ping, client) for _ in range(20)))
    await subject.close()
    await wait_until_async(lambda: not mongod.connections(appname=subject.name), message="connections are left")


@pytest.mark.core
async def test_use_after_close_says_what_to_do(subject: Subject, mongodb_uri: str) -> None:
    await subject.initialize(mongodb_uri)
    await subject.close()
    with pytest.raises(PoolNotInitializedError, match=f"{subject.name} is not initialized: call .*initialize"):
        subject.pool.get_database("x")


@pytest.mark.core
async def test_work_in_progress_is_waited_for(subject: Subject, mongodb_uri: str) -> None:
    client = await subject.initialize(mongodb_uri)
    running = await busy(subject, client, 3, seconds=0.5)
    await subject.close(drain=5)
    outcomes = await asyncio.gather(*running)
    assert [outcome["ok"] for outcome in outcomes] == [1, 1, 1]


async def test_what_is_still_busy_is_given_up_and_logged(
    subject: Subject, mongodb_uri: str, caplog: pytest.LogCaptureFixture
) -> None:
    client = await subject.initialize(mongodb_uri)
    running = await busy(subject, client, 2, seconds=3)
    began = now()
    await subject.close(drain=0.2, timeout=1)
    assert now() - began < 1.5
    outcomes = await asyncio.gather(*running, return_exceptions=True)
    assert now() - began < 2.5
    assert all(isinstance(outcome, Exception) for outcome in outcomes)
    assert "2 operation(s) were still busy" in caplog.text


async def test_a_closing_pool_hands_out_nothing(subject: Subject, mongodb_uri: str) -> None:
    client = await subject.initialize(mongodb_uri)
    running = await busy(subject, client, 1, seconds=0.5)
    closing = asyncio.ensure_future(subject.close())
    deadline = time.monotonic() + 2
    while subject.pool.get_client() is not None:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    with pytest.raises(PoolClosingError):
        subject.pool.get_database("x")
    await closing
    assert (await running[0])["ok"] == 1


async def test_motor_refuses_new_operations_while_it_drains(mongodb_uri: str) -> None:
    subject = Subject("motor")
    client = await subject.initialize(mongodb_uri)
    cursor = client.draining.many.find({}, batch_size=2)
    await client.draining.many.insert_many([{"n": n} for n in range(6)])
    first = await anext(cursor)
    running = await busy(subject, client, 1, seconds=1)
    closing = asyncio.ensure_future(subject.close())
    await asyncio.sleep(0.1)
    with pytest.raises(PoolClosingError):
        await ping(client)
    # What finishes work begun before still passes: here the next batches of an open cursor.
    rest = [document async for document in cursor]
    assert [first["n"], *(document["n"] for document in rest)] == list(range(6))
    await closing
    assert (await running[0])["ok"] == 1


async def test_an_open_transaction_is_waited_for(
    subject: Subject, mongodb_replica_set: Any, wait_until_async: Callable[..., Any]
) -> None:
    client = await subject.initialize(mongodb_replica_set.uri)
    collection = client.closing[subject.name]
    await subject.call(collection.insert_one, {"_id": 0})
    session = await subject.session(client)
    await subject.call(session.start_transaction)
    await subject.call(lambda: collection.insert_one({"_id": 1}, session=session))
    closing = asyncio.ensure_future(subject.close(drain=5))
    await asyncio.sleep(0.3)
    assert not closing.done()
    await subject.call(session.commit_transaction)
    await subject.end(session)
    began = now()
    await closing
    assert now() - began < 2


@pytest.mark.core
async def test_five_closes_share_one_and_cancelling_one_cancels_no_other(
    async_subject: Subject, mongodb_uri: str
) -> None:
    client = await async_subject.initialize(mongodb_uri)
    running = await busy(async_subject, client, 1, seconds=0.5)
    closes = [asyncio.ensure_future(async_subject.close()) for _ in range(5)]
    await asyncio.sleep(0.1)
    closes[0].cancel()
    outcomes = await asyncio.gather(*closes, return_exceptions=True)
    assert isinstance(outcomes[0], asyncio.CancelledError)
    assert outcomes[1:] == [None, None, None, None]
    assert (await running[0])["ok"] == 1


@pytest.mark.serial
async def test_a_frozen_server_stalls_neither_close_nor_the_loop(subject: Subject, frozen_server: Mongod) -> None:
    client = await subject.initialize(frozen_server.uri)
    await asyncio.gather(*(subject.call(ping, client) for _ in range(10)))
    running = await busy(subject, client, 3, seconds=30)
    frozen_server.suspend()
    async with Heartbeat() as heartbeat:
        began = now()
        closes = [asyncio.ensure_future(subject.close(timeout=1)) for _ in range(5)]
        await asyncio.sleep(0.1)
        closes[0].cancel()
        outcomes = await asyncio.gather(*closes, return_exceptions=True)
        seconds = now() - began
    assert outcomes[1:] == [None, None, None, None]
    assert seconds < 1.5
    assert heartbeat.longest_gap < 0.15
    await asyncio.gather(*running, return_exceptions=True)


async def test_a_fresh_initialize_works_while_the_old_one_closes(subject: Subject, mongodb_uri: str) -> None:
    client = await subject.initialize(mongodb_uri)
    running = await busy(subject, client, 1, seconds=0.5)
    closing = asyncio.ensure_future(subject.close())
    await asyncio.sleep(0.1)
    fresh = await subject.initialize(mongodb_uri)
    assert fresh is not client
    await closing
    assert (await subject.call(ping, fresh))["ok"] == 1
    await asyncio.gather(*running)


@pytest.mark.core
def test_close_sync_where_no_loop_runs(mongodb_uri: str) -> None:
    subject = Subject("motor")
    asyncio.run(subject.initialize(mongodb_uri))
    subject.pool.close_sync()
    assert subject.pool.get_client() is None


async def test_close_all_closes_the_newest_first(mongodb_uri: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "async_mongo_pool")
    first, second = Subject("motor"), Subject("pymongo")
    twin = Subject("sync")
    await first.initialize(mongodb_uri)
    await second.initialize(mongodb_uri)
    await twin.initialize(mongodb_uri)
    await AsyncMongoDBConnectionPool.close_all()
    closed = [record.getMessage() for record in caplog.records if "closed in" in record.getMessage()]
    assert closed[0].startswith(second.name)
    assert closed[1].startswith(first.name)
    assert twin.pool.get_client() is not None
    MongoDBConnectionPool.close_all()
    assert twin.pool.get_client() is None


async def test_close_all_reaches_a_pool_that_is_still_connecting(mongodb_uri: str) -> None:
    subject = Subject("motor")
    asked = asyncio.Event()

    async def connection() -> str:
        asked.set()
        await asyncio.sleep(0.1)
        return mongodb_uri

    opening = asyncio.ensure_future(subject.initialize(connection))
    await asked.wait()
    await AsyncMongoDBConnectionPool.close_all()
    assert isinstance((await asyncio.gather(opening, return_exceptions=True))[0], PoolClosingError)
    assert subject.pool.get_client() is None


def test_a_closing_whose_loop_ends_does_not_stay(mongodb_uri: str) -> None:
    subject = Subject("pymongo")
    loop = asyncio.new_event_loop()

    async def begin_to_close() -> None:
        client = await subject.initialize(mongodb_uri)
        loop.slow = asyncio.ensure_future(sleep_on_server(client, 1))  # type: ignore[attr-defined]
        await asyncio.sleep(0.1)
        loop.closing = asyncio.ensure_future(subject.pool.close())  # type: ignore[attr-defined]
        await asyncio.sleep(0.1)

    with warnings.catch_warnings():
        # The point of the test: tasks that are forgotten with their loop.
        warnings.simplefilter("ignore")
        loop.run_until_complete(begin_to_close())
        for task in asyncio.all_tasks(loop):
            task._log_destroy_pending = False  # type: ignore[attr-defined]
        loop.close()
        began = now()
        subject.pool.close_sync()
        assert now() - began < 2
        assert subject.pool._lifecycle.is_idle()
        gc.collect()


async def test_foreign_objects_cannot_keep_a_client_open(subject: Subject, mongodb_uri: str) -> None:
    class Meta(type):
        def __eq__(cls, other: object) -> bool:
            raise RuntimeError("called from outside")

        __hash__ = None  # type: ignore[assignment]

    class Foreign(metaclass=Meta):
        pass

    foreign = [Foreign()]
    client = await subject.initialize(mongodb_uri)
    await subject.close()
    with pytest.raises(InvalidOperation):
        await subject.call(ping, client)
    del foreign


async def test_close_works_when_no_thread_is_to_be_had(mongodb_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    subject = Subject("sync")
    client = subject.pool.initialize(mongodb_uri)

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        subject.pool.close()
    with pytest.raises(InvalidOperation):
        ping(client)


async def test_close_ends_an_initialize_that_waits_for_a_server(subject: Subject, mongodb_uri: str) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(5)
        silent = f"mongodb://127.0.0.1:{deaf.getsockname()[1]}/"
        opening = asyncio.ensure_future(subject.initialize(silent, timeout=20))
        await asyncio.sleep(0.3)
        began = now()
        await subject.close()
        with pytest.raises(PoolClosingError):
            await opening
        assert await subject.initialize(mongodb_uri) is not None
        assert now() - began < 5


@pytest.mark.core
@pytest.mark.parametrize("wrong", [{"timeout": None}, {"drain": "soon"}, {"timeout": -1}, {"drain": True}])
async def test_close_refuses_bounds_that_are_none(
    subject: Subject, mongodb_uri: str, wrong: dict[str, Any]
) -> None:
    client = await subject.initialize(mongodb_uri)
    with pytest.raises(PoolConfigurationError, match="seconds"):
        await subject.close(**wrong)
    assert subject.pool.get_client() is client


def test_close_from_elsewhere_while_the_loop_ends(mongodb_uri: str) -> None:
    subject = Subject("pymongo")
    opened, closing = threading.Event(), threading.Event()

    def owner() -> None:
        loop = asyncio.new_event_loop()
        client = loop.run_until_complete(subject.initialize(mongodb_uri))
        slow = loop.create_task(sleep_on_server(client, 1))
        opened.set()
        loop.run_until_complete(asyncio.to_thread(closing.wait, 5))
        loop.run_until_complete(asyncio.sleep(0.1))
        # Stopped, not closed: the closing that began in it stands still.
        stopped.wait(15)
        slow.cancel()
        loop.run_until_complete(asyncio.gather(slow, return_exceptions=True))
        loop.run_until_complete(asyncio.sleep(0.5))
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()

    stopped = threading.Event()
    thread = threading.Thread(target=owner)
    thread.start()
    assert opened.wait(10)

    async def close() -> Took:
        began = now()
        closing.set()
        await subject.pool.close()
        return now() - began

    try:
        assert asyncio.run(close()) < 3
        assert subject.pool._lifecycle.is_idle()
    finally:
        stopped.set()
        thread.join(15)
