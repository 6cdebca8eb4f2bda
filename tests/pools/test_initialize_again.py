"""Opening in odd company: clients closed behind our back, patience, callables, closings in between."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pymongo.errors import PyMongoError

from async_mongo_pool import (
    MongoDBConnectionPool,
    PoolError,
)
from tests.timing import now

from .subjects import Subject, ping


async def test_what_was_configured_is_completed_and_not_forgotten(
    async_subject: Subject, mongodb_uri: str
) -> None:
    async_subject.pool.configure(mongodb_uri, backend="pymongo", maxPoolSize=7)
    client = await async_subject.pool.initialize(appName=async_subject.name)
    assert type(client).__name__ == "AsyncMongoClient"
    assert (await async_subject.stats())["pool_config"]["maxPoolSize"] == 7


@pytest.mark.core
async def test_a_client_that_its_user_closed_is_opened_anew(subject: Subject, mongodb_uri: str) -> None:
    client = await subject.initialize(mongodb_uri)
    await subject.call(client.close)
    fresh = await subject.initialize(mongodb_uri)
    assert fresh is not client
    assert (await subject.call(ping, fresh))["ok"] == 1
    assert (await subject.stats())["replacements"] == 0


async def test_timeout_counts_the_wait_for_another_attempt(async_subject: Subject) -> None:
    began = now()
    first = asyncio.ensure_future(async_subject.initialize("mongodb://127.0.0.1:1/", timeout=1))
    await asyncio.sleep(0.05)
    with pytest.raises(PyMongoError):
        await async_subject.initialize("mongodb://127.0.0.1:1/", timeout=1, maxPoolSize=11)
    assert now() - began < 2
    await asyncio.gather(first, return_exceptions=True)


async def test_an_impatient_caller_does_not_fail_a_patient_one(async_subject: Subject, mongodb_uri: str) -> None:
    answers = iter(["mongodb://127.0.0.1:1/", mongodb_uri])

    def connection() -> str:
        return next(answers)

    impatient = asyncio.ensure_future(async_subject.initialize(connection, timeout=0.2))
    await asyncio.sleep(0.05)
    assert await async_subject.initialize(connection, timeout=5) is async_subject.pool.get_client()
    assert isinstance((await asyncio.gather(impatient, return_exceptions=True))[0], PyMongoError)


async def test_a_callables_own_timeout_error_is_its_own(subject: Subject) -> None:
    def connection() -> str:
        raise TimeoutError("the vault did not answer")

    with pytest.raises(TimeoutError, match="the vault did not answer"):
        await subject.initialize(connection)


async def test_an_initialize_after_close_is_not_failed_by_one_from_before(
    async_subject: Subject, mongodb_uri: str
) -> None:
    asked = asyncio.Event()

    async def connection() -> str:
        asked.set()
        await asyncio.sleep(0.1)
        return mongodb_uri

    before = asyncio.ensure_future(async_subject.initialize(connection))
    await asked.wait()
    await async_subject.close()
    assert await async_subject.initialize(connection) is not None
    assert isinstance((await asyncio.gather(before, return_exceptions=True))[0], PoolError)


def test_named_pools_of_two_classes_with_one_name_are_two() -> None:
    def make() -> Any:
        class OrdersPool(MongoDBConnectionPool): ...

        return OrdersPool

    first, second = make(), make()
    assert first.named("x") is not second.named("x")
    assert issubclass(second.named("x"), second)


async def test_a_callable_that_has_nothing_left_says_so(subject: Subject) -> None:
    answers: Any = iter(())
    began = now()
    with pytest.raises(RuntimeError, match="StopIteration"):
        await subject.initialize(lambda: next(answers))
    assert now() - began < 2


@pytest.mark.leaves(reason="the driver leaves the socket of a monitor that is cancelled to the collector")
async def test_a_cancelled_start_is_not_told_as_a_busy_closing(
    async_subject: Subject, mongodb_uri: str, caplog: pytest.LogCaptureFixture
) -> None:
    for moment in range(10):
        opening = asyncio.ensure_future(async_subject.initialize(mongodb_uri))
        await asyncio.sleep(moment / 2000)
        opening.cancel()
        await asyncio.gather(opening, return_exceptions=True)
        await async_subject.close(drain=0)
    assert "still busy" not in caplog.text
