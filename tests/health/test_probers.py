"""What one prober's ping, patience or timing does to the answer: a real server on each backend."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from pymongo.read_preferences import Secondary
from pymongo.write_concern import WriteConcern

from async_mongo_pool.testing.replica_set import ReplicaSet
from tests.faults.proxy import FaultProxy
from tests.pools.subjects import ping, sleep_on_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .subjects import HealthSubject


@pytest.fixture
def proxy(mongod: Any) -> Iterator[FaultProxy]:
    with FaultProxy((mongod.host, mongod.port)) as running:
        yield running


def slow_ping(mongod: Any, subject: HealthSubject, milliseconds: int, mode: Any = "alwaysOn") -> Any:
    data = {"failCommands": ["ping"], "appName": subject.name, "blockConnection": True}
    return mongod.fail_point("failCommand", mode, {**data, "blockTimeMS": milliseconds})


async def test_a_silent_server_that_nobody_can_connect_to_is_down_and_not_full(
    subject: HealthSubject, proxy: FaultProxy, wait_until_async: Callable[..., Any]
) -> None:
    client = await subject.initialize(proxy.uri, minPoolSize=0, maxPoolSize=50)
    assert (await subject.readiness()).ready
    proxy.blackhole()
    work = [asyncio.ensure_future(subject.call(ping, client)) for _ in range(5)]
    await wait_until_async(lambda: subject.pool.snapshot().totals.connecting == 2)
    for _ in range(3):
        answer = await subject.readiness(timeout=0.3, max_age=0)
    assert (answer.state, answer.saturated) == ("down", False)
    proxy.reset()
    await subject.close(drain=0, timeout=1)
    await asyncio.gather(*work, return_exceptions=True)


async def test_a_busy_server_is_never_down(subject: HealthSubject, mongodb_uri: str) -> None:
    client = await subject.initialize(mongodb_uri, maxPoolSize=2, waitQueueTimeoutMS=20000)
    working = True

    async def work() -> None:
        while working:
            await subject.call(sleep_on_server, client, 0.02)

    workers = [asyncio.ensure_future(work()) for _ in range(12)]
    answers = [await subject.readiness(timeout=0.2, max_age=0) for _ in range(20)]
    working = False
    await asyncio.gather(*workers)
    assert [answer.reason for answer in answers if not answer.ready] == []


async def test_a_slow_ping_makes_an_idle_pool_not_full(
    subject: HealthSubject, mongod: Any, mongodb_uri: str
) -> None:
    await subject.initialize(mongodb_uri, maxPoolSize=1)
    with slow_ping(mongod, subject, 300):
        answer = await subject.readiness(timeout=5, max_age=0)
        assert (answer.state, answer.saturated) == ("ready", False)
        assert "answered" in answer.reason
        gave_up = await subject.readiness(timeout=0.15, max_age=0)
    assert (gave_up.state, gave_up.saturated) == ("ready", False)


async def test_the_impatient_do_not_decide_for_the_patient(
    subject: HealthSubject, mongod: Any, mongodb_uri: str
) -> None:
    await subject.initialize(mongodb_uri)
    with slow_ping(mongod, subject, 300):
        for _ in range(2):
            hasty = await subject.readiness(timeout=0.1, max_age=0)
        assert hasty.state == "down"
        assert (await subject.readiness(timeout=5)).state == "ready"


async def test_the_patient_do_not_keep_the_impatient_waiting(
    subject: HealthSubject, mongod: Any, mongodb_uri: str
) -> None:
    await subject.initialize(mongodb_uri)
    with slow_ping(mongod, subject, 1500):
        patient = asyncio.ensure_future(subject.readiness(timeout=20, max_age=0))
        states = [(await subject.readiness(timeout=0.3, max_age=0)).state for _ in range(3)]
        assert states[1:] == ["down", "down"]
        assert (await patient).state == "ready"


async def test_any_number_of_timeouts_makes_a_few_judges(subject: HealthSubject, mongodb_uri: str) -> None:
    await subject.initialize(mongodb_uri)
    for number in range(40):
        assert (await subject.readiness(timeout=1 + number / 100)).ready
    assert len(subject.pool._lifecycle.handle().health) == 1


async def test_a_client_replaced_under_a_probe_decides_nothing(
    subject: HealthSubject, proxy: FaultProxy, mongodb_uri: str, wait_until_async: Callable[..., Any]
) -> None:
    await subject.initialize(proxy.uri, retire_after=0.1, retire_limit=0.2)
    proxy.blackhole()
    probing = asyncio.ensure_future(subject.readiness(timeout=20, max_age=0))
    await wait_until_async(lambda: subject.pool.snapshot().totals.used)
    await subject.initialize(mongodb_uri)
    answer = await probing
    assert (answer.state, "answered" in answer.reason) == ("ready", True)


@pytest.fixture(scope="module")
def replica_set() -> Iterator[ReplicaSet]:
    with ReplicaSet(size=2) as running:
        yield running


async def test_a_full_secondary_hides_no_primary(
    subject: HealthSubject, replica_set: ReplicaSet, wait_until_async: Callable[..., Any]
) -> None:
    replica_set.wait_until_healthy()
    client = await subject.initialize(replica_set.uri, minPoolSize=0, maxPoolSize=2)
    assert (await subject.readiness("primary")).ready
    await subject.call(client.reports.numbers.with_options(write_concern=WriteConcern(2)).insert_one, {})
    reports = client.get_database("reports", read_preference=Secondary())
    work = [
        asyncio.ensure_future(subject.call(reports.numbers.find_one, {"$where": "sleep(3000) || true"}))
        for _ in range(2)
    ]
    await wait_until_async(lambda: subject.pool.snapshot().saturated)
    assert (await subject.readiness("primary", max_age=0)).state == "degraded"
    primary = replica_set.primary
    primary.suspend()
    try:
        for _ in range(2):
            answer = await subject.readiness("primary", timeout=0.4, max_age=0)
    finally:
        primary.resume()
    assert answer.state == "down"
    await subject.close(drain=0, timeout=2)
    await asyncio.gather(*work, return_exceptions=True)
