"""Probes of hosts that say nothing, or never said anything."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tests.faults.proxy import FaultProxy
from tests.pools.subjects import ping

from .subjects import is_ready, probed

if TYPE_CHECKING:
    from collections.abc import Callable

    from .subjects import HealthSubject


@pytest.mark.parametrize("fault", [FaultProxy.blackhole, FaultProxy.deafen])
async def test_a_silent_host_is_bounded_and_down_with_the_second_probe(
    subject: HealthSubject, proxy: FaultProxy, fault: Any, wait_until_async: Callable[..., Any]
) -> None:
    await subject.initialize(proxy.uri)
    assert (await subject.readiness()).ready
    fault(proxy)
    states = []
    for _ in range(3):
        answer = await probed(subject, 0.5)
        assert answer.live
        assert subject.liveness().live
        states.append(answer.state)
    assert states[1:] == ["down", "down"]
    proxy.heal()

    await wait_until_async(lambda: is_ready(subject))


async def test_probes_keep_few_threads_and_connections_on_a_silent_host(
    subject: HealthSubject, proxy: FaultProxy
) -> None:
    await subject.initialize(proxy.uri, minPoolSize=0)
    assert (await subject.readiness()).ready
    threads = threading.active_count()
    proxy.blackhole()
    for _ in range(10):
        await asyncio.gather(*(subject.readiness(timeout=0.1, max_age=0) for _ in range(3)))
    # One ping and the executor of to_thread, however often it was asked.
    assert threading.active_count() <= threads + 8
    # A connection whose answer did not come in time is closed by the driver, and only one is waited for at a time.
    assert subject.pool.snapshot().totals.size <= 2


@pytest.mark.parametrize("fault", [FaultProxy.blackhole, FaultProxy.stop_accepting])
async def test_who_takes_the_first_bad_sign_for_the_end_has_it_within_the_limit_of_one_probe(
    subject: HealthSubject, proxy: FaultProxy, fault: Any
) -> None:
    await subject.initialize(proxy.uri, minPoolSize=0)
    assert (await subject.readiness(fall=1)).ready
    fault(proxy)
    if fault is FaultProxy.stop_accepting:
        proxy.reset()
    answer = await probed(subject, 0.5, fall=1)
    assert (answer.state, answer.ready, answer.live) == ("down", False, True)
    assert subject.liveness().live


@pytest.mark.parametrize("fault", [FaultProxy.cut, FaultProxy.blackhole, FaultProxy.deafen])
async def test_a_pool_that_never_had_a_server_is_not_ready_at_the_first_probe(
    subject: HealthSubject, proxy: FaultProxy, fault: Any, wait_until_async: Callable[..., Any]
) -> None:
    assert not (await subject.readiness()).ready
    fault(proxy)
    await subject.initialize(proxy.uri, timeout=0.3, on_failure="degraded", heartbeatFrequencyMS=500)
    for _ in range(3):
        answer = await probed(subject, 0.3)
        assert (answer.ready, answer.live, subject.liveness().live) == (False, True, True)
        assert answer.state in ("starting", "down")
    proxy.heal()
    await wait_until_async(lambda: is_ready(subject), 10)


async def test_a_host_that_falls_silent_under_a_full_pool_is_down_when_its_heartbeat_is_overdue(
    subject: HealthSubject, proxy: FaultProxy, wait_until_async: Callable[..., Any]
) -> None:
    sizes = {"maxPoolSize": 2, "minPoolSize": 2, "warm_up": True}
    client = await subject.initialize(proxy.uri, heartbeatFrequencyMS=500, connectTimeoutMS=500, **sizes)
    proxy.deafen()
    work = [asyncio.ensure_future(subject.call(ping, client)) for _ in range(2)]
    await wait_until_async(lambda: subject.pool.snapshot().saturated)
    assert (await subject.readiness(max_age=0)).state == "degraded"

    async def down() -> bool:
        answer = await probed(subject, 0.5)
        return answer.state == "down"

    await wait_until_async(down, 8)
    proxy.heal()
    await wait_until_async(lambda: is_ready(subject))
    await asyncio.gather(*work, return_exceptions=True)
