"""The probes of a pool on each backend, from one text."""

from __future__ import annotations

import asyncio
import inspect
import time
from typing import TYPE_CHECKING, Any

from async_mongo_pool.health import AsyncHealth, AsyncHealthMonitor, HealthMonitor, SyncHealth
from tests.bounds.pace import TICK, Pace
from tests.pools.subjects import Subject

if TYPE_CHECKING:
    from async_mongo_pool.health import Liveness, Readiness


class HealthSubject(Subject):
    """A pool with its probes and its monitor."""

    async def readiness(self, *arguments: Any, **options: Any) -> Readiness:
        calls: Any = AsyncHealth if self.is_async else SyncHealth
        answer: Readiness = await self.call(calls.readiness.__func__, self.pool, *arguments, **options)
        return answer

    def liveness(self) -> Liveness:
        calls: Any = AsyncHealth
        answer: Liveness = calls.liveness.__func__(self.pool)
        return answer

    def monitor(self, *arguments: Any, **options: Any) -> Any:
        kind: Any = AsyncHealthMonitor if self.is_async else HealthMonitor
        return kind(self.pool, *arguments, **options)

    async def start(self, monitor: Any) -> None:
        await self.call(monitor.start)

    async def stop(self, monitor: Any) -> None:
        await self.call(monitor.stop)


def shape(function: Any) -> list[tuple[str, Any, Any]]:
    return [(each.name, each.kind, each.default) for each in inspect.signature(function).parameters.values()]


async def probed(subject: HealthSubject, limit: float, *, at_once: bool = False, **options: Any) -> Readiness:
    """Look anew, and prove that it took no longer than the limit and a tenth (or 0.1 s where it needs no ping).

    Without what the machine took.
    """
    with Pace() as pace:
        began = time.monotonic()
        answer = await subject.readiness(timeout=limit, max_age=0, **options)
        ended = time.monotonic()
        await asyncio.sleep(3 * TICK)
    allowed = 0.1 if at_once else limit * 1.1 + 0.05
    assert ended - began < allowed + pace.lost(began, ended)
    return answer


async def is_ready(subject: HealthSubject, require: Any = "any") -> bool:
    """Look anew."""
    return (await subject.readiness(require, max_age=0)).ready
