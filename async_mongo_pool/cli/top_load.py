"""The load that ``top --demo`` puts on its pool: phases that each show something else."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pymongo.errors import PyMongoError

if TYPE_CHECKING:
    from collections.abc import Callable

    from async_mongo_pool.cli.watched import Watched

__all__ = ["CONNECTIONS", "OPTIONS", "PHASES", "Load", "Phase"]

CONNECTIONS = 10
"""maxPoolSize of the demo's pool."""

OPTIONS = {
    "maxPoolSize": CONNECTIONS,
    "minPoolSize": 0,
    "waitQueueTimeoutMS": 1000,
    "slow_checkout_ms": 1000,
}
"""What the demo's pool is opened with: small, so that it fills up, and watchful, so that holders have names."""

_DATABASE = "async_mongo_pool_top"
_DOCUMENTS = 100
_LATENCY_MS = 20
_SLOW_MS = 1500
_PHASE_SECONDS = 4.0
_PAUSE = 0.03


@dataclass(frozen=True, slots=True)
class Phase:
    """What the load does for some seconds.

    Attributes:
        title: What that is.
        readers: Tasks that read, one operation after the other.
        pause: Seconds that each of them waits between two operations.
        reports: Tasks whose one operation holds a connection for long.
    """

    title: str
    readers: int
    pause: float
    reports: int


PHASES = (
    Phase(f"busy: 12 tasks read now and then, {CONNECTIONS} connections are enough", 12, _PAUSE, 0),
    Phase(f"saturated: 40 tasks read without a pause from {CONNECTIONS} connections", 40, 0.0, 0),
    Phase("slow holders: 10 reports keep every connection, 5 readers wait", 5, 0.0, CONNECTIONS),
    Phase("idle: nobody asks for anything", 0, 0.0, 0),
)


class Load:
    """Runs the phases, again and again.

    Args:
        watched: The pool, which is open.
    """

    def __init__(self, watched: Watched) -> None:
        self._watched = watched
        self.doing = ""
        """The title of the phase that runs."""

    async def prepare(self) -> None:
        """Put documents in, and let the server take a network's time for each read."""
        documents = [{"_id": number} for number in range(_DOCUMENTS)]
        delayed = {"failCommands": ["find"], "blockConnection": True, "blockTimeMS": _LATENCY_MS}
        await self._watched.run("prepare", lambda client: client[_DATABASE].items.insert_many(documents))
        await self._watched.run(
            "prepare",
            lambda client: client.admin.command(
                "configureFailPoint", "failCommand", mode="alwaysOn", data=delayed
            ),
        )

    async def run(self) -> None:
        """Run one phase after the other, until cancelled."""
        while True:
            for phase in PHASES:
                await self.phase(phase, _PHASE_SECONDS)

    async def phase(self, phase: Phase, seconds: float) -> None:
        """Run one phase.

        Args:
            phase: Which one.
            seconds: No operation is begun after these; those begun are waited for.
        """
        self.doing = phase.title
        deadline = time.monotonic() + seconds
        tasks = {
            *(self._task("report", number, _report, 0.0, deadline) for number in range(phase.reports)),
            *(self._task("reader", number, _read, phase.pause, deadline) for number in range(phase.readers)),
        }
        try:
            await asyncio.sleep(seconds)
            if tasks:
                await asyncio.wait(tasks)
        finally:
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks, timeout=0.5)

    def _task(
        self, name: str, number: int, operation: Callable[[Any], Any], pause: float, deadline: float
    ) -> asyncio.Task[None]:
        name = f"{name}-{number + 1}"
        return asyncio.create_task(self._repeat(name, operation, pause, deadline), name=name)

    async def _repeat(self, name: str, operation: Callable[[Any], Any], pause: float, deadline: float) -> None:
        while time.monotonic() < deadline:
            # That some fail for want of a connection is what this load is to show; the pool counts them.
            with suppress(PyMongoError):
                await self._watched.run(name, operation)
            # Not the same for all: they would come in step, and each picture would show all of them or none.
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311


def _read(client: Any) -> Any:
    return client[_DATABASE].items.find_one({"_id": 1})


def _report(client: Any) -> Any:
    return client[_DATABASE].items.find_one({"_id": 0, "$where": f"sleep({_SLOW_MS}) || true"})
