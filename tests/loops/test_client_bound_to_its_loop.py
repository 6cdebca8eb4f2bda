"""AsyncMongoClient belongs to one event loop: what happens when that loop is gone, stopped or elsewhere."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest

from async_mongo_pool import PoolLoopError
from async_mongo_pool.testing import waiting
from tests.pools.subjects import Subject, ping

from .operations import LOOP_KINDS, NEW_LOOP, run_on

if TYPE_CHECKING:
    from collections.abc import Iterator

    from async_mongo_pool.testing import Server

every_kind_of_loop = pytest.mark.parametrize("kind", LOOP_KINDS)

# uvloop closes with a warning what is still open when the loop ends, and hangs where a warning is an error.
leaving_it_open = pytest.mark.filterwarnings("ignore:unclosed resource:ResourceWarning")


@pytest.fixture
def bound() -> Iterator[Subject]:
    """A fresh pool on AsyncMongoClient, for tests that make their event loops themselves."""
    made = Subject("pymongo")
    yield made
    made.pool.close_sync(drain=0, timeout=3)


def connection_ids(server: Server, subject: Subject) -> set[int]:
    return {connection["connectionId"] for connection in server.connections(appname=subject.name)}


def leave_open(kind: str, server: Server, subject: Subject) -> tuple[Any, set[int]]:
    """Run a loop to its end without closing the pool: the client, and its connections while it was alive."""

    async def main() -> tuple[Any, set[int]]:
        client = await use(subject, server.uri)
        return client, connection_ids(server, subject)

    return run_on(kind, main)


def wait_until_gone(server: Server, subject: Subject, ids: set[int]) -> None:
    assert ids
    waiting.wait_until(
        lambda: not ids & connection_ids(server, subject), 5, "the server to lose the dead client's connections"
    )


async def use(subject: Subject, uri: str) -> Any:
    client = await subject.initialize(uri)
    assert (await ping(client))["ok"] == 1
    assert subject.pool.get_client() is client
    return client


@contextmanager
def loop_in_a_thread(kind: str) -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop that runs in another thread for the length of the block."""
    loop = NEW_LOOP[kind]()

    def run() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(stop.wait())

    stop = asyncio.Event()
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    waiting.wait_until(loop.is_running)
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)


def in_loop(loop: asyncio.AbstractEventLoop, subject: Subject, uri: str) -> Any:
    return asyncio.run_coroutine_threadsafe(use(subject, uri), loop).result(10)


@leaving_it_open
@pytest.mark.core
@pytest.mark.parametrize(("first", "second"), [*product(LOOP_KINDS, repeat=2)])
def test_a_closed_loop_leaves_a_pool_that_is_not_initialized(
    bound: Subject, mongod: Server, first: str, second: str
) -> None:
    client, dead = leave_open(first, mongod, bound)
    assert bound.pool.get_client() is None

    async def later() -> None:
        assert bound.pool.get_client() is None
        assert await bound.stats() == {"status": "not_initialized"}
        # Without arguments: what the dead client was opened with is remembered.
        assert await bound.pool.initialize() is not client
        wait_until_gone(mongod, bound, dead)
        assert (await bound.stats())["status"] == "connected"

    run_on(second, later)


@pytest.mark.core
@every_kind_of_loop
def test_a_stopped_loop_leaves_a_pool_that_is_not_initialized_elsewhere(
    bound: Subject, mongod: Server, mongodb_uri: str, kind: str
) -> None:
    stopped = NEW_LOOP[kind]()
    client = stopped.run_until_complete(use(bound, mongodb_uri))
    dead = connection_ids(mongod, bound)

    async def later() -> None:
        assert bound.pool.get_client() is None
        assert await use(bound, mongodb_uri) is not client
        wait_until_gone(mongod, bound, dead)
        await bound.close()

    run_on(kind, later)

    async def gone() -> bool:
        return not await asyncio.to_thread(connection_ids, mongod, bound)

    # The driver's monitors may begin to connect when their loop runs again, and must end; and not come back.
    stopped.run_until_complete(waiting.wait_until_async(gone, 10))
    stopped.run_until_complete(asyncio.sleep(0.2))
    assert connection_ids(mongod, bound) == set()
    stopped.run_until_complete(stopped.shutdown_default_executor())
    stopped.close()


