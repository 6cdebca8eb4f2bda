"""A pool behind a fault, in each of the states that a call may find it in."""

from __future__ import annotations

import asyncio
import inspect
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from async_mongo_pool import AsyncHealthMonitor, HealthMonitor
from async_mongo_pool.daemon import in_daemon_thread, wait_in_loop
from async_mongo_pool.testing.waiting import wait_until_async
from tests.pools.subjects import Subject, ping

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.faults.proxy import FaultProxy

SIZE = 2
"""The connections of each pool, and the hanging operations that fill it."""

PATIENCE = 30.0


@dataclass(frozen=True)
class Outcome:
    """What became of a call: when it began and ended, and what it returned or raised."""

    began: float
    ended: float
    result: Any = None
    error: BaseException | None = None

    @property
    def seconds(self) -> float:
        return self.ended - self.began


class Scene:
    """A pool of its own for one call.

    Args:
        backend: "motor", "pymongo" or "sync".
        state: "closed": not open yet; "open"; "full": every connection is held by an operation that hangs.
        uri: The server behind the fault.
    """

    def __init__(self, backend: str, state: str, uri: str) -> None:
        self.subject = Subject(backend)
        self.pool: Any = self.subject.pool
        self.state = state
        self.uri = uri
        self.options: dict[str, Any] = {**self.subject.choice, "maxPoolSize": SIZE, "appName": self.subject.name}
        self.monitor: Any = (AsyncHealthMonitor if self.subject.is_async else HealthMonitor)(
            self.pool, interval=0.05, timeout=0.4
        )
        self.manager: Any = None
        self._work: list[asyncio.Future[Any]] = []

    async def call(self, function: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
        """Await an asynchronous call, or run a blocking one in a thread of its own."""
        if self.subject.is_async:
            result = function(*arguments, **keywords)
            return await result if inspect.isawaitable(result) else result
        thread = in_daemon_thread("bounds-row", lambda: function(*arguments, **keywords))
        return await wait_in_loop(thread, PATIENCE)

    async def prepare(self, row_opens: Callable[[Scene], Any] | None) -> None:
        """Open the pool while the server still answers."""
        if self.state == "closed":
            return
        if row_opens is not None:
            await self.call(row_opens, self)
        else:
            await self.call(self.pool.initialize, self.uri, minPoolSize=SIZE, warm_up=True, **self.options)

    async def fill(self) -> None:
        """Let operations take every connection and hang; the fault is there already."""
        if self.state != "full":
            return
        client = self.pool.get_client()
        self._work = [asyncio.ensure_future(self.call(ping, client)) for _ in range(SIZE)]
        await wait_until_async(lambda: self.pool.snapshot().totals.used == SIZE, 5)

    async def measure(self, call: Callable[[Scene], Any]) -> Outcome:
        """How long a call takes, by the clock of the thread or task that makes it."""
        if not self.subject.is_async:
            return await wait_in_loop(in_daemon_thread("bounds-row", lambda: _measured(call, self)), PATIENCE)
        began = time.monotonic()
        try:
            result = call(self)
            result = await result if inspect.isawaitable(result) else result
        except Exception as error:
            return Outcome(began, time.monotonic(), error=error)
        return Outcome(began, time.monotonic(), result)

    async def end(self) -> None:
        """Leave nothing; the fault has been healed."""
        await self.call(self.monitor.stop)
        await self.call(self.pool.close, drain=0, timeout=2)
        await asyncio.gather(*self._work, return_exceptions=True)


def _measured(call: Callable[[Scene], Any], scene: Scene) -> Outcome:
    began = time.monotonic()
    try:
        result = call(scene)
    except Exception as error:
        return Outcome(began, time.monotonic(), error=error)
    return Outcome(began, time.monotonic(), result)


@asynccontextmanager
async def scenes(
    made: list[tuple[Scene, Callable[[Scene], Any] | None]], proxy: FaultProxy, fault: Callable[[FaultProxy], Any]
) -> AsyncIterator[None]:
    """Prepare all of them, then let the fault begin; in the end heal it and close them."""
    try:
        await asyncio.gather(*(scene.prepare(opens) for scene, opens in made))
        fault(proxy)
        await asyncio.gather(*(scene.fill() for scene, _ in made))
        yield
    finally:
        proxy.heal()
        await asyncio.gather(*(scene.end() for scene, _ in made))
