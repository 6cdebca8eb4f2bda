"""What probes answer, on a real server and on each backend."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from pymongo.monitoring import CommandListener

from async_mongo_pool import PoolConfigurationError
from async_mongo_pool.health import AsyncHealth, AsyncHealthMonitor, HealthMonitor, SyncHealth
from async_mongo_pool.testing.replica_set import ReplicaSet
from tests.faults.proxy import FaultProxy
from tests.pools.subjects import ping, sleep_on_server

from .subjects import HealthSubject, is_ready, probed, shape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pymongo.monitoring import CommandFailedEvent, CommandStartedEvent, CommandSucceededEvent


class Pings(CommandListener):
    """Counts the pings of one client."""

    def __init__(self) -> None:
        self.number = 0

    def started(self, event: CommandStartedEvent) -> None:
        self.number += event.command_name == "ping"

    def succeeded(self, event: CommandSucceededEvent) -> None: ...

    def failed(self, event: CommandFailedEvent) -> None: ...


def failing_ping(mongod: Any, subject: HealthSubject, mode: Any, **data: Any) -> Any:
    return mongod.fail_point(
        "failCommand", mode, {"failCommands": ["ping"], "appName": subject.name, **(data or {"errorCode": 8})}
    )


@pytest.mark.core
async def test_a_server_that_answers_is_ready(subject: HealthSubject, mongod: Any, mongodb_uri: str) -> None:
    await subject.initialize(mongodb_uri)
    answer = await subject.readiness()
    assert (answer.state, answer.ready, answer.live) == ("ready", True, True)
    assert (answer.pool, answer.require) == (subject.name, "any")
    assert answer.response_seconds is not None
    assert 0 < answer.response_seconds < 1
    assert answer.primary
    assert answer.servers[f"{mongod.host}:{mongod.port}"].kind == "Standalone"
    assert answer.as_dict()["servers"][f"{mongod.host}:{mongod.port}"]["error"] is None
    again = await subject.readiness(max_age=60)
    assert again.age_seconds > 0
    assert again.aged(0) == answer.aged(0)
    assert (await subject.readiness("primary")).ready


@pytest.mark.core
async def test_one_failing_ping_stays_ready(subject: HealthSubject, mongod: Any, mongodb_uri: str) -> None:
    await subject.initialize(mongodb_uri)
    # The very first look, at that.
    with failing_ping(mongod, subject, {"times": 1}):
        failed = await subject.readiness(max_age=0)
        assert (failed.state, failed.ready) == ("ready", True)
        assert "the ping failed" in failed.reason
        answered = await subject.readiness(max_age=0)
    assert "answered" in answered.reason


@pytest.mark.core
async def test_a_connection_that_broke_while_idle_is_no_failure(
    subject: HealthSubject, mongod: Any, mongodb_uri: str
) -> None:
    await subject.initialize(mongodb_uri)
    with failing_ping(mongod, subject, {"times": 1}, closeConnection=True):
        answer = await subject.readiness(timeout=2)
    assert (answer.state, "answered" in answer.reason) == ("ready", True)


@pytest.mark.core
async def test_pings_that_go_on_failing_are_down_and_a_good_one_is_ready(
    subject: HealthSubject, mongod: Any, mongodb_uri: str
) -> None:
    await subject.initialize(mongodb_uri)
    assert (await subject.readiness()).ready
    with failing_ping(mongod, subject, "alwaysOn"):
        states = [(await subject.readiness(max_age=0, fall=3)).state for _ in range(4)]
    assert states == ["ready", "ready", "down", "down"]
    assert (await subject.readiness(max_age=0, fall=3)).state == "ready"
    assert (await subject.readiness(max_age=0, rise=2)).ready


async def test_two_hundred_probers_make_one_ping(subject: HealthSubject, mongod: Any, mongodb_uri: str) -> None:
    pings = Pings()
    await subject.initialize(mongodb_uri, event_listeners=[pings])
    if not subject.is_async:
        # As many threads as probers; the default is a handful.
        asyncio.get_running_loop().set_default_executor(
            ThreadPoolExecutor(200, thread_name_prefix="asyncio_probe")
        )
    before = pings.number
    with failing_ping(mongod, subject, "alwaysOn", blockConnection=True, blockTimeMS=1000):
        probes = [subject.readiness(timeout=5, max_age=0) for _ in range(200)]
        answers = await asyncio.gather(*probes)
    assert pings.number == before + 1
    assert all(answer.ready for answer in answers)
    assert {answer.response_seconds for answer in answers} == {answers[0].response_seconds}
    for _ in range(200):
        assert (await subject.readiness(timeout=5, max_age=60)).ready
    assert pings.number == before + 1


async def test_a_cancelled_prober_cancels_no_other(subject: HealthSubject, mongod: Any, mongodb_uri: str) -> None:
    pings = Pings()
    await subject.initialize(mongodb_uri, event_listeners=[pings])
    before = pings.number
    with failing_ping(mongod, subject, "alwaysOn", blockConnection=True, blockTimeMS=400):
        probers = [asyncio.ensure_future(subject.readiness(timeout=5, max_age=0)) for _ in range(3)]
        await asyncio.sleep(0.1)
        probers[0].cancel()
        outcomes = await asyncio.gather(*probers, return_exceptions=True)
    assert isinstance(outcomes[0], asyncio.CancelledError)
    assert [answer.ready for answer in outcomes[1:] if not isinstance(answer, BaseException)] == [True, True]
    assert pings.number == before + 1


async def test_a_pool_full_of_long_operations_is_degraded_within_100_ms(
    subject: HealthSubject, mongodb_uri: str, wait_until_async: Callable[..., Any]
) -> None:
    pings = Pings()
    client = await subject.initialize(mongodb_uri, maxPoolSize=4, event_listeners=[pings])
    work = [asyncio.ensure_future(subject.call(sleep_on_server, client, 5)) for _ in range(4)]
    await wait_until_async(lambda: subject.pool.snapshot().saturated)
    before = pings.number
    answer = await probed(subject, 1.0, at_once=True)
    assert (answer.state, answer.ready, answer.live, answer.saturated) == ("degraded", True, True, True)
    assert pings.number == before
    await subject.close(drain=0, timeout=2)
    await asyncio.gather(*work, return_exceptions=True)


async def test_a_pool_that_fills_up_under_a_probe_is_degraded(
    subject: HealthSubject, mongod: Any, mongodb_uri: str, wait_until_async: Callable[..., Any]
) -> None:
    client = await subject.initialize(mongodb_uri, maxPoolSize=1)
    with failing_ping(mongod, subject, {"times": 1}, blockConnection=True, blockTimeMS=500):
        # The user's ping holds the only connection, although the pool looked free a moment before.
        work = asyncio.ensure_future(subject.call(ping, client))
        await wait_until_async(lambda: subject.pool.snapshot().saturated)
        answer = await subject.readiness(timeout=0.3, max_age=0)
        await work
    assert (answer.state, answer.ready) == ("degraded", True)


@pytest.mark.parametrize("fault", [FaultProxy.cut, FaultProxy.refuse])
async def test_an_unreachable_host_is_not_ready_within_the_limit_and_live_throughout(
    subject: HealthSubject, proxy: FaultProxy, fault: Any, wait_until_async: Callable[..., Any]
) -> None:
    await subject.initialize(proxy.uri, heartbeatFrequencyMS=500)
    assert (await subject.readiness()).ready
    fault(proxy)
    if fault is FaultProxy.refuse:
        # The connections that exist still serve: closing the port alone takes nothing away.
        assert (await subject.readiness(max_age=0)).ready
        proxy.reset()
    answer = await probed(subject, 1.0)
    assert (answer.state, answer.ready, answer.live) == ("down", False, True)
    assert any(server.error for server in answer.servers.values())
    assert subject.liveness().live
    proxy.heal()

    await wait_until_async(lambda: is_ready(subject))


@pytest.fixture(scope="module")
def pair() -> Iterator[ReplicaSet]:
    """A primary that nobody can replace."""
    with ReplicaSet(size=2) as replica_set:
        yield replica_set


async def test_without_a_primary_primary_is_not_ready_and_any_is(
    subject: HealthSubject, pair: ReplicaSet, wait_until_async: Callable[..., Any]
) -> None:
    pair.wait_until_healthy()
    await subject.initialize(pair.uri, heartbeatFrequencyMS=500)
    assert (await subject.readiness("primary")).ready
    primary = pair.primary
    address = f"{primary.host}:{primary.port}"
    primary.kill()
    try:
        answer = await probed(subject, 1.0, require="primary")
        assert (answer.state, answer.ready, answer.live, answer.primary) == ("down", False, True, False)
        assert "no server that takes writes" in answer.reason
        assert answer.servers[address].kind == "Unknown"

        async def any_is_ready() -> bool:
            found = await subject.readiness("any", timeout=1.0, max_age=0)
            return found.state == "ready" and "answered" in found.reason and not found.primary

        # The first ping may still have met the dead connection.
        await wait_until_async(any_is_ready)
        assert not (await subject.readiness("primary", max_age=0)).ready
    finally:
        primary.restart()
    pair.wait_until_healthy()

    await wait_until_async(lambda: is_ready(subject, "primary"), 10)


@pytest.mark.core
async def test_the_states_of_a_pool_that_is_not_open(
    subject: HealthSubject, mongodb_uri: str, wait_until_async: Callable[..., Any]
) -> None:
    never = await subject.readiness()
    assert (never.state, never.ready, never.live) == ("starting", False, True)
    with FaultProxy(("127.0.0.1", 1)) as proxy:
        proxy.deafen()
        opening = asyncio.ensure_future(subject.initialize(proxy.uri, timeout=0.5))
        await wait_until_async(lambda: subject.liveness().status == "opening")
        assert (await subject.readiness()).reason == "the pool is being opened"
        with pytest.raises(Exception, match=subject.name):
            await opening
    client = await subject.initialize(mongodb_uri)
    work = asyncio.ensure_future(subject.call(sleep_on_server, client, 0.5))
    await wait_until_async(lambda: subject.pool.snapshot().totals.used)
    closing = asyncio.ensure_future(subject.close(drain=2))
    await wait_until_async(lambda: subject.liveness().status == "closing")
    assert (await subject.readiness()).state == "closing"
    await closing
    await asyncio.gather(work, return_exceptions=True)
    closed = await subject.readiness()
    assert (closed.state, closed.ready, closed.live) == ("down", False, True)
    await subject.initialize(mongodb_uri)
    assert (await subject.readiness()).ready


@pytest.mark.core
async def test_a_pool_closed_under_a_probe_is_not_called_ready(
    subject: HealthSubject, mongod: Any, mongodb_uri: str
) -> None:
    await subject.initialize(mongodb_uri)
    with failing_ping(mongod, subject, "alwaysOn", blockConnection=True, blockTimeMS=500):
        probing = asyncio.ensure_future(subject.readiness(timeout=2, max_age=0))
        await asyncio.sleep(0.1)
        await subject.close(drain=1)
        answer = await probing
    assert not answer.ready
    assert answer.state in ("closing", "down")


def test_a_pool_bound_to_one_loop_is_probed_from_another(mongodb_uri: str) -> None:
    subject = HealthSubject("pymongo")
    opened, enough = threading.Event(), threading.Event()

    async def own() -> None:
        await subject.initialize(mongodb_uri)
        opened.set()
        await asyncio.to_thread(enough.wait, 20)

    owner = threading.Thread(target=lambda: asyncio.run(own()))
    owner.start()
    assert opened.wait(10)
    assert subject.liveness().event_loop == "running"
    assert asyncio.run(subject.readiness()).state == "ready"
    enough.set()
    owner.join(10)
    gone = asyncio.run(subject.readiness(max_age=0))
    assert (gone.state, gone.live) == ("down", True)
    dead = subject.liveness()
    assert (dead.live, dead.event_loop) == (False, "closed")
    subject.pool.close_sync(timeout=1)


BAD = [
    {"require": "secondary"},
    {"timeout": 0},
    {"timeout": float("inf")},
    {"timeout": "1"},
    {"timeout": True},
    {"max_age": -1},
    {"max_age": float("nan")},
    {"fall": 0},
    {"rise": 1.5},
]


@pytest.mark.core
@pytest.mark.parametrize("bad", BAD)
async def test_bad_arguments_are_named(subject: HealthSubject, bad: dict[str, Any]) -> None:
    with pytest.raises(PoolConfigurationError, match=f"{next(iter(bad))}="):
        await subject.readiness(**bad)


@pytest.mark.core
async def test_the_deadline_around_one_prober_is_not_the_others(
    subject: HealthSubject, mongod: Any, mongodb_uri: str
) -> None:
    import pymongo

    await subject.initialize(mongodb_uri)
    slow = failing_ping(mongod, subject, "alwaysOn", blockConnection=True, blockTimeMS=300)
    with slow, pymongo.timeout(0.05):
        answer = await subject.readiness(timeout=2, max_age=0)
    assert "answered" in answer.reason


@pytest.mark.core
def test_the_twins_have_the_same_calls() -> None:
    for name in ("readiness", "liveness"):
        assert shape(getattr(AsyncHealth, name)) == shape(getattr(SyncHealth, name))
    for name in ("__init__", "start", "stop", "status"):
        assert shape(getattr(AsyncHealthMonitor, name)) == shape(getattr(HealthMonitor, name))