@every_kind_of_loop
def test_a_stopped_loop_that_runs_again_finds_its_client(bound: Subject, mongodb_uri: str, kind: str) -> None:
    loop = NEW_LOOP[kind]()
    client = loop.run_until_complete(use(bound, mongodb_uri))
    assert loop.run_until_complete(use(bound, mongodb_uri)) is client
    loop.run_until_complete(bound.close())
    loop.close()


@pytest.mark.core
@every_kind_of_loop
def test_a_loop_that_is_alive_elsewhere_is_named_with_the_cure(
    bound: Subject, mongodb_uri: str, kind: str
) -> None:
    async def intrude(owner: asyncio.AbstractEventLoop) -> None:
        with pytest.raises(PoolLoopError) as refused:
            await bound.initialize(mongodb_uri)
        text = str(refused.value)
        assert f"{id(owner):#x}" in text
        assert f"{id(asyncio.get_running_loop()):#x}" in text
        assert "named(" in text
        assert "motor" in text
        with pytest.raises(PoolLoopError):
            await bound.initialize(mongodb_uri, maxPoolSize=3)
        with pytest.raises(PoolLoopError):
            async with bound.scope(mongodb_uri):
                pass

    with loop_in_a_thread(kind) as owner:
        client = in_loop(owner, bound, mongodb_uri)
        run_on(kind, lambda: intrude(owner))
        assert in_loop(owner, bound, mongodb_uri) is client
        bound.pool.close_sync()


@pytest.mark.core
@every_kind_of_loop
def test_the_statistics_of_a_client_whose_loop_runs_elsewhere_are_told(
    bound: Subject, mongodb_uri: str, kind: str
) -> None:
    with loop_in_a_thread(kind) as owner:
        in_loop(owner, bound, mongodb_uri)
        stats = run_on(kind, bound.stats)
        assert stats["status"] == "connected"
        assert stats["server_version"]
        bound.pool.close_sync()


@pytest.mark.core
@every_kind_of_loop
def test_close_works_from_another_loop(bound: Subject, mongod: Server, mongodb_uri: str, kind: str) -> None:
    with loop_in_a_thread(kind) as owner:
        in_loop(owner, bound, mongodb_uri)
        open_now = connection_ids(mongod, bound)
        run_on(kind, bound.close)
        wait_until_gone(mongod, bound, open_now)
        assert bound.pool.get_client() is None


@leaving_it_open
@pytest.mark.core
@every_kind_of_loop
def test_close_works_when_the_loop_is_closed(bound: Subject, mongod: Server, kind: str) -> None:
    _, open_now = leave_open(kind, mongod, bound)
    run_on(kind, bound.close)
    wait_until_gone(mongod, bound, open_now)


@leaving_it_open
@pytest.mark.core
@every_kind_of_loop
def test_close_sync_works_where_no_loop_runs(bound: Subject, mongod: Server, mongodb_uri: str, kind: str) -> None:
    with loop_in_a_thread(kind) as owner:
        in_loop(owner, bound, mongodb_uri)
        open_now = connection_ids(mongod, bound)
        bound.pool.close_sync()
        wait_until_gone(mongod, bound, open_now)
    _, open_now = leave_open(kind, mongod, bound)
    bound.pool.close_sync()
    wait_until_gone(mongod, bound, open_now)


@every_kind_of_loop
def test_two_pools_serve_two_loops_at_once(bound: Subject, mongodb_uri: str, kind: str) -> None:
    """The cure that the error names."""
    second = bound.another()
    with loop_in_a_thread(kind) as owner:
        first_client = in_loop(owner, bound, mongodb_uri)

        async def beside() -> None:
            assert await use(second, mongodb_uri) is not first_client
            await second.close()

        run_on(kind, beside)
        bound.pool.close_sync()
