"""Behind a server that falls silent, every public call returns within its bound and a tenth more."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from pymongo.errors import PyMongoError

from tests.faults.proxy import FaultProxy

from .pace import TICK, Pace
from .rows import LIMIT, ROWS, SCHEDULING, waiting_once
from .scene import Scene, scenes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .rows import Row
    from .scene import Outcome

POOLS = 12
APART = 0.02
"""Seconds between the beginnings of two calls, so that not all of them end together."""

BACKENDS = pytest.mark.parametrize("backend", ["motor", "pymongo", "sync"])
STATES = pytest.mark.parametrize("state", ["closed", "open", "full"])


@pytest.fixture
def proxy(mongod: Any) -> Iterator[FaultProxy]:
    with FaultProxy((mongod.host, mongod.port)) as running:
        yield running


class Promise(NamedTuple):
    """A call, and the pool that it is made on."""

    row: Row
    scene: Scene


async def broken_promises(
    chosen: list[Promise], proxy: FaultProxy, fault: Callable[[FaultProxy], Any]
) -> list[str]:
    """Make these calls side by side, each on a pool of its own; tell which break their promise."""

    async def measured(place: int, row: Row, scene: Scene) -> Outcome:
        await asyncio.sleep(place * APART)
        return await scene.measure(row.call)

    with Pace() as pace:
        async with scenes([(each.scene, each.row.opens) for each in chosen], proxy, fault):
            calls = (measured(place, each.row, each.scene) for place, each in enumerate(chosen))
            outcomes = await asyncio.gather(*calls)
            await asyncio.sleep(3 * TICK)
    found = []
    for (row, scene), outcome in zip(chosen, outcomes, strict=True):
        allowed = row.bound * 1.1 + SCHEDULING + pace.lost(outcome.began, outcome.ended)
        if outcome.seconds > allowed:
            found.append(
                f"{row}, {scene.state}: took {outcome.seconds:.3f} s and not {row.bound:g} ({allowed:.3f} here)"
            )
        if outcome.error is not None and not isinstance(outcome.error, PyMongoError):
            found.append(f"{row}, {scene.state}: raised {outcome.error!r}")
    return found


@STATES
@BACKENDS
async def test_every_call_keeps_its_bound_in_a_blackhole(backend: str, state: str, proxy: FaultProxy) -> None:
    chosen = [Promise(row, Scene(backend, state, proxy.uri)) for row in ROWS if state in row.states]
    assert not await broken_promises(chosen, proxy, FaultProxy.blackhole)


FAULTS: dict[str, Callable[[FaultProxy], Any]] = {
    "nothing reaches the server": lambda proxy: proxy.blackhole(to_client=False),
    "nothing comes back": lambda proxy: proxy.blackhole(to_server=False),
    "deaf": FaultProxy.deafen,
    "no connection is accepted": FaultProxy.stop_accepting,
    "a byte in a second": lambda proxy: proxy.trickle(1, 1),
}


@pytest.mark.parametrize("fault", FAULTS)
@BACKENDS
async def test_every_call_that_may_wait_keeps_its_bound_in_other_silences(
    backend: str, fault: str, proxy: FaultProxy
) -> None:
    chosen = [
        Promise(row, Scene(backend, state, proxy.uri))
        for state in ("closed", "open")
        for row in waiting_once(state)
    ]
    assert not await broken_promises(chosen, proxy, FAULTS[fault])


@BACKENDS
async def test_close_all_keeps_its_bound_over_all_pools(backend: str, proxy: FaultProxy) -> None:
    """Each of them would take all of the time for itself; the last ones get none, and are closed none the less."""
    pools = [Scene(backend, "full", proxy.uri) for _ in range(POOLS)]
    async with scenes([(scene, None) for scene in pools], proxy, FaultProxy.blackhole):
        with Pace() as pace:
            outcome = await pools[0].measure(lambda scene: scene.pool.__mro__[1].close_all(drain=5, timeout=LIMIT))
            await asyncio.sleep(3 * TICK)
        allowed = LIMIT * 1.1 + SCHEDULING + pace.lost(outcome.began, outcome.ended)
        assert outcome.error is None
        assert outcome.seconds < allowed
        assert [scene.pool.snapshot().status for scene in pools] == ["not_initialized"] * POOLS
