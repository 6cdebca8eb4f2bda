"""What becomes of a call that opens the pool when its loop ends, the pool is closed, or others call too."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest
from pymongo.errors import PyMongoError

from async_mongo_pool import PoolClosingError
from tests.timing import now

from .subjects import NO_SERVER, Subject, ping

if TYPE_CHECKING:
    from collections.abc import Callable

SILENT_FOR = 20
"""Seconds that nobody waits for in these tests."""


@pytest.mark.core
@pytest.mark.parametrize("backend", ["motor", "pymongo"])
@pytest.mark.parametrize("between", ["nothing", "close", "close_all"])
def test_a_loop_that_ends_under_initialize_leaves_a_pool_that_opens(
    backend: str, between: str, mongodb_uri: str, wait_until_async: Callable[..., Any]
) -> None:
    subject = Subject(backend)

    async def begin() -> asyncio.Task[Any]:
        opening = asyncio.ensure_future(subject.initialize("mongodb://127.0.0.1:1/", timeout=1))
        await wait_until_async(lambda: subject.pool._lifecycle._attempt)
        await asyncio.sleep(0.1)
        return opening

    async def use() -> None:
        began = now()
        client = await subject.initialize(mongodb_uri)
        assert now() - began < 5
        assert (await ping(client))["ok"] == 1
        # The client that was being started is closed too.
        await wait_until_async(lambda: not subject.pool._lifecycle.closing)
        await subject.close()

    # It stands still from here on, and is closed in the end: its tasks would spoil other tests.
    with asyncio.Runner() as ended:
        left = ended.run(begin())
        assert not left.done()
        assert subject.pool.liveness().status == "not_initialized"
        if between == "close":
            subject.pool.close_sync()
        elif between == "close_all":
            asyncio.run(subject.pool.close_all())
        assert between == "nothing" or not subject.pool._lifecycle._abandoned
        asyncio.run(use())
        ended.run(_everything_ends())
    asyncio.run(use())


async def _everything_ends() -> None:
    """Let a loop that stood still finish: what it would leave pending would be told of in other tests."""
    while others := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(others, timeout=10)
        for each in others:
            assert each.done()
            each.cancelled() or each.exception()
        await asyncio.sleep(0)


@pytest.mark.parametrize("backend", ["motor", "pymongo"])
def test_a_loop_that_stood_still_and_goes_on_finds_its_attempt_given_up(backend: str, mongodb_uri: str) -> None:
    subject = Subject(backend)
    enough = threading.Event()

    def connection() -> str:
        enough.wait(SILENT_FOR)
        return mongodb_uri

    async def begin() -> asyncio.Task[Any]:
        opening = asyncio.ensure_future(subject.initialize(connection))
        await asyncio.sleep(0.1)
        return opening

    async def go_on(opening: asyncio.Task[Any]) -> None:
        with pytest.raises(PoolClosingError):
            await opening

    with asyncio.Runner() as standing_still, asyncio.Runner() as other:
        late = standing_still.run(begin())
        client = other.run(subject.initialize(mongodb_uri, maxPoolSize=11))
        enough.set()
        standing_still.run(go_on(late))
        assert subject.pool.get_client() is client
        other.run(subject.close())


@pytest.mark.core
@pytest.mark.parametrize("close", ["close", "close_all"])
async def test_a_close_ends_a_patient_initialize(
    subject: Subject, close: str, wait_until_async: Callable[..., Any]
) -> None:
    opening = asyncio.ensure_future(subject.initialize(NO_SERVER, timeout=0.05, retry_for=SILENT_FOR))
    patient = subject.pool._lifecycle
    # Between two attempts, where nothing else shows that somebody is about to connect.
    await wait_until_async(lambda: patient._last_serial >= 2 and patient._attempt is None)
    assert subject.pool.liveness().status == "opening"
    began = now()
    await subject.call(subject.pool.close if close == "close" else subject.pool.close_all)
    with pytest.raises(PoolClosingError):
        await opening
    assert now() - began < 3
    assert subject.pool.get_client() is None
    assert subject.pool.liveness().status == "not_initialized"


@pytest.mark.core
async def test_a_close_ends_every_initialize_that_began_before_it(
    subject: Subject, mongodb_uri: str, wait_until_async: Callable[..., Any]
) -> None:
    asked, enough = threading.Event(), threading.Event()

    def connection() -> str:
        asked.set()
        enough.wait(SILENT_FOR)
        return mongodb_uri

    opening = [asyncio.ensure_future(subject.initialize(connection)) for _ in range(3)]
    await wait_until_async(lambda: asked.is_set() and len(subject.pool._lifecycle._calls) == 3)
    await subject.close()
    enough.set()
    outcomes = await asyncio.gather(*opening, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [PoolClosingError] * 3
    assert subject.pool.get_client() is None
    client = await subject.initialize(mongodb_uri)
    assert (await subject.call(ping, client))["ok"] == 1


async def test_a_pool_stays_opening_from_the_first_attempt_to_the_last(
    subject: Subject, wait_until_async: Callable[..., Any]
) -> None:
    opening = asyncio.ensure_future(subject.initialize(NO_SERVER, timeout=0.05, retry_for=0.5))
    await wait_until_async(lambda: subject.pool.liveness().status == "opening")
    seen = set()
    while not opening.done():
        seen.add(subject.pool.liveness().status)
        await asyncio.sleep(0)
    with pytest.raises(PyMongoError):
        await opening
    seen.discard(subject.pool.liveness().status)
    assert seen == {"opening"}


async def test_whoever_accepts_no_server_is_not_failed_by_somebody_elses_attempt(
    subject: Subject, wait_until_async: Callable[..., Any]
) -> None:
    strict = asyncio.ensure_future(subject.initialize(NO_SERVER, timeout=0.5))
    await wait_until_async(lambda: subject.pool.liveness().status == "opening")
    client = await subject.initialize(NO_SERVER, timeout=0.5, on_failure="degraded")
    assert subject.pool.get_client() is client
    with pytest.raises(PyMongoError):
        await strict


async def test_concurrent_rotations_share_a_client_that_began_after_them(
    subject: Subject, mongodb_uri: str, wait_until_async: Callable[..., Any]
) -> None:
    enough = threading.Event()
    enough.set()

    def connection() -> str:
        enough.wait(SILENT_FOR)
        return mongodb_uri

    before = await subject.initialize(connection)
    enough.clear()
    rotations = [asyncio.ensure_future(subject.call(subject.pool.rotate)) for _ in range(4)]
    await wait_until_async(lambda: len(subject.pool._lifecycle._calls) == 4)
    enough.set()
    clients = await asyncio.gather(*rotations)
    assert all(client is not before for client in clients)
    # One that was being opened already when the others asked, and one that was begun since.
    assert subject.pool.snapshot().replacements == 2
    again = await subject.call(subject.pool.rotate)
    assert all(again is not client for client in clients)


async def test_a_scope_waits_for_its_server_too(subject: Subject, mongodb_uri: str) -> None:
    async with subject.scope(NO_SERVER, timeout=0.1, on_failure="degraded") as client:
        assert subject.pool.get_client() is client
    assert subject.pool.get_client() is None
    began = now()
    with pytest.raises(PyMongoError, match="refused"):
        async with subject.scope(NO_SERVER, timeout=0.1, retry_for=0.4):
            pytest.fail("the scope was entered")
    assert 0.4 <= now() - began < 3
