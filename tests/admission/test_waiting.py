"""How long an operation may wait in front of the workers: real pools on a real server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pymongo
import pytest
import pytest_asyncio
from pymongo.errors import PyMongoError, WaitQueueTimeoutError

from async_mongo_pool.errors import PoolExhaustedError
from tests.pools.subjects import Subject, ping, sleep_on_server
from tests.timing import Took, now

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from async_mongo_pool.backends.admission import MotorAdmission
    from async_mongo_pool.testing import ReplicaSet, Server

    WaitUntil = Callable[..., Any]


@pytest_asyncio.fixture
async def motor() -> AsyncIterator[Subject]:
    made = Subject("motor")
    yield made
    await made.close(drain=0, timeout=3)


def admission_of(subject: Subject) -> MotorAdmission:
    admission: MotorAdmission = subject.pool._lifecycle.handle().admission
    return admission


async def outcome_after(operation: Any) -> tuple[Any, Took]:
    began = now()
    try:
        return await operation, now() - began
    except Exception as error:
        return error, now() - began


async def open_all_connections(client: Any, subject: Subject, mongod: Server, number: int) -> None:
    while len(await asyncio.to_thread(mongod.connections, subject.name)) < number:
        await asyncio.gather(*(sleep_on_server(client, 0.02) for _ in range(number)))


@pytest.mark.core
async def test_forty_operations_on_four_connections_fail_in_time_with_the_whole_state(
    motor: Subject, mongod: Server, mongodb_uri: str
) -> None:
    client = await motor.initialize(mongodb_uri, maxPoolSize=4, minPoolSize=0, waitQueueTimeoutMS=200)
    await open_all_connections(client, motor, mongod, 4)
    outcomes = await asyncio.gather(*(outcome_after(sleep_on_server(client, 0.5)) for _ in range(40)))
    failed = [(error, seconds) for error, seconds in outcomes if isinstance(error, PoolExhaustedError)]
    assert len(failed) == 36
    assert all(0.19 <= seconds <= 0.45 for _, seconds in failed)
    error = failed[0][0]
    text = str(error)
    assert "waitQueueTimeoutMS=200" in text
    for part in ("4 in use of maxPoolSize 4", "0 idle", "36 waiting", "4 of 4 threads busy"):
        assert part in text
    assert error.snapshot is not None
    assert error.snapshot.executor is not None
    assert error.snapshot.executor.queued == 36
    assert len({id(each.snapshot) for each, _ in failed}) <= 6
    assert admission_of(motor).stats().refused["timeout"] == 36


@pytest.mark.core
@pytest.mark.parametrize("queue_ms", [10_000, 150])
async def test_the_callers_own_timeout_ends_the_wait_where_it_is_shorter(
    motor: Subject, mongodb_uri: str, queue_ms: int, wait_until_async: WaitUntil
) -> None:
    client = await motor.initialize(mongodb_uri, maxPoolSize=1, waitQueueTimeoutMS=queue_ms)
    running = asyncio.ensure_future(sleep_on_server(client, 1))
    await wait_until_async(lambda: admission_of(motor).stats().busy == 1)
    with pymongo.timeout(0.3):
        error, seconds = await outcome_after(ping(client))
    assert isinstance(error, PoolExhaustedError)
    assert ("pymongo.timeout" if queue_ms > 300 else "waitQueueTimeoutMS=150") in str(error)
    assert min(queue_ms / 1000, 0.3) - 0.02 <= seconds < 0.6
    await running


@pytest.mark.core
async def test_timeout_ms_counts_from_the_submission_and_the_rest_of_it_is_for_the_server(
    motor: Subject, mongodb_uri: str, wait_until_async: WaitUntil
) -> None:
    client = await motor.initialize(mongodb_uri, maxPoolSize=1, timeoutMS=600)
    with pymongo.timeout(5):
        running = asyncio.ensure_future(sleep_on_server(client, 0.4))
        await wait_until_async(lambda: admission_of(motor).stats().busy == 1)
    # Waits 0.4 s of its 0.6 s, and would take 0.4 s: without the wait there was time enough for it.
    error, seconds = await outcome_after(sleep_on_server(client, 0.4))
    assert isinstance(error, PyMongoError)
    assert error.timeout
    assert not isinstance(error, PoolExhaustedError)
    assert 0.5 <= seconds < 0.79
    await running
    with pymongo.timeout(5):
        blocking = asyncio.ensure_future(sleep_on_server(client, 1))
        await wait_until_async(lambda: admission_of(motor).stats().busy == 1)
    error, seconds = await outcome_after(ping(client))
    assert isinstance(error, PoolExhaustedError)
    assert "timeoutMS=600" in str(error)
    await blocking


@pytest.mark.core
async def test_a_timeout_of_zero_lifts_the_clients_timeout(
    motor: Subject, mongodb_uri: str, wait_until_async: WaitUntil
) -> None:
    client = await motor.initialize(mongodb_uri, maxPoolSize=1, timeoutMS=200)
    with pymongo.timeout(0):
        running = asyncio.ensure_future(sleep_on_server(client, 0.4))
        await wait_until_async(lambda: admission_of(motor).stats().busy == 1)
        assert (await ping(client))["ok"] == 1
    await running


@pytest.mark.core
async def test_what_waited_and_then_ran_is_in_the_statistics(
    motor: Subject, mongodb_uri: str, wait_until_async: WaitUntil
) -> None:
    client = await motor.initialize(mongodb_uri, maxPoolSize=1)
    before = admission_of(motor).stats()
    running = asyncio.ensure_future(sleep_on_server(client, 0.2))
    await wait_until_async(lambda: admission_of(motor).stats().busy == 1)
    await ping(client)
    await running
    wait = admission_of(motor).stats().since(before).wait
    assert wait.count == 2
    assert wait.buckets[0] == 1
    assert 0.05 < wait.sum_seconds < 0.4


@pytest.mark.core
async def test_a_cancelled_waiter_leaves_the_line_at_once(
    motor: Subject, mongodb_uri: str, wait_until_async: WaitUntil
) -> None:
    client = await motor.initialize(mongodb_uri, maxPoolSize=1)
    running = asyncio.ensure_future(sleep_on_server(client, 0.5))
    await wait_until_async(lambda: admission_of(motor).stats().busy == 1)
    waiting = [asyncio.ensure_future(ping(client)) for _ in range(20)]
    assert admission_of(motor).stats().queued == 20
    for each in waiting:
        each.cancel()
    await asyncio.wait(waiting)
    stats = admission_of(motor).stats()
    assert (stats.queued, stats.abandoned, stats.busy) == (0, 20, 1)
    await running


async def test_the_drivers_own_queue_speaks_our_language(
    motor: Subject, mongodb_replica_set: ReplicaSet, wait_until_async: WaitUntil
) -> None:
    client = await motor.initialize(mongodb_replica_set.uri, maxPoolSize=2, waitQueueTimeoutMS=200)
    admission = admission_of(motor)
    await wait_until_async(lambda: admission.stats().max_workers == 6, 10)
    # Six workers, and all want the primary's two connections.
    outcomes = await asyncio.gather(*(outcome_after(sleep_on_server(client, 1)) for _ in range(6)))
    failed = [error for error, _ in outcomes if isinstance(error, Exception)]
    assert len(failed) == 4
    for error in failed:
        assert isinstance(error, PoolExhaustedError)
        assert "waitQueueTimeoutMS=200" in str(error)
        assert isinstance(error.__cause__, WaitQueueTimeoutError)
        assert not isinstance(error.__cause__, PoolExhaustedError)


@pytest.mark.core
async def test_many_waiters_share_one_timer(motor: Subject, mongodb_uri: str, wait_until_async: WaitUntil) -> None:
    client = await motor.initialize(mongodb_uri, maxPoolSize=1, waitQueueTimeoutMS=60_000)
    running = asyncio.ensure_future(sleep_on_server(client, 0.5))
    await wait_until_async(lambda: admission_of(motor).stats().busy == 1)
    loop: Any = asyncio.get_running_loop()
    before = len(loop._scheduled)
    waiting = [asyncio.ensure_future(ping(client)) for _ in range(3000)]
    await wait_until_async(lambda: admission_of(motor).stats().queued == 3000)
    assert len(loop._scheduled) <= before + 3
    await asyncio.gather(running, *waiting)
