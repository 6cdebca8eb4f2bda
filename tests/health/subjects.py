"""The probes of a pool on each backend, from one text."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from async_mongo_pool.health import AsyncHealth, AsyncHealthMonitor, HealthMonitor, SyncHealth
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
